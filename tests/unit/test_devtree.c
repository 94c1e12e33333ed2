/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device tree and the MultiProcessor table, read back by libfdt and by the specification. */
#include <errno.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

#include "devtree.h"
#include "err.h"
#include "gmem.h"
#include "suite.h"
#include "wire/mptable.h"

static struct gmem mem;
static struct fdt_machine d;

static void setup(void)
{
	struct err e;

	ck_assert_int_eq(gmem_init(&mem, 4ull << 30, GMEM_ANON, &e), 0);
	d = (struct fdt_machine){ .model = "micro", .mem = &mem, .n_cpus = 2, .serial_mask = 5 };
}

static void teardown(void)
{
	gmem_fini(&mem);
}

static void *build(void)
{
	struct err e;
	size_t len;
	void *t;

	ck_assert_int_eq(fdt_build(&d, &t, &len, &e), 0);
	ck_assert_int_eq(fdt_check_full(t, len), 0);
	return t;
}

static uint32_t cell(const void *t, const char *path, const char *prop, unsigned n)
{
	int len, node = fdt_path_offset(t, path);
	const fdt32_t *p;

	ck_assert_msg(node >= 0, "%s: %s", path, fdt_strerror(node));
	p = fdt_getprop(t, node, prop, &len);
	ck_assert_msg(p && len >= (int)(4 * (n + 1)), "%s: %s", path, prop);
	return fdt32_to_cpu(p[n]);
}

static const char *text(const void *t, const char *path, const char *prop)
{
	return fdt_getprop(t, fdt_path_offset(t, path), prop, NULL);
}

START_TEST(says_what_the_machine_has)
{
	void *t;

	d.bootargs = "console=ttyS0 x";
	d.n_virtio = 2;
	d.virtio[1].base = 0xd0000200;
	d.virtio[1].size = 0x200;
	d.virtio[1].irq = 7;
	d.virtio[0].base = 0xd0000000;
	t = build();
	ck_assert_str_eq(text(t, "/", "compatible"), "posada,micro");
	ck_assert_str_eq(text(t, "/chosen", "bootargs"), "console=ttyS0 x");
	ck_assert_uint_eq(cell(t, "/cpus/cpu@1", "reg", 0), 1);
	ck_assert_int_lt(fdt_path_offset(t, "/cpus/cpu@2"), 0);
	/* 4 GiB: 3 below the hole, 1 above it */
	ck_assert_uint_eq(cell(t, "/memory@0", "reg", 3), 0xc0000000);
	ck_assert_uint_eq(cell(t, "/memory@100000000", "reg", 0), 1);
	ck_assert_uint_eq(cell(t, "/memory@100000000", "reg", 3), 0x40000000);
	ck_assert_str_eq(text(t, "/soc/virtio_mmio@d0000200", "compatible"), "virtio,mmio");
	ck_assert_uint_eq(cell(t, "/soc/virtio_mmio@d0000200", "reg", 1), 0xd0000200);
	ck_assert_uint_eq(cell(t, "/soc/virtio_mmio@d0000200", "reg", 3), 0x200);
	ck_assert_uint_eq(cell(t, "/soc/virtio_mmio@d0000200", "interrupts", 0), 7);
	ck_assert_uint_eq(cell(t, "/soc/isa/serial@3f8", "interrupts", 0), 4);
	ck_assert_uint_eq(cell(t, "/soc/isa/serial@3e8", "reg", 1), 0x3e8);
	ck_assert_int_lt(fdt_path_offset(t, "/soc/isa/serial@2f8"), 0);
	ck_assert_int_lt(fdt_path_offset(t, "/soc/pci"), 0);
	/* the interrupt controller that the tree refers to is there */
	ck_assert_int_eq(fdt_node_offset_by_phandle(t, cell(t, "/", "interrupt-parent", 0)),
			 fdt_path_offset(t, "/soc/interrupt-controller@fec00000"));
	ck_assert_int_eq(fdt_node_offset_by_phandle(t, cell(t, "/cpus/cpu@0", "lapic", 0)),
			 fdt_path_offset(t, "/soc/interrupt-controller@fee00000"));
	free(t);
}
END_TEST

START_TEST(has_room_for_the_largest_machine)
{
	char *args = malloc(65536);
	void *t;

	memset(args, 'x', 65535);
	args[65535] = 0;
	d.bootargs = args;
	d.n_cpus = 255;
	d.n_virtio = FDT_DEVICES_MAX;
	for (unsigned i = 0; i < FDT_DEVICES_MAX; i++)
		d.virtio[i].base = 0xd0000000 + i * 0x200;
	d.pci = true;
	t = build();
	ck_assert_uint_eq(cell(t, "/cpus/cpu@fe", "reg", 0), 254);
	ck_assert_str_eq(text(t, "/soc/pci", "device_type"), "pci");
	ck_assert_uint_eq(strlen(text(t, "/chosen", "bootargs")), 65535);
	free(t);
	free(args);
}
END_TEST

START_TEST(refuses_a_command_line_that_does_not_fit)
{
	struct err e = { 0 };
	char *args = malloc(300000);
	size_t len;
	void *t;
	int rc;

	memset(args, 'x', 299999);
	args[299999] = 0;
	d.bootargs = args;
	rc = fdt_build(&d, &t, &len, &e);
	ck_assert_int_eq(rc, -E2BIG);
	ck_assert_ptr_nonnull(strstr(e.msg, "-append: 299999 bytes"));
	free(args);
}
END_TEST

static unsigned sum(const void *p, size_t len)
{
	const uint8_t *b = p;
	unsigned s = 0;

	while (len--)
		s += *b++;
	return s & 0xff;
}

static void check_mptable(unsigned n_cpus)
{
	const struct mp_floating *fp = gmem_ptr(&mem, 0xf0000, 16);
	const struct mp_table *head;
	unsigned count[5] = { 0 }, n;
	const uint8_t *p;
	struct err e;

	ck_assert_int_eq(mptable_build(&mem, n_cpus, &e), 0);
	ck_assert_int_eq(memcmp(fp->sig, "_MP_", 4), 0);
	ck_assert_uint_eq(sum(fp, 16), 0);
	head = gmem_ptr(&mem, le32_to_cpu(fp->table), sizeof(*head));
	ck_assert_int_eq(memcmp(head->sig, "PCMP", 4), 0);
	ck_assert_uint_eq(sum(head, le16_to_cpu(head->len)), 0);
	p = (const uint8_t *)(head + 1);
	n = le16_to_cpu(head->entries);
	for (unsigned i = 0; i < n; i++) {
		const struct mp_interrupt *in = (const void *)p;

		ck_assert_uint_le(*p, 4);
		if (*p == 0)
			ck_assert_uint_eq(((const struct mp_cpu *)(const void *)p)->apic_id,
					  count[0]);
		if (*p == 3) {
			ck_assert_uint_eq(in->irq, in->pin);
			ck_assert_uint_eq(in->dest, n_cpus);
		}
		count[*p]++;
		p += *p ? 8 : 20;
	}
	ck_assert_uint_eq((size_t)(p - (const uint8_t *)head), le16_to_cpu(head->len));
	ck_assert_uint_eq(count[0], n_cpus);
	ck_assert_uint_eq(count[1], 1);
	ck_assert_uint_eq(count[2], 1);
	ck_assert_uint_eq(count[3], 15);
	ck_assert_uint_eq(count[4], 2);
}

START_TEST(mptable_lists_cpus_and_interrupts)
{
	check_mptable(1);
	check_mptable(2);
	check_mptable(254);
}
END_TEST

START_TEST(mptable_needs_no_memory_it_has_not)
{
	struct gmem small;
	struct err e;

	ck_assert_int_eq(gmem_init(&small, 512 << 10, GMEM_ANON, &e), 0);
	ck_assert_int_eq(mptable_build(&small, 1, &e), 0);
	gmem_fini(&small);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("devtree");
	TCase *t = tcase_create("devtree");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, says_what_the_machine_has);
	tcase_add_test(t, has_room_for_the_largest_machine);
	tcase_add_test(t, refuses_a_command_line_that_does_not_fit);
	tcase_add_test(t, mptable_lists_cpus_and_interrupts);
	tcase_add_test(t, mptable_needs_no_memory_it_has_not);
	suite_add_tcase(s, t);
	return run_suite(s);
}
