/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vCPU's x86 state: power-on values, how a kernel is entered (include/boot.h),
 * and access to registers for the assist, reports and the monitor
 * (Intel SDM volume 3, 3.4 and 10; Linux Documentation/virt/kvm/api.rst).
 *
 * With KVM_CAP_SYNC_REGS the registers lie in the shared struct kvm_run after
 * each exit, which saves an ioctl each way; used where the assist needs them often.
 * Special registers are dear to a software KVM, as much as the rest of an exit by a port:
 * it is asked for them only when the assist is likely to look (assist_poll).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "assist.h"
#include "boot.h"
#include "cpuid.h"
#include "err.h"
#include "vcpu.h"
#include "vm.h"

#define CR0_PE (1ull << 0)
#define CR0_ET (1ull << 4)
#define CR0_NE (1ull << 5)
#define CR0_PG (1ull << 31)
#define CR4_PAE (1ull << 5)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)

/* MSRs that a guest sets and a reset must clear. The PV ones would let KVM write old RAM. */
static const struct {
	uint32_t index;
	uint64_t val;
} reset_msrs[] = {
	{ 0x174, 0 }, /* IA32_SYSENTER_CS */
	{ 0x175, 0 }, /* IA32_SYSENTER_ESP */
	{ 0x176, 0 }, /* IA32_SYSENTER_EIP */
	{ 0x1a0, 1 }, /* IA32_MISC_ENABLE: fast strings */
	{ 0x277, 0x0007040600070406 }, /* IA32_PAT */
	{ 0x2ff, 0 }, /* IA32_MTRR_DEF_TYPE */
	{ 0x6e0, 0 }, /* IA32_TSC_DEADLINE */
	{ 0xc0000081, 0 }, /* STAR */
	{ 0xc0000082, 0 }, /* LSTAR */
	{ 0xc0000083, 0 }, /* CSTAR */
	{ 0xc0000084, 0 }, /* FMASK */
	{ 0xc0000102, 0 }, /* KERNEL_GS_BASE */
	{ 0x4b564d00, 0 }, /* MSR_KVM_WALL_CLOCK_NEW */
	{ 0x4b564d01, 0 }, /* MSR_KVM_SYSTEM_TIME_NEW */
	{ 0x4b564d02, 0 }, /* MSR_KVM_ASYNC_PF_EN */
	{ 0x4b564d03, 0 }, /* MSR_KVM_STEAL_TIME */
	{ 0x4b564d04, 0 }, /* MSR_KVM_PV_EOI_EN */
};

struct vcpu_init {
	struct kvm_sregs sregs;
	struct kvm_lapic_state lapic;
	struct kvm_xsave xsave;
	struct kvm_xcrs xcrs;
};

static int kvm(struct vcpu *v, unsigned long request, void *arg)
{
	return ioctl(v->fd, request, arg) < 0 ? -errno : 0;
}

int vcpu_get_regs(struct vcpu *v, struct kvm_regs *r)
{
	if (v->synced & KVM_SYNC_X86_REGS) {
		*r = v->run->s.regs.regs;
		return 0;
	}
	return kvm(v, KVM_GET_REGS, r);
}

int vcpu_set_regs(struct vcpu *v, const struct kvm_regs *r)
{
	if (v->synced) {
		v->run->s.regs.regs = *r;
		v->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
		return 0;
	}
	return kvm(v, KVM_SET_REGS, (void *)(uintptr_t)r);
}

int vcpu_get_sregs(struct vcpu *v, struct kvm_sregs *s)
{
	if (v->synced & KVM_SYNC_X86_SREGS) {
		*s = v->run->s.regs.sregs;
		return 0;
	}
	return kvm(v, KVM_GET_SREGS, s);
}

int vcpu_set_sregs(struct vcpu *v, const struct kvm_sregs *s)
{
	if (v->synced) {
		v->run->s.regs.sregs = *s;
		v->run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
		v->synced |= KVM_SYNC_X86_SREGS;
		return 0;
	}
	return kvm(v, KVM_SET_SREGS, (void *)(uintptr_t)s);
}

int vcpu_get_events(struct vcpu *v, struct kvm_vcpu_events *ev)
{
	return kvm(v, KVM_GET_VCPU_EVENTS, ev);
}

int vcpu_set_events(struct vcpu *v, const struct kvm_vcpu_events *ev)
{
	return kvm(v, KVM_SET_VCPU_EVENTS, (void *)(uintptr_t)ev);
}

int vcpu_get_xsave(struct vcpu *v, struct kvm_xsave *x)
{
	return kvm(v, KVM_GET_XSAVE, x);
}

int vcpu_set_xsave(struct vcpu *v, const struct kvm_xsave *x)
{
	return kvm(v, KVM_SET_XSAVE, (void *)(uintptr_t)x);
}

int vcpu_get_xcrs(struct vcpu *v, struct kvm_xcrs *x)
{
	return kvm(v, KVM_GET_XCRS, x);
}

int vcpu_set_xcrs(struct vcpu *v, const struct kvm_xcrs *x)
{
	return kvm(v, KVM_SET_XCRS, (void *)(uintptr_t)x);
}

int vcpu_get_debugregs(struct vcpu *v, struct kvm_debugregs *d)
{
	return kvm(v, KVM_GET_DEBUGREGS, d);
}

int vcpu_set_guest_debug(struct vcpu *v, const struct kvm_guest_debug *d)
{
	return kvm(v, KVM_SET_GUEST_DEBUG, (void *)(uintptr_t)d);
}

int vcpu_get_mp_state(struct vcpu *v, struct kvm_mp_state *s)
{
	return kvm(v, KVM_GET_MP_STATE, s);
}

struct one_msr {
	struct kvm_msrs head;
	struct kvm_msr_entry entry;
};

int vcpu_get_msr(struct vcpu *v, uint32_t index, uint64_t *val)
{
	struct one_msr m = { .head.nmsrs = 1, .entry.index = index };
	int rc = ioctl(v->fd, KVM_GET_MSRS, &m);

	*val = m.entry.data;
	return rc == 1 ? 0 : rc < 0 ? -errno : -ENOENT;
}

int vcpu_set_msr(struct vcpu *v, uint32_t index, uint64_t val)
{
	struct one_msr m = { .head.nmsrs = 1, .entry = { .index = index, .data = val } };
	int rc = ioctl(v->fd, KVM_SET_MSRS, &m);

	return rc == 1 ? 0 : rc < 0 ? -errno : -ENOENT;
}

int vcpu_set_cpuid(struct vcpu *v, struct kvm_cpuid2 *c, struct err *e)
{
	cpuid_set_topology(c, v->id, v->vm->n_cpus);
	if (ioctl(v->fd, KVM_SET_CPUID2, c) < 0)
		return err_set(e, ERR_HOST, errno, "KVM refused the CPUID of CPU %u: %s", v->id,
			       strerror(errno));
	return 0;
}

/* --- power-on and entry --------------------------------------------------- */

static struct kvm_segment flat_segment(unsigned selector, unsigned type, bool is64)
{
	return (struct kvm_segment){
		.base = 0,
		.limit = 0xffffffff,
		.selector = (uint16_t)selector,
		.type = (uint8_t)type,
		.present = 1,
		.s = 1,
		.g = 1,
		.l = is64,
		.db = !is64,
	};
}

static void entry_sregs(struct kvm_sregs *s, const struct boot_entry *entry)
{
	bool is64 = entry->mode == BOOT_LONG64;
	struct kvm_segment data = flat_segment(0x18, 0x3, false);

	s->cs = flat_segment(0x10, 0xb, is64);
	s->ds = s->es = s->fs = s->gs = s->ss = data;
	s->tr = (struct kvm_segment){ .limit = 0x67, .type = 0xb, .present = 1 };
	s->ldt = (struct kvm_segment){ .unusable = 1 };
	s->gdt.base = BOOT_GDT_ADDR;
	s->gdt.limit = 4 * 8 - 1;
	s->idt.base = 0;
	s->idt.limit = 0;
	s->cr0 = CR0_PE | CR0_ET | CR0_NE | (is64 ? CR0_PG : 0);
	s->cr3 = is64 ? entry->cr3 : 0;
	s->cr4 = is64 ? CR4_PAE : 0;
	s->efer = is64 ? EFER_LME | EFER_LMA : 0;
}

/* The state KVM gave the vCPU at its making; kept for resets. */
static int save_init(struct vcpu *v)
{
	struct vcpu_init *init = calloc(1, sizeof(*init));
	int rc;

	if (!init)
		return -ENOMEM;
	rc = kvm(v, KVM_GET_SREGS, &init->sregs);
	rc = rc ? rc : kvm(v, KVM_GET_LAPIC, &init->lapic);
	rc = rc ? rc : kvm(v, KVM_GET_XSAVE, &init->xsave);
	if (rc) {
		free(init);
		return rc;
	}
	if (kvm(v, KVM_GET_XCRS, &init->xcrs))
		init->xcrs.nr_xcrs = 0; /* an old processor without XSAVE */
	v->init = init;
	return 0;
}

static int restore_init(struct vcpu *v)
{
	struct kvm_vcpu_events ev = { .flags = KVM_VCPUEVENT_VALID_NMI_PENDING };
	struct kvm_debugregs dr = { .dr6 = 0xffff0ff0, .dr7 = 0x400 };
	int rc;

	v->synced = 0; /* what follows goes by ioctl, and leaves run->s.regs stale */
	v->run->kvm_dirty_regs = 0;
	rc = kvm(v, KVM_SET_SREGS, &v->init->sregs);
	rc = rc ? rc : kvm(v, KVM_SET_LAPIC, &v->init->lapic);
	rc = rc ? rc : kvm(v, KVM_SET_XSAVE, &v->init->xsave);
	rc = rc ? rc : v->init->xcrs.nr_xcrs ? kvm(v, KVM_SET_XCRS, &v->init->xcrs) : 0;
	rc = rc ? rc : kvm(v, KVM_SET_VCPU_EVENTS, &ev);
	rc = rc ? rc : kvm(v, KVM_SET_DEBUGREGS, &dr);
	for (size_t i = 0; i < sizeof(reset_msrs) / sizeof(reset_msrs[0]); i++)
		vcpu_set_msr(v, reset_msrs[i].index, reset_msrs[i].val); /* those that exist */
	return rc;
}

int vcpu_reset(struct vcpu *v, const struct boot_entry *entry, struct err *e)
{
	struct kvm_mp_state mp = { .mp_state = !v->id ? KVM_MP_STATE_RUNNABLE
						      : KVM_MP_STATE_UNINITIALIZED };
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rflags = 2 };
	int rc = v->init ? restore_init(v) : save_init(v);

	v->dead = false;
	v->ring_pos = 0;
	if (!rc && entry) {
		sregs = v->init->sregs;
		entry_sregs(&sregs, entry);
		rc = kvm(v, KVM_SET_SREGS, &sregs);
		regs.rip = entry->rip;
		regs.rsp = entry->rsp;
		regs.rax = entry->rax;
		regs.rbx = entry->rbx;
		regs.rsi = entry->rsi;
	} else if (!rc) {
		regs.rip = 0xfff0;
	}
	rc = rc ? rc : kvm(v, KVM_SET_REGS, &regs);
	if (!rc && (v->id || v->thread_started))
		rc = kvm(v, KVM_SET_MP_STATE, &mp);
	if (rc)
		return err_set(e, ERR_HOST, -rc, "KVM refused the power-on state of CPU %u: %s",
			       v->id, strerror(-rc));
	if (v->vm->assist) {
		v->run->kvm_valid_regs = KVM_SYNC_X86_REGS;
		return assist_vcpu_reset(v, e);
	}
	return 0;
}
