/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A PS/2 mouse (IBM PS/2 technical reference, Mouse) that becomes one with a wheel, and then
 * one with five buttons, when its sample rate is set to 200, 100, 80 and to 200, 200, 80
 * (Microsoft, IntelliMouse). See ps2.h. The keyboard controller's lock is held.
 *
 * Movement is gathered while the guest does not take packets; a change of the buttons
 * begins a new entry, so that no click is lost.
 */
#include <limits.h>
#include <string.h>

#include "input.h"
#include "ps2.h"

/* Commands that only mice have. */
enum {
	MOUSE_SCALE_1 = 0xe6,
	MOUSE_SCALE_2 = 0xe7,
	MOUSE_RESOLUTION = 0xe8,
	MOUSE_STATUS = 0xe9,
	MOUSE_STREAM = 0xea,
	MOUSE_READ = 0xeb,
	MOUSE_WRAP_OFF = 0xec,
	MOUSE_WRAP = 0xee,
	MOUSE_REMOTE = 0xf0,
};
enum { ID_PLAIN = 0, ID_WHEEL = 3, ID_BUTTONS = 4 };
enum { PACKET_ALWAYS = 0x08, PACKET_X_SIGN = 0x10, PACKET_Y_SIGN = 0x20 };
enum { RATE_POWER_ON = 100, RESOLUTION_POWER_ON = 2 };

static void set_defaults(struct ps2_mouse *m)
{
	m->rates[0] = m->rates[1] = 0;
	m->rates[2] = RATE_POWER_ON;
	m->resolution = RESOLUTION_POWER_ON;
	m->twice = m->remote = m->enabled = false;
	m->n = 0;
	m->owed = false;
}

void ps2_mouse_power_on(struct ps2_mouse *m)
{
	*m = (struct ps2_mouse){ .id = ID_PLAIN };
	set_defaults(m);
}

bool ps2_mouse_listens(const struct ps2_mouse *m)
{
	return m->enabled || m->remote;
}

/* --- movement --------------------------------------------------------------------------- */

static int clamped_sum(int a, int b)
{
	int sum;

	if (__builtin_add_overflow(a, b, &sum))
		return a < 0 ? INT_MIN / 2 : INT_MAX / 2;
	return sum;
}

void ps2_mouse_move(struct ps2_mouse *m, int dx, int dy, int wheel, unsigned buttons)
{
	struct ps2_motion *last;

	if (!ps2_mouse_listens(m)) {
		m->buttons = buttons;
		return;
	}
	last = m->n ? &m->motion[(m->head + m->n - 1) % PS2_MOTIONS] : NULL;
	if (!last && buttons == m->buttons && !dx && !dy && !wheel)
		return;
	if (!last || (buttons != m->buttons && m->n < PS2_MOTIONS)) {
		last = &m->motion[(m->head + m->n++) % PS2_MOTIONS];
		*last = (struct ps2_motion){ 0 };
	}
	last->dx = clamped_sum(last->dx, dx);
	last->dy = clamped_sum(last->dy, dy);
	last->wheel = clamped_sum(last->wheel, wheel);
	last->buttons = m->buttons = buttons;
}

static int take_up_to(int *from, int min, int max)
{
	int part = *from < min ? min : *from > max ? max : *from;

	*from -= part;
	return part;
}

/* 2:1 scaling. */
static int scaled(int v)
{
	static const int table[] = { 0, 1, 1, 3, 6, 9 };
	int size = v < 0 ? -v : v;

	size = size < 6 ? table[size] : 2 * size;
	return v < 0 ? -size : size;
}

/* The next packet: as much of the oldest movement as fits, or none. */
static void make_packet(struct ps2_mouse *m)
{
	struct ps2_motion none = { .buttons = m->buttons }, *from;
	bool twice = m->twice && !m->remote;
	int max = twice ? 127 : 255, x, y, z;

	from = m->n ? &m->motion[m->head] : &none;
	x = take_up_to(&from->dx, -max, max);
	y = -take_up_to(&from->dy, -max, max);
	z = m->id == ID_PLAIN ? 0 : -take_up_to(&from->wheel, -7, 7);
	if (twice) {
		x = scaled(x);
		y = scaled(y);
	}
	m->packet[0] = (uint8_t)(PACKET_ALWAYS | (x < 0 ? PACKET_X_SIGN : 0) |
				 (y < 0 ? PACKET_Y_SIGN : 0) |
				 (from->buttons & (INPUT_LEFT | INPUT_RIGHT | INPUT_MIDDLE)));
	m->packet[1] = (uint8_t)x;
	m->packet[2] = (uint8_t)y;
	m->packet[3] = (uint8_t)z;
	if (m->id == ID_BUTTONS)
		m->packet[3] = (uint8_t)((z & 0x0f) | (from->buttons & INPUT_SIDE ? 0x10 : 0) |
					 (from->buttons & INPUT_EXTRA ? 0x20 : 0));
	m->packet_n = m->id == ID_PLAIN ? 3 : 4;
	m->packet_at = 0;
	m->owed = false;
	if (m->n && !from->dx && !from->dy && (!from->wheel || m->id == ID_PLAIN)) {
		m->head = (m->head + 1) % PS2_MOTIONS;
		m->n--;
	}
}

bool ps2_mouse_waits(struct ps2_mouse *m)
{
	if (m->answers.n)
		return true;
	if (m->packet_at == m->packet_n && m->enabled && !m->remote && !m->wrap &&
	    (m->n || m->owed))
		make_packet(m);
	return m->packet_at < m->packet_n;
}

uint8_t ps2_mouse_take(struct ps2_mouse *m)
{
	if (m->answers.n)
		return ps2_take(&m->answers);
	if (m->packet_at == 0) {
		memcpy(m->sent, m->packet, sizeof(m->sent));
		m->sent_n = m->packet_n;
	}
	return m->packet[m->packet_at++];
}

/* --- commands ------------------------------------------------------------------------------ */

static void answer(struct ps2_mouse *m, const uint8_t *bytes, unsigned n)
{
	ps2_put(&m->answers, bytes, n);
	memcpy(m->sent, bytes, n);
	m->sent_n = n;
}

static void answer1(struct ps2_mouse *m, uint8_t b)
{
	answer(m, &b, 1);
}

static void set_rate(struct ps2_mouse *m, uint8_t rate)
{
	m->rates[0] = m->rates[1];
	m->rates[1] = m->rates[2];
	m->rates[2] = rate;
	if (rate != 80 || m->rates[0] != 200)
		return;
	if (m->rates[1] == 100 && m->id == ID_PLAIN)
		m->id = ID_WHEEL;
	else if (m->rates[1] == 200 && m->id == ID_WHEEL)
		m->id = ID_BUTTONS;
}

static void answer_status(struct ps2_mouse *m)
{
	unsigned b = m->buttons;
	uint8_t status[4] = {
		PS2_ACK,
		(uint8_t)((m->remote << 6) | (m->enabled << 5) | (m->twice << 4) |
			  (b & INPUT_LEFT ? 4 : 0) | (b & INPUT_MIDDLE ? 2 : 0) |
			  (b & INPUT_RIGHT ? 1 : 0)),
		m->resolution,
		m->rates[2],
	};

	answer(m, status, sizeof(status));
}

static void answer_resend(struct ps2_mouse *m)
{
	ps2_put(&m->answers, m->sent, m->sent_n);
}

/* What is answered by PS2_ACK alone. */
static void set_mode(struct ps2_mouse *m, uint8_t cmd)
{
	switch (cmd) {
	case MOUSE_SCALE_1:
	case MOUSE_SCALE_2:
		m->twice = cmd == MOUSE_SCALE_2;
		break;
	case MOUSE_STREAM:
	case MOUSE_REMOTE:
		m->remote = cmd == MOUSE_REMOTE;
		m->n = 0;
		break;
	case MOUSE_WRAP:
		m->wrap = true;
		break;
	case PS2_ENABLE:
	case PS2_DISABLE:
		m->enabled = cmd == PS2_ENABLE;
		m->n = 0;
		m->owed = false;
		break;
	case PS2_DEFAULTS:
		set_defaults(m);
		break;
	default: /* MOUSE_WRAP_OFF, when it is off already */
		break;
	}
	answer1(m, PS2_ACK);
}

void ps2_mouse_write(struct ps2_mouse *m, uint8_t val)
{
	uint8_t cmd = m->pending, buttons = (uint8_t)m->buttons;

	m->pending = 0;
	m->answers.n = 0;
	/* A packet that is cut off comes again, lest a click be lost; its movement is. */
	m->owed |= m->packet_at < m->packet_n && m->enabled;
	m->packet_at = m->packet_n = 0;
	if (m->wrap && val != PS2_RESET && val != MOUSE_WRAP_OFF) {
		answer1(m, val);
		return;
	}
	m->wrap = false;
	/* Parameters are small; anything else is a new command. */
	if (cmd && val < MOUSE_SCALE_1) {
		if (cmd == PS2_RATE)
			set_rate(m, val);
		else
			m->resolution = val & 3;
		answer1(m, PS2_ACK);
		return;
	}
	switch (val) {
	case MOUSE_SCALE_1:
	case MOUSE_SCALE_2:
	case MOUSE_STREAM:
	case MOUSE_WRAP_OFF:
	case MOUSE_WRAP:
	case MOUSE_REMOTE:
	case PS2_ENABLE:
	case PS2_DISABLE:
	case PS2_DEFAULTS:
		set_mode(m, val);
		break;
	case MOUSE_RESOLUTION:
	case PS2_RATE:
		m->pending = val;
		answer1(m, PS2_ACK);
		break;
	case MOUSE_STATUS:
		answer_status(m);
		break;
	case MOUSE_READ:
		answer1(m, PS2_ACK);
		make_packet(m);
		break;
	case PS2_IDENTIFY:
		answer(m, (uint8_t[]){ PS2_ACK, m->id }, 2);
		break;
	case PS2_RESEND:
		answer_resend(m);
		break;
	case PS2_RESET:
		ps2_mouse_power_on(m);
		m->buttons = buttons;
		answer(m, (uint8_t[]){ PS2_ACK, PS2_SELF_TEST_OK, ID_PLAIN }, 3);
		break;
	default:
		answer1(m, PS2_ASK_AGAIN);
	}
}
