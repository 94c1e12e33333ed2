/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character backends, the common part: naming and finding them, attaching
 * front ends, moving bytes. See include/chardev.h, and chardev_int.h for how
 * backends plug in.
 *
 * chardev_write and chardev_accept come from any thread, the vCPUs' above all;
 * everything else runs on the main loop.
 */
#include "chardev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "chardev_int.h"
#include "err.h"
#include "log.h"
#include "opts.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* How often a descriptor that epoll does not take is tried again. */
#define RETRY_NS 10000000u

struct chardev_set {
	struct loop *loop;
	struct chardev_host host;
	struct chardev *first, **end;
};

static const struct chardev_backend *const backends[] = {
	&chardev_stdio, &chardev_pty, &chardev_file, &chardev_socket, &chardev_null,
};

/* --- output ---------------------------------------------------------------- */

/* Lock held. */
static ssize_t backend_write(struct chardev *c, const void *buf, size_t len)
{
	ssize_t n;

	if (c->ops->write)
		return c->ops->write(c, buf, len);
	if (c->out_fd < 0)
		return (ssize_t)len;
	do
		n = write(c->out_fd, buf, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Lock held. How much went out; *error: 0, EAGAIN or what broke the stream. */
static size_t write_some(struct chardev *c, const uint8_t *buf, size_t len, int *error)
{
	size_t done = 0;

	*error = 0;
	while (done < len) {
		ssize_t n = backend_write(c, buf + done, len - done);

		if (n <= 0) {
			*error = n ? (int)-n : EAGAIN;
			break;
		}
		done += (size_t)n;
	}
	return done;
}

size_t chardev_write(struct chardev_port *p, const void *buf, size_t len)
{
	struct chardev *c;
	size_t done;
	int error;

	if (!p)
		return len;
	c = p->c;
	pthread_mutex_lock(&c->lock);
	done = write_some(c, buf, len, &error);
	if (error == EAGAIN) {
		p->starved = true;
		chardev_kick(c);
	} else if (error) {
		c->write_error = error;
		chardev_kick(c);
		done = len; /* nobody will ever read it */
	}
	pthread_mutex_unlock(&c->lock);
	return done;
}

void chardev_say(struct chardev *c, const char *text)
{
	int error;

	pthread_mutex_lock(&c->lock);
	write_some(c, (const uint8_t *)text, strlen(text), &error);
	pthread_mutex_unlock(&c->lock);
}

static bool any_starved(struct chardev *c)
{
	bool starved = false;

	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < c->n_ports; i++)
		starved |= c->port[i]->starved;
	pthread_mutex_unlock(&c->lock);
	return starved;
}

/* Room again, or nobody left to hold output back for. */
static void tell_writable(struct chardev *c)
{
	for (unsigned i = 0; i < c->n_ports; i++) {
		struct chardev_port *p = c->port[i];
		bool starved;

		pthread_mutex_lock(&c->lock);
		starved = p->starved;
		p->starved = false;
		pthread_mutex_unlock(&c->lock);
		if (starved && p->client->writable)
			p->client->writable(p->ctx);
	}
}

static void report_write_error(struct chardev *c, int error)
{
	bool full = error == ENOSPC || error == EDQUOT;

	if (!c->reported && error == EPIPE)
		log_warn("chardev %s (%s): its reader has gone; the guest goes on, its output is "
			 "lost",
			 c->id, c->desc);
	else if (!c->reported)
		log_warn("chardev %s (%s): cannot write: %s; the guest goes on, its output is lost",
			 c->id, c->desc, strerror(error));
	c->reported = true;
	if (!full) /* a full disk may have room again */
		chardev_end_output(c);
}

/* --- input ----------------------------------------------------------------- */

size_t chardev_input_room(struct chardev *c)
{
	struct chardev_port *p = c->port[0];

	if (c->mux)
		return mux_room(c);
	if (!p)
		return 0;
	/* A front end that takes no input at all still wants to know when the peer has gone. */
	return p->client->can_read ? p->client->can_read(p->ctx) : SIZE_MAX;
}

static void take_input(struct chardev *c)
{
	struct chardev_port *p = c->port[0];
	uint8_t buf[4096];
	size_t room;
	ssize_t n;

	if (!c->started || c->in_fd < 0)
		return;
	room = chardev_input_room(c);
	if (!room)
		return;
	if (room > sizeof(buf))
		room = sizeof(buf);
	if (c->ops->read) {
		n = c->ops->read(c, buf, room);
	} else {
		n = read(c->in_fd, buf, room);
		n = n < 0 ? -errno : n;
	}
	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n <= 0) {
		if (c->ops->eof)
			c->ops->eof(c);
		else
			chardev_end_input(c);
	} else if (c->mux) {
		mux_input(c, buf, (size_t)n);
	} else if (p->client->can_read) {
		p->client->read(p->ctx, buf, (size_t)n);
	}
}

/* --- watching -------------------------------------------------------------- */

static void update(struct chardev *c);

static void on_fd(void *ctx, uint32_t events)
{
	struct chardev *c = ctx;

	if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
		tell_writable(c);
	/* Callbacks may have ended the connection. */
	if (c->in.loop && events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		take_input(c);
	update(c);
}

static void on_out_fd(void *ctx, uint32_t events)
{
	tell_writable(ctx);
	update(ctx);
}

/* 0, or -EPERM when epoll does not take fd (regular files, /dev/null). */
static int watch(struct chardev *c, struct loop_fd *f, int fd, uint32_t events,
		 void (*cb)(void *ctx, uint32_t events))
{
	if (f->loop)
		return loop_fd_mod(f, events);
	return events ? loop_fd_add(c->loop, f, fd, events, cb, c) : 0;
}

/* Watches exactly what can go on now. */
static void update(struct chardev *c)
{
	bool same = c->in_fd >= 0 && c->in_fd == c->out_fd;
	bool in = c->started && c->in_fd >= 0 && chardev_input_room(c);
	bool out = any_starved(c);

	if (out && c->out_fd < 0) {
		chardev_kick(c); /* tell_writable, from there: nothing holds it back any more */
		out = false;
	}
	if (c->in_fd >= 0) {
		uint32_t events = (in ? EPOLLIN : 0u) | (same && out ? EPOLLOUT : 0u);

		/* What epoll does not take never blocks: read it round after round. */
		c->in_unwatchable = watch(c, &c->in, c->in_fd, events, on_fd) != 0;
		if (c->in_unwatchable)
			chardev_kick(c);
		if (c->mux && c->drop_input && !in)
			loop_timer_set(&c->later, loop_now_ns() + MUX_PATIENCE_NS);
	}
	if (c->out_fd >= 0 && !same) {
		c->out_unwatchable =
			watch(c, &c->out, c->out_fd, out ? EPOLLOUT : 0u, on_out_fd) != 0;
		if (c->out_unwatchable)
			loop_timer_set(&c->later, loop_now_ns() + RETRY_NS);
	}
}

void chardev_end_input(struct chardev *c)
{
	loop_fd_del(&c->in);
	c->in_fd = -1;
}

void chardev_end_output(struct chardev *c)
{
	loop_fd_del(&c->out);
	pthread_mutex_lock(&c->lock);
	c->out_fd = -1;
	pthread_mutex_unlock(&c->lock);
	/* update() lets the front ends know whose output was held back. */
}

void chardev_connect(struct chardev *c, int in_fd, int out_fd)
{
	pthread_mutex_lock(&c->lock);
	c->in_fd = in_fd;
	c->out_fd = out_fd;
	c->connected = true;
	c->write_error = 0;
	pthread_mutex_unlock(&c->lock);
	if (c->n_ports)
		c->port[c->focus]->announce = true;
	chardev_kick(c);
}

void chardev_disconnect(struct chardev *c)
{
	pthread_mutex_lock(&c->lock);
	c->connected = false;
	pthread_mutex_unlock(&c->lock);
	chardev_end_input(c);
	chardev_end_output(c);
	for (unsigned i = 0; i < c->n_ports; i++) {
		struct chardev_port *p = c->port[i];
		bool opened = p->opened;

		p->announce = p->opened = false;
		if (opened && p->client->event)
			p->client->event(p->ctx, CHARDEV_CLOSED);
	}
}

static void announce(struct chardev *c)
{
	for (unsigned i = 0; i < c->n_ports; i++) {
		struct chardev_port *p = c->port[i];

		if (!p->announce)
			continue;
		p->announce = false;
		p->opened = true;
		if (p->client->event)
			p->client->event(p->ctx, CHARDEV_OPENED);
	}
}

void chardev_kick(struct chardev *c)
{
	loop_timer_set(&c->kick, 0);
}

static void deal_with_write_error(struct chardev *c)
{
	int error;

	pthread_mutex_lock(&c->lock);
	error = c->write_error;
	c->write_error = 0;
	pthread_mutex_unlock(&c->lock);
	if (error && c->ops->write_failed)
		c->ops->write_failed(c, error);
	else if (error)
		report_write_error(c, error);
}

static void on_kick(void *ctx)
{
	struct chardev *c = ctx;

	if (!c->started) {
		c->started = true;
		if (c->ops->start)
			c->ops->start(c);
	}
	deal_with_write_error(c);
	announce(c);
	if (c->out_fd < 0 || c->out_unwatchable)
		tell_writable(c);
	if (c->mux)
		mux_flush(c);
	if (c->in_unwatchable)
		take_input(c);
	update(c);
}

/* --- front ends ------------------------------------------------------------ */

int chardev_attach(struct chardev *c, const struct chardev_client *client, void *ctx,
		   struct chardev_port **out, struct err *e)
{
	struct chardev_port *p;

	if (c->n_ports && !c->mux) {
		err_set(e, ERR_USAGE, EBUSY, "chardev '%s' is in use by another device", c->id);
		err_hint(e, "give each device a chardev of its own, or share this one with mux=on");
		return -EBUSY;
	}
	if (c->n_ports == MUX_PORTS)
		return err_set(e, ERR_USAGE, EBUSY, "chardev '%s' is in use by %d devices already",
			       c->id, MUX_PORTS);
	p = calloc(1, sizeof(*p));
	if (p && c->mux)
		p->pending = malloc(MUX_PENDING);
	if (!p || (c->mux && !p->pending)) {
		free(p);
		return err_set(e, ERR_HOST, ENOMEM, "no memory for chardev '%s'", c->id);
	}
	p->c = c;
	p->client = client;
	p->ctx = ctx;
	c->port[c->n_ports++] = p;
	p->announce = c->connected && c->port[c->focus] == p;
	chardev_kick(c);
	*out = p;
	return 0;
}

static void port_free(struct chardev_port *p)
{
	free(p->pending);
	free(p);
}

void chardev_set_focus(struct chardev *c, unsigned i)
{
	struct chardev_port *old = c->focus < c->n_ports ? c->port[c->focus] : NULL;

	if (old && c->focus != i && old->client->event)
		old->client->event(old->ctx, CHARDEV_COVERED);
	c->focus = i;
	if (i < c->n_ports)
		c->port[i]->announce = c->connected;
	chardev_kick(c);
}

void chardev_detach(struct chardev_port *p)
{
	struct chardev *c;
	unsigned i = 0, gone;

	if (!p)
		return;
	c = p->c;
	while (c->port[i] != p)
		i++;
	gone = i;
	c->n_ports--;
	for (; i < c->n_ports; i++)
		c->port[i] = c->port[i + 1];
	c->port[i] = NULL;
	/* The focus stays with whom it was; the first takes over when that one leaves. */
	if (gone < c->focus)
		c->focus--;
	else if (gone == c->focus)
		chardev_set_focus(c, 0);
	port_free(p);
	update(c);
}

void chardev_accept(struct chardev_port *p)
{
	if (p)
		chardev_kick(p->c);
}

void chardev_quit(struct chardev *c)
{
	if (c->set->host.quit)
		c->set->host.quit(c->set->host.ctx);
}

/* --- the set --------------------------------------------------------------- */

int chardev_set_create(struct chardev_set **out, struct loop *l, const struct chardev_host *host,
		       struct err *e)
{
	struct chardev_set *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(e, ERR_HOST, ENOMEM, "no memory for character backends");
	s->loop = l;
	if (host)
		s->host = *host;
	s->end = &s->first;
	*out = s;
	return 0;
}

static void chardev_free(struct chardev *c)
{
	for (unsigned i = 0; i < c->n_ports; i++)
		port_free(c->port[i]);
	c->n_ports = 0;
	deal_with_write_error(c); /* the user may not have heard of it yet */
	loop_fd_del(&c->in);
	loop_fd_del(&c->out);
	if (c->opened && c->ops->close)
		c->ops->close(c);
	loop_timer_cancel(&c->kick);
	loop_timer_cancel(&c->later);
	pthread_mutex_destroy(&c->lock);
	props_free(c->ops->props, c);
	free(c);
}

void chardev_set_destroy(struct chardev_set *s)
{
	struct chardev *c;

	if (!s)
		return;
	while ((c = s->first)) {
		s->first = c->next;
		chardev_free(c);
	}
	free(s);
}

struct chardev *chardev_find(struct chardev_set *s, const char *id)
{
	struct chardev *c = s->first;

	while (c && strcmp(c->id, id))
		c = c->next;
	return c;
}

bool chardev_wants_monitor(const struct chardev *c)
{
	return c->wants_monitor;
}

void chardev_each(struct chardev_set *s,
		  void (*fn)(void *ctx, const char *id, const char *description), void *ctx)
{
	char text[sizeof(s->first->desc) + 16];

	for (struct chardev *c = s->first; c; c = c->next) {
		snprintf(text, sizeof(text), "%s%s", c->connected ? "" : "disconnected:", c->desc);
		fn(ctx, c->id, text);
	}
}

void chardev_help(FILE *f)
{
	fputs("Character backends, as in -chardev BACKEND,id=ID[,KEY=VALUE...]:\n", f);
	for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
		fprintf(f, "\n%s: %s\n", backends[i]->name, backends[i]->help);
		props_help(backends[i]->props, f);
	}
	fputs("\nShort forms for -serial, -debugcon, -monitor and -qmp: stdio, mon:stdio, pty,\n"
	      "file:PATH, unix:PATH,server=on,wait=off, tcp:HOST:PORT,server=on,wait=off, null, "
	      "none,\n"
	      "and chardev:ID for one made by -chardev.\n",
	      f);
}

/* --- making one ------------------------------------------------------------ */

static const struct chardev_backend *find_backend(const char *name, struct err *e)
{
	const char *names[ARRAY_SIZE(backends)];

	for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
		names[i] = backends[i]->name;
		if (!strcmp(name, names[i]))
			return backends[i];
	}
	err_set(e, ERR_USAGE, EINVAL, "no backend '%s'", name);
	err_suggest(e, name, names, ARRAY_SIZE(names));
	return NULL;
}

/* The spellings "nowait" and "noserver", from before wait=off and server=off. */
static int old_negations(struct opts *o, struct err *e)
{
	for (size_t i = 0; i < o->n; i++) {
		struct opt *opt = &o->opt[i];

		if (!opt->bare || (strcmp(opt->key, "nowait") && strcmp(opt->key, "noserver")))
			continue;
		memmove(opt->key, opt->key + 2, strlen(opt->key + 2) + 1);
		free(opt->val);
		opt->val = strdup("off");
		if (!opt->val)
			return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	}
	return 0;
}

static int check_id(struct chardev_set *s, const char *id, struct err *e)
{
	if (!id || !*id) {
		err_set(e, ERR_USAGE, EINVAL, "id= is missing");
		err_hint(e, "add id=NAME; devices refer to the chardev by that name");
		return -EINVAL;
	}
	if (chardev_find(s, id)) {
		err_set(e, ERR_USAGE, EEXIST, "the id '%s' is taken by another chardev", id);
		err_hint(e, "every chardev needs an id of its own");
		return -EEXIST;
	}
	return 0;
}

static int create(struct chardev_set *s, struct opts *o, struct chardev **out, struct err *e)
{
	const struct chardev_backend *ops;
	const char *name = opts_get(o, "backend");
	struct chardev *c;
	int rc;

	if (!name) {
		err_set(e, ERR_USAGE, EINVAL, "it does not begin with the name of a backend");
		err_hint(e, "as in stdio,id=ID; -chardev help lists the backends");
		return -EINVAL;
	}
	ops = find_backend(name, e);
	if (!ops)
		return -EINVAL;
	c = calloc(1, ops->size);
	if (!c)
		return err_set(e, ERR_HOST, ENOMEM, "no memory for a character backend");
	c->ops = ops;
	c->set = s;
	c->loop = s->loop;
	c->in_fd = c->out_fd = -1;
	c->escape_char = 0x01; /* Ctrl-A */
	pthread_mutex_init(&c->lock, NULL);
	loop_timer_init(&c->kick, c->loop, on_kick, c);
	loop_timer_init(&c->later, c->loop, on_kick, c);
	snprintf(c->desc, sizeof(c->desc), "%s", name);
	props_defaults(ops->props, c);
	rc = old_negations(o, e);
	rc = rc ? rc : props_apply(ops->props, c, o, e);
	rc = rc ? rc : check_id(s, c->id, e);
	if (!rc) {
		c->opened = true;
		rc = ops->open(c, e);
	}
	if (rc) {
		chardev_free(c);
		return rc;
	}
	*s->end = c;
	s->end = &c->next;
	chardev_kick(c); /* to start it */
	*out = c;
	return 0;
}

int chardev_add(struct chardev_set *s, const char *arg, struct err *e)
{
	struct chardev *c;
	struct opts o;
	int rc = opts_parse(&o, arg, "backend", e);

	if (rc)
		return rc;
	rc = create(s, &o, &c, e);
	opts_free(&o);
	return rc;
}

/* --- short forms ----------------------------------------------------------- */

/* Words of other programs' -serial that have no backend here, and what to use. */
static const struct {
	const char *word, *instead;
} unsupported[] = {
	{ "vc",
	  "there is no graphical console to put it on; use stdio, pty or unix:PATH,server=on" },
	{ "telnet", "use tcp:HOST:PORT,server=on,wait=off, and nc or socat instead of telnet" },
	{ "udp", "use tcp:HOST:PORT" },
	{ "websocket", "use tcp:HOST:PORT,server=on,wait=off" },
	{ "pipe", "use file:FIFO for output, or unix:PATH,server=on for both directions" },
	{ "con", "use stdio" },
	{ "msmouse", "there is no serial mouse" },
	{ "braille", "there is no braille display" },
};

static int unknown_word(struct chardev_set *s, const char *word, struct err *e)
{
	static const char *const words[] = {
		"stdio", "mon:stdio", "pty", "file:", "unix:", "tcp:", "null", "none", "chardev:",
	};

	for (size_t i = 0; i < ARRAY_SIZE(unsupported); i++) {
		if (strcmp(word, unsupported[i].word))
			continue;
		err_set(e, ERR_USAGE, ENOTSUP, "'%s' is not supported", word);
		err_hint(e, "%s", unsupported[i].instead);
		return -ENOTSUP;
	}
	err_set(e, ERR_USAGE, EINVAL, "no backend '%s'", word);
	if (chardev_find(s, word))
		err_hint(e, "for the chardev with that id write chardev:%s", word);
	else if (strchr(word, '/'))
		err_hint(e, "to write to that file, write file:%s", word);
	else
		err_suggest(e, word, words, ARRAY_SIZE(words));
	return -EINVAL;
}

static int find_existing(struct chardev_set *s, const char *id, struct chardev **out, struct err *e)
{
	const char *ids[16];
	size_t n = 0;

	*out = chardev_find(s, id);
	if (*out)
		return 0;
	err_set(e, ERR_USAGE, ENOENT, "no chardev has the id '%s'", id);
	for (struct chardev *c = s->first; c && n < ARRAY_SIZE(ids); c = c->next)
		ids[n++] = c->id;
	if (n)
		err_suggest(e, id, ids, n);
	else
		err_hint(e, "make one with -chardev BACKEND,id=%s", id);
	return -ENOENT;
}

/*
 * Writes the long form of a short one to f: "tcp:[::1]:23,server" becomes
 * "socket,host=::1,port=23,server". What follows the first comma stays as it is.
 */
static int expand(struct chardev_set *s, const char *arg, bool mon, FILE *f, struct err *e)
{
	size_t word_len = strcspn(arg, ":,"), head_len;
	char word[32];
	const char *head = arg + word_len + (arg[word_len] == ':');
	bool has_head = arg[word_len] == ':';

	if (word_len >= sizeof(word))
		return unknown_word(s, arg, e);
	memcpy(word, arg, word_len);
	word[word_len] = '\0';
	head_len = strcspn(head, ",");

	if (!strcmp(word, "stdio") || !strcmp(word, "pty") || !strcmp(word, "null")) {
		if (has_head)
			return err_set(e, ERR_USAGE, EINVAL, "'%s' takes no ':%.*s'", word,
				       (int)head_len, head);
		/* With a monitor on the terminal Ctrl-C is the guest's; Ctrl-A x ends the VM. */
		fprintf(f, "%s%s%s", word, mon && !strcmp(word, "stdio") ? ",signal=off" : "",
			arg + word_len);
	} else if (!strcmp(word, "file") && has_head && head_len) {
		fprintf(f, "file,path=%s", head);
	} else if (!strcmp(word, "unix") && has_head && head_len) {
		fprintf(f, "socket,path=%s", head);
	} else if (!strcmp(word, "tcp") && has_head) {
		const char *colon = memrchr(head, ':', head_len);
		const char *host_end = colon;

		if (!colon || colon + 1 == head + head_len) {
			err_set(e, ERR_USAGE, EINVAL, "'tcp:%.*s' has no port", (int)head_len,
				head);
			err_hint(e, "as in tcp:localhost:4444 or tcp::4444,server=on");
			return -EINVAL;
		}
		if (*head == '[' && colon[-1] == ']') {
			head++;
			host_end--;
		}
		fprintf(f, "socket,host=%.*s,port=%s", (int)(host_end - head), head, colon + 1);
	} else if (!strcmp(word, "file") || !strcmp(word, "unix")) {
		return err_set(e, ERR_USAGE, EINVAL, "'%s:' needs a path after it", word);
	} else {
		return unknown_word(s, word, e);
	}
	return 0;
}

int chardev_from_legacy(struct chardev_set *s, const char *arg, const char *default_id,
			struct chardev **out, struct err *e)
{
	bool mon = !strncmp(arg, "mon:", 4);
	char *text = NULL;
	size_t len;
	struct opts o;
	FILE *f;
	int rc;

	*out = NULL;
	if (mon)
		arg += 4;
	if (mon && (!strcmp(arg, "none") || !strncmp(arg, "chardev:", 8))) {
		err_set(e, ERR_USAGE, EINVAL, "'mon:' cannot stand before '%s'", arg);
		err_hint(e, "it goes before stdio, pty, unix: and tcp:; a -chardev takes mux=on");
		return -EINVAL;
	}
	if (!strcmp(arg, "none"))
		return 0;
	if (!strncmp(arg, "chardev:", 8))
		return find_existing(s, arg + 8, out, e);
	f = open_memstream(&text, &len);
	if (!f)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	rc = expand(s, arg, mon, f, e);
	fprintf(f, "%s,id=%s", mon ? ",mux=on" : "", default_id);
	if (fclose(f) && !rc)
		rc = err_set(e, ERR_HOST, ENOMEM, "out of memory");
	if (!rc)
		rc = opts_parse(&o, text, "backend", e);
	free(text);
	if (rc)
		return rc;
	rc = create(s, &o, out, e);
	opts_free(&o);
	if (!rc)
		(*out)->wants_monitor = mon;
	return rc;
}
