/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loads the Zydis 4 disassembler at its first use: see include/zydis_lazy.h. Any thread. */
#include "zydis_lazy.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "err.h"

/* The version whose headers this is built with: structures and enumerations are theirs. */
#define BUILT_MAJOR ((unsigned)ZYDIS_VERSION_MAJOR(ZYDIS_VERSION))
#define BUILT_MINOR ((unsigned)ZYDIS_VERSION_MINOR(ZYDIS_VERSION))

static struct zydis_api api;
static bool loaded;
static char why_not[256];

static void load(void)
{
	static const struct {
		const char *name;
		void *slot;
	} syms[] = {
		{ "ZydisDecoderInit", &api.DecoderInit },
		{ "ZydisDecoderDecodeFull", &api.DecoderDecodeFull },
		{ "ZydisFormatterInit", &api.FormatterInit },
		{ "ZydisFormatterFormatInstruction", &api.FormatterFormatInstruction },
		{ "ZydisMnemonicGetString", &api.MnemonicGetString },
		{ "ZydisRegisterGetString", &api.RegisterGetString },
		{ "ZydisEncoderDecodedInstructionToEncoderRequest", &api.DecodedToEncoderRequest },
		{ "ZydisEncoderEncodeInstruction", &api.EncoderEncodeInstruction },
	};
	ZyanU64 (*version)(void);
	void *lib, *sym;
	char name[32];

	/* Debian's shared-object name carries the minor version, a plain build's only the major. */
	snprintf(name, sizeof(name), "libZydis.so.%u.%u", BUILT_MAJOR, BUILT_MINOR);
	lib = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	if (!lib) {
		snprintf(why_not, sizeof(why_not), "%s", dlerror());
		snprintf(name, sizeof(name), "libZydis.so.%u", BUILT_MAJOR);
		lib = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	}
	if (!lib)
		return;
	for (size_t i = 0; i < sizeof(syms) / sizeof(syms[0]); i++) {
		sym = dlsym(lib, syms[i].name);
		if (!sym) {
			snprintf(why_not, sizeof(why_not), "it has no %s", syms[i].name);
			return;
		}
		memcpy(syms[i].slot, &sym, sizeof(sym));
	}
	sym = dlsym(lib, "ZydisGetVersion");
	memcpy(&version, &sym, sizeof(sym));
	if (!sym || ZYDIS_VERSION_MAJOR(version()) != BUILT_MAJOR ||
	    ZYDIS_VERSION_MINOR(version()) != BUILT_MINOR) {
		snprintf(why_not, sizeof(why_not),
			 "its version is not the %u.%u this was built for", BUILT_MAJOR,
			 BUILT_MINOR);
		return;
	}
	loaded = true;
}

const struct zydis_api *zydis(struct err *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, load);
	if (loaded)
		return &api;
	err_set(e, ERR_UNAVAILABLE, ENOENT, "cannot use the Zydis disassembler library: %s",
		why_not);
	err_hint(e, "install the package libzydis%u.%u", BUILT_MAJOR, BUILT_MINOR);
	return NULL;
}
