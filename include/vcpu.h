/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtual CPU: a thread that calls KVM_RUN and dispatches exits.
 *
 * KVM ioctls on a vCPU block while it is in KVM_RUN, so all functions here
 * marked [vcpu] are for the vCPU's own thread (exit handlers, vcpu_call), or
 * for the main thread before vm_start.
 */
#ifndef POSADA_VCPU_H
#define POSADA_VCPU_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct assist_vcpu;
struct err;
struct vm;

#define EXIT_RING 32 /* power of two */

/* One exit, for the crash report. */
struct exit_record {
	uint32_t reason; /* KVM_EXIT_* */
	uint16_t size; /* access size, string count folded in */
	bool write;
	uint64_t addr; /* port, guest-physical address, MSR index */
	uint64_t val;
};

struct vcpu {
	struct vm *vm;
	unsigned id;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool thread_started;
	_Atomic unsigned requests; /* VCPU_REQ_*: looked at between KVM_RUNs */
	_Atomic bool parked; /* written under vm->lock */
	struct vcpu_call *calls; /* under vm->lock */
	_Atomic uint64_t exits[64]; /* count by exit reason */
	struct exit_record ring[EXIT_RING];
	unsigned ring_pos; /* total number written */
	bool dead; /* under vm->lock: a report has been made; does not run again until reset */
	uint64_t synced; /* KVM_SYNC_X86_*: what of run->s.regs holds the registers */
	unsigned watch_seq; /* memmap_written's */
	struct vcpu_init *init; /* power-on state, for resets */
	struct assist_vcpu *assist; /* NULL on hardware KVM */
};

#define VCPU_REQ_PAUSE 1u
#define VCPU_REQ_CALL 2u
#define VCPU_REQ_QUIT 4u

/* [vcpu] State. 0 or -errno. What v->synced names is free to get. */
int vcpu_get_regs(struct vcpu *v, struct kvm_regs *r);
int vcpu_set_regs(struct vcpu *v, const struct kvm_regs *r);
int vcpu_get_sregs(struct vcpu *v, struct kvm_sregs *s);
int vcpu_set_sregs(struct vcpu *v, const struct kvm_sregs *s);
int vcpu_get_events(struct vcpu *v, struct kvm_vcpu_events *ev);
int vcpu_set_events(struct vcpu *v, const struct kvm_vcpu_events *ev);
int vcpu_get_xsave(struct vcpu *v, struct kvm_xsave *x); /* 4 KiB */
int vcpu_set_xsave(struct vcpu *v, const struct kvm_xsave *x);
int vcpu_get_xcrs(struct vcpu *v, struct kvm_xcrs *x);
int vcpu_set_xcrs(struct vcpu *v, const struct kvm_xcrs *x);
int vcpu_get_debugregs(struct vcpu *v, struct kvm_debugregs *d);
int vcpu_get_msr(struct vcpu *v, uint32_t index, uint64_t *val);
int vcpu_set_msr(struct vcpu *v, uint32_t index, uint64_t val);
int vcpu_set_guest_debug(struct vcpu *v, const struct kvm_guest_debug *d);
int vcpu_get_mp_state(struct vcpu *v, struct kvm_mp_state *s);

/* Where a page walk ended. */
enum walk_stop {
	WALK_DONE, /* the address is mapped (to RAM or not: gmem_ptr knows) */
	WALK_NOT_PRESENT, /* the last entry read has P=0 */
	WALK_RESERVED, /* the last entry read has reserved bits set */
	WALK_NO_RAM, /* the table that holds the last entry is not in RAM */
	WALK_NOT_CANONICAL, /* no table looked at: bits 63.. are no sign extension */
};

/* A guest page walk in software by CR0/CR4/EFER and CR3: no ioctl. Any thread. */
struct page_walk {
	unsigned levels; /* entries used below: 0 when paging is off */
	struct {
		const char *name; /* "PML5" "PML4" "PDPT" "PD" "PT" */
		uint64_t entry_gpa;
		uint64_t entry;
	} e[5];
	enum walk_stop stop;
	uint64_t bad_bits; /* WALK_RESERVED: which */
	bool present; /* WALK_DONE; then also: */
	uint64_t gpa;
	uint64_t page_size; /* 0 when paging is off */
	bool user, writable, nx; /* combined rights */
};
/* gva is a linear address: segment base added. 0, or -EFAULT with w->stop; w->levels says how far.
 */
int guest_page_walk(const struct vm *vm, const struct kvm_sregs *s, uint64_t gva,
		    struct page_walk *w);
/*
 * What a processor does to the entries of a walk when it goes on to access the page: sets the
 * accessed bits, and for a write the dirty bit; a kernel may look at these to learn what to
 * save. Only entries that are still as walked are changed; false when one is not: walk again.
 */
bool guest_walk_mark(const struct vm *vm, const struct kvm_sregs *s, const struct page_walk *w,
		     bool write);
/* Any thread: as many of len bytes at gva as are mapped to RAM, counted from the first. */
size_t guest_read_gva(const struct vm *vm, const struct kvm_sregs *s, uint64_t gva, void *buf,
		      size_t len);
/*
 * [vcpu] By linear address, page by page; rights are not looked at. -EFAULT
 * when a page is not mapped to RAM (nothing partial is promised), or read-only
 * for the guest when writing. Writing sets accessed and dirty bits, as a
 * processor does. s: as just read, never NULL.
 */
int vcpu_read_gva(struct vcpu *v, const struct kvm_sregs *s, uint64_t gva, void *buf, size_t len);
int vcpu_write_gva(struct vcpu *v, const struct kvm_sregs *s, uint64_t gva, const void *buf,
		   size_t len);

/* Any other thread: makes KVM_RUN return soon (signal + immediate_exit). */
void vcpu_kick(struct vcpu *v);
/* Main loop: runs fn on the vCPU's thread outside KVM_RUN, and waits. Runs it here when no thread
 * runs. */
void vcpu_call(struct vcpu *v, void (*fn)(struct vcpu *v, void *ctx), void *ctx);

/* The vCPU whose thread this is, or NULL. */
struct vcpu *vcpu_self(void);

/* --- life, for vm.c; main thread --- */
struct boot_entry;
struct kvm_cpuid2;
int vcpu_create(struct vm *vm, unsigned id, struct vcpu **out, struct err *e);
void vcpu_destroy(struct vcpu *v); /* its thread has ended */
/* Power-on state, then entry for the first CPU (NULL for the others, which wait for SIPI). [vcpu]
 */
int vcpu_reset(struct vcpu *v, const struct boot_entry *entry, struct err *e);
int vcpu_set_cpuid(struct vcpu *v, struct kvm_cpuid2 *c, struct err *e);
int vcpu_start(struct vcpu *v, struct err *e);
/* Once a process: the signal that kicks. */
void vcpu_setup_kick_signal(void);

/* "IO", "MMIO", "HLT", "INTERNAL_ERROR" ...; never NULL. */
const char *kvm_exit_name(uint32_t reason);
/* The same for people: "port I/O", "triple fault" ...; never NULL. */
const char *kvm_exit_words(uint32_t reason);

#endif
