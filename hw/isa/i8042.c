/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PC's keyboard controller, an Intel 8042 (data at port 0x60, status and
 * commands at 0x64), after the IBM PC AT and PS/2 technical references, with a
 * keyboard on its first port and nothing on its second.
 *
 * The keyboard answers commands and has no keys. A source of keys is to call
 * keyboard_send with scan codes of set 2 between enable and disable, and needs the
 * rest of the table in translate().
 *
 * vCPU threads; dev->lock guards everything.
 */
#include "dev.h"

#include <stdint.h>

#include "bus.h"
#include "irq.h"
#include "isa.h"
#include "machine.h"

enum { DATA_PORT = 0x60, COMMAND_PORT = 0x64, KEYBOARD_IRQ = 1 };

enum {
	ST_OUTPUT_FULL = 0x01,
	ST_SYSTEM = 0x04, /* as in the command byte */
	ST_COMMAND = 0x08, /* the last write was to the command port */
	ST_NOT_LOCKED = 0x10, /* the key lock is open */
	ST_AUX = 0x20, /* the data comes from the second port */
	ST_TIMEOUT = 0x40,
};

/* The command byte, which is byte 0 of the controller's memory. */
enum {
	CB_KEYBOARD_IRQ = 0x01,
	CB_SYSTEM = 0x04,
	CB_KEYBOARD_OFF = 0x10,
	CB_AUX_OFF = 0x20,
	CB_TRANSLATE = 0x40,
};

enum {
	CMD_READ_MEMORY = 0x20, /* to 0x3f */
	CMD_WRITE_MEMORY = 0x60, /* to 0x7f */
	CMD_TEST_PASSWORD = 0xa4,
	CMD_AUX_OFF = 0xa7,
	CMD_AUX_ON = 0xa8,
	CMD_AUX_TEST = 0xa9,
	CMD_SELF_TEST = 0xaa,
	CMD_KEYBOARD_TEST = 0xab,
	CMD_KEYBOARD_OFF = 0xad,
	CMD_KEYBOARD_ON = 0xae,
	CMD_READ_INPUT_PORT = 0xc0,
	CMD_READ_OUTPUT_PORT = 0xd0,
	CMD_WRITE_OUTPUT_PORT = 0xd1,
	CMD_WRITE_OUTPUT_BUFFER = 0xd2,
	CMD_AUX_LOOP = 0xd3,
	CMD_WRITE_AUX = 0xd4,
	CMD_A20_OFF = 0xdd,
	CMD_A20_ON = 0xdf,
	CMD_PULSE = 0xf0, /* to 0xff: pulses low the output port bits that are 0 */
};

enum {
	SELF_TEST_OK = 0x55,
	TEST_OK = 0x00,
	TEST_CLOCK_LOW = 0x01,
	NO_PASSWORD = 0xf1,
	INPUT_PORT = 0xa0, /* not locked, colour display, manufacturing jumper open */
};

enum { OUT_NOT_RESET = 0x01, OUT_A20 = 0x02, OUT_OUTPUT_FULL = 0x10 };

/* Keyboard commands and answers. */
enum {
	KBD_LEDS = 0xed,
	KBD_ECHO = 0xee,
	KBD_SCAN_SET = 0xf0,
	KBD_IDENTIFY = 0xf2,
	KBD_RATE = 0xf3,
	KBD_ENABLE = 0xf4,
	KBD_DISABLE = 0xf5,
	KBD_DEFAULTS = 0xf6,
	KBD_ALL_KEYS_FIRST = 0xf7, /* to 0xfa: set 3 key types, accepted and unused */
	KBD_ALL_KEYS_LAST = 0xfa,
	KBD_RESEND = 0xfe,
	KBD_RESET = 0xff,

	KBD_SELF_TEST_OK = 0xaa,
	KBD_ACK = 0xfa,
	KBD_ASK_AGAIN = 0xfe,
};

#define KBD_QUEUE 16u

struct keyboard {
	uint8_t queue[KBD_QUEUE];
	unsigned head, n;
	uint8_t pending; /* the command whose parameter comes next, or 0 */
	uint8_t scan_set;
	uint8_t last_sent;
};

struct i8042 {
	struct dev dev;
	struct io_region data, command;
	bool line;
	uint8_t memory[32]; /* [0] is the command byte */
	uint8_t pending; /* the command whose parameter comes next on the data port, or 0 */
	bool last_was_command;
	bool a20;
	/* What the guest reads at DATA_PORT; source is the status bits that go with it. */
	uint8_t output, output_source;
	bool output_full;
	/* The controller's own answer, while the output buffer holds something else. */
	uint8_t answer, answer_source;
	bool answer_waits;
	struct keyboard kbd;
};

/* --- keyboard ---------------------------------------------------------------- */

/* All of it or nothing, since half a scan code sequence would be another key. */
static bool keyboard_send(struct keyboard *k, const uint8_t *bytes, unsigned n)
{
	if (n > KBD_QUEUE - k->n)
		return false;
	for (unsigned i = 0; i < n; i++)
		k->queue[(k->head + k->n++) % KBD_QUEUE] = bytes[i];
	return true;
}

static uint8_t keyboard_take(struct keyboard *k)
{
	uint8_t b = k->queue[k->head];

	k->head = (k->head + 1) % KBD_QUEUE;
	k->n--;
	if (b != KBD_ASK_AGAIN)
		k->last_sent = b;
	return b;
}

static void keyboard_power_on(struct keyboard *k)
{
	*k = (struct keyboard){ .scan_set = 2 };
}

static void keyboard_parameter(struct keyboard *k, uint8_t cmd, uint8_t val)
{
	uint8_t answer[2] = { KBD_ACK };
	unsigned n = 1;

	/* LEDs and repeat rate are accepted: nobody looks at them. */
	if (cmd == KBD_SCAN_SET) {
		if (val > 3) {
			answer[0] = KBD_ASK_AGAIN;
		} else if (val) {
			k->scan_set = val;
		} else {
			answer[1] = k->scan_set;
			n = 2;
		}
	}
	keyboard_send(k, answer, n);
}

static void keyboard_write(struct keyboard *k, uint8_t val)
{
	static const uint8_t identity[] = { KBD_ACK, 0xab, 0x83 };
	static const uint8_t reset[] = { KBD_ACK, KBD_SELF_TEST_OK };
	uint8_t cmd = k->pending, answer = KBD_ACK;

	k->pending = 0;
	/* Every parameter is below 0x80; anything else is a new command. */
	if (cmd && val < 0x80) {
		keyboard_parameter(k, cmd, val);
		return;
	}
	/* A command overrules what has not been sent yet. */
	k->n = 0;
	switch (val) {
	case KBD_LEDS:
	case KBD_SCAN_SET:
	case KBD_RATE:
		k->pending = val;
		break;
	case KBD_ECHO:
		answer = KBD_ECHO;
		break;
	case KBD_IDENTIFY:
		keyboard_send(k, identity, sizeof(identity));
		return;
	case KBD_DISABLE:
	case KBD_DEFAULTS:
		k->scan_set = 2;
		break;
	case KBD_ENABLE: /* no keys to be switched on or off */
	case KBD_ALL_KEYS_FIRST ... KBD_ALL_KEYS_LAST:
		break;
	case KBD_RESEND:
		answer = k->last_sent;
		break;
	case KBD_RESET:
		keyboard_power_on(k);
		keyboard_send(k, reset, sizeof(reset));
		return;
	default:
		answer = KBD_ASK_AGAIN;
	}
	keyboard_send(k, &answer, 1);
}

/* --- controller ----------------------------------------------------------------- */

/*
 * Set 2 to set 1, which the controller does to every byte of the keyboard's:
 * here for the bytes that its answers have.
 */
static uint8_t translate(uint8_t b)
{
	switch (b) {
	case 0x01:
		return 0x43;
	case 0x02:
	case 0x83:
		return 0x41;
	case 0x03:
		return 0x3f;
	default:
		return b;
	}
}

/* Fills the output buffer when it is free, and sets the interrupt line. */
static void update(struct i8042 *c)
{
	bool level;

	if (!c->output_full && c->answer_waits) {
		c->output = c->answer;
		c->output_source = c->answer_source;
		c->output_full = true;
		c->answer_waits = false;
	} else if (!c->output_full && c->kbd.n && !(c->memory[0] & CB_KEYBOARD_OFF)) {
		c->output = keyboard_take(&c->kbd);
		if (c->memory[0] & CB_TRANSLATE)
			c->output = translate(c->output);
		c->output_source = 0;
		c->output_full = true;
	}
	level = c->output_full && !(c->output_source & ST_AUX) && c->memory[0] & CB_KEYBOARD_IRQ;
	if (level != c->line) {
		c->line = level;
		irq_set(&c->dev.m->isa_irq[KEYBOARD_IRQ], level);
	}
}

static void reply(struct i8042 *c, uint8_t val, uint8_t source)
{
	c->answer = val;
	c->answer_source = source;
	c->answer_waits = true;
}

static void write_output_port(struct i8042 *c, uint8_t val)
{
	/* KVM's guests have no A20 gate; the bit is kept for who reads it back. */
	c->a20 = val & OUT_A20;
	if (!(val & OUT_NOT_RESET))
		machine_request(c->dev.m, MACHINE_RESET, 0);
}

static void command_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct i8042 *c = dev;
	uint8_t cmd = (uint8_t)val;

	c->last_was_command = true;
	c->pending = 0;
	switch (cmd) {
	case CMD_READ_MEMORY ... CMD_READ_MEMORY + 31:
		reply(c, c->memory[cmd - CMD_READ_MEMORY], 0);
		break;
	case CMD_WRITE_MEMORY ... CMD_WRITE_MEMORY + 31:
	case CMD_WRITE_OUTPUT_PORT:
	case CMD_WRITE_OUTPUT_BUFFER:
	case CMD_AUX_LOOP:
	case CMD_WRITE_AUX:
		c->pending = cmd;
		break;
	case CMD_TEST_PASSWORD:
		reply(c, NO_PASSWORD, 0);
		break;
	case CMD_AUX_OFF:
		c->memory[0] |= CB_AUX_OFF;
		break;
	case CMD_AUX_ON:
		c->memory[0] &= ~CB_AUX_OFF;
		break;
	case CMD_AUX_TEST: /* no device holds the clock line high */
		reply(c, TEST_CLOCK_LOW, 0);
		break;
	case CMD_SELF_TEST:
		c->memory[0] |= CB_SYSTEM;
		reply(c, SELF_TEST_OK, 0);
		break;
	case CMD_KEYBOARD_TEST:
		reply(c, TEST_OK, 0);
		break;
	case CMD_KEYBOARD_OFF:
		c->memory[0] |= CB_KEYBOARD_OFF;
		break;
	case CMD_KEYBOARD_ON:
		c->memory[0] &= ~CB_KEYBOARD_OFF;
		break;
	case CMD_READ_INPUT_PORT:
		reply(c, INPUT_PORT, 0);
		break;
	case CMD_READ_OUTPUT_PORT:
		reply(c,
		      OUT_NOT_RESET | (c->a20 ? OUT_A20 : 0) |
			      (c->output_full ? OUT_OUTPUT_FULL : 0),
		      0);
		break;
	case CMD_A20_OFF:
	case CMD_A20_ON:
		c->a20 = cmd == CMD_A20_ON;
		break;
	case CMD_PULSE ... CMD_PULSE + 15:
		if (!(cmd & OUT_NOT_RESET))
			machine_request(c->dev.m, MACHINE_RESET, 0);
		break;
	default: /* the 8042 of an AT ignores the rest */
		break;
	}
	update(c);
}

static void data_write(void *dev, uint64_t off, uint64_t val64, unsigned size)
{
	struct i8042 *c = dev;
	uint8_t cmd = c->pending, val = (uint8_t)val64;

	c->last_was_command = false;
	c->pending = 0;
	switch (cmd) {
	case 0:
		/* Speaking to the keyboard opens its port. */
		c->memory[0] &= ~CB_KEYBOARD_OFF;
		keyboard_write(&c->kbd, val);
		break;
	case CMD_WRITE_OUTPUT_PORT:
		write_output_port(c, val);
		break;
	case CMD_WRITE_OUTPUT_BUFFER:
	case CMD_AUX_LOOP: /* not marked as the second port's, there being none */
		reply(c, val, 0);
		break;
	case CMD_WRITE_AUX: /* nobody answers there */
		reply(c, KBD_ASK_AGAIN, ST_AUX | ST_TIMEOUT);
		break;
	default: /* CMD_WRITE_MEMORY ... */
		c->memory[cmd - CMD_WRITE_MEMORY] = val;
	}
	update(c);
}

static uint64_t data_read(void *dev, uint64_t off, unsigned size)
{
	struct i8042 *c = dev;
	uint8_t val = c->output;

	c->output_full = false;
	if (c->line) {
		/* Falls even when more waits, since the interrupt is edge-triggered. */
		c->line = false;
		irq_set(&c->dev.m->isa_irq[KEYBOARD_IRQ], false);
	}
	update(c);
	return val;
}

static uint64_t status_read(void *dev, uint64_t off, unsigned size)
{
	const struct i8042 *c = dev;

	return ST_NOT_LOCKED | (c->memory[0] & CB_SYSTEM) | (c->last_was_command ? ST_COMMAND : 0) |
	       (c->output_full ? ST_OUTPUT_FULL | c->output_source : 0);
}

static const struct io_ops data_ops = {
	.read = data_read,
	.write = data_write,
	.min = 1,
	.max = 1,
};

static const struct io_ops command_ops = {
	.read = status_read,
	.write = command_write,
	.min = 1,
	.max = 1,
};

/* --- life ------------------------------------------------------------------------- */

/* Leaves it as firmware would: tested, translating, keyboard on, no interrupts. */
static void i8042_reset(struct dev *d)
{
	struct i8042 *c = (struct i8042 *)d;

	for (unsigned i = 0; i < sizeof(c->memory); i++)
		c->memory[i] = 0;
	c->memory[0] = CB_SYSTEM | CB_AUX_OFF | CB_TRANSLATE;
	c->pending = 0;
	c->last_was_command = false;
	c->a20 = true;
	c->output = 0;
	c->output_full = false;
	c->answer_waits = false;
	keyboard_power_on(&c->kbd);
	update(c);
}

static int i8042_init(struct dev *d, struct err *e)
{
	struct i8042 *c = (struct i8042 *)d;
	int rc = isa_map(d, &c->data, &data_ops, DATA_PORT, 1, e);

	if (!rc)
		rc = isa_map(d, &c->command, &command_ops, COMMAND_PORT, 1, e);
	return rc;
}

static void i8042_fini(struct dev *d)
{
	struct i8042 *c = (struct i8042 *)d;

	isa_unmap(&c->data);
	isa_unmap(&c->command);
}

const struct dev_class i8042_class = {
	.name = "i8042",
	.desc = "keyboard controller and keyboard",
	.bus = DEV_BUS_ISA,
	.internal = true,
	.size = sizeof(struct i8042),
	.init = i8042_init,
	.reset = i8042_reset,
	.fini = i8042_fini,
};
