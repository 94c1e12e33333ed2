/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives virtio-console (virtio 1.2, section 5.3): says hello on a port, sends every line back
 * that comes there as "echo LINE", until the line is "quit". With several ports (MULTIPORT) says
 * what the control messages tell. How: see guests/lib/virtio.h.
 *
 *   port=N   which port (default 0; with others only the first 4 can be looked at)
 */
#include "virtio.h"

enum { CF_SIZE = 0, CF_MULTIPORT = 1 };
enum { CC_COLS = 0, CC_ROWS = 2, CC_MAX_PORTS = 4 };
enum { BUFFERS = 8, BUFFER = 256, PORTS = 4 };
/* clang-format off */
enum control_event {
	EV_DEVICE_READY, EV_PORT_ADD, EV_PORT_REMOVE, EV_PORT_READY, EV_CONSOLE_PORT, EV_RESIZE,
	EV_PORT_OPEN, EV_PORT_NAME
};
/* clang-format on */

struct control {
	uint32_t id;
	uint16_t event, value;
};

static struct vdev dev;
static struct vq rx, tx, control_rx, control_tx;
static unsigned port;
static uint8_t in[BUFFERS][BUFFER], control_in[BUFFERS][BUFFER];
static char line[200];
static unsigned line_len;
static bool quit;

static void give(struct vq *q, uint8_t *buf)
{
	struct vbuf b = { (uint64_t)buf, BUFFER };

	vq_add(q, &b, 0, 1, (uint64_t)buf);
	vq_kick(q);
}

static void send(struct vq *q, const void *data, size_t len)
{
	struct vbuf b = { (uint64_t)data, (uint32_t)len };
	uint64_t token;
	uint32_t written;

	if (!len)
		return;
	vq_add(q, &b, 1, 0, 0);
	vq_kick(q);
	if (!vq_wait(q, 10000) || !vq_get(q, &token, &written))
		check(false, "%lu bytes sent on queue %u", len, q->index);
}

static void control(uint32_t id, uint16_t event, uint16_t value)
{
	static struct control c;

	c = (struct control){ id, event, value };
	send(&control_tx, &c, sizeof c);
}

static void on_control(const uint8_t *buf, uint32_t len)
{
	const struct control *c = (const void *)buf;

	if (!check(len >= sizeof *c, "a control message of %u bytes", len))
		return;
	switch (c->event) {
	case EV_PORT_ADD:
		say("port %u added\n", c->id);
		control(c->id, EV_PORT_READY, 1);
		if (c->id == port)
			control(c->id, EV_PORT_OPEN, 1);
		break;
	case EV_CONSOLE_PORT:
		say("port %u is a console\n", c->id);
		break;
	case EV_PORT_OPEN:
		say("port %u open %u\n", c->id, c->value);
		break;
	case EV_PORT_NAME:
		say("port %u name [", c->id);
		for (uint32_t i = sizeof *c; i < len && buf[i]; i++)
			putch((char)buf[i]);
		say("]\n");
		break;
	default:
		say("port %u event %u value %u\n", c->id, c->event, c->value);
	}
}

static void on_byte(char c)
{
	if (c != '\n') {
		if (line_len < sizeof line)
			line[line_len++] = c;
		return;
	}
	quit |= line_len == 4 && !memcmp(line, "quit", 4);
	send(&tx, "echo ", 5);
	send(&tx, line, line_len);
	send(&tx, "\n", 1);
	line_len = 0;
}

static void poll(struct vq *q, bool is_control)
{
	uint64_t token;
	uint32_t len;

	if (!vq_wait(q, 10) || !vq_get(q, &token, &len))
		return;
	if (is_control)
		on_control((uint8_t *)token, len);
	for (uint32_t i = 0; !is_control && i < len; i++)
		on_byte(((char *)token)[i]);
	give(q, (uint8_t *)token);
}

/* The queues of port n: its receiving one, and that plus one. */
static unsigned queue_of(unsigned n)
{
	return n ? 2 + 2 * n : 0;
}

void guest_main(void)
{
	bool multi, ok;

	vdev_need(&dev, VIRTIO_CONSOLE);
	port = (unsigned)arg_u64("port", 0);
	if (!check(vdev_begin(&dev, BIT(CF_SIZE) | BIT(CF_MULTIPORT)), "features accepted"))
		return;
	multi = vdev_has(&dev, CF_MULTIPORT);
	ok = vq_setup(&dev, &rx, queue_of(port)) && vq_setup(&dev, &tx, queue_of(port) + 1);
	if (multi)
		ok = ok && vq_setup(&dev, &control_rx, 2) && vq_setup(&dev, &control_tx, 3);
	if (!check(ok && port < PORTS, "queues set up"))
		return;
	vdev_driver_ok(&dev);
	say("offered %lx, taken %lx\n", dev.offered, dev.features);
	if (vdev_has(&dev, CF_SIZE))
		say("size %ux%u\n", vdev_cfg16(&dev, CC_COLS), vdev_cfg16(&dev, CC_ROWS));
	if (multi)
		say("at most %u ports\n", vdev_cfg32(&dev, CC_MAX_PORTS));
	for (unsigned i = 0; i < BUFFERS; i++) {
		give(&rx, in[i]);
		if (multi)
			give(&control_rx, control_in[i]);
	}
	if (multi)
		control(0, EV_DEVICE_READY, 1);
	send(&tx, "hello\n", 6);
	say("ready\n");
	while (!quit) {
		if (multi)
			poll(&control_rx, true);
		poll(&rx, false);
	}
	check(!(vdev_status(&dev) & VS_NEEDS_RESET), "the device is content");
	check(vdev_reset(&dev), "reset at the end");
}
