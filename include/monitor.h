/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control from outside, as text (-monitor, Ctrl-A c) and as JSON (-qmp, the
 * QEMU Machine Protocol: a greeting, capabilities negotiation, commands with
 * ids, events). Both speak from one table, mon_cmds[]: a row declares a command
 * for both forms. Main loop only.
 *
 * To add a command, write a handler, declare it in the last section here, and
 * add a row. The handler gets its arguments checked (names, types, presence) as
 * a JSON object and returns a JSON value; the text form prints that value by
 * the row's print function, or key by key when it has none.
 */
#ifndef POSADA_MONITOR_H
#define POSADA_MONITOR_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct chardev;
struct err;
struct vcpu;
struct vm;

/* A monitor on a backend; lives until monitors_destroy. */
int monitor_add_text(struct vm *vm, struct chardev *c, struct err *e);
int monitor_add_qmp(struct vm *vm, struct chardev *c, struct err *e);
void monitors_destroy(struct vm *vm);

/* --- commands --- */

enum mon_type {
	MON_INT, /* JSON integer; text: an expression, "0x1000", "$rsp+8" */
	MON_BOOL, /* JSON boolean; text: on or off */
	MON_STR, /* text: a word, or several "in quotes" */
	MON_FLAG, /* JSON boolean; text: "-a", the letter being the name's first */
	MON_FMT, /* "/10xw", also joined to the command's name; of text commands */
	MON_REST, /* string; text: the rest of the line */
	MON_ARRAY, /* of JSON commands */
};

#define MON_ARGS_MAX 24

struct mon_arg {
	const char *name; /* of the JSON member; NULL ends the list */
	enum mon_type type;
	bool optional;
};

/* What a handler knows of the monitor that runs it. */
struct mon {
	struct vm *vm;
	unsigned cpu; /* default vCPU, set by "cpu N" */
	char fmt; /* format letter and element size that x used last; 0: none yet */
	unsigned fmt_size;
	bool negotiated; /* JSON: qmp_capabilities has been done */
};

struct mon_cmd {
	const char *qmp; /* name in JSON; NULL: text only */
	const char *text; /* name in text ("stop", "info status"); NULL: JSON only */
	const char *alias; /* second text name, or NULL */
	struct mon_arg args[MON_ARGS_MAX + 1]; /* in the order of the text form */
	const char *help; /* one line, no full stop */
	/*
	 * A new reference, or NULL with e filled. mon_empty() when there is
	 * nothing to say. args is never NULL and holds no unknown member.
	 */
	json_t *(*run)(struct mon *m, const json_t *args, struct err *e);
	/* For the text form; NULL: the generic one. */
	void (*print)(FILE *f, const struct mon *m, const json_t *result);
};

/* The table (src/monitor_cmds.c); ends with a row without run. */
extern const struct mon_cmd mon_cmds[];

/* An optional argument, or def. */
int64_t mon_int(const json_t *args, const char *name, int64_t def);
bool mon_bool(const json_t *args, const char *name);
const char *mon_str(const json_t *args, const char *name); /* NULL when absent */

/* {} */
json_t *mon_empty(void);
/* A JSON string of any bytes: what is not UTF-8 becomes '?'. */
json_t *mon_string(const char *s);
/* Member "cpu-index", else m->cpu. NULL with e filled when there is no such vCPU. */
struct vcpu *mon_vcpu(struct mon *m, const json_t *args, struct err *e);

/* Runs a line of the text form; its output, malloc'd, lines ending in "\n". NULL: no memory. */
char *mon_text_run(struct mon *m, const char *line);

/* --- handlers outside monitor_cmds.c --- */
json_t *mon_qmp_capabilities(struct mon *m, const json_t *args, struct err *e); /* qmp.c */
json_t *mon_help(struct mon *m, const json_t *args, struct err *e); /* monitor_text.c */
json_t *mon_info(struct mon *m, const json_t *args, struct err *e);
json_t *mon_x(struct mon *m, const json_t *args, struct err *e); /* monitor_mem.c */
json_t *mon_xp(struct mon *m, const json_t *args, struct err *e);
json_t *mon_print(struct mon *m, const json_t *args, struct err *e);
json_t *mon_port_in(struct mon *m, const json_t *args, struct err *e);
json_t *mon_port_out(struct mon *m, const json_t *args, struct err *e);
json_t *mon_memsave(struct mon *m, const json_t *args, struct err *e);
json_t *mon_pmemsave(struct mon *m, const json_t *args, struct err *e);
json_t *mon_query_network(struct mon *m, const json_t *args, struct err *e); /* monitor_net.c */
void mon_print_network(FILE *f, const struct mon *m, const json_t *r);
json_t *mon_set_link(struct mon *m, const json_t *args, struct err *e);
json_t *mon_text_set_link(struct mon *m, const json_t *args, struct err *e);
json_t *mon_query_balloon(struct mon *m, const json_t *args, struct err *e); /* monitor_balloon.c */
json_t *mon_qmp_balloon(struct mon *m, const json_t *args, struct err *e);
json_t *mon_text_balloon(struct mon *m, const json_t *args, struct err *e);
json_t *mon_balloon_stats(struct mon *m, const json_t *args, struct err *e);
json_t *mon_balloon_hint(struct mon *m, const json_t *args, struct err *e);
void mon_print_balloon(FILE *f, const struct mon *m, const json_t *result);
json_t *mon_gva2gpa(struct mon *m, const json_t *args, struct err *e);
json_t *mon_query_pci(struct mon *m, const json_t *args, struct err *e); /* monitor_pci.c */
void mon_print_pci(FILE *f, const struct mon *m, const json_t *result);
json_t *mon_screendump(struct mon *m, const json_t *args, struct err *e); /* monitor_display.c */
json_t *mon_query_vnc(struct mon *m, const json_t *args, struct err *e); /* monitor_vnc.c */
json_t *mon_query_vnc_servers(struct mon *m, const json_t *args, struct err *e);
void mon_print_vnc(FILE *f, const struct mon *m, const json_t *r);
json_t *mon_set_password(struct mon *m, const json_t *args, struct err *e);
json_t *mon_change_vnc_password(struct mon *m, const json_t *args, struct err *e);
json_t *mon_change(struct mon *m, const json_t *args, struct err *e);
json_t *mon_query_block(struct mon *m, const json_t *args, struct err *e); /* monitor_block.c */
json_t *mon_info_block(struct mon *m, const json_t *args, struct err *e);
json_t *mon_query_blockstats(struct mon *m, const json_t *args, struct err *e);
void mon_print_blockstats(FILE *f, const struct mon *m, const json_t *r);
json_t *mon_block_resize(struct mon *m, const json_t *args, struct err *e);
json_t *mon_block_resize_text(struct mon *m, const json_t *args, struct err *e);
json_t *mon_commit(struct mon *m, const json_t *args, struct err *e);
json_t *mon_eject(struct mon *m, const json_t *args, struct err *e);
json_t *mon_change_medium(struct mon *m, const json_t *args, struct err *e);
json_t *mon_block_set_io_throttle(struct mon *m, const json_t *args, struct err *e);
json_t *mon_sendkey(struct mon *m, const json_t *args, struct err *e); /* monitor_input.c */
json_t *mon_qmp_send_key(struct mon *m, const json_t *args, struct err *e);
json_t *mon_paste(struct mon *m, const json_t *args, struct err *e);
json_t *mon_qmp_paste(struct mon *m, const json_t *args, struct err *e);
void mon_print_paste(FILE *f, const struct mon *m, const json_t *r);
json_t *mon_input_send_event(struct mon *m, const json_t *args, struct err *e);
json_t *mon_mouse_move(struct mon *m, const json_t *args, struct err *e);
json_t *mon_mouse_button(struct mon *m, const json_t *args, struct err *e);
json_t *mon_query_mice(struct mon *m, const json_t *args, struct err *e);
void mon_print_mice(FILE *f, const struct mon *m, const json_t *r);

#endif
