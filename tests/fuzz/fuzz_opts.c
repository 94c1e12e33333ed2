/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Option strings: the parser, sizes, properties, -cpu and whole command lines.
 * Input: lines of a command line's words, separated by newlines.
 */
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "cpuid.h"
#include "err.h"
#include "opts.h"
#include "props.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct thing {
	bool flag;
	uint8_t small;
	uint32_t port;
	uint64_t size;
	char *text;
	int choice;
};

static const char *const choices[] = { "auto", "on", "off", NULL };
static const struct prop props[] = {
	PROP(struct thing, flag, PROP_BOOL, "flag", "on", NULL),
	PROP(struct thing, small, PROP_U8, "small", NULL, NULL),
	PROP_RANGE(struct thing, port, PROP_U32, "port", "1", 1, 65535, NULL),
	PROP(struct thing, size, PROP_SIZE, "size", "1K", NULL),
	PROP(struct thing, text, PROP_STR, "text", "abc", NULL),
	PROP_CHOICE(struct thing, choice, "choice", "auto", choices, NULL),
	PROP_END
};

static void one_word(const char *word)
{
	struct thing t = { 0 };
	struct err e = { 0 };
	struct opts o;
	uint64_t n;

	parse_size(word, 1 << 20, &n, &e);
	parse_u64(word, &n, &e);
	cpuid_check(word, &e);
	if (!opts_parse(&o, word, NULL, &e)) {
		props_defaults(props, &t);
		props_apply(props, &t, &o, &e);
		props_free(props, &t);
		opts_free(&o);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *argv[64] = { (char *)(uintptr_t) "posada" };
	int argc = 1;
	struct config cfg;
	struct err e = { 0 };

	memcpy(text, data, size);
	text[size] = '\0';
	for (char *p = text; p && argc < 63; argc++) {
		argv[argc] = p;
		p = strchr(p, '\n');
		if (p)
			*p++ = '\0';
	}
	for (int i = 1; i < argc; i++)
		one_word(argv[i]);
	if (cmdline_parse(argc, argv, &cfg, &e) < 0 && (!e.msg[0] || e.status != ERR_USAGE))
		abort(); /* an error without a message, or of another kind */
	cmdline_free(&cfg);
	free(text);
	return 0;
}
