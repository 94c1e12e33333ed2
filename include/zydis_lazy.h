/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Zydis 4 disassembler, loaded when it is first needed: a guest that runs
 * well on a hardware KVM never needs it, and loading it takes 0.7 ms. Any thread.
 */
#ifndef POSADA_ZYDIS_LAZY_H
#define POSADA_ZYDIS_LAZY_H

#include <Zydis/Zydis.h>

struct err;

/* The functions in use, under their own names without the prefix and with their own types. */
struct zydis_api {
	__typeof__(&ZydisDecoderInit) DecoderInit;
	__typeof__(&ZydisDecoderDecodeFull) DecoderDecodeFull;
	__typeof__(&ZydisFormatterInit) FormatterInit;
	__typeof__(&ZydisFormatterFormatInstruction) FormatterFormatInstruction;
	__typeof__(&ZydisMnemonicGetString) MnemonicGetString;
	__typeof__(&ZydisRegisterGetString) RegisterGetString;
	__typeof__(&ZydisEncoderDecodedInstructionToEncoderRequest) DecodedToEncoderRequest;
	__typeof__(&ZydisEncoderEncodeInstruction) EncoderEncodeInstruction;
};

/*
 * The library's functions, or NULL with e (which may be NULL) naming the
 * package to install. Loads on the first call; a failure is remembered.
 */
const struct zydis_api *zydis(struct err *e);

#endif
