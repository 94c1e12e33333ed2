/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bootindex= and -boot, as the firmware reads them in fw_cfg and CMOS; what the BIOS says. */
#include "fake_machine.h"

#include <stdio.h>

#include "bootorder.h"
#include "fw_cfg_guest.h"
#include "pci.h"
#include "rtc.h"

extern const struct dev_class mc146818rtc_class, bios_messages_class, isa_debugcon_class;

static struct dev device[4];
static struct pci_fn fn[4];
static struct err err;
static char text[256];

static uint8_t cmos(uint8_t reg)
{
	outb(0x70, reg);
	return inb(0x71);
}

/* Four devices, in slots 3 to 6; fn[1] is function 2. */
static void add(void)
{
	static const struct dev_class cls = { .name = "thing" };

	fake_add(&fw_cfg_class, "");
	fake_add(&mc146818rtc_class, "");
	for (unsigned i = 0; i < 4; i++) {
		device[i] = (struct dev){ .cls = &cls, .m = &fake.m };
		fn[i] = (struct pci_fn){ .host = (void *)&fn[i], .devfn = (uint8_t)((3 + i) << 3) };
	}
	fn[1].devfn |= 2;
}

static void clean(void)
{
	for (unsigned i = 0; i < 4; i++)
		bootorder_remove(&fake.m, &device[i]);
	ck_assert_ptr_null(fake.m.boot_items);
}

static void tell(const char *arg)
{
	struct boot_opts b = { 0 };

	if (arg)
		ck_assert_msg(!bootorder_parse(&b, arg, &err), "%s: %s", arg, err.msg);
	ck_assert_int_eq(bootorder_tell(&fake.m, &b, &err), 0);
	free(b.order);
	free(b.once);
}

START_TEST(order_of_indices)
{
	uint32_t len;

	add();
	tell(NULL);
	ck_assert_uint_eq(fw_find("bootorder", &len), 0);
	ck_assert_int_eq(bootorder_add(&fake.m, &device[0], 7, &fn[0], "disk@0,0", &err), 0);
	ck_assert_int_eq(bootorder_add(&fake.m, &device[1], 0, &fn[1], "", &err), 0);
	ck_assert_int_eq(bootorder_add(&fake.m, &device[2], BOOTINDEX_NONE, &fn[2], "x", &err), 0);
	ck_assert_int_eq(bootorder_add(&fake.m, &device[3], 3, &fn[3], "drive@1/disk@0", &err), 0);
	tell(NULL);
	len = fw_file("bootorder", text, sizeof(text));
	ck_assert_str_eq(text, "/pci@i0cf8/pci@4,2\n/pci@i0cf8/pci@6/drive@1/disk@0\n"
			       "/pci@i0cf8/pci@3/disk@0,0");
	ck_assert_uint_eq(len, strlen(text) + 1);
	tell("strict=on");
	fw_file("bootorder", text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, "disk@0,0\nHALT"));
	fn[1].host = NULL; /* not plugged */
	tell(NULL);
	fw_file("bootorder", text, sizeof(text));
	ck_assert_int_eq(strncmp(text, "/pci@i0cf8/pci@6", 16), 0);
	/* A kernel comes before all of them. */
	fake.m.boot_rom = "genroms/loader.bin";
	tell(NULL);
	fw_file("bootorder", text, sizeof(text));
	ck_assert_int_eq(strncmp(text, "/rom@genroms/loader.bin\n/pci@i0cf8/pci@6", 40), 0);
	clean();
	tell(NULL);
	fw_file("bootorder", text, sizeof(text));
	ck_assert_str_eq(text, "/rom@genroms/loader.bin");
}
END_TEST

START_TEST(conflict)
{
	add();
	device[0].id = (char *)(uintptr_t) "d0";
	ck_assert_int_eq(bootorder_add(&fake.m, &device[0], 2, &fn[0], "", &err), 0);
	ck_assert_int_eq(bootorder_add(&fake.m, &device[1], 2, &fn[1], "", &err), -EEXIST);
	ck_assert_ptr_nonnull(strstr(err.msg, "bootindex=2: d0 has that place"));
	bootorder_remove(&fake.m, &device[0]);
	ck_assert_int_eq(bootorder_add(&fake.m, &device[1], 2, &fn[1], "", &err), 0);
	clean();
}
END_TEST

START_TEST(letters)
{
	static const struct {
		const char *arg;
		uint8_t first, second;
	} t[] = {
		{ NULL, 0x32, 0x41 },          { "c", 0x02, 0x01 },    { "d", 0x03, 0x01 },
		{ "order=dc", 0x23, 0x01 },    { "ncd", 0x24, 0x31 },  { "adc", 0x31, 0x21 },
		{ "order=c,once=d", 0x03, 1 }, { "adcn", 0x31, 0x21 },
	};

	add();
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		tell(t[i].arg);
		ck_assert_msg(cmos(0x3d) == t[i].first && cmos(0x38) == t[i].second,
			      "%s: %02x %02x", t[i].arg ? t[i].arg : "", cmos(0x3d), cmos(0x38));
	}
}
END_TEST

START_TEST(once)
{
	struct boot_opts b = { 0 };

	add();
	ck_assert_int_eq(bootorder_parse(&b, "once=d", &err), 0);
	ck_assert_int_eq(bootorder_tell(&fake.m, &b, &err), 0);
	ck_assert_uint_eq(cmos(0x3d), 0x03);
	bootorder_reset(&fake.m, &b);
	ck_assert_uint_eq(cmos(0x3d), 0x32);
	free(b.once);
}
END_TEST

START_TEST(menu_and_times)
{
	uint32_t len;

	add();
	tell("menu=on,splash-time=0x1234,reboot-timeout=5000");
	fw_select(FW_CFG_BOOT_MENU);
	ck_assert_uint_eq(inb(0x511), 1);
	ck_assert_uint_eq(fw_file("etc/boot-menu-wait", text, 4), 2);
	ck_assert_mem_eq(text, "\x34\x12", 2);
	ck_assert_uint_eq(fw_file("etc/boot-fail-wait", text, 4), 4);
	ck_assert_mem_eq(text, "\x88\x13\0\0", 4);
	tell("menu=off");
	fw_select(FW_CFG_BOOT_MENU);
	ck_assert_uint_eq(inb(0x511), 0);
	fw_file("etc/boot-fail-wait", text, 4); /* it waits for ever */
	ck_assert_mem_eq(text, "\xff\xff\xff\xff", 4);
	ck_assert_uint_ne(fw_find("etc/boot-menu-wait", &len), 0);
}
END_TEST

START_TEST(bad_arguments)
{
	static const struct {
		const char *arg, *why;
	} bad[] = {
		{ "x", "no boot device 'x'" },       { "order=cdx", "no boot device 'x'" },
		{ "once=cc", "'c' is there twice" }, { "menu=1", "on or off" },
		{ "strict=yes", "on or off" },       { "splash-time=65536", "at most 65535" },
		{ "reboot-timeout=x", "x" },         { "oder=c", "oder" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct boot_opts b = { 0 };

		ck_assert_int_lt(bootorder_parse(&b, bad[i].arg, &err), 0);
		ck_assert_msg(strstr(err.msg, bad[i].why) != NULL, "%s: %s", bad[i].arg, err.msg);
		ck_assert_int_eq(err.status, ERR_USAGE);
		free(b.order);
		free(b.once);
	}
}
END_TEST

/* --- what the BIOS says -------------------------------------------------------------- */

static char said[65536];
static FILE *messages;

/* From now on stderr is for heard(). */
static void listen(void)
{
	messages = tmpfile();
	dup2(fileno(messages), 2);
}

/* How many messages there have been; the text of all in said. */
static unsigned heard(void)
{
	unsigned n = 0;

	rewind(messages);
	said[fread(said, 1, sizeof(said) - 1, messages)] = 0;
	for (const char *p = said; (p = strchr(p, '\n')) != NULL; p++)
		n++;
	return n;
}

static void bios_says(const char *s)
{
	while (*s)
		outb(0x402, (uint8_t)*s++);
}

START_TEST(nothing_to_boot)
{
	listen();
	fake_add(&bios_messages_class, "");
	ck_assert_uint_eq(inb(0x402), 0xe9);
	bios_says("Booting from Hard Disk...\nBoot failed: not a bootable disk\n"
		  "Booting from Floppy...\nBoot failed: could not read the boot disk\n"
		  "Booting from DVD/CD...\nBoot failed: Could not read from CDROM (code 0003)\n");
	ck_assert_uint_eq(heard(), 0);
	bios_says("No bootable device.\n");
	ck_assert_uint_eq(heard(), 1);
	ck_assert_ptr_nonnull(strstr(said,
				     "found nothing to boot from (Hard Disk: not a bootable disk, "
				     "DVD/CD: Could not read from CDROM (code 0003))\n"));
	bios_says("No bootable device.  Retrying in 60 seconds.\n");
	ck_assert_uint_eq(heard(), 2);
	bios_says("Booting from Hard Disk...\nBoot failed: x\nNo boot");
	machine_reset_devices(&fake.m);
	bios_says("able device\nNo bootable device\n");
	ck_assert_uint_eq(heard(), 3);
	ck_assert_ptr_nonnull(strstr(strstr(said, "code 0003"), "boot from\nposada"));
	ck_assert_str_eq(said + strlen(said) - 10, "boot from\n");
}
END_TEST

/* Lines and lists of any length, and bytes of any value. */
START_TEST(nonsense_is_cut)
{
	listen();
	fake_add(&bios_messages_class, "");
	for (unsigned i = 0; i < 2000; i++)
		bios_says(
			"Booting from a place that has a very long name, longer than is sound\n"
			"Boot failed: for reasons that take as long to tell, and are no sounder\n");
	for (unsigned i = 0; i < 3000; i++)
		outb(0x402, (uint8_t)(i * 7 % 256 == '\n' ? 'n' : i * 7));
	bios_says("\nNo bootable device\n");
	ck_assert_uint_eq(heard(), 1);
	ck_assert_uint_lt(strlen(said), 300);
	for (const char *p = said; *p != '\n'; p++)
		ck_assert(*p >= ' ' && *p < 0x7f);
}
END_TEST

START_TEST(debug_console_goes_first)
{
	fake_add(&isa_debugcon_class, "chardev=c0,iobase=0xe9,iobase2=0x402");
	fake_add(&bios_messages_class, "");
	bios_says("text");
	ck_assert_uint_eq(fake.chardev[0].out_n, 4);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		order_of_indices,        conflict,      letters,         once,
		menu_and_times,          bad_arguments, nothing_to_boot, nonsense_is_cut,
		debug_console_goes_first
	};

	return fake_main("bootorder", tests, sizeof(tests) / sizeof(tests[0]));
}
