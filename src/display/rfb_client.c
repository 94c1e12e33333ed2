/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client's thread: its messages (RFC 6143, section 7.5), and the updates that it is sent. All
 * that it sends is hostile: messages are looked at when they are complete, their lengths are
 * bounded, and what the server did not offer ends the connection. See rfb_int.h.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rfb_int.h"

enum { RECTS_MOST = 1024, MS = 1000000 };

/* --- the socket ----------------------------------------------------------------------------- */

static bool wait_for(struct rfb_client *c, short events, uint64_t deadline)
{
	struct pollfd p = { .fd = c->fd, .events = events };
	uint64_t now = loop_now_ns();
	int ms = deadline > now ? (int)((deadline - now) / MS) + 1 : 0;

	return ms && poll(&p, 1, ms) > 0;
}

bool rfb_client_write(struct rfb_client *c, const void *buf, size_t n)
{
	const uint8_t *p = buf;

	while (n) {
		ssize_t done = send(c->fd, p, n, MSG_NOSIGNAL);

		if (done > 0) {
			p += done;
			n -= (size_t)done;
		} else if (errno == EAGAIN) {
			if (!wait_for(c, POLLOUT, loop_now_ns() + (uint64_t)RFB_WRITE_MS * MS))
				return false;
		} else if (errno != EINTR) {
			return false;
		}
	}
	return true;
}

bool rfb_client_say(struct rfb_client *c, const void *buf, size_t n)
{
	uint8_t header[RFB_WS_HEADER];

	if (c->websocket && !rfb_client_write(c, header, rfb_ws_header(header, 2, n)))
		return false;
	return rfb_client_write(c, buf, n);
}

void rfb_client_eat(struct rfb_client *c, size_t n)
{
	c->n_in -= n;
	memmove(c->in, c->in + n, c->n_in);
}

/* Looks into a websocket's frames, `rest` bytes behind the input. Pings are answered at once. */
static bool unwrap(struct rfb_client *c, size_t rest)
{
	uint8_t pong[RFB_WS_HEADER + sizeof(c->ws.control)];
	unsigned n;

	while (rest) {
		uint8_t *at = c->in + c->n_in;
		size_t had = rest;
		long got = rfb_ws_unwrap(&c->ws, at, had, &rest);

		if (got < 0)
			return false;
		memmove(at + got, at + had - rest, rest);
		c->n_in += (size_t)got;
		if (!c->ws.pong)
			continue;
		c->ws.pong = false;
		n = rfb_ws_header(pong, 10, c->ws.n_control);
		memcpy(pong + n, c->ws.control, c->ws.n_control);
		if (!rfb_client_write(c, pong, n + c->ws.n_control))
			return false;
	}
	return true;
}

/* What has come. False: the end. */
static bool receive(struct rfb_client *c)
{
	ssize_t n = recv(c->fd, c->in + c->n_in, sizeof(c->in) - c->n_in - 1, 0);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (!n)
		return false;
	if (c->websocket)
		return unwrap(c, (size_t)n);
	c->n_in += (size_t)n;
	return true;
}

bool rfb_client_fill(struct rfb_client *c, uint64_t deadline)
{
	return wait_for(c, POLLIN, deadline) && receive(c);
}

/* --- what goes to the main loop ----------------------------------------------------------------
 */

/* False: there is no room, and the main loop will ring when there is. */
static bool put_event(struct rfb_client *c, const struct rfb_event *e)
{
	struct rfb_event *last;
	bool first, room;

	pthread_mutex_lock(&c->lock);
	last = c->n_events ? &c->event[c->n_events - 1] : NULL;
	first = !last;
	room = c->n_events < RFB_EVENTS;
	/* Only the last place counts, unless a button or the wheel came in between. */
	if (last && e->type == RFB_POINT && last->type == RFB_POINT &&
	    last->buttons == e->buttons) {
		*last = *e;
		room = true;
	} else if (room) {
		c->event[c->n_events++] = *e;
	} else {
		c->stalled = true;
	}
	pthread_mutex_unlock(&c->lock);
	if (first && room)
		rfb_ring(c->server->news.fd);
	c->blocked = !room;
	return room;
}

/* --- messages -------------------------------------------------------------------------------- */

/*
 * Each takes the message at p, of which n bytes are there: its length, 0: it is not all there
 * yet (or has to wait), -1: the connection ends.
 */

static long set_pixel_format(struct rfb_client *c, const uint8_t *p, size_t n)
{
	struct rfb_format f;

	if (n < 20)
		return 0;
	f = (struct rfb_format){
		.bits = p[4],
		.depth = p[5],
		.big_endian = p[6],
		.true_colour = p[7],
		.max = { (uint16_t)rfb_u16(p + 8), (uint16_t)rfb_u16(p + 10),
			 (uint16_t)rfb_u16(p + 12) },
		.shift = { p[14], p[15], p[16] },
	};
	return rfb_encoder_format(c->encoder, &f) ? 20 : -1;
}

static void allow_resize(struct rfb_client *c, bool can)
{
	pthread_mutex_lock(&c->lock);
	/* It was shown another size than the screen's, perhaps. */
	c->stale |= can && !c->can_resize;
	c->can_resize = can;
	pthread_mutex_unlock(&c->lock);
}

/* An update of one rectangle that is not pixels. */
static bool tell(struct rfb_client *c, struct rfb_rect r, int32_t encoding, int byte)
{
	uint8_t m[17] = { 0 };

	rfb_put16(m + 2, 1);
	rfb_put16(m + 4, r.x);
	rfb_put16(m + 6, r.y);
	rfb_put16(m + 8, r.width);
	rfb_put16(m + 10, r.height);
	rfb_put32(m + 12, (uint32_t)encoding);
	m[16] = (uint8_t)byte;
	return rfb_client_say(c, m, byte < 0 ? 16 : 17);
}

static long set_encodings(struct rfb_client *c, const uint8_t *p, size_t n)
{
	int32_t encoding[RFB_ENCODINGS_MOST];
	bool resize = false;
	unsigned count;

	if (n < 4)
		return 0;
	count = rfb_u16(p + 2);
	if (count > RFB_ENCODINGS_MOST)
		return -1;
	if (n < 4 + 4 * count)
		return 0;
	c->key_codes = c->pointer_change = c->led_state = false;
	for (unsigned i = 0; i < count; i++) {
		encoding[i] = (int32_t)rfb_u32(p + 4 + 4 * i);
		resize |= encoding[i] == RFB_DESKTOP_SIZE;
		c->key_codes |= encoding[i] == RFB_KEY_CODES;
		c->pointer_change |= encoding[i] == RFB_POINTER_CHANGE;
		c->led_state |= encoding[i] == RFB_LED_STATE;
	}
	c->told_leds = c->told_absolute = -1;
	allow_resize(c, resize);
	rfb_encoder_encodings(c->encoder, encoding, count);
	if (c->key_codes && !tell(c, (struct rfb_rect){ 0 }, RFB_KEY_CODES, -1))
		return -1;
	return 4 + 4 * (long)count;
}

/* What it asks for several times before it is answered becomes one rectangle around all. */
static long update_request(struct rfb_client *c, const uint8_t *p, size_t n)
{
	struct rfb_rect *r = &c->request, q;
	unsigned right, bottom;

	if (n < 10)
		return 0;
	q = (struct rfb_rect){ rfb_u16(p + 2), rfb_u16(p + 4), rfb_u16(p + 6), rfb_u16(p + 8) };
	if (!p[1])
		rfb_tiles_mark(&c->send, q.x, q.y, q.width, q.height);
	if (c->requested) {
		right = r->x + r->width > q.x + q.width ? r->x + r->width : q.x + q.width;
		bottom = r->y + r->height > q.y + q.height ? r->y + r->height : q.y + q.height;
		q.x = r->x < q.x ? r->x : q.x;
		q.y = r->y < q.y ? r->y : q.y;
		q.width = right - q.x;
		q.height = bottom - q.y;
	}
	*r = q;
	c->requested = true;
	return 10;
}

static long key_event(struct rfb_client *c, const uint8_t *p, size_t n)
{
	if (n < 8)
		return 0;
	return put_event(c, &(struct rfb_event){ .type = RFB_KEY_SYMBOL,
						 .down = p[1],
						 .key = rfb_u32(p + 4) })
		       ? 8
		       : 0;
}

static long pointer_event(struct rfb_client *c, const uint8_t *p, size_t n)
{
	struct rfb_event e;

	if (n < 6)
		return 0;
	e = (struct rfb_event){ .type = RFB_POINT,
				.buttons = p[1],
				.x = (int)rfb_u16(p + 2),
				.y = (int)rfb_u16(p + 4) };
	if (c->pointer_change && !c->told_absolute) {
		e.type = RFB_MOVE;
		e.x -= 0x7fff;
		e.y -= 0x7fff;
	}
	return put_event(c, &e) ? 6 : 0;
}

/* The client's clipboard: nothing in the guest takes it. */
static long cut_text(struct rfb_client *c, const uint8_t *p, size_t n)
{
	uint32_t len;

	if (n < 8)
		return 0;
	len = rfb_u32(p + 4);
	if (len > RFB_CUT_TEXT_MOST)
		return -1;
	c->skip = len;
	return 8;
}

/* QEMU's messages; of these only keys were offered. */
static long key_code_event(struct rfb_client *c, const uint8_t *p, size_t n)
{
	struct rfb_event e;

	if (n < 2)
		return 0;
	if (p[1] || !c->key_codes)
		return -1;
	if (n < 12)
		return 0;
	e = (struct rfb_event){ .type = RFB_KEY_CODE,
				.down = rfb_u16(p + 2),
				.key = rfb_u32(p + 8) };
	if (!e.key || e.key > 0xff) {
		e.type = RFB_KEY_SYMBOL;
		e.key = rfb_u32(p + 4);
	}
	return put_event(c, &e) ? 12 : 0;
}

static long message(struct rfb_client *c, const uint8_t *p, size_t n)
{
	switch (p[0]) {
	case 0:
		return set_pixel_format(c, p, n);
	case 2:
		return set_encodings(c, p, n);
	case 3:
		return update_request(c, p, n);
	case 4:
		return key_event(c, p, n);
	case 5:
		return pointer_event(c, p, n);
	case 6:
		return cut_text(c, p, n);
	case 255:
		return key_code_event(c, p, n);
	}
	return -1;
}

/* All that are complete. False: the connection ends. */
static bool messages(struct rfb_client *c)
{
	size_t at = 0;
	long n = 1;

	c->blocked = false;
	while (n > 0 && at < c->n_in) {
		if (c->skip) {
			n = (long)(c->skip < c->n_in - at ? c->skip : c->n_in - at);
			c->skip -= (size_t)n;
		} else {
			n = message(c, c->in + at, c->n_in - at);
		}
		at += n > 0 ? (size_t)n : 0;
	}
	rfb_client_eat(c, at);
	return n >= 0;
}

/* --- updates ------------------------------------------------------------------------------------
 */

/* The frame is the thread's from now on. False: the server ends. */
static bool take_frame(struct rfb_client *c)
{
	bool quit, resized;
	int rc = 0;

	pthread_mutex_lock(&c->lock);
	quit = c->quit;
	c->ready = false;
	resized = c->resized;
	c->resized = false;
	c->now_leds = (int)c->leds;
	c->now_absolute = c->absolute;
	if (resized)
		rc = rfb_tiles_init(&c->send, c->width, c->height);
	rfb_tiles_move(&c->send, &c->fresh);
	pthread_mutex_unlock(&c->lock);
	c->new_size |= resized;
	return !quit && !rc;
}

/* What it wants to know beside the picture, when that has changed. */
static bool tell_states(struct rfb_client *c)
{
	bool leds = c->led_state && c->now_leds != c->told_leds;
	bool pointer = c->pointer_change && c->now_absolute != c->told_absolute;
	struct rfb_rect r = { .x = (unsigned)c->now_absolute };

	if (leds)
		c->told_leds = c->now_leds;
	if (pointer)
		c->told_absolute = c->now_absolute;
	return (!leds || tell(c, (struct rfb_rect){ 0, 0, 1, 1 }, RFB_LED_STATE, c->now_leds)) &&
	       (!pointer || tell(c, r, RFB_POINTER_CHANGE, -1));
}

/* When it has nothing more to send: it is the main loop's turn. */
static void give_frame(struct rfb_client *c)
{
	bool stale;

	pthread_mutex_lock(&c->lock);
	c->ready = true;
	stale = c->stale;
	pthread_mutex_unlock(&c->lock);
	if (stale)
		rfb_ring(c->server->news.fd);
}

/* What is new and asked for. */
static bool update(struct rfb_client *c)
{
	struct rfb_rect rect[RECTS_MOST];
	unsigned n;

	if (c->new_size) {
		c->new_size = c->requested = false;
		rfb_tiles_mark(&c->send, 0, 0, c->width, c->height);
		return tell(c, (struct rfb_rect){ 0, 0, c->width, c->height }, RFB_DESKTOP_SIZE,
			    -1);
	}
	n = rfb_tiles_take(&c->send, &c->request, c->width, c->height, rect, RECTS_MOST);
	if (!n)
		return true;
	c->requested = false;
	c->next_update = loop_now_ns() + RFB_UPDATE_GAP_MS * MS;
	return rfb_encoder_send(c->encoder, c->frame, c->width, c->height, rect, n);
}

/* For a message, or the main loop; ms: no longer than that, -1: for ever. */
static bool wait_next(struct rfb_client *c, int ms)
{
	struct pollfd p[2] = {
		{ .fd = c->wake_fd, .events = POLLIN },
		{ .fd = c->blocked ? -1 : c->fd, .events = POLLIN },
	};
	uint64_t rings;

	if (poll(p, 2, ms) < 0)
		return errno == EINTR;
	if (p[0].revents && read(c->wake_fd, &rings, sizeof(rings)) < 0 && errno != EAGAIN)
		return false;
	return !p[1].revents || receive(c);
}

static void serve(struct rfb_client *c)
{
	uint64_t now;
	int ms;

	while (take_frame(c) && messages(c) && tell_states(c)) {
		ms = -1;
		now = loop_now_ns();
		if (c->requested && (c->send.any || c->new_size) && now < c->next_update)
			ms = (int)((c->next_update - now) / MS) + 1;
		else if (c->requested && !update(c))
			return;
		if (c->requested)
			give_frame(c);
		if (!wait_next(c, ms))
			return;
	}
}

void *rfb_client_run(void *client)
{
	struct rfb_client *c = client;

	if (rfb_hello(c) && !rfb_tiles_init(&c->send, c->width, c->height)) {
		c->encoder = rfb_encoder_create(c->fd, c->websocket);
		if (c->encoder)
			serve(c);
		rfb_encoder_free(c->encoder);
	}
	shutdown(c->fd, SHUT_RDWR);
	pthread_mutex_lock(&c->lock);
	c->gone = true;
	pthread_mutex_unlock(&c->lock);
	rfb_ring(c->server->news.fd);
	return NULL;
}
