/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * observe: runs a command and measures it from outside, the same way whatever
 * the command is. For the benchmarks.
 *
 *   observe [-t SECONDS] [-e TEXT] [-k] [-m RAM_MIB] [-b TEXT -x NAME] [-l TEXT] COMMAND [ARG...]
 *
 *   -e TEXT  what to wait for on the command's standard output (default: any byte)
 *   -k       kill the command once it has come
 *   -m N     then, before that, read the command's memory use: N is the guest's RAM
 *   -b TEXT  what comes before that, and -x NAME: from there on until the other TEXT measures
 *            the time that all threads but those whose name begins with NAME run
 *   -l TEXT  repeat the line of output that has TEXT
 *   -t N     give up after N seconds (default 60)
 *
 * Prints one line: FIRST_US EXIT_US CPU_US PRIVATE_KIB OTHERS_US, and the line of -l.
 *   FIRST_US     from just before vfork() to when TEXT had been read from the pipe
 *   EXIT_US      from just before vfork() to when wait4() returned
 *   CPU_US       user and system time of the command, all its threads (wait4's rusage)
 *   OTHERS_US    what -b and -x ask for; 0 without
 *   PRIVATE_KIB  Private_Dirty of all mappings in /proc/PID/smaps plus Private_Clean of anonymous
 *                ones, without the mapping that is the guest's RAM (the largest one
 *                of at least N MiB); 0 without -m
 * FIRST_US is -1 when TEXT did not come. Exit status 0 unless nothing could be measured.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000ll + ts.tv_nsec / 1000;
}

static long private_kib(pid_t pid, long ram_mib)
{
	char path[64], line[512];
	long total = 0, mapping = 0, size = 0, v;
	long ram_size = 0, ram_private = 0;
	bool anonymous = false;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/smaps", (int)pid);
	f = fopen(path, "r");
	if (!f)
		return -1;
	while (fgets(line, sizeof line, f)) {
		unsigned long inode;

		if (sscanf(line, "%*x-%*x %*s %*x %*x:%*x %lu", &inode) == 1) {
			anonymous = inode == 0;
			mapping = 0;
		} else if (sscanf(line, "Size: %ld", &v) == 1) {
			size = v;
		} else if (sscanf(line, "Private_Dirty: %ld", &v) == 1 ||
			   (anonymous && sscanf(line, "Private_Clean: %ld", &v) == 1)) {
			total += v;
			mapping += v;
		} else if (!strncmp(line, "VmFlags:", 8) && size >= ram_mib * 1024 &&
			   size > ram_size) {
			ram_size = size;
			ram_private = mapping;
		}
	}
	fclose(f);
	return total - ram_private;
}

/* User and system time in a stat file of /proc, in clock ticks. */
static long long stat_ticks(const char *path, char *name, size_t name_size)
{
	unsigned long user = 0, sys = 0;
	char buf[1024], *open, *close;
	FILE *f = fopen(path, "r");
	size_t n;

	if (!f)
		return 0;
	n = fread(buf, 1, sizeof buf - 1, f);
	fclose(f);
	buf[n] = 0;
	open = strchr(buf, '(');
	close = strrchr(buf, ')');
	if (!open || !close)
		return 0;
	snprintf(name, name_size, "%.*s", (int)(close - open - 1), open + 1);
	sscanf(close + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys);
	return (long long)(user + sys);
}

/* What all threads of the process have used, ended ones too, but for those that are called name...
 */
static long long others_us(pid_t pid, const char *name)
{
	char path[64], found[64];
	long long ticks;
	glob_t g;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	ticks = stat_ticks(path, found, sizeof found);
	snprintf(path, sizeof path, "/proc/%d/task/*/stat", (int)pid);
	if (!glob(path, 0, NULL, &g)) {
		for (size_t i = 0; i < g.gl_pathc; i++) {
			long long t = stat_ticks(g.gl_pathv[i], found, sizeof found);

			if (!strncmp(found, name, strlen(name)))
				ticks -= t;
		}
		globfree(&g);
	}
	return ticks * 1000000 / sysconf(_SC_CLK_TCK);
}

static pid_t start(char **argv, int out)
{
	pid_t pid = vfork();

	if (!pid) {
		dup2(out, 1);
		execvp(argv[0], argv);
		_exit(127);
	}
	return pid;
}

int main(int argc, char **argv)
{
	const char *text = NULL, *before = NULL, *except = NULL, *wanted = NULL, *line;
	long ram_mib = 0, kib = 0, seconds = 60;
	long long t0, first = -1, end, deadline, others = 0;
	bool kill_it = false;
	char buf[65537] = "";
	size_t n = 0;
	struct rusage ru;
	int p[2], c;
	pid_t pid;

	while ((c = getopt(argc, argv, "+t:e:km:b:x:l:")) != -1) {
		switch (c) {
		case 't':
			seconds = atol(optarg);
			break;
		case 'e':
			text = optarg;
			break;
		case 'k':
			kill_it = true;
			break;
		case 'm':
			ram_mib = atol(optarg);
			break;
		case 'b':
			before = optarg;
			break;
		case 'l':
			wanted = optarg;
			break;
		case 'x':
			except = optarg;
			break;
		default:
			return 64;
		}
	}
	if (optind == argc || !before != !except || (before && !text) || pipe2(p, O_CLOEXEC)) {
		fprintf(stderr, "observe: %s\n", optind == argc ? "no command" : strerror(errno));
		return 64;
	}
	t0 = now_us();
	deadline = t0 + seconds * 1000000;
	pid = start(argv + optind, p[1]);
	close(p[1]);
	for (;;) {
		struct pollfd pfd = { .fd = p[0], .events = POLLIN };
		long long left = deadline - now_us();
		ssize_t r;

		if (left <= 0 || poll(&pfd, 1, (int)(left / 1000 + 1)) <= 0)
			break;
		r = read(p[0], buf + n, sizeof buf - 1 - n);
		if (r <= 0)
			break;
		n += (size_t)r;
		buf[n] = 0;
		if (before && memmem(buf, n, before, strlen(before))) {
			others = others_us(pid, except);
			before = NULL;
		}
		if (first < 0 && (!text || memmem(buf, n, text, strlen(text)))) {
			first = now_us();
			if (except)
				others = others_us(pid, except) - others;
			if (ram_mib) {
				usleep(100000); /* start-up's last bits */
				kib = private_kib(pid, ram_mib);
			}
			if (kill_it)
				break;
		}
		if (n == sizeof buf - 1) { /* keep the end: the text may go on in what comes next */
			memmove(buf, buf + n - 256, 256);
			n = 256;
		}
	}
	if (pid > 0 && (kill_it || now_us() >= deadline))
		kill(pid, SIGKILL);
	if (pid < 0 || wait4(pid, &c, 0, &ru) != pid)
		return 71;
	end = now_us();
	printf("%lld %lld %lld %ld %lld", first < 0 ? -1 : first - t0, end - t0,
	       (ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000ll + ru.ru_utime.tv_usec +
		       ru.ru_stime.tv_usec,
	       kib, others);
	line = wanted ? memmem(buf, n, wanted, strlen(wanted)) : NULL;
	if (line)
		printf(" %.*s", (int)strcspn(line, "\r\n"), line);
	putchar('\n');
	return WIFEXITED(c) && WEXITSTATUS(c) == 127 ? 127 : 0;
}
