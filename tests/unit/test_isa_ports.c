/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The devices of one or two ports: debugcon, debug-exit, pvpanic, POST code, port 0x92. */
#include "fake_machine.h"

extern const struct dev_class isa_debugcon_class, isa_debug_exit_class, pvpanic_class,
	isa_post_class, port92_class;

static struct chardev *const c = &fake.chardev[0];

START_TEST(debugcon)
{
	fake_add(&isa_debugcon_class, "chardev=c0");
	ck_assert_uint_eq(inb(0xe9), 0xe9);
	outb(0xe9, 'h');
	outb(0xe9, 'i');
	outw(0xe9, 0x2121); /* the second byte goes to 0xea, where nothing is */
	ck_assert_uint_eq(c->out_n, 3);
	ck_assert_mem_eq(c->out, "hi!", 3);
	ck_assert_uint_eq(inb(0x402), 0xff);
	ck_assert_uint_eq(c->client->can_read(c->ctx), 0);
}
END_TEST

START_TEST(debugcon_options)
{
	struct err e;

	fake_add(&isa_debugcon_class, "iobase=0xe9,iobase2=0x402,chardev=c0,readback=0x42");
	ck_assert_uint_eq(inb(0xe9), 0x42);
	ck_assert_uint_eq(inb(0x402), 0x42);
	outb(0x402, 'a');
	outb(0xe9, 'b');
	ck_assert_mem_eq(c->out, "ab", 2);
	ck_assert_int_eq(fake_try_add(&isa_debugcon_class, "iobase=0x402", NULL, &e), -EBUSY);
	/* What a half-made device had taken is given back. */
	ck_assert_int_eq(fake_try_add(&isa_debugcon_class, "iobase=0x500,iobase2=0x402,chardev=c1",
				      NULL, &e),
			 -EBUSY);
	ck_assert_ptr_null(fake.chardev[1].client);
	ck_assert_uint_eq(inb(0x500), 0xff);
	ck_assert_int_lt(fake_try_add(&isa_debugcon_class, "iobase=0x10000", NULL, &e), 0);
	ck_assert_int_lt(fake_try_add(&isa_debugcon_class, "readback=256", NULL, &e), 0);
	fake_add(&isa_debugcon_class, "iobase=0xffff");
	outb(0xffff, 'x');
}
END_TEST

START_TEST(debugcon_backlog)
{
	fake_add(&isa_debugcon_class, "chardev=c0");
	c->out_room = 10;
	for (unsigned i = 0; i < 5000; i++)
		outb(0xe9, (uint8_t)(i * 3));
	ck_assert_uint_eq(c->out_n, 10);
	c->out_room = 1; /* no overtaking */
	outb(0xe9, 'X');
	ck_assert_uint_eq(c->out_n, 10);
	fake_out_room(c, 100);
	outb(0xe9, (uint8_t)((10 + 4096) * 3));
	c->out_room = SIZE_MAX;
	machine_remove_devices(&fake.m);
	ck_assert_uint_eq(c->out_n, 10 + 4096 + 1);
	for (unsigned i = 0; i < c->out_n; i++)
		ck_assert_uint_eq(c->out[i], (uint8_t)(i * 3));
}
END_TEST

START_TEST(debug_exit)
{
	struct err e;

	fake_add(&isa_debug_exit_class, "");
	ck_assert_uint_eq(inw(0x501), 0);
	ck_assert_uint_eq(fake.requests, 0);
	outb(0x501, 0);
	ck_assert_uint_eq(fake.requests, 1);
	ck_assert_int_eq(fake.last_request, MACHINE_EXIT);
	ck_assert_int_eq(fake.last_code, 1);
	outb(0x501, 0x10);
	ck_assert_int_eq(fake.last_code, 0x21);
	outw(0x501, 0x1ff);
	ck_assert_int_eq(fake.last_code, 0xff);
	machine_remove_devices(&fake.m);
	fake_add(&isa_debug_exit_class, "iobase=0xf4,iosize=4");
	fake.requests = 0;
	outl(0xf4, 0x2a);
	ck_assert_uint_eq(fake.requests, 1);
	ck_assert_int_eq(fake.last_code, 0x55);
	ck_assert_int_lt(fake_try_add(&isa_debug_exit_class, "iosize=0", NULL, &e), 0);
	ck_assert_int_lt(fake_try_add(&isa_debug_exit_class, "iosize=5", NULL, &e), 0);
	ck_assert_int_eq(fake_try_add(&isa_debug_exit_class, "iobase=0xf7", NULL, &e), -EBUSY);
	ck_assert_int_eq(fake_try_add(&isa_debug_exit_class, "iobase=0xffff", NULL, &e), -EINVAL);
}
END_TEST

START_TEST(pvpanic)
{
	fake_add(&pvpanic_class, "");
	ck_assert_uint_eq(inb(0x505), 0x03);
	ck_assert(fake.m.pvpanic);
	outb(0x505, 0x04);
	outb(0x505, 0);
	ck_assert_uint_eq(fake.requests, 0);
	outb(0x505, 0x02);
	ck_assert_int_eq(fake.last_request, MACHINE_CRASH_LOADED);
	outb(0x505, 0x01);
	ck_assert_int_eq(fake.last_request, MACHINE_PANIC);
	ck_assert_uint_eq(fake.requests, 2);
	machine_remove_devices(&fake.m);
	fake_add(&pvpanic_class, "ioport=0x600,events=1");
	ck_assert_uint_eq(inb(0x600), 0x01);
	ck_assert(!fake.m.pvpanic);
	outb(0x600, 0x02); /* not offered */
	machine_remove_devices(&fake.m);
	fake_add(&pvpanic_class, "events=2");
	outb(0x505, 0x01);
	ck_assert_uint_eq(fake.requests, 2);
}
END_TEST

START_TEST(post)
{
	fake_add(&isa_post_class, "");
	ck_assert_uint_eq(inb(0x80), 0);
	outb(0x80, 0xa5);
	ck_assert_uint_eq(inb(0x80), 0xa5);
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(inb(0x80), 0);
}
END_TEST

START_TEST(port92)
{
	fake_add(&port92_class, "");
	ck_assert_uint_eq(inb(0x92), 0x02);
	outb(0x92, 0x00);
	ck_assert_uint_eq(inb(0x92), 0x00);
	ck_assert_uint_eq(fake.requests, 0);
	outb(0x92, 0x03);
	ck_assert_uint_eq(fake.requests, 1);
	ck_assert_int_eq(fake.last_request, MACHINE_RESET);
	outb(0x92, 0x03); /* the bit must rise */
	ck_assert_uint_eq(fake.requests, 1);
	machine_reset_devices(&fake.m);
	ck_assert_uint_eq(inb(0x92), 0x02);
}
END_TEST

START_TEST(hostile)
{
	fake_add(&isa_debugcon_class, "chardev=c0");
	fake_add(&isa_debug_exit_class, "");
	fake_add(&pvpanic_class, "");
	fake_add(&isa_post_class, "");
	fake_add(&port92_class, "");
	c->out_room = 100;
	fake_hammer(0xe9, 1, 20000, 1);
	fake_hammer(0x501, 8, 20000, 2);
	fake_hammer(0x80, 0x14, 20000, 3);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		debugcon, debugcon_options, debugcon_backlog, debug_exit, pvpanic,
		post,     port92,           hostile,
	};

	return fake_main("ports", tests, sizeof(tests) / sizeof(tests[0]));
}
