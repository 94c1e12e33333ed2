/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -vnc and -display vnc, for the monitor. Main loop. */
#ifndef POSADA_VNC_H
#define POSADA_VNC_H

#include <stdbool.h>

struct err;
struct rfb;

struct vnc_info {
	const char *address; /* "127.0.0.1", "::1", a socket's path; NULL: of "none" */
	unsigned port, websocket; /* 0: of a unix socket, or none */
	const char *family; /* "ipv4", "ipv6", "unix" */
	bool password;
	const struct rfb *rfb; /* NULL: of "none" */
};

/* The i-th server; false: there are no more. */
bool vnc_info(unsigned i, struct vnc_info *out);
/* Of all servers, from now on. -ENODEV: there are none. */
int vnc_set_password(const char *password, struct err *e);

#endif
