/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files of the software-KVM assist; nobody else includes it. */
#ifndef POSADA_ASSIST_PRIV_H
#define POSADA_ASSIST_PRIV_H

#include <Zydis/Zydis.h>
#include <stdbool.h>
#include <stdint.h>

#include "assist.h"
#include "assist_insn.h"
#include "err.h"

struct vcpu;
struct vm;

/* One vCPU's part; used by its own thread, but for the counters. */
struct assist_vcpu {
	struct vcpu *v;
	struct insn_cpu cpu;
	bool cpuid_known;

	/* assist_gates.c */
	uint64_t lstar; /* system call entry; 0: none */
	uint64_t idt_base; /* where the entries were read from */
	uint64_t pf_entry, ud_entry; /* handlers with a breakpoint on them; 0: none */
	bool stepping; /* over a handler's first instruction, with the breakpoints off */
	bool debug_warned;
	unsigned polls;

	_Atomic uint64_t syscalls, interrupts, faults, steps;
	_Atomic uint32_t count[ZYDIS_MNEMONIC_MAX_VALUE + 1]; /* instructions carried out */
};

/* --- src/assist_x86.c --- */
#define MSR_LSTAR 0xc0000082u

/* [vcpu] Registers of the exit into a->cpu, and what the carrier changed back into KVM. */
int assist_load_state(struct assist_vcpu *a);
int assist_store_state(struct assist_vcpu *a, bool event, bool shadow);
int assist_carry_out(struct assist_vcpu *a, const uint8_t *code, size_t len, bool must);

/* --- src/assist_gates.c: breakpoints on the guest's handlers; return as assist_exit does --- */
int assist_gates_debug(struct vcpu *v);
int assist_gates_wrmsr(struct vcpu *v);
int assist_gates_reset(struct vcpu *v); /* 0 or -errno */

/* --- src/kvm_assist.c: the ioctls --- */
/* Exits for writes of MSR `index`, and no patching of VMCALL in place. */
int kvm_assist_setup(struct vm *vm, uint32_t index, struct err *e);
int kvm_assist_get_cpuid(struct vcpu *v, struct kvm_cpuid2 *c);
/* At once, not with the next KVM_RUN. */
int kvm_assist_set_sregs(struct vcpu *v, const struct kvm_sregs *s);
int kvm_assist_set_debugregs(struct vcpu *v, const struct kvm_debugregs *d);

/* --- src/assist_mem.c: guest memory for the carrier; its ctx is a struct vcpu --- */
int assist_mem_read(struct insn_cpu *c, uint64_t lin, void *buf, size_t len, unsigned how);
int assist_mem_write(struct insn_cpu *c, uint64_t lin, const void *buf, size_t len, unsigned how);
int assist_mem_map(struct insn_cpu *c, uint64_t lin, size_t len, void **p);

/* --- one instruction on its way through the carrier --- */
struct insn {
	struct insn_cpu *c;
	const struct zydis_api *z;
	ZydisDecodedInstruction d;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	uint8_t code[ZYDIS_MAX_INSTRUCTION_LENGTH];
	uint64_t next; /* RIP after it */
	bool jumped; /* the handler has set RIP */
	bool trap; /* the event comes after the instruction: RIP moves on */
};

#define RFLAGS_CF (1ull << 0)
#define RFLAGS_PF (1ull << 2)
#define RFLAGS_AF (1ull << 4)
#define RFLAGS_ZF (1ull << 6)
#define RFLAGS_SF (1ull << 7)
#define RFLAGS_TF (1ull << 8)
#define RFLAGS_IF (1ull << 9)
#define RFLAGS_DF (1ull << 10)
#define RFLAGS_OF (1ull << 11)
#define RFLAGS_IOPL (3ull << 12)
#define RFLAGS_NT (1ull << 14)
#define RFLAGS_RF (1ull << 16)
#define RFLAGS_VM (1ull << 17)
#define RFLAGS_AC (1ull << 18)
#define RFLAGS_STATUS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

#define CR0_PE (1ull << 0)
#define CR0_MP (1ull << 1)
#define CR0_EM (1ull << 2)
#define CR0_TS (1ull << 3)
#define CR0_WP (1ull << 16)
#define CR0_PG (1ull << 31)
#define CR4_PGE (1ull << 7)
#define CR4_OSFXSR (1ull << 9)
#define CR4_OSXMMEXCPT (1ull << 10)
#define CR4_PCIDE (1ull << 17)
#define CR4_OSXSAVE (1ull << 18)
#define CR4_SMAP (1ull << 21)
#define EFER_LMA (1ull << 10)

enum {
	VEC_DB = 1,
	VEC_BP = 3,
	VEC_OF = 4,
	VEC_UD = 6,
	VEC_NM = 7,
	VEC_TS = 10,
	VEC_NP = 11,
	VEC_SS = 12,
	VEC_GP = 13,
	VEC_PF = 14,
	VEC_MF = 16,
	VEC_AC = 17,
	VEC_XM = 19
};

/* Sets the event and returns INSN_EVENT. */
enum insn_status insn_raise(struct insn *i, uint8_t vector);
enum insn_status insn_raise_code(struct insn *i, uint8_t vector, uint32_t error);
enum insn_status insn_gp(struct insn *i); /* #GP(0) */
enum insn_status insn_unsupported(struct insn *i, const char *why);
/* For a callback's or helper's -errno. */
enum insn_status insn_failed(struct insn *i, int r);

uint64_t *insn_gpr(struct insn_cpu *c, unsigned n); /* by the number in the encoding */
bool insn_long(const struct insn_cpu *c); /* 64-bit code */
bool insn_has(const struct insn_cpu *c, enum insn_feature_word w, unsigned bit);
uint64_t insn_reg_get(struct insn_cpu *c, ZydisRegister r);
void insn_reg_set(struct insn_cpu *c, ZydisRegister r, uint64_t val);
/* Linear address of a memory operand, checked for `size` bytes. 0 or -EFAULT with the event. */
int insn_linear(struct insn *i, const ZydisDecodedOperand *op, size_t size, bool write,
		uint64_t *lin);
/* The same of offset off in segment seg (enum of insn_segment below). */
enum insn_segment { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS };
int insn_segment_linear(struct insn *i, enum insn_segment seg, uint64_t off, size_t size,
			bool write, uint64_t *lin);
/* An operand of at most 8 bytes: register, memory or immediate. 0 or -errno. */
int insn_get(struct insn *i, const ZydisDecodedOperand *op, uint64_t *val);
int insn_push(struct insn *i, uint64_t *rsp, uint64_t val, unsigned size);
int insn_stack_read(struct insn *i, uint64_t rsp, uint64_t *val, unsigned size);

/* Handlers in files of their own: each for a group of mnemonics. */
enum insn_status insn_xsave(struct insn *i); /* assist_xsave.c */
enum insn_status insn_xrstor(struct insn *i);
enum insn_status insn_xgetbv(struct insn *i);
enum insn_status insn_xsetbv(struct insn *i);
enum insn_status insn_lar_lsl(struct insn *i); /* assist_system.c */
enum insn_status insn_verify(struct insn *i);
enum insn_status insn_iret(struct insn *i);
enum insn_status insn_sysenter(struct insn *i);
enum insn_status insn_sysexit(struct insn *i);
enum insn_status insn_sysret(struct insn *i);
enum insn_status insn_invpcid(struct insn *i);

/* What kind of state an instruction works on: decides the checks before it. */
enum insn_class { CLASS_GPR, CLASS_X87, CLASS_MMX, CLASS_SSE, CLASS_AVX, CLASS_AVX512 };
/* assist_native.c: whether an ISA set may be run on the host; its class. */
bool insn_native_allowed(const struct insn *i, enum insn_class *cls);
enum insn_status insn_run_native(struct insn *i, enum insn_class cls);

#endif
