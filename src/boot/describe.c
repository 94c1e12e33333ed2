/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a file that is not a kernel looks like, for the message that refuses it.
 * Main thread.
 */
#include "loader.h"

#include <stdio.h>
#include <string.h>

#include "wire/le.h"
#include "wire/multiboot.h"

#define MULTIBOOT2_MAGIC 0xe85250d6u
#define MULTIBOOT2_SEARCH 32768

const char boot_accepted[] =
	"-kernel takes a 64-bit Linux bzImage or vmlinux, a Multiboot kernel, an ELF kernel with a "
	"PVH note or a 64-bit ELF executable, each also compressed";

/* Files known by a few bytes at a fixed place. */
static const struct {
	unsigned at, len;
	const char *bytes;
	const char *text;
} known[] = {
	{ 0, 2, "#!", "a script" },
	{ 0, 4, "QFI\xfb", "a qcow2 disk image" },
	{ 0, 4, "KDMV", "a VMDK disk image" },
	{ 0, 8, "vhdxfile", "a VHDX disk image" },
	{ 0, 8, "conectix", "a VHD disk image" },
	{ 64, 4, "\x7f\x10\xda\xbe", "a VDI disk image" },
	{ 0x8001, 5, "CD001", "an ISO 9660 (CD or DVD) image" },
	{ 0, 5, "07070", "a cpio archive (an initramfs goes to -initrd)" },
	{ 257, 5, "ustar", "a tar archive" },
	{ 0, 4, "PK\3\4", "a zip archive" },
	{ 0, 7, "!<arch>", "an ar archive or Debian package" },
	{ 0, 4, "\xed\xab\xee\xdb", "an RPM package" },
	{ 0, 4, "hsqs", "a squashfs file system image" },
	{ 0x438, 2, "\x53\xef", "an ext2/3/4 file system image" },
	{ 0, 4, "\xd0\x0d\xfe\xed", "a device tree or U-Boot FIT image" },
	{ 0, 4, "\x27\x05\x19\x56", "a U-Boot image" },
	{ 56, 4, "ARM\x64", "a Linux kernel for AArch64" },
	{ 56, 4, "RSC\x05", "a Linux kernel for RISC-V" },
	{ 512, 8, "EFI PART", "a disk image with a GPT" },
};

static bool has(const struct boot_image *img, size_t at, const void *bytes, size_t len)
{
	return img->len >= len && at <= img->len - len && !memcmp(img->p + at, bytes, len);
}

static uint32_t word_at(const struct boot_image *img, size_t at)
{
	struct le32 w;

	memcpy(&w, img->p + at, sizeof(w));
	return le32_to_cpu(w);
}

static bool find_word(const struct boot_image *img, uint32_t word, size_t limit)
{
	for (size_t at = 0; at + 4 <= img->len && at < limit; at += 4) {
		if (word_at(img, at) == word)
			return true;
	}
	return false;
}

static bool is_pe(const struct boot_image *img)
{
	return has(img, 0, "MZ", 2) && img->len >= 64 && has(img, word_at(img, 60), "PE\0\0", 4);
}

static bool is_text(const struct boot_image *img)
{
	size_t n = img->len < 512 ? img->len : 512;

	for (size_t i = 0; i < n; i++) {
		if ((img->p[i] < ' ' && !strchr("\t\n\r\f\033", img->p[i])) || !img->p[i] ||
		    img->p[i] == 0x7f)
			return false;
	}
	return true;
}

static bool is_zero(const struct boot_image *img)
{
	size_t n = img->len < 65536 ? img->len : 65536;

	for (size_t i = 0; i < n; i++) {
		if (img->p[i])
			return false;
	}
	return true;
}

static const char *look(const struct boot_image *img)
{
	for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (has(img, known[i].at, known[i].bytes, known[i].len))
			return known[i].text;
	}
	if (!img->len)
		return "an empty file";
	if (find_word(img, MULTIBOOT_HEADER_MAGIC, MULTIBOOT_SEARCH))
		return "a file with a Multiboot magic number, but its header's checksum is wrong";
	if (find_word(img, MULTIBOOT2_MAGIC, MULTIBOOT2_SEARCH))
		return "a Multiboot 2 kernel";
	if (is_pe(img))
		return "a Windows or EFI program without Linux setup header";
	if (has(img, 0, "MZ", 2))
		return "a DOS program, or a Linux kernel cut short";
	if (has(img, 510, "\x55\xaa", 2))
		return "a boot sector or disk image";
	if (compression_detect(img->p, img->len) != COMPRESS_NONE)
		return "a file compressed twice";
	if (is_zero(img))
		return "a file of zeros";
	if (is_text(img))
		return "a text file";
	return NULL;
}

struct description describe_image(const struct boot_image *img)
{
	const char *text = look(img);
	struct description d;

	if (text) {
		snprintf(d.s, sizeof(d.s), "%s", text);
	} else {
		size_t n = (size_t)snprintf(d.s, sizeof(d.s),
					    "data of no known format, with first bytes");

		for (size_t i = 0; i < 8 && i < img->len; i++)
			n += (size_t)snprintf(d.s + n, sizeof(d.s) - n, " %02x", img->p[i]);
	}
	return d;
}

bool boot_is_kernel(const uint8_t *p, size_t n)
{
	const struct boot_image img = { p, n };

	return linux_is_bzimage(&img) || elf_is(&img) || multiboot_find(&img) >= 0;
}

void boot_describe(const uint8_t *p, size_t n, char *out, size_t room)
{
	const struct boot_image img = { p, n };

	snprintf(out, room, "%s", describe_image(&img).s);
}
