/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading the files named by -kernel and -initrd. Main thread.
 *
 * The kernel is mapped, because most of it is read once, by a decompressor.
 * Ramdisks and modules are read straight into guest memory.
 */
#include "loader.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gmem.h"

static int open_error(const struct boot_file *f, int code, struct err *e)
{
	switch (code) {
	case ENOENT:
	case ENOTDIR:
		err_set(e, ERR_INPUT, code, "%s %s: there is no such file", f->option, f->name);
		if (!*f->name)
			err_hint(e, "the file name is empty");
		break;
	case EACCES:
	case EPERM:
		err_set(e, ERR_INPUT, code, "%s %s: no permission to read it", f->option, f->name);
		err_hint(e, "see `ls -l` of the file and of the directories above it");
		break;
	default:
		err_set(e, ERR_INPUT, code, "%s %s: it cannot be opened (%s)", f->option, f->name,
			strerror(code));
	}
	return -code;
}

static const char *type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFIFO:
		return "a pipe";
	case S_IFSOCK:
		return "a socket";
	case S_IFBLK:
	case S_IFCHR:
		return "a device";
	default:
		return "no regular file";
	}
}

int boot_file_open(struct boot_file *f, const char *option, const char *name, struct err *e)
{
	struct stat st;

	f->option = option;
	f->name = name;
	/* O_NONBLOCK: opening a pipe must not wait for a writer. */
	f->fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	/* A socket cannot be opened; stat says why, better than ENXIO. */
	if (f->fd < 0 && !(errno == ENXIO && !stat(name, &st)))
		return open_error(f, errno, e);
	if (f->fd >= 0 && fstat(f->fd, &st) < 0) {
		int code = errno;

		boot_file_close(f);
		return open_error(f, code, e);
	}
	if (S_ISREG(st.st_mode) && st.st_size > 0) {
		f->size = (size_t)st.st_size;
		return 0;
	}
	boot_file_close(f);
	if (S_ISREG(st.st_mode))
		return err_set(e, ERR_INPUT, EINVAL, "%s %s: the file is empty", option, name);
	return err_set(e, ERR_INPUT, EINVAL, "%s %s: it is %s, not a regular file", option, name,
		       type_name(st.st_mode));
}

void boot_file_close(struct boot_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

int boot_file_read(const struct boot_file *f, void *dst, struct err *e)
{
	size_t done = 0;

	while (done < f->size) {
		ssize_t n = pread(f->fd, (char *)dst + done, f->size - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int code = errno;

			return err_set(e, ERR_INPUT, code, "%s %s: it cannot be read (%s)",
				       f->option, f->name, strerror(code));
		}
		if (!n)
			return err_set(e, ERR_INPUT, EIO,
				       "%s %s: it became shorter while it was read", f->option,
				       f->name);
		done += (size_t)n;
	}
	return 0;
}

int boot_file_map(const struct boot_file *f, struct boot_image *img, struct err *e)
{
	void *p = mmap(NULL, f->size, PROT_READ, MAP_PRIVATE, f->fd, 0);

	if (p == MAP_FAILED) {
		int code = errno;

		return err_set(e, ERR_INPUT, code, "%s %s: it cannot be mapped (%s)", f->option,
			       f->name, strerror(code));
	}
	madvise(p, f->size, MADV_WILLNEED);
	img->p = p;
	img->len = f->size;
	return 0;
}

void boot_file_unmap(struct boot_image *img)
{
	munmap((void *)img->p, img->len);
}

int boot_load_initrd(struct boot *b, uint64_t limit, uint64_t *gpa, uint64_t *size, struct err *e)
{
	uint64_t kernel_end = boot_claims_end(b);
	struct boot_file f;
	void *p;
	int ret;

	*gpa = *size = 0;
	if (!b->rq->initrd)
		return 0;
	ret = boot_file_open(&f, "-initrd", b->rq->initrd, e);
	if (ret < 0)
		return ret;
	p = boot_claim_top(b, f.size, limit, gpa);
	if (p) {
		ret = boot_file_read(&f, p, e);
		*size = f.size;
	} else {
		ret = err_set(e, ERR_INPUT, E2BIG,
			      "-initrd %s: its %s do not fit into the guest's %s beside the "
			      "kernel, which ends at %s",
			      f.name, size_text(f.size).s, size_text(b->rq->mem->ram_size).s,
			      size_text(kernel_end).s);
		if (limit < boot_ram_top(b))
			err_hint(e, "this kernel takes a ramdisk only below %s",
				 size_text(limit).s);
		else
			boot_hint_memory(e, kernel_end + f.size);
	}
	boot_file_close(&f);
	return ret;
}
