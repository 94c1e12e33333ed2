/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The RFB server (src/display/rfb*.c) by bytes on sockets, hostile ones above all. */
#include "rfb_guest.h"

#include <dirent.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

static struct view view;

static void setup(void)
{
	guest_start(NULL);
	view = (struct view){ .width = WIDTH, .height = HEIGHT };
}

static void teardown(void)
{
	guest_stop();
}

static void see_all(int fd)
{
	request(fd, false, 0, 0, view.width, view.height);
	take_update(fd, &view);
}

/* Another client gets the screen, whatever happened before. */
static void expect_well(void)
{
	int fd = connected();

	see_all(fd);
	ck_assert_uint_eq(view.fresh, view.width * view.height);
	close(fd);
}

/* --- the beginning ---------------------------------------------------------------------------- */

START_TEST(begins_in_all_versions)
{
	uint8_t b[8];
	struct init i;
	int fd = dial();

	i = enter(fd, true);
	ck_assert_uint_eq(i.width, WIDTH);
	ck_assert_uint_eq(i.height, HEIGHT);
	ck_assert_str_eq(i.name, "Test");
	close(fd);

	fd = dial();
	version(fd, "RFB 003.007\n");
	get(fd, b, 2);
	say(fd, "\1\1", 2); /* no result is sent */
	ck_assert_uint_eq(server_init(fd).width, WIDTH);
	close(fd);

	fd = dial();
	version(fd, "RFB 003.003\n");
	get(fd, b, 4);
	ck_assert_uint_eq(u32(b), 1);
	say(fd, "\1", 1);
	ck_assert_uint_eq(server_init(fd).width, WIDTH);
	close(fd);

	fd = dial(); /* a later one is answered as the last that is known */
	version(fd, "RFB 004.001\n");
	get(fd, b, 2);
	say(fd, "\1", 1);
	get(fd, b, 4);
	ck_assert_uint_eq(u32(b), 0);
	close(fd);
}
END_TEST

START_TEST(who_says_nothing_is_sent_away)
{
	int fd[4];
	char b[16];

	for (unsigned i = 0; i < 4; i++) {
		fd[i] = dial_any(i == 3);
		if (i == 1)
			say(fd[i], "RFB ", 4);
		if (i == 2)
			version(fd[i], "RFB 003.008\n");
		if (i == 3)
			say(fd[i], "GET / ", 6);
	}
	get(fd[2], b, 2);
	for (unsigned i = 0; i < 4; i++) {
		expect_end(fd[i]);
		close(fd[i]);
	}
}
END_TEST

/* --- passwords ----------------------------------------------------------------------------------
 */

static void answer_challenge(int fd, const char *password)
{
	uint8_t challenge[16], response[16], key[8] = { 0 };
	struct des_ctx des;

	get(fd, challenge, 16);
	for (unsigned i = 0; i < 8 && password[i]; i++)
		for (unsigned bit = 0; bit < 8; bit++)
			key[i] |= (uint8_t)((password[i] >> bit & 1) << (7 - bit));
	des_set_key(&des, key);
	des_encrypt(&des, 16, response, challenge);
	say(fd, response, 16);
}

/* 0: it was right. */
static uint32_t try_password(const char *password, const char *ours)
{
	uint8_t b[4];
	uint32_t result;
	int fd = dial();

	version(fd, ours);
	if (ours[10] == '3') {
		get(fd, b, 4);
		ck_assert_uint_eq(u32(b), 2);
	} else {
		get(fd, b, 2);
		ck_assert_int_eq(memcmp(b, "\1\2", 2), 0);
		say(fd, "\2", 1);
	}
	answer_challenge(fd, password);
	get(fd, b, 4);
	result = u32(b);
	if (result) {
		expect_end(fd);
	} else {
		say(fd, "\1", 1);
		server_init(fd);
	}
	close(fd);
	return result;
}

static void set_password(void *ctx)
{
	rfb_set_password(guest.rfb, ctx);
}

START_TEST(password)
{
	uint8_t b[4];
	int fd;

	loop_call(guest.m.loop, set_password, (void *)"secret");
	ck_assert_uint_eq(try_password("secret", "RFB 003.008\n"), 0);
	ck_assert_uint_eq(try_password("secret", "RFB 003.003\n"), 0);
	ck_assert_uint_eq(try_password("Secret", "RFB 003.008\n"), 1);
	ck_assert_uint_eq(try_password("", "RFB 003.007\n"), 1);
	loop_call(guest.m.loop, set_password, (void *)"longer than eight");
	ck_assert_uint_eq(try_password("longer t", "RFB 003.008\n"), 0);
	/* The type without a password is not on offer. */
	fd = dial();
	version(fd, "RFB 003.008\n");
	get(fd, b, 2);
	say(fd, "\1", 1);
	ck_assert_uint_eq(hear_up_to(fd, b, 4), 0);
	close(fd);
}
END_TEST

START_TEST(no_password_is_nobodys_password)
{
	struct rfb_opts o = { .name = "Test", .need_password = true };

	guest_stop();
	guest_start(&o);
	ck_assert_uint_eq(try_password("", "RFB 003.008\n"), 1);
	loop_call(guest.m.loop, set_password, (void *)"x");
	ck_assert_uint_eq(try_password("x", "RFB 003.008\n"), 0);
}
END_TEST

/* --- pictures
 * -------------------------------------------------------------------------------------- */

START_TEST(shows_the_screen)
{
	int fd = connected();

	see_all(fd);
	ck_assert_uint_eq(view.fresh, WIDTH * HEIGHT);
	for (unsigned y = 0; y < HEIGHT; y++)
		for (unsigned x = 0; x < WIDTH; x++)
			ck_assert_uint_eq(seen(&view, x, y), pattern(x, y));
	close(fd);
}
END_TEST

START_TEST(sends_what_changed_and_no_more)
{
	int fd = connected();

	see_all(fd);
	request(fd, true, 0, 0, WIDTH, HEIGHT);
	expect_silence(fd, 100);
	draw(70, 20, 3, 2, 0xabcdef);
	take_update(fd, &view);
	ck_assert_uint_eq(view.fresh, 64 * 16); /* one tile */
	ck_assert_uint_eq(seen(&view, 70, 20), 0xabcdef);
	ck_assert_uint_eq(seen(&view, 72, 21), 0xabcdef);
	ck_assert_uint_eq(seen(&view, 73, 21), pattern(73, 21));
	/* Drawn again as it is: not sent. */
	request(fd, true, 0, 0, WIDTH, HEIGHT);
	draw(70, 20, 3, 2, 0xabcdef);
	expect_silence(fd, 100);
	/* At the edges, where tiles are cut. */
	draw(WIDTH - 1, HEIGHT - 1, 1, 1, 0x123456);
	take_update(fd, &view);
	ck_assert_uint_eq(view.fresh, (WIDTH % 64) * (HEIGHT % 16));
	ck_assert_uint_eq(seen(&view, WIDTH - 1, HEIGHT - 1), 0x123456);
	/* Not asked for: not sent; asked for later: as it is then. */
	draw(0, 0, 1, 1, 0x111111);
	expect_silence(fd, 100);
	draw(0, 0, 1, 1, 0x222222);
	request(fd, true, 0, 0, WIDTH, HEIGHT);
	take_update(fd, &view);
	if (seen(&view, 0, 0) != 0x222222) { /* the second was not drawn yet */
		request(fd, true, 0, 0, WIDTH, HEIGHT);
		take_update(fd, &view);
	}
	ck_assert_uint_eq(seen(&view, 0, 0), 0x222222);
	/* The same when the screen has gone to sleep meanwhile. */
	draw(0, 0, 1, 1, 0x444444);
	expect_silence(fd, 3 * DISPLAY_IDLE_MS);
	request(fd, true, 0, 0, WIDTH, HEIGHT);
	take_update(fd, &view);
	ck_assert_uint_eq(seen(&view, 0, 0), 0x444444);
	/* Elsewhere than what is asked for. */
	request(fd, true, 128, 0, 10, 10);
	draw(0, 0, 1, 1, 0x333333);
	expect_silence(fd, 100);
	request(fd, true, 0, 0, 10, 10);
	take_update(fd, &view);
	ck_assert_uint_eq(seen(&view, 0, 0), 0x333333);
	close(fd);
}
END_TEST

START_TEST(follows_the_mode)
{
	static const int32_t e[] = { 0, -223 };
	int fd = connected();

	encodings(fd, e, 2);
	see_all(fd);
	request(fd, true, 0, 0, WIDTH, HEIGHT);
	set_mode(320, 240);
	take_update(fd, &view);
	ck_assert_uint_eq(view.width, 320);
	ck_assert_uint_eq(view.height, 240);
	see_all(fd);
	ck_assert_uint_eq(view.fresh, 320 * 240);
	ck_assert_uint_eq(seen(&view, 319, 239), pattern(319, 239));
	close(fd);
}
END_TEST

START_TEST(keeps_the_size_that_a_client_knows)
{
	static const int32_t e[] = { 0, -223 };
	int fd = connected();

	see_all(fd);
	request(fd, true, 0, 0, WIDTH, HEIGHT);
	set_mode(100, 300);
	take_update(fd, &view);
	ck_assert_uint_eq(view.width, WIDTH);
	ck_assert_uint_eq(seen(&view, 99, HEIGHT - 1), pattern(99, HEIGHT - 1));
	ck_assert_uint_eq(seen(&view, 100, 0), 0);
	/* It learns how to follow. */
	request(fd, true, 0, 0, WIDTH, HEIGHT);
	encodings(fd, e, 2);
	take_update(fd, &view);
	ck_assert_uint_eq(view.width, 100);
	ck_assert_uint_eq(view.height, 300);
	see_all(fd);
	ck_assert_uint_eq(seen(&view, 99, 299), pattern(99, 299));
	close(fd);
}
END_TEST

START_TEST(pixels_in_other_formats)
{
	static const struct {
		const char *format;
		unsigned bytes;
		uint32_t first; /* of colour 0x80ff40 */
	} cases[] = {
		{ "00000000 20180101 00ff00ff00ff 001008 000000", 4,
		  0x8040ff00 }, /* big-endian, R0 G16 B8 */
		{ "00000000 10100001 001f003f001f 0b0500 000000", 2, 0xe887 }, /* 565 */
		{ "00000000 08080001 000700070003 000306 000000", 1, 0x7c },
	};

	for (unsigned i = 0; i < 3; i++) {
		uint8_t pixel[4];
		int fd = connected();

		draw(0, 0, 64, 16, 0x80ff40);
		say_hex(fd, cases[i].format);
		do {
			unsigned n;
			struct rect r;
			char junk[64 * 16 * 4];

			request(fd, false, 0, 0, 1, 1);
			n = update_begins(fd);
			ck_assert_uint_eq(n, 1);
			r = rect_begins(fd);
			ck_assert_uint_eq(r.width * r.height, 64 * 16);
			get(fd, junk, 64 * 16 * cases[i].bytes);
			memcpy(pixel, junk, 4);
		} while (atomic_load(&guest.updates) < 2);
		close(fd);
	}
}
END_TEST

START_TEST(encodings_of_all_kinds)
{
	static const int32_t kinds[] = { 0, 5, 6, 7, 16 };

	for (unsigned i = 0; i < 5; i++) {
		static const uint8_t last[4] = { 0xff, 0xff, 0xff, 0x20 };
		const int32_t e[] = { 99, kinds[i], 0, -224, -247 };
		struct rect r;
		static char junk[1 << 18];
		ssize_t n;
		unsigned count;
		int fd = connected();

		encodings(fd, e, 5);
		request(fd, false, 0, 0, WIDTH, HEIGHT);
		count = update_begins(fd);
		ck_assert_uint_eq(count, kinds[i] ? 0xffff : 1);
		r = rect_begins(fd);
		ck_assert_int_eq(r.encoding, kinds[i]);
		n = 0;
		/* What follows is for tests with a real client; its end can be told. */
		for (; kinds[i] && (n < 4 || memcmp(junk + n - 4, last, 4) != 0);) {
			ssize_t more = recv(fd, junk + n, sizeof(junk) - (size_t)n, 0);

			ck_assert_int_gt(more, 0);
			n += more;
		}
		close(fd);
	}
	expect_well();
}
END_TEST

/* --- one client and the others
 * ------------------------------------------------------------------------ */

START_TEST(slow_clients_hold_nobody_up)
{
	int slow = connected(), fast = connected(), size = 4096;
	static struct view at_slow;

	setsockopt(slow, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	set_mode(640, 480); /* more than its socket holds */
	encodings(slow, (const int32_t[]){ 0, -223 }, 2);
	encodings(fast, (const int32_t[]){ 0, -223 }, 2);
	for (unsigned i = 0; i < 5; i++)
		request(slow, false, 0, 0, 640, 480);
	do {
		request(fast, true, 0, 0, view.width, view.height);
		take_update(fast, &view);
	} while (view.width != 640);
	for (unsigned i = 1; i <= 20; i++) {
		draw(0, 0, 640, 480, i * 0x010203);
		do {
			request(fast, true, 0, 0, 640, 480);
			take_update(fast, &view);
		} while (seen(&view, 639, 479) != i * 0x010203);
	}
	/* Then it reads: at most what was on its way, and the newest. */
	at_slow = (struct view){ .width = WIDTH, .height = HEIGHT };
	for (unsigned n = 0; !at_slow.fresh || seen(&at_slow, 639, 479) != 20 * 0x010203; n++) {
		ck_assert_uint_lt(n, 6);
		take_update(slow, &at_slow);
		request(slow, true, 0, 0, at_slow.width, at_slow.height);
	}
	close(slow);
	close(fast);
}
END_TEST

START_TEST(one_that_wants_to_be_alone)
{
	struct rfb_opts o = { .name = "Test", .exclusive = true };
	int a, b, c;

	guest_stop();
	guest_start(&o);
	a = connected();
	b = connected();
	see_all(a);
	c = dial();
	enter(c, false);
	expect_end(a);
	expect_end(b);
	see_all(c);
	close(a);
	close(b);
	close(c);
}
END_TEST

static unsigned open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static unsigned threads(void)
{
	DIR *d = opendir("/proc/self/task");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void count_clients(void *ctx)
{
	*(unsigned *)ctx = rfb_clients(guest.rfb);
}

/* Until all have gone. */
static void expect_alone(void)
{
	const struct timespec pause = { .tv_nsec = 2000000 };
	unsigned n = 1;

	for (unsigned i = 0; n && i < 5000; i++) {
		loop_call(guest.m.loop, count_clients, &n);
		if (n)
			nanosleep(&pause, NULL);
	}
	ck_assert_uint_eq(n, 0);
}

START_TEST(connections_leave_nothing_behind)
{
	unsigned fds = open_fds(), tasks = threads();

	for (unsigned i = 0; i < 100; i++) {
		int fd = i % 3 ? connected() : dial();

		if (i % 3 == 2)
			see_all(fd);
		close(fd);
	}
	expect_alone();
	ck_assert_uint_eq(open_fds(), fds);
	ck_assert_uint_eq(threads(), tasks);
	/* Nobody looks: nothing is drawn. */
	ck_assert_ptr_null(guest.screen->viewers);
}
END_TEST

START_TEST(so_many_and_no_more)
{
	int fd[RFB_CLIENTS_MOST];
	unsigned fds;

	for (unsigned i = 0; i < RFB_CLIENTS_MOST; i++)
		fd[i] = dial();
	fds = open_fds();
	ck_assert_int_eq(dial_any(false), -1);
	ck_assert_uint_eq(open_fds(), fds);
	for (unsigned i = 0; i < RFB_CLIENTS_MOST; i++)
		close(fd[i]);
	expect_alone();
	expect_well();
}
END_TEST

#ifndef __SANITIZE_THREAD__
/* Of all threads but this one, which was there first. */
static unsigned long wakeups(void)
{
	unsigned long sum = 0, n;
	DIR *d = opendir("/proc/self/task");
	struct dirent *t;

	while ((t = readdir(d))) {
		char path[300], line[256];
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/status", t->d_name);
		f = fopen(path, "r");
		while (f && atoi(t->d_name) > getpid() && fgets(line, sizeof(line), f))
			if (sscanf(line, "voluntary_ctxt_switches: %lu", &n) == 1)
				sum += n;
		if (f)
			fclose(f);
	}
	closedir(d);
	return sum;
}

START_TEST(an_idle_screen_costs_nothing)
{
	const struct timespec second = { .tv_sec = 1 };
	unsigned long before;
	int fd = connected(), half = dial();

	see_all(fd);
	request(fd, true, 0, 0, WIDTH, HEIGHT);
	expect_silence(fd, 3 * DISPLAY_IDLE_MS); /* until the screen sleeps */
	before = wakeups();
	nanosleep(&second, NULL);
	ck_assert_uint_eq(wakeups(), before);
	draw(0, 0, 1, 1, 0x010101);
	take_update(fd, &view);
	ck_assert_uint_eq(seen(&view, 0, 0), 0x010101);
	close(fd);
	close(half);
}
END_TEST
#endif

/* --- keys and pointer
 * ---------------------------------------------------------------------------------- */

START_TEST(keys)
{
	int fd = connected();

	say_hex(fd, "04010000 00000061 04000000 00000061");
	expect_heard("+30-30");
	/* Those that are down come up when it leaves. */
	say_hex(fd, "04010000 00000062");
	expect_heard("+48");
	close(fd);
	expect_heard("-48");
}
END_TEST

START_TEST(keys_by_code)
{
	static const int32_t e[] = { 0, -258 };
	int fd = connected();
	struct rect r;

	encodings(fd, e, 2);
	ck_assert_uint_eq(update_begins(fd), 1); /* that it may send them */
	r = rect_begins(fd);
	ck_assert_int_eq(r.encoding, -258);
	say_hex(fd, "ff000001 00000061 0000001e ff000000 00000061 0000001e");
	expect_heard("+30-30");
	say_hex(fd, "ff000001 0000ff53 000000cd"); /* 0xe0 0x4d: right */
	expect_heard("+106");
	say_hex(fd, "ff000001 00000061 00000000"); /* none: by its symbol */
	expect_heard("+30");
	close(fd);
	expect_heard("-30-106");
	fd = connected(); /* not offered to this one */
	say_hex(fd, "ff000001 00000061 0000001e");
	expect_end(fd);
	close(fd);
}
END_TEST

START_TEST(pointer)
{
	int fd = connected();

	say_hex(fd, "0500 0010 0020");
	say_hex(fd, "0501 0013 001e");
	expect_heard(" m3,-2 b1");
	say_hex(fd, "0504 0013 001e");
	expect_heard(" b2");
	say_hex(fd, "0508 0013 001e 0500 0013 001e 0510 0013 001e 0500 0013 001e");
	expect_heard(" w1 b0 w-1");
	say_hex(fd, "0502 0013 001e");
	expect_heard(" b4");
	close(fd);
	expect_heard(" b0");
}
END_TEST

static void add_tablet(void *ctx)
{
	input_add(&guest.m, &tablet);
}

static void set_leds(void *ctx)
{
	input_set_leds(&guest.m, *(unsigned *)ctx);
}

START_TEST(absolute_pointer)
{
	static const int32_t e[] = { 0, -257 };
	struct rect r;
	int fd = connected();

	encodings(fd, e, 2);
	ck_assert_uint_eq(update_begins(fd), 1);
	r = rect_begins(fd);
	ck_assert_int_eq(r.encoding, -257);
	ck_assert_uint_eq(r.x, 0);
	say_hex(fd, "0500 8001 7ffc"); /* relative: from 0x7fff */
	expect_heard(" m2,-3");
	loop_call(guest.m.loop, add_tablet, NULL);
	ck_assert_uint_eq(update_begins(fd), 1);
	r = rect_begins(fd);
	ck_assert_int_eq(r.encoding, -257);
	ck_assert_uint_eq(r.x, 1);
	say_hex(fd, "0500 0000 0000");
	expect_heard(" p0,0");
	say_hex(fd, "0501 00c7 0063");
	expect_heard(" p32767,32767 b1");
	say_hex(fd, "0500 ffff ffff"); /* beyond its edge */
	expect_heard(" p32767,32767 b0");
	close(fd);
}
END_TEST

START_TEST(lamps)
{
	static const int32_t e[] = { 0, -261 };
	struct rect r;
	uint8_t state;
	unsigned leds = INPUT_LED_CAPS;
	int fd = connected();

	encodings(fd, e, 2);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_uint_eq(update_begins(fd), 1);
		r = rect_begins(fd);
		ck_assert_int_eq(r.encoding, -261);
		get(fd, &state, 1);
		ck_assert_uint_eq(state, i ? 4 : 0);
		loop_call(guest.m.loop, set_leds, &leds);
	}
	close(fd);
}
END_TEST

static void wait_for_test(void *ctx)
{
	pthread_barrier_wait(ctx);
	pthread_barrier_wait(ctx);
}

/* While the main loop is busy a client fills its queue and its socket, and nothing is lost. */
START_TEST(a_flood_of_keys_waits)
{
	enum { KEYS = 400, MOVES = 1000 };
	static uint8_t flood[KEYS * 16 + MOVES * 6];
	static char all[KEYS * 6 + 1];
	pthread_barrier_t busy;
	struct timespec end;
	size_t n = 0;
	int fd = connected();

	for (unsigned i = 0; i < KEYS; i++) {
		n += bytes("04010000 00000061 04000000 00000061", flood + n);
		memcpy(all + i * 6, "+30-30", 6);
	}
	for (unsigned i = 0; i < MOVES; i++)
		n += bytes(i == MOVES - 1 ? "0500 0100 0100" : "0500 0010 0010", flood + n);
	say_hex(fd, "0500 0010 0010 0501 0010 0010 0500 0010 0010"); /* where it is */
	expect_heard(" b1 b0");
	pthread_barrier_init(&busy, NULL, 2);
	loop_post(guest.m.loop, wait_for_test, &busy);
	pthread_barrier_wait(&busy);
	say(fd, flood, n);
	pthread_barrier_wait(&busy);
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += PATIENCE_S;
	pthread_mutex_lock(&guest.lock);
	/* All keys, and the movements in one piece or two. */
	while ((strlen(guest.heard) < KEYS * 6 || !strstr(guest.heard, " m")) &&
	       !pthread_cond_timedwait(&guest.said, &guest.lock, &end))
		;
	ck_assert_int_eq(memcmp(guest.heard, all, KEYS * 6), 0);
	ck_assert_str_eq(guest.heard + KEYS * 6, " m240,240");
	pthread_mutex_unlock(&guest.lock);
	close(fd);
	expect_alone();
	pthread_barrier_destroy(&busy);
}
END_TEST

/* --- hostile bytes
 * ---------------------------------------------------------------------------------------- */

/* What a connected client may not say: the connection ends, and nothing else does. */
START_TEST(messages_that_end_the_connection)
{
	static const char *const bad[] = {
		"01000000 0000", /* FixColourMapEntries: of no use since version 3.3 */
		"07000000 00000000", /* file transfer */
		"08010000", /* scale */
		"0f010000", "0a0a0000 00000000", "0b00 0000 0000 0000", "0b00 0000 ffffffff",
		"fa000100", /* xvp */
		"fb000010 00100100 00000000", /* SetDesktopSize */
		"ff010000 00000000", /* audio */
		"ff000001 00000061 0000001e", "02000801", /* too many encodings */
		"06000000 00100001", "06000000 ffffffff", "06000000 7fffffff", "06000000 80000000",
		/* pixels: bits, depth, colours, shifts */
		"00000000 18180001 00ff00ff00ff 001008 000000",
		"00000000 00180001 00ff00ff00ff 001008 000000",
		"00000000 20000001 00ff00ff00ff 001008 000000",
		"00000000 20210001 00ff00ff00ff 001008 000000",
		"00000000 10100001 00ff00ff00ff 001008 000000",
		"00000000 10180001 00ff00ff00ff 000000 000000",
		"00000000 20180001 000000ff00ff 001008 000000",
		"00000000 20180001 00fe00ff00ff 001008 000000",
		"00000000 20180001 00ff00ff00ff 191008 000000",
		"00000000 20180001 00ff00ff00ff ff1008 000000",
		"00000000 20180001 ffffffffffff 000000 000000",
		"00000000 20180000 00ff00ff00ff 001008 000000", /* a map of 2^32 colours */
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = connected();

		request(fd, true, 0, 0, WIDTH, HEIGHT);
		say_hex(fd, bad[i]);
		expect_end(fd);
		close(fd);
	}
	expect_well();
}
END_TEST

/* What is odd, and well. */
START_TEST(messages_that_do_no_harm)
{
	static const char *const odd[] = {
		"02000000",
		"0200000a "
		"000000070000000700000007ffffffffffffff0080000000000000000000000600000005ffffff00",
		"03010000 00000000 0000",
		"03000000 00000000 0000",
		"0300ffff ffffffff ffff",
		"0300 0000 0000 ffff ffff",
		"0301ffff ffff0000 0000",
		"03000001 00010001 0000",
		"06000000 00000003 616263",
		"06000000 00000000",
		"04010000 ffffffff",
		"04ff0000 00000000",
		"05ff ffff ffff",
		"00000000 08080000 000000000000 000000 000000",
		"00000000 20180001 00ff00ff00ff 000810 000000",
		"00000000 20200001 07ff03ff07ff 001515 000000",
	};

	for (unsigned i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		struct pollfd p = { .events = POLLIN };
		uint8_t b[64];

		p.fd = connected();
		say_hex(p.fd, odd[i]);
		request(p.fd, false, 0, 0, WIDTH, HEIGHT);
		ck_assert_int_eq(poll(&p, 1, PATIENCE_S * 1000), 1);
		ck_assert_int_gt(recv(p.fd, b, sizeof(b), 0), 0);
		close(p.fd);
	}
	expect_well();
}
END_TEST

START_TEST(a_large_clipboard_is_skipped)
{
	static char text[1 << 20];
	int fd = connected();

	say_hex(fd, "06000000 00100000");
	say(fd, text, sizeof(text));
	say_hex(fd, "04010000 00000061");
	expect_heard("+30");
	see_all(fd);
	close(fd);
	expect_heard("-30");
}
END_TEST

static uint32_t dice;

static uint32_t roll(void)
{
	dice ^= dice << 13;
	dice ^= dice >> 17;
	dice ^= dice << 5;
	return dice;
}

/* The stages of a connection, from nothing said to the screen. */
static void go_to(int fd, unsigned stage)
{
	char junk[16];

	if (stage >= 1) {
		get(fd, junk, 12);
		say(fd, "RFB 003.008\n", 12);
	}
	if (stage >= 2) {
		get(fd, junk, 2);
		say(fd, "\1", 1);
	}
	if (stage >= 3) {
		say(fd, "\1", 1);
		request(fd, false, 0, 0, WIDTH, HEIGHT);
	}
}

/* Answers are read and thrown away, until there are no more. */
static void flood(int fd, const uint8_t *buf, size_t n)
{
	char junk[16384];

	for (size_t at = 0; at < n;) {
		size_t part = n - at < 512 ? n - at : 512;
		ssize_t done = send(fd, buf + at, part, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (done < 0 && errno != EAGAIN)
			break;
		at += done > 0 ? (size_t)done : 0;
		while (recv(fd, junk, sizeof(junk), MSG_DONTWAIT) > 0)
			;
	}
	shutdown(fd, SHUT_WR);
	expect_end(fd);
}

START_TEST(random_bytes_at_each_stage)
{
	static uint8_t buf[4096];

	dice = 0x12345 + (uint32_t)_i;
	for (unsigned round = 0; round < 40; round++) {
		bool websocket = round % 5 == 4;
		int fd = dial_any(websocket);
		size_t n = 1 + roll() % sizeof(buf);

		for (size_t i = 0; i < n; i++)
			buf[i] = (uint8_t)roll();
		/* Most random bytes are no message; these begin as one, and go on wildly. */
		if (_i == 3)
			for (size_t i = 0; i + 20 < n; i += 20)
				buf[i] = (uint8_t)(roll() % 7);
		if (!websocket)
			go_to(fd, (unsigned)_i);
		flood(fd, buf, n);
		close(fd);
	}
	expect_well();
}
END_TEST

/* Messages that are right but for their values. */
START_TEST(random_values)
{
	static const uint8_t kinds[] = { 0, 2, 3, 3, 3, 4, 5, 5, 6 };
	static const uint8_t lengths[] = { 20, 8, 10, 8, 6, 8, 6, 8 };

	dice = 0xabcdef;
	for (unsigned round = 0; round < 30; round++) {
		static uint8_t buf[8192];
		size_t n = 0;
		int fd = connected();

		while (n + 64 < sizeof(buf)) {
			uint8_t *m = buf + n, kind = kinds[roll() % sizeof(kinds)];

			for (unsigned i = 1; i < 32; i++)
				m[i] = (uint8_t)roll();
			m[0] = kind;
			if (kind == 0)
				bytes(roll() % 2 ? "00000000 20180001 00ff00ff00ff 001008 000000"
						 : "00000000 08080000 000700070003 000306 000000",
				      m);
			if (kind == 2) {
				m[2] = 0;
				m[3] = 1;
				m[4] = m[5] = m[6] = 0;
				m[7] &= 31;
			}
			if (kind == 3)
				m[2] = m[4] = m[6] = m[8] = 0;
			if (kind == 6)
				memset(m + 4, 0, 4);
			n += kind == 2 ? 8 : kind == 0 ? 20 : kind == 3 ? 10 : lengths[kind - 1];
		}
		flood(fd, buf, n);
		close(fd);
	}
	expect_well();
	pthread_mutex_lock(&guest.lock);
	guest.heard[0] = 0;
	pthread_mutex_unlock(&guest.lock);
}
END_TEST

/* --- websockets
 * ---------------------------------------------------------------------------------------------- */

#define ASK                                                                                        \
	"GET /websockify HTTP/1.1\r\nHost: localhost:5700\r\nUpgrade: websocket\r\n"               \
	"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"       \
	"Sec-WebSocket-Version: 13\r\n"

static int ask(const char *text, char *answer, size_t room)
{
	int fd = dial_any(true);
	size_t n = 0;

	say(fd, text, strlen(text));
	while (n + 1 < room && (n < 4 || memcmp(answer + n - 4, "\r\n\r\n", 4) != 0) &&
	       hear_up_to(fd, answer + n, 1))
		n++;
	answer[n] = 0;
	return fd;
}

static void say_frame(int fd, unsigned first, const void *data, unsigned n)
{
	uint8_t m[6 + 125] = { (uint8_t)first, (uint8_t)(0x80 | n), 1, 2, 3, 4 };

	for (unsigned i = 0; i < n; i++)
		m[6 + i] = ((const uint8_t *)data)[i] ^ m[2 + i % 4];
	say(fd, m, 6 + n);
}

static void expect_frame(int fd, unsigned first, const void *data, unsigned n)
{
	uint8_t m[2 + 125];

	get(fd, m, 2 + n);
	ck_assert_uint_eq(m[0], first);
	ck_assert_uint_eq(m[1], n);
	ck_assert_int_eq(memcmp(m + 2, data, n), 0);
}

START_TEST(websocket)
{
	char answer[1024];
	uint8_t b[64], *all = malloc(WIDTH * HEIGHT * 4 + 1000);
	size_t n = 0;
	int fd = ask(ASK "Origin: http://localhost:6080\r\nSec-WebSocket-Protocol: binary\r\n\r\n",
		     answer, sizeof(answer));

	ck_assert_ptr_nonnull(strstr(answer, "HTTP/1.1 101 "));
	ck_assert_ptr_nonnull(strstr(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
	ck_assert_ptr_nonnull(strstr(answer, "Sec-WebSocket-Protocol: binary\r\n"));
	expect_frame(fd, 0x82, "RFB 003.008\n", 12);
	/* In pieces, with a ping between them. */
	say_frame(fd, 0x02, "RFB 003", 7);
	say_frame(fd, 0x89, "hello", 5);
	expect_frame(fd, 0x8a, "hello", 5);
	say_frame(fd, 0x80, ".008\n", 5);
	expect_frame(fd, 0x82, "\1\1", 2);
	say_frame(fd, 0x82, "\1\1", 2);
	expect_frame(fd, 0x82, "\0\0\0", 4);
	get(fd, b, 2);
	ck_assert_uint_eq(b[1], 24 + 4);
	get(fd, b, 28);
	bytes("0300 0000 0000 00c8 0064", b);
	say_frame(fd, 0x82, b, 10);
	/* The library's frames, together. */
	while (n < 16 + WIDTH * HEIGHT * 4) {
		size_t len;

		get(fd, b, 2);
		ck_assert_uint_eq(b[0], 0x82);
		len = b[1];
		ck_assert_uint_le(len, 126);
		if (len == 126) {
			get(fd, b, 2);
			len = u16(b);
		}
		get(fd, all + n, len);
		n += len;
	}
	ck_assert_uint_eq(n, 16 + WIDTH * HEIGHT * 4);
	ck_assert_uint_eq(pixel_of(all + 16 + 4 * (3 * WIDTH + 5)), pattern(5, 3));
	say_frame(fd, 0x88, "\3\xe8", 2);
	expect_end(fd);
	close(fd);
	free(all);
}
END_TEST

START_TEST(websockets_that_are_refused)
{
	static const struct {
		const char *text;
		int status;
	} bad[] = {
		{ "POST / HTTP/1.1\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
		  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n",
		  400 },
		{ "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
		  "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		  426 },
		/* A page from elsewhere, in this host's browser. */
		{ ASK "Origin: http://elsewhere.example\r\n\r\n", 403 },
		{ ASK "Origin: http://localhost.elsewhere.example\r\n\r\n", 403 },
		{ ASK "Origin: null\r\n\r\n", 403 },
		{ ASK "Origin:\r\n\r\n", 403 },
	};
	char answer[1024], expected[32];
	int fd;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fd = ask(bad[i].text, answer, sizeof(answer));
		snprintf(expected, sizeof(expected), "HTTP/1.1 %d ", bad[i].status);
		ck_assert_msg(!strncmp(answer, expected, strlen(expected)), "%u: %s", i, answer);
		expect_end(fd);
		close(fd);
	}
	/* Who is no browser says no Origin. */
	fd = ask(ASK "\r\n", answer, sizeof(answer));
	ck_assert_ptr_nonnull(strstr(answer, "HTTP/1.1 101 "));
	close(fd);
	/* A request without end. */
	fd = dial_any(true);
	for (unsigned i = 0; i < 1000; i++)
		say(fd, "X-Header: value\r\n", 17);
	expect_end(fd);
	close(fd);
	expect_well();
}
END_TEST

START_TEST(frames_that_end_the_connection)
{
	static const char *const bad[] = {
		"8201ff", /* not masked */
		"c280 00000000", /* a reserved bit */
		"8180 00000000", /* text */
		"8380 00000000",
		"0980 00000000" /* a ping in pieces */,
		"89fe 007e 00000000",
		"82ff ffffffffffffffff 00000000",
		"8880 00000000",
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char answer[1024];
		int fd = ask(ASK "\r\n", answer, sizeof(answer));

		say_hex(fd, bad[i]);
		expect_end(fd);
		close(fd);
	}
	expect_well();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rfb");
	TCase *tc = tcase_create("rfb"), *random = tcase_create("random");
	const TTest *const tests[] = {
		begins_in_all_versions,
		who_says_nothing_is_sent_away,
		password,
		no_password_is_nobodys_password,
		shows_the_screen,
		sends_what_changed_and_no_more,
		follows_the_mode,
		keeps_the_size_that_a_client_knows,
		pixels_in_other_formats,
		encodings_of_all_kinds,
		slow_clients_hold_nobody_up,
		one_that_wants_to_be_alone,
		connections_leave_nothing_behind,
		so_many_and_no_more,
#ifndef __SANITIZE_THREAD__ /* which has a thread that wakes up */
		an_idle_screen_costs_nothing,
#endif
		keys,
		keys_by_code,
		pointer,
		absolute_pointer,
		lamps,
		a_flood_of_keys_waits,
		messages_that_end_the_connection,
		messages_that_do_no_harm,
		a_large_clipboard_is_skipped,
		random_values,
		websocket,
		websockets_that_are_refused,
		frames_that_end_the_connection,
	};

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_checked_fixture(random, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_set_timeout(random, 120);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(tc, tests[i]);
	tcase_add_loop_test(random, random_bytes_at_each_stage, 0, 4);
	suite_add_tcase(s, tc);
	suite_add_tcase(s, random);
	return run_suite(s);
}
