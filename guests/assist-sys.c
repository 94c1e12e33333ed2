/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System instructions that a KVM in software may not know in kernel mode:
 * stac, clac, rdtscp, rdpid, invpcid, lar, lsl, verr, verw, clwb, clzero,
 * monitor, mwait, enter. Where CPUID does not show one, it is left out, and
 * with `nomwait` monitor and mwait are, too.
 */
#include "guest.h"

static uint64_t flags(void)
{
	uint64_t f;

	asm volatile("pushfq\npop %0" : "=r"(f));
	return f;
}

static void smap(void)
{
	if (!(cpuid(7, 0).b & 1u << 20))
		return;
	asm volatile("stac" ::: "memory", "cc");
	check(flags() & 0x40000, "stac sets AC");
	asm volatile("clac" ::: "memory", "cc");
	check(!(flags() & 0x40000), "clac clears AC");
}

static void tsc_aux(void)
{
	uint64_t a, d, c, t0 = rdtsc();
	bool rdtscp = cpuid(0x80000001, 0).d & 1u << 27;

	if (rdtscp) {
		wrmsr(0xc0000103, 0x1234);
		asm volatile("rdtscp" : "=a"(a), "=d"(d), "=c"(c)::"memory");
		check(c == 0x1234, "rdtscp gives TSC_AUX");
		check((a | d << 32) >= t0 && (a | d << 32) <= rdtsc(), "rdtscp gives the time");
		check(a >> 32 == 0 && d >> 32 == 0, "rdtscp clears the upper halves");
	}
	if (rdtscp && (cpuid(7, 0).c & 1u << 22)) {
		asm volatile("rdpid %0" : "=r"(c));
		check(c == 0x1234, "rdpid gives TSC_AUX");
	}
}

static void invpcid(void)
{
	static struct {
		uint64_t pcid, addr;
	} desc __attribute__((aligned(16)));
	volatile uint64_t *p = (void *)PLAY_VA;
	static uint64_t pages[2][512] __attribute__((aligned(4096)));

	if (!(cpuid(7, 0).b & 1u << 10))
		return;
	play_init();
	pages[0][0] = 1;
	pages[1][0] = 2;
	play_map(PLAY_VA, (uint64_t)pages[0] | PTE_P | PTE_W);
	check(*p == 1, "first mapping");
	play_pt[0] = (uint64_t)pages[1] | PTE_P | PTE_W;
	desc.addr = PLAY_VA;
	asm volatile("invpcid %0, %1" ::"m"(desc), "r"(0ull) : "memory");
	check(*p == 2, "invpcid of an address");
	play_pt[0] = (uint64_t)pages[0] | PTE_P | PTE_W;
	asm volatile("invpcid %0, %1" ::"m"(desc), "r"(2ull) : "memory");
	check(*p == 1, "invpcid of everything");
	TRY("invpcid (%0), %1", "D"(&desc), "S"(7ull));
	check(trap.taken && trap.vector == 13, "invpcid of an unknown type is #GP");
}

static void segments(void)
{
	uint64_t r = 0;
	uint8_t z;

	asm volatile("lsl %2, %k0\nsetz %1" : "+r"(r), "=q"(z) : "r"(SEL_KCODE) : "cc");
	check(z && r == 0xffffffff, "lsl of a 4 GiB segment (%lx)", r);
	asm volatile("lsl %2, %k0\nsetz %1" : "+r"(r), "=q"(z) : "r"(SEL_TSS) : "cc");
	check(z && r == 0x67, "lsl of the TSS (%lx)", r);
	r = 77;
	asm volatile("lsl %2, %k0\nsetz %1" : "+r"(r), "=q"(z) : "r"(0x1000) : "cc");
	check(!z && r == 77, "lsl beyond the GDT");
	asm volatile("lar %2, %k0\nsetz %1" : "=r"(r), "=q"(z) : "r"(SEL_KCODE) : "cc");
	check(z && (r & 0xf0ff00) == 0xa09b00, "lar of code (%lx)", r);
	r = 77;
	asm volatile("lar %2, %k0\nsetz %1" : "+r"(r), "=q"(z) : "r"(0) : "cc");
	check(!z && r == 77, "lar of null");
	asm volatile("verr %w1\nsetz %0" : "=q"(z) : "r"(SEL_KDATA) : "cc");
	check(z, "verr of data");
	asm volatile("verw %w1\nsetz %0" : "=q"(z) : "r"(SEL_KDATA) : "cc");
	check(z, "verw of data");
	asm volatile("verr %w1\nsetz %0" : "=q"(z) : "r"(SEL_KCODE) : "cc");
	check(z, "verr of readable code");
	asm volatile("verw %w1\nsetz %0" : "=q"(z) : "r"(SEL_KCODE) : "cc");
	check(!z, "verw of code");
	asm volatile("verr %w1\nsetz %0" : "=q"(z) : "r"(SEL_TSS) : "cc");
	check(!z, "verr of the TSS");
	asm volatile("verw %1\nsetz %0" : "=q"(z) : "m"(*(uint16_t[]){ SEL_KDATA }) : "cc");
	check(z, "verw of data, selector in memory");
}

static void cache_lines(void)
{
	static uint8_t line[192] __attribute__((aligned(64)));

	memset(line, 0x55, sizeof line);
	if (cpuid(7, 0).b & 1u << 24) {
		asm volatile("clwb %0" : "+m"(line[64]));
		check(line[64] == 0x55, "clwb");
	}
	if (cpuid(7, 0).b & 1u << 23) {
		asm volatile("clflushopt %0" : "+m"(line[64]));
		check(line[64] == 0x55, "clflushopt");
	}
	if (cpuid(0x80000000, 0).a >= 0x80000008 && (cpuid(0x80000008, 0).b & 1)) {
		bool zero = true;

		asm volatile("clzero" ::"a"(line + 70) : "memory");
		for (unsigned i = 64; i < 128; i++)
			zero &= line[i] == 0;
		check(zero && line[63] == 0x55 && line[128] == 0x55, "clzero clears one line");
	}
}

static void monitor(void)
{
	static volatile uint64_t word;

	if (!(cpuid(1, 0).c & 1u << 3) || arg_is("nomwait", NULL))
		return;
	asm volatile("monitor" ::"a"(&word), "c"(0), "d"(0) : "memory");
	word = 1; /* mwait must not sleep */
	asm volatile("mwait" ::"a"(0), "c"(0) : "memory");
	check(true, "monitor and mwait come back");
}

/* out: RSP before, RBP and RSP after enter, the two words that it pushed. */
void enter_asm(uint64_t out[5], uint64_t rbp);
asm("enter_asm:\n"
    "	push %rbp\n"
    "	mov %rsi, %rbp\n"
    "	mov %rsp, (%rdi)\n"
    "	enter $32, $1\n"
    "	mov %rbp, 8(%rdi)\n"
    "	mov %rsp, 16(%rdi)\n"
    "	mov (%rbp), %rax\n"
    "	mov %rax, 24(%rdi)\n"
    "	mov -8(%rbp), %rax\n"
    "	mov %rax, 32(%rdi)\n"
    "	leave\n"
    "	pop %rbp\n"
    "	ret\n");

static void enter(void)
{
	static uint64_t chain[2];
	uint64_t out[5], rbp = (uint64_t)(chain + 1);

	enter_asm(out, rbp);
	check(out[1] == out[0] - 8 && out[3] == rbp, "enter 32,1: RBP and its old value");
	check(out[4] == out[1] && out[2] == out[1] - 8 - 32, "enter 32,1: frame pointer and room");
}

void guest_main(void)
{
	if (cpuid(0, 0).a >= 7)
		smap();
	tsc_aux();
	if (cpuid(0, 0).a >= 7)
		invpcid();
	segments();
	cache_lines();
	monitor();
	enter();
}
