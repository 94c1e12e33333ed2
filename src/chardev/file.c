/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file backend: output to a file, or to a FIFO or device. No input. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "chardev_int.h"
#include "err.h"

struct file {
	struct chardev c;
	char *path;
	bool append;
	int fd;
};

static int file_open(struct chardev *c, struct err *e)
{
	struct file *f = (struct file *)c;
	int code;

	f->fd = -1;
	if (!f->path || !*f->path)
		return err_set(e, ERR_USAGE, EINVAL, "path= is missing: which file?");
	/* O_NONBLOCK means nothing to a file, but a FIFO must not hold up a vCPU. */
	f->fd = open(f->path,
		     O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK |
			     (f->append ? O_APPEND : O_TRUNC),
		     0666);
	if (f->fd < 0) {
		code = errno;
		if (code == ENXIO)
			err_set(e, ERR_INPUT, code, "cannot open '%s': nobody reads from it",
				f->path);
		else
			err_set(e, ERR_INPUT, code, "cannot open '%s' for writing: %s", f->path,
				strerror(code));
		if (code == EACCES || code == EROFS || code == ENOENT || code == EISDIR)
			err_hint(
				e,
				"name a file in a directory that exists and that you may write to");
		return -code;
	}
	snprintf(c->desc, sizeof(c->desc), "file:%s", f->path);
	chardev_connect(c, -1, f->fd);
	return 0;
}

static void file_close(struct chardev *c)
{
	struct file *f = (struct file *)c;

	if (f->fd >= 0)
		close(f->fd);
}

static const struct prop file_props[] = {
	CHARDEV_PROPS,
	PROP(struct file, path, PROP_STR, "path", NULL, "the file; made when it does not exist"),
	PROP(struct file, append, PROP_BOOL, "append", "off", "add to the file, do not empty it"),
	PROP_END,
};

const struct chardev_backend chardev_file = {
	.name = "file",
	.help = "output to a file, FIFO or device, no input",
	.size = sizeof(struct file),
	.props = file_props,
	.open = file_open,
	.close = file_close,
};
