/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory-mapped I/O of every width and by many instructions: to an address
 * where nothing is (all ones; `nowhere=ADDR` to choose it), across the end of
 * RAM, and to the APICs. `ram=BYTES`: RAM ends there, nothing is beyond.
 * `zeros`: this machine answers with zeros where nothing is (QEMU does).
 */
#include "guest.h"

static uint8_t buf[256] __attribute__((aligned(16)));

static void widths(uint64_t at, uint64_t ones)
{
	volatile uint8_t *p8 = (void *)at;
	volatile uint16_t *p16 = (void *)at;
	volatile uint32_t *p32 = (void *)at;
	volatile uint64_t *p64 = (void *)at;
	uint64_t r;

	check(*p8 == (uint8_t)ones, "%lx: 1 byte", at);
	check(*p16 == (uint16_t)ones, "%lx: 2 bytes", at);
	check(*p32 == (uint32_t)ones, "%lx: 4 bytes", at);
	check(*p64 == ones, "%lx: 8 bytes", at);
	*p8 = 0x12;
	*p16 = 0x1234;
	*p32 = 0x12345678;
	*p64 = 0x123456789abcdef0;
	check(*p64 == ones, "%lx: writes are swallowed", at);

	asm volatile("movzbl (%1), %k0" : "=r"(r) : "r"(at));
	check(r == (uint8_t)ones, "%lx: movzx", at);
	asm volatile("movsbq (%1), %0" : "=r"(r) : "r"(at));
	check(r == ones, "%lx: movsx", at);
	asm volatile("movslq (%1), %0" : "=r"(r) : "r"(at));
	check(r == ones, "%lx: movsxd", at);
	r = 1;
	asm volatile("addq (%1), %0" : "+r"(r) : "r"(at) : "cc");
	check(r == ones + 1, "%lx: add from memory", at);
	r = 5;
	asm volatile("xchgl %k0, (%1)" : "+r"(r) : "r"(at) : "memory");
	check(r == (uint32_t)ones, "%lx: xchg", at);
	asm volatile("orl $1, (%0)\nincb (%0)\nlock addw $3, (%0)" ::"r"(at) : "memory", "cc");
	check(*p64 == ones, "%lx: read-modify-write", at);
	asm volatile("testb $0x80, (%1)\nsetnz %b0" : "=q"(r) : "r"(at) : "cc");
	check((r & 1) == (ones & 1), "%lx: test", at);
	asm volatile("pushq (%1)\npop %0" : "=r"(r) : "r"(at) : "memory");
	check(r == ones, "%lx: push from memory", at);
}

static void strings(uint64_t at, uint64_t ones)
{
	void *di = buf + 1;
	const void *si = (void *)at;
	uint64_t n = 100;
	bool ok = true;

	memset(buf, 0x11, sizeof buf);
	asm volatile("rep movsb" : "+D"(di), "+S"(si), "+c"(n)::"memory");
	for (unsigned i = 1; i <= 100; i++)
		ok &= buf[i] == (uint8_t)ones;
	check(ok && !n && buf[0] == 0x11 && buf[101] == 0x11, "rep movsb from MMIO");
	n = 20;
	di = buf + 8;
	si = (void *)at;
	asm volatile("rep movsq" : "+D"(di), "+S"(si), "+c"(n)::"memory");
	check(!n && buf[8] == (uint8_t)ones && buf[167] == (uint8_t)ones, "rep movsq from MMIO");
	n = 20;
	di = (void *)at;
	si = buf;
	asm volatile("rep movsl" : "+D"(di), "+S"(si), "+c"(n)::"memory");
	check(!n && (uint64_t)di == at + 80, "rep movsl to MMIO");
	n = 20;
	di = (void *)at;
	asm volatile("rep stosw" : "+D"(di), "+c"(n) : "a"(0x1234) : "memory");
	check(!n && (uint64_t)di == at + 40, "rep stosw to MMIO");
}

static void end_of_ram(uint64_t ram, uint64_t ones)
{
	volatile uint64_t *last = (void *)(ram - 8);
	uint64_t r;

	*last = 0x1122334455667788;
	asm volatile("movq (%1), %0" : "=r"(r) : "r"(ram - 4));
	check(r == ((ones << 32) | 0x11223344), "8 bytes across the end of RAM (%lx)", r);
	asm volatile("movl (%1), %k0" : "=r"(r) : "r"(ram - 1));
	check(r == (((uint32_t)ones << 8) | 0x11), "4 bytes across the end of RAM (%lx)", r);
	asm volatile("movq %0, (%1)" ::"r"(0xaabbccddeeff0011), "r"(ram - 4) : "memory");
	check(*last == 0xeeff001155667788, "a write across the end keeps its first half");
}

static void apics(void)
{
	uint32_t v = lapic_read(LAPIC_VERSION);

	check((v & 0xff) >= 0x10 && (v & 0xff) <= 0x15, "LAPIC version %x", v);
	check((v >> 16 & 0xff) >= 3, "LAPIC has LVT entries");
	lapic_write(LAPIC_TPR, 0x20);
	check(lapic_read(LAPIC_TPR) == 0x20, "LAPIC keeps its task priority");
	lapic_write(LAPIC_TPR, 0);
	check(ioapic_pins() == 24, "IOAPIC has 24 pins");
	ioapic_write(0x10 + 2 * 20, 0x1a035);
	check((ioapic_read(0x10 + 2 * 20) & 0x1afff) == 0x1a035, "IOAPIC keeps an entry");
	ioapic_write(0x10 + 2 * 20, 0x10000);
}

void guest_main(void)
{
	uint64_t ones = arg_is("zeros", NULL) ? 0 : ~0ull;
	uint64_t nowhere = arg_u64("nowhere", 0xd0000000), ram = arg_u64("ram", 0);

	widths(nowhere, ones);
	widths(nowhere + 3, ones); /* misaligned */
	widths(nowhere + 0xffe, ones); /* across pages */
	strings(nowhere, ones);
	if (ram)
		end_of_ram(ram, ones);
	apics();
}
