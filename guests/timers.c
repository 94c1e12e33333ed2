/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Timer interrupts by every road: PIT through the PIC, PIT through the IOAPIC,
 * local APIC timer (one-shot, periodic, TSC deadline), RTC periodic. Counts
 * are exact; durations are only checked for the right order of magnitude,
 * because the host may be busy. `only=NAME` runs one of them.
 */
#include "guest.h"

enum { VEC_PIT = 0x40, VEC_LAPIC, VEC_RTC };

static volatile unsigned ticks;

static void pic_tick(struct trap_frame *f)
{
	ticks++;
	pic_eoi((unsigned)f->vector - 0x20);
}

static void apic_tick(struct trap_frame *f)
{
	(void)f;
	ticks++;
	lapic_eoi();
}

static void rtc_tick(struct trap_frame *f)
{
	(void)f;
	ticks++;
	outb(0x70, 0x0c);
	inb(0x71); /* else there is no next one */
	lapic_eoi();
}

/* Halts until n ticks have come. A timer that never comes is the harness's to end. */
static void wait_ticks(unsigned n)
{
	while (ticks < n)
		wait_irq();
}

static bool wanted(const char *name)
{
	return !arg_is("only", NULL) || arg_is("only", name);
}

static void pit_by_pic(void)
{
	uint64_t t0;

	trap_handler[0x20] = pic_tick;
	lapic_write(LAPIC_LINT0, 0x700); /* ExtINT: the PICs' output comes in here */
	pic_mask(0xfffe);
	ticks = 0;
	pit_periodic(100);
	t0 = rdtsc();
	wait_ticks(20);
	check(ms_since(t0) >= 100 && ms_since(t0) < 5000,
	      "PIT by PIC: 20 ticks of 10 ms took %lu ms", ms_since(t0));
	pic_mask(0xffff);
	pit_stop();
	lapic_write(LAPIC_LINT0, 0x10700);
}

static void pit_by_ioapic(void)
{
	unsigned pin = acpi_irq_gsi(0);
	uint64_t t0;

	/* Without an MADT nobody says whether IRQ 0 is at pin 0 or, as usual, 2. */
	trap_handler[VEC_PIT] = apic_tick;
	ioapic_route(pin, VEC_PIT);
	if (!acpi_find("APIC"))
		ioapic_route(2, VEC_PIT);
	ticks = 0;
	pit_periodic(100);
	t0 = rdtsc();
	wait_ticks(20);
	check(ms_since(t0) >= 100 && ms_since(t0) < 5000,
	      "PIT by IOAPIC pin %u: 20 ticks of 10 ms took %lu ms", pin, ms_since(t0));
	pit_stop();
	ioapic_route(pin, 0);
	ioapic_route(2, 0);
}

static void lapic_timer(void)
{
	uint64_t t0;
	unsigned per_10ms;

	trap_handler[VEC_LAPIC] = apic_tick;
	lapic_write(LAPIC_TIMER_DIV, 0xb); /* by 1 */
	lapic_write(LAPIC_LVT_TIMER, 0x10000 | VEC_LAPIC);
	lapic_write(LAPIC_TIMER_INIT, 0xffffffff);
	delay_us(10000);
	per_10ms = 0xffffffff - lapic_read(LAPIC_TIMER_CUR);
	lapic_write(LAPIC_TIMER_INIT, 0);
	say("LAPIC timer: %u ticks in 10 ms\n", per_10ms);
	check(per_10ms > 1000, "LAPIC timer counts down");

	ticks = 0;
	lapic_write(LAPIC_LVT_TIMER, VEC_LAPIC);
	lapic_write(LAPIC_TIMER_INIT, per_10ms);
	t0 = rdtsc();
	wait_ticks(1);
	check(ms_since(t0) >= 3 && ms_since(t0) < 2000, "LAPIC one-shot of 10 ms took %lu ms",
	      ms_since(t0));
	check(lapic_read(LAPIC_TIMER_CUR) == 0, "LAPIC one-shot has stopped");

	ticks = 0;
	lapic_write(LAPIC_LVT_TIMER, 0x20000 | VEC_LAPIC);
	lapic_write(LAPIC_TIMER_INIT, per_10ms);
	t0 = rdtsc();
	wait_ticks(10);
	check(ms_since(t0) >= 30 && ms_since(t0) < 3000, "LAPIC periodic: 10 of 10 ms took %lu ms",
	      ms_since(t0));
	lapic_write(LAPIC_LVT_TIMER, 0x10000);
	lapic_write(LAPIC_TIMER_INIT, 0);
}

static void tsc_deadline(void)
{
	uint64_t t0;

	if (!(cpuid(1, 0).c & 1u << 24)) {
		say("TSC deadline: CPUID does not have it\n");
		return;
	}
	trap_handler[VEC_LAPIC] = apic_tick;
	lapic_write(LAPIC_LVT_TIMER, 0x40000 | VEC_LAPIC);
	asm volatile("mfence" ::: "memory");
	for (unsigned i = 0; i < 5; i++) {
		ticks = 0;
		t0 = rdtsc();
		wrmsr(0x6e0, t0 + 10 * tsc_per_ms);
		wait_ticks(1);
		check(rdtsc() >= t0 + 9 * tsc_per_ms && ms_since(t0) < 2000,
		      "TSC deadline of 10 ms took %lu ms", ms_since(t0));
	}
	check(rdmsr(0x6e0) == 0, "TSC deadline is disarmed");
	lapic_write(LAPIC_LVT_TIMER, 0x10000);
}

static void rtc_periodic(void)
{
	unsigned pin = acpi_irq_gsi(8);
	uint64_t t0;

	trap_handler[VEC_RTC] = rtc_tick;
	ioapic_route(pin, VEC_RTC);
	outb(0x70, 0x0a);
	outb(0x71, 0x2a); /* 32768 Hz >> 9: 64 a second */
	outb(0x70, 0x0b);
	outb(0x71, 0x42); /* periodic interrupt, 24 h */
	outb(0x70, 0x0c);
	inb(0x71);
	ticks = 0;
	t0 = rdtsc();
	wait_ticks(16);
	check(ms_since(t0) >= 100 && ms_since(t0) < 5000, "RTC: 16 of 64 a second took %lu ms",
	      ms_since(t0));
	outb(0x70, 0x0b);
	outb(0x71, 0x02);
	outb(0x70, 0x0c);
	inb(0x71);
	ioapic_route(pin, 0);
}

void guest_main(void)
{
	lapic_init();
	clock_init();
	say("TSC: %lu a millisecond by the PIT\n", tsc_per_ms);
	if (!check(tsc_per_ms > 1000, "the TSC counts"))
		return;
	if (wanted("pit-pic"))
		pit_by_pic();
	if (wanted("pit-ioapic"))
		pit_by_ioapic();
	if (wanted("lapic"))
		lapic_timer();
	if (wanted("deadline"))
		tsc_deadline();
	if (wanted("rtc"))
		rtc_periodic();
}
