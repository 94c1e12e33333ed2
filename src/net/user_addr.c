/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The addresses of a user network: from options, and what follows from them. The main thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "opts.h"
#include "user.h"

int user_ipv4(const char *what, const char *text, struct in_addr *out, struct err *e)
{
	if (inet_pton(AF_INET, text, out) == 1)
		return 0;
	err_set(e, ERR_USAGE, EINVAL, "%s: '%s' is not an IPv4 address", what, text);
	err_hint(e, "four numbers, as in 10.0.2.15");
	return -EINVAL;
}

static int ipv6(const char *key, const char *text, struct in6_addr *out, struct err *e)
{
	if (inet_pton(AF_INET6, text, out) == 1)
		return 0;
	return err_set(e, ERR_USAGE, EINVAL, "%s=%s: not an IPv6 address", key, text);
}

/* Cuts text at its last slash; the part behind it, or NULL. */
static char *cut(char *text)
{
	char *slash = strrchr(text, '/');

	if (!slash)
		return NULL;
	*slash = '\0';
	return slash + 1;
}

static uint32_t mask_of(uint64_t bits)
{
	return bits ? ~0u << (32 - bits) : 0;
}

/* "/24" and "/255.255.255.0"; without one, /24. */
static int parse_mask(const char *text, uint32_t *mask, struct err *e)
{
	struct in_addr dotted;
	uint64_t bits = 24;

	if (text && strchr(text, '.')) {
		if (user_ipv4("the mask", text, &dotted, e))
			return -EINVAL;
		*mask = ntohl(dotted.s_addr);
		if (~*mask & (~*mask + 1))
			return err_set(e, ERR_USAGE, EINVAL, "the mask %s has zeros before ones",
				       text);
	} else {
		if (text && parse_u64(text, &bits, e))
			return -EINVAL;
		*mask = bits <= 32 ? mask_of(bits) : 0;
	}
	if (*mask < mask_of(4) || *mask > mask_of(29)) {
		err_set(e, ERR_USAGE, ERANGE, "a network is of /4 to /29");
		return -ERANGE;
	}
	return 0;
}

static int parse_net(struct user *u, struct err *e)
{
	char *text = strdup(u->net), *mask_text;
	uint32_t net, mask;
	int rc;

	if (!text)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	mask_text = cut(text);
	rc = user_ipv4("the network", text, &u->addr.net, e);
	rc = rc ? rc : parse_mask(mask_text, &mask, e);
	free(text);
	if (!rc) {
		net = ntohl(u->addr.net.s_addr);
		if (net & ~mask) {
			struct in_addr fit = { htonl(net & mask) };

			rc = err_set(e, ERR_USAGE, EINVAL, "the address has bits outside its mask");
			err_hint(e, "the network that it is in is %s", inet_ntoa(fit));
		}
		u->addr.mask.s_addr = htonl(mask);
	}
	if (rc)
		err_prefix(e, "net=%s: ", u->net);
	return rc;
}

/* One address in the network, from its key or at its place. */
static int parse_host(struct user *u, const char *key, const char *text, uint32_t place,
		      struct in_addr *out, struct err *e)
{
	uint32_t net = ntohl(u->addr.net.s_addr), mask = ntohl(u->addr.mask.s_addr), a;
	int rc;

	if (!text) {
		out->s_addr = htonl(net | (place & ~mask));
		return 0;
	}
	rc = user_ipv4(key, text, out, e);
	if (rc)
		return rc;
	a = ntohl(out->s_addr);
	if ((a & mask) != net || !(a & ~mask) || (a | mask) == ~0u) {
		rc = err_set(e, ERR_USAGE, EINVAL,
			     "%s=%s: not an address of a machine in the network %s", key, text,
			     u->net);
		err_hint(e, "give net= as well, or an address in it");
	}
	return rc;
}

static int ipv4_addresses(struct user *u, struct err *e)
{
	struct user_net *a = &u->addr;
	uint32_t room;
	int rc = parse_net(u, e);

	/* Of a network of eight addresses the fifth is the guest's. */
	room = ~ntohl(a->mask.s_addr);
	rc = rc ? rc : parse_host(u, "host", u->host, 0x0202, &a->host, e);
	rc = rc ? rc : parse_host(u, "dns", u->dns, 0x0203, &a->dns, e);
	rc = rc ? rc
		: parse_host(u, "dhcpstart", u->dhcpstart, room > 15 ? 0x020f : 4, &a->dhcp, e);
	if (rc)
		return rc;
	if (a->host.s_addr == a->dns.s_addr)
		return err_set(e, ERR_USAGE, EINVAL, "host and dns are the same address, %s",
			       inet_ntoa(a->host));
	if (a->dhcp.s_addr == a->host.s_addr || a->dhcp.s_addr == a->dns.s_addr)
		return err_set(e, ERR_USAGE, EINVAL, "dhcpstart is the address of %s, %s",
			       a->dhcp.s_addr == a->dns.s_addr ? "dns" : "host",
			       inet_ntoa(a->dhcp));
	return 0;
}

/* ipv6-net=PREFIX/LEN is the two others in one. */
static int parse_prefix(struct user *u, struct err *e)
{
	const char *key = u->ipv6_net ? "ipv6-net" : "ipv6-prefix";
	char *text = strdup(u->ipv6_net ? u->ipv6_net : u->ipv6_prefix), *len_text;
	uint64_t len = u->ipv6_prefixlen;
	int rc;

	if (!text)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	len_text = u->ipv6_net ? cut(text) : NULL;
	rc = ipv6(key, text, &u->addr.prefix6, e);
	if (!rc && len_text && (parse_u64(len_text, &len, e) || len > 126))
		rc = err_set(e, ERR_USAGE, EINVAL, "%s=%s: the length is a number to 126", key,
			     u->ipv6_net);
	u->addr.prefix6_len = (uint8_t)len;
	free(text);
	return rc;
}

static bool same_prefix(const struct in6_addr *a, const struct in6_addr *b, unsigned bits)
{
	uint8_t last = (uint8_t)(0xff00 >> bits % 8);

	return !memcmp(a, b, bits / 8) &&
	       !(bits % 8 && ((a->s6_addr[bits / 8] ^ b->s6_addr[bits / 8]) & last));
}

static int parse_host6(struct user *u, const char *key, const char *text, uint8_t place,
		       struct in6_addr *out, struct err *e)
{
	int rc;

	if (!text) {
		*out = u->addr.prefix6;
		out->s6_addr[15] |= place;
		return 0;
	}
	rc = ipv6(key, text, out, e);
	if (!rc && !same_prefix(out, &u->addr.prefix6, u->addr.prefix6_len))
		rc = err_set(e, ERR_USAGE, EINVAL, "%s=%s: not in the network's prefix", key, text);
	return rc;
}

int user_addresses(struct user *u, struct err *e)
{
	int rc = 0;

	/* One that is asked for alone is the only one. */
	u->addr.ipv4 = u->ipv4 == USER_ON || (u->ipv4 == USER_AUTO && u->ipv6 != USER_ON);
	u->addr.ipv6 = u->ipv6 == USER_ON || (u->ipv6 == USER_AUTO && u->ipv4 != USER_ON);
	if (!u->addr.ipv4 && !u->addr.ipv6)
		return err_set(e, ERR_USAGE, EINVAL, "ipv4=off and ipv6=off: nothing is left");
	if (u->addr.ipv4)
		rc = ipv4_addresses(u, e);
	if (!rc && u->addr.ipv6) {
		rc = parse_prefix(u, e);
		rc = rc ? rc : parse_host6(u, "ipv6-host", u->ipv6_host, 2, &u->addr.host6, e);
		rc = rc ? rc : parse_host6(u, "ipv6-dns", u->ipv6_dns, 3, &u->addr.dns6, e);
	}
	return rc;
}
