/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SYSCALL from CPL3 and SYSRET back, with a page fault handler in use all the
 * while: registers, flags, and real page faults in between. `n=N` calls (200).
 * `nonx`: with EFER.NXE off, when page faults do not tell instruction fetches.
 */
#include "guest.h"

#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_SFMASK 0xc0000084

void syscall_entry(void);
uint64_t syscall_c(uint64_t a, uint64_t b, uint64_t rip, uint64_t flags);
uint64_t syscall_user_rsp;

static uint8_t syscall_stack[8192] __attribute__((aligned(16), used));
static uint8_t heap[4][4096] __attribute__((aligned(4096)));
static uint64_t calls, faults, bad, kernel_flags, kernel_cs;
static uint64_t expect_rip USER_DATA;

/* RCX: return address, R11: flags; all other registers are the user's. */
asm(".globl syscall_entry\n"
    "syscall_entry:\n"
    "	mov %rsp, syscall_user_rsp\n"
    "	mov $syscall_stack + 8192, %esp\n"
    "	push %rcx\n"
    "	push %r11\n"
    "	mov %rcx, %rdx\n"
    "	mov %r11, %rcx\n"
    "	call syscall_c\n"
    "	pop %r11\n"
    "	pop %rcx\n"
    "	mov syscall_user_rsp, %rsp\n"
    "	sysretq\n");

uint64_t syscall_c(uint64_t a, uint64_t b, uint64_t rip, uint64_t flags)
{
	asm volatile("pushfq\npop %0" : "=r"(kernel_flags));
	asm volatile("mov %%cs, %0" : "=r"(kernel_cs));
	calls++;
	if (rip != expect_rip || !(flags & 1) || b != ~a || (kernel_flags & 0x401))
		bad++;
	return a * 7 + 1;
}

static void on_fault(struct trap_frame *f)
{
	uint64_t va = read_cr2() & ~0xfffull;

	faults++;
	if (va < PLAY_VA || va >= PLAY_VA + sizeof heap || (f->cs & 3) != 3 || faults > 100000) {
		say("page fault at %lx, rip %lx cs %lx error %lx\n", read_cr2(), f->rip, f->cs,
		    f->error);
		leave(EXIT_TRAP);
	}
	/* One page at a time, so that faults keep coming. */
	for (unsigned i = 0; i < 4; i++)
		play_map(PLAY_VA + i * 4096, 0);
	play_map(va, (uint64_t)heap[(va - PLAY_VA) >> 12] | PTE_P | PTE_W | PTE_U);
}

static USER void user(uint64_t n)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t r = 0, rcx;
		volatile uint64_t *p = (void *)(PLAY_VA + (i % 4) * 4096 + i % 512 * 8);

		/* CF and DF set before: CF must be back after it, both masked in the kernel. */
		asm volatile("lea 1f(%%rip), %%rax\nmov %%rax, %2\nstd\nstc\nsyscall\n1: cld\n"
			     "jc 2f\nxor %%eax, %%eax\n2:"
			     : "=&a"(r), "=&c"(rcx), "=m"(expect_rip)
			     : "D"(i), "S"(~i)
			     : "rdx", "r8", "r9", "r10", "r11", "memory", "cc");
		sum += r == i * 7 + 1;
		*p += 1;
		sum += *p == 0;
	}
	USER_EXIT(sum);
}

void guest_main(void)
{
	uint64_t n = arg_u64("n", 200);

	play_init();
	/* SYSCALL: CS 0x10, SS 0x18; SYSRET: SS 0x28, CS 0x30, both with RPL 3 */
	wrmsr(MSR_STAR, (uint64_t)0x23 << 48 | (uint64_t)SEL_KCODE << 32);
	wrmsr(MSR_LSTAR, (uint64_t)syscall_entry);
	wrmsr(MSR_SFMASK, 0x47701);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE | (arg_is("nonx", NULL) ? 0 : EFER_NXE));
	trap_handler[14] = on_fault;
	user_run(user, n);
	check(trap.vector == 3, "the user's part came to its end");
	check(calls == n, "%lu system calls arrived", calls);
	check(bad == 0, "%lu of them with wrong registers or flags", bad);
	check(trap.rax == n, "%lu returned what they should", trap.rax);
	check(kernel_cs == SEL_KCODE, "system calls run at CPL0");
	check(faults == n, "%lu page faults in between", faults);
}
