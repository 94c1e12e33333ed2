/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine as devices see it: buses, memory, interrupt lines, the main
 * loop, and a way to ask for a reset or the end. How it is carried out (KVM,
 * or a fake in unit tests) is behind `ops`.
 */
#ifndef POSADA_MACHINE_H
#define POSADA_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "bus.h"
#include "gmem.h"
#include "irq.h"
#include "memmap.h"

struct balloon_ops;
struct boot_item;
struct config;
struct blk_set;
struct chardev_set;
struct dev;
struct dev_class;
struct err;
struct firmware;
struct input_set;
struct loop;
struct net_set;
struct opts;
struct machine;
struct pci_host;
struct screen;

enum machine_request {
	MACHINE_RESET, /* the guest asked for a reset */
	MACHINE_POWEROFF, /* the guest powered itself off (S5) */
	MACHINE_EXIT, /* end the process with `code` (isa-debug-exit) */
	MACHINE_PANIC, /* pvpanic: the guest says that it crashed */
	MACHINE_CRASH_LOADED /* pvpanic: a crash kernel has taken over */
};

struct machine_ops {
	void (*request)(struct machine *m, enum machine_request what, int code); /* any thread */
	int (*msi_send)(struct machine *m, const struct msi_msg *msg);
	int (*irqfd_set)(struct machine *m, struct irqfd *q, const struct msi_msg *msg);
	void (*irqfd_free)(struct machine *m, struct irqfd *q);
	void (*set_elcr)(struct machine *m, uint16_t level_mask);
};

struct rtc_base {
	bool localtime; /* base=localtime */
	int64_t offset_s; /* guest clock minus host clock, for base=DATE */
};

struct machine {
	const struct machine_ops *ops;
	const struct config *cfg; /* or NULL: none, as in unit tests */
	struct bus pio, mmio;
	struct gmem mem;
	struct memmap map; /* what the guest sees as memory */
	struct mem_region ram[2]; /* below and above the PCI hole */
	struct firmware *bios; /* NULL: kernels are started without one */
	struct dev *fw_cfg; /* or NULL; see fw_cfg.h */
	struct dev *rtc_dev; /* or NULL */
	struct dev *acpi_pm; /* or NULL; see acpi_pm_place */
	struct dev *acpi_hotplug; /* or NULL; see acpi_hotplug_tell */
	struct boot_item *boot_items; /* see bootorder.h */
	const char *boot_rom; /* the option ROM of fw_cfg to boot from first, or NULL */
	const char *linux_words; /* for the command line of a Linux on this host, or NULL */
	uint8_t disk_translation; /* CMOS 0x39: how a BIOS counts cylinders, 2 bits for each IDE
				     disk */
	struct irq isa_irq[16]; /* IRQ 0..15; PIC and IOAPIC pins alike */
	unsigned n_cpus;
	unsigned phys_bits; /* width of a guest-physical address */
	unsigned serial_mask; /* bit n: COM(n+1) exists; set by isa-serial, read by the ACPI tables
			       */
	bool pvpanic; /* at port 0x505; set by pvpanic, read by the ACPI tables */
	struct loop *loop;
	struct chardev_set *chardevs;
	struct blk_set *blks;
	struct net_set *nets; /* see net.h */
	struct iothread *iothreads; /* see iothread.h */
	struct pci_host *pci; /* set by the host bridge; NULL: a machine without PCI */
	struct rtc_base rtc;
	struct dev *devices; /* in order of creation */
	struct input_set *input; /* see input.h */
	void (*input_end)(struct machine *m); /* frees it; NULL: there is none */
	struct screen *screens; /* graphics cards' screens; see display.h */
	/* ACPI hooks, set by the PM device: the power button was pressed (main loop) */
	void (*power_button)(void *ctx);
	bool (*power_button_heeded)(void *ctx); /* the guest has enabled it */
	void *power_button_ctx;
	const struct balloon_ops *balloon; /* set by a balloon device; NULL: there is none */
	struct dev *balloon_dev;
	/* The guest has more or less memory than before (main loop); may be NULL. */
	void (*balloon_changed)(struct machine *m);
};

/* Any thread, also with a device lock held: it is carried out later, on the main loop. */
static inline void machine_request(struct machine *m, enum machine_request what, int code)
{
	m->ops->request(m, what, code);
}

/* --- message-signalled interrupts, any thread. 0 or -errno. --- */
static inline int machine_msi_send(struct machine *m, const struct msi_msg *msg)
{
	return m->ops->msi_send(m, msg);
}
/*
 * Lets q->fd (a non-blocking eventfd of the caller's) raise msg, or with msg NULL holds
 * it back. Begin with { .fd = fd, .gsi = -1 }.
 */
static inline int machine_irqfd_set(struct machine *m, struct irqfd *q, const struct msi_msg *msg)
{
	return m->ops->irqfd_set(m, q, msg);
}
/* Holds it back and frees its route; the fd stays the caller's. */
static inline void machine_irqfd_free(struct machine *m, struct irqfd *q)
{
	m->ops->irqfd_free(m, q);
}

/* Which ISA interrupts the PICs take as level-triggered (ELCR). Main thread, no vCPU running. */
static inline void machine_set_elcr(struct machine *m, uint16_t level_mask)
{
	m->ops->set_elcr(m, level_mask);
}

/* Makes a device: defaults, then o's keys (o may be NULL), then init. *out may be NULL. */
int machine_add_device(struct machine *m, const struct dev_class *cls, struct opts *o,
		       struct dev **out, struct err *e);
/* For -device "ARG". */
int machine_add_device_arg(struct machine *m, const char *arg, struct err *e);
void machine_reset_devices(struct machine *m);
void machine_remove_devices(struct machine *m);
/* The boards (hw/machine_*.c): make what is always there and what cfg asks for. */
struct config;
int machine_pc_init(struct machine *m, const struct config *cfg, struct err *e);
int machine_micro_init(struct machine *m, const struct config *cfg, struct err *e);

/* By id; NULL when there is none. */
struct dev *machine_find_device(struct machine *m, const char *id);

#endif
