/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Monitor commands of networks: see include/net.h. Names and members are those of the QEMU
 * Machine Protocol where it has them. Main loop.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "err.h"
#include "monitor_int.h"
#include "net.h"

static json_t *describe(const struct net *n)
{
	struct net_stats s;
	char text[256];
	uint8_t mac[6];
	json_t *j;

	net_stats_get(n, &s);
	net_describe(n, text, sizeof(text));
	j = json_pack("{s:o, s:o, s:b, s:I, s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I}}", "id",
		      mon_string(net_id(n)), "info", mon_string(text), "link", net_link(n),
		      "queues", (json_int_t)net_caps(n)->queues, "stats", "rx-packets",
		      (json_int_t)s.rx_frames, "rx-bytes", (json_int_t)s.rx_bytes, "rx-dropped",
		      (json_int_t)s.rx_dropped, "tx-packets", (json_int_t)s.tx_frames, "tx-bytes",
		      (json_int_t)s.tx_bytes, "tx-dropped", (json_int_t)s.tx_dropped, "tx-full",
		      (json_int_t)s.tx_full);
	if (!net_mac_get(n, mac))
		return j;
	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		 mac[3], mac[4], mac[5]);
	json_object_set_new(j, "mac", json_string(text));
	return j;
}

json_t *mon_query_network(struct mon *m, const json_t *args, struct err *e)
{
	json_t *list = json_array();
	const struct net *n;

	for (unsigned i = 0; (n = net_each(m->vm->m.nets, i)); i++)
		json_array_append_new(list, describe(n));
	return list;
}

void mon_print_network(FILE *f, const struct mon *m, const json_t *r)
{
	const json_t *x, *s;
	const char *mac;
	size_t i;

	if (!json_array_size(r))
		fputs("There is no network.\n", f);
	json_array_foreach(r, i, x)
	{
		s = json_object_get(x, "stats");
		mac = mon_str(x, "mac");
		fprintf(f, "%s: %s, %s%s, link %s\n", mon_str(x, "id"), mon_str(x, "info"),
			mac ? "card " : "no card", mac ? mac : "",
			mon_bool(x, "link") ? "up" : "down");
		fprintf(f,
			"  received %" PRId64 " frames, %" PRId64 " bytes, %" PRId64 " dropped\n",
			mon_int(s, "rx-packets", 0), mon_int(s, "rx-bytes", 0),
			mon_int(s, "rx-dropped", 0));
		fprintf(f,
			"  sent %" PRId64 " frames, %" PRId64 " bytes, %" PRId64
			" dropped, %" PRId64 " times full\n",
			mon_int(s, "tx-packets", 0), mon_int(s, "tx-bytes", 0),
			mon_int(s, "tx-dropped", 0), mon_int(s, "tx-full", 0));
	}
}

static json_t *set_link(struct mon *m, const char *name, bool up, struct err *e)
{
	return net_set_link(m->vm->m.nets, name, up, e) ? NULL : mon_empty();
}

json_t *mon_set_link(struct mon *m, const json_t *args, struct err *e)
{
	return set_link(m, mon_str(args, "name"), mon_bool(args, "up"), e);
}

json_t *mon_text_set_link(struct mon *m, const json_t *args, struct err *e)
{
	const char *state = mon_str(args, "state");

	if (!strcmp(state, "on") || !strcmp(state, "off"))
		return set_link(m, mon_str(args, "name"), !strcmp(state, "on"), e);
	err_set(e, ERR_USAGE, EINVAL, "'%s': the link is 'on' or 'off'", state);
	return NULL;
}
