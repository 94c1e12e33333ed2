/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who listens on a TCP port: the socket's inode is in /proc/net/tcp (proc(5)), and who has it
 * open in /proc/PID/fd. Of other users' processes that is root's to see. Any thread.
 */
#include "port_owner.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LISTENS = 0x0a };

/* Of the socket that listens on it; 0: there is none. */
static unsigned long inode_in(const char *file, unsigned port)
{
	unsigned long inode, found = 0;
	unsigned local, state;
	char line[512];
	FILE *f = fopen(file, "re");

	while (f && !found && fgets(line, sizeof(line), f))
		if (sscanf(line, " %*d: %*[0-9A-F]:%x %*[0-9A-F]:%*x %x %*s %*s %*s %*d %*d %lu",
			   &local, &state, &inode) == 3 &&
		    local == port && state == LISTENS)
			found = inode;
	if (f)
		fclose(f);
	return found;
}

static bool has_open(const char *pid, const char *link)
{
	char path[300], target[64];
	struct dirent *d;
	bool found = false;
	DIR *fds;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	fds = opendir(path);
	while (fds && !found && (d = readdir(fds))) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%s/fd/%s", pid, d->d_name);
		n = readlink(path, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = 0;
		found = !strcmp(target, link);
	}
	if (fds)
		closedir(fds);
	return found;
}

static void name_of(const char *pid, char *out, size_t room)
{
	char path[300], name[32] = "?";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	f = fopen(path, "re");
	if (f && fgets(name, sizeof(name), f))
		name[strcspn(name, "\n")] = 0;
	if (f)
		fclose(f);
	snprintf(out, room, "%s (process %s)", name, pid);
}

bool port_owner(unsigned port, char *out, size_t room)
{
	unsigned long inode = inode_in("/proc/net/tcp", port);
	struct dirent *d;
	char link[64];
	bool found = false;
	DIR *proc;

	if (!inode)
		inode = inode_in("/proc/net/tcp6", port);
	if (!inode)
		return false;
	snprintf(link, sizeof(link), "socket:[%lu]", inode);
	proc = opendir("/proc");
	while (proc && !found && (d = readdir(proc))) {
		found = isdigit((unsigned char)d->d_name[0]) && has_open(d->d_name, link);
		if (found)
			name_of(d->d_name, out, room);
	}
	if (proc)
		closedir(proc);
	return found;
}
