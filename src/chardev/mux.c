/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Several front ends on one backend (mux=on): input goes to the one that has
 * the focus, output of all of them goes out as it comes, so nothing is lost
 * while another has the focus. Ctrl-A is the escape, with the keys people know
 * from -nographic elsewhere. Main loop.
 *
 * Input is read even when the front end with the focus takes none: otherwise
 * a hung guest would shut out Ctrl-A x. What it has not taken waits in
 * port->pending; when that is full, what a person goes on typing is dropped.
 */
#include "chardev_int.h"

size_t mux_room(const struct chardev *c)
{
	size_t room = MUX_PENDING;

	/* The focus may move in the middle of what is read: it must fit any of them. */
	for (unsigned i = 0; i < c->n_ports; i++)
		if (MUX_PENDING - c->port[i]->pending_n < room)
			room = MUX_PENDING - c->port[i]->pending_n;
	if (!room && c->drop_input && loop_now_ns() - c->taken_ns > MUX_PATIENCE_NS)
		return 1; /* to be dropped, unless it is an escape */
	return room;
}

static void queue(struct chardev *c, uint8_t byte)
{
	struct chardev_port *p = c->port[c->focus];

	if (!p || p->pending_n == MUX_PENDING)
		return;
	p->pending[(p->pending_head + p->pending_n) % MUX_PENDING] = byte;
	p->pending_n++;
}

void mux_flush(struct chardev *c)
{
	for (unsigned i = 0; i < c->n_ports; i++) {
		struct chardev_port *p = c->port[i];

		if (!p->client->can_read)
			p->pending_n = 0;
		while (p->pending_n) {
			unsigned run = MUX_PENDING - p->pending_head;
			size_t room = p->client->can_read(p->ctx);

			if (run > p->pending_n)
				run = p->pending_n;
			if (run > room)
				run = (unsigned)room;
			if (!run)
				break;
			p->client->read(p->ctx, p->pending + p->pending_head, run);
			p->pending_head = (p->pending_head + run) % MUX_PENDING;
			p->pending_n -= run;
			c->taken_ns = loop_now_ns();
		}
	}
}

static void escape(struct chardev *c, uint8_t key)
{
	struct chardev_port *p = c->port[c->focus];

	if (key == c->escape_char || key == 'a') {
		queue(c, c->escape_char);
		return;
	}
	switch (key) {
	case 'h':
	case '?':
		if (p && p->client->event)
			p->client->event(p->ctx, CHARDEV_COVERED);
		chardev_say(c, "\r\n"
			       "C-a h    print this help\r\n"
			       "C-a x    end the virtual machine\r\n"
			       "C-a b    send break (magic sysrq)\r\n"
			       "C-a c    switch between console and monitor\r\n"
			       "C-a C-a  send C-a\r\n");
		break;
	case 'x':
		chardev_say(c, "\r\nposada: terminated\r\n");
		chardev_quit(c);
		break;
	case 'b':
		if (p && p->client->event)
			p->client->event(p->ctx, CHARDEV_BREAK);
		break;
	case 'c':
		if (c->n_ports > 1)
			chardev_set_focus(c, (c->focus + 1) % c->n_ports);
		break;
	}
}

void mux_input(struct chardev *c, const uint8_t *buf, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (c->in_escape) {
			c->in_escape = false;
			mux_flush(c); /* what was typed before it comes before its effect */
			escape(c, buf[i]);
		} else if (buf[i] == c->escape_char) {
			c->in_escape = true;
		} else {
			queue(c, buf[i]);
		}
	}
	mux_flush(c);
}
