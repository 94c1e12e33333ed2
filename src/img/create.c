/* SPDX-License-Identifier: GPL-2.0-or-later */
/* posada-img create, and what others need to make images. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../block/internal.h"
#include "img.h"
#include "props.h"

/* --- -o help --- */

bool img_wants_help(const struct opts *o)
{
	for (size_t i = 0; i < o->n; i++)
		if (!strcmp(o->opt[i].key, "help") || !strcmp(o->opt[i].key, "?"))
			return true;
	return false;
}

static const struct {
	const char *name, *help;
	enum prop_type type;
} general[] = {
	{ "backing_file", "File name of a base image", PROP_STR },
	{ "backing_fmt", "Image format of the base image", PROP_STR },
	{ "size", "Virtual disk size", PROP_SIZE },
};

static bool has_backing(const struct blk_driver *drv)
{
	return drv->image && drv->image->backing_name;
}

static void help_line(const char *name, enum prop_type type, const char *help)
{
	char label[96];
	const char *t = "num";

	if (type == PROP_BOOL)
		t = "bool (on/off)";
	else if (type == PROP_SIZE)
		t = "size";
	else if (type == PROP_STR || type == PROP_ENUM)
		t = "str";
	snprintf(label, sizeof(label), "%s=<%s>", name, t);
	printf("  %-22s - %s\n", label, help ? help : "");
}

void img_amend_help(const struct blk_driver *drv)
{
	printf("Amend options for '%s':\n", drv->name);
	for (const struct prop *p = drv->image->amend_props; p && p->name; p++)
		help_line(p->name, p->type, p->help);
}

/* By name, whichever table they are in. */
void img_options_help(const struct blk_driver *drv, bool file)
{
	const struct prop *props = drv->image ? drv->image->create_props : NULL;
	const char *last = "";

	if (file)
		printf("Supported options:\n");
	else
		printf("Supported %s options:\n", drv->name);
	for (;;) {
		const char *next = NULL, *help = NULL;
		enum prop_type type = PROP_STR;

		for (const struct prop *p = props; p && p->name; p++) {
			if (strcmp(p->name, last) > 0 && (!next || strcmp(p->name, next) < 0)) {
				next = p->name;
				help = p->help;
				type = p->type;
			}
		}
		for (unsigned i = has_backing(drv) ? 0 : 2; i < ARRAY_SIZE(general); i++) {
			const char *name = general[i].name;

			if (strcmp(name, last) > 0 && (!next || strcmp(name, next) < 0)) {
				next = name;
				help = general[i].help;
				type = general[i].type;
			}
		}
		if (!next)
			return;
		help_line(next, type, help);
		last = next;
	}
}

/* --- options of a new image --- */

static int out_of_memory(void)
{
	img_fail("out of memory");
	return -ENOMEM;
}

static int take_general(struct img_new *n, struct opts *o)
{
	const char *size = opts_get(o, "size");
	const char *backing = opts_get(o, "backing_file");
	const char *format = opts_get(o, "backing_fmt");
	unsigned sizes = 0;
	int rc;

	for (size_t i = 0; i < o->n; i++)
		sizes += !strcmp(o->opt[i].key, "size");
	if (sizes > 1) {
		img_fail("The image size must be specified only once");
		return -EINVAL;
	}
	if (size) {
		rc = img_size("image size", size, &n->c.size);
		if (rc)
			return rc;
		n->have_size = true;
	}
	if (backing && *backing && !(n->backing = strdup(backing)))
		return out_of_memory();
	if (format && !(n->backing_format = strdup(format)))
		return out_of_memory();
	return 0;
}

static int take_props(struct img_new *n, struct opts *o)
{
	const struct prop *props = n->drv->image->create_props;
	const char *names[BLK_KNOWN_MAX];
	size_t known = 0;
	struct err e;
	int rc = 0;

	for (const struct prop *p = props; p && p->name && known < BLK_KNOWN_MAX - 3; p++) {
		const char *val = opts_get(o, p->name);

		names[known++] = p->name;
		if (val && !rc)
			rc = props_set(props, n->opts, p->name, val, &e);
	}
	for (unsigned i = has_backing(n->drv) ? 0 : 2; i < ARRAY_SIZE(general); i++)
		names[known++] = general[i].name;
	if (!rc)
		rc = opts_check_used(o, names, known, &e);
	if (!rc)
		return 0;
	err_prefix(&e, "Invalid parameter: ");
	img_error(&e);
	return rc;
}

int img_new_init(struct img_new *n, const struct blk_driver *drv, struct opts *o)
{
	int rc;

	*n = (struct img_new){ .drv = drv, .how = { .locking = true, .discard = true } };
	if (!drv->image || !drv->image->create) {
		img_fail("Format driver '%s' does not support image creation", drv->name);
		return -ENOTSUP;
	}
	n->opts = calloc(1, drv->image->create_size ? drv->image->create_size : 1);
	if (!n->opts)
		return out_of_memory();
	n->c.opts = n->opts;
	n->c.how = &n->how;
	props_defaults(drv->image->create_props, n->opts);
	rc = take_general(n, o);
	return rc ? rc : take_props(n, o);
}

void img_new_free(struct img_new *n)
{
	if (n->drv && n->drv->image)
		props_free(n->drv->image->create_props, n->opts);
	free(n->opts);
	free(n->backing);
	free(n->backing_format);
}

/* What was not there before a failure is not there afterwards. */
static void clean_up(const char *name, bool existed)
{
	const char *path = strncmp(name, "file:", 5) ? name : name + 5;

	if (!existed)
		unlink(path);
}

static bool exists(const char *name)
{
	return !name || !access(strncmp(name, "file:", 5) ? name : name + 5, F_OK);
}

/* The data file would be emptied, and the backing file with it. */
static int check_data(const struct img_new *n, const char *filename, const char *data)
{
	char *path;
	int rc = 0;

	if (!data || !n->backing)
		return 0;
	path = img_backing_path(filename, n->backing);
	if (!path)
		return out_of_memory();
	if (img_same_file(path, data)) {
		img_fail("%s: data_file: '%s' is the backing file", filename, data);
		rc = -EINVAL;
	}
	free(path);
	return rc;
}

int img_new_make(struct img_new *n, const char *filename)
{
	char buf[64];
	const char *data = img_new_get(n, "data_file", buf);
	bool existed = exists(filename), data_existed = exists(data);
	struct err e;
	int rc = check_data(n, filename, data);

	if (rc)
		return rc;
	/* Disks consist of sectors. */
	n->c.size = (n->c.size + 511) & ~511ull;
	n->c.backing = n->backing;
	n->c.backing_format = n->backing_format;
	n->how.loop = img_loop(NULL);
	rc = n->drv->image->create(filename, &n->c, &e);
	if (!rc)
		return 0;
	clean_up(filename, existed);
	clean_up(data ? data : "", data_existed);
	err_prefix(&e, "%s: ", filename);
	img_error(&e);
	if (rc == -ENOSPC || rc == -EDQUOT)
		img_no_room(filename, n->c.size);
	return rc;
}

static const char *number(char buf[64], uint64_t v)
{
	snprintf(buf, 64, "%" PRIu64, v);
	return buf;
}

static const char *value(const struct prop *p, const void *obj, char buf[64])
{
	const void *field = (const char *)obj + p->offset;

	switch (p->type) {
	case PROP_BOOL:
		return *(const bool *)field ? "on" : "off";
	case PROP_ENUM:
		return p->choices[*(const int *)field];
	case PROP_U8:
		return number(buf, *(const uint8_t *)field);
	case PROP_U16:
		return number(buf, *(const uint16_t *)field);
	case PROP_U32:
		return number(buf, *(const uint32_t *)field);
	case PROP_U64:
	case PROP_SIZE:
		return number(buf, *(const uint64_t *)field);
	default:
		return *(char *const *)field;
	}
}

const char *img_new_get(const struct img_new *n, const char *name, char buf[64])
{
	for (const struct prop *p = n->drv->image->create_props; p && p->name; p++)
		if (!strcmp(p->name, name))
			return value(p, n->opts, buf);
	return NULL;
}

/* --- create --- */

struct create {
	const char *format, *backing, *backing_format;
	bool quiet, unsafe;
	struct opts o;
	struct img_new n;
};

/* Scripts know the line in this order; of what is not listed, the format's order comes last. */
static const char *const order_qcow2[] = {
	"encryption",
	"encrypt.format",
	"encrypt.key-secret",
	"encrypt.cipher-alg",
	"encrypt.cipher-mode",
	"encrypt.ivgen-alg",
	"encrypt.ivgen-hash-alg",
	"encrypt.hash-alg",
	"encrypt.iter-time",
	"cluster_size",
	"extended_l2",
	"preallocation",
	"compression_type",
	"size",
	"data_file",
	"data_file_raw",
	"backing_file",
	"backing_fmt",
	"compat",
	"lazy_refcounts",
	"refcount_bits",
	NULL,
};
static const char *const order_other[] = { "size", "backing_file", "backing_fmt", NULL };

static bool in_order(const char *const *order, const char *name)
{
	for (; *order; order++)
		if (!strcmp(*order, name))
			return true;
	return false;
}

/* Options that were given, and those with a default that says something. */
static bool worth_saying(const struct create *c, const char *name)
{
	for (size_t i = 0; i < c->o.n; i++)
		if (!strcmp(c->o.opt[i].key, name))
			return true;
	return strcmp(name, "preallocation") && strcmp(name, "compat") && strcmp(name, "nocow") &&
	       strcmp(name, "data_file_raw") && strcmp(name, "extent_size_hint") &&
	       strcmp(name, "encryption") && strcmp(name, "encrypt.iter-time") &&
	       strcmp(name, "iter-time");
}

static void say_option(const struct create *c, const char *name)
{
	char buf[64];
	const char *v = NULL;

	if (!strcmp(name, "size"))
		v = number(buf, c->n.c.size);
	else if (!strcmp(name, "backing_file"))
		v = c->n.backing;
	else if (!strcmp(name, "backing_fmt"))
		v = c->n.backing_format;
	else if (worth_saying(c, name))
		v = img_new_get(&c->n, name, buf);
	if (v)
		printf(" %s=%s", name, v);
}

static void say_formatting(const struct create *c, const char *filename)
{
	const char *const *order = order_other;

	if (!strcmp(c->n.drv->name, "qcow2"))
		order = order_qcow2;
	printf("Formatting '%s', fmt=%s", filename, c->n.drv->name);
	for (unsigned i = 0; order[i]; i++)
		say_option(c, order[i]);
	for (const struct prop *p = c->n.drv->image->create_props; p && p->name; p++)
		if (!in_order(order, p->name))
			say_option(c, p->name);
	putchar('\n');
	fflush(stdout);
}

/* The backing file must be there, and gives the size unless that was given. */
static int look_at_backing(struct create *c, const char *filename)
{
	struct img_how how = { .format = c->n.backing_format, .look = true, .no_data = true };
	struct blk_node *b;
	char *path;
	int rc;

	path = img_backing_path(filename, c->n.backing);
	if (!path)
		return out_of_memory();
	if (img_same_file(path, filename)) {
		img_fail("%s: '%s' is the image itself", filename, c->n.backing);
		rc = -EINVAL;
	} else {
		rc = img_open(path, &how, &b);
	}
	free(path);
	if (rc)
		return rc;
	if (!c->n.have_size)
		c->n.c.size = b->size;
	c->n.have_size = true;
	if (!c->n.backing_format) {
		img_fail("%s: Backing file specified without backing format\n"
			 "Detected format of %s.",
			 filename, b->drv->name);
		rc = -EINVAL;
	}
	blk_node_close(b);
	return rc;
}

static int check_backing(struct create *c, const char *filename)
{
	if (!c->n.backing && !c->n.backing_format)
		return 0;
	if (!c->n.backing) {
		img_fail("%s: Backing format cannot be used without backing file", filename);
		return -EINVAL;
	}
	if (!has_backing(c->n.drv)) {
		img_fail("%s: Backing file not supported for file format '%s'", filename,
			 c->n.drv->name);
		return -ENOTSUP;
	}
	if (c->n.backing_format && !img_format(c->n.backing_format))
		return -EINVAL;
	if (c->unsafe && c->n.backing_format)
		return 0;
	if (c->unsafe) {
		img_fail("%s: Backing file specified without backing format", filename);
		return -EINVAL;
	}
	return look_at_backing(c, filename);
}

static int add(struct opts *o, const char *key, const char *val)
{
	return val && opts_add(o, key, val) ? out_of_memory() : 0;
}

static int create(struct create *c, const char *filename, const char *size)
{
	const struct blk_driver *drv = img_format(c->format ? c->format : "raw");

	if (!drv)
		return 1;
	if (img_wants_help(&c->o)) {
		img_options_help(drv, filename);
		return 0;
	}
	if (add(&c->o, "size", size) || add(&c->o, "backing_file", c->backing) ||
	    add(&c->o, "backing_fmt", c->backing_format) || img_new_init(&c->n, drv, &c->o) ||
	    check_backing(c, filename))
		return 1;
	if (!c->n.have_size)
		return img_fail("%s: Image creation needs a size parameter", filename);
	if (!c->quiet)
		say_formatting(c, filename);
	return img_new_make(&c->n, filename) ? 1 : 0;
}

int img_create(int argc, char **argv)
{
	struct create c = { .quiet = false };
	const struct img_opt opts[] = {
		{ 'f', "format", IMG_TEXT, &c.format },
		{ 'b', NULL, IMG_TEXT, &c.backing },
		{ 'F', NULL, IMG_TEXT, &c.backing_format },
		{ 'o', NULL, IMG_LIST, &c.o },
		{ 'q', "quiet", IMG_FLAG, &c.quiet },
		{ 'u', NULL, IMG_FLAG, &c.unsafe },
		{ 0 },
	};
	int i = img_parse(argc, argv, opts);
	int status = 1;

	if (i < 0)
		return 1;
	if (i >= argc && !img_wants_help(&c.o))
		img_misuse("Expecting image file name");
	else if (argc - i > 2)
		img_misuse("Unexpected argument: %s", argv[i + 2]);
	else
		status = create(&c, argv[i], i + 1 < argc ? argv[i + 1] : NULL);
	img_new_free(&c.n);
	opts_free(&c.o);
	return status;
}
