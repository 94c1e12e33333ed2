/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host processor as an executor of guest instructions: see assist_native.c. */
#ifndef POSADA_ASSIST_NATIVE_H
#define POSADA_ASSIST_NATIVE_H

#include <stdint.h>

struct insn_native;

struct host_cpuid {
	uint32_t eax, ebx, ecx, edx;
};

static inline struct host_cpuid host_cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct host_cpuid r;

	__asm__ volatile("cpuid"
			 : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
			 : "a"(leaf), "c"(subleaf));
	return r;
}

/* NULL when there is no memory for it. */
struct insn_native *insn_native_new(void);
void insn_native_free(struct insn_native *n);

#endif
