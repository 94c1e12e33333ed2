/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Why a guest died: one report on stderr with the reason in words, registers,
 * the instruction, page walks of RIP and CR2, symbols and the last exits.
 */
#ifndef POSADA_REPORT_H
#define POSADA_REPORT_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vcpu.h"

struct vm;

/*
 * On v's own thread, outside KVM_RUN: prints the report for the exit in v->run
 * ("the guest died on vCPU 0: " and `why`, printf-style: "triple fault"), once
 * a VM: a second caller returns at once. Then the caller calls vm_guest_died.
 */
void report_guest_death(struct vcpu *v, const char *why, ...) __attribute__((format(printf, 2, 3)));

/* Registers of v as text, as in `info registers`. On v's thread. */
void report_registers(struct vcpu *v, FILE *f);

/* --- the parts, which need no KVM: any state will do, however odd --- */

/* A vCPU as it was when it stopped. */
struct cpu_snapshot {
	unsigned id;
	bool have_regs; /* regs and sregs */
	bool have_events;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_vcpu_events events;
	struct kvm_run exit; /* a copy */
};

#define INSN_MAX 15 /* bytes of an x86 instruction, at most */

/* What follows from a snapshot and the guest's memory. */
struct cpu_facts {
	const char *mode; /* "64-bit mode" ... */
	unsigned bits; /* 16, 32 or 64: of the code */
	unsigned cpl;
	uint64_t pc, sp; /* linear */
	struct page_walk pc_walk;
	bool pc_ram; /* pc is mapped, and to RAM */
	uint8_t code[4 * INSN_MAX];
	size_t code_len; /* bytes at pc that can be read */
	size_t insn_len; /* of the first instruction, 0 when it is not one */
	char insn[160]; /* it, or in brackets why it cannot be shown */
};
void cpu_facts(struct vm *vm, const struct cpu_snapshot *c, struct cpu_facts *f);

/* What most likely went wrong, and a way out; either may be empty. */
struct diagnosis {
	char cause[512];
	char hint[384];
};
void report_diagnose(struct vm *vm, const struct cpu_snapshot *c, const struct cpu_facts *f,
		     struct diagnosis *d);

/* "#PF page fault"; never NULL. */
const char *exception_name(unsigned vector);
/* Where and why a page walk failed, in words: "PD entry 0x0 at 0xb008 is not present". */
void page_walk_words(const struct page_walk *w, char *out, size_t out_len);

void report_format(struct vm *vm, const struct cpu_snapshot *c, const char *why, FILE *f);
void report_format_registers(struct vm *vm, const struct cpu_snapshot *c, FILE *f);

/* --- disassembly: Zydis, loaded only when first needed (src/disasm.c) --- */
/*
 * One instruction of bits 16/32/64 at code; returns its length, or 0 when
 * there is none to show: out then says why, in brackets.
 */
size_t disasm(const uint8_t *code, size_t len, uint64_t rip, unsigned bits, char *out,
	      size_t out_len);
/* The same, naming the target of a branch by the symbols of elf_path (or NULL). */
size_t disasm_symbols(const uint8_t *code, size_t len, uint64_t rip, unsigned bits,
		      const char *elf_path, char *out, size_t out_len);

/* --- symbols of an ELF kernel (src/symbols.c) --- */
#define SYMBOL_MAX 128
/*
 * "name+0x12/0x34" of the code at addr into out; false and an empty string
 * when there is none. Also by physical address, where early boot code runs.
 * elf_path may be NULL or no ELF file. The file is read on the first use.
 */
bool symbol_lookup(const char *elf_path, uint64_t addr, char *out, size_t out_len);
/* The same, and how far addr is from the symbol's start. */
bool symbol_lookup_offset(const char *elf_path, uint64_t addr, char *out, size_t out_len,
			  uint64_t *offset);

#endif
