/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The real-time clock and CMOS memory of a PC: an MC146818 (Motorola data
 * sheet) with 128 bytes behind ports 0x70 (index) and 0x71 (data), IRQ 8.
 *
 * An update cycle takes no time: UIP announces it, and falls when it is done. Daylight saving
 * (DSE) is a bit without effect, the divider is always that of a 32768 Hz crystal, and the
 * square wave has no pin.
 *
 * Nothing ticks. The time is the host's clock plus an offset, which the guest
 * changes by setting the time; flags are worked out when the guest looks at
 * them, and a loop timer runs only while an interrupt is enabled and not yet
 * pending.
 *
 * vCPU threads (register handlers) and the main loop (timer); dev->lock guards
 * everything.
 */
#include "dev.h"

#include <stdint.h>
#include <time.h>

#include "bus.h"
#include "gmem.h"
#include "irq.h"
#include "isa.h"
#include "loop.h"
#include "machine.h"
#include "rtc.h"

#define NS_PER_S 1000000000ll

enum { RTC_PORT = 0x70, RTC_IRQ = 8, CMOS_SIZE = 128 };

/* The registers; what lies behind is memory with the PC's own meanings. */
enum {
	SECONDS = 0x00,
	SECONDS_ALARM = 0x01,
	MINUTES = 0x02,
	MINUTES_ALARM = 0x03,
	HOURS = 0x04,
	HOURS_ALARM = 0x05,
	DAY_OF_WEEK = 0x06,
	DAY_OF_MONTH = 0x07,
	MONTH = 0x08,
	YEAR = 0x09,
	REG_A = 0x0a,
	REG_B = 0x0b,
	REG_C = 0x0c,
	REG_D = 0x0d,
	CENTURY = 0x32,
};

enum { A_UIP = 0x80, A_DIVIDER = 0x70, A_RATE = 0x0f, A_POWER_ON = 0x26 };
enum {
	B_SET = 0x80,
	B_PIE = 0x40,
	B_AIE = 0x20,
	B_UIE = 0x10,
	B_SQWE = 0x08,
	B_BINARY = 0x04,
	B_24H = 0x02,
};
enum { C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10, C_FLAGS = 0x70 };
enum { D_VRT = 0x80 };
enum { HOUR_PM = 0x80, ALARM_ANY = 0xc0 };

/* UIP is set this long before the time changes (data sheet: at least). */
#define UIP_NS 244000
#define DIVIDER_HZ 32768

struct rtc {
	struct dev dev;
	struct io_region ports;
	bool line;
	struct loop_timer timer;
	uint8_t index;
	/*
	 * Time registers in cmos[] hold the time only while the clock is stopped;
	 * else load_time fills them.
	 */
	uint8_t cmos[CMOS_SIZE];
	int64_t offset_ns; /* guest clock minus host clock */
	int64_t seen_ns; /* guest time up to which flags are worked out */
};

/* --- the clock -------------------------------------------------------------- */

static int64_t host_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* In guest time, which counts from 1970 in whatever zone the guest's clock is. */
static int64_t now_ns(const struct rtc *r)
{
	return host_ns() + r->offset_ns;
}

/* Seconds as nanoseconds in an int64_t, with room for sums: the years 1780 to 2160. */
static int64_t clamp_secs(int64_t secs)
{
	const int64_t max = 6000000000;

	return secs > max ? max : secs < -max ? -max : secs;
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static bool divider_held(const struct rtc *r)
{
	return (r->cmos[REG_A] & 0x60) == 0x60;
}

static bool stopped(const struct rtc *r)
{
	return r->cmos[REG_B] & B_SET || divider_held(r);
}

static uint8_t encode(const struct rtc *r, int val)
{
	if (r->cmos[REG_B] & B_BINARY)
		return (uint8_t)val;
	return (uint8_t)(val / 10 << 4 | val % 10);
}

static int decode(const struct rtc *r, uint8_t val)
{
	return r->cmos[REG_B] & B_BINARY ? val : (val >> 4) * 10 + (val & 0x0f);
}

static uint8_t encode_hour(const struct rtc *r, int hour)
{
	if (r->cmos[REG_B] & B_24H)
		return encode(r, hour);
	return encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static int decode_hour(const struct rtc *r, uint8_t val)
{
	if (r->cmos[REG_B] & B_24H)
		return decode(r, val);
	return decode(r, val & ~HOUR_PM) % 12 + (val & HOUR_PM ? 12 : 0);
}

/* Makes the time registers show the time. */
static void load_time(struct rtc *r)
{
	time_t secs;
	struct tm tm;
	int year;

	if (stopped(r))
		return;
	secs = floor_div(now_ns(r), NS_PER_S);
	if (!gmtime_r(&secs, &tm))
		return;
	/* A year that the registers cannot show (0 to 9999) comes out modulo 10000. */
	year = (int)((tm.tm_year + 1900ll) % 10000);
	if (year < 0)
		year += 10000;
	r->cmos[SECONDS] = encode(r, tm.tm_sec);
	r->cmos[MINUTES] = encode(r, tm.tm_min);
	r->cmos[HOURS] = encode_hour(r, tm.tm_hour);
	r->cmos[DAY_OF_WEEK] = encode(r, tm.tm_wday + 1);
	r->cmos[DAY_OF_MONTH] = encode(r, tm.tm_mday);
	r->cmos[MONTH] = encode(r, tm.tm_mon + 1);
	r->cmos[YEAR] = encode(r, year % 100);
	r->cmos[CENTURY] = encode(r, year / 100);
}

/*
 * Makes the clock go on from the time registers, `phase` nanoseconds into the second.
 * The day of the week follows from the date; what the guest wrote there is lost.
 */
static void store_time(struct rtc *r, int64_t phase)
{
	struct tm tm = {
		.tm_sec = decode(r, r->cmos[SECONDS]),
		.tm_min = decode(r, r->cmos[MINUTES]),
		.tm_hour = decode_hour(r, r->cmos[HOURS]),
		.tm_mday = decode(r, r->cmos[DAY_OF_MONTH]),
		.tm_mon = decode(r, r->cmos[MONTH]) - 1,
		.tm_year = decode(r, r->cmos[CENTURY]) * 100 + decode(r, r->cmos[YEAR]) - 1900,
	};
	int64_t secs = timegm(&tm); /* takes nonsense too: 40 January is 9 February */

	r->offset_ns = clamp_secs(secs) * NS_PER_S + phase - host_ns();
	r->seen_ns = now_ns(r);
}

static int64_t phase_ns(const struct rtc *r)
{
	int64_t now = now_ns(r);

	return now - floor_div(now, NS_PER_S) * NS_PER_S;
}

/* --- interrupts ---------------------------------------------------------------- */

/* Shift of the divider's 32768 Hz ticks that gives the periodic rate; 0 for none. */
static unsigned rate_shift(const struct rtc *r)
{
	unsigned rate = r->cmos[REG_A] & A_RATE;

	if (!rate || divider_held(r))
		return 0;
	/* Rates 1 and 2 are those of 8 and 9: the shift is rate - 1. Shift 0 would be 32768 Hz. */
	return rate <= 2 ? rate + 6 : rate - 1;
}

/* Periods of the periodic interrupt since 1970. */
static int64_t periods(int64_t ns, unsigned shift)
{
	int64_t secs = floor_div(ns, NS_PER_S);
	int64_t ticks = secs * DIVIDER_HZ + (ns - secs * NS_PER_S) * DIVIDER_HZ / NS_PER_S;

	return ticks >> shift;
}

/* The first nanosecond of a period. */
static int64_t period_start_ns(int64_t period, unsigned shift)
{
	int64_t ticks = period * (1ll << shift);
	int64_t secs = floor_div(ticks, DIVIDER_HZ);
	int64_t part = (ticks - secs * DIVIDER_HZ) * NS_PER_S;

	return secs * NS_PER_S + (part + DIVIDER_HZ - 1) / DIVIDER_HZ;
}

static bool alarm_matches(const struct rtc *r, unsigned reg, uint8_t val)
{
	return r->cmos[reg] >= ALARM_ANY || r->cmos[reg] == val;
}

static bool alarm_at(const struct rtc *r, int64_t secs)
{
	int64_t day = secs - floor_div(secs, 86400) * 86400;

	return alarm_matches(r, SECONDS_ALARM, encode(r, (int)(day % 60))) &&
	       alarm_matches(r, MINUTES_ALARM, encode(r, (int)(day / 60 % 60))) &&
	       alarm_matches(r, HOURS_ALARM, encode_hour(r, (int)(day / 3600)));
}

/* Sets the flags for what has happened since the last call. */
static void catch_up(struct rtc *r)
{
	int64_t now = now_ns(r);
	int64_t from = floor_div(r->seen_ns, NS_PER_S), to = floor_div(now, NS_PER_S);
	unsigned shift = rate_shift(r);

	if (shift && periods(now, shift) != periods(r->seen_ns, shift))
		r->cmos[REG_C] |= C_PF;
	if (!stopped(r) && to > from) {
		r->cmos[REG_C] |= C_UF;
		if (to - from > 86400)
			from = to - 86400; /* an alarm comes once a day at least, or never */
		while (!(r->cmos[REG_C] & C_AF) && from < to)
			if (alarm_at(r, ++from))
				r->cmos[REG_C] |= C_AF;
	}
	r->seen_ns = now;
}

static void update_irq(struct rtc *r)
{
	uint8_t enabled = r->cmos[REG_B] & C_FLAGS; /* PIE, AIE, UIE lie as PF, AF, UF do */
	bool level = r->cmos[REG_C] & enabled;
	unsigned shift = rate_shift(r);
	int64_t now, wake = INT64_MAX;

	if (level != r->line) {
		r->line = level;
		irq_set(&r->dev.m->isa_irq[RTC_IRQ], level);
	}
	now = now_ns(r);
	if (enabled & B_PIE && shift)
		wake = period_start_ns(periods(now, shift) + 1, shift);
	/* The alarm is compared once a second, so a host clock that is set does not delay it. */
	if (enabled & (B_AIE | B_UIE) && !stopped(r)) {
		int64_t second = (floor_div(now, NS_PER_S) + 1) * NS_PER_S;

		if (second < wake)
			wake = second;
	}
	if (level || wake == INT64_MAX)
		loop_timer_cancel(&r->timer);
	else
		loop_timer_set(&r->timer, loop_now_ns() + (uint64_t)(wake - now));
}

static void timer_cb(void *ctx)
{
	struct rtc *r = ctx;

	pthread_mutex_lock(&r->dev.lock);
	catch_up(r);
	update_irq(r);
	pthread_mutex_unlock(&r->dev.lock);
}

/* --- registers ------------------------------------------------------------------- */

static bool is_time(uint8_t reg)
{
	return reg == SECONDS || reg == MINUTES ||
	       (reg >= HOURS && reg != HOURS_ALARM && reg <= YEAR) || reg == CENTURY;
}

static uint8_t cmos_read(struct rtc *r, uint8_t reg)
{
	uint8_t val;

	if (is_time(reg))
		load_time(r);
	switch (reg) {
	case REG_A:
		val = r->cmos[REG_A];
		return !stopped(r) && phase_ns(r) >= NS_PER_S - UIP_NS ? val | A_UIP : val;
	case REG_C:
		catch_up(r);
		val = r->cmos[REG_C];
		if (val & r->cmos[REG_B] & C_FLAGS)
			val |= C_IRQF;
		r->cmos[REG_C] = 0;
		update_irq(r);
		return val;
	case REG_D:
		return D_VRT;
	default:
		return r->cmos[reg];
	}
}

/* Register A or B changes, and with it perhaps whether and how the clock runs. */
static void control_write(struct rtc *r, uint8_t reg, uint8_t val)
{
	bool was_stopped = stopped(r), was_held = divider_held(r);

	catch_up(r);
	load_time(r); /* in the old format, in case that it stops now */
	r->cmos[reg] = val;
	if (r->cmos[REG_B] & B_SET)
		r->cmos[REG_B] &= ~B_UIE;
	if (was_held && !divider_held(r)) {
		/* The divider starts half way through a second. */
		r->offset_ns += NS_PER_S / 2 - phase_ns(r);
		r->seen_ns = now_ns(r);
	}
	if (was_stopped && !stopped(r))
		store_time(r, phase_ns(r));
	update_irq(r);
}

static void cmos_write(struct rtc *r, uint8_t reg, uint8_t val)
{
	if (is_time(reg)) {
		catch_up(r);
		load_time(r);
		r->cmos[reg] = val;
		if (!stopped(r))
			store_time(r, phase_ns(r));
		update_irq(r);
		return;
	}
	switch (reg) {
	case REG_A:
		control_write(r, reg, val & ~A_UIP);
		break;
	case REG_B:
		control_write(r, reg, val);
		break;
	case REG_C: /* read only */
	case REG_D:
		break;
	case SECONDS_ALARM:
	case MINUTES_ALARM:
	case HOURS_ALARM:
		catch_up(r);
		r->cmos[reg] = val;
		break;
	default:
		r->cmos[reg] = val;
	}
}

static uint64_t rtc_read(void *dev, uint64_t off, unsigned size)
{
	struct rtc *r = dev;

	/* The index register is write-only. */
	return off ? cmos_read(r, r->index) : 0xff;
}

static void rtc_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct rtc *r = dev;

	/* Bit 7 of the index masks NMIs, of which this machine has none. */
	if (off)
		cmos_write(r, r->index, (uint8_t)val);
	else
		r->index = val & (CMOS_SIZE - 1);
}

static const struct io_ops rtc_ops = {
	.read = rtc_read,
	.write = rtc_write,
	.min = 1,
	.max = 1,
};

/* --- life --------------------------------------------------------------------------- */

static void put_le(struct rtc *r, unsigned reg, uint64_t val, unsigned bytes)
{
	uint64_t max = (1ull << 8 * bytes) - 1;

	if (val > max)
		val = max;
	for (unsigned i = 0; i < bytes; i++)
		r->cmos[reg + i] = (uint8_t)(val >> 8 * i);
}

/* The checksum of what set-up programs leave. */
static void sum_up(struct rtc *r)
{
	uint16_t sum = 0;

	for (unsigned i = 0x10; i <= 0x2d; i++)
		sum += r->cmos[i];
	r->cmos[0x2e] = (uint8_t)(sum >> 8);
	r->cmos[0x2f] = (uint8_t)sum;
}

/*
 * What a PC's set-up program leaves in CMOS: memory, processors, and by zeros that there
 * are no floppy drives (0x10) and no disks of the BIOS's own types (0x12).
 */
static void fill_equipment(struct rtc *r)
{
	uint64_t low = gmem_low_size(&r->dev.m->mem), kib = low >> 10;

	put_le(r, 0x5f, r->dev.m->n_cpus - 1, 1); /* processors besides the first */
	r->cmos[0x14] = 0x02; /* equipment: a numeric coprocessor */
	put_le(r, 0x15, kib < 640 ? kib : 640, 2);
	put_le(r, 0x17, kib > 1024 ? kib - 1024 : 0, 2); /* KiB above 1 MiB, twice */
	put_le(r, 0x30, kib > 1024 ? kib - 1024 : 0, 2);
	put_le(r, 0x34, low > 16u << 20 ? (low - (16u << 20)) >> 16 : 0, 2); /* 64 KiB units */
	put_le(r, 0x5b, gmem_high_size(&r->dev.m->mem) >> 16, 3);
	sum_up(r);
}

void rtc_set_cmos(struct machine *m, unsigned reg, uint8_t val)
{
	struct rtc *r = (struct rtc *)m->rtc_dev;

	if (!r)
		return;
	pthread_mutex_lock(&r->dev.lock);
	r->cmos[reg & (CMOS_SIZE - 1)] = val;
	sum_up(r);
	pthread_mutex_unlock(&r->dev.lock);
}

/* The RESET line; time, alarm and memory run on a battery. */
static void rtc_reset(struct dev *d)
{
	struct rtc *r = (struct rtc *)d;

	catch_up(r);
	r->index = 0;
	r->cmos[REG_B] &= ~(B_PIE | B_AIE | B_UIE | B_SQWE);
	r->cmos[REG_C] = 0;
	update_irq(r);
}

static int rtc_init(struct dev *d, struct err *e)
{
	struct rtc *r = (struct rtc *)d;

	loop_timer_init(&r->timer, d->m->loop, timer_cb, r);
	d->m->rtc_dev = d;
	r->cmos[REG_A] = A_POWER_ON;
	r->cmos[REG_B] = B_24H;
	r->offset_ns =
		(clamp_secs(host_ns() / NS_PER_S + d->m->rtc.offset_s) - host_ns() / NS_PER_S) *
		NS_PER_S;
	if (d->m->rtc.localtime) {
		time_t now = host_ns() / NS_PER_S;
		struct tm tm;

		if (localtime_r(&now, &tm))
			r->offset_ns += tm.tm_gmtoff * NS_PER_S;
	}
	r->seen_ns = now_ns(r);
	fill_equipment(r);
	return isa_map(d, &r->ports, &rtc_ops, RTC_PORT, 2, e);
}

static void rtc_fini(struct dev *d)
{
	struct rtc *r = (struct rtc *)d;

	if (d->m->rtc_dev == d)
		d->m->rtc_dev = NULL;
	isa_unmap(&r->ports);
	loop_timer_cancel(&r->timer);
}

const struct dev_class mc146818rtc_class = {
	.name = "mc146818rtc",
	.desc = "real-time clock and CMOS memory",
	.bus = DEV_BUS_ISA,
	.internal = true,
	.size = sizeof(struct rtc),
	.init = rtc_init,
	.reset = rtc_reset,
	.fini = rtc_fini,
};
