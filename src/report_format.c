/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The report of a guest's death as text, from a snapshot of the vCPU, guest
 * memory and the exit rings. No KVM is needed, and any state will do. Other
 * vCPUs may be running: of them it shows what they recorded, and the registers
 * that KVM last left in their kvm_run. Any thread.
 */
#include <asm/processor-flags.h>
#include <string.h>

#include "bus.h"
#include "config.h"
#include "loop.h"
#include "report.h"
#include "vm.h"

#define SHOWN_BEFORE 3 /* instructions before RIP */
#define SHOWN_INSNS 4 /* and from RIP on */
#define SHOWN_VCPUS 8
#define SHOWN_KINDS 8 /* of exits of the vCPU that died */
#define SHOWN_KINDS_OTHER 2 /* of exits of each of the others */
#define SHOWN_VALUES 16 /* of one group of exits */
#define SHOWN_RETURNS 6

#define VEC_PF 14

#define ll(x) ((unsigned long long)(x))

static const char *kernel_of(const struct vm *vm)
{
	return vm->cfg ? vm->cfg->kernel : NULL;
}

/* --- registers --- */

struct bit_name {
	uint8_t bit;
	const char *name;
};

/* clang-format off */
static const struct bit_name rflags_bits[] = {
	{ 21, "ID" }, { 20, "VIP" }, { 19, "VIF" }, { 18, "AC" }, { 17, "VM" }, { 16, "RF" },
	{ 14, "NT" }, { 11, "OF" }, { 10, "DF" }, { 9, "IF" }, { 8, "TF" }, { 7, "SF" },
	{ 6, "ZF" }, { 4, "AF" }, { 2, "PF" }, { 0, "CF" }, { 0, NULL }
};
static const struct bit_name cr0_bits[] = {
	{ 31, "PG" }, { 30, "CD" }, { 29, "NW" }, { 18, "AM" }, { 16, "WP" }, { 5, "NE" },
	{ 4, "ET" }, { 3, "TS" }, { 2, "EM" }, { 1, "MP" }, { 0, "PE" }, { 0, NULL }
};
static const struct bit_name cr4_bits[] = {
	{ 24, "PKS" }, { 23, "CET" }, { 22, "PKE" }, { 21, "SMAP" }, { 20, "SMEP" },
	{ 18, "OSXSAVE" }, { 17, "PCIDE" }, { 16, "FSGSBASE" }, { 14, "SMXE" }, { 13, "VMXE" },
	{ 12, "LA57" }, { 11, "UMIP" }, { 10, "OSXMMEXCPT" }, { 9, "OSFXSR" }, { 8, "PCE" },
	{ 7, "PGE" }, { 6, "MCE" }, { 5, "PAE" }, { 4, "PSE" }, { 3, "DE" }, { 2, "TSD" },
	{ 1, "PVI" }, { 0, "VME" }, { 0, NULL }
};
static const struct bit_name efer_bits[] = {
	{ 15, "TCE" }, { 14, "FFXSR" }, { 13, "LMSLE" }, { 12, "SVME" }, { 11, "NXE" },
	{ 10, "LMA" }, { 8, "LME" }, { 0, "SCE" }, { 0, NULL }
};
/* clang-format on */

static void put_bits(FILE *f, const struct bit_name *names, uint64_t val)
{
	for (; names->name; names++)
		if (val >> names->bit & 1)
			fprintf(f, " %s", names->name);
}

static void put_general(FILE *f, const struct kvm_regs *r)
{
	const struct {
		const char *name;
		uint64_t val;
	} reg[16] = {
		{ "RAX", r->rax }, { "RBX", r->rbx }, { "RCX", r->rcx }, { "RDX", r->rdx },
		{ "RSI", r->rsi }, { "RDI", r->rdi }, { "RBP", r->rbp }, { "RSP", r->rsp },
		{ "R8", r->r8 },   { "R9", r->r9 },   { "R10", r->r10 }, { "R11", r->r11 },
		{ "R12", r->r12 }, { "R13", r->r13 }, { "R14", r->r14 }, { "R15", r->r15 },
	};

	for (unsigned i = 0; i < 16; i++)
		fprintf(f, "  %-3s %016llx%s", reg[i].name, ll(reg[i].val), i % 4 == 3 ? "\n" : "");
	fprintf(f, "  RFLAGS %08llx", ll(r->rflags));
	put_bits(f, rflags_bits, r->rflags);
	fprintf(f, " IOPL=%u\n", (unsigned)(r->rflags >> 12 & 3));
}

static const char *segment_kind(const struct kvm_segment *s)
{
	if (s->unusable || !s->present)
		return "unusable";
	if (!s->s)
		return (s->type & 0xd) == 9 ? "TSS" : s->type == 2 ? "LDT" : "system";
	if (s->type & 8)
		return s->l ? "code64" : s->db ? "code32" : "code16";
	return s->type & 2 ? "data" : "data, read-only";
}

static void put_segment(FILE *f, const char *name, const struct kvm_segment *s, const char *end)
{
	fprintf(f, "  %-3s %04x base %016llx limit %08x DPL %u %-*s%s", name, s->selector,
		ll(s->base), s->limit, s->dpl & 3u, *end ? 0 : 8, segment_kind(s), end);
}

/* What to say of a table whose memory cannot be read, or that is empty. */
static const char *table_remark(const struct vm *vm, const struct kvm_sregs *s,
				const struct kvm_dtable *t)
{
	struct page_walk w;

	if (t->limit < 7)
		return "  <- empty";
	if (guest_page_walk(vm, s, t->base, &w) < 0)
		return "  <- base not mapped";
	if (!vm_guest_ptr(vm, w.gpa, 1, false))
		return "  <- outside RAM";
	return "";
}

static void put_registers(struct vm *vm, const struct cpu_snapshot *c, FILE *f)
{
	const struct kvm_sregs *s = &c->sregs;

	put_general(f, &c->regs);
	put_segment(f, "CS", &s->cs, "");
	put_segment(f, "SS", &s->ss, "\n");
	put_segment(f, "DS", &s->ds, "");
	put_segment(f, "ES", &s->es, "\n");
	put_segment(f, "FS", &s->fs, "");
	put_segment(f, "GS", &s->gs, "\n");
	put_segment(f, "TR", &s->tr, "");
	put_segment(f, "LDT", &s->ldt, "\n");
	fprintf(f, "  CR0 %08llx", ll(s->cr0));
	put_bits(f, cr0_bits, s->cr0);
	fprintf(f, "  CR2 %llx  CR3 %llx  CR8 %llx\n  CR4 %08llx", ll(s->cr2), ll(s->cr3),
		ll(s->cr8), ll(s->cr4));
	put_bits(f, cr4_bits, s->cr4);
	fprintf(f, "  EFER %llx", ll(s->efer));
	put_bits(f, efer_bits, s->efer);
	fprintf(f, "\n  GDT %016llx limit %04x%s\n  IDT %016llx limit %04x%s\n", ll(s->gdt.base),
		s->gdt.limit, table_remark(vm, s, &s->gdt), ll(s->idt.base), s->idt.limit,
		table_remark(vm, s, &s->idt));
}

static void put_position(struct vm *vm, const struct cpu_snapshot *c, const struct cpu_facts *facts,
			 FILE *f)
{
	char sym[SYMBOL_MAX];

	fprintf(f, "  RIP %04x:%016llx", c->sregs.cs.selector, ll(c->regs.rip));
	if (symbol_lookup(kernel_of(vm), facts->pc, sym, sizeof(sym)))
		fprintf(f, "  %s", sym);
	fprintf(f, "  (%s, CPL %u)\n", facts->mode, facts->cpl);
}

void report_format_registers(struct vm *vm, const struct cpu_snapshot *c, FILE *f)
{
	struct cpu_facts facts;

	if (!c->have_regs) {
		fprintf(f, "  the registers cannot be read\n");
		return;
	}
	cpu_facts(vm, c, &facts);
	put_position(vm, c, &facts, f);
	put_registers(vm, c, f);
}

/* --- code, page walks, stack --- */

/* One instruction at code, which is at rip; returns its length, 0 when it is none. */
static size_t put_insn(struct vm *vm, const struct cpu_facts *facts, const uint8_t *code,
		       size_t len, uint64_t rip, const char *mark, FILE *f)
{
	char text[160];
	size_t n, shown;

	n = disasm_symbols(code, len, rip, facts->bits, kernel_of(vm), text, sizeof(text));
	shown = n ? n : len < 8 ? len : 8;
	fprintf(f, "  %s %8llx: ", mark, ll(rip));
	for (size_t i = 0; i < shown; i++)
		fprintf(f, "%02x ", code[i]);
	/* Align what follows most instructions' bytes. */
	fprintf(f, "%*s%s\n", shown < 8 ? (int)(8 - shown) * 3 + 1 : 1, "", text);
	return n;
}

/*
 * The instructions before RIP. x86 code can only be decoded forwards: from the
 * start of the function, when there is a symbol and it is not far.
 */
static void put_code_before(struct vm *vm, const struct cpu_snapshot *c,
			    const struct cpu_facts *facts, FILE *f)
{
	size_t at[SHOWN_BEFORE] = { 0 }, off = 0, n;
	uint8_t code[1024];
	char text[SYMBOL_MAX];
	uint64_t distance;
	unsigned found = 0;

	if (!symbol_lookup_offset(kernel_of(vm), facts->pc, text, sizeof(text), &distance) ||
	    distance > sizeof(code) ||
	    guest_read_gva(vm, &c->sregs, facts->pc - distance, code, distance) < distance)
		return;
	while (off < distance) {
		n = disasm(code + off, distance - off, 0, facts->bits, text, sizeof(text));
		if (!n)
			return; /* data in between, or RIP is inside an instruction */
		at[found++ % SHOWN_BEFORE] = off;
		off += n;
	}
	for (unsigned i = found < SHOWN_BEFORE ? 0 : found - SHOWN_BEFORE; i < found; i++) {
		off = at[i % SHOWN_BEFORE];
		put_insn(vm, facts, code + off, distance - off, c->regs.rip - distance + off, "  ",
			 f);
	}
}

static void put_code(struct vm *vm, const struct cpu_snapshot *c, const struct cpu_facts *facts,
		     FILE *f)
{
	size_t off = 0, n;

	if (!facts->code_len) {
		fprintf(f, "  code: the bytes at 0x%llx cannot be read\n", ll(facts->pc));
		return;
	}
	put_code_before(vm, c, facts, f);
	for (unsigned i = 0; i < SHOWN_INSNS && off < facts->code_len; i++) {
		n = put_insn(vm, facts, facts->code + off, facts->code_len - off, c->regs.rip + off,
			     i ? "  " : "=>", f);
		if (!n)
			break;
		off += n;
	}
}

/* One line: "PML4 9000: a027 > PDPT a000: 0  not mapped: ...". */
static void put_walk(struct vm *vm, const struct cpu_snapshot *c, const char *name, uint64_t gva,
		     FILE *f)
{
	struct page_walk w;
	char words[200];

	guest_page_walk(vm, &c->sregs, gva, &w);
	fprintf(f, "  %s 0x%llx: ", name, ll(gva));
	if (!w.levels && w.present)
		fprintf(f, "paging is off");
	for (unsigned i = 0; i < w.levels; i++) {
		fprintf(f, "%s%s[%llx]", i ? " > " : "", w.e[i].name, ll(w.e[i].entry_gpa));
		if (i + 1 < w.levels || w.stop != WALK_NO_RAM)
			fprintf(f, "=%llx", ll(w.e[i].entry));
	}
	if (!w.present) {
		page_walk_words(&w, words, sizeof(words));
		fprintf(f, "%s    %s\n", w.levels ? "\n" : "", words);
		return;
	}
	if (w.levels)
		fprintf(f, "\n    guest-physical 0x%llx, %llu %s page, %s, %s, %s", ll(w.gpa),
			w.page_size >= 1 << 20 ? ll(w.page_size >> 20) : ll(w.page_size >> 10),
			w.page_size >= 1 << 20 ? "MiB" : "KiB", w.user ? "user" : "supervisor",
			w.writable ? "writable" : "read-only", w.nx ? "no-execute" : "executable");
	if (!vm_guest_ptr(vm, w.gpa, 1, false)) {
		const struct io_region *r = bus_find(&vm->m.mmio, w.gpa);

		fprintf(f, "; not RAM: %s", r ? r->name : "nothing is there");
	}
	fputc('\n', f);
}

/* The words on top of the stack, and which of those below look like return addresses. */
static void put_stack(struct vm *vm, const struct cpu_snapshot *c, const struct cpu_facts *facts,
		      FILE *f)
{
	unsigned size = facts->bits / 8, found = 0;
	uint8_t raw[2048];
	char sym[SYMBOL_MAX];
	size_t n;

	n = guest_read_gva(vm, &c->sregs, facts->sp, raw, sizeof(raw));
	n -= n % size;
	fprintf(f, "  stack 0x%llx:", ll(facts->sp));
	if (!n)
		fprintf(f, " cannot be read");
	for (size_t i = 0; i < n && i < 8 * size; i += size) {
		uint64_t word = 0;

		memcpy(&word, raw + i, size);
		fprintf(f, "%s%llx", i == 4 * size && size == 8 ? "\n    " : " ", ll(word));
	}
	fputc('\n', f);
	for (size_t i = 0; i < n && found < SHOWN_RETURNS; i += size) {
		uint64_t word = 0;

		memcpy(&word, raw + i, size);
		if (!symbol_lookup(kernel_of(vm), word, sym, sizeof(sym)))
			continue;
		fprintf(f, found++ ? ", %s" : "  maybe called from: %s", sym);
	}
	if (found)
		fputc('\n', f);
}

static void put_events(struct vm *vm, const struct cpu_snapshot *c, FILE *f)
{
	const struct kvm_vcpu_events *ev = &c->events;
	bool exception = ev->exception.injected || ev->exception.pending;

	if (!c->have_events)
		return;
	/* A software KVM leaves the exception that could not be delivered in its record. */
	if (exception || (vm->software_kvm && ev->exception.nr)) {
		fprintf(f, "  %s exception: %u, %s", exception ? "pending" : "last",
			ev->exception.nr, exception_name(ev->exception.nr));
		if (ev->exception.has_error_code)
			fprintf(f, ", error code 0x%x", ev->exception.error_code);
		fputc('\n', f);
	}
	if (ev->interrupt.injected)
		fprintf(f, "  pending interrupt: vector 0x%x\n", ev->interrupt.nr);
	if (ev->nmi.injected || ev->nmi.pending)
		fprintf(f, "  pending NMI\n");
}

/* --- exits --- */

/* Exits that differ only in their value. */
static bool same_kind(const struct exit_record *a, const struct exit_record *b)
{
	return a->reason == b->reason && a->addr == b->addr && a->size == b->size &&
	       a->write == b->write;
}

static void put_access(struct vm *vm, const struct exit_record *e, FILE *f)
{
	bool mmio = e->reason == KVM_EXIT_MMIO;
	const struct io_region *r = bus_find(mmio ? &vm->m.mmio : &vm->m.pio, e->addr);

	fprintf(f, "%s %s 0x%llx", mmio ? (e->write ? "write" : "read") : (e->write ? "out" : "in"),
		mmio ? "address" : "port", ll(e->addr));
	fprintf(f, " (%s), %u byte%s", r ? r->name : "nothing is there", e->size,
		e->size == 1 ? "" : "s");
}

static bool is_text(const struct exit_record *e, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (e[i].size != 1 || !e[i].write ||
		    !((e[i].val >= ' ' && e[i].val <= '~') || e[i].val == '\r' || e[i].val == '\n'))
			return false;
	return n > 1;
}

/* What was read or written: as a string when it looks like console output. */
static void put_values(const struct exit_record *e, unsigned n, FILE *f)
{
	unsigned skipped = n > SHOWN_VALUES ? n - SHOWN_VALUES : 0;

	if (is_text(e, n)) {
		fputs(" = \"", f);
		for (unsigned i = 0; i < n; i++) {
			if (e[i].val >= ' ')
				fputc((int)e[i].val, f);
			else
				fputs(e[i].val == '\n' ? "\\n" : "\\r", f);
		}
		fputs("\"\n", f);
		return;
	}
	fputs(skipped ? " = ..." : " =", f);
	for (unsigned i = skipped; i < n; i++)
		fprintf(f, " %llx", ll(e[i].val));
	fputc('\n', f);
}

/* n exits of one kind, oldest first; the values of the last few. */
static void put_kind(struct vm *vm, const struct exit_record *e, unsigned n, FILE *f)
{
	fprintf(f, "%s", kvm_exit_name(e->reason));
	if (n > 1)
		fprintf(f, " x%u", n);
	switch (e->reason) {
	case KVM_EXIT_IO:
	case KVM_EXIT_MMIO:
		fputs(": ", f);
		put_access(vm, e, f);
		break;
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		fprintf(f, ": MSR 0x%llx", ll(e->addr));
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		fprintf(f, ": %s (suberror %llu)\n", kvm_exit_words(e->reason), ll(e->addr));
		return;
	default:
		fprintf(f, ": %s\n", kvm_exit_words(e->reason));
		return;
	}
	put_values(e, n, f);
}

/*
 * The exits in the ring of one vCPU by kind, the kind seen last at the end: a
 * console that is polled between bytes would hide all else in a plain list.
 * The vCPU's thread may be adding to the ring.
 */
static void put_exits(struct vm *vm, const struct vcpu *v, unsigned max_kinds, FILE *f)
{
	unsigned end = __atomic_load_n(&v->ring_pos, __ATOMIC_RELAXED);
	unsigned n = end < EXIT_RING ? end : EXIT_RING, kinds = 0, k;
	struct exit_record ring[EXIT_RING], of_kind[EXIT_RING];
	unsigned last_of[EXIT_RING]; /* by kind, newest first: index in ring */

	for (unsigned i = 0; i < n; i++)
		ring[i] = v->ring[(end - n + i) % EXIT_RING];
	for (unsigned i = n; i-- > 0 && kinds < max_kinds;) {
		for (k = 0; k < kinds && !same_kind(&ring[last_of[k]], &ring[i]); k++)
			;
		if (k == kinds)
			last_of[kinds++] = i;
	}
	if (!n)
		fprintf(f, "    none yet\n");
	for (k = kinds; k-- > 0;) {
		unsigned len = 0;

		for (unsigned i = 0; i < n; i++)
			if (same_kind(&ring[last_of[k]], &ring[i]))
				of_kind[len++] = ring[i];
		fputs("    ", f);
		put_kind(vm, of_kind, len, f);
	}
}

static void put_other_vcpu(struct vm *vm, const struct vcpu *v, FILE *f)
{
	char sym[SYMBOL_MAX];

	fprintf(f, "  vCPU %u, last exits", v->id);
	if (v->run && (v->run->kvm_valid_regs & KVM_SYNC_X86_REGS)) {
		uint64_t rip = v->run->s.regs.regs.rip;

		fprintf(f, " (RIP then %llx", ll(rip));
		if (symbol_lookup(kernel_of(vm), rip, sym, sizeof(sym)))
			fprintf(f, " %s", sym);
		fputc(')', f);
	}
	fputs(":\n", f);
	put_exits(vm, v, SHOWN_KINDS_OTHER, f);
}

static void put_all_exits(struct vm *vm, unsigned dead, FILE *f)
{
	unsigned others = 0;

	if (dead < vm->n_cpus && vm->vcpu[dead]) {
		fprintf(f, "  vCPU %u, last exits by kind, newest last:\n", dead);
		put_exits(vm, vm->vcpu[dead], SHOWN_KINDS, f);
	}
	for (unsigned i = 0; i < vm->n_cpus; i++) {
		if (i == dead || !vm->vcpu[i])
			continue;
		if (++others <= SHOWN_VCPUS)
			put_other_vcpu(vm, vm->vcpu[i], f);
	}
	if (others > SHOWN_VCPUS)
		fprintf(f, "  and %u more vCPUs\n", others - SHOWN_VCPUS);
}

static void put_machine(const struct vm *vm, FILE *f)
{
	const char *kernel = kernel_of(vm);
	uint64_t exits = 0;

	for (unsigned i = 0; i < vm->n_cpus; i++)
		for (unsigned r = 0; vm->vcpu[i] && r < 64; r++)
			exits += atomic_load_explicit(&vm->vcpu[i]->exits[r], memory_order_relaxed);
	fprintf(f, "  kernel %s, %llu MiB RAM, %u vCPU%s, %s KVM, %llu exits",
		kernel ? kernel : "(none)", ll(vm->m.mem.ram_size >> 20), vm->n_cpus,
		vm->n_cpus == 1 ? "" : "s", vm->software_kvm ? "software" : "hardware", ll(exits));
	if (vm->started_ns)
		fprintf(f, ", ran for %.3f s", (double)(loop_now_ns() - vm->started_ns) / 1e9);
	fputc('\n', f);
}

void report_format(struct vm *vm, const struct cpu_snapshot *c, const char *why, FILE *f)
{
	struct diagnosis d = { "", "" };
	struct cpu_facts facts;

	fprintf(f, "posada: the guest died on vCPU %u: %s\n", c->id, why);
	if (c->have_regs) {
		cpu_facts(vm, c, &facts);
		report_diagnose(vm, c, &facts, &d);
		if (d.cause[0])
			fprintf(f, "posada: %s\n", d.cause);
		put_position(vm, c, &facts, f);
		put_code(vm, c, &facts, f);
		put_registers(vm, c, f);
		put_events(vm, c, f);
		put_walk(vm, c, "walk of RIP", facts.pc, f);
		/* A CR2 of 0 is most often one that no page fault has set yet. */
		if (c->sregs.cr2 != facts.pc && (c->sregs.cr2 || c->events.exception.nr == VEC_PF))
			put_walk(vm, c, "walk of CR2", c->sregs.cr2, f);
		put_stack(vm, c, &facts, f);
	} else {
		fprintf(f, "  its registers cannot be read\n");
	}
	put_all_exits(vm, c->id, f);
	put_machine(vm, f);
	if (d.hint[0])
		fprintf(f, "posada: %s\n", d.hint);
}
