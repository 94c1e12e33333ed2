/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-serial as its driver sees it, with real sockets at the other end:
 * control messages, bytes in both directions and what holds them back, resets in
 * flight, and drivers that break the rules.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "virtio_guest.h"
#include "wire/virtio_console.h"

enum { SIZE = 1 << VIRTIO_CONSOLE_F_SIZE, MULTIPORT = 1 << VIRTIO_CONSOLE_F_MULTIPORT };
enum { RX0, TX0, CRX, CTX, RX1, TX1 };
enum { ALL = 0x3f }; /* queues of two ports */
enum { MIB = 1 << 20, MESSAGE = 512 };

/* --- the host's side ---------------------------------------------------------------- */

/* A chardev "cN": a socket that nobody is connected to. */
static void add_socket(unsigned n)
{
	char arg[128];
	struct err e;

	snprintf(arg, sizeof(arg), "socket,id=c%u,path=%s/%u,server=on,wait=off", n, guest.dir, n);
	ck_assert_msg(chardev_add(guest.m.chardevs, arg, &e) == 0, "%s", e.msg);
}

static int connect_to(unsigned n)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s/%u", guest.dir, n);
	settle(); /* it listens from the loop's first round on */
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	settle();
	return fd;
}

/* Reads what is there, at most len bytes. */
static size_t host_read(int fd, void *buf, size_t len)
{
	ssize_t n = len ? read(fd, buf, len) : 0;

	ck_assert(n > 0 || !len || (n < 0 && errno == EAGAIN));
	return n < 0 ? 0 : (size_t)n;
}

#define ck_host_has(fd, text)                                                                      \
	do {                                                                                       \
		char buf_[256];                                                                    \
		size_t n_ = host_read(fd, buf_, sizeof(buf_));                                     \
		ck_assert_uint_eq(n_, sizeof(text) - 1);                                           \
		ck_assert_mem_eq(buf_, text, n_);                                                  \
	} while (0)

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 7 + (i >> 8) * 13 + (i >> 16));
}

/* --- the guest's side -------------------------------------------------------------------- */

static void send_control(uint32_t id, unsigned event, unsigned value)
{
	struct virtio_console_control msg = { cpu_to_le32(id), cpu_to_le16((uint16_t)event),
					      cpu_to_le16((uint16_t)value) };
	uint64_t buf = alloc(sizeof(msg));

	guest.heap -= 4096; /* it is done with when kick returns */
	gmem_write(&guest.m.mem, buf, &msg, sizeof(msg));
	give(CTX, buf, sizeof(msg), false);
	if (!needs_reset())
		ck_assert_uint_eq(next_used(CTX, NULL), 0);
}

/* Where the buffer of each descriptor of the control receive queue lies. */
static uint64_t control_buf[QSIZE];

static void give_control(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t buf = alloc(MESSAGE);

		control_buf[give(CRX, buf, MESSAGE, true)] = buf;
	}
}

/* The next message from the device is this one. more: what follows it, a string or NULL. */
static void expect_more(uint32_t id, unsigned event, unsigned value, const void *more, size_t len)
{
	struct virtio_console_control *msg;
	unsigned head;
	uint32_t n;

	ck_assert_msg(n_used(CRX), "no message, wanted %u for port %u", event, id);
	n = next_used(CRX, &head);
	msg = at(control_buf[head]);
	ck_assert_uint_eq(le32_to_cpu(msg->id), id);
	ck_assert_uint_eq(le16_to_cpu(msg->event), event);
	ck_assert_uint_eq(le16_to_cpu(msg->value), value);
	ck_assert_uint_eq(n, sizeof(*msg) + len);
	ck_assert_mem_eq(msg + 1, more, len);
}

static void expect(uint32_t id, unsigned event, unsigned value)
{
	expect_more(id, event, value, "", 0);
}

static void expect_none(void)
{
	ck_assert_uint_eq(n_used(CRX), 0);
}

/* As Linux does it, up to an open console at port 0 and an open port 1 (when they are there). */
static void bring_up(void)
{
	start(MULTIPORT, ALL);
	give_control(QSIZE);
	send_control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	for (unsigned i = 0; i < 2; i++) {
		send_control(i, VIRTIO_CONSOLE_PORT_READY, 1);
		send_control(i, VIRTIO_CONSOLE_PORT_OPEN, 1);
	}
	while (n_used(CRX))
		next_used(CRX, NULL);
}

static void add_console(void)
{
	guest_add("virtio-serial-device,id=s");
	add_socket(0);
	guest_add("virtconsole,chardev=c0");
	guest_use("s");
}

static void add_port(void)
{
	guest_add("virtio-serial-device,id=s");
	add_socket(1);
	guest_add("virtserialport,chardev=c1,name=org.posada.test");
	guest_use("s");
}

/* --- what there is ------------------------------------------------------------------------ */

START_TEST(features_and_configuration)
{
	guest_add("virtio-serial-device,id=many");
	guest_add("virtio-serial-device,id=one,max_ports=1");
	guest_add("virtconsole,bus=one.0");
	guest_add("virtconsole,bus=many,cols=132,rows=43");
	guest_use("many");
	ck_assert_uint_eq(reg_read(0x008), 3);
	ck_assert_uint_eq(offered() & 0xff, 7);
	ck_assert_uint_eq(config_read(0), 132 | 43 << 16);
	ck_assert_uint_eq(config_read(4), 31);
	ck_assert_uint_eq(config_read(8), 0);
	reg_write(0x030, 63);
	ck_assert_uint_eq(reg_read(0x034), 128);
	guest_use("one");
	ck_assert_uint_eq(offered() & 0xff, 1 << VIRTIO_CONSOLE_F_EMERG_WRITE);
	ck_assert_uint_eq(config_read(0), 0);
	ck_assert_uint_eq(config_read(4), 1);
	reg_write(0x030, 1);
	ck_assert_uint_eq(reg_read(0x034), 128);
	reg_write(0x030, 2);
	ck_assert_uint_eq(reg_read(0x034), 0);
}
END_TEST

/* Each message of section 5.3.6.2, in the order that a driver needs them. */
START_TEST(every_control_message)
{
	static const struct virtio_console_resize size = { { 80 }, { 25 } };
	int fd;

	guest_add("virtio-serial-device,id=s");
	add_socket(1);
	guest_add("virtserialport,chardev=c1,name=org.posada.test");
	guest_add("virtconsole,name=boss,cols=80,rows=25");
	guest_add("virtconsole");
	guest_use("s");
	start(MULTIPORT | SIZE, ALL);
	give_control(8);
	expect_none();
	send_control(77, VIRTIO_CONSOLE_DEVICE_READY, 1);
	expect(0, VIRTIO_CONSOLE_PORT_ADD, 1);
	expect(1, VIRTIO_CONSOLE_PORT_ADD, 1);
	expect(2, VIRTIO_CONSOLE_PORT_ADD, 1);
	expect_none();
	give_control(8);
	/* Before the driver is ready for the port, nothing else is said of it. */
	fd = connect_to(1);
	expect_none();

	send_control(0, VIRTIO_CONSOLE_PORT_READY, 1);
	expect(0, VIRTIO_CONSOLE_CONSOLE_PORT, 1);
	expect_more(0, VIRTIO_CONSOLE_PORT_NAME, 1, "boss", 4);
	expect_more(0, VIRTIO_CONSOLE_RESIZE, 1, &size, sizeof(size));
	expect(0, VIRTIO_CONSOLE_PORT_OPEN, 1);
	send_control(1, VIRTIO_CONSOLE_PORT_READY, 1);
	expect_more(1, VIRTIO_CONSOLE_PORT_NAME, 1, "org.posada.test", 15);
	expect(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	expect_none();
	give_control(5);
	send_control(2, VIRTIO_CONSOLE_PORT_READY, 1);
	expect(2, VIRTIO_CONSOLE_CONSOLE_PORT, 1);
	expect(2, VIRTIO_CONSOLE_PORT_OPEN, 1);
	expect_none();

	/* The host's end, as its socket comes and goes; a port that is read sees it go. */
	send_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	give(RX1, alloc(64), 64, true);
	for (unsigned i = 0; i < 3; i++) {
		give_control(1);
		close(fd);
		settle();
		expect(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
		give_control(1);
		fd = connect_to(1);
		expect(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	}
	give_control(1);
	close(fd);
	settle();
	expect(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	/* A second DEVICE_READY does not add what is there (5.3.6.2.1). */
	send_control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	expect_none();
}
END_TEST

/* A driver that gives its buffers one by one gets all messages, one by one. */
START_TEST(control_messages_wait_for_buffers)
{
	int fd;

	add_port();
	guest_add("virtconsole");
	start(MULTIPORT, ALL);
	send_control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	for (unsigned i = 0; i < 2; i++) {
		give_control(1);
		expect(i, VIRTIO_CONSOLE_PORT_ADD, 1);
	}
	send_control(1, VIRTIO_CONSOLE_PORT_READY, 1);
	send_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	give(RX1, alloc(64), 64, true);
	/* It came and went: nobody has to know. */
	close(connect_to(1));
	settle();
	give_control(1);
	expect_more(1, VIRTIO_CONSOLE_PORT_NAME, 1, "org.posada.test", 15);
	give_control(1);
	expect_none();
	/* An end that was seen open is seen closing, also when it opens again at once. */
	fd = connect_to(1);
	expect(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	close(fd);
	settle();
	fd = connect_to(1);
	give_control(1);
	expect(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	expect_none();
	give_control(1);
	expect(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	give_control(1);
	expect_none();
	close(fd);
}
END_TEST

START_TEST(a_port_that_the_driver_cannot_use)
{
	int fd;

	add_port();
	start(MULTIPORT, ALL);
	give_control(8);
	send_control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	expect(1, VIRTIO_CONSOLE_PORT_ADD, 1);
	send_control(1, VIRTIO_CONSOLE_PORT_READY, 0);
	fd = connect_to(1);
	expect_none();
	close(fd);
}
END_TEST

START_TEST(a_port_is_removed)
{
	struct dev *d;

	add_port();
	bring_up();
	give_control(1);
	d = guest.m.devices->next;
	d->cls->fini(d);
	settle();
	expect(1, VIRTIO_CONSOLE_PORT_REMOVE, 1);
	expect_none();
	/* Its queues swallow what is written. */
	give(TX1, alloc(16), 16, false);
	ck_assert_uint_eq(next_used(TX1, NULL), 0);
}
END_TEST

/* --- bytes -------------------------------------------------------------------------------- */

START_TEST(without_multiport)
{
	int fd;
	uint64_t buf;

	add_console();
	fd = connect_to(0);
	start(0, 0x3);
	buf = alloc(64);
	memcpy(at(buf), "hello\n", 6);
	give(TX0, buf, 6, false);
	ck_assert_uint_eq(next_used(TX0, NULL), 0);
	ck_host_has(fd, "hello\n");
	ck_assert_int_eq(write(fd, "ls\n", 3), 3);
	settle();
	give(RX0, buf, 64, true);
	ck_assert_uint_eq(next_used(RX0, NULL), 3);
	ck_assert_mem_eq(at(buf), "ls\n", 3);
	close(fd);
}
END_TEST

/* A driver without MULTIPORT and no console: its output must not hang it. */
START_TEST(nobody_at_port_0)
{
	add_port();
	start(0, 0x3);
	for (unsigned i = 0; i < 40; i++) {
		give(TX0, HEAP, 4096, false);
		ck_assert_uint_eq(next_used(TX0, NULL), 0);
	}
	reg_write(0x108, '!');
}
END_TEST

START_TEST(output_without_a_peer)
{
	add_port();
	bring_up();
	give(TX1, HEAP, 4096, false);
	ck_assert_uint_eq(next_used(TX1, NULL), 0);
}
END_TEST

START_TEST(emergency_write)
{
	const uint8_t byte = 'Y';
	int fd;

	add_console();
	fd = connect_to(0);
	/* Before the driver has said anything. */
	reg_write(0x108, 'X');
	bus_write(&guest.m.mmio, guest.base + 0x108, &byte, 1);
	reg_write(0x104, 'Z'); /* read-only */
	ck_host_has(fd, "XY");
	close(fd);
}
END_TEST

/* A scattered chain goes out in order, and what may be written to is left alone. */
START_TEST(scattered_output)
{
	uint64_t buf;
	int fd;

	add_port();
	fd = connect_to(1);
	bring_up();
	buf = alloc(4096);
	memcpy(at(buf), "onetwothree", 11);
	const struct seg segs[] = {
		{ buf, 3, false },
		{ buf + 3, 3, false },
		{ buf + 6, 5, false },
		{ buf + 100, 9, true },
	};
	add_chain(TX1, segs, 4);
	give(TX1, buf, 3, false);
	ck_assert_uint_eq(next_used(TX1, NULL), 0);
	ck_assert_uint_eq(next_used(TX1, NULL), 0);
	ck_host_has(fd, "onetwothreeone");
	close(fd);
}
END_TEST

/* A host that does not read leaves the guest's buffers unused; then all comes, in order. */
START_TEST(output_is_held_back)
{
	enum { CHUNK = 64 << 10, TOTAL = 4 * MIB };
	size_t sent = 0, got = 0, stuck;
	static uint8_t in[TOTAL];
	uint64_t buf;
	int fd;

	add_port();
	fd = connect_to(1);
	bring_up();
	buf = alloc(8 * CHUNK);
	while (got < TOTAL) {
		while (sent < TOTAL && (uint16_t)(gq[TX1].added - gq[TX1].seen) < 8) {
			uint64_t gpa = buf + sent / CHUNK % 8 * CHUNK;
			uint8_t *p = at(gpa);

			for (size_t i = 0; i < CHUNK; i++)
				p[i] = pattern(sent + i);
			sent += CHUNK;
			give(TX1, gpa, CHUNK, false);
			while (n_used(TX1))
				next_used(TX1, NULL);
		}
		/* Only now does the host read, and all that there is. */
		stuck = (uint16_t)(gq[TX1].added - gq[TX1].seen);
		if (sent < TOTAL)
			ck_assert_uint_eq(stuck, 8);
		for (size_t n; (n = host_read(fd, in + got, TOTAL - got)); got += n)
			;
		settle();
		while (n_used(TX1))
			next_used(TX1, NULL);
	}
	for (size_t i = 0; i < TOTAL; i++)
		ck_assert_uint_eq(in[i], pattern(i));
	ck_assert_uint_eq(gq[TX1].added, gq[TX1].seen);
	close(fd);
}
END_TEST

/* When the peer leaves in the middle, what it did not read is gone and the driver goes on. */
START_TEST(the_peer_leaves_a_full_port)
{
	uint64_t buf = alloc(MIB);
	int fd;

	add_port();
	fd = connect_to(1);
	bring_up();
	give(TX1, buf, MIB, false);
	ck_assert_uint_eq(n_used(TX1), 0);
	close(fd);
	RUN_UNTIL(n_used(TX1));
	give_control(1);
	expect(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
}
END_TEST

/* Bytes from the host wait until the port is open and has buffers, of whatever size. */
START_TEST(input_waits)
{
	enum { TOTAL = MIB };
	size_t sent = 0, got = 0;
	static uint8_t out[TOTAL];
	uint64_t seed = 5, buf[QSIZE], small = alloc(1);
	int fd;

	for (size_t i = 0; i < TOTAL; i++)
		out[i] = pattern(i);
	add_port();
	fd = connect_to(1);
	start(MULTIPORT, ALL);
	give_control(8);
	send_control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	send_control(1, VIRTIO_CONSOLE_PORT_READY, 1);
	give(RX1, small, 1, true);
	sent += (size_t)write(fd, out, 5000);
	ck_assert_uint_eq(sent, 5000);
	settle();
	ck_assert_uint_eq(n_used(RX1), 0);
	send_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	ck_assert_uint_eq(next_used(RX1, NULL), 1);
	ck_assert_uint_eq(*(uint8_t *)at(small), pattern(got++));
	for (unsigned i = 0; i < QSIZE; i++)
		buf[i] = alloc(8192);
	while (got < TOTAL) {
		unsigned d = gq[RX1].next % QSIZE, head;
		ssize_t n = sent < TOTAL ? write(fd, out + sent, TOTAL - sent) : 0;
		uint32_t len = 1 + guest_random(&seed) % 8192;

		sent += n > 0 ? (size_t)n : 0;
		give(RX1, buf[d], len, true);
		if (!n_used(RX1))
			continue;
		n = next_used(RX1, &head);
		ck_assert_uint_gt(n, 0);
		ck_assert_mem_eq(at(buf[head]), out + got, (size_t)n);
		got += (size_t)n;
	}
	close(fd);
}
END_TEST

/* A closed port keeps what comes for the next time it is open. */
START_TEST(input_of_a_closed_port)
{
	uint64_t buf = alloc(64);
	int fd;

	add_port();
	fd = connect_to(1);
	bring_up();
	send_control(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	give(RX1, buf, 64, true);
	ck_assert_int_eq(write(fd, "later", 5), 5);
	settle();
	ck_assert_uint_eq(n_used(RX1), 0);
	send_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	ck_assert_uint_eq(next_used(RX1, NULL), 5);
	ck_assert_mem_eq(at(buf), "later", 5);
	close(fd);
}
END_TEST

/* --- resets ---------------------------------------------------------------------------------- */

START_TEST(reset_in_flight)
{
	uint64_t buf = alloc(MIB), in = alloc(64);
	static uint8_t sink[MIB];
	int fd;

	add_port();
	fd = connect_to(1);
	for (unsigned round = 0; round < 3; round++) {
		char text[16];

		bring_up();
		/* a buffer for input in the device's hand, and output that does not go out */
		give(RX1, in, 64, true);
		give(TX1, buf, MIB, false);
		ck_assert_uint_eq(n_used(TX1), 0);
		reset();
		while (host_read(fd, sink, sizeof(sink)))
			settle();
		/* Input of that time is there for the next driver; ports are announced again. */
		snprintf(text, sizeof(text), "round %u", round);
		ck_assert_int_eq(write(fd, text, 7), 7);
		settle();
		start(MULTIPORT, ALL);
		give_control(8);
		expect_none();
		give(RX1, in, 64, true);
		ck_assert_uint_eq(n_used(RX1), 0); /* nobody has opened the port */
		send_control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
		expect(1, VIRTIO_CONSOLE_PORT_ADD, 1);
		send_control(1, VIRTIO_CONSOLE_PORT_READY, 1);
		expect_more(1, VIRTIO_CONSOLE_PORT_NAME, 1, "org.posada.test", 15);
		expect(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
		send_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
		ck_assert_uint_eq(next_used(RX1, NULL), 7);
		ck_assert_mem_eq(at(in), text, 7);
	}
	close(fd);
}
END_TEST

START_TEST(queue_reset_in_flight)
{
	uint64_t buf = alloc(MIB), in = alloc(64);
	static uint8_t sink[MIB];
	int fd;

	add_port();
	fd = connect_to(1);
	start(MULTIPORT | VIRTIO_F(VIRTIO_F_RING_RESET), ALL);
	give_control(8);
	send_control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	send_control(1, VIRTIO_CONSOLE_PORT_READY, 1);
	send_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	give(RX1, in, 64, true);
	give(TX1, buf, MIB, false);
	ck_assert_uint_eq(n_used(TX1), 0);
	reset_queue(TX1);
	reset_queue(RX1);
	ck_assert_int_eq(write(fd, "kept", 4), 4);
	while (host_read(fd, sink, sizeof(sink)))
		settle();
	setup_queue(TX1);
	setup_queue(RX1);
	/* The port is still open, and the first byte out is that of the new chain. */
	give(RX1, in, 64, true);
	ck_assert_uint_eq(next_used(RX1, NULL), 4);
	ck_assert_mem_eq(at(in), "kept", 4);
	memcpy(at(buf), "new", 3);
	give(TX1, buf, 3, false);
	ck_assert_uint_eq(next_used(TX1, NULL), 0);
	ck_host_has(fd, "new");
	close(fd);
}
END_TEST

/* --- hostile drivers -----------------------------------------------------------------------------
 */

START_TEST(odd_control_messages)
{
	static const struct {
		uint32_t id, event, value;
	} odd[] = {
		{ 0, VIRTIO_CONSOLE_DEVICE_READY, 0 },
		{ 0, VIRTIO_CONSOLE_PORT_ADD, 1 },
		{ 0, VIRTIO_CONSOLE_PORT_REMOVE, 1 },
		{ 0, VIRTIO_CONSOLE_CONSOLE_PORT, 1 },
		{ 0, VIRTIO_CONSOLE_PORT_NAME, 1 },
		{ 0, VIRTIO_CONSOLE_RESIZE, 1 },
		{ 5, VIRTIO_CONSOLE_PORT_READY, 1 }, /* no such port */
		{ 30, VIRTIO_CONSOLE_PORT_OPEN, 1 },
		{ 31, VIRTIO_CONSOLE_PORT_OPEN, 1 },
		{ UINT32_MAX, VIRTIO_CONSOLE_PORT_READY, 1 },
		{ 0, 8, 1 },
		{ 0, 0xffff, 0xffff },
	};

	add_console();
	start(MULTIPORT, ALL);
	give_control(8);
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		send_control(odd[i].id, odd[i].event, odd[i].value);
	/* too short, nothing to read at all, and longer than a message is */
	for (uint32_t len = 1; len < 8; len++) {
		give(CTX, HEAP, len, false);
		ck_assert_uint_eq(next_used(CTX, NULL), 0);
	}
	give(CTX, HEAP, 64, true);
	ck_assert_uint_eq(next_used(CTX, NULL), 0);
	expect_none();
	ck_assert(!needs_reset());
	memset(at(HEAP), 0, 4096);
	*(uint8_t *)at(HEAP + 6) = 1; /* DEVICE_READY, 1 */
	give(CTX, HEAP, 4096, false);
	expect(0, VIRTIO_CONSOLE_PORT_ADD, 1);
	expect_none();
}
END_TEST

START_TEST(random_control_messages)
{
	uint64_t seed = 42;
	int fd;

	add_port();
	guest_add("virtconsole");
	fd = connect_to(1);
	start(MULTIPORT, ALL);
	give_control(4);
	for (unsigned i = 0; i < 1000; i++) {
		uint32_t r = guest_random(&seed);

		send_control(r % 4 ? r / 4 % 3 : r, r / 16 % 9, r / 256 % 3);
		for (; n_used(CRX); give_control(1)) {
			next_used(CRX, NULL);
			guest.heap = HEAP + (4 << 20);
		}
	}
	ck_assert(!needs_reset());
	close(fd);
}
END_TEST

/* [queue, length of the buffer, whether the device may write it] */
START_TEST(buffers_that_cannot_be)
{
	static const struct {
		unsigned queue;
		uint32_t len;
		bool write;
	} bad[] = { { RX1, 64, false }, { CRX, 7, true }, { CRX, 64, false } };
	uint64_t buf = alloc(64);
	int fd;

	add_port();
	fd = connect_to(1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		bring_up();
		if (bad[i].queue == CRX) {
			/* use up the good ones */
			while (n_used(CRX) + 1u < QSIZE && !needs_reset() &&
			       (uint16_t)(gq[CRX].added - gq[CRX].seen))
				send_control(1, VIRTIO_CONSOLE_PORT_READY, 1), next_used(CRX, NULL);
		}
		give(bad[i].queue, buf, bad[i].len, bad[i].write);
		if (bad[i].queue == CRX)
			send_control(1, VIRTIO_CONSOLE_PORT_READY, 1);
		ck_assert_msg(needs_reset(), "case %zu", i);
		/* It rests; and after a reset it works. */
		give(TX1, buf, 1, false);
		ck_assert_uint_eq(n_used(TX1), 0);
		bring_up();
		give(TX1, buf, 1, false);
		ck_assert_uint_eq(next_used(TX1, NULL), 0);
	}
	close(fd);
}
END_TEST

/* A ring that points outside RAM, with chains of other queues in the device's hand. */
START_TEST(broken_ring_with_chains_in_hand)
{
	uint64_t buf = alloc(MIB);
	static uint8_t sink[MIB];
	int fd;

	add_port();
	fd = connect_to(1);
	bring_up();
	give(RX1, buf, 64, true);
	give(TX1, buf, MIB, false);
	ck_assert_uint_eq(n_used(TX1), 0);
	give(CTX, 1ull << 40, 8, false);
	ck_assert(needs_reset());
	while (host_read(fd, sink, sizeof(sink)))
		settle();
	ck_assert_int_eq(write(fd, "x", 1), 1);
	settle();
	ck_assert_uint_eq(n_used(TX1), 0);
	ck_assert_uint_eq(n_used(RX1), 0);
	bring_up();
	give(RX1, buf, 64, true);
	ck_assert_uint_eq(next_used(RX1, NULL), 1);
	close(fd);
}
END_TEST

/* --- options -------------------------------------------------------------------------------------
 */

static void refused(const char *arg, int code, const char *msg, const char *hint)
{
	struct err e;

	ck_assert_int_eq(guest_try(arg, &e), -code);
	ck_assert_msg(strstr(e.msg, msg) != NULL, "%s: '%s'", arg, e.msg);
	ck_assert_msg(strstr(e.hint, hint) != NULL, "%s: '%s'", arg, e.hint);
}

START_TEST(places_of_ports)
{
	char long_name[400] = "virtconsole,name=";

	memset(long_name + strlen(long_name), 'x', 256);
	refused("virtconsole", ENODEV, "no virtio-serial device", "add -device virtio-serial-pci");
	guest_add("virtio-serial-device,id=a,max_ports=3");
	refused("virtserialport,bus=b.0", ENODEV, "bus=b.0", "virtio-serial-pci,id=b before");
	refused("virtserialport,nr=0", EINVAL, "port 0 is for a virtconsole", "from 1 to 2");
	refused("virtconsole,nr=3", EINVAL, "a has ports 0 to 2", "max_ports=");
	refused("virtconsole,chardev=nope", ENOENT, "chardev=nope", "-chardev BACKEND,id=nope");
	refused(long_name, EINVAL, "255 bytes", "");
	refused("virtio-serial-device,max_ports=32", ERANGE, "32 is not between 1 and 31", "");
	/* A port that could not be made leaves its place free. */
	guest_add("virtserialport");
	guest_add("virtconsole,nr=2");
	refused("virtserialport,nr=1", EBUSY, "another port of a", "leave nr= out");
	refused("virtserialport", EBUSY, "a has no free port", "second -device");
	guest_add("virtconsole");
	refused("virtconsole", EBUSY, "a has no free port", "up to 31");
	/* The next device takes what has no place on the first. */
	guest_add("virtio-serial-device,id=b");
	guest_add("virtconsole");
	guest_add("virtserialport,bus=b");
	guest_add("virtserialport,nr=30");
	refused("virtserialport,bus=a.0", EBUSY, "a has no free port", "");
	guest_use("b");
	start(MULTIPORT, ALL);
	give_control(4);
	send_control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	expect(0, VIRTIO_CONSOLE_PORT_ADD, 1);
	expect(1, VIRTIO_CONSOLE_PORT_ADD, 1);
	expect(30, VIRTIO_CONSOLE_PORT_ADD, 1);
}
END_TEST

START_TEST(a_chardev_of_two_ports)
{
	add_port();
	refused("virtserialport,chardev=c1", EBUSY, "in use", "a chardev of its own");
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		features_and_configuration,
		every_control_message,
		control_messages_wait_for_buffers,
		a_port_that_the_driver_cannot_use,
		a_port_is_removed,
		without_multiport,
		nobody_at_port_0,
		output_without_a_peer,
		emergency_write,
		scattered_output,
		output_is_held_back,
		the_peer_leaves_a_full_port,
		input_waits,
		input_of_a_closed_port,
		reset_in_flight,
		queue_reset_in_flight,
		odd_control_messages,
		random_control_messages,
		buffers_that_cannot_be,
		broken_ring_with_chains_in_hand,
		places_of_ports,
		a_chardev_of_two_ports,
	};

	return guest_main("virtio_console", tests, sizeof(tests) / sizeof(tests[0]));
}
