/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The beginning of a connection, RFC 6143 section 7.1 to 7.3, and for browsers the websocket around
 * it. One step after the other: nothing else happens on the connection meanwhile, and
 * each step has its time. The client's thread.
 *
 * It is not libvncserver that does this: there, the security types that are offered are
 * those of the whole process, so that a client of a server with a password could choose the
 * type of another server without one.
 */
#include <netinet/in.h>
#include <nettle/des.h>
#include <nettle/memops.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rfb_int.h"

enum { VERSION_BYTES = 12, CHALLENGE = 16, WRONG_PASSWORD_MS = 1000 };
enum { SECURITY_NONE = 1, SECURITY_VNC = 2 };

static uint64_t in_ms(unsigned ms)
{
	return loop_now_ns() + ms * 1000000ull;
}

/* At least n bytes of input. */
static bool need(struct rfb_client *c, size_t n, uint64_t deadline)
{
	while (c->n_in < n)
		if (!rfb_client_fill(c, deadline))
			return false;
	return true;
}

/* --- websockets --------------------------------------------------------------------------- */

static bool by_loopback(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_storage room;
	} a = { 0 };
	socklen_t len = sizeof(a);

	if (getsockname(fd, &a.any, &len))
		return false;
	if (a.any.sa_family == AF_INET)
		return ntohl(a.in.sin_addr.s_addr) >> 24 == 127;
	return a.any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a.in6.sin6_addr);
}

static bool websocket_hello(struct rfb_client *c)
{
	uint64_t deadline = in_ms(RFB_HELLO_MS);
	char answer[512];
	uint8_t *end;
	size_t n;
	int status;

	/* Until the protocol has changed bytes are not in frames. */
	c->websocket = false;
	while (!(end = memmem(c->in, c->n_in, "\r\n\r\n", 4)))
		if (c->n_in >= RFB_WS_REQUEST_MOST || !rfb_client_fill(c, deadline))
			return false;
	n = (size_t)(end - c->in) + 4;
	if (memchr(c->in, 0, n) || n != c->n_in)
		return false; /* a client waits for the answer before it goes on */
	c->in[n] = 0;
	status = rfb_ws_answer((char *)c->in, by_loopback(c->fd), answer, sizeof(answer));
	rfb_client_eat(c, n);
	if (!rfb_client_say(c, answer, strlen(answer)) || status != 101)
		return false;
	c->websocket = true;
	return true;
}

/* --- who is it -------------------------------------------------------------------------------- */

/* The minor version that is spoken: 3, 7 or 8; 0: it is no client of ours. */
static unsigned hello_version(struct rfb_client *c)
{
	char version[VERSION_BYTES + 1];
	unsigned major, minor;

	if (!rfb_client_say(c, "RFB 003.008\n", VERSION_BYTES) ||
	    !need(c, VERSION_BYTES, in_ms(RFB_HELLO_MS)))
		return 0;
	memcpy(version, c->in, VERSION_BYTES);
	version[VERSION_BYTES] = 0;
	rfb_client_eat(c, VERSION_BYTES);
	if (sscanf(version, "RFB %3u.%3u\n", &major, &minor) != 2 || major < 3)
		return 0;
	return major > 3 || minor >= 8 ? 8 : minor == 7 ? 7 : 3;
}

/* DES takes the bits of each byte the other way round: such is VNC authentication. */
static uint8_t mirrored(uint8_t byte)
{
	uint8_t out = 0;

	for (unsigned i = 0; i < 8; i++)
		out |= (uint8_t)((byte >> i & 1) << (7 - i));
	return out;
}

static bool is_right(struct rfb *r, const uint8_t challenge[CHALLENGE],
		     const uint8_t response[CHALLENGE])
{
	uint8_t key[DES_KEY_SIZE] = { 0 }, expected[CHALLENGE];
	struct des_ctx des;
	bool right;

	pthread_mutex_lock(&r->lock);
	right = r->password[0];
	for (unsigned i = 0; i < RFB_PASSWORD && r->password[i]; i++)
		key[i] = mirrored((uint8_t)r->password[i]);
	pthread_mutex_unlock(&r->lock);
	des_set_key(&des, key); /* what it says of weak keys is of no help here */
	des_encrypt(&des, CHALLENGE, expected, challenge);
	right &= memeql_sec(expected, response, CHALLENGE);
	explicit_bzero(key, sizeof(key));
	explicit_bzero(&des, sizeof(des));
	return right;
}

/* So that many cannot be tried; ends early with the server. */
static void wait_a_little(struct rfb_client *c)
{
	struct pollfd p = { .fd = c->wake_fd, .events = POLLIN };

	poll(&p, 1, WRONG_PASSWORD_MS);
}

static bool ask_password(struct rfb_client *c, unsigned version)
{
	static const char sorry[] = "The password is wrong.";
	uint8_t challenge[CHALLENGE], result[8 + sizeof(sorry)] = { 0 };
	size_t n = 4;
	bool right;

	if (getrandom(challenge, sizeof(challenge), 0) != sizeof(challenge) ||
	    !rfb_client_say(c, challenge, sizeof(challenge)) ||
	    !need(c, CHALLENGE, in_ms(RFB_PASSWORD_MS)))
		return false;
	right = is_right(c->server, challenge, c->in);
	rfb_client_eat(c, CHALLENGE);
	if (!right) {
		wait_a_little(c);
		result[3] = 1;
	}
	if (!right && version >= 8) {
		rfb_put32(result + 4, sizeof(sorry) - 1);
		memcpy(result + 8, sorry, sizeof(sorry) - 1);
		n = 8 + sizeof(sorry) - 1;
	}
	return rfb_client_say(c, result, n) && right;
}

static bool hello_security(struct rfb_client *c, unsigned version)
{
	uint8_t type, offer[4] = { 0 };
	bool chosen;

	pthread_mutex_lock(&c->server->lock);
	type = c->server->need_password ? SECURITY_VNC : SECURITY_NONE;
	pthread_mutex_unlock(&c->server->lock);
	if (version == 3) {
		offer[3] = type;
		if (!rfb_client_say(c, offer, 4))
			return false;
	} else {
		offer[0] = 1;
		offer[1] = type;
		if (!rfb_client_say(c, offer, 2) || !need(c, 1, in_ms(RFB_HELLO_MS)))
			return false;
		chosen = c->in[0] == type;
		rfb_client_eat(c, 1);
		if (!chosen)
			return false;
	}
	if (type == SECURITY_VNC)
		return ask_password(c, version);
	return version < 8 || rfb_client_say(c, "\0\0\0", 4);
}

/* --- the screen --------------------------------------------------------------------------------
 */

/* The main loop lets it in, and has filled in the screen's size. */
static bool join(struct rfb_client *c)
{
	struct pollfd p = { .fd = c->wake_fd, .events = POLLIN };
	uint64_t rings;
	bool joined, quit;

	pthread_mutex_lock(&c->lock);
	c->shared = c->in[0];
	c->asks = true;
	pthread_mutex_unlock(&c->lock);
	rfb_client_eat(c, 1);
	rfb_ring(c->server->news.fd);
	do {
		poll(&p, 1, -1);
		if (read(c->wake_fd, &rings, sizeof(rings)) < 0)
			rings = 0;
		pthread_mutex_lock(&c->lock);
		joined = c->joined;
		quit = c->quit;
		pthread_mutex_unlock(&c->lock);
	} while (!joined && !quit);
	return !quit;
}

static bool tell_screen(struct rfb_client *c)
{
	/* 32 bits a pixel, 24 of them used, little-endian, true colour, 8 bits each from 16, 8, 0.
	 */
	static const uint8_t format[16] = { 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0 };
	size_t n = strlen(c->server->name);
	uint8_t init[24 + RFB_NAME_MOST];

	rfb_put16(init, c->width);
	rfb_put16(init + 2, c->height);
	memcpy(init + 4, format, sizeof(format));
	rfb_put32(init + 20, (uint32_t)n);
	memcpy(init + 24, c->server->name, n);
	return rfb_client_say(c, init, 24 + n);
}

bool rfb_hello(struct rfb_client *c)
{
	unsigned version;

	if (c->websocket && !websocket_hello(c))
		return false;
	version = hello_version(c);
	return version && hello_security(c, version) && need(c, 1, in_ms(RFB_HELLO_MS)) &&
	       join(c) && tell_screen(c);
}
