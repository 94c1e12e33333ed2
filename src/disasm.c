/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One x86 instruction as text in Intel syntax, by the Zydis library, which is
 * loaded only when first needed. Any thread.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "report.h"
#include "zydis_lazy.h"

static bool decoder_init(const struct zydis_api *z, unsigned bits, ZydisDecoder *dec)
{
	switch (bits) {
	case 16:
		return ZYAN_SUCCESS(
			z->DecoderInit(dec, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16));
	case 32:
		return ZYAN_SUCCESS(
			z->DecoderInit(dec, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32));
	case 64:
		return ZYAN_SUCCESS(
			z->DecoderInit(dec, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64));
	default:
		return false;
	}
}

/* Appends the symbol of a relative branch's target. */
static void add_target(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *op,
		       uint64_t rip, const char *elf_path, char *out, size_t out_len)
{
	size_t used = strlen(out);
	uint64_t target;
	char sym[SYMBOL_MAX];

	if (!insn->operand_count_visible || op->type != ZYDIS_OPERAND_TYPE_IMMEDIATE ||
	    !op->imm.is_relative)
		return;
	target = rip + insn->length + (uint64_t)op->imm.value.s;
	if (insn->operand_width < 64)
		target &= (1ull << insn->operand_width) - 1;
	if (symbol_lookup(elf_path, target, sym, sizeof(sym)))
		snprintf(out + used, out_len - used, " <%s>", sym);
}

size_t disasm_symbols(const uint8_t *code, size_t len, uint64_t rip, unsigned bits,
		      const char *elf_path, char *out, size_t out_len)
{
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	const struct zydis_api *z;
	ZydisDecodedInstruction insn;
	ZydisFormatter fmt;
	ZydisDecoder dec;
	ZyanStatus st;
	struct err e;

	z = zydis(&e);
	if (!z) {
		snprintf(out, out_len, "(to see the instruction, %s)", e.hint);
		return 0;
	}
	if (!decoder_init(z, bits, &dec)) {
		snprintf(out, out_len, "(no decoder for %u-bit code)", bits);
		return 0;
	}
	st = z->DecoderDecodeFull(&dec, code, len, &insn, ops);
	if (!ZYAN_SUCCESS(st)) {
		snprintf(out, out_len,
			 st == ZYDIS_STATUS_NO_MORE_DATA ? "(cut off)" : "(not an instruction)");
		return 0;
	}
	if (!ZYAN_SUCCESS(z->FormatterInit(&fmt, ZYDIS_FORMATTER_STYLE_INTEL)) ||
	    !ZYAN_SUCCESS(z->FormatterFormatInstruction(&fmt, &insn, ops,
							insn.operand_count_visible, out, out_len,
							rip, NULL))) {
		snprintf(out, out_len, "(cannot be shown)");
		return 0;
	}
	if (elf_path)
		add_target(&insn, ops, rip, elf_path, out, out_len);
	return insn.length;
}

size_t disasm(const uint8_t *code, size_t len, uint64_t rip, unsigned bits, char *out,
	      size_t out_len)
{
	return disasm_symbols(code, len, rip, bits, NULL, out, out_len);
}
