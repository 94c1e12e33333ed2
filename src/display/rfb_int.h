/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the RFB server share; see rfb.h. RFB is RFC 6143, the numbers of encodings
 * beyond it are those of the protocol's community registry.
 *
 * Threads: each client has one of its own, which may wait for its socket as long as
 * it likes. It talks to the main loop by what `lock` covers; whoever has put something there
 * rings the other's eventfd. No lock is held while anybody waits, and none while another is
 * taken, so neither side holds the other up.
 *
 * The picture: each client has a frame, a copy of the surface. While `ready` is set the frame is
 * the main loop's, which copies into it what differs from the surface and clears `ready`;
 * otherwise it is the thread's, which encodes and sends it. So pixels do not change under an
 * encoder, they are copied once, and what a slow client has not taken is only ever a set of
 * tiles: it gets them as they look when it is ready again.
 */
#ifndef POSADA_RFB_INT_H
#define POSADA_RFB_INT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "display.h"
#include "input.h"
#include "keymap.h"
#include "loop.h"
#include "rfb.h"

enum {
	RFB_TILE_WIDTH = 64,
	RFB_TILE_HEIGHT = 16,
	RFB_EVENTS = 64, /* keys and movements that wait for the main loop */
	RFB_IN = 16384, /* the longest message taken as a whole is SetEncodings */
	RFB_ENCODINGS_MOST = 2048, /* in one SetEncodings; more is an error */
	RFB_CUT_TEXT_MOST = 1 << 20, /* bytes of the client's clipboard that are thrown away */
	RFB_NAME_MOST = 127,
	RFB_PASSWORD = 8, /* VNC authentication looks at no more */
	RFB_HELLO_MS = 10000, /* until the client has said who it is */
	RFB_PASSWORD_MS = 120000, /* somebody may be typing it */
	RFB_WRITE_MS = 60000, /* a client that takes nothing for so long is gone */
	RFB_UPDATE_GAP_MS = 15, /* between two updates, whatever a client asks for */
};

/* Encodings and pseudo-encodings. */
enum rfb_encoding {
	RFB_RAW = 0,
	RFB_HEXTILE = 5,
	RFB_ZLIB = 6,
	RFB_TIGHT = 7,
	RFB_ZRLE = 16,
	RFB_DESKTOP_SIZE = -223,
	RFB_LAST_RECT = -224,
	RFB_COMPRESS_LEVEL_0 = -256, /* ... to -247: 9 */
	RFB_POINTER_CHANGE = -257, /* QEMU's: pointer events may be movements */
	RFB_KEY_CODES = -258, /* QEMU's: key events with scan codes */
	RFB_LED_STATE = -261, /* QEMU's */
};

/* --- rfb_tiles.c: parts of a picture ------------------------------------------------------ */

struct rfb_tiles {
	unsigned columns, rows;
	bool any;
	uint8_t *set; /* columns * rows */
};

struct rfb_rect {
	unsigned x, y, width, height;
};

/* None is set; -ENOMEM leaves it empty. */
int rfb_tiles_init(struct rfb_tiles *t, unsigned width, unsigned height);
void rfb_tiles_free(struct rfb_tiles *t);
/* Those that a rectangle touches; what is outside is left out. */
void rfb_tiles_mark(struct rfb_tiles *t, unsigned x, unsigned y, unsigned width, unsigned height);
/* Moves all of them to another set of the same size. */
void rfb_tiles_move(struct rfb_tiles *to, struct rfb_tiles *from);
/*
 * Takes those within `within` out as at most `most` (not 0) rectangles of whole tiles, cut at the
 * edge of a picture of width by height. When there would be more, the last one covers the rest.
 */
unsigned rfb_tiles_take(struct rfb_tiles *t, const struct rfb_rect *within, unsigned width,
			unsigned height, struct rfb_rect *out, unsigned most);
/* Copies of the tiles in `dirty` what differs to the frame, and sets these tiles in `fresh`. */
void rfb_tiles_copy(struct rfb_tiles *dirty, const struct surface *s, uint32_t *frame,
		    unsigned width, unsigned height, struct rfb_tiles *fresh);

/* --- rfb_ws.c: websockets (RFC 6455) -------------------------------------------------------- */

struct rfb_ws {
	uint8_t header[14];
	unsigned n_header; /* bytes of it that are there */
	uint64_t left; /* of the payload, when the header is complete */
	unsigned at; /* place in the mask */
	uint8_t control[125]; /* payload of a ping, or of the end */
	unsigned n_control;
	bool pong; /* a ping is complete: control is to be sent back */
};

enum { RFB_WS_HEADER = 10, RFB_WS_REQUEST_MOST = 8192 };

/*
 * Unwraps n bytes in place. Returns how many are left, or -1: not the protocol, or its end. Stops
 * when a ping is complete: *rest bytes behind what was looked at are still wrapped.
 */
long rfb_ws_unwrap(struct rfb_ws *w, uint8_t *buf, size_t n, size_t *rest);
/* The header of a message of n bytes that follows; how long it is. */
unsigned rfb_ws_header(uint8_t header[RFB_WS_HEADER], unsigned opcode, size_t n);
/*
 * The answer to a request, which ends in an empty line and a NUL: 101, or an error.
 * loopback: it came by an address that only this host has. Returns the status.
 */
int rfb_ws_answer(const char *request, bool loopback, char *answer, size_t room);

/* --- rfb_encode.c: pictures to a socket, by libvncserver ------------------------------------- */

struct rfb_format {
	uint8_t bits, depth, big_endian, true_colour;
	uint16_t max[3]; /* red, green, blue */
	uint8_t shift[3];
};

struct rfb_encoder;

/* The library is there. Main loop. */
int rfb_encoder_load(struct err *e);
/* What follows: the client's thread. fd stays the caller's. NULL: no memory or descriptors. */
struct rfb_encoder *rfb_encoder_create(int fd, bool websocket);
void rfb_encoder_free(struct rfb_encoder *c);
/* False: such pixels are not served; or the connection has failed. */
bool rfb_encoder_format(struct rfb_encoder *c, const struct rfb_format *f);
void rfb_encoder_encodings(struct rfb_encoder *c, const int32_t *encoding, unsigned n);
/* One FramebufferUpdate. False: the connection has failed. */
bool rfb_encoder_send(struct rfb_encoder *c, uint32_t *frame, unsigned width, unsigned height,
		      const struct rfb_rect *rect, unsigned n);

/* --- the server and its clients ----------------------------------------------------------------
 */

struct rfb_event {
	enum { RFB_KEY_SYMBOL, RFB_KEY_CODE, RFB_POINT, RFB_MOVE } type;
	bool down;
	uint8_t buttons; /* the protocol's: 8 and 16 are the wheel */
	int x, y; /* of RFB_MOVE: how far */
	uint32_t key;
};

struct rfb_client {
	struct rfb *server;
	int fd, wake_fd;
	bool by_websocket;
	char peer[80]; /* "127.0.0.1:40000" */
	pthread_t thread;

	pthread_mutex_t lock;
	/* --- lock --- */
	bool quit; /* by the main loop: end */
	bool gone; /* by the thread: it ends, and is to be joined */
	bool asks, joined; /* to see the screen; it does */
	bool shared; /* others may stay */
	bool can_resize;
	bool ready; /* the frame is the main loop's */
	bool stale; /* it has something for the frame */
	bool resized;
	uint32_t *frame;
	unsigned width, height; /* of the frame */
	struct rfb_tiles fresh; /* what is new in it */
	unsigned leds;
	bool absolute;
	struct rfb_event event[RFB_EVENTS];
	unsigned n_events;
	bool stalled; /* there is no room for the next one */

	/* --- the main loop's --- */
	struct rfb_client *next;
	bool here; /* has joined */
	bool refit; /* the surface has had another size since the frame was filled */
	struct rfb_tiles dirty; /* of the surface, since it was copied */
	struct keymap_viewer keys;
	uint8_t codes[256 / 8]; /* scan codes that it holds down */
	uint8_t buttons;
	int x, y;
	bool placed; /* x and y are known */

	/* --- the thread's --- */
	bool websocket; /* bytes are in its frames */
	struct rfb_ws ws;
	uint8_t in[RFB_IN];
	size_t n_in;
	size_t skip; /* bytes of the next message that nobody wants */
	bool blocked; /* events wait: nothing is read */
	struct rfb_encoder *encoder;
	bool requested, new_size;
	struct rfb_rect request;
	struct rfb_tiles send;
	bool key_codes, pointer_change, led_state;
	int now_leds, now_absolute, told_leds, told_absolute; /* told: -1: nothing yet */
	uint64_t next_update; /* loop_now_ns */
};

struct rfb {
	struct machine *m;
	struct viewer viewer;
	struct input_listener input;
	struct keymap *keymap;
	struct rfb_client *clients;
	unsigned n_clients;
	struct loop_fd news; /* a thread has something for us */
	bool exclusive;
	unsigned leds;
	char name[RFB_NAME_MOST + 1];

	pthread_mutex_t lock;
	/* --- lock --- */
	bool need_password;
	char password[RFB_PASSWORD + 1]; /* empty: nobody's */
};

void rfb_ring(int eventfd);

/* rfb_client.c */
void *rfb_client_run(void *client);
/* Reads at least one byte more, waiting so long for it. False: the end, or an error. */
bool rfb_client_fill(struct rfb_client *c, uint64_t deadline_ns);
/* Removes n bytes of input. */
void rfb_client_eat(struct rfb_client *c, size_t n);
/* All of it, wrapped when the client is a websocket. */
bool rfb_client_say(struct rfb_client *c, const void *buf, size_t n);
/* As it is. */
bool rfb_client_write(struct rfb_client *c, const void *buf, size_t n);

/* rfb_hello.c: from the first byte until the client is told of the screen. */
bool rfb_hello(struct rfb_client *c);

static inline unsigned rfb_u16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static inline uint32_t rfb_u32(const uint8_t *p)
{
	return (uint32_t)rfb_u16(p) << 16 | rfb_u16(p + 2);
}

static inline void rfb_put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void rfb_put32(uint8_t *p, uint32_t v)
{
	rfb_put16(p, v >> 16);
	rfb_put16(p + 2, v & 0xffff);
}

#endif
