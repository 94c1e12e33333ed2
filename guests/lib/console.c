/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Printing on COM1 (16550A, polled), counting checks, and leaving by isa-debug-exit. */
#include "guest.h"

#define COM1 0x3f8

unsigned n_checks, n_failed;

void putch(char c)
{
	if (c == '\n')
		putch('\r');
	while (!(inb(COM1 + 5) & 0x20))
		pause();
	outb(COM1, (uint8_t)c);
}

static void put_number(uint64_t v, unsigned base, bool negative)
{
	char buf[24];
	unsigned n = 0;

	do {
		buf[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	if (negative)
		putch('-');
	while (n)
		putch(buf[--n]);
}

static void vsay(const char *fmt, va_list ap)
{
	for (; *fmt; fmt++) {
		bool wide = false;
		int64_t d;

		if (*fmt != '%') {
			putch(*fmt);
			continue;
		}
		while (*++fmt == 'l')
			wide = true;
		switch (*fmt) {
		case 's':
			for (const char *s = va_arg(ap, const char *); *s; s++)
				putch(*s);
			break;
		case 'c':
			putch((char)va_arg(ap, int));
			break;
		case 'd':
			d = wide ? va_arg(ap, int64_t) : va_arg(ap, int);
			put_number(d < 0 ? -(uint64_t)d : (uint64_t)d, 10, d < 0);
			break;
		case 'u':
		case 'x':
			put_number(wide ? va_arg(ap, uint64_t) : va_arg(ap, unsigned),
				   *fmt == 'u' ? 10 : 16, false);
			break;
		default:
			putch(*fmt);
		}
	}
}

void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsay(fmt, ap);
	va_end(ap);
}

bool check(bool ok, const char *fmt, ...)
{
	va_list ap;

	n_checks++;
	if (!ok)
		n_failed++;
	say(ok ? "ok " : "FAIL ");
	va_start(ap, fmt);
	vsay(fmt, ap);
	va_end(ap);
	putch('\n');
	return ok;
}

_Noreturn void leave(unsigned value)
{
	outb(DEBUG_EXIT_PORT, (uint8_t)value);
	/* No such device: switch off, sleep state S5 by ACPI's PM1a control register. */
	outw(0x604, 0x2000);
	for (;;)
		asm volatile("cli; hlt");
}

_Noreturn void leave_skip(const char *reason)
{
	say("SKIP %s\n", reason);
	leave(EXIT_SKIP);
}

/*
 * A CPU that runs kernel mode in software is fastest on rep movsq; bytes are
 * for the rest. GCC may call these for its own copies, too.
 */
void *memcpy(void *d, const void *s, size_t n)
{
	void *ret = d;
	size_t words = n / 8;

	asm volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(words)::"memory");
	n %= 8;
	asm volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n)::"memory");
	return ret;
}

void *memset(void *d, int c, size_t n)
{
	void *ret = d;
	size_t words = n / 8;

	asm volatile("rep stosq"
		     : "+D"(d), "+c"(words)
		     : "a"((uint8_t)c * 0x0101010101010101ull)
		     : "memory");
	n %= 8;
	asm volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return ret;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (; n; n--, x++, y++) {
		if (*x != *y)
			return *x - *y;
	}
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (; n; n--, a++, b++) {
		if (*a != *b || !*a)
			return (uint8_t)*a - (uint8_t)*b;
	}
	return 0;
}

int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, SIZE_MAX);
}
