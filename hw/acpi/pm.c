/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI fixed hardware (ACPI 6.3, section 4.8): PM1a event and control blocks,
 * power management timer, and the GPE0 block of 16 general purpose events. Ports are those of
 * include/acpi.h, which the FADT names too, unless firmware moves them
 * (hw/acpi/piix4_pm.c).
 *
 * The machine has no legacy mode: SCI_EN is always set. The SCI is
 * level-triggered; what raises it are the power button, the timer's overflow, and what others
 * ask for by acpi_gpe_raise.
 *
 * vCPU threads (register handlers) and the main loop (power button, timer);
 * dev->lock guards everything.
 */
#include "dev.h"

#include <stdint.h>

#include "acpi.h"
#include "bus.h"
#include "irq.h"
#include "log.h"
#include "loop.h"
#include "machine.h"

enum { PM1_TMR = 0x0001, PM1_PWRBTN = 0x0100 };
enum {
	PM1_STATUS_BITS = 0x8731, /* WAK RTC SLPBTN PWRBTN GBL BM TMR: writing 1 clears */
	PM1_ENABLE_BITS = 0x0721,
};
enum { CNT_SCI_EN = 0x0001, CNT_SLP_TYP_SHIFT = 10, CNT_SLP_TYP = 7, CNT_SLP_EN = 0x2000 };
enum { CNT_KEPT = 0x1c02 }; /* SLP_TYP and BM_RLD read back as written */

#define PM_TIMER_HZ 3579545u
#define NS_PER_S 1000000000u

struct acpi_pm {
	struct dev dev;
	struct io_region event, control, timer, gpe;
	uint16_t base; /* 0: unmapped */
	bool line;
	uint16_t status, enable, cnt;
	uint16_t gpe_status, gpe_enable;
	uint32_t msb_seen; /* bit 31 of the timer when TMR_STS was last worked out */
	struct loop_timer overflow;
	struct log_limit log;
};

/* --- timer and SCI ------------------------------------------------------------- */

/* Ticks since the host started, of which the guest sees the low 32 bits. */
static uint64_t ticks(void)
{
	uint64_t ns = loop_now_ns();

	return ns / NS_PER_S * PM_TIMER_HZ + ns % NS_PER_S * PM_TIMER_HZ / NS_PER_S;
}

/* TMR_STS is set whenever the timer's highest bit changes: every ten minutes. */
static void update_sci(struct acpi_pm *p)
{
	uint64_t now = ticks();
	uint32_t msb = (uint32_t)now & 0x80000000u;
	bool level;

	if (msb != p->msb_seen) {
		p->msb_seen = msb;
		p->status |= PM1_TMR;
	}
	level = p->status & p->enable || p->gpe_status & p->gpe_enable;
	if (level != p->line) {
		p->line = level;
		irq_set(&p->dev.m->isa_irq[ACPI_SCI_IRQ], level);
	}
	if (p->enable & PM1_TMR && !(p->status & PM1_TMR)) {
		uint64_t left = 0x80000000u - (now & 0x7fffffff);

		/* One tick more, so that rounding never wakes too early. */
		loop_timer_set(&p->overflow, loop_now_ns() + (left + 1) * NS_PER_S / PM_TIMER_HZ);
	} else {
		loop_timer_cancel(&p->overflow);
	}
}

static void overflow_cb(void *ctx)
{
	struct acpi_pm *p = ctx;

	pthread_mutex_lock(&p->dev.lock);
	update_sci(p);
	pthread_mutex_unlock(&p->dev.lock);
}

static void power_button(void *ctx)
{
	struct acpi_pm *p = ctx;

	pthread_mutex_lock(&p->dev.lock);
	p->status |= PM1_PWRBTN;
	update_sci(p);
	pthread_mutex_unlock(&p->dev.lock);
}

static bool power_button_heeded(void *ctx)
{
	struct acpi_pm *p = ctx;
	bool enabled;

	pthread_mutex_lock(&p->dev.lock);
	enabled = p->enable & PM1_PWRBTN;
	pthread_mutex_unlock(&p->dev.lock);
	return enabled;
}

/* --- PM1a event block: status and enable, 16 bits each ----------------------------- */

static uint64_t event_read(void *dev, uint64_t off, unsigned size)
{
	struct acpi_pm *p = dev;

	update_sci(p);
	return (p->status | (uint32_t)p->enable << 16) >> 8 * off;
}

/* The bytes of four that an access of size bytes at off writes. */
static uint32_t written_lanes(uint64_t off, unsigned size)
{
	return (size == 4 ? UINT32_MAX : (1u << 8 * size) - 1) << 8 * off;
}

static void event_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct acpi_pm *p = dev;
	uint32_t lanes = written_lanes(off, size), bits = (uint32_t)val << 8 * off;

	update_sci(p);
	p->status &= (uint16_t)~bits;
	p->enable = ((p->enable & ~(lanes >> 16)) | bits >> 16) & PM1_ENABLE_BITS;
	update_sci(p);
}

static const struct io_ops event_ops = {
	.read = event_read,
	.write = event_write,
	.min = 1,
	.max = 4,
};

/* --- PM1a control block --------------------------------------------------------------- */

static uint64_t control_read(void *dev, uint64_t off, unsigned size)
{
	return ((struct acpi_pm *)dev)->cnt | CNT_SCI_EN;
}

static void control_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct acpi_pm *p = dev;
	unsigned type = val >> CNT_SLP_TYP_SHIFT & CNT_SLP_TYP;

	p->cnt = val & CNT_KEPT;
	if (!(val & CNT_SLP_EN))
		return;
	if (type == ACPI_S5_SLP_TYP)
		machine_request(p->dev.m, MACHINE_POWEROFF, 0);
	else
		log_guest(&p->log, p->dev.cls->name, "sleep type %u is not offered (S5 is %u)",
			  type, ACPI_S5_SLP_TYP);
}

static const struct io_ops control_ops = {
	.read = control_read,
	.write = control_write,
	.min = 2, /* a byte-wide write of SLP_EN keeps the other byte */
	.max = 2,
};

/* --- PM timer, GPE0 ------------------------------------------------------ */

static uint64_t timer_read(void *dev, uint64_t off, unsigned size)
{
	return (uint32_t)ticks() >> 8 * off;
}

static const struct io_ops timer_ops = {
	.read = timer_read,
	.min = 1,
	.max = 4,
};

/* Status, where writing 1 clears, and enable, 16 bits each. */
static uint64_t gpe_read(void *dev, uint64_t off, unsigned size)
{
	struct acpi_pm *p = dev;

	return (p->gpe_status | (uint32_t)p->gpe_enable << 16) >> 8 * off;
}

static void gpe_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct acpi_pm *p = dev;
	uint32_t lanes = written_lanes(off, size), bits = (uint32_t)val << 8 * off;

	p->gpe_status &= (uint16_t)~bits;
	p->gpe_enable = (uint16_t)((p->gpe_enable & ~(lanes >> 16)) | bits >> 16);
	update_sci(p);
}

static const struct io_ops gpe_ops = {
	.read = gpe_read,
	.write = gpe_write,
	.min = 1,
	.max = 4,
};

void acpi_gpe_raise(struct machine *m, unsigned gpe)
{
	struct acpi_pm *p = (struct acpi_pm *)m->acpi_pm;

	pthread_mutex_lock(&p->dev.lock);
	p->gpe_status |= (uint16_t)(1u << gpe);
	update_sci(p);
	pthread_mutex_unlock(&p->dev.lock);
}

/* --- life ---------------------------------------------------------------------------------- */

static void pm_reset(struct dev *d)
{
	struct acpi_pm *p = (struct acpi_pm *)d;

	p->msb_seen = (uint32_t)ticks() & 0x80000000u;
	p->status = p->enable = p->cnt = p->gpe_status = p->gpe_enable = 0;
	update_sci(p);
}

static void prepare(struct acpi_pm *p, struct io_region *r, const char *name,
		    const struct io_ops *ops, unsigned size)
{
	*r = (struct io_region){
		.name = name, .ops = ops, .dev = p, .lock = &p->dev.lock, .size = size
	};
}

static void unmap_all(struct acpi_pm *p)
{
	struct io_region *const regions[] = { &p->event, &p->control, &p->timer, &p->gpe };

	for (unsigned i = 0; i < sizeof(regions) / sizeof(regions[0]); i++)
		if (bus_mapped(regions[i]))
			bus_unmap(regions[i]);
}

void acpi_pm_place(struct machine *m, uint16_t base)
{
	struct acpi_pm *p = (struct acpi_pm *)m->acpi_pm;

	if (!p || p->base == base)
		return;
	unmap_all(p);
	p->base = base;
	if (!base)
		return;
	bus_map(&m->pio, &p->event, base);
	bus_map(&m->pio, &p->control, base + (ACPI_PM1_CNT - ACPI_PM_BASE));
	bus_map(&m->pio, &p->timer, base + (ACPI_PM_TMR - ACPI_PM_BASE));
	bus_map(&m->pio, &p->gpe, base + (ACPI_GPE0 - ACPI_PM_BASE));
}

static int pm_init(struct dev *d, struct err *e)
{
	struct acpi_pm *p = (struct acpi_pm *)d;

	p->log = (struct log_limit)LOG_LIMIT_INIT;
	loop_timer_init(&p->overflow, d->m->loop, overflow_cb, p);
	prepare(p, &p->event, "acpi-pm1-event", &event_ops, 4);
	prepare(p, &p->control, "acpi-pm1-control", &control_ops, 2);
	prepare(p, &p->timer, "acpi-pm-timer", &timer_ops, 4);
	prepare(p, &p->gpe, "acpi-gpe0", &gpe_ops, 4);
	d->m->acpi_pm = d;
	acpi_pm_place(d->m, ACPI_PM_BASE);
	d->m->power_button = power_button;
	d->m->power_button_heeded = power_button_heeded;
	d->m->power_button_ctx = p;
	return 0;
}

static void pm_fini(struct dev *d)
{
	struct acpi_pm *p = (struct acpi_pm *)d;

	if (d->m->acpi_pm == d)
		d->m->acpi_pm = NULL;
	if (d->m->power_button_ctx == p) {
		d->m->power_button = NULL;
		d->m->power_button_heeded = NULL;
		d->m->power_button_ctx = NULL;
	}
	unmap_all(p);
	loop_timer_cancel(&p->overflow);
}

const struct dev_class acpi_pm_class = {
	.name = "acpi-pm",
	.desc = "ACPI power management: power-off, power button, timer",
	.bus = DEV_BUS_SYSTEM,
	.internal = true,
	.size = sizeof(struct acpi_pm),
	.init = pm_init,
	.reset = pm_reset,
	.fini = pm_fini,
};
