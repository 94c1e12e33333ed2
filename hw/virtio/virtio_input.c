/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-input (Virtual I/O Device specification 1.2, section 5.8): a keyboard, a mouse, and
 * a tablet, whose pointer is where the display's pointer is.
 *
 * Events go in groups that end with SYN_REPORT, and a group goes whole or not at all: without
 * buffers for all of it, it is dropped. The device knows what the guest has been
 * told, so that keys and buttons which came up meanwhile, and a pointer's place, are told as
 * soon as there are buffers: a key that never came up would repeat for ever.
 *
 * Queues and what comes from input.h: main loop. Configuration space: vCPU threads, under
 * dev.lock; but for select and subsel it is constant.
 */
#include "virtio.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <string.h>

#include "err.h"
#include "input.h"
#include "iov.h"
#include "machine.h"
#include "props.h"
#include "queue_work.h"
#include "wire/virtio_input.h"

enum {
	QUEUE_SIZE = 64,
	KEYS = 256, /* codes of keyboards; buttons come after them */
	GROUP = 12, /* events of the largest group, and more */
	STATUS_SLICE = 16, /* chains of one callback */
	BUS_VIRTUAL = 6, /* linux/input.h */
	VENDOR = 0x1af4,
};

#define NOWHERE UINT32_MAX

/* Event codes of one type that a device has, as configuration space shows them. */
struct event_bits {
	uint8_t type, size;
	uint8_t bitmap[KEYS / 8 + 8];
};

struct input_kind {
	struct virtio_type type; /* first member */
	const char *name; /* the guest's */
	struct input_device device; /* ours, without ctx */
	uint16_t product;
	bool absolute;
	const struct event_bits *bits;
	unsigned n_bits;
};

struct vinput {
	struct virtio_dev v; /* first member */
	char *serial; /* property */
	uint8_t select, subsel; /* dev.lock */

	/* main loop */
	struct input_device in;
	struct virtqueue *events, *status;
	/* Buffers in hand for the next group: held[(first + i) % GROUP]. */
	struct vq_chain held[GROUP];
	struct iovec iov[GROUP][QUEUE_SIZE];
	unsigned first, n_held;
	/* What is so, and what the guest has been told. */
	uint8_t down[KEYS / 8], told_down[KEYS / 8];
	unsigned buttons, told_buttons;
	unsigned x, y, told_x, told_y;
	bool owed; /* they differ, for want of buffers */
	unsigned leds;
};

/* Events that belong together. */
struct group {
	struct virtio_input_event ev[GROUP];
	unsigned n;
};

static const struct input_kind *kind_of(const struct vinput *t)
{
	return (const struct input_kind *)t->v.type;
}

static const char *who(const struct vinput *t)
{
	return t->v.dev.id ? t->v.dev.id : t->v.dev.cls->name;
}

/* --- groups of events --------------------------------------------------------------- */

static void add(struct group *g, unsigned type, unsigned code, int value)
{
	g->ev[g->n++] = (struct virtio_input_event){ .type = cpu_to_le16((uint16_t)type),
						     .code = cpu_to_le16((uint16_t)code),
						     .value = cpu_to_le32((uint32_t)value) };
}

/*
 * Whether there are n buffers in hand. Those that are too few stay there: given back, they
 * would keep the driver from ringing for the ones that are missing.
 */
static bool hold(struct vinput *t, unsigned n)
{
	while (t->n_held < n) {
		unsigned slot = (t->first + t->n_held) % GROUP;
		struct vq_chain *c = &t->held[slot];

		*c = (struct vq_chain){ .iov = t->iov[slot], .max = QUEUE_SIZE };
		if (!queue_take(&t->v, t->events, c))
			break;
		t->n_held++;
		if (c->in_len < sizeof(struct virtio_input_event))
			virtio_broken(&t->v, "queue %u: an event buffer of %u bytes",
				      t->events->index, c->in_len);
	}
	if (!t->v.running)
		input_ready_changed(t->v.dev.m);
	return t->v.running && t->n_held >= n;
}

/* Ends the group and sends it. An empty one has been sent. */
static bool send(struct vinput *t, struct group *g)
{
	if (!g->n)
		return true;
	add(g, EV_SYN, SYN_REPORT, 0);
	if (!hold(t, g->n))
		return false;
	for (unsigned i = 0; i < g->n; i++) {
		const struct vq_chain *c = &t->held[t->first];

		iov_from_buf(c->iov + c->n_out, c->n_in, 0, &g->ev[i], sizeof(g->ev[i]));
		vq_push(t->events, c, sizeof(g->ev[i]));
		t->first = (t->first + 1) % GROUP;
		t->n_held--;
	}
	vq_flush(t->events);
	return true;
}

/* --- keys ------------------------------------------------------------------------------- */

static bool bit(const uint8_t *bits, unsigned n)
{
	return bits[n / 8] >> n % 8 & 1;
}

static void set_bit(uint8_t *bits, unsigned n, bool on)
{
	bits[n / 8] = (uint8_t)((bits[n / 8] & ~(1u << n % 8)) | (unsigned)on << n % 8);
}

static bool send_key(struct vinput *t, unsigned code, bool down)
{
	struct group g = { .n = 0 };

	add(&g, EV_KEY, code, down);
	if (!send(t, &g))
		return false;
	set_bit(t->told_down, code, down);
	return true;
}

/* Keys that came up without the guest knowing. False: there are some left. */
static bool send_releases(struct vinput *t)
{
	for (unsigned code = 0; code < KEYS; code++)
		if (bit(t->told_down, code) && !bit(t->down, code) && !send_key(t, code, false))
			return false;
	return true;
}

/* The guest repeats keys by itself: one that is down already is not told again. */
static void key(void *ctx, unsigned code, bool down)
{
	struct vinput *t = ctx;

	if (code >= KEYS)
		return;
	set_bit(t->down, code, down);
	if (!queue_runs(&t->v, t->events))
		return;
	t->owed = !send_releases(t);
	if (!t->owed && down && !bit(t->told_down, code))
		send_key(t, code, true);
}

/* --- pointers ------------------------------------------------------------------------------ */

static void add_buttons(struct group *g, const struct vinput *t)
{
	static const struct {
		unsigned bit, code;
	} buttons[] = {
		{ INPUT_LEFT, BTN_LEFT }, { INPUT_RIGHT, BTN_RIGHT }, { INPUT_MIDDLE, BTN_MIDDLE },
		{ INPUT_SIDE, BTN_SIDE }, { INPUT_EXTRA, BTN_EXTRA },
	};

	for (size_t i = 0; i < sizeof(buttons) / sizeof(buttons[0]); i++)
		if ((t->buttons ^ t->told_buttons) & buttons[i].bit)
			add(g, EV_KEY, buttons[i].code, (t->buttons & buttons[i].bit) != 0);
}

/* A movement or turn of the wheel, and what else the guest is to know. */
static void send_pointer(struct vinput *t, int dx, int dy, int wheel)
{
	struct group g = { .n = 0 };

	if (!queue_runs(&t->v, t->events))
		return;
	if (dx)
		add(&g, EV_REL, REL_X, dx);
	if (dy)
		add(&g, EV_REL, REL_Y, dy);
	if (kind_of(t)->absolute && t->x != t->told_x)
		add(&g, EV_ABS, ABS_X, (int)t->x);
	if (kind_of(t)->absolute && t->y != t->told_y)
		add(&g, EV_ABS, ABS_Y, (int)t->y);
	if (wheel)
		add(&g, EV_REL, REL_WHEEL, wheel);
	add_buttons(&g, t);
	t->owed = !send(t, &g);
	if (t->owed)
		return;
	t->told_x = t->x;
	t->told_y = t->y;
	t->told_buttons = t->buttons;
}

static void move(void *ctx, int dx, int dy, int wheel, unsigned buttons)
{
	struct vinput *t = ctx;

	t->buttons = buttons;
	send_pointer(t, dx, dy, wheel);
}

static void point(void *ctx, unsigned x, unsigned y, int wheel, unsigned buttons)
{
	struct vinput *t = ctx;

	t->x = x;
	t->y = y;
	t->buttons = buttons;
	send_pointer(t, 0, 0, wheel);
}

/* --- queues ---------------------------------------------------------------------------------- */

static bool ready(void *ctx)
{
	struct vinput *t = ctx;

	return queue_runs(&t->v, t->events);
}

/* The driver has given buffers. As long as nothing is owed, it need not say so. */
static void events_kick(struct vinput *t)
{
	if (!t->owed)
		vq_disable_notify(t->events);
	else if (kind_of(t)->device.key)
		t->owed = !send_releases(t);
	else
		send_pointer(t, 0, 0, 0);
}

static void set_leds(struct vinput *t, unsigned leds)
{
	if (leds == t->leds)
		return;
	t->leds = leds;
	input_set_leds(t->v.dev.m, leds);
}

static void status_event(struct vinput *t, const struct vq_chain *c)
{
	static const unsigned lamps[] = {
		[LED_NUML] = INPUT_LED_NUM,
		[LED_CAPSL] = INPUT_LED_CAPS,
		[LED_SCROLLL] = INPUT_LED_SCROLL,
	};
	struct virtio_input_event ev;
	unsigned code;

	if (iov_to_buf(c->iov, c->n_out, 0, &ev, sizeof(ev)) < sizeof(ev)) {
		log_guest(&t->v.loop_log, who(t), "a status event of %u bytes", c->out_len);
		return;
	}
	code = le16_to_cpu(ev.code);
	/* Others, such as how fast keys repeat, concern the guest alone. */
	if (le16_to_cpu(ev.type) != EV_LED || code >= sizeof(lamps) / sizeof(lamps[0]))
		return;
	set_leds(t, le32_to_cpu(ev.value) ? t->leds | lamps[code] : t->leds & ~lamps[code]);
}

static void status_kick(struct vinput *t)
{
	struct iovec iov[QUEUE_SIZE];
	struct vq_chain c = { .iov = iov, .max = QUEUE_SIZE };
	unsigned n = 0;

	while (n < STATUS_SLICE && queue_take(&t->v, t->status, &c)) {
		status_event(t, &c);
		vq_push(t->status, &c, 0);
		n++;
	}
	queue_flush(&t->v, t->status);
	if (n == STATUS_SLICE)
		virtio_requeue(t->status);
	if (!t->v.running)
		input_ready_changed(t->v.dev.m);
}

static void input_kick(struct virtio_dev *v, struct virtqueue *vq)
{
	struct vinput *t = (struct vinput *)v;

	if (vq == t->events)
		events_kick(t);
	else
		status_kick(t);
}

/* A driver that begins knows of no key that is down. */
static void input_start(struct virtio_dev *v)
{
	struct vinput *t = (struct vinput *)v;

	memset(t->told_down, 0, sizeof(t->told_down));
	t->told_buttons = 0;
	t->told_x = t->told_y = NOWHERE;
	t->owed = false;
	input_ready_changed(v->dev.m);
}

static void input_stop(struct virtio_dev *v, struct virtqueue *vq)
{
	struct vinput *t = (struct vinput *)v;

	if (!vq || vq == t->events)
		while (t->n_held)
			vq_unpop(t->events, &t->held[(t->first + --t->n_held) % GROUP]);
	if (!vq)
		set_leds(t, 0);
	input_ready_changed(v->dev.m);
}

/* --- configuration space, vCPU threads -----------------------------------------------------------
 */

/* Of 128 bytes at most: init sees to it. */
static unsigned put_string(struct virtio_input_config *c, const char *s)
{
	size_t n = s ? strlen(s) : 0;

	if (n)
		memcpy(c->u.string, s, n);
	return (unsigned)n;
}

static unsigned put_bits(const struct input_kind *k, struct virtio_input_config *c, unsigned type)
{
	for (unsigned i = 0; i < k->n_bits; i++)
		if (k->bits[i].type == type) {
			memcpy(c->u.bitmap, k->bits[i].bitmap, k->bits[i].size);
			return k->bits[i].size;
		}
	return 0;
}

/* What select and subsel show; returns its size. Only events and axes have a subsel. */
static unsigned show(const struct vinput *t, struct virtio_input_config *c)
{
	const struct input_kind *k = kind_of(t);

	if (c->select == VIRTIO_INPUT_EV_BITS)
		return put_bits(k, c, c->subsel);
	if (c->select == VIRTIO_INPUT_ABS_INFO) {
		if (!k->absolute || c->subsel > ABS_Y)
			return 0;
		c->u.abs.max = cpu_to_le32(INPUT_ABS_MAX);
		return sizeof(c->u.abs);
	}
	if (c->subsel)
		return 0;
	switch (c->select) {
	case VIRTIO_INPUT_ID_NAME:
		return put_string(c, k->name);
	case VIRTIO_INPUT_ID_SERIAL:
		return put_string(c, t->serial);
	case VIRTIO_INPUT_ID_DEVIDS:
		c->u.ids = (struct virtio_input_devids){
			.bustype = cpu_to_le16(BUS_VIRTUAL),
			.vendor = cpu_to_le16(VENDOR),
			.product = cpu_to_le16(k->product),
			.version = cpu_to_le16(1),
		};
		return sizeof(c->u.ids);
	default: /* no device here has properties (VIRTIO_INPUT_PROP_BITS) */
		return 0;
	}
}

static void input_config_read(struct virtio_dev *v, unsigned off, void *buf, unsigned len)
{
	const struct vinput *t = (const struct vinput *)v;
	struct virtio_input_config c = { .select = t->select, .subsel = t->subsel };

	c.size = (uint8_t)show(t, &c);
	memcpy(buf, (const char *)&c + off, len);
}

/* Only the first two bytes can be written. */
static void input_config_write(struct virtio_dev *v, unsigned off, const void *buf, unsigned len)
{
	struct vinput *t = (struct vinput *)v;
	const uint8_t *bytes = buf;

	for (unsigned i = 0; i < len; i++)
		if (off + i == offsetof(struct virtio_input_config, select))
			t->select = bytes[i];
		else if (off + i == offsetof(struct virtio_input_config, subsel))
			t->subsel = bytes[i];
}

static void input_reset(struct virtio_dev *v)
{
	struct vinput *t = (struct vinput *)v;

	t->select = t->subsel = 0;
}

/* --- the devices
 * ----------------------------------------------------------------------------------- */

static int input_init(struct virtio_dev *v, struct err *e)
{
	struct vinput *t = (struct vinput *)v;

	if (t->serial && strlen(t->serial) > sizeof(((struct virtio_input_config *)0)->u.string)) {
		err_set(e, ERR_USAGE, EINVAL, "serial=%s is too long", t->serial);
		err_hint(e, "there is room for 128 bytes");
		return -EINVAL;
	}
	v->config_size = sizeof(struct virtio_input_config);
	t->events = virtio_add_queue(v, QUEUE_SIZE);
	t->status = virtio_add_queue(v, QUEUE_SIZE);
	if (!t->events || !t->status)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	t->in = kind_of(t)->device;
	t->in.ready = ready;
	t->in.ctx = t;
	input_add(v->dev.m, &t->in);
	return 0;
}

static void input_fini(struct virtio_dev *v)
{
	input_remove(v->dev.m, &((struct vinput *)v)->in);
}

#define BYTE(code) [(code) / 8]
#define BUTTONS                                                                                    \
	{                                                                                          \
		.type = EV_KEY, .size = BTN_LEFT / 8 + 1,                                          \
		.bitmap = { BYTE(BTN_LEFT) = 0x1f }, /* to BTN_EXTRA */                            \
	}

static const struct event_bits keyboard_bits[] = {
	{ .type = EV_KEY, .size = KEYS / 8, .bitmap = { 0xfe, [1 ... KEYS / 8 - 1] = 0xff } },
	{ .type = EV_REP, .size = 1, .bitmap = { 1 << REP_DELAY | 1 << REP_PERIOD } },
	{ .type = EV_LED,
	  .size = 1,
	  .bitmap = { 1 << LED_NUML | 1 << LED_CAPSL | 1 << LED_SCROLLL } },
};

static const struct event_bits mouse_bits[] = {
	BUTTONS,
	{ .type = EV_REL,
	  .size = 2,
	  .bitmap = { 1 << REL_X | 1 << REL_Y, BYTE(REL_WHEEL) = 1 << REL_WHEEL % 8 } },
};

static const struct event_bits tablet_bits[] = {
	BUTTONS,
	{ .type = EV_REL, .size = 2, .bitmap = { BYTE(REL_WHEEL) = 1 << REL_WHEEL % 8 } },
	{ .type = EV_ABS, .size = 1, .bitmap = { 1 << ABS_X | 1 << ABS_Y } },
};

#define VIRTIO_INPUT_TYPE(vname, class)                                                            \
	{                                                                                          \
		.name = vname, .id = 18, .pci_class = (class), .init = input_init,                 \
		.fini = input_fini, .reset = input_reset, .config_read = input_config_read,        \
		.config_write = input_config_write, .start = input_start, .kick = input_kick,      \
		.stop = input_stop                                                                 \
	}

static const struct input_kind keyboard = {
	.type = VIRTIO_INPUT_TYPE("virtio-keyboard", 0x090000),
	.name = "Posada virtio keyboard",
	.product = 1,
	.device = { .name = "virtio keyboard", .key = key },
	.bits = keyboard_bits,
	.n_bits = sizeof(keyboard_bits) / sizeof(keyboard_bits[0]),
};

static const struct input_kind mouse = {
	.type = VIRTIO_INPUT_TYPE("virtio-mouse", 0x090200),
	.name = "Posada virtio mouse",
	.product = 2,
	.device = { .name = "virtio mouse", .move = move },
	.bits = mouse_bits,
	.n_bits = sizeof(mouse_bits) / sizeof(mouse_bits[0]),
};

static const struct input_kind tablet = {
	.type = VIRTIO_INPUT_TYPE("virtio-tablet", 0x098000),
	.name = "Posada virtio tablet",
	.product = 3,
	.absolute = true,
	.device = { .name = "virtio tablet", .point = point },
	.bits = tablet_bits,
	.n_bits = sizeof(tablet_bits) / sizeof(tablet_bits[0]),
};

static const struct prop input_props[] = {
	PROP(struct vinput, serial, PROP_STR, "serial", NULL,
	     "what the guest sees as the device's serial number"),
	PROP_END,
};

VIRTIO_DEVICE(virtio_keyboard, vinput, "virtio-keyboard", "keyboard", keyboard.type, input_props);
VIRTIO_DEVICE(virtio_mouse, vinput, "virtio-mouse", "mouse with a wheel and five buttons",
	      mouse.type, input_props);
VIRTIO_DEVICE(virtio_tablet, vinput, "virtio-tablet", "pointer that is where the display's is",
	      tablet.type, input_props);
