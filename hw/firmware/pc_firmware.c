/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a PC tells its firmware by fw_cfg: memory, processors, how to start
 * (names and layouts as SeaBIOS and OVMF read them; QEMU, docs/specs/fw_cfg).
 * Main thread, before the guest runs.
 */
#include "pc_firmware.h"

#include <string.h>

#include "bootorder.h"
#include "config.h"
#include "dev.h"
#include "fw_cfg.h"
#include "machine.h"
#include "pci.h"
#include "rtc.h"
#include "wire/le.h"

/* An entry of etc/e820. */
struct e820_wire {
	struct le64 addr, size;
	struct le32 type;
} __attribute__((packed));
enum { E820_WIRE_RAM = 1, COM1_PORT = 0x3f8, CMOS_TRANSLATION = 0x39, PAM0 = 0x59 };

static int tell_memory(struct machine *m, struct err *e)
{
	struct e820_wire map[2];
	struct le64 ram = cpu_to_le64(m->mem.ram_size);
	unsigned n;
	int rc;

	for (n = 0; n < m->mem.n && n < 2; n++)
		map[n] = (struct e820_wire){ cpu_to_le64(m->mem.range[n].gpa),
					     cpu_to_le64(m->mem.range[n].size),
					     cpu_to_le32(E820_WIRE_RAM) };
	rc = fw_cfg_set(m, FW_CFG_RAM_SIZE, &ram, sizeof(ram), e);
	return rc ? rc : fw_cfg_set_file(m, "etc/e820", map, n * sizeof(map[0]), e);
}

int pc_firmware_init(struct machine *m, const struct config *cfg, struct err *e)
{
	int rc = machine_add_device(m, dev_class_find("fw_cfg"), NULL, NULL, e);

	rc = rc ? rc : fw_cfg_set(m, FW_CFG_UUID, cfg->uuid, sizeof(cfg->uuid), e);
	rc = rc ? rc : fw_cfg_set16(m, FW_CFG_NB_CPUS, (uint16_t)m->n_cpus, e);
	rc = rc ? rc : fw_cfg_set16(m, FW_CFG_MAX_CPUS, (uint16_t)m->n_cpus, e);
	rc = rc ? rc : fw_cfg_set16(m, FW_CFG_NOGRAPHIC, cfg->nographic, e);
	rc = rc ? rc : tell_memory(m, e);
	for (size_t i = 0; !rc && i < cfg->fw_cfg.n; i++)
		rc = fw_cfg_add_arg(m, cfg->fw_cfg.s[i], e);
	return rc;
}

/* SeaBIOS shows itself on the first serial port as well, unless a screen is looked at. */
static int tell_console(struct machine *m, const struct config *cfg, struct err *e)
{
	struct le16 com1 = cpu_to_le16(COM1_PORT);
	bool screen = cfg->display && !strcmp(cfg->display, "text");

	return m->serial_mask & 1 && !screen
		       ? fw_cfg_set_file(m, "etc/sercon-port", &com1, sizeof(com1), e)
		       : 0;
}

int pc_firmware_finish(struct machine *m, const struct config *cfg, struct err *e)
{
	int rc = bootorder_tell(m, &cfg->boot, e);

	/* The bridge was there before the flash, whose end shows below 1 MiB: it looks again. */
	if (m->pci)
		pci_config_write(m, 0, PAM0, 0, 1);
	rtc_set_cmos(m, CMOS_TRANSLATION, m->disk_translation);
	rc = rc ? rc : tell_console(m, cfg, e);
	/* Last: it leaves the port to a debug console. */
	return rc ? rc : machine_add_device(m, dev_class_find("bios-messages"), NULL, NULL, e);
}
