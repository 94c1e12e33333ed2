/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Direct kernel boot: puts a kernel, its command line and its initial ramdisk
 * or modules into guest memory and says how the first vCPU must start.
 *
 * Called on the main thread before any vCPU runs, and again at each reset.
 * Knows nothing of KVM: it writes through struct gmem and returns a boot_entry.
 *
 * Formats, recognised by content in this order:
 *   Linux bzImage       its compressed vmlinux is unpacked here, on the host, and entered at
 *                       its startup_64 by the 64-bit boot protocol (RSI = boot_params)
 *   Multiboot 1         header in the first 8 KiB; ELF, or the header's address fields
 *   ELF with PVH note   entered in 32-bit mode, EBX = hvm_start_info
 *   ELF, 64-bit         entered at e_entry in 64-bit mode with RSI = boot_params, which has the
 *                       memory map, the command line, the ramdisk and the RSDP's address
 *   any of these, compressed as a whole
 *
 * Memory: only what the kernel's file fills is written. The rest of its segments (bss) must read
 * as zeros: RAM that was never written has them, so boot_load clears bss only when
 * boot_request.ram_is_zero is false. A reset sets it to false, unless RAM was emptied first.
 */
#ifndef POSADA_BOOT_H
#define POSADA_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct gmem;

/* Where things lie below 1 MiB; everything is usable RAM in the e820 map unless said. */
#define BOOT_GDT_ADDR 0x500ull /* 4 descriptors and padding */
#define BOOT_INFO_ADDR 0x1000ull /* boot_params, hvm_start_info or multiboot_info */
#define BOOT_STACK_TOP 0x8000ull
#define BOOT_PAGE_TABLES 0x9000ull /* 6 pages: identity map of the first 4 GiB by 2 MiB pages */
#define BOOT_CMDLINE_ADDR 0x20000ull /* up to BOOT_CMDLINE_MAX bytes with the NUL */
#define BOOT_CMDLINE_MAX 0x10000ull
#define BOOT_DTB_ADDR 0x30000ull /* setup_data with the device tree, up to BOOT_DTB_MAX */
#define BOOT_DTB_MAX 0x40000ull
#define BOOT_EBDA_ADDR 0x9fc00ull /* reserved in e820 from here to 1 MiB */
#define BOOT_ACPI_ADDR 0xe0000ull /* RSDP first, then the tables, up to 0x100000 */
#define BOOT_KERNEL_MIN 0x100000ull

enum e820_type { E820_RAM = 1, E820_RESERVED = 2, E820_ACPI = 3, E820_NVS = 4 };

struct e820_entry {
	uint64_t addr, size;
	uint32_t type;
};

#define E820_MAX 16

struct boot_request {
	const char *kernel; /* file name; never NULL */
	const char *initrd; /* file name or NULL; for Multiboot: "FILE ARGS,FILE ARGS" */
	const char *append; /* or NULL */
	const char *linux_extra; /* parameters added for a Linux kernel only, or NULL */
	struct gmem *mem;
	bool ram_is_zero; /* no byte of RAM was ever written, apart from ACPI tables: see above */
	const void *dtb; /* flattened device tree, or NULL */
	size_t dtb_len;
	uint64_t rsdp; /* guest address of the ACPI RSDP, 0 for none */
	struct e820_entry e820[E820_MAX]; /* ascending; kernels are put into RAM entries only */
	unsigned n_e820;
};

enum boot_mode {
	BOOT_PROT32, /* flat 32-bit protected mode, paging off (PVH, Multiboot) */
	BOOT_LONG64, /* 64-bit mode, identity-mapped (Linux 64-bit boot protocol, ELF entry) */
};

/* How the first vCPU starts. Selectors: CS 0x10, DS/ES/SS 0x18 of the GDT at BOOT_GDT_ADDR. */
struct boot_entry {
	enum boot_mode mode;
	uint64_t rip, rsp, rax, rbx, rsi;
	uint64_t cr3; /* BOOT_LONG64 */
	bool is_linux;
	const char *format; /* "Linux bzImage", "ELF with PVH note" ...; static */
};

/* The e820 map of a machine with mem and no firmware. Returns the number of entries. */
unsigned boot_e820(const struct gmem *mem, struct e820_entry *e);

/*
 * Errors: ERR_INPUT for a file that is missing, not a kernel, damaged or does not fit,
 * ERR_USAGE for a command line that is too long, ERR_HOST when the host refused memory.
 */
int boot_load(const struct boot_request *rq, struct boot_entry *out, struct err *e);

/* The same for a kernel that is in host memory; rq->kernel is its name in messages. */
int boot_load_image(const struct boot_request *rq, const void *image, size_t len,
		    struct boot_entry *out, struct err *e);

/* --- for firmware that starts the kernel itself (src/boot/parts.c) --- */

/*
 * A Linux bzImage cut into the two parts that loaders know, its setup header filled in, with
 * the command line, the ramdisk and places for all of them ("The Linux/x86 Boot Protocol").
 * Zero: not there. The pointers are boot_parts_free's.
 */
struct boot_parts {
	struct boot_part {
		uint8_t *p;
		size_t len;
		uint32_t addr;
	} setup, kernel, cmdline, initrd; /* cmdline with its NUL */
	bool kernel64; /* a 64-bit one: its command line has linux_extra */
};

/* rq: kernel, initrd, append, linux_extra, mem and its e820 count. Errors as boot_load's. */
int boot_parts_load(const struct boot_request *rq, struct boot_parts *out, struct err *e);
void boot_parts_free(struct boot_parts *parts);

/* Whether what begins with these bytes is a kernel, not compressed: its first 8 KiB are enough. */
bool boot_is_kernel(const uint8_t *p, size_t n);
/* What it looks like when it is none, as in "a text file"; 160 bytes hold all there is to say. */
void boot_describe(const uint8_t *p, size_t n, char *out, size_t room);

/* --- decompression on the host (src/boot/decompress.c) --- */

enum compression {
	COMPRESS_NONE,
	COMPRESS_GZIP,
	COMPRESS_BZIP2,
	COMPRESS_LZMA,
	COMPRESS_XZ,
	COMPRESS_LZ4, /* the legacy frame that Linux uses, and the standard one */
	COMPRESS_ZSTD,
	COMPRESS_LZO, /* recognised only to be named in the error */
};

enum compression compression_detect(const uint8_t *p, size_t len);
const char *compression_name(enum compression c);
/*
 * Decompresses in[0..in_len) to *out (free by decompress_free). What follows the compressed
 * stream is ignored. Address space for max bytes (at most 3 GiB) is reserved, so that output needs
 * no copying; memory is taken only for what comes out. -E2BIG: more than max came out. -EINVAL:
 * damaged or cut short. -ENOMEM. The message names the compression, not the file.
 */
int decompress(enum compression c, const uint8_t *in, size_t in_len, size_t max, uint8_t **out,
	       size_t *out_len, struct err *e);
void decompress_free(uint8_t *p, size_t len);

#endif
