/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Networks of the command line: see include/nic.h. */
#include "nic.h"

#include <errno.h>
#include <string.h>

#include "config.h"
#include "dev.h"
#include "err.h"
#include "log.h"
#include "machine.h"
#include "net.h"
#include "opts.h"
#include "props.h"

/* A card is a device that takes netdev=. */
static bool is_card(const struct dev_class *c)
{
	for (const struct prop *p = c->props; p && p->name; p++)
		if (!strcmp(p->name, "netdev"))
			return !c->internal;
	return false;
}

void nic_help(FILE *f)
{
	fputs("Network cards (-nic TYPE,model=NAME):\n", f);
	for (size_t i = 0; dev_classes[i]; i++)
		if (is_card(dev_classes[i]))
			fprintf(f, "  %-18s %s\n", dev_classes[i]->name, dev_classes[i]->desc);
}

static const struct dev_class *card_class(const struct machine *m, const char *model, struct err *e)
{
	const struct dev_class *c;
	const char *names[16];
	size_t n = 0;

	if (!model || !strcmp(model, "virtio"))
		model = m->pci ? "virtio-net-pci" : "virtio-net-device";
	c = dev_class_find(model);
	if (c && is_card(c))
		return c;
	for (size_t i = 0; dev_classes[i] && n < 16; i++)
		if (is_card(dev_classes[i]))
			names[n++] = dev_classes[i]->name;
	err_set(e, ERR_USAGE, EINVAL, "model=%s: there is no such network card", model);
	err_suggest(e, model, names, n);
	if (e && !e->hint[0])
		err_hint(e, "-nic help lists them");
	return NULL;
}

struct card {
	const char *model, *mac, *addr;
};

static int add_card(struct machine *m, const struct card *c, const char *netdev, struct err *e)
{
	const struct dev_class *cls = card_class(m, c->model, e);
	struct opts o = { 0 };
	int rc;

	if (!cls)
		return -EINVAL;
	rc = opts_add(&o, "netdev", netdev);
	if (!rc && c->mac)
		rc = opts_add(&o, "mac", c->mac);
	if (!rc && c->addr)
		rc = opts_add(&o, "addr", c->addr);
	rc = rc ? err_set(e, ERR_HOST, ENOMEM, "out of memory")
		: machine_add_device(m, cls, &o, NULL, e);
	opts_free(&o);
	return rc;
}

int nic_add_netdevs(struct machine *m, const struct config *cfg, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < cfg->netdev.n; i++) {
		rc = net_add(m->nets, cfg->netdev.s[i], e);
		if (rc)
			err_prefix(e, "-netdev %s: ", cfg->netdev.s[i]);
	}
	return rc;
}

/* --- -nic ---------------------------------------------------------------------------------------
 */

/* A backend of o, whose id, if it has none, is a new one. */
static int add_backend(struct machine *m, const char *type, struct opts *o, char *id, size_t len,
		       struct err *e)
{
	const char *given = opts_get(o, "id");

	if (given && strlen(given) >= len)
		return err_set(e, ERR_USAGE, EINVAL, "id= is longer than %zu bytes", len - 1);
	if (given)
		strcpy(id, given);
	else
		net_new_id(m->nets, id, len);
	return net_add_opts(m->nets, type, id, o, e);
}

static int add_nic(struct machine *m, const char *arg, struct err *e)
{
	char id[NET_NAME];
	struct card card;
	const char *type;
	struct opts o;
	int rc = opts_parse(&o, arg, "type", e);

	if (rc)
		return rc;
	type = opts_get(&o, "type");
	card = (struct card){ .model = opts_get(&o, "model"),
			      .mac = opts_get(&o, "mac"),
			      .addr = opts_get(&o, "addr") };
	if (!card.mac)
		card.mac = opts_get(&o, "macaddr");
	if (!type) {
		rc = err_set(e, ERR_USAGE, EINVAL, "the type is missing");
		err_hint(e, "-nic user, -nic tap,... ; -nic help lists types");
	}
	rc = rc ? rc : add_backend(m, type, &o, id, sizeof(id), e);
	rc = rc ? rc : add_card(m, &card, id, e);
	opts_free(&o);
	return rc;
}

static int add_nics(struct machine *m, const struct strlist *l, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < l->n; i++) {
		if (!strcmp(l->s[i], "none"))
			continue;
		rc = add_nic(m, l->s[i], e);
		if (rc)
			err_prefix(e, "-nic %s: ", l->s[i]);
	}
	return rc;
}

/* --- -net
 * ----------------------------------------------------------------------------------------- */

/* The argument of the n-th -net that is, or is not, a card. */
static const char *nth_net(const struct strlist *l, bool card, size_t n)
{
	for (size_t i = 0; i < l->n; i++) {
		bool is = !strcmp(l->s[i], "nic") || !strncmp(l->s[i], "nic,", 4);

		if (strcmp(l->s[i], "none") && is == card && !n--)
			return l->s[i];
	}
	return NULL;
}

static int add_net_backend(struct machine *m, const char *arg, char *id, size_t len, struct err *e)
{
	struct opts o;
	const char *type;
	int rc = opts_parse(&o, arg, "type", e);

	if (!rc) {
		type = opts_get(&o, "type");
		rc = type ? add_backend(m, type, &o, id, len, e)
			  : err_set(e, ERR_USAGE, EINVAL, "the type is missing");
		opts_free(&o);
	}
	if (rc)
		err_prefix(e, "-net %s: ", arg);
	return rc;
}

static int add_net_card(struct machine *m, const char *arg, const char *netdev, struct err *e)
{
	static const char *const known[] = { "model", "macaddr", "addr" };
	struct card card;
	struct opts o;
	int rc = opts_parse(&o, arg, "type", e);

	if (!rc) {
		opts_get(&o, "type");
		card = (struct card){ .model = opts_get(&o, "model"),
				      .mac = opts_get(&o, "macaddr"),
				      .addr = opts_get(&o, "addr") };
		rc = opts_check_used(&o, known, 3, e);
		rc = rc ? rc : add_card(m, &card, netdev, e);
		opts_free(&o);
	}
	if (rc)
		err_prefix(e, "-net %s: ", arg);
	return rc;
}

static int add_nets(struct machine *m, const struct strlist *l, struct err *e)
{
	const char *card, *backend;
	char id[NET_NAME];
	int rc = 0;

	for (size_t i = 0; !rc; i++) {
		card = nth_net(l, true, i);
		backend = nth_net(l, false, i);
		if (!card && !backend)
			return 0;
		if (!card || !backend) {
			err_set(e, ERR_USAGE, EINVAL, "-net %s: there is no %s for it",
				card ? card : backend, card ? "other -net" : "-net nic");
			err_hint(e, card ? "add -net user; or write -nic user for both"
					 : "add -net nic; or write -nic in the place of -net, "
					   "which makes both");
			return -EINVAL;
		}
		rc = add_net_backend(m, backend, id, sizeof(id), e);
		rc = rc ? rc : add_net_card(m, card, id, e);
	}
	return rc;
}

/* A machine has no network that was not asked for. */
int nic_add(struct machine *m, const struct config *cfg, struct err *e)
{
	int rc = add_nics(m, &cfg->nic, e);

	return rc ? rc : add_nets(m, &cfg->net, e);
}
