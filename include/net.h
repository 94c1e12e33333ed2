/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Networks: between network cards and what carries their frames (a tap, libslirp, sockets). A
 * backend is made by -netdev and has an id; a card is its one user.
 *
 * The card pulls: a frame is read straight into the guest's buffers (net_recv), so a guest without
 * buffers makes its backend wait, and frames wait in the kernel or in the backend's own bounded
 * queue. What the card sends is taken whole or, when the backend is full, not at all.
 *
 * A queue belongs to one loop, the card's; functions and callbacks that name a queue run there.
 * Making and ending is the main loop's, with the card's queues stopped.
 */
#ifndef POSADA_NET_H
#define POSADA_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "props.h"

struct err;
struct loop;
struct machine;
struct net;
struct net_set;
struct opts;

enum {
	NET_QUEUES_MOST = 16, /* pairs */
	NET_FRAME_MOST = 65535 + 14 + 4, /* with segmentation offload; without the header */
	NET_MTU_MOST = 65535,
	NET_NAME = 64,
};

/*
 * What frames may ask of whoever gets them, in the header that is before each of them (struct
 * virtio_net_hdr_v1 of wire/virtio_net.h) when one has been agreed on. Of a pair, each end says
 * what it takes.
 */
enum net_offload {
	NET_CSUM = 0x01, /* a checksum that is still to be filled in */
	NET_TSO4 = 0x02,
	NET_TSO6 = 0x04,
	NET_ECN = 0x08, /* with TSO */
	NET_UFO = 0x10,
	NET_USO = 0x20, /* UDP segmentation, 4 and 6 */
};

struct net_caps {
	unsigned queues; /* pairs */
	bool header; /* frames can have a header, in both directions */
	unsigned offloads; /* enum net_offload: of frames that it is sent */
	unsigned mtu; /* 0: it does not know */
};

/* What a card is told; the queue's loop, but link: the main loop. */
struct net_client {
	/* After net_recv said -EAGAIN: there is a frame. */
	void (*readable)(void *ctx, unsigned queue);
	/* After net_send said -EAGAIN: there is room. */
	void (*writable)(void *ctx, unsigned queue);
	void (*link)(void *ctx, bool up);
};

struct net_stats {
	uint64_t rx_frames, rx_bytes, tx_frames, tx_bytes;
	uint64_t rx_dropped, tx_dropped; /* too long, malformed, nobody there */
	uint64_t tx_full; /* times the backend had no room */
};

/* --- a card's side --- */

/* The backend of this id, which no other card has. -ENOENT names the nearest; -EBUSY. */
int net_attach(struct net_set *s, const char *id, const struct net_client *c, void *ctx,
	       struct loop *l, struct net **out, struct err *e);
void net_detach(struct net *n);
/*
 * The address of the card on n, until net_detach: text is that of mac=, which no other card of
 * the machine may have. NULL: one that is the guest's own (see src/net_mac.c).
 */
int net_mac_choose(struct net *n, const struct machine *m, const char *text, uint8_t mac[6],
		   struct err *e);
bool net_mac_get(const struct net *n, uint8_t mac[6]); /* false: no card */
const struct net_caps *net_caps(const struct net *n);
const char *net_id(const struct net *n);
bool net_link(const struct net *n);
/*
 * hdr_len: of the header before each frame, 0, 10 or 12; offloads: what the guest takes of
 * frames that come. Both are taken from now on, and are what caps allow. The queues are stopped.
 */
int net_set_header(struct net *n, unsigned hdr_len, unsigned offloads);
/* How many pairs are in use: frames come to no others. The queues are stopped. */
int net_set_queues(struct net *n, unsigned queues);

/*
 * The next frame, with its header, into iov; its length. A frame that iov has no room for is
 * dropped and counted. -EAGAIN: there is none, readable comes. No other error: a backend that
 * has died has no frames.
 */
ssize_t net_recv(struct net *n, unsigned queue, const struct iovec *iov, unsigned n_iov);
/*
 * A frame, with its header. Its length, also when it was dropped; -EAGAIN: nothing is taken,
 * writable comes. iov may be read by others until it returns, not after.
 */
ssize_t net_send(struct net *n, unsigned queue, const struct iovec *iov, unsigned n_iov);
/* A card has dropped a frame of its own accord, sent by its guest or received for it. */
void net_dropped(struct net *n, unsigned queue, bool sent);
/* Frames were sent: all that has been gathered goes out now. After each batch. */
void net_flush(struct net *n, unsigned queue);

/* --- the set: what the command line asks for ------------------------------------------- */

/* main: the main loop, for timers and for reconnecting. */
int net_set_create(struct net_set **out, struct loop *main, struct err *e);
void net_set_destroy(struct net_set *s); /* no card is there any more; NULL: nothing */
/* -netdev TYPE,id=ID,... */
int net_add(struct net_set *s, const char *arg, struct err *e);
/* The same of parsed options, whose type and id are given apart. Marks the keys that it uses. */
int net_add_opts(struct net_set *s, const char *type, const char *id, struct opts *o,
		 struct err *e);
/* An id that no backend has: "net0" ... For -nic. */
void net_new_id(struct net_set *s, char *id, size_t len);
/*
 * -object filter-dump: what net_dump_props says. The file is made with its backend, so before
 * net_add; net_set_check, when all are there, finds those whose netdev= does not exist.
 */
extern const struct prop net_dump_props[];
int net_dump_add(struct net_set *s, struct opts *o, struct err *e);
int net_set_check(struct net_set *s, struct err *e);
/* -netdev help, and -netdev TYPE,help. */
void net_help(const char *type, FILE *f);
/* The cable is pulled out, or put in again: nothing passes while it is out. */
int net_set_link(struct net_set *s, const char *id, bool up, struct err *e);
/* The i-th in order of creation; NULL: there are no more. */
struct net *net_each(struct net_set *s, unsigned i);
void net_stats_get(const struct net *n, struct net_stats *out);
/* One line: "tap,ifname=tap0". */
void net_describe(const struct net *n, char *text, size_t len);

#endif
