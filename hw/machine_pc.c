/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PC board: which devices are always there, and which the command line's
 * -serial, -debugcon and -device add. Interrupt controllers and the timer are
 * KVM's. Main thread, before the guest runs.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "chardev.h"
#include "config.h"
#include "dev.h"
#include "err.h"
#include "machine.h"
#include "opts.h"

#define MAX_SERIAL 4

static const char *const on_board[] = {
	"i440fx", "piix3", "mc146818rtc", "i8042", "port92", "acpi-pm", "isa-post",
};

/* Makes the backend named by a legacy option and a device in front of it. */
static int add_with_backend(struct machine *m, const char *option, const char *arg, const char *id,
			    const char *device, struct err *e)
{
	struct chardev *c;
	char text[256];
	int rc = chardev_from_legacy(m->chardevs, arg, id, &c, e);

	if (!rc && c) {
		if (!strncmp(arg, "chardev:", 8))
			id = arg + 8;
		snprintf(text, sizeof(text), "%s,chardev=%s", device, id);
		rc = machine_add_device_arg(m, text, e);
	}
	if (rc)
		err_prefix(e, "-%s %s: ", option, arg);
	return rc;
}

static int add_serial_ports(struct machine *m, const struct config *cfg, struct err *e)
{
	int rc = 0;

	if (cfg->serial.n > MAX_SERIAL)
		return err_set(e, ERR_USAGE, EINVAL, "-serial %s: a PC has %d serial ports",
			       cfg->serial.s[MAX_SERIAL], MAX_SERIAL);
	for (size_t i = 0; !rc && i < cfg->serial.n; i++) {
		char id[16], device[32];

		snprintf(id, sizeof(id), "serial%zu", i);
		snprintf(device, sizeof(device), "isa-serial,index=%zu", i);
		rc = add_with_backend(m, "serial", cfg->serial.s[i], id, device, e);
	}
	return rc;
}

int machine_pc_init(struct machine *m, const struct config *cfg, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < sizeof(on_board) / sizeof(on_board[0]); i++)
		rc = machine_add_device(m, dev_class_find(on_board[i]), NULL, NULL, e);
	rc = rc ? rc : add_serial_ports(m, cfg, e);
	if (!rc && cfg->debugcon)
		rc = add_with_backend(m, "debugcon", cfg->debugcon, "debugcon",
				      "isa-debugcon,iobase2=0x402", e);
	for (size_t i = 0; !rc && i < cfg->device.n; i++)
		rc = machine_add_device_arg(m, cfg->device.s[i], e);
	return rc;
}
