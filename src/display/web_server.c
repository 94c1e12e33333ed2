/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The web display's server: see web.h. A request is looked at where it lies, in the socket
 * (MSG_PEEK), until its header is complete: a WebSocket's goes to its server unread. No
 * connection makes the loop wait, and each costs one struct and at most one open file.
 * Main loop.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "http.h"
#include "loop.h"
#include "web.h"

enum { CONNECTIONS_MOST = 16, STEP = 65536, FILE_MOST = 16 << 20, REASON_MOST = 256 };
/* For a header, or until the next request; and for an answer to be taken. */
#define READ_NS 20000000000ull
#define SEND_NS 60000000000ull
#define RETRY_NS 1000000000ull

struct connection {
	struct web_server *server;
	struct connection *next;
	struct loop_fd fd;
	struct loop_timer timer;
	bool keep_alive;
	/* The answer: its header, then a page of ours or a file. */
	char head[HTTP_ANSWER_MOST + REASON_MOST];
	size_t head_len, head_at;
	const char *body;
	size_t body_left;
	int file; /* or -1 */
};

struct web_server {
	struct loop *loop;
	const struct web_site *site;
	struct loop_fd listen;
	struct loop_timer retry; /* the host had no room for a connection */
	struct connection *connections;
	unsigned n;
	char header[HTTP_HEADER_MOST]; /* the one that is being looked at */
};

int web_open(int dir, const char *path)
{
	int at = dir, fd;
	char name[HTTP_PATH_MOST];

	do {
		size_t len = strcspn(++path, "/");
		bool last = !path[len];

		if (len >= sizeof(name))
			return -ENAMETOOLONG;
		memcpy(name, path, len);
		name[len] = '\0';
		path += len;
		fd = openat(at, name,
			    O_NOFOLLOW | O_CLOEXEC |
				    (last ? O_RDONLY | O_NONBLOCK | O_NOCTTY
					  : O_PATH | O_DIRECTORY));
		fd = fd < 0 ? -errno : fd;
		if (at != dir)
			close(at);
		at = fd;
	} while (fd >= 0 && *path);
	return fd;
}

/* --- a connection's end --------------------------------------------------------------------- */

static void unlink_connection(struct connection *c)
{
	struct connection **at = &c->server->connections;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	c->server->n--;
	loop_fd_del(&c->fd);
	loop_timer_cancel(&c->timer);
	if (c->file >= 0)
		close(c->file);
}

/* What was sent and not read would make the other side lose our answer: it is read away. */
static void end(struct connection *c)
{
	struct web_server *w = c->server;
	int fd = c->fd.fd;

	unlink_connection(c);
	free(c);
	shutdown(fd, SHUT_WR);
	for (unsigned i = 0; i < 16; i++)
		if (recv(fd, w->header, sizeof(w->header), MSG_DONTWAIT) <= 0)
			break;
	close(fd);
}

static void on_timeout(void *ctx)
{
	end(ctx);
}

/* --- answers -----------------------------------------------------------------------------------
 */

static void watch(struct connection *c, uint32_t events, uint64_t ns)
{
	if (loop_fd_mod(&c->fd, events))
		end(c);
	else
		loop_timer_set(&c->timer, loop_now_ns() + ns);
}

/* Edge-triggered, since what is looked at stays in the socket. */
static void read_next(struct connection *c)
{
	watch(c, EPOLLIN | EPOLLRDHUP | EPOLLET, READ_NS);
}

static void send_answer(struct connection *c, const struct http_request *r, struct http_answer *a)
{
	c->keep_alive = a->keep_alive = r->keep_alive;
	a->host = r->host;
	c->head_len = http_answer(a, c->head);
	c->head_at = 0;
	c->body_left = r->head ? 0 : a->length;
	watch(c, EPOLLOUT, SEND_NS);
}

/* With a line that says why not, which is put behind the header. */
static void refuse(struct connection *c, const struct http_request *r, int status, const char *why)
{
	char text[REASON_MOST];
	struct http_answer a = { .status = status, .type = "text/plain; charset=utf-8" };

	a.length = (size_t)snprintf(text, sizeof(text), "%d %s%s%s\n", status, http_reason(status),
				    why ? ": " : "", why ? why : "");
	c->keep_alive = false;
	c->head_len = http_answer(&a, c->head);
	c->head_at = 0;
	c->body_left = 0;
	if (!r->head) {
		memcpy(c->head + c->head_len, text, a.length);
		c->head_len += a.length;
	}
	watch(c, EPOLLOUT, SEND_NS);
}

static void send_file(struct connection *c, const struct http_request *r)
{
	struct http_answer a = { .status = 200, .type = http_content_type(r->path) };
	int fd = a.type && http_path_is_plain(r->path) ? web_open(c->server->site->dir, r->path)
						       : -ENOENT;
	struct stat st;

	if (fd < 0) {
		refuse(c, r, 404, "there is no such file");
		return;
	}
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > FILE_MOST) {
		close(fd);
		refuse(c, r, 404, "there is no such file");
		return;
	}
	c->file = fd;
	a.length = (size_t)st.st_size;
	send_answer(c, r, &a);
}

static void answer(struct connection *c, const struct http_request *r)
{
	const struct web_page *page = web_page_find(r->path);
	struct http_answer a = { .status = 200, .type = "text/html; charset=utf-8" };

	c->body = NULL;
	if (!http_host_allowed(r->host, c->server->site->host)) {
		refuse(c, r, 403,
		       "use http://localhost and the port, or a numeric address, or name the host: "
		       "-display web=HOST:PORT");
	} else if (!strcmp(r->path, "/websockify")) {
		/* Nobody else can be here: others were handed over. */
		refuse(c, r, r->websocket ? 403 : 426,
		       r->websocket
			       ? "this WebSocket is for the page that comes from the same address"
			       : "this address is for the page's WebSocket");
	} else if (page) {
		c->body = page->data;
		a.length = page->len;
		if (strcmp(r->path, "/"))
			a.type = http_content_type(r->path);
		send_answer(c, r, &a);
	} else {
		send_file(c, r);
	}
}

/* --- requests ------------------------------------------------------------------------------------
 */

static bool is_our_websocket(const struct connection *c, const struct http_request *r)
{
	return r->websocket && !strcmp(r->path, "/websockify") &&
	       http_host_allowed(r->host, c->server->site->host) &&
	       http_origin_allowed(r->origin, r->host);
}

static void hand_over(struct connection *c)
{
	const struct web_site *site = c->server->site;
	int fd = c->fd.fd;

	unlink_connection(c);
	free(c);
	site->websocket(site->ctx, fd);
}

static void look(struct connection *c, bool last)
{
	struct web_server *w = c->server;
	struct http_request r = { 0 };
	ssize_t n = recv(c->fd.fd, w->header, sizeof(w->header), MSG_PEEK | MSG_DONTWAIT);
	size_t len = n > 0 ? http_header_end(w->header, (size_t)n) : 0;
	int status;

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) || (!len && last)) {
		end(c);
		return;
	}
	if (!len && n < (ssize_t)sizeof(w->header))
		return;
	status = len ? http_parse(w->header, len, &r) : 431;
	if (!status && is_our_websocket(c, &r)) {
		hand_over(c);
		return;
	}
	/* The same bytes again, and now they are gone. */
	if (recv(c->fd.fd, w->header, len ? len : (size_t)n, MSG_DONTWAIT) <= 0) {
		end(c);
		return;
	}
	if (status)
		refuse(c, &r, status, NULL);
	else
		answer(c, &r);
}

/* One step of sending: what is sent, 0 when all is, or -1 when there is no more use in it. */
static ssize_t send_some(struct connection *c)
{
	size_t step = c->body_left < STEP ? c->body_left : STEP;
	ssize_t n;

	if (c->head_at < c->head_len) {
		n = send(c->fd.fd, c->head + c->head_at, c->head_len - c->head_at,
			 MSG_NOSIGNAL | MSG_DONTWAIT | (c->body_left ? MSG_MORE : 0));
		c->head_at += n > 0 ? (size_t)n : 0;
		return n;
	}
	if (!step)
		return 0;
	if (c->body)
		n = send(c->fd.fd, c->body, step, MSG_NOSIGNAL | MSG_DONTWAIT);
	else
		n = sendfile(c->fd.fd, c->file, NULL, step);
	if (n > 0) {
		c->body_left -= (size_t)n;
		c->body += c->body ? n : 0;
	}
	if (!n) { /* the file has become shorter */
		errno = EIO;
		return -1;
	}
	return n;
}

static void go_on_sending(struct connection *c)
{
	ssize_t n = send_some(c);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		end(c);
	} else if (!n) {
		if (c->file >= 0)
			close(c->file);
		c->file = -1;
		if (c->keep_alive)
			read_next(c);
		else
			end(c);
	}
}

static void on_connection(void *ctx, uint32_t events)
{
	struct connection *c = ctx;

	if (c->fd.events & EPOLLOUT)
		go_on_sending(c);
	else
		look(c, events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
}

/* --- connections ---------------------------------------------------------------------------------
 */

/* Who waits for the longest time makes room. */
static void make_room(struct web_server *w)
{
	struct connection *oldest = w->connections;

	for (struct connection *c = w->connections; c; c = c->next)
		if (c->timer.deadline < oldest->timer.deadline)
			oldest = c;
	end(oldest);
}

static void on_retry(void *ctx)
{
	struct web_server *w = ctx;

	if (loop_fd_mod(&w->listen, EPOLLIN))
		loop_timer_set(&w->retry, loop_now_ns() + RETRY_NS);
}

static void on_accept(void *ctx, uint32_t events)
{
	struct web_server *w = ctx;
	int fd = accept4(w->listen.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct connection *c = fd < 0 ? NULL : calloc(1, sizeof(*c));

	if (!c) {
		bool gone = fd < 0 && (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR);

		if (fd >= 0)
			close(fd);
		if (!gone) { /* it would be told of the same connection again and again */
			loop_fd_mod(&w->listen, 0);
			loop_timer_set(&w->retry, loop_now_ns() + RETRY_NS);
		}
		return;
	}
	if (w->n == CONNECTIONS_MOST)
		make_room(w);
	*c = (struct connection){ .server = w, .next = w->connections, .file = -1 };
	loop_timer_init(&c->timer, w->loop, on_timeout, c);
	w->connections = c;
	w->n++;
	if (loop_fd_add(w->loop, &c->fd, fd, EPOLLIN | EPOLLRDHUP | EPOLLET, on_connection, c))
		end(c);
	else
		loop_timer_set(&c->timer, loop_now_ns() + READ_NS);
}

int web_server_create(struct loop *l, int listen_fd, const struct web_site *site,
		      struct web_server **out, struct err *e)
{
	struct web_server *w = calloc(1, sizeof(*w));
	int rc;

	if (!w)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	w->loop = l;
	w->site = site;
	loop_timer_init(&w->retry, l, on_retry, w);
	rc = loop_fd_add(l, &w->listen, listen_fd, EPOLLIN, on_accept, w);
	if (rc) {
		free(w);
		return err_set(e, ERR_HOST, -rc, "cannot wait for connections: %s", strerror(-rc));
	}
	*out = w;
	return 0;
}

void web_server_destroy(struct web_server *w)
{
	if (!w)
		return;
	loop_timer_cancel(&w->retry);
	loop_fd_del(&w->listen);
	while (w->connections)
		end(w->connections);
	free(w);
}
