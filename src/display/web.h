/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the web display share. Main loop. */
#ifndef POSADA_WEB_H
#define POSADA_WEB_H

#include <stddef.h>

struct err;
struct loop;

/* --- web_page.c: the page itself, from src/display/web, part of the program --- */

struct web_page {
	const char *path, *data;
	size_t len;
};

/* NULL: it has no such file. */
const struct web_page *web_page_find(const char *path);

/* --- web_server.c: pages, files below a directory, and WebSockets -------------- */

struct web_site {
	const char *host; /* a name that it is reached by, or NULL; see http_host_allowed */
	int dir; /* files are below it */
	/* A WebSocket's request, all of which is still to be read. fd is theirs. */
	void (*websocket)(void *ctx, int fd);
	void *ctx;
};

struct web_server;
/* listen_fd, non-blocking, stays the caller's, as do the site and its directory. */
int web_server_create(struct loop *l, int listen_fd, const struct web_site *site,
		      struct web_server **out, struct err *e);
void web_server_destroy(struct web_server *w); /* NULL: nothing */

/* A file below dir to read, no symbolic link on the way: fd or -errno. path begins with '/'. */
int web_open(int dir, const char *path);

#endif
