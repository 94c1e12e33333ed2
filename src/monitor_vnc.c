/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The monitor's commands about VNC. Names and members are those of the QEMU Machine Protocol.
 * Main loop only.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "display/rfb.h"
#include "display/vnc.h"
#include "err.h"
#include "monitor.h"

/* --- what there is ------------------------------------------------------------------------ */

static json_t *port_string(unsigned port)
{
	char text[8];

	snprintf(text, sizeof(text), "%u", port);
	return json_string(text);
}

/* "127.0.0.1:40000" and "[::1]:40000"; nothing is known of who came by a unix socket. */
static json_t *client_json(const struct rfb_client_info *info, const char *family)
{
	const char *colon = strrchr(info->peer, ':');
	size_t n = colon ? (size_t)(colon - info->peer) : 0;
	bool brackets = n > 2 && info->peer[0] == '[';

	return json_pack("{s:s%, s:s, s:s, s:b}", "host", info->peer + brackets,
			 brackets ? n - 2 : n, "service", colon ? colon + 1 : "", "family", family,
			 "websocket", info->websocket);
}

static json_t *clients_json(const struct vnc_info *v)
{
	json_t *list = json_array();
	struct rfb_client_info info;

	for (unsigned i = 0; v->rfb && rfb_client_info(v->rfb, i, &info); i++)
		if (info.in)
			json_array_append_new(list, client_json(&info, v->family));
	return list;
}

static const char *auth_of(const struct vnc_info *v)
{
	return v->password ? "vnc" : "none";
}

json_t *mon_query_vnc(struct mon *m, const json_t *args, struct err *e)
{
	struct vnc_info v;

	if (!vnc_info(0, &v) || !v.rfb)
		return json_pack("{s:b}", "enabled", 0);
	return json_pack("{s:b, s:o, s:o, s:s, s:s, s:o}", "enabled", 1, "host",
			 mon_string(v.address), "service",
			 v.port ? port_string(v.port) : mon_string(v.address), "family", v.family,
			 "auth", auth_of(&v), "clients", clients_json(&v));
}

static json_t *place_json(const struct vnc_info *v, unsigned port)
{
	return json_pack("{s:o, s:o, s:s, s:b, s:s}", "host", mon_string(v->address), "service",
			 port ? port_string(port) : mon_string(v->address), "family", v->family,
			 "websocket", port && port == v->websocket, "auth", auth_of(v));
}

static json_t *server_json(const struct vnc_info *v, unsigned i)
{
	json_t *places = json_array();
	char id[16];

	snprintf(id, sizeof(id), i ? "vnc%u" : "default", i);
	if (v->rfb)
		json_array_append_new(places, place_json(v, v->port));
	if (v->websocket)
		json_array_append_new(places, place_json(v, v->websocket));
	return json_pack("{s:s, s:s, s:o, s:o}", "id", id, "auth", auth_of(v), "server", places,
			 "clients", clients_json(v));
}

json_t *mon_query_vnc_servers(struct mon *m, const json_t *args, struct err *e)
{
	json_t *list = json_array();
	struct vnc_info v;

	for (unsigned i = 0; vnc_info(i, &v); i++)
		json_array_append_new(list, server_json(&v, i));
	return list;
}

static void print_place(FILE *f, const json_t *p)
{
	const char *host = mon_str(p, "host");

	if (!strcmp(mon_str(p, "family"), "unix"))
		fprintf(f, "  Server: unix:%s", host);
	else
		fprintf(f, strchr(host, ':') ? "  Server: [%s]:%s" : "  Server: %s:%s", host,
			mon_str(p, "service"));
	fprintf(f, " (%s%s)\n", mon_str(p, "family"),
		mon_bool(p, "websocket") ? ", websocket" : "");
}

static void print_client(FILE *f, const json_t *c)
{
	const char *host = mon_str(c, "host");

	if (!strcmp(mon_str(c, "family"), "unix"))
		fputs("  Client: by the unix socket\n", f);
	else
		fprintf(f, strchr(host, ':') ? "  Client: [%s]:%s%s\n" : "  Client: %s:%s%s\n",
			host, mon_str(c, "service"),
			mon_bool(c, "websocket") ? " (websocket)" : "");
}

void mon_print_vnc(FILE *f, const struct mon *m, const json_t *r)
{
	const json_t *server, *x;
	size_t i, k;

	if (!json_array_size(r))
		fputs("There is no VNC server\n", f);
	json_array_foreach(r, i, server)
	{
		fprintf(f, "%s:\n", mon_str(server, "id"));
		json_array_foreach(json_object_get(server, "server"), k, x) print_place(f, x);
		json_array_foreach(json_object_get(server, "clients"), k, x) print_client(f, x);
		fprintf(f, "  Password: %s\n",
			!strcmp(mon_str(server, "auth"), "vnc") ? "needed" : "none");
	}
}

/* --- passwords ------------------------------------------------------------------------------- */

static json_t *set(const char *password, struct err *e)
{
	return vnc_set_password(password, e) ? NULL : mon_empty();
}

json_t *mon_set_password(struct mon *m, const json_t *args, struct err *e)
{
	const char *protocol = mon_str(args, "protocol"), *connected = mon_str(args, "connected");

	if (strcmp(protocol, "vnc")) {
		err_set(e, ERR_USAGE, EINVAL, "protocol '%s': only 'vnc' has a password", protocol);
		return NULL;
	}
	if (connected && strcmp(connected, "keep")) {
		err_set(e, ERR_USAGE, EINVAL, "connected '%s': VNC clients stay connected: 'keep'",
			connected);
		return NULL;
	}
	return set(mon_str(args, "password"), e);
}

json_t *mon_change_vnc_password(struct mon *m, const json_t *args, struct err *e)
{
	return set(mon_str(args, "password"), e);
}

/* "change vnc password PASSWORD" and "change DRIVE FILE [FORMAT]". */
json_t *mon_change(struct mon *m, const json_t *args, struct err *e)
{
	const char *what = mon_str(args, "filename"), *password = mon_str(args, "format");

	if (strcmp(mon_str(args, "device"), "vnc"))
		return mon_change_medium(m, args, e);
	if ((strcmp(what, "password") && strcmp(what, "passwd")) || !password) {
		err_set(e, ERR_USAGE, EINVAL, "what can change of VNC is its password");
		err_hint(e, "change vnc password PASSWORD");
		return NULL;
	}
	return set(password, e);
}
