/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tap backend's two halves: frames (tap.c), and opening and set-up (tap_open.c, tap_bridge.c).
 */
#ifndef POSADA_TAP_INT_H
#define POSADA_TAP_INT_H

#include <net/if.h>

#include "loop.h"
#include "net_int.h"

struct tap;

struct tap_queue {
	struct tap *t;
	unsigned index;
	int fd; /* -1: none */
	struct loop_fd watch; /* watch.loop NULL: not on the loop yet */
	uint32_t wants; /* EPOLLIN, EPOLLOUT: what the card waits for */
	bool attached; /* the kernel gives it frames */
};

struct tap {
	struct net n;
	/* properties */
	char *fd, *fds, *script, *downscript, *br, *helper;
	bool vnet_hdr, vhost, vhostforce;
	char *ifname;
	uint64_t sndbuf;
	uint32_t queues; /* 0: as many as there are descriptors, or one */

	char name[IFNAMSIZ]; /* the kernel's; "" until it is known */
	unsigned n_fds;
	unsigned kernel_hdr; /* before each frame on the descriptors: 0, 10 or 12 */
	bool multi; /* the interface has IFF_MULTI_QUEUE */
	bool foreign; /* the descriptors came from elsewhere, perhaps from another name space */
	bool up_ran; /* script has run: downscript is to */
	bool gone; /* the interface has been removed, and that has been said */
	uint8_t *whole; /* a frame in one piece, of iovs that are too long for the kernel */
	struct tap_queue q[NET_QUEUES_MOST];
};

/* Fills t->q[].fd, name, n_fds, kernel_hdr and multi; main loop. */
int tap_open(struct tap *t, struct err *e);
/* Sends an ioctl about the interface `name`; 0 or -errno. */
int tap_if_ioctl(const char *name, unsigned long request, struct ifreq *ifr);
int tap_if_up(const char *name);
/* br=: a tap that is a port of the bridge, made by us. */
int tap_join_bridge(struct tap *t, struct err *e);
bool tap_may_administer(void); /* CAP_NET_ADMIN */
/* br= without that right: a program that has it makes the tap. Its descriptor, or -errno. */
int tap_from_helper(struct tap *t, struct err *e);
/* script= and downscript=: runs `path NAME` and waits. */
int tap_run_script(const char *key, const char *path, const char *name, struct err *e);

#endif
