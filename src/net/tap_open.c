/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opening a tap: by its name (/dev/net/tun, TUNSETIFF) or by descriptors that were handed to us,
 * and saying why it cannot be opened. See <linux/if_tun.h>. Main loop, set-up time.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "err.h"
#include "opts.h"
#include "tap_int.h"

static const char dev_tun[] = "/dev/net/tun";

int tap_if_ioctl(const char *name, unsigned long request, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int rc;

	if (fd < 0)
		fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	snprintf(ifr->ifr_name, IFNAMSIZ, "%s", name);
	rc = ioctl(fd, request, ifr) ? -errno : 0;
	close(fd);
	return rc;
}

int tap_if_up(const char *name)
{
	struct ifreq ifr = { 0 };
	int rc = tap_if_ioctl(name, SIOCGIFFLAGS, &ifr);

	if (rc)
		return rc;
	ifr.ifr_flags |= IFF_UP;
	return tap_if_ioctl(name, SIOCSIFFLAGS, &ifr);
}

/* --- why not -------------------------------------------------------------------------------- */

/* The commands of somebody with the right, after which no right is needed. */
static void hint_commands(const struct tap *t, struct err *e)
{
	const char *name = strchr(t->ifname, '%') ? "tap0" : t->ifname;
	const char *multi = t->queues > 1 ? " multi_queue" : "";

	if (t->br)
		err_hint(e,
			 "sudo ip tuntap add dev %s mode tap%s user $USER && sudo ip link set %s "
			 "master %s up; then ifname=%s without br=",
			 name, multi, name, t->br, name);
	else
		err_hint(e,
			 "sudo ip tuntap add dev %s mode tap%s user $USER && sudo ip link set %s "
			 "up; then ifname=%s (or -netdev user, which needs no right)",
			 name, multi, name, name);
}

static int no_device(int code, struct err *e)
{
	err_set(e, ERR_HOST, code, "%s: %s", dev_tun, strerror(code));
	if (code == EACCES || code == EPERM)
		err_hint(e,
			 "sudo chmod 0666 %s, which is how it is usually; -netdev user needs "
			 "no tap",
			 dev_tun);
	else if (code == ENOENT || code == ENODEV || code == ENXIO)
		err_hint(e, "sudo modprobe tun; -netdev user needs no tap");
	return -code;
}

/* The name of an interface's driver, and of its kind ("tap", "tun"); "" when it does not say. */
static void driver_of(const char *name, struct ethtool_drvinfo *info)
{
	struct ifreq ifr = { .ifr_data = (char *)info };

	*info = (struct ethtool_drvinfo){ .cmd = ETHTOOL_GDRVINFO };
	if (tap_if_ioctl(name, SIOCETHTOOL, &ifr))
		*info = (struct ethtool_drvinfo){ 0 };
}

/* EINVAL for an interface that is there: of another kind, or with other queues. */
static int wrong_kind(const struct tap *t, struct err *e)
{
	struct ethtool_drvinfo info;

	driver_of(t->ifname, &info);
	if (strcmp(info.driver, "tun") != 0) {
		err_set(e, ERR_HOST, EINVAL,
			"ifname=%s: this interface exists and is not a tap%s%s%s", t->ifname,
			*info.driver ? " (its driver: " : "", info.driver, *info.driver ? ")" : "");
		err_hint(e, "choose another name; br=%s makes a tap that is a port of a bridge",
			 t->ifname);
	} else if (!strcmp(info.bus_info, "tun")) {
		err_set(e, ERR_HOST, EINVAL,
			"ifname=%s: this interface exists and is not a tap: it carries IP packets "
			"(mode tun), not frames",
			t->ifname);
		err_hint(e, "choose another name");
	} else if (t->queues > 1) {
		err_set(e, ERR_HOST, EINVAL, "ifname=%s: this tap has one queue, not queues=%u",
			t->ifname, t->queues);
		err_hint(e,
			 "make it with \"ip tuntap add dev %s mode tap multi_queue\", or leave "
			 "out queues=",
			 t->ifname);
	} else {
		err_set(e, ERR_HOST, EINVAL, "ifname=%s: this tap was made for several queues",
			t->ifname);
		err_hint(e, "say queues=2 or more, or make it without multi_queue");
	}
	return -EINVAL;
}

static int no_interface(const struct tap *t, int code, struct err *e)
{
	bool exists = !strchr(t->ifname, '%') && if_nametoindex(t->ifname);

	if (code == EPERM || code == EACCES) {
		err_set(e, ERR_HOST, code,
			exists ? "ifname=%s: this tap is another user's"
			       : "ifname=%s: there is no such tap, and this user may not make one",
			t->ifname);
		hint_commands(t, e);
	} else if (code == EBUSY) {
		err_set(e, ERR_HOST, code, "ifname=%s: another program uses this tap", t->ifname);
		err_hint(e, "each guest has a tap of its own; ifname=tap%%d takes a free name");
	} else if (code == EINVAL && exists) {
		return wrong_kind(t, e);
	} else {
		err_set(e, ERR_HOST, code, "ifname=%s: %s", t->ifname, strerror(code));
	}
	return -code;
}

static int check_name(const char *name, struct err *e)
{
	const char *format = strchr(name, '%');
	const char *bad = NULL;

	if (!*name)
		bad = "is empty";
	else if (strlen(name) >= IFNAMSIZ)
		bad = "is longer than 15 characters";
	else if (!strcmp(name, ".") || !strcmp(name, "..") || strpbrk(name, "/: \t\n"))
		bad = "is not a name for an interface";
	else if (format && (format[1] != 'd' || strchr(format + 1, '%')))
		bad = "has a % that is not one %d";
	if (!bad)
		return 0;
	err_set(e, ERR_USAGE, EINVAL, "ifname=%s: %s", name, bad);
	err_hint(e, "ifname=tap0");
	return -EINVAL;
}

/* --- by name ---------------------------------------------------------------------------------- */

/* Another queue of the interface, or its first. t->name is known from the first on. */
static int open_queue(struct tap *t, struct err *e)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	int fd = open(dev_tun, O_RDWR | O_NONBLOCK | O_CLOEXEC), rc;

	if (fd < 0)
		return no_device(errno, e);
	if (t->vnet_hdr)
		ifr.ifr_flags |= IFF_VNET_HDR;
	if (t->multi)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	snprintf(ifr.ifr_name, IFNAMSIZ, "%s", *t->name ? t->name : t->ifname);
	if (ioctl(fd, TUNSETIFF, &ifr)) {
		rc = no_interface(t, errno, e);
		close(fd);
		return rc;
	}
	memcpy(t->name, ifr.ifr_name, IFNAMSIZ);
	t->q[t->n_fds].attached = true;
	t->q[t->n_fds++].fd = fd;
	return 0;
}

static int open_by_name(struct tap *t, struct err *e)
{
	bool was_there;
	int rc = check_name(t->ifname, e);

	if (rc)
		return rc;
	was_there = !strchr(t->ifname, '%') && if_nametoindex(t->ifname);
	t->queues = t->queues ? t->queues : 1;
	t->multi = t->queues > 1;
	t->kernel_hdr = t->vnet_hdr ? 10 : 0;
	while (!rc && t->n_fds < t->queues)
		rc = open_queue(t, e);
	if (rc)
		return rc;
	if (t->br)
		return tap_join_bridge(t, e);
	/* Of one that we have made nobody else knows yet. */
	if (!was_there && !t->script)
		tap_if_up(t->name);
	return 0;
}

/* --- by descriptor ------------------------------------------------------------------------------
 */

static int bad_fd(int fd, int code, const char *why, struct err *e)
{
	err_set(e, ERR_USAGE, code, "fd=%d: %s", fd, why);
	err_hint(e, "open /dev/net/tun, TUNSETIFF with IFF_TAP|IFF_NO_PI, and leave it open "
		    "for posada");
	return -code;
}

static int take_fd(struct tap *t, int fd, struct err *e)
{
	struct ifreq ifr = { 0 };
	struct tap_queue *q = &t->q[t->n_fds];
	bool first = !t->n_fds;
	int flags = fcntl(fd, F_GETFL), size;

	if (flags < 0)
		return bad_fd(fd, EBADF, "not an open descriptor", e);
	if (ioctl(fd, TUNGETIFF, &ifr))
		return bad_fd(fd, EINVAL,
			      errno == EBADFD ? "a tap without an interface" : "not a tap", e);
	if (!(ifr.ifr_flags & IFF_TAP))
		return bad_fd(fd, EINVAL, "not a tap: it carries IP packets (mode tun)", e);
	if (!(ifr.ifr_flags & IFF_NO_PI))
		return bad_fd(fd, EINVAL, "this tap was made without IFF_NO_PI", e);
	if (!first && strncmp(t->name, ifr.ifr_name, IFNAMSIZ) != 0)
		return bad_fd(fd, EINVAL, "a queue of another interface than the first", e);
	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	if (!(ifr.ifr_flags & IFF_VNET_HDR) || ioctl(fd, TUNGETVNETHDRSZ, &size))
		size = 0;
	if (size != 0 && size != 10 && size != 12) {
		size = 10;
		if (ioctl(fd, TUNSETVNETHDRSZ, &size))
			return bad_fd(fd, errno, strerror(errno), e);
	}
	t->kernel_hdr = (unsigned)size;
	t->multi = ifr.ifr_flags & IFF_MULTI_QUEUE;
	memcpy(t->name, ifr.ifr_name, IFNAMSIZ);
	q->fd = fd;
	q->attached = true;
	t->n_fds++;
	return 0;
}

static int take_number(struct tap *t, const char *key, const char *text, struct err *e)
{
	uint64_t fd;
	int rc = parse_u64(text, &fd, e);

	if (!rc && fd > INT32_MAX)
		rc = err_set(e, ERR_USAGE, EBADF, "not a descriptor");
	if (rc) {
		err_prefix(e, "%s=%s: ", key, text);
		return rc;
	}
	for (unsigned i = 0; i < t->n_fds; i++)
		if (t->q[i].fd == (int)fd)
			return err_set(e, ERR_USAGE, EINVAL, "%s: %s is there twice", key, text);
	if (t->n_fds == NET_QUEUES_MOST)
		return err_set(e, ERR_USAGE, E2BIG, "%s: more than %d queues", key,
			       NET_QUEUES_MOST);
	return take_fd(t, (int)fd, e);
}

static int open_by_fds(struct tap *t, struct err *e)
{
	char *list, *at, *one;
	int rc = 0;

	t->foreign = true;
	if (t->fd)
		rc = take_number(t, "fd", t->fd, e);
	if (rc || !t->fds)
		goto counted;
	list = at = strdup(t->fds);
	if (!list)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	while (!rc && (one = strsep(&at, ":")))
		rc = take_number(t, "fds", one, e);
	free(list);
counted:
	if (rc)
		return rc;
	if (t->queues && t->queues != t->n_fds) {
		err_set(e, ERR_USAGE, EINVAL, "queues=%u: there %s %u descriptor%s", t->queues,
			t->n_fds == 1 ? "is" : "are", t->n_fds, t->n_fds == 1 ? "" : "s");
		err_hint(e, "one for each queue, in fds=; or leave out queues=");
		return -EINVAL;
	}
	return 0;
}

static int open_by_helper(struct tap *t, struct err *e)
{
	int fd, rc;

	if (t->queues > 1) {
		err_set(e, ERR_USAGE, EINVAL, "queues=%u: a bridge helper gives one queue",
			t->queues);
		hint_commands(t, e);
		return -EINVAL;
	}
	fd = tap_from_helper(t, e);
	if (fd < 0) {
		if (fd == -ENOENT && !t->helper)
			hint_commands(t, e);
		return fd;
	}
	rc = take_fd(t, fd, e);
	if (rc)
		close(fd);
	return rc;
}

/* --- all
 * ------------------------------------------------------------------------------------------ */

static int check_keys(const struct tap *t, struct err *e)
{
	const char *with = t->fd && t->fds                   ? "fds="
			   : t->br                           ? "br="
			   : strcmp(t->ifname, "tap%d") != 0 ? "ifname="
							     : NULL;

	if ((t->fd || t->fds) && with)
		return err_set(e, ERR_USAGE, EINVAL,
			       "%s and %s are one too many: each says which tap",
			       t->fd ? "fd=" : "fds=", with);
	if (t->helper && !t->br)
		return err_set(e, ERR_USAGE, EINVAL, "helper=%s: without br= it has nothing to do",
			       t->helper);
	if (t->sndbuf > INT32_MAX)
		return err_set(e, ERR_USAGE, ERANGE, "sndbuf: at most 2G-1");
	return 0;
}

/* No limit is said too: whoever had a tap before may have left one. */
static int set_sndbuf(const struct tap *t, struct err *e)
{
	int bytes = t->sndbuf ? (int)t->sndbuf : INT32_MAX;

	for (unsigned i = 0; i < t->n_fds; i++)
		if (ioctl(t->q[i].fd, TUNSETSNDBUF, &bytes) && t->sndbuf)
			return err_set(e, ERR_HOST, errno, "sndbuf=%d: %s", bytes, strerror(errno));
	return 0;
}

int tap_open(struct tap *t, struct err *e)
{
	int rc = check_keys(t, e);

	if (rc)
		return rc;
	if (t->fd || t->fds)
		rc = open_by_fds(t, e);
	else if (t->br && (t->helper || !tap_may_administer()))
		rc = open_by_helper(t, e);
	else
		rc = open_by_name(t, e);
	return rc ? rc : set_sndbuf(t, e);
}
