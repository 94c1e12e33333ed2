/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Forwards of a user network: from a port of the host to the guest, and from an address in the
 * network to a command. The main thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "opts.h"
#include "user.h"

#define HOST_FORM "[tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT, as in tcp::2222-:22"
#define GUEST_FORM "[tcp]:ADDR:PORT-cmd:COMMAND, as in tcp:10.0.2.100:80-cmd:'cat page'"

/* Cuts the part up to the character off; NULL when it is not there. */
static char *part(char **at, char end)
{
	char *start = *at, *stop = strchr(start, end);

	if (!stop)
		return NULL;
	*stop = '\0';
	*at = stop + 1;
	return start;
}

static int port(const char *what, const char *text, uint16_t *out, struct err *e)
{
	uint64_t n;

	if (!*text)
		return err_set(e, ERR_USAGE, EINVAL, "%s is missing", what);
	if (parse_u64(text, &n, e) || !n || n > 65535)
		return err_set(e, ERR_USAGE, EINVAL, "%s '%s' is not from 1 to 65535", what, text);
	*out = (uint16_t)n;
	return 0;
}

static int protocol(struct user_fwd *f, const char *text, bool udp_too, struct err *e)
{
	f->udp = udp_too && !strcmp(text, "udp");
	if (!*text || f->udp || !strcmp(text, "tcp"))
		return 0;
	return err_set(e, ERR_USAGE, EINVAL, "the protocol is %s, not '%s'",
		       udp_too ? "tcp or udp" : "tcp", text);
}

static int parse_host(struct user_fwd *f, char *text, struct err *e)
{
	char *proto = part(&text, ':'), *host = proto ? part(&text, ':') : NULL;
	char *host_port = host ? part(&text, '-') : NULL;
	char *guest = host_port ? part(&text, ':') : NULL;
	int rc;

	if (!guest)
		return err_set(e, ERR_USAGE, EINVAL, "%s",
			       !proto       ? "there is no ':' after the protocol"
			       : !host      ? "there is no ':' after the host's address"
			       : !host_port ? "there is no '-' after the host's port"
					    : "there is no ':' after the guest's address");
	rc = protocol(f, proto, true, e);
	/* Only this machine reaches the guest unless the user says who else may. */
	f->host.s_addr = htonl(INADDR_LOOPBACK);
	if (!rc && *host)
		rc = user_ipv4("the host's address", host, &f->host, e);
	rc = rc ? rc : port("the host's port", host_port, &f->host_port, e);
	if (!rc && *guest)
		rc = user_ipv4("the guest's address", guest, &f->guest, e);
	return rc ? rc : port("the guest's port", text, &f->guest_port, e);
}

static int parse_guest(struct user_fwd *f, char *text, struct err *e)
{
	char *proto = part(&text, ':'), *server = proto ? part(&text, ':') : NULL;
	char *server_port = server ? part(&text, '-') : NULL;
	int rc;

	if (!server_port)
		return err_set(e, ERR_USAGE, EINVAL, "%s",
			       !proto    ? "there is no ':' after the protocol"
			       : !server ? "there is no ':' after the server's address"
					 : "there is no '-' after the port");
	rc = protocol(f, proto, false, e);
	rc = rc ? rc : user_ipv4("the server's address", server, &f->guest, e);
	rc = rc ? rc : port("the port", server_port, &f->guest_port, e);
	if (rc)
		return rc;
	if (strncmp(text, "cmd:", 4) || !text[4])
		return err_set(e, ERR_USAGE, EINVAL,
			       "a port is forwarded to a command, cmd:COMMAND, not to '%s'", text);
	f->cmd = strdup(text + 4);
	return f->cmd ? 0 : err_set(e, ERR_HOST, ENOMEM, "out of memory");
}

static int add(struct user_fwd **list, const char *key, const char *text,
	       int (*parse)(struct user_fwd *f, char *text, struct err *e), const char *form,
	       struct err *e)
{
	struct user_fwd *f = calloc(1, sizeof(*f));
	char *copy = strdup(text);
	int rc = -ENOMEM;

	if (f && copy && (f->text = strdup(text))) {
		rc = parse(f, copy, e);
		if (rc) {
			err_prefix(e, "%s=%s: ", key, text);
			err_hint(e, "%s=%s", key, form);
		}
	} else {
		err_set(e, ERR_HOST, ENOMEM, "out of memory");
	}
	free(copy);
	if (rc) {
		user_fwd_free(f);
		return rc;
	}
	while (*list)
		list = &(*list)->next;
	*list = f;
	return 0;
}

int user_fwd_host(struct user_fwd **list, const char *text, struct err *e)
{
	return add(list, "hostfwd", text, parse_host, HOST_FORM, e);
}

int user_fwd_guest(struct user_fwd **list, const char *text, struct err *e)
{
	return add(list, "guestfwd", text, parse_guest, GUEST_FORM, e);
}

void user_fwd_free(struct user_fwd *list)
{
	while (list) {
		struct user_fwd *f = list;

		list = f->next;
		free(f->text);
		free(f->cmd);
		free(f);
	}
}

/* --- making them ---------------------------------------------------------------------------- */

static int host_refused(const struct user_fwd *f, int code, struct err *e)
{
	char addr[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &f->host, addr, sizeof(addr));
	switch (code) {
	case EADDRINUSE:
		err_set(e, ERR_HOST, code, "hostfwd=%s: port %u of %s is in use", f->text,
			f->host_port, addr);
		err_hint(e, "choose another, or see who has it: ss -%slnp 'sport = :%u'",
			 f->udp ? "u" : "t", f->host_port);
		break;
	case EACCES:
	case EPERM:
		err_set(e, ERR_HOST, code, "hostfwd=%s: no permission for port %u", f->text,
			f->host_port);
		err_hint(e, "ports below 1024 are root's: choose a higher one");
		break;
	case EADDRNOTAVAIL:
		err_set(e, ERR_HOST, code, "hostfwd=%s: this machine does not have the address %s",
			f->text, addr);
		err_hint(e, "0.0.0.0 is all of its addresses, 127.0.0.1 this machine only");
		break;
	default:
		err_set(e, ERR_HOST, code, "hostfwd=%s: the host refuses: %s", f->text,
			strerror(code));
	}
	return -code;
}

static bool in_network(const struct user *u, struct in_addr a)
{
	return (a.s_addr & u->addr.mask.s_addr) == u->addr.net.s_addr;
}

static int open_host(struct user *u, const struct user_fwd *f, struct err *e)
{
	if (f->guest.s_addr && !in_network(u, f->guest))
		return err_set(e, ERR_USAGE, EINVAL,
			       "hostfwd=%s: the guest's address is not in the network %s", f->text,
			       u->net);
	errno = 0;
	if (!user_api.add_hostfwd(u->slirp, f->udp, f->host, f->host_port, f->guest, f->guest_port))
		return 0;
	return host_refused(f, errno ? errno : EINVAL, e);
}

static int open_guest(struct user *u, struct user_fwd *f, struct err *e)
{
	if (!user_api.add_exec(u->slirp, f->cmd, &f->guest, f->guest_port))
		return 0;
	err_set(e, ERR_USAGE, EINVAL,
		"guestfwd=%s: the address is not free in the network %s, or the port is taken",
		f->text, u->net);
	err_hint(e, "any address in it but host and dns, and each port once");
	return -EINVAL;
}

int user_fwd_open(struct user *u, struct err *e)
{
	int rc = 0;

	if ((u->hostfwd || u->guestfwd) && !u->addr.ipv4)
		return err_set(e, ERR_USAGE, EINVAL, "hostfwd and guestfwd need ipv4=on");
	for (struct user_fwd *f = u->hostfwd; f && !rc; f = f->next)
		rc = open_host(u, f, e);
	for (struct user_fwd *f = u->guestfwd; f && !rc; f = f->next)
		rc = open_guest(u, f, e);
	return rc;
}
