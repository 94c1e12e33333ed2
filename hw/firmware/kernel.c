/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -kernel, -initrd and -append for the firmware that -bios or a flash names: items of
 * fw_cfg. UEFI firmware (OVMF) looks for them by itself. A BIOS needs an option ROM that
 * reads them, which it loads from fw_cfg's folder "genroms". Main thread, before the guest runs.
 */
#include "pc_firmware.h"

#include <errno.h>
#include <stdlib.h>

#include "boot.h"
#include "config.h"
#include "err.h"
#include "firmware.h"
#include "fw_cfg.h"
#include "log.h"
#include "machine.h"

#define LOADER_ROM "linuxboot_dma.bin"
enum { LOADER_ROM_MAX = 128 << 10 };
/* Larger firmware is UEFI's: a BIOS has to fit below 1 MiB. */
enum { BIOS_LEN_MAX = 512 << 10 };

static int tell_part(struct machine *m, const struct boot_part *part, uint16_t addr, uint16_t size,
		     uint16_t data, struct err *e)
{
	int rc = fw_cfg_set32(m, addr, part->addr, e);

	rc = rc ? rc : fw_cfg_set32(m, size, (uint32_t)part->len, e);
	return rc ? rc : fw_cfg_set(m, data, part->p, part->len, e);
}

static int tell_parts(struct machine *m, const struct boot_parts *p, struct err *e)
{
	int rc =
		tell_part(m, &p->setup, FW_CFG_SETUP_ADDR, FW_CFG_SETUP_SIZE, FW_CFG_SETUP_DATA, e);

	rc = rc ? rc
		: tell_part(m, &p->kernel, FW_CFG_KERNEL_ADDR, FW_CFG_KERNEL_SIZE,
			    FW_CFG_KERNEL_DATA, e);
	rc = rc ? rc
		: tell_part(m, &p->initrd, FW_CFG_INITRD_ADDR, FW_CFG_INITRD_SIZE,
			    FW_CFG_INITRD_DATA, e);
	return rc ? rc
		  : tell_part(m, &p->cmdline, FW_CFG_CMDLINE_ADDR, FW_CFG_CMDLINE_SIZE,
			      FW_CFG_CMDLINE_DATA, e);
}

static int add_loader(struct machine *m, const struct config *cfg, struct err *e)
{
	struct rom rom = { 0 };
	char *path = NULL;
	int rc = firmware_find(cfg, LOADER_ROM, &path, e);

	if (rc == -ENOENT)
		err_prefix(e, "-kernel %s: a BIOS starts it by an option ROM: ", cfg->kernel);
	rc = rc ? rc : rom_load(&rom, path, LOADER_ROM_MAX, e);
	rc = rc ? rc : fw_cfg_set_file(m, "genroms/" LOADER_ROM, rom.host, rom.len, e);
	m->boot_rom = rc ? NULL : "genroms/" LOADER_ROM;
	rom_free(&rom);
	free(path);
	return rc;
}

int pc_firmware_kernel(struct machine *m, const struct config *cfg, struct err *e)
{
	struct boot_request rq = {
		.kernel = cfg->kernel,
		.initrd = cfg->initrd,
		.append = cfg->append,
		.linux_extra = m->linux_words,
		.mem = &m->mem,
	};
	struct boot_parts parts;
	bool words;
	int rc;

	rq.n_e820 = boot_e820(&m->mem, rq.e820);
	rc = boot_parts_load(&rq, &parts, e);
	if (rc)
		return rc;
	rc = tell_parts(m, &parts, e);
	words = parts.kernel64 && m->linux_words;
	boot_parts_free(&parts);
	if (!rc && m->bios->path && m->bios->rom.len <= BIOS_LEN_MAX)
		rc = add_loader(m, cfg, e);
	if (!rc && words)
		log_note("this host's KVM is software; added to the kernel's command line: %s",
			 m->linux_words);
	return rc;
}
