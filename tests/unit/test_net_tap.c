/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tap backend on real taps, in name spaces of its own: a card made up here on one side, packet
 * sockets of the host on the other.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/net/net_int.h"
#include "err.h"
#include "loop.h"
#include "suite.h"

enum { PROTO = 0x88b5, MOST = 70000 }; /* of local experiments */

static struct loop *loop;
static struct net_set *set;
static struct net *net;
static struct err err;
static unsigned readable_calls, writable_calls, readable_queue;
static bool stop_when_readable, stop_when_writable;
static char dir[] = "/tmp/posada-tap.XXXXXX";
static const char *self;

/* --- name spaces --------------------------------------------------------------------------------
 */

static int put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));

	if (fd >= 0)
		close(fd);
	return n == (ssize_t)strlen(text) ? 0 : -1;
}

/* Root of new user, network and mount name spaces. */
static int enter(void)
{
	char map[64];
	unsigned uid = getuid(), gid = getgid();

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS))
		return -errno;
	snprintf(map, sizeof(map), "0 %u 1", uid);
	if (put_text("/proc/self/uid_map", map))
		return -EPERM;
	put_text("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1", gid);
	put_text("/proc/self/gid_map", map);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -errno;
	/* The host is to send nothing of its own. */
	put_text("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	put_text("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
	return access("/dev/net/tun", R_OK | W_OK) ? -errno : 0;
}

static void drop_rights(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	ck_assert_int_eq(syscall(SYS_capset, &head, none), 0);
}

static void sh(const char *command)
{
	int rc = system(command);

	ck_assert_msg(!rc, "%s: status %d", command, rc);
}

/* --- the card
 * -------------------------------------------------------------------------------------- */

static void readable(void *ctx, unsigned queue)
{
	readable_calls++;
	readable_queue = queue;
	if (stop_when_readable)
		loop_quit(loop);
}
static void writable(void *ctx, unsigned queue)
{
	writable_calls++;
	if (stop_when_writable)
		loop_quit(loop);
}
static const struct net_client card = { .readable = readable, .writable = writable };

static void times_up(void *ctx)
{
	loop_quit(loop);
}

/* At most this long: until a callback stops it. */
static void run_loop(unsigned ms)
{
	struct loop_timer t;

	loop_timer_init(&t, loop, times_up, NULL);
	loop_timer_set(&t, loop_now_ns() + ms * 1000000ull);
	loop_run(loop);
	loop_timer_cancel(&t);
}

static void wait_readable(void)
{
	unsigned was = readable_calls;

	stop_when_readable = true;
	run_loop(10000);
	stop_when_readable = false;
	ck_assert_uint_eq(readable_calls, was + 1);
}

static void add(const char *arg)
{
	int rc = net_add(set, arg, &err);

	ck_assert_msg(!rc, "%s: %s", arg, rc ? err.msg : "");
}

static void attach(const char *arg)
{
	int rc;

	add(arg);
	rc = net_attach(set, "n0", &card, NULL, loop, &net, &err);
	ck_assert_msg(!rc, "%s: %s", arg, rc ? err.msg : "");
}

static void refused(const char *arg, int code, const char *msg, const char *hint)
{
	err = (struct err){ 0 };
	ck_assert_msg(net_add(set, arg, &err) == -code, "%s: %s", arg, err.msg);
	ck_assert_msg(strstr(err.msg, msg), "%s: %s", arg, err.msg);
	ck_assert_msg(strstr(err.hint, hint), "%s: %s", arg, err.hint);
}

static struct net_stats stats(void)
{
	struct net_stats st;

	net_stats_get(net, &st);
	return st;
}

/* --- frames
 * ---------------------------------------------------------------------------------------- */

/* A frame of the experimental protocol, its payload counted from seed. */
static size_t make(uint8_t *f, size_t len, unsigned seed)
{
	memset(f, 0xff, 6);
	memcpy(f + 6, "\x52\x54\x00\x11\x22\x33", 6);
	f[12] = PROTO >> 8;
	f[13] = PROTO & 0xff;
	for (size_t i = 14; i < len; i++)
		f[i] = (uint8_t)(seed + i);
	return len;
}

/* A packet socket on the host's side of an interface. */
static int host_on(const char *name, bool header)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(PROTO),
				  .sll_ifindex = (int)if_nametoindex(name) };
	struct timeval patience = { 10, 0 };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), one = 1;
	struct ethtool_value link = { .cmd = ETHTOOL_GLINK };
	struct ifreq ifr = { .ifr_data = (char *)&link };

	ck_assert_int_ge(fd, 0);
	/* The kernel may still have to notice that somebody has opened the tap; this makes it. */
	snprintf(ifr.ifr_name, IFNAMSIZ, "%s", name);
	ck_assert_int_eq(ioctl(fd, SIOCETHTOOL, &ifr), 0);
	if (header)
		ck_assert_int_eq(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)), 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static ssize_t recv_in(unsigned queue, uint8_t *buf, size_t len)
{
	struct iovec iov[3] = { { buf, 7 }, { buf + 7, 0 }, { buf + 7, len - 7 } };

	return net_recv(net, queue, iov, 3);
}

/* What comes for the card, waited for. */
static size_t card_gets(uint8_t *buf, size_t len)
{
	ssize_t n;

	while ((n = recv_in(0, buf, len)) == -EAGAIN)
		wait_readable();
	ck_assert_int_ge(n, 0);
	return (size_t)n;
}

static ssize_t card_sends(const uint8_t *buf, size_t len)
{
	struct iovec iov[2] = { { (void *)(uintptr_t)buf, 20 },
				{ (uint8_t *)(uintptr_t)buf + 20, len - 20 } };

	return net_send(net, 0, iov, 2);
}

static void both_ways(unsigned hdr)
{
	static uint8_t out[2000], in[2000];
	int host = host_on("tap0", false);
	size_t len = make(out + hdr, 1000, 1);
	ssize_t n;

	memset(out, 0, hdr);
	ck_assert_int_eq(send(host, out + hdr, len, 0), (ssize_t)len);
	memset(in, 0xee, sizeof(in));
	ck_assert_uint_eq(card_gets(in, sizeof(in)), hdr + len);
	ck_assert_mem_eq(in + hdr, out + hdr, len);
	ck_assert_uint_eq(in[hdr + len + 1], 0xee);

	len = make(out + hdr, 500, 9);
	ck_assert_int_eq(card_sends(out, hdr + len), (ssize_t)(hdr + len));
	n = recv(host, in, sizeof(in), 0);
	ck_assert_int_eq(n, (ssize_t)len);
	ck_assert_mem_eq(in, out + hdr, len);
	close(host);
}

static void setup(void)
{
	ck_assert_int_eq(enter(), 0);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(loop_create(&loop, &err), 0);
	ck_assert_int_eq(net_set_create(&set, loop, &err), 0);
}

static void teardown(void)
{
	char command[64];

	net_detach(net);
	net_set_destroy(set);
	loop_destroy(loop);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	sh(command);
}

START_TEST(two_way_frames)
{
	char text[64];

	attach("tap,id=n0,ifname=tap0");
	net_describe(net, text, sizeof(text));
	ck_assert_str_eq(text, "tap,ifname=tap0");
	ck_assert(net_caps(net)->header);
	ck_assert_uint_eq(net_caps(net)->queues, 1);
	ck_assert_uint_eq(net_caps(net)->mtu, 1500);
	both_ways(0);
	ck_assert_int_eq(net_set_header(net, 10, 0), 0);
	both_ways(10);
	ck_assert_int_eq(net_set_header(net, 12, 0), 0);
	both_ways(12);
	ck_assert_int_eq(net_set_header(net, 0, 0), 0);
	both_ways(0);
	ck_assert_int_eq(net_set_header(net, 11, 0), -EINVAL);
	ck_assert_uint_eq(stats().rx_frames, 4);
	ck_assert_uint_eq(stats().rx_bytes, 4000);
	ck_assert_uint_eq(stats().tx_bytes, 2000);
}
END_TEST

START_TEST(no_header)
{
	attach("tap,id=n0,ifname=tap0,vnet_hdr=off");
	ck_assert(!net_caps(net)->header);
	ck_assert_uint_eq(net_caps(net)->offloads, 0);
	both_ways(0);
}
END_TEST

START_TEST(the_kernel_names_it)
{
	char text[64];

	add("tap,id=n0");
	add("tap,id=n1,queues=2");
	net_describe(net_each(set, 0), text, sizeof(text));
	ck_assert_str_eq(text, "tap,ifname=tap0");
	net_describe(net_each(set, 1), text, sizeof(text));
	ck_assert_str_eq(text, "tap,ifname=tap1,queues=2");
}
END_TEST

START_TEST(one_that_exists_stays)
{
	sh("ip tuntap add dev tap0 mode tap && ip link set tap0 up");
	attach("tap,id=n0,ifname=tap0,script=no,downscript=no");
	both_ways(0);
	net_detach(net);
	net = NULL;
	net_set_destroy(set);
	set = NULL;
	ck_assert_uint_ne(if_nametoindex("tap0"), 0);
}
END_TEST

/* --- headers that ask for something --------------------------------------------------------------
 */

enum { TCP_HEADERS = 14 + 20 + 20, SEGMENT = 1000, PAYLOAD = 3000 };

/* A TCP frame that is to be cut into segments, with its header. */
static size_t make_tso(uint8_t *buf, unsigned hdr)
{
	struct virtio_net_hdr h = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
				    .hdr_len = TCP_HEADERS,
				    .gso_size = SEGMENT,
				    .csum_start = 34,
				    .csum_offset = 16 };
	static const uint8_t ip[20] = { 0x45, 0, 0,  0, 0, 0, 0x40, 0, 64, 6,
					0,    0, 10, 0, 0, 1, 10,   0, 0,  2 };
	static const uint8_t tcp[20] = { 0, 80, 0, 90, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0x10 };
	uint8_t *f = buf + hdr;

	memset(buf, 0, hdr);
	memcpy(buf, &h, sizeof(h));
	make(f, TCP_HEADERS + PAYLOAD, 3);
	f[12] = 0x08;
	f[13] = 0x00;
	memcpy(f + 14, ip, 20);
	f[16] = (20 + 20 + PAYLOAD) >> 8;
	f[17] = (20 + 20 + PAYLOAD) & 0xff;
	memcpy(f + 34, tcp, 20);
	return hdr + TCP_HEADERS + PAYLOAD;
}

/* The host sends one to the card. */
static void host_sends_tso(uint8_t *buf)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETHERTYPE_IP),
				  .sll_ifindex = (int)if_nametoindex("tap0") };
	int host = host_on("tap0", true);
	size_t len = make_tso(buf, 10);

	ck_assert_int_eq(sendto(host, buf, len, 0, (struct sockaddr *)&to, sizeof(to)),
			 (ssize_t)len);
	close(host);
}

START_TEST(segmentation_is_the_cards)
{
	static uint8_t out[MOST], in[MOST];
	struct virtio_net_hdr h;
	unsigned offloads = NET_CSUM | NET_TSO4 | NET_TSO6;

	attach("tap,id=n0,ifname=tap0");
	ck_assert_uint_eq(net_caps(net)->offloads & (offloads | NET_ECN), offloads | NET_ECN);
	ck_assert_int_eq(net_set_header(net, 12, offloads), 0);
	host_sends_tso(out);
	ck_assert_uint_eq(card_gets(in, sizeof(in)), 12 + TCP_HEADERS + PAYLOAD);
	memcpy(&h, in, sizeof(h));
	ck_assert_uint_eq(h.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	ck_assert_uint_eq(h.gso_size, SEGMENT);
	ck_assert_uint_eq(h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	ck_assert_mem_eq(in + 12 + TCP_HEADERS, out + 10 + TCP_HEADERS, PAYLOAD);

	/* The guest changes its mind: the kernel cuts and sums for it. */
	ck_assert_int_eq(net_set_header(net, 10, 0), 0);
	host_sends_tso(out);
	for (unsigned i = 0; i < PAYLOAD / SEGMENT; i++) {
		ck_assert_uint_eq(card_gets(in, sizeof(in)), 10 + TCP_HEADERS + SEGMENT);
		ck_assert_uint_eq(in[1], VIRTIO_NET_HDR_GSO_NONE);
		ck_assert_uint_eq(in[0] & VIRTIO_NET_HDR_F_NEEDS_CSUM, 0);
	}
	/* A card without headers has no say either. */
	ck_assert_int_eq(net_set_header(net, 0, 0), 0);
	host_sends_tso(out);
	ck_assert_uint_eq(card_gets(in, sizeof(in)), TCP_HEADERS + SEGMENT);
	ck_assert_int_eq(net_set_header(net, 12, 1u << 30), -EINVAL);
}
END_TEST

START_TEST(segmentation_is_the_hosts)
{
	static uint8_t out[MOST], in[MOST];
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETHERTYPE_IP) };
	struct virtio_net_hdr h;
	size_t len = make_tso(out, 12);
	int host;

	attach("tap,id=n0,ifname=tap0");
	ck_assert_int_eq(net_set_header(net, 12, 0), 0);
	host = host_on("tap0", true);
	at.sll_ifindex = (int)if_nametoindex("tap0");
	ck_assert_int_eq(bind(host, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(card_sends(out, len), (ssize_t)len);
	ck_assert_int_eq(recv(host, in, sizeof(in), 0), (ssize_t)len - 2);
	memcpy(&h, in, sizeof(h));
	ck_assert_uint_eq(h.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	ck_assert_uint_eq(h.gso_size, SEGMENT);
	ck_assert_mem_eq(in + 10, out + 12, len - 12);

	/* Headers that make no sense are frames lost, and no more than that. */
	out[1] = 0x7f;
	ck_assert_int_eq(card_sends(out, len), (ssize_t)len);
	make_tso(out, 12);
	out[6] = 0xff; /* csum_start */
	out[7] = 0xff;
	ck_assert_int_eq(card_sends(out, len), (ssize_t)len);
	ck_assert_int_eq(card_sends(out, 12 + 9), 12 + 9);
	ck_assert_uint_eq(stats().tx_dropped, 3);
	ck_assert_uint_eq(stats().tx_frames, 1);
	close(host);
}
END_TEST

/* --- frames and buffers that do not fit
 * -------------------------------------------------------------- */

START_TEST(truncation_is_noticed)
{
	static uint8_t out[2000], in[2000];
	int host;

	attach("tap,id=n0,ifname=tap0");
	ck_assert_int_eq(net_set_header(net, 12, 0), 0);
	host = host_on("tap0", false);
	make(out, 1000, 5);
	/* One byte too many; just right; no room even for the header. */
	ck_assert_int_eq(send(host, out, 989, 0), 989);
	ck_assert_int_eq(send(host, out, 988, 0), 988);
	ck_assert_int_eq(send(host, out, 989, 0), 989);
	ck_assert_uint_eq(card_gets(in, 1000), 1000);
	ck_assert_mem_eq(in + 12, out, 988);
	ck_assert_uint_eq(stats().rx_dropped, 1);
	ck_assert_int_eq(recv_in(0, in, 8), -EAGAIN);
	ck_assert_uint_eq(stats().rx_dropped, 2);
	/* The next is whole. */
	ck_assert_int_eq(send(host, out, 60, 0), 60);
	ck_assert_uint_eq(card_gets(in, 1000), 72);
	close(host);
}
END_TEST

START_TEST(many_small_buffers)
{
	static uint8_t out[3000], in[3000];
	static struct iovec iov[1400];
	size_t len = make(out, 1400, 77);
	int host;

	attach("tap,id=n0,ifname=tap0");
	host = host_on("tap0", false);
	for (unsigned i = 0; i < 1400; i++)
		iov[i] = (struct iovec){ out + i, 1 };
	ck_assert_int_eq(net_send(net, 0, iov, 1400), 1400);
	ck_assert_int_eq(recv(host, in, sizeof(in), 0), 1400);
	ck_assert_mem_eq(in, out, len);

	ck_assert_int_eq(send(host, out, 900, 0), 900);
	memset(in, 0, sizeof(in));
	for (unsigned i = 0; i < 1400; i++)
		iov[i].iov_base = in + i;
	ck_assert_int_eq(net_recv(net, 0, iov, 1400), 900);
	ck_assert_mem_eq(in, out, 900);
	close(host);
}
END_TEST

START_TEST(large_frames)
{
	static uint8_t out[9100], in[9100];
	int host;

	sh("ip tuntap add dev tap0 mode tap vnet_hdr && ip link set tap0 mtu 9000 up");
	attach("tap,id=n0,ifname=tap0");
	ck_assert_uint_eq(net_caps(net)->mtu, 9000);
	host = host_on("tap0", false);
	make(out, 9014, 1);
	ck_assert_int_eq(send(host, out, 9014, 0), 9014);
	ck_assert_uint_eq(card_gets(in, sizeof(in)), 9014);
	ck_assert_mem_eq(in, out, 9014);
	ck_assert_int_eq(card_sends(out, 9014), 9014);
	ck_assert_int_eq(recv(host, in, sizeof(in), 0), 9014);
	close(host);
}
END_TEST

/* --- waiting
 * ------------------------------------------------------------------------------------------ */

static uint64_t cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

START_TEST(a_card_that_does_not_pull)
{
	static uint8_t out[100], in[2000];
	unsigned got = 0;
	uint64_t cpu;
	int host;

	attach("tap,id=n0,ifname=tap0");
	host = host_on("tap0", false);
	make(out, 100, 1);
	/* Nobody has asked: nobody is told. */
	ck_assert_int_eq(send(host, out, 100, 0), 100);
	run_loop(50);
	ck_assert_uint_eq(readable_calls, 0);
	ck_assert_int_eq(recv_in(0, in, sizeof(in)), 100);
	ck_assert_int_eq(recv_in(0, in, sizeof(in)), -EAGAIN);
	/* Told once, and then the kernel keeps them. */
	for (unsigned i = 0; i < 3000; i++)
		send(host, out, 100, 0);
	cpu = cpu_us();
	run_loop(300);
	ck_assert_uint_eq(readable_calls, 1);
	ck_assert_uint_lt(cpu_us() - cpu, 100000);
	while (recv_in(0, in, sizeof(in)) == 100)
		got++;
	ck_assert_uint_ge(got, 300);
	ck_assert_uint_lt(got, 3000); /* its queue has an end */
	ck_assert_int_eq(send(host, out, 100, 0), 100);
	wait_readable();
	close(host);
}
END_TEST

/* Behind a bridge is a link of 1 Mbit/s: frames under way count against sndbuf=. */
START_TEST(a_host_that_is_slow)
{
	static uint8_t out[1000];
	unsigned sent = 0;

	sh("ip link add br0 type bridge && ip link add v0 type veth peer name v1 && "
	   "ip link set br0 up && ip link set v0 master br0 up && ip link set v1 up");
	if (system("tc qdisc add dev v0 root tbf rate 1mbit burst 4000 limit 10000000 "
		   "2>/dev/null")) {
		printf("skipped: this kernel has no tbf to slow a link down\n");
		return;
	}
	attach("tap,id=n0,ifname=tap0,br=br0,sndbuf=30000");
	make(out, sizeof(out), 1);
	out[0] = 0x52; /* to one machine: copies of a broadcast would not count */
	while (card_sends(out, sizeof(out)) == (ssize_t)sizeof(out) && sent < 500)
		sent++;
	ck_assert_uint_gt(sent, 5);
	ck_assert_uint_lt(sent, 100);
	ck_assert_uint_eq(stats().tx_full, 1);
	stop_when_writable = true;
	run_loop(10000);
	ck_assert_uint_eq(writable_calls, 1);
	ck_assert_int_eq(card_sends(out, sizeof(out)), sizeof(out));
	ck_assert_uint_eq(stats().tx_dropped, 0);
}
END_TEST

START_TEST(the_interface_is_down)
{
	static uint8_t out[100], in[200];
	uint64_t cpu;

	attach("tap,id=n0,ifname=tap0");
	ck_assert_int_eq(recv_in(0, in, sizeof(in)), -EAGAIN);
	sh("ip link set tap0 down");
	make(out, sizeof(out), 1);
	ck_assert_int_eq(card_sends(out, sizeof(out)), sizeof(out));
	ck_assert_uint_eq(stats().tx_dropped, 1);
	cpu = cpu_us();
	run_loop(200);
	ck_assert_uint_lt(cpu_us() - cpu, 100000);
	ck_assert_uint_le(readable_calls, 2);
	sh("ip link set tap0 up");
	both_ways(0);
}
END_TEST

START_TEST(the_interface_is_removed)
{
	static uint8_t out[100], in[200];
	uint64_t cpu;

	attach("tap,id=n0,ifname=tap0");
	ck_assert_int_eq(recv_in(0, in, sizeof(in)), -EAGAIN);
	sh("ip link del tap0");
	wait_readable();
	ck_assert_int_eq(recv_in(0, in, sizeof(in)), -EAGAIN);
	make(out, sizeof(out), 1);
	ck_assert_int_eq(card_sends(out, sizeof(out)), sizeof(out));
	ck_assert_uint_eq(stats().tx_dropped, 1);
	readable_calls = 0;
	cpu = cpu_us();
	run_loop(200);
	ck_assert_uint_eq(readable_calls, 0);
	ck_assert_uint_lt(cpu_us() - cpu, 100000);
	/* A guest that goes on does no harm. */
	ck_assert_int_eq(net_set_header(net, 12, NET_CSUM), 0);
}
END_TEST

START_TEST(the_card_goes)
{
	static uint8_t out[100], in[200];
	int host;

	attach("tap,id=n0,ifname=tap0");
	ck_assert_int_eq(recv_in(0, in, sizeof(in)), -EAGAIN);
	host = host_on("tap0", false);
	net_detach(net);
	make(out, sizeof(out), 1);
	ck_assert_int_eq(send(host, out, sizeof(out), 0), sizeof(out));
	run_loop(50);
	ck_assert_uint_eq(readable_calls, 0);
	ck_assert_int_eq(net_attach(set, "n0", &card, NULL, loop, &net, &err), 0);
	ck_assert_uint_eq(card_gets(in, sizeof(in)), sizeof(out));
	close(host);
}
END_TEST

/* --- queues
 * --------------------------------------------------------------------------------------------- */

/* Sends frames of many flows; how many came by each of the queues. */
static void spread(unsigned count[4])
{
	static uint8_t out[200], in[4000];
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETHERTYPE_IP),
				  .sll_ifindex = (int)if_nametoindex("tap0") };
	int host = host_on("tap0", false);

	for (unsigned i = 0; i < 64; i++) {
		make_tso(in, 0);
		memcpy(out, in, 100);
		out[16] = 0;
		out[17] = 86;
		out[35] = (uint8_t)i; /* another port */
		ck_assert_int_eq(sendto(host, out, 100, 0, (struct sockaddr *)&to, sizeof(to)),
				 100);
	}
	for (unsigned q = 0; q < 4; q++)
		for (count[q] = 0; recv_in(q, in, sizeof(in)) == 100;)
			count[q]++;
	close(host);
}

START_TEST(several_queues)
{
	static uint8_t out[100], in[200];
	struct iovec iov = { out, sizeof(out) };
	unsigned count[4];
	int host;

	attach("tap,id=n0,ifname=tap0,queues=4");
	ck_assert_uint_eq(net_caps(net)->queues, 4);
	/* One until the guest says more. */
	spread(count);
	ck_assert_uint_eq(count[0], 64);
	ck_assert_int_eq(net_set_queues(net, 4), 0);
	ck_assert_int_eq(net_set_header(net, 0, 0), 0);
	spread(count);
	ck_assert_uint_eq(count[0] + count[1] + count[2] + count[3], 64);
	for (unsigned q = 0; q < 4; q++)
		ck_assert_uint_gt(count[q], 0);
	/* Each queue sends. */
	host = host_on("tap0", false);
	for (unsigned q = 0; q < 4; q++) {
		make(out, sizeof(out), q);
		ck_assert_int_eq(net_send(net, q, &iov, 1), sizeof(out));
		ck_assert_int_eq(recv(host, in, sizeof(in), 0), sizeof(out));
		ck_assert_mem_eq(in, out, sizeof(out));
	}
	close(host);
	ck_assert_int_eq(net_set_queues(net, 2), 0);
	spread(count);
	ck_assert_uint_eq(count[0] + count[1], 64);
	ck_assert_uint_eq(count[2] + count[3], 0);
	ck_assert_int_eq(net_send(net, 3, &iov, 1), sizeof(out));
	ck_assert_uint_eq(stats().tx_dropped, 1);
	ck_assert_int_eq(net_set_queues(net, 5), -EINVAL);
	/* Another card begins anew. */
	net_detach(net);
	ck_assert_int_eq(net_attach(set, "n0", &card, NULL, loop, &net, &err), 0);
	spread(count);
	ck_assert_uint_eq(count[0], 64);
}
END_TEST

/* --- descriptors from elsewhere
 * ---------------------------------------------------------------------------- */

static int tun_open(const char *name, int flags)
{
	struct ifreq ifr = { .ifr_flags = (short)flags };
	int fd = open("/dev/net/tun", O_RDWR);

	ck_assert_int_ge(fd, 0);
	snprintf(ifr.ifr_name, IFNAMSIZ, "%s", name);
	if (*name)
		ck_assert_int_eq(ioctl(fd, TUNSETIFF, &ifr), 0);
	return fd;
}

START_TEST(inherited_descriptors)
{
	int a = tun_open("tap0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);
	int b = tun_open("tap0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);
	char arg[64];

	sh("ip link set tap0 up");
	snprintf(arg, sizeof(arg), "tap,id=n0,fds=%d:%d", a, b);
	attach(arg);
	ck_assert_uint_eq(net_caps(net)->queues, 2);
	ck_assert(net_caps(net)->header);
	both_ways(0);
	ck_assert_int_eq(net_set_queues(net, 2), 0);
}
END_TEST

START_TEST(an_inherited_descriptor)
{
	char arg[64];
	int fd = tun_open("tap0", IFF_TAP | IFF_NO_PI);

	sh("ip link set tap0 up");
	snprintf(arg, sizeof(arg), "tap,id=n0,fd=%d", fd);
	attach(arg);
	ck_assert(!net_caps(net)->header);
	both_ways(0);
	ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}
END_TEST

START_TEST(a_header_that_is_not_wanted)
{
	char arg[64];
	int fd = tun_open("tap0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR), size = 12;

	ck_assert_int_eq(ioctl(fd, TUNSETVNETHDRSZ, &size), 0);
	sh("ip link set tap0 up");
	snprintf(arg, sizeof(arg), "tap,id=n0,fd=%d,vnet_hdr=off", fd);
	attach(arg);
	ck_assert(!net_caps(net)->header);
	both_ways(0);
}
END_TEST

START_TEST(descriptors_that_are_wrong)
{
	char arg[96];
	int tap, tun = tun_open("tun0", IFF_TUN | IFF_NO_PI), bare = tun_open("", 0);
	int other;

	refused("tap,id=n0,fd=999", EBADF, "fd=999: not an open descriptor", "");
	refused("tap,id=n0,fd=x", EINVAL, "fd=x", "");
	refused("tap,id=n0,fds=", EINVAL, "fds=", "");
	refused("tap,id=n0,fd=4294967296", EBADF, "not a descriptor", "");
	refused("tap,id=n0,fd=0", EINVAL, "fd=0: not a tap", "IFF_TAP");
	snprintf(arg, sizeof(arg), "tap,id=n0,fd=%d", tun);
	refused(arg, EINVAL, "IP packets", "");
	snprintf(arg, sizeof(arg), "tap,id=n0,fd=%d", bare);
	refused(arg, EINVAL, "without an interface", "");
	tap = tun_open("tap0", IFF_TAP | IFF_NO_PI);
	snprintf(arg, sizeof(arg), "tap,id=n0,fds=%d:%d", tap, tap);
	refused(arg, EINVAL, "twice", "");
	tap = tun_open("tap0", IFF_TAP | IFF_NO_PI);
	other = tun_open("tap2", IFF_TAP | IFF_NO_PI);
	snprintf(arg, sizeof(arg), "tap,id=n0,fds=%d:%d", tap, other);
	refused(arg, EINVAL, "another interface", "");
	tap = tun_open("tap0", IFF_TAP | IFF_NO_PI);
	snprintf(arg, sizeof(arg), "tap,id=n0,fd=%d,queues=2", tap);
	refused(arg, EINVAL, "queues=2: there is 1 descriptor", "fds=");
	refused("tap,id=n0,fd=3,ifname=tap0", EINVAL, "fd= and ifname=", "");
	refused("tap,id=n0,fds=3,br=br0", EINVAL, "fds= and br=", "");
	refused("tap,id=n0,fds=3,fd=4", EINVAL, "fd= and fds=", "");
}
END_TEST

/* --- what the host refuses
 * --------------------------------------------------------------------------------- */

START_TEST(no_right_to_make_one)
{
	drop_rights();
	refused("tap,id=n0,ifname=tap0", EPERM, "may not make one",
		"sudo ip tuntap add dev tap0 mode tap user $USER");
	refused("tap,id=n0", EPERM, "tap%d", "ifname=tap0");
	refused("tap,id=n0,queues=2", EPERM, "tap%d", "mode tap multi_queue user $USER");
}
END_TEST

START_TEST(a_tap_of_this_user_needs_no_right)
{
	sh("ip tuntap add dev tap0 mode tap user 0 && ip link set tap0 up");
	drop_rights();
	add("tap,id=n0,ifname=tap0");
}
END_TEST

START_TEST(no_right_to_the_device)
{
	char file[64];

	snprintf(file, sizeof(file), "%s/tun", dir);
	close(open(file, O_CREAT | O_WRONLY, 0));
	ck_assert_int_eq(mount(file, "/dev/net/tun", NULL, MS_BIND, NULL), 0);
	drop_rights();
	refused("tap,id=n0,ifname=tap0", EACCES, "/dev/net/tun: Permission denied",
		"sudo chmod 0666 /dev/net/tun");
}
END_TEST

START_TEST(no_device)
{
	ck_assert_int_eq(mount(dir, "/dev/net", NULL, MS_BIND, NULL), 0);
	refused("tap,id=n0,ifname=tap0", ENOENT, "/dev/net/tun", "sudo modprobe tun");
}
END_TEST

START_TEST(interfaces_of_another_kind)
{
	sh("ip link add v0 type veth peer name v1 && ip tuntap add dev tun0 mode tun && "
	   "ip tuntap add dev tap0 mode tap multi_queue && ip tuntap add dev tap1 mode tap");
	refused("tap,id=n0,ifname=v0", EINVAL, "not a tap (its driver: veth)", "another name");
	refused("tap,id=n0,ifname=lo", EINVAL, "not a tap", "another name");
	refused("tap,id=n0,ifname=tun0", EINVAL, "mode tun", "another name");
	refused("tap,id=n0,ifname=tap0", EINVAL, "several queues", "queues=2");
	refused("tap,id=n0,ifname=tap1,queues=2", EINVAL, "one queue", "multi_queue");
}
END_TEST

START_TEST(a_tap_that_is_in_use)
{
	add("tap,id=n0,ifname=tap0");
	refused("tap,id=n1,ifname=tap0", EBUSY, "another program uses this tap", "tap%d");
}
END_TEST

START_TEST(names_that_are_wrong)
{
	refused("tap,id=n0,ifname=a123456789012345", EINVAL, "longer than 15", "");
	refused("tap,id=n0,ifname=", EINVAL, "is empty", "");
	refused("tap,id=n0,ifname=a/b", EINVAL, "not a name", "");
	refused("tap,id=n0,ifname=..", EINVAL, "not a name", "");
	refused("tap,id=n0,ifname=a%s", EINVAL, "%", "");
	refused("tap,id=n0,ifname=a%d%d", EINVAL, "%", "");
	refused("tap,id=n0,queues=0", ERANGE, "queues=0", "");
	refused("tap,id=n0,queues=17", ERANGE, "queues=17", "");
	refused("tap,id=n0,sndbuf=2G", ERANGE, "sndbuf", "");
	refused("tap,id=n0,helper=/bin/true", EINVAL, "without br=", "");
	refused("tap,id=n0,vhost=on", ENOTSUP, "vhost=on: not supported", "vhost=off");
	refused("tap,id=n0,vhostforce=on", ENOTSUP, "vhostforce=on", "vhost=off");
	ck_assert_uint_eq(if_nametoindex("tap0"), 0);
}
END_TEST

/* --- bridges
 * --------------------------------------------------------------------------------------------- */

START_TEST(a_port_of_a_bridge)
{
	sh("ip link add br0 type bridge && ip link set br0 up");
	attach("tap,id=n0,br=br0");
	sh("ip link show master br0 | grep -q 'tap0.*UP' && ip link show tap0 | grep -q 'ether "
	   "fe:'");
	net_detach(net);
	net = NULL;
	refused("tap,id=n1,br=br1", ENODEV, "br=br1: there is no such bridge", "ip link add br1");
	refused("tap,id=n1,br=lo", EOPNOTSUPP, "br=lo: not a bridge", "");
	refused("tap,id=n1,br=b123456789012345", ENODEV, "no such bridge", "");
}
END_TEST

static void add_by_helper(const char *how, const char *more)
{
	char arg[256];

	setenv("TEST_HELPER", how, 1);
	snprintf(arg, sizeof(arg), "tap,id=n0,br=br0,helper=%s%s", self, more);
	err = (struct err){ 0 };
	net_add(set, arg, &err);
}

START_TEST(a_bridge_by_another_program)
{
	char arg[256];

	add_by_helper("gives nothing", "");
	ck_assert_msg(err.code == EPROTO && strstr(err.msg, "gave no tap"), "%s", err.msg);
	ck_assert_msg(strstr(err.hint, "bridge.conf"), "%s", err.hint);
	add_by_helper("fails", "");
	ck_assert_msg(strstr(err.msg, "exit status 7"), "%s", err.msg);
	add_by_helper("gives a file", "");
	ck_assert_msg(strstr(err.msg, "not a tap"), "%s", err.msg);
	add_by_helper("gives a tap", ",queues=2");
	ck_assert_msg(strstr(err.msg, "one queue"), "%s", err.msg);
	refused("tap,id=n0,br=br0,helper=/nowhere/helper", ENOENT, "helper=/nowhere/helper", "");

	setenv("TEST_HELPER", "gives a tap", 1);
	snprintf(arg, sizeof(arg), "tap,id=n0,br=br0,helper=%s", self);
	attach(arg);
	ck_assert(net_caps(net)->header);
	sh("ip link set tap0 up");
	both_ways(0);
}
END_TEST

/* The other side: this program again, asked as qemu-bridge-helper is. */
static int be_a_helper(int argc, char **argv)
{
	const char *how = getenv("TEST_HELPER");
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (char[]){ 0 }, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.room,
			      .msg_controllen = sizeof(control.room) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	struct ifreq ifr = { .ifr_name = "tap0", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int sock, fd;

	if (argc != 4 || strcmp(argv[1], "--use-vnet") != 0 ||
	    sscanf(argv[2], "--fd=%d", &sock) != 1 || strcmp(argv[3], "--br=br0") != 0)
		return 5;
	if (!strcmp(how, "fails"))
		return 7;
	if (!strcmp(how, "gives nothing"))
		return 0;
	fd = open(!strcmp(how, "gives a tap") ? "/dev/net/tun" : "/dev/null", O_RDWR);
	if (!strcmp(how, "gives a tap") && ioctl(fd, TUNSETIFF, &ifr))
		return 6;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(sock, &msg, 0) == 1 ? 0 : 8;
}

START_TEST(no_right_and_nobody_who_has_it)
{
	/* A place without such a program. */
	if (!access("/usr/lib/qemu", F_OK))
		ck_assert_int_eq(mount(dir, "/usr/lib/qemu", NULL, MS_BIND, NULL), 0);
	if (!access("/usr/libexec/qemu-bridge-helper", F_OK))
		ck_assert_int_eq(mount("/dev/null", "/usr/libexec/qemu-bridge-helper", NULL,
				       MS_BIND, NULL),
				 0);
	drop_rights();
	refused("tap,id=n0,br=br0", ENOENT, "no qemu-bridge-helper",
		"sudo ip link set tap0 master br0 up");
}
END_TEST

/* --- scripts
 * ------------------------------------------------------------------------------------------------
 */

static void script(char *path, size_t len, const char *name, const char *text, unsigned mode)
{
	FILE *f;

	snprintf(path, len, "%s/%s", dir, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
	chmod(path, mode);
}

START_TEST(scripts_run)
{
	char up[64], down[64], arg[256], text[160];

	snprintf(text, sizeof(text), "#!/bin/sh\nip link set $1 up && echo up $1 $# >%s/log\n",
		 dir);
	script(up, sizeof(up), "up", text, 0700);
	snprintf(text, sizeof(text),
		 "#!/bin/sh\nip link show $1 >/dev/null && echo down $1 >>%s/log\n", dir);
	script(down, sizeof(down), "down", text, 0700);
	snprintf(arg, sizeof(arg), "tap,id=n0,ifname=tap0,script=%s,downscript=%s", up, down);
	attach(arg);
	both_ways(0);
	net_detach(net);
	net = NULL;
	net_set_destroy(set);
	set = NULL;
	snprintf(text, sizeof(text), "printf 'up tap0 1\\ndown tap0\\n' | cmp - %s/log", dir);
	sh(text);
}
END_TEST

START_TEST(scripts_that_fail)
{
	char path[64], arg[128];

	script(path, sizeof(path), "three", "#!/bin/sh\nexit 3\n", 0700);
	snprintf(arg, sizeof(arg), "tap,id=n0,script=%s", path);
	refused(arg, EIO, "failed with exit status 3", "");
	/* It is gone with the backend. */
	ck_assert_uint_eq(if_nametoindex("tap0"), 0);
	script(path, sizeof(path), "killed", "#!/bin/sh\nkill -9 $$\n", 0700);
	snprintf(arg, sizeof(arg), "tap,id=n0,script=%s", path);
	refused(arg, EIO, "killed by signal 9", "");
	script(path, sizeof(path), "plain", "#!/bin/sh\n", 0600);
	snprintf(arg, sizeof(arg), "tap,id=n0,script=%s", path);
	refused(arg, EACCES, "cannot be run", "chmod +x");
	script(path, sizeof(path), "lost", "#!/nowhere/sh\n", 0700);
	snprintf(arg, sizeof(arg), "tap,id=n0,script=%s", path);
	refused(arg, ENOENT, "cannot be run", "interpreter");
	script(path, sizeof(path), "none", "exit 0\n", 0700);
	snprintf(arg, sizeof(arg), "tap,id=n0,script=%s", path);
	refused(arg, ENOEXEC, "cannot be run", "#!/bin/sh");
	refused("tap,id=n0,script=/nowhere/up", ENOENT, "script=/nowhere/up", "");
}
END_TEST

/* Whether this host lets us: a process that tries. */
static int may_enter(void)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(-enter());
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		return EIO;
	return WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
	const TTest *const tests[] = {
		two_way_frames,
		no_header,
		the_kernel_names_it,
		one_that_exists_stays,
		segmentation_is_the_cards,
		segmentation_is_the_hosts,
		truncation_is_noticed,
		many_small_buffers,
		large_frames,
		a_card_that_does_not_pull,
		a_host_that_is_slow,
		the_interface_is_down,
		the_interface_is_removed,
		the_card_goes,
		several_queues,
		inherited_descriptors,
		an_inherited_descriptor,
		a_header_that_is_not_wanted,
		descriptors_that_are_wrong,
		no_right_to_make_one,
		a_tap_of_this_user_needs_no_right,
		no_right_to_the_device,
		no_device,
		interfaces_of_another_kind,
		a_tap_that_is_in_use,
		names_that_are_wrong,
		a_port_of_a_bridge,
		a_bridge_by_another_program,
		no_right_and_nobody_who_has_it,
		scripts_run,
		scripts_that_fail,
	};
	char path[4096];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
	int code;

	if (argc > 1)
		return be_a_helper(argc, argv);
	path[len > 0 ? len : 0] = 0;
	self = path;
	code = may_enter();
	if (code) {
		printf("skipped: no name spaces with taps here: %s\n", strerror(code));
		return 0;
	}
	return run_tests("net_tap", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}
