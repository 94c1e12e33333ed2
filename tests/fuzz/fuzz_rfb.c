/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A real RFB server and a client that says anything. The first byte chooses how far the
 * connection has come before: 0 nothing said, 1 the version, 2 the security type, 3 all of the
 * beginning, 4 a websocket's request is to come, 5 it has come and what follows is in frames. All
 * that is sent back is read; then the client has gone and left nothing.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../src/display/rfb.h"
#include "display.h"
#include "input.h"
#include "loop.h"
#include "machine.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WIDTH = 150, HEIGHT = 50, STAGES = 6 };

static struct machine m;
static struct screen *screen;
static struct rfb *rfb;

static void expect(int ok)
{
	if (!ok)
		abort();
}

/* Something of everything: one colour, few, many. */
static void update(void *card, struct screen *s, bool all)
{
	struct surface *f = &s->surface;

	if (f->width == WIDTH)
		return;
	expect(!screen_resize(s, WIDTH, HEIGHT));
	for (unsigned i = 0; i < WIDTH * HEIGHT; i++)
		f->pixel[i] = i % WIDTH < 50    ? 0x123456
			      : i % WIDTH < 100 ? i % 3 * 0x224466
						: i * 2654435761u & 0xffffff;
	screen_damage(s, 0, 0, WIDTH, HEIGHT);
}

static const struct screen_ops ops = { .update = update };

static void key(void *ctx, unsigned code, bool down)
{
}

static void move(void *ctx, int dx, int dy, int wheel, unsigned buttons)
{
}

static struct input_device keyboard = { .name = "keyboard", .key = key };
static struct input_device mouse = { .name = "mouse", .move = move };

static void *run_loop(void *l)
{
	loop_run(l);
	return NULL;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const struct rfb_opts o = { .name = "Fuzz" };
	pthread_t t;

	signal(SIGPIPE, SIG_IGN);
	expect(!loop_create(&m.loop, NULL) && !screen_create(&m, &ops, NULL, &screen, NULL));
	input_add(&m, &keyboard);
	input_add(&m, &mouse);
	expect(!rfb_create(&m, m.loop, &o, &rfb, NULL));
	expect(!pthread_create(&t, NULL, run_loop, m.loop));
	return 0;
}

struct adding {
	int fd, rc;
	bool websocket;
};

static void add(void *ctx)
{
	struct adding *a = ctx;

	a->rc = rfb_add_client(rfb, a->fd, a->websocket);
}

static void count(void *ctx)
{
	*(unsigned *)ctx = rfb_clients(rfb);
}

/* What is not taken is not said: the server may have closed. */
static void say(int fd, const void *buf, size_t n)
{
	char junk[16384];

	for (size_t at = 0; at < n;) {
		ssize_t done =
			send(fd, (const char *)buf + at, n - at, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (done < 0 && errno != EAGAIN)
			return;
		at += done > 0 ? (size_t)done : 0;
		while (recv(fd, junk, sizeof(junk), MSG_DONTWAIT) > 0)
			;
	}
}

static void begin(int fd, unsigned stage)
{
	static const char ask[] = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
				  "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
				  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
	char c;

	if (stage == 5) {
		/* It takes no more before it has answered. */
		if (send(fd, ask, sizeof(ask) - 1, MSG_NOSIGNAL) < 0 || recv(fd, &c, 1, 0) != 1)
			return;
	}
	if (stage >= 1 && stage <= 3)
		say(fd, "RFB 003.008\n", 12);
	if (stage >= 2 && stage <= 3)
		say(fd, "\1", 1);
	if (stage == 3)
		say(fd, "\1", 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct timespec pause = { .tv_nsec = 20000 };
	unsigned stage = size ? data[0] % STAGES : 0, n = 1;
	struct adding a = { .websocket = stage >= 4 };
	char junk[16384];
	int fd[2];

	if (!size)
		return 0;
	expect(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd));
	a.fd = fd[1];
	loop_call(m.loop, add, &a);
	expect(!a.rc);
	begin(fd[0], stage);
	say(fd[0], data + 1, size - 1);
	shutdown(fd[0], SHUT_WR);
	while (recv(fd[0], junk, sizeof(junk), 0) > 0)
		;
	close(fd[0]);
	for (loop_call(m.loop, count, &n); n; loop_call(m.loop, count, &n))
		nanosleep(&pause, NULL);
	return 0;
}
