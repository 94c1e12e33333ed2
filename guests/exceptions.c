/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exceptions: vector, error code, CR2 and return address of each, at CPL0 and
 * CPL3, on IST stacks, nested, and the double fault. Intel SDM volume 3,
 * chapter 6.
 */
#include "guest.h"

#define NOT_MAPPED (PLAY_VA + 0x5000)
#define READ_ONLY (PLAY_VA + 0x6000)
#define NO_EXEC (PLAY_VA + 0x7000)
#define LATER (PLAY_VA + 0x8000) /* mapped by the page fault handler when touched */
#define SUPERVISOR 0x200000ull
#define NON_CANONICAL 0x8000000000000000ull

static uint8_t page[4096] __attribute__((aligned(4096)));
static uint8_t later_page[2][4096] __attribute__((aligned(4096)));

static void expect(const char *what, uint64_t vector, uint64_t error)
{
	if (!check(trap.taken && trap.vector == vector && trap.error == error, "%s", what))
		say("  got %s vector %lu error %lx rip %lx\n", trap.taken ? "a trap," : "none,",
		    trap.vector, trap.error, trap.rip);
}

static void expect_pf(const char *what, uint64_t error, uint64_t cr2)
{
	expect(what, 14, error);
	check(trap.cr2 == cr2, "%s: CR2 is %lx", what, trap.cr2);
}

/* As its own function with a known address, so that the RIP can be checked. */
extern const char ud2_here[];

static void kernel_mode(void)
{
	TRY("divl %0", "r"(0));
	expect("#DE by division by zero", 0, 0);
	TRY("ud2");
	expect("#UD by ud2", 6, 0);
	trap = (struct trap){ 0 };
	asm volatile(".globl ud2_here\nud2_here: ud2\n1:\n" FIXUP("ud2_here", "1b")::: "memory");
	check(trap.rip == (uint64_t)ud2_here, "#UD: RIP is at the instruction");
	check(trap.cs == SEL_KCODE, "#UD: CS is the kernel's");

	TRY("movq (%0), %%rax", "r"(NON_CANONICAL));
	expect("#GP by a non-canonical address", 13, 0);
	TRY("movw %w0, %%ds", "r"(0x1000));
	expect("#GP by a selector beyond the GDT, which is its error code", 13, 0x1000);
	TRY("movw %w0, %%fs", "r"(SEL_ABSENT));
	expect("#NP by a segment not present", 11, SEL_ABSENT);
	TRY("movw %w0, %%ss", "r"(SEL_ABSENT));
	expect("#SS by a stack segment not present", 12, SEL_ABSENT);
	trap = (struct trap){ 0 };
	asm volatile("1: wrmsr\n2:\n" FIXUP("1b", "2b")::"a"(0), "d"(0x80000000), "c"(MSR_EFER)
		     : "memory");
	expect("#GP by reserved bits of EFER", 13, 0);
	TRY("movq %0, %%cr0", "r"((uint64_t)CR0_INIT & ~1ull));
	expect("#GP by paging without protection", 13, 0);
	TRY("ltr %w0", "r"(0));
	expect("#GP by a null task register", 13, 0);

	TRY("movq (%0), %%rax", "r"(NOT_MAPPED + 8));
	expect_pf("#PF by reading", 0, NOT_MAPPED + 8);
	TRY("movb $1, (%0)", "r"(NOT_MAPPED + 0xfff));
	expect_pf("#PF by writing", 2, NOT_MAPPED + 0xfff);
	TRY("movb $1, (%0)", "r"(READ_ONLY + 0x123));
	expect_pf("#PF by writing a read-only page", 3, READ_ONLY + 0x123);
	/* The second page of the access is the one that is missing. */
	TRY("movq (%0), %%rax", "r"(NOT_MAPPED - 4));
	expect_pf("#PF by reading across pages", 0, NOT_MAPPED);
	page[0] = 0xc3; /* ret */
	trap_handler[14] = NULL;
	trap = (struct trap){ 0 };
	/* The fault is at the target: its fixup is the return address, with the stack popped. */
	asm volatile("lea 1f(%%rip), %%rax\npush %%rax\njmp *%0\n1:" ::"r"(READ_ONLY)
		     : "rax", "memory");
	check(!trap.taken, "a page without NX can be executed");
}

static void no_execute(void)
{
	/* FIXUP cannot name an address that is not a label: a handler does it. */
	trap = (struct trap){ 0 };
	asm volatile("lea 1f(%%rip), %%rbx\njmp *%0\n1:" ::"r"(NO_EXEC) : "rbx", "memory");
	check(trap.taken && trap.vector == 14 && trap.cr2 == NO_EXEC && trap.rip == NO_EXEC &&
		      trap.error == 0x11,
	      "#PF by executing an NX page (error %lx)", trap.error);
	trap = (struct trap){ 0 };
	asm volatile("lea 1f(%%rip), %%rbx\njmp *%0\n1:" ::"r"(NOT_MAPPED) : "rbx", "memory");
	check(trap.taken && trap.cr2 == NOT_MAPPED && trap.rip == NOT_MAPPED &&
		      (trap.error & ~0x10ull) == 0,
	      "#PF by executing a missing page (error %lx)", trap.error);
}

/* Goes on at RBX. */
static void exec_fault(struct trap_frame *f)
{
	trap = (struct trap){ .taken = true,
			      .vector = f->vector,
			      .error = f->error,
			      .rip = f->rip,
			      .cr2 = read_cr2() };
	f->rip = f->rbx;
}

/* Maps what is missing, and has the instruction go on. */
static unsigned faults;

static void demand(struct trap_frame *f)
{
	uint64_t va = read_cr2() & ~0xfffull;

	faults++;
	if (va != LATER && va != LATER + 0x1000) {
		say("page fault at %lx, rip %lx\n", read_cr2(), f->rip);
		leave(EXIT_TRAP);
	}
	play_map(va, (uint64_t)later_page[(va - LATER) >> 12] | PTE_P | PTE_W | PTE_U);
}

static void restart(void)
{
	uint64_t n = 8192, v = 0;
	void *di = (void *)LATER;
	bool ok = true;

	trap_handler[14] = demand;
	faults = 0;
	asm volatile("rep stosb" : "+D"(di), "+c"(n) : "a"(0x5c) : "memory");
	for (unsigned i = 0; i < 4096; i += 63)
		ok &= later_page[0][i] == 0x5c && later_page[1][i] == 0x5c;
	check(!n && faults == 2 && (uint64_t)di == LATER + 8192 && ok &&
		      later_page[1][4095] == 0x5c,
	      "rep stosb goes on after each of %u page faults", faults);
	play_map(LATER, 0);
	play_map(LATER + 0x1000, 0);
	faults = 0;
	asm volatile("movq (%1), %0" : "=r"(v) : "r"(LATER + 0xffc) : "memory");
	check(faults == 2 && v == 0x5c5c5c5c5c5c5c5c, "a read across two missing pages");
	play_map(LATER, 0);
	faults = 0;
	asm volatile("lock incq (%0)" ::"r"(LATER + 64) : "memory", "cc");
	check(faults == 1 && later_page[0][64] == 0x5d && later_page[0][65] == 0x5c,
	      "a read-modify-write happens once");
	trap_handler[14] = NULL;
}

static USER void user_div(uint64_t zero)
{
	asm volatile("divl %k0" ::"r"(zero) : "rax", "rdx", "cc");
}
static USER void user_ud2(uint64_t arg)
{
	asm volatile("ud2" ::"D"(arg));
}
static USER void user_hlt(uint64_t arg)
{
	asm volatile("hlt" ::"D"(arg));
}
static USER void user_cr3(uint64_t arg)
{
	asm volatile("mov %%cr3, %0" : "=r"(arg));
}
static USER void user_read(uint64_t at)
{
	asm volatile("movq (%0), %%rax" ::"r"(at) : "rax");
}
static USER void user_write(uint64_t at)
{
	asm volatile("movb $1, (%0)" ::"r"(at) : "memory");
}
static USER void user_jump(uint64_t at)
{
	asm volatile("jmp *%0" ::"r"(at));
}
static USER void user_exit(uint64_t v)
{
	USER_EXIT(v * 3);
}
static USER void user_unaligned(uint64_t at)
{
	asm volatile("pushfq\norl $0x40000, (%%rsp)\npopfq\nmovl (%0), %%eax\nint3" ::"r"(at)
		     : "rax", "cc", "memory");
}

static void user_mode(void)
{
	static uint8_t user_buf[16] __attribute__((section(".user.bss"), aligned(16)));
	uint64_t cr0;

	user_run(user_exit, 14);
	expect("#BP at CPL3", 3, 0);
	check(trap.rax == 42, "CPL3: registers arrive");
	check(trap.cs == SEL_UCODE, "CPL3: CS is the user's");
	user_run(user_div, 0);
	expect("#DE at CPL3", 0, 0);
	user_run(user_ud2, 0);
	expect("#UD at CPL3", 6, 0);
	check(*(uint8_t *)trap.rip == 0x0f, "#UD at CPL3: RIP is at the instruction");
	user_run(user_hlt, 0);
	expect("#GP by hlt at CPL3", 13, 0);
	user_run(user_cr3, 0);
	expect("#GP by a control register at CPL3", 13, 0);
	user_run(user_read, NON_CANONICAL);
	expect("#GP by a non-canonical address at CPL3", 13, 0);
	user_run(user_read, NOT_MAPPED + 16);
	expect_pf("#PF by reading at CPL3", 4, NOT_MAPPED + 16);
	user_run(user_write, NOT_MAPPED + 17);
	expect_pf("#PF by writing at CPL3", 6, NOT_MAPPED + 17);
	user_run(user_read, SUPERVISOR);
	expect_pf("#PF by reading the kernel at CPL3", 5, SUPERVISOR);
	user_run(user_write, SUPERVISOR + 1);
	expect_pf("#PF by writing the kernel at CPL3", 7, SUPERVISOR + 1);
	user_run(user_write, READ_ONLY + 2);
	expect_pf("#PF by writing a read-only page at CPL3", 7, READ_ONLY + 2);
	if (rdmsr(MSR_EFER) & EFER_NXE) {
		user_run(user_jump, SUPERVISOR);
		expect_pf("#PF by executing the kernel at CPL3", 0x15, SUPERVISOR);
		user_run(user_jump, NO_EXEC);
		expect_pf("#PF by executing an NX page at CPL3", 0x15, NO_EXEC);
	}
	asm volatile("mov %%cr0, %0" : "=r"(cr0));
	asm volatile("mov %0, %%cr0" ::"r"(cr0 | 1 << 18));
	user_run(user_unaligned, (uint64_t)user_buf + 1);
	expect("#AC at CPL3", 17, 0);
	user_run(user_unaligned, (uint64_t)user_buf + 4);
	expect("no #AC when aligned", 3, 0);
	asm volatile("mov %0, %%cr0" ::"r"(cr0));
}

static void ist(void)
{
	uint64_t sp;

	trap_gate(6, 2, 0);
	TRY("ud2");
	check(trap.handler_sp < ist_top(2) && trap.handler_sp >= ist_top(2) - IST_SIZE,
	      "#UD at CPL0 on its IST stack");
	asm volatile("mov %%rsp, %0" : "=r"(sp));
	check(trap.rsp >= sp - 512 && trap.rsp <= sp + 512, "IST: the old RSP is in the frame");
	user_run(user_ud2, 0);
	check(trap.vector == 6 && trap.handler_sp < ist_top(2) &&
		      trap.handler_sp >= ist_top(2) - IST_SIZE,
	      "#UD at CPL3 on its IST stack");
	trap_gate(6, 0, 0);
}

/* #UD whose handler faults in turn. */
static unsigned depth;

static void nested(struct trap_frame *f)
{
	struct trap inner;

	depth++;
	TRY("movq (%0), %%rax", "r"(NOT_MAPPED + 0x40));
	inner = trap;
	if (inner.vector == 14 && inner.cr2 == NOT_MAPPED + 0x40 && depth < 5)
		asm volatile("ud2"); /* comes back here, one deeper */
	f->rip += 2;
}

static void double_fault(struct trap_frame *f)
{
	trap = (struct trap){
		.taken = true, .vector = f->vector, .error = f->error, .handler_sp = (uint64_t)f
	};
	f->rip = f->rbx;
	f->rsp = f->r12;
}

static void df(void)
{
	trap_gate(8, 1, 0);
	trap_handler[8] = double_fault;
	trap = (struct trap){ 0 };
	asm volatile("lea 1f(%%rip), %%rbx\nmov %%rsp, %%r12\nmov %0, %%rsp\npush %%rax\n1:" ::"r"(
			     NOT_MAPPED + 0x800)
		     : "rbx", "r12", "memory");
	check(trap.taken && trap.vector == 8 && trap.error == 0, "#DF when #PF has no stack");
	check(trap.handler_sp < ist_top(1) && trap.handler_sp >= ist_top(1) - IST_SIZE,
	      "#DF on its IST stack");
}

static void device_not_available(void)
{
	uint64_t cr0;

	asm volatile("mov %%cr0, %0" : "=r"(cr0));
	asm volatile("mov %0, %%cr0" ::"r"(cr0 | 8));
	TRY("fninit");
	asm volatile("clts");
	expect("#NM by fninit with CR0.TS", 7, 0);
	TRY("fninit");
	check(!trap.taken, "no #NM after clts");
}

static unsigned steps;

static void step(struct trap_frame *f)
{
	if (++steps == 3)
		f->rflags &= ~0x100ull;
}

static void single_step(void)
{
	uint64_t dr6;

	trap_handler[1] = step;
	steps = 0;
	asm volatile("pushfq\norl $0x100, (%%rsp)\npopfq\nnop\nnop\nnop\nnop\nnop" ::
			     : "memory", "cc");
	asm volatile("mov %%dr6, %0" : "=r"(dr6));
	check(steps == 3 && (dr6 & 0x4000), "#DB after each of three instructions (%u)", steps);
}

void guest_main(void)
{
	bool nx = cpuid(0x80000001, 0).d & 1u << 20;

	if (nx)
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	play_init();
	play_map(READ_ONLY, (uint64_t)page | PTE_P | PTE_U);
	play_map(NO_EXEC, (uint64_t)page | PTE_P | PTE_W | PTE_U | (nx ? PTE_NX : 0));
	play_map(NOT_MAPPED - 0x1000, (uint64_t)page | PTE_P | PTE_W);
	kernel_mode();
	if (nx) {
		trap_handler[14] = exec_fault;
		no_execute();
		trap_handler[14] = NULL;
	}
	restart();
	user_mode();
	ist();
	trap_handler[6] = nested;
	asm volatile("ud2" ::: "memory");
	check(depth == 5, "an exception in an exception, %u deep", depth);
	trap_handler[6] = NULL;
	df();
	device_not_available();
	single_step();
}
