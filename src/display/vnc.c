/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -display vnc and -vnc: listens, and hands connections to the RFB server (rfb.h). Display D
 * is TCP port 5900 + D. Who says no host gets localhost. Main loop.
 */
#include "vnc.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "display_class.h"
#include "err.h"
#include "log.h"
#include "loop.h"
#include "opts.h"
#include "port_owner.h"
#include "props.h"
#include "rfb.h"
#include "secret.h"

enum {
	PORT = 5900,
	WEBSOCKET_PORT = 5700,
	DISPLAY_MOST = 65535 - PORT,
	TRIED = 99, /* the last display tried when none is named */
	LISTENERS = 8,
	ACCEPT_AGAIN_NS = 1000000000,
};

enum share { SHARE_EXCLUSIVE, SHARE_IGNORE };

struct listener {
	struct vnc *vnc;
	struct loop_fd fd;
	bool websocket;
};

struct vnc {
	struct display display;
	char *address, *secret, *websocket;
	bool password;
	int share;
	uint32_t to;

	struct rfb *rfb; /* NULL: "none" */
	char *host; /* NULL: localhost */
	const char *path; /* of a unix socket, or NULL */
	struct stat made; /* the socket file */
	unsigned number; /* the display's */
	unsigned port, websocket_port; /* 0: none */
	bool loopback; /* nobody else can connect */
	char name[INET6_ADDRSTRLEN + 20], family[8]; /* where it listens first */
	struct listener listener[LISTENERS];
	unsigned n_listeners;
	struct loop_timer again; /* after the host had no descriptor for a connection */
	struct vnc *next;
};

static struct vnc *servers;

static const char *const shares[] = { "allow-exclusive", "ignore", NULL };

static const struct prop props[] = {
	PROP(struct vnc, address, PROP_STR, "address", NULL,
	     "HOST:D (port 5900 + D), :D for localhost, unix:PATH, or none"),
	PROP(struct vnc, password, PROP_BOOL, "password", "off",
	     "ask for a password, which the monitor's set_password sets"),
	PROP(struct vnc, secret, PROP_STR, "password-secret", NULL,
	     "id of the -object secret that is the password"),
	PROP(struct vnc, websocket, PROP_STR, "websocket", NULL,
	     "on: also listen for browsers, on port 5700 + D; or a port"),
	PROP_RANGE(struct vnc, to, PROP_U32, "to", NULL, 0, DISPLAY_MOST,
		   "when a port is taken, try further displays up to this one"),
	PROP_CHOICE(struct vnc, share, "share", "allow-exclusive", shares,
		    "whether a client that wants to be alone ends the others' connections"),
	PROP_END
};

/* --- connections -------------------------------------------------------------------------------
 */

static void on_listen(void *ctx, uint32_t events)
{
	struct listener *l = ctx;
	struct vnc *v = l->vnc;
	int fd = accept4(l->fd.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		rfb_add_client(v->rfb, fd, l->websocket);
		return;
	}
	if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
		return;
	/* Out of descriptors or memory: it waits in the kernel meanwhile. */
	for (unsigned i = 0; i < v->n_listeners; i++)
		loop_fd_mod(&v->listener[i].fd, 0);
	loop_timer_set(&v->again, loop_now_ns() + ACCEPT_AGAIN_NS);
}

static void listen_again(void *ctx)
{
	struct vnc *v = ctx;

	for (unsigned i = 0; i < v->n_listeners; i++)
		loop_fd_mod(&v->listener[i].fd, EPOLLIN);
}

static int add_listener(struct vnc *v, int fd, bool websocket)
{
	struct listener *l = &v->listener[v->n_listeners];
	int rc = v->n_listeners == LISTENERS ? -ENOSPC : 0;

	if (!rc && listen(fd, 16))
		rc = -errno;
	if (!rc)
		rc = loop_fd_add(v->display.loop, &l->fd, fd, EPOLLIN, on_listen, l);
	if (rc)
		return rc;
	l->vnc = v;
	l->websocket = websocket;
	v->n_listeners++;
	return 0;
}

static void close_listeners(struct vnc *v)
{
	while (v->n_listeners) {
		struct listener *l = &v->listener[--v->n_listeners];
		int fd = l->fd.fd;

		loop_fd_del(&l->fd);
		close(fd);
	}
}

/* --- TCP
 * ------------------------------------------------------------------------------------------ */

static bool is_loopback(const struct sockaddr *a)
{
	if (a->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
	return a->sa_family == AF_INET6 &&
	       IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static int bind_tcp(struct vnc *v, const struct addrinfo *a, bool websocket)
{
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1,
	    rc = 0;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a->ai_family == AF_INET6) /* the other family has a socket of its own */
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, a->ai_addr, a->ai_addrlen))
		rc = -errno;
	rc = rc ? rc : add_listener(v, fd, websocket);
	if (rc)
		close(fd);
	return rc;
}

static void remember(struct vnc *v, const struct addrinfo *a)
{
	if (!*v->family) {
		getnameinfo(a->ai_addr, a->ai_addrlen, v->name, sizeof(v->name), NULL, 0,
			    NI_NUMERICHOST);
		strcpy(v->family, a->ai_family == AF_INET6 ? "ipv6" : "ipv4");
	}
	v->loopback &= is_loopback(a->ai_addr);
}

/* On all addresses that the host's name stands for, but those of a family this host has not. */
static int listen_tcp(struct vnc *v, unsigned port, bool websocket, struct err *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *found;
	char service[8], owner[80];
	unsigned bound = 0;
	int rc;

	snprintf(service, sizeof(service), "%u", port);
	rc = getaddrinfo(v->host, service, &hints, &found);
	if (rc) {
		err_set(e, ERR_INPUT, EHOSTUNREACH, "host '%s': %s",
			v->host ? v->host : "localhost",
			rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
		err_hint(e, "write a name that this host can resolve, or one of its addresses");
		return -EHOSTUNREACH;
	}
	rc = -EADDRNOTAVAIL;
	for (struct addrinfo *a = found; a && rc != -EADDRINUSE; a = a->ai_next) {
		int one = bind_tcp(v, a, websocket);

		if (!one) {
			bound++;
			remember(v, a);
		}
		rc = one == -EADDRINUSE || !bound ? one : 0;
	}
	freeaddrinfo(found);
	if (!rc)
		return 0;
	err_set(e, ERR_INPUT, -rc, "cannot listen on port %u of %s: %s", port,
		v->host ? v->host : "localhost", strerror(-rc));
	if (rc == -EADDRINUSE && port_owner(port, owner, sizeof(owner)))
		err_hint(e, "%s has it; choose another display, or let to=%d find one", owner,
			 TRIED);
	else if (rc == -EADDRINUSE)
		err_hint(e, "another program has it; choose another display, or let to=%d find one",
			 TRIED);
	return rc;
}

static int listen_display(struct vnc *v, unsigned number, struct err *e)
{
	unsigned websocket = v->websocket_port;
	int rc;

	if (v->websocket && !websocket)
		websocket = WEBSOCKET_PORT + number;
	v->loopback = true;
	v->family[0] = 0;
	rc = listen_tcp(v, PORT + number, false, e);
	if (!rc && v->websocket)
		rc = listen_tcp(v, websocket, true, e);
	if (rc) {
		close_listeners(v);
		return rc;
	}
	v->port = PORT + number;
	v->websocket_port = v->websocket ? websocket : 0;
	return 0;
}

static void warn_of_others(const struct vnc *v)
{
	if (v->loopback || v->password || v->secret)
		return;
	log_warn(
		"-vnc %s: there is no password, and who can connect to this host can use the guest",
		v->address);
	log_note("add password=on or password-secret=ID, or listen on localhost: -vnc :%u",
		 v->port - PORT);
}

/* HOST:D, in v->host and v->number. */
static int parse_tcp(struct vnc *v, struct err *e)
{
	const char *colon = strrchr(v->address, ':');
	uint64_t number;
	size_t n = colon ? (size_t)(colon - v->address) : 0;

	if (!colon || parse_u64(colon + 1, &number, NULL)) {
		err_set(e, ERR_USAGE, EINVAL, "'%s' is not HOST:D with a display's number D",
			v->address);
		err_hint(e, ":0 is display 0 of localhost, port %d; also unix:PATH and none", PORT);
		return -EINVAL;
	}
	if (number > DISPLAY_MOST)
		return err_set(e, ERR_USAGE, ERANGE,
			       "display %llu: there are ports for displays 0 to %d",
			       (unsigned long long)number, DISPLAY_MOST);
	v->number = (unsigned)number;
	/* RFC 6761, 6.3: localhost is the loopback address, whatever a resolver says. */
	if (!n || (n == 9 && !strncasecmp(v->address, "localhost", n)))
		return 0;
	if (v->address[0] == '[' && v->address[n - 1] == ']')
		v->host = strndup(v->address + 1, n - 2);
	else
		v->host = strndup(v->address, n);
	return v->host ? 0 : err_set(e, ERR_HOST, ENOMEM, "out of memory");
}

/* "on", "off", or a port. */
static int parse_websocket(struct vnc *v, struct err *e)
{
	uint64_t port;
	bool on;

	if (!v->websocket)
		return 0;
	if (!parse_u64(v->websocket, &port, NULL) && port > 1) {
		v->websocket_port = (unsigned)port;
		if (port <= 65535)
			return 0;
	} else if (!parse_bool(v->websocket, &on, NULL)) {
		if (!on) {
			free(v->websocket);
			v->websocket = NULL;
		}
		return 0;
	}
	return err_set(e, ERR_USAGE, EINVAL, "websocket=%s: 'on', or a port up to 65535",
		       v->websocket);
}

static int start_tcp(struct vnc *v, struct err *e)
{
	bool anywhere = !v->address, found = false;
	uint32_t last;
	int rc = anywhere ? 0 : parse_tcp(v, e);

	rc = rc ? rc : parse_websocket(v, e);
	if (rc)
		return rc;
	last = anywhere && !v->to ? TRIED : v->to;
	for (unsigned d = v->number; !found; d++) {
		rc = listen_display(v, d, e);
		if (rc && (rc != -EADDRINUSE || d >= last))
			return rc;
		found = !rc;
	}
	if (anywhere || v->port != PORT + v->number)
		log_note("VNC: display :%u, port %u", v->port - PORT, v->port);
	warn_of_others(v);
	return 0;
}

/* --- unix sockets
 * ----------------------------------------------------------------------------------- */

/* A socket on which nobody listens any more. */
static bool is_dead(const struct sockaddr_un *un)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct stat st;
	bool dead;

	dead = fd >= 0 && !lstat(un->sun_path, &st) && S_ISSOCK(st.st_mode) &&
	       connect(fd, (const struct sockaddr *)un, sizeof(*un)) && errno == ECONNREFUSED;
	if (fd >= 0)
		close(fd);
	return dead;
}

static int start_unix(struct vnc *v, const char *path, struct err *e)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd, rc = 0;

	if (!*path || strlen(path) >= sizeof(un.sun_path))
		return err_set(e, ERR_USAGE, ENAMETOOLONG,
			       "the path of a unix socket has 1 to %zu bytes",
			       sizeof(un.sun_path) - 1);
	if (v->websocket || v->to)
		return err_set(e, ERR_USAGE, EINVAL, "%s is for TCP ports",
			       v->to ? "to=" : "websocket=");
	strcpy(un.sun_path, path);
	if (is_dead(&un))
		unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&un, sizeof(un)))
		rc = -errno;
	if (!rc && !stat(path, &v->made))
		v->path = path;
	rc = rc ? rc : add_listener(v, fd, false);
	if (rc) {
		err_set(e, ERR_INPUT, -rc, "cannot make the socket '%s': %s", path, strerror(-rc));
		if (rc == -EADDRINUSE)
			err_hint(e, "it is there already, and somebody listens or it is no socket");
		if (fd >= 0)
			close(fd);
		return rc;
	}
	strcpy(v->family, "unix");
	return 0;
}

/* Not what somebody else has put there meanwhile. */
static void remove_socket(const struct vnc *v)
{
	struct stat st;

	if (v->path && !stat(v->path, &st) && st.st_ino == v->made.st_ino &&
	    st.st_dev == v->made.st_dev)
		unlink(v->path);
}

/* --- the display
 * --------------------------------------------------------------------------------------- */

/* *out is malloc'd; without the newline that ends most files. */
static int find_password(const struct vnc *v, char **out, struct err *e)
{
	const void *data;
	size_t n;

	*out = NULL;
	if (!v->secret)
		return 0;
	if (secret_get(v->secret, &data, &n, NULL)) {
		err_set(e, ERR_USAGE, ENOENT, "password-secret=%s: no secret has this name",
			v->secret);
		err_hint(e, "add -object secret,id=%s,file=PATH", v->secret);
		return -ENOENT;
	}
	n -= n && ((const char *)data)[n - 1] == '\n';
	if (!n || memchr(data, 0, n))
		return err_set(e, ERR_INPUT, EINVAL, "password-secret=%s: %s", v->secret,
			       n ? "a password has no zero bytes" : "the secret is empty");
	*out = strndup(data, n);
	return *out ? 0 : err_set(e, ERR_HOST, ENOMEM, "out of memory");
}

static int create_server(struct vnc *v, struct err *e)
{
	struct rfb_opts o = {
		.name = "Posada",
		.layout = v->display.layout,
		.need_password = v->password || v->secret,
		.exclusive = v->share == SHARE_EXCLUSIVE,
	};
	char *password;
	int rc = find_password(v, &password, e);

	if (rc)
		return rc;
	o.password = password;
	rc = rfb_create(v->display.m, v->display.loop, &o, &v->rfb, e);
	if (password)
		explicit_bzero(password, strlen(password));
	free(password);
	return rc;
}

static int start(struct display *d, struct err *e)
{
	struct vnc *v = (struct vnc *)d;
	int rc = 0;

	loop_timer_init(&v->again, d->loop, listen_again, v);
	v->next = servers;
	servers = v;
	if (v->address && !*v->address) {
		free(v->address);
		v->address = NULL;
	}
	if (v->address && !strcmp(v->address, "none"))
		return 0;
	rc = create_server(v, e);
	if (rc)
		return rc;
	return v->address && !strncmp(v->address, "unix:", 5) ? start_unix(v, v->address + 5, e)
							      : start_tcp(v, e);
}

static void stop(struct display *d)
{
	struct vnc *v = (struct vnc *)d;
	struct vnc **at = &servers;

	while (*at && *at != v)
		at = &(*at)->next;
	if (!*at)
		return; /* it has not been started */
	*at = v->next;
	close_listeners(v);
	loop_timer_cancel(&v->again);
	rfb_destroy(v->rfb);
	remove_socket(v);
	free(v->host);
}

const struct display_class display_vnc = {
	.name = "vnc",
	.desc = "a server for VNC clients, and for browsers by websocket=on",
	.address = "address",
	.props = props,
	.size = sizeof(struct vnc),
	.start = start,
	.stop = stop,
};

/* --- for the monitor
 * ------------------------------------------------------------------------------------- */

bool vnc_info(unsigned i, struct vnc_info *out)
{
	const struct vnc *v = servers;

	while (v && i--)
		v = v->next;
	if (!v)
		return false;
	*out = (struct vnc_info){
		.address = v->path  ? v->path
			   : v->rfb ? v->name
				    : NULL,
		.port = v->port,
		.websocket = v->websocket_port,
		.family = v->family,
		.password = v->password || v->secret,
		.rfb = v->rfb,
	};
	return true;
}

int vnc_set_password(const char *password, struct err *e)
{
	bool any = false;

	for (struct vnc *v = servers; v; v = v->next) {
		if (!v->rfb)
			continue;
		rfb_set_password(v->rfb, password);
		v->password = any = true;
	}
	if (any)
		return 0;
	err_set(e, ERR_USAGE, ENODEV, "there is no VNC server");
	err_hint(e, "-vnc :0 starts one");
	return -ENODEV;
}
