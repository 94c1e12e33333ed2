/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Encodes parts of a picture and writes them to a client's socket, by libvncserver: Hextile,
 * ZLIB, Tight and ZRLE (RFC 6143, section 7.7), and pixels in the client's format. A
 * client's thread, but for rfb_encoder_load.
 *
 * Of the library only this is used. Its server shares the list of security types between
 * all servers of a process, understands file transfers, scaling and more that nobody
 * asked for, and has its own ideas of who waits for whom; so what a client says is
 * read in rfb_client.c, and the library never reads from its socket.
 *
 * Each client has a screen of the library's own, so that nothing in it is shared but a few
 * global variables; what touches those is done under `global`.
 *
 * Pictures are lossless: JPEG (a client's quality level) is not used.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <rfb/rfb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#include "err.h"
#include "lazy.h"
#include "rfb_int.h"

enum {
	/*
	 * No larger parts are given to the library: its Tight encoder calls itself once for each
	 * area of one colour, its ZRLE encoder keeps the result in memory, and its buffer
	 * has room for a line of so many pixels.
	 */
	WIDTH_MOST = 2048,
	HEIGHT_MOST = 1024,
	COUNT_MOST = 0xfffe, /* of rectangles in an update */
};

static struct {
	rfbScreenInfoPtr (*get_screen)(int *argc, char **argv, int width, int height, int bits,
				       int samples, int bytes);
	void (*screen_cleanup)(rfbScreenInfoPtr s);
	void (*client_gone)(rfbClientPtr c);
	rfbClientPtr (*new_client)(rfbScreenInfoPtr s, rfbSocket sock);
	rfbBool (*set_translate)(rfbClientPtr c);
	rfbBool (*send_buffer)(rfbClientPtr c);
	rfbBool (*raw)(rfbClientPtr c, int x, int y, int w, int h);
	rfbBool (*hextile)(rfbClientPtr c, int x, int y, int w, int h);
	rfbBool (*zlib)(rfbClientPtr c, int x, int y, int w, int h);
	rfbBool (*tight)(rfbClientPtr c, int x, int y, int w, int h);
	rfbBool (*zrle)(rfbClientPtr c, int x, int y, int w, int h);
	int (*tight_count)(rfbClientPtr c, int x, int y, int w, int h);
	void (*log_enable)(int on);
} vnc;

#define SYMBOL(name, field)                                                                        \
	{                                                                                          \
		name, (size_t)((char *)&vnc.field - (char *)&vnc)                                  \
	}

static pthread_mutex_t global = PTHREAD_MUTEX_INITIALIZER;

struct rfb_encoder {
	rfbScreenInfoPtr screen;
	rfbClientPtr client;
	void *wrapping; /* the library's for a websocket; freed here, since it forgets to */
};

int rfb_encoder_load(struct err *e)
{
	static const struct lazy_symbol symbols[] = {
		SYMBOL("rfbGetScreen", get_screen),
		SYMBOL("rfbScreenCleanup", screen_cleanup),
		SYMBOL("rfbClientConnectionGone", client_gone),
		SYMBOL("rfbNewClient", new_client),
		SYMBOL("rfbSetTranslateFunction", set_translate),
		SYMBOL("rfbSendUpdateBuf", send_buffer),
		SYMBOL("rfbSendRectEncodingRaw", raw),
		SYMBOL("rfbSendRectEncodingHextile", hextile),
		SYMBOL("rfbSendRectEncodingZlib", zlib),
		SYMBOL("rfbSendRectEncodingTight", tight),
		SYMBOL("rfbSendRectEncodingZRLE", zrle),
		SYMBOL("rfbNumCodedRectsTight", tight_count),
		SYMBOL("rfbLogEnable", log_enable),
		{ NULL, 0 },
	};
	static const struct lazy_lib lib = {
		.soname = "libvncserver.so.1",
		.package = "libvncserver1",
		.use = "VNC",
		.symbols = symbols,
	};
	static bool loaded;
	int rc;

	if (loaded)
		return 0;
	rc = lazy_load(&lib, &vnc, e);
	if (rc)
		return rc;
	vnc.log_enable(0);
	loaded = true;
	return 0;
}

/* --- a client of the library's ---------------------------------------------------------------- */

/*
 * The library makes a client of a socket on which somebody speaks: it looks whether that is
 * RFB or a websocket, and says its version. What has been said on the real one is not to
 * be said again, so this is one of our own that has said enough already.
 */
static int spoken_to(bool websocket, int *peer)
{
	static const char plain[] = "RFB 003.008\n";
	static const char wrapped[] = "GET / HTTP/1.1\r\nHost: x\r\nOrigin: x\r\n"
				      "Sec-WebSocket-Protocol: binary\r\nSec-WebSocket-Key: x\r\n"
				      "Sec-WebSocket-Version: 13\r\n\r\n";
	const char *said = websocket ? wrapped : plain;
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd))
		return -1;
	/* The library puts them into sets of a fixed size. */
	if (fd[0] >= FD_SETSIZE || send(fd[1], said, strlen(said), MSG_NOSIGNAL) < 0) {
		close(fd[0]);
		close(fd[1]);
		return -1;
	}
	*peer = fd[1];
	return fd[0];
}

static void set_up_screen(rfbScreenInfoPtr s)
{
	s->serverFormat.depth = 24;
	s->serverFormat.redShift = 16;
	s->serverFormat.greenShift = 8;
	s->serverFormat.blueShift = 0;
	s->cursor = NULL;
	s->maxClientWait = RFB_WRITE_MS;
}

static void set_up_client(struct rfb_encoder *c, int fd)
{
	rfbClientPtr cl = c->client;

	close(cl->sock);
	cl->sock = fd;
	cl->state = RFB_NORMAL;
	cl->readyForSetColourMapEntries = TRUE;
	cl->tightQualityLevel = cl->turboQualityLevel = -1;
	c->wrapping = cl->wsctx;
	free(cl->wspath);
	cl->wspath = NULL;
}

struct rfb_encoder *rfb_encoder_create(int fd, bool websocket)
{
	struct rfb_encoder *c = calloc(1, sizeof(*c));
	int mine = fcntl(fd, F_DUPFD_CLOEXEC, 0), peer = -1, sock = -1;

	if (c && mine >= 0 && mine < FD_SETSIZE)
		sock = spoken_to(websocket, &peer);
	if (sock < 0)
		goto fail;
	pthread_mutex_lock(&global);
	c->screen = vnc.get_screen(NULL, NULL, 64, 64, 8, 3, 4);
	if (c->screen) {
		set_up_screen(c->screen);
		c->client = vnc.new_client(c->screen, sock); /* closes it when it fails */
	}
	pthread_mutex_unlock(&global);
	close(peer);
	if (c->client && (!websocket || c->client->wsctx)) {
		set_up_client(c, mine);
		return c;
	}
	if (!c->screen)
		close(sock);
	rfb_encoder_free(c);
	c = NULL;
fail:
	if (mine >= 0)
		close(mine);
	free(c);
	return NULL;
}

void rfb_encoder_free(struct rfb_encoder *c)
{
	if (!c)
		return;
	if (c->client)
		c->client->wsctx = NULL;
	free(c->wrapping);
	pthread_mutex_lock(&global);
	if (c->client)
		vnc.client_gone(c->client);
	if (c->screen)
		vnc.screen_cleanup(c->screen);
	pthread_mutex_unlock(&global);
	free(c);
}

/* --- what a client wants --------------------------------------------------------------------- */

/* Bits of 2^n - 1; 0: it is not such a number. */
static unsigned bits_of(unsigned max)
{
	return max & (max + 1) ? 0 : (unsigned)__builtin_popcount(max);
}

/* The library believes what it is told. */
static bool is_sane(const struct rfb_format *f)
{
	unsigned sum = 0;

	if ((f->bits != 8 && f->bits != 16 && f->bits != 32) || !f->depth || f->depth > f->bits)
		return false;
	if (!f->true_colour)
		return f->bits == 8;
	for (unsigned i = 0; i < 3; i++) {
		unsigned bits = bits_of(f->max[i]);

		if (!bits || f->shift[i] > f->bits || f->shift[i] + bits > f->bits)
			return false;
		sum += bits;
	}
	return sum <= f->bits;
}

bool rfb_encoder_format(struct rfb_encoder *c, const struct rfb_format *f)
{
	if (!is_sane(f))
		return false;
	/* Which bits are used is said by the others; this is how Tight writes a pixel. */
	c->screen->serverFormat.depth = f->depth;
	c->client->format = (rfbPixelFormat){
		.bitsPerPixel = f->bits,
		.depth = f->depth,
		.bigEndian = f->big_endian ? TRUE : FALSE,
		.trueColour = f->true_colour ? TRUE : FALSE,
		.redMax = f->max[0],
		.greenMax = f->max[1],
		.blueMax = f->max[2],
		.redShift = f->shift[0],
		.greenShift = f->shift[1],
		.blueShift = f->shift[2],
	};
	return vnc.set_translate(c->client);
}

/* The first one that there is. */
void rfb_encoder_encodings(struct rfb_encoder *c, const int32_t *encoding, unsigned n)
{
	rfbClientPtr cl = c->client;

	cl->preferredEncoding = -1;
	cl->enableLastRectEncoding = FALSE;
	for (unsigned i = 0; i < n; i++) {
		int32_t what = encoding[i];

		if (what == RFB_LAST_RECT)
			cl->enableLastRectEncoding = TRUE;
		else if (what >= RFB_COMPRESS_LEVEL_0 && what <= RFB_COMPRESS_LEVEL_0 + 9)
			cl->zlibCompressLevel = (uint32_t)(what - RFB_COMPRESS_LEVEL_0);
		else if (cl->preferredEncoding == -1 &&
			 (what == RFB_RAW || what == RFB_HEXTILE || what == RFB_ZLIB ||
			  what == RFB_TIGHT || what == RFB_ZRLE))
			cl->preferredEncoding = what;
	}
	cl->tightCompressLevel = (int)cl->zlibCompressLevel;
	if (cl->preferredEncoding == -1)
		cl->preferredEncoding = RFB_RAW;
}

/* --- updates ------------------------------------------------------------------------------------
 */

/* fn for each part that is small enough, until it says false. */
static bool each_part(struct rfb_encoder *c, const struct rfb_rect *r,
		      bool (*fn)(struct rfb_encoder *c, int x, int y, int w, int h, void *ctx),
		      void *ctx)
{
	for (unsigned y = 0; y < r->height; y += HEIGHT_MOST) {
		unsigned h = r->height - y < HEIGHT_MOST ? r->height - y : HEIGHT_MOST;

		for (unsigned x = 0; x < r->width; x += WIDTH_MOST) {
			unsigned w = r->width - x < WIDTH_MOST ? r->width - x : WIDTH_MOST;

			if (!fn(c, (int)(r->x + x), (int)(r->y + y), (int)w, (int)h, ctx))
				return false;
		}
	}
	return true;
}

/* Rectangles that the library makes of one. */
static bool add_count(struct rfb_encoder *c, int x, int y, int w, int h, void *ctx)
{
	unsigned *count = ctx;

	if (c->client->preferredEncoding == RFB_TIGHT)
		*count += (unsigned)vnc.tight_count(c->client, x, y, w, h);
	else if (c->client->preferredEncoding == RFB_ZLIB)
		*count += (unsigned)((h - 1) / (ZLIB_MAX_SIZE(w) / w) + 1);
	else
		(*count)++;
	return true;
}

static unsigned count_of(struct rfb_encoder *c, const struct rfb_rect *rect, unsigned n)
{
	unsigned count = 0;

	for (unsigned i = 0; i < n; i++)
		each_part(c, &rect[i], add_count, &count);
	return count;
}

static bool put(rfbClientPtr cl, const void *buf, size_t n)
{
	if (cl->ublen + n > UPDATE_BUF_SIZE && !vnc.send_buffer(cl))
		return false;
	memcpy(cl->updateBuf + cl->ublen, buf, n);
	cl->ublen += (int)n;
	return true;
}

/* All of it to the socket; the client's frame is still the same when it is done. */
static bool write_rows(int fd, const uint8_t *p, size_t row, size_t pitch, unsigned rows)
{
	struct pollfd wait = { .fd = fd, .events = POLLOUT };
	struct iovec v[64];
	size_t done = 0;

	if (row == pitch) {
		row = pitch = row * rows;
		rows = 1;
	}
	while (rows) {
		unsigned n = rows < 64 ? rows : 64;
		struct msghdr m = { .msg_iov = v, .msg_iovlen = n };
		ssize_t sent;

		for (unsigned i = 0; i < n; i++)
			v[i] = (struct iovec){ (void *)(p + i * pitch), row };
		v[0].iov_base = (void *)(p + done);
		v[0].iov_len = row - done;
		sent = sendmsg(fd, &m, MSG_NOSIGNAL);
		if (sent < 0 && errno == EAGAIN && poll(&wait, 1, RFB_WRITE_MS) <= 0)
			return false;
		if (sent < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		done += sent > 0 ? (size_t)sent : 0;
		p += done / row * pitch;
		rows -= (unsigned)(done / row);
		done %= row;
	}
	return true;
}

/* Pixels that are right as they are need not go through the library's buffer. */
static bool as_they_are(const rfbClientRec *cl)
{
	return cl->preferredEncoding == RFB_RAW && !cl->wsctx &&
	       !memcmp(&cl->format, &cl->screen->serverFormat, sizeof(cl->format));
}

static bool send_pixels(rfbClientPtr cl, const struct rfb_rect *r)
{
	size_t pitch = (size_t)cl->screen->paddedWidthInBytes;
	uint8_t header[12] = { 0 };

	rfb_put16(header, r->x);
	rfb_put16(header + 2, r->y);
	rfb_put16(header + 4, r->width);
	rfb_put16(header + 6, r->height);
	return put(cl, header, sizeof(header)) && vnc.send_buffer(cl) &&
	       write_rows(cl->sock, (uint8_t *)cl->screen->frameBuffer + r->y * pitch + r->x * 4ul,
			  r->width * 4ul, pitch, r->height);
}

static bool encode(struct rfb_encoder *c, int x, int y, int w, int h, void *ctx)
{
	rfbClientPtr cl = c->client;

	switch (cl->preferredEncoding) {
	case RFB_HEXTILE:
		return vnc.hextile(cl, x, y, w, h);
	case RFB_ZLIB:
		return vnc.zlib(cl, x, y, w, h);
	case RFB_TIGHT:
		return vnc.tight(cl, x, y, w, h);
	case RFB_ZRLE:
		return vnc.zrle(cl, x, y, w, h);
	}
	return vnc.raw(cl, x, y, w, h);
}

bool rfb_encoder_send(struct rfb_encoder *c, uint32_t *frame, unsigned width, unsigned height,
		      const struct rfb_rect *rect, unsigned n)
{
	rfbClientPtr cl = c->client;
	struct rfb_rect all = { 0, 0, width, height };
	bool pixels = as_they_are(cl), marker = cl->enableLastRectEncoding && !pixels;
	unsigned count = pixels ? n : marker ? 0xffff : count_of(c, rect, n);
	/* Not empty: vncsnapshot overlooks rectangles without pixels before it looks what they are.
	 */
	static const uint8_t last_rect[12] = { 0, 0, 0, 0, 0, 1, 0, 1, 0xff, 0xff, 0xff, 0x20 };
	uint8_t header[4] = { 0 };

	if (count > COUNT_MOST && !marker) {
		rect = &all;
		n = 1;
		count = count_of(c, rect, n);
	}
	c->screen->frameBuffer = (char *)frame;
	c->screen->width = (int)width;
	c->screen->height = (int)height;
	c->screen->paddedWidthInBytes = (int)(width * sizeof(*frame));
	rfb_put16(header + 2, count);
	cl->ublen = 0;
	if (!put(cl, header, sizeof(header)))
		return false;
	for (unsigned i = 0; i < n; i++)
		if (!(pixels ? send_pixels(cl, &rect[i]) : each_part(c, &rect[i], encode, NULL)))
			return false;
	return (!marker || put(cl, last_rect, sizeof(last_rect))) && vnc.send_buffer(cl);
}
