/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: any bytes as an instruction, on any state of a virtual CPU, through the
 * instruction carrier. Registers point into a region that nobody may touch: an access
 * that was not redirected to guest memory faults on the host, and is found.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../unit/assist_machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TRAP_SIZE (64u << 20)
#define GUARD 256

static uint8_t *trap; /* no access; in reach of 32-bit displacements from its middle */
static struct assist_machine *m;
static struct {
	uint8_t before[GUARD];
	uint8_t guest[65536 + 4096]; /* an access may begin anywhere in the first 64 KiB */
	uint8_t after[GUARD];
} ram;

static const uint8_t *input;
static size_t left;

static uint8_t byte(void)
{
	if (!left)
		return 0;
	left--;
	return *input++;
}

static uint64_t word(void)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 8; i++)
		v = v << 8 | byte();
	return v;
}

/* Guest memory: any address is somewhere in the array, but every 16th page faults. */
static int fuzz_check(struct insn_cpu *c, uint64_t lin, size_t len, unsigned how)
{
	if (len > 4096) {
		fprintf(stderr, "an access of %zu bytes\n", len);
		abort();
	}
	if ((lin >> 12 & 15) == 15 || ((lin + len) >> 12 & 15) == 15) {
		c->event = (struct insn_event){ .vector = 14, .has_error = true, .error = how };
		return -EFAULT;
	}
	return (lin >> 12 & 15) == 14 ? -EOPNOTSUPP : 0;
}

static int fuzz_read(struct insn_cpu *c, uint64_t lin, void *buf, size_t len, unsigned how)
{
	int r = fuzz_check(c, lin, len, how);

	if (r == 0)
		memcpy(buf, ram.guest + (lin & 0xffff), len);
	return r;
}

static int fuzz_write(struct insn_cpu *c, uint64_t lin, const void *buf, size_t len, unsigned how)
{
	int r = fuzz_check(c, lin, len, how | INSN_WRITE);

	if (r == 0)
		memcpy(ram.guest + (lin & 0xffff), buf, len);
	return r;
}

static int fuzz_map(struct insn_cpu *c, uint64_t lin, size_t len, void **p)
{
	static _Alignas(64) uint8_t line[64];

	*p = line;
	return fuzz_check(c, lin, len, INSN_WRITE);
}

static int fuzz_rdmsr(struct insn_cpu *c, uint32_t index, uint64_t *val)
{
	*val = word();
	return index == 0x10 ? -EOPNOTSUPP : 0;
}

static struct insn_ops fuzz_ops;

static void check_guards(void)
{
	for (unsigned i = 0; i < GUARD; i++) {
		if (ram.before[i] != 0x5a || ram.after[i] != 0x5a) {
			fprintf(stderr, "written outside guest memory\n");
			abort();
		}
	}
}

static void check_host_state(void)
{
	uint32_t mxcsr;
	uint64_t flags;
	uint16_t fcw;

	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	__asm__ volatile("fnstcw %0" : "=m"(fcw));
	__asm__ volatile("pushfq\n	pop %0" : "=r"(flags));
	if ((mxcsr & 0xffc0) != 0x1f80 || fcw != 0x37f || (flags & 0x40500)) {
		fprintf(stderr, "host state: MXCSR %x FCW %x flags %llx\n", mxcsr, fcw,
			(unsigned long long)flags);
		abort();
	}
}

static void setup(void)
{
	m = machine_new();
	fuzz_ops = *m->c.ops;
	fuzz_ops.read = fuzz_read;
	fuzz_ops.write = fuzz_write;
	fuzz_ops.map = fuzz_map;
	fuzz_ops.rdmsr = fuzz_rdmsr;
	trap = mmap(NULL, TRAP_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (trap == MAP_FAILED || !zydis(NULL)) {
		perror("fuzz_insn");
		exit(1);
	}
	memset(ram.before, 0x5a, GUARD);
	memset(ram.after, 0x5a, GUARD);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t features[INSN_CPUID_WORDS];
	struct insn_native *native;
	struct kvm_regs before;
	enum insn_status s;
	struct insn_cpu *c;
	uint8_t code[15], mode;
	uint64_t *reg;

	if (!m)
		setup();
	if (size < 16)
		return -1;
	memcpy(code, data, sizeof(code));
	mode = data[15];
	input = data + 16;
	left = size - 16;

	/* A fresh machine on the same executable pages. */
	c = &m->c;
	native = c->native;
	memcpy(features, c->cpuid, sizeof(features));
	c->ops = &fuzz_ops;
	c->regs.rflags = 2 | (mode & 1 ? word() & 0x257fd5 : 0);
	reg = (uint64_t *)(void *)&c->regs;
	for (unsigned i = 0; i < 16; i++)
		reg[i] = byte() & 7 ? (uintptr_t)trap + TRAP_SIZE / 2 + byte() : word();
	c->regs.rip = (uintptr_t)trap + TRAP_SIZE / 2;
	c->sregs.cr0 = 0x80050033 ^ (mode & 2 ? byte() : 0);
	c->sregs.cr4 = 0x606a0 ^ (mode & 2 ? word() & 0x70620 : 0);
	c->sregs.efer = mode & 4 ? 0 : 0xd01;
	c->sregs.cs.l = !(mode & 4);
	c->sregs.cs.db = mode & 4 && mode & 8;
	c->sregs.cs.selector = 0x10 | (mode & 16 ? 3 : 0);
	c->sregs.gdt.base = 0x1000;
	c->sregs.gdt.limit = 0xff;
	c->sregs.fs.base = c->sregs.gs.base = (uintptr_t)trap + TRAP_SIZE / 2;
	c->xcr0 = c->xcr0_allowed & (mode & 32 ? byte() | 1 : ~0ull);
	if (mode & 64)
		for (unsigned i = 0; i < INSN_CPUID_WORDS; i++)
			c->cpuid[i] =
				~0u; /* whatever the host has: the worst that a guest can get */
	for (unsigned i = 0; mode & 128 && i < 2048; i += 8) {
		uint64_t v = left ? word() : i * 0x9e3779b97f4a7c15ull;

		memcpy(m->xsave + i, &v, 8);
		memcpy(ram.guest + i, &v, 8);
	}
	/* As KVM gives it: a header without reserved bits. */
	memset(m->xsave + 512 + 8, 0, 56);
	m->xsave[513] = m->xsave[514] = m->xsave[515] = 0;
	memset(m->xsave + 516, 0, 4);
	c->fpu_loaded = true;
	c->native = native;
	before = c->regs;

	s = machine_step(m, code, sizeof(code));

	check_guards();
	check_host_state();
	if (s == INSN_UNSUPPORTED && (memcmp(&before, &c->regs, sizeof(before)) || !c->why ||
				      strstr(c->why, "failed on the host"))) {
		fprintf(stderr, "%s: %s\n", c->name, c->why ? c->why : "no reason given");
		abort();
	}
	memcpy(c->cpuid, features, sizeof(features));
	return 0;
}
