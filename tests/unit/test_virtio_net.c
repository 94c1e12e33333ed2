/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-net as its driver sees it, with a backend that the test plays: frames in both
 * directions and what holds them back, headers, filters, control messages, addresses, the link.
 */
#include "virtio_guest.h"
#include "../../src/net/net_int.h"
#include "iov.h"
#include "props.h"
#include "wire/virtio_net.h"

#define F(name) VIRTIO_F(VIRTIO_NET_F_##name)
enum { RX, TX, RX1, TX1, CTRL1 = 2, CTRL2 = 4 };
enum { HDR = sizeof(struct virtio_net_hdr_v1), FRAMES = 600 };

/* --- a backend ------------------------------------------------------------------------------ */

struct fake_net {
	struct net net;
	bool plain; /* property: frames have no header */
	uint16_t pairs; /* property */
};

static struct wire {
	struct net *n;
	struct {
		uint8_t bytes[70000];
		size_t len;
	} sent[8];
	unsigned n_sent, room, flushes;
	const uint8_t *in[FRAMES]; /* queue 0 */
	size_t in_len[FRAMES];
	unsigned n_in, at;
	unsigned hdr_len, offloads, queues, lost, sent_queue;
} * wire;

static int fake_open(struct net *n, struct err *e)
{
	struct fake_net *f = (struct fake_net *)n;

	n->caps = (struct net_caps){
		.queues = f->pairs,
		.header = !f->plain,
		.offloads = f->plain ? 0 : NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN,
	};
	return 0;
}

static void fake_close(struct net *n)
{
}

static int fake_start(struct net *n, struct err *e)
{
	wire->n = n;
	return 0;
}

static void fake_stop(struct net *n)
{
	wire->n = NULL;
}

static int fake_set_header(struct net *n, unsigned hdr_len, unsigned offloads)
{
	wire->hdr_len = hdr_len;
	wire->offloads = offloads;
	return 0;
}

static int fake_set_queues(struct net *n, unsigned queues)
{
	wire->queues = queues;
	return 0;
}

static ssize_t fake_recv(struct net *n, unsigned queue, const struct iovec *iov, unsigned n_iov)
{
	size_t len;

	while (!queue && wire->at < wire->n_in && wire->in_len[wire->at] > iov_len(iov, n_iov)) {
		wire->lost++;
		wire->at++;
	}
	if (queue || wire->at == wire->n_in)
		return -EAGAIN;
	len = wire->in_len[wire->at];
	ck_assert_uint_eq(iov_from_buf(iov, n_iov, 0, wire->in[wire->at++], len), len);
	return (ssize_t)len;
}

static ssize_t fake_send(struct net *n, unsigned queue, const struct iovec *iov, unsigned n_iov)
{
	unsigned i = wire->n_sent;

	if (!wire->room)
		return -EAGAIN;
	wire->room--;
	ck_assert_uint_lt(i, 8);
	wire->sent[i].len = iov_to_buf(iov, n_iov, 0, wire->sent[i].bytes, 70000);
	wire->sent_queue = queue;
	wire->n_sent++;
	return (ssize_t)wire->sent[i].len;
}

static void fake_flush(struct net *n, unsigned queue)
{
	wire->flushes++;
}

static const struct prop fake_props[] = {
	PROP(struct fake_net, plain, PROP_BOOL, "plain", "off", "no header"),
	PROP(struct fake_net, pairs, PROP_U16, "pairs", "1", "pairs of queues"),
	PROP_END,
};

static const struct net_class fake_class = {
	.name = "fake",
	.desc = "a test's",
	.props = fake_props,
	.size = sizeof(struct fake_net),
	.open = fake_open,
	.close = fake_close,
	.start = fake_start,
	.stop = fake_stop,
	.set_header = fake_set_header,
	.set_queues = fake_set_queues,
	.recv = fake_recv,
	.send = fake_send,
	.flush = fake_flush,
};

extern const struct net_class *const net_classes[];
const struct net_class *const net_classes[] = { &fake_class, NULL };

/* A frame comes: its bytes stay where they are until the guest has them. */
static void comes(const void *bytes, size_t len)
{
	ck_assert_uint_lt(wire->n_in, FRAMES);
	wire->in[wire->n_in] = bytes;
	wire->in_len[wire->n_in++] = len;
	net_readable(wire->n, 0);
	settle();
}

/* --- the machine ------------------------------------------------------------------------------ */

static void setup(void)
{
	struct err e = { 0 };

	guest_setup();
	wire = calloc(1, sizeof(*wire));
	wire->room = UINT32_MAX;
	ck_assert_int_eq(net_set_create(&guest.m.nets, guest.loop, &e), 0);
}

static void teardown(void)
{
	machine_remove_devices(&guest.m);
	net_set_destroy(guest.m.nets);
	guest_teardown();
	free(wire);
}

static void add_net(const char *arg)
{
	struct err e = { 0 };

	ck_assert_msg(net_add(guest.m.nets, arg, &e) == 0, "%s", e.msg);
}

static void add(const char *backend, const char *props)
{
	char text[160];

	snprintf(text, sizeof(text), "fake,id=n0%s", backend);
	add_net(text);
	snprintf(text, sizeof(text), "virtio-net-device,id=d,netdev=n0,mac=52:54:00:11:22:33%s",
		 props);
	guest_add(text);
	guest_use("d");
}

static uint8_t pattern[HDR + 65536];

/* With a header for TCP over IPv4 in pieces of 1448 bytes when gso. For dst, else anyone. */
static size_t make_frame(uint8_t *f, size_t len, bool gso, const char *dst)
{
	struct virtio_net_hdr_v1 h = { .gso_type = gso ? VIRTIO_NET_HDR_GSO_TCPV4 : 0,
				       .gso_size = cpu_to_le16(gso ? 1448 : 0) };

	for (size_t i = 0; i < len; i++)
		f[HDR + i] = (uint8_t)(i * 7 + (i >> 8) * 13);
	memcpy(f, &h, HDR);
	if (dst)
		memcpy(f + HDR, dst, 6);
	return HDR + len;
}

static uint64_t give_rx(uint32_t len)
{
	uint64_t buf = alloc(len);
	const struct seg s = { buf, len, true };

	memset(at(buf), 0xee, len);
	add_chain(RX, &s, 1);
	return buf;
}

/* --- to the guest ----------------------------------------------------------------------------- */

START_TEST(a_frame_is_received)
{
	uint64_t buf;
	size_t len = make_frame(pattern, 60, false, NULL);
	const struct virtio_net_hdr_v1 *h;

	add("", "");
	start(F(MAC), 3);
	ck_assert_uint_eq(wire->hdr_len, HDR);
	buf = give_rx(2048);
	give_rx(2048);
	kick(RX);
	ck_assert_uint_eq(n_used(RX), 0);
	comes(pattern, len);
	ck_assert_uint_eq(n_used(RX), 1);
	ck_assert_uint_eq(next_used(RX, NULL), len);
	h = at(buf);
	ck_assert_uint_eq(le16_to_cpu(h->num_buffers), 1);
	ck_assert_mem_eq((uint8_t *)at(buf) + HDR, pattern + HDR, 60);
}
END_TEST

START_TEST(a_backend_without_headers_gets_and_gives_none)
{
	static const uint8_t zero[10];
	uint64_t buf;

	add(",plain=on", "");
	ck_assert_uint_eq(offered() & (F(CSUM) | F(GUEST_CSUM) | F(HOST_TSO4) | F(GUEST_TSO4)), 0);
	start(F(MRG_RXBUF), 3);
	buf = give_rx(2048);
	kick(RX);
	make_frame(pattern, 60, false, NULL);
	comes(pattern + HDR, 60);
	ck_assert_uint_eq(next_used(RX, NULL), HDR + 60);
	ck_assert_mem_eq(at(buf), zero, 10);
	ck_assert_mem_eq((uint8_t *)at(buf) + HDR, pattern + HDR, 60);
	give(TX, buf, HDR + 60, false);
	ck_assert_uint_eq(wire->sent[0].len, 60);
	ck_assert_mem_eq(wire->sent[0].bytes, pattern + HDR, 60);
}
END_TEST

START_TEST(a_long_frame_is_spread_over_chains)
{
	uint64_t buf[16];
	size_t len = make_frame(pattern, 20000, true, NULL), done = 0;

	add("", "");
	start(F(MRG_RXBUF) | F(GUEST_CSUM) | F(GUEST_TSO4), 3);
	ck_assert_uint_eq(wire->offloads, NET_CSUM | NET_TSO4);
	for (unsigned i = 0; i < 16; i++)
		buf[i] = give_rx(6000);
	kick(RX);
	comes(pattern, len);
	ck_assert_uint_eq(n_used(RX), 4);
	pattern[10] = 4;
	for (unsigned i = 0; i < 4; i++) {
		uint32_t n = next_used(RX, NULL);

		ck_assert_uint_eq(n, i < 3 ? 6000 : len - 18000);
		ck_assert_mem_eq(at(buf[i]), pattern + done, n);
		done += n;
	}
	/* What was popped beside them serves the next one. */
	comes(pattern, make_frame(pattern, 60, false, NULL));
	ck_assert_uint_eq(next_used(RX, NULL), HDR + 60);
	ck_assert_mem_eq((uint8_t *)at(buf[4]) + HDR, pattern + HDR, 60);
}
END_TEST

/* Fewer buffers than the longest frame needs: short ones pass, a long one waits for more. */
START_TEST(a_frame_waits_for_buffers)
{
	uint64_t buf[8];
	size_t len = make_frame(pattern, 9000, true, NULL);

	add("", "");
	start(F(MRG_RXBUF) | F(GUEST_CSUM) | F(GUEST_TSO4), 3);
	comes(pattern, len);
	ck_assert_uint_eq(wire->at, 0);
	buf[0] = give_rx(4000);
	buf[1] = give_rx(4000);
	kick(RX);
	ck_assert_uint_eq(n_used(RX), 0);
	buf[2] = give_rx(4000);
	kick(RX);
	ck_assert_uint_eq(n_used(RX), 3);
	pattern[10] = 3;
	ck_assert_mem_eq(at(buf[0]), pattern, 4000);
	ck_assert_mem_eq(at(buf[1]), pattern + 4000, 4000);
	ck_assert_mem_eq(at(buf[2]), pattern + 8000, len - 8000);
}
END_TEST

/* One turn: each frame leaves most of its last buffer unused, and in the end two are left. */
START_TEST(room_is_counted)
{
	static uint8_t last[HDR + 13000];
	size_t len = make_frame(pattern, 6100, true, NULL), done = 0;
	uint64_t buf[QSIZE];

	add("", "");
	start(F(MRG_RXBUF) | F(GUEST_CSUM) | F(GUEST_TSO4), 3);
	for (unsigned i = 0; i < 7; i++)
		comes(pattern, len);
	comes(last, make_frame(last, 13000, true, NULL));
	for (unsigned i = 0; i < QSIZE; i++)
		buf[i] = give_rx(6000);
	kick(RX);
	ck_assert_uint_eq(n_used(RX), 14);
	for (unsigned i = 0; i < 14; i++)
		next_used(RX, NULL);
	give_rx(6000);
	buf[0] = guest.heap - 8192;
	kick(RX);
	ck_assert_uint_eq(n_used(RX), 3);
	last[10] = 3;
	for (unsigned i = 0; i < 3; i++) {
		uint32_t n = next_used(RX, NULL);

		ck_assert_mem_eq(at(buf[(14 + i) % QSIZE]), last + done, n);
		done += n;
	}
	ck_assert_uint_eq(done, sizeof(last));
}
END_TEST

/* A driver whose whole ring is too small for a frame does not wait for ever. */
START_TEST(a_frame_longer_than_the_ring_is_dropped)
{
	struct net_stats st;

	add("", "");
	start(F(MRG_RXBUF) | F(GUEST_CSUM) | F(GUEST_TSO4), 3);
	for (unsigned i = 0; i < QSIZE; i++)
		give_rx(512);
	kick(RX);
	comes(pattern, make_frame(pattern, 30000, true, NULL));
	ck_assert_uint_eq(n_used(RX), 0);
	net_stats_get(wire->n, &st);
	ck_assert_uint_eq(st.rx_dropped, 1);
	comes(pattern, make_frame(pattern, 100, false, NULL));
	ck_assert_uint_eq(n_used(RX), 1);
}
END_TEST

START_TEST(frames_wait_without_buffers)
{
	size_t len = make_frame(pattern, 60, false, NULL);

	add("", "");
	start(0, 3);
	for (unsigned i = 0; i < 20; i++)
		comes(pattern, len);
	ck_assert_uint_eq(wire->at, 0);
	for (unsigned i = 0; i < 10; i++)
		give_rx(1600);
	kick(RX);
	ck_assert_uint_eq(wire->at, 10);
	ck_assert_uint_eq(n_used(RX), 10);
}
END_TEST

START_TEST(a_buffer_that_cannot_be_received_into)
{
	uint64_t buf = alloc(4096);
	size_t len = make_frame(pattern, 60, false, NULL);

	add("", "");
	start(0, 3);
	give(RX, buf, HDR, true); /* a header, and no room for a byte */
	ck_assert_uint_eq(next_used(RX, NULL), 0);
	give(RX, buf, 2000, false);
	ck_assert_uint_eq(next_used(RX, NULL), 0);
	give(RX, buf, 2000, true);
	comes(pattern, len);
	ck_assert_uint_eq(next_used(RX, NULL), len);
	ck_assert(!needs_reset());
}
END_TEST

/* What a backend says in the header is checked against what the guest takes. */
START_TEST(bad_headers_to_the_guest)
{
	struct net_stats st;
	struct virtio_net_hdr_v1 *h = (struct virtio_net_hdr_v1 *)pattern;
	size_t len = make_frame(pattern, 60, false, NULL);

	add("", "");
	start(F(GUEST_CSUM), 3);
	give_rx(2048);
	kick(RX);
	h->gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	h->gso_size = cpu_to_le16(100);
	comes(pattern, len);
	h->gso_type = 77;
	comes(pattern, len);
	h->gso_type = 0;
	h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	h->csum_start = cpu_to_le16(50);
	h->csum_offset = cpu_to_le16(9);
	comes(pattern, len);
	comes(pattern, 5); /* not even a header */
	ck_assert_uint_eq(n_used(RX), 0);
	net_stats_get(wire->n, &st);
	ck_assert_uint_eq(st.rx_dropped, 3);
	h->csum_offset = cpu_to_le16(8);
	comes(pattern, len);
	ck_assert_uint_eq(n_used(RX), 1);
}
END_TEST

/* --- from the guest ------------------------------------------------------------------------------
 */

static uint64_t frame_in_ram(size_t len, bool gso)
{
	uint64_t buf = alloc(HDR + len);

	make_frame(at(buf), len, gso, NULL);
	return buf;
}

START_TEST(a_frame_is_sent)
{
	uint64_t buf = frame_in_ram(1000, false);
	const struct seg parts[] = { { buf, 5, false },
				     { buf + 5, 7 + 14, false },
				     { buf + HDR + 14, 986, false } };

	add("", "");
	start(0, 3);
	add_chain(TX, parts, 3);
	kick(TX);
	ck_assert_uint_eq(n_used(TX), 1);
	ck_assert_uint_eq(next_used(TX, NULL), 0);
	ck_assert_uint_eq(wire->sent[0].len, HDR + 1000);
	ck_assert_mem_eq(wire->sent[0].bytes, at(buf), HDR + 1000);
	ck_assert_uint_eq(wire->flushes, 1);
}
END_TEST

START_TEST(bad_frames_from_the_guest)
{
	struct net_stats st;
	uint64_t buf = frame_in_ram(1000, true);

	add("", "");
	start(F(CSUM), 3);
	give(TX, buf, HDR + 1000, false); /* segmentation that was not agreed on */
	give(TX, buf, HDR, false);
	give(TX, buf, 3, false);
	give(TX, buf, 100, true);
	make_frame(at(buf), 1000, false, NULL);
	give(TX, buf, HDR + NET_FRAME_MOST + 1, false);
	ck_assert_uint_eq(n_used(TX), 5);
	ck_assert_uint_eq(wire->n_sent, 0);
	net_stats_get(wire->n, &st);
	ck_assert_uint_eq(st.tx_dropped, 5);
	give(TX, buf, HDR + 1000, false);
	ck_assert_uint_eq(wire->n_sent, 1);
	ck_assert(!needs_reset());
}
END_TEST

START_TEST(offloads_that_were_agreed_on_pass)
{
	uint64_t buf = frame_in_ram(30000, true);

	add("", "");
	start(F(CSUM) | F(HOST_TSO4), 3);
	give(TX, buf, HDR + 30000, false);
	ck_assert_uint_eq(wire->sent[0].len, HDR + 30000);
	((struct virtio_net_hdr_v1 *)at(buf))->gso_size = cpu_to_le16(0);
	give(TX, buf, HDR + 30000, false);
	((struct virtio_net_hdr_v1 *)at(buf))->gso_size = cpu_to_le16(1448);
	((struct virtio_net_hdr_v1 *)at(buf))->gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	give(TX, buf, HDR + 30000, false);
	ck_assert_uint_eq(wire->n_sent, 1);
	ck_assert_uint_eq(n_used(TX), 3);
}
END_TEST

START_TEST(a_full_backend_holds_the_queue)
{
	uint64_t buf = frame_in_ram(100, false);

	add("", "");
	start(0, 3);
	wire->room = 2;
	for (unsigned i = 0; i < 5; i++) {
		const struct seg s = { buf, HDR + 100 + i, false };

		add_chain(TX, &s, 1);
	}
	kick(TX);
	ck_assert_uint_eq(n_used(TX), 2);
	kick(TX);
	ck_assert_uint_eq(n_used(TX), 2);
	wire->room = 10;
	kick(TX); /* it waits to be told */
	ck_assert_uint_eq(n_used(TX), 2);
	net_writable(wire->n, 0);
	settle();
	ck_assert_uint_eq(n_used(TX), 5);
	for (unsigned i = 0; i < 5; i++)
		ck_assert_uint_eq(wire->sent[i].len, HDR + 100 + i);
}
END_TEST

START_TEST(a_reset_while_frames_wait)
{
	uint64_t buf = frame_in_ram(100, false);

	add("", "");
	start(F(MRG_RXBUF) | F(GUEST_CSUM) | F(GUEST_TSO4), 3);
	wire->room = 0;
	give(TX, buf, HDR + 100, false);
	give_rx(2000);
	kick(RX);
	comes(pattern, make_frame(pattern, 9000, true, NULL));
	net_writable(wire->n, 0);
	reset();
	settle();
	start(0, 3);
	wire->room = 5;
	give(TX, buf, HDR + 100, false);
	ck_assert_uint_eq(n_used(TX), 1);
	give_rx(2000);
	kick(RX);
	ck_assert_uint_eq(n_used(RX), 0); /* the long one went with the reset */
	comes(pattern, make_frame(pattern, 60, false, NULL));
	ck_assert_uint_eq(n_used(RX), 1);
}
END_TEST

/* --- control
 * ---------------------------------------------------------------------------------------- */

static unsigned ctrl_queue;

/* A message; the answer. */
static unsigned control(unsigned cls, unsigned cmd, const void *data, size_t len)
{
	uint64_t buf = alloc(8192), answer = alloc(1);
	const struct seg s[] = { { buf, (uint32_t)(2 + len), false }, { answer, 1, true } };
	uint8_t *p = at(buf);

	guest.heap -= 12288; /* it is done with when this returns */
	p[0] = (uint8_t)cls;
	p[1] = (uint8_t)cmd;
	memcpy(p + 2, data, len);
	*(uint8_t *)at(answer) = 0xee;
	add_chain(ctrl_queue, s, 2);
	kick(ctrl_queue);
	ck_assert_uint_eq(next_used(ctrl_queue, NULL), 1);
	return *(uint8_t *)at(answer);
}

static unsigned control_byte(unsigned cls, unsigned cmd, uint8_t val)
{
	return control(cls, cmd, &val, 1);
}

#define CTRL_FEATURES (F(CTRL_VQ) | F(CTRL_RX) | F(CTRL_RX_EXTRA) | F(CTRL_VLAN) | F(CTRL_MAC_ADDR))

/* Whether a frame to dst reaches the guest. */
static bool reaches(const char *dst, int vlan)
{
	static uint8_t f[HDR + 60];
	unsigned before = n_used(RX);

	make_frame(f, 60, false, dst);
	memcpy(f + HDR + 12, vlan < 0 ? "\x08\x00" : "\x81\x00", 2);
	f[HDR + 14] = (uint8_t)(vlan >> 8 | 0xe0);
	f[HDR + 15] = (uint8_t)vlan;
	comes(f, sizeof(f));
	ck_assert_uint_eq(wire->at, wire->n_in);
	return n_used(RX) > before;
}

static void bring_up(uint64_t features, unsigned queue)
{
	start(features, 3 | 1u << queue);
	ctrl_queue = queue;
	for (unsigned i = 0; i < QSIZE; i++)
		give_rx(2048);
	kick(RX);
}

static const char own[] = "\x52\x54\x00\x11\x22\x33", other[] = "\x52\x54\x00\x44\x44\x44",
		  group[] = "\x01\x00\x5e\x00\x00\x05", all[] = "\xff\xff\xff\xff\xff\xff";

START_TEST(filters)
{
	struct __attribute__((packed)) {
		struct le32 n_uni;
		uint8_t uni[6];
		struct le32 n_multi;
		uint8_t multi[6];
	} t = { .n_uni = cpu_to_le32(1), .n_multi = cpu_to_le32(1) };

	add("", "");
	bring_up(CTRL_FEATURES, CTRL1);
	ck_assert(reaches(other, 5));
	ck_assert_uint_eq(control_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 0), 0);
	ck_assert(!reaches(other, -1));
	ck_assert(reaches(own, -1));
	ck_assert(reaches(all, -1));
	ck_assert(!reaches(group, -1));
	memcpy(t.uni, other, 6);
	memcpy(t.multi, group, 6);
	ck_assert_uint_eq(control(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, &t,
				  sizeof(t)),
			  0);
	ck_assert(reaches(other, -1));
	ck_assert(reaches(group, -1));
	ck_assert(!reaches("\x01\x00\x5e\x00\x00\x06", -1));
	control_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOUNI, 1);
	ck_assert(!reaches(own, -1));
	control_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOUNI, 0);
	control_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, 1);
	ck_assert(!reaches(all, -1));
	control_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, 1);
	ck_assert(reaches("\x01\x00\x5e\x00\x00\x06", -1));
}
END_TEST

START_TEST(vlans_and_a_new_address)
{
	struct le16 id = cpu_to_le16(5), bad = cpu_to_le16(4096);

	add("", "");
	bring_up(CTRL_FEATURES, CTRL1);
	control_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 0);
	ck_assert(!reaches(own, 5));
	ck_assert_uint_eq(control(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &id, 2), 0);
	ck_assert_uint_eq(control(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &bad, 2), 1);
	ck_assert(reaches(own, 5));
	ck_assert(!reaches(own, 6));
	ck_assert_uint_eq(control(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, &id, 2), 0);
	ck_assert(!reaches(own, 5));
	ck_assert_uint_eq(control(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other, 6), 0);
	ck_assert(!reaches(own, -1));
	ck_assert(reaches(other, -1));
	ck_assert_uint_eq(config_read(0), 0x44005452);
	reset();
	ck_assert_uint_eq(config_read(0), 0x11005452);
}
END_TEST

START_TEST(malformed_control_messages)
{
	static const uint8_t zero[6000];
	struct le32 most = cpu_to_le32(UINT32_MAX), many = cpu_to_le32(900);
	uint8_t table[4 + 900 * 6 + 4] = { 0 };
	uint64_t buf = alloc(64);

	add("", "");
	bring_up(CTRL_FEATURES, CTRL1);
	for (unsigned cls = 0; cls < 8; cls++)
		for (unsigned cmd = 0; cmd < 9; cmd++)
			for (unsigned len = 0; len < 3; len++)
				if (control(cls, cmd, zero, len) == VIRTIO_NET_OK)
					ck_assert((cls == 0 && cmd < 6 && len == 1) ||
						  (cls == 2 && cmd < 2 && len == 2));
	memcpy(table, &most, 4);
	ck_assert_uint_eq(control(1, 0, table, 8), 1);
	ck_assert_uint_eq(control(1, 0, table, 4), 1);
	/* More addresses than there is room for: all pass. */
	memcpy(table, &many, 4);
	control_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 0);
	ck_assert(!reaches(other, -1));
	ck_assert_uint_eq(control(1, 0, table, sizeof(table) - 1), 1);
	ck_assert(!reaches(other, -1));
	ck_assert_uint_eq(control(1, 0, table, sizeof(table)), 0);
	ck_assert(reaches(other, -1));
	give(ctrl_queue, buf, 8, false); /* nowhere to answer to */
	ck_assert_uint_eq(next_used(ctrl_queue, NULL), 0);
	ck_assert(!needs_reset());
}
END_TEST

START_TEST(offloads_change_while_it_runs)
{
	struct le64 want = cpu_to_le64(F(GUEST_CSUM)), never = cpu_to_le64(F(GUEST_TSO6));

	add("", "");
	bring_up(F(CTRL_VQ) | F(CTRL_GUEST_OFFLOADS) | F(GUEST_CSUM) | F(GUEST_TSO4), CTRL1);
	ck_assert_uint_eq(wire->offloads, NET_CSUM | NET_TSO4);
	ck_assert_uint_eq(control(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &want, 8), 0);
	ck_assert_uint_eq(wire->offloads, NET_CSUM);
	ck_assert_uint_eq(control(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &never, 8), 1);
	ck_assert_uint_eq(wire->offloads, NET_CSUM);
}
END_TEST

START_TEST(several_pairs)
{
	struct le16 two = cpu_to_le16(2), three = cpu_to_le16(3), none = cpu_to_le16(0);
	uint64_t buf = frame_in_ram(100, false);

	add(",pairs=2", "");
	ck_assert(offered() & F(MQ));
	start(F(CTRL_VQ) | F(MQ), 0x1f);
	ctrl_queue = CTRL2;
	give(TX1, buf, HDR + 100, false); /* not in use yet */
	ck_assert_uint_eq(wire->n_sent, 0);
	ck_assert_uint_eq(control(VIRTIO_NET_CTRL_MQ, 0, &three, 2), 1);
	ck_assert_uint_eq(control(VIRTIO_NET_CTRL_MQ, 0, &none, 2), 1);
	ck_assert_uint_eq(control(VIRTIO_NET_CTRL_MQ, 0, &two, 2), 0);
	ck_assert_uint_eq(wire->queues, 2);
	settle();
	ck_assert_uint_eq(wire->n_sent, 1);
	ck_assert_uint_eq(wire->sent_queue, 1);
	/* A driver that knows of one pair has its control queue behind that. */
	start(F(CTRL_VQ) | F(CTRL_RX), 7);
	ck_assert_uint_eq(wire->queues, 1);
	ctrl_queue = CTRL1;
	ck_assert_uint_eq(control_byte(VIRTIO_NET_CTRL_RX, 0, 1), 0);
}
END_TEST

/* --- configuration
 * ------------------------------------------------------------------------------------ */

START_TEST(the_link_goes_and_comes)
{
	struct err e = { 0 };
	uint64_t buf = frame_in_ram(100, false);

	add("", "");
	bring_up(F(STATUS) | F(CTRL_VQ) | F(GUEST_ANNOUNCE), CTRL1);
	ck_assert_uint_eq(config_read(4) >> 16, VIRTIO_NET_S_LINK_UP);
	ck_assert_int_eq(net_set_link(guest.m.nets, "n0", false, &e), 0);
	ck_assert_uint_eq(config_read(4) >> 16, 0);
	ck_assert_uint_eq(reg_read(0x060) & 2, 2); /* the interrupt of the configuration */
	reg_write(0x064, 3);
	give(TX, buf, HDR + 100, false);
	comes(pattern, make_frame(pattern, 60, false, NULL));
	ck_assert_uint_eq(wire->n_sent, 0);
	ck_assert_uint_eq(n_used(TX), 1);
	ck_assert_uint_eq(n_used(RX), 0);
	ck_assert_int_eq(net_set_link(guest.m.nets, "n0", true, &e), 0);
	ck_assert_uint_eq(config_read(4) >> 16, VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	ck_assert_uint_eq(control(VIRTIO_NET_CTRL_ANNOUNCE, 0, "", 0), 0);
	ck_assert_uint_eq(control(VIRTIO_NET_CTRL_ANNOUNCE, 0, "", 0), 1);
	ck_assert_uint_eq(config_read(4) >> 16, VIRTIO_NET_S_LINK_UP);
	give(TX, buf, HDR + 100, false);
	ck_assert_uint_eq(wire->n_sent, 1);
	ck_assert_int_eq(net_set_link(guest.m.nets, "x", true, &e), -ENOENT);
}
END_TEST

START_TEST(configuration)
{
	add("", ",host_mtu=9000,speed=10000,duplex=full,mrg_rxbuf=off,guest_csum=off");
	ck_assert_uint_eq(offered() & (F(MTU) | F(SPEED_DUPLEX) | F(MRG_RXBUF) | F(GUEST_CSUM) |
				       F(GUEST_TSO4) | F(GUEST_ECN) | F(HOST_TSO4) | F(MQ)),
			  F(MTU) | F(SPEED_DUPLEX) | F(HOST_TSO4));
	ck_assert_uint_eq(config_read(0), 0x11005452);
	ck_assert_uint_eq(config_read(8), 9000u << 16 | 1);
	ck_assert_uint_eq(config_read(12), 10000);
	ck_assert_uint_eq(config_read(16) & 0xff, 1);
}
END_TEST

static void refused(const char *arg, const char *part)
{
	struct err e;

	ck_assert_int_lt(guest_try(arg, &e), 0);
	ck_assert_msg(strstr(e.msg, part), "%s", e.msg);
	ck_assert(e.hint[0]);
}

START_TEST(bad_properties)
{
	add("", "");
	add_net("fake,id=n1");
	refused("virtio-net-device", "netdev= is missing");
	refused("virtio-net-device,netdev=n0", "another card is on it");
	refused("virtio-net-device,netdev=n2", "no -netdev has the id 'n2'");
	refused("virtio-net-device,netdev=n1,mac=52:54:00:11:22:33", "has this address");
	refused("virtio-net-device,netdev=n1,mac=52:54:00:11:22", "is no Ethernet address");
	refused("virtio-net-device,netdev=n1,mac=52:54:00:11:22:3g", "is no Ethernet address");
	refused("virtio-net-device,netdev=n1,mac=01:54:00:11:22:33", "a group");
	refused("virtio-net-device,netdev=n1,mac=00:00:00:00:00:00", "nobody's");
	refused("virtio-net-device,netdev=n1,rx_queue_size=65", "power of two");
	guest_add("virtio-net-device,netdev=n1"); /* none of them has kept it */
}
END_TEST

/* Two that would be the same are kept apart, in one guest and, as while it runs, on a host. */
START_TEST(default_addresses_differ)
{
	uint8_t a[6], b[6], again[6];
	struct err e = { 0 };

	add_net("fake,id=n0");
	add_net("fake,id=n1");
	guest_add("virtio-net-device,netdev=n0");
	guest_add("virtio-net-device,netdev=n1");
	ck_assert(net_mac_get(net_each(guest.m.nets, 0), a));
	ck_assert(net_mac_get(net_each(guest.m.nets, 1), b));
	ck_assert_mem_eq(a, "\x52\x54\x00", 3);
	ck_assert_mem_ne(a, b, 6);
	machine_remove_devices(&guest.m);
	ck_assert(!net_mac_get(net_each(guest.m.nets, 0), again));
	guest_add("virtio-net-device,netdev=n1");
	ck_assert(net_mac_get(net_each(guest.m.nets, 1), again));
	ck_assert_mem_eq(a, again, 6);

	/* Another machine of the same description. */
	struct net_set *set;
	struct net *n;

	ck_assert_int_eq(net_set_create(&set, guest.loop, &e), 0);
	ck_assert_int_eq(net_add(set, "fake,id=m", &e), 0);
	n = net_each(set, 0);
	ck_assert_int_eq(net_mac_choose(n, &guest.m, NULL, b, &e), 0);
	ck_assert_mem_ne(a, b, 6);
	net_mac_release(n);
	net_set_destroy(set);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_frame_is_received,
		a_backend_without_headers_gets_and_gives_none,
		a_long_frame_is_spread_over_chains,
		a_frame_waits_for_buffers,
		room_is_counted,
		a_frame_longer_than_the_ring_is_dropped,
		frames_wait_without_buffers,
		a_buffer_that_cannot_be_received_into,
		bad_headers_to_the_guest,
		a_frame_is_sent,
		bad_frames_from_the_guest,
		offloads_that_were_agreed_on_pass,
		a_full_backend_holds_the_queue,
		a_reset_while_frames_wait,
		filters,
		vlans_and_a_new_address,
		malformed_control_messages,
		offloads_change_while_it_runs,
		several_pairs,
		the_link_goes_and_comes,
		configuration,
		bad_properties,
		default_addresses_differ,
	};

	return run_tests("virtio-net", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}
