/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Direct kernel boot: recognises what -kernel names and hands it to its loader;
 * and the memory map of a machine without firmware. See include/boot.h.
 * Main thread, no vCPU running.
 */
#include "loader.h"

#include <string.h>

#include "gmem.h"

unsigned boot_e820(const struct gmem *mem, struct e820_entry *e)
{
	uint64_t low = gmem_low_size(mem), high = gmem_high_size(mem);
	unsigned n = 0;

	if (low <= BOOT_EBDA_ADDR) {
		e[n++] = (struct e820_entry){ 0, low, E820_RAM };
		return n;
	}
	e[n++] = (struct e820_entry){ 0, BOOT_EBDA_ADDR, E820_RAM };
	e[n++] = (struct e820_entry){ BOOT_EBDA_ADDR, BOOT_KERNEL_MIN - BOOT_EBDA_ADDR,
				      E820_RESERVED };
	if (low > BOOT_KERNEL_MIN)
		e[n++] = (struct e820_entry){ BOOT_KERNEL_MIN, low - BOOT_KERNEL_MIN, E820_RAM };
	if (high)
		e[n++] = (struct e820_entry){ GMEM_HIGH_BASE, high, E820_RAM };
	return n;
}

/* packed: the compression it was unpacked from, or NULL. */
static int refuse(const struct boot *b, const struct boot_image *img, const char *packed,
		  struct err *e)
{
	if (packed)
		kernel_err(b, e, "unpacked from %s, this is %s", packed, describe_image(img).s);
	else
		kernel_err(b, e, "this is %s", describe_image(img).s);
	err_hint(e, "%s", boot_accepted);
	return -EINVAL;
}

/* Loads a kernel that is not compressed. false when it is none; else the outcome is in *ret. */
static bool boot_plain(struct boot *b, const struct boot_image *img, int *ret, struct err *e)
{
	long header = multiboot_find(img);

	if (linux_is_bzimage(img))
		*ret = linux_boot(b, img, e);
	else if (header >= 0)
		*ret = multiboot_boot(b, img, header, e);
	else if (elf_is(img))
		*ret = elf_boot(b, img, e);
	else
		return false;
	return true;
}

static int boot_compressed(struct boot *b, const struct boot_image *img, enum compression c,
			   struct err *e)
{
	struct boot_image plain;
	uint8_t *p;
	int ret;

	ret = decompress(c, img->p, img->len, boot_ram_top(b), &p, &plain.len, e);
	if (ret == -E2BIG) {
		ret = kernel_err(b, e, "the %s file unpacks to more than the guest's %s of memory",
				 compression_name(c), size_text(boot_ram_top(b)).s);
		boot_hint_memory(e, boot_ram_top(b) + 1);
		return ret;
	}
	if (ret) {
		err_prefix(e, "-kernel %s: ", b->rq->kernel);
		return ret;
	}
	plain.p = p;
	if (!boot_plain(b, &plain, &ret, e))
		ret = refuse(b, &plain, compression_name(c), e);
	decompress_free(p, plain.len);
	return ret;
}

int boot_load_image(const struct boot_request *rq, const void *image, size_t len,
		    struct boot_entry *out, struct err *e)
{
	struct boot b = { .rq = rq, .out = out };
	struct boot_image img = { image, len };
	enum compression c;
	int ret;

	*out = (struct boot_entry){ 0 };
	if (boot_ram_top(&b) <= BOOT_KERNEL_MIN || !gmem_ptr(rq->mem, 0, BOOT_KERNEL_MIN)) {
		kernel_err(&b, e, "the guest has %s of memory, too little for any kernel",
			   size_text(rq->mem->ram_size).s);
		boot_hint_memory(e, BOOT_KERNEL_MIN);
		return -EINVAL;
	}
	if (boot_plain(&b, &img, &ret, e))
		return ret;
	c = compression_detect(img.p, img.len);
	if (c != COMPRESS_NONE)
		return boot_compressed(&b, &img, c, e);
	return refuse(&b, &img, NULL, e);
}

int boot_load(const struct boot_request *rq, struct boot_entry *out, struct err *e)
{
	struct boot_image img;
	struct boot_file f;
	int ret;

	ret = boot_file_open(&f, "-kernel", rq->kernel, e);
	if (ret)
		return ret;
	ret = boot_file_map(&f, &img, e);
	boot_file_close(&f);
	if (ret)
		return ret;
	ret = boot_load_image(rq, img.p, img.len, out, e);
	boot_file_unmap(&img);
	return ret;
}
