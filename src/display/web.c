/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -display web: a page for any web browser, with noVNC's client (package novnc) and the server of
 * rfb.h behind a WebSocket on the same port. It listens on this host alone unless told otherwise.
 * Main loop.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "display_class.h"
#include "err.h"
#include "log.h"
#include "props.h"
#include "rfb.h"
#include "secret.h"
#include "web.h"

enum { PORT_FIRST = 5800, PORT_LAST = 5899, BACKLOG = 16 };

struct web {
	struct display display;
	/* properties */
	char *address, *novnc, *password_secret;

	char host[256]; /* of the address */
	unsigned port; /* of the address; listening on */
	bool any_port; /* the first that is free */
	bool local; /* nobody else can reach it */
	char *password;
	int fd;
	struct web_site site;
	struct web_server *server;
	struct rfb *rfb;
};

/* --- the address ----------------------------------------------------------------------------- */

static int bad_address(const struct web *w, struct err *e)
{
	err_set(e, ERR_USAGE, EINVAL, "address=%s: not HOST:PORT", w->address);
	err_hint(e, "as in -display web=127.0.0.1:5800, web=:8080 or web=[::1]:5800; port 0: one "
		    "that is free");
	return -EINVAL;
}

/* HOST, HOST:PORT, [HOST]:PORT, :PORT or PORT. */
static int parse_address(struct web *w, struct err *e)
{
	const char *a = w->address ? w->address : "", *host = a, *port;
	size_t len;
	char *end;

	if (*a && !a[strspn(a, "0123456789")]) {
		len = 0;
		port = a;
	} else if (*a == '[') {
		host++;
		len = strcspn(host, "]");
		if (!host[len] || !len)
			return bad_address(w, e);
		port = host + len + 1;
	} else {
		len = strcspn(a, ":");
		port = a + len;
	}
	if (len >= sizeof(w->host) || (port != a && *port && *port != ':'))
		return bad_address(w, e);
	snprintf(w->host, sizeof(w->host), "%.*s", len ? (int)len : 9, len ? host : "127.0.0.1");
	w->any_port = !*port;
	if (w->any_port)
		return 0;
	port += *port == ':';
	w->port = (unsigned)strtoul(port, &end, 10);
	if (*port < '0' || *port > '9' || strlen(port) > 5 || *end || w->port > 65535)
		return bad_address(w, e);
	return 0;
}

static int try_port(struct web *w, const struct addrinfo *a, unsigned port)
{
	struct sockaddr_storage sa = { 0 };
	const int one = 1;
	int rc;

	memcpy(&sa, a->ai_addr, a->ai_addrlen);
	if (sa.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&sa)->sin6_port = htons((uint16_t)port);
	else
		((struct sockaddr_in *)&sa)->sin_port = htons((uint16_t)port);
	w->fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (w->fd < 0)
		return -errno;
	setsockopt(w->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (!bind(w->fd, (struct sockaddr *)&sa, a->ai_addrlen) && !listen(w->fd, BACKLOG))
		return 0;
	rc = -errno;
	close(w->fd);
	w->fd = -1;
	return rc;
}

static int listen_at(struct web *w, const struct addrinfo *a, struct err *e)
{
	unsigned last = w->any_port ? PORT_LAST : w->port;
	unsigned port = w->any_port ? PORT_FIRST : w->port;
	int rc;

	do
		rc = try_port(w, a, port);
	while (rc == -EADDRINUSE && port++ < last);
	if (!rc)
		return 0;
	err_set(e, ERR_INPUT, -rc, "cannot listen on %s port %u: %s", w->host, w->port,
		strerror(-rc));
	if (w->any_port)
		err_set(e, ERR_INPUT, -rc, "cannot listen on %s port %d to %d: %s", w->host,
			PORT_FIRST, PORT_LAST, strerror(-rc));
	if (rc == -EADDRINUSE)
		err_hint(e,
			 "another program has the port; without one the first that is free is "
			 "taken: -display web=%s",
			 w->host);
	return rc;
}

/* What people will type, and whether others than this host's can. */
static void look_at_address(struct web *w)
{
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_storage storage;
	} a;
	socklen_t len = sizeof(a);
	bool any;

	if (getsockname(w->fd, &a.sa, &len))
		return;
	if (a.sa.sa_family == AF_INET6) {
		w->port = ntohs(a.in6.sin6_port);
		w->local = IN6_IS_ADDR_LOOPBACK(&a.in6.sin6_addr);
		any = IN6_IS_ADDR_UNSPECIFIED(&a.in6.sin6_addr);
	} else {
		w->port = ntohs(a.in.sin_port);
		w->local = ntohl(a.in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
		any = a.in.sin_addr.s_addr == htonl(INADDR_ANY);
	}
	if (any)
		snprintf(w->host, sizeof(w->host), "%s",
			 a.sa.sa_family == AF_INET ? "127.0.0.1" : "::1");
}

static int start_listening(struct web *w, struct err *e)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC,
					.ai_socktype = SOCK_STREAM,
					.ai_flags = AI_PASSIVE };
	struct addrinfo *a;
	int rc = getaddrinfo(w->host, NULL, &hints, &a);

	if (rc) {
		err_set(e, ERR_INPUT, ENOENT, "address=%s: %s", w->address,
			rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
		return -ENOENT;
	}
	rc = listen_at(w, a, e);
	freeaddrinfo(a);
	return rc;
}

/* --- what it needs ------------------------------------------------------------------------- */

static int open_novnc(struct web *w, struct err *e)
{
	static const char file[] = "/core/rfb.js";
	int fd;

	w->site.dir = open(w->novnc, O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = w->site.dir < 0 ? -errno : web_open(w->site.dir, file);
	if (fd >= 0) {
		close(fd);
		return 0;
	}
	err_set(e, ERR_UNAVAILABLE, -fd, "cannot read noVNC, the page's client: %s%s: %s", w->novnc,
		w->site.dir < 0 ? "" : file, strerror(-fd));
	err_hint(e, "install the package novnc, or name the directory where it is: "
		    "-display web,novnc=DIRECTORY");
	return fd;
}

static int take_password(struct web *w, struct err *e)
{
	const void *data;
	size_t len;
	int rc;

	if (!w->password_secret)
		return 0;
	rc = secret_get(w->password_secret, &data, &len, e);
	if (rc) {
		err_prefix(e, "password-secret=%s: ", w->password_secret);
		return rc;
	}
	len -= len && ((const char *)data)[len - 1] == '\n'; /* as most files end */
	if (!len || memchr(data, 0, len))
		return err_set(e, ERR_INPUT, EINVAL, "password-secret=%s: the secret is %s",
			       w->password_secret, len ? "not text" : "empty");
	w->password = strndup(data, len);
	return w->password ? 0 : err_set(e, ERR_HOST, ENOMEM, "out of memory");
}

/* --- the display ----------------------------------------------------------------------------- */

static void on_websocket(void *ctx, int fd)
{
	struct web *w = ctx;

	if (rfb_add_client(w->rfb, fd, true) == -EMFILE)
		log_warn("-display web: %d people look at the screen, and one more was turned away",
			 RFB_CLIENTS_MOST);
}

static void tell(const struct web *w)
{
	bool v6 = strchr(w->host, ':');
	const char *why = w->display.why;

	log_note("the screen is at http://%s%s%s:%u/%s%s%s", v6 ? "[" : "", w->host, v6 ? "]" : "",
		 w->port, why ? " (" : "", why ? why : "",
		 why ? "); -display help lists others" : "");
	if (!w->local && !w->password)
		log_warn("-display web: everybody who reaches this host can see and use the guest: "
			 "set a password (password-secret=ID), or listen on localhost and come by "
			 "ssh -L %u:localhost:%u",
			 w->port, w->port);
}

static int start(struct display *d, struct err *e)
{
	struct web *w = (struct web *)d;
	struct rfb_opts opts = { .name = d->guest, .layout = d->layout };
	int rc;

	w->fd = w->site.dir = -1;
	rc = parse_address(w, e);
	rc = rc ? rc : take_password(w, e);
	rc = rc ? rc : open_novnc(w, e);
	rc = rc ? rc : start_listening(w, e);
	if (rc)
		return rc;
	w->site.host = strdup(w->host);
	look_at_address(w);
	w->site.websocket = on_websocket;
	w->site.ctx = w;
	opts.password = w->password;
	rc = rfb_create(d->m, d->loop, &opts, &w->rfb, e);
	rc = rc ? rc : web_server_create(d->loop, w->fd, &w->site, &w->server, e);
	if (!rc)
		tell(w);
	return rc;
}

static void stop(struct display *d)
{
	struct web *w = (struct web *)d;

	web_server_destroy(w->server);
	rfb_destroy(w->rfb);
	free((char *)w->site.host);
	if (w->password)
		explicit_bzero(w->password, strlen(w->password));
	free(w->password);
	if (w->fd > 0)
		close(w->fd);
	if (w->site.dir > 0)
		close(w->site.dir);
}

static const struct prop props[] = {
	PROP(struct web, address, PROP_STR, "address", NULL,
	     "HOST:PORT to listen on (default 127.0.0.1 and the first free port from 5800)"),
	PROP(struct web, novnc, PROP_STR, "novnc", "/usr/share/novnc", "where noVNC is"),
	PROP(struct web, password_secret, PROP_STR, "password-secret", NULL,
	     "id of an -object secret: the password, of which VNC takes 8 bytes"),
	PROP_END,
};

const struct display_class display_web = {
	.name = "web",
	.desc = "a page for a web browser on this host, with its address printed",
	.address = "address",
	.props = props,
	.size = sizeof(struct web),
	.start = start,
	.stop = stop,
};
