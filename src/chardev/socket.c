/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The socket backend: a Unix (unix(7)) or TCP (tcp(7)) stream, as server or
 * client. A server has one peer at a time; the next waits in the kernel's
 * queue until the first has gone. A client may try again when it lost its
 * server (reconnect=).
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "chardev_int.h"
#include "err.h"
#include "log.h"
#include "opts.h"

/* A connection that takes longer to make at start is an error, milliseconds. */
#define CONNECT_MS 30000
#define ACCEPT_RETRY_NS 1000000000u

struct sock {
	struct chardev c;
	char *path, *host, *port;
	bool server, wait, nodelay;
	uint32_t reconnect; /* seconds, 0: never */

	/* Where to: un for a path, what getaddrinfo found otherwise. next: to try next. */
	struct sockaddr_un un;
	struct addrinfo un_info, *resolved, *addrs, *next;

	int listen_fd; /* of a server, or the connection that a client is making; -1 */
	int fd; /* to the peer, -1 */
	struct loop_fd listen;
	struct loop_timer retry;
	struct stat made; /* the socket file we made, when unlink_path */
	bool unlink_path;
};

/* --- the peer comes and goes ----------------------------------------------- */

static void set_peer(struct sock *s, int fd)
{
	int on = s->nodelay;

	if (s->addrs->ai_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	s->fd = fd;
	chardev_connect(&s->c, fd, fd);
}

static void peer_gone(struct chardev *c)
{
	struct sock *s = (struct sock *)c;

	if (s->fd < 0)
		return;
	chardev_disconnect(c);
	close(s->fd);
	s->fd = -1;
	if (s->server)
		loop_fd_mod(&s->listen, EPOLLIN);
	else if (s->reconnect)
		loop_timer_set(&s->retry, loop_now_ns() + s->reconnect * 1000000000ull);
}

static void sock_write_failed(struct chardev *c, int error)
{
	int unread = 0;

	/*
	 * Who sends "quit" and closes at once must be heard, though our answer
	 * finds nobody: what is left to read is read, and its end ends the connection.
	 */
	if (!ioctl(c->in_fd, FIONREAD, &unread) && unread && chardev_input_room(c))
		chardev_end_output(c);
	else
		peer_gone(c);
}

static ssize_t sock_write(struct chardev *c, const void *buf, size_t len)
{
	ssize_t n;

	if (c->out_fd < 0)
		return (ssize_t)len;
	do
		n = send(c->out_fd, buf, len, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int accept_peer(struct sock *s)
{
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return -errno; /* it has hung up already */
	set_peer(s, fd);
	return 0;
}

static void on_listen(void *ctx, uint32_t events)
{
	struct sock *s = ctx;
	int rc = accept_peer(s);

	if (rc == -EAGAIN || rc == -ECONNABORTED)
		return;
	loop_fd_mod(&s->listen, 0);
	if (rc) /* out of descriptors or memory: do not spin on it */
		loop_timer_set(&s->retry, loop_now_ns() + ACCEPT_RETRY_NS);
}

static void listen_again(void *ctx)
{
	struct sock *s = ctx;

	loop_fd_mod(&s->listen, EPOLLIN);
}

/* --- addresses ------------------------------------------------------------- */

static int unix_address(struct sock *s, struct err *e)
{
	if (strlen(s->path) >= sizeof(s->un.sun_path)) {
		err_set(e, ERR_USAGE, ENAMETOOLONG, "path=%s: %zu bytes are too long for a socket",
			s->path, strlen(s->path));
		err_hint(e, "Linux takes at most %zu bytes; use a shorter directory",
			 sizeof(s->un.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	s->un.sun_family = AF_UNIX;
	strcpy(s->un.sun_path, s->path);
	s->un_info = (struct addrinfo){
		.ai_family = AF_UNIX,
		.ai_socktype = SOCK_STREAM,
		.ai_addr = (struct sockaddr *)&s->un,
		.ai_addrlen = sizeof(s->un),
	};
	s->addrs = &s->un_info;
	return 0;
}

static int tcp_address(struct sock *s, struct err *e)
{
	const char *host = s->host && *s->host ? s->host : NULL;
	struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | (s->server ? AI_PASSIVE : 0),
	};
	uint64_t port;
	int rc;

	if (!s->port)
		return err_set(e, ERR_USAGE, EINVAL, "port= is missing");
	if (parse_u64(s->port, &port, NULL) || port > 65535 || (!port && !s->server))
		return err_set(e, ERR_USAGE, EINVAL, "port=%s is not between 1 and 65535", s->port);
	/* RFC 6761, 6.3: localhost is the loopback address, also where no /etc/hosts says so. */
	if (host && !strcasecmp(host, "localhost")) {
		host = NULL;
		hints.ai_flags &= ~AI_PASSIVE;
	}
	rc = getaddrinfo(host, s->port, &hints, &s->resolved);
	if (rc) {
		err_set(e, ERR_INPUT, EHOSTUNREACH, "host=%s: %s", host ? host : "",
			rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
		err_hint(e, "write a name that this host can resolve, or an address");
		return -EHOSTUNREACH;
	}
	s->addrs = s->resolved;
	return 0;
}

/* "tcp:[::1]:4444", as the user would write it. */
static void describe(struct sock *s)
{
	const char *kind = s->server ? ",server=on" : "";
	const char *host = s->host ? s->host : "";
	bool colons = strchr(host, ':') != NULL;

	if (s->path)
		snprintf(s->c.desc, sizeof(s->c.desc), "unix:%s%s", s->path, kind);
	else
		snprintf(s->c.desc, sizeof(s->c.desc), "tcp:%s%s%s:%s%s", colons ? "[" : "", host,
			 colons ? "]" : "", s->port, kind);
}

/* --- waiting during set-up ------------------------------------------------- */

/* Until fd is ready; a signal that asks us to end ends the wait. 0 or -errno. */
static int wait_ready(int fd, short events, int timeout_ms)
{
	struct pollfd pfd[2] = { { .fd = fd, .events = events }, { .events = POLLIN } };
	sigset_t set, old;
	int n;

	/* They may be blocked already, for the main loop to take: it does not run yet. */
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	pfd[1].fd = signalfd(-1, &set, SFD_CLOEXEC);
	do
		n = poll(pfd, 2, timeout_ms);
	while (n < 0 && errno == EINTR);
	if (n > 0 && pfd[1].revents) {
		struct signalfd_siginfo info;

		/* Taken here: the caller gives up, which is what it asks for. */
		if (read(pfd[1].fd, &info, sizeof(info)) < 0)
			n = 0;
	}
	close(pfd[1].fd);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return !n ? -ETIMEDOUT : pfd[1].revents ? -EINTR : 0;
}

/* --- servers --------------------------------------------------------------- */

/* Whether somebody listens on the socket file; otherwise a process left it behind. */
static bool is_alive(const struct sock *s)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool alive;

	if (fd < 0)
		return true;
	alive = !connect(fd, s->addrs->ai_addr, s->addrs->ai_addrlen) || errno != ECONNREFUSED;
	close(fd);
	return alive;
}

/* A socket file is in the way: removes it when it is a dead one. */
static int clear_path(const struct sock *s, struct err *e)
{
	struct stat st;

	if (lstat(s->path, &st) || !S_ISSOCK(st.st_mode)) {
		err_set(e, ERR_INPUT, EEXIST, "'%s' exists and is not a socket", s->path);
		err_hint(e, "remove it, or name another path");
		return -EEXIST;
	}
	if (is_alive(s)) {
		err_set(e, ERR_INPUT, EADDRINUSE, "another process listens on '%s'", s->path);
		err_hint(e, "end it, or name another path");
		return -EADDRINUSE;
	}
	unlink(s->path);
	return 0;
}

static int bind_unix(struct sock *s, const struct addrinfo *a, struct err *e)
{
	int code, rc = bind(s->listen_fd, a->ai_addr, a->ai_addrlen);

	if (rc && errno == EADDRINUSE) {
		rc = clear_path(s, e);
		if (rc)
			return rc;
		rc = bind(s->listen_fd, a->ai_addr, a->ai_addrlen);
	}
	if (rc) {
		code = errno;
		err_set(e, ERR_INPUT, code, "cannot make the socket '%s': %s", s->path,
			strerror(code));
		err_hint(e, "name a path in a directory that exists and that you may write to");
		return -code;
	}
	/* Remembered, so as not to remove what somebody else puts there later. */
	s->unlink_path = !stat(s->path, &s->made);
	return 0;
}

/* With port=0 the kernel has chosen one: say which. */
static void learn_port(struct sock *s)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	char port[16], *copy;

	if (strcmp(s->port, "0") || getsockname(s->listen_fd, (struct sockaddr *)&addr, &len) ||
	    getnameinfo((struct sockaddr *)&addr, len, NULL, 0, port, sizeof(port), NI_NUMERICSERV))
		return;
	copy = strdup(port);
	if (!copy)
		return;
	free(s->port);
	s->port = copy;
	describe(s);
	log_note("chardev %s listens on %s", s->c.id, s->c.desc);
}

static int bind_tcp(struct sock *s, const struct addrinfo *a, struct err *e)
{
	int on = 1, code;

	setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(s->listen_fd, a->ai_addr, a->ai_addrlen)) {
		code = errno;
		err_set(e, ERR_INPUT, code, "cannot listen on %s: %s", s->c.desc, strerror(code));
		if (code == EADDRINUSE)
			err_hint(e, "another program has the port; choose another, or port=0");
		return -code;
	}
	return 0;
}

/* wait=on: no return before a peer is there. */
static int wait_peer(struct sock *s, struct err *e)
{
	int rc;

	log_note("waiting for connection on: %s", s->c.desc);
	do {
		rc = wait_ready(s->listen_fd, POLLIN, -1);
		if (rc) {
			err_set(e, ERR_INPUT, EINTR, "interrupted before anybody connected to %s",
				s->c.desc);
			err_hint(e, "wait=off starts the guest without a peer");
			return -EINTR;
		}
		rc = accept_peer(s);
	} while (rc == -EAGAIN || rc == -ECONNABORTED);
	if (rc)
		err_set(e, ERR_HOST, -rc, "cannot accept a connection on %s: %s", s->c.desc,
			strerror(-rc));
	return rc;
}

static int open_server(struct sock *s, struct err *e)
{
	int rc = -EADDRNOTAVAIL, code;

	for (struct addrinfo *a = s->addrs; a && rc; a = a->ai_next) {
		if (s->listen_fd >= 0)
			close(s->listen_fd);
		s->listen_fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (s->listen_fd < 0) {
			code = errno;
			rc = err_set(e, ERR_HOST, code, "the host refuses a socket: %s",
				     strerror(code));
			continue;
		}
		rc = s->path ? bind_unix(s, a, e) : bind_tcp(s, a, e);
	}
	if (!rc && listen(s->listen_fd, 1)) {
		code = errno;
		rc = err_set(e, ERR_INPUT, code, "cannot listen on %s: %s", s->c.desc,
			     strerror(code));
	}
	if (rc)
		return rc;
	if (!s->path)
		learn_port(s);
	if (s->wait)
		rc = wait_peer(s, e);
	if (rc)
		return rc;
	rc = loop_fd_add(s->c.loop, &s->listen, s->listen_fd, s->wait ? 0 : EPOLLIN, on_listen, s);
	if (rc)
		err_set(e, ERR_HOST, -rc, "cannot wait for connections on %s: %s", s->c.desc,
			strerror(-rc));
	return rc;
}

/* --- clients --------------------------------------------------------------- */

/* A connection on its way, -EINPROGRESS, or made, 0, to the next of the addresses. */
static int begin_connect(struct sock *s)
{
	struct addrinfo *a = s->next ? s->next : s->addrs;

	s->next = a->ai_next;
	s->listen_fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->listen_fd < 0)
		return -errno;
	return connect(s->listen_fd, a->ai_addr, a->ai_addrlen) ? -errno : 0;
}

/* The connection is there or has failed. 0 or -errno. */
static int finish_connect(struct sock *s)
{
	socklen_t len = sizeof(int);
	int error = 0, fd = s->listen_fd;

	s->listen_fd = -1;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len))
		error = errno;
	if (error) {
		close(fd);
		return -error;
	}
	set_peer(s, fd);
	return 0;
}

static void give_up_connect(struct sock *s)
{
	if (s->listen_fd >= 0)
		close(s->listen_fd);
	s->listen_fd = -1;
}

static void retry_later(struct sock *s)
{
	give_up_connect(s);
	loop_timer_set(&s->retry, loop_now_ns() + s->reconnect * 1000000000ull);
}

static void on_connect(void *ctx, uint32_t events)
{
	struct sock *s = ctx;

	loop_fd_del(&s->listen);
	if (finish_connect(s))
		retry_later(s);
}

static void start_connect(void *ctx)
{
	struct sock *s = ctx;
	int rc = begin_connect(s);

	if (rc == -EINPROGRESS)
		rc = loop_fd_add(s->c.loop, &s->listen, s->listen_fd, EPOLLOUT, on_connect, s);
	else if (!rc)
		rc = finish_connect(s);
	if (rc)
		retry_later(s);
}

static int open_client(struct sock *s, struct err *e)
{
	int rc;

	do {
		rc = begin_connect(s);
		if (rc == -EINPROGRESS)
			rc = wait_ready(s->listen_fd, POLLOUT, CONNECT_MS);
		if (!rc)
			rc = finish_connect(s);
		if (rc)
			give_up_connect(s);
	} while (rc && rc != -EINTR && s->next);
	if (!rc)
		return 0;
	if (s->reconnect && rc != -EINTR) {
		retry_later(s);
		return 0;
	}
	err_set(e, ERR_INPUT, -rc, "cannot connect to %s: %s", s->c.desc, strerror(-rc));
	if (rc == -ECONNREFUSED || rc == -ENOENT)
		err_hint(e, "start the program that listens there first, or add server=on to "
			    "listen, or "
			    "reconnect=SECONDS to try again");
	return rc;
}

/* --- the backend ----------------------------------------------------------- */

static int sock_open(struct chardev *c, struct err *e)
{
	struct sock *s = (struct sock *)c;
	int rc;

	s->fd = s->listen_fd = -1;
	loop_timer_init(&s->retry, c->loop, s->server ? listen_again : start_connect, s);
	if (s->path && (s->host || s->port))
		return err_set(e, ERR_USAGE, EINVAL, "path= and host=/port= exclude each other");
	if (!s->host && !s->port && (!s->path || !*s->path))
		return err_set(e, ERR_USAGE, EINVAL, "path=, or host= and port=, are missing");
	if (s->server && s->reconnect)
		return err_set(e, ERR_USAGE, EINVAL,
			       "reconnect= is for clients; a server takes the next peer anyway");
	describe(s);
	rc = s->path ? unix_address(s, e) : tcp_address(s, e);
	if (rc)
		return rc;
	return s->server ? open_server(s, e) : open_client(s, e);
}

static void sock_close(struct chardev *c)
{
	struct sock *s = (struct sock *)c;
	struct stat st;

	loop_timer_cancel(&s->retry);
	loop_fd_del(&s->listen);
	if (s->fd >= 0)
		close(s->fd);
	if (s->listen_fd >= 0)
		close(s->listen_fd);
	if (s->unlink_path && !stat(s->path, &st) && st.st_dev == s->made.st_dev &&
	    st.st_ino == s->made.st_ino)
		unlink(s->path);
	if (s->resolved)
		freeaddrinfo(s->resolved);
}

static const struct prop sock_props[] = {
	CHARDEV_PROPS,
	PROP(struct sock, path, PROP_STR, "path", NULL, "a Unix socket; removed at the end"),
	PROP(struct sock, host, PROP_STR, "host", NULL,
	     "TCP: name or address; servers: default any"),
	PROP(struct sock, port, PROP_STR, "port", NULL,
	     "TCP: port; servers: 0 lets the host choose"),
	PROP(struct sock, server, PROP_BOOL, "server", "off", "listen, do not connect"),
	PROP(struct sock, wait, PROP_BOOL, "wait", "on",
	     "servers: no guest before a peer is there"),
	PROP(struct sock, nodelay, PROP_BOOL, "nodelay", "off", "TCP: send small packets at once"),
	PROP_RANGE(struct sock, reconnect, PROP_U32, "reconnect", "0", 0, 86400,
		   "clients: seconds until the next try; 0: none"),
	PROP_END,
};

const struct chardev_backend chardev_socket = {
	.name = "socket",
	.help = "a Unix or TCP stream socket",
	.size = sizeof(struct sock),
	.props = sock_props,
	.open = sock_open,
	.close = sock_close,
	.write = sock_write,
	.eof = peer_gone,
	.write_failed = sock_write_failed,
};
