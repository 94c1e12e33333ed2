/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupt controllers and timers: local APIC (Intel SDM volume 3, chapter
 * 11), 82093AA IOAPIC, 8259A PICs, 8254 PIT; and starting other CPUs.
 */
#include "guest.h"

#define PIC1 0x20
#define PIC2 0xa0
#define PIT_HZ 1193182u

void (*ap_main)(unsigned apic_id);
extern const uint8_t ap_trampoline[], ap_trampoline_end[];
void ap_start(void);

static void spurious(struct trap_frame *f)
{
	(void)f; /* needs no EOI */
}

void lapic_init(void)
{
	trap_handler[VEC_SPURIOUS] = spurious;
	lapic_write(LAPIC_TPR, 0);
	lapic_write(LAPIC_SVR, 0x100 | VEC_SPURIOUS);
}

void lapic_eoi(void)
{
	lapic_write(LAPIC_EOI, 0);
}

uint32_t ioapic_read(unsigned reg)
{
	mmio_write32(IOAPIC_BASE, reg);
	return mmio32(IOAPIC_BASE + 0x10);
}

void ioapic_write(unsigned reg, uint32_t val)
{
	mmio_write32(IOAPIC_BASE, reg);
	mmio_write32(IOAPIC_BASE + 0x10, val);
}

unsigned ioapic_pins(void)
{
	return (ioapic_read(1) >> 16 & 0xff) + 1;
}

void ioapic_route(unsigned pin, unsigned vector)
{
	ioapic_write(0x10 + pin * 2 + 1, 0);
	ioapic_write(0x10 + pin * 2, vector ? vector : 0x10000);
}

void ioapic_route_level(unsigned pin, unsigned vector)
{
	ioapic_write(0x10 + pin * 2 + 1, 0);
	ioapic_write(0x10 + pin * 2, vector ? vector | 0x8000 : 0x10000);
}

void pic_init(unsigned base)
{
	outb(PIC1, 0x11);
	outb(PIC2, 0x11);
	outb(PIC1 + 1, (uint8_t)base);
	outb(PIC2 + 1, (uint8_t)(base + 8));
	outb(PIC1 + 1, 4); /* the second one is on line 2 */
	outb(PIC2 + 1, 2);
	outb(PIC1 + 1, 1);
	outb(PIC2 + 1, 1);
	pic_mask(0xffff);
}

void pic_mask(uint16_t mask)
{
	outb(PIC1 + 1, (uint8_t)mask);
	outb(PIC2 + 1, (uint8_t)(mask >> 8));
}

void pic_eoi(unsigned irq)
{
	if (irq >= 8)
		outb(PIC2, 0x20);
	outb(PIC1, 0x20);
}

void pit_periodic(unsigned hz)
{
	unsigned div = PIT_HZ / hz;

	outb(0x43, 0x34); /* channel 0, low then high byte, mode 2 */
	outb(0x40, (uint8_t)div);
	outb(0x40, (uint8_t)(div >> 8));
}

void pit_stop(void)
{
	outb(0x43, 0x30); /* mode 0 without a count: output stays low */
}

void delay_us(unsigned us)
{
	unsigned n = (unsigned)((uint64_t)us * PIT_HZ / 1000000);

	outb(0x61, (uint8_t)((inb(0x61) & ~2) | 1)); /* gate of channel 2 on, speaker off */
	outb(0x43, 0xb0); /* channel 2, mode 0: output high when done */
	outb(0x42, (uint8_t)n);
	outb(0x42, (uint8_t)(n >> 8));
	while (!(inb(0x61) & 0x20))
		pause();
}

uint64_t tsc_per_ms, lapic_per_ms;

void clock_init(void)
{
	uint64_t t0;

	lapic_write(LAPIC_TIMER_DIV, 0x3); /* by 16: a minute fits in 32 bits, at 1 GHz */
	lapic_write(LAPIC_LVT_TIMER, 0x10000);
	lapic_write(LAPIC_TIMER_INIT, 0xffffffff);
	t0 = rdtsc();
	delay_us(50000);
	tsc_per_ms = (rdtsc() - t0) / 50;
	lapic_per_ms = (0xffffffff - lapic_read(LAPIC_TIMER_CUR)) / 50;
	lapic_write(LAPIC_TIMER_INIT, 0);
}

void lapic_timer_after(unsigned ms, unsigned vector)
{
	uint64_t count = ms * lapic_per_ms;

	lapic_write(LAPIC_TIMER_INIT, 0);
	lapic_write(LAPIC_LVT_TIMER, vector);
	lapic_write(LAPIC_TIMER_INIT, count > UINT32_MAX ? UINT32_MAX : (uint32_t)count);
}

void ap_start(void)
{
	trap_init_ap();
	lapic_init();
	ap_main(lapic_read(LAPIC_ID) >> 24);
}

static void ipi(unsigned apic_id, uint32_t command)
{
	lapic_write(LAPIC_ICR_HI, apic_id << 24);
	lapic_write(LAPIC_ICR_LO, command);
	while (lapic_read(LAPIC_ICR_LO) & 0x1000)
		pause();
}

void ap_boot(unsigned apic_id)
{
	memcpy((void *)AP_TRAMPOLINE, ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
	ipi(apic_id, 0x4500); /* INIT, assert */
	delay_us(10000);
	ipi(apic_id, 0x4600 | AP_TRAMPOLINE >> 12); /* start-up */
	delay_us(200);
	ipi(apic_id, 0x4600 | AP_TRAMPOLINE >> 12);
}
