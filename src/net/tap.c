/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -netdev tap: frames go to and come from a network interface of the host, after the kernel's
 * Documentation/networking/tuntap.rst and <linux/if_tun.h>. Each read or write of a descriptor is
 * one frame, straight from and to the guest's buffers; a queue is a descriptor.
 *
 * The kernel's own queue is where frames wait while the card does not pull: a descriptor is
 * watched only for what the card has asked for. recv, send and watching: the card's loop. The
 * rest: the main loop, with the card's queues stopped. Opening is in tap_open.c.
 */
#include <errno.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "err.h"
#include "iov.h"
#include "log.h"
#include "props.h"
#include "tap_int.h"

enum {
	HDR_MOST = 12,
	IOV_MOST = 1024, /* UIO_MAXIOV */
	DROPS_MOST = 64, /* frames dropped in one go before others on the loop get a turn */
};

static const struct prop tap_props[] = {
	PROP(struct tap, ifname, PROP_STR, "ifname", "tap%d",
	     "the interface; made if it is not there, %d: the next free number"),
	PROP(struct tap, fd, PROP_STR, "fd", NULL, "an open descriptor of a tap"),
	PROP(struct tap, fds, PROP_STR, "fds", NULL, "several, one for each queue: 3:4:5"),
	PROP(struct tap, script, PROP_STR, "script", NULL,
	     "run with the interface's name when it has been opened; no: none"),
	PROP(struct tap, downscript, PROP_STR, "downscript", NULL, "run before it is closed"),
	PROP(struct tap, br, PROP_STR, "br", NULL, "make the tap a port of this bridge"),
	PROP(struct tap, helper, PROP_STR, "helper", NULL,
	     "program that does so when the right is missing (qemu-bridge-helper)"),
	PROP_RANGE(struct tap, queues, PROP_U32, "queues", NULL, 1, NET_QUEUES_MOST,
		   "pairs of queues (default: 1, or as many as fds= has)"),
	PROP(struct tap, vnet_hdr, PROP_BOOL, "vnet_hdr", "on",
	     "checksums and segmentation may be left to the other side"),
	PROP(struct tap, sndbuf, PROP_SIZE, "sndbuf", "0",
	     "bytes under way to the host before the guest waits; 0: no limit"),
	PROP(struct tap, vhost, PROP_BOOL, "vhost", "off",
	     "not supported by this version: only off"),
	PROP(struct tap, vhostforce, PROP_BOOL, "vhostforce", "off", "the same"),
	PROP_END
};

static struct tap *tap_of(struct net *n)
{
	return (struct tap *)n;
}

/* --- waiting ---------------------------------------------------------------------------- */

static void on_event(void *ctx, uint32_t events)
{
	struct tap_queue *q = ctx;
	uint32_t was = q->wants;

	/* Of an error the card's next call learns the reason. */
	if (events & (EPOLLERR | EPOLLHUP))
		events |= was;
	q->wants &= ~events;
	if (events & was & EPOLLIN)
		net_readable(&q->t->n, q->index);
	if (events & was & EPOLLOUT)
		net_writable(&q->t->n, q->index);
	/* As a rule the card has pulled until there was no more, and the kernel need not be told.
	 */
	loop_fd_mod(&q->watch, q->attached && !q->t->gone ? q->wants : 0);
}

static void want(struct tap_queue *q, uint32_t event)
{
	if (q->t->gone || !q->attached)
		return;
	q->wants |= event;
	if (!q->watch.loop)
		loop_fd_add(q->t->n.loop, &q->watch, q->fd, q->wants, on_event, q);
	else if (q->wants & ~q->watch.events)
		loop_fd_mod(&q->watch, q->wants);
}

static void unwatch(void *ctx)
{
	struct tap *t = ctx;

	for (unsigned i = 0; i < t->n_fds; i++) {
		t->q[i].wants = 0;
		if (t->q[i].watch.loop)
			loop_fd_del(&t->q[i].watch);
		t->q[i].watch.loop = NULL;
	}
}

/* --- frames ------------------------------------------------------------------------------- */

static void is_gone(struct tap *t, int code)
{
	if (t->gone)
		return;
	t->gone = true;
	log_warn("-netdev tap,id=%s: %s is not there any more (%s): no more frames", t->n.id,
		 t->name, strerror(code));
}

/*
 * The kernel's header where the card has none: the guest neither asks for anything nor takes
 * anything, so what is sent is zeros and what comes says nothing.
 */
static unsigned hidden_header(const struct tap *t)
{
	return t->n.hdr_len ? 0 : t->kernel_hdr;
}

static ssize_t tap_recv(struct net *n, unsigned queue, const struct iovec *iov, unsigned n_iov)
{
	struct tap *t = tap_of(n);
	struct tap_queue *q = &t->q[queue];
	struct iovec v[IOV_MOST];
	uint8_t header[HDR_MOST], beyond;
	unsigned k = 0, hidden = hidden_header(t);
	size_t room;

	if (t->gone || !q->attached)
		return -EAGAIN;
	if (hidden)
		v[k++] = (struct iovec){ header, hidden };
	if (n_iov > IOV_MOST - 2)
		n_iov = IOV_MOST - 2;
	memcpy(v + k, iov, n_iov * sizeof(*iov));
	k += n_iov;
	room = iov_len(v, k);
	/* A frame that is too long is cut without a word: only a byte too many tells. */
	v[k++] = (struct iovec){ &beyond, 1 };

	for (unsigned drops = 0; drops < DROPS_MOST;) {
		ssize_t len = readv(q->fd, v, (int)k);

		if (len >= (ssize_t)(t->kernel_hdr + 1) && (size_t)len <= room)
			return len - hidden;
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0 && errno == EAGAIN)
			break;
		/* Those mean that this frame did not fit where it was to go. */
		if (len < 0 && errno != EINVAL && errno != EFAULT && errno != ENOMEM) {
			is_gone(t, errno);
			return -EAGAIN;
		}
		n->stats[queue].rx_dropped++;
		drops++;
	}
	want(q, EPOLLIN);
	return -EAGAIN;
}

/* The same bytes in one piece. NULL: no memory. */
static const struct iovec *in_one(struct tap *t, const struct iovec *iov, unsigned n_iov,
				  struct iovec *one)
{
	if (!t->whole)
		t->whole = malloc(HDR_MOST + NET_FRAME_MOST);
	if (!t->whole)
		return NULL;
	*one = (struct iovec){ t->whole,
			       iov_to_buf(iov, n_iov, 0, t->whole, HDR_MOST + NET_FRAME_MOST) };
	return one;
}

static ssize_t tap_send(struct net *n, unsigned queue, const struct iovec *iov, unsigned n_iov)
{
	static const uint8_t zeros[HDR_MOST];
	struct tap *t = tap_of(n);
	struct tap_queue *q = &t->q[queue];
	struct iovec v[IOV_MOST], one;
	unsigned hidden = hidden_header(t);
	ssize_t len;

	if (t->gone || !q->attached)
		return 0;
	if (n_iov >= IOV_MOST) {
		iov = in_one(t, iov, n_iov, &one);
		n_iov = 1;
		if (!iov)
			return 0;
	}
	if (hidden) {
		v[0] = (struct iovec){ (void *)(uintptr_t)zeros, hidden };
		memcpy(v + 1, iov, n_iov * sizeof(*iov));
		iov = v;
		n_iov++;
	}
	do
		len = writev(q->fd, iov, (int)n_iov);
	while (len < 0 && errno == EINTR);
	if (len >= 0)
		return len;
	if (errno == EAGAIN) {
		want(q, EPOLLOUT);
		return -EAGAIN;
	}
	if (errno == EBADFD)
		is_gone(t, errno);
	/* The interface is down (EIO), or the kernel does not like the frame or its header. */
	return 0;
}

/* --- what the card and the kernel agree on -------------------------------------------------- */

static unsigned tun_offloads(unsigned offloads)
{
	unsigned f = 0;

	if (!(offloads & NET_CSUM)) /* the kernel refuses the others without it */
		return 0;
	f |= TUN_F_CSUM;
	f |= offloads & NET_TSO4 ? TUN_F_TSO4 : 0;
	f |= offloads & NET_TSO6 ? TUN_F_TSO6 : 0;
	f |= offloads & NET_ECN && offloads & (NET_TSO4 | NET_TSO6) ? TUN_F_TSO_ECN : 0;
	f |= offloads & NET_UFO ? TUN_F_UFO : 0;
#ifdef TUN_F_USO4
	f |= offloads & NET_USO ? TUN_F_USO4 | TUN_F_USO6 : 0;
#else
	f |= offloads & NET_USO ? 0x20u | 0x40u : 0;
#endif
	return f;
}

static int set_offloads(struct tap *t, unsigned offloads)
{
	return ioctl(t->q[0].fd, TUNSETOFFLOAD, (unsigned long)tun_offloads(offloads)) ? -errno : 0;
}

static int tap_set_header(struct net *n, unsigned hdr_len, unsigned offloads)
{
	struct tap *t = tap_of(n);
	int size = hdr_len ? (int)hdr_len : 10, rc;

	if ((hdr_len != 0 && hdr_len != 10 && hdr_len != HDR_MOST) || offloads & ~n->caps.offloads)
		return -EINVAL;
	/*
	 * A tap has one size, a macvtap one for each descriptor. EBADFD: a tap's queue that is
	 * detached, or an interface that has been removed, where nobody is left to disagree.
	 */
	for (unsigned i = 0; i < t->n_fds; i++)
		if (ioctl(t->q[i].fd, TUNSETVNETHDRSZ, &size) && errno != EBADFD)
			return -errno;
	t->kernel_hdr = (unsigned)size;
	rc = set_offloads(t, hdr_len ? offloads : 0);
	return rc == -EBADFD ? 0 : rc;
}

static int attach_queue(struct tap_queue *q, bool on)
{
	struct ifreq ifr = { .ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

	if (q->attached == on)
		return 0;
	if (ioctl(q->fd, TUNSETQUEUE, &ifr))
		return -errno;
	q->attached = on;
	return 0;
}

struct set_queues {
	struct tap *t;
	unsigned queues;
	int rc;
};

static void set_queues(void *ctx)
{
	struct set_queues *s = ctx;
	struct tap *t = s->t;

	unwatch(t);
	for (unsigned i = 0; !s->rc && i < t->n_fds; i++)
		s->rc = attach_queue(&t->q[i], i < s->queues);
	if (t->gone)
		s->rc = 0;
}

static int tap_set_queues(struct net *n, unsigned queues)
{
	struct set_queues s = { tap_of(n), queues, 0 };

	if (s.t->multi)
		loop_call(n->loop, set_queues, &s);
	return s.rc;
}

static int tap_start(struct net *n, struct err *e)
{
	int rc = tap_set_queues(n, 1);

	if (!rc && n->caps.header)
		rc = tap_set_header(n, 0, 0);
	return rc ? err_set(e, ERR_HOST, -rc, "netdev=%s: %s refuses its settings: %s", n->id,
			    tap_of(n)->name, strerror(-rc))
		  : 0;
}

static void tap_stop(struct net *n)
{
	loop_call(n->loop, unwatch, tap_of(n));
}

/* --- opening and closing ---------------------------------------------------------------------- */

/* What the interface takes: what this kernel knows, for it sees to the rest. */
static void probe_caps(struct tap *t)
{
	static const unsigned late[] = { NET_UFO, NET_USO };
	unsigned basic = NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN;
	struct ifreq ifr = { 0 };

	t->n.caps.queues = t->n_fds;
	if (!t->foreign && !tap_if_ioctl(t->name, SIOCGIFMTU, &ifr))
		t->n.caps.mtu = (unsigned)ifr.ifr_mtu;
	if (!t->kernel_hdr || !t->vnet_hdr)
		return;
	t->n.caps.header = true;
	if (set_offloads(t, basic))
		return;
	t->n.caps.offloads = basic;
	for (unsigned i = 0; i < sizeof(late) / sizeof(late[0]); i++)
		if (!set_offloads(t, NET_CSUM | late[i]))
			t->n.caps.offloads |= late[i];
	set_offloads(t, 0);
}

static int no_vhost(const struct tap *t, struct err *e)
{
	err_set(e, ERR_USAGE, ENOTSUP, "%s: not supported by this version",
		t->vhost ? "vhost=on" : "vhostforce=on");
	err_hint(e, "leave it out, or say vhost=off: frames then pass through posada");
	return -ENOTSUP;
}

static int tap_open_class(struct net *n, struct err *e)
{
	struct tap *t = tap_of(n);
	int rc;

	for (unsigned i = 0; i < NET_QUEUES_MOST; i++)
		t->q[i] = (struct tap_queue){ .t = t, .index = i, .fd = -1 };
	if (t->vhost || t->vhostforce)
		return no_vhost(t, e);
	rc = tap_open(t, e);
	if (rc)
		return rc;
	probe_caps(t);
	rc = tap_run_script("script", t->script, t->name, e);
	t->up_ran = !rc;
	return rc;
}

static void tap_close(struct net *n)
{
	struct tap *t = tap_of(n);
	struct err e;

	if (t->up_ran && tap_run_script("downscript", t->downscript, t->name, &e))
		err_print(&e);
	for (unsigned i = 0; i < t->n_fds; i++)
		close(t->q[i].fd);
	free(t->whole);
}

static void tap_describe(const struct net *n, char *text, size_t len)
{
	const struct tap *t = (const struct tap *)n;
	int at = snprintf(text, len, ",ifname=%s", t->name);

	if (t->br && at >= 0 && (size_t)at < len)
		at += snprintf(text + at, len - (size_t)at, ",br=%s", t->br);
	if (t->n_fds > 1 && at >= 0 && (size_t)at < len)
		snprintf(text + at, len - (size_t)at, ",queues=%u", t->n_fds);
}

extern const struct net_class net_tap;
const struct net_class net_tap = {
	.name = "tap",
	.desc = "an interface of this host (tap), alone or as a port of a bridge",
	.props = tap_props,
	.size = sizeof(struct tap),
	.open = tap_open_class,
	.close = tap_close,
	.start = tap_start,
	.stop = tap_stop,
	.set_header = tap_set_header,
	.set_queues = tap_set_queues,
	.recv = tap_recv,
	.send = tap_send,
	.describe = tap_describe,
};
