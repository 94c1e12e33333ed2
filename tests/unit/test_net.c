/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Networks: the set of backends, the queue of frames and pcap files, with a backend made up here.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "iov.h"
#include "../../src/net/net_int.h"
#include "opts.h"
#include "props.h"
#include "suite.h"

/* --- the backend: what it is sent it keeps; what it gets waits in a fifo ---------------------- */

struct toy {
	struct net n;
	uint32_t answer;
	struct net_fifo *fifo;
	uint8_t sent[256];
	size_t sent_len;
	unsigned flushes, offloads;
	int full; /* what send answers instead of taking a frame */
};

static struct toy *toy;
static unsigned closed;

static const struct prop toy_props[] = {
	PROP_RANGE(struct toy, answer, PROP_U32, "answer", "42", 0, 99, "a number"),
	PROP_END,
};

static int toy_open(struct net *n, struct err *e)
{
	toy = (struct toy *)n;
	if (toy->answer == 13)
		return err_set(e, ERR_HOST, EIO, "answer=13: no luck");
	n->caps.header = true;
	n->caps.queues = 2;
	return net_fifo_create(n, &toy->fifo);
}
static void toy_close(struct net *n)
{
	net_fifo_free(((struct toy *)n)->fifo);
	closed++;
}
static int toy_start(struct net *n, struct err *e)
{
	net_fifo_clear(toy->fifo);
	return toy->answer == 14 ? err_set(e, ERR_HOST, EIO, "answer=14: no start") : 0;
}
static void toy_stop(struct net *n)
{
}
static int toy_header(struct net *n, unsigned hdr_len, unsigned offloads)
{
	toy->offloads = offloads;
	return hdr_len == 11 ? -EINVAL : 0;
}
static ssize_t toy_recv(struct net *n, unsigned queue, const struct iovec *iov, unsigned n_iov)
{
	return net_fifo_recv(toy->fifo, iov, n_iov);
}
static ssize_t toy_send(struct net *n, unsigned queue, const struct iovec *iov, unsigned n_iov)
{
	if (toy->full)
		return toy->full == 1 ? 0 : -toy->full;
	toy->sent_len = iov_to_buf(iov, n_iov, 0, toy->sent, sizeof(toy->sent));
	return (ssize_t)toy->sent_len;
}
static void toy_flush(struct net *n, unsigned queue)
{
	toy->flushes++;
}
static void toy_describe(const struct net *n, char *text, size_t len)
{
	snprintf(text, len, ",answer=%u", ((const struct toy *)n)->answer);
}

static const struct net_class net_toy = {
	.name = "toy",
	.desc = "a toy",
	.props = toy_props,
	.size = sizeof(struct toy),
	.open = toy_open,
	.close = toy_close,
	.start = toy_start,
	.stop = toy_stop,
	.set_header = toy_header,
	.recv = toy_recv,
	.send = toy_send,
	.flush = toy_flush,
	.describe = toy_describe,
};
extern const struct net_class *const net_classes[];
const struct net_class *const net_classes[] = { &net_toy, NULL };

/* --- a card --------------------------------------------------------------------------------- */

static struct net_set *set;
static struct net *net;
static struct err err;
static unsigned readable_calls, links;
static bool link_up;
static char dir[] = "/tmp/posada-net.XXXXXX", path[64], path_1[64];

static void readable(void *ctx, unsigned queue)
{
	readable_calls++;
}
static void writable(void *ctx, unsigned queue)
{
}
static void link_changed(void *ctx, bool up)
{
	links++;
	link_up = up;
}
static const struct net_client card = { readable, writable, link_changed };

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/a.pcap", dir);
	snprintf(path_1, sizeof(path_1), "%s/a.pcap.1", dir);
	ck_assert_int_eq(net_set_create(&set, NULL, &err), 0);
}

static void teardown(void)
{
	net_detach(net);
	net_set_destroy(set);
	unlink(path);
	unlink(path_1);
	rmdir(dir);
}

static void add(const char *arg)
{
	int rc = net_add(set, arg, &err);

	ck_assert_msg(!rc, "%s: %s", arg, rc ? err.msg : "");
}

static void add_attached(const char *more)
{
	char arg[128];

	snprintf(arg, sizeof(arg), "toy,id=n0%s", more);
	add(arg);
	ck_assert_int_eq(net_attach(set, "n0", &card, NULL, NULL, &net, &err), 0);
}

static void refused(const char *arg, int code, const char *msg, const char *hint)
{
	err = (struct err){ 0 };
	ck_assert_int_eq(net_add(set, arg, &err), -code);
	ck_assert_msg(strstr(err.msg, msg), "%s: %s", arg, err.msg);
	ck_assert_msg(strstr(err.hint, hint), "%s: %s", arg, err.hint);
}

static int put_frame(const void *data, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)data, len };

	return net_fifo_put(toy->fifo, &iov, 1);
}

static ssize_t recv_frame(void *buf, size_t len)
{
	struct iovec iov[2] = { { buf, 5 }, { (uint8_t *)buf + 5, len - 5 } };

	return net_recv(net, 0, iov, 2);
}

static ssize_t send_frame(const void *data, size_t len)
{
	struct iovec iov[2] = { { (void *)(uintptr_t)data, 1 },
				{ (uint8_t *)(uintptr_t)data + 1, len - 1 } };

	return net_send(net, 0, iov, 2);
}

/* --- the set ---------------------------------------------------------------------------------- */

START_TEST(wrong_options)
{
	refused("toi,id=n0", EINVAL, "no network backend 'toi'", "toy");
	refused("toy", EINVAL, "id= is missing", "id=net0");
	refused("toy,id=", EINVAL, "id= is missing", "id=net0");
	refused("id=n0", EINVAL, "type is missing", "-netdev");
	refused("toy,id=n0,anser=1", EINVAL, "no property 'anser'", "answer");
	refused("toy,id=n0,answer=100", ERANGE, "answer=100", "");
	refused("toy,id=n0,answer=13", EIO, "no luck", "");
	refused("toy,id=n0,pcap-size=9999", EINVAL, "without pcap=", "");
	add("toy,id=n0");
	refused("toy,id=n0", EEXIST, "another -netdev", "");
}
END_TEST

START_TEST(one_card_each)
{
	struct net *other;
	char id[NET_NAME], text[64];

	add("toy,id=net0,answer=7");
	ck_assert_int_eq(net_attach(set, "net1", &card, NULL, NULL, &net, &err), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err.hint, "net0"));
	ck_assert_int_eq(net_attach(set, "net0", &card, NULL, NULL, &net, &err), 0);
	ck_assert_int_eq(net_attach(set, "net0", &card, NULL, NULL, &other, &err), -EBUSY);
	net_detach(net);
	ck_assert_int_eq(net_attach(set, "net0", &card, NULL, NULL, &net, &err), 0);
	ck_assert_str_eq(net_id(net), "net0");
	net_new_id(set, id, sizeof(id));
	ck_assert_str_eq(id, "net1");
	net_describe(net, text, sizeof(text));
	ck_assert_str_eq(text, "toy,answer=7");
	ck_assert_ptr_eq(net_each(set, 0), net);
	ck_assert_ptr_null(net_each(set, 1));
}
END_TEST

START_TEST(a_start_that_fails)
{
	add("toy,id=n0,answer=14");
	ck_assert_int_eq(net_attach(set, "n0", &card, NULL, NULL, &net, &err), -EIO);
	net = NULL;
	/* The backend is free again. */
	toy->answer = 1;
	ck_assert_int_eq(net_attach(set, "n0", &card, NULL, NULL, &net, &err), 0);
}
END_TEST

START_TEST(all_are_closed)
{
	closed = 0;
	add("toy,id=a");
	add("toy,id=b");
	net_set_destroy(set);
	set = NULL;
	ck_assert_uint_eq(closed, 2);
}
END_TEST

START_TEST(settings)
{
	add_attached("");
	ck_assert_int_eq(net_set_queues(net, 0), -EINVAL);
	ck_assert_int_eq(net_set_queues(net, 3), -EINVAL);
	ck_assert_int_eq(net_set_queues(net, 2), 0);
	ck_assert_int_eq(net_set_header(net, 11, 0), -EINVAL);
	ck_assert_int_eq(net_set_header(net, 12, NET_CSUM), 0);
	ck_assert_uint_eq(toy->offloads, NET_CSUM);
	net_flush(net, 0);
	ck_assert_uint_eq(toy->flushes, 1);
}
END_TEST

/* --- frames -------------------------------------------------------------------------------------
 */

START_TEST(both_ways_with_a_header)
{
	uint8_t frame[60], buf[128];
	struct net_stats st;

	memset(frame, 0x5a, sizeof(frame));
	add_attached("");
	ck_assert_int_eq(net_set_header(net, 12, 0), 0);
	ck_assert_int_eq(recv_frame(buf, sizeof(buf)), -EAGAIN);
	ck_assert_int_eq(put_frame(frame, 60), 0);
	memset(buf, 0xee, sizeof(buf));
	ck_assert_int_eq(recv_frame(buf, sizeof(buf)), 72);
	for (unsigned i = 0; i < 12; i++)
		ck_assert_uint_eq(buf[i], 0);
	ck_assert_mem_eq(buf + 12, frame, 60);
	ck_assert_uint_eq(buf[72], 0xee);

	ck_assert_int_eq(send_frame(buf, 72), 72);
	ck_assert_uint_eq(toy->sent_len, 72);
	ck_assert_int_eq(send_frame(buf, 11), 11); /* not even a header */
	net_stats_get(net, &st);
	ck_assert_uint_eq(st.rx_frames, 1);
	ck_assert_uint_eq(st.rx_bytes, 60);
	ck_assert_uint_eq(st.tx_frames, 1);
	ck_assert_uint_eq(st.tx_bytes, 60);
	ck_assert_uint_eq(st.tx_dropped, 1);
}
END_TEST

START_TEST(no_room_and_drops_are_counted)
{
	uint8_t frame[60] = { 0 };
	struct net_stats st;

	add_attached("");
	toy->full = EAGAIN;
	ck_assert_int_eq(send_frame(frame, 60), -EAGAIN);
	toy->full = 1; /* dropped */
	ck_assert_int_eq(send_frame(frame, 60), 60);
	toy->full = EIO;
	ck_assert_int_eq(send_frame(frame, 60), 60);
	net_stats_get(net, &st);
	ck_assert_uint_eq(st.tx_full, 1);
	ck_assert_uint_eq(st.tx_dropped, 2);
	ck_assert_uint_eq(st.tx_frames, 0);
}
END_TEST

START_TEST(a_pulled_cable)
{
	uint8_t frame[60] = { 0 }, buf[80];
	struct net_stats st;

	add_attached("");
	ck_assert(net_link(net));
	ck_assert_int_eq(net_set_link(set, "n0", false, &err), 0);
	ck_assert_int_eq(net_set_link(set, "n0", false, &err), 0);
	ck_assert_uint_eq(links, 1);
	ck_assert(!link_up && !net_link(net));
	ck_assert_int_eq(put_frame(frame, 60), 0);
	ck_assert_int_eq(put_frame(frame, 60), 0);
	ck_assert_int_eq(recv_frame(buf, sizeof(buf)), -EAGAIN);
	ck_assert_int_eq(send_frame(frame, 60), 60);
	ck_assert_uint_eq(toy->sent_len, 0);
	net_stats_get(net, &st);
	ck_assert_uint_eq(st.rx_dropped, 2);
	ck_assert_uint_eq(st.tx_dropped, 1);
	ck_assert_int_eq(net_set_link(set, "n0", true, &err), 0);
	ck_assert(links == 2 && link_up);
	ck_assert_int_eq(send_frame(frame, 60), 60);
	ck_assert_uint_eq(toy->sent_len, 60);
	ck_assert_int_eq(net_set_link(set, "n9", true, &err), -ENOENT);
}
END_TEST

/* --- the queue of frames ---------------------------------------------------------------------- */

START_TEST(fifo_order_and_wake_ups)
{
	uint8_t a[60] = { 1 }, b[70] = { 2 }, buf[128];

	add_attached("");
	ck_assert_int_eq(put_frame(a, 60), 0);
	ck_assert_int_eq(put_frame(b, 70), 0);
	ck_assert_uint_eq(readable_calls, 1); /* once, until the card has found it empty */
	ck_assert_int_eq(recv_frame(buf, sizeof(buf)), 60);
	ck_assert_uint_eq(buf[0], 1);
	ck_assert_int_eq(recv_frame(buf, sizeof(buf)), 70);
	ck_assert_uint_eq(buf[0], 2);
	ck_assert_int_eq(recv_frame(buf, sizeof(buf)), -EAGAIN);
	ck_assert_int_eq(put_frame(a, 60), 0);
	ck_assert_uint_eq(readable_calls, 2);
}
END_TEST

START_TEST(fifo_frames_that_do_not_fit)
{
	uint8_t a[60] = { 1 }, b[70] = { 2 }, buf[64];
	struct net_stats st;

	add_attached("");
	ck_assert_int_eq(put_frame(b, 70), 0);
	ck_assert_int_eq(put_frame(a, 60), 0);
	ck_assert_int_eq(recv_frame(buf, sizeof(buf)), 60);
	ck_assert_uint_eq(buf[0], 1);
	net_stats_get(net, &st);
	ck_assert_uint_eq(st.rx_dropped, 1);
}
END_TEST

START_TEST(fifo_is_bounded)
{
	static uint8_t big[NET_FRAME_MOST + 1];
	uint8_t a[60] = { 1 };
	unsigned n = 0;

	add_attached("");
	ck_assert_int_eq(put_frame(big, sizeof(big)), -EMSGSIZE);
	while (!put_frame(a, 60))
		n++;
	ck_assert_uint_eq(n, NET_FIFO_FRAMES);
	ck_assert(!net_fifo_room(toy->fifo));
	ck_assert_int_eq(put_frame(a, 60), -ENOBUFS);
	net_fifo_clear(toy->fifo);
	for (n = 0; !put_frame(big, NET_FRAME_MOST); n++)
		;
	ck_assert_uint_eq(n, NET_FIFO_BYTES / NET_FRAME_MOST);
}
END_TEST

/* --- pcap
 * ----------------------------------------------------------------------------------------- */

static size_t load(const char *file, uint8_t *buf, size_t len)
{
	FILE *f = fopen(file, "rb");
	size_t n;

	ck_assert_msg(f, "%s", file);
	n = fread(buf, 1, len, f);
	fclose(f);
	return n;
}

static uint32_t u32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

START_TEST(pcap_has_both_directions)
{
	uint8_t frame[72], buf[512], *p = buf + 24;
	char more[96];

	for (unsigned i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)i;
	snprintf(more, sizeof(more), ",pcap=%s", path);
	add_attached(more);
	ck_assert_int_eq(net_set_header(net, 12, 0), 0);
	ck_assert_int_eq(send_frame(frame, 72), 72);
	ck_assert_int_eq(put_frame(frame, 64), 0);
	ck_assert_int_eq(recv_frame(buf, sizeof(buf)), 76);
	/* What does not pass is not in it. */
	toy->full = EAGAIN;
	send_frame(frame, 72);
	net_set_link(set, "n0", false, &err);
	send_frame(frame, 72);

	ck_assert_uint_eq(load(path, buf, sizeof(buf)), 24 + 16 + 60 + 16 + 64);
	ck_assert_uint_eq(u32(buf), 0xa1b23c4d);
	ck_assert_uint_eq(u32(buf + 4), 2 | 4 << 16);
	ck_assert_uint_eq(u32(buf + 20), 1);
	ck_assert_uint_lt(u32(p + 4), 1000000000);
	ck_assert_uint_eq(u32(p + 8), 60);
	ck_assert_uint_eq(u32(p + 12), 60);
	ck_assert_mem_eq(p + 16, frame + 12, 60);
	p += 16 + 60;
	ck_assert_uint_eq(u32(p + 8), 64);
	ck_assert_mem_eq(p + 16, frame, 64);
}
END_TEST

static void dump(const char *arg, int code, const char *msg)
{
	struct opts o;

	err = (struct err){ 0 };
	ck_assert_int_eq(opts_parse(&o, arg, NULL, &err), 0);
	ck_assert_int_eq(net_dump_add(set, &o, &err), -code);
	ck_assert_msg(!msg || strstr(err.msg, msg), "%s: %s", arg, err.msg);
	opts_free(&o);
}

START_TEST(filter_dump_cuts_frames)
{
	uint8_t frame[60], buf[512];
	char arg[128];

	memset(frame, 7, sizeof(frame));
	snprintf(arg, sizeof(arg), "id=f0,netdev=n0,file=%s,maxlen=20", path);
	dump(arg, 0, NULL);
	dump(arg, EEXIST, "another filter-dump");
	add_attached("");
	ck_assert_int_eq(net_set_check(set, &err), 0);
	ck_assert_int_eq(send_frame(frame, 60), 60);
	ck_assert_uint_eq(load(path, buf, sizeof(buf)), 24 + 16 + 20);
	ck_assert_uint_eq(u32(buf + 16), 20);
	ck_assert_uint_eq(u32(buf + 24 + 8), 20);
	ck_assert_uint_eq(u32(buf + 24 + 12), 60);
}
END_TEST

START_TEST(filter_dump_wrong_options)
{
	dump("netdev=n0,file=x", EINVAL, "id= is missing");
	dump("id=f0,file=x", EINVAL, "netdev= is missing");
	dump("id=f0,netdev=n0", EINVAL, "file= is missing");
	dump("id=f0,netdev=n0,file=x,maxlen=0", ERANGE, "maxlen=0");
	dump("id=f0,netdev=no,file=x", 0, NULL);
	add("toy,id=n0");
	ck_assert_int_eq(net_set_check(set, &err), -ENOENT);
	ck_assert_msg(strstr(err.msg, "filter-dump") && strstr(err.msg, "'no'"), "%s", err.msg);
}
END_TEST

START_TEST(pcap_rotates)
{
	uint8_t frame[1000], buf[8192];
	char more[96];
	struct stat st;

	snprintf(more, sizeof(more), ",pcap=%s,pcap-size=4096", path);
	add_attached(more);
	for (unsigned i = 0; i < 10; i++) {
		memset(frame, (int)i, sizeof(frame));
		ck_assert_int_eq(send_frame(frame, sizeof(frame)), sizeof(frame));
		ck_assert_int_eq(stat(path, &st), 0);
		ck_assert_int_le(st.st_size, 4096);
	}
	/* Four in a file: 8 and 9 are in the last one, 4 to 7 in the one before. */
	ck_assert_uint_eq(load(path, buf, sizeof(buf)), 24 + 2 * 1016);
	ck_assert_uint_eq(buf[24 + 16], 8);
	ck_assert_uint_eq(load(path_1, buf, sizeof(buf)), 24 + 4 * 1016);
	ck_assert_uint_eq(u32(buf), 0xa1b23c4d);
	ck_assert_uint_eq(buf[24 + 16], 4);
}
END_TEST

START_TEST(pcap_of_a_frame_larger_than_the_bound)
{
	static uint8_t frame[9000], buf[8192];
	char more[96];

	snprintf(more, sizeof(more), ",pcap=%s,pcap-size=4096", path);
	add_attached(more);
	ck_assert_int_eq(send_frame(frame, sizeof(frame)), sizeof(frame));
	ck_assert_uint_eq(load(path, buf, sizeof(buf)), 4096);
	ck_assert_uint_eq(u32(buf + 24 + 12), 9000);
}
END_TEST

START_TEST(pcap_files_that_cannot_be)
{
	char arg[160];

	refused("toy,id=n0,pcap=/nowhere/x", ENOENT, "pcap=/nowhere/x", "directory");
	refused("toy,id=n0,pcap=/dev/null", EINVAL, "not a regular file", "");
	refused("toy,id=n0,pcap=", EINVAL, "not a file name", "");
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	snprintf(arg, sizeof(arg), "toy,id=n0,pcap=%s", path);
	refused(arg, EINVAL, "not a regular file", "");
	unlink(path);
	snprintf(arg, sizeof(arg), "toy,id=n0,pcap=%s,pcap-size=1000", path);
	refused(arg, ERANGE, "too small", "4096");
	snprintf(arg, sizeof(arg), "toy,id=n0,pcap=%s", path);
	add(arg);
	snprintf(arg, sizeof(arg), "toy,id=n1,pcap=%s", path);
	refused(arg, EBUSY, "another", "");
}
END_TEST

START_TEST(pcap_that_cannot_rotate)
{
	uint8_t frame[1000] = { 0 }, buf[4096];
	char more[96];

	snprintf(more, sizeof(more), ",pcap=%s,pcap-size=4096", path);
	add_attached(more);
	for (unsigned i = 0; i < 4; i++)
		send_frame(frame, sizeof(frame));
	/* It cannot be rotated: the frames go on, the file is left as it is. */
	ck_assert_int_eq(mkdir(path_1, 0700), 0);
	ck_assert_int_eq(send_frame(frame, sizeof(frame)), sizeof(frame));
	ck_assert_int_eq(send_frame(frame, sizeof(frame)), sizeof(frame));
	rmdir(path_1);
	ck_assert_uint_eq(load(path, buf, sizeof(buf)), 24 + 4 * 1016);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		wrong_options,
		one_card_each,
		a_start_that_fails,
		all_are_closed,
		settings,
		both_ways_with_a_header,
		no_room_and_drops_are_counted,
		a_pulled_cable,
		fifo_order_and_wake_ups,
		fifo_frames_that_do_not_fit,
		fifo_is_bounded,
		pcap_has_both_directions,
		filter_dump_cuts_frames,
		filter_dump_wrong_options,
		pcap_rotates,
		pcap_of_a_frame_larger_than_the_bound,
		pcap_files_that_cannot_be,
		pcap_that_cannot_rotate,
	};

	return run_tests("net", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}
