/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine with a screen and an RFB server on a loop of its own thread, and the client's end of
 * connections to it: bytes on sockets.
 */
#ifndef POSADA_TEST_RFB_GUEST_H
#define POSADA_TEST_RFB_GUEST_H

#include <errno.h>
#include <nettle/des.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "../../src/display/rfb.h"
#include "display.h"
#include "err.h"
#include "input.h"
#include "loop.h"
#include "machine.h"
#include "suite.h"

enum { WIDTH = 200, HEIGHT = 100, PATIENCE_S = 20 };

static struct guest {
	struct machine m;
	pthread_t thread;
	struct screen *screen;
	struct rfb *rfb;
	/* for the next update of the card */
	struct {
		unsigned x, y, width, height;
		uint32_t colour;
		bool set;
	} fill;
	unsigned want_width, want_height;
	atomic_uint updates;
	/* what input devices were told: "+30-30 m1,2 w-1 b1 p100,200" */
	pthread_mutex_t lock;
	pthread_cond_t said;
	char heard[8192];
	unsigned buttons;
} guest;

/* --- devices -------------------------------------------------------------------------------- */

__attribute__((format(printf, 1, 2))) static inline void hear(const char *fmt, ...)
{
	va_list ap;
	size_t n;

	pthread_mutex_lock(&guest.lock);
	n = strlen(guest.heard);
	va_start(ap, fmt);
	vsnprintf(guest.heard + n, sizeof(guest.heard) - n, fmt, ap);
	va_end(ap);
	pthread_cond_broadcast(&guest.said);
	pthread_mutex_unlock(&guest.lock);
}

static void hear_key(void *ctx, unsigned code, bool down)
{
	hear("%c%u", down ? '+' : '-', code);
}

static void hear_rest(int wheel, unsigned buttons)
{
	if (wheel)
		hear(" w%d", wheel);
	if (buttons != guest.buttons)
		hear(" b%u", buttons);
	guest.buttons = buttons;
}

static void hear_move(void *ctx, int dx, int dy, int wheel, unsigned buttons)
{
	if (dx || dy)
		hear(" m%d,%d", dx, dy);
	hear_rest(wheel, buttons);
}

static void hear_point(void *ctx, unsigned x, unsigned y, int wheel, unsigned buttons)
{
	hear(" p%u,%u", x, y);
	hear_rest(wheel, buttons);
}

static struct input_device keyboard = { .name = "keyboard", .key = hear_key };
static struct input_device mouse = { .name = "mouse", .move = hear_move };
static struct input_device tablet = { .name = "tablet", .point = hear_point };

/* Waits until this is what was heard since the last time. */
static inline void expect_heard(const char *what)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += PATIENCE_S;
	pthread_mutex_lock(&guest.lock);
	while (strcmp(guest.heard, what) && !pthread_cond_timedwait(&guest.said, &guest.lock, &end))
		;
	ck_assert_str_eq(guest.heard, what);
	guest.heard[0] = 0;
	pthread_mutex_unlock(&guest.lock);
}

/* --- the card: it draws what guest.fill says ----------------------------------------------------
 */

static uint32_t pattern(unsigned x, unsigned y)
{
	return (x * 7 % 256) << 16 | (y * 5 % 256) << 8 | ((x ^ y) % 256);
}

static void card_update(void *card, struct screen *s, bool all)
{
	struct surface *f = &s->surface;

	atomic_fetch_add(&guest.updates, 1);
	if (f->width != guest.want_width || f->height != guest.want_height) {
		ck_assert_int_eq(screen_resize(s, guest.want_width, guest.want_height), 0);
		for (unsigned y = 0; y < f->height; y++)
			for (unsigned x = 0; x < f->width; x++)
				f->pixel[y * f->width + x] = pattern(x, y);
		screen_damage(s, 0, 0, f->width, f->height);
	}
	if (!guest.fill.set)
		return;
	guest.fill.set = false;
	for (unsigned y = 0; y < guest.fill.height; y++)
		for (unsigned x = 0; x < guest.fill.width; x++)
			f->pixel[(guest.fill.y + y) * f->width + guest.fill.x + x] =
				guest.fill.colour;
	screen_damage(s, guest.fill.x, guest.fill.y, guest.fill.width, guest.fill.height);
}

static int card_watch(void *card, bool on)
{
	return 0;
}

static const struct screen_ops card_ops = { .update = card_update, .watch = card_watch };

struct fill {
	unsigned x, y, width, height;
	uint32_t colour;
};

static void do_fill(void *ctx)
{
	const struct fill *f = ctx;

	guest.fill.x = f->x;
	guest.fill.y = f->y;
	guest.fill.width = f->width;
	guest.fill.height = f->height;
	guest.fill.colour = f->colour;
	guest.fill.set = true;
	screen_touch(guest.screen);
}

/* The guest fills a part of its screen. */
static inline void draw(unsigned x, unsigned y, unsigned width, unsigned height, uint32_t colour)
{
	struct fill f = { x, y, width, height, colour };

	loop_call(guest.m.loop, do_fill, &f);
}

static void do_resize(void *ctx)
{
	const unsigned *size = ctx;

	guest.want_width = size[0];
	guest.want_height = size[1];
	screen_touch(guest.screen);
}

static inline void set_mode(unsigned width, unsigned height)
{
	unsigned size[2] = { width, height };

	loop_call(guest.m.loop, do_resize, size);
}

static inline uint32_t pixel_of(const uint8_t *p)
{
	return (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

/* --- life
 * ------------------------------------------------------------------------------------------ */

static void *run_loop(void *l)
{
	loop_run(l);
	return NULL;
}

static inline void guest_start(const struct rfb_opts *o)
{
	static const struct rfb_opts plain = { .name = "Test" };
	struct err e = { 0 };

	memset(&guest, 0, sizeof(guest));
	signal(SIGPIPE, SIG_IGN);
	guest.want_width = WIDTH;
	guest.want_height = HEIGHT;
	pthread_mutex_init(&guest.lock, NULL);
	pthread_cond_init(&guest.said, NULL);
	ck_assert_int_eq(loop_create(&guest.m.loop, &e), 0);
	ck_assert_int_eq(screen_create(&guest.m, &card_ops, &guest, &guest.screen, &e), 0);
	input_add(&guest.m, &keyboard);
	input_add(&guest.m, &mouse);
	ck_assert_msg(!rfb_create(&guest.m, guest.m.loop, o ? o : &plain, &guest.rfb, &e), "%s",
		      e.msg);
	ck_assert_int_eq(pthread_create(&guest.thread, NULL, run_loop, guest.m.loop), 0);
}

static inline void guest_stop(void)
{
	loop_quit(guest.m.loop);
	pthread_join(guest.thread, NULL);
	rfb_destroy(guest.rfb);
	input_remove(&guest.m, &keyboard);
	input_remove(&guest.m, &mouse);
	input_remove(&guest.m, &tablet);
	screen_destroy(guest.screen);
	input_free(&guest.m);
	loop_destroy(guest.m.loop);
}

/* --- a client
 * ---------------------------------------------------------------------------------------- */

struct adding {
	int fd, rc;
	bool websocket;
};

static void do_add(void *ctx)
{
	struct adding *a = ctx;

	a->rc = rfb_add_client(guest.rfb, a->fd, a->websocket);
}

/* The client's end; -1: the server refused. */
static inline int dial_any(bool websocket)
{
	struct timeval patience = { .tv_sec = PATIENCE_S };
	struct adding a = { .websocket = websocket };
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	a.fd = fd[1];
	loop_call(guest.m.loop, do_add, &a);
	setsockopt(fd[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (!a.rc)
		return fd[0];
	close(fd[0]);
	return -1;
}

static inline int dial(void)
{
	int fd = dial_any(false);

	ck_assert_int_ge(fd, 0);
	return fd;
}

/* What a server that has closed refuses is of no interest. */
static inline void say(int fd, const void *buf, size_t n)
{
	while (n) {
		ssize_t done = send(fd, buf, n, MSG_NOSIGNAL);

		if (done < 0 && (errno == EPIPE || errno == ECONNRESET))
			return;
		ck_assert_int_gt(done, 0);
		buf = (const char *)buf + done;
		n -= (size_t)done;
	}
}

/* How many of n bytes came before the end. */
static inline size_t hear_up_to(int fd, void *buf, size_t n)
{
	size_t at = 0;

	while (at < n) {
		ssize_t got = recv(fd, (char *)buf + at, n - at, 0);

		if (got < 0 && errno == ECONNRESET)
			break;
		ck_assert_msg(got >= 0, "after %zu bytes: %s", at, strerror(errno));
		if (!got)
			break;
		at += (size_t)got;
	}
	return at;
}

static inline void get(int fd, void *buf, size_t n)
{
	size_t got = hear_up_to(fd, buf, n);

	ck_assert_msg(got == n, "the connection ended after %zu of %zu bytes", got, n);
}

/* Until the server closes. */
static inline void expect_end(int fd)
{
	char junk[4096];

	while (hear_up_to(fd, junk, sizeof(junk)) == sizeof(junk))
		;
}

static inline void expect_silence(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	ck_assert_int_eq(poll(&p, 1, ms), 0);
}

static inline unsigned u16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static inline uint32_t u32(const uint8_t *p)
{
	return (uint32_t)u16(p) << 16 | u16(p + 2);
}

/* Bytes, by hexadecimal digits; blanks between them are of no meaning. */
static inline size_t bytes(const char *hex, uint8_t *out)
{
	size_t n = 0;
	unsigned v;

	for (; *hex; hex++) {
		if (*hex == ' ')
			continue;
		ck_assert_int_eq(sscanf(hex, "%2x", &v), 1);
		out[n++] = (uint8_t)v;
		hex++;
	}
	return n;
}

static inline void say_hex(int fd, const char *hex)
{
	uint8_t buf[4096];

	say(fd, buf, bytes(hex, buf));
}

/* The server's 12 bytes, and ours. */
static inline void version(int fd, const char *ours)
{
	char theirs[12];

	get(fd, theirs, sizeof(theirs));
	ck_assert_int_eq(memcmp(theirs, "RFB 003.008\n", 12), 0);
	say(fd, ours, 12);
}

struct init {
	unsigned width, height;
	char name[64];
};

static inline struct init server_init(int fd)
{
	struct init i = { 0 };
	uint8_t b[24];

	get(fd, b, sizeof(b));
	i.width = u16(b);
	i.height = u16(b + 2);
	ck_assert_int_eq(memcmp(b + 4, "\x20\x18\0\1\0\xff\0\xff\0\xff\x10\x08\0\0\0\0", 16), 0);
	ck_assert_uint_lt(u32(b + 20), sizeof(i.name));
	get(fd, i.name, u32(b + 20));
	return i;
}

/* A client that sees the screen, without a password. */
static inline struct init enter(int fd, bool shared)
{
	uint8_t b[4];

	version(fd, "RFB 003.008\n");
	get(fd, b, 2);
	ck_assert_int_eq(memcmp(b, "\1\1", 2), 0);
	say(fd, "\1", 1);
	get(fd, b, 4);
	ck_assert_uint_eq(u32(b), 0);
	say(fd, shared ? "\1" : "\0", 1);
	return server_init(fd);
}

static inline int connected(void)
{
	int fd = dial();

	enter(fd, true);
	return fd;
}

static inline void request(int fd, bool incremental, unsigned x, unsigned y, unsigned width,
			   unsigned height)
{
	uint8_t m[10] = { 3, incremental };

	m[2] = (uint8_t)(x >> 8), m[3] = (uint8_t)x;
	m[4] = (uint8_t)(y >> 8), m[5] = (uint8_t)y;
	m[6] = (uint8_t)(width >> 8), m[7] = (uint8_t)width;
	m[8] = (uint8_t)(height >> 8), m[9] = (uint8_t)height;
	say(fd, m, sizeof(m));
}

static inline void encodings(int fd, const int32_t *e, unsigned n)
{
	uint8_t m[4 + 64 * 4] = { 2, 0, 0, (uint8_t)n };

	for (unsigned i = 0; i < n; i++) {
		m[4 + 4 * i] = (uint8_t)((uint32_t)e[i] >> 24);
		m[5 + 4 * i] = (uint8_t)((uint32_t)e[i] >> 16);
		m[6 + 4 * i] = (uint8_t)((uint32_t)e[i] >> 8);
		m[7 + 4 * i] = (uint8_t)e[i];
	}
	say(fd, m, 4 + 4 * n);
}

struct rect {
	unsigned x, y, width, height;
	int32_t encoding;
};

static inline unsigned update_begins(int fd)
{
	uint8_t b[4];

	get(fd, b, 4);
	ck_assert_uint_eq(b[0], 0);
	return u16(b + 2);
}

static inline struct rect rect_begins(int fd)
{
	uint8_t b[12];

	get(fd, b, 12);
	return (struct rect){ u16(b), u16(b + 2), u16(b + 4), u16(b + 6), (int32_t)u32(b + 8) };
}

/* What a client sees that takes raw pixels of 32 bits. */
struct view {
	unsigned width, height;
	uint8_t pixel[640 * 480 * 4];
	size_t fresh; /* pixels that came with the last update */
};

static inline void take_update(int fd, struct view *v)
{
	unsigned n = update_begins(fd);

	v->fresh = 0;
	while (n--) {
		struct rect r = rect_begins(fd);

		if (r.encoding == -223) {
			ck_assert_uint_le(r.width * r.height * 4, sizeof(v->pixel));
			v->width = r.width;
			v->height = r.height;
			continue;
		}
		ck_assert_int_eq(r.encoding, 0);
		ck_assert_uint_le(r.x + r.width, v->width);
		ck_assert_uint_le(r.y + r.height, v->height);
		for (unsigned y = 0; y < r.height; y++)
			get(fd, v->pixel + ((r.y + y) * v->width + r.x) * 4ul, r.width * 4ul);
		v->fresh += r.width * r.height;
	}
}

static inline uint32_t seen(const struct view *v, unsigned x, unsigned y)
{
	return pixel_of(v->pixel + (y * v->width + x) * 4ul);
}

#endif
