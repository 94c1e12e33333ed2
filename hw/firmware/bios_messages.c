/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The BIOS's own messages, which SeaBIOS writes to port 0x402 (its debug port), looked through for
 * the one that a person must know: that there is nothing to boot from. It goes to stderr with the
 * reasons, since the guest's screen may be nowhere to be seen. -debugcon, which shows all
 * messages, has the port to itself.
 *
 * vCPU threads; dev->lock guards everything. What arrives here is the guest's to choose.
 */
#include "dev.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bus.h"
#include "err.h"
#include "log.h"
#include "machine.h"
#include "../isa/isa.h"

enum { DEBUG_PORT = 0x402, READBACK = 0xe9 };

struct bios_messages {
	struct dev dev;
	struct io_region port;
	struct log_limit log;
	char line[80]; /* what is longer is cut */
	unsigned n;
	char from[32]; /* what it boots from now */
	char tried[200]; /* ", DEVICE: REASON" for each */
};

static const char *after(const char *line, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(line, prefix, n) ? NULL : line + n;
}

static void take_line(struct bios_messages *b)
{
	const char *rest;

	rest = after(b->line, "Booting from ");
	if (rest) {
		snprintf(b->from, sizeof(b->from), "%.*s", (int)strcspn(rest, "."), rest);
		return;
	}
	rest = after(b->line, "Boot failed: ");
	/* The floppy is tried whether there is one or not. */
	if (rest && strcmp(b->from, "Floppy")) {
		size_t used = strlen(b->tried);

		snprintf(b->tried + used, sizeof(b->tried) - used, "%s%s: %s", used ? ", " : "",
			 b->from, rest);
	}
	if (after(b->line, "No bootable device")) {
		log_guest(&b->log, "firmware", "found nothing to boot from%s%s%s",
			  *b->tried ? " (" : "", b->tried, *b->tried ? ")" : "");
		b->tried[0] = 0;
	}
}

static uint64_t messages_read(void *dev, uint64_t off, unsigned size)
{
	return READBACK;
}

static void messages_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct bios_messages *b = dev;
	int c = (int)(val & 0xff);

	if (c == '\n') {
		b->line[b->n] = 0;
		b->n = 0;
		take_line(b);
	} else if (b->n < sizeof(b->line) - 1 && isprint(c)) {
		b->line[b->n++] = (char)c;
	}
}

static const struct io_ops messages_ops = {
	.read = messages_read,
	.write = messages_write,
	.min = 1,
	.max = 1,
};

static void messages_reset(struct dev *d)
{
	struct bios_messages *b = (struct bios_messages *)d;

	b->n = 0;
	b->from[0] = b->tried[0] = 0;
}

static int messages_init(struct dev *d, struct err *e)
{
	struct bios_messages *b = (struct bios_messages *)d;
	int rc = isa_map(d, &b->port, &messages_ops, DEBUG_PORT, 1, e);

	b->log = (struct log_limit)LOG_LIMIT_INIT;
	if (rc == -EBUSY) {
		*e = (struct err){ 0 }; /* a debug console is there */
		rc = 0;
	}
	return rc;
}

static void messages_fini(struct dev *d)
{
	isa_unmap(&((struct bios_messages *)d)->port);
}

const struct dev_class bios_messages_class = {
	.name = "bios-messages",
	.desc = "the BIOS's debug port 0x402: tells when there is nothing to boot from",
	.bus = DEV_BUS_ISA,
	.internal = true,
	.size = sizeof(struct bios_messages),
	.init = messages_init,
	.reset = messages_reset,
	.fini = messages_fini,
};
