/* SPDX-License-Identifier: GPL-2.0-or-later */
/* User networks: a small guest of frames against libslirp and servers on the host's loopback. */
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net_guest.h"
#include "suite.h"

enum { WAIT = 10000, BRIEF = 300 };

static struct err err;
static char dir[32];

static void setup(void)
{
	ck_assert_int_eq(loop_create(&loop, &err), 0);
	ck_assert_int_eq(net_set_create(&set, loop, &err), 0);
	strcpy(dir, "/tmp/posada.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	net = NULL;
	deaf = false;
	hdr_len = 0;
	frame_first = frame_count = 0;
}

static void teardown(void)
{
	char path[64];

	net_detach(net);
	net_set_destroy(set);
	loop_destroy(loop);
	snprintf(path, sizeof(path), "%s/root/file", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/root", dir);
	rmdir(path);
	snprintf(path, sizeof(path), "%s/secret", dir);
	unlink(path);
	rmdir(dir);
}

static int add(const char *more)
{
	char arg[512];

	snprintf(arg, sizeof(arg), "user,id=n0%s%s", *more ? "," : "", more);
	memset(&err, 0, sizeof(err));
	return net_add(set, arg, &err);
}

static void attach(void)
{
	ck_assert_int_eq(net_attach(set, "n0", &client, NULL, loop, &net, &err), 0);
}

/* The network, a card on it, and its address announced. */
static void begin(const char *more)
{
	ck_assert_msg(!add(more), "%s", err.msg);
	attach();
	arp(1, GATEWAY, NULL, GUEST);
}

static int listen_on(int type, unsigned *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	if (type == SOCK_STREAM)
		ck_assert_int_eq(listen(fd, 64), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*port = ntohs(a.sin_port);
	return fd;
}

/* A port that nobody has at the moment. */
static unsigned free_port(int type)
{
	unsigned port;

	close(listen_on(type, &port));
	return port;
}

static int connect_to(int type, unsigned port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static unsigned open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void write_file(const char *name, const void *data, size_t len)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	ck_assert_uint_eq(fwrite(data, 1, len, f), len);
	fclose(f);
}

/* --- addresses -------------------------------------------------------------------------------- */

START_TEST(arp_of_the_gateway)
{
	const struct frame *f;

	begin("");
	f = next_frame(WAIT);
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(get16(f->b + 12), ETH_ARP);
	ck_assert_uint_eq(get16(f->b + 20), 2);
	ck_assert_uint_eq(get32(f->b + 28), GATEWAY);
	ck_assert_mem_eq(f->b, guest_mac, 6);
}
END_TEST

static const uint8_t *dhcp_option(const uint8_t *d, size_t len, unsigned code)
{
	for (size_t i = 240; i + 1 < len && d[i] != 255; i += 2u + d[i + 1])
		if (d[i] == code)
			return d + i + 1; /* length, value */
	return NULL;
}

/* RFC 2131: the answer to one message. */
static const uint8_t *dhcp(unsigned type, uint32_t want, size_t *len)
{
	uint8_t b[300] = { 1, 1, 6, 0, 0x12, 0x34, 0x56, 0x78 };
	uint8_t *o = b + 236;

	memcpy(b + 28, guest_mac, 6);
	put32(o, 0x63825363);
	o += 4;
	memcpy(o, (uint8_t[]){ 53, 1, (uint8_t)type }, 3);
	o += 3;
	if (want) {
		o[0] = 50;
		o[1] = 4;
		put32(o + 2, want);
		o += 6;
	}
	*o = 255;
	memset(peer_mac, 0xff, 6);
	send_udp(0, 68, ~0u, 67, b, sizeof(b));
	memcpy(peer_mac, (uint8_t[]){ 0x52, 0x55, 10, 0, 2, 2 }, 6);
	return wait_udp(68, len, WAIT);
}

START_TEST(dhcp_gives_an_address)
{
	const uint8_t *d, *o;
	size_t len;

	ck_assert_msg(!add("hostname=pc,domainname=example.org,dnssearch=a.example,dnssearch=b."
			   "example,bootfile=boot.ipxe"),
		      "%s", err.msg);
	attach();
	d = dhcp(1, 0, &len);
	ck_assert_ptr_nonnull(d);
	ck_assert_uint_eq(get32(d + 4), 0x12345678);
	ck_assert_uint_eq(get32(d + 16), GUEST);
	ck_assert_uint_eq(dhcp_option(d, len, 53)[1], 2);
	d = dhcp(3, GUEST, &len);
	ck_assert_ptr_nonnull(d);
	ck_assert_uint_eq(dhcp_option(d, len, 53)[1], 5);
	ck_assert_uint_eq(get32(d + 16), GUEST);
	ck_assert_str_eq((const char *)d + 108, "boot.ipxe");
	ck_assert_uint_eq(get32(dhcp_option(d, len, 1) + 1), 0xffffff00);
	ck_assert_uint_eq(get32(dhcp_option(d, len, 3) + 1), GATEWAY);
	ck_assert_uint_eq(get32(dhcp_option(d, len, 6) + 1), DNS);
	ck_assert_mem_eq(dhcp_option(d, len, 12), "\002pc", 3);
	ck_assert_mem_eq(dhcp_option(d, len, 15), "\013example.org", 12);
	o = dhcp_option(d, len, 119);
	ck_assert_ptr_nonnull(o);
	ck_assert_ptr_nonnull(memmem(o + 1, o[0], "\001a\007example", 10));
	ck_assert_ptr_nonnull(memmem(o + 1, o[0], "\001b", 2));
}
END_TEST

START_TEST(dhcp_of_another_network)
{
	const uint8_t *d;
	size_t len;

	ck_assert_msg(
		!add("net=192.168.7.0/255.255.255.128,dns=192.168.7.9,dhcpstart=192.168.7.100"),
		"%s", err.msg);
	attach();
	d = dhcp(1, 0, &len);
	ck_assert_ptr_nonnull(d);
	ck_assert_uint_eq(get32(d + 16), ADDR(192, 168, 7, 100));
	ck_assert_uint_eq(get32(dhcp_option(d, len, 1) + 1), 0xffffff80);
	ck_assert_uint_eq(get32(dhcp_option(d, len, 3) + 1), ADDR(192, 168, 7, 2));
	ck_assert_uint_eq(get32(dhcp_option(d, len, 6) + 1), ADDR(192, 168, 7, 9));
}
END_TEST

static const struct frame *ping(uint32_t to, unsigned ms)
{
	uint8_t b[FRAME] = { 0 };
	uint8_t *h = b + IP;
	const struct frame *f;

	h[0] = 8;
	put16(h + 4, 7);
	memset(h + 8, 'x', 56);
	put16(h + 2, fold(sum(0, h, 64)));
	send_frame(b, ip(b, 1, GUEST, to, 64));
	while ((f = next_frame(ms)) && !is_ip(f, 1)) {
	}
	return f;
}

START_TEST(ping_the_gateway)
{
	const struct frame *f;

	begin("");
	f = ping(GATEWAY, WAIT);
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(f->b[IP], 0);
	ck_assert_uint_eq(get16(f->b + IP + 4), 7);
	ck_assert_uint_eq(get32(f->b + ETH + 12), GATEWAY);
}
END_TEST

/* RFC 4861, 4.1 and 4.2: a router solicitation, and the prefix of the advertisement. */
static const struct frame *solicit(unsigned ms)
{
	static const uint8_t all_routers[16] = { 0xff, 2, [15] = 2 };
	uint8_t b[ETH + 40 + 8] = { 0 };
	uint8_t *h = b + ETH;
	const struct frame *f;

	eth(b, ETH_IP6);
	memcpy(b, (uint8_t[]){ 0x33, 0x33, 0, 0, 0, 2 }, 6);
	h[0] = 0x60;
	put16(h + 4, 8);
	h[6] = 58;
	h[7] = 255;
	memcpy(h + 8, (uint8_t[16]){ 0xfe, 0x80, [15] = 0x56 }, 16);
	memcpy(h + 24, all_routers, 16);
	h[40] = 133;
	put16(h + 42, fold(sum(58 + 8, h + 8, 40)));
	send_frame(b, sizeof(b));
	while ((f = next_frame(ms)))
		if (get16(f->b + 12) == ETH_IP6 && f->b[ETH + 6] == 58 && f->b[ETH + 40] == 134)
			return f;
	return NULL;
}

START_TEST(ipv6_prefix)
{
	static const uint8_t prefix[16] = { 0xfd, 0, 0x12, 0x34 };
	const struct frame *f;

	begin("ipv6-net=fd00:1234::/64");
	f = solicit(WAIT);
	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_nonnull(memmem(f->b, f->len, prefix, 16));
}
END_TEST

START_TEST(one_family_alone)
{
	size_t len;

	begin("ipv4=on");
	ck_assert_ptr_null(solicit(BRIEF));
	net_detach(net);
	net = NULL;
	net_set_destroy(set);
	ck_assert_int_eq(net_set_create(&set, loop, &err), 0);
	begin("ipv6=on");
	ck_assert_ptr_nonnull(solicit(WAIT));
	frame_count = 0;
	memset(peer_mac, 0xff, 6);
	send_udp(0, 68, ~0u, 67, "x", 1);
	memcpy(peer_mac, (uint8_t[]){ 0x52, 0x55, 10, 0, 2, 2 }, 6);
	ck_assert_ptr_null(wait_udp(68, &len, BRIEF));
}
END_TEST

/* --- conversations -----------------------------------------------------------------------------
 */

static void udp_echo(unsigned guest_port)
{
	unsigned port;
	int fd = listen_on(SOCK_DGRAM, &port);
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	const uint8_t *d;
	char buf[64];
	size_t len;
	ssize_t n;

	send_udp(GUEST, guest_port, GATEWAY, port, "knock", 5);
	n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &from_len);
	ck_assert_int_eq(n, 5);
	ck_assert_mem_eq(buf, "knock", 5);
	ck_assert_int_eq(sendto(fd, "come in", 7, 0, (struct sockaddr *)&from, from_len), 7);
	d = wait_udp(guest_port, &len, WAIT);
	ck_assert_ptr_nonnull(d);
	ck_assert_uint_eq(len, 7);
	ck_assert_mem_eq(d, "come in", 7);
	close(fd);
}

START_TEST(udp)
{
	begin("");
	udp_echo(5000);
}
END_TEST

START_TEST(frames_with_a_header)
{
	begin("");
	ck_assert_int_eq(net_set_header(net, 12, 0), 0);
	frame_count = 0;
	hdr_len = 12;
	udp_echo(5000);
}
END_TEST

START_TEST(another_card)
{
	unsigned fds;

	begin("");
	udp_echo(5000);
	fds = open_fds();
	for (unsigned i = 0; i < 3; i++) {
		net_detach(net);
		frame_count = 0;
		attach();
		arp(1, GATEWAY, NULL, GUEST);
		udp_echo(5000);
	}
	ck_assert_uint_le(open_fds(), fds + 1);
}
END_TEST

static void pattern(uint8_t *b, size_t off, size_t len)
{
	for (size_t i = 0; i < len; i++)
		b[i] = (uint8_t)((off + i) * 31 >> 3);
}

/* Closes what the guest opened, politely. */
static void tcp_close(struct tcp *t)
{
	tcp_send(t, TCP_FIN | TCP_ACK, NULL, 0);
	while (!(t->flags & (TCP_FIN | TCP_RST)))
		ck_assert(tcp_wait(t, WAIT));
	tcp_send(t, TCP_ACK, NULL, 0);
}

START_TEST(tcp)
{
	static uint8_t want[1400], buf[1400];
	unsigned port;
	int listener = listen_on(SOCK_STREAM, &port), fd;
	struct tcp t;

	begin("");
	ck_assert(tcp_connect(&t, GATEWAY, port, 4000, WAIT));
	fd = accept(listener, NULL, NULL);
	for (size_t i = 0; i < 20; i++) {
		pattern(want, i * sizeof(want), sizeof(want));
		tcp_send(&t, TCP_ACK | TCP_PSH, want, sizeof(want));
		ck_assert_int_eq(recv(fd, buf, sizeof(buf), MSG_WAITALL), (ssize_t)sizeof(buf));
		ck_assert_mem_eq(buf, want, sizeof(buf));
	}
	ck_assert_int_eq(write(fd, "done", 4), 4);
	close(fd);
	t.len = 0;
	while (!t.len)
		ck_assert(tcp_wait(&t, WAIT));
	ck_assert_uint_eq(t.len, 4);
	ck_assert_mem_eq(t.data, "done", 4);
	tcp_close(&t);
	close(listener);
}
END_TEST

/* More than any buffer on the way holds, by a guest that now and then is slow. */
START_TEST(tcp_much)
{
	enum { ALL = 8 << 20, PIECE = 1 << 16 };
	static uint8_t piece[PIECE], want[FRAME];
	unsigned port;
	int listener = listen_on(SOCK_STREAM, &port), fd;
	size_t sent = 0, got = 0;
	struct net_stats st;
	struct tcp t;

	begin("");
	ck_assert(tcp_connect(&t, GATEWAY, port, 4000, WAIT));
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	while (got < ALL) {
		ssize_t n;

		pattern(piece, sent, PIECE);
		n = sent < ALL ? write(fd, piece, ALL - sent < PIECE ? ALL - sent : PIECE) : 0;
		sent += n > 0 ? (size_t)n : 0;
		ck_assert(tcp_wait(&t, WAIT));
		pattern(want, got, t.len);
		ck_assert_mem_eq(t.data, want, t.len);
		got += t.len;
		tcp_send(&t, TCP_ACK, NULL, 0);
	}
	net_stats_get(net, &st);
	ck_assert_uint_ge(st.rx_bytes, ALL);
	close(fd);
	close(listener);
}
END_TEST

START_TEST(tcp_refused)
{
	struct tcp t;

	begin("");
	ck_assert(!tcp_connect(&t, GATEWAY, free_port(SOCK_STREAM), 4000, WAIT));
	ck_assert_uint_eq(t.flags & TCP_RST, TCP_RST);
}
END_TEST

/*
 * The peer resets while its data fills what there is for the guest, and the guest's data waits for
 * the peer: nothing can be read then.
 */
START_TEST(tcp_reset_when_full)
{
	static uint8_t junk[1400];
	const struct linger hard = { .l_onoff = 1 };
	unsigned port;
	int listener = listen_on(SOCK_STREAM, &port), fd, small = 4096;
	struct tcp t;

	setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	begin("");
	ck_assert(tcp_connect(&t, GATEWAY, port, 4000, WAIT));
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	t.window = 0;
	tcp_send(&t, TCP_ACK, NULL, 0);
	/*
	 * It reads as long as less than half of its 90 * 1460 bytes is taken, and then as many
	 * segments of 1440 as there is room for: these leave none.
	 */
	for (size_t left = 90 * 1460 - 49 * 1440; left;) {
		ssize_t n = write(fd, junk, left < sizeof(junk) ? left : sizeof(junk));

		if (n > 0)
			left -= (size_t)n;
		run_loop(1);
	}
	while (write(fd, junk, sizeof(junk)) > 0) {
	}
	run_loop(20);
	for (unsigned i = 0; i < 8000; i++) {
		tcp_send(&t, TCP_ACK, junk, sizeof(junk));
		take_frames(NULL, 0);
		frame_count = 0;
		if (i % 16 == 0)
			run_loop(1);
	}
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(fd);
	run_loop(BRIEF);
	frame_count = 0;
	udp_echo(5000);
	close(listener);
}
END_TEST

/* --- forwards ----------------------------------------------------------------------------------
 */

START_TEST(hostfwd)
{
	unsigned port = free_port(SOCK_STREAM);
	struct tcp t = { .window = 65535, .seq = 1 };
	char text[96], buf[8];
	int fd;

	snprintf(text, sizeof(text), "restrict=on,hostfwd=tcp::%u-:80", port);
	ck_assert_msg(!add(text), "%s", err.msg);
	fd = connect_to(SOCK_STREAM, port); /* before the guest has a card */
	attach();
	arp(1, GATEWAY, NULL, GUEST);
	ck_assert(tcp_wait(&t, WAIT));
	ck_assert_uint_eq(t.flags, TCP_SYN);
	ck_assert_uint_eq(t.port, 80);
	tcp_send(&t, TCP_SYN | TCP_ACK, NULL, 0);
	while (t.flags & TCP_SYN)
		ck_assert(tcp_wait(&t, WAIT));
	ck_assert_int_eq(write(fd, "GET", 3), 3);
	while (!t.len)
		ck_assert(tcp_wait(&t, WAIT));
	ck_assert_mem_eq(t.data, "GET", 3);
	tcp_send(&t, TCP_ACK | TCP_PSH, "page", 4);
	run_loop(1);
	ck_assert_int_eq(recv(fd, buf, 4, MSG_WAITALL), 4);
	ck_assert_mem_eq(buf, "page", 4);
	close(fd);
	while (!(t.flags & TCP_FIN))
		ck_assert(tcp_wait(&t, WAIT));
}
END_TEST

START_TEST(hostfwd_udp)
{
	unsigned port = free_port(SOCK_DGRAM);
	const uint8_t *d;
	char text[64], buf[8];
	size_t len;
	int fd;

	snprintf(text, sizeof(text), "hostfwd=udp:127.0.0.1:%u-10.0.2.15:53", port);
	begin(text);
	fd = connect_to(SOCK_DGRAM, port);
	ck_assert_int_eq(write(fd, "who", 3), 3);
	d = wait_udp(53, &len, WAIT);
	ck_assert_ptr_nonnull(d);
	ck_assert_uint_eq(len, 3);
	send_udp(GUEST, 53, get32(d - 8 - 8), get16(d - 8), "me", 2);
	run_loop(1);
	ck_assert_int_eq(read(fd, buf, sizeof(buf)), 2);
	close(fd);
}
END_TEST

START_TEST(hostfwd_in_use)
{
	unsigned port;
	int fd = listen_on(SOCK_STREAM, &port);
	char text[64], want[16];

	snprintf(text, sizeof(text), "hostfwd=tcp::%u-:80", port);
	snprintf(want, sizeof(want), "%u", port);
	ck_assert_int_eq(add(text), -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(err.msg, "in use"));
	ck_assert_ptr_nonnull(strstr(err.hint, want));
	close(fd);
	ck_assert_int_eq(add(text), 0);
}
END_TEST

START_TEST(hostfwd_listens_here_only)
{
	unsigned port = free_port(SOCK_STREAM);
	char text[64], line[256];
	unsigned found = 0;
	FILE *f;

	snprintf(text, sizeof(text), "hostfwd=tcp::%u-:80", port);
	ck_assert_int_eq(add(text), 0);
	snprintf(text, sizeof(text), " 0100007F:%04X 00000000:0000 0A", port);
	f = fopen("/proc/net/tcp", "r");
	while (fgets(line, sizeof(line), f))
		found += !!strstr(line, text);
	fclose(f);
	ck_assert_uint_eq(found, 1);
}
END_TEST

START_TEST(guestfwd)
{
	struct tcp t;

	begin("restrict=on,guestfwd=tcp:10.0.2.100:80-cmd:tr a-z A-Z");
	ck_assert(tcp_connect(&t, ADDR(10, 0, 2, 100), 80, 4000, WAIT));
	tcp_send(&t, TCP_ACK | TCP_PSH, "hello\n", 6);
	tcp_send(&t, TCP_ACK | TCP_FIN, NULL, 0);
	t.len = 0;
	while (!t.len)
		ck_assert(tcp_wait(&t, WAIT));
	ck_assert_mem_eq(t.data, "HELLO\n", 6);
}
END_TEST

START_TEST(restricted)
{
	unsigned port;
	int tcp_fd = listen_on(SOCK_STREAM, &port), udp_fd;
	struct tcp t;
	char buf[8];

	begin("restrict=on");
	ck_assert_ptr_nonnull(next_frame(WAIT)); /* ARP still works */
	ck_assert(!tcp_connect(&t, GATEWAY, port, 4000, BRIEF));
	udp_fd = listen_on(SOCK_DGRAM, &port);
	send_udp(GUEST, 5000, GATEWAY, port, "out", 3);
	run_loop(BRIEF);
	ck_assert_int_eq(recv(udp_fd, buf, sizeof(buf), MSG_DONTWAIT), -1);
	close(tcp_fd);
	close(udp_fd);
}
END_TEST

/* --- TFTP (RFC 1350)
 * ------------------------------------------------------------------------------ */

static const uint8_t *tftp(const char *name, size_t *len)
{
	char b[256];
	size_t n = strlen(name) + 1;

	memcpy(b, "\0\1", 2);
	memcpy(b + 2, name, n);
	memcpy(b + 2 + n, "octet", 6);
	send_udp(GUEST, 6000, GATEWAY, 69, b, 2 + n + 6);
	return wait_udp(6000, len, WAIT);
}

START_TEST(tftp_reads)
{
	uint8_t content[700];
	const uint8_t *d;
	char more[64];
	size_t len;

	pattern(content, 5, sizeof(content));
	snprintf(more, sizeof(more), "%s/root", dir);
	ck_assert_int_eq(mkdir(more, 0700), 0);
	write_file("root/file", content, sizeof(content));
	write_file("secret", "secret", 6);
	snprintf(more, sizeof(more), "tftp=%s/root", dir);
	begin(more);
	d = tftp("file", &len);
	ck_assert_ptr_nonnull(d);
	ck_assert_uint_eq(get32(d), 0x30001);
	ck_assert_uint_eq(len, 4 + 512);
	ck_assert_mem_eq(d + 4, content, 512);
	send_udp(GUEST, 6000, GATEWAY, 69, "\0\4\0\1", 4);
	d = wait_udp(6000, &len, WAIT);
	ck_assert_ptr_nonnull(d);
	ck_assert_uint_eq(len, 4 + sizeof(content) - 512);
	ck_assert_mem_eq(d + 4, content + 512, sizeof(content) - 512);
	send_udp(GUEST, 6000, GATEWAY, 69, "\0\4\0\2", 4);
	for (unsigned i = 0; i < 3; i++) {
		static const char *const names[] = { "../secret", "/../secret", "x/../../secret" };

		d = tftp(names[i], &len);
		ck_assert_ptr_nonnull(d);
		ck_assert_uint_eq(get16(d), 5);
	}
}
END_TEST

/* --- what is wrong on purpose -------------------------------------------------------------------
 */

START_TEST(malformed_frames)
{
	static uint8_t b[70000];
	uint8_t good[4][FRAME];
	size_t len[4];
	struct tcp t = { .peer = GATEWAY, .port = 1, .peer_port = 2 };
	unsigned port;
	int fd = listen_on(SOCK_DGRAM, &port);

	srand(1);
	begin("");
	len[0] = udp_frame(good[0], GUEST, 5, GATEWAY, port, "abc", 3);
	len[1] = tcp_frame(good[1], &t, TCP_SYN, NULL, 0);
	len[2] = udp_frame(good[2], 0, 68, ~0u, 67, b, 300);
	len[3] = udp_frame(good[3], GUEST, 7, GATEWAY, 69, "\0\1file\0octet", 13);
	for (unsigned i = 0; i < 4; i++)
		for (size_t cut = 0; cut < len[i]; cut++)
			send_frame(good[i], cut);
	for (unsigned i = 0; i < 20000; i++) {
		size_t n = (size_t)rand() % (i % 100 ? 200 : 1600);
		unsigned k = (unsigned)rand() % 4;

		for (size_t j = 0; j < n; j++)
			b[j] = (uint8_t)rand();
		if (i % 2)
			memcpy(b + 12,
			       (uint8_t[][2]){ { 8, 0 }, { 8, 6 }, { 0x86, 0xdd }, { 0, 0 } }[k],
			       2);
		if (i % 4 == 1) {
			memcpy(b, good[k], len[k]);
			n = len[k];
			for (unsigned j = 0; j < 4; j++)
				b[ETH + (size_t)rand() % (n - ETH)] = (uint8_t)rand();
		}
		send_frame(b, n);
		if (i % 256 == 0)
			run_loop(1);
		frame_count = 0;
	}
	send_frame(b, sizeof(b) - 5000);
	run_loop(1);
	frame_count = 0;
	arp(1, GATEWAY, NULL, GUEST);
	udp_echo(5000);
	close(fd);
}
END_TEST

START_TEST(connections_leak_nothing)
{
	unsigned port, fds;
	int listener = listen_on(SOCK_STREAM, &port);
	const struct linger hard = { .l_onoff = 1 };
	struct tcp t;

	begin("");
	fds = open_fds();
	for (unsigned i = 0; i < 1000; i++) {
		int fd;

		ck_assert(tcp_connect(&t, GATEWAY, port, 10000 + i, WAIT));
		fd = accept(listener, NULL, NULL);
		switch (i % 3) {
		case 0:
			tcp_send(&t, TCP_RST | TCP_ACK, NULL, 0);
			close(fd);
			break;
		case 1:
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
			close(fd);
			while (!(t.flags & TCP_RST))
				ck_assert(tcp_wait(&t, WAIT));
			break;
		default:
			close(fd);
			tcp_close(&t);
		}
	}
	run_loop(BRIEF);
	ck_assert_uint_le(open_fds(), fds + 2);
	close(listener);
}
END_TEST

/* A card without buffers: what waits is bounded, and what the host sends stays with the host. */
START_TEST(card_that_does_not_read)
{
	static uint8_t junk[1 << 16];
	unsigned port;
	int listener = listen_on(SOCK_STREAM, &port), fd[40];
	struct net_stats st;
	struct rusage before, after;

	begin("");
	for (unsigned i = 0; i < 40; i++) {
		struct tcp t;

		ck_assert(tcp_connect(&t, GATEWAY, port, 4000 + i, WAIT));
		fd[i] = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	}
	deaf = true;
	for (unsigned i = 0; i < 40; i++) {
		while (write(fd[i], junk, sizeof(junk)) > 0) {
		}
		run_loop(1);
	}
	/* Nor does the loop go round and round. */
	getrusage(RUSAGE_SELF, &before);
	run_loop(1000);
	getrusage(RUSAGE_SELF, &after);
	ck_assert_int_lt((after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 +
				 after.ru_utime.tv_usec - before.ru_utime.tv_usec,
			 300000);
	net_stats_get(net, &st);
	ck_assert_uint_lt(st.rx_dropped, 200);
	deaf = false;
	take_frames(NULL, 0);
	frame_count = 0;
	udp_echo(5000);
	for (unsigned i = 0; i < 40; i++)
		close(fd[i]);
	close(listener);
}
END_TEST

/* Datagrams wait in the host's socket while the card's queue is full, and none is lost. */
START_TEST(card_that_is_slow)
{
	enum { EACH = 100, ALL = 3 * EACH };
	unsigned port, got = 0;
	int fd = listen_on(SOCK_DGRAM, &port);
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	struct net_stats st;
	char buf[8];
	size_t len;

	begin("");
	ck_assert_ptr_nonnull(next_frame(WAIT));
	send_udp(GUEST, 5000, GATEWAY, port, "knock", 5);
	ck_assert_int_eq(recvfrom(fd, buf, 8, 0, (struct sockaddr *)&from, &from_len), 5);
	sendto(fd, "x", 1, 0, (struct sockaddr *)&from, from_len);
	ck_assert_ptr_nonnull(wait_udp(5000, &len, WAIT)); /* its address is known now */
	deaf = true;
	for (unsigned i = 0; i < ALL; i++) {
		ck_assert_int_eq(sendto(fd, "x", 1, 0, (struct sockaddr *)&from, from_len), 1);
		if (i % EACH == EACH - 1)
			run_loop(100);
	}
	deaf = false;
	while (got < ALL && wait_udp(5000, &len, WAIT))
		got++;
	ck_assert_uint_eq(got, ALL);
	net_stats_get(net, &st);
	ck_assert_uint_eq(st.rx_dropped, 0);
	close(fd);
}
END_TEST

/* The card's loop is another thread's. */
static sem_t came;

static void tell(void *ctx, unsigned queue)
{
	sem_post(&came);
}

static void *run_other(void *l)
{
	loop_run(l);
	return NULL;
}

static void send_knock(void *port)
{
	arp(1, GATEWAY, NULL, GUEST);
	send_udp(GUEST, 5000, GATEWAY, *(unsigned *)port, "knock", 5);
}

START_TEST(card_on_another_thread)
{
	static const struct net_client teller = { .readable = tell, .writable = no_writable };
	unsigned port;
	int fd = listen_on(SOCK_DGRAM, &port);
	struct loop *other;
	pthread_t thread;
	char buf[8];

	ck_assert_int_eq(loop_create(&other, &err), 0);
	sem_init(&came, 0, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, run_other, other), 0);
	ck_assert_int_eq(add(""), 0);
	for (unsigned i = 0; i < 20; i++) {
		ck_assert_int_eq(net_attach(set, "n0", &teller, NULL, other, &net, &err), 0);
		loop_call(other, send_knock, &port);
		ck_assert_int_eq(recv(fd, buf, sizeof(buf), 0), 5);
		sem_wait(&came);
		net_detach(net);
	}
	net = NULL;
	loop_quit(other);
	pthread_join(thread, NULL);
	loop_destroy(other);
	close(fd);
}
END_TEST

START_TEST(idle_sleeps)
{
	unsigned port = free_port(SOCK_STREAM);
	struct rusage before, after;
	char text[64];

	snprintf(text, sizeof(text), "hostfwd=tcp::%u-:80", port);
	ck_assert_int_eq(add(text), 0);
	attach();
	run_loop(50);
	getrusage(RUSAGE_THREAD, &before);
	run_loop(3000);
	getrusage(RUSAGE_THREAD, &after);
	ck_assert_int_le(after.ru_nvcsw - before.ru_nvcsw, 2);
}
END_TEST

static const struct {
	const char *opts, *say;
} bad[] = {
	{ "net=10.0.2", "not an IPv4 address" },
	{ "net=10.0.2.0/33", "/4 to /29" },
	{ "net=10.0.2.0/255.0.255.0", "zeros before ones" },
	{ "net=10.0.2.7/24", "outside its mask" },
	{ "host=10.0.3.2", "host=10.0.3.2: not an address" },
	{ "dns=10.0.2.255", "dns=10.0.2.255: not an address" },
	{ "dns=10.0.2.2", "same address" },
	{ "dhcpstart=10.0.2.3", "address of dns" },
	{ "dhcpstart=x", "'x' is not an IPv4" },
	{ "ipv4=off,ipv6=off", "nothing is left" },
	{ "ipv6-net=fec0::/200", "to 126" },
	{ "ipv6-net=zz::/64", "not an IPv6" },
	{ "ipv6-host=fec1::2", "not in the network" },
	{ "ipv6-prefixlen=127", "126" },
	{ "tftp=/nonexistent", "tftp=/nonexistent: No such file" },
	{ "tftp=/etc/passwd", "not a directory" },
	{ "dnssearch=a..b", "not a domain" },
	{ "dnssearch=", "not a domain" },
	{ "smb=/tmp", "no file server" },
	{ "hostname=a23456789012345678901234567890123", "longer than 32" },
	{ "hostfw=tcp::1-:2", "hostfw" },
	{ "hostfwd=", "no ':' after the protocol" },
	{ "hostfwd=tcp", "no ':' after the protocol" },
	{ "hostfwd=tcp:8080", "after the host's address" },
	{ "hostfwd=tcp::8080", "no '-'" },
	{ "hostfwd=tcp::8080-80", "after the guest's address" },
	{ "hostfwd=sctp::8080-:80", "not 'sctp'" },
	{ "hostfwd=tcp:localhost:8080-:80", "'localhost' is not an IPv4" },
	{ "hostfwd=tcp::-:80", "the host's port is missing" },
	{ "hostfwd=tcp::0-:80", "the host's port '0'" },
	{ "hostfwd=tcp::65536-:80", "'65536' is not from" },
	{ "hostfwd=tcp::80x-:80", "'80x'" },
	{ "hostfwd=tcp::8080-:", "the guest's port is missing" },
	{ "hostfwd=tcp::8080-10.9.0.1:80", "not in the network" },
	{ "hostfwd=tcp:192.0.2.1:8080-:80", "does not have the address" },
	{ "ipv6=on,hostfwd=tcp::8080-:80", "ipv4=on" },
	{ "guestfwd=udp:10.0.2.100:80-cmd:x", "not 'udp'" },
	{ "guestfwd=tcp:10.0.2.100:80", "no '-'" },
	{ "guestfwd=tcp:10.0.2.100:80-chardev:x", "not to 'chardev:x'" },
	{ "guestfwd=tcp:10.0.2.2:80-cmd:x", "not free" },
	{ "guestfwd=tcp:10.9.9.9:80-cmd:x", "not free" },
};

START_TEST(bad_options)
{
	ck_assert_int_lt(add(bad[_i].opts), 0);
	ck_assert_msg(strstr(err.msg, bad[_i].say), "%s: %s", bad[_i].opts, err.msg);
	ck_assert_ptr_null(net_each(set, 0));
}
END_TEST

START_TEST(described)
{
	char text[64];

	ck_assert_int_eq(add("restrict=on"), 0);
	net_describe(net_each(set, 0), text, sizeof(text));
	ck_assert_str_eq(text, "user,net=10.0.2.0/24,restrict=on");
}
END_TEST

int main(void)
{
	static const TTest *const *const tests[] = {
		&arp_of_the_gateway,
		&dhcp_gives_an_address,
		&dhcp_of_another_network,
		&ping_the_gateway,
		&ipv6_prefix,
		&one_family_alone,
		&udp,
		&frames_with_a_header,
		&another_card,
		&tcp,
		&tcp_much,
		&tcp_refused,
		&tcp_reset_when_full,
		&hostfwd,
		&hostfwd_udp,
		&hostfwd_in_use,
		&hostfwd_listens_here_only,
		&guestfwd,
		&restricted,
		&tftp_reads,
		&malformed_frames,
		&connections_leak_nothing,
		&card_that_does_not_read,
		&card_that_is_slow,
		&card_on_another_thread,
		&idle_sleeps,
		&described,
	};
	Suite *s = suite_create("net_user");
	TCase *tc = tcase_create("net_user");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(tc, *tests[i]);
	tcase_add_loop_test(tc, bad_options, 0, sizeof(bad) / sizeof(bad[0]));
	suite_add_tcase(s, tc);
	return run_suite(s);
}
