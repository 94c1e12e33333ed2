/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x87 and MMX in kernel mode: arithmetic, control and status words, exceptions. */
#include "guest.h"

static uint64_t m64[4] __attribute__((aligned(16)));

static uint16_t status(void)
{
	uint16_t sw;

	asm volatile("fnstsw %%ax" : "=a"(sw));
	return sw;
}

void guest_main(void)
{
	uint16_t cw = 0x27f, got = 0;
	int32_t two = 2, i = 0;
	uint64_t v;

	asm volatile("fninit");
	check(status() == 0, "fninit clears the status word");
	asm volatile("fnstcw %0" : "=m"(got));
	check(got == 0x37f, "control word after fninit is 0x37f");

	/* 1414213562 is the square root of 2 times 10^9, rounded. */
	m64[0] = 1000000000;
	asm volatile("fildl %1\nfsqrt\nfildll %2\nfmulp\nfistpl %0"
		     : "=m"(i)
		     : "m"(two), "m"(m64[0]));
	check(i == 1414213562, "sqrt(2) is %d", i);
	asm volatile("fldpi\nfstpl %0" : "=m"(m64[1]));
	check(m64[1] == 0x400921fb54442d18, "pi is %lx", m64[1]);
	asm volatile("fld1\nfadd %%st(0), %%st\nfstpl %0" : "=m"(m64[1]));
	check(m64[1] == 0x4000000000000000, "1 + 1 is %lx", m64[1]);
	asm volatile("fldl %1\nfaddl %1\nfstpl %0" : "=m"(m64[2]) : "m"(m64[1]));
	check(m64[2] == 0x4010000000000000, "2 + 2 is %lx", m64[2]);

	asm volatile("fldcw %0" ::"m"(cw));
	asm volatile("fnstcw %0" : "=m"(got));
	check(got == 0x27f, "fldcw sets the control word");
	asm volatile("fld1\nfldz\nfdivrp\nfstp %st(0)");
	check(status() & 4, "1/0 raises ZE");
	asm volatile("fnclex");
	check(!(status() & 0xff), "fnclex clears it");
	asm volatile("fwait");
	check(true, "fwait comes back");

	asm volatile("fld1\nfldpi\nfcomip\nseta %b0\nfstp %%st(0)" : "=q"(v)::"cc");
	check((v & 0xff) == 1, "fcomip: pi is above 1");
	asm volatile("fld1\nfldpi\nfcompp\nfnstsw %%ax" : "=a"(got));
	check(!(got & 0x4500), "fcompp: condition codes say greater");

	/* unmasked division by zero: #MF at the next waiting instruction */
	cw = 0x37b;
	asm volatile("fninit\nfldcw %0\nfld1\nfldz\nfdivrp" ::"m"(cw));
	TRY("fwait");
	check(trap.taken && trap.vector == 16, "unmasked 1/0 is #MF at fwait");
	asm volatile("fninit");

	v = 0x0001000200030004;
	asm volatile("movq %0, %%mm0\npaddw %%mm0, %%mm0\nmovq %%mm0, %0\nemms" : "+m"(v));
	check(v == 0x0002000400060008, "MMX adds words");
	asm volatile("fld1\nfnstsw %%ax\nfstp %%st(0)" : "=a"(got));
	check(((got >> 11) & 7) == 7, "emms has freed the registers");
}
