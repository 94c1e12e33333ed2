/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character backends: where the bytes of a serial port, a debug console or a
 * monitor go to and come from. They know nothing of devices.
 *
 *   -chardev stdio|pty|file|socket|null|...,id=ID,...
 *   -serial stdio|mon:stdio|pty|file:PATH|unix:PATH,server=on|tcp:HOST:PORT|null|chardev:ID
 *
 * One front end (client) at a time uses a backend; with mux=on up to four do:
 * input goes to the one with the focus (Ctrl-A c moves it), the output of all
 * of them goes out as it comes.
 *
 * Nothing is buffered on the way out, so nothing has to be flushed: what the
 * host does not take at once stays with the front end. The process must ignore
 * SIGPIPE.
 */
#ifndef POSADA_CHARDEV_H
#define POSADA_CHARDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct err;
struct loop;
struct opts;
struct chardev;

enum chardev_event {
	CHARDEV_OPENED, /* a peer is there (socket, pty), or the focus was gained (mux) */
	CHARDEV_CLOSED, /* the peer has gone */
	CHARDEV_BREAK, /* serial break (Ctrl-A b) */
	CHARDEV_COVERED, /* somebody else writes there from now on (mux): the focus was lost, or
			    help */
};

/* The front end. Called on the main loop, no chardev lock held, never before loop_run. */
struct chardev_client {
	/* How many bytes it will take now; 0 stops input until chardev_accept. NULL: drop all. */
	size_t (*can_read)(void *ctx);
	void (*read)(void *ctx, const uint8_t *buf, size_t len); /* len <= what can_read said */
	void (*writable)(void *ctx); /* room again after a short chardev_write; may be NULL */
	void (*event)(void *ctx, enum chardev_event ev); /* may be NULL */
};

/* What the user's escapes ask for (Ctrl-A x); set once by main. */
struct chardev_host {
	void (*quit)(void *ctx); /* main loop */
	void *ctx;
};

/* The chardevs of one VM. */
struct chardev_set;

int chardev_set_create(struct chardev_set **out, struct loop *l, const struct chardev_host *host,
		       struct err *e);
/* Restores the terminal, removes sockets, frees all. Nobody writes any more. */
void chardev_set_destroy(struct chardev_set *s);

/* Restores the terminal only; async-signal-safe; for crash paths and exit. */
void chardev_restore_terminal(void);
/* What a terminal is sent when it is restored, a string that stays; NULL: nothing. */
void chardev_set_terminal_end(const char *text);

/*
 * "-chardev BACKEND,id=ID,...". Here and in chardev_from_legacy messages name
 * the key and the file; the caller puts the option and its argument before them.
 */
int chardev_add(struct chardev_set *s, const char *arg, struct err *e);
/*
 * The argument of -serial, -debugcon, -monitor or -qmp ("stdio", "mon:stdio",
 * "unix:PATH,server=on,wait=off", "chardev:ID", "none" ...). *out is NULL for
 * "none". "mon:" asks for a mux with the monitor as its second front end.
 * default_id names it in `info chardev`.
 */
int chardev_from_legacy(struct chardev_set *s, const char *arg, const char *default_id,
			struct chardev **out, struct err *e);
/* By id; NULL when there is none. */
struct chardev *chardev_find(struct chardev_set *s, const char *id);
/* Whether it is a mux that wants a monitor as second front end ("mon:..."). */
bool chardev_wants_monitor(const struct chardev *c);

/* -EBUSY when another front end has it (a mux takes several). *out: this front end's handle. */
struct chardev_port;
int chardev_attach(struct chardev *c, const struct chardev_client *client, void *ctx,
		   struct chardev_port **out, struct err *e);
void chardev_detach(struct chardev_port *p);

/*
 * Any thread. Takes what it can without blocking and returns how many bytes;
 * fewer than len means that client->writable will be called. A backend without a peer,
 * and a NULL port, swallow everything. Written data reaches the host in order.
 */
size_t chardev_write(struct chardev_port *p, const void *buf, size_t len);
/* Any thread: the front end can take input again. */
void chardev_accept(struct chardev_port *p);

/* "-chardev help" and "info chardev". */
void chardev_help(FILE *f);
void chardev_each(struct chardev_set *s,
		  void (*fn)(void *ctx, const char *id, const char *description), void *ctx);

#endif
