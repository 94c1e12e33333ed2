/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtual machine: its KVM handles, its run state, and what the monitor
 * can ask of it. Main loop only, unless marked otherwise.
 */
#ifndef POSADA_VM_H
#define POSADA_VM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "machine.h"

struct assist;
struct boot_request;
struct config;
struct err;
struct vcpu;

/* As QMP's query-status names them. */
enum run_state {
	RUN_PRELAUNCH, /* -S: never started */
	RUN_RUNNING,
	RUN_PAUSED, /* stop */
	RUN_SHUTDOWN, /* the guest powered off, -no-shutdown keeps it */
	RUN_GUEST_PANICKED, /* pvpanic */
	RUN_IO_ERROR, /* a disk failed or is full, werror=stop: waits for cont, or for room */
	RUN_INTERNAL_ERROR, /* died with a report, -no-shutdown keeps it */
};

/* Events for the monitor ("STOP", "RESUME", "SHUTDOWN", "RESET", "GUEST_PANICKED", "POWERDOWN"
 * ...). */
struct vm_listener {
	void (*event)(void *ctx, const char *name);
	void *ctx;
	struct vm_listener *next;
};

enum { VM_RING_SIZE = 4096 };

struct vm {
	struct machine m; /* first member */
	const struct config *cfg;
	int kvm_fd, fd;
	unsigned n_cpus;
	struct vcpu **vcpu;
	struct assist *assist; /* NULL when not in use */
	enum run_state state;
	int exit_status;
	bool quitting;
	bool asked_to_stop; /* by vm_ask_to_stop */
	bool software_kvm; /* the host KVM runs kernel-mode guest code in software */
	pthread_mutex_t lock; /* of pause, calls and parking; taken last, no callbacks inside */
	pthread_cond_t go_cond;
	bool pause; /* under lock */
	_Atomic bool report_made;
	struct vm_listener *listeners;
	struct kvm_irq_state *irq_state; /* kvm_irq.c */
	struct kvm_cpuid2 *cpuid; /* what vCPUs get, before their topology */
	unsigned run_size; /* bytes of struct kvm_run and what follows */
	unsigned late_ring; /* where in it KVM keeps writes back, VM_RING_SIZE bytes; 0: it does not
			     */
	bool late_ports; /* writes to ports, too */
	pthread_mutex_t late_lock; /* of who carries these out; taken before devices' locks */
	uint64_t rsdp;
	void *dtb; /* the device tree of a machine that has one; malloc'd */
	size_t dtb_len;
	uint64_t started_ns; /* CLOCK_MONOTONIC at vm_start; 0 before */
	/* What the event BLOCK_IO_ERROR that is being told is about. */
	struct {
		struct blk *blk;
		bool write;
		int error;
		const char *action;
		uint64_t warned_ns; /* when the user was last told of any */
	} io_error;
	/* And DEVICE_TRAY_MOVED. */
	struct {
		struct blk *blk;
		bool open;
	} tray;
};

/* Makes everything -- KVM, memory, devices, CPUs, kernel -- and stops before the first instruction.
 */
int vm_create(struct vm *vm, const struct config *cfg, struct loop *loop,
	      struct chardev_set *chardevs, struct err *e);
/* Starts the vCPU threads (parked when cfg->start_paused). */
int vm_start(struct vm *vm, struct err *e);
/* Stops and joins the vCPU threads, frees all. Accepts a half-made VM. */
void vm_destroy(struct vm *vm);

/* --- KVM's side (kvm_vm.c, kvm_irq.c) --- */
int kvm_vm_create(struct vm *vm, struct err *e);
int kvm_vm_map_memory(struct vm *vm, struct err *e);
void kvm_vm_destroy(struct vm *vm);
int kvm_irq_create(struct vm *vm, struct err *e);
/* PIC, IOAPIC and PIT to power-on state. */
void kvm_irq_reset(struct vm *vm);
void kvm_irq_destroy(struct vm *vm);
/* As struct machine_ops has them. */
int kvm_msi_send(struct machine *m, const struct msi_msg *msg);
int kvm_irqfd_set(struct machine *m, struct irqfd *q, const struct msi_msg *msg);
void kvm_irqfd_free(struct machine *m, struct irqfd *q);
void kvm_set_elcr(struct machine *m, uint16_t level_mask);
struct kvm_cpuid2;
/* What the host's KVM offers, malloc'd; *out is the caller's. */
int kvm_supported_cpuid(struct vm *vm, struct kvm_cpuid2 **out, struct err *e);
/* "-accel help": whether this host has a KVM, and of which kind. */
void kvm_describe_host(FILE *f);
extern const struct bus_doorbell_ops kvm_doorbell_ops;
extern const struct memmap_ops kvm_memmap_ops;

/*
 * What the guest sees at [gpa, gpa + len), firmware and the like included; NULL: no memory, or
 * write is set and the guest may not. Any thread.
 */
void *vm_guest_ptr(const struct vm *vm, uint64_t gpa, size_t len, bool write);

static inline struct vm *vm_of(struct machine *m)
{
	return (struct vm *)(void *)m;
}

const char *run_state_name(enum run_state s); /* "running", "guest-panicked" ... */
void vm_listen(struct vm *vm, struct vm_listener *l);
void vm_unlisten(struct vm *vm, struct vm_listener *l);

/* Stops every vCPU between two instructions; returns when all are parked. */
void vm_pause(struct vm *vm);
/* Undoes it. -EBUSY with the reason when the guest is dead or shut down. */
int vm_resume(struct vm *vm, struct err *e);
/*
 * Devices and vCPUs to power-on state, kernel loaded again, then running or
 * paused as before. With -no-reboot the VM ends instead.
 */
void vm_reset(struct vm *vm);
/* Presses the ACPI power button. -ENODEV when the machine has none. */
int vm_powerdown(struct vm *vm, struct err *e);
/* Whether the guest runs, and has enabled the button. */
bool vm_heeds_power_button(const struct vm *vm);
/*
 * The user wants an end, by `what`: a guest that hears of its power button ends by itself, and
 * `again` stops it; another guest is stopped at once.
 */
void vm_ask_to_stop(struct vm *vm, const char *what, const char *again);
/* Ends the main loop; the process exits with status. Any thread. */
void vm_quit(struct vm *vm, int status);

/*
 * Any thread: a vCPU cannot go on (the report has been printed). Ends the
 * process with ERR_GUEST, or keeps the VM stopped under -no-shutdown.
 */
void vm_guest_died(struct vm *vm);

#endif
