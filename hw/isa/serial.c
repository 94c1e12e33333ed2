/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A 16550A serial port (UART with FIFOs), after National Semiconductor's
 * PC16550D data sheet, on the ISA bus.
 *
 * The line has no speed: a byte the guest writes goes to the chardev within the
 * write. Only when the chardev takes no more does it wait here, with THRE
 * clear, until the chardev is writable. Input comes as fast as the guest reads
 * it: the chardev is asked for no more than the receive FIFO holds.
 *
 * vCPU threads (register handlers) and the main loop (chardev, timer); dev->lock
 * guards everything.
 */
#include "dev.h"

#include <errno.h>
#include <stdint.h>

#include "bus.h"
#include "chardev.h"
#include "err.h"
#include "irq.h"
#include "isa.h"
#include "log.h"
#include "loop.h"
#include "machine.h"
#include "props.h"

/* Register offsets. 0 and 1 are the divisor latch while LCR_DLAB is set. */
enum { DATA = 0, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR, N_PORTS };

enum { IER_RDI = 0x01, IER_THRI = 0x02, IER_RLSI = 0x04, IER_MSI = 0x08, IER_MASK = 0x0f };

/* Interrupt identification, highest priority first. */
enum {
	IIR_RLS = 0x06,
	IIR_RDI = 0x04,
	IIR_TIMEOUT = 0x0c,
	IIR_THRI = 0x02,
	IIR_MSI = 0x00,
	IIR_NONE = 0x01,
	IIR_FIFO = 0xc0,
};

enum { FCR_ENABLE = 0x01, FCR_CLEAR_RX = 0x02, FCR_TRIGGER_SHIFT = 6 };
enum { LCR_DLAB = 0x80 };
enum { MCR_OUT2 = 0x08, MCR_LOOP = 0x10, MCR_MASK = 0x1f };
enum {
	LSR_DR = 0x01,
	LSR_OE = 0x02,
	LSR_BI = 0x10,
	LSR_THRE = 0x20,
	LSR_TEMT = 0x40,
	LSR_FIFO_ERROR = 0x80,
};
enum {
	MSR_DCTS = 0x01,
	MSR_DDSR = 0x02,
	MSR_TERI = 0x04,
	MSR_DDCD = 0x08,
	MSR_CTS = 0x10,
	MSR_DSR = 0x20,
	MSR_RI = 0x40,
	MSR_DCD = 0x80,
};

#define RX_FIFO 16u
/*
 * The 16550's transmit FIFO is 16 bytes. This one is deeper, because Linux's
 * console writes after 10 ms whether THRE is set or not, and what a slow
 * terminal has not read yet should not be lost.
 */
#define TX_FIFO 4096u

/* Four characters of ten bits, 16 clocks a bit, for each unit of the divisor at 1.8432 MHz. */
#define TIMEOUT_NS_PER_DIVISOR 347222u

struct serial {
	struct dev dev;
	/* properties */
	char *chardev;
	uint32_t iobase; /* 0: by index */
	uint32_t irq_n; /* 0: by index */
	int index; /* of index_names */

	struct io_region ports;
	const struct irq *irq;
	bool line; /* what irq was last set to */
	struct chardev_port *port;

	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	uint8_t msr_deltas;
	bool overrun;
	bool thri; /* the THRE interrupt is pending */

	struct rx_char {
		uint8_t data, errors; /* errors: LSR bits */
	} rx[RX_FIFO];
	unsigned rx_head, rx_n, rx_with_errors;
	bool rx_timeout; /* the character time-out is pending */
	bool rx_timer_set; /* rx_timer will call */
	uint64_t rx_timeout_at; /* if no character is read before */
	struct loop_timer rx_timer;
	/* Taken from the chardev but not in the FIFO: the guest changed its mode meanwhile. */
	uint8_t line_in[RX_FIFO];
	unsigned line_in_n;
	bool input_held; /* can_read said 0: the chardev waits for chardev_accept */

	uint8_t tx[TX_FIFO];
	unsigned tx_head, tx_n;
	struct log_limit log;
};

static const struct {
	uint16_t iobase;
	uint8_t irq;
} com[] = { { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 } };

#define N_COM (sizeof(com) / sizeof(com[0]))

static const char *const index_names[] = { "auto", "0", "1", "2", "3", NULL };

static bool fifo_on(const struct serial *s)
{
	return s->fcr & FCR_ENABLE;
}

static bool loopback(const struct serial *s)
{
	return s->mcr & MCR_LOOP;
}

/* --- interrupts ------------------------------------------------------------- */

/* Errors of the character that the guest would read next. */
static uint8_t top_errors(const struct serial *s)
{
	return s->rx_n ? s->rx[s->rx_head].errors : 0;
}

static unsigned rx_trigger(const struct serial *s)
{
	static const uint8_t level[] = { 1, 4, 8, 14 };

	return fifo_on(s) ? level[s->fcr >> FCR_TRIGGER_SHIFT] : 1;
}

static uint8_t interrupt_id(const struct serial *s)
{
	if ((s->ier & IER_RLSI) && (s->overrun || top_errors(s)))
		return IIR_RLS;
	if ((s->ier & IER_RDI) && s->rx_n >= rx_trigger(s))
		return IIR_RDI;
	if ((s->ier & IER_RDI) && s->rx_timeout)
		return IIR_TIMEOUT;
	if ((s->ier & IER_THRI) && s->thri)
		return IIR_THRI;
	if ((s->ier & IER_MSI) && s->msr_deltas)
		return IIR_MSI;
	return IIR_NONE;
}

/* On a PC, OUT2 switches the interrupt line; loopback disconnects OUT2. */
static void update_irq(struct serial *s)
{
	bool level = (s->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2 && interrupt_id(s) != IIR_NONE;

	if (level == s->line)
		return;
	s->line = level;
	irq_set(s->irq, level);
}

/* --- receiver ---------------------------------------------------------------- */

static unsigned rx_room(const struct serial *s)
{
	return (fifo_on(s) ? RX_FIFO : 1) - s->rx_n;
}

static void rx_push(struct serial *s, uint8_t data, uint8_t errors)
{
	if (!rx_room(s)) {
		s->overrun = true;
		/* A full FIFO stays as it is; the holding register is overwritten. */
		if (!fifo_on(s))
			s->rx[s->rx_head].data = data;
		return;
	}
	s->rx[(s->rx_head + s->rx_n++) % RX_FIFO] =
		(struct rx_char){ .data = data, .errors = errors };
	if (errors)
		s->rx_with_errors++;
}

/*
 * Nothing more comes for now: characters below the trigger level are indicated
 * at once, not after four character times, so that typing is answered sooner.
 */
static void rx_burst_ended(struct serial *s)
{
	s->rx_timeout = fifo_on(s) && s->rx_n;
}

/* The receiver has room, or is connected to the line again: lets more characters in. */
static void rx_refill(struct serial *s)
{
	unsigned n = 0;

	if (loopback(s))
		return;
	while (n < s->line_in_n && rx_room(s))
		rx_push(s, s->line_in[n++], 0);
	if (n) {
		s->line_in_n -= n;
		for (unsigned i = 0; i < s->line_in_n; i++)
			s->line_in[i] = s->line_in[n + i];
		rx_burst_ended(s);
	}
	if (s->input_held && !s->line_in_n && rx_room(s)) {
		s->input_held = false;
		chardev_accept(s->port);
	}
}

static void rx_clear(struct serial *s)
{
	s->rx_n = s->rx_head = s->rx_with_errors = 0;
	s->rx_timeout = false;
}

/* The guest took a character: if others are left, the time-out begins anew. */
static void rx_restart_timeout(struct serial *s)
{
	unsigned divisor = s->dll | (unsigned)s->dlm << 8;

	s->rx_timeout = false;
	if (!fifo_on(s) || !s->rx_n || !(s->ier & IER_RDI))
		return;
	s->rx_timeout_at =
		loop_now_ns() + (uint64_t)(divisor ? divisor : 1) * TIMEOUT_NS_PER_DIVISOR;
	/* A timer that calls too early costs less than setting it at each character. */
	if (!s->rx_timer_set) {
		s->rx_timer_set = true;
		loop_timer_set(&s->rx_timer, s->rx_timeout_at);
	}
}

static void rx_timer_cb(void *ctx)
{
	struct serial *s = ctx;

	pthread_mutex_lock(&s->dev.lock);
	s->rx_timer_set = false;
	if (fifo_on(s) && s->rx_n) {
		if (loop_now_ns() >= s->rx_timeout_at) {
			s->rx_timeout = true;
			update_irq(s);
		} else {
			s->rx_timer_set = true;
			loop_timer_set(&s->rx_timer, s->rx_timeout_at);
		}
	}
	pthread_mutex_unlock(&s->dev.lock);
}

static uint8_t rx_read(struct serial *s)
{
	struct rx_char c;

	if (!s->rx_n)
		return 0;
	c = s->rx[s->rx_head];
	s->rx_head = (s->rx_head + 1) % RX_FIFO;
	s->rx_n--;
	if (c.errors)
		s->rx_with_errors--;
	rx_restart_timeout(s);
	update_irq(s);
	/* Asking the chardev for each single character would cost more. */
	if (!s->rx_n) {
		rx_refill(s);
		update_irq(s);
	}
	return c.data;
}

static size_t serial_can_read(void *ctx)
{
	struct serial *s = ctx;
	size_t n;

	pthread_mutex_lock(&s->dev.lock);
	n = loopback(s) || s->line_in_n ? 0 : rx_room(s);
	s->input_held = !n;
	pthread_mutex_unlock(&s->dev.lock);
	return n;
}

static void serial_read_chardev(void *ctx, const uint8_t *buf, size_t len)
{
	struct serial *s = ctx;

	pthread_mutex_lock(&s->dev.lock);
	/* can_read gave room for all of it in line_in, if no longer in the FIFO. */
	for (size_t i = 0; i < len && s->line_in_n < RX_FIFO; i++)
		s->line_in[s->line_in_n++] = buf[i];
	rx_refill(s);
	update_irq(s);
	pthread_mutex_unlock(&s->dev.lock);
}

static void serial_event(void *ctx, enum chardev_event ev)
{
	struct serial *s = ctx;

	if (ev != CHARDEV_BREAK)
		return;
	pthread_mutex_lock(&s->dev.lock);
	if (!loopback(s)) {
		rx_push(s, 0, LSR_BI);
		rx_burst_ended(s);
		update_irq(s);
	}
	pthread_mutex_unlock(&s->dev.lock);
}

/* --- transmitter --------------------------------------------------------------- */

/* Hands what waits to the chardev, as far as it takes it. */
static void tx_drain(struct serial *s)
{
	while (s->tx_n) {
		unsigned run = TX_FIFO - s->tx_head;
		size_t n;

		if (run > s->tx_n)
			run = s->tx_n;
		n = chardev_write(s->port, s->tx + s->tx_head, run);
		s->tx_head = (s->tx_head + (unsigned)n) % TX_FIFO;
		s->tx_n -= (unsigned)n;
		if (n < run)
			return;
	}
}

static void tx_write(struct serial *s, uint8_t c)
{
	s->thri = false;
	/*
	 * Without FIFOs every character is an interrupt of its own, so the line
	 * must fall before it rises. With FIFOs, characters written in a row make
	 * one interrupt, and the line need not be touched for each.
	 */
	if (!fifo_on(s))
		update_irq(s);
	if (loopback(s)) {
		rx_push(s, c, 0);
		rx_burst_ended(s);
	} else if (s->tx_n || chardev_write(s->port, &c, 1) != 1) {
		if (s->tx_n < TX_FIFO)
			s->tx[(s->tx_head + s->tx_n++) % TX_FIFO] = c;
		else
			log_guest(&s->log, s->dev.cls->name,
				  "output lost: the chardev does not take it");
	}
	s->thri = !s->tx_n;
	update_irq(s);
}

static void serial_writable(void *ctx)
{
	struct serial *s = ctx;

	pthread_mutex_lock(&s->dev.lock);
	if (s->tx_n) {
		tx_drain(s);
		s->thri = !s->tx_n;
		update_irq(s);
	}
	pthread_mutex_unlock(&s->dev.lock);
}

/* --- registers ------------------------------------------------------------------ */

/* MSR bits 4..7: loopback connects them to the MCR's outputs; else a ready peer is there. */
static uint8_t modem_inputs(uint8_t mcr)
{
	if (!(mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	/* DTR -> DSR, RTS -> CTS; OUT1 -> RI and OUT2 -> DCD are four bits up. */
	return (uint8_t)((mcr & 0x01) << 5 | (mcr & 0x02) << 3 | (mcr & 0x0c) << 4);
}

static void mcr_write(struct serial *s, uint8_t val)
{
	uint8_t before = modem_inputs(s->mcr), after, changed;

	s->mcr = val & MCR_MASK;
	after = modem_inputs(s->mcr);
	changed = before ^ after;
	s->msr_deltas |= changed >> 4 & (MSR_DCTS | MSR_DDSR | MSR_DDCD);
	if (before & ~after & MSR_RI)
		s->msr_deltas |= MSR_TERI;
	rx_refill(s); /* loopback may have ended */
	update_irq(s);
}

static void fcr_write(struct serial *s, uint8_t val)
{
	/*
	 * Clearing the transmit FIFO is not carried out: on a line without speed
	 * everything the guest wrote before counts as sent.
	 */
	if ((val ^ s->fcr) & FCR_ENABLE || (fifo_on(s) && val & FCR_CLEAR_RX))
		rx_clear(s);
	s->fcr = val & FCR_ENABLE ? val : 0; /* else the other bits are not programmed */
	rx_refill(s);
	update_irq(s);
}

static void ier_write(struct serial *s, uint8_t val)
{
	uint8_t enabled = val & ~s->ier;

	s->ier = val & IER_MASK;
	if (enabled & IER_THRI && !s->tx_n)
		s->thri = true;
	if (enabled & IER_RDI)
		rx_burst_ended(s);
	update_irq(s);
}

static uint8_t iir_read(struct serial *s)
{
	uint8_t id = interrupt_id(s);

	if (id == IIR_THRI) {
		s->thri = false;
		update_irq(s);
	}
	return id | (fifo_on(s) ? IIR_FIFO : 0);
}

static uint8_t lsr_read(struct serial *s)
{
	uint8_t errors = top_errors(s), val = errors;

	if (s->rx_n)
		val |= LSR_DR;
	if (s->overrun)
		val |= LSR_OE;
	if (!s->tx_n)
		val |= LSR_THRE | LSR_TEMT;
	if (fifo_on(s) && s->rx_with_errors)
		val |= LSR_FIFO_ERROR;
	if (s->overrun || errors) {
		s->overrun = false;
		if (errors) {
			s->rx[s->rx_head].errors = 0;
			s->rx_with_errors--;
		}
		update_irq(s);
	}
	return val;
}

static uint8_t msr_read(struct serial *s)
{
	uint8_t val = modem_inputs(s->mcr) | s->msr_deltas;

	if (s->msr_deltas) {
		s->msr_deltas = 0;
		update_irq(s);
	}
	return val;
}

static uint64_t serial_read(void *dev, uint64_t off, unsigned size)
{
	struct serial *s = dev;

	switch (off) {
	case DATA:
		return s->lcr & LCR_DLAB ? s->dll : rx_read(s);
	case IER:
		return s->lcr & LCR_DLAB ? s->dlm : s->ier;
	case IIR_FCR:
		return iir_read(s);
	case LCR:
		return s->lcr;
	case MCR:
		return s->mcr;
	case LSR:
		return lsr_read(s);
	case MSR:
		return msr_read(s);
	default:
		return s->scr;
	}
}

static void serial_write(void *dev, uint64_t off, uint64_t val64, unsigned size)
{
	struct serial *s = dev;
	uint8_t val = (uint8_t)val64;

	switch (off) {
	case DATA:
		if (s->lcr & LCR_DLAB)
			s->dll = val;
		else
			tx_write(s, val);
		break;
	case IER:
		if (s->lcr & LCR_DLAB)
			s->dlm = val;
		else
			ier_write(s, val);
		break;
	case IIR_FCR:
		fcr_write(s, val);
		break;
	case LCR:
		s->lcr = val;
		break;
	case MCR:
		mcr_write(s, val);
		break;
	case LSR: /* read only */
	case MSR:
		break;
	default:
		s->scr = val;
	}
}

static const struct io_ops serial_ops = {
	.read = serial_read,
	.write = serial_write,
	.min = 1,
	.max = 1,
};

/* --- life -------------------------------------------------------------------------- */

static const struct chardev_client serial_client = {
	.can_read = serial_can_read,
	.read = serial_read_chardev,
	.writable = serial_writable,
	.event = serial_event,
};

static void serial_reset(struct dev *d)
{
	struct serial *s = (struct serial *)d;

	s->ier = s->fcr = s->lcr = s->mcr = s->scr = s->dlm = 0;
	s->dll = 12; /* 9600 baud, as firmware leaves it */
	s->msr_deltas = 0;
	s->overrun = false;
	s->thri = !s->tx_n; /* what was written before the reset still goes out */
	rx_clear(s);
	rx_refill(s);
	update_irq(s);
}

/* The first index that no earlier serial port has; -1 when there is none. */
static int free_index(const struct serial *s)
{
	unsigned used = 0;

	for (const struct dev *d = s->dev.m->devices; d; d = d->next)
		if (d->cls == s->dev.cls && d != &s->dev)
			used |= 1u << ((const struct serial *)d)->index;
	for (int i = 1; index_names[i]; i++)
		if (!(used & 1u << i))
			return i;
	return -1;
}

/* Whether it is where the ACPI tables say that COM1 to COM4 are. */
static bool is_com(const struct serial *s)
{
	return s->iobase == com[s->index - 1].iobase && s->irq_n == com[s->index - 1].irq;
}

static int serial_init(struct dev *d, struct err *e)
{
	struct serial *s = (struct serial *)d;
	int rc;

	s->log = (struct log_limit)LOG_LIMIT_INIT;
	loop_timer_init(&s->rx_timer, d->m->loop, rx_timer_cb, s);
	if (!s->index) {
		s->index = free_index(s);
		if (s->index < 0) {
			s->index = 0;
			err_set(e, ERR_USAGE, EBUSY, "%s: COM1 to COM4 are all in use",
				d->cls->name);
			err_hint(e, "a PC has at most %zu serial ports", N_COM);
			return -EBUSY;
		}
	}
	if (!s->iobase)
		s->iobase = com[s->index - 1].iobase;
	if (!s->irq_n)
		s->irq_n = com[s->index - 1].irq;
	s->irq = &d->m->isa_irq[s->irq_n];
	rc = isa_attach(d, s->chardev, &serial_client, &s->port, e);
	if (rc)
		return rc;
	rc = isa_map(d, &s->ports, &serial_ops, s->iobase, N_PORTS, e);
	if (!rc && is_com(s))
		d->m->serial_mask |= 1u << (s->index - 1);
	return rc;
}

static void serial_fini(struct dev *d)
{
	struct serial *s = (struct serial *)d;

	if (bus_mapped(&s->ports) && is_com(s))
		d->m->serial_mask &= ~(1u << (s->index - 1));
	isa_unmap(&s->ports);
	loop_timer_cancel(&s->rx_timer);
	tx_drain(s);
	if (s->port)
		chardev_detach(s->port);
}

static const struct prop serial_props[] = {
	PROP(struct serial, chardev, PROP_CHARDEV, "chardev", NULL,
	     "where the bytes go to and come from"),
	PROP_CHOICE(struct serial, index, "index", "auto", index_names,
		    "0 is COM1; auto: the first free"),
	PROP_RANGE(struct serial, iobase, PROP_U32, "iobase", NULL, 0, 0xffff,
		   "first of 8 ports; by index: 0x3f8, 0x2f8, 0x3e8, 0x2e8"),
	PROP_RANGE(struct serial, irq_n, PROP_U32, "irq", NULL, 0, 15, "by index: 4, 3, 4, 3"),
	PROP_END,
};

const struct dev_class isa_serial_class = {
	.name = "isa-serial",
	.desc = "16550A serial port",
	.bus = DEV_BUS_ISA,
	.size = sizeof(struct serial),
	.props = serial_props,
	.init = serial_init,
	.reset = serial_reset,
	.fini = serial_fini,
};
