/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests and answers of HTTP/1.1: see http.h. RFC 9112, sections 2 to 5 and 9. Any thread. */
#include "http.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* A part of the header. */
struct span {
	const char *p;
	size_t len;
};

size_t http_header_end(const char *buf, size_t len)
{
	const char *end = memmem(buf, len, "\r\n\r\n", 4);

	return end ? (size_t)(end - buf) + 4 : 0;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* RFC 9110, 5.6.2 */
static bool is_token(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_alnum(s.p[i]) && (!s.p[i] || !strchr("!#$%&'*+-.^_`|~", s.p[i])))
			return false;
	return s.len;
}

/* What a field's value or a target may be made of. */
static bool is_printable(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (((unsigned char)s.p[i] < ' ' && s.p[i] != '\t') || s.p[i] == 0x7f)
			return false;
	return true;
}

static bool span_is(struct span s, const char *word)
{
	return s.len == strlen(word) && !strncasecmp(s.p, word, s.len);
}

static struct span trimmed(struct span s)
{
	while (s.len && (s.p[0] == ' ' || s.p[0] == '\t'))
		s.p++, s.len--;
	while (s.len && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* Up to the separator, which is dropped; false: there was none, and the rest is out. */
static bool cut(struct span *rest, const char *separator, struct span *out)
{
	const char *at = memmem(rest->p, rest->len, separator, strlen(separator));

	*out = (struct span){ rest->p, at ? (size_t)(at - rest->p) : rest->len };
	rest->p += out->len + (at ? strlen(separator) : 0);
	rest->len -= out->len + (at ? strlen(separator) : 0);
	return at;
}

/* Whether a list, "a, b", has the word. */
static bool lists(struct span list, const char *word)
{
	struct span item;

	do {
		bool more = cut(&list, ",", &item);

		if (span_is(trimmed(item), word))
			return true;
		if (!more)
			return false;
	} while (true);
}

static bool copy(struct span s, char *out, size_t room)
{
	if (s.len >= room)
		return false;
	memcpy(out, s.p, s.len);
	out[s.len] = '\0';
	return true;
}

static int hex(char c)
{
	if (is_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The path is decoded once, before anybody looks at what is in it. */
static int take_target(struct span s, struct http_request *r)
{
	struct span path;
	size_t n = 0;

	if (!s.len || s.p[0] != '/' || memchr(s.p, '#', s.len))
		return 400;
	cut(&s, "?", &path);
	for (size_t i = 0; i < path.len; i++) {
		unsigned c = (unsigned char)path.p[i];

		if (c == '%') {
			int high = i + 2 < path.len ? hex(path.p[i + 1]) : -1;
			int low = high >= 0 ? hex(path.p[i + 2]) : -1;

			if (low < 0)
				return 400;
			c = (unsigned)(high << 4 | low);
			i += 2;
		}
		if (!c)
			return 400;
		if (n == sizeof(r->path) - 1)
			return 414;
		r->path[n++] = (char)c;
	}
	r->path[n] = '\0';
	return 0;
}

static int take_request_line(struct span line, struct http_request *r)
{
	struct span method, target;
	int rc;

	if (!cut(&line, " ", &method) || !cut(&line, " ", &target) || !is_token(method))
		return 400;
	if (line.len != 8 || memcmp(line.p, "HTTP/", 5) || !is_digit(line.p[5]) ||
	    line.p[6] != '.' || !is_digit(line.p[7]))
		return 400;
	if (line.p[5] != '1')
		return 505;
	r->keep_alive = line.p[7] != '0';
	r->head = method.len == 4 && !memcmp(method.p, "HEAD", 4);
	if (!r->head && (method.len != 3 || memcmp(method.p, "GET", 3)))
		return 405;
	rc = take_target(target, r);
	return rc;
}

struct fields {
	bool upgrade, connection_upgrade, close;
};

static int take_field(struct span line, struct fields *f, struct http_request *r)
{
	struct span name;

	if (!cut(&line, ":", &name) || !is_token(name)) /* also lines that continue the last */
		return 400;
	line = trimmed(line);
	if (span_is(name, "Host")) {
		/* Two would be one for the check and another for somebody else. */
		if (r->host[0] || !line.len || !copy(line, r->host, sizeof(r->host)))
			return 400;
	} else if (span_is(name, "Origin")) {
		if (r->origin[0] || !copy(line, r->origin, sizeof(r->origin)))
			return 400;
	} else if (span_is(name, "Connection")) {
		f->close |= lists(line, "close");
		f->connection_upgrade |= lists(line, "upgrade");
	} else if (span_is(name, "Upgrade")) {
		f->upgrade |= lists(line, "websocket");
	} else if (span_is(name, "Transfer-Encoding")) {
		return 501;
	} else if (span_is(name, "Content-Length")) {
		if (!span_is(line, "0"))
			return 413;
	}
	return 0;
}

int http_parse(const char *header, size_t len, struct http_request *r)
{
	struct span rest = { header, len }, line;
	struct fields f = { 0 };
	int rc;

	*r = (struct http_request){ 0 };
	if (!cut(&rest, "\r\n", &line) || !is_printable(line))
		return 400;
	rc = take_request_line(line, r);
	while (!rc && cut(&rest, "\r\n", &line) && line.len)
		rc = is_printable(line) ? take_field(line, &f, r) : 400;
	if (rc)
		return rc;
	if (!r->host[0])
		return 400;
	r->keep_alive &= !f.close;
	r->websocket = f.upgrade && f.connection_upgrade && !r->head;
	return 0;
}

/* --- who asks ----------------------------------------------------------------------------- */

bool http_host_allowed(const char *host, const char *also)
{
	char name[HTTP_HOST_MOST], binary[sizeof(struct in6_addr)];
	bool literal = host[0] == '[';
	size_t len = literal ? strcspn(host, "]") : strcspn(host, ":");
	const char *port = host + len + (literal && host[len]);

	if ((literal && !host[len]) || len >= sizeof(name))
		return false;
	if (*port && (*port != ':' || strlen(port) > 6 || port[1 + strspn(port + 1, "0123456789")]))
		return false;
	snprintf(name, sizeof(name), "%.*s", (int)len - literal, host + literal);
	if (literal)
		return inet_pton(AF_INET6, name, binary) == 1;
	return inet_pton(AF_INET, name, binary) == 1 || !strcasecmp(name, "localhost") ||
	       (also && !strcasecmp(name, also));
}

bool http_origin_allowed(const char *origin, const char *host)
{
	/* https: somebody in between added TLS. */
	const char *at = !strncasecmp(origin, "http://", 7)    ? origin + 7
			 : !strncasecmp(origin, "https://", 8) ? origin + 8
							       : NULL;

	return at && !strcasecmp(at, host);
}

/* --- files -------------------------------------------------------------------------------- */

bool http_path_is_plain(const char *path)
{
	const char *p = path;

	while (*p == '/') {
		if (p[1] == '.')
			return false;
		for (p++; is_alnum(*p) || (*p && strchr("._-+@", *p)); p++)
			;
		if (p[-1] == '/')
			return false;
	}
	return p > path && !*p;
}

const char *http_content_type(const char *path)
{
	static const struct {
		const char *end, *type;
	} types[] = {
		{ ".html", "text/html; charset=utf-8" },
		{ ".js", "text/javascript; charset=utf-8" },
		{ ".css", "text/css; charset=utf-8" },
		{ ".json", "application/json" },
		{ ".svg", "image/svg+xml" },
		{ ".png", "image/png" },
		{ ".ico", "image/x-icon" },
		{ ".woff", "font/woff" },
		{ ".ttf", "font/ttf" },
		{ ".oga", "audio/ogg" },
		{ ".mp3", "audio/mpeg" },
	};
	const char *end = strrchr(path, '.');

	for (size_t i = 0; end && i < sizeof(types) / sizeof(*types); i++)
		if (!strcmp(end, types[i].end))
			return types[i].type;
	return NULL;
}

/* --- answers ------------------------------------------------------------------------------ */

const char *http_reason(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = {
		{ 200, "OK" },
		{ 400, "Bad Request" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 413, "Content Too Large" },
		{ 414, "URI Too Long" },
		{ 426, "Upgrade Required" },
		{ 431, "Request Header Fields Too Large" },
		{ 501, "Not Implemented" },
		{ 505, "HTTP Version Not Supported" },
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Error";
}

size_t http_answer(const struct http_answer *a, char out[HTTP_ANSWER_MOST])
{
	char sockets[2 * HTTP_HOST_MOST + 16] = "";

	/* Not all browsers count a WebSocket of the same host as 'self'. */
	if (a->host)
		snprintf(sockets, sizeof(sockets), " ws://%s wss://%s", a->host, a->host);
	return (size_t)
		snprintf(out, HTTP_ANSWER_MOST,
			 "HTTP/1.1 %d %s\r\n"
			 "Content-Type: %s\r\n"
			 "Content-Length: %zu\r\n"
			 "Connection: %s\r\n"
			 "%s%s"
			 "Cache-Control: no-store\r\n"
			 "X-Content-Type-Options: nosniff\r\n"
			 "Referrer-Policy: no-referrer\r\n"
			 "Cross-Origin-Resource-Policy: same-origin\r\n"
			 "Content-Security-Policy: default-src 'self'; img-src 'self' data:; "
			 "connect-src 'self'%s; frame-ancestors 'none'; base-uri 'none'; "
			 "form-action 'self'\r\n"
			 "\r\n",
			 a->status, http_reason(a->status), a->type, a->length,
			 a->keep_alive ? "keep-alive" : "close",
			 a->status == 405 ? "Allow: GET, HEAD\r\n" : "",
			 a->status == 426 ? "Upgrade: websocket\r\n" : "", sockets);
}
