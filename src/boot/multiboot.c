/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Multiboot 1 kernels: Multiboot Specification 0.6.96, 3.1 (header), 3.2
 * (machine state) and 3.3 (boot information). Main thread, no vCPU running.
 *
 * 64-bit ELF files are taken too, as GRUB does: the kernel is entered in 32-bit
 * mode all the same. The command line begins with the kernel's file name, and
 * each module's string with the module's, as kernels know it from GRUB and QEMU.
 */
#include "loader.h"

#include <stdlib.h>
#include <string.h>

#include "gmem.h"
#include "wire/multiboot.h"

/* What this loader can give of what a header may demand in bits 0 to 15. */
#define CAN_GIVE (MULTIBOOT_PAGE_ALIGN | MULTIBOOT_MEMORY_INFO | MULTIBOOT_VIDEO_MODE)
#define MODULES_MAX 64

long multiboot_find(const struct boot_image *img)
{
	size_t end = img->len < MULTIBOOT_SEARCH ? img->len : MULTIBOOT_SEARCH;
	struct le32 w[3];

	for (size_t at = 0; at + sizeof(w) <= end; at += 4) {
		memcpy(w, img->p + at, sizeof(w));
		if (le32_to_cpu(w[0]) == MULTIBOOT_HEADER_MAGIC &&
		    le32_to_cpu(w[0]) + le32_to_cpu(w[1]) + le32_to_cpu(w[2]) == 0)
			return (long)at;
	}
	return -1;
}

static int load_by_addresses(struct boot *b, const struct boot_image *img, size_t at,
			     const struct multiboot_header *h, struct err *e)
{
	uint32_t header_addr = le32_to_cpu(h->header_addr), load = le32_to_cpu(h->load_addr);
	uint32_t load_end = le32_to_cpu(h->load_end_addr), bss_end = le32_to_cpu(h->bss_end_addr);
	uint64_t start, len, memsz;
	uint8_t *to;

	if (load > header_addr || header_addr - load > at)
		return kernel_err(b, e,
				  "the Multiboot header at byte %zu is wrong: header_addr 0x%x, "
				  "load_addr 0x%x",
				  at, header_addr, load);
	start = at - (header_addr - load);
	len = load_end ? (uint64_t)load_end - load : img->len - start;
	if (load_end && (load_end <= load || len > img->len - start))
		return kernel_err(b, e,
				  "the Multiboot header is wrong, or the file cut short: load_addr "
				  "0x%x, load_end_addr 0x%x, %llu bytes in the file",
				  load, load_end, (unsigned long long)(img->len - start));
	if (bss_end && bss_end < load + len)
		return kernel_err(b, e,
				  "the Multiboot header is wrong: bss_end_addr 0x%x is below the "
				  "loaded end 0x%llx",
				  bss_end, (unsigned long long)(load + len));
	memsz = bss_end ? (uint64_t)bss_end - load : len;
	to = boot_claim(b, "the Multiboot kernel", load, memsz, e);
	if (!to)
		return -EINVAL;
	boot_copy(b, to, img->p + start, len);
	boot_clear(b, to + len, memsz - len);
	return 0;
}

static int load_kernel(struct boot *b, const struct boot_image *img, size_t at, uint64_t *rip,
		       struct err *e)
{
	struct multiboot_header h = { 0 };
	bool addresses;
	struct elf elf;
	uint32_t flags;
	int ret;

	memcpy(&h, img->p + at, img->len - at < sizeof(h) ? img->len - at : sizeof(h));
	flags = le32_to_cpu(h.flags);
	if (flags & MULTIBOOT_DEMANDS & ~CAN_GIVE)
		return kernel_err(
			b, e, "the Multiboot header demands features that do not exist: flags 0x%x",
			flags);
	addresses = flags & MULTIBOOT_ADDRESSES;
	if (addresses && img->len - at < sizeof(h))
		return kernel_err(b, e, "the Multiboot header at byte %zu is cut short", at);
	if (addresses) {
		*rip = le32_to_cpu(h.entry_addr);
		ret = load_by_addresses(b, img, at, &h, e);
		if (!ret && (*rip < b->claim[0].start || *rip >= b->claim[0].end))
			ret = kernel_err(b, e,
					 "the Multiboot header is wrong: entry_addr 0x%x is "
					 "outside the kernel",
					 le32_to_cpu(h.entry_addr));
		return ret;
	}
	if (!elf_is(img)) {
		kernel_err(
			b, e,
			"the Multiboot kernel is neither ELF nor has address fields in its header");
		err_hint(e, "set bit 16 of the header's flags and fill the address fields");
		return -EINVAL;
	}
	ret = elf_parse(b, img, &elf, e);
	if (!ret)
		ret = elf_load(b, &elf, e);
	if (!ret)
		ret = elf_entry(b, &elf, rip, e);
	return ret;
}

/* Fills the space from BOOT_INFO_ADDR to BOOT_INFO_END from the bottom. */
struct info_space {
	const struct boot *b;
	uint64_t next;
};

/* A copy of p in guest memory; its address, or 0 when the space is full. */
static uint32_t info_add(struct info_space *s, const void *p, size_t len)
{
	uint64_t at = (s->next + 3) & ~3ull;

	if (len > BOOT_INFO_END - at)
		return 0;
	memcpy(boot_low(s->b, at, len), p, len);
	s->next = at + len;
	return (uint32_t)at;
}

struct modules {
	struct multiboot_module m[MODULES_MAX];
	unsigned n;
};

/* One module, from "FILE ARGS", which is also the string that the kernel gets. */
static int load_module(struct boot *b, const char *text, struct info_space *info,
		       struct modules *mods, struct err *e)
{
	size_t name_len = strcspn(text, " ");
	struct boot_file f;
	uint64_t gpa;
	char *name;
	void *to;
	int ret;

	if (!name_len) {
		err_set(e, ERR_USAGE, EINVAL, "-initrd %s: a Multiboot module has no file name",
			b->rq->initrd);
		err_hint(e,
			 "write -initrd \"FILE ARGS,FILE ARGS\"; a comma in a name is written ,,");
		return -EINVAL;
	}
	if (mods->n == MODULES_MAX)
		return err_set(e, ERR_USAGE, E2BIG, "-initrd: more than %d Multiboot modules",
			       MODULES_MAX);
	name = strndup(text, name_len);
	if (!name)
		return err_set(e, ERR_HOST, ENOMEM, "-initrd %s: out of memory", text);
	ret = boot_file_open(&f, "-initrd", name, e);
	if (ret)
		goto out_name;
	to = boot_claim_above(b, f.size, &gpa);
	if (!to) {
		ret = err_set(e, ERR_INPUT, E2BIG,
			      "-initrd %s: its %s do not fit into the guest's %s above kernel and "
			      "modules, which end at %s",
			      name, size_text(f.size).s, size_text(b->rq->mem->ram_size).s,
			      size_text(boot_claims_end(b)).s);
		boot_hint_memory(e, boot_claims_end(b) + f.size);
		goto out_file;
	}
	ret = boot_file_read(&f, to, e);
	if (ret)
		goto out_file;
	mods->m[mods->n] = (struct multiboot_module){
		.start = cpu_to_le32((uint32_t)gpa),
		.end = cpu_to_le32((uint32_t)(gpa + f.size)),
		.string = cpu_to_le32(info_add(info, text, strlen(text) + 1)),
	};
	if (!le32_to_cpu(mods->m[mods->n].string))
		ret = err_set(
			e, ERR_USAGE, E2BIG,
			"-initrd: the Multiboot modules' arguments are longer than %llu bytes",
			BOOT_INFO_END - BOOT_INFO_ADDR);
	mods->n++;
out_file:
	boot_file_close(&f);
out_name:
	free(name);
	return ret;
}

/* Splits -initrd at commas; two commas stand for one within a name or its arguments. */
static int load_modules(struct boot *b, struct info_space *info, struct modules *mods,
			struct err *e)
{
	const char *from = b->rq->initrd;
	char *text, *to;
	int ret = 0;

	if (!from)
		return 0;
	text = malloc(strlen(from) + 1);
	if (!text)
		return err_set(e, ERR_HOST, ENOMEM, "-initrd: out of memory");
	do {
		to = text;
		while (*from && (*from != ',' || from[1] == ',')) {
			from += *from == ',';
			*to++ = *from++;
		}
		*to = '\0';
		ret = load_module(b, text, info, mods, e);
	} while (!ret && *from++);
	free(text);
	return ret;
}

static uint64_t low_ram_end(const struct boot *b)
{
	return b->rq->n_e820 && b->rq->e820[0].type == E820_RAM && !b->rq->e820[0].addr
		       ? b->rq->e820[0].size
		       : 0;
}

int multiboot_boot(struct boot *b, const struct boot_image *img, long header, struct err *e)
{
	const struct boot_request *rq = b->rq;
	struct info_space info = { b, BOOT_INFO_ADDR + sizeof(struct multiboot_info) };
	struct multiboot_mmap_entry mmap[E820_MAX] = { 0 };
	struct multiboot_info mbi = { 0 };
	struct modules mods = { .n = 0 };
	uint64_t rip;
	int ret;

	b->out->format = "Multiboot kernel";
	ret = load_kernel(b, img, (size_t)header, &rip, e);
	if (ret)
		return ret;
	ret = boot_cmdline(b, rq->kernel, BOOT_CMDLINE_MAX - 1, e);
	if (ret)
		return ret;

	for (unsigned i = 0; i < rq->n_e820; i++) {
		mmap[i].size = cpu_to_le32(sizeof(mmap[i]) - sizeof(mmap[i].size));
		mmap[i].addr = cpu_to_le64(rq->e820[i].addr);
		mmap[i].len = cpu_to_le64(rq->e820[i].size);
		mmap[i].type = cpu_to_le32(rq->e820[i].type);
	}
	mbi.mmap_addr = cpu_to_le32(info_add(&info, mmap, rq->n_e820 * sizeof(mmap[0])));
	mbi.mmap_length = cpu_to_le32(rq->n_e820 * (uint32_t)sizeof(mmap[0]));
	mbi.boot_loader_name = cpu_to_le32(info_add(&info, "Posada", sizeof("Posada")));
	mbi.cmdline = cpu_to_le32(BOOT_CMDLINE_ADDR);
	mbi.mem_lower = cpu_to_le32((uint32_t)(low_ram_end(b) / 1024));
	mbi.mem_upper = cpu_to_le32((uint32_t)((boot_ram_top(b) - BOOT_KERNEL_MIN) / 1024));
	mbi.flags =
		cpu_to_le32(MULTIBOOT_INFO_MEMORY | MULTIBOOT_INFO_CMDLINE | MULTIBOOT_INFO_MODS |
			    MULTIBOOT_INFO_MMAP | MULTIBOOT_INFO_LOADER_NAME);

	ret = load_modules(b, &info, &mods, e);
	if (ret)
		return ret;
	mbi.mods_count = cpu_to_le32(mods.n);
	mbi.mods_addr = cpu_to_le32(info_add(&info, mods.m, mods.n * sizeof(mods.m[0])));
	if (!le32_to_cpu(mbi.mods_addr))
		return err_set(
			e, ERR_USAGE, E2BIG,
			"-initrd: %u Multiboot modules with such long arguments are too many",
			mods.n);
	memcpy(boot_low(b, BOOT_INFO_ADDR, sizeof(mbi)), &mbi, sizeof(mbi));
	boot_enter(b, BOOT_PROT32, rip);
	b->out->rax = MULTIBOOT_BOOT_MAGIC;
	b->out->rbx = BOOT_INFO_ADDR;
	return 0;
}
