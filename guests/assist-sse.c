/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SSE in kernel mode, and AVX, AES and SHA when CPUID shows them: moves,
 * integer and floating-point arithmetic, memory operands of several kinds,
 * MXCSR and #XM.
 */
#include "guest.h"

static uint64_t a[4] __attribute__((aligned(32))) = { 0x1111111122222222, 0x3333333344444444,
						      0x5555555566666666, 0x7777777788888888 };
static uint64_t b[4] __attribute__((aligned(32)));
static float f4[4] __attribute__((aligned(16)));

static bool leaf1_c(unsigned bit)
{
	return cpuid(1, 0).c & 1u << bit;
}

static void moves(void)
{
	uint64_t r = 0x1122334455667788, s = 0;

	asm volatile("movq %1, %%xmm0\nmovq %%xmm0, %0" : "=r"(s) : "r"(r));
	check(s == r, "movq to and from a general register");
	asm volatile("movd %k1, %%xmm1\nmovd %%xmm1, %k0" : "=r"(s) : "r"(r));
	check(s == 0x55667788, "movd to and from a general register");
	asm volatile("movaps %1, %%xmm2\nmovaps %%xmm2, %0" : "=m"(b) : "m"(a));
	check(b[0] == a[0] && b[1] == a[1], "movaps");
	asm volatile("xorps %%xmm3, %%xmm3\nmovups %%xmm3, %0" : "=m"(b));
	check(b[0] == 0 && b[1] == 0, "xorps");
	asm volatile("pxor %%xmm15, %%xmm15\nmovlps %1, %%xmm15\nmovhps %2, %%xmm15\n"
		     "movdqu %%xmm15, %0"
		     : "=m"(b)
		     : "m"(a[1]), "m"(a[0]));
	check(b[0] == a[1] && b[1] == a[0], "movlps and movhps into xmm15");
	asm volatile("movhps %%xmm15, %0\nmovlps %%xmm15, %1" : "=m"(b[2]), "=m"(b[3]));
	check(b[2] == a[0] && b[3] == a[1], "movhps and movlps out");
}

static void integers(void)
{
	asm volatile("movaps %1, %%xmm0\npaddd %%xmm0, %%xmm0\nmovaps %%xmm0, %0"
		     : "=m"(b)
		     : "m"(a));
	check(b[0] == 0x2222222244444444 && b[1] == 0x6666666688888888, "paddd");
	/* index register and scale, displacement, and relative to RIP */
	asm volatile("pxor %%xmm4, %%xmm4\npor -16(%1,%2,8), %%xmm4\nmovdqa %%xmm4, %0"
		     : "=m"(b)
		     : "r"(a), "r"(2ull));
	check(b[0] == a[0] && b[1] == a[1], "por with base, index and displacement");
	asm volatile("movdqa a(%%rip), %%xmm5\npcmpeqd a(%%rip), %%xmm5\npmovmskb %%xmm5, %%eax\n"
		     "mov %%rax, %0"
		     : "=m"(b[0])
		     :
		     : "rax");
	check((uint32_t)b[0] == 0xffff, "pcmpeqd and pmovmskb, relative to RIP");
	asm volatile("movdqa %1, %%xmm6\npshufd $0x1b, %%xmm6, %%xmm7\nmovdqa %%xmm7, %0"
		     : "=m"(b)
		     : "m"(a));
	check(b[0] == 0x4444444433333333 && b[1] == 0x2222222211111111, "pshufd");
}

static void floats(void)
{
	uint64_t r;
	uint32_t mxcsr = 0;
	static const float x[4] __attribute__((aligned(16))) = { 1, 2, 3, 4 };
	uint8_t above, carry;

	asm volatile("movaps %1, %%xmm0\naddps %1, %%xmm0\nmulps %1, %%xmm0\nmovaps %%xmm0, %0"
		     : "=m"(f4)
		     : "m"(x));
	check(((uint32_t *)f4)[0] == 0x40000000 && ((uint32_t *)f4)[3] == 0x42000000,
	      "addps and mulps"); /* 2 and 32 */
	asm volatile("cvtsi2sdq %1, %%xmm1\nsqrtsd %%xmm1, %%xmm1\ncvttsd2siq %%xmm1, %0"
		     : "=r"(r)
		     : "r"(1000000ull));
	check(r == 1000, "sqrtsd of 1000000 is %lu", r);
	asm volatile("cvtsi2sdl %2, %%xmm1\ncvtsi2sdl %3, %%xmm2\ncomisd %%xmm2, %%xmm1\n"
		     "seta %0\nsetc %1"
		     : "=q"(above), "=q"(carry)
		     : "r"(5), "r"(3)
		     : "cc");
	check(above && !carry, "comisd sets the flags");
	asm volatile("stmxcsr %0" : "=m"(mxcsr));
	check((mxcsr & 0x1f80) == 0x1f80, "stmxcsr: exceptions are masked (%x)", mxcsr);
	mxcsr = 0x1d80; /* division by zero unmasked */
	asm volatile("ldmxcsr %0" ::"m"(mxcsr));
	mxcsr = 0;
	asm volatile("stmxcsr %0" : "=m"(mxcsr));
	check(mxcsr == 0x1d80, "ldmxcsr sets it");
	asm volatile("cvtsi2sdl %0, %%xmm1\nxorps %%xmm2, %%xmm2" ::"r"(1));
	TRY("divsd %%xmm2, %%xmm1");
	check(trap.taken && trap.vector == 19, "unmasked 1/0 is #XM");
	mxcsr = 0x1f80;
	asm volatile("ldmxcsr %0\ncvtsi2sdl %1, %%xmm1" ::"m"(mxcsr), "r"(1));
	TRY("divsd %%xmm2, %%xmm1");
	asm volatile("stmxcsr %0" : "=m"(mxcsr));
	check(!trap.taken && (mxcsr & 4), "masked 1/0 raises ZE in MXCSR");
	TRY("addps (%0), %%xmm0", "D"((uint8_t *)a + 4));
	check(trap.taken && trap.vector == 13, "a misaligned operand is #GP");
	TRY("addsd (%0), %%xmm0", "D"(PLAY_VA));
	check(trap.taken && trap.vector == 14 && trap.cr2 == PLAY_VA, "a missing page is #PF");
}

static void later_extensions(void)
{
	uint64_t r;

	if (leaf1_c(9)) {
		static const uint64_t rev[2]
			__attribute__((aligned(16))) = { 0x08090a0b0c0d0e0f, 0x0001020304050607 };

		asm volatile("movdqa %1, %%xmm0\npshufb %2, %%xmm0\nmovdqa %%xmm0, %0"
			     : "=m"(b)
			     : "m"(a), "m"(rev));
		check(b[0] == __builtin_bswap64(a[1]) && b[1] == __builtin_bswap64(a[0]), "pshufb");
	}
	if (leaf1_c(19)) {
		asm volatile("movdqa %1, %%xmm0\npextrq $1, %%xmm0, %0" : "=r"(r) : "m"(a));
		check(r == a[1], "pextrq");
	}
	if (leaf1_c(1)) {
		asm volatile("movq %1, %%xmm0\nmovq %2, %%xmm1\npclmulqdq $0, %%xmm1, %%xmm0\n"
			     "movq %%xmm0, %0"
			     : "=r"(r)
			     : "r"(5ull), "r"(3ull));
		check(r == 15, "pclmulqdq");
	}
	if (leaf1_c(25)) {
		/* One round of zeros with a zero key is 0x63 in every byte. */
		asm volatile("pxor %%xmm0, %%xmm0\npxor %%xmm1, %%xmm1\naesenc %%xmm1, %%xmm0\n"
			     "movq %%xmm0, %0"
			     : "=r"(r));
		check(r == 0x6363636363636363, "aesenc");
	}
	if (cpuid(0, 0).a >= 7 && (cpuid(7, 0).b & 1u << 29)) {
		asm volatile("movdqa %1, %%xmm0\nmovdqa %1, %%xmm1\nsha1nexte %%xmm1, %%xmm0\n"
			     "movdqa %%xmm0, %0"
			     : "=m"(b)
			     : "m"(a));
		/* The upper dword gains the other's, rotated by 30; the rest stays. */
		check(b[0] == a[0] && (uint32_t)(b[1] >> 32) == 0x33333333 + 0xcccccccc,
		      "sha1nexte (%lx)", b[1]);
	}
}

static void avx(void)
{
	uint64_t cr4;
	uint32_t lo, hi;

	if (!leaf1_c(26) || !leaf1_c(28))
		return;
	asm volatile("mov %%cr4, %0" : "=r"(cr4));
	asm volatile("mov %0, %%cr4" ::"r"(cr4 | 1 << 18));
	asm volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	asm volatile("xsetbv" ::"a"(lo | 7), "d"(hi), "c"(0));
	asm volatile("vmovdqu %1, %%ymm8\nvorps %%ymm8, %%ymm8, %%ymm9\nvmovups %%ymm9, %0"
		     : "=m"(b)
		     : "m"(a));
	check(!memcmp(a, b, 32), "vorps of 256 bits");
	if (cpuid(7, 0).b & 1u << 5) {
		asm volatile("vmovdqa %1, %%ymm0\nvpaddq %%ymm0, %%ymm0, %%ymm1\nvmovdqa %%ymm1, %0"
			     : "=m"(b)
			     : "m"(a));
		check(b[0] == 2 * a[0] && b[3] == 2 * a[3], "vpaddq of 256 bits");
	}
	asm volatile("vzeroupper\nvmovdqu %%ymm8, %0" : "=m"(b));
	check(b[0] == a[0] && b[2] == 0 && b[3] == 0, "vzeroupper");
}

void guest_main(void)
{
	play_init();
	moves();
	integers();
	floats();
	later_extensions();
	avx();
}
