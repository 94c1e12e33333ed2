/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What files named without an option are, by their contents: `posada debian.iso`, `posada
 * disk.qcow2`, `posada vmlinuz initramfs.gz`. Main thread, before the machine is made.
 */
#ifndef POSADA_AUTODETECT_H
#define POSADA_AUTODETECT_H

#include <stddef.h>
#include <stdint.h>

struct config;
struct err;

enum file_kind {
	FILE_UNKNOWN,
	FILE_ISO, /* ISO 9660: -cdrom */
	FILE_DISK, /* an image format, or a boot sector or GPT: -hda ... */
	FILE_KERNEL, /* bzImage, ELF, Multiboot: -kernel */
	FILE_INITRD, /* a cpio archive: -initrd */
	FILE_COMPRESSED, /* the kernel, or the ramdisk when there is a kernel */
};

/* By the first n bytes of a file of size bytes; 36 KiB show all there is to see. */
enum file_kind autodetect_kind(const uint8_t *p, size_t n, uint64_t size);

/*
 * Turns cfg->files into options of cfg, and says on stderr what the whole command line is then.
 * Options that are given keep their meaning. argv: as main got it, parsed already.
 */
int autodetect(struct config *cfg, int argc, char **argv, struct err *e);

#endif
