/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Help for guests on a KVM that is software itself: see include/assist.h.
 *
 * Such a KVM runs a guest's user mode natively and emulates its kernel mode,
 * with gaps. Four things fill them:
 *
 * 1. An instruction that KVM cannot emulate ends KVM_RUN with an emulation
 *    failure and the bytes; it is carried out by assist_insn.c.
 * 2. SYSCALL loads RIP from LSTAR but stays in user mode, and INT n in user
 *    mode and a few instructions in kernel mode raise #UD. Breakpoints on the
 *    guest's handlers of #PF and #UD tell: see assist_gates.c.
 * 3. CPUID bits that such a KVM honours are masked: instructions that would go
 *    wrong without notice, and hypercalls.
 * 4. For bits that it forces on, Linux is told on its command line.
 *
 * One gap cannot be filled, for there is nothing to see from outside: LZCNT and
 * TZCNT in kernel mode run as BSR and BSF. KVM does not list their CPUID bits.
 *
 * On each vCPU's own thread, but for what assist.h says otherwise.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assist_native.h"
#include "assist_priv.h"
#include "log.h"
#include "vcpu.h"
#include "vm.h"
#include "zydis_lazy.h"

bool assist_detect(const struct kvm_cpuid2 *supported)
{
	/*
	 * On hardware, KVM passes SSE3 on from the processor, and every processor
	 * with VT-x or AMD-V has it. A software KVM lists what its emulator
	 * knows, and SSE3 is not among that.
	 */
	for (unsigned i = 0; i < supported->nent; i++)
		if (supported->entries[i].function == 1)
			return !(supported->entries[i].ecx & 1);
	return false;
}

int assist_create(struct vm *vm, struct err *e)
{
	struct assist *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return err_set(e, ERR_HOST, ENOMEM, "no memory for the software-KVM assist");
	r = kvm_assist_setup(vm, e);
	if (r < 0) {
		free(a);
		return r;
	}
	vm->assist = a;
	return 0;
}

void assist_destroy(struct vm *vm)
{
	free(vm->assist);
	vm->assist = NULL;
}

void assist_mask_cpuid(struct vm *vm, struct kvm_cpuid2 *cpuid)
{
	for (unsigned i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		if (e->function == 1) {
			e->ecx &= ~(1u << 13); /* CX16: carried out here, at 1000 times the price */
		} else if (e->function == 7 && e->index == 0) {
			e->edx &= ~(1u << 4); /* FSRM: string moves are slow, and of 8 bytes best */
		} else if (e->function == 0x40000001) {
			/*
			 * The clock (bits 0, 3, 24) and "port 0x80 need not be written" (1).
			 * The others are hypercalls, which this KVM cannot do, or
			 * save host work that it does not have.
			 */
			e->eax &= 1u << 0 | 1u << 1 | 1u << 3 | 1u << 24;
		}
	}
}

/*
 * Bit numbers (32 * word + bit) rather than names: Linux takes names since
 * 5.19, a list of numbers since 5.10, and before that the first number. So
 * the worst comes first. What each costs or breaks when it is left on:
 *   308 smap      two carried-out instructions at every user access and entry
 *   534 rdpid     #UD in the paranoid entry code
 *   145 pcid, 298 invpcid   a carried-out instruction at each TLB flush
 *   151 popcnt    a carried-out instruction in every bitmap weight
 *   295 smep, 514 umip, 515 pku   this KVM does not enforce them
 *   297 erms, 580 fsrm   rep movsb and stosb move a byte a step
 *   288 fsgsbase, 59 rdtscp   entry code that uses rdpid; a carried-out instruction
 */
const char *assist_linux_params(struct vm *vm)
{
	return "clearcpuid=308,534,145,298,151,295,514,515,297,580,288,59";
}

/* --- state of the carrier ------------------------------------------------- */

static int load_fpu(struct insn_cpu *c)
{
	struct vcpu *v = c->ctx;
	int r = vcpu_get_xsave(v, (struct kvm_xsave *)(void *)c->xsave);

	c->fpu_loaded = r == 0;
	return r;
}

/* Asked each time: newer software KVMs carry out XSETBV themselves. */
static int load_xcr0(struct insn_cpu *c)
{
	struct kvm_xcrs x;
	int r = vcpu_get_xcrs(c->ctx, &x);

	c->xcr0 = r == 0 && x.nr_xcrs ? x.xcrs[0].value : 1;
	return r;
}

static int rdmsr(struct insn_cpu *c, uint32_t index, uint64_t *val)
{
	struct vcpu *v = c->ctx;

	return vcpu_get_msr(v, index, val) < 0 ? -EOPNOTSUPP : 0;
}

static const struct insn_ops insn_ops = {
	.read = assist_mem_read,
	.write = assist_mem_write,
	.map = assist_mem_map,
	.load_fpu = load_fpu,
	.load_xcr0 = load_xcr0,
	.rdmsr = rdmsr,
};

/* The layout is the processor's: KVM has no other. */
static struct xsave_layout host_layout;

static void read_host_layout(void)
{
	host_layout.mask = 3;
	for (unsigned i = 2; i < 63; i++) {
		struct host_cpuid id = host_cpuid(0xd, i); /* size, offset, bit 0: supervisor */

		if (!id.eax || (id.ecx & 1) || id.ebx + (uint64_t)id.eax > XSAVE_AREA)
			continue;
		host_layout.mask |= 1ull << i;
		host_layout.offset[i] = (uint16_t)id.ebx;
		host_layout.size[i] = (uint16_t)id.eax;
		host_layout.align64[i] = id.ecx & 2;
	}
}

/* What the guest sees, which is not all that it was given: some bits are forced on. */
static int read_cpuid(struct assist_vcpu *a)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct insn_cpu *c = &a->cpu;
	struct kvm_cpuid2 *t;
	int r;

	pthread_once(&once, read_host_layout);
	c->layout = &host_layout;
	t = calloc(1, sizeof(*t) + 256 * sizeof(t->entries[0]));
	if (!t)
		return -ENOMEM;
	t->nent = 256;
	r = kvm_assist_get_cpuid(a->v, t);
	for (unsigned i = 0; r == 0 && i < t->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &t->entries[i];

		if (e->function == 1) {
			/* CX16 was masked for speed only: who uses it all the same gets it. */
			c->cpuid[INSN_CPUID_1C] = e->ecx | 1u << 13;
			c->cpuid[INSN_CPUID_1D] = e->edx;
		} else if (e->function == 7 && e->index == 0) {
			c->cpuid[INSN_CPUID_7B] = e->ebx;
			c->cpuid[INSN_CPUID_7C] = e->ecx;
			c->cpuid[INSN_CPUID_7D] = e->edx;
		} else if (e->function == 7 && e->index == 1) {
			c->cpuid[INSN_CPUID_71A] = e->eax;
		} else if (e->function == 0xd && e->index == 0) {
			c->xcr0_allowed = e->eax | (uint64_t)e->edx << 32;
		} else if (e->function == 0xd && e->index == 1) {
			c->cpuid[INSN_CPUID_D1A] = e->eax;
		} else if (e->function == 0x80000001) {
			c->cpuid[INSN_CPUID_X1C] = e->ecx;
			c->cpuid[INSN_CPUID_X1D] = e->edx;
		} else if (e->function == 0x80000008) {
			c->cpuid[INSN_CPUID_X8B] = e->ebx;
		}
	}
	free(t);
	a->cpuid_known = r == 0;
	return r;
}

/* Register state of the exit into the carrier. */
int assist_load_state(struct assist_vcpu *a)
{
	struct insn_cpu *c = &a->cpu;
	int r = 0;

	if (!a->cpuid_known)
		r = read_cpuid(a);
	if (r == 0)
		r = vcpu_get_regs(a->v, &c->regs);
	if (r == 0)
		r = vcpu_get_sregs(a->v, &c->sregs);
	c->sregs_dirty = c->xcr0_dirty = c->fpu_dirty = c->fpu_loaded = c->flush_tlb = false;
	return r;
}

/*
 * What the carrier changed, back into KVM; and its event, if any. shadow: the
 * instruction may follow STI or MOV SS, which hold interrupts until it is done.
 */
int assist_store_state(struct assist_vcpu *a, bool event, bool shadow)
{
	struct insn_cpu *c = &a->cpu;
	const struct insn_event *ie = &c->event;
	struct vcpu *v = a->v;
	struct kvm_vcpu_events ev;
	int r;

	if (c->flush_tlb) {
		/* KVM flushes when CR4.PGE changes, as the processor does: off here, on below. */
		c->sregs.cr4 ^= CR4_PGE;
		r = kvm_assist_set_sregs(v, &c->sregs);
		if (r < 0)
			return r;
		c->sregs.cr4 ^= CR4_PGE;
		c->sregs_dirty = true;
	}
	if (c->xcr0_dirty) {
		struct kvm_xcrs x = { .nr_xcrs = 1, .xcrs[0].value = c->xcr0 };

		r = vcpu_set_xcrs(v, &x);
		if (r < 0)
			return r;
		a->cpuid_known = false; /* sizes in leaf 0xd follow XCR0 */
	}
	if (c->fpu_dirty) {
		r = vcpu_set_xsave(v, (const struct kvm_xsave *)(const void *)c->xsave);
		if (r < 0)
			return r;
	}
	if (c->sregs_dirty) {
		r = vcpu_set_sregs(v, &c->sregs);
		if (r < 0)
			return r;
	}
	r = vcpu_set_regs(v, &c->regs);
	if (r < 0)
		return r;
	if (!event && !shadow)
		return 0;
	r = vcpu_get_events(v, &ev);
	if (r < 0 || (!event && !ev.interrupt.shadow))
		return r;
	ev.flags |= KVM_VCPUEVENT_VALID_SHADOW;
	ev.interrupt.shadow = 0;
	if (event && ie->software) {
		ev.interrupt.injected = 1;
		ev.interrupt.soft = 1;
		ev.interrupt.nr = ie->vector;
	} else if (event) {
		ev.exception.injected = 1;
		ev.exception.nr = ie->vector;
		ev.exception.has_error_code = ie->has_error;
		ev.exception.error_code = ie->error;
	}
	if (event && ie->vector == 1) {
		struct kvm_debugregs d;

		r = vcpu_get_debugregs(v, &d);
		if (r == 0) {
			d.dr6 |= ie->dr6;
			r = kvm_assist_set_debugregs(v, &d);
		}
		if (r < 0)
			return r;
	}
	return vcpu_set_events(v, &ev);
}

/*
 * Carries out what is at RIP. Returns as assist_exit does. must: KVM cannot, so
 * this is the guest's end when it fails; else KVM does all but the plain cases.
 */
int assist_carry_out(struct assist_vcpu *a, const uint8_t *code, size_t len, bool must)
{
	const struct zydis_api *z;
	enum insn_status s;
	struct err e;
	int r;

	z = zydis(&e);
	if (!z) {
		if (must)
			err_print(&e);
		return 0;
	}
	r = assist_load_state(a);
	if (r < 0)
		return r;
	s = insn_step(&a->cpu, z, code, len);
	if (s == INSN_UNSUPPORTED && must)
		log_warn("the instruction '%s' that this KVM cannot run was not carried out: %s",
			 a->cpu.name, a->cpu.why);
	if (s == INSN_UNSUPPORTED || (s == INSN_EVENT && !must))
		return 0;
	a->count[a->cpu.mnemonic]++;
	/* At the start of a handler there is no shadow, and the ioctl can be spared. */
	r = assist_store_state(a, s == INSN_EVENT, must);
	return r < 0 ? r : 1;
}

/* --- exits ------------------------------------------------------------------- */

static int exit_emulation_failure(struct vcpu *v)
{
	const struct kvm_run *run = v->run;
	uint8_t code[15];
	size_t len = 0;

	if (run->emulation_failure.suberror != KVM_INTERNAL_ERROR_EMULATION)
		return 0;
	if (run->emulation_failure.ndata >= 3 &&
	    (run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)) {
		len = run->emulation_failure.insn_size;
		if (len > sizeof(code))
			len = sizeof(code);
		memcpy(code, run->emulation_failure.insn_bytes, len);
	}
	/* Without bytes RIP is where there is no RAM, and that is the guest's end. */
	return len ? assist_carry_out(v->assist, code, len, true) : 0;
}

int assist_exit(struct vcpu *v)
{
	if (!v->assist)
		return 0;
	switch (v->run->exit_reason) {
	case KVM_EXIT_INTERNAL_ERROR:
		return exit_emulation_failure(v);
	case KVM_EXIT_DEBUG:
		return assist_gates_debug(v);
	case KVM_EXIT_X86_WRMSR:
		return assist_gates_wrmsr(v);
	default:
		return 0;
	}
}

int assist_vcpu_reset(struct vcpu *v, struct err *e)
{
	struct assist_vcpu *a = v->assist;
	bool fresh = !a;
	int r;

	if (!v->vm->assist)
		return 0;
	if (fresh) {
		a = calloc(1, sizeof(*a));
		if (a)
			a->cpu.xsave = aligned_alloc(64, XSAVE_AREA);
		if (!a || !a->cpu.xsave) {
			free(a);
			return err_set(e, ERR_HOST, ENOMEM, "no memory for CPU %u", v->id);
		}
		a->v = v;
		a->cpu.ops = &insn_ops;
		a->cpu.ctx = v;
		v->assist = a;
		return 0; /* LSTAR is 0 and no breakpoint is set */
	}
	a->cpuid_known = false;
	r = assist_gates_reset(v);
	if (r < 0)
		return err_set(e, ERR_HOST, -r, "KVM refused debug state for CPU %u: %s", v->id,
			       strerror(-r));
	return 0;
}

void assist_vcpu_free(struct vcpu *v)
{
	if (!v->assist)
		return;
	insn_native_free(v->assist->cpu.native);
	free(v->assist->cpu.xsave);
	free(v->assist);
	v->assist = NULL;
}

void assist_info(struct vm *vm, void (*line)(void *ctx, const char *text), void *ctx)
{
	uint64_t syscalls = 0, interrupts = 0, faults = 0, steps = 0;
	const struct zydis_api *z;
	char text[128];

	if (!vm->assist) {
		line(ctx, "assist: off");
		return;
	}
	for (unsigned i = 0; i < vm->n_cpus; i++) {
		const struct assist_vcpu *a = vm->vcpu[i] ? vm->vcpu[i]->assist : NULL;

		if (!a)
			continue;
		syscalls += a->syscalls;
		faults += a->faults;
		steps += a->steps;
		interrupts += a->interrupts;
	}
	snprintf(text, sizeof(text), "system calls: %llu", (unsigned long long)syscalls);
	line(ctx, text);
	snprintf(text, sizeof(text), "software interrupts in user mode: %llu",
		 (unsigned long long)interrupts);
	line(ctx, text);
	snprintf(text, sizeof(text), "handlers entered for real faults: %llu (%llu by single step)",
		 (unsigned long long)faults, (unsigned long long)steps);
	line(ctx, text);
	z = zydis(NULL);
	for (unsigned m = 0; z && m <= ZYDIS_MNEMONIC_MAX_VALUE; m++) {
		uint64_t n = 0;

		for (unsigned i = 0; i < vm->n_cpus; i++)
			if (vm->vcpu[i] && vm->vcpu[i]->assist)
				n += vm->vcpu[i]->assist->count[m];
		if (!n)
			continue;
		snprintf(text, sizeof(text), "%s: %llu", z->MnemonicGetString((ZydisMnemonic)m),
			 (unsigned long long)n);
		line(ctx, text);
	}
}
