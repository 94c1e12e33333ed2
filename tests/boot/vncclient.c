/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vncclient: a scripted VNC client, by libvncclient. For the boot tests and benchmarks.
 *
 *   vncclient [-t SECONDS] [-p PASSWORD] [-e ENCODINGS] [-c PID -x NAME] HOST:PORT|unix:PATH
 * [STEP...]
 *
 * Steps, in order:
 *   shot FILE      saves what it sees as PPM, when it has all of it
 *   same FILE      waits until it sees what the PPM file has
 *   changed        waits until it sees something else than at the last shot, same or changed
 *   type TEXT      presses keys and lets them go
 *   key HEX        the same for a key symbol
 *   point X,Y,B    moves the pointer, with these buttons down
 *   count SECONDS  prints how many pictures came in that time, and updates: see below
 *   hold SECONDS   asks for pictures and reads nothing
 *
 * "count" prints "PICTURES UPDATES MS CPU_US": pictures are the pixels that came, by those of a
 * screen; CPU_US is the time that process PID ran meanwhile, without its threads whose name begins
 * with NAME (0 without -c).
 *
 * Exit status: 0; 1: a step failed or took longer than SECONDS (default 30); 2: no connection; 3:
 * the password is wrong.
 */
#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <rfb/rfbclient.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { FAILED = 1, NO_CONNECTION = 2, NO_PASSWORD = 3 };

static const char *password;
static bool password_asked;
static unsigned seconds = 30;
static uint64_t deadline_ms;
static pid_t server;
static const char *other_threads = "";
static uint64_t pixels, updates; /* that came */
static uint8_t *last; /* what was seen at the last comparison */
static unsigned last_width, last_height;

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static _Noreturn void fail(int status, const char *what)
{
	fprintf(stderr, "vncclient: %s\n", what);
	exit(status);
}

/* --- the connection ------------------------------------------------------------------------- */

static int connect_unix(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(un.sun_path, path, sizeof(un.sun_path) - 1);
	return connect(fd, (struct sockaddr *)&un, sizeof(un)) ? -1 : fd;
}

static int connect_tcp(const char *address)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
	const char *colon = strrchr(address, ':');
	char host[256];
	int fd = -1;

	if (!colon)
		fail(NO_CONNECTION, "HOST:PORT is wanted");
	snprintf(host, sizeof(host), "%.*s", (int)(colon - address), address);
	if (host[0] == '[') {
		memmove(host, host + 1, strlen(host));
		host[strcspn(host, "]")] = 0;
	}
	if (getaddrinfo(host, colon + 1, &hints, &found))
		return -1;
	for (struct addrinfo *a = found; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(fd, a->ai_addr, a->ai_addrlen)) {
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(found);
	return fd;
}

static char *get_password(rfbClient *c)
{
	password_asked = true;
	return strdup(password ? password : "");
}

static void got_update(rfbClient *c, int x, int y, int w, int h)
{
	pixels += (uint64_t)w * (uint64_t)h;
}

static void finished_update(rfbClient *c)
{
	updates++;
}

/* What is asked for next covers all; nothing is asked for before the screen's size is known. */
static rfbBool resize(rfbClient *c)
{
	free(c->frameBuffer);
	c->frameBuffer = calloc((size_t)c->width * (size_t)c->height, 4);
	c->updateRect.x = c->updateRect.y = 0;
	c->updateRect.w = c->width;
	c->updateRect.h = c->height;
	return c->frameBuffer != NULL;
}

static rfbClient *enter(const char *address, const char *encodings)
{
	rfbClient *c = rfbGetClient(8, 3, 4);
	int fd = strncmp(address, "unix:", 5) ? connect_tcp(address) : connect_unix(address + 5);

	if (fd < 0)
		fail(NO_CONNECTION, strerror(errno));
	rfbEnableClientLogging = FALSE;
	c->sock = fd;
	c->format.redShift = 16;
	c->format.blueShift = 0;
	c->appData.encodingsString = encodings;
	c->appData.enableJPEG = FALSE;
	c->appData.shareDesktop = TRUE;
	c->canHandleNewFBSize = TRUE;
	c->GetPassword = get_password;
	c->GotFrameBufferUpdate = got_update;
	c->FinishedFrameBufferUpdate = finished_update;
	c->MallocFrameBuffer = resize;
	if (!InitialiseRFBConnection(c))
		fail(password_asked ? NO_PASSWORD : NO_CONNECTION, "the server does not let us in");
	c->width = c->si.framebufferWidth;
	c->height = c->si.framebufferHeight;
	if (!resize(c) || !SetFormatAndEncodings(c) ||
	    !SendFramebufferUpdateRequest(c, 0, 0, c->width, c->height, FALSE))
		fail(NO_CONNECTION, "the connection ended");
	return c;
}

/* One message at most. The library may have read it already. */
static void listen_until(rfbClient *c, uint64_t end_ms)
{
	uint64_t now = now_ms();
	int n = c->buffered > 0 ? 1
		: now < end_ms  ? WaitForMessage(c, (unsigned)(end_ms - now) * 1000)
				: 0;

	if (n < 0 || (n > 0 && !HandleRFBServerMessage(c)))
		fail(FAILED, "the connection ended");
}

static void wait_more(rfbClient *c, const char *what)
{
	if (now_ms() >= deadline_ms)
		fail(FAILED, what);
	listen_until(c, deadline_ms);
}

/* --- pictures ----------------------------------------------------------------------------------
 */

/* All of the screen, as it is now. */
static void see_all(rfbClient *c)
{
	uint64_t before = pixels;

	SendFramebufferUpdateRequest(c, 0, 0, c->width, c->height, FALSE);
	while (pixels - before < (uint64_t)c->width * (uint64_t)c->height)
		wait_more(c, "the screen does not come");
}

static uint8_t *as_ppm(const rfbClient *c)
{
	size_t n = (size_t)c->width * (size_t)c->height;
	uint8_t *out = malloc(n * 3 + 1);

	for (size_t i = 0; i < n; i++) {
		const uint8_t *p = c->frameBuffer + i * 4;

		out[i * 3] = p[2];
		out[i * 3 + 1] = p[1];
		out[i * 3 + 2] = p[0];
	}
	return out;
}

static void remember(const rfbClient *c)
{
	free(last);
	last = as_ppm(c);
	last_width = (unsigned)c->width;
	last_height = (unsigned)c->height;
}

static bool is_last(const rfbClient *c)
{
	uint8_t *now;
	bool same;

	if (!last || last_width != (unsigned)c->width || last_height != (unsigned)c->height)
		return false;
	now = as_ppm(c);
	same = !memcmp(now, last, (size_t)last_width * last_height * 3);
	free(now);
	return same;
}

static void shot(rfbClient *c, const char *file)
{
	FILE *f = fopen(file, "w");

	see_all(c);
	remember(c);
	if (!f)
		fail(FAILED, file);
	fprintf(f, "P6\n%u %u\n255\n", last_width, last_height);
	fwrite(last, 3, (size_t)last_width * last_height, f);
	fclose(f);
}

static void same(rfbClient *c, const char *file)
{
	FILE *f = fopen(file, "r");

	if (!f || fscanf(f, "P6 %u %u 255", &last_width, &last_height) != 2 || last_width > 16384 ||
	    last_height > 16384 || fgetc(f) == EOF)
		fail(FAILED, "no such picture");
	free(last);
	last = malloc((size_t)last_width * last_height * 3 + 1);
	if (fread(last, 3, (size_t)last_width * last_height, f) != (size_t)last_width * last_height)
		fail(FAILED, "the picture is too short");
	fclose(f);
	while (!is_last(c))
		wait_more(c, "it sees another picture");
}

/* --- steps ---------------------------------------------------------------------------------------
 */

static void press(rfbClient *c, uint32_t symbol)
{
	SendKeyEvent(c, symbol, TRUE);
	SendKeyEvent(c, symbol, FALSE);
}

/* Nanoseconds that a thread has run, when its name begins with other_threads. */
static uint64_t other_ns(const char *tid)
{
	char path[300], name[32] = "";
	unsigned long long ns = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/comm", (int)server, tid);
	f = fopen(path, "r");
	if (f && !fgets(name, sizeof(name), f))
		name[0] = 0;
	if (f)
		fclose(f);
	if (!f || strncmp(name, other_threads, strlen(other_threads)) != 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", (int)server, tid);
	f = fopen(path, "r");
	if (f && fscanf(f, "%llu", &ns) != 1)
		ns = 0;
	if (f)
		fclose(f);
	return ns;
}

static uint64_t server_ns(void)
{
	struct timespec ts;
	struct dirent *d;
	clockid_t clock;
	char path[64];
	uint64_t ns;
	DIR *tasks;

	if (!server)
		return 0;
	if (clock_getcpuclockid(server, &clock) || clock_gettime(clock, &ts))
		fail(FAILED, "there is no such process");
	ns = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)server);
	tasks = opendir(path);
	while (*other_threads && tasks && (d = readdir(tasks)))
		ns -= other_ns(d->d_name);
	if (tasks)
		closedir(tasks);
	return ns;
}

static void count(rfbClient *c, double for_seconds)
{
	uint64_t begin, end, cpu;

	see_all(c);
	begin = now_ms();
	pixels = updates = 0;
	cpu = server_ns();
	end = begin + (uint64_t)(for_seconds * 1000);
	while (now_ms() < end)
		listen_until(c, end);
	printf("%.2f %llu %llu %llu\n", (double)pixels / ((double)c->width * c->height),
	       (unsigned long long)updates, (unsigned long long)(now_ms() - begin),
	       (unsigned long long)(server_ns() - cpu) / 1000);
	fflush(stdout);
}

static void hold(rfbClient *c, double for_seconds)
{
	for (unsigned i = 0; i < 100; i++)
		SendFramebufferUpdateRequest(c, 0, 0, c->width, c->height, FALSE);
	usleep((useconds_t)(for_seconds * 1e6));
}

static void step(rfbClient *c, const char *what, const char *arg)
{
	int x, y, buttons;

	deadline_ms = now_ms() + seconds * 1000ull;
	if (!strcmp(what, "shot")) {
		shot(c, arg);
	} else if (!strcmp(what, "same")) {
		same(c, arg);
	} else if (!strcmp(what, "type")) {
		for (; *arg; arg++)
			press(c, *arg == '\n' ? XK_Return : (uint8_t)*arg);
	} else if (!strcmp(what, "key")) {
		press(c, (uint32_t)strtoul(arg, NULL, 16));
	} else if (!strcmp(what, "point") && sscanf(arg, "%d,%d,%d", &x, &y, &buttons) == 3) {
		SendPointerEvent(c, x, y, buttons);
	} else if (!strcmp(what, "count")) {
		count(c, atof(arg));
	} else if (!strcmp(what, "hold")) {
		hold(c, atof(arg));
	} else {
		fail(FAILED, "no such step");
	}
}

int main(int argc, char **argv)
{
	const char *encodings = "tight zrle hextile zlib raw";
	rfbClient *c;
	int opt;

	while ((opt = getopt(argc, argv, "+t:p:e:c:x:")) != -1) {
		if (opt == 't')
			seconds = (unsigned)atoi(optarg);
		else if (opt == 'c')
			server = atoi(optarg);
		else if (opt == 'x')
			other_threads = optarg;
		else if (opt == 'p')
			password = optarg;
		else if (opt == 'e')
			encodings = optarg;
		else
			return FAILED;
	}
	if (optind == argc)
		fail(FAILED, "HOST:PORT or unix:PATH is missing");
	c = enter(argv[optind++], encodings);
	while (optind < argc) {
		if (!strcmp(argv[optind], "changed")) {
			deadline_ms = now_ms() + seconds * 1000ull;
			while (is_last(c))
				wait_more(c, "nothing changes");
			remember(c);
			optind++;
			continue;
		}
		if (optind + 1 == argc)
			fail(FAILED, "the last step lacks its argument");
		step(c, argv[optind], argv[optind + 1]);
		optind += 2;
	}
	free(c->frameBuffer);
	c->frameBuffer = NULL;
	rfbClientCleanup(c);
	free(last);
	return 0;
}
