/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The null backend: output vanishes, there is no input. */
#include "chardev_int.h"

static int null_open(struct chardev *c, struct err *e)
{
	chardev_connect(c, -1, -1);
	return 0;
}

static const struct prop null_props[] = { CHARDEV_PROPS, PROP_END };

const struct chardev_backend chardev_null = {
	.name = "null",
	.help = "output vanishes, no input",
	.size = sizeof(struct chardev),
	.props = null_props,
	.open = null_open,
};
