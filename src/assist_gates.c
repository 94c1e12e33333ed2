/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Breakpoints on the guest's exception handlers, for what a software KVM gets
 * wrong without telling its VMM (AMD APM volume 2, 6.1.1 and 8.9):
 *
 * - SYSCALL loads RIP from LSTAR, RCX and R11 and masks RFLAGS, but leaves the
 *   processor in user mode. A kernel's entry point is a supervisor page, so
 *   the guest takes a page fault there: error code 5 or 0x15, CR2 = LSTAR. At
 *   the page fault handler's first instruction the frame is dropped, and the
 *   guest goes on at LSTAR: CS and CPL are right by then.
 * - INT n in user mode raises #UD, as do MOVBE and RDPID in kernel mode. At the
 *   #UD handler's first instruction the interrupt is delivered as it should
 *   have been, or the instruction carried out.
 *
 * Faults that are real go on into the handler. Its first instruction is
 * carried out here, for it is nearly always a NOP, CLAC, CLD or the like;
 * else KVM steps over it with the breakpoints off.
 *
 * The breakpoints are the virtual CPU's debug registers: a guest cannot use
 * them for itself meanwhile. On each vCPU's own thread.
 */
#include <errno.h>
#include <string.h>

#include "assist_priv.h"
#include "log.h"
#include "vcpu.h"
#include "vm.h"
#include "zydis_lazy.h"

#define PF_PRESENT 1u
#define PF_USER 4u
#define PF_FETCH 16u

/* What an exception pushes in long mode, error code first when it has one. */
struct frame {
	uint64_t rip, cs, rflags, rsp, ss;
};

struct gate {
	uint64_t entry; /* 0: not present */
	uint16_t selector;
	uint8_t type, dpl, ist;
};

#define GATE_INTERRUPT 14
#define GATE_TRAP 15

static struct gate read_gate(struct vcpu *v, const struct kvm_sregs *s, unsigned vector)
{
	/* offset 15:0, selector, IST and attributes, offset 31:16, offset 63:32, reserved */
	uint16_t w[8];
	struct gate g = { 0 };

	if (!(s->efer & EFER_LMA) || s->idt.limit < vector * 16 + 15 ||
	    vcpu_read_gva(v, s, s->idt.base + vector * 16, w, sizeof(w)) < 0 || !(w[2] & 0x8000))
		return g;
	g.entry = w[0] | (uint64_t)w[3] << 16 | (uint64_t)w[4] << 32 | (uint64_t)w[5] << 48;
	g.selector = w[1];
	g.ist = w[2] & 7;
	g.type = w[2] >> 8 & 15;
	g.dpl = w[2] >> 13 & 3;
	return g;
}

/* --- the breakpoints ---------------------------------------------------------- */

static int set_breakpoints(struct assist_vcpu *a)
{
	struct kvm_guest_debug d = { 0 };

	if (a->pf_entry || a->ud_entry)
		d.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
	d.arch.debugreg[7] = 0x400; /* bit 10 reads as 1 */
	if (a->pf_entry) {
		d.arch.debugreg[0] = a->pf_entry;
		d.arch.debugreg[7] |= 2; /* G0: execution, one byte */
	}
	if (a->ud_entry) {
		d.arch.debugreg[1] = a->ud_entry;
		d.arch.debugreg[7] |= 8; /* G1 */
	}
	a->stepping = false;
	return vcpu_set_guest_debug(a->v, &d);
}

/* Reads the handlers' addresses, and moves the breakpoints when they are others. */
static int watch(struct assist_vcpu *a, const struct kvm_sregs *s)
{
	uint64_t pf = a->lstar ? read_gate(a->v, s, VEC_PF).entry : 0;
	uint64_t ud = read_gate(a->v, s, VEC_UD).entry;

	if (ud == pf)
		ud = 0; /* one handler for all: no telling which it was */
	a->idt_base = s->idt.base;
	if (pf == a->pf_entry && ud == a->ud_entry)
		return 0;
	a->pf_entry = pf;
	a->ud_entry = ud;
	return set_breakpoints(a);
}

int assist_gates_wrmsr(struct vcpu *v)
{
	struct assist_vcpu *a = v->assist;
	uint32_t index = v->run->msr.index;
	uint64_t val = v->run->msr.data;
	struct kvm_sregs s;
	int r;

	if (index != MSR_LSTAR && index != MSR_SFMASK)
		return 0;
	r = vcpu_set_msr(v, index, val);
	v->run->msr.error = r < 0; /* #GP: not a canonical address */
	if (r < 0)
		return 1;
	if (index == MSR_SFMASK) {
		a->sfmask = val;
		return 1;
	}
	a->lstar = val;
	r = vcpu_get_sregs(v, &s);
	if (r == 0)
		r = watch(a, &s);
	return r < 0 ? r : 1;
}

/* Whether the assist looks at the special registers of such an exit. */
static bool needs_sregs(uint32_t exit_reason)
{
	return exit_reason == KVM_EXIT_DEBUG || exit_reason == KVM_EXIT_INTERNAL_ERROR;
}

void assist_poll(struct vcpu *v)
{
	struct assist_vcpu *a = v->assist;
	bool due = ++a->polls % 16 == 0;
	struct kvm_sregs s;

	/*
	 * No exit tells of a new IDT or a changed gate. Look at every 16th exit; where the
	 * registers have come with the exit, at once when the IDT is elsewhere.
	 */
	if (!a->stepping && (due || v->synced & KVM_SYNC_X86_SREGS) && vcpu_get_sregs(v, &s) == 0 &&
	    (due || s.idt.base != a->idt_base))
		watch(a, &s);
	/* Exits of a kind come in rows: the next one is expected to be like this. */
	v->run->kvm_valid_regs = KVM_SYNC_X86_REGS;
	if (needs_sregs(v->run->exit_reason))
		v->run->kvm_valid_regs |= KVM_SYNC_X86_SREGS;
}

int assist_gates_reset(struct vcpu *v)
{
	struct assist_vcpu *a = v->assist;
	struct kvm_sregs s;
	int r;

	/* State loaded from elsewhere has LSTAR and an IDT already. */
	r = vcpu_get_msr(v, MSR_LSTAR, &a->lstar);
	if (r == 0)
		r = vcpu_get_msr(v, MSR_SFMASK, &a->sfmask);
	if (r == 0)
		r = vcpu_get_sregs(v, &s);
	a->pf_entry = a->ud_entry = 0;
	if (r == 0)
		r = set_breakpoints(a);
	return r == 0 ? watch(a, &s) : r;
}

/* --- at a handler -------------------------------------------------------------- */

/* KVM ignores the guest's debug registers while it has ours: say so, once. */
static void check_guest_debug(struct assist_vcpu *a)
{
	struct kvm_debugregs d;

	if (a->v->vm->assist->debug_warned || vcpu_get_debugregs(a->v, &d) < 0 || !(d.dr7 & 0xff) ||
	    atomic_exchange(&a->v->vm->assist->debug_warned, true))
		return;
	log_warn("the guest uses hardware breakpoints, which do not work on this software KVM "
		 "while SYSCALL is worked round (-accel kvm,assist=off turns that off)");
}

/* The fault is the guest's own business: gets it past the breakpoint. */
static int enter_handler(struct assist_vcpu *a, const struct kvm_sregs *s, uint64_t rip)
{
	static const struct kvm_guest_debug step = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_BLOCKIRQ,
	};
	uint8_t code[15];
	int r;

	if (!(++a->faults % 1024))
		check_guest_debug(a);
	if (vcpu_read_gva(a->v, s, rip, code, sizeof(code)) == 0) {
		r = assist_carry_out(a, code, sizeof(code), false);
		if (r != 0)
			return r;
	}
	a->steps++;
	a->stepping = true;
	r = vcpu_set_guest_debug(a->v, &step);
	return r < 0 ? r : 1;
}

/*
 * The way of every system call and page fault of the guest: registers come and
 * go with KVM_RUN (SYNC_REGS), so that a system call rarely takes an ioctl but that.
 */
static int at_page_fault(struct assist_vcpu *a, struct kvm_regs *g, const struct kvm_sregs *s)
{
	struct {
		uint64_t error;
		struct frame f;
	} p;
	int r;

	if (s->cr2 != a->lstar || vcpu_read_gva(a->v, s, g->rsp, &p, sizeof(p)) < 0 ||
	    (p.error | PF_FETCH) != (PF_PRESENT | PF_USER | PF_FETCH) || (p.f.cs & 3) != 3 ||
	    p.f.rip != a->lstar)
		return enter_handler(a, s, g->rip);
	/*
	 * SYSCALL has masked RFLAGS already. But a user's jump to LSTAR looks the
	 * same from here, and must not get more than SYSCALL gives: no flag that
	 * the kernel wants clear, and no IOPL in R11 for SYSRET to load.
	 * SS is null after the fault, which kernel mode in 64 bits does not mind.
	 */
	g->rip = a->lstar;
	g->rsp = p.f.rsp;
	g->rflags = (p.f.rflags & ~a->sfmask & ~RFLAGS_RF) | 2;
	g->r11 &= ~(RFLAGS_IOPL | RFLAGS_VM | RFLAGS_RF);
	a->syscalls++;
	r = vcpu_set_regs(a->v, g);
	return r < 0 ? r : 1;
}

/*
 * INT n of user mode: delivered from the frame f that #UD has pushed. 1 when
 * done; 0 when it is not that plain a case, and the guest gets its #UD.
 */
static int deliver_int(struct assist_vcpu *a, struct kvm_regs *g, const struct kvm_sregs *s,
		       struct frame *f, unsigned vector)
{
	struct gate to = read_gate(a->v, s, vector);
	struct {
		uint64_t error;
		struct frame f;
	} push = { .f = *f };
	bool gp = s->idt.limit < vector * 16u + 15 || !to.entry || to.dpl < 3;
	size_t size = sizeof(push.f);
	uint64_t top;
	int r;

	push.f.rflags &= ~RFLAGS_RF;
	if (gp) {
		/* Not for users: #GP at the instruction, with the vector's IDT index. */
		push.error = vector * 8 + 2;
		to = read_gate(a->v, s, VEC_GP);
		size = sizeof(push);
		push.f.rflags |= RFLAGS_RF;
	} else {
		push.f.rip += 2;
	}
	if (!to.entry || to.selector != s->cs.selector ||
	    (to.type != GATE_INTERRUPT && to.type != GATE_TRAP))
		return 0;
	/* TSS: RSP0 at 4, IST1 at 36 */
	if (vcpu_read_gva(a->v, s, s->tr.base + (to.ist ? 28u + to.ist * 8u : 4u), &top, 8) < 0)
		return 0;
	top = (top & ~15ull) - size;
	if (vcpu_write_gva(a->v, s, top, gp ? (const void *)&push : &push.f, size) < 0)
		return 0;
	g->rip = to.entry;
	g->rsp = top;
	g->rflags = f->rflags & ~(RFLAGS_TF | RFLAGS_NT | RFLAGS_RF | RFLAGS_VM);
	if (to.type == GATE_INTERRUPT)
		g->rflags &= ~RFLAGS_IF;
	a->interrupts++;
	r = vcpu_set_regs(a->v, g);
	return r < 0 ? r : 1;
}

/* Whether the instruction of the frame is one that the carrier knows; then it is carried out. */
static int carry_out_behind(struct assist_vcpu *a, const struct frame *f, const uint8_t *code,
			    size_t len)
{
	const struct zydis_api *z = zydis(NULL);
	struct insn_cpu *c = &a->cpu;
	enum insn_status st;
	int r;

	r = z ? assist_load_state(a) : -ENOENT;
	if (r < 0)
		return z ? r : 0;
	c->regs.rip = f->rip;
	c->regs.rsp = f->rsp;
	c->regs.rflags = f->rflags & ~RFLAGS_RF;
	st = insn_step(c, z, code, len);
	if (st == INSN_UNSUPPORTED || (st == INSN_EVENT && c->event.vector == VEC_UD))
		return 0;
	a->count[c->mnemonic]++;
	r = assist_store_state(a, st == INSN_EVENT, false);
	return r < 0 ? r : 1;
}

static int at_undefined(struct assist_vcpu *a, struct kvm_regs *g, const struct kvm_sregs *s)
{
	uint8_t code[15];
	struct frame f;
	size_t len;
	int r = 0;

	if (vcpu_read_gva(a->v, s, g->rsp, &f, sizeof(f)) < 0)
		return enter_handler(a, s, g->rip);
	len = guest_read_gva(a->v->vm, s, f.rip, code, sizeof(code));
	if ((f.cs & 3) == 3 && len >= 2 && code[0] == 0xcd)
		r = deliver_int(a, g, s, &f, code[1]);
	else if ((f.cs & 3) == 0 && len)
		r = carry_out_behind(a, &f, code, len);
	return r ? r : enter_handler(a, s, g->rip);
}

int assist_gates_debug(struct vcpu *v)
{
	struct assist_vcpu *a = v->assist;
	uint64_t pc = v->run->debug.arch.pc;
	struct kvm_sregs s;
	struct kvm_regs g;
	int r;

	if (a->stepping) {
		r = set_breakpoints(a);
		return r < 0 ? r : 1;
	}
	if (!pc || (pc != a->pf_entry && pc != a->ud_entry))
		return 0;
	r = vcpu_get_regs(v, &g);
	if (r == 0)
		r = vcpu_get_sregs(v, &s);
	if (r < 0)
		return r;
	return pc == a->pf_entry ? at_page_fault(a, &g, &s) : at_undefined(a, &g, &s);
}
