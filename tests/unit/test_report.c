/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reports of guests that died in every way known, from snapshots made by hand:
 * is the cause in the first two lines, and does any garbage do?
 */
#include <asm/processor-flags.h>
#include <check.h>
#include <elf.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "suite.h"
#include "bus.h"
#include "config.h"
#include "gmem.h"
#include "report.h"
#include "vm.h"

#define RAM (4ull << 20)
#define CODE 0x100000ull
#define STACK 0x80000ull
#define IDT 0x20000ull
#define GDT 0x500ull
#define UNMAPPED 0x100001234ull /* the page tables end at 1 GiB */

static struct config cfg;
static struct vm vm;
static struct vcpu cpu[2];
static struct vcpu *cpus[2] = { &cpu[0], &cpu[1] };
static struct cpu_snapshot c;
static struct diagnosis d;
static char *text;
static size_t text_len;

static struct io_region serial = { .name = "serial0", .size = 8 };
static struct io_region hpet = { .name = "hpet", .size = 0x400 };

static void put(uint64_t gpa, const void *data, size_t len)
{
	ck_assert_int_eq(gmem_write(&vm.m.mem, gpa, data, len), 0);
}

static void put64(uint64_t gpa, uint64_t val)
{
	put(gpa, &val, 8);
}

#define CODE_IS(...)                                                                               \
	put(CODE, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void set_gate(unsigned vector, uint16_t sel, uint64_t handler, uint8_t ist, uint8_t attr)
{
	put64(IDT + vector * 16, (handler & 0xffff) | (uint64_t)sel << 16 | (uint64_t)ist << 32 |
					 (uint64_t)attr << 40 | (handler >> 16 & 0xffff) << 48);
	put64(IDT + vector * 16 + 8, handler >> 32);
}

/* A sane 64-bit guest: 1 GiB mapped by 2 MiB pages, GDT, IDT with gates for all 32 vectors. */
static void setup(void)
{
	memset(&vm, 0, sizeof(vm));
	memset(&cfg, 0, sizeof(cfg));
	memset(cpu, 0, sizeof(cpu));
	memset(&c, 0, sizeof(c));
	vm.cfg = &cfg;
	vm.vcpu = cpus;
	vm.n_cpus = 1;
	cpu[1].id = 1;
	ck_assert_int_eq(gmem_init(&vm.m.mem, RAM, GMEM_ANON, NULL), 0);
	bus_init(&vm.m.pio, false);
	bus_init(&vm.m.mmio, true);
	serial.bus = NULL;
	hpet.bus = NULL;
	bus_map(&vm.m.pio, &serial, 0x3f8);
	bus_map(&vm.m.mmio, &hpet, 0x3ed00000);

	put64(0x9000, 0xa003);
	put64(0xa000, 0xb003);
	for (unsigned i = 0; i < 512; i++)
		put64(0xb000 + i * 8, ((uint64_t)i << 21) | 0x83);
	put64(GDT + 0x10, 0x00af9b000000ffff);
	put64(GDT + 0x18, 0x00cf93000000ffff);
	for (unsigned i = 0; i < 32; i++)
		set_gate(i, 0x10, CODE + 0x1000, 0, 0x8e);
	CODE_IS(0x90);

	c.have_regs = true;
	c.have_events = true;
	c.regs.rip = CODE;
	c.regs.rsp = STACK;
	c.regs.rflags = 2;
	c.sregs.cr0 = X86_CR0_PE | X86_CR0_PG;
	c.sregs.cr3 = 0x9000;
	c.sregs.cr4 = X86_CR4_PAE;
	c.sregs.efer = 0x500;
	c.sregs.cs = (struct kvm_segment){
		.selector = 0x10, .limit = ~0u, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1
	};
	c.sregs.ss = (struct kvm_segment){
		.selector = 0x18, .limit = ~0u, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1
	};
	c.sregs.gdt = (struct kvm_dtable){ .base = GDT, .limit = 31 };
	c.sregs.idt = (struct kvm_dtable){ .base = IDT, .limit = 511 };
	c.exit.exit_reason = KVM_EXIT_SHUTDOWN;
}

static void teardown(void)
{
	bus_fini(&vm.m.pio);
	bus_fini(&vm.m.mmio);
	gmem_fini(&vm.m.mem);
	free(text);
	text = NULL;
}

/* What a software KVM remembers of the exception it could not deliver. */
static void exception(unsigned vector, int error)
{
	vm.software_kvm = true;
	c.events.exception.nr = (uint8_t)vector;
	c.events.exception.has_error_code = error >= 0;
	c.events.exception.error_code = error >= 0 ? (uint32_t)error : 0;
}

static void protected32(void)
{
	c.sregs.cr0 = X86_CR0_PE;
	c.sregs.cr4 = 0;
	c.sregs.efer = 0;
	c.sregs.cs.l = 0;
	c.sregs.cs.db = 1;
}

static const char *cause(void)
{
	struct cpu_facts f;

	cpu_facts(&vm, &c, &f);
	report_diagnose(&vm, &c, &f, &d);
	return d.cause;
}

static const char *report(void)
{
	FILE *f;

	free(text);
	text = NULL;
	f = open_memstream(&text, &text_len);
	ck_assert_ptr_nonnull(f);
	report_format(&vm, &c, "triple fault", f);
	fclose(f);
	return text;
}

/* Every string of the list is in `in`. */
static void has(const char *in, ...)
{
	const char *part;
	va_list ap;

	va_start(ap, in);
	while ((part = va_arg(ap, const char *)))
		ck_assert_msg(strstr(in, part) != NULL, "no \"%s\" in:\n%s", part, in);
	va_end(ap);
}

/* --- triple faults --- */

START_TEST(no_idt)
{
	CODE_IS(0x0f, 0x0b);
	c.sregs.idt.limit = 0;
	has(cause(), "#UD invalid opcode at `ud2`", "there is no IDT", "IDTR limit 0", NULL);
	exception(6, -1);
	has(cause(), "#UD invalid opcode at `ud2`", "there is no IDT", NULL);
	ck_assert_str_eq(d.hint, "");
	CODE_IS(0xcc);
	vm.software_kvm = false;
	has(cause(), "#BP breakpoint at `int3`", NULL);
	has(d.hint, "on purpose", NULL);
}
END_TEST

START_TEST(page_fault_without_gate)
{
	exception(14, 2);
	c.sregs.cr2 = UNMAPPED;
	set_gate(14, 0, 0, 0, 0);
	has(cause(), "#PF page fault writing 0x100001234",
	    "PDPT entry 0x0 at 0xa020 is not present", "its IDT gate (entry 14) is not present",
	    NULL);
	exception(14, 0);
	has(cause(), "page fault reading", NULL);
	/* Without word from KVM, CR2 is taken for a hint only. */
	vm.software_kvm = false;
	has(cause(), "perhaps #PF page fault accessing 0x100001234", NULL);
}
END_TEST

START_TEST(page_fault_for_lack_of_rights)
{
	c.sregs.idt.limit = 0;
	c.sregs.cr2 = 0x400010;
	put64(0x9000, 0xa007);
	put64(0xa000, 0xb007);
	put64(0xb010, 0x400085); /* user, read-only */
	exception(14, 3);
	has(cause(), "writing 0x400010 (CR2, on a read-only page)", NULL);
	exception(14, 1);
	has(cause(), "reading 0x400010 (CR2, on a user page, which SMAP or SMEP", NULL);
	put64(0xb010, 0x400083);
	exception(14, 5);
	has(cause(), "on a supervisor page, from CPL 3", NULL);
	c.sregs.efer |= 1 << 11;
	put64(0xb010, 0x400083 | 1ull << 63);
	exception(14, 0x11);
	has(cause(), "executing 0x400010 (CR2, on a no-execute page)", NULL);
	c.regs.rsp = 0x400030;
	has(cause(), ": at the stack pointer", NULL);
}
END_TEST

/* What happens to a program's first system call on a KVM that gets SYSCALL wrong. */
START_TEST(syscall_without_assist)
{
	c.sregs.ss.dpl = 3;
	exception(14, 0x15);
	has(cause(), "RIP 0x100000 is on a supervisor page, at CPL 3", NULL);
	has(d.hint, "-accel kvm,assist=auto", NULL);
}
END_TEST

START_TEST(null_pointers)
{
	put64(0xb000, 0);
	c.regs.rip = 0x200000;
	exception(14, 0);
	c.sregs.cr2 = 0x18;
	has(cause(), "reading 0x18", ": a NULL pointer", NULL);
	c.regs.rip = 0;
	has(cause(), "RIP 0x0 is not mapped", ": a NULL pointer", NULL);
}
END_TEST

START_TEST(rip_not_fetchable)
{
	c.regs.rip = UNMAPPED;
	has(cause(), "RIP 0x100001234 is not mapped: PDPT entry", NULL);
	c.regs.rip = 0x800000000000;
	has(cause(), "RIP 0x800000000000 is not a canonical address", NULL);
	c.regs.rip = CODE;
	c.sregs.efer |= 1 << 11;
	put64(0xb000, 0x83 | 1ull << 63);
	has(cause(), "on a page that is not executable (NX)", NULL);
	put64(0xa000, 0xb007);
	put64(0x9000, 0xa007);
	put64(0xb000, 0x87);
	ck_assert_ptr_null(strstr(cause(), "user page"));
	c.sregs.cr4 |= X86_CR4_SMEP;
	has(cause(), "on a user page, at CPL 0 with CR4.SMEP", NULL);
	put64(0xb000, 0x83);
	c.sregs.ss.dpl = 3;
	has(cause(), "on a supervisor page, at CPL 3", NULL);
}
END_TEST

START_TEST(idt_unreachable)
{
	exception(13, 0);
	c.sregs.idt.base = UNMAPPED;
	has(cause(), "#GP general protection fault at `nop`",
	    "the IDT entry at 0x100001304 is not mapped", NULL);
	c.sregs.idt.base = 0x3ed00000;
	has(cause(), "the IDT entry is at guest-physical 0x3ed000d0, outside RAM", "device 'hpet'",
	    NULL);
	c.sregs.idt.base = IDT;
	c.sregs.idt.limit = 13 * 16;
	has(cause(), "the IDT has no entry for it (IDTR limit 0xd0)", NULL);
}
END_TEST

START_TEST(bad_gates)
{
	exception(13, 0);
	set_gate(13, 0x10, CODE, 0, 0x8c);
	has(cause(), "is of type 0xc", NULL);
	set_gate(13, 0, CODE, 0, 0x8e);
	has(cause(), "null code segment", NULL);
	set_gate(13, 0x50, CODE, 0, 0x8e);
	has(cause(), "names code segment 0x50, beyond the GDT (limit 0x1f)", NULL);
	set_gate(13, 0x18, CODE, 0, 0x8e);
	has(cause(), "segment 0x18, which is no present code segment", NULL);
	set_gate(13, 0x10, UNMAPPED, 0, 0x8e);
	has(cause(), "its handler 0x100001234 is not mapped", NULL);
	set_gate(13, 0x10, CODE, 0, 0x8e);
	has(cause(), "though IDT and stack look right", NULL);
	/* The first one is right, but the double fault's is not. */
	set_gate(8, 0, 0, 0, 0);
	has(cause(), "its IDT gate (entry 8) is not present", NULL);
}
END_TEST

START_TEST(bad_stacks)
{
	exception(13, 0);
	c.regs.rsp = UNMAPPED;
	has(cause(), "the stack (0x100001230) is not mapped: PDPT entry", NULL);
	c.regs.rsp = 0x3ed00100;
	has(cause(), "the stack (0x3ed00100) is at guest-physical 0x3ed000f8, outside RAM",
	    "device 'hpet'", NULL);
	c.regs.rsp = 0x200008;
	put64(0xb008, 0x200081);
	put64(0xb000, 0x81); /* IDT and code are there: reading them is fine */
	has(cause(), "though IDT and stack look right", NULL); /* CR0.WP is 0 */
	c.sregs.cr0 |= X86_CR0_WP;
	has(cause(), "the stack (0x200000) is on a read-only page", NULL);
	/* With an IST the stack pointer does not matter; the TSS does. */
	c.regs.rsp = UNMAPPED;
	put64(0xb000, 0x83);
	set_gate(13, 0x10, CODE, 1, 0x8e);
	set_gate(8, 0x10, CODE, 1, 0x8e);
	c.sregs.tr.base = 0x30000;
	put64(0x30000 + 36, STACK);
	has(cause(), "though IDT and stack look right", NULL);
	put64(0x30000 + 36, UNMAPPED);
	has(cause(), "the stack (0x100001230) is not mapped", NULL);
	c.sregs.tr.base = UNMAPPED;
	has(cause(), "the TSS entry with the handler's stack at 0x100001258 is not mapped", NULL);
}
END_TEST

START_TEST(divide)
{
	CODE_IS(0xf7, 0xf1);
	exception(0, -1);
	c.sregs.idt.limit = 0;
	has(cause(), "#DE divide error at `div ecx`", NULL);
}
END_TEST

START_TEST(fpu_not_enabled)
{
	c.sregs.idt.limit = 0;
	CODE_IS(0x0f, 0x58, 0xc1);
	exception(6, -1);
	has(cause(), "at `addps xmm0, xmm1` (SSE is not enabled: CR4.OSFXSR is 0), and", NULL);
	c.sregs.cr4 |= X86_CR4_OSFXSR;
	has(cause(), "at `addps xmm0, xmm1`, and", NULL);
	CODE_IS(0xc5, 0xfc, 0x58, 0xc1);
	has(cause(), "`vaddps ymm0, ymm0, ymm1` (AVX is not enabled", NULL);
	c.sregs.cr0 |= X86_CR0_TS;
	exception(7, -1);
	has(cause(), "#NM no FPU at", "(CR0.TS or CR0.EM is set)", NULL);
}
END_TEST

START_TEST(real_mode)
{
	c.sregs.cr0 = 0;
	c.sregs.efer = 0;
	c.sregs.cs.base = 0xf0000;
	c.regs.rip = 0x10;
	put(0xf0010, (const uint8_t[]){ 0x0f, 0x0b }, 2);
	has(cause(), "#UD invalid opcode at `ud2`, in real mode", NULL);
}
END_TEST

START_TEST(paging_on_a_software_kvm)
{
	protected32();
	CODE_IS(0x0f, 0x22, 0xc0); /* mov cr0, eax */
	c.regs.rax = 0x80000011;
	exception(13, 0);
	has(cause(), "turned on 32-bit paging", "a software one", NULL);
	has(d.hint, "64-bit kernel", NULL);
	c.sregs.cr4 = X86_CR4_PAE;
	has(cause(), "turned on PAE paging", NULL);
	c.regs.rax = 0x11; /* something else is wrong with it */
	has(cause(), "#GP general protection fault at `mov cr0, eax`", NULL);
	c.regs.rax = 0x80000011;
	vm.software_kvm = false;
	ck_assert_ptr_null(strstr(cause(), "paging"));
	vm.software_kvm = true;
	c.sregs.efer = 0x100; /* on the way to long mode */
	ck_assert_ptr_null(strstr(cause(), "turned on"));
}
END_TEST

/* --- other exits --- */

START_TEST(emulation_failure)
{
	CODE_IS(0xf3, 0x48, 0x0f, 0xb8, 0xc3);
	c.exit.exit_reason = KVM_EXIT_INTERNAL_ERROR;
	c.exit.internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
	has(cause(), "cannot carry out the instruction `popcnt rax, rbx`", NULL);
	has(d.hint, "device memory", NULL);
	vm.software_kvm = true;
	cause();
	has(d.hint, "-accel kvm,assist=auto", NULL);
	vm.assist = (struct assist *)&vm; /* only looked at for being there */
	cause();
	has(d.hint, "the assist does not know", NULL);
}
END_TEST

START_TEST(code_outside_ram)
{
	c.exit.exit_reason = KVM_EXIT_INTERNAL_ERROR;
	c.exit.internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
	c.regs.rip = 0x3ed00010;
	has(cause(), "runs code at guest-physical address 0x3ed00010", "device 'hpet'", NULL);
	c.regs.rip = 0x500000;
	has(cause(), "runs code at guest-physical address 0x500000", "nothing there", NULL);
	has(d.hint, "4 MiB of RAM", NULL);
	c.regs.rip = UNMAPPED;
	has(cause(), "RIP 0x100001234 is not mapped", NULL);
}
END_TEST

START_TEST(internal_errors)
{
	c.exit.exit_reason = KVM_EXIT_INTERNAL_ERROR;
	c.exit.internal.suberror = KVM_INTERNAL_ERROR_SIMUL_EX;
	has(cause(), "an exception came while KVM was delivering another one", NULL);
	c.exit.internal.suberror = KVM_INTERNAL_ERROR_DELIVERY_EV;
	c.exit.internal.ndata = 3;
	c.exit.internal.data[0] = 0x80000b0e;
	has(cause(), "could not deliver vector 14 (#PF page fault)", NULL);
	c.sregs.idt.base = UNMAPPED;
	has(cause(), "the IDT entry at 0x100001314 is not mapped", NULL);
	c.exit.internal.suberror = KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON;
	c.exit.internal.data[0] = 0x4d;
	has(cause(), "does not know (0x4d)", NULL);
	c.exit.internal.suberror = 99;
	has(cause(), "KVM internal error 99", NULL);
}
END_TEST

START_TEST(failed_entry)
{
	c.exit.exit_reason = KVM_EXIT_FAIL_ENTRY;
	c.exit.fail_entry.hardware_entry_failure_reason = 0x80000021;
	has(cause(), "a state that the processor does not accept (VMX reason 33)", NULL);
	c.exit.fail_entry.hardware_entry_failure_reason = 7;
	has(cause(), "invalid control fields", NULL);
	c.exit.fail_entry.hardware_entry_failure_reason = UINT32_MAX;
	has(cause(), "VMEXIT_INVALID", NULL);
	c.exit.fail_entry.hardware_entry_failure_reason = 0x1234;
	has(cause(), "reason 0x1234", NULL);
}
END_TEST

START_TEST(unknown_exits)
{
	c.exit.exit_reason = KVM_EXIT_UNKNOWN;
	c.exit.hw.hardware_exit_reason = 0x35;
	has(cause(), "does not know (0x35)", NULL);
	c.exit.exit_reason = 12345;
	ck_assert_str_eq(cause(), "");
}
END_TEST

START_TEST(exit_names)
{
	ck_assert_str_eq(kvm_exit_name(KVM_EXIT_IO), "IO");
	ck_assert_str_eq(kvm_exit_name(KVM_EXIT_SHUTDOWN), "SHUTDOWN");
	ck_assert_str_eq(kvm_exit_words(KVM_EXIT_SHUTDOWN), "triple fault");
	ck_assert_str_eq(kvm_exit_name(25), "S390_STSI");
	ck_assert_str_eq(kvm_exit_name(UINT32_MAX), "unknown");
	ck_assert_ptr_nonnull(kvm_exit_words(UINT32_MAX));
	for (uint32_t i = 0; i < 300; i++) {
		ck_assert_ptr_nonnull(kvm_exit_name(i));
		ck_assert_ptr_nonnull(kvm_exit_words(i));
	}
}
END_TEST

/* --- the text --- */

START_TEST(layout)
{
	unsigned lines = 0;

	CODE_IS(0x90, 0x0f, 0x0b, 0xeb, 0xfe);
	exception(6, -1);
	c.sregs.idt.limit = 0;
	c.regs.rax = 0x1122334455667788;
	c.regs.rflags = 0x246;
	c.sregs.cr2 = UNMAPPED;
	put64(STACK, 0xabcdef);
	cfg.kernel = "vmlinux";
	report();
	ck_assert_int_eq(strncmp(text,
				 "posada: the guest died on vCPU 0: triple fault\nposada: #UD ",
				 59),
			 0);
	has(text, "RIP 0010:0000000000100000", "(64-bit mode, CPL 0)", "=>   100000: 90 ",
	    "     100001: 0f 0b ", "ud2\n", "RAX 1122334455667788",
	    "RFLAGS 00000246 IF ZF PF IOPL=0",
	    "CS  0010 base 0000000000000000 limit ffffffff DPL 0 code64", "CR0 80000001 PG PE",
	    "CR4 00000020 PAE", "EFER 500 LMA LME", "limit 0000  <- empty",
	    "last exception: 6, #UD invalid opcode",
	    "walk of RIP 0x100000: PML4[9000]=a003 > PDPT[a000]=b003 > PD[b000]=83\n"
	    "    guest-physical 0x100000, 2 MiB page, supervisor, writable, executable",
	    "walk of CR2 0x100001234: PML4[9000]=a003 > PDPT[a020]=0\n    not mapped",
	    "stack 0x80000: abcdef 0 0 0", "kernel vmlinux, 4 MiB RAM, 1 vCPU, software KVM", NULL);
	for (const char *p = text; (p = strchr(p, '\n')); p++)
		lines++;
	ck_assert_uint_le(lines, 45);
}
END_TEST

START_TEST(no_registers)
{
	c.have_regs = false;
	has(report(), "triple fault\n  its registers cannot be read\n", "4 MiB RAM", NULL);
}
END_TEST

START_TEST(unreadable_code_and_stack)
{
	c.regs.rip = UNMAPPED;
	c.regs.rsp = UNMAPPED;
	has(report(), "code: the bytes at 0x100001234 cannot be read",
	    "stack 0x100001234: cannot be read", NULL);
}
END_TEST

static void add_exit(struct vcpu *v, uint32_t reason, uint64_t addr, uint16_t size, bool write,
		     uint64_t val)
{
	v->ring[v->ring_pos++ % EXIT_RING] = (struct exit_record){
		.reason = reason, .size = size, .write = write, .addr = addr, .val = val
	};
}

START_TEST(exits)
{
	vm.n_cpus = 2;
	has(report(), "vCPU 0, last exits by kind, newest last:\n    none yet\n",
	    "vCPU 1, last exits:\n    none yet\n", NULL);
	for (unsigned i = 0; i < 100; i++)
		add_exit(&cpu[0], KVM_EXIT_MMIO, 0x3ed00010, 4, false, i);
	add_exit(&cpu[0], KVM_EXIT_IO, 0x3f8, 1, true, 'H');
	add_exit(&cpu[0], KVM_EXIT_IO, 0x3f8, 1, true, 'i');
	add_exit(&cpu[0], KVM_EXIT_IO, 0x3f8, 1, true, '\n');
	add_exit(&cpu[0], KVM_EXIT_IO, 0x80, 1, true, 0x5a);
	add_exit(&cpu[0], KVM_EXIT_SHUTDOWN, 0, 0, false, 0);
	for (unsigned i = 0; i < 20; i++)
		add_exit(&cpu[1], i, i, 4, false, i);
	atomic_store(&cpu[0].exits[KVM_EXIT_IO], 4);
	atomic_store(&cpu[1].exits[63], 3);
	has(report(),
	    "    MMIO x27: read address 0x3ed00010 (hpet), 4 bytes = ... 54 55 56 57 58 59 5a 5b "
	    "5c 5d 5e "
	    "5f 60 61 62 63\n"
	    "    IO x3: out port 0x3f8 (serial0), 1 byte = \"Hi\\n\"\n"
	    "    IO: out port 0x80 (nothing is there), 1 byte = 5a\n"
	    "    SHUTDOWN: triple fault\n"
	    "  vCPU 1, last exits:\n"
	    "    OSI: PowerPC OSI call\n"
	    "    PAPR_HCALL: PowerPC hypercall\n  kernel",
	    "2 vCPUs", "7 exits", NULL);
}
END_TEST

START_TEST(registers_of_a_segmented_guest)
{
	protected32();
	c.sregs.cs.base = 0x10000;
	c.sregs.ss.base = 0x20000;
	c.regs.rip = 0xf0000;
	c.regs.rsp = 0xffffffff00000010; /* the high half does not count */
	put64(0x20010, 0x1234);
	CODE_IS(0xb8, 0x34, 0x12, 0, 0);
	has(report(), "(32-bit protected mode, CPL 0)", "=>    f0000: b8 34 12 00 00",
	    "mov eax, 0x1234", "walk of RIP 0x100000: paging is off", "stack 0x20010: 1234 0",
	    NULL);
}
END_TEST

/* A kernel file with one function "work" of 16 bytes at CODE. */
static const char *make_kernel(void)
{
	static char path[] = "/tmp/test_report.XXXXXX";
	struct {
		Elf64_Ehdr eh;
		Elf64_Shdr sh[4];
		Elf64_Sym sym[2];
		char names[8];
	} i = { .names = "\0work" };
	int fd;

	memcpy(i.eh.e_ident, ELFMAG, SELFMAG);
	i.eh.e_ident[EI_CLASS] = ELFCLASS64;
	i.eh.e_ident[EI_DATA] = ELFDATA2LSB;
	i.eh.e_type = ET_EXEC;
	i.eh.e_machine = EM_X86_64;
	i.eh.e_shoff = sizeof(i.eh);
	i.eh.e_shentsize = sizeof(Elf64_Shdr);
	i.eh.e_shnum = 4;
	i.sh[1] = (Elf64_Shdr){ .sh_flags = SHF_EXECINSTR, .sh_addr = CODE, .sh_size = 0x1000 };
	i.sh[2] = (Elf64_Shdr){ .sh_type = SHT_SYMTAB,
				.sh_offset = sizeof(i.eh) + sizeof(i.sh),
				.sh_size = sizeof(i.sym),
				.sh_link = 3,
				.sh_entsize = sizeof(Elf64_Sym) };
	i.sh[3] = (Elf64_Shdr){ .sh_offset = sizeof(i.eh) + sizeof(i.sh) + sizeof(i.sym),
				.sh_size = sizeof(i.names) };
	i.sym[1] = (Elf64_Sym){ .st_name = 1,
				.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
				.st_shndx = 1,
				.st_value = CODE,
				.st_size = 16 };
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, &i, sizeof(i)), sizeof(i));
	close(fd);
	return path;
}

START_TEST(symbols)
{
	cfg.kernel = make_kernel();
	/* five nops, an xor, a ud2, a jump back to the start */
	CODE_IS(0x90, 0x90, 0x90, 0x90, 0x90, 0x31, 0xc0, 0x0f, 0x0b, 0xeb, 0xf5);
	c.regs.rip = CODE + 7;
	put64(STACK + 8, CODE + 2);
	report();
	ck_assert_int_eq(unlink(cfg.kernel), 0);
	has(text, "RIP 0010:0000000000100007  work+0x7/0x10  (64-bit mode", "at `ud2`",
	    "CPL 0)\n       100003: 90 ", "     100004: 90 ", "     100005: 31 c0 ",
	    "xor eax, eax\n", "  =>   100007: 0f 0b ", "jmp 0x0000000000100000 <work+0x0/0x10>\n",
	    "maybe called from: work+0x2/0x10\n", NULL);
}
END_TEST

/* A console polled before each byte: both kinds are told apart, what was there before is not lost.
 */
START_TEST(polled_console)
{
	add_exit(&cpu[0], KVM_EXIT_IO, 0x80, 1, true, 1);
	for (const char *p = "bye\n"; *p; p++) {
		add_exit(&cpu[0], KVM_EXIT_IO, 0x3fd, 1, false, 0x60);
		add_exit(&cpu[0], KVM_EXIT_IO, 0x3f8, 1, true, (uint8_t)*p);
	}
	has(report(),
	    "    IO: out port 0x80 (nothing is there), 1 byte = 1\n"
	    "    IO x4: in port 0x3fd (serial0), 1 byte = 60 60 60 60\n"
	    "    IO x4: out port 0x3f8 (serial0), 1 byte = \"bye\\n\"\n  kernel",
	    NULL);
}
END_TEST

/* Random registers and random memory: it says something, and ends. */
START_TEST(garbage)
{
	uint64_t *ram = gmem_ptr(&vm.m.mem, 0, RAM);
	static const uint32_t reasons[] = { KVM_EXIT_SHUTDOWN,   KVM_EXIT_INTERNAL_ERROR,
					    KVM_EXIT_FAIL_ENTRY, KVM_EXIT_UNKNOWN,
					    KVM_EXIT_EXCEPTION,  KVM_EXIT_SYSTEM_EVENT };

	srand(7);
	for (size_t i = 0; i < RAM / 8; i++)
		ram[i] = (uint64_t)rand() << 42 ^ (uint64_t)rand() << 21 ^ (uint64_t)rand();
	vm.n_cpus = 2;
	for (unsigned n = 0; n < 1000; n++) {
		uint8_t *p = (uint8_t *)&c;

		for (size_t i = 0; i < sizeof(c); i++)
			p[i] = (uint8_t)(rand() >> 7);
		for (unsigned i = 0; i < EXIT_RING; i++)
			cpu[0].ring[i] = cpu[1].ring[i] = (struct exit_record){
				.reason = (uint32_t)rand() % (n & 1 ? 45 : ~0u),
				.size = (uint16_t)rand(),
				.write = rand() & 1,
				.addr = (uint64_t)rand() << 20,
				.val = (uint64_t)rand(),
			};
		cpu[0].ring_pos = (unsigned)rand();
		c.have_regs = true;
		c.have_events = n & 1;
		c.exit.exit_reason = reasons[n % 6];
		c.exit.internal.suberror = n % 5;
		vm.software_kvm = n & 2;
		if (n & 4) { /* near enough to sanity to get further in */
			c.sregs.cr0 = X86_CR0_PE | X86_CR0_PG;
			c.sregs.efer = n & 8 ? 0xd00 : 0;
			c.sregs.cr3 = (uint64_t)rand() % RAM;
			c.sregs.idt.base = (uint64_t)rand() % RAM;
			c.regs.rip = (uint64_t)rand() % RAM;
		}
		if (n % 3 == 0)
			c.sregs.cr0 &= ~X86_CR0_PG;
		report();
		ck_assert_uint_gt(text_len, 500);
		ck_assert_uint_lt(text_len, 20000);
		for (const char *t = text; *t; t++)
			ck_assert(*t == '\n' || (*t >= ' ' && *t <= '~'));
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("report");
	TCase *tc = tcase_create("all");

	tcase_set_timeout(tc, 60); /* with sanitizers */
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, no_idt);
	tcase_add_test(tc, page_fault_without_gate);
	tcase_add_test(tc, page_fault_for_lack_of_rights);
	tcase_add_test(tc, syscall_without_assist);
	tcase_add_test(tc, null_pointers);
	tcase_add_test(tc, rip_not_fetchable);
	tcase_add_test(tc, idt_unreachable);
	tcase_add_test(tc, bad_gates);
	tcase_add_test(tc, bad_stacks);
	tcase_add_test(tc, divide);
	tcase_add_test(tc, fpu_not_enabled);
	tcase_add_test(tc, real_mode);
	tcase_add_test(tc, paging_on_a_software_kvm);
	tcase_add_test(tc, emulation_failure);
	tcase_add_test(tc, code_outside_ram);
	tcase_add_test(tc, internal_errors);
	tcase_add_test(tc, failed_entry);
	tcase_add_test(tc, unknown_exits);
	tcase_add_test(tc, exit_names);
	tcase_add_test(tc, layout);
	tcase_add_test(tc, no_registers);
	tcase_add_test(tc, unreadable_code_and_stack);
	tcase_add_test(tc, exits);
	tcase_add_test(tc, registers_of_a_segmented_guest);
	tcase_add_test(tc, polled_console);
	tcase_add_test(tc, symbols);
	tcase_add_test(tc, garbage);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
