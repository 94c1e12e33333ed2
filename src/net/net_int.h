/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Backends, as net.c knows them: one file each in src/net and one line in its table. See
 * include/net.h for who calls what on which loop.
 */
#ifndef POSADA_NET_INT_H
#define POSADA_NET_INT_H

#include "net.h"

struct net_dump;
struct net_pcap;

struct net_class {
	const char *name; /* -netdev NAME */
	const char *desc;
	const struct prop *props;
	size_t size; /* of its struct, which begins with struct net */
	/* Props are set. Sets n->caps, opens what it needs. */
	int (*open)(struct net *n, struct err *e);
	void (*close)(struct net *n); /* accepts a half-made one */
	/* A card is there, its loop n->loop; or no more. What comes before is dropped or waits. */
	int (*start)(struct net *n, struct err *e);
	void (*stop)(struct net *n);
	int (*set_header)(struct net *n, unsigned hdr_len,
			  unsigned offloads); /* NULL: no headers */
	int (*set_queues)(struct net *n, unsigned queues); /* NULL: one pair */
	/*
	 * As net_recv and net_send; on -EAGAIN it sees to net_readable, net_writable being called.
	 * send's other results that are not positive say that the frame was dropped.
	 */
	ssize_t (*recv)(struct net *n, unsigned queue, const struct iovec *iov, unsigned n_iov);
	ssize_t (*send)(struct net *n, unsigned queue, const struct iovec *iov, unsigned n_iov);
	void (*flush)(struct net *n, unsigned queue); /* NULL: nothing is gathered */
	void (*describe)(const struct net *n, char *text, size_t len);
	/* Before props are set; NULL: nothing. Takes keys that can be repeated, marking them used.
	 */
	int (*take)(struct net *n, struct opts *o, struct err *e);
};

/* The card goes: its address is free again. */
void net_mac_release(struct net *n);

struct net {
	const struct net_class *cls;
	char *id;
	struct net_set *set;
	struct loop *main; /* timers, reconnecting */
	struct net_caps caps;

	/* the card's */
	const struct net_client *client; /* NULL: no card */
	void *ctx;
	struct loop *loop;
	unsigned hdr_len, queues;
	_Atomic bool up; /* set_link */
	bool has_mac;
	int mac_claim; /* a socket whose name says that the address is taken on this host, or -1 */
	uint8_t mac[6];

	/* properties that all backends have */
	char *pcap;
	uint64_t pcap_size;
	struct net_pcap *dumps; /* NULL: frames are not written to files */

	struct net_stats stats[NET_QUEUES_MOST];
	struct net *next;
};

/* For backends, on n->loop. */
static inline void net_readable(struct net *n, unsigned queue)
{
	if (n->client)
		n->client->readable(n->ctx, queue);
}
static inline void net_writable(struct net *n, unsigned queue)
{
	if (n->client)
		n->client->writable(n->ctx, queue);
}

/* --- frames that wait for the card, of backends that are handed them (src/net/fifo.c) --- */

enum { NET_FIFO_FRAMES = 256, NET_FIFO_BYTES = 1 << 20 };

struct net_fifo;
int net_fifo_create(struct net *n, struct net_fifo **out);
void net_fifo_free(struct net_fifo *f); /* NULL: nothing */
void net_fifo_clear(struct net_fifo *f);
/* -ENOBUFS: full. The frame gets an empty header when one is agreed on. */
int net_fifo_put(struct net_fifo *f, const struct iovec *iov, unsigned n_iov);
bool net_fifo_room(const struct net_fifo *f); /* for another frame of any length */
ssize_t net_fifo_recv(struct net_fifo *f, const struct iovec *iov, unsigned n_iov);

/* --- frames written to files (src/net/pcap.c) --- */

enum { NET_PCAP_SIZE_LEAST = 4096 };

/* Another file, for the list of a backend. key: the option that names it; maxlen 0: whole frames.
 */
int net_pcap_open(struct net_pcap **list, const char *key, const char *path, uint32_t maxlen,
		  uint64_t size, struct err *e);
void net_pcap_close(struct net_pcap **list);
/* The len bytes that begin at skip. */
void net_pcap_frame(struct net_pcap *list, const struct iovec *iov, unsigned n_iov, size_t skip,
		    size_t len);
/* -object filter-dump, in a list */
int net_dump_parse(struct net_dump **list, struct opts *o, struct err *e);
/* Those of this -netdev. */
int net_dumps_open(struct net_dump *list, const char *netdev, struct net_pcap **out, struct err *e);
const char *net_dump_netdev(const struct net_dump *list, unsigned i); /* NULL: no more */
void net_dumps_free(struct net_dump *list);

#endif
