/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI tables for a machine without firmware, and the fixed hardware's I/O
 * ports, which the tables and the PM device must agree on.
 */
#ifndef POSADA_ACPI_H
#define POSADA_ACPI_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct gmem;
struct machine;

#define ACPI_PM_BASE 0x600 /* PM1a event block: status, enable (4 bytes) */
#define ACPI_PM1_CNT 0x604 /* PM1a control (2 bytes) */
#define ACPI_PM_TMR 0x608 /* PM timer (4 bytes) */
#define ACPI_GPE0 0x620 /* GPE0 block (4 bytes: status 2, enable 2) */
#define ACPI_RESET_PORT 0xcf9
#define ACPI_RESET_VALUE 0x06
#define ACPI_SCI_IRQ 9
#define ACPI_S5_SLP_TYP 0

#define IOAPIC_ADDR 0xfec00000u
#define LAPIC_ADDR 0xfee00000u

/* Which interrupt a pin of a PCI slot is wired to; level-triggered. */
struct acpi_pci_irq {
	uint8_t slot;
	uint8_t pin; /* 0: INTA# */
	uint8_t gsi; /* without firmware: where posada routes it */
	uint8_t link; /* 0: PIRQA ... */
};

#define ACPI_PCI_IRQS 128 /* 32 slots of 4 pins */

struct acpi_config {
	unsigned n_cpus;
	unsigned serial_mask; /* bit n: COM(n+1) exists */
	bool i8042, rtc;
	bool vga; /* a VGA, whose registers and memory a system may probe */
	bool pvpanic; /* at its usual port, 0x505 */
	bool pci;
	bool links; /* firmware routes PIRQs, and a system may move them: link devices */
	uint64_t pci_mem64_base, pci_mem64_size; /* the window above 4 GiB; 0, 0: none */
	unsigned n_pci_irqs;
	struct acpi_pci_irq pci_irq[ACPI_PCI_IRQS]; /* pins in use */
};

/*
 * Writes RSDP, FACS, DSDT, FADT, MADT and XSDT from BOOT_ACPI_ADDR up to 1 MiB.
 * *rsdp: guest address of the RSDP. CPU n has local APIC id n.
 * Main thread, no vCPU running; again at each reset.
 */
int acpi_build(struct gmem *mem, const struct acpi_config *c, uint64_t *rsdp, struct err *e);
/*
 * The same for firmware, which places the tables itself: files of fw_cfg, etc/acpi/tables,
 * etc/acpi/rsdp and etc/table-loader. Main thread.
 */
int acpi_tell_firmware(struct machine *m, const struct acpi_config *c, struct err *e);

/*
 * The fixed hardware's ports begin at base, 0: they are off. Any thread, the PM
 * device's lock not held.
 */
void acpi_pm_place(struct machine *m, uint16_t base);
/*
 * A general purpose event, which the guest hears of by the SCI when it has enabled it. Any
 * thread, the PM device's lock not held.
 */
void acpi_gpe_raise(struct machine *m, unsigned gpe);

/*
 * --- PCI devices that come and go (hw/acpi/pci_hotplug.c), for machines that have
 * m->acpi_hotplug. slot: of bus 0, one of those that the DSDT has methods for. Any thread,
 * that device's lock not held.
 */
enum { ACPI_HOTPLUG_FIRST = 24, ACPI_HOTPLUG_LAST = 31 };

struct acpi_hotplug_ops {
	/* The guest has let go of what is in the slot, which is removable. On a vCPU thread,
	 * with the lock held: the work is for the main loop (loop_post). */
	void (*eject)(void *ctx, unsigned slot);
};

void acpi_hotplug_listen(struct machine *m, const struct acpi_hotplug_ops *ops, void *ctx);
void acpi_hotplug_removable(struct machine *m, unsigned slot, bool removable);
/* A device has come to the slot, or the one there is to go: the guest is told. */
void acpi_hotplug_tell(struct machine *m, unsigned slot, bool comes);

#endif
