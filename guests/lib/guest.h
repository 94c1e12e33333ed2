/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The runtime of the bare-metal guests: enough to print, to check and to be
 * interrupted. A guest is one file with guest_main(), which checks things by
 * check() and returns; the runtime then leaves through isa-debug-exit with
 * EXIT_PASS or EXIT_FAIL. Integer code only: the file is compiled without SSE.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "defs.h"

/* Values for isa-debug-exit at 0x501; the process exits with (value << 1) | 1. */
#define EXIT_PASS 0x10 /* status 33 */
#define EXIT_FAIL 0x11 /* status 35: a check failed */
#define EXIT_TRAP 0x12 /* status 37: an exception nobody expected */
#define EXIT_SKIP 0x13 /* status 39: the CPU or machine lacks what the guest is about */
#define DEBUG_EXIT_PORT 0x501

void guest_main(void);

/* --- console on COM1, polled (console.c) --- */
void putch(char c);
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* %s %c %d %u %x, with l */
/* Prints "ok NAME" or "FAIL NAME" and counts. */
bool check(bool ok, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void leave(unsigned value);
_Noreturn void leave_skip(const char *reason);
extern unsigned n_checks, n_failed;

/* --- strings --- */
void *memcpy(void *d, const void *s, size_t n);
void *memset(void *d, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);

/* --- how the guest was started (boot.c) --- */
enum boot_kind { BOOT_PVH, BOOT_MULTIBOOT, BOOT_ELF64 };

struct mem_range {
	uint64_t addr, size;
	uint32_t type; /* 1 is RAM */
};

struct module {
	uint64_t addr, size;
	const char *args;
};

struct boot {
	enum boot_kind kind;
	const char *name;
	const char *cmdline; /* never NULL */
	uint64_t rsdp; /* 0 when not told */
	struct mem_range mem[32];
	unsigned n_mem;
	struct module mod[8];
	unsigned n_mod;
};
extern struct boot boot;

/* The value of "name=" on the command line, or def. Decimal or 0x hex. */
uint64_t arg_u64(const char *name, uint64_t def);
/* Whether the command line has "name=value" (value NULL: just the word name). */
bool arg_is(const char *name, const char *value);

/* --- ACPI (acpi.c) --- */
struct acpi_table {
	char sig[4];
	uint32_t len;
	uint8_t rev, sum;
	char oem[6], oem_table[8];
	uint32_t oem_rev, creator, creator_rev;
} __attribute__((packed));
uint64_t acpi_rsdp(void); /* as told by the loader, or found below 1 MiB; 0 for none */
const struct acpi_table *acpi_find(const char *sig);
bool acpi_sum_ok(const void *p, size_t len);
uint32_t acpi_irq_gsi(unsigned irq); /* ISA IRQ to IOAPIC pin, by the MADT's overrides */
unsigned acpi_cpus(uint8_t *apic_ids, unsigned max); /* enabled ones; 0 without a MADT */

/* --- exceptions and interrupts (traps.c) --- */
struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

struct trap {
	bool taken;
	uint64_t vector, error, rip, cs, rflags, rsp, cr2;
	uint64_t handler_sp; /* the stack on which it was handled */
	uint64_t rax, rdi;
};
/* The last exception that a FIXUP or user_run() caught. */
extern struct trap trap;

/* Called for a vector instead of all else; interrupts need one. */
extern void (*trap_handler[256])(struct trap_frame *f);

/* IDT gate attributes: ist 0 for none, dpl 0 or 3. */
void trap_gate(unsigned vector, unsigned ist, unsigned dpl);
void trap_init(void); /* BSP */
void trap_init_ap(void); /* the same IDT for another CPU */
uint64_t ist_top(unsigned ist); /* end of the stack of IST slot 1..3 */

/* In asm: an exception at label `at` goes on at label `to`. */
#define FIXUP(at, to) ".pushsection .fixup, \"a\"\n.quad " at ", " to "\n.popsection\n"

/*
 * Runs one instruction; `trap` says what it raised. Operands are inputs, and
 * not in RAX, RCX or RDX.
 */
#define TRY(insn, ...)                                                                             \
	do {                                                                                       \
		trap = (struct trap){ 0 };                                                         \
		asm volatile("771: " insn "\n772:\n" FIXUP("771b", "772b")                         \
			     :                                                                     \
			     : __VA_ARGS__                                                         \
			     : "memory", "cc", "rax", "rcx", "rdx");                               \
	} while (0)

/*
 * Runs fn(arg) at CPL3 until it traps, which it must: int3 is the usual way out (USER_EXIT).
 * The trap is in `trap`. fn must be USER code and touch USER data only.
 */
void user_run(void (*fn)(uint64_t arg), uint64_t arg);
#define USER __attribute__((section(".user.text"), noinline))
#define USER_DATA __attribute__((section(".user.data")))
#define USER_EXIT(val) asm volatile("int3" ::"a"((uint64_t)(val)))

/* --- APIC, PIC, PIT (apic.c) --- */
#define LAPIC_BASE 0xfee00000u
#define IOAPIC_BASE 0xfec00000u
/* clang-format off */
enum lapic_reg {
	LAPIC_ID = 0x20, LAPIC_VERSION = 0x30, LAPIC_TPR = 0x80, LAPIC_EOI = 0xb0,
	LAPIC_LDR = 0xd0, LAPIC_DFR = 0xe0, LAPIC_SVR = 0xf0, LAPIC_ICR_LO = 0x300,
	LAPIC_ICR_HI = 0x310, LAPIC_LVT_TIMER = 0x320, LAPIC_LINT0 = 0x350,
	LAPIC_LINT1 = 0x360, LAPIC_TIMER_INIT = 0x380, LAPIC_TIMER_CUR = 0x390,
	LAPIC_TIMER_DIV = 0x3e0
};
/* clang-format on */
#define VEC_SPURIOUS 0xff
void lapic_init(void); /* this CPU's: enabled, spurious vector set */
void lapic_eoi(void);
uint32_t ioapic_read(unsigned reg);
void ioapic_write(unsigned reg, uint32_t val);
unsigned ioapic_pins(void);
/* Edge-triggered, active high, physical destination CPU 0; mask when vector is 0. */
void ioapic_route(unsigned pin, unsigned vector);
/* The same, level-triggered: for PCI's INTx and virtio-mmio. */
void ioapic_route_level(unsigned pin, unsigned vector);
void pic_init(unsigned base); /* vectors base..base+15, all masked */
void pic_mask(uint16_t mask);
void pic_eoi(unsigned irq);
void pit_periodic(unsigned hz);
void pit_stop(void);
/* Waits by PIT channel 2, which needs no interrupt. At most 50000 us. */
void delay_us(unsigned us);
/*
 * What the TSC and this CPU's LAPIC timer (divided by 16) count in a millisecond, by the PIT.
 * Needs lapic_init(), takes 50 ms; until then both are 0.
 */
extern uint64_t tsc_per_ms, lapic_per_ms;
void clock_init(void);
/*
 * A one-shot interrupt by the LAPIC timer in ms milliseconds, or when its counter of 32 bits
 * ends, some seconds at most; 0: none.
 */
void lapic_timer_after(unsigned ms, unsigned vector);

/* --- memory beyond the identity map (boot.c) --- */
/* A 2 MiB window for physical addresses beyond 4 GiB. */
void *map_window(uint64_t pa);
/* Where pa is in virtual memory for good, with the rest of its 2 MiB: for devices. */
void *map_phys(uint64_t pa);
/* Lets CPL3 at the 2 MiB pages around [va, va + size); below 4 GiB, or from map_phys. */
void map_user(uint64_t va, uint64_t size);
/* Zeroed memory that is never given back, until alloc_to(mark) with an earlier alloc_mark(). */
void *alloc(uint64_t size, uint64_t align);
uint64_t alloc_mark(void);
void alloc_to(uint64_t mark);
/* 512 pages of virtual memory with a page table entry each, nothing mapped at first. */
#define PLAY_VA 0x140000000ull
extern uint64_t play_pt[512];
void play_init(void);
/* Sets the entry of the page at va, and forgets the old one. */
void play_map(uint64_t va, uint64_t pte);

/* --- other CPUs (apic.c) --- */
extern void (*ap_main)(unsigned apic_id);
/* INIT, SIPI, SIPI; the CPU runs ap_main on its own stack. */
void ap_boot(unsigned apic_id);

/* --- instructions --- */
static inline void outb(uint16_t port, uint8_t v)
{
	asm volatile("outb %0, %1" ::"a"(v), "Nd"(port) : "memory");
}
static inline void outw(uint16_t port, uint16_t v)
{
	asm volatile("outw %0, %1" ::"a"(v), "Nd"(port) : "memory");
}
static inline void outl(uint16_t port, uint32_t v)
{
	asm volatile("outl %0, %1" ::"a"(v), "Nd"(port) : "memory");
}
static inline uint8_t inb(uint16_t port)
{
	uint8_t v;
	asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}
static inline uint16_t inw(uint16_t port)
{
	uint16_t v;
	asm volatile("inw %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}
static inline uint32_t inl(uint16_t port)
{
	uint32_t v;
	asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}
static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;
	asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return lo | (uint64_t)hi << 32;
}
static inline void wrmsr(uint32_t msr, uint64_t v)
{
	asm volatile("wrmsr" ::"a"((uint32_t)v), "d"((uint32_t)(v >> 32)), "c"(msr) : "memory");
}
static inline uint64_t rdtsc(void)
{
	uint32_t lo, hi;
	asm volatile("rdtsc" : "=a"(lo), "=d"(hi)::"memory");
	return lo | (uint64_t)hi << 32;
}
struct cpuid {
	uint32_t a, b, c, d;
};
static inline struct cpuid cpuid(uint32_t leaf, uint32_t sub)
{
	struct cpuid r;
	asm volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(sub));
	return r;
}
static inline uint64_t ms_since(uint64_t tsc)
{
	return (rdtsc() - tsc) / tsc_per_ms;
}
static inline uint64_t read_cr2(void)
{
	uint64_t v;
	asm volatile("mov %%cr2, %0" : "=r"(v));
	return v;
}
static inline uint32_t mmio32(uint64_t pa)
{
	uint32_t v;
	asm volatile("movl (%1), %0" : "=r"(v) : "r"(pa) : "memory");
	return v;
}
static inline void mmio_write32(uint64_t pa, uint32_t v)
{
	asm volatile("movl %0, (%1)" ::"r"(v), "r"(pa) : "memory");
}
static inline uint32_t lapic_read(enum lapic_reg r)
{
	return mmio32(LAPIC_BASE + r);
}
static inline void lapic_write(enum lapic_reg r, uint32_t v)
{
	mmio_write32(LAPIC_BASE + r, v);
}
static inline void irq_on(void)
{
	asm volatile("sti" ::: "memory");
}
static inline void irq_off(void)
{
	asm volatile("cli" ::: "memory");
}
/* Sleeps until an interrupt; interrupts must be off, and are off again after it. */
static inline void wait_irq(void)
{
	asm volatile("sti; hlt; cli" ::: "memory");
}
static inline void pause(void)
{
	asm volatile("pause" ::: "memory");
}

#endif
