/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dirty FILE: prints how many pages of a file the host has in memory alone: written to,
 * but not on the disk yet. So a test can tell whether a flush came through (cachestat(2),
 * Linux 6.5).
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

struct range {
	uint64_t off, len;
};
struct pages {
	uint64_t cache, dirty, writeback, evicted, recently_evicted;
};

int main(int argc, char **argv)
{
	struct range all = { 0, 0 };
	struct pages n;
	int fd = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0 || syscall(SYS_cachestat, fd, &all, &n, 0)) {
		perror("dirty");
		return 1;
	}
	printf("%llu\n", (unsigned long long)(n.dirty + n.writeback));
	return 0;
}
