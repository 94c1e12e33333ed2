/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtual CPU for tests of the instruction carrier: 64-bit, kernel mode, flat,
 * with a host buffer as its memory, at the buffer's own addresses, so that the
 * same instruction with the same registers runs in the carrier and natively.
 */
#ifndef ASSIST_MACHINE_H
#define ASSIST_MACHINE_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/assist_native.h"
#include "assist_insn.h"
#include "zydis_lazy.h"

#define MEM_SIZE 16384u

struct assist_machine {
	struct insn_cpu c;
	struct xsave_layout layout;
	_Alignas(64) uint8_t xsave[XSAVE_AREA];
	_Alignas(4096) uint8_t mem[MEM_SIZE];
	uint64_t forbidden; /* page of mem that faults: its address; 0: none */
	uint64_t read_only; /* page of mem that faults when written */
	uint64_t msr_index, msr_value; /* the one MSR with a value; all others read 0 */
	bool fail_writes; /* another CPU has unmapped the page since it was read */
	unsigned writes;
};

static int machine_check(struct insn_cpu *c, uint64_t lin, size_t len, unsigned how, uint8_t **p)
{
	struct assist_machine *m = c->ctx;
	uint64_t off = lin - (uintptr_t)m->mem;

	for (uint64_t a = lin & ~4095ull; a < lin + len; a += 4096) {
		bool bad = (m->forbidden && a == m->forbidden) ||
			   (m->read_only && a == m->read_only && (how & INSN_WRITE));

		if (!bad && a - (uintptr_t)m->mem < MEM_SIZE)
			continue;
		c->event = (struct insn_event){ .vector = 14,
						.has_error = true,
						.error = (how & INSN_WRITE ? 2 : 0) |
							 (m->read_only && a == m->read_only) };
		c->sregs.cr2 = a > lin ? a : lin;
		return -EFAULT;
	}
	*p = m->mem + off;
	return 0;
}

static int machine_read(struct insn_cpu *c, uint64_t lin, void *buf, size_t len, unsigned how)
{
	uint8_t *p;
	int r = machine_check(c, lin, len, how, &p);

	if (r == 0)
		memcpy(buf, p, len);
	return r;
}

static int machine_write(struct insn_cpu *c, uint64_t lin, const void *buf, size_t len,
			 unsigned how)
{
	struct assist_machine *m = c->ctx;
	uint8_t *p;
	int r;

	if (m->fail_writes)
		m->read_only = lin & ~4095ull;
	r = machine_check(c, lin, len, how | INSN_WRITE, &p);
	if (r == 0) {
		memcpy(p, buf, len);
		m->writes++;
	}
	return r;
}

static int machine_map(struct insn_cpu *c, uint64_t lin, size_t len, void **p)
{
	return machine_check(c, lin, len, INSN_WRITE, (uint8_t **)p);
}

static int machine_load_fpu(struct insn_cpu *c)
{
	c->fpu_loaded = true;
	return 0;
}

static int machine_load_xcr0(struct insn_cpu *c)
{
	return 0;
}

static int machine_rdmsr(struct insn_cpu *c, uint32_t index, uint64_t *val)
{
	const struct assist_machine *m = c->ctx;

	*val = index == m->msr_index ? m->msr_value : 0;
	return 0;
}

static const struct insn_ops machine_ops = {
	.read = machine_read,
	.write = machine_write,
	.map = machine_map,
	.load_fpu = machine_load_fpu,
	.load_xcr0 = machine_load_xcr0,
	.rdmsr = machine_rdmsr,
};

static inline uint64_t machine_host_xcr0(void)
{
	uint32_t a, d;

	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return a | (uint64_t)d << 32;
}

/* With all features of the host processor. */
static inline struct assist_machine *machine_new(void)
{
	struct assist_machine *m = aligned_alloc(4096, (sizeof(*m) + 4095) & ~4095ul);
	struct insn_cpu *c = &m->c;
	struct kvm_segment code = {
		.limit = ~0u, .selector = 0x10, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1
	};
	struct kvm_segment data = {
		.limit = ~0u, .selector = 0x18, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1
	};

	memset(m, 0, sizeof(*m));
	c->ctx = m;
	c->ops = &machine_ops;
	c->xsave = m->xsave;
	c->layout = &m->layout;
	c->xcr0 = c->xcr0_allowed = machine_host_xcr0() & 0xe7;
	m->layout.mask = 3;
	for (unsigned i = 2; i < 63; i++) {
		struct host_cpuid id = host_cpuid(0xd, i);

		if (!(c->xcr0 >> i & 1) || !id.eax)
			continue;
		m->layout.mask |= 1ull << i;
		m->layout.offset[i] = (uint16_t)id.ebx;
		m->layout.size[i] = (uint16_t)id.eax;
		m->layout.align64[i] = id.ecx & 2;
	}
	c->cpuid[INSN_CPUID_1C] = host_cpuid(1, 0).ecx;
	c->cpuid[INSN_CPUID_1D] = host_cpuid(1, 0).edx;
	c->cpuid[INSN_CPUID_7B] = host_cpuid(7, 0).ebx;
	c->cpuid[INSN_CPUID_7C] = host_cpuid(7, 0).ecx;
	c->cpuid[INSN_CPUID_7D] = host_cpuid(7, 0).edx;
	c->cpuid[INSN_CPUID_71A] = host_cpuid(7, 1).eax;
	c->cpuid[INSN_CPUID_D1A] = host_cpuid(0xd, 1).eax;
	c->cpuid[INSN_CPUID_X1C] = host_cpuid(0x80000001, 0).ecx;
	c->cpuid[INSN_CPUID_X1D] = host_cpuid(0x80000001, 0).edx;
	c->cpuid[INSN_CPUID_X8B] = host_cpuid(0x80000008, 0).ebx;
	c->sregs.cr0 = 0x80050033;
	c->sregs.cr4 = 0x406a0 | 1u << 9 | 1u << 10;
	c->sregs.efer = 0xd01;
	c->sregs.cs = code;
	c->sregs.ds = c->sregs.es = c->sregs.ss = c->sregs.fs = c->sregs.gs = data;
	c->regs.rflags = 2;
	c->regs.rip = 0x100000;
	c->regs.rsp = (uintptr_t)m->mem + MEM_SIZE / 2;
	m->xsave[0] = 0x7f; /* FCW 0x37f */
	m->xsave[1] = 0x03;
	m->xsave[24] = 0x80; /* MXCSR 0x1f80 */
	m->xsave[25] = 0x1f;
	m->xsave[28] = 0xff;
	m->xsave[29] = 0xff;
	return m;
}

static inline void machine_free(struct assist_machine *m)
{
	insn_native_free(m->c.native);
	free(m);
}

/* One instruction, given as bytes. */
static inline enum insn_status machine_step(struct assist_machine *m, const void *code, size_t len)
{
	m->c.sregs_dirty = m->c.fpu_dirty = m->c.xcr0_dirty = m->c.flush_tlb = false;
	return insn_step(&m->c, zydis(NULL), code, len);
}

#define STEP(m, ...)                                                                               \
	machine_step((m), (const uint8_t[]){ __VA_ARGS__ },                                        \
		     sizeof((const uint8_t[]){ __VA_ARGS__ }))

/* xorshift64*: the same numbers in every run. */
static inline uint64_t machine_random(uint64_t *s)
{
	*s ^= *s >> 12;
	*s ^= *s << 25;
	*s ^= *s >> 27;
	return *s * 0x2545f4914f6cdd1dull;
}

#endif
