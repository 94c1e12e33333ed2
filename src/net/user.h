/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the backend "user" share: user.c (options, frames), user_addr.c (addresses),
 * user_fwd.c (forwards), user_poll.c (between libslirp and the loop), user_lib.c (the library).
 */
#ifndef POSADA_NET_USER_H
#define POSADA_NET_USER_H

#include <pthread.h>
#include <slirp/libslirp.h>

#include "log.h"
#include "loop.h"
#include "net_int.h"

/* libslirp's functions, and two of the GLib that it brings along. */
struct user_api {
	__typeof__(&slirp_new) create;
	__typeof__(&slirp_cleanup) cleanup;
	__typeof__(&slirp_pollfds_fill) pollfds_fill;
	__typeof__(&slirp_pollfds_poll) pollfds_poll;
	__typeof__(&slirp_input) input;
	__typeof__(&slirp_add_hostfwd) add_hostfwd;
	__typeof__(&slirp_remove_hostfwd) remove_hostfwd;
	__typeof__(&slirp_add_exec) add_exec;
	__typeof__(&slirp_connection_info) connection_info;
	void (*free)(void *text); /* of connection_info */
	unsigned (*log_set_handler)(const char *domain, unsigned levels,
				    void (*fn)(const char *domain, unsigned level, const char *text,
					       void *ctx),
				    void *ctx);
};
extern struct user_api user_api;

/* Loads the library; the main thread. */
int user_load(struct err *e);

/*
 * libslirp keeps its clock and the host's name servers in variables that all networks share, and
 * each network may be on a thread of its own: held around every call. A card's readable is
 * called inside it, and does not send.
 */
extern pthread_mutex_t user_lock;

struct user_net {
	bool ipv4, ipv6;
	struct in_addr net, mask, host, dhcp, dns;
	struct in6_addr prefix6, host6, dns6;
	uint8_t prefix6_len;
};

struct user_fwd {
	char *text; /* as it was given, for messages */
	bool udp;
	struct in_addr host,
		guest; /* guest 0: the first address of DHCP; of guestfwd: the server */
	uint16_t host_port, guest_port;
	char *cmd; /* guestfwd */
	struct user_fwd *next;
};

struct user {
	struct net n;

	/* options */
	char *net, *host, *dns, *dhcpstart;
	char *ipv6_net, *ipv6_prefix, *ipv6_host, *ipv6_dns;
	char *hostname, *domainname, *tftp, *bootfile, *tftp_server_name;
	/* Rows of the table of properties only: user_take reads these, which can be repeated. */
	char *hostfwd_row, *guestfwd_row, *dnssearch_row;
	int ipv4, ipv6; /* enum user_family */
	uint8_t ipv6_prefixlen;
	bool restricted;
	struct user_fwd *hostfwd, *guestfwd;
	char **dnssearch; /* NULL-ended, or NULL */
	size_t n_dnssearch;
	struct user_net addr;

	Slirp *slirp;
	struct net_fifo *fifo;
	unsigned queued; /* frames in it */
	uint8_t *frame; /* one from the guest, in one piece */
	struct log_limit log;

	/* user_poll.c */
	struct user_fd **fds; /* by number; NULL: libslirp has no such one */
	unsigned n_fds;
	struct user_fd *first_fd;
	struct user_timer *timers;
	struct loop_timer timer; /* libslirp's slow and fast one */
	struct loop_defer defer;
	uint64_t ticked_ns, active_ns;
	bool running; /* on a loop */
	bool paused; /* the card's fifo is too full to read more from the host */
	bool events; /* some fd has some */
};

enum user_family { USER_AUTO, USER_ON, USER_OFF };

/* --- user_addr.c --- */
int user_addresses(struct user *u, struct err *e);
/* A dotted address; what: the key, for the message. */
int user_ipv4(const char *what, const char *text, struct in_addr *out, struct err *e);

/* --- user_fwd.c --- */
/* Parses the text of hostfwd= or guestfwd= and puts it at the end of the list. */
int user_fwd_host(struct user_fwd **list, const char *text, struct err *e);
int user_fwd_guest(struct user_fwd **list, const char *text, struct err *e);
void user_fwd_free(struct user_fwd *list);
/* Makes all of them, once libslirp runs. */
int user_fwd_open(struct user *u, struct err *e);

/* --- user_poll.c --- */
extern const SlirpCb user_callbacks;
void user_poll_start(struct user *u); /* on n.loop */
void user_poll_stop(struct user *u); /* on n.loop */
void user_poll_free(struct user *u); /* libslirp is gone */
/* libslirp was, or is to be, given something: look at what it waits for. */
void user_poll_kick(struct user *u);
/* Lock held. libslirp's clock stands still when nothing happens: before it is used. */
void user_poll_tick(struct user *u);

#endif
