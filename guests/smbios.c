/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SMBIOS as a system finds it (DMTF DSP0134 2.8): the anchor in the last 64 KiB below
 * 1 MiB, and all structures behind it. Says their types, and type 1's strings and UUID.
 */
#include "guest.h"

static uint32_t field(const uint8_t *p, unsigned off, unsigned size)
{
	uint32_t v = 0;

	memcpy(&v, p + off, size);
	return v;
}

static const uint8_t *find_anchor(void)
{
	for (uint64_t at = 0xf0000; at < 0x100000; at += 16)
		if (!memcmp((const void *)at, "_SM_", 4))
			return (const uint8_t *)at;
	return NULL;
}

/* String n of a structure, or "". */
static const char *string(const uint8_t *s, unsigned n)
{
	const char *p = (const char *)s + s[1];

	if (!n)
		return "";
	while (--n && *p)
		p += strlen(p) + 1;
	return p;
}

static const uint8_t *next(const uint8_t *s)
{
	s += s[1];
	while (s[0] || s[1])
		s++;
	return s + 2;
}

static void structure(const uint8_t *s)
{
	say("type %u, handle %x\n", s[0], field(s, 2, 2));
	if (s[0] == 1) {
		say("system: [%s] [%s] [%s] [%s]\nuuid ", string(s, s[4]), string(s, s[5]),
		    string(s, s[6]), string(s, s[7]));
		for (unsigned i = 0; i < 16; i++)
			say("%c%c", "0123456789abcdef"[s[8 + i] >> 4],
			    "0123456789abcdef"[s[8 + i] & 15]);
		say("\n");
	}
	if (s[0] == 11)
		for (unsigned i = 1; i <= s[4]; i++)
			say("oem string: [%s]\n", string(s, i));
	if (s[0] == 17)
		say("memory: %u MiB\n", field(s, 12, 2));
}

void guest_main(void)
{
	const uint8_t *a = find_anchor(), *s, *end;
	unsigned n = 0, longest = 0;
	bool ended = false;

	if (!check(a != NULL, "there is an anchor"))
		return;
	check(a[5] == 31 && acpi_sum_ok(a, 31), "its checksum");
	check(!memcmp(a + 16, "_DMI_", 5) && acpi_sum_ok(a + 16, 15), "the intermediate one");
	say("SMBIOS %u.%u, %u bytes\n", a[6], a[7], field(a, 22, 2));
	s = (const uint8_t *)(uint64_t)field(a, 24, 4);
	end = s + field(a, 22, 2);
	while (s < end && s[1] >= 4 && !ended) {
		const uint8_t *from = s;

		structure(s);
		ended = s[0] == 127;
		s = next(s);
		n++;
		if ((unsigned)(s - from) > longest)
			longest = (unsigned)(s - from);
	}
	check(ended && s == end, "the end-of-table structure is the end");
	check(n == field(a, 28, 2), "%u structures", n);
	check(longest == field(a, 8, 2), "the longest has %u bytes", longest);
}
