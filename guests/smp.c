/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starts every other CPU by INIT-SIPI and lets all of them count, then sends
 * interrupts to each and to all. `cpus=N`: how many there must be.
 */
#include "guest.h"

#define COUNT 1000
#define VEC_IPI 0x50

static volatile uint32_t started, finished, locked_total, ipis, go;
static volatile uint32_t per_cpu[AP_MAX], ipi_of[AP_MAX];
static uint32_t unlocked_by_turns; /* guarded by the ticket lock below */
static volatile uint32_t ticket_next, ticket_now;

static void add(volatile uint32_t *p, uint32_t v)
{
	asm volatile("lock addl %1, %0" : "+m"(*p) : "r"(v) : "memory", "cc");
}

static uint32_t take_ticket(void)
{
	uint32_t v = 1;

	asm volatile("lock xaddl %0, %1" : "+r"(v), "+m"(ticket_next)::"memory", "cc");
	return v;
}

static void on_ipi(struct trap_frame *f)
{
	unsigned id = lapic_read(LAPIC_ID) >> 24;

	(void)f;
	add(&ipis, 1);
	if (id < AP_MAX)
		add(&ipi_of[id], 1);
	lapic_eoi();
}

static void count(unsigned id)
{
	for (unsigned i = 0; i < COUNT; i++) {
		add(&locked_total, 1);
		per_cpu[id]++;
	}
	for (unsigned i = 0; i < 10; i++) {
		uint32_t mine = take_ticket();

		while (ticket_now != mine)
			pause();
		unlocked_by_turns++;
		ticket_now = mine + 1;
	}
	add(&finished, 1);
}

static void other_cpu(unsigned id)
{
	add(&started, 1);
	while (!go)
		pause();
	if (id < AP_MAX)
		count(id);
	for (;;)
		wait_irq();
}

static bool wait_for(volatile uint32_t *p, uint32_t want)
{
	/* The PIT measures at most 50 ms at a time; 10 s in all. */
	for (unsigned i = 0; i < 2000 && *p < want; i++)
		delay_us(5000);
	return *p == want;
}

void guest_main(void)
{
	uint8_t ids[AP_MAX];
	unsigned want = (unsigned)arg_u64("cpus", 4);
	unsigned n = acpi_cpus(ids, AP_MAX), self = lapic_read(LAPIC_ID) >> 24;

	if (acpi_find("APIC")) {
		check(n == want, "the MADT has %u CPUs", n);
	} else {
		say("no MADT: assuming APIC IDs 0 to %u\n", want - 1);
		for (n = 0; n < want; n++)
			ids[n] = (uint8_t)n;
	}
	check(cpuid(1, 0).b >> 24 == self, "CPUID's APIC ID %u is the LAPIC's", self);
	lapic_init();
	trap_handler[VEC_IPI] = on_ipi;
	ap_main = other_cpu;
	for (unsigned i = 0; i < n; i++) {
		uint32_t before = started;

		if (ids[i] == self)
			continue;
		ap_boot(ids[i]);
		check(wait_for(&started, before + 1), "CPU %u has started", ids[i]);
	}
	go = 1;
	count(self);
	check(wait_for(&finished, n), "%u CPUs have counted", finished);
	check(locked_total == n * COUNT, "the shared count is %u", locked_total);
	check(unlocked_by_turns == n * 10, "the count by turns is %u", unlocked_by_turns);
	for (unsigned i = 0; i < n; i++)
		check(per_cpu[ids[i]] == COUNT, "CPU %u counted to %u", ids[i], per_cpu[ids[i]]);

	for (unsigned i = 0; i < n; i++) {
		if (ids[i] == self)
			continue;
		lapic_write(LAPIC_ICR_HI, (uint32_t)ids[i] << 24);
		lapic_write(LAPIC_ICR_LO, 0x4000 | VEC_IPI);
		check(wait_for(&ipi_of[ids[i]], 1), "CPU %u has got its interrupt", ids[i]);
	}
	lapic_write(LAPIC_ICR_HI, 0);
	lapic_write(LAPIC_ICR_LO, 0xc4000 | VEC_IPI); /* all but self */
	check(wait_for(&ipis, 2 * (n - 1)), "a broadcast has reached all others");
}
