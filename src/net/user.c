/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A network without root (-netdev user): libslirp is a router with address translation, DHCP, DNS
 * and TFTP in this process, and makes of the guest's connections sockets of the user's. Options
 * are the main thread's, frames the card's loop's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "err.h"
#include "iov.h"
#include "opts.h"
#include "props.h"
#include "user.h"

enum { ETH_HEADER = 14, MTU = 1500, VLAN_TAG = 4 };

static const char *const family_choices[] = { "auto", "on", "off", NULL };

static const struct prop props[] = {
	PROP_CHOICE(struct user, ipv4, "ipv4", "auto", family_choices, "IPv4"),
	PROP(struct user, net, PROP_STR, "net", "10.0.2.0/24", "the network"),
	PROP(struct user, host, PROP_STR, "host", NULL, "this machine in it (the network's .2)"),
	PROP(struct user, dhcpstart, PROP_STR, "dhcpstart", NULL,
	     "the first of 16 addresses for DHCP (.15)"),
	PROP(struct user, dns, PROP_STR, "dns", NULL, "the name server (.3)"),
	PROP_CHOICE(struct user, ipv6, "ipv6", "auto", family_choices, "IPv6"),
	PROP(struct user, ipv6_net, PROP_STR, "ipv6-net", NULL, "its network, PREFIX/LENGTH"),
	PROP(struct user, ipv6_prefix, PROP_STR, "ipv6-prefix", "fec0::", "or the prefix alone"),
	PROP_RANGE(struct user, ipv6_prefixlen, PROP_U8, "ipv6-prefixlen", "64", 0, 126,
		   "and its length"),
	PROP(struct user, ipv6_host, PROP_STR, "ipv6-host", NULL, "this machine in it (::2)"),
	PROP(struct user, ipv6_dns, PROP_STR, "ipv6-dns", NULL, "the name server (::3)"),
	PROP(struct user, restricted, PROP_BOOL, "restrict", "off",
	     "the guest reaches nothing but what is forwarded"),
	PROP(struct user, hostname, PROP_STR, "hostname", NULL, "the guest's name, by DHCP"),
	PROP(struct user, domainname, PROP_STR, "domainname", NULL, "its domain, by DHCP"),
	PROP(struct user, dnssearch_row, PROP_STR, "dnssearch", NULL,
	     "a domain to look names up in; can be repeated"),
	PROP(struct user, tftp, PROP_STR, "tftp", NULL, "a directory to serve by TFTP, read-only"),
	PROP(struct user, bootfile, PROP_STR, "bootfile", NULL, "the file to boot, by DHCP"),
	PROP(struct user, tftp_server_name, PROP_STR, "tftp-server-name", NULL,
	     "whom it is to be fetched from (host)"),
	PROP(struct user, hostfwd_row, PROP_STR, "hostfwd", NULL,
	     "[tcp|udp]:[HOSTADDR]:PORT-[GUESTADDR]:PORT, HOSTADDR is 127.0.0.1 unless given; "
	     "can be repeated"),
	PROP(struct user, guestfwd_row, PROP_STR, "guestfwd", NULL,
	     "[tcp]:ADDR:PORT-cmd:COMMAND, run for each connection; can be repeated"),
	PROP_END,
};

/* --- options ---------------------------------------------------------------------------------- */

static int too_long(const char *key, const char *text, size_t most, struct err *e)
{
	if (!text || strlen(text) <= most)
		return 0;
	return err_set(e, ERR_USAGE, ERANGE, "%s=%.32s...: longer than %zu characters", key, text,
		       most);
}

/* RFC 1035, 2.3.4: a name is of at most 255 octets, a label of 63. */
static int check_domain(const char *key, const char *text, struct err *e)
{
	size_t label = 0;
	int rc = too_long(key, text, 253, e);

	if (rc || !text)
		return rc;
	for (const char *p = text;; p++) {
		bool end = !*p || *p == '.';

		if ((end && !label && (*p || p == text)) || label > 63)
			return err_set(e, ERR_USAGE, EINVAL, "%s=%s: not a domain's name", key,
				       text);
		label = end ? 0 : label + 1;
		if (!*p)
			return 0;
	}
}

static int add_dnssearch(struct user *u, const char *domain, struct err *e)
{
	char **more = realloc(u->dnssearch, (u->n_dnssearch + 2) * sizeof(char *));
	int rc;

	if (!more)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	u->dnssearch = more;
	more[u->n_dnssearch] = more[u->n_dnssearch + 1] = NULL;
	rc = check_domain("dnssearch", domain, e);
	if (rc)
		return rc;
	more[u->n_dnssearch] = strdup(domain);
	if (!more[u->n_dnssearch])
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	u->n_dnssearch++;
	return 0;
}

static int take_one(struct user *u, const char *key, const char *val, struct err *e)
{
	if (!strcmp(key, "dnssearch"))
		return add_dnssearch(u, val, e);
	if (!strcmp(key, "hostfwd"))
		return user_fwd_host(&u->hostfwd, val, e);
	if (!strcmp(key, "guestfwd"))
		return user_fwd_guest(&u->guestfwd, val, e);
	if (!strcmp(key, "smb") || !strcmp(key, "smbserver")) {
		err_set(e, ERR_USAGE, ENOTSUP, "%s=%s: there is no file server in a user network",
			key, val);
		err_hint(e, "tftp=DIR serves a directory, or run a server on the host: the guest "
			    "reaches it at 10.0.2.2");
		return -ENOTSUP;
	}
	return 1;
}

/* Keys that can be repeated, and such as need a word. */
static int user_take(struct net *n, struct opts *o, struct err *e)
{
	for (size_t i = 0; i < o->n; i++) {
		int rc = take_one((struct user *)n, o->opt[i].key, o->opt[i].val, e);

		if (rc < 0)
			return rc;
		o->opt[i].used |= !rc;
	}
	return 0;
}

static int check_texts(const struct user *u, struct err *e)
{
	struct stat st;
	int rc;

	rc = too_long("hostname", u->hostname, 32, e);
	rc = rc ? rc : check_domain("domainname", u->domainname, e);
	rc = rc ? rc : too_long("bootfile", u->bootfile, 127, e);
	rc = rc ? rc : too_long("tftp-server-name", u->tftp_server_name, 255, e);
	if (rc || !u->tftp)
		return rc;
	if (stat(u->tftp, &st))
		return err_set(e, ERR_INPUT, errno, "tftp=%s: %s", u->tftp, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ERR_INPUT, ENOTDIR, "tftp=%s: not a directory", u->tftp);
	return 0;
}

/* --- making and ending ------------------------------------------------------------------------ */

static int make_slirp(struct user *u, struct err *e)
{
	const struct user_net *a = &u->addr;
	SlirpConfig config = {
		.version = 1,
		.restricted = u->restricted,
		.in_enabled = a->ipv4,
		.vnetwork = a->net,
		.vnetmask = a->mask,
		.vhost = a->host,
		.in6_enabled = a->ipv6,
		.vprefix_addr6 = a->prefix6,
		.vprefix_len = a->prefix6_len,
		.vhost6 = a->host6,
		.vhostname = u->hostname,
		.tftp_server_name = u->tftp_server_name,
		.tftp_path = u->tftp,
		.bootfile = u->bootfile,
		.vdhcp_start = a->dhcp,
		.vnameserver = a->dns,
		.vnameserver6 = a->dns6,
		.vdnssearch = (const char **)u->dnssearch,
		.vdomainname = u->domainname,
	};

	u->slirp = user_api.create(&config, &user_callbacks, u);
	return u->slirp ? 0 : err_set(e, ERR_USAGE, EINVAL, "libslirp refuses the network");
}

static int user_open(struct net *n, struct err *e)
{
	struct user *u = (struct user *)n;
	int rc;

	n->caps.mtu = MTU;
	u->log = (struct log_limit)LOG_LIMIT_INIT;
	rc = user_addresses(u, e);
	rc = rc ? rc : check_texts(u, e);
	rc = rc ? rc : user_load(e);
	if (rc)
		return rc;
	u->frame = malloc(NET_FRAME_MOST);
	if (!u->frame || net_fifo_create(n, &u->fifo))
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	pthread_mutex_lock(&user_lock);
	rc = make_slirp(u, e);
	rc = rc ? rc : user_fwd_open(u, e);
	pthread_mutex_unlock(&user_lock);
	return rc;
}

static void user_close(struct net *n)
{
	struct user *u = (struct user *)n;

	pthread_mutex_lock(&user_lock);
	if (u->slirp)
		user_api.cleanup(u->slirp);
	pthread_mutex_unlock(&user_lock);
	user_poll_free(u);
	net_fifo_free(u->fifo);
	free(u->frame);
	user_fwd_free(u->hostfwd);
	user_fwd_free(u->guestfwd);
	for (size_t i = 0; i < u->n_dnssearch; i++)
		free(u->dnssearch[i]);
	free(u->dnssearch);
}

/* --- a card comes and goes ------------------------------------------------------------------- */

static void start(void *ctx)
{
	user_poll_start(ctx);
}

static int user_start(struct net *n, struct err *e)
{
	loop_call(n->loop, start, n);
	return 0;
}

static void stop(void *ctx)
{
	struct user *u = ctx;

	user_poll_stop(u);
	net_fifo_clear(u->fifo);
	u->queued = 0;
}

static void user_stop(struct net *n)
{
	loop_call(n->loop, stop, n);
}

/* --- frames ------------------------------------------------------------------------------------
 */

static ssize_t user_recv(struct net *n, unsigned queue, const struct iovec *iov, unsigned n_iov)
{
	struct user *u = (struct user *)n;
	uint64_t dropped = n->stats[0].rx_dropped;
	ssize_t len = net_fifo_recv(u->fifo, iov, n_iov);

	u->queued -= (unsigned)(n->stats[0].rx_dropped - dropped) + (len >= 0);
	if (u->paused)
		user_poll_kick(u);
	return len;
}

static ssize_t user_send(struct net *n, unsigned queue, const struct iovec *iov, unsigned n_iov)
{
	struct user *u = (struct user *)n;
	size_t whole = iov_len(iov, n_iov), len = whole - n->hdr_len;

	/* A wire would not carry them either. */
	if (len < ETH_HEADER || len > ETH_HEADER + VLAN_TAG + MTU) {
		n->stats[queue].tx_dropped++;
		return (ssize_t)whole;
	}
	iov_to_buf(iov, n_iov, n->hdr_len, u->frame, len);
	pthread_mutex_lock(&user_lock);
	user_poll_tick(u);
	user_api.input(u->slirp, u->frame, (int)len);
	pthread_mutex_unlock(&user_lock);
	u->active_ns = u->ticked_ns;
	user_poll_kick(u);
	return (ssize_t)whole;
}

static void user_describe(const struct net *n, char *text, size_t len)
{
	const struct user *u = (const struct user *)n;

	snprintf(text, len, ",net=%s%s", u->addr.ipv4 ? u->net : u->ipv6_prefix,
		 u->restricted ? ",restrict=on" : "");
}

extern const struct net_class net_user;
const struct net_class net_user = {
	.name = "user",
	.desc = "a network without root: DHCP, DNS, and connections by the user's sockets",
	.props = props,
	.size = sizeof(struct user),
	.take = user_take,
	.open = user_open,
	.close = user_close,
	.start = user_start,
	.stop = user_stop,
	.recv = user_recv,
	.send = user_send,
	.describe = user_describe,
};
