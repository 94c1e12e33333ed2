/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-serial: the console device of virtio 1.2, section 5.3, with up to 31
 * ports, and the ports themselves: `virtconsole`, a terminal of the guest, and
 * `virtserialport`, a pipe between a program in the guest and one on the host.
 *
 * Each port has a chardev. A byte goes straight between the chardev and the
 * guest's buffers: what the chardev does not take stays in the guest's buffer,
 * which is not used until all of it has gone; what comes from the host stays in
 * the chardev until the guest has opened the port and given a buffer.
 *
 * Control messages to the driver are not queued: each port has a set of those
 * that are due (enum due), so that no driver can make them pile up.
 *
 * Everything runs on the main loop -- chardev callbacks and queue work -- but for
 * the configuration space (vCPU threads): constants, and the emergency write.
 */
#include "virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chardev.h"
#include "err.h"
#include "iov.h"
#include "machine.h"
#include "props.h"
#include "queue_work.h"
#include "wire/virtio_console.h"

enum {
	MAX_PORTS = 31, /* what VIRTIO_MAX_QUEUES has room for */
	QUEUE_SIZE = 128,
	NAME_MAX_LEN = 255,
	/* Work of one callback; the rest waits until others on the loop have had their turn. */
	TX_SLICE = 1 << 20, /* bytes */
	TX_CHAIN_COST = 256, /* of each chain, in bytes */
	CONTROL_SLICE = 256, /* messages */
};

/* Control messages that the driver has still to get of a port, in the order of sending. */
enum due {
	DUE_REMOVE = 1,
	DUE_ADD = 2,
	DUE_CONSOLE = 4,
	DUE_NAME = 8,
	DUE_RESIZE = 16,
	DUE_CLOSED = 32,
	DUE_OPENED = 64,
	DUE_ALL = 127,
};

#define NR_AUTO UINT32_MAX

struct port;

/* A place for a port. Kept apart from the port, which may go before the driver heard of it. */
struct slot {
	struct port *port; /* NULL: none */
	unsigned due; /* enum due */
	bool added; /* the driver has been told that it is there */
	bool told_open; /* ... that the host has opened it */
};

struct virtio_serial {
	struct virtio_dev v; /* first member */
	uint32_t max_ports;
	struct slot slot[MAX_PORTS];
	struct iovec control_iov[QUEUE_SIZE];
};

struct port {
	struct dev dev; /* first member */
	char *chardev_id, *name, *bus;
	uint32_t nr_choice; /* NR_AUTO: the first that is free */
	uint16_t cols, rows; /* 0: unknown */
	struct virtio_serial *serial;
	unsigned nr;
	struct chardev_port *chardev;
	bool host_open; /* somebody is at the chardev's other end */
	/* what the driver said since its last reset */
	bool ready, guest_open;
	/* a chain in hand, in either direction */
	bool rx_held, tx_held;
	size_t tx_done; /* bytes of it that have gone out */
	struct vq_chain rx, tx;
	struct iovec rx_iov[QUEUE_SIZE], tx_iov[QUEUE_SIZE];
};

extern const struct dev_class virtconsole_class, virtserialport_class;

static bool is_console(const struct port *p)
{
	return p->dev.cls == &virtconsole_class;
}

static const char *who(const struct virtio_serial *s)
{
	return s->v.dev.id ? s->v.dev.id : s->v.dev.cls->name;
}

static bool multiport(const struct virtio_serial *s)
{
	return virtio_has(&s->v, VIRTIO_CONSOLE_F_MULTIPORT);
}

/* --- queues ------------------------------------------------------------------ */

static struct virtqueue *rx_queue(const struct port *p)
{
	return p->serial->v.vq[p->nr ? 2 * p->nr + 2 : VIRTIO_CONSOLE_RX0];
}

static struct virtqueue *tx_queue(const struct port *p)
{
	return p->serial->v.vq[p->nr ? 2 * p->nr + 3 : VIRTIO_CONSOLE_TX0];
}

/* --- from the guest to the host ------------------------------------------------- */

/* Writes what is left of the chain in hand; false when the chardev or *slice is full. */
static bool send_chain(struct port *p, size_t *slice)
{
	size_t skip = p->tx_done;

	for (unsigned i = 0; i < p->tx.n_out; i++) {
		const struct iovec *v = &p->tx.iov[i];
		size_t len, n;

		if (skip >= v->iov_len) {
			skip -= v->iov_len;
			continue;
		}
		len = v->iov_len - skip;
		n = len < *slice ? len : *slice;
		n = chardev_write(p->chardev, (const char *)v->iov_base + skip, n);
		p->tx_done += n;
		*slice -= n;
		if (n < len) {
			if (!*slice)
				virtio_requeue(tx_queue(p));
			return false;
		}
		skip = 0;
	}
	return true;
}

static void tx_finish(struct port *p)
{
	vq_push(tx_queue(p), &p->tx, 0);
	p->tx_held = false;
}

/* Also when the chardev has room again. */
static void port_transmit(struct port *p)
{
	struct virtqueue *vq = tx_queue(p);
	size_t slice = TX_SLICE;

	while (queue_runs(&p->serial->v, vq)) {
		if (!p->tx_held) {
			if (!queue_take(&p->serial->v, vq, &p->tx))
				break;
			p->tx_held = true;
			p->tx_done = 0;
		}
		if (!send_chain(p, &slice))
			break;
		tx_finish(p);
		if (slice < TX_CHAIN_COST) {
			virtio_requeue(vq);
			break;
		}
		slice -= TX_CHAIN_COST;
	}
	queue_flush(&p->serial->v, vq);
}

/* A queue without a port swallows what is written to it: a driver may wait for its buffers. */
static void swallow(struct virtio_serial *s, struct virtqueue *vq)
{
	struct vq_chain chain = { .iov = s->control_iov, .max = QUEUE_SIZE };

	for (unsigned i = 0; i < CONTROL_SLICE; i++) {
		if (!queue_take(&s->v, vq, &chain))
			break;
		vq_push(vq, &chain, 0);
		if (i == CONTROL_SLICE - 1)
			virtio_requeue(vq);
	}
	queue_flush(&s->v, vq);
}

/* --- from the host to the guest ------------------------------------------------- */

/*
 * A driver may discard what comes before it has opened the port (Linux does,
 * for consoles as well), so it is kept until then.
 */
static bool guest_listens(const struct port *p)
{
	return multiport(p->serial) ? p->guest_open : p->nr == 0;
}

static size_t port_can_read(void *ctx)
{
	struct port *p = ctx;
	struct virtqueue *vq = rx_queue(p);

	if (!queue_runs(&p->serial->v, vq) || !guest_listens(p))
		return 0;
	if (!p->rx_held) {
		if (!queue_take(&p->serial->v, vq, &p->rx))
			return 0;
		if (!p->rx.in_len) {
			virtio_broken(&p->serial->v, "queue %u: a receive buffer without room",
				      vq->index);
			return 0;
		}
		p->rx_held = true;
	}
	return p->rx.in_len;
}

/* len is at most what port_can_read said, so it fits the chain in hand. */
static void port_read(void *ctx, const uint8_t *buf, size_t len)
{
	struct port *p = ctx;
	struct virtqueue *vq = rx_queue(p);

	if (!p->rx_held)
		return;
	len = iov_from_buf(p->rx.iov + p->rx.n_out, p->rx.n_in, 0, buf, len);
	p->rx_held = false;
	vq_push(vq, &p->rx, (uint32_t)len);
	vq_flush(vq);
}

static void port_writable(void *ctx)
{
	port_transmit(ctx);
}

/* --- control messages to the driver ----------------------------------------------- */

struct message {
	struct virtio_console_control control;
	char more[NAME_MAX_LEN];
};

/* Fills msg; returns its length. due: one bit. */
static size_t make_message(const struct slot *slot, unsigned nr, unsigned due, struct message *msg)
{
	const struct port *p = slot->port;
	unsigned event = 0, value = 1;
	size_t more = 0;

	switch (due) {
	case DUE_REMOVE:
		event = VIRTIO_CONSOLE_PORT_REMOVE;
		break;
	case DUE_ADD:
		event = VIRTIO_CONSOLE_PORT_ADD;
		break;
	case DUE_CONSOLE:
		event = VIRTIO_CONSOLE_CONSOLE_PORT;
		break;
	case DUE_NAME:
		event = VIRTIO_CONSOLE_PORT_NAME;
		more = strlen(p->name);
		memcpy(msg->more, p->name, more);
		break;
	case DUE_RESIZE: {
		struct virtio_console_resize size = { .cols = cpu_to_le16(p->cols),
						      .rows = cpu_to_le16(p->rows) };

		event = VIRTIO_CONSOLE_RESIZE;
		more = sizeof(size);
		memcpy(msg->more, &size, more);
		break;
	}
	case DUE_CLOSED:
	case DUE_OPENED:
		event = VIRTIO_CONSOLE_PORT_OPEN;
		value = due == DUE_OPENED;
		break;
	}
	msg->control = (struct virtio_console_control){ .id = cpu_to_le32(nr),
							.event = cpu_to_le16((uint16_t)event),
							.value = cpu_to_le16((uint16_t)value) };
	return sizeof(msg->control) + more;
}

static void sent(struct slot *slot, unsigned due)
{
	slot->due &= ~due;
	if (due == DUE_ADD || due == DUE_REMOVE)
		slot->added = due == DUE_ADD;
	if (due == DUE_CLOSED || due == DUE_OPENED)
		slot->told_open = due == DUE_OPENED;
}

/* Sends what is due of one port; false when the driver has no buffer for it. */
static bool send_slot(struct virtio_serial *s, unsigned nr)
{
	struct virtqueue *vq = s->v.vq[VIRTIO_CONSOLE_CONTROL_RX];
	struct vq_chain chain = { .iov = s->control_iov, .max = QUEUE_SIZE };
	struct slot *slot = &s->slot[nr];
	struct message msg;

	while (slot->due) {
		unsigned due = slot->due & -slot->due;
		size_t len = make_message(slot, nr, due, &msg);

		if (!queue_take(&s->v, vq, &chain))
			return false;
		if (chain.in_len < sizeof(msg.control)) {
			virtio_broken(&s->v, "control buffer of %u bytes", chain.in_len);
			return false;
		}
		/* A name that is longer than the buffer is cut. */
		len = iov_from_buf(chain.iov + chain.n_out, chain.n_in, 0, &msg, len);
		vq_push(vq, &chain, (uint32_t)len);
		sent(slot, due);
	}
	return true;
}

/* Also when the driver has given more buffers. */
static void send_control(struct virtio_serial *s)
{
	struct virtqueue *vq;

	if (!multiport(s))
		return;
	vq = s->v.vq[VIRTIO_CONSOLE_CONTROL_RX];
	for (unsigned i = 0; i < s->max_ports; i++)
		if (!send_slot(s, i))
			break;
	queue_flush(&s->v, vq);
}

/* The driver hears of each closing that it heard the opening of. */
static void host_state_changed(struct port *p)
{
	struct slot *slot = &p->serial->slot[p->nr];

	if (!p->ready)
		return;
	slot->due &= ~(unsigned)DUE_OPENED;
	if (p->host_open)
		slot->due |= DUE_OPENED;
	else if (slot->told_open)
		slot->due |= DUE_CLOSED;
}

/* A console is open to the guest whether or not somebody watches it. */
static void port_event(void *ctx, enum chardev_event ev)
{
	struct port *p = ctx;

	if (is_console(p) || ev == CHARDEV_BREAK || ev == CHARDEV_COVERED)
		return;
	p->host_open = ev == CHARDEV_OPENED;
	host_state_changed(p);
	send_control(p->serial);
}

/* --- control messages from the driver ------------------------------------------------ */

static void device_ready(struct virtio_serial *s)
{
	for (unsigned i = 0; i < s->max_ports; i++)
		if (s->slot[i].port && !s->slot[i].added)
			s->slot[i].due |= DUE_ADD;
}

static void port_ready(struct port *p, bool ok)
{
	struct slot *slot = &p->serial->slot[p->nr];

	p->ready = ok;
	if (!ok) {
		log_guest(&p->serial->v.loop_log, who(p->serial), "the driver cannot use port %u",
			  p->nr);
		return;
	}
	if (is_console(p))
		slot->due |= DUE_CONSOLE;
	if (p->name && *p->name)
		slot->due |= DUE_NAME;
	if (p->cols && p->rows && virtio_has(&p->serial->v, VIRTIO_CONSOLE_F_SIZE))
		slot->due |= DUE_RESIZE;
	host_state_changed(p);
}

static void port_open(struct port *p, bool open)
{
	p->guest_open = open;
	if (open)
		chardev_accept(p->chardev);
}

static void control_message(struct virtio_serial *s, const struct virtio_console_control *msg)
{
	uint32_t id = le32_to_cpu(msg->id);
	unsigned event = le16_to_cpu(msg->event), value = le16_to_cpu(msg->value);
	struct port *p = id < s->max_ports ? s->slot[id].port : NULL;

	if (event == VIRTIO_CONSOLE_DEVICE_READY && value)
		device_ready(s);
	else if (event == VIRTIO_CONSOLE_DEVICE_READY)
		log_guest(&s->v.loop_log, who(s), "the driver failed to start");
	else if (event == VIRTIO_CONSOLE_PORT_READY && p)
		port_ready(p, value);
	else if (event == VIRTIO_CONSOLE_PORT_OPEN && p)
		port_open(p, value);
	else
		log_guest(&s->v.loop_log, who(s), "control message %u for port %u", event, id);
}

static void take_control(struct virtio_serial *s)
{
	struct virtqueue *vq = s->v.vq[VIRTIO_CONSOLE_CONTROL_TX];
	struct vq_chain chain = { .iov = s->control_iov, .max = QUEUE_SIZE };
	struct virtio_console_control msg;
	unsigned n = 0;

	while (queue_runs(&s->v, vq)) {
		if (n++ == CONTROL_SLICE) {
			virtio_requeue(vq);
			break;
		}
		if (!queue_take(&s->v, vq, &chain))
			break;
		if (iov_to_buf(chain.iov, chain.n_out, 0, &msg, sizeof(msg)) == sizeof(msg))
			control_message(s, &msg);
		else
			log_guest(&s->v.loop_log, who(s), "control message of %u bytes",
				  chain.out_len);
		vq_push(vq, &chain, 0);
	}
	queue_flush(&s->v, vq);
	send_control(s);
}

/* --- the device, main loop --------------------------------------------------------- */

static void serial_kick(struct virtio_dev *v, struct virtqueue *vq)
{
	struct virtio_serial *s = (struct virtio_serial *)v;
	unsigned nr = vq->index < 4 ? 0 : vq->index / 2 - 1;
	struct port *p = s->slot[nr].port;

	if (vq->index == VIRTIO_CONSOLE_CONTROL_TX)
		take_control(s);
	else if (vq->index == VIRTIO_CONSOLE_CONTROL_RX)
		send_control(s);
	else if (p && vq->index % 2 == 0)
		chardev_accept(p->chardev);
	else if (p)
		port_transmit(p);
	else if (vq->index % 2)
		swallow(s, vq);
}

/*
 * What the host has not taken yet of a chain in hand goes with the queue, as
 * it would with a real port's FIFO; a buffer for input was never used.
 */
static void drop_chains(struct port *p, const struct virtqueue *vq)
{
	if (p->tx_held && (!vq || vq == tx_queue(p)))
		tx_finish(p);
	if (p->rx_held && (!vq || vq == rx_queue(p))) {
		p->rx_held = false;
		vq_unpop(rx_queue(p), &p->rx);
	}
}

static void serial_stop(struct virtio_dev *v, struct virtqueue *vq)
{
	struct virtio_serial *s = (struct virtio_serial *)v;

	for (unsigned i = 0; i < s->max_ports; i++) {
		struct slot *slot = &s->slot[i];

		if (slot->port)
			drop_chains(slot->port, vq);
		if (vq)
			continue;
		if (slot->port)
			slot->port->ready = slot->port->guest_open = false;
		*slot = (struct slot){ .port = slot->port };
	}
}

/* --- configuration space, vCPU threads -------------------------------------------- */

static void serial_config_read(struct virtio_dev *v, unsigned off, void *buf, unsigned len)
{
	const struct virtio_serial *s = (struct virtio_serial *)v;
	const struct port *p = s->slot[0].port;
	const struct virtio_console_config c = {
		.cols = cpu_to_le16(p ? p->cols : 0),
		.rows = cpu_to_le16(p ? p->rows : 0),
		.max_nr_ports = cpu_to_le32(s->max_ports),
	};

	memcpy(buf, (const char *)&c + off, len);
}

/* The emergency write: a byte to the console, whatever state driver and queues are in. */
static void serial_config_write(struct virtio_dev *v, unsigned off, const void *buf, unsigned len)
{
	const struct virtio_serial *s = (struct virtio_serial *)v;
	const struct port *p = s->slot[0].port;

	if (p && len && off == offsetof(struct virtio_console_config, emerg_wr))
		chardev_write(p->chardev, buf, 1);
}

/* --- making the device ---------------------------------------------------------------- */

static int serial_init(struct virtio_dev *v, struct err *e)
{
	struct virtio_serial *s = (struct virtio_serial *)v;
	unsigned queues = s->max_ports > 1 ? 2 * (s->max_ports + 1) : 2;

	v->config_size = sizeof(struct virtio_console_config);
	v->host_features = VIRTIO_F(VIRTIO_CONSOLE_F_EMERG_WRITE);
	if (s->max_ports > 1)
		v->host_features |= VIRTIO_F(VIRTIO_CONSOLE_F_MULTIPORT);
	for (unsigned i = 0; i < queues; i++)
		if (!virtio_add_queue(v, QUEUE_SIZE))
			return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	return 0;
}

static const struct virtio_type serial_type = {
	.name = "virtio-serial",
	.id = 3,
	.legacy_pci_id = 0x1003,
	.pci_class = 0x078000, /* another communication device */
	.init = serial_init,
	.config_read = serial_config_read,
	.config_write = serial_config_write,
	.kick = serial_kick,
	.stop = serial_stop,
};

static const struct prop serial_props[] = {
	PROP_RANGE(struct virtio_serial, max_ports, PROP_U32, "max_ports", "31", 1, MAX_PORTS,
		   "ports it has room for; 1: a single console"),
	PROP_END,
};

VIRTIO_DEVICE(virtio_serial, virtio_serial, "virtio-serial", "virtio ports and consoles",
	      serial_type, serial_props);

/* --- making a port ----------------------------------------------------------------------- */

/* As bus= names it: its id, or "ID.0" as people know it. */
static bool has_bus_name(const struct dev *d, const char *name)
{
	size_t n = d->id ? strlen(d->id) : 0;

	return n && !strncmp(d->id, name, n) && (!name[n] || !strcmp(name + n, ".0"));
}

/*
 * Where p can be on s: its number if it asks for one, else the first that is
 * free. Port 0 is the first console's: a driver without MULTIPORT knows no
 * other. -1: nowhere.
 */
static int place(const struct virtio_serial *s, const struct port *p)
{
	unsigned first = is_console(p) ? 0 : 1, end = s->max_ports;

	if (p->nr_choice != NR_AUTO) {
		unsigned nr = p->nr_choice;

		return nr >= first && nr < end && !s->slot[nr].port ? (int)nr : -1;
	}
	for (unsigned nr = first; nr < end; nr++)
		if (!s->slot[nr].port)
			return (int)nr;
	return -1;
}

/* Why p cannot be on s, the only one or the last one looked at. */
static int no_place(const struct virtio_serial *s, const struct port *p, struct err *e)
{
	const char *where = who(s);
	unsigned nr = p->nr_choice;

	if (nr == 0 && !is_console(p)) {
		err_set(e, ERR_USAGE, EINVAL, "nr=0: port 0 is for a virtconsole");
		err_hint(e, "leave nr= out, or give a number from 1 to %u", s->max_ports - 1);
		return -EINVAL;
	}
	if (nr != NR_AUTO && nr >= s->max_ports) {
		err_set(e, ERR_USAGE, EINVAL, "nr=%u: %s has ports 0 to %u", nr, where,
			s->max_ports - 1);
		err_hint(e, "max_ports= of the virtio-serial device says how many it has");
		return -EINVAL;
	}
	if (nr != NR_AUTO) {
		err_set(e, ERR_USAGE, EBUSY, "nr=%u: another port of %s has this number", nr,
			where);
		err_hint(e, "leave nr= out to take the next free number");
		return -EBUSY;
	}
	err_set(e, ERR_USAGE, EBUSY, "%s has no free port", where);
	err_hint(e, "add a second -device virtio-serial-pci, or a larger max_ports= (up to %d)",
		 MAX_PORTS);
	return -EBUSY;
}

/* Finds p's device and its number there: bus=, else the first one with room for it. */
static int find_place(struct port *p, struct err *e)
{
	struct virtio_serial *last = NULL;

	for (struct dev *d = p->dev.m->devices; d; d = d->next) {
		int nr;

		if (d->cls->type != &serial_type || (p->bus && !has_bus_name(d, p->bus)))
			continue;
		last = (struct virtio_serial *)d;
		nr = place(last, p);
		if (nr < 0)
			continue;
		p->serial = last;
		p->nr = (unsigned)nr;
		return 0;
	}
	if (last)
		return no_place(last, p, e);
	if (p->bus) {
		err_set(e, ERR_USAGE, ENODEV, "bus=%s: no virtio-serial device has this id",
			p->bus);
		err_hint(e, "put -device virtio-serial-pci,id=%.*s before it",
			 (int)strcspn(p->bus, "."), p->bus);
	} else {
		err_set(e, ERR_USAGE, ENODEV, "there is no virtio-serial device for it to be on");
		err_hint(e, "add -device virtio-serial-pci before it");
	}
	return -ENODEV;
}

static const struct chardev_client port_client = {
	.can_read = port_can_read,
	.read = port_read,
	.writable = port_writable,
	.event = port_event,
};

static int attach(struct port *p, struct err *e)
{
	struct chardev *c;

	if (!p->chardev_id)
		return 0;
	c = chardev_find(p->dev.m->chardevs, p->chardev_id);
	if (!c) {
		err_set(e, ERR_USAGE, ENOENT, "chardev=%s: there is no chardev with this id",
			p->chardev_id);
		err_hint(e, "add -chardev BACKEND,id=%s; -chardev help lists the backends",
			 p->chardev_id);
		return -ENOENT;
	}
	return chardev_attach(c, &port_client, p, &p->chardev, e);
}

static int port_init(struct dev *d, struct err *e)
{
	struct port *p = (struct port *)d;
	int rc;

	p->rx.iov = p->rx_iov;
	p->tx.iov = p->tx_iov;
	p->rx.max = p->tx.max = QUEUE_SIZE;
	p->host_open = is_console(p);
	if (p->name && strlen(p->name) > NAME_MAX_LEN)
		return err_set(e, ERR_USAGE, EINVAL, "name= is longer than %d bytes", NAME_MAX_LEN);
	rc = find_place(p, e);
	rc = rc ? rc : attach(p, e);
	if (rc) {
		p->serial = NULL;
		return rc;
	}
	p->serial->slot[p->nr].port = p;
	if (p->cols && p->rows)
		p->serial->v.host_features |= VIRTIO_F(VIRTIO_CONSOLE_F_SIZE);
	return 0;
}

static void port_fini(struct dev *d)
{
	struct port *p = (struct port *)d;
	struct slot *slot;

	if (!p->serial)
		return;
	slot = &p->serial->slot[p->nr];
	drop_chains(p, NULL);
	if (p->chardev)
		chardev_detach(p->chardev);
	slot->port = NULL;
	slot->due = slot->added ? DUE_REMOVE : 0;
	send_control(p->serial);
	p->serial = NULL;
}

#define PORT_PROPS                                                                                 \
	PROP(struct port, chardev_id, PROP_CHARDEV, "chardev", NULL,                               \
	     "where the bytes go to and come from"),                                               \
		PROP(struct port, name, PROP_STR, "name", NULL,                                    \
		     "what the guest calls it (/dev/virtio-ports/NAME)"),                          \
		PROP(struct port, nr_choice, PROP_U32, "nr", "4294967295",                         \
		     "port number (4294967295: the first that is free)"),                          \
		PROP(struct port, bus, PROP_STR, "bus", NULL,                                      \
		     "id of its virtio-serial device; else the first with room")

static const struct prop virtconsole_props[] = {
	PORT_PROPS,
	PROP(struct port, cols, PROP_U16, "cols", NULL, "width to tell the guest"),
	PROP(struct port, rows, PROP_U16, "rows", NULL, "height to tell the guest"),
	PROP_END,
};

static const struct prop virtserialport_props[] = { PORT_PROPS, PROP_END };

const struct dev_class virtconsole_class = {
	.name = "virtconsole",
	.desc = "console port of a virtio-serial device (hvc0 ... in Linux)",
	.bus = DEV_BUS_VIRTIO_SERIAL,
	.size = sizeof(struct port),
	.props = virtconsole_props,
	.init = port_init,
	.fini = port_fini,
};

const struct dev_class virtserialport_class = {
	.name = "virtserialport",
	.desc = "port of a virtio-serial device, for programs (/dev/vport0p1 ... in Linux)",
	.bus = DEV_BUS_VIRTIO_SERIAL,
	.size = sizeof(struct port),
	.props = virtserialport_props,
	.init = port_init,
	.fini = port_fini,
};
