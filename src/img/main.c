/* SPDX-License-Identifier: GPL-2.0-or-later */
/* posada-img: makes, looks at, converts and changes disk images. One line a subcommand. */
#include <stdio.h>
#include <string.h>

#include "img.h"
#include "secret.h"

/* clang-format off */
static const struct img_command commands[] = {
	{ "amend", img_amend, "[--image-opts] [-p] [-q] [-f FMT] [-t CACHE] [--force] -o OPTIONS FILE" },
	{ "bench", img_bench, "[-c COUNT] [-d DEPTH] [-f FMT] [--flush-interval=N] [-i AIO] [-n] [--no-drain] [-o OFFSET] [--pattern=BYTE] [-q] [-s SIZE] [-S STEP] [-t CACHE] [-w] [-U] FILE" },
	{ "bitmap", img_bitmap, "(--merge SOURCE | --add | --remove | --clear | --enable | --disable)... [-b SOURCE_FILE [-F FMT]] [-g GRANULARITY] [--image-opts | -f FMT] FILE BITMAP" },
	{ "check", img_check, "[--image-opts] [-q] [-f FMT] [--output=FORM] [-r leaks|all] [-T CACHE] [-U] FILE" },
	{ "commit", img_commit, "[--image-opts] [-q] [-f FMT] [-t CACHE] [-b BASE] [-r RATE] [-d] [-p] FILE" },
	{ "compare", img_compare, "[--image-opts] [-f FMT] [-F FMT] [-T CACHE] [-p] [-q] [-s] [-U] FILE1 FILE2" },
	{ "convert", img_convert, "[--image-opts] [--target-image-opts] [--target-is-zero] [--bitmaps [--skip-broken-bitmaps]] [-U] [-C] [-c] [-p] [-q] [-n] [-f FMT] [-t CACHE] [-T CACHE] [-O FMT] [-B BACKING [-F FMT]] [-o OPTIONS] [-l SNAPSHOT] [-S SIZE] [-r RATE] [-m COUNT] [-W] [--salvage] FILE [FILE2 [...]] OUTPUT" },
	{ "create", img_create, "[-q] [-f FMT] [-b BACKING [-F FMT]] [-u] [-o OPTIONS] FILE [SIZE]" },
	{ "dd", img_dd, "[--image-opts] [-U] [-f FMT] [-O FMT] [bs=BYTES] [count=N] [skip=N] if=INPUT of=OUTPUT" },
	{ "info", img_info, "[--image-opts] [-f FMT] [--output=FORM] [--backing-chain] [-U] FILE" },
	{ "map", img_map, "[--image-opts] [-f FMT] [-s OFFSET] [-l LENGTH] [--output=FORM] [-U] FILE" },
	{ "measure", img_measure, "[--output=FORM] [-O FMT] [-o OPTIONS] [--size SIZE | [--image-opts] [-f FMT] [-l SNAPSHOT] FILE]" },
	{ "rebase", img_rebase, "[--image-opts] [-U] [-q] [-f FMT] [-t CACHE] [-T CACHE] [-p] [-u] -b BACKING [-F FMT] FILE" },
	{ "resize", img_resize, "[--image-opts] [-f FMT] [--preallocation=MODE] [-q] [--shrink] FILE [+|-]SIZE" },
	{ "snapshot", img_snapshot, "[--image-opts] [-U] [-q] [-l | -a SNAPSHOT | -c SNAPSHOT | -d SNAPSHOT] FILE" },
};
/* clang-format on */

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static const char text[] =
	"FMT      raw, qcow2 ...; looked up in the image when it is not given\n"
	"CACHE    none, writeback, writethrough, directsync or unsafe\n"
	"SIZE     bytes, or with K, M, G, T, P or E behind\n"
	"OPTIONS  key=value,...; -o help lists those of the format\n"
	"FORM     human or json\n"
	"-U       take the image even when another program writes to it (reading only)\n"
	"--object secret,id=ID,file=PATH\n"
	"         a passphrase, for encrypt.key-secret=ID (key-secret=ID) at images\n"
	"-p, -q   show progress (SIGUSR1 shows it once), show nothing but errors\n"
	"The manual is posada-img(1).\n";

void img_help(void)
{
	printf("posada-img version " POSADA_VERSION "\n"
	       "usage: posada-img COMMAND ...\n"
	       "Makes, looks at, converts and changes disk images.\n\n");
	for (unsigned i = 0; i < COMMANDS; i++)
		printf("  %s %s\n", commands[i].name, commands[i].usage);
	printf("\n%s\nSupported formats:", text);
	for (unsigned i = 0; blk_drivers[i]; i++)
		printf(" %s", blk_drivers[i]->name);
	putchar('\n');
}

static int unknown(const char *name)
{
	const char *names[COMMANDS];
	struct err e;

	for (unsigned i = 0; i < COMMANDS; i++)
		names[i] = commands[i].name;
	err_set(&e, ERR_USAGE, 0, "Command not found: %s", name);
	err_suggest(&e, name, names, COMMANDS);
	return img_error(&e);
}

static int run(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;

	if (!name)
		return img_misuse("Not enough arguments");
	if (!strcmp(name, "--help") || !strcmp(name, "-h")) {
		img_help();
		return 0;
	}
	if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
		puts("posada-img version " POSADA_VERSION);
		return 0;
	}
	for (unsigned i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i].name, name))
			return commands[i].run(argc - 1, argv + 1);
	return *name == '-' ? img_misuse("unrecognized option '%s'", name) : unknown(name);
}

int main(int argc, char **argv)
{
	int status;

	err_program = "posada-img";
	status = run(argc, argv);
	secrets_wipe();
	if (fflush(stdout) || ferror(stdout))
		return img_fail("cannot write to standard output");
	return status;
}
