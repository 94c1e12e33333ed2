/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fw_cfg by its ports and by DMA, its directory, and -fw_cfg. */
#include "fake_machine.h"

#include <endian.h>
#include <stdio.h>

#include "fw_cfg_guest.h"

#define REQUEST 0x1000u /* guest addresses */
#define BUFFER 0x2000u
#define RAM (16u << 20)

enum { ERROR = 1, READ = 2, SKIP = 4, SELECT = 8, WRITE = 16 };

static struct err err;

static void add(void)
{
	fake_add(&fw_cfg_class, "");
	machine_reset_devices(&fake.m);
}

START_TEST(signature_and_data_port)
{
	char text[8];

	add();
	ck_assert_uint_eq(inb(0x511), 0); /* nothing is selected */
	fw_select(FW_CFG_SIGNATURE);
	fw_bytes(text, 6);
	ck_assert_mem_eq(text, "QEMU\0\0", 6); /* zeroes behind the end */
	fw_select(FW_CFG_ID);
	ck_assert_uint_eq(inb(0x511), 3);
	fw_select(FW_CFG_SIGNATURE); /* from its start again */
	ck_assert_uint_eq(inb(0x511), 'Q');
	outb(0x510, 1); /* the selector is 16 bits wide */
	outb(0x511, 'x'); /* and data are read-only */
	ck_assert_uint_eq(inb(0x511), 'E');
	ck_assert_uint_eq(inb(0x510), 0);
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(inb(0x511), 0);
}
END_TEST

START_TEST(items)
{
	add();
	ck_assert_int_eq(fw_cfg_set16(&fake.m, FW_CFG_NB_CPUS, 0x1234, &err), 0);
	ck_assert_int_eq(fw_cfg_set32(&fake.m, FW_CFG_IRQ0_OVERRIDE, 1, &err), 0);
	fw_select(FW_CFG_NB_CPUS);
	ck_assert_uint_eq(inb(0x511), 0x34);
	ck_assert_uint_eq(inb(0x511), 0x12);
	fw_select(FW_CFG_NB_CPUS | 0x4000); /* the bit for writing */
	ck_assert_uint_eq(inb(0x511), 0x34);
	fw_select(FW_CFG_IRQ0_OVERRIDE);
	ck_assert_uint_eq(inb(0x511), 1);
	/* What is replaced while it is read gives its new bytes. */
	fw_select(FW_CFG_NB_CPUS);
	ck_assert_uint_eq(inb(0x511), 0x34);
	ck_assert_int_eq(fw_cfg_set(&fake.m, FW_CFG_NB_CPUS, "\x77", 1, &err), 0);
	ck_assert_uint_eq(inb(0x511), 0);
	fw_select(FW_CFG_NB_CPUS);
	ck_assert_uint_eq(inb(0x511), 0x77);
	/* Keys that cannot be. */
	for (unsigned key = 0; key < 0x10000; key += 7) {
		fw_select((uint16_t)key);
		inb(0x511);
	}
	fw_select(0xffff);
	ck_assert_uint_eq(inb(0x511), 0);
}
END_TEST

START_TEST(directory)
{
	char text[16];
	uint32_t len;

	add();
	ck_assert_uint_eq(fw_find("bootorder", &len), 0);
	ck_assert_int_eq(fw_cfg_set_file(&fake.m, "opt/a", "first", 5, &err), 0);
	ck_assert_int_eq(fw_cfg_set_file(&fake.m, "opt/b", "", 0, &err), 0);
	ck_assert_int_eq(fw_cfg_set_file(&fake.m, "opt/a", "second", 6, &err), 0);
	ck_assert_uint_eq(fw_file("opt/a", text, sizeof(text)), 6);
	ck_assert_mem_eq(text, "second", 6);
	ck_assert_uint_eq(fw_file("opt/b", text, sizeof(text)), 0);
	fw_select(FW_CFG_FILE_DIR);
	ck_assert_uint_eq(fw_be(4), 2);
}
END_TEST

START_TEST(limits)
{
	char name[64];
	uint32_t len;

	add();
	memset(name, 'n', sizeof(name));
	name[56] = 0;
	ck_assert_int_eq(fw_cfg_set_file(&fake.m, name, "x", 1, &err), -ENAMETOOLONG);
	ck_assert_ptr_nonnull(strstr(err.msg, "at most 55"));
	name[55] = 0;
	ck_assert_int_eq(fw_cfg_set_file(&fake.m, name, "x", 1, &err), 0);
	ck_assert_uint_eq(fw_find(name, &len), FW_CFG_FILE_FIRST);
	for (unsigned i = 1; i < FW_CFG_FILES; i++) {
		snprintf(name, sizeof(name), "opt/%u", i);
		ck_assert_int_eq(fw_cfg_set_file(&fake.m, name, name, strlen(name), &err), 0);
	}
	ck_assert_int_eq(fw_cfg_set_file(&fake.m, "one more", "x", 1, &err), -ENOSPC);
	ck_assert_int_eq(fw_cfg_set_file(&fake.m, "opt/95", "again", 5, &err), 0);
	ck_assert_uint_eq(fw_file("opt/95", name, sizeof(name)), 5);
	ck_assert_uint_eq(fw_file("opt/94", name, sizeof(name)), 6);
	ck_assert_mem_eq(name, "opt/94", 6);
}
END_TEST

/* --- DMA ------------------------------------------------------------------------------ */

static void request(uint64_t where, uint32_t control, uint32_t len, uint64_t to)
{
	uint32_t w[2] = { htobe32(control), htobe32(len) };
	uint64_t q = htobe64(to);

	gmem_write(&fake.m.mem, where, w, 8);
	gmem_write(&fake.m.mem, where + 8, &q, 8);
	outl(0x514, htobe32((uint32_t)(where >> 32)));
	outl(0x518, htobe32((uint32_t)where));
}

/* Carries one out; the control word it leaves. */
static uint32_t dma(uint32_t control, uint32_t len, uint64_t to)
{
	uint32_t done;

	request(REQUEST, control, len, to);
	ck_assert_int_eq(gmem_read(&fake.m.mem, REQUEST, &done, 4), 0);
	return be32toh(done);
}

static const char *ram(uint64_t gpa)
{
	return gmem_ptr(&fake.m.mem, gpa, 16);
}

START_TEST(dma_controls)
{
	uint32_t len;
	uint16_t key;

	add();
	ck_assert_uint_eq(inl(0x514), 0x554d4551); /* "QEMU CFG" */
	ck_assert_uint_eq(inl(0x518), 0x47464320);
	ck_assert_uint_eq(inb(0x51b), 'G');
	ck_assert_int_eq(fw_cfg_set_file(&fake.m, "opt/a", "0123456789", 10, &err), 0);
	key = fw_find("opt/a", &len);

	memset(gmem_ptr(&fake.m.mem, BUFFER, 32), 0xaa, 32);
	ck_assert_uint_eq(dma((uint32_t)key << 16 | SELECT | READ, 4, BUFFER), 0);
	ck_assert_mem_eq(ram(BUFFER), "0123\xaa", 5);
	ck_assert_uint_eq(dma(READ, 2, BUFFER), 0); /* goes on */
	ck_assert_mem_eq(ram(BUFFER), "4523\xaa", 5);
	ck_assert_uint_eq(inb(0x511), '6'); /* and so does the port */
	ck_assert_uint_eq(dma(SKIP, 1, 0), 0);
	ck_assert_uint_eq(dma(READ, 6, BUFFER), 0); /* zeroes behind the end */
	ck_assert_mem_eq(ram(BUFFER), "89\0\0\0\0\xaa", 7);
	ck_assert_uint_eq(dma((uint32_t)key << 16 | SELECT, 0, 0), 0);
	ck_assert_uint_eq(inb(0x511), '0');
	ck_assert_uint_eq(dma((uint32_t)key << 16 | SELECT | SKIP, 9, 0), 0);
	ck_assert_uint_eq(inb(0x511), '9');
	ck_assert_uint_eq(dma(WRITE | SELECT | (uint32_t)key << 16, 4, BUFFER), ERROR);
	ck_assert_uint_eq(inb(0x511), '0');
	ck_assert_uint_eq(dma(0, 4, BUFFER), 0);
	ck_assert_uint_eq(dma(0xffff0000 | SELECT | READ, 4, BUFFER), 0); /* no such item */
	ck_assert_mem_eq(ram(BUFFER), "\0\0\0\0", 4);
	/* A skip as far as it goes, many times, comes back to nothing. */
	ck_assert_uint_eq(dma((uint32_t)key << 16 | SELECT | SKIP, UINT32_MAX, 0), 0);
	ck_assert_uint_eq(dma(SKIP, UINT32_MAX, 0), 0);
	ck_assert_uint_eq(dma(SKIP, 2, 0), 0);
	ck_assert_uint_eq(inb(0x511), 0);
}
END_TEST

START_TEST(dma_hostile)
{
	uint32_t big = FW_CFG_SIGNATURE << 16 | SELECT | READ, w = 0;

	add();
	ck_assert_uint_eq(dma(big, 8, RAM - 4), ERROR);
	ck_assert_uint_eq(dma(big, 8, RAM), ERROR);
	ck_assert_uint_eq(dma(big, UINT32_MAX, BUFFER), ERROR);
	ck_assert_uint_eq(dma(big, 8, UINT64_MAX - 4), ERROR);
	ck_assert_uint_eq(dma(big, 8, 0xfffffffffffff000), ERROR);
	ck_assert_uint_eq(dma(big, 0, UINT64_MAX), 0);
	/* Requests where no memory is, and at its end. */
	request(RAM, big, 4, BUFFER);
	request(RAM - 8, big, 4, BUFFER);
	request(UINT64_MAX - 15, big, 4, BUFFER);
	request(0xffffffff00000000, big, 4, BUFFER);
	request(RAM - 16, big, 4, BUFFER);
	ck_assert_int_eq(gmem_read(&fake.m.mem, RAM - 16, &w, 4), 0);
	ck_assert_uint_eq(w, 0);
	ck_assert_mem_eq(ram(BUFFER), "QEMU", 4);
	/* Into the request itself: its outcome is written last. */
	ck_assert_uint_eq(dma(big, 16, REQUEST), 0);
	ck_assert_mem_eq(ram(REQUEST), "\0\0\0\0\0\0\0", 8);
	/* The lower half alone: the upper is 0 after each. */
	request(REQUEST, 0, 0, 0);
	gmem_write(&fake.m.mem, REQUEST, "\xff\xff\xff\xff", 4);
	outw(0x518, 0x10); /* not 32 bits wide: nothing */
	outb(0x51b, 0x10);
	ck_assert_mem_eq(ram(REQUEST), "\xff\xff\xff\xff", 4);
	outl(0x518, htobe32(REQUEST));
	ck_assert_mem_ne(ram(REQUEST), "\xff\xff\xff\xff", 4);
	gmem_write(&fake.m.mem, REQUEST, "\xff\xff\xff\xff", 4);
	outl(0x514, htobe32(1)); /* above 4 GiB, where nothing is; the next is below again */
	outl(0x518, htobe32(REQUEST));
	ck_assert_mem_eq(ram(REQUEST), "\xff\xff\xff\xff", 4);
	outl(0x518, htobe32(REQUEST));
	ck_assert_mem_ne(ram(REQUEST), "\xff\xff\xff\xff", 4);
	fake_hammer(0x510, 12, 20000, 7);
}
END_TEST

/* --- -fw_cfg ------------------------------------------------------------------------- */

START_TEST(arguments)
{
	char path[] = "/tmp/fw_cfg-XXXXXX", arg[128], text[32];
	int fd = mkstemp(path);

	add();
	ck_assert_int_eq((int)write(fd, "from a file", 11), 11);
	close(fd);
	ck_assert_int_eq(fw_cfg_add_arg(&fake.m, "name=opt/a,string=forty,,two", &err), 0);
	ck_assert_uint_eq(fw_file("opt/a", text, sizeof(text)), 9);
	ck_assert_mem_eq(text, "forty,two", 9);
	snprintf(arg, sizeof(arg), "opt/b,file=%s", path);
	ck_assert_int_eq(fw_cfg_add_arg(&fake.m, arg, &err), 0);
	ck_assert_uint_eq(fw_file("opt/b", text, sizeof(text)), 11);
	ck_assert_mem_eq(text, "from a file", 11);
	unlink(path);
	ck_assert_int_lt(fw_cfg_add_arg(&fake.m, arg, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "No such file"));
}
END_TEST

START_TEST(bad_arguments)
{
	static const struct {
		const char *arg, *why;
	} bad[] = {
		{ "string=x", "name= is missing" },
		{ "name=,string=x", "name= is missing" },
		{ "opt/a", "one of file= and string=" },
		{ "opt/a,file=x,string=y", "one of file= and string=" },
		{ "opt/a,sting=x", "sting" },
		{ "opt/a,file=/", "file=/" },
		{ "name=opt/0123456789012345678901234567890123456789012345678901,string=x",
		  "at most 55" },
	};

	add();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_lt(fw_cfg_add_arg(&fake.m, bad[i].arg, &err), 0);
		ck_assert_msg(strstr(err.msg, bad[i].why) && strstr(err.msg, "-fw_cfg"), "%s: %s",
			      bad[i].arg, err.msg);
	}
	machine_remove_devices(&fake.m);
	ck_assert_int_eq(fw_cfg_add_arg(&fake.m, "opt/a,string=x", &err), -ENODEV);
	ck_assert_ptr_nonnull(strstr(err.hint, "-kernel"));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { signature_and_data_port,
				       items,
				       directory,
				       limits,
				       dma_controls,
				       dma_hostile,
				       arguments,
				       bad_arguments };

	return fake_main("fw_cfg", tests, sizeof(tests) / sizeof(tests[0]));
}
