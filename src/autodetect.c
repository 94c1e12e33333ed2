/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `posada FILE...`: what each file is by its contents, and the options that stand for it. See
 * include/autodetect.h. Main thread, before the machine is made.
 */
#include "autodetect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block.h"
#include "boot.h"
#include "config.h"
#include "err.h"
#include "log.h"

enum { SECTOR = 512, ISO_DESCRIPTOR = 32768, HEAD = ISO_DESCRIPTOR + 2048 };

static bool has(const uint8_t *p, size_t n, size_t at, const char *bytes, size_t len)
{
	return n >= at + len && !memcmp(p + at, bytes, len);
}

static bool is_boot_sector(const uint8_t *p, size_t n, uint64_t size)
{
	return (has(p, n, 510, "\x55\xaa", 2) && size % SECTOR == 0) ||
	       has(p, n, SECTOR, "EFI PART", 8) || has(p, n, 4096, "EFI PART", 8);
}

enum file_kind autodetect_kind(const uint8_t *p, size_t n, uint64_t size)
{
	/* First: it may begin with a boot sector, too, to be started from a USB stick. */
	if (has(p, n, ISO_DESCRIPTOR + 1, "CD001", 5))
		return FILE_ISO;
	if (strcmp(blk_probe_image(p, n, size), "raw") != 0)
		return FILE_DISK;
	if (boot_is_kernel(p, n))
		return FILE_KERNEL;
	if (has(p, n, 0, "070701", 6) || has(p, n, 0, "070702", 6) || has(p, n, 0, "070707", 6))
		return FILE_INITRD;
	if (compression_detect(p, n) != COMPRESS_NONE)
		return FILE_COMPRESSED;
	return is_boot_sector(p, n, size) ? FILE_DISK : FILE_UNKNOWN;
}

/* --- looking at a file -------------------------------------------------------------- */

static int cannot(const char *path, const char *what, struct err *e)
{
	return err_set(e, ERR_INPUT, EINVAL, "%s is %s", path, what);
}

static int unknown(const char *path, const uint8_t *p, size_t n, struct err *e)
{
	char what[96];

	boot_describe(p, n, what, sizeof(what));
	err_set(e, ERR_INPUT, EINVAL,
		"%s is no ISO image, disk image, kernel or initial ramdisk: it looks like %s", path,
		what);
	err_hint(e, "an option says what it is: -hda, -cdrom, -kernel, -initrd, or "
		    "-drive format=raw,file=FILE for a disk without a boot sector");
	return -EINVAL;
}

static int look_at(const char *path, enum file_kind *kind, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc = 0;
	uint8_t *head = malloc(HEAD);
	struct stat st;
	ssize_t n = 0;

	if (fd < 0 || fstat(fd, &st) < 0) {
		rc = err_set(e, ERR_INPUT, errno, "%s: %s", path, strerror(errno));
		if (errno == ENOENT)
			err_hint(e, "'posada -help' lists the options, which begin with -");
	} else if (S_ISDIR(st.st_mode)) {
		rc = cannot(path, "a directory", e);
		err_hint(e, "sharing one with the guest needs -fsdev, which is for a later "
			    "version; an ISO image of it is made by xorriso -as mkisofs");
	} else if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		rc = cannot(path, "neither a regular file nor a block device", e);
	} else if (!head) {
		rc = err_set(e, ERR_HOST, ENOMEM, "out of memory");
	} else {
		n = pread(fd, head, HEAD, 0);
		if (n < 0)
			rc = err_set(e, ERR_INPUT, errno, "%s: %s", path, strerror(errno));
		else if (!n)
			rc = cannot(path, "empty", e);
	}
	if (!rc) {
		*kind = autodetect_kind(head, (size_t)n,
					S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0);
		if (*kind == FILE_UNKNOWN && S_ISBLK(st.st_mode))
			*kind = FILE_DISK;
		if (*kind == FILE_UNKNOWN)
			rc = unknown(path, head, (size_t)n, e);
	}
	free(head);
	if (fd >= 0)
		close(fd);
	return rc;
}

/* --- options ------------------------------------------------------------------------- */

/* The command line that the files stand for. */
struct found {
	struct config *cfg;
	FILE *text;
	bool disks; /* something that a BIOS starts */
	bool iso;
};

static void print_word(FILE *f, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-_./,:=+@%";

	if (*word && word[strspn(word, plain)] == 0) {
		fprintf(f, " %s", word);
		return;
	}
	fputs(" '", f);
	for (; *word; word++)
		fputs(*word == '\'' ? "'\\''" : (const char[]){ *word, 0 }, f);
	fputc('\'', f);
}

static void option(struct found *d, const char *name, const char *arg)
{
	fprintf(d->text, " -%s", name);
	print_word(d->text, arg);
}

/* For what there may be one of. */
static int only(struct found *d, const char **where, const char *name, const char *path,
		struct err *e)
{
	if (*where)
		return err_set(e, ERR_USAGE, EEXIST, "%s: there is a -%s already, %s", path, name,
			       *where);
	*where = path;
	option(d, name, path);
	return 0;
}

static int add_disk(struct found *d, const char *path, struct err *e)
{
	static const char *const names[] = { "hda", "hdb", "hdc", "hdd" };

	d->disks = true;
	for (unsigned i = 0; i < 4; i++) {
		/* The third place is the CD drive's unless there is none. */
		if (d->cfg->hd[i] || (i == 2 && !d->cfg->nodefaults))
			continue;
		d->cfg->hd[i] = path;
		option(d, names[i], path);
		return 0;
	}
	err_set(e, ERR_USAGE, ENOSPC, "%s: no place is left for another disk", path);
	err_hint(e, "beside the CD drive there is room for three; -drive if=virtio,file=FILE adds "
		    "more");
	return -ENOSPC;
}

static int add_file(struct found *d, const char *path, enum file_kind kind, struct err *e)
{
	switch (kind) {
	case FILE_ISO:
		d->iso = true;
		return only(d, &d->cfg->cdrom, "cdrom", path, e);
	case FILE_DISK:
		return add_disk(d, path, e);
	case FILE_KERNEL:
		return only(d, &d->cfg->kernel, "kernel", path, e);
	case FILE_INITRD:
	case FILE_COMPRESSED:
	default:
		return only(d, &d->cfg->initrd, "initrd", path, e);
	}
}

/* A compressed file is the kernel when nothing else is, and else the ramdisk. */
static void settle_compressed(const struct config *cfg, enum file_kind *kind)
{
	bool kernel = cfg->kernel != NULL;

	for (size_t i = 0; i < cfg->files.n; i++)
		kernel = kernel || kind[i] == FILE_KERNEL;
	for (size_t i = 0; i < cfg->files.n; i++) {
		if (kind[i] != FILE_COMPRESSED)
			continue;
		kind[i] = kernel ? FILE_INITRD : FILE_KERNEL;
		kernel = true;
	}
}

/* What a person means who names a CD: start from it; with a disk beside it, only once. */
static int choose_start(struct found *d, struct err *e)
{
	struct config *cfg = d->cfg;
	const char *arg = cfg->hd[0] ? "once=d" : "d";
	int rc;

	if (!d->iso || cfg->kernel || cfg->boot.order || cfg->boot.once)
		return 0;
	rc = bootorder_parse(&cfg->boot, arg, e);
	if (!rc)
		option(d, "boot", arg);
	return rc;
}

static int add_all(struct found *d, enum file_kind *kind, struct err *e)
{
	struct config *cfg = d->cfg;
	int rc = 0;

	for (size_t i = 0; !rc && i < cfg->files.n; i++)
		rc = look_at(cfg->files.s[i], &kind[i], e);
	if (rc)
		return rc;
	settle_compressed(cfg, kind);
	for (size_t i = 0; !rc && i < cfg->files.n; i++)
		rc = add_file(d, cfg->files.s[i], kind[i], e);
	if (!rc && cfg->initrd && !cfg->kernel) {
		err_set(e, ERR_USAGE, EINVAL, "%s is an initial ramdisk, and there is no kernel",
			cfg->initrd);
		err_hint(e, "name the kernel, too: posada KERNEL %s", cfg->initrd);
		rc = -EINVAL;
	}
	if (!rc && (d->disks || d->iso) && !cfg->kernel && !cfg->have_ram) {
		cfg->ram_size = RAM_WITH_BIOS;
		option(d, "m", "512");
	}
	return rc ? rc : choose_start(d, e);
}

int autodetect(struct config *cfg, int argc, char **argv, struct err *e)
{
	enum file_kind *kind;
	struct found d = { .cfg = cfg };
	char *text = NULL;
	size_t len = 0;
	int rc;

	if (!cfg->files.n)
		return 0;
	kind = calloc(cfg->files.n, sizeof(*kind));
	d.text = open_memstream(&text, &len);
	if (!kind || !d.text) {
		rc = err_set(e, ERR_HOST, ENOMEM, "out of memory");
	} else {
		for (int i = 1; i < argc; i++) {
			bool file = false;

			for (size_t k = 0; k < cfg->files.n; k++)
				file = file || cfg->files.s[k] == argv[i];
			if (!file)
				print_word(d.text, argv[i]);
		}
		rc = add_all(&d, kind, e);
	}
	if (d.text && fclose(d.text))
		rc = err_set(e, ERR_HOST, ENOMEM, "out of memory");
	if (!rc)
		log_note("the same as: posada%s", text);
	free(text);
	free(kind);
	return rc;
}
