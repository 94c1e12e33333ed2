/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Why a guest died: one report on stderr with the reason in words, registers,
 * the instruction, page walks of RIP and CR2, symbols and the last exits.
 */
#ifndef POSADA_REPORT_H
#define POSADA_REPORT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct vcpu;
struct vm;

/*
 * On v's own thread, outside KVM_RUN: prints the report for the exit in v->run
 * (reason in words from `why`, printf-style), once a VM: a second caller
 * returns at once. Then the caller calls vm_guest_died.
 */
void report_guest_death(struct vcpu *v, const char *why, ...) __attribute__((format(printf, 2, 3)));

/* Registers of v as text, as in `info registers`. On v's thread. */
void report_registers(struct vcpu *v, FILE *f);

/* --- disassembly: Zydis, loaded only when first needed (src/disasm.c) --- */
/* One instruction of bits 16/32/64 at code; returns its length, 0 when it is not one. */
size_t disasm(const uint8_t *code, size_t len, uint64_t rip, unsigned bits, char *out, size_t out_len);

/* --- symbols of an ELF kernel (src/symbols.c) --- */
/* "name+0x12/0x34" into out, or an empty string. Reads the file on first use. */
void symbol_lookup(const char *elf_path, uint64_t addr, char *out, size_t out_len);

#endif
