/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finding firmware and mapping it: a PC's processor starts 16 bytes below 4 GiB, so
 * the image ends there. Its end also shows below 1 MiB until the bridge's
 * PAM registers put RAM there (hw/pci/pam.c). See include/firmware.h.
 */
#include "firmware.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "err.h"
#include "machine.h"
#include "opts.h"

#define PAGE 4096u
enum { BIOS_MAX = 16 << 20, BIOS_UNIT = 64 << 10 };

#define BIOS_DEFAULT "bios-256k.bin"

/* Where Debian, Fedora, Arch and QEMU's own build put them. */
static const char *const places[] = {
	"/usr/share/seabios",    "/usr/share/qemu",      "/usr/share/ovmf", "/usr/share/OVMF",
	"/usr/share/vgabios",    "/usr/lib/ipxe/qemu",   "/usr/share/ipxe", "/usr/lib/ipxe",
	"/usr/local/share/qemu", "/usr/share/edk2/ovmf",
};

/* Debian's package that has a file of that name. */
static const char *package_of(const char *name)
{
	static const struct {
		const char *prefix, *package;
	} owners[] = {
		{ "bios", "seabios" },   { "vgabios", "seabios" },
		{ "OVMF", "ovmf" },      { "pxe-", "ipxe-qemu" },
		{ "efi-", "ipxe-qemu" }, { "linuxboot", "qemu-system-data" },
	};

	for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++)
		if (!strncmp(name, owners[i].prefix, strlen(owners[i].prefix)))
			return owners[i].package;
	return NULL;
}

/* A regular file; *out is malloc'd, NULL when there is none. */
static int try_place(const char *dir, const char *name, char **out)
{
	struct stat st;

	*out = NULL;
	if (asprintf(out, "%s%s%s", dir, *dir ? "/" : "", name) < 0) {
		*out = NULL;
		return -ENOMEM;
	}
	if (!stat(*out, &st) && !S_ISDIR(st.st_mode))
		return 0;
	free(*out);
	*out = NULL;
	return 0;
}

int firmware_find(const struct config *cfg, const char *name, char **path, struct err *e)
{
	const char *package = package_of(name);
	int rc = try_place("", name, path);

	for (size_t i = 0; !rc && !*path && !strchr(name, '/') && i < cfg->firmware_dirs.n; i++)
		rc = try_place(cfg->firmware_dirs.s[i], name, path);
	for (size_t i = 0;
	     !rc && !*path && !strchr(name, '/') && i < sizeof(places) / sizeof(places[0]); i++)
		rc = try_place(places[i], name, path);
	if (rc)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	if (*path)
		return 0;
	err_set(e, ERR_INPUT, ENOENT, "%s: no such firmware file", name);
	if (package)
		err_hint(e, "it is in Debian's package %s (apt install %s); -L names other places",
			 package, package);
	else
		err_hint(e, "-L DIRECTORY names a place to look for it");
	return -ENOENT;
}

int rom_load(struct rom *r, const char *path, size_t max, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
	struct stat st;
	size_t got = 0;

	*r = (struct rom){ 0 };
	if (fd < 0 || fstat(fd, &st) < 0) {
		rc = err_set(e, ERR_INPUT, errno, "%s: %s", path, strerror(errno));
	} else if (S_ISREG(st.st_mode) && st.st_size == 0) {
		rc = err_set(e, ERR_INPUT, EINVAL, "%s is empty", path);
	} else if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > max) {
		rc = err_set(e, ERR_INPUT, EFBIG, "%s is no regular file of at most %zu KiB", path,
			     max >> 10);
	} else {
		r->len = (size_t)st.st_size;
		r->size = (r->len + PAGE - 1) & ~(size_t)(PAGE - 1);
		r->host = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			       -1, 0);
		if (r->host == MAP_FAILED) {
			r->host = NULL;
			rc = err_set(e, ERR_HOST, ENOMEM, "out of memory");
		}
	}
	while (!rc && got < r->len) {
		ssize_t n = read(fd, r->host + got, r->len - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			rc = err_set(e, ERR_INPUT, n ? errno : EIO, "%s: %s", path,
				     n ? strerror(errno) : "it shrank while it was read");
		else
			got += (size_t)n;
	}
	if (fd >= 0)
		close(fd);
	if (rc)
		rom_free(r);
	return rc;
}

void rom_free(struct rom *r)
{
	if (r->host)
		munmap(r->host, r->size);
	*r = (struct rom){ 0 };
}

/* Whether a -drive is a flash; what is wrong with its options is told when it is opened. */
static bool has_flash(const struct config *cfg)
{
	bool found = false;

	for (size_t i = 0; !found && i < cfg->drive.n; i++) {
		struct opts o;
		const char *iface;

		if (opts_parse(&o, cfg->drive.s[i], NULL, NULL))
			continue;
		iface = opts_get(&o, "if");
		found = iface && !strcmp(iface, "pflash");
		opts_free(&o);
	}
	return found;
}

bool firmware_wanted(const struct config *cfg)
{
	return !cfg->kernel || cfg->bios || has_flash(cfg);
}

int firmware_map(struct machine *m, const struct config *cfg, struct err *e)
{
	struct firmware *f = calloc(1, sizeof(*f));
	int rc;

	if (!f)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	m->bios = f;
	f->base = FIRMWARE_TOP;
	if (!cfg->bios && has_flash(cfg))
		return 0;
	rc = firmware_find(cfg, cfg->bios ? cfg->bios : BIOS_DEFAULT, &f->path, e);
	rc = rc ? rc : rom_load(&f->rom, f->path, BIOS_MAX, e);
	if (!rc && f->rom.len % BIOS_UNIT) {
		rc = err_set(e, ERR_INPUT, EINVAL,
			     "%s: its size of %zu bytes is not a multiple of 64 KiB", f->path,
			     f->rom.len);
		err_hint(e, "a PC's firmware is 64 KiB to 16 MiB, such as SeaBIOS's bios-256k.bin");
	}
	if (!rc) {
		f->high = (struct mem_region){ .name = "firmware",
					       .host = f->rom.host,
					       .size = f->rom.size,
					       .readonly = true,
					       .prio = 1 };
		f->base -= f->rom.size;
		rc = memmap_map(&m->map, &f->high, f->base);
		if (rc)
			err_set(e, ERR_HOST, -rc, "KVM refused memory for the firmware: %s",
				strerror(-rc));
	}
	if (rc && cfg->bios)
		err_prefix(e, "-bios %s: ", cfg->bios);
	return rc;
}

void firmware_unmap(struct machine *m)
{
	struct firmware *f = m->bios;

	if (!f)
		return;
	memmap_unmap(&m->map, &f->high);
	rom_free(&f->rom);
	free(f->path);
	free(f);
	m->bios = NULL;
}
