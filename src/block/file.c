/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The drivers `file` and `host_device`: a regular file or a block device of the host
 * at the bottom of a tree of nodes. Opening, sizes and holes; requests are in
 * file_io.c, locks in file_lock.c. Threads as block_int.h says.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "err.h"
#include "file_int.h"
#include "log.h"
#include "props.h"

extern const struct blk_driver blk_file, blk_host_device;

static const char *const locking_choices[] = { "auto", "on", "off", NULL };

static const struct prop file_props[] = {
	PROP(struct file, filename, PROP_STR, "filename", NULL, "the file or block device"),
	PROP_CHOICE(struct file, locking, "locking", "auto", locking_choices,
		    "lock it against other programs"),
	PROP_END,
};

/* --- opening ------------------------------------------------------------------------- */

static const char *kind_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFIFO:
		return "a FIFO";
	case S_IFSOCK:
		return "a socket";
	case S_IFCHR:
		return "a character device";
	case S_IFBLK:
		return "a block device";
	default:
		return "a regular file";
	}
}

static int check_kind(const struct file *f, mode_t mode, struct err *e)
{
	if (S_ISREG(mode) && f->node->drv == &blk_host_device) {
		err_set(e, ERR_INPUT, EINVAL, "'%s' is a regular file, not a block device",
			f->filename);
		err_hint(e, "use driver=file");
		return -EINVAL;
	}
	if (S_ISREG(mode) || S_ISBLK(mode))
		return 0;
	err_set(e, ERR_INPUT, S_ISDIR(mode) ? EISDIR : EINVAL, "'%s' is %s, not a disk image",
		f->filename, kind_of(mode));
	err_hint(e, "name a regular file or a block device");
	return S_ISDIR(mode) ? -EISDIR : -EINVAL;
}

static int cannot_open(const struct file *f, int code, struct err *e)
{
	err_set(e, ERR_INPUT, code, "cannot open '%s': %s", f->filename, strerror(code));
	if (code == ENOENT)
		err_hint(e, "look at the name, or make an empty disk of 8 GiB: truncate -s 8G %s",
			 f->filename);
	else if (code == EACCES || code == EPERM)
		err_hint(e, "ls -l shows who may use it; a disk of the host needs group 'disk' or "
			    "root");
	else if (code == EMFILE)
		err_hint(e, "raise the limit on open files (ulimit -n)");
	return -code;
}

/* O_NONBLOCK: what turns out to be a FIFO or a device without a medium must not hang us. */
static int open_how(const struct file *f, bool write, bool direct)
{
	/* A device that is written: not while it is mounted, nor may it be from now on. */
	bool claim = write && f->blkdev && f->node->open.locking && !f->node->open.share_rw;
	int fd = open(f->filename, O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (write ? O_RDWR : O_RDONLY) |
					   (direct ? O_DIRECT : 0) | (claim ? O_EXCL : 0));
	int on;

	/* A write-protected device may be opened for writing all the same. */
	if (fd >= 0 && write && !ioctl(fd, BLKROGET, &on) && on) {
		close(fd);
		errno = EROFS;
		fd = -1;
	}
	return fd;
}

static bool refuses_writers(int code)
{
	return code == EACCES || code == EROFS || code == EPERM;
}

static int cannot_write(const struct file *f, int code, struct err *e)
{
	err_set(e, ERR_INPUT, code, "cannot open '%s' for writing: %s", f->filename,
		strerror(code));
	err_hint(e, "add readonly=on if the guest need not write to it, or allow writing (chmod, "
		    "remount)");
	return -code;
}

static int no_direct(const struct file *f, struct err *e)
{
	err_set(e, ERR_INPUT, EINVAL,
		"'%s': its file system refuses O_DIRECT, which cache=none and cache=directsync use",
		f->filename);
	err_hint(e, "use cache=writeback (cache.direct=off)");
	return -EINVAL;
}

/* Fills f->fd and f->node->readonly. */
static int open_fd(struct file *f, struct err *e)
{
	struct blk_node *n = f->node;
	int code, fd;

	f->fd = open_how(f, !n->readonly, f->direct);
	if (f->fd >= 0)
		return 0;
	code = errno;
	if (code == EINVAL && f->direct && (fd = open_how(f, !n->readonly, false)) >= 0) {
		close(fd);
		return no_direct(f, e);
	}
	if (code == EBUSY && f->blkdev && !n->readonly)
		return file_claimed(f, e);
	if (n->readonly || !refuses_writers(code))
		return cannot_open(f, code, e);
	f->fd = open_how(f, false, f->direct);
	if (f->fd < 0)
		return cannot_open(f, errno, e);
	if (!n->open.auto_readonly)
		return cannot_write(f, code, e);
	n->readonly = true;
	return 0;
}

static int open_image(struct file *f, struct err *e)
{
	struct stat st;
	int ret;

	/* Before it is opened, as that moves a tape or sets a watchdog off. */
	if (stat(f->filename, &st))
		return cannot_open(f, errno, e);
	ret = check_kind(f, st.st_mode, e);
	f->blkdev = S_ISBLK(st.st_mode);
	if (!ret)
		ret = open_fd(f, e);
	if (ret)
		return ret;
	if (fstat(f->fd, &st))
		return cannot_open(f, errno, e);
	ret = check_kind(f, st.st_mode, e);
	if (ret)
		return ret;
	f->blkdev = S_ISBLK(st.st_mode);
	/* io_uring takes it as a wish to be told EAGAIN. */
	if (fcntl(f->fd, F_SETFL, fcntl(f->fd, F_GETFL) & ~O_NONBLOCK))
		return cannot_open(f, errno, e);
	return 0;
}

/* --- sizes ---------------------------------------------------------------------------- */

static int read_size(struct file *f, struct err *e)
{
	struct stat st;
	uint64_t size;

	if (f->blkdev ? ioctl(f->fd, BLKGETSIZE64, &size) : fstat(f->fd, &st))
		return err_set(e, ERR_INPUT, errno, "cannot find out the size of '%s': %s",
			       f->filename, strerror(errno));
	f->node->size = f->blkdev ? size : (uint64_t)st.st_size;
	return 0;
}

/* From a kernel that does not tell: the smallest of which a read is taken. */
static uint32_t probe_align(const struct file *f, bool memory)
{
	static const uint32_t sizes[] = { 512, 1024, 2048, 4096 };
	void *buf;
	uint32_t a = 4096;

	if (posix_memalign(&buf, 4096, 3 * 4096))
		return a;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char *to = memory ? (char *)buf + sizes[i] : buf;

		/* An empty file says nothing. */
		if (pread(f->fd, to, memory ? 4096 : sizes[i], 0) > 0) {
			a = sizes[i];
			break;
		}
	}
	free(buf);
	return a;
}

static bool is_align(uint32_t a)
{
	return a && !(a & (a - 1)) && a <= 1 << 20;
}

static void find_align(struct file *f)
{
	struct statx sx = { 0 };

	f->align = f->mem_align = 1;
	if (!f->direct)
		return;
	if (!statx(f->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) &&
	    (sx.stx_mask & STATX_DIOALIGN) && is_align(sx.stx_dio_offset_align) &&
	    is_align(sx.stx_dio_mem_align)) {
		f->align = sx.stx_dio_offset_align;
		f->mem_align = sx.stx_dio_mem_align;
		return;
	}
	f->align = f->blkdev ? f->sector : probe_align(f, false);
	f->mem_align = probe_align(f, true);
}

static void find_sector(struct file *f)
{
	int size;

	f->sector = 1;
	if (f->blkdev && !ioctl(f->fd, BLKSSZGET, &size) && is_align((uint32_t)size))
		f->sector = (uint32_t)size;
}

static void fill_limits(struct file *f)
{
	struct blk_limits *lim = &f->node->lim;
	unsigned physical = 0, best = 0;
	struct stat st;

	if (f->blkdev && (ioctl(f->fd, BLKPBSZGET, &physical) || !is_align(physical)))
		physical = 0;
	if (f->blkdev && ioctl(f->fd, BLKIOOPT, &best))
		best = 0;
	lim->align = f->align;
	lim->mem_align = f->mem_align;
	lim->max_iov = 1024;
	lim->max_len = 1u << 30;
	lim->block_size = physical ? physical : f->align > 512 ? f->align : 512;
	lim->opt_io = best;
	lim->discard_align = f->blkdev ? f->sector : 512;
	if (!f->blkdev && !fstat(f->fd, &st) && is_align((uint32_t)st.st_blksize))
		lim->discard_align = (uint32_t)st.st_blksize;
}

/* --- life ----------------------------------------------------------------------------- */

static int file_attach(struct blk_node *n, struct loop *l, struct err *e)
{
	struct file *f = n->p;
	struct aio *a;
	int ret = aio_get(l, n->open.aio, f->direct, &a, e);

	if (!ret)
		f->aio = a;
	return ret;
}

static void file_detach(struct blk_node *n)
{
	struct file *f = n->p;

	if (f->aio != f->idle)
		aio_put(f->aio);
	f->aio = f->idle;
}

static void file_close(struct blk_node *n)
{
	struct file *f = n->p;

	if (!f->node) /* never came to open */
		return;
	file_detach(n);
	aio_put(f->idle);
	f->idle = f->aio = NULL;
	file_io_free(f);
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

/*
 * Ext4 reserves room for data in the page cache block by block (delayed allocation), which
 * takes it longer than to allocate all of a long run at once, and to copy the data then.
 */
static bool counts_blocks(const struct file *f)
{
	struct statfs s;

	return !fstatfs(f->fd, &s) && s.f_type == EXT4_SUPER_MAGIC;
}

static int file_open(struct blk_node *n, struct err *e)
{
	struct file *f = n->p;
	int ret;

	f->node = n;
	f->fd = -1;
	f->direct = n->open.direct;
	file_io_init(f);
	if (!f->filename || !*f->filename) {
		err_set(e, ERR_USAGE, EINVAL, "driver=%s: filename= is missing", n->drv->name);
		err_hint(e, "name a disk image or a block device");
		return -EINVAL;
	}
	ret = open_image(f, e);
	if (!ret)
		ret = read_size(f, e);
	if (!ret)
		ret = file_lock(f, !n->readonly, e);
	if (ret)
		return ret;
	find_sector(f);
	find_align(f);
	fill_limits(f);
	f->room_first = n->open.bulk && !f->direct && !f->blkdev && counts_blocks(f);
	ret = aio_get(NULL, n->open.aio, f->direct, &f->idle, e);
	f->aio = f->idle;
	return ret;
}

static void file_poll(struct blk_node *n)
{
	aio_poll(((struct file *)n->p)->aio);
}

static unsigned file_in_flight(const struct blk_node *n)
{
	return ((const struct file *)n->p)->in_flight;
}

static int file_refresh(struct blk_node *n, struct err *e)
{
	return read_size(n->p, e);
}

/* Of the same file, whatever has its name by now: /proc has the one that is open. */
static int open_again(const struct file *f, bool write)
{
	struct stat was, is;
	char path[40];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
	fd = open(path,
		  O_CLOEXEC | O_NOCTTY | (write ? O_RDWR : O_RDONLY) | (f->direct ? O_DIRECT : 0));
	if (fd >= 0 || errno != ENOENT)
		return fd;
	fd = open_how(f, write, f->direct);
	if (fd >= 0 && (fstat(fd, &is) || fstat(f->fd, &was) || is.st_ino != was.st_ino ||
			is.st_dev != was.st_dev)) {
		close(fd);
		fd = -1;
		errno = ESTALE;
	}
	return fd;
}

/* The lock follows: this process must not stand in its own way. */
static int file_reopen(struct blk_node *n, struct err *e)
{
	struct file *f = n->p;
	int old = f->fd, fd = open_again(f, !n->readonly), rc;

	if (fd < 0)
		return errno == EBUSY && f->blkdev ? file_claimed(f, e) : cannot_write(f, errno, e);
	file_unlock(f);
	f->fd = fd;
	rc = file_lock(f, !n->readonly, e);
	if (rc) {
		f->fd = old;
		if (file_lock(f, n->readonly, NULL))
			log_warn("'%s' is no longer locked", f->filename);
		close(fd);
		return rc;
	}
	close(old);
	return 0;
}

static int file_truncate(struct blk_node *n, uint64_t size, struct err *e)
{
	struct file *f = n->p;
	int code;

	if (f->blkdev) {
		/* The host may have changed it. */
		int rc = read_size(f, e);

		if (rc)
			return rc;
		if (size <= n->size)
			return 0; /* a device is as large as it is; the image uses less of it */
		err_set(e, ERR_INPUT, ENOTSUP,
			"'%s' has %" PRIu64 " bytes and cannot grow to %" PRIu64
			": it is a block device",
			f->filename, n->size, size);
		err_hint(e, "grow it by the host's means (lvextend, losetup -c) first");
		return -ENOTSUP;
	}
	if (!ftruncate(f->fd, (off_t)size)) {
		n->size = size;
		return 0;
	}
	code = errno;
	err_set(e, ERR_INPUT, code, "cannot set the size of '%s' to %" PRIu64 " bytes: %s",
		f->filename, size, strerror(code));
	if (code == EFBIG)
		err_hint(e, "its file system holds no file as large (see also ulimit -f)");
	return -code;
}

static int file_status(struct blk_node *n, uint64_t off, uint64_t len, uint64_t *bytes,
		       unsigned *flags)
{
	struct file *f = n->p;
	off_t data, hole;

	*bytes = len;
	*flags = BLK_DATA | BLK_ALLOCATED;
	data = lseek(f->fd, (off_t)off, SEEK_DATA);
	if (data < 0 && errno != ENXIO) /* it does not tell */
		return 0;
	if (data != (off_t)off) { /* ENXIO: a hole up to the end */
		*flags = BLK_ZERO | BLK_ALLOCATED;
		if (data >= 0 && (uint64_t)data - off < len)
			*bytes = (uint64_t)data - off;
		return 0;
	}
	hole = lseek(f->fd, data, SEEK_HOLE);
	if (hole > data && (uint64_t)(hole - data) < len)
		*bytes = (uint64_t)(hole - data);
	return 0;
}

static void file_describe(const struct blk_node *n, FILE *out)
{
	const struct file *f = n->p;

	fprintf(out, "aio %s%s", aio_name(f->aio), f->direct ? ", O_DIRECT" : "");
}

#define FILE_DRIVER(drv_name, text)                                                                \
	{                                                                                          \
		.name = (drv_name), .desc = (text), .protocol = true, .size = sizeof(struct file), \
		.props = file_props, .open = file_open, .close = file_close,                       \
		.submit = file_submit, .poll = file_poll, .in_flight = file_in_flight,             \
		.reopen = file_reopen, .attach = file_attach, .detach = file_detach,               \
		.refresh = file_refresh, .truncate = file_truncate, .status = file_status,         \
		.describe = file_describe,                                                         \
	}

const struct blk_driver blk_file = FILE_DRIVER("file", "a regular file");
const struct blk_driver blk_host_device = FILE_DRIVER("host_device", "a block device of the host");
