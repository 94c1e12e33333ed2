/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * INT n at CPL3, as a system call gate: registers, frames, stacks, and who may use
 * it; and that a jump to SYSCALL's entry point gives a user no more than SYSCALL does.
 */
#include "guest.h"

static unsigned hits;
static struct trap_frame last;
static uint64_t handler_sp;

static void on_call(struct trap_frame *f)
{
	hits++;
	last = *f;
	handler_sp = (uint64_t)f;
	f->rax = f->rdi * 2;
}

USER static void call_0x80(uint64_t arg)
{
	uint64_t flags, sum = 0, ret;

	for (uint64_t i = 0; i < arg; i++) {
		asm volatile("int $0x80" : "=a"(ret) : "a"(0), "D"(i) : "memory");
		sum += ret;
	}
	/* Flags come back as they went. */
	asm volatile("xor %%eax, %%eax\nstc\nint $0x80\npushfq\npop %0"
		     : "=&r"(flags)
		     : "D"(0ull)
		     : "rax", "memory", "cc");
	USER_EXIT(sum << 1 | (flags & 1));
}

USER static void call_0x81(uint64_t arg)
{
	asm volatile("int $0x81" ::: "memory");
	USER_EXIT(0);
}

USER static void call_0x82(uint64_t arg)
{
	uint64_t ret;

	asm volatile("int $0x82" : "=a"(ret) : "D"(arg) : "memory");
	USER_EXIT(ret);
}

USER static void just_ud2(uint64_t arg)
{
	asm volatile("ud2");
}

#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_SFMASK 0xc0000084

void lstar_entry(void);
static uint64_t entry_stack[64] __attribute__((used));
static uint64_t entry_flags __attribute__((used)), entry_r11 __attribute__((used)),
	user_rsp __attribute__((used));

asm("lstar_entry:\n"
    "	mov %rsp, user_rsp\n"
    "	mov $entry_stack + 512, %esp\n"
    "	pushfq\n"
    "	pop entry_flags\n"
    "	mov %r11, entry_r11\n"
    "	mov $2, %r11d\n"
    "	mov user_rsp, %rsp\n"
    "	sysretq\n");

/* To a supervisor page: #PF on a processor. */
USER static void jump_to_lstar(uint64_t arg)
{
	asm volatile("lea 1f(%%rip), %%rcx\n"
		     "mov $-1, %%r11\n"
		     "std\n"
		     "jmp *%0\n"
		     "1:	cld" ::"r"(arg)
		     : "rcx", "r11", "memory", "cc");
	USER_EXIT(77);
}

void guest_main(void)
{
	uint64_t plain_sp;

	trap_gate(0x80, 0, 3);
	trap_gate(0x81, 0, 0);
	trap_gate(0x82, 1, 3);
	trap_handler[0x80] = trap_handler[0x82] = on_call;

	/* On a software KVM, posada finds the IDT when the guest does I/O. */
	say("INT n from CPL3\n");
	user_run(call_0x80, 300);
	check(hits == 301, "int 0x80: %u calls arrived", hits);
	check(trap.vector == 3 && trap.rax == (299 * 300 << 1 | 1),
	      "int 0x80: all returned what they should, and CF (%lx)", trap.rax);
	check((last.cs & 3) == 3 && (last.ss & 3) == 3 && !last.error,
	      "int 0x80: the frame is a user's");
	plain_sp = handler_sp;

	user_run(call_0x81, 0);
	check(trap.vector == 13 && trap.error == 0x81 * 8 + 2,
	      "int 0x81 of a kernel's gate is #GP (%lx, error %lx)", trap.vector, trap.error);

	user_run(call_0x82, 21);
	check(trap.vector == 3 && trap.rax == 42, "int 0x82 by an IST gate");
	check(handler_sp != plain_sp && handler_sp < ist_top(1) && ist_top(1) - handler_sp < 4096,
	      "int 0x82 ran on its IST stack");

	user_run(just_ud2, 0);
	check(trap.vector == 6, "ud2 is still #UD");

	wrmsr(0xc0000080, rdmsr(0xc0000080) | 1);
	wrmsr(MSR_STAR, (uint64_t)SEL_KCODE << 32 | (uint64_t)(SEL_UCODE - 16) << 48);
	wrmsr(MSR_SFMASK, 0x47700);
	wrmsr(MSR_LSTAR, (uint64_t)lstar_entry);
	user_run(jump_to_lstar, (uint64_t)lstar_entry);
	check((trap.vector == 14 && trap.error == 0x15) ||
		      (trap.vector == 3 && !(entry_flags & 0x47700) && !(entry_r11 & 0x3000)),
	      "a jump to the SYSCALL entry (vector %lx, flags %lx, R11 %lx)", trap.vector,
	      entry_flags, entry_r11);
}
