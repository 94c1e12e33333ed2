/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * browser: a scripted visit with headless Chromium, by its DevTools protocol on a pipe. For the
 * boot tests.
 *
 *   browser [-t SECONDS] -d DIRECTORY [STEP...]
 *
 * DIRECTORY is for the browser's files. Steps, in order; each that waits does so for at most
 * SECONDS (default 40) from the start:
 *   -o URL     opens a page
 *   -j JS      waits until the expression is true in the page
 *   -k TEXT    presses and releases the keys of a US keyboard that give lower-case letters
 *   -c CSS     clicks at the middle of the element
 *   -w FILE    makes the page's window one in which FILE, a PPM, is shown in its own size below
 *              a bar of 32 pixels, and waits until the canvas shows just its pixels
 *
 * Exit status 0; 1 when something is not as awaited, which is said; 77 when there is no Chromium.
 */
#include <jansson.h>
#include <png.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SKIPPED = 77, BAR = 32, PAUSE_MS = 50 };

static struct {
	pid_t pid;
	int to, from;
	const char *directory;
	char *in; /* what came, not taken yet */
	size_t in_len, in_room;
	int last_id;
	char session[64]; /* "": none yet */
	long long deadline_ms;
} b;

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

static void end_browser(void)
{
	if (b.pid <= 0)
		return;
	kill(-b.pid, SIGKILL); /* its children as well */
	waitpid(b.pid, NULL, 0);
	b.pid = 0;
}

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("browser: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	end_browser();
	exit(1);
}

/* --- messages: JSON, each with a NUL behind it ----------------------------------------------- */

static json_t *take_message(void)
{
	for (;;) {
		char *end = memchr(b.in, '\0', b.in_len);
		struct pollfd p = { .fd = b.from, .events = POLLIN };
		long long left = b.deadline_ms - now_ms();
		ssize_t n;

		if (b.in_len && end) {
			json_t *m = json_loads(b.in, 0, NULL);

			b.in_len -= (size_t)(end + 1 - b.in);
			memmove(b.in, end + 1, b.in_len);
			if (!m)
				die("what the browser said is not JSON");
			return m;
		}
		if (b.in_room - b.in_len < 65536) {
			b.in_room = b.in_room * 2 + 65536;
			b.in = realloc(b.in, b.in_room);
		}
		if (left <= 0 || poll(&p, 1, (int)left) <= 0)
			die("the browser did not answer in time");
		n = read(b.from, b.in + b.in_len, b.in_room - b.in_len);
		if (n <= 0)
			die("the browser has ended");
		b.in_len += (size_t)n;
	}
}

/* Steals params. The result, or NULL: an error. */
static json_t *ask(const char *method, json_t *params)
{
	json_t *m = json_pack("{s:i,s:s,s:o}", "id", ++b.last_id, "method", method, "params",
			      params ? params : json_object());
	char *text;
	size_t len, at = 0;

	if (b.session[0])
		json_object_set_new(m, "sessionId", json_string(b.session));
	text = json_dumps(m, JSON_COMPACT);
	len = strlen(text) + 1;
	json_decref(m);
	while (at < len) {
		ssize_t n = write(b.to, text + at, len - at);

		if (n <= 0)
			die("the browser has ended");
		at += (size_t)n;
	}
	free(text);
	for (;;) {
		json_t *result;

		m = take_message();
		if (json_integer_value(json_object_get(m, "id")) != b.last_id) {
			json_decref(m); /* an event */
			continue;
		}
		result = json_incref(json_object_get(m, "result"));
		if (!result)
			fprintf(stderr, "browser: %s: %s\n", method,
				json_string_value(
					json_object_get(json_object_get(m, "error"), "message")));
		json_decref(m);
		return result;
	}
}

static void tell(const char *method, json_t *params)
{
	json_t *result = ask(method, params);

	if (!result)
		die("%s failed", method);
	json_decref(result);
}

/* --- the browser ----------------------------------------------------------------------------- */

static const char *const programs[] = { "chromium", "chromium-browser", "google-chrome", NULL };

static void exec_browser(int from, int to)
{
	char data[512];

	setpgid(0, 0);
	/* Commands on 3, answers on 4. */
	if (dup2(from, 13) < 0 || dup2(to, 14) < 0 || dup2(13, 3) < 0 || dup2(14, 4) < 0)
		_exit(1);
	for (int fd = 5; fd < 20; fd++)
		close(fd);
	snprintf(data, sizeof(data), "--user-data-dir=%s", b.directory);
	for (size_t i = 0; programs[i]; i++)
		execlp(programs[i], programs[i], "--headless", "--remote-debugging-pipe", data,
		       "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		       "--disable-background-networking", "--disable-component-update",
		       "--disable-extensions", "--force-color-profile=srgb",
		       "--force-device-scale-factor=1", "--hide-scrollbars", "--no-proxy-server",
		       "about:blank", NULL);
	_exit(SKIPPED);
}

static void start_browser(void)
{
	int commands[2], answers[2];
	json_t *r;

	if (pipe2(commands, O_CLOEXEC) || pipe2(answers, O_CLOEXEC))
		die("no pipe: %s", strerror(errno));
	b.pid = fork();
	if (!b.pid) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		exec_browser(commands[0], answers[1]);
	}
	setpgid(b.pid, b.pid);
	close(commands[0]);
	close(answers[1]);
	b.to = commands[1];
	b.from = answers[0];
	r = ask("Target.createTarget", json_pack("{s:s}", "url", "about:blank"));
	if (!r)
		die("no page");
	r = ask("Target.attachToTarget",
		json_pack("{s:O,s:b}", "targetId", json_object_get(r, "targetId"), "flatten", 1));
	snprintf(b.session, sizeof(b.session), "%s",
		 r ? json_string_value(json_object_get(r, "sessionId")) : "");
	if (!b.session[0])
		die("no session with the page");
	json_decref(r);
}

/* --- steps --------------------------------------------------------------------------------------
 */

/* The expression's value, or NULL. */
static json_t *evaluate(const char *js)
{
	json_t *r = ask("Runtime.evaluate",
			json_pack("{s:s,s:b}", "expression", js, "returnByValue", 1));
	json_t *value = json_incref(json_object_get(json_object_get(r, "result"), "value"));

	json_decref(r);
	return value;
}

static bool is_true(const char *js)
{
	json_t *value = evaluate(js);
	bool yes = json_is_true(value);

	json_decref(value);
	return yes;
}

static void wait_js(const char *js)
{
	while (!is_true(js)) {
		if (now_ms() > b.deadline_ms - 1000)
			die("it did not become true: %s", js);
		usleep(PAUSE_MS * 1000);
	}
}

static void type(const char *text)
{
	for (; *text; text++) {
		char code[] = "KeyX", key[] = { *text, '\0' };
		int number = *text - 'a' + 'A';

		code[3] = (char)number;
		tell("Input.dispatchKeyEvent",
		     json_pack("{s:s,s:s,s:s,s:s,s:i}", "type", "keyDown", "key", key, "code", code,
			       "text", key, "windowsVirtualKeyCode", number));
		tell("Input.dispatchKeyEvent",
		     json_pack("{s:s,s:s,s:s,s:i}", "type", "keyUp", "key", key, "code", code,
			       "windowsVirtualKeyCode", number));
	}
}

/* A page that has not been drawn yet takes no notice of the mouse: then once more. */
static void click(const char *css)
{
	static const char *const types[] = { "mouseMoved", "mousePressed", "mouseReleased" };
	char js[512];
	json_t *at;

	snprintf(
		js, sizeof(js),
		"(() => { const e = document.querySelector('%s'), r = e.getBoundingClientRect();"
		" window.wasClicked = false;"
		" e.addEventListener('click', () => { window.wasClicked = true; }, { once: true });"
		" return [r.x + r.width / 2, r.y + r.height / 2]; })()",
		css);
	at = evaluate(js);
	if (json_array_size(at) != 2)
		die("no element %s", css);
	do {
		for (unsigned i = 0; i < 3; i++)
			tell("Input.dispatchMouseEvent",
			     json_pack("{s:s,s:O,s:O,s:s,s:i}", "type", types[i], "x",
				       json_array_get(at, 0), "y", json_array_get(at, 1), "button",
				       i ? "left" : "none", "clickCount", i ? 1 : 0));
		if (now_ms() > b.deadline_ms - 1000)
			die("%s cannot be clicked", css);
	} while (!is_true("window.wasClicked"));
	json_decref(at);
}

/* --- pictures
 * ------------------------------------------------------------------------------------- */

struct picture {
	unsigned width, height;
	uint8_t *rgb;
};

static struct picture read_ppm(const char *file)
{
	struct picture p = { 0 };
	FILE *f = fopen(file, "re");
	size_t len;

	if (!f || fscanf(f, "P6 %u %u 255", &p.width, &p.height) != 2 || p.width > 16384 ||
	    p.height > 16384 || fgetc(f) == EOF)
		die("%s: not a PPM", file);
	len = (size_t)3 * p.width * p.height;
	p.rgb = malloc(len);
	if (fread(p.rgb, 1, len, f) != len)
		die("%s: too short", file);
	fclose(f);
	return p;
}

static size_t from_base64(const char *s, uint8_t *out)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t bits = 0;
	unsigned have = 0;
	size_t n = 0;

	for (; *s && *s != '='; s++) {
		bits = bits << 6 | (uint32_t)(strchr(digits, *s) - digits);
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[n++] = (uint8_t)(bits >> have);
		}
	}
	return n;
}

/* What the page shows below its bar. */
static struct picture take_picture(unsigned width, unsigned height)
{
	json_t *r = ask("Page.captureScreenshot",
			json_pack("{s:s,s:{s:i,s:i,s:i,s:i,s:i}}", "format", "png", "clip", "x", 0,
				  "y", BAR, "width", width, "height", height, "scale", 1));
	const char *text = json_string_value(json_object_get(r, "data"));
	png_image image = { .version = PNG_IMAGE_VERSION };
	struct picture p = { 0 };
	uint8_t *png;

	if (!text)
		die("no picture");
	png = malloc(strlen(text) + 1);
	if (!png_image_begin_read_from_memory(&image, png, from_base64(text, png)))
		die("a bad picture");
	image.format = PNG_FORMAT_RGB;
	p = (struct picture){ image.width, image.height, malloc(PNG_IMAGE_SIZE(image)) };
	if (!png_image_finish_read(&image, NULL, p.rgb, 0, NULL))
		die("a bad picture");
	free(png);
	json_decref(r);
	return p;
}

static void show_same(const char *file)
{
	struct picture want = read_ppm(file);
	size_t len = (size_t)3 * want.width * want.height, i;
	char js[256];

	tell("Emulation.setDeviceMetricsOverride",
	     json_pack("{s:i,s:i,s:i,s:b}", "width", want.width, "height", want.height + BAR,
		       "deviceScaleFactor", 1, "mobile", 0));
	snprintf(js, sizeof(js),
		 "(() => { const r = document.querySelector('#screen "
		 "canvas').getBoundingClientRect();"
		 " return r.x === 0 && r.y === %d && r.width === %u && r.height === %u; })()",
		 BAR, want.width, want.height);
	wait_js(js);
	for (;;) {
		struct picture is = take_picture(want.width, want.height);

		if (is.width != want.width || is.height != want.height)
			die("the picture is of %u x %u", is.width, is.height);
		for (i = 0; i < len && is.rgb[i] == want.rgb[i]; i++)
			;
		if (i == len) {
			free(is.rgb);
			break;
		}
		if (now_ms() > b.deadline_ms - 1000)
			die("%s: pixel %zu,%zu is not %02x%02x%02x but %02x%02x%02x", file,
			    i / 3 % want.width, i / 3 / want.width, want.rgb[i / 3 * 3],
			    want.rgb[i / 3 * 3 + 1], want.rgb[i / 3 * 3 + 2], is.rgb[i / 3 * 3],
			    is.rgb[i / 3 * 3 + 1], is.rgb[i / 3 * 3 + 2]);
		free(is.rgb);
		usleep(PAUSE_MS * 1000);
	}
	free(want.rgb);
}

static bool have_browser(void)
{
	char command[64];

	for (size_t i = 0; programs[i]; i++) {
		snprintf(command, sizeof(command), "command -v %s >/dev/null", programs[i]);
		if (!system(command))
			return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	int c;

	b.deadline_ms = now_ms() + 40000;
	signal(SIGPIPE, SIG_IGN);
	if (!have_browser())
		return SKIPPED;
	while ((c = getopt(argc, argv, "t:d:o:j:k:c:w:")) >= 0) {
		if (c == 't') {
			b.deadline_ms = now_ms() + atoi(optarg) * 1000ll;
			continue;
		}
		if (c == 'd') {
			b.directory = optarg;
			continue;
		}
		if (!b.directory)
			die("-d comes first");
		if (!b.pid)
			start_browser();
		if (c == 'o')
			tell("Page.navigate", json_pack("{s:s}", "url", optarg));
		else if (c == 'j')
			wait_js(optarg);
		else if (c == 'k')
			type(optarg);
		else if (c == 'c')
			click(optarg);
		else if (c == 'w')
			show_same(optarg);
		else
			die("no such step");
	}
	end_browser();
	return 0;
}
