/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Linux bzImages, and entering a kernel by Linux's 64-bit boot protocol: "The
 * Linux/x86 Boot Protocol", sections "The Real-Mode Kernel Header" and "64-bit
 * Boot Protocol", in the kernel's documentation. Main thread, no vCPU running.
 *
 * A bzImage is a decompressor with a compressed vmlinux inside. The
 * decompressor does not run: the vmlinux is unpacked here, put where it was
 * linked to (so relocations need not be applied) and entered at its own
 * startup_64, with what the decompressor would have passed on.
 */
#include "loader.h"

#include <string.h>

#include "gmem.h"
#include "wire/linux_boot.h"

#define VERSION_PAYLOAD 0x208 /* Linux 2.6.26: payload_offset and payload_length */
#define VERSION_XLOADFLAGS 0x20c /* Linux 3.8 */

bool linux_is_bzimage(const struct boot_image *img)
{
	static const uint8_t flag[] = { 0x55, 0xaa };

	return img->len >= 0x206 && !memcmp(img->p + 0x1fe, flag, 2) &&
	       !memcmp(img->p + 0x202, "HdrS", 4);
}

/* Copies the setup header; what an older header does not have is zero. */
static int read_setup_header(const struct boot *b, const struct boot_image *img,
			     struct linux_setup_header *hdr, struct err *e)
{
	size_t end = 0x202 + img->p[0x201];
	size_t len = sizeof(*hdr);
	unsigned version;

	if (end > img->len)
		return kernel_err(b, e, "the Linux bzImage is cut short: it has only %zu bytes",
				  img->len);
	if (end - LINUX_SETUP_HEADER_OFFSET < len)
		len = end - LINUX_SETUP_HEADER_OFFSET;
	memset(hdr, 0, sizeof(*hdr));
	memcpy(hdr, img->p + LINUX_SETUP_HEADER_OFFSET, len);

	version = le16_to_cpu(hdr->version);
	if (!(hdr->loadflags & LINUX_LOADED_HIGH)) {
		kernel_err(b, e, "this is a Linux zImage, a format long out of use");
	} else if (version < VERSION_PAYLOAD) {
		kernel_err(
			b, e,
			"this is a Linux bzImage of boot protocol %u.%02u, older than Linux 2.6.26",
			version >> 8, version & 0xff);
	} else if (version >= VERSION_XLOADFLAGS &&
		   !(le16_to_cpu(hdr->xloadflags) & LINUX_XLF_KERNEL_64)) {
		kernel_err(b, e, "this is a 32-bit Linux kernel (boot protocol %u.%02u)",
			   version >> 8, version & 0xff);
	} else {
		return 0;
	}
	err_hint(e, "%s", boot_accepted);
	return -EINVAL;
}

static int find_payload(const struct boot *b, const struct boot_image *img,
			const struct linux_setup_header *hdr, struct boot_image *payload,
			struct err *e)
{
	uint64_t sects = hdr->setup_sects ? hdr->setup_sects : 4;
	uint64_t start = (sects + 1) * 512 + le32_to_cpu(hdr->payload_offset);
	uint64_t len = le32_to_cpu(hdr->payload_length);

	if (start + len > img->len)
		return kernel_err(b, e,
				  "the Linux bzImage is cut short: its kernel ends at byte %llu, "
				  "the file has %zu",
				  (unsigned long long)(start + len), img->len);
	if (len < 16)
		return kernel_err(b, e, "the Linux bzImage is damaged: its kernel has %llu bytes",
				  (unsigned long long)len);
	payload->p = img->p + start;
	payload->len = len;
	return 0;
}

/*
 * The kernel's build puts the size of what was packed behind it (gzip has it there anyway).
 * It serves only to say how much memory would have been enough.
 */
static uint32_t stated_size(const struct boot_image *payload)
{
	struct le32 size;

	memcpy(&size, payload->p + payload->len - sizeof(size), sizeof(size));
	return le32_to_cpu(size);
}

static int unpack(const struct boot *b, const struct boot_image *payload,
		  struct boot_image *vmlinux, struct err *e)
{
	enum compression c = compression_detect(payload->p, payload->len);
	uint64_t max = boot_ram_top(b);
	uint8_t *p;
	int ret;

	if (c == COMPRESS_NONE)
		return kernel_err(b, e,
				  "the Linux bzImage is damaged: its kernel begins with bytes %02x "
				  "%02x %02x %02x, of no known compression",
				  payload->p[0], payload->p[1], payload->p[2], payload->p[3]);
	ret = decompress(c, payload->p, payload->len, max, &p, &vmlinux->len, e);
	if (ret == -E2BIG) {
		uint64_t need = stated_size(payload);

		if (need < max)
			need = max;
		ret = kernel_err(b, e, "kernel needs more than %s, the guest has %s",
				 size_text(need).s, size_text(b->rq->mem->ram_size).s);
		boot_hint_memory(e, need + 1);
	} else if (ret) {
		err_prefix(e, "-kernel %s: the kernel in the Linux bzImage is unusable: ",
			   b->rq->kernel);
	}
	vmlinux->p = p;
	return ret;
}

static int boot_vmlinux(struct boot *b, const struct boot_image *vmlinux,
			const struct linux_setup_header *hdr, struct err *e)
{
	struct elf elf;
	uint64_t rip;
	int ret;

	if (!elf_is(vmlinux))
		return kernel_err(b, e, "the Linux bzImage does not have an ELF file inside");
	ret = elf_parse(b, vmlinux, &elf, e);
	if (ret)
		return ret;
	if (!elf.is64) {
		kernel_err(b, e, "this is a 32-bit Linux kernel");
		err_hint(e, "%s", boot_accepted);
		return -EINVAL;
	}
	ret = elf_load(b, &elf, e);
	if (!ret)
		ret = elf_entry(b, &elf, &rip, e);
	if (ret)
		return ret;
	return linux_enter(b, hdr, rip, e);
}

int linux_boot(struct boot *b, const struct boot_image *img, struct err *e)
{
	struct boot_image payload, vmlinux;
	struct linux_setup_header hdr;
	int ret;

	b->out->format = "Linux bzImage";
	b->out->is_linux = true;
	ret = read_setup_header(b, img, &hdr, e);
	if (!ret)
		ret = find_payload(b, img, &hdr, &payload, e);
	if (ret)
		return ret;
	if (elf_is(&payload))
		return boot_vmlinux(b, &payload, &hdr, e);
	ret = unpack(b, &payload, &vmlinux, e);
	if (ret)
		return ret;
	ret = boot_vmlinux(b, &vmlinux, &hdr, e);
	decompress_free((uint8_t *)vmlinux.p, vmlinux.len);
	return ret;
}

/* A header for a kernel that has none, with the values every 64-bit kernel gives. */
static struct linux_setup_header default_header(void)
{
	return (struct linux_setup_header){
		.boot_flag = cpu_to_le16(LINUX_BOOT_FLAG),
		.header = cpu_to_le32(LINUX_HDRS_MAGIC),
		.version = cpu_to_le16(0x20f),
		.loadflags = LINUX_LOADED_HIGH,
		.initrd_addr_max = cpu_to_le32(LINUX_INITRD_LIMIT - 1),
		.xloadflags = cpu_to_le16(LINUX_XLF_KERNEL_64),
		.cmdline_size = cpu_to_le32(LINUX_CMDLINE_MAX),
	};
}

/* "The Linux/x86 Boot Protocol", struct setup_data. Returns its address, 0 without a tree. */
static int put_dtb(struct boot *b, uint64_t *addr, struct err *e)
{
	const struct boot_request *rq = b->rq;
	const struct linux_setup_data head = {
		.type = cpu_to_le32(LINUX_SETUP_DTB),
		.len = cpu_to_le32((uint32_t)rq->dtb_len),
	};
	uint8_t *to;

	*addr = 0;
	if (!rq->dtb)
		return 0;
	if (sizeof(head) + rq->dtb_len > BOOT_DTB_MAX)
		return err_set(e, ERR_USAGE, E2BIG,
			       "the machine's device tree has %zu bytes, more than %llu",
			       rq->dtb_len, (unsigned long long)BOOT_DTB_MAX);
	to = boot_low(b, BOOT_DTB_ADDR, sizeof(head) + rq->dtb_len);
	memcpy(to, &head, sizeof(head));
	memcpy(to + sizeof(head), rq->dtb, rq->dtb_len);
	*addr = BOOT_DTB_ADDR;
	return 0;
}

int linux_enter(struct boot *b, const struct linux_setup_header *hdr, uint64_t rip, struct err *e)
{
	const struct boot_request *rq = b->rq;
	struct linux_boot_params bp = { .hdr = hdr ? *hdr : default_header() };
	uint64_t initrd, initrd_size, cmdline_max, dtb;
	int ret;

	/* Only Linux has this limit; what else may be started this way can use all there is. */
	cmdline_max = b->out->is_linux ? le32_to_cpu(bp.hdr.cmdline_size) : BOOT_CMDLINE_MAX - 1;
	ret = boot_cmdline(b, NULL, cmdline_max, e);
	if (ret)
		return ret;
	ret = boot_load_initrd(b, (uint64_t)le32_to_cpu(bp.hdr.initrd_addr_max) + 1, &initrd,
			       &initrd_size, e);
	if (!ret)
		ret = put_dtb(b, &dtb, e);
	if (ret)
		return ret;

	bp.hdr.type_of_loader = LINUX_LOADER_UNDEFINED;
	bp.hdr.cmd_line_ptr = cpu_to_le32(BOOT_CMDLINE_ADDR);
	bp.hdr.ramdisk_image = cpu_to_le32((uint32_t)initrd);
	bp.hdr.ramdisk_size = cpu_to_le32((uint32_t)initrd_size);
	bp.hdr.setup_data = cpu_to_le64(dtb);
	bp.acpi_rsdp_addr = cpu_to_le64(rq->rsdp);
	bp.e820_entries = (uint8_t)rq->n_e820;
	for (unsigned i = 0; i < rq->n_e820; i++) {
		bp.e820_table[i].addr = cpu_to_le64(rq->e820[i].addr);
		bp.e820_table[i].size = cpu_to_le64(rq->e820[i].size);
		bp.e820_table[i].type = cpu_to_le32(rq->e820[i].type);
	}
	memcpy(boot_low(b, BOOT_INFO_ADDR, sizeof(bp)), &bp, sizeof(bp));
	boot_enter(b, BOOT_LONG64, rip);
	b->out->rsi = BOOT_INFO_ADDR;
	return 0;
}
