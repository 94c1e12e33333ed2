/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Firmware on a software KVM, which carries out some two million instructions a
 * second: loops that fill memory a byte at a time take most of a BIOS's time there, and a
 * string instruction does the same several times as fast. What is replaced
 * keeps all registers as the loop would leave them; it is found by its bytes, and where they
 * are not, nothing is changed. Before the guest runs; main thread.
 */
#include "assist.h"

#include <string.h>

enum { LOOP_LEN = 11 };

/* SeaBIOS's memset: DL to ECX bytes at EAX, from the last to the first. ECX is 0 after it. */
static const uint8_t fill_loop[LOOP_LEN] = {
	0x85, 0xc9, /* 1: test %ecx, %ecx */
	0x74, 0x06, /*    jz 2f */
	0x49, /*          dec %ecx */
	0x88, 0x14, 0x08, /* mov %dl, (%eax, %ecx) */
	0xeb, 0xf6, /*    jmp 1b */
	0xc3, /*       2: ret */
};

static const uint8_t fill_string[LOOP_LEN] = {
	0x57, /*       push %edi */
	0x89, 0xc7, /* mov %eax, %edi */
	0x92, /*       xchg %eax, %edx */
	0xf3, 0xaa, /* rep stosb */
	0x92, /*       xchg %eax, %edx */
	0x5f, /*       pop %edi */
	0xc3, /*       ret */
	0x90, 0x90, /* nop; nop */
};

unsigned assist_firmware(uint8_t *image, size_t len)
{
	unsigned found = 0;
	uint8_t *p = image;

	while ((p = memmem(p, len - (size_t)(p - image), fill_loop, LOOP_LEN))) {
		memcpy(p, fill_string, LOOP_LEN);
		p += LOOP_LEN;
		found++;
	}
	return found;
}
