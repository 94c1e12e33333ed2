/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device classes this program knows, one line each. Any thread; constant. */
#include "dev.h"

#include <errno.h>
#include <string.h>

#include "err.h"

/* clang-format off */
#define DEVICES(X) \
	X(isa_serial) \
	X(isa_debugcon) \
	X(isa_debug_exit) \
	X(pvpanic) \
	X(isa_post) \
	X(isa_dma) \
	X(mc146818rtc) \
	X(i8042) \
	X(port92) \
	X(acpi_pm) \
	X(piix4_pm) \
	X(acpi_pci_hotplug) \
	X(virtio_rng_pci) \
	X(virtio_rng_mmio) \
	X(virtio_blk_pci) \
	X(virtio_blk_mmio) \
	X(virtio_net_pci) \
	X(virtio_net_mmio) \
	X(fw_cfg) \
	X(bios_messages) \
	X(pflash) \
	X(i440fx) \
	X(piix3) \
	X(piix3_ide) \
	X(ide_hd) \
	X(ide_cd) \
	X(pci_testdev) \
	X(vga_pci) \
	X(cirrus_vga) \
	X(virtio_serial_pci) \
	X(virtio_serial_mmio) \
	X(virtconsole) \
	X(virtserialport) \
	X(virtio_balloon_pci) \
	X(virtio_balloon_mmio) \
	X(virtio_keyboard_pci) \
	X(virtio_keyboard_mmio) \
	X(virtio_mouse_pci) \
	X(virtio_mouse_mmio) \
	X(virtio_tablet_pci) \
	X(virtio_tablet_mmio)
/* clang-format on */

#define DECLARE(name) extern const struct dev_class name##_class;
DEVICES(DECLARE)

#define ENTRY(name) &name##_class,
const struct dev_class *const dev_classes[] = { DEVICES(ENTRY) NULL };

const struct dev_class *dev_class_find(const char *name)
{
	for (size_t i = 0; dev_classes[i]; i++) {
		const struct dev_class *c = dev_classes[i];

		if (!strcmp(c->name, name) || (c->alias && !strcmp(c->alias, name)))
			return c;
	}
	return NULL;
}

int dev_unknown(const char *name, struct err *e)
{
	const char *names[2 * (sizeof(dev_classes) / sizeof(dev_classes[0]))];
	size_t n = 0;

	for (size_t i = 0; dev_classes[i]; i++) {
		if (dev_classes[i]->internal)
			continue;
		names[n++] = dev_classes[i]->name;
		if (dev_classes[i]->alias)
			names[n++] = dev_classes[i]->alias;
	}
	err_set(e, ERR_USAGE, EINVAL, "no device '%s'", name);
	err_suggest(e, name, names, n);
	if (e && !e->hint[0])
		err_hint(e, "'-device help' lists the devices");
	return -EINVAL;
}
