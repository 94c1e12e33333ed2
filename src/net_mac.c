/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses of network cards. One that is not given is 52:54:00 (locally administered, as people
 * know it of virtual machines) and 24 bits that come from what the guest is:
 *
 * - -uuid, when it is given: the guest keeps its addresses on another host;
 * - else this host's machine-id and -name;
 * - else the machine-id, the working directory, and the kernel and disks of the command line,
 *
 * and from which of its cards it is. So a guest has the same addresses each time. Two that would
 * have the same, as when one command runs twice, are kept apart while they run: an address in use
 * is the name of a socket in the host's abstract name space, and who finds it taken tries the next.
 *
 * Main loop.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "config.h"
#include "err.h"
#include "machine.h"
#include "net/net_int.h"

enum { TRIES = 1024 };

/* --- given ------------------------------------------------------------------------------------ */

static int bad(const char *text, struct err *e, const char *why)
{
	err_set(e, ERR_USAGE, EINVAL, "mac=%s: %s", text, why);
	err_hint(e, "six bytes such as 52:54:00:12:34:56, the first of them even");
	return -EINVAL;
}

static int parse(const char *text, uint8_t mac[6], struct err *e)
{
	static const uint8_t zero[6];
	unsigned b[6];
	int end = 0;

	if (strspn(text, "0123456789abcdefABCDEF:") != strlen(text) ||
	    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
		   &end) != 6 ||
	    text[end])
		return bad(text, e, "is no Ethernet address");
	for (unsigned i = 0; i < 6; i++)
		mac[i] = (uint8_t)b[i];
	if (mac[0] & 1)
		return bad(text, e, "is that of a group");
	return memcmp(mac, zero, 6) ? 0 : bad(text, e, "is nobody's");
}

static const struct net *owner(struct net_set *s, const struct net *except, const uint8_t mac[6])
{
	const struct net *n;

	for (unsigned i = 0; (n = net_each(s, i)); i++)
		if (n != except && n->has_mac && !memcmp(n->mac, mac, 6))
			return n;
	return NULL;
}

/* --- derived ---------------------------------------------------------------------------------- */

/* FNV-1a; each piece ends in a byte that is in none of them. */
static uint64_t add_bytes(uint64_t h, const void *data, size_t len)
{
	for (const uint8_t *p = data; len--; p++)
		h = (h ^ *p) * 0x100000001b3ull;
	return (h ^ 0xff) * 0x100000001b3ull;
}

static uint64_t add_text(uint64_t h, const char *text)
{
	return text ? add_bytes(h, text, strlen(text)) : h;
}

static uint64_t add_list(uint64_t h, const struct strlist *l)
{
	for (size_t i = 0; i < l->n; i++)
		h = add_text(h, l->s[i]);
	return h;
}

static uint64_t add_host(uint64_t h)
{
	char text[256] = "";
	FILE *f = fopen("/etc/machine-id", "re");

	if (!f || !fgets(text, sizeof(text), f))
		gethostname(text, sizeof(text) - 1);
	if (f)
		fclose(f);
	return add_text(h, text);
}

static uint64_t of_guest(const struct config *cfg)
{
	uint64_t h = 0xcbf29ce484222325ull;
	char dir[4096];

	if (cfg && cfg->have_uuid)
		return add_bytes(h, cfg->uuid, sizeof(cfg->uuid));
	h = add_host(h);
	if (!cfg)
		return h;
	if (cfg->name)
		return add_text(h, cfg->name);
	h = add_text(h, getcwd(dir, sizeof(dir)));
	h = add_text(h, cfg->kernel);
	h = add_text(h, cfg->cdrom);
	for (unsigned i = 0; i < 4; i++)
		h = add_text(h, cfg->hd[i]);
	h = add_list(h, &cfg->drive);
	h = add_list(h, &cfg->blockdev);
	return add_list(h, &cfg->files);
}

/* Its bits spread over all of the number (the finaliser of MurmurHash 3). */
static uint64_t mix(uint64_t h)
{
	h = (h ^ h >> 33) * 0xff51afd7ed558ccdull;
	h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ull;
	return h ^ h >> 33;
}

/* A socket of this name, -EADDRINUSE, or -1 when the host has no such names to give. */
static int claim(const uint8_t mac[6])
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int n = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1,
			 "posada-mac-%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
			 mac[4], mac[5]);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), code;

	if (fd < 0)
		return -1;
	if (!bind(fd, (struct sockaddr *)&a,
		  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)))
		return fd;
	code = errno;
	close(fd);
	return code == EADDRINUSE ? -EADDRINUSE : -1;
}

static int derive(struct net *n, const struct machine *m, struct err *e)
{
	uint64_t guest = of_guest(m->cfg);
	uint32_t card = 0;
	const struct net *x;

	for (unsigned i = 0; (x = net_each(n->set, i)); i++)
		card += x != n && x->has_mac;
	for (uint32_t i = 0; i < TRIES; i++) {
		uint64_t h = mix(add_bytes(add_bytes(guest, &card, sizeof(card)), &i, sizeof(i)));

		n->mac[0] = 0x52;
		n->mac[1] = 0x54;
		n->mac[2] = 0x00;
		n->mac[3] = (uint8_t)h;
		n->mac[4] = (uint8_t)(h >> 8);
		n->mac[5] = (uint8_t)(h >> 16);
		if (owner(n->set, n, n->mac))
			continue;
		n->mac_claim = claim(n->mac);
		if (n->mac_claim != -EADDRINUSE)
			return 0;
	}
	err_set(e, ERR_HOST, EADDRINUSE, "the host has no address left for the card");
	err_hint(e, "give it one: mac=52:54:00:12:34:56");
	return -EADDRINUSE;
}

int net_mac_choose(struct net *n, const struct machine *m, const char *text, uint8_t mac[6],
		   struct err *e)
{
	const struct net *other;
	int rc = text ? parse(text, n->mac, e) : derive(n, m, e);

	if (rc)
		return rc;
	other = owner(n->set, n, n->mac);
	if (other) {
		err_set(e, ERR_USAGE, EEXIST, "mac=%s: the card on netdev=%s has this address",
			text, other->id);
		err_hint(e, "leave mac= out, and each card gets an address of its own");
		return -EEXIST;
	}
	n->has_mac = true;
	memcpy(mac, n->mac, 6);
	return 0;
}

bool net_mac_get(const struct net *n, uint8_t mac[6])
{
	memcpy(mac, n->mac, 6);
	return n->has_mac;
}

void net_mac_release(struct net *n)
{
	if (n->mac_claim >= 0)
		close(n->mac_claim);
	n->mac_claim = -1;
	n->has_mac = false;
}
