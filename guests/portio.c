/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Port I/O: widths 1, 2 and 4, string instructions with and without REP in
 * both directions, accesses that straddle a device's end, the last ports.
 * COM1's scratch register (0x3ff) is the register that keeps what it is told.
 */
#include "guest.h"

#define SCRATCH 0x3ff
#define NOWHERE 0x300 /* nothing answers at 0x300..0x303 */

static uint8_t buf[16384] __attribute__((aligned(4096)));

/* REP INS: returns where RDI ended. */
static uint64_t rep_ins(uint16_t port, void *to, uint64_t n, unsigned width, bool down)
{
	if (down)
		asm volatile("std" ::: "cc");
	switch (width) {
	case 1:
		asm volatile("rep insb" : "+D"(to), "+c"(n) : "d"(port) : "memory");
		break;
	case 2:
		asm volatile("rep insw" : "+D"(to), "+c"(n) : "d"(port) : "memory");
		break;
	default:
		asm volatile("rep insl" : "+D"(to), "+c"(n) : "d"(port) : "memory");
	}
	asm volatile("cld" ::: "cc");
	return n ? 0 : (uint64_t)to;
}

static uint64_t rep_outs(uint16_t port, const void *from, uint64_t n, unsigned width)
{
	switch (width) {
	case 1:
		asm volatile("rep outsb" : "+S"(from), "+c"(n) : "d"(port) : "memory");
		break;
	case 2:
		asm volatile("rep outsw" : "+S"(from), "+c"(n) : "d"(port) : "memory");
		break;
	default:
		asm volatile("rep outsl" : "+S"(from), "+c"(n) : "d"(port) : "memory");
	}
	return n ? 0 : (uint64_t)from;
}

static bool all_are(const uint8_t *p, size_t n, uint8_t v)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] != v)
			return false;
	}
	return true;
}

static void single(void)
{
	for (unsigned i = 0; i < 256; i += 51) {
		outb(SCRATCH, (uint8_t)i);
		check(inb(SCRATCH) == i, "scratch register keeps %x", i);
	}
	check(inb(NOWHERE) == 0xff, "1 byte from nowhere is all ones");
	check(inw(NOWHERE) == 0xffff, "2 bytes from nowhere are all ones");
	check(inl(NOWHERE) == 0xffffffff, "4 bytes from nowhere are all ones");
	outb(NOWHERE, 1);
	outw(NOWHERE, 0x1234);
	outl(NOWHERE, 0x12345678);
	outb(0x80, 0x42);
	outw(0x80, 0x4243);
	outl(0x80, 0x42434445);
	check(true, "writes to nowhere and to port 0x80 are swallowed");
}

static void straddle(void)
{
	uint16_t w;

	outb(SCRATCH, 0x5a);
	w = inw(SCRATCH - 1);
	check(w >> 8 == 0x5a, "2 bytes at 0x3fe: the upper is the scratch register (%x)", w);
	check((w & 0xff) == inb(SCRATCH - 1), "2 bytes at 0x3fe: the lower is 0x3fe");
	outw(SCRATCH - 1, 0xa500);
	check(inb(SCRATCH) == 0xa5, "a 2-byte write at 0x3fe reaches the scratch register");
	check((inl(SCRATCH - 3) >> 24) == 0xa5, "4 bytes at 0x3fc end in the scratch register");
	w = inw(SCRATCH);
	check(w == 0xffa5, "2 bytes across the device's end: its own, then ones (%x)", w);
	outw(SCRATCH, 0x0033);
	check(inb(SCRATCH) == 0x33, "a write across the device's end reaches the device");
	check(inb(0xffff) == 0xff, "port 0xffff");
	/* Beyond the last port a processor wraps or not, as it likes; QEMU reads zeros. */
	inw(0xffff);
	inl(0xfffe);
	outl(0xfffe, 0);
	check(true, "accesses across the last port come back");
}

static void strings(void)
{
	static const char text[] = "rep outsb says hello\r\n";

	outb(SCRATCH, 0x77);
	memset(buf, 0, sizeof buf);
	check(rep_ins(SCRATCH, buf + 4091, 5000, 1, false) == (uint64_t)buf + 9091,
	      "rep insb of 5000 bytes over page borders ends where it should");
	check(all_are(buf + 4091, 5000, 0x77), "rep insb: all bytes are there");
	check(buf[4090] == 0 && buf[9091] == 0, "rep insb: nothing beside them");

	memset(buf, 0, sizeof buf);
	check(rep_ins(SCRATCH, buf + 5000, 3000, 1, true) == (uint64_t)buf + 2000,
	      "rep insb downwards ends where it should");
	check(all_are(buf + 2001, 3000, 0x77), "rep insb downwards: all bytes are there");
	check(buf[2000] == 0 && buf[5001] == 0, "rep insb downwards: nothing beside them");

	memset(buf, 0, sizeof buf);
	check(rep_ins(NOWHERE, buf + 1, 3000, 2, false) == (uint64_t)buf + 6001,
	      "rep insw ends where it should");
	check(all_are(buf + 1, 6000, 0xff) && !buf[0] && !buf[6001], "rep insw: all ones");
	memset(buf, 0, sizeof buf);
	check(rep_ins(NOWHERE, buf + 4093, 2000, 4, false) == (uint64_t)buf + 12093,
	      "rep insl ends where it should");
	check(all_are(buf + 4093, 8000, 0xff) && !buf[4092] && !buf[12093], "rep insl: all ones");
	check(rep_ins(SCRATCH, buf, 0, 1, false) == (uint64_t)buf, "rep insb of nothing");

	rep_outs(0x3f8, text, sizeof text - 1, 1);
	for (unsigned i = 0; i < 5000; i++)
		buf[i] = (uint8_t)i;
	buf[4999] = 0x99;
	check(rep_outs(SCRATCH, buf, 5000, 1) == (uint64_t)buf + 5000, "rep outsb ends right");
	check(inb(SCRATCH) == 0x99, "rep outsb: the last byte is the one that stays");
	check(rep_outs(0x80, buf + 1, 2047, 2) == (uint64_t)buf + 4095, "rep outsw ends right");
	check(rep_outs(0x80, buf + 3, 2000, 4) == (uint64_t)buf + 8003, "rep outsl ends right");

	/* one string instruction without REP */
	void *di = buf;
	const void *si = text;

	asm volatile("insb" : "+D"(di) : "d"((uint16_t)SCRATCH) : "memory");
	check(di == buf + 1 && buf[0] == 0x99, "insb");
	asm volatile("outsb" : "+S"(si) : "d"((uint16_t)SCRATCH) : "memory");
	check(si == text + 1 && inb(SCRATCH) == 'r', "outsb");
}

static USER void user_in(uint64_t port)
{
	uint8_t v;

	asm volatile("inb %1, %0" : "=a"(v) : "d"((uint16_t)port));
	USER_EXIT(v);
}

/*
 * Port B (0x61), by which firmware and kernels measure time: bit 4 toggles, as memory was
 * refreshed once, and bit 5 is the timer's channel 2, whose gate is bit 0.
 */
static void port_b(void)
{
	unsigned toggles = 0;
	uint8_t last = inb(0x61), b;

	for (unsigned i = 0; i < 2000; i++) {
		b = inb(0x61);
		toggles += (b ^ last) >> 4 & 1;
		last = b;
	}
	check(toggles > 10, "the refresh bit toggles (%u times)", toggles);
	outb(0x61, 1);
	outb(0x43, 0xb0); /* channel 2, mode 0: high at its end */
	outb(0x42, 0xff);
	outb(0x42, 0x7f);
	check(!(inb(0x61) & 0x20), "channel 2 begins low");
	for (unsigned i = 0; i < 100000 && !(inb(0x61) & 0x20); i++)
		;
	check(inb(0x61) & 0x20, "and ends high");
	check((inb(0x61) & 3) == 1, "gate and speaker bits can be read back");
}

void guest_main(void)
{
	single();
	straddle();
	strings();
	port_b();
	user_run(user_in, SCRATCH);
	check(trap.taken && trap.vector == 13, "a port read at CPL3 without permission is #GP");
}
