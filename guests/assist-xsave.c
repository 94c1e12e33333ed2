/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * XSAVE in kernel mode: xgetbv, xsetbv, xsave, xsaveopt, xsavec, xrstor. Intel
 * SDM volume 1, chapter 13.
 */
#include "guest.h"

#define X87 1u
#define SSE 2u
#define AVX 4u

static uint8_t area[8192] __attribute__((aligned(64)));
static uint64_t x[2] __attribute__((aligned(16))) = { 0x0123456789abcdef, 0xfedcba9876543210 };
static uint64_t got[2] __attribute__((aligned(16)));

static uint64_t xgetbv(uint32_t i)
{
	uint32_t lo, hi;

	asm volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(i));
	return lo | (uint64_t)hi << 32;
}

static uint64_t area64(unsigned off)
{
	uint64_t v;

	memcpy(&v, area + off, 8);
	return v;
}

static void load(void)
{
	asm volatile("movups %0, %%xmm0\nmovups %0, %%xmm9" ::"m"(x));
}

static void wipe(void)
{
	static const uint64_t zero[2] __attribute__((aligned(16)));

	asm volatile("movups %0, %%xmm0\nmovups %0, %%xmm9" ::"m"(zero));
}

static bool loaded(void)
{
	asm volatile("movups %%xmm9, %0" : "=m"(got));
	return got[0] == x[0] && got[1] == x[1];
}

void guest_main(void)
{
	uint64_t cr4, mask = X87 | SSE;
	uint32_t size;

	if (!(cpuid(1, 0).c & 1u << 26))
		leave_skip("CPUID does not show XSAVE");
	asm volatile("mov %%cr4, %0" : "=r"(cr4));
	asm volatile("mov %0, %%cr4" ::"r"(cr4 | 1 << 18));
	check(cpuid(1, 0).c & 1u << 27, "CPUID shows OSXSAVE once CR4 has it");
	check(xgetbv(0) & X87, "xgetbv: x87 is on");
	if (cpuid(1, 0).c & 1u << 28)
		mask |= AVX;
	asm volatile("xsetbv" ::"a"((uint32_t)mask), "d"(0), "c"(0));
	check(xgetbv(0) == mask, "xsetbv of %lx, xgetbv gives %lx", mask, xgetbv(0));
	size = cpuid(0xd, 0).b;
	check(size == (mask & AVX ? 832 : 576), "CPUID leaf 0xd: %u bytes", size);
	trap = (struct trap){ 0 };
	asm volatile("1: xsetbv\n2:\n" FIXUP("1b", "2b")::"a"(SSE), "d"(0), "c"(0) : "memory");
	check(trap.taken && trap.vector == 13, "xsetbv without x87 is #GP");
	trap = (struct trap){ 0 };
	asm volatile("1: xsetbv\n2:\n" FIXUP("1b", "2b")::"a"(X87 | SSE), "d"(0), "c"(5)
		     : "memory");
	check(trap.taken && trap.vector == 13, "xsetbv of another register is #GP");

	load();
	asm volatile("xsave64 %0" : "+m"(area) : "a"((uint32_t)mask), "d"(0));
	check(area64(512) & SSE, "xsave: XSTATE_BV has SSE (%lx)", area64(512));
	check(area64(160 + 9 * 16) == x[0] && area64(160 + 9 * 16 + 8) == x[1],
	      "xsave: xmm9 is in its place");
	wipe();
	check(!loaded(), "xmm9 is wiped");
	asm volatile("xrstor64 %0" ::"m"(area), "a"((uint32_t)mask), "d"(0));
	check(loaded(), "xrstor brings it back");
	/* only x87: xmm stays */
	wipe();
	asm volatile("xrstor64 %0" ::"m"(area), "a"(X87), "d"(0));
	check(!loaded(), "xrstor of x87 leaves xmm alone");
	/* XSTATE_BV without SSE: initial values */
	load();
	memset(area + 512, 0, 8);
	asm volatile("xrstor64 %0" ::"m"(area), "a"((uint32_t)mask), "d"(0));
	asm volatile("movups %%xmm9, %0" : "=m"(got));
	check(got[0] == 0 && got[1] == 0, "xrstor gives initial values where XSTATE_BV is 0");
	memset(area + 512, 0xff, 8);
	trap = (struct trap){ 0 };
	asm volatile("1: xrstor64 %0\n2:\n" FIXUP("1b", "2b")::"m"(area), "a"((uint32_t)mask),
		     "d"(0)
		     : "memory");
	check(trap.taken && trap.vector == 13, "xrstor with impossible XSTATE_BV is #GP");

	memset(area, 0, sizeof area);
	if (cpuid(0xd, 1).a & 1) {
		load();
		asm volatile("xsaveopt64 %0" : "+m"(area) : "a"((uint32_t)mask), "d"(0));
		wipe();
		asm volatile("xrstor64 %0" ::"m"(area), "a"((uint32_t)mask), "d"(0));
		check(loaded(), "xsaveopt and xrstor");
	}
	memset(area, 0, sizeof area);
	if (cpuid(0xd, 1).a & 2) {
		load();
		asm volatile("xsavec64 %0" : "+m"(area) : "a"((uint32_t)mask), "d"(0));
		check(area64(520) >> 63, "xsavec: compacted format");
		wipe();
		asm volatile("xrstor64 %0" ::"m"(area), "a"((uint32_t)mask), "d"(0));
		check(loaded(), "xsavec and xrstor");
	}
}
