/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A Linux kernel for firmware that starts it: what a boot loader in the guest would have
 * read from a disk, as "The Linux/x86 Boot Protocol" (sections "Memory Layout", "Loading
 * The Rest of The Kernel", "Special Command Line Options") wants it. Main thread, before
 * the guest runs.
 *
 * Real-mode code goes to 64 KiB with its heap and stack up to the command line at 128
 * KiB, the rest of the kernel to 1 MiB, the ramdisk as high as the kernel allows.
 */
#include "loader.h"

#include <stdlib.h>
#include <string.h>

#include "gmem.h"
#include "wire/linux_boot.h"

#define SETUP_ADDR 0x10000u
#define SETUP_MAX 0x8000u /* bytes of real-mode code: it has a segment with heap and stack */
#define HEAP_END 0xfe00u /* below the stack at the end of the segment */
#define VERSION_HIGH_CMDLINE 0x202 /* Linux 2.4: the command line may be anywhere */
#define VERSION_INITRD_MAX 0x203
#define VERSION_CMDLINE_SIZE 0x206
#define VERSION_INIT_SIZE 0x20a
#define VERSION_XLOADFLAGS 0x20c /* Linux 3.8 */
#define OLD_INITRD_MAX 0x37ffffffu
#define OLD_CMDLINE_MAX 255
/* What firmware may keep of the memory below the PCI hole: its own, and the tables. */
#define FIRMWARE_RESERVE (2u << 20)

static int copy_part(struct boot_part *part, const uint8_t *p, size_t len, uint32_t addr,
		     struct err *e)
{
	part->p = malloc(len);
	if (!part->p)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	memcpy(part->p, p, len);
	part->len = len;
	part->addr = addr;
	return 0;
}

static int split(const struct boot *b, const struct boot_image *img, struct boot_parts *out,
		 struct linux_setup_header *hdr, struct err *e)
{
	size_t setup, end;
	int rc;

	if (!linux_is_bzimage(img)) {
		kernel_err(b, e, "firmware starts Linux bzImages only, and this is %s",
			   elf_is(img) ? "an ELF file" : describe_image(img).s);
		err_hint(e, "leave out -bios and flash: then the kernel is started directly");
		return -EINVAL;
	}
	setup = (img->p[LINUX_SETUP_HEADER_OFFSET] ? img->p[LINUX_SETUP_HEADER_OFFSET] + 1u : 5) *
		512;
	end = 0x202 + img->p[0x201];
	if (img->len <= setup)
		return kernel_err(b, e, "the Linux bzImage is cut short: it has only %zu bytes",
				  img->len);
	if (setup > SETUP_MAX)
		return kernel_err(b, e, "its real-mode code of %zu bytes is larger than %u", setup,
				  SETUP_MAX);
	if (end - LINUX_SETUP_HEADER_OFFSET > sizeof(*hdr))
		end = LINUX_SETUP_HEADER_OFFSET + sizeof(*hdr);
	memset(hdr, 0, sizeof(*hdr));
	memcpy(hdr, img->p + LINUX_SETUP_HEADER_OFFSET, end - LINUX_SETUP_HEADER_OFFSET);
	if (le16_to_cpu(hdr->version) < VERSION_HIGH_CMDLINE ||
	    !(hdr->loadflags & LINUX_LOADED_HIGH))
		return kernel_err(b, e, "this is a Linux zImage, or older than Linux 2.4");
	rc = copy_part(&out->setup, img->p, setup, SETUP_ADDR, e);
	return rc ? rc
		  : copy_part(&out->kernel, img->p + setup, img->len - setup, BOOT_KERNEL_MIN, e);
}

static int make_cmdline(const struct boot *b, const struct linux_setup_header *hdr,
			struct boot_part *out, struct err *e)
{
	uint64_t max = le16_to_cpu(hdr->version) < VERSION_CMDLINE_SIZE
			       ? OLD_CMDLINE_MAX
			       : le32_to_cpu(hdr->cmdline_size);
	int rc;

	out->p = malloc(BOOT_CMDLINE_MAX);
	if (!out->p)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	rc = boot_cmdline_text(b, NULL, max, (char *)out->p, e);
	if (rc)
		return rc;
	out->len = strlen((char *)out->p) + 1;
	out->addr = BOOT_CMDLINE_ADDR;
	return 0;
}

/* The end of what the kernel needs where it unpacks itself. */
static uint64_t kernel_end(const struct linux_setup_header *hdr, const struct boot_part *kernel)
{
	uint64_t size = kernel->len, start = BOOT_KERNEL_MIN;

	if (le16_to_cpu(hdr->version) >= VERSION_INIT_SIZE) {
		if (le32_to_cpu(hdr->init_size) > size)
			size = le32_to_cpu(hdr->init_size);
		if (le64_to_cpu(hdr->pref_address) > start)
			start = le64_to_cpu(hdr->pref_address) & UINT32_MAX;
	}
	return start + size;
}

static int load_initrd(const struct boot *b, const struct linux_setup_header *hdr,
		       const struct boot_part *kernel, struct boot_part *out, struct err *e)
{
	uint64_t end = kernel_end(hdr, kernel), top = boot_ram_top(b), limit;
	struct boot_file f = { .fd = -1 };
	int rc;

	top = top > FIRMWARE_RESERVE ? top - FIRMWARE_RESERVE : 0;
	limit = 1ull + (le16_to_cpu(hdr->version) < VERSION_INITRD_MAX
				? OLD_INITRD_MAX
				: le32_to_cpu(hdr->initrd_addr_max));
	if (limit > top)
		limit = top;
	rc = b->rq->initrd ? boot_file_open(&f, "-initrd", b->rq->initrd, e) : 0;
	if (rc)
		return rc;
	if (end > top || (b->rq->initrd && (f.size > limit || limit - f.size < end))) {
		rc = err_set(e, ERR_INPUT, E2BIG,
			     "-kernel %s: kernel and ramdisk need %s of memory, the guest has %s",
			     b->rq->kernel, size_text(end + (b->rq->initrd ? f.size : 0)).s,
			     size_text(b->rq->mem->ram_size).s);
		boot_hint_memory(e, end + (b->rq->initrd ? f.size : 0) + FIRMWARE_RESERVE);
	} else if (b->rq->initrd) {
		out->p = malloc(f.size);
		out->len = f.size;
		out->addr = (uint32_t)((limit - f.size) & ~(BOOT_PAGE - 1));
		rc = out->p ? boot_file_read(&f, out->p, e)
			    : err_set(e, ERR_HOST, ENOMEM, "out of memory");
	}
	boot_file_close(&f);
	return rc;
}

/* What a boot loader writes into the header. */
static void fill_header(struct linux_setup_header *hdr, struct boot_parts *parts)
{
	hdr->type_of_loader = LINUX_LOADER_UNDEFINED;
	hdr->loadflags |= LINUX_CAN_USE_HEAP;
	hdr->heap_end_ptr = cpu_to_le16(HEAP_END - 0x200);
	hdr->cmd_line_ptr = cpu_to_le32(parts->cmdline.addr);
	hdr->ramdisk_image = cpu_to_le32(parts->initrd.addr);
	hdr->ramdisk_size = cpu_to_le32((uint32_t)parts->initrd.len);
	/* Only what lies in the header of the oldest version: up to cmd_line_ptr. */
	memcpy(parts->setup.p + LINUX_SETUP_HEADER_OFFSET, hdr,
	       offsetof(struct linux_setup_header, initrd_addr_max));
}

int boot_parts_load(const struct boot_request *rq, struct boot_parts *out, struct err *e)
{
	struct boot_entry entry = { 0 };
	struct boot b = { .rq = rq, .out = &entry };
	struct linux_setup_header hdr;
	struct boot_image img;
	struct boot_file f;
	int rc = boot_file_open(&f, "-kernel", rq->kernel, e);

	memset(out, 0, sizeof(*out));
	if (rc)
		return rc;
	rc = boot_file_map(&f, &img, e);
	boot_file_close(&f);
	if (rc)
		return rc;
	rc = split(&b, &img, out, &hdr, e);
	boot_file_unmap(&img);
	/* Others may be 32-bit kernels, or no Linux at all: boot loaders come in this form, too. */
	out->kernel64 = !rc && le16_to_cpu(hdr.version) >= VERSION_XLOADFLAGS &&
			le16_to_cpu(hdr.xloadflags) & LINUX_XLF_KERNEL_64;
	entry.is_linux = out->kernel64;
	rc = rc ? rc : make_cmdline(&b, &hdr, &out->cmdline, e);
	rc = rc ? rc : load_initrd(&b, &hdr, &out->kernel, &out->initrd, e);
	if (rc)
		boot_parts_free(out);
	else
		fill_header(&hdr, out);
	return rc;
}

void boot_parts_free(struct boot_parts *parts)
{
	free(parts->setup.p);
	free(parts->kernel.p);
	free(parts->cmdline.p);
	free(parts->initrd.p);
	memset(parts, 0, sizeof(*parts));
}
