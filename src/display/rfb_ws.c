/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Websockets, RFC 6455, as a browser's VNC client needs them: the answer to the request
 * that begins one (section 4.2), and frames (section 5). The client's thread.
 *
 * A browser lets any page open a websocket to any address, this host's loopback included, and
 * says in Origin whose page it is (section 10.2). So the page must come from the host that
 * the websocket goes to; and as a name can be made to mean 127.0.0.1, a websocket that
 * came by the loopback address must have been asked for by such an address, or as localhost.
 */
#include <nettle/base64.h>
#include <nettle/sha1.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "rfb_int.h"

enum { FIN = 0x80, RESERVED = 0x70, OPCODE = 0x0f, MASKED = 0x80, LENGTH = 0x7f };
enum { CONTINUED = 0, BINARY = 2, PING = 9, PONG = 10 };
enum { KEY_BYTES = 24, MASK_BYTES = 4 };

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

/* --- frames ------------------------------------------------------------------------------- */

static unsigned header_size(const struct rfb_ws *w)
{
	unsigned length = w->n_header < 2 ? 0 : w->header[1] & LENGTH;

	return 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + MASK_BYTES;
}

/* The header is complete. False: it is not one that a client may send. */
static bool begin(struct rfb_ws *w)
{
	unsigned opcode = w->header[0] & OPCODE;

	w->left = w->header[1] & LENGTH;
	if (w->left == 126)
		w->left = rfb_u16(w->header + 2);
	else if (w->left == 127)
		w->left = (uint64_t)rfb_u32(w->header + 2) << 32 | rfb_u32(w->header + 6);
	w->at = 0;
	if (w->header[0] & RESERVED || !(w->header[1] & MASKED) || w->left >> 63)
		return false;
	if (opcode == CONTINUED || opcode == BINARY)
		return true;
	w->n_control = 0;
	return (opcode == PING || opcode == PONG) && w->header[0] & FIN &&
	       w->left <= sizeof(w->control);
}

static void end(struct rfb_ws *w)
{
	w->pong = (w->header[0] & OPCODE) == PING;
	w->n_header = 0;
}

long rfb_ws_unwrap(struct rfb_ws *w, uint8_t *buf, size_t n, size_t *rest)
{
	size_t in = 0, out = 0;

	while (in < n && !w->pong) {
		const uint8_t *mask = w->header + header_size(w) - MASK_BYTES;
		bool control = w->header[0] & 8;

		if (w->n_header < header_size(w)) {
			w->header[w->n_header++] = buf[in++];
			if (w->n_header < header_size(w) || w->n_header < 2)
				continue;
			if (!begin(w))
				return -1;
		} else {
			uint8_t byte = buf[in++] ^ mask[w->at++ % MASK_BYTES];

			if (control)
				w->control[w->n_control++] = byte;
			else
				buf[out++] = byte;
			w->left--;
		}
		if (!w->left)
			end(w);
	}
	*rest = n - in;
	return (long)out;
}

unsigned rfb_ws_header(uint8_t header[RFB_WS_HEADER], unsigned opcode, size_t n)
{
	header[0] = (uint8_t)(FIN | opcode);
	if (n < 126) {
		header[1] = (uint8_t)n;
		return 2;
	}
	if (n < 65536) {
		header[1] = 126;
		rfb_put16(header + 2, (unsigned)n);
		return 4;
	}
	header[1] = 127;
	rfb_put32(header + 2, (uint32_t)((uint64_t)n >> 32));
	rfb_put32(header + 6, (uint32_t)n);
	return 10;
}

/* --- the request ----------------------------------------------------------------------------- */

struct field {
	const char *at; /* NULL: there is none */
	size_t n;
};

/* Without the blanks around it. */
static struct field header_field(const char *request, const char *name)
{
	size_t n = strlen(name);

	for (const char *line = request; (line = strstr(line, "\r\n"));) {
		struct field f;

		line += 2;
		if (strncasecmp(line, name, n) || line[n] != ':')
			continue;
		f.at = line + n + 1;
		f.at += strspn(f.at, " \t");
		f.n = strcspn(f.at, "\r\n");
		while (f.n && (f.at[f.n - 1] == ' ' || f.at[f.n - 1] == '\t'))
			f.n--;
		return f;
	}
	return (struct field){ NULL, 0 };
}

/* Of a list "a, b". */
static bool has_word(struct field f, const char *word)
{
	size_t n = strlen(word);

	for (size_t i = 0; i + n <= f.n; i++)
		if (!strncasecmp(f.at + i, word, n) && (!i || strchr(", \t", f.at[i - 1])) &&
		    (i + n == f.n || strchr(", \t", f.at[i + n])))
			return true;
	return false;
}

static bool is(struct field f, const char *text)
{
	return f.n == strlen(text) && !strncasecmp(f.at, text, f.n);
}

/* The host of "host:port" or "[::1]:port". */
static struct field host_of(struct field f)
{
	size_t n = 0;

	if (f.n && f.at[0] == '[')
		while (n < f.n && f.at[n] != ']')
			n++;
	while (n < f.n && f.at[n] != ':' && f.at[n] != '/')
		n++;
	f.n = n;
	return f;
}

static bool same_host(struct field origin, struct field host)
{
	for (size_t i = 0; i + 3 <= origin.n; i++) {
		struct field f = { origin.at + i + 3, origin.n - i - 3 };

		if (strncmp(origin.at + i, "://", 3))
			continue;
		f = host_of(f);
		host = host_of(host);
		return f.n == host.n && !strncasecmp(f.at, host.at, f.n);
	}
	return false;
}

static bool is_loopback(struct field host)
{
	host = host_of(host);
	return is(host, "localhost") || is(host, "[::1]") ||
	       (host.n > 4 && !strncmp(host.at, "127.", 4) &&
		strspn(host.at, "0123456789.") >= host.n);
}

static int refuse(char *answer, size_t room, int status, const char *reason, const char *why)
{
	snprintf(answer, room,
		 "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: text/plain\r\n"
		 "Sec-WebSocket-Version: 13\r\nContent-Length: %zu\r\n\r\n%s\n",
		 status, reason, strlen(why) + 1, why);
	return status;
}

static void accept_key(struct field key, char out[BASE64_ENCODE_RAW_LENGTH(SHA1_DIGEST_SIZE) + 1])
{
	uint8_t digest[SHA1_DIGEST_SIZE];
	struct sha1_ctx sha1;

	sha1_init(&sha1);
	sha1_update(&sha1, key.n, (const uint8_t *)key.at);
	sha1_update(&sha1, strlen(GUID), (const uint8_t *)GUID);
	sha1_digest(&sha1, sizeof(digest), digest);
	base64_encode_raw(out, sizeof(digest), digest);
	out[BASE64_ENCODE_RAW_LENGTH(SHA1_DIGEST_SIZE)] = 0;
}

int rfb_ws_answer(const char *request, bool loopback, char *answer, size_t room)
{
	struct field key = header_field(request, "Sec-WebSocket-Key");
	struct field host = header_field(request, "Host");
	struct field origin = header_field(request, "Origin");
	struct field protocol = header_field(request, "Sec-WebSocket-Protocol");
	char accepted[BASE64_ENCODE_RAW_LENGTH(SHA1_DIGEST_SIZE) + 1];

	if (strncmp(request, "GET ", 4))
		return refuse(answer, room, 400, "Bad Request", "This is a websocket for VNC.");
	if (!has_word(header_field(request, "Upgrade"), "websocket") ||
	    !has_word(header_field(request, "Connection"), "upgrade") || key.n != KEY_BYTES ||
	    !host.n)
		return refuse(answer, room, 400, "Bad Request", "This is a websocket for VNC.");
	if (!is(header_field(request, "Sec-WebSocket-Version"), "13"))
		return refuse(answer, room, 426, "Upgrade Required", "Version 13 is spoken here.");
	if (origin.at && !same_host(origin, host))
		return refuse(answer, room, 403, "Forbidden",
			      "The page does not come from the host that the websocket goes to.");
	if (loopback && !is_loopback(host))
		return refuse(answer, room, 403, "Forbidden",
			      "Ask for localhost: other names may not mean this host.");
	accept_key(key, accepted);
	snprintf(answer, room,
		 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
		 "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
		 accepted,
		 has_word(protocol, "binary") ? "Sec-WebSocket-Protocol: binary\r\n" : "");
	return 101;
}
