/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What most likely killed a guest, in a sentence.
 *
 * A table of rules, each of which knows one way to die; the first that
 * recognises the state says so. They see only a snapshot and guest memory, so
 * that every one can be tested without KVM. The state is the guest's and may
 * be anything. Any thread.
 *
 * Intel SDM volume 3A: chapter 4 (paging), 6 (interrupts and exceptions;
 * 6.14 in 64-bit mode), 7.7 (64-bit TSS); volume 3C, 27.8 and 31.4 (failed
 * VM entries). AMD APM volume 2, 15.6 (VMEXIT_INVALID).
 */
#include <asm/processor-flags.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "bus.h"
#include "config.h"
#include "report.h"
#include "vm.h"

#define EFER_LMA (1ull << 10)
#define VEC_DF 8
#define VEC_GP 13
#define VEC_PF 14

/* Error code of a page fault. */
#define PF_WRITE 2u
#define PF_USER 4u
#define PF_FETCH 16u

#define NULL_PAGE 4096 /* addresses below: a NULL pointer, maybe with an offset */

#define ll(x) ((unsigned long long)(x))

/* A sentence put together from parts; what does not fit is cut off. */
static void add(char *out, size_t out_len, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void add(char *out, size_t out_len, const char *fmt, ...)
{
	size_t used = strlen(out);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(out + used, out_len - used, fmt, ap);
	va_end(ap);
}

#define CAUSE(d, ...) add((d)->cause, sizeof((d)->cause), __VA_ARGS__)
#define HINT(d, ...) add((d)->hint, sizeof((d)->hint), __VA_ARGS__)

const char *exception_name(unsigned vector)
{
	static const char *const names[32] = {
		[0] = "#DE divide error",
		[1] = "#DB debug exception",
		[2] = "NMI",
		[3] = "#BP breakpoint",
		[4] = "#OF overflow",
		[5] = "#BR bound range exceeded",
		[6] = "#UD invalid opcode",
		[7] = "#NM no FPU",
		[8] = "#DF double fault",
		[10] = "#TS invalid TSS",
		[11] = "#NP segment not present",
		[12] = "#SS stack fault",
		[13] = "#GP general protection fault",
		[14] = "#PF page fault",
		[16] = "#MF x87 error",
		[17] = "#AC alignment check",
		[18] = "#MC machine check",
		[19] = "#XM SIMD error",
		[20] = "#VE virtualization exception",
		[21] = "#CP control protection",
	};

	return vector < 32 && names[vector] ? names[vector] : "an exception";
}

void page_walk_words(const struct page_walk *w, char *out, size_t out_len)
{
	unsigned last = w->levels ? w->levels - 1 : 0;
	const char *name = w->levels ? w->e[last].name : "";
	uint64_t entry = w->e[last].entry, at = w->e[last].entry_gpa;

	switch (w->stop) {
	case WALK_DONE:
		snprintf(out, out_len, "mapped");
		break;
	case WALK_NOT_PRESENT:
		snprintf(out, out_len, "not mapped: %s entry 0x%llx at 0x%llx is not present", name,
			 ll(entry), ll(at));
		break;
	case WALK_RESERVED:
		snprintf(out, out_len,
			 "not mapped: %s entry 0x%llx at 0x%llx has reserved bits set (0x%llx)%s",
			 name, ll(entry), ll(at), ll(w->bad_bits),
			 w->bad_bits == 1ull << 63 ? ": NX needs EFER.NXE" : "");
		break;
	case WALK_NO_RAM:
		snprintf(out, out_len,
			 "not mapped: the %s entry should be at 0x%llx, which is not RAM", name,
			 ll(at));
		break;
	case WALK_NOT_CANONICAL:
		snprintf(out, out_len, "not a canonical address");
		break;
	}
}

static void cpu_mode(const struct cpu_snapshot *c, struct cpu_facts *f)
{
	const struct kvm_sregs *s = &c->sregs;

	f->bits = s->cs.db ? 32 : 16;
	f->cpl = s->ss.dpl & 3;
	if (!(s->cr0 & X86_CR0_PE)) {
		f->mode = "real mode";
		f->bits = 16;
		f->cpl = 0;
	} else if (s->efer & EFER_LMA) {
		f->mode = s->cs.l ? "64-bit mode" : "compatibility mode";
		if (s->cs.l)
			f->bits = 64;
	} else if (c->regs.rflags & X86_EFLAGS_VM) {
		f->mode = "virtual-8086 mode";
		f->bits = 16;
		f->cpl = 3;
	} else {
		f->mode = f->bits == 32 ? "32-bit protected mode" : "16-bit protected mode";
	}
}

void cpu_facts(struct vm *vm, const struct cpu_snapshot *c, struct cpu_facts *f)
{
	const struct kvm_sregs *s = &c->sregs;

	memset(f, 0, sizeof(*f));
	cpu_mode(c, f);
	f->pc = c->regs.rip;
	f->sp = c->regs.rsp;
	if (f->bits != 64) {
		f->pc = (uint32_t)(s->cs.base + (uint32_t)c->regs.rip);
		f->sp = (uint32_t)(s->ss.base +
				   (s->ss.db ? (uint32_t)c->regs.rsp : (uint16_t)c->regs.rsp));
	}
	if (guest_page_walk(vm, s, f->pc, &f->pc_walk) == 0)
		f->pc_ram = vm_guest_ptr(vm, f->pc_walk.gpa, 1, false) != NULL;
	f->code_len = guest_read_gva(vm, s, f->pc, f->code, sizeof(f->code));
	if (f->code_len)
		f->insn_len =
			disasm_symbols(f->code, f->code_len, c->regs.rip, f->bits,
				       vm->cfg ? vm->cfg->kernel : NULL, f->insn, sizeof(f->insn));
	else
		snprintf(f->insn, sizeof(f->insn), "(its bytes cannot be read)");
}

/* Whether the first instruction begins with this word, after any prefixes Zydis spells out. */
static bool insn_is(const struct cpu_facts *f, const char *mnemonic)
{
	size_t n = strlen(mnemonic);

	return f->insn_len && !strncmp(f->insn, mnemonic, n) &&
	       (f->insn[n] == '\0' || f->insn[n] == ' ');
}

static void gpa_words(struct vm *vm, uint64_t gpa, char *out, size_t out_len)
{
	const struct io_region *r;

	if (vm_guest_ptr(vm, gpa, 1, false)) {
		snprintf(out, out_len, "RAM");
		return;
	}
	r = bus_find(&vm->m.mmio, gpa);
	if (r)
		snprintf(out, out_len, "no RAM there but device '%s'", r->name);
	else
		snprintf(out, out_len, "nothing there");
}

/* --- why an exception cannot be delivered --- */

/* Reads a structure that the processor reads by linear address; says why it cannot be. */
static bool read_table(struct vm *vm, const struct cpu_snapshot *c, const char *what, uint64_t gva,
		       void *buf, size_t len, struct diagnosis *d)
{
	struct page_walk w;
	char words[200];
	size_t got;

	got = guest_read_gva(vm, &c->sregs, gva, buf, len);
	if (got == len)
		return true;
	if (guest_page_walk(vm, &c->sregs, gva + got, &w) < 0) {
		page_walk_words(&w, words, sizeof(words));
		CAUSE(d, "%s at 0x%llx is %s", what, ll(gva), words);
	} else {
		gpa_words(vm, w.gpa, words, sizeof(words));
		CAUSE(d, "%s is at guest-physical 0x%llx, outside RAM (%s)", what, ll(w.gpa),
		      words);
	}
	return false;
}

static uint64_t get_le(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | p[bytes];
	return v;
}

/* The stack that the handler's frame goes to, when that can be said. */
static bool handler_stack(struct vm *vm, const struct cpu_snapshot *c, const struct cpu_facts *f,
			  unsigned ist, uint64_t *sp, struct diagnosis *d)
{
	uint8_t raw[8];
	uint64_t at;

	if (!(c->sregs.efer & EFER_LMA)) {
		*sp = f->sp;
		return f->cpl == 0; /* else by SS0:ESP0, which is left alone here */
	}
	if (!ist && f->cpl == 0) {
		*sp = f->sp & ~15ull;
		return true;
	}
	at = c->sregs.tr.base + (ist ? 36 + 8ull * (ist - 1) : 4);
	if (!read_table(vm, c, "the TSS entry with the handler's stack", at, raw, 8, d))
		return false;
	*sp = get_le(raw, 8) & ~15ull;
	return true;
}

/* Whether the stack cannot take an exception's frame; then says so. */
static bool bad_stack(struct vm *vm, const struct cpu_snapshot *c, const struct cpu_facts *f,
		      unsigned ist, struct diagnosis *d)
{
	struct page_walk w;
	char words[200];
	uint64_t sp;

	if (!handler_stack(vm, c, f, ist, &sp, d))
		return d->cause[0] != '\0';
	if (guest_page_walk(vm, &c->sregs, sp - 8, &w) < 0) {
		page_walk_words(&w, words, sizeof(words));
		CAUSE(d, "the stack (0x%llx) is %s", ll(sp), words);
		return true;
	}
	if (!gmem_ptr(&vm->m.mem, w.gpa, 1)) {
		gpa_words(vm, w.gpa, words, sizeof(words));
		CAUSE(d, "the stack (0x%llx) is at guest-physical 0x%llx, outside RAM (%s)", ll(sp),
		      ll(w.gpa), words);
		return true;
	}
	if (!w.writable && (c->sregs.cr0 & X86_CR0_WP)) {
		CAUSE(d, "the stack (0x%llx) is on a read-only page", ll(sp));
		return true;
	}
	return false;
}

/* Whether the code segment of a gate is none; then says so. */
static bool bad_selector(struct vm *vm, const struct cpu_snapshot *c, unsigned sel,
			 struct diagnosis *d)
{
	const struct kvm_dtable *gdt = &c->sregs.gdt;
	uint8_t desc[8];

	if (!(sel & ~3u)) {
		CAUSE(d, "its IDT gate has a null code segment");
		return true;
	}
	if (sel & 4) /* in an LDT: nobody does that */
		return false;
	if ((sel | 7u) > gdt->limit) {
		CAUSE(d, "its IDT gate names code segment 0x%x, beyond the GDT (limit 0x%x)", sel,
		      gdt->limit);
		return true;
	}
	if (!read_table(vm, c, "the GDT entry of its IDT gate's code segment",
			gdt->base + (sel & ~7u), desc, sizeof(desc), d))
		return true;
	if ((desc[5] & 0x98) != 0x98) { /* present, not system, code */
		CAUSE(d, "its IDT gate names segment 0x%x, which is no present code segment", sel);
		return true;
	}
	return false;
}

/*
 * Whether an exception `vector` cannot reach its handler; then says why, as
 * the end of a sentence. Protected and long mode.
 */
static bool bad_delivery(struct vm *vm, const struct cpu_snapshot *c, const struct cpu_facts *f,
			 unsigned vector, struct diagnosis *d)
{
	const struct kvm_dtable *idt = &c->sregs.idt;
	bool lma = c->sregs.efer & EFER_LMA;
	unsigned size = lma ? 16 : 8, type;
	uint64_t handler;
	struct page_walk w;
	uint8_t gate[16];
	char words[200];

	if (idt->limit < 7) {
		CAUSE(d, "there is no IDT to handle it (IDTR limit %u)", idt->limit);
		return true;
	}
	if (vector * size + size - 1 > idt->limit) {
		CAUSE(d, "the IDT has no entry for it (IDTR limit 0x%x)", idt->limit);
		return true;
	}
	if (!read_table(vm, c, "the IDT entry", idt->base + vector * size, gate, size, d))
		return true;
	type = gate[5] & 0x1f;
	if (!(gate[5] & 0x80)) {
		CAUSE(d, "its IDT gate (entry %u) is not present", vector);
		return true;
	}
	if (!lma && type == 5) /* a task gate: needs neither handler nor stack here */
		return false;
	if (type != 14 && type != 15 && (lma || (type != 6 && type != 7))) {
		CAUSE(d, "its IDT gate (entry %u) is of type 0x%x, no interrupt or trap gate",
		      vector, type);
		return true;
	}
	if (bad_selector(vm, c, (unsigned)get_le(gate + 2, 2), d))
		return true;
	if (bad_stack(vm, c, f, lma ? gate[4] & 7 : 0, d))
		return true;
	handler = get_le(gate, 2) | get_le(gate + 6, 2) << 16;
	if (lma)
		handler |= get_le(gate + 8, 4) << 32;
	if (guest_page_walk(vm, &c->sregs, handler, &w) < 0) {
		page_walk_words(&w, words, sizeof(words));
		CAUSE(d, "its handler 0x%llx is %s", ll(handler), words);
		return true;
	}
	return false;
}

/* --- what the exception was --- */

/* What address the guest may have meant. */
static const char *address_words(const struct cpu_facts *f, uint64_t addr)
{
	if (addr < NULL_PAGE)
		return ": a NULL pointer";
	if (addr - f->sp + 64 < 128)
		return ": at the stack pointer";
	return "";
}

/* Why the instruction at pc cannot be fetched; false when it can. */
static bool bad_fetch(const struct cpu_snapshot *c, const struct cpu_facts *f, struct diagnosis *d)
{
	const struct page_walk *w = &f->pc_walk;
	char words[200];

	if (w->stop != WALK_DONE) {
		page_walk_words(w, words, sizeof(words));
		CAUSE(d, "RIP 0x%llx is %s%s", ll(f->pc), words, address_words(f, f->pc));
		return true;
	}
	if (!w->levels)
		return false;
	if (w->nx)
		CAUSE(d, "RIP 0x%llx is on a page that is not executable (NX)", ll(f->pc));
	else if (f->cpl == 3 && !w->user)
		CAUSE(d, "RIP 0x%llx is on a supervisor page, at CPL 3", ll(f->pc));
	else if (f->cpl != 3 && w->user && (c->sregs.cr4 & X86_CR4_SMEP))
		CAUSE(d, "RIP 0x%llx is on a user page, at CPL %u with CR4.SMEP", ll(f->pc),
		      f->cpl);
	else
		return false;
	return true;
}

/* Which right an access to a mapped page lacked, by the page fault's error code. */
static const char *right_words(const struct page_walk *w, unsigned error)
{
	if ((error & PF_WRITE) && !w->writable)
		return "on a read-only page";
	if ((error & PF_USER) && !w->user)
		return "on a supervisor page, from CPL 3";
	if ((error & PF_FETCH) && w->nx)
		return "on a no-execute page";
	if (!(error & PF_USER) && w->user)
		return "on a user page, which SMAP or SMEP keeps CPL 0 from";
	return "mapped now";
}

/* A page fault at CR2; error: its code, or -1 when it is not known. */
static void describe_page_fault(struct vm *vm, const struct cpu_snapshot *c,
				const struct cpu_facts *f, int error, struct diagnosis *d)
{
	const char *what = "accessing";
	uint64_t cr2 = c->sregs.cr2;
	struct page_walk w;
	char words[200];

	if (error >= 0)
		what = error & PF_WRITE ? "writing" : error & PF_FETCH ? "executing" : "reading";
	guest_page_walk(vm, &c->sregs, cr2, &w);
	if (w.present && error >= 0)
		snprintf(words, sizeof(words), "%s", right_words(&w, (unsigned)error));
	else
		page_walk_words(&w, words, sizeof(words));
	CAUSE(d, "#PF page fault %s 0x%llx (CR2, %s%s)", what, ll(cr2), words,
	      address_words(f, cr2));
}

/* What a kernel most often forgot when a right instruction is refused. */
static const char *forgotten(const struct kvm_sregs *s, const struct cpu_facts *f, unsigned vector)
{
	if (vector == 6 && strstr(f->insn, "xmm") && !(s->cr4 & X86_CR4_OSFXSR))
		return " (SSE is not enabled: CR4.OSFXSR is 0)";
	if (vector == 6 && strstr(f->insn, "ymm") && !(s->cr4 & X86_CR4_OSXSAVE))
		return " (AVX is not enabled: CR4.OSXSAVE is 0)";
	if (vector == 7 && (s->cr0 & (X86_CR0_TS | X86_CR0_EM)))
		return " (CR0.TS or CR0.EM is set)";
	return "";
}

static void describe_exception(const struct cpu_snapshot *c, const struct cpu_facts *f,
			       unsigned vector, struct diagnosis *d)
{
	CAUSE(d, "%s", exception_name(vector));
	if (f->insn_len)
		CAUSE(d, " at `%s`%s", f->insn, forgotten(&c->sregs, f, vector));
}

/*
 * Names the exception that began it all and returns its vector, or -1. A
 * software KVM raises exceptions itself and remembers the last one; the
 * processor behind a hardware KVM does not tell, so there it is a guess.
 */
static int first_exception(struct vm *vm, const struct cpu_snapshot *c, const struct cpu_facts *f,
			   struct diagnosis *d)
{
	const struct kvm_vcpu_events *ev = &c->events;
	bool known = c->have_events &&
		     (vm->software_kvm || ev->exception.injected || ev->exception.pending);
	unsigned vector = ev->exception.nr;
	struct page_walk w;

	if (bad_fetch(c, f, d))
		return f->pc_walk.stop == WALK_NOT_CANONICAL ? VEC_GP : VEC_PF;
	if (known && vector == VEC_PF) {
		describe_page_fault(vm, c, f,
				    ev->exception.has_error_code
					    ? (int)(ev->exception.error_code & 0xff)
					    : -1,
				    d);
		return VEC_PF;
	}
	/* Vector 0 is also what an untouched record says. */
	if (known && (vector || insn_is(f, "div") || insn_is(f, "idiv"))) {
		describe_exception(c, f, vector, d);
		return (int)vector;
	}
	if (insn_is(f, "ud0") || insn_is(f, "ud1") || insn_is(f, "ud2")) {
		describe_exception(c, f, 6, d);
		return 6;
	}
	if (insn_is(f, "int3")) {
		describe_exception(c, f, 3, d);
		return 3;
	}
	if (c->sregs.cr2 && guest_page_walk(vm, &c->sregs, c->sregs.cr2, &w) < 0) {
		CAUSE(d, "perhaps ");
		describe_page_fault(vm, c, f, -1, d);
		return VEC_PF;
	}
	CAUSE(d, "an exception");
	if (f->insn_len)
		CAUSE(d, " at `%s`", f->insn);
	return -1;
}

/* --- the rules: true when the rule knows the cause --- */

/* `mov cr0, reg` that turns paging on outside long mode, which some KVMs cannot do. */
static bool rule_paging32(struct vm *vm, const struct cpu_snapshot *c, const struct cpu_facts *f,
			  struct diagnosis *d)
{
	const __u64 *reg[8] = { &c->regs.rax, &c->regs.rcx, &c->regs.rdx, &c->regs.rbx,
				&c->regs.rsp, &c->regs.rbp, &c->regs.rsi, &c->regs.rdi };
	bool turning_on = f->bits != 64 && f->code_len >= 3 && f->code[0] == 0x0f &&
			  f->code[1] == 0x22 && (f->code[2] & 0xf8) == 0xc0 &&
			  (*reg[f->code[2] & 7] & X86_CR0_PG);
	bool on = c->sregs.cr0 & X86_CR0_PG;

	if (!vm->software_kvm || (c->sregs.efer & (EFER_LMA | 1ull << 8)) || !(turning_on || on))
		return false;
	CAUSE(d,
	      "the guest turned on %s paging outside long mode, and this host's KVM, a software "
	      "one, has none",
	      c->sregs.cr4 & X86_CR4_PAE ? "PAE" : "32-bit");
	HINT(d, "use a 64-bit kernel, or a host whose KVM has hardware virtualization");
	return true;
}

static bool rule_fail_entry(struct vm *vm, const struct cpu_snapshot *c, const struct cpu_facts *f,
			    struct diagnosis *d)
{
	uint64_t why = c->exit.fail_entry.hardware_entry_failure_reason;

	if (c->exit.exit_reason != KVM_EXIT_FAIL_ENTRY)
		return false;
	if (why == 0x80000021)
		CAUSE(d, "VM entry failed: the guest's registers are in a state that the processor "
			 "does not accept (VMX reason 33)");
	else if (why == 0x80000022)
		CAUSE(d, "VM entry failed while loading the guest's MSRs (VMX reason 34)");
	else if (why == 0x80000029)
		CAUSE(d, "VM entry failed by a machine check (VMX reason 41)");
	else if (why == 7 || why == 8)
		CAUSE(d,
		      "VM entry failed: invalid %s (VMX instruction error %llu), a fault of the "
		      "host's KVM",
		      why == 7 ? "control fields" : "host state", ll(why));
	else if ((uint32_t)why == UINT32_MAX)
		CAUSE(d,
		      "VMRUN failed: the guest's registers are in a state that the processor does "
		      "not accept (VMEXIT_INVALID)");
	else
		CAUSE(d, "VM entry failed for reason 0x%llx", ll(why));
	if (f->bits == 16)
		HINT(d,
		     "in real mode this happens on processors without unrestricted guest support, "
		     "or where kvm_intel has it off (parameter unrestricted_guest)");
	else
		HINT(d, "the host's kernel log (dmesg) may say more");
	return true;
}

/* A jump to where nothing is. KVM cannot fetch there and gives up. */
static bool rule_runs_outside_ram(struct vm *vm, const struct cpu_snapshot *c,
				  const struct cpu_facts *f, struct diagnosis *d)
{
	char words[120];

	if (c->exit.exit_reason != KVM_EXIT_INTERNAL_ERROR || f->pc_walk.stop != WALK_DONE ||
	    f->pc_ram)
		return false;
	gpa_words(vm, f->pc_walk.gpa, words, sizeof(words));
	CAUSE(d,
	      "the guest runs code at guest-physical address 0x%llx, outside its RAM (%s): a jump "
	      "or "
	      "return to a wrong address",
	      ll(f->pc_walk.gpa), words);
	HINT(d,
	     "the last return addresses may still be on the stack; the guest has %llu MiB of RAM",
	     ll(vm->m.mem.ram_size >> 20));
	return true;
}

static bool rule_emulation(struct vm *vm, const struct cpu_snapshot *c, const struct cpu_facts *f,
			   struct diagnosis *d)
{
	if (c->exit.exit_reason != KVM_EXIT_INTERNAL_ERROR ||
	    c->exit.internal.suberror != KVM_INTERNAL_ERROR_EMULATION)
		return false;
	if (bad_fetch(c, f, d))
		return true;
	if (f->insn_len)
		CAUSE(d, "KVM cannot carry out the instruction `%s` for the guest", f->insn);
	else
		CAUSE(d, "KVM cannot carry out the guest's instruction at RIP %s", f->insn);
	if (!vm->software_kvm)
		HINT(d,
		     "a KVM on hardware carries out instructions itself only where they touch "
		     "device memory, ROM or page tables, and in real mode: the guest should use a "
		     "plain mov there");
	else if (!vm->assist)
		HINT(d, "this host's KVM is a software one: with -accel kvm,assist=auto posada "
			"carries out many instructions that it cannot");
	else
		HINT(d, "this host's KVM is a software one, and the assist does not know this "
			"instruction either; a kernel built without it would run");
	return true;
}

static bool rule_internal_error(struct vm *vm, const struct cpu_snapshot *c,
				const struct cpu_facts *f, struct diagnosis *d)
{
	uint64_t data = c->exit.internal.ndata ? c->exit.internal.data[0] : 0;

	if (c->exit.exit_reason != KVM_EXIT_INTERNAL_ERROR)
		return false;
	switch (c->exit.internal.suberror) {
	case KVM_INTERNAL_ERROR_SIMUL_EX:
		CAUSE(d, "an exception came while KVM was delivering another one");
		break;
	case KVM_INTERNAL_ERROR_DELIVERY_EV:
		CAUSE(d, "KVM could not deliver vector %u (%s): ", (unsigned)(data & 0xff),
		      exception_name((unsigned)(data & 0xff)));
		if (!bad_delivery(vm, c, f, (unsigned)(data & 0xff), d))
			CAUSE(d, "the IDT, the TSS or the stack is not in RAM");
		break;
	case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
		CAUSE(d,
		      "the processor left the guest for a reason that KVM does not know (0x%llx)",
		      ll(data));
		HINT(d, "the host's kernel log (dmesg) may say more");
		break;
	default:
		CAUSE(d, "KVM internal error %u, of a newer KVM than is known here",
		      c->exit.internal.suberror);
		HINT(d, "the host's kernel log (dmesg) may say more");
	}
	return true;
}

static bool rule_triple_fault(struct vm *vm, const struct cpu_snapshot *c,
			      const struct cpu_facts *f, struct diagnosis *d)
{
	struct diagnosis why = { "", "" };
	int vector;

	if (c->exit.exit_reason != KVM_EXIT_SHUTDOWN)
		return false;
	vector = first_exception(vm, c, f, d);
	if (!(c->sregs.cr0 & X86_CR0_PE)) {
		CAUSE(d, ", in real mode");
		return true;
	}
	if (bad_delivery(vm, c, f, vector < 0 ? VEC_GP : (unsigned)vector, &why) ||
	    bad_delivery(vm, c, f, VEC_DF, &why))
		CAUSE(d, ", and %s", why.cause);
	else
		CAUSE(d, ", and delivering it failed, though IDT and stack look right");
	if (vm->software_kvm && !vm->assist && f->cpl == 3 && f->pc_walk.present &&
	    !f->pc_walk.user)
		HINT(d, "SYSCALL does not work on this host's KVM, a software one; with -accel "
			"kvm,assist=auto posada works round it");
	if (c->sregs.idt.limit < 7 && insn_is(f, "int3"))
		HINT(d,
		     "an empty IDT and int3: guests also do this on purpose, to reset the machine");
	return true;
}

static bool rule_unknown(struct vm *vm, const struct cpu_snapshot *c, const struct cpu_facts *f,
			 struct diagnosis *d)
{
	switch (c->exit.exit_reason) {
	case KVM_EXIT_UNKNOWN:
		CAUSE(d,
		      "the processor left the guest for a reason that KVM does not know (0x%llx)",
		      ll(c->exit.hw.hardware_exit_reason));
		return true;
	case KVM_EXIT_EXCEPTION:
		CAUSE(d, "KVM was left with %s, error code 0x%x",
		      exception_name(c->exit.ex.exception), c->exit.ex.error_code);
		return true;
	case KVM_EXIT_SYSTEM_EVENT:
		CAUSE(d, "KVM reports system event %u%s", c->exit.system_event.type,
		      c->exit.system_event.type == KVM_SYSTEM_EVENT_CRASH ? ": the guest crashed"
									  : "");
		return true;
	default:
		return false;
	}
}

void report_diagnose(struct vm *vm, const struct cpu_snapshot *c, const struct cpu_facts *f,
		     struct diagnosis *d)
{
	/* The more special before the more general. */
	static bool (*const rules[])(struct vm *, const struct cpu_snapshot *,
				     const struct cpu_facts *, struct diagnosis *) = {
		rule_paging32,       rule_fail_entry,   rule_runs_outside_ram, rule_emulation,
		rule_internal_error, rule_triple_fault, rule_unknown,
	};

	d->cause[0] = '\0';
	d->hint[0] = '\0';
	if (!c->have_regs)
		return;
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (rules[i](vm, c, f, d))
			return;
}
