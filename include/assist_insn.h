/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Carries out one x86 instruction on a virtual CPU's state: those which a
 * software KVM cannot (see assist.h). Knows nothing of KVM but the layout of
 * its register structures: memory, MSRs and the FPU state come by callbacks.
 *
 * Specifications: AMD64 Architecture Programmer's Manual volumes 2, 3 and 4;
 * Intel SDM volume 1 chapter 13 (XSAVE) and volume 2.
 *
 * The guest chooses every byte of the instruction and of the state. One thread
 * at a time for each insn_cpu.
 */
#ifndef POSADA_ASSIST_INSN_H
#define POSADA_ASSIST_INSN_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct insn_native;
struct zydis_api;

/* Words of CPUID that say which instructions a guest has. */
enum insn_feature_word {
	INSN_CPUID_1C, /* 1 ECX */
	INSN_CPUID_1D, /* 1 EDX */
	INSN_CPUID_7B, /* 7.0 EBX */
	INSN_CPUID_7C, /* 7.0 ECX */
	INSN_CPUID_7D, /* 7.0 EDX */
	INSN_CPUID_71A, /* 7.1 EAX */
	INSN_CPUID_D1A, /* 0xd.1 EAX */
	INSN_CPUID_X1C, /* 0x80000001 ECX */
	INSN_CPUID_X1D, /* 0x80000001 EDX */
	INSN_CPUID_X8B, /* 0x80000008 EBX */
	INSN_CPUID_WORDS
};

/* Where XSAVE keeps each state component, from CPUID leaf 0xd. */
#define XSAVE_AREA 4096
struct xsave_layout {
	uint64_t mask; /* components that exist and lie within XSAVE_AREA */
	uint16_t offset[64], size[64];
	bool align64[64]; /* in the compacted format */
};

/* An exception or interrupt to deliver. */
struct insn_event {
	uint8_t vector;
	bool software; /* int n: gate privilege is checked, and no error code pushed */
	bool has_error;
	uint32_t error;
	uint64_t dr6; /* bits to set in DR6, of #DB */
};

#define INSN_READ 0u
#define INSN_WRITE 1u /* write access is wanted, now or after the read */
#define INSN_IMPLICIT 2u /* by the processor itself (descriptors, TSS): supervisor at any CPL */

struct insn_cpu;

/* All return 0, or -EFAULT with c->event (and CR2) set to the fault, or -EOPNOTSUPP. */
struct insn_ops {
	/* Guest memory by linear address; the whole range or nothing. -EOPNOTSUPP: no RAM. */
	int (*read)(struct insn_cpu *c, uint64_t lin, void *buf, size_t len, unsigned how);
	int (*write)(struct insn_cpu *c, uint64_t lin, const void *buf, size_t len, unsigned how);
	/* Host address of RAM in one page, writable: for locked accesses. */
	int (*map)(struct insn_cpu *c, uint64_t lin, size_t len, void **p);
	/* Fills c->xsave and sets c->fpu_loaded. */
	int (*load_fpu)(struct insn_cpu *c);
	/* Fills c->xcr0. */
	int (*load_xcr0)(struct insn_cpu *c);
	/* -EOPNOTSUPP: no such MSR. */
	int (*rdmsr)(struct insn_cpu *c, uint32_t index, uint64_t *val);
};

struct insn_cpu {
	/* in and out */
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	uint64_t xcr0; /* valid after load_xcr0 */
	uint8_t *xsave; /* XSAVE_AREA bytes, 64-byte aligned, standard format; valid when fpu_loaded
			 */
	bool fpu_loaded;
	/* in */
	uint32_t cpuid[INSN_CPUID_WORDS]; /* what the guest may use */
	uint64_t xcr0_allowed; /* CPUID 0xd.0 EDX:EAX */
	const struct xsave_layout *layout;
	const struct insn_ops *ops;
	void *ctx;
	struct insn_native *native; /* NULL: instructions that need it are unsupported */
	/* out */
	bool sregs_dirty, xcr0_dirty, fpu_dirty;
	bool flush_tlb; /* all translations, as INVPCID asks for no more than that */
	struct insn_event event;
	unsigned mnemonic; /* ZydisMnemonic; 0: no instruction */
	char name[16]; /* of it */
	const char *why; /* INSN_UNSUPPORTED: in words */
};

enum insn_status {
	INSN_DONE, /* carried out, RIP is at the next one */
	INSN_EVENT, /* c->event is to be delivered at RIP, which is right for it */
	INSN_UNSUPPORTED, /* nothing has changed */
};

/*
 * Carries out the instruction at code, of which len bytes are known (more are
 * read from the guest when that is short).
 */
enum insn_status insn_step(struct insn_cpu *c, const struct zydis_api *z, const uint8_t *code,
			   size_t len);

static inline unsigned insn_cpl(const struct insn_cpu *c)
{
	if (!(c->sregs.cr0 & 1)) /* real mode */
		return 0;
	return c->regs.rflags & (1u << 17) /* virtual-8086 */ ? 3 : c->sregs.cs.selector & 3;
}

#endif
