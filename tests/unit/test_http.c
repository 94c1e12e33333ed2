/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The web display's HTTP: requests, who may ask, files, and the server on a real loop. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "suite.h"
#include "../../src/display/http.h"
#include "../../src/display/web.h"
#include "err.h"
#include "loop.h"

/* --- requests ---------------------------------------------------------------------------- */

static struct http_request r;

static int parse(const char *header)
{
	ck_assert_uint_eq(http_header_end(header, strlen(header)), strlen(header));
	return http_parse(header, strlen(header), &r);
}

/* Of "GET target". */
static int target(const char *t)
{
	char header[HTTP_HEADER_MOST];

	snprintf(header, sizeof(header), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", t);
	return parse(header);
}

static int field(const char *line)
{
	char header[HTTP_HEADER_MOST];

	snprintf(header, sizeof(header), "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", line);
	return parse(header);
}

START_TEST(request)
{
	ck_assert_int_eq(parse("GET /core/rfb.js?x=/../y HTTP/1.1\r\nhOST: \t 127.0.0.1:5800 \r\n"
			       "Accept: */*\r\nX: \xff\r\n\r\n"),
			 0);
	ck_assert_str_eq(r.path, "/core/rfb.js");
	ck_assert_str_eq(r.host, "127.0.0.1:5800");
	ck_assert_str_eq(r.origin, "");
	ck_assert(r.keep_alive && !r.head && !r.websocket);
	ck_assert_int_eq(parse("HEAD / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n"), 0);
	ck_assert(r.head && !r.keep_alive);
	ck_assert_int_eq(parse("GET / HTTP/1.1\r\nHost: h\r\nConnection: a, Close\r\n\r\n"), 0);
	ck_assert(!r.keep_alive);
}
END_TEST

START_TEST(end_of_header)
{
	static const char text[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET";
	size_t len = sizeof(text) - 1;

	for (size_t i = 0; i < len; i++)
		ck_assert_uint_eq(http_header_end(text, i), i < len - 3 ? 0 : len - 3);
}
END_TEST

START_TEST(request_lines)
{
	static const struct {
		const char *line;
		int status;
	} table[] = {
		{ "GET / HTTP/1.1", 0 },
		{ "GET / HTTP/1.9", 0 },
		{ "POST / HTTP/1.1", 405 },
		{ "get / HTTP/1.1", 405 },
		{ "GETX / HTTP/1.1", 405 },
		{ "HEADS / HTTP/1.1", 405 },
		{ "CONNECT h:80 HTTP/1.1", 405 },
		{ "OPTIONS * HTTP/1.1", 405 },
		{ "G(T / HTTP/1.1", 400 },
		{ " GET / HTTP/1.1", 400 },
		{ "GET  / HTTP/1.1", 400 },
		{ "GET / HTTP/1.1 ", 400 },
		{ "GET /  HTTP/1.1", 400 },
		{ "GET /", 400 },
		{ "GET", 400 },
		{ "", 400 },
		{ "GET / HTTP/2.0", 505 },
		{ "GET / HTTP/0.9", 505 },
		{ "GET / HTTP/11", 400 },
		{ "GET / HTTP/1.10", 400 },
		{ "GET / http/1.1", 400 },
		{ "GET /\x01 HTTP/1.1", 400 },
		{ "GET /\n HTTP/1.1", 400 },
		{ "GET / HTTP/1.1\rX: y", 400 },
	};
	char header[256];

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		snprintf(header, sizeof(header), "%s\r\nHost: h\r\n\r\n", table[i].line);
		ck_assert_msg(parse(header) == table[i].status, "%s", table[i].line);
	}
	ck_assert_int_eq(http_parse("GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n", 28, &r), 400);
}
END_TEST

START_TEST(targets)
{
	char path[2 * HTTP_PATH_MOST];

	ck_assert_int_eq(target("/a%2Fb%20c%2e"), 0);
	ck_assert_str_eq(r.path, "/a/b c.");
	ck_assert_int_eq(target("/%252e"), 0); /* once */
	ck_assert_str_eq(r.path, "/%2e");
	ck_assert_int_eq(target("/?%zz"), 0);
	ck_assert_str_eq(r.path, "/");
	ck_assert_int_eq(target("/%00"), 400);
	ck_assert_int_eq(target("/a%0"), 400);
	ck_assert_int_eq(target("/a%"), 400);
	ck_assert_int_eq(target("/a%g0"), 400);
	ck_assert_int_eq(target("/a%0g"), 400);
	ck_assert_int_eq(target("/a#b"), 400);
	ck_assert_int_eq(target("a"), 400);
	ck_assert_int_eq(target("*"), 400);
	ck_assert_int_eq(target("http://h/"), 400);
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[HTTP_PATH_MOST - 1] = '\0';
	ck_assert_int_eq(target(path), 0);
	path[HTTP_PATH_MOST - 1] = 'x';
	path[HTTP_PATH_MOST] = '\0';
	ck_assert_int_eq(target(path), 414);
}
END_TEST

START_TEST(fields)
{
	char line[2 * HTTP_HOST_MOST];

	ck_assert_int_eq(parse("GET / HTTP/1.1\r\n\r\n"), 400); /* no host */
	ck_assert_int_eq(field("Host: h"), 400); /* two */
	ck_assert_int_eq(field("Host : h"), 400);
	ck_assert_int_eq(field(" folded"), 400);
	ck_assert_int_eq(field("no colon"), 400);
	ck_assert_int_eq(field(": x"), 400);
	ck_assert_int_eq(field("A: \x7f"), 400);
	ck_assert_int_eq(field("A: b\nHost: c"), 400);
	ck_assert_int_eq(field("A:"), 0);
	ck_assert_int_eq(field("Content-Length: 0"), 0);
	ck_assert_int_eq(field("Content-Length: 1"), 413);
	ck_assert_int_eq(field("Content-Length: 00"), 413);
	ck_assert_int_eq(field("Transfer-Encoding: chunked"), 501);
	ck_assert_int_eq(field("Origin: http://a\r\nOrigin: http://b"), 400);
	snprintf(line, sizeof(line), "Origin: %0*d", HTTP_HOST_MOST + 8, 0);
	ck_assert_int_eq(field(line), 400);
	snprintf(line, sizeof(line), "GET / HTTP/1.1\r\nHost: %0*d\r\n\r\n", HTTP_HOST_MOST, 0);
	ck_assert_int_eq(parse(line), 400);
}
END_TEST

START_TEST(upgrades)
{
	ck_assert_int_eq(field("Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket"), 0);
	ck_assert(r.websocket);
	ck_assert_int_eq(field("Connection: Upgrade\r\nUpgrade: h2c"), 0);
	ck_assert(!r.websocket);
	ck_assert_int_eq(field("Upgrade: websocket"), 0);
	ck_assert(!r.websocket);
	ck_assert_int_eq(field("Connection: Upgrades\r\nUpgrade: websockets"), 0);
	ck_assert(!r.websocket);
	ck_assert_int_eq(parse("HEAD / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
			       "Upgrade: websocket\r\n\r\n"),
			 0);
	ck_assert(!r.websocket);
}
END_TEST

/* --- who may ask ------------------------------------------------------------------------- */

START_TEST(hosts)
{
	static const struct {
		const char *host;
		bool allowed;
	} table[] = {
		{ "localhost", true },
		{ "LocalHost:5800", true },
		{ "127.0.0.1:5800", true },
		{ "10.1.2.3", true },
		{ "[::1]", true },
		{ "[::1]:5800", true },
		{ "[fe80::1:2]:80", true },
		{ "guest.example", true },
		{ "Guest.Example:1", true },
		{ "evil.example", false },
		{ "evil.example:5800", false },
		{ "localhost.evil.example", false },
		{ "127.0.0.1.evil.example", false },
		{ "guest.example.evil", false },
		{ "127.1", false },
		{ "0x7f000001", false },
		{ "localhost:58x", false },
		{ "localhost:123456", false },
		{ "localhost ", false },
		{ "[::1", false },
		{ "[::1]x", false },
		{ "[]", false },
		{ "[localhost]", false },
		{ "[127.0.0.1]", false },
		{ "::1", false },
		{ ":5800", false },
		{ "", false },
		{ "user@localhost", false },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		ck_assert_msg(http_host_allowed(table[i].host, "guest.example") == table[i].allowed,
			      "%s", table[i].host);
	ck_assert(!http_host_allowed("guest.example", NULL));
}
END_TEST

START_TEST(origins)
{
	ck_assert(http_origin_allowed("http://localhost:5800", "localhost:5800"));
	ck_assert(http_origin_allowed("HTTPS://LocalHost", "localhost"));
	ck_assert(!http_origin_allowed("http://localhost:5801", "localhost:5800"));
	ck_assert(!http_origin_allowed("http://localhost", "localhost:5800"));
	ck_assert(!http_origin_allowed("http://evil.example", "localhost:5800"));
	ck_assert(!http_origin_allowed("http://localhost:5800.evil.example", "localhost:5800"));
	ck_assert(!http_origin_allowed("http://localhost:5800/", "localhost:5800"));
	ck_assert(!http_origin_allowed("file://localhost:5800", "localhost:5800"));
	ck_assert(!http_origin_allowed("null", "localhost:5800"));
	ck_assert(!http_origin_allowed("", ""));
}
END_TEST

/* --- files ------------------------------------------------------------------------------- */

START_TEST(paths)
{
	static const char *const plain[] = { "/a", "/vnc.html", "/core/input/keysym.js",
					     "/a-b_c+d@2" };
	static const char *const odd[] = { "",      "/",         "a",       "/..",    "/.",
					   "/.git", "/a/..",     "/a/../b", "/a/./b", "//a",
					   "/a//b", "/a/",       "/a\\b",   "/..\\a", "/a b",
					   "/a\n",  "/\xc0\xae", "/a/\xff", "/a%2e",  "/a:b" };

	for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++)
		ck_assert_msg(http_path_is_plain(plain[i]), "%s", plain[i]);
	for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++)
		ck_assert_msg(!http_path_is_plain(odd[i]), "%s", odd[i]);
	ck_assert_str_eq(http_content_type("/a.b.js"), "text/javascript; charset=utf-8");
	ck_assert_ptr_null(http_content_type("/utils/novnc_proxy"));
	ck_assert_ptr_null(http_content_type("/a.js.sh"));
}
END_TEST

START_TEST(answers)
{
	char out[HTTP_ANSWER_MOST], host[HTTP_HOST_MOST];
	struct http_answer a = { .status = 200, .type = "text/html", .length = 12, .host = host };
	size_t n;

	memset(host, '1', sizeof(host));
	host[sizeof(host) - 1] = '\0';
	n = http_answer(&a, out);
	ck_assert_uint_eq(n, strlen(out));
	ck_assert_ptr_nonnull(strstr(out, "\r\nContent-Length: 12\r\n"));
	ck_assert_ptr_nonnull(strstr(out, "frame-ancestors 'none'"));
	ck_assert_str_eq(out + n - 4, "\r\n\r\n");
}
END_TEST

/* --- the server: a loop of its own, clients that block --------------------------------------- */

static struct {
	struct loop *loop;
	struct web_server *server;
	struct web_site site;
	struct sockaddr_in address;
	int listen_fd;
	pthread_t thread;
	atomic_int websocket; /* the one that was handed over, or -1 */
	char dir[64];
} s;

static void on_websocket(void *ctx, int fd)
{
	s.websocket = fd;
}

static void *loop_thread(void *arg)
{
	loop_run(s.loop);
	return NULL;
}

static void put_file(const char *name, size_t len)
{
	int fd = openat(s.site.dir, name, O_CREAT | O_WRONLY, 0600);
	char *data = malloc(len);

	memset(data, 'x', len);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
	close(fd);
	free(data);
}

static void serve(void)
{
	socklen_t len = sizeof(s.address);
	struct err e = { 0 };

	s.websocket = -1;
	snprintf(s.dir, sizeof(s.dir), "/tmp/posada-http.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(s.dir));
	s.site = (struct web_site){ .dir = open(s.dir, O_PATH), .websocket = on_websocket };
	put_file("a.js", 3);
	put_file("big.js", 8 << 20);
	s.address = (struct sockaddr_in){ .sin_family = AF_INET,
					  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	s.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	ck_assert(!bind(s.listen_fd, (struct sockaddr *)&s.address, sizeof(s.address)));
	ck_assert(!listen(s.listen_fd, 64));
	ck_assert(!getsockname(s.listen_fd, (struct sockaddr *)&s.address, &len));
	ck_assert_int_eq(loop_create(&s.loop, &e), 0);
	ck_assert_int_eq(web_server_create(s.loop, s.listen_fd, &s.site, &s.server, &e), 0);
	pthread_create(&s.thread, NULL, loop_thread, NULL);
}

static void end_serve(void)
{
	loop_quit(s.loop);
	pthread_join(s.thread, NULL);
	web_server_destroy(s.server);
	loop_destroy(s.loop);
	close(s.listen_fd);
	unlinkat(s.site.dir, "a.js", 0);
	unlinkat(s.site.dir, "big.js", 0);
	unlinkat(s.site.dir, "link.js", 0);
	unlinkat(s.site.dir, "fifo.js", 0);
	unlinkat(s.site.dir, "d", 0);
	close(s.site.dir);
	rmdir(s.dir);
}

static int client(void)
{
	const struct timeval patience = { .tv_sec = 10 };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	ck_assert(!connect(fd, (struct sockaddr *)&s.address, sizeof(s.address)));
	return fd;
}

static void say(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* One answer: its status; its body's length, read, is in *body. */
static int hear(int fd, size_t *body)
{
	char head[HTTP_ANSWER_MOST] = "", rest[65536];
	size_t n = 0, left;
	int status;

	while (n < sizeof(head) - 1 && !http_header_end(head, n)) {
		ssize_t got = recv(fd, head + n, 1, 0);

		if (got <= 0)
			return -1;
		n++;
	}
	ck_assert_int_eq(sscanf(head, "HTTP/1.1 %d ", &status), 1);
	ck_assert_int_eq(sscanf(strstr(head, "Content-Length"), "Content-Length: %zu", &left), 1);
	*body = left;
	while (left) {
		ssize_t got = recv(fd, rest, left < sizeof(rest) ? left : sizeof(rest), 0);

		ck_assert_int_gt(got, 0);
		left -= (size_t)got;
	}
	return status;
}

static bool is_closed(int fd)
{
	char c;

	return recv(fd, &c, 1, 0) == 0;
}

/* A path, on a connection of its own. */
static int ask(const char *path)
{
	char text[512];
	size_t body;
	int fd = client(), status;

	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
	say(fd, text);
	status = hear(fd, &body);
	close(fd);
	return status;
}

START_TEST(pipelined)
{
	size_t body;
	int fd;

	serve();
	fd = client();
	say(fd, "GET /a.js HTTP/1.1\r\nHost: localhost\r\n\r\nHEAD /a.js HTTP/1.1\r\nHost: "
		"[::1]\r\n\r\n"
		"GET /b.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
	ck_assert_int_eq(hear(fd, &body), 200);
	ck_assert_uint_eq(body, 3);
	/* HEAD has a length and no body: what comes next is an answer. */
	{
		char head[HTTP_ANSWER_MOST] = "";
		size_t n = 0;

		while (!http_header_end(head, n))
			ck_assert_int_eq(recv(fd, head + n++, 1, 0), 1);
		ck_assert_ptr_nonnull(strstr(head, "Content-Length: 3\r\n"));
	}
	ck_assert_int_eq(hear(fd, &body), 404);
	ck_assert(is_closed(fd));
	close(fd);
	end_serve();
}
END_TEST

START_TEST(split_anywhere)
{
	static const char text[] = "GET /a.js HTTP/1.1\r\nHost: localhost\r\n\r\n";
	const struct timespec pause = { .tv_nsec = 500000 };
	size_t body;
	int fd;

	serve();
	fd = client();
	for (size_t i = 1; i < sizeof(text) - 1; i++) {
		ck_assert_int_eq(send(fd, text, i, MSG_NOSIGNAL), (ssize_t)i);
		nanosleep(&pause, NULL); /* so that most come apart */
		say(fd, text + i);
		ck_assert_int_eq(hear(fd, &body), 200);
	}
	/* An end of sending is not an end of listening; in the middle of a request it is one. */
	say(fd, text);
	shutdown(fd, SHUT_WR);
	ck_assert_int_eq(hear(fd, &body), 200);
	ck_assert(is_closed(fd));
	close(fd);
	fd = client();
	say(fd, "GET / HT");
	shutdown(fd, SHUT_WR);
	ck_assert(is_closed(fd));
	close(fd);
	end_serve();
}
END_TEST

START_TEST(too_long)
{
	char *text = malloc(HTTP_HEADER_MOST + 1);
	size_t body;
	int fd;

	serve();
	memset(text, 'x', HTTP_HEADER_MOST);
	memcpy(text, "GET / HTTP/1.1\r\nA: ", 19);
	text[HTTP_HEADER_MOST] = '\0';
	fd = client();
	say(fd, text);
	ck_assert_int_eq(hear(fd, &body), 431);
	ck_assert(is_closed(fd));
	close(fd);
	free(text);
	end_serve();
}
END_TEST

START_TEST(files_below)
{
	serve();
	ck_assert(!symlinkat("/etc/passwd", s.site.dir, "link.js"));
	ck_assert(!symlinkat("/etc", s.site.dir, "d"));
	ck_assert(!mkfifoat(s.site.dir, "fifo.js", 0600));
	ck_assert_int_eq(ask("/a.js"), 200);
	ck_assert_int_eq(ask("/link.js"), 404);
	ck_assert_int_eq(ask("/fifo.js"), 404);
	ck_assert_int_eq(ask("/d/ld.so.conf"), 404);
	ck_assert_int_eq(ask("/../etc/passwd"), 404);
	ck_assert_int_eq(ask("/%2e%2e/a.js"), 404);
	ck_assert_int_eq(ask("/"), 200);
	ck_assert_int_eq(ask("/posada.js"), 200);
	ck_assert_int_eq(ask("/websockify"), 426);
	ck_assert_int_eq(web_open(s.site.dir, "/d/passwd"), -ENOTDIR);
	ck_assert_int_eq(web_open(s.site.dir, "/link.js"), -ELOOP);
	end_serve();
}
END_TEST

static int websocket(const char *host, const char *origin)
{
	char text[512];
	size_t body;
	int fd = client(), status;

	snprintf(text, sizeof(text),
		 "GET /websockify HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: "
		 "Upgrade\r\n"
		 "%s%s\r\n\r\n",
		 host, origin ? "Origin: " : "X: y", origin ? origin : "");
	say(fd, text);
	status = hear(fd, &body);
	close(fd);
	return status;
}

START_TEST(websockets)
{
	static const char asks[] =
		"GET /websockify HTTP/1.1\r\nHost: localhost:1\r\nUpgrade: websocket\r\n"
		"Connection: Upgrade\r\nOrigin: http://localhost:1\r\n\r\nmore";
	char text[512] = "";
	int fd;

	serve();
	ck_assert_int_eq(websocket("localhost:1", NULL), 403);
	ck_assert_int_eq(websocket("localhost:1", "http://evil.example"), 403);
	ck_assert_int_eq(websocket("evil.example", "http://evil.example"), 403);
	fd = client();
	say(fd, asks);
	close(fd);
	fd = client();
	say(fd, "GET /websockify HTTP/1.1\r\n");
	for (unsigned i = 0; i < 5000 && s.websocket < 0; i++)
		usleep(1000);
	/* All of it is still to be read. */
	ck_assert_int_eq(recv(s.websocket, text, sizeof(text), 0), (ssize_t)strlen(asks));
	ck_assert_str_eq(text, asks);
	close(s.websocket);
	close(fd);
	end_serve();
}
END_TEST

/* Neither those that say nothing nor one that does not read keep others out. */
START_TEST(many)
{
	int idle[40], slow;
	size_t body;

	serve();
	slow = client();
	say(slow, "GET /big.js HTTP/1.1\r\nHost: localhost\r\n\r\n");
	for (unsigned i = 0; i < 40; i++)
		idle[i] = client();
	ck_assert_int_eq(ask("/a.js"), 200);
	ck_assert(is_closed(idle[0]));
	ck_assert_int_eq(hear(slow, &body), 200);
	ck_assert_uint_eq(body, 8 << 20);
	for (unsigned i = 0; i < 40; i++)
		close(idle[i]);
	close(slow);
	end_serve();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		request,  end_of_header, request_lines, targets, fields,    upgrades,
		hosts,    origins,       paths,         answers, pipelined, split_anywhere,
		too_long, files_below,   websockets,    many,
	};

	return run_tests("http", NULL, NULL, tests, sizeof(tests) / sizeof(*tests));
}
