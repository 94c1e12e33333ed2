/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HTTP/1.1 (RFC 9110, 9112) as far as a web page with a WebSocket (RFC 6455) needs it: requests
 * without a body, read from memory. No I/O. Any thread.
 */
#ifndef POSADA_HTTP_H
#define POSADA_HTTP_H

#include <stdbool.h>
#include <stddef.h>

enum { HTTP_HEADER_MOST = 16384, HTTP_PATH_MOST = 256, HTTP_HOST_MOST = 256 };

struct http_request {
	bool head; /* HEAD, not GET */
	bool keep_alive;
	bool websocket; /* asks to become one */
	char path[HTTP_PATH_MOST]; /* decoded, without a query; begins with '/' */
	char host[HTTP_HOST_MOST];
	char origin[HTTP_HOST_MOST + 8]; /* "": none */
};

/* Bytes of the header at the start of buf, with the empty line; 0: it is not complete. */
size_t http_header_end(const char *buf, size_t len);
/* A complete header. 0, or the status to answer with. */
int http_parse(const char *header, size_t len, struct http_request *r);

/*
 * Against DNS rebinding: a name that a page's owner can make mean this host is not answered.
 * Literal addresses, "localhost" and `also` (may be NULL) are, with any port.
 */
bool http_host_allowed(const char *host, const char *also);
/* Of a WebSocket: only the page that came from here may open one. */
bool http_origin_allowed(const char *origin, const char *host);

/* Whether a path can only be that of a file below a directory: nothing hidden, nothing odd. */
bool http_path_is_plain(const char *path);
/* Of a file, by its name's end; NULL: not one that is served. */
const char *http_content_type(const char *path);

struct http_answer {
	int status;
	const char *type;
	size_t length;
	bool keep_alive;
	const char *host; /* the request's, allowed; NULL: unknown */
};

enum { HTTP_ANSWER_MOST = 2048 };
/* The header; its length. */
size_t http_answer(const struct http_answer *a, char out[HTTP_ANSWER_MOST]);
const char *http_reason(int status);

#endif
