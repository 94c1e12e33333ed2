/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Image locking, as QEMU and its tools do it, so that all exclude one another:
 * open file description locks (fcntl(2), F_OFD_SETLK), always shared ones, on
 * single bytes of the image. Byte 100 + n is locked by those who do n, byte
 * 200 + n by those who do not let others do n. Whoever begins locks its
 * bytes and looks whether another has the counterpart of any. Main thread.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "file_int.h"
#include "log.h"

enum {
	DO = 100,
	DENY = 200,
	/* n */
	CONSISTENT_READ = 0,
	WRITE = 1,
	RESIZE = 3,
	N = 4,
};

/*
 * A process that was killed may be gone before its locks are: requests of io_uring hold
 * the file until they end. So locks that no process has are waited for.
 */
enum { ORPHAN_MS = 1000, ORPHAN_RETRY_MS = 10 };

/* type: F_RDLCK, F_UNLCK. -errno. */
static int set_bytes(int fd, int byte, int n, short type)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = n };

	return fcntl(fd, F_OFD_SETLK, &l) ? -errno : 0;
}

static void unlock(int fd)
{
	set_bytes(fd, DO, N, F_UNLCK);
	set_bytes(fd, DENY, N, F_UNLCK);
}

/* 1: another has it; 0: free; -errno. */
static int is_locked(int fd, int byte)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	if (fcntl(fd, F_OFD_GETLK, &l))
		return -errno;
	return l.l_type != F_UNLCK;
}

static int try_lock(int fd, unsigned does, unsigned denies, int *byte)
{
	int ret = 0;

	for (int n = 0; !ret && n < N; n++) {
		if (does & 1u << n)
			ret = set_bytes(fd, *byte = DO + n, 1, F_RDLCK);
		if (!ret && denies & 1u << n)
			ret = set_bytes(fd, *byte = DENY + n, 1, F_RDLCK);
	}
	for (int n = 0; !ret && n < N; n++) {
		if (does & 1u << n)
			ret = is_locked(fd, *byte = DENY + n);
		if (!ret && denies & 1u << n)
			ret = is_locked(fd, *byte = DO + n);
	}
	return ret == 1 || ret == -EACCES ? -EAGAIN : ret;
}

/* --- who has it --- */

/* Whether the descriptor's description holds a lock on byte. */
static bool fdinfo_has(const char *path, int byte)
{
	uint64_t from, to;
	char line[256], end[32];
	bool has = false;
	FILE *f = fopen(path, "re");

	while (f && !has && fgets(line, sizeof(line), f))
		if (sscanf(line, "lock: %*s OFDLCK %*s %*s %*s %*s %" SCNu64 " %31s", &from, end) ==
		    2) {
			to = strcmp(end, "EOF") ? strtoull(end, NULL, 10) : UINT64_MAX;
			has = from <= (uint64_t)byte && (uint64_t)byte <= to;
		}
	if (f)
		fclose(f);
	return has;
}

/* Whether process pid has the file of st open, but for descriptor own, with a lock on byte. */
static bool pid_has(const char *pid, const struct stat *st, int own, int byte)
{
	char path[300];
	struct dirent *d;
	struct stat other;
	bool has = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	dir = opendir(path);
	while (dir && !has && (d = readdir(dir))) {
		if (!isdigit((unsigned char)d->d_name[0]) || atoi(d->d_name) == own ||
		    fstatat(dirfd(dir), d->d_name, &other, 0) || other.st_ino != st->st_ino ||
		    other.st_dev != st->st_dev)
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/fdinfo/%.20s", pid, d->d_name);
		has = fdinfo_has(path, byte);
	}
	if (dir)
		closedir(dir);
	return has;
}

/* 0: not found, for it may belong to another user. */
static long find_holder(int fd, int byte)
{
	DIR *dir = opendir("/proc");
	struct dirent *d;
	struct stat st;
	long pid = 0;

	if (fstat(fd, &st))
		st.st_ino = 0;
	while (dir && !pid && (d = readdir(dir))) {
		if (!isdigit((unsigned char)d->d_name[0]))
			continue;
		if (pid_has(d->d_name, &st, atol(d->d_name) == getpid() ? fd : -1, byte))
			pid = atol(d->d_name);
	}
	if (dir)
		closedir(dir);
	return pid;
}

/* "process 1234 (name)" */
static void name_holder(long pid, char *text, size_t size)
{
	char path[64], comm[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
	f = pid ? fopen(path, "re") : NULL;
	if (f && fgets(comm, sizeof(comm), f))
		comm[strcspn(comm, "\n")] = 0;
	if (f)
		fclose(f);
	if (!pid)
		snprintf(text, size, "another process");
	else if (!*comm)
		snprintf(text, size, "process %ld", pid);
	else
		snprintf(text, size, "process %ld (%s)", pid, comm);
}

static int in_use(const struct file *f, long pid, bool write, int byte, struct err *e)
{
	char who[80];

	if (pid == getpid()) {
		err_set(e, ERR_INPUT, EBUSY, "'%s': another drive of this virtual machine has it",
			f->filename);
		err_hint(e, "give each drive an image of its own, or readonly=on to both");
		return -EBUSY;
	}
	name_holder(pid, who, sizeof(who));
	if (byte < DENY)
		err_set(e, ERR_INPUT, EBUSY, "'%s' is being written by %s", f->filename, who);
	else
		err_set(e, ERR_INPUT, EBUSY, "'%s' is in use by %s, which lets nobody else %s it",
			f->filename, who, byte == DENY + CONSISTENT_READ ? "read" : "write");
	err_hint(e, "stop that first%s; share-rw=on is for those who know that both can have it",
		 write && byte >= DENY ? ", or add readonly=on" : "");
	return -EBUSY;
}

static int no_locks(const struct file *f, int ret, struct err *e)
{
	if (f->locking == FILE_LOCK_ON) {
		err_set(e, ERR_INPUT, -ret, "'%s': its file system refuses locks: %s", f->filename,
			strerror(-ret));
		err_hint(e, "leave out locking=on, and see that no other program uses the image");
		return ret;
	}
	log_warn("'%s' cannot be locked (%s): see that no other program uses it", f->filename,
		 strerror(-ret));
	return 0;
}

void file_unlock(const struct file *f)
{
	if (f->node->open.locking && f->locking != FILE_LOCK_OFF)
		unlock(f->fd);
}

int file_lock(struct file *f, bool write, struct err *e)
{
	unsigned denies = f->node->open.share_rw ? 0 : 1u << WRITE | 1u << RESIZE;
	unsigned does = 1u << CONSISTENT_READ | (write ? 1u << WRITE | 1u << RESIZE : 0);
	int byte, ret;
	long pid = 0;

	if (!f->node->open.locking || f->locking == FILE_LOCK_OFF)
		return 0;
	for (unsigned tries = ORPHAN_MS / ORPHAN_RETRY_MS;; tries--) {
		ret = try_lock(f->fd, does, denies, &byte);
		if (!ret)
			return 0;
		if (ret == -EAGAIN)
			pid = find_holder(f->fd, byte);
		if (ret != -EAGAIN || pid || !tries)
			break;
		unlock(f->fd);
		usleep(ORPHAN_RETRY_MS * 1000);
	}
	ret = ret == -EAGAIN ? in_use(f, pid, write, byte, e) : no_locks(f, ret, e);
	unlock(f->fd);
	return ret;
}
