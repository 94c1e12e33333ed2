/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPUID for the guest: see include/cpuid.h. Bits after Intel SDM volume 2A
 * (CPUID) and AMD APM volume 3 appendix E; names as Linux and `kvm -cpu` spell
 * them. Pure: no ioctls. Main thread.
 */
#include "cpuid.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "opts.h"

enum reg { EAX, EBX, ECX, EDX };

static const struct feature {
	const char *name;
	uint32_t leaf, subleaf;
	enum reg reg;
	uint8_t bit;
} features[] = {
	/* clang-format off */
	{ "fpu", 1, 0, EDX, 0 }, { "vme", 1, 0, EDX, 1 }, { "de", 1, 0, EDX, 2 },
	{ "pse", 1, 0, EDX, 3 }, { "tsc", 1, 0, EDX, 4 }, { "msr", 1, 0, EDX, 5 },
	{ "pae", 1, 0, EDX, 6 }, { "mce", 1, 0, EDX, 7 }, { "cx8", 1, 0, EDX, 8 },
	{ "apic", 1, 0, EDX, 9 }, { "sep", 1, 0, EDX, 11 }, { "mtrr", 1, 0, EDX, 12 },
	{ "pge", 1, 0, EDX, 13 }, { "mca", 1, 0, EDX, 14 }, { "cmov", 1, 0, EDX, 15 },
	{ "pat", 1, 0, EDX, 16 }, { "pse36", 1, 0, EDX, 17 }, { "clflush", 1, 0, EDX, 19 },
	{ "mmx", 1, 0, EDX, 23 }, { "fxsr", 1, 0, EDX, 24 }, { "sse", 1, 0, EDX, 25 },
	{ "sse2", 1, 0, EDX, 26 }, { "ss", 1, 0, EDX, 27 }, { "ht", 1, 0, EDX, 28 },
	{ "pni", 1, 0, ECX, 0 }, { "pclmulqdq", 1, 0, ECX, 1 }, { "vmx", 1, 0, ECX, 5 },
	{ "ssse3", 1, 0, ECX, 9 }, { "fma", 1, 0, ECX, 12 }, { "cx16", 1, 0, ECX, 13 },
	{ "pdcm", 1, 0, ECX, 15 }, { "pcid", 1, 0, ECX, 17 }, { "sse4.1", 1, 0, ECX, 19 },
	{ "sse4.2", 1, 0, ECX, 20 }, { "x2apic", 1, 0, ECX, 21 }, { "movbe", 1, 0, ECX, 22 },
	{ "popcnt", 1, 0, ECX, 23 }, { "tsc-deadline", 1, 0, ECX, 24 }, { "aes", 1, 0, ECX, 25 },
	{ "xsave", 1, 0, ECX, 26 }, { "avx", 1, 0, ECX, 28 }, { "f16c", 1, 0, ECX, 29 },
	{ "rdrand", 1, 0, ECX, 30 }, { "hypervisor", 1, 0, ECX, 31 },
	{ "arat", 6, 0, EAX, 2 },
	{ "fsgsbase", 7, 0, EBX, 0 }, { "tsc_adjust", 7, 0, EBX, 1 }, { "sgx", 7, 0, EBX, 2 },
	{ "bmi1", 7, 0, EBX, 3 }, { "hle", 7, 0, EBX, 4 }, { "avx2", 7, 0, EBX, 5 },
	{ "smep", 7, 0, EBX, 7 }, { "bmi2", 7, 0, EBX, 8 }, { "erms", 7, 0, EBX, 9 },
	{ "invpcid", 7, 0, EBX, 10 }, { "rtm", 7, 0, EBX, 11 }, { "mpx", 7, 0, EBX, 14 },
	{ "avx512f", 7, 0, EBX, 16 }, { "avx512dq", 7, 0, EBX, 17 }, { "rdseed", 7, 0, EBX, 18 },
	{ "adx", 7, 0, EBX, 19 }, { "smap", 7, 0, EBX, 20 }, { "avx512ifma", 7, 0, EBX, 21 },
	{ "clflushopt", 7, 0, EBX, 23 }, { "clwb", 7, 0, EBX, 24 }, { "avx512cd", 7, 0, EBX, 28 },
	{ "sha-ni", 7, 0, EBX, 29 }, { "avx512bw", 7, 0, EBX, 30 }, { "avx512vl", 7, 0, EBX, 31 },
	{ "avx512vbmi", 7, 0, ECX, 1 }, { "umip", 7, 0, ECX, 2 }, { "pku", 7, 0, ECX, 3 },
	{ "waitpkg", 7, 0, ECX, 5 }, { "gfni", 7, 0, ECX, 8 }, { "vaes", 7, 0, ECX, 9 },
	{ "vpclmulqdq", 7, 0, ECX, 10 }, { "la57", 7, 0, ECX, 16 }, { "rdpid", 7, 0, ECX, 22 },
	{ "bus-lock-detect", 7, 0, ECX, 24 }, { "movdiri", 7, 0, ECX, 27 }, { "movdir64b", 7, 0, ECX, 28 },
	{ "fsrm", 7, 0, EDX, 4 }, { "md-clear", 7, 0, EDX, 10 }, { "serialize", 7, 0, EDX, 14 },
	{ "spec-ctrl", 7, 0, EDX, 26 }, { "stibp", 7, 0, EDX, 27 }, { "arch-capabilities", 7, 0, EDX, 29 },
	{ "ssbd", 7, 0, EDX, 31 }, { "avx-vnni", 7, 1, EAX, 4 }, { "avx512-bf16", 7, 1, EAX, 5 },
	{ "xsaveopt", 0xd, 1, EAX, 0 }, { "xsavec", 0xd, 1, EAX, 1 }, { "xgetbv1", 0xd, 1, EAX, 2 },
	{ "xsaves", 0xd, 1, EAX, 3 },
	{ "kvmclock", 0x40000001, 0, EAX, 3 }, { "kvm-nopiodelay", 0x40000001, 0, EAX, 1 },
	{ "kvm-asyncpf", 0x40000001, 0, EAX, 4 }, { "kvm-steal-time", 0x40000001, 0, EAX, 5 },
	{ "kvm-pv-eoi", 0x40000001, 0, EAX, 6 }, { "kvm-pv-unhalt", 0x40000001, 0, EAX, 7 },
	{ "kvm-pv-tlb-flush", 0x40000001, 0, EAX, 9 }, { "kvm-pv-ipi", 0x40000001, 0, EAX, 11 },
	{ "kvm-poll-control", 0x40000001, 0, EAX, 12 }, { "kvm-pv-sched-yield", 0x40000001, 0, EAX, 13 },
	{ "lahf-lm", 0x80000001, 0, ECX, 0 }, { "svm", 0x80000001, 0, ECX, 2 },
	{ "cr8legacy", 0x80000001, 0, ECX, 4 }, { "abm", 0x80000001, 0, ECX, 5 },
	{ "sse4a", 0x80000001, 0, ECX, 6 }, { "misalignsse", 0x80000001, 0, ECX, 7 },
	{ "3dnowprefetch", 0x80000001, 0, ECX, 8 }, { "osvw", 0x80000001, 0, ECX, 9 },
	{ "topoext", 0x80000001, 0, ECX, 22 }, { "perfctr-core", 0x80000001, 0, ECX, 23 },
	{ "syscall", 0x80000001, 0, EDX, 11 }, { "nx", 0x80000001, 0, EDX, 20 },
	{ "mmxext", 0x80000001, 0, EDX, 22 }, { "fxsr-opt", 0x80000001, 0, EDX, 25 },
	{ "pdpe1gb", 0x80000001, 0, EDX, 26 }, { "rdtscp", 0x80000001, 0, EDX, 27 },
	{ "lm", 0x80000001, 0, EDX, 29 }, { "invtsc", 0x80000007, 0, EDX, 8 },
	{ "clzero", 0x80000008, 0, EBX, 0 }, { "xsaveerptr", 0x80000008, 0, EBX, 2 },
	{ "wbnoinvd", 0x80000008, 0, EBX, 9 }, { "ibpb", 0x80000008, 0, EBX, 12 },
	/* clang-format on */
};

#define N_FEATURES (sizeof(features) / sizeof(features[0]))

/* Other spellings: sse4_1, sha_ni, SSE3, nrip-save -> underscore, dot and dash are one. */
static bool same_name(const char *a, const char *b)
{
	for (; *a && *b; a++, b++) {
		char x = *a == '_' || *a == '.' ? '-' : *a, y = *b == '_' || *b == '.' ? '-' : *b;

		if (x != y)
			return false;
	}
	return !*a && !*b;
}

static const struct feature *feature_find(const char *name)
{
	if (!strcmp(name, "sse3"))
		name = "pni";
	for (size_t i = 0; i < N_FEATURES; i++)
		if (same_name(features[i].name, name))
			return &features[i];
	return NULL;
}

static const char *const models[] = { "host", "max" };

/* Calls fn for each feature named in arg. */
static int each_feature(const char *arg, struct err *e,
			int (*fn)(void *ctx, const struct feature *f, bool on, struct err *e),
			void *ctx)
{
	const char *names[N_FEATURES];
	struct opts o;
	int rc = opts_parse(&o, arg, NULL, e);

	if (rc)
		return rc;
	if (!o.head || (strcmp(o.head, "host") && strcmp(o.head, "max"))) {
		rc = err_set(e, ERR_USAGE, EINVAL, "no CPU model '%s'", o.head ? o.head : "");
		err_hint(e, "the guest gets the host's processor: host[,+X][,-X][,X=on|off]");
	}
	for (size_t i = 0; !rc && i < o.n; i++) {
		const char *key = o.opt[i].key;
		const struct feature *f;
		bool on;

		if (*key == '+' || *key == '-') {
			on = *key++ == '+';
			if (!o.opt[i].bare)
				rc = err_set(e, ERR_USAGE, EINVAL,
					     "'%s=%s': write +X, -X or X=on|off", o.opt[i].key,
					     o.opt[i].val);
		} else {
			rc = parse_bool(o.opt[i].val, &on, e);
			if (rc)
				err_prefix(e, "%s=%s: ", key, o.opt[i].val);
		}
		if (rc)
			break;
		f = feature_find(key);
		if (!f) {
			for (size_t n = 0; n < N_FEATURES; n++)
				names[n] = features[n].name;
			rc = err_set(e, ERR_USAGE, EINVAL, "no CPU feature '%s'", key);
			err_suggest(e, key, names, N_FEATURES);
			if (e && !e->hint[0])
				err_hint(e, "'-cpu help' lists the features");
			break;
		}
		rc = fn ? fn(ctx, f, on, e) : 0;
	}
	opts_free(&o);
	return rc;
}

int cpuid_check(const char *arg, struct err *e)
{
	return each_feature(arg, e, NULL, NULL);
}

void cpuid_help(FILE *f)
{
	size_t col = 0;

	fprintf(f, "CPU models:\n");
	for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++)
		fprintf(f, "  %-8s %s\n", models[i],
			i ? "the same as host"
			  : "the host's processor, as its KVM offers it (default)");
	fprintf(f, "Features (-cpu host,+X or X=on adds one, -cpu host,-X or X=off takes it "
		   "away):\n ");
	for (size_t i = 0; i < N_FEATURES; i++) {
		col += strlen(features[i].name) + 1;
		if (col > 76) {
			fprintf(f, "\n ");
			col = strlen(features[i].name) + 1;
		}
		fprintf(f, " %s", features[i].name);
	}
	fputc('\n', f);
}

struct kvm_cpuid_entry2 *cpuid_entry(struct kvm_cpuid2 *c, unsigned leaf, unsigned subleaf)
{
	for (unsigned i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->entries[i];

		if (e->function == leaf &&
		    (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == subleaf))
			return e;
	}
	return NULL;
}

static int apply_one(void *ctx, const struct feature *f, bool on, struct err *e)
{
	struct kvm_cpuid_entry2 *ent = cpuid_entry(ctx, f->leaf, f->subleaf);
	uint32_t *reg, bit = 1u << f->bit;

	if (!ent || (on && !((&ent->eax)[f->reg] & bit))) {
		if (!on)
			return 0; /* not there anyway */
		err_set(e, ERR_UNAVAILABLE, ENOTSUP,
			"the host's KVM does not offer the CPU feature '%s'", f->name);
		err_hint(e, "leave it out of -cpu");
		return -ENOTSUP;
	}
	reg = &(&ent->eax)[f->reg];
	*reg = on ? *reg | bit : *reg & ~bit;
	return 0;
}

int cpuid_apply(struct kvm_cpuid2 *c, const char *arg, struct err *e)
{
	int rc = arg ? each_feature(arg, e, apply_one, c) : 0;

	if (rc)
		err_prefix(e, "-cpu %s: ", arg);
	return rc;
}

/* Bits needed to number n things. */
static unsigned width(unsigned n)
{
	unsigned bits = 0;

	while ((1u << bits) < n)
		bits++;
	return bits;
}

void cpuid_set_topology(struct kvm_cpuid2 *c, unsigned cpu, unsigned n_cpus)
{
	for (unsigned i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->entries[i];

		switch (e->function) {
		case 1:
			e->ebx = (e->ebx & 0xffff) | cpu << 24 | (n_cpus > 1 ? n_cpus : 1) << 16;
			e->edx = n_cpus > 1 ? e->edx | 1u << 28 : e->edx & ~(1u << 28);
			break;
		case 4: /* Intel: deterministic caches */
		case 0x8000001d: /* AMD: the same layout; cores sharing minus one in 25:14 */
			if (!(e->eax & 0x1f))
				break;
			e->eax &= ~(0xfffu << 14);
			if (((e->eax >> 5) & 7) >= 3)
				e->eax |= (n_cpus - 1) << 14;
			if (e->function == 4)
				e->eax = (e->eax & 0x03ffffff) | ((1u << width(n_cpus)) - 1) << 26;
			break;
		case 0xb: /* x2APIC topology: SMT, then core */
		case 0x1f:
			e->eax = e->index == 1 ? width(n_cpus) : 0;
			e->ebx = e->index == 0 ? 1 : e->index == 1 ? n_cpus : 0;
			e->ecx = e->index | (e->index < 2 ? (e->index + 1) << 8 : 0);
			e->edx = cpu;
			break;
		case 0x80000001:
			/* CmpLegacy: the logical processors are cores; only AMD sets it */
			if (cpuid_entry(c, 0x8000001e, 0))
				e->ecx = n_cpus > 1 ? e->ecx | 2 : e->ecx & ~2u;
			break;
		case 0x80000008:
			if (cpuid_entry(c, 0x8000001e, 0))
				e->ecx = (e->ecx & ~0xf0ffu) | (n_cpus - 1) | width(n_cpus) << 12;
			break;
		case 0x8000001e:
			e->eax = cpu;
			e->ebx = cpu & 0xff; /* one thread a core */
			e->ecx = 0;
			break;
		}
	}
}

unsigned cpuid_phys_bits(struct kvm_cpuid2 *c)
{
	const struct kvm_cpuid_entry2 *e = cpuid_entry(c, 0x80000008, 0);
	unsigned bits = e ? e->eax & 0xff : 0;

	/* 36 without the leaf; no less than 4 GiB, no more than page tables can hold. */
	return bits < 32 || bits > 52 ? 36 : bits;
}
