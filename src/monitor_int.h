/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the monitor share: one session on a backend, and its two forms. */
#ifndef POSADA_MONITOR_INT_H
#define POSADA_MONITOR_INT_H

#include "chardev.h"
#include "monitor.h"
#include "vm.h"

/* More output than this waiting for the peer: no further command is taken. */
#define MON_OUT_PAUSE (64u << 10)
/* More than this: events are dropped. A command's own answer is always queued. */
#define MON_OUT_EVENTS (1u << 20)

struct mon_session;

/* Text or JSON. A form's session struct begins with struct mon_session. */
struct mon_form {
	size_t size;
	void (*opened)(struct mon_session *s);
	void (*closed)(
		struct mon_session *s); /* forgets the peer; also before the session is freed */
	/* Takes at least one of len (> 0) bytes, and no byte beyond the end of a command. */
	size_t (*feed)(struct mon_session *s, const uint8_t *buf, size_t len);
	/* Something happened to the VM; may be NULL. data: borrowed, or NULL. */
	void (*event)(struct mon_session *s, const char *name, json_t *data);
};

extern const struct mon_form mon_text_form, mon_qmp_form;

struct mon_session {
	struct mon mon;
	const struct mon_form *form;
	struct chardev_port *port;
	struct vm_listener listener;
	struct mon_session *next;
	/* input not yet looked at, because the peer does not read our output */
	uint8_t in[4096];
	size_t in_pos, in_len;
	bool shared; /* the terminal is the guest's console as well */
	/* output the backend did not take */
	char *out;
	size_t out_pos, out_len, out_cap;
	bool events_lost;
	bool told_end; /* the last event was SHUTDOWN */
};

void mon_write(struct mon_session *s, const char *buf, size_t len);
/* Output waiting for the peer, bytes. */
size_t mon_backlog(const struct mon_session *s);

/* Checks args against the row: names, types, presence. 0 or -EINVAL. */
int mon_check_args(const struct mon_cmd *c, const json_t *args, struct err *e);
/* Runs the handler; NULL with e filled. */
json_t *mon_run(struct mon *m, const struct mon_cmd *c, const json_t *args, struct err *e);

/* Sends SHUTDOWN to those who have not heard it from the VM: quitting has no event of its own. */
void mon_tell_end(struct vm *vm);

/* BALLOON_CHANGE's data; NULL without a balloon. */
json_t *mon_balloon_event(const struct vm *vm);
json_t *mon_io_error_event(const struct vm *vm);
json_t *mon_tray_event(const struct vm *vm);

/* As in the greeting and query-version. */
json_t *mon_version(void);

/* Value of an expression: numbers, $registers of m's vCPU, + - * / % << >> & ^ | ~ (). */
int mon_eval(struct mon *m, const char *text, uint64_t *out, struct err *e);

#endif
