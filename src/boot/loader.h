/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the boot loaders share among themselves. Outside src/boot use include/boot.h. */
#ifndef POSADA_BOOT_LOADER_H
#define POSADA_BOOT_LOADER_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boot.h"
#include "err.h"

struct linux_setup_header;

#define BOOT_CLAIMS_MAX 128
#define BOOT_INFO_END 0x7000ull /* from here to BOOT_STACK_TOP is stack */
#define BOOT_PAGE 4096ull

/* A kernel's bytes. */
struct boot_image {
	const uint8_t *p;
	size_t len;
};

/* One boot_load in progress. */
struct boot {
	const struct boot_request *rq;
	struct boot_entry *out;
	/* guest memory taken so far, by segments, modules and the ramdisk */
	struct {
		uint64_t start, end;
	} claim[BOOT_CLAIMS_MAX];
	unsigned n_claims;
};

#define kernel_err(b, e, fmt, ...)                                                                 \
	err_set(e, ERR_INPUT, EINVAL, "-kernel %s: " fmt, (b)->rq->kernel, ##__VA_ARGS__)

/* --- guest memory: memory.c --- */

/* End of RAM below the PCI hole. */
uint64_t boot_ram_top(const struct boot *b);
/*
 * Takes [gpa, gpa+size) for part of the kernel, `what` in messages. Host address, or NULL with e
 * filled when it is not free RAM.
 */
void *boot_claim(struct boot *b, const char *what, uint64_t gpa, uint64_t size, struct err *e);
/* Takes the highest free pages that end at or below `limit`. Host address or NULL; e untouched. */
void *boot_claim_top(struct boot *b, uint64_t size, uint64_t limit, uint64_t *gpa);
/* Takes the pages above all that was taken and above 1 MiB. The same. */
void *boot_claim_above(struct boot *b, uint64_t size, uint64_t *gpa);
/* End of the highest claim, or 0. */
uint64_t boot_claims_end(const struct boot *b);
/* Copies into a claim. */
void boot_copy(const struct boot *b, void *to, const uint8_t *from, size_t len);
/* Makes len bytes of a claim zero. */
void boot_clear(const struct boot *b, void *p, size_t len);
/* The fixed places below 1 MiB (BOOT_*): always there, boot_load has checked. */
void *boot_low(const struct boot *b, uint64_t gpa, size_t len);
/* Sets out->mode, rip and rsp, and writes the GDT, and page tables for BOOT_LONG64. */
void boot_enter(struct boot *b, enum boot_mode mode, uint64_t rip);
/*
 * Writes "[first ][linux_extra ][append]" at BOOT_CMDLINE_ADDR; linux_extra only for is_linux.
 * max: bytes the kernel takes, without the NUL.
 */
int boot_cmdline(const struct boot *b, const char *first, uint64_t max, struct err *e);
/* The same into BOOT_CMDLINE_MAX bytes of the caller's. */
int boot_cmdline_text(const struct boot *b, const char *first, uint64_t max, char *to,
		      struct err *e);
/* "-m" as the way out, with a size in which `need` bytes and a kernel's own needs have room. */
void boot_hint_memory(struct err *e, uint64_t need);

struct size_text {
	char s[32];
};
/* "512 bytes", "96 KiB", "12.5 MiB" */
struct size_text size_text(uint64_t bytes);

/* --- host files: file.c --- */

struct boot_file {
	const char *option, *name;
	int fd;
	size_t size; /* never 0 */
};

int boot_file_open(struct boot_file *f, const char *option, const char *name, struct err *e);
void boot_file_close(struct boot_file *f);
/* The whole file into dst. */
int boot_file_read(const struct boot_file *f, void *dst, struct err *e);
int boot_file_map(const struct boot_file *f, struct boot_image *img, struct err *e);
void boot_file_unmap(struct boot_image *img);
/* The -initrd file as a whole, high in RAM but below `limit`. 0 sizes when there is none. */
int boot_load_initrd(struct boot *b, uint64_t limit, uint64_t *gpa, uint64_t *size, struct err *e);

/* --- what an unusable file looks like: describe.c --- */

struct description {
	char s[160];
};
/* Ends a sentence that begins "this is ". */
struct description describe_image(const struct boot_image *img);
extern const char boot_accepted[];

/* --- ELF: elf.c --- */

#define ELF_SEGMENTS_MAX 64

struct elf_segment {
	uint32_t type; /* PT_LOAD with memory in it, or PT_NOTE */
	uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

/* A checked ELF executable for x86, 32-bit or 64-bit, in one form. */
struct elf {
	struct boot_image img;
	bool is64; /* ELFCLASS64 and EM_X86_64 */
	uint64_t entry;
	unsigned n;
	struct elf_segment seg[ELF_SEGMENTS_MAX]; /* contents within img, addresses do not wrap */
};

bool elf_is(const struct boot_image *img);
int elf_parse(const struct boot *b, const struct boot_image *img, struct elf *elf, struct err *e);
int elf_load(struct boot *b, const struct elf *elf, struct err *e);
/* The entry point as a physical address; an error when it is in no segment. */
int elf_entry(const struct boot *b, const struct elf *elf, uint64_t *rip, struct err *e);
/* A kernel in an ELF file without Multiboot header. */
int elf_boot(struct boot *b, const struct boot_image *img, struct err *e);

/* --- Linux: linux_x86.c --- */

/* The longest command line of x86-64 kernels, for those that come without a setup header. */
#define LINUX_CMDLINE_MAX 2047
#define LINUX_INITRD_LIMIT 0x80000000ull

bool linux_is_bzimage(const struct boot_image *img);
int linux_boot(struct boot *b, const struct boot_image *img, struct err *e);
/*
 * Everything about boot_params: header (of the bzImage; a made-up one for an ELF file), command
 * line, ramdisk, memory map. Then sets the entry: 64-bit mode at rip, RSI = boot_params.
 */
int linux_enter(struct boot *b, const struct linux_setup_header *hdr, uint64_t rip, struct err *e);

/* --- Multiboot 1: multiboot.c --- */

/* Offset of the header in img, or -1. */
long multiboot_find(const struct boot_image *img);
int multiboot_boot(struct boot *b, const struct boot_image *img, long header, struct err *e);

#endif
