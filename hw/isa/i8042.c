/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PC's keyboard controller, an Intel 8042 (data at port 0x60, status and
 * commands at 0x64), after the IBM PC AT and PS/2 technical references, with a
 * keyboard on its first port and a mouse on its second.
 *
 * vCPU threads, and the main loop with keys and movements; dev->lock guards everything.
 */
#include "dev.h"

#include <stdint.h>

#include "bus.h"
#include "input.h"
#include "irq.h"
#include "isa.h"
#include "loop.h"
#include "machine.h"
#include "../input/ps2.h"

enum { DATA_PORT = 0x60, COMMAND_PORT = 0x64, KEYBOARD_IRQ = 1, AUX_IRQ = 12 };

enum {
	ST_OUTPUT_FULL = 0x01,
	ST_SYSTEM = 0x04, /* as in the command byte */
	ST_COMMAND = 0x08, /* the last write was to the command port */
	ST_NOT_LOCKED = 0x10, /* the key lock is open */
	ST_AUX = 0x20, /* the data comes from the second port */
};

/* The command byte, which is byte 0 of the controller's memory. */
enum {
	CB_KEYBOARD_IRQ = 0x01,
	CB_AUX_IRQ = 0x02,
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
	NO_PASSWORD = 0xf1,
	INPUT_PORT = 0xa0, /* not locked, colour display, manufacturing jumper open */
};

enum { OUT_NOT_RESET = 0x01, OUT_A20 = 0x02, OUT_OUTPUT_FULL = 0x10, OUT_AUX_FULL = 0x20 };

enum { KEY_BREAK = 0xf0 };

struct i8042 {
	struct dev dev;
	struct io_region data, command;
	bool keyboard_line, aux_line;
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
	bool breaking; /* 0xf0 was translated: the next byte is a key that comes up */
	struct ps2_keyboard keyboard;
	struct ps2_mouse mouse;
	struct loop_timer repeat; /* runs while a key is held down */
	struct input_device keys, pointer;
};

/* --- the output buffer ------------------------------------------------------------ */

static void put_output(struct i8042 *c, uint8_t val, uint8_t source)
{
	c->output = val;
	c->output_source = source;
	c->output_full = true;
}

/* Takes a byte of the keyboard's, or two of set 2 that are one in set 1. */
static void take_key(struct i8042 *c)
{
	while (ps2_keyboard_waits(&c->keyboard)) {
		uint8_t b = ps2_keyboard_take(&c->keyboard);

		if (!(c->memory[0] & CB_TRANSLATE)) {
			c->breaking = false;
		} else if (b == KEY_BREAK) {
			c->breaking = true;
			continue;
		} else {
			b = ps2_translate(b) | (c->breaking ? 0x80 : 0);
			c->breaking = false;
		}
		put_output(c, b, 0);
		return;
	}
}

static void set_line(struct i8042 *c, bool *line, unsigned irq, bool level)
{
	if (level == *line)
		return;
	*line = level;
	irq_set(&c->dev.m->isa_irq[irq], level);
}

/* Fills the output buffer when it is free, and sets the interrupt lines. */
static void update(struct i8042 *c)
{
	bool aux;

	if (!c->output_full && c->answer_waits) {
		put_output(c, c->answer, c->answer_source);
		c->answer_waits = false;
	}
	if (!c->output_full && !(c->memory[0] & CB_KEYBOARD_OFF))
		take_key(c);
	if (!c->output_full && !(c->memory[0] & CB_AUX_OFF) && ps2_mouse_waits(&c->mouse))
		put_output(c, ps2_mouse_take(&c->mouse), ST_AUX);
	aux = c->output_source & ST_AUX;
	set_line(c, &c->keyboard_line, KEYBOARD_IRQ,
		 c->output_full && !aux && c->memory[0] & CB_KEYBOARD_IRQ);
	set_line(c, &c->aux_line, AUX_IRQ, c->output_full && aux && c->memory[0] & CB_AUX_IRQ);
}

/* --- the controller's commands ---------------------------------------------------- */

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
	case CMD_AUX_TEST:
		reply(c, TEST_OK, 0);
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
			      (c->output_full && !(c->output_source & ST_AUX) ? OUT_OUTPUT_FULL
									      : 0) |
			      (c->output_full && c->output_source & ST_AUX ? OUT_AUX_FULL : 0),
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
		/* Speaking to a device opens its port. */
		c->memory[0] &= ~CB_KEYBOARD_OFF;
		c->breaking = false;
		ps2_keyboard_write(&c->keyboard, val);
		if (!c->keyboard.held)
			loop_timer_cancel(&c->repeat);
		input_set_leds(c->dev.m, c->keyboard.leds);
		break;
	case CMD_WRITE_OUTPUT_PORT:
		write_output_port(c, val);
		break;
	case CMD_WRITE_OUTPUT_BUFFER:
		reply(c, val, 0);
		break;
	case CMD_AUX_LOOP:
		reply(c, val, ST_AUX);
		break;
	case CMD_WRITE_AUX:
		c->memory[0] &= ~CB_AUX_OFF;
		ps2_mouse_write(&c->mouse, val);
		input_ready_changed(c->dev.m);
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
	/* The lines fall even when more waits, since the interrupts are edge-triggered. */
	set_line(c, &c->keyboard_line, KEYBOARD_IRQ, false);
	set_line(c, &c->aux_line, AUX_IRQ, false);
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

/* --- keys and movements, main loop ------------------------------------------------ */

static bool keyboard_ready(void *ctx)
{
	struct i8042 *c = ctx;
	bool ready;

	pthread_mutex_lock(&c->dev.lock);
	ready = c->keyboard.enabled;
	pthread_mutex_unlock(&c->dev.lock);
	return ready;
}

static void schedule_repeat(struct i8042 *c)
{
	if (c->keyboard.held)
		loop_timer_set(&c->repeat, loop_now_ns() + ps2_keyboard_repeat_ns(&c->keyboard));
	else
		loop_timer_cancel(&c->repeat);
}

static void repeat_cb(void *ctx)
{
	struct i8042 *c = ctx;

	pthread_mutex_lock(&c->dev.lock);
	if (c->keyboard.held) {
		ps2_keyboard_repeat(&c->keyboard);
		schedule_repeat(c);
		update(c);
	}
	pthread_mutex_unlock(&c->dev.lock);
}

static void key(void *ctx, unsigned code, bool down)
{
	struct i8042 *c = ctx;
	unsigned held;

	pthread_mutex_lock(&c->dev.lock);
	held = c->keyboard.held;
	ps2_keyboard_key(&c->keyboard, code, down);
	if (c->keyboard.held != held)
		schedule_repeat(c);
	update(c);
	pthread_mutex_unlock(&c->dev.lock);
}

static bool mouse_ready(void *ctx)
{
	struct i8042 *c = ctx;
	bool ready;

	pthread_mutex_lock(&c->dev.lock);
	ready = ps2_mouse_listens(&c->mouse);
	pthread_mutex_unlock(&c->dev.lock);
	return ready;
}

static void move(void *ctx, int dx, int dy, int wheel, unsigned buttons)
{
	struct i8042 *c = ctx;

	pthread_mutex_lock(&c->dev.lock);
	ps2_mouse_move(&c->mouse, dx, dy, wheel, buttons);
	update(c);
	pthread_mutex_unlock(&c->dev.lock);
}

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
	c->breaking = false;
	ps2_keyboard_power_on(&c->keyboard);
	loop_timer_cancel(&c->repeat);
	ps2_mouse_power_on(&c->mouse);
	input_set_leds(d->m, 0);
	update(c);
}

static int i8042_init(struct dev *d, struct err *e)
{
	struct i8042 *c = (struct i8042 *)d;
	int rc;

	loop_timer_init(&c->repeat, d->m->loop, repeat_cb, c);
	rc = isa_map(d, &c->data, &data_ops, DATA_PORT, 1, e);
	rc = rc ? rc : isa_map(d, &c->command, &command_ops, COMMAND_PORT, 1, e);
	if (rc)
		return rc;
	c->keys = (struct input_device){
		.name = "PS/2 keyboard", .ready = keyboard_ready, .key = key, .ctx = c
	};
	c->pointer = (struct input_device){
		.name = "PS/2 mouse", .ready = mouse_ready, .move = move, .ctx = c
	};
	input_add(d->m, &c->keys);
	input_add(d->m, &c->pointer);
	return 0;
}

static void i8042_fini(struct dev *d)
{
	struct i8042 *c = (struct i8042 *)d;

	input_remove(d->m, &c->keys);
	input_remove(d->m, &c->pointer);
	loop_timer_cancel(&c->repeat);
	isa_unmap(&c->data);
	isa_unmap(&c->command);
}

const struct dev_class i8042_class = {
	.name = "i8042",
	.desc = "keyboard controller, keyboard and mouse",
	.bus = DEV_BUS_ISA,
	.internal = true,
	.size = sizeof(struct i8042),
	.init = i8042_init,
	.reset = i8042_reset,
	.fini = i8042_fini,
};
