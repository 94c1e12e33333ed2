/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Monitor sessions: a backend, a form (text or JSON), the bytes that wait in
 * either direction, and running a command of the table. Main loop only.
 *
 * A peer that sends commands and does not read the answers is made to wait: as
 * long as more than MON_OUT_PAUSE bytes are queued for it, its input is not
 * looked at, and no more is read than fits s->in. Events cannot wait and are dropped beyond
 * MON_OUT_EVENTS.
 */
#include "monitor_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config.h"
#include "err.h"
#include "log.h"
#include "vcpu.h"

static struct mon_session *sessions; /* of all VMs */
static unsigned executing; /* commands being run: events then have the host as their cause */

/* --- arguments --- */

int64_t mon_int(const json_t *args, const char *name, int64_t def)
{
	const json_t *v = json_object_get(args, name);

	return v ? json_integer_value(v) : def;
}

bool mon_bool(const json_t *args, const char *name)
{
	return json_is_true(json_object_get(args, name));
}

const char *mon_str(const json_t *args, const char *name)
{
	return json_string_value(json_object_get(args, name));
}

json_t *mon_empty(void)
{
	return json_object();
}

json_t *mon_string(const char *s)
{
	json_t *j = json_string(s);
	char *copy;

	if (j)
		return j;
	copy = strdup(s);
	if (!copy)
		return NULL;
	for (char *p = copy; *p; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	j = json_string(copy);
	free(copy);
	return j;
}

struct vcpu *mon_vcpu(struct mon *m, const json_t *args, struct err *e)
{
	int64_t n = mon_int(args, "cpu-index", m->cpu);

	if (n < 0 || n >= m->vm->n_cpus || !m->vm->vcpu || !m->vm->vcpu[n]) {
		err_set(e, ERR_USAGE, EINVAL, "Parameter 'cpu-index' expects a CPU number");
		err_hint(e, "this machine has CPUs 0 to %u", m->vm->n_cpus - 1);
		return NULL;
	}
	return m->vm->vcpu[n];
}

static const char *type_name(enum mon_type t)
{
	switch (t) {
	case MON_INT:
		return "integer";
	case MON_BOOL:
	case MON_FLAG:
		return "boolean";
	case MON_ARRAY:
		return "array";
	default:
		return "string";
	}
}

static bool type_fits(enum mon_type t, const json_t *v)
{
	switch (t) {
	case MON_INT:
		return json_is_integer(v);
	case MON_BOOL:
	case MON_FLAG:
		return json_is_boolean(v);
	case MON_ARRAY:
		return json_is_array(v);
	default:
		return json_is_string(v);
	}
}

int mon_check_args(const struct mon_cmd *c, const json_t *args, struct err *e)
{
	const char *known[MON_ARGS_MAX];
	size_t n = 0;
	const char *key;
	json_t *val;

	for (; n < MON_ARGS_MAX && c->args[n].name; n++)
		known[n] = c->args[n].name;
	for (size_t i = 0; i < n; i++) {
		const struct mon_arg *a = &c->args[i];

		val = json_object_get(args, a->name);
		if (val && !type_fits(a->type, val))
			return err_set(e, ERR_USAGE, EINVAL,
				       "Invalid parameter type for '%s', expected: %s", a->name,
				       type_name(a->type));
		if (!val && !a->optional)
			return err_set(e, ERR_USAGE, EINVAL, "Parameter '%s' is missing", a->name);
	}
	json_object_foreach((json_t *)args, key, val)
	{
		size_t i = 0;

		while (i < n && strcmp(known[i], key))
			i++;
		if (i == n) {
			err_set(e, ERR_USAGE, EINVAL, "Parameter '%s' is unexpected", key);
			err_suggest(e, key, known, n);
			return -EINVAL;
		}
	}
	return 0;
}

json_t *mon_run(struct mon *m, const struct mon_cmd *c, const json_t *args, struct err *e)
{
	json_t *r;

	err_set(e, ERR_HOST, ENOMEM, "not enough memory for the answer");
	executing++;
	r = c->run(m, args, e);
	executing--;
	return r;
}

/* --- output --- */

size_t mon_backlog(const struct mon_session *s)
{
	return s->out_len - s->out_pos;
}

static void flush(struct mon_session *s)
{
	while (mon_backlog(s)) {
		size_t n = chardev_write(s->port, s->out + s->out_pos, mon_backlog(s));

		if (!n)
			return;
		s->out_pos += n;
	}
	/* Empty: let go of what a large answer took. */
	free(s->out);
	s->out = NULL;
	s->out_pos = s->out_len = s->out_cap = 0;
}

void mon_write(struct mon_session *s, const char *buf, size_t len)
{
	if (!mon_backlog(s)) {
		size_t n = chardev_write(s->port, buf, len);

		buf += n;
		len -= n;
		if (!len)
			return;
	}
	if (s->out_pos) {
		memmove(s->out, s->out + s->out_pos, mon_backlog(s));
		s->out_len -= s->out_pos;
		s->out_pos = 0;
	}
	if (len > s->out_cap - s->out_len) {
		size_t cap = (s->out_len + len) * 2;
		char *p = realloc(s->out, cap);

		if (!p) {
			log_warn("monitor: no memory for %zu bytes of output; they are lost", len);
			return;
		}
		s->out = p;
		s->out_cap = cap;
	}
	memcpy(s->out + s->out_len, buf, len);
	s->out_len += len;
}

/* --- input --- */

static bool must_wait(const struct mon_session *s)
{
	return mon_backlog(s) > MON_OUT_PAUSE;
}

/* Feeds what has been read, a command at a time. Backends do not call back from chardev_write. */
static void feed(struct mon_session *s)
{
	while (s->in_pos < s->in_len && !must_wait(s))
		s->in_pos += s->form->feed(s, s->in + s->in_pos, s->in_len - s->in_pos);
}

static size_t session_can_read(void *ctx)
{
	const struct mon_session *s = ctx;

	return s->in_pos < s->in_len ? 0 : sizeof(s->in);
}

static void session_read(void *ctx, const uint8_t *buf, size_t len)
{
	struct mon_session *s = ctx;

	if (s->in_pos == s->in_len)
		s->in_pos = s->in_len = 0;
	if (len > sizeof(s->in) - s->in_len)
		len = sizeof(s->in) - s->in_len; /* the backend was told so by can_read */
	memcpy(s->in + s->in_len, buf, len);
	s->in_len += len;
	feed(s);
}

static void session_writable(void *ctx)
{
	struct mon_session *s = ctx;
	bool waited = session_can_read(s) == 0;

	flush(s);
	feed(s);
	if (waited && session_can_read(s))
		chardev_accept(s->port);
}

static void forget_peer(struct mon_session *s)
{
	s->form->closed(s);
	free(s->out);
	s->out = NULL;
	s->out_pos = s->out_len = s->out_cap = 0;
	s->in_pos = s->in_len = 0;
	s->events_lost = false;
}

static void session_event(void *ctx, enum chardev_event ev)
{
	struct mon_session *s = ctx;

	if (ev == CHARDEV_OPENED)
		s->form->opened(s);
	else if (ev == CHARDEV_CLOSED)
		forget_peer(s);
}

static const struct chardev_client session_client = {
	.can_read = session_can_read,
	.read = session_read,
	.writable = session_writable,
	.event = session_event,
};

/* --- events --- */

/* SHUTDOWN's data: who ended it, by all that is known. */
static json_t *shutdown_data(enum run_state state)
{
	const char *reason = "host-signal"; /* or the terminal's quit key */
	bool guest = false;

	if (executing) {
		reason = "host-qmp-quit";
	} else if (state == RUN_SHUTDOWN) {
		reason = "guest-shutdown";
		guest = true;
	} else if (state == RUN_GUEST_PANICKED || state == RUN_INTERNAL_ERROR) {
		reason = "guest-panic";
		guest = true;
	}
	return json_pack("{s:b, s:s}", "guest", guest, "reason", reason);
}

/* The event's "data"; NULL when it has none. */
static json_t *event_data(const struct vm *vm, const char *name)
{
	if (!strcmp(name, "SHUTDOWN"))
		return shutdown_data(vm->state);
	if (!strcmp(name, "RESET"))
		return json_pack("{s:b, s:s}", "guest", !executing, "reason",
				 executing ? "host-qmp-system-reset" : "guest-reset");
	if (!strcmp(name, "BALLOON_CHANGE"))
		return mon_balloon_event(vm);
	if (!strcmp(name, "BLOCK_IO_ERROR"))
		return mon_io_error_event(vm);
	if (!strcmp(name, "DEVICE_TRAY_MOVED"))
		return mon_tray_event(vm);
	if (!strcmp(name, "GUEST_PANICKED"))
		return json_pack("{s:s}", "action", vm->cfg->no_shutdown ? "pause" : "poweroff");
	if (!strcmp(name, "GUEST_CRASHLOADED"))
		return json_pack("{s:s}", "action", "run");
	return NULL;
}

static void session_vm_event(void *ctx, const char *name)
{
	struct mon_session *s = ctx;
	json_t *data;

	s->told_end = !strcmp(name, "SHUTDOWN");
	if (!s->form->event)
		return;
	if (mon_backlog(s) > MON_OUT_EVENTS) {
		if (!s->events_lost)
			log_warn("monitor: a client does not read; events are lost to it");
		s->events_lost = true;
		return;
	}
	data = event_data(s->mon.vm, name);
	s->form->event(s, name, data);
	json_decref(data);
}

void mon_tell_end(struct vm *vm)
{
	for (struct mon_session *s = sessions; s; s = s->next) {
		if (s->mon.vm == vm && !s->told_end)
			session_vm_event(s, "SHUTDOWN");
	}
}

/* --- making and ending --- */

static int add(struct vm *vm, struct chardev *c, const struct mon_form *form, struct err *e)
{
	struct mon_session *s = calloc(1, form->size);
	int ret;

	if (!s)
		return err_set(e, ERR_HOST, ENOMEM, "not enough memory for a monitor");
	s->mon.vm = vm;
	s->form = form;
	s->shared = chardev_wants_monitor(c);
	ret = chardev_attach(c, &session_client, s, &s->port, e);
	if (ret < 0) {
		form->closed(s);
		free(s);
		return ret;
	}
	s->listener = (struct vm_listener){ .event = session_vm_event, .ctx = s };
	vm_listen(vm, &s->listener);
	s->next = sessions;
	sessions = s;
	return 0;
}

int monitor_add_text(struct vm *vm, struct chardev *c, struct err *e)
{
	return add(vm, c, &mon_text_form, e);
}

int monitor_add_qmp(struct vm *vm, struct chardev *c, struct err *e)
{
	return add(vm, c, &mon_qmp_form, e);
}

/* A peer that reads shall get the answer to its quit; one that does not holds nothing up. */
static void say_last_words(struct mon_session *s)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	for (int i = 0; i < 200; i++) {
		flush(s);
		if (!mon_backlog(s))
			return;
		nanosleep(&ms, NULL);
	}
}

void monitors_destroy(struct vm *vm)
{
	struct mon_session **p = &sessions;

	mon_tell_end(vm);
	while (*p) {
		struct mon_session *s = *p;

		if (s->mon.vm != vm) {
			p = &s->next;
			continue;
		}
		*p = s->next;
		vm_unlisten(vm, &s->listener);
		say_last_words(s);
		chardev_detach(s->port);
		forget_peer(s);
		free(s);
	}
}
