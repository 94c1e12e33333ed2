/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A server of the RFB protocol (RFC 6143), of libvncserver, that shows a screen: what
 * -display vnc and -display web have in common. They listen; each connection is handed on.
 *
 * The main loop calls these functions and copies what changed to the server's own picture. All
 * that a client can make wait, its socket above all, is done by threads of the server: no
 * client holds up the guest, or another client. One that is slow gets the newest picture
 * when it has taken the last.
 */
#ifndef POSADA_RFB_H
#define POSADA_RFB_H

#include <stdbool.h>

struct err;
struct loop;
struct machine;
struct rfb;

enum { RFB_CLIENTS_MOST = 32 };

struct rfb_opts {
	const char *name; /* the desktop's, for the client's window */
	const char *password; /* VNC authentication: its first 8 bytes; NULL: none */
	const char *layout; /* the keyboard's, for keymap_create */
	/* Nobody gets in without a password, not even while there is none. */
	bool need_password;
	bool exclusive; /* a client that wants to be alone ends the others' connections */
};

struct rfb_client_info {
	const char *peer; /* "127.0.0.1:40000", "[::1]:40000"; empty: by a unix socket */
	bool websocket;
	bool in; /* it sees the screen; else it has not said enough yet */
};

/* The machine has a screen. ERR_UNAVAILABLE: the library is not there. */
int rfb_create(struct machine *m, struct loop *l, const struct rfb_opts *o, struct rfb **out,
	       struct err *e);
/*
 * fd, a stream socket, is the server's from now on, also after an error. websocket: the
 * client begins with an HTTP request that asks for one (RFC 6455), all of which is still to be
 * read. -EMFILE: there are RFB_CLIENTS_MOST.
 */
int rfb_add_client(struct rfb *r, int fd, bool websocket);
unsigned rfb_clients(const struct rfb *r);
/* The i-th one; false: there are no more. */
bool rfb_client_info(const struct rfb *r, unsigned i, struct rfb_client_info *out);
/* From now on it is asked for; those who are in stay. */
void rfb_set_password(struct rfb *r, const char *password);
void rfb_destroy(struct rfb *r); /* ends all connections; NULL: nothing */

#endif
