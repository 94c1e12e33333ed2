/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A Linux kernel for firmware that starts it: its parts, and the items of fw_cfg they become. */
#include "fake_machine.h"

#include <stdio.h>

#include "boot.h"
#include "config.h"
#include "firmware.h"
#include "fw_cfg_guest.h"
#include "wire/linux_boot.h"
#include "../../hw/firmware/pc_firmware.h"

enum { SECTS = 3, SETUP_LEN = (SECTS + 1) * 512, KERNEL_LEN = 70000, INITRD_LEN = 12345 };

static char dir[] = "/tmp/posada-parts.XXXXXX";
static char kernel[64], initrd[64], rom[64];
static uint8_t image[SETUP_LEN + KERNEL_LEN], ramdisk[INITRD_LEN];
static struct linux_setup_header *hdr = (void *)(image + LINUX_SETUP_HEADER_OFFSET);
static struct err err;
static struct firmware bios;
static struct config cfg;

static void put(const char *path, const void *p, size_t len)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(p, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
}

static void write_kernel(void)
{
	put(kernel, image, sizeof(image));
}

/* A kernel of protocol 2.15; RAM of 64 MiB; firmware that is a BIOS; an option ROM in a directory.
 */
static void setup(void)
{
	fake_setup_ram(64 << 20);
	fake_add(&fw_cfg_class, "");
	strcpy(dir + sizeof(dir) - 7, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(kernel, sizeof(kernel), "%s/bzImage", dir);
	snprintf(initrd, sizeof(initrd), "%s/initrd", dir);
	snprintf(rom, sizeof(rom), "%s/linuxboot_dma.bin", dir);
	for (size_t i = 0; i < sizeof(image); i++)
		image[i] = (uint8_t)(i * 7 + i / 512);
	memset(hdr, 0, sizeof(*hdr));
	hdr->setup_sects = SECTS;
	hdr->boot_flag = cpu_to_le16(LINUX_BOOT_FLAG);
	hdr->jump[0] = 0xeb;
	hdr->jump[1] = 0x6a;
	hdr->header = cpu_to_le32(LINUX_HDRS_MAGIC);
	hdr->version = cpu_to_le16(0x20f);
	hdr->loadflags = LINUX_LOADED_HIGH;
	hdr->initrd_addr_max = cpu_to_le32(0x7fffffff);
	hdr->cmdline_size = cpu_to_le32(2047);
	hdr->xloadflags = cpu_to_le16(LINUX_XLF_KERNEL_64);
	hdr->pref_address = cpu_to_le64(16 << 20);
	hdr->init_size = cpu_to_le32(8 << 20);
	for (size_t i = 0; i < sizeof(ramdisk); i++)
		ramdisk[i] = (uint8_t)(i * 13);
	write_kernel();
	put(initrd, ramdisk, sizeof(ramdisk));
	put(rom, "\x55\xaa\1rom", 6);
	bios = (struct firmware){ .path = (char *)"bios", .rom.len = 256 << 10 };
	cfg = (struct config){
		.kernel = kernel, .initrd = initrd, .append = "console=ttyS0", .bios = "bios"
	};
	/* By its directory: the host may have such a file of its own. */
	cfg.firmware_dirs.s = malloc(sizeof(char *));
	cfg.firmware_dirs.s[0] = dir;
	cfg.firmware_dirs.n = 1;
	fake.m.bios = &bios;
	fake.m.linux_words = NULL;
}

static void teardown(void)
{
	unlink(kernel);
	unlink(initrd);
	unlink(rom);
	rmdir(dir);
	free(cfg.firmware_dirs.s);
	fake.m.bios = NULL;
	fake_teardown();
}

static void tell(void)
{
	ck_assert_msg(!pc_firmware_kernel(&fake.m, &cfg, &err), "%s", err.msg);
}

static void ck_refused(const char *words)
{
	memset(&err, 0, sizeof(err));
	ck_assert_int_lt(pc_firmware_kernel(&fake.m, &cfg, &err), 0);
	ck_assert_msg(strstr(err.msg, words), "%s", err.msg);
}

static uint32_t item32(uint16_t key)
{
	uint8_t b[4];

	fw_select(key);
	fw_bytes(b, 4);
	ck_assert_uint_eq(inb(0x511), 0);
	return b[0] | b[1] << 8 | b[2] << 16 | (uint32_t)b[3] << 24;
}

static void ck_item(uint16_t key, const void *expected, size_t len)
{
	uint8_t *got = malloc(len + 1);

	fw_select(key);
	fw_bytes(got, len + 1);
	ck_assert_mem_eq(got, expected, len);
	ck_assert_uint_eq(got[len], 0);
	free(got);
}

START_TEST(items)
{
	uint8_t setup_data[SETUP_LEN], data[8];
	struct linux_setup_header got;
	const size_t kept = offsetof(struct linux_setup_header, initrd_addr_max);
	const size_t after = LINUX_SETUP_HEADER_OFFSET + kept;

	tell();
	ck_assert_uint_eq(item32(FW_CFG_SETUP_ADDR), 0x10000);
	ck_assert_uint_eq(item32(FW_CFG_SETUP_SIZE), SETUP_LEN);
	ck_assert_uint_eq(item32(FW_CFG_KERNEL_ADDR), 0x100000);
	ck_assert_uint_eq(item32(FW_CFG_KERNEL_SIZE), KERNEL_LEN);
	ck_item(FW_CFG_KERNEL_DATA, image + SETUP_LEN, KERNEL_LEN);
	ck_assert_uint_eq(item32(FW_CFG_CMDLINE_ADDR), 0x20000);
	ck_assert_uint_eq(item32(FW_CFG_CMDLINE_SIZE), strlen("console=ttyS0") + 1);
	ck_item(FW_CFG_CMDLINE_DATA, "console=ttyS0", strlen("console=ttyS0") + 1);
	ck_assert_uint_eq(item32(FW_CFG_INITRD_SIZE), INITRD_LEN);
	ck_item(FW_CFG_INITRD_DATA, ramdisk, INITRD_LEN);
	/* Page-aligned, below what firmware keeps, above what the kernel unpacks itself to. */
	ck_assert_uint_eq(item32(FW_CFG_INITRD_ADDR), (62 << 20) - 0x4000);
	fw_select(FW_CFG_SETUP_DATA);
	fw_bytes(setup_data, sizeof(setup_data));
	memcpy(&got, setup_data + LINUX_SETUP_HEADER_OFFSET, sizeof(got));
	ck_assert_uint_eq(got.type_of_loader, 0xff);
	ck_assert_uint_eq(got.loadflags, 0x81);
	ck_assert_uint_eq(le16_to_cpu(got.heap_end_ptr), 0xfc00);
	ck_assert_uint_eq(le32_to_cpu(got.cmd_line_ptr), 0x20000);
	ck_assert_uint_eq(le32_to_cpu(got.ramdisk_image), (62 << 20) - 0x4000);
	ck_assert_uint_eq(le32_to_cpu(got.ramdisk_size), INITRD_LEN);
	/* The rest is as it was. */
	ck_assert_uint_eq(le16_to_cpu(got.version), 0x20f);
	ck_assert_mem_eq(setup_data, image, LINUX_SETUP_HEADER_OFFSET);
	ck_assert_mem_eq(setup_data + after, image + after, SETUP_LEN - after);
	/* And who loads it all. */
	ck_assert_uint_eq(fw_file("genroms/linuxboot_dma.bin", data, sizeof(data)), 6);
	ck_assert_mem_eq(data, "\x55\xaa\1rom", 6);
	ck_assert_str_eq(fake.m.boot_rom, "genroms/linuxboot_dma.bin");
}
END_TEST

START_TEST(kernel_alone)
{
	const char *words = "clearcpuid=1 a";

	cfg.initrd = NULL;
	cfg.append = "a";
	fake.m.linux_words = "clearcpuid=1";
	hdr->setup_sects = 0; /* which means 4 */
	write_kernel();
	tell();
	ck_assert_uint_eq(item32(FW_CFG_INITRD_SIZE), 0);
	ck_assert_uint_eq(item32(FW_CFG_INITRD_ADDR), 0);
	ck_item(FW_CFG_INITRD_DATA, "", 0);
	ck_item(FW_CFG_CMDLINE_DATA, words, strlen(words) + 1);
	ck_assert_uint_eq(item32(FW_CFG_SETUP_SIZE), 5 * 512);
	ck_assert_uint_eq(item32(FW_CFG_KERNEL_SIZE), sizeof(image) - 5 * 512);
	/* They are not for what is no 64-bit Linux. */
	hdr->xloadflags = cpu_to_le16(0);
	write_kernel();
	tell();
	ck_item(FW_CFG_CMDLINE_DATA, "a", 2);
	/* No words at all are an empty line. */
	cfg.append = NULL;
	fake.m.linux_words = NULL;
	tell();
	ck_assert_uint_eq(item32(FW_CFG_CMDLINE_SIZE), 1);
}
END_TEST

START_TEST(old_kernels)
{
	char line[300];

	hdr->version = cpu_to_le16(0x202);
	hdr->initrd_addr_max = cpu_to_le32(1); /* fields that it does not know of */
	hdr->init_size = hdr->cmdline_size = cpu_to_le32(0xffffffff);
	write_kernel();
	tell();
	ck_assert_uint_eq(item32(FW_CFG_INITRD_ADDR), (62 << 20) - 0x4000);
	memset(line, 'x', sizeof(line));
	line[255] = 0;
	cfg.append = line;
	tell();
	line[255] = 'x';
	line[256] = 0;
	ck_refused("this kernel takes 255");
	cfg.append = NULL;
	hdr->version = cpu_to_le16(0x203);
	hdr->initrd_addr_max = cpu_to_le32(0x1ffffff);
	write_kernel();
	tell();
	ck_assert_uint_eq(item32(FW_CFG_INITRD_ADDR), (32 << 20) - 0x4000);
	hdr->version = cpu_to_le16(0x201);
	write_kernel();
	ck_refused("older than Linux 2.4");
	hdr->version = cpu_to_le16(0x20f);
	hdr->loadflags = 0;
	write_kernel();
	ck_refused("zImage");
}
END_TEST

/* The files are anybody's. */
START_TEST(refused)
{
	put(kernel, "\177ELF\2\1\1", 8);
	ck_refused("bzImages only, and this is an ELF file");
	put(kernel, image, 0x206);
	ck_refused("cut short");
	put(kernel, image, SETUP_LEN);
	ck_refused("cut short");
	hdr->setup_sects = 255;
	write_kernel();
	ck_refused("cut short"); /* 128 KiB of it, and there are less */
	hdr->setup_sects = 100;
	write_kernel();
	ck_refused("real-mode code");
	hdr->setup_sects = 1; /* the header goes beyond it */
	hdr->jump[1] = 0xff;
	write_kernel();
	tell();
	hdr->setup_sects = SECTS;
	hdr->init_size = cpu_to_le32(0xffffffff);
	write_kernel();
	ck_refused("need");
	hdr->pref_address = cpu_to_le64(UINT64_MAX);
	write_kernel();
	ck_refused("need");
	hdr->init_size = cpu_to_le32(8 << 20);
	hdr->pref_address = cpu_to_le64(16 << 20);
	hdr->initrd_addr_max = cpu_to_le32(24 << 20); /* the kernel ends there */
	write_kernel();
	ck_refused("need");
	hdr->initrd_addr_max = cpu_to_le32(100);
	write_kernel();
	ck_refused("need");
	hdr->initrd_addr_max = cpu_to_le32(0x7fffffff);
	write_kernel();
	cfg.initrd = dir;
	ck_refused("-initrd");
	cfg.kernel = rom + 1;
	ck_refused("no such file");
}
END_TEST

/* UEFI finds the items by itself: no option ROM is needed, nor missed. */
START_TEST(loader)
{
	uint32_t len;

	bios.rom.len = 4 << 20;
	tell();
	ck_assert_uint_eq(fw_find("genroms/linuxboot_dma.bin", &len), 0);
	bios = (struct firmware){ .path = NULL }; /* in a flash */
	tell();
	ck_assert_ptr_null(fake.m.boot_rom);
	bios = (struct firmware){ .path = (char *)"bios", .rom.len = 128 << 10 };
	unlink(rom);
	if (!access("/usr/share/qemu/linuxboot_dma.bin", R_OK))
		return;
	ck_refused("option ROM");
	ck_assert_ptr_nonnull(strstr(err.hint, "qemu-system-data"));
}
END_TEST

START_TEST(wanted)
{
	const char *flash = "if=pflash,file=x";

	cfg.bios = NULL;
	ck_assert(!firmware_wanted(&cfg));
	cfg.drive = (struct strlist){ &flash, 1 };
	ck_assert(firmware_wanted(&cfg));
	cfg.drive.n = 0;
	cfg.bios = "x";
	ck_assert(firmware_wanted(&cfg));
	cfg.kernel = cfg.bios = NULL;
	ck_assert(firmware_wanted(&cfg));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		items, kernel_alone, old_kernels, refused, loader, wanted,
	};

	return run_tests("boot_parts", setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));
}
