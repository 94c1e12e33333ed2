/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the core (chardev.c) and the backends share.
 *
 * A backend is a table of operations and a struct that begins with struct
 * chardev. Most of them only open descriptors: the core reads, writes, holds
 * back and tells the front ends. Nothing is buffered on the way out: what the
 * host does not take stays with the front end, which is told when to go on.
 */
#ifndef POSADA_CHARDEV_INT_H
#define POSADA_CHARDEV_INT_H

#include <pthread.h>
#include <sys/types.h>

#include "chardev.h"
#include "loop.h"
#include "props.h"

enum {
	MUX_PORTS = 4,
	MUX_PENDING = 4096, /* input a front end of a mux has not taken yet, bytes */
};

/* For so long typed input waits for a front end that takes none, before it is dropped. */
#define MUX_PATIENCE_NS 1000000000u

struct chardev_backend {
	const char *name, *help;
	size_t size; /* of the struct that begins with struct chardev */
	const struct prop *props;
	/* Properties are set. Main thread, the loop does not run yet. */
	int (*open)(struct chardev *c, struct err *e);
	/* In the first round of the loop, when set-up has succeeded; may be NULL. */
	void (*start)(struct chardev *c);
	/* Also after an open that failed half-way; may be NULL. */
	void (*close)(struct chardev *c);
	/*
	 * Any thread, c->lock held, never blocks. How many bytes it took, -EAGAIN, or another
	 * -errno when the stream is broken. NULL: write(2) on out_fd.
	 */
	ssize_t (*write)(struct chardev *c, const void *buf, size_t len);
	/* Main loop, never blocks. As read(2), with -errno. NULL: read(2) on in_fd. */
	ssize_t (*read)(struct chardev *c, void *buf, size_t len);
	/* Main loop: the input has ended or broken. NULL: it stays quiet from now on. */
	void (*eof)(struct chardev *c);
	/* Main loop: write returned -error. NULL: reported once, see chardev.c. */
	void (*write_failed)(struct chardev *c, int error);
};

/* The handle of one front end. */
struct chardev_port {
	struct chardev *c;
	const struct chardev_client *client;
	void *ctx;
	bool starved; /* under c->lock: a write came back short */
	bool announce; /* CHARDEV_OPENED is due */
	bool opened; /* and was delivered */
	/* Of a mux: input that the front end did not take yet, a ring. */
	uint8_t *pending;
	unsigned pending_head, pending_n;
};

struct chardev {
	const struct chardev_backend *ops;
	struct chardev_set *set;
	struct loop *loop;
	struct chardev *next;
	char *id; /* property */
	bool mux; /* property */
	bool wants_monitor;
	char desc[192]; /* what and where, for people */

	/* Main loop only. */
	struct chardev_port *port[MUX_PORTS];
	unsigned n_ports, focus; /* focus: the port that gets input; 0 without a mux */
	bool in_escape; /* the mux has seen its escape character */
	bool drop_input; /* a person types: better to lose keys than the escapes */
	uint64_t taken_ns; /* when a front end of the mux last took input */
	uint8_t escape_char;
	bool opened, started, reported;
	bool in_unwatchable, out_unwatchable; /* epoll does not take them */
	struct loop_fd in, out;
	/* Something for the loop to do. Any thread may set a timer, and it can be cancelled. */
	struct loop_timer kick;
	struct loop_timer later; /* the same, to try again after a while */

	/* Guards what follows; taken after a device's lock and before the loop's. */
	pthread_mutex_t lock;
	int write_error; /* for the loop to deal with */
	/* Changed on the main loop only, which may read them without the lock. */
	bool connected;
	int in_fd; /* -1: no input */
	int out_fd; /* -1: output is swallowed */
};

/* Rows that every backend's table starts with. */
#define CHARDEV_PROPS                                                                              \
	PROP(struct chardev, id, PROP_STR, "id", NULL, "the name that devices refer to it by"),    \
		PROP(struct chardev, mux, PROP_BOOL, "mux", "off",                                 \
		     "several front ends share it; Ctrl-A c switches, Ctrl-A h lists the keys")

extern const struct chardev_backend chardev_stdio, chardev_pty, chardev_file, chardev_socket,
	chardev_null;

/* --- for backends: set-up or main loop, lock not held --- */

/* A peer is there, on these descriptors (-1: none in this direction). */
void chardev_connect(struct chardev *c, int in_fd, int out_fd);
/* The peer has gone. Its descriptors are not watched any more and the caller may close them. */
void chardev_disconnect(struct chardev *c);
/* How many bytes of input the front end would take now. */
size_t chardev_input_room(struct chardev *c);
/* No more input or output, but the front end is not told. */
void chardev_end_input(struct chardev *c);
void chardev_end_output(struct chardev *c);

/* --- mux.c: main loop --- */

/* How many bytes may be read now so that none is lost. */
size_t mux_room(const struct chardev *c);
void mux_input(struct chardev *c, const uint8_t *buf, size_t len);
/* Hands pending input to the front ends that take it. */
void mux_flush(struct chardev *c);

/* --- chardev.c, for mux.c --- */

void chardev_kick(struct chardev *c); /* any thread, c->lock may be held */
/* The host's own words; what does not fit right now is dropped. */
void chardev_say(struct chardev *c, const char *text);
void chardev_quit(struct chardev *c);
void chardev_set_focus(struct chardev *c, unsigned i);

#endif
