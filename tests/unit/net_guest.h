/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest for tests of networks: a card on a backend, and as much of ARP (RFC 826), IPv4 (791),
 * ICMP (792), UDP (768) and TCP (793) as it takes to speak to somebody. Frames that come wait in a
 * queue; the loop runs on the test's own thread, only while the test waits for one.
 */
#ifndef POSADA_TEST_NET_GUEST_H
#define POSADA_TEST_NET_GUEST_H

#include <arpa/inet.h>
#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "err.h"
#include "loop.h"
#include "net.h"

enum {
	FRAMES = 1024,
	FRAME = 1600,
	ETH = 14,
	IP = ETH + 20,
	ETH_IP4 = 0x0800,
	ETH_ARP = 0x0806,
	ETH_IP6 = 0x86dd,
	TCP_FIN = 1,
	TCP_SYN = 2,
	TCP_RST = 4,
	TCP_PSH = 8,
	TCP_ACK = 16,
};

#define ADDR(a, b, c, d) ((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))
#define GUEST ADDR(10, 0, 2, 15)
#define GATEWAY ADDR(10, 0, 2, 2)
#define DNS ADDR(10, 0, 2, 3)

struct frame {
	uint8_t b[FRAME];
	size_t len;
};

static const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };
static uint8_t peer_mac[6] = { 0x52, 0x55, 10, 0, 2, 2 };

static struct loop *loop;
static struct net_set *set;
static struct net *net;
static struct frame frames[FRAMES];
static unsigned frame_first, frame_count;
static bool deaf; /* does not take frames */
static bool timed_out;
static unsigned hdr_len;

/* --- bytes --- */

static inline void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}
static inline void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}
static inline unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}
static inline uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static inline uint32_t sum(uint32_t acc, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		acc += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	return acc;
}
static inline unsigned fold(uint32_t acc)
{
	while (acc >> 16)
		acc = (acc & 0xffff) + (acc >> 16);
	return ~acc & 0xffff;
}

/* --- the card --- */

static void take_frames(void *ctx, unsigned queue)
{
	uint8_t hdr[16];

	while (!deaf && frame_count < FRAMES) {
		struct frame *f = &frames[(frame_first + frame_count) % FRAMES];
		struct iovec iov[2] = { { hdr, hdr_len }, { f->b, sizeof(f->b) } };
		ssize_t len = net_recv(net, 0, iov, 2);

		if (len < 0)
			return;
		f->len = (size_t)len - hdr_len;
		frame_count++;
		loop_quit(loop);
	}
}

static void no_writable(void *ctx, unsigned queue)
{
}

static const struct net_client client = { .readable = take_frames, .writable = no_writable };

static inline void send_frame(const uint8_t *b, size_t len)
{
	uint8_t hdr[16] = { 0 };
	struct iovec iov[3] = { { hdr, hdr_len },
				{ (void *)(uintptr_t)b, len / 2 },
				{ (void *)(uintptr_t)(b + len / 2), len - len / 2 } };

	ck_assert_int_eq(net_send(net, 0, iov, 3), (ssize_t)(len + hdr_len));
}

static void on_timeout(void *ctx)
{
	timed_out = true;
	loop_quit(loop);
}

/* Runs the loop until a frame comes; false: none did. */
static inline bool run_loop(unsigned ms)
{
	struct loop_timer t;

	timed_out = false;
	loop_timer_init(&t, loop, on_timeout, NULL);
	loop_timer_set(&t, loop_now_ns() + ms * 1000000ull);
	loop_run(loop);
	loop_timer_cancel(&t);
	return !timed_out;
}

static inline void eth(uint8_t *b, unsigned type)
{
	memcpy(b, peer_mac, 6);
	memcpy(b + 6, guest_mac, 6);
	put16(b + 12, type);
}

static inline void arp(unsigned op, uint32_t target, const uint8_t *target_mac, uint32_t self)
{
	uint8_t b[42] = { 0 };

	eth(b, ETH_ARP);
	if (op == 1)
		memset(b, 0xff, 6);
	put16(b + 14, 1);
	put16(b + 16, ETH_IP4);
	b[18] = 6;
	b[19] = 4;
	put16(b + 20, op);
	memcpy(b + 22, guest_mac, 6);
	put32(b + 28, self);
	if (target_mac)
		memcpy(b + 32, target_mac, 6);
	put32(b + 38, target);
	send_frame(b, sizeof(b));
}

/* The next frame that is not a question for the guest's own address; NULL: none within ms. */
static inline const struct frame *next_frame(unsigned ms)
{
	static struct frame f;

	for (;;) {
		take_frames(NULL, 0);
		while (!frame_count)
			if (!run_loop(ms))
				return NULL;
		f = frames[frame_first];
		frame_first = (frame_first + 1) % FRAMES;
		frame_count--;
		if (f.len >= 42 && get16(f.b + 12) == ETH_ARP && get16(f.b + 20) == 1 &&
		    get32(f.b + 38) == GUEST) {
			arp(2, get32(f.b + 28), f.b + 22, GUEST);
			continue;
		}
		return &f;
	}
}

/* --- IPv4 --- */

/* Fills the headers of Ethernet and IPv4 before len bytes that are at b + IP; the whole length. */
static inline size_t ip(uint8_t *b, unsigned proto, uint32_t from, uint32_t to, size_t len)
{
	uint8_t *h = b + ETH;

	eth(b, ETH_IP4);
	memset(h, 0, 20);
	h[0] = 0x45;
	put16(h + 2, (unsigned)(20 + len));
	h[8] = 64;
	h[9] = (uint8_t)proto;
	put32(h + 12, from);
	put32(h + 16, to);
	put16(h + 10, fold(sum(0, h, 20)));
	return IP + len;
}

static inline unsigned transport_sum(const uint8_t *b, unsigned proto, size_t len)
{
	uint32_t acc = sum(proto + (uint32_t)len, b + ETH + 12, 8);

	return fold(sum(acc, b + IP, len));
}

static inline size_t udp_frame(uint8_t *b, uint32_t from, unsigned from_port, uint32_t to,
			       unsigned to_port, const void *data, size_t len)
{
	uint8_t *u = b + IP;

	put16(u, from_port);
	put16(u + 2, to_port);
	put16(u + 4, (unsigned)len + 8);
	put16(u + 6, 0);
	memcpy(u + 8, data, len);
	ip(b, 17, from, to, len + 8);
	put16(u + 6, transport_sum(b, 17, len + 8));
	return IP + 8 + len;
}

static inline void send_udp(uint32_t from, unsigned from_port, uint32_t to, unsigned to_port,
			    const void *data, size_t len)
{
	uint8_t b[FRAME];

	send_frame(b, udp_frame(b, from, from_port, to, to_port, data, len));
}

static inline bool is_ip(const struct frame *f, unsigned proto)
{
	return f->len >= IP + 8 && get16(f->b + 12) == ETH_IP4 && f->b[ETH + 9] == proto;
}

/* The next datagram to this port of the guest; its data. */
static inline const uint8_t *wait_udp(unsigned port, size_t *len, unsigned ms)
{
	const struct frame *f;

	while ((f = next_frame(ms)))
		if (is_ip(f, 17) && get16(f->b + IP + 2) == port)
			break;
	if (!f)
		return NULL;
	*len = get16(f->b + IP + 4) - 8u;
	ck_assert(*len <= f->len - IP - 8);
	return f->b + IP + 8;
}

/* --- TCP --- */

struct tcp {
	uint32_t peer;
	unsigned port, peer_port;
	uint32_t seq, ack;
	unsigned window;
	/* of the segment that came last */
	unsigned flags;
	uint32_t peer_ack;
	const uint8_t *data;
	size_t len;
};

static inline size_t tcp_frame(uint8_t *b, const struct tcp *t, unsigned flags, const void *data,
			       size_t len)
{
	uint8_t *h = b + IP;

	memset(h, 0, 20);
	put16(h, t->port);
	put16(h + 2, t->peer_port);
	put32(h + 4, t->seq);
	put32(h + 8, flags & TCP_ACK ? t->ack : 0);
	h[12] = 5 << 4;
	h[13] = (uint8_t)flags;
	put16(h + 14, t->window);
	if (len)
		memcpy(h + 20, data, len);
	ip(b, 6, GUEST, t->peer, len + 20);
	put16(h + 16, transport_sum(b, 6, len + 20));
	return IP + 20 + len;
}

static inline void tcp_send(struct tcp *t, unsigned flags, const void *data, size_t len)
{
	uint8_t b[FRAME];

	send_frame(b, tcp_frame(b, t, flags, data, len));
	t->seq += (uint32_t)len + !!(flags & TCP_SYN) + !!(flags & TCP_FIN);
}

/* The next segment for t, whose ports and peer may be 0: any. False: none within ms. */
static inline bool tcp_wait(struct tcp *t, unsigned ms)
{
	const struct frame *f;

	while ((f = next_frame(ms))) {
		const uint8_t *h = f->b + IP;
		size_t off;

		if (!is_ip(f, 6) || (t->port && get16(h + 2) != t->port) ||
		    (t->peer_port && get16(h) != t->peer_port))
			continue;
		ck_assert_uint_eq(transport_sum(f->b, 6, get16(f->b + ETH + 2) - 20u), 0);
		off = (size_t)(h[12] >> 4) * 4;
		t->port = get16(h + 2);
		t->peer_port = get16(h);
		t->peer = get32(f->b + ETH + 12);
		t->flags = h[13];
		t->peer_ack = get32(h + 8);
		t->data = h + off;
		t->len = get16(f->b + ETH + 2) - 20u - off;
		if (t->flags & TCP_SYN)
			t->ack = get32(h + 4) + 1;
		else if (get32(h + 4) != t->ack)
			t->len = 0; /* again, or out of order: not taken */
		else
			t->ack += (uint32_t)t->len + !!(t->flags & TCP_FIN);
		return true;
	}
	return false;
}

/* Opens one; false: refused, or nothing came. */
static inline bool tcp_connect(struct tcp *t, uint32_t peer, unsigned peer_port, unsigned port,
			       unsigned ms)
{
	*t = (struct tcp){
		.peer = peer, .peer_port = peer_port, .port = port, .seq = 1000, .window = 65535
	};
	tcp_send(t, TCP_SYN, NULL, 0);
	if (!tcp_wait(t, ms) || t->flags != (TCP_SYN | TCP_ACK))
		return false;
	tcp_send(t, TCP_ACK, NULL, 0);
	return true;
}

#endif
