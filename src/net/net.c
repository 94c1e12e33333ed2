/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The set of network backends, and the calls between a card and its backend: see include/net.h.
 * Making and ending: the main loop. net_recv and net_send: the card's loop.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "iov.h"
#include "net_int.h"
#include "opts.h"
#include "props.h"

struct net_set {
	struct loop *main;
	struct net *first;
	struct net_dump *dumps;
};

static const struct prop common_props[] = {
	PROP(struct net, pcap, PROP_STR, "pcap", NULL, "write all frames to this file, as pcap"),
	PROP(struct net, pcap_size, PROP_SIZE, "pcap-size", NULL,
	     "bytes, after which it becomes FILE.1 and a new one begins; 0: no bound"),
	PROP_END
};

extern const struct net_class *const net_classes[];

/* --- finding ---------------------------------------------------------------------------- */

static const struct net_class *class_find(const char *name)
{
	for (size_t i = 0; net_classes[i]; i++)
		if (!strcmp(net_classes[i]->name, name))
			return net_classes[i];
	return NULL;
}

static struct net *find(const struct net_set *s, const char *id)
{
	struct net *n = s->first;

	while (n && strcmp(n->id, id) != 0)
		n = n->next;
	return n;
}

static int unknown_id(const struct net_set *s, const char *id, struct err *e)
{
	const char *names[64];
	size_t k = 0;

	for (const struct net *n = s->first; n && k < 64; n = n->next)
		names[k++] = n->id;
	err_set(e, ERR_USAGE, ENOENT, "no -netdev has the id '%s'", id);
	if (k)
		err_suggest(e, id, names, k);
	else
		err_hint(e, "add -netdev user,id=%s", id);
	return -ENOENT;
}

struct net *net_each(struct net_set *s, unsigned i)
{
	struct net *n = s->first;

	while (n && i--)
		n = n->next;
	return n;
}

void net_new_id(struct net_set *s, char *id, size_t len)
{
	unsigned i = 0;

	do
		snprintf(id, len, "net%u", i++);
	while (find(s, id));
}

/* --- making ------------------------------------------------------------------------------ */

int net_set_create(struct net_set **out, struct loop *main, struct err *e)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	(*out)->main = main;
	return 0;
}

static void destroy(struct net *n)
{
	n->cls->close(n);
	net_pcap_close(&n->dumps);
	props_free(n->cls->props, n);
	props_free(common_props, n);
	free(n->id);
	free(n);
}

void net_set_destroy(struct net_set *s)
{
	while (s && s->first) {
		struct net *n = s->first;

		s->first = n->next;
		destroy(n);
	}
	if (s)
		net_dumps_free(s->dumps);
	free(s);
}

static int open_backend(struct net *n, struct opts *o, struct err *e)
{
	int rc;

	props_defaults(n->cls->props, n);
	props_defaults(common_props, n);
	rc = n->cls->take ? n->cls->take(n, o, e) : 0;
	rc = rc ? rc : props_apply_both(n->cls->props, common_props, n, o, e);
	n->caps = (struct net_caps){ .queues = 1 };
	if (!rc && n->pcap)
		rc = net_pcap_open(&n->dumps, "pcap", n->pcap, 0, n->pcap_size, e);
	if (!rc && n->pcap_size && !n->pcap)
		rc = err_set(e, ERR_USAGE, EINVAL, "pcap-size= without pcap=");
	rc = rc ? rc : net_dumps_open(n->set->dumps, n->id, &n->dumps, e);
	return rc ? rc : n->cls->open(n, e);
}

int net_add_opts(struct net_set *s, const char *type, const char *id, struct opts *o, struct err *e)
{
	const struct net_class *c = class_find(type);
	const char *names[32];
	struct net *n, **end = &s->first;
	size_t k = 0;
	int rc;

	if (!c) {
		for (; net_classes[k]; k++)
			names[k] = net_classes[k]->name;
		err_set(e, ERR_USAGE, EINVAL, "no network backend '%s'", type);
		err_suggest(e, type, names, k);
		return -EINVAL;
	}
	if (find(s, id))
		return err_set(e, ERR_USAGE, EEXIST, "id=%s: another -netdev has this id", id);
	n = calloc(1, c->size);
	if (!n)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	n->cls = c;
	n->set = s;
	n->main = s->main;
	n->up = true;
	n->mac_claim = -1;
	n->id = strdup(id);
	rc = n->id ? open_backend(n, o, e) : err_set(e, ERR_HOST, ENOMEM, "out of memory");
	if (rc) {
		destroy(n);
		return rc;
	}
	while (*end)
		end = &(*end)->next;
	*end = n;
	return 0;
}

int net_add(struct net_set *s, const char *arg, struct err *e)
{
	struct opts o;
	const char *type, *id;
	int rc = opts_parse(&o, arg, "type", e);

	if (rc)
		return rc;
	type = opts_get(&o, "type");
	id = opts_get(&o, "id");
	if (!type) {
		rc = err_set(e, ERR_USAGE, EINVAL, "the type is missing");
		err_hint(e, "-netdev user,id=net0; -netdev help lists types");
	} else if (!id || !*id) {
		rc = err_set(e, ERR_USAGE, EINVAL, "id= is missing");
		err_hint(e, "-netdev %s,id=net0 -device virtio-net-pci,netdev=net0", type);
	}
	rc = rc ? rc : net_add_opts(s, type, id, &o, e);
	opts_free(&o);
	return rc;
}

int net_dump_add(struct net_set *s, struct opts *o, struct err *e)
{
	return net_dump_parse(&s->dumps, o, e);
}

int net_set_check(struct net_set *s, struct err *e)
{
	const char *id;

	for (unsigned i = 0; (id = net_dump_netdev(s->dumps, i)); i++) {
		if (find(s, id))
			continue;
		unknown_id(s, id, e);
		err_prefix(e, "-object filter-dump: netdev=%s: ", id);
		return -ENOENT;
	}
	return 0;
}

void net_help(const char *type, FILE *f)
{
	const struct net_class *c = type ? class_find(type) : NULL;

	if (c) {
		fprintf(f, "%s: %s\n", c->name, c->desc);
		props_help(c->props, f);
		props_help(common_props, f);
		return;
	}
	fputs("Networks (-netdev TYPE,id=ID,...; -netdev TYPE,help tells more of one):\n", f);
	for (size_t i = 0; net_classes[i]; i++)
		fprintf(f, "  %-8s %s\n", net_classes[i]->name, net_classes[i]->desc);
}

/* --- a card comes and goes ------------------------------------------------------------------ */

int net_attach(struct net_set *s, const char *id, const struct net_client *c, void *ctx,
	       struct loop *l, struct net **out, struct err *e)
{
	struct net *n = find(s, id);
	int rc;

	if (!n)
		return unknown_id(s, id, e);
	if (n->client) {
		err_set(e, ERR_USAGE, EBUSY, "netdev=%s: another card is on it", id);
		err_hint(e, "each card has a -netdev of its own");
		return -EBUSY;
	}
	n->client = c;
	n->ctx = ctx;
	n->loop = l;
	n->hdr_len = 0;
	n->queues = 1;
	rc = n->cls->start(n, e);
	if (rc) {
		n->client = NULL;
		return rc;
	}
	*out = n;
	return 0;
}

void net_detach(struct net *n)
{
	if (!n || !n->client)
		return;
	n->cls->stop(n);
	n->client = NULL;
	net_mac_release(n);
}

const struct net_caps *net_caps(const struct net *n)
{
	return &n->caps;
}

const char *net_id(const struct net *n)
{
	return n->id;
}

int net_set_header(struct net *n, unsigned hdr_len, unsigned offloads)
{
	int rc = 0;

	if (n->caps.header)
		rc = n->cls->set_header(n, hdr_len, offloads);
	if (!rc)
		n->hdr_len = hdr_len;
	return rc;
}

int net_set_queues(struct net *n, unsigned queues)
{
	int rc = 0;

	if (!queues || queues > n->caps.queues)
		return -EINVAL;
	if (n->cls->set_queues)
		rc = n->cls->set_queues(n, queues);
	if (!rc)
		n->queues = queues;
	return rc;
}

/* --- the cable ---------------------------------------------------------------------------------
 */

bool net_link(const struct net *n)
{
	return atomic_load(&n->up);
}

int net_set_link(struct net_set *s, const char *id, bool up, struct err *e)
{
	struct net *n = find(s, id);

	if (!n)
		return unknown_id(s, id, e);
	if (atomic_exchange(&n->up, up) == up)
		return 0;
	if (n->client && n->client->link)
		n->client->link(n->ctx, up);
	return 0;
}

/* --- frames --------------------------------------------------------------------------------------
 */

ssize_t net_recv(struct net *n, unsigned queue, const struct iovec *iov, unsigned n_iov)
{
	struct net_stats *st = &n->stats[queue];
	ssize_t len;

	/* What comes while the cable is out is lost, as it would be. */
	while ((len = n->cls->recv(n, queue, iov, n_iov)) >= 0 && !net_link(n))
		st->rx_dropped++;
	if (len >= 0) {
		st->rx_frames++;
		st->rx_bytes += (size_t)len - n->hdr_len;
		if (n->dumps)
			net_pcap_frame(n->dumps, iov, n_iov, n->hdr_len, (size_t)len - n->hdr_len);
	}
	return len;
}

ssize_t net_send(struct net *n, unsigned queue, const struct iovec *iov, unsigned n_iov)
{
	struct net_stats *st = &n->stats[queue];
	size_t whole = iov_len(iov, n_iov);
	ssize_t len;

	if (!net_link(n) || whole < n->hdr_len || whole - n->hdr_len > NET_FRAME_MOST) {
		st->tx_dropped++;
		return (ssize_t)whole;
	}
	len = n->cls->send(n, queue, iov, n_iov);
	if (len == -EAGAIN) {
		st->tx_full++;
		return len;
	}
	if (len <= 0) {
		st->tx_dropped++;
		return (ssize_t)whole;
	}
	st->tx_frames++;
	st->tx_bytes += whole - n->hdr_len;
	if (n->dumps)
		net_pcap_frame(n->dumps, iov, n_iov, n->hdr_len, whole - n->hdr_len);
	return (ssize_t)whole;
}

void net_dropped(struct net *n, unsigned queue, bool sent)
{
	if (sent)
		n->stats[queue].tx_dropped++;
	else
		n->stats[queue].rx_dropped++;
}

void net_flush(struct net *n, unsigned queue)
{
	if (n->cls->flush)
		n->cls->flush(n, queue);
}

/* A reader may see figures of different moments. */
void net_stats_get(const struct net *n, struct net_stats *out)
{
	*out = (struct net_stats){ 0 };
	for (unsigned i = 0; i < NET_QUEUES_MOST; i++) {
		const struct net_stats *s = &n->stats[i];

		out->rx_frames += s->rx_frames;
		out->rx_bytes += s->rx_bytes;
		out->tx_frames += s->tx_frames;
		out->tx_bytes += s->tx_bytes;
		out->rx_dropped += s->rx_dropped;
		out->tx_dropped += s->tx_dropped;
		out->tx_full += s->tx_full;
	}
}

void net_describe(const struct net *n, char *text, size_t len)
{
	int at = snprintf(text, len, "%s", n->cls->name);

	if (n->cls->describe && at >= 0 && (size_t)at < len)
		n->cls->describe(n, text + at, len - (size_t)at);
}
