/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes: opening and closing trees of them, moving them between loops, waiting
 * for them, and completing requests later. See include/block_int.h for threads; the
 * list of all nodes is the main thread's.
 */
#include "block_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "opts.h"
#include "props.h"

enum { DEPTH_MAX = 16 }; /* nodes above one another */

static struct blk_node *nodes; /* all that are open */
static unsigned made_up; /* names made up so far */

/* --- completing later --- */

/* Of this thread: completed requests whose done has not been called. */
static _Thread_local struct {
	struct blk_io *first, **end;
	unsigned n;
	struct loop *loop; /* where defer is queued, if it is */
	struct loop_defer defer;
} later;

/* While it waits here a request's scratch[0] holds its result. */
static void later_cb(void *ctx)
{
	blk_run_later();
}

void blk_io_done_later(struct blk_io *io, int ret)
{
	struct loop *l = io->node->loop;

	io->scratch[0] = (uint64_t)(int64_t)ret;
	io->next = NULL;
	if (!later.first)
		later.end = &later.first;
	*later.end = io;
	later.end = &io->next;
	later.n++;
	if (!l || later.defer.queued)
		return;
	later.loop = l;
	later.defer.cb = later_cb;
	loop_defer(l, &later.defer);
}

/*
 * One by one from the list, for a done may itself poll; and only as many as there
 * were, for a done may submit again without end.
 */
bool blk_run_later(void)
{
	unsigned n = later.n;
	bool any = n > 0;

	while (n-- && later.first) {
		struct blk_io *io = later.first;

		later.first = io->next;
		later.n--;
		io->done(io, (int)(int64_t)io->scratch[0]);
	}
	if (!later.defer.queued)
		return any;
	if (!later.first)
		loop_defer_cancel(later.loop, &later.defer);
	return any;
}

static unsigned later_of(const struct blk_node *n)
{
	unsigned count = 0;

	for (const struct blk_io *io = later.n ? later.first : NULL; io; io = io->next)
		count += io->node == n;
	return count;
}

/* --- waiting --- */

unsigned blk_node_in_flight(const struct blk_node *n)
{
	unsigned count = later_of(n);

	if (n->drv->in_flight)
		count += n->drv->in_flight(n);
	if (n->file)
		count += blk_node_in_flight(n->file);
	if (n->backing)
		count += blk_node_in_flight(n->backing);
	return count;
}

void blk_node_poll(struct blk_node *n)
{
	if (blk_run_later())
		return;
	if (n->drv->poll)
		n->drv->poll(n);
	else if (n->file)
		blk_node_poll(n->file);
}

void blk_node_drain(struct blk_node *n)
{
	while (blk_node_in_flight(n))
		blk_node_poll(n);
}

/* --- moving between loops --- */

int blk_node_attach(struct blk_node *n, struct loop *l, struct err *e)
{
	int rc = 0;

	if (n->file)
		rc = blk_node_attach(n->file, l, e);
	if (rc)
		return rc;
	if (n->backing)
		rc = blk_node_attach(n->backing, l, e);
	if (!rc && n->drv->attach) {
		rc = n->drv->attach(n, l, e);
		if (rc && n->backing)
			blk_node_detach(n->backing);
	}
	if (rc && n->file)
		blk_node_detach(n->file);
	if (!rc)
		n->loop = l;
	return rc;
}

void blk_node_detach(struct blk_node *n)
{
	if (!n->loop)
		return;
	if (n->drv->detach)
		n->drv->detach(n);
	n->loop = NULL;
	if (n->backing)
		blk_node_detach(n->backing);
	if (n->file)
		blk_node_detach(n->file);
}

/* --- synchronous helpers --- */

struct sync_io {
	struct blk_io io;
	bool done;
	int ret;
};

static void sync_done(struct blk_io *io, int ret)
{
	struct sync_io *s = container_of(io, struct sync_io, io);

	s->done = true;
	s->ret = ret;
}

static int sync_run(struct blk_node *n, enum blk_op op, unsigned flags, uint64_t off, uint64_t len,
		    void *buf)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct sync_io s = { .io = { .op = op,
				     .flags = flags,
				     .off = off,
				     .len = len,
				     .iov = &iov,
				     .n_iov = buf ? 1 : 0,
				     .done = sync_done } };

	blk_node_submit(n, &s.io);
	while (!s.done)
		blk_node_poll(n);
	return s.ret;
}

int blk_node_pread(struct blk_node *n, uint64_t off, void *buf, size_t len)
{
	if (off > n->size || len > n->size - off)
		return -EIO;
	return len ? sync_run(n, BLK_READ, 0, off, len, buf) : 0;
}

int blk_node_pwrite(struct blk_node *n, uint64_t off, const void *buf, size_t len)
{
	return len ? sync_run(n, BLK_WRITE, 0, off, len, (void *)(uintptr_t)buf) : 0;
}

int blk_node_flush(struct blk_node *n)
{
	return sync_run(n, BLK_FLUSH, 0, 0, 0, NULL);
}

int blk_node_zero(struct blk_node *n, uint64_t off, uint64_t len, unsigned flags)
{
	return len ? sync_run(n, BLK_WRITE_ZEROES, flags, off, len, NULL) : 0;
}

int blk_node_truncate(struct blk_node *n, uint64_t size, struct err *e)
{
	if (n->readonly)
		return err_set(e, ERR_USAGE, EROFS, "%s is open read-only", n->filename);
	if (!n->drv->truncate)
		return err_set(e, ERR_USAGE, ENOTSUP, "driver %s cannot change the size of %s",
			       n->drv->name, n->filename);
	return n->drv->truncate(n, size, e);
}

int blk_reopen_nothing(struct blk_node *n, struct err *e)
{
	return 0;
}

static int begin_writing(struct blk_node *n, struct err *e)
{
	int rc = n->file ? blk_node_reopen(n->file, false, e) : 0;

	if (rc)
		return rc;
	n->readonly = false;
	rc = n->drv->reopen(n, e);
	if (!rc)
		return 0;
	n->readonly = true;
	if (n->file)
		blk_node_reopen(n->file, true, NULL);
	return rc;
}

static int end_writing(struct blk_node *n, struct err *e)
{
	int rc, below = 0;

	n->readonly = true;
	rc = n->drv->reopen(n, e);
	if (n->file)
		below = blk_node_reopen(n->file, true, rc ? NULL : e);
	return rc ? rc : below;
}

int blk_node_reopen(struct blk_node *n, bool readonly, struct err *e)
{
	if (n->readonly == readonly)
		return 0;
	if (!n->drv->reopen)
		return err_set(e, ERR_INPUT, ENOTSUP,
			       "%s: images of format %s can be read, not written", n->filename,
			       n->drv->name);
	return readonly ? end_writing(n, e) : begin_writing(n, e);
}

int blk_node_status(struct blk_node *n, uint64_t off, uint64_t len, uint64_t *bytes,
		    unsigned *flags)
{
	if (n->drv->status)
		return n->drv->status(n, off, len, bytes, flags);
	*bytes = len;
	*flags = BLK_DATA | BLK_ALLOCATED;
	return 0;
}

/* --- names --- */

const struct blk_driver *blk_driver_find(const char *name)
{
	for (unsigned i = 0; blk_drivers[i]; i++)
		if (!strcmp(blk_drivers[i]->name, name))
			return blk_drivers[i];
	return NULL;
}

void blk_help(FILE *f)
{
	fputs("Formats (format= of -drive, driver= of -blockdev):\n", f);
	for (unsigned i = 0; blk_drivers[i]; i++)
		if (!blk_drivers[i]->protocol && !blk_drivers[i]->filter)
			fprintf(f, "  %-14s %s\n", blk_drivers[i]->name, blk_drivers[i]->desc);
	fputs("Filters and protocols (file.driver=):\n", f);
	for (unsigned i = 0; blk_drivers[i]; i++)
		if (blk_drivers[i]->protocol || blk_drivers[i]->filter)
			fprintf(f, "  %-14s %s\n", blk_drivers[i]->name, blk_drivers[i]->desc);
	fputs("Their options:\n", f);
	for (unsigned i = 0; blk_drivers[i]; i++) {
		if (!blk_drivers[i]->props || !blk_drivers[i]->props[0].name)
			continue;
		fprintf(f, " %s\n", blk_drivers[i]->name);
		props_help(blk_drivers[i]->props, f);
	}
}

struct blk_node *blk_node_find(const char *name)
{
	for (struct blk_node *n = nodes; n; n = n->next)
		if (!strcmp(n->name, name))
			return n;
	return NULL;
}

static int set_name(struct blk_node *n, const char *name, struct err *e)
{
	char text[24];

	if (name && !*name)
		return err_set(e, ERR_USAGE, EINVAL, "node-name= is empty");
	if (name && *name == '#')
		return err_set(e, ERR_USAGE, EINVAL,
			       "node-name=%s: names that begin with '#' are made up by the program",
			       name);
	if (name && blk_node_find(name))
		return err_set(e, ERR_USAGE, EEXIST, "node-name=%s: another node has this name",
			       name);
	if (!name) {
		snprintf(text, sizeof(text), "#block%03u", made_up++);
		name = text;
	}
	n->name = strdup(name);
	return n->name ? 0 : err_set(e, ERR_HOST, ENOMEM, "out of memory");
}

/* --- opening --- */

static const char *child_key(const struct blk_driver *drv)
{
	return drv->child ? drv->child : "file";
}

static unsigned depth(const struct blk_node *n)
{
	return n->file ? 1 + depth(n->file) : 1;
}

/* A node that another -blockdev made. */
static int refer(struct blk_node *n, const char *name, struct err *e)
{
	const char *names[64];
	struct blk_node *file = blk_node_find(name);
	size_t k = 0;

	if (!file) {
		err_set(e, ERR_USAGE, ENOENT, "%s=%s: no node has this name", child_key(n->drv),
			name);
		for (file = nodes; file && k < ARRAY_SIZE(names); file = file->next)
			if (file->name[0] != '#')
				names[k++] = file->name;
		if (k)
			err_suggest(e, name, names, k);
		else
			err_hint(e,
				 "make it first: -blockdev driver=file,node-name=%s,filename=FILE",
				 name);
		return -ENOENT;
	}
	if (file->parent)
		return err_set(e, ERR_USAGE, EBUSY, "%s=%s: node '%s' is above it already",
			       child_key(n->drv), name, file->parent->name);
	if (file->loop)
		return err_set(e, ERR_USAGE, EBUSY, "%s=%s: a device uses this node itself",
			       child_key(n->drv), name);
	file->refs++;
	n->file = file;
	return 0;
}

int blk_open_child(const char *key, struct opts *sub, const struct blk_open *parent,
		   struct blk_node **out, struct err *e)
{
	const char *name = opts_get(sub, "driver");
	const struct blk_driver *drv;
	struct blk_open how = *parent;
	int rc;

	for (size_t i = 0; !name && i < sub->n; i++)
		if (!strcmp(sub->opt[i].key, "filename"))
			name = blk_path_driver(sub->opt[i].val);
	if (!name)
		return err_set(e, ERR_USAGE, EINVAL, "%s.driver= is missing", key);
	drv = blk_driver_find(name);
	/* What may be discarded is decided above; the child carries it out. */
	how.discard = true;
	rc = drv ? blk_node_open(drv, sub, &how, NULL, out, e) : blk_format_unknown(name, NULL, e);
	if (rc)
		err_prefix(e, "%s: ", key);
	return rc;
}

static int open_child(struct blk_node *n, struct opts *o, struct err *e)
{
	const char *key = child_key(n->drv);
	const char *name = opts_get(o, key);
	struct opts sub;
	int rc;

	if (name && blk_has_sub_opts(o, key))
		return err_set(e, ERR_USAGE, EINVAL, "both %s= and %s.X= are given", key, key);
	if (name)
		return refer(n, name, e);
	if (!blk_has_sub_opts(o, key)) {
		err_set(e, ERR_USAGE, EINVAL,
			"driver %s needs a node below it, and there is no %s=", n->drv->name, key);
		err_hint(e, "add %s.driver=file,%s.filename=FILE, or %s=NODE-NAME", key, key, key);
		return -EINVAL;
	}
	rc = blk_sub_opts(o, key, &sub, e);
	if (!rc) {
		rc = blk_open_child(key, &sub, &n->open, &n->file, e);
		blk_sub_opts_end(o, key, &sub);
	}
	return rc;
}

/* Adopts n->file: its limits, name, and whether it can be written. */
static int above_child(struct blk_node *n, struct err *e)
{
	if (depth(n) > DEPTH_MAX)
		return err_set(e, ERR_USAGE, ELOOP, "more than %d nodes above one another",
			       DEPTH_MAX);
	n->file->parent = n;
	n->lim = n->file->lim;
	n->size = n->file->size;
	n->filename = strdup(n->file->filename);
	if (!n->filename)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	if (!n->file->readonly || n->readonly)
		return 0;
	if (n->open.auto_readonly) {
		n->readonly = true;
		return 0;
	}
	err_set(e, ERR_USAGE, EROFS, "%s: node '%s' below it is read-only", n->filename,
		n->file->name);
	err_hint(e, "add read-only=on");
	return -EROFS;
}

static int set_props(struct blk_node *n, struct opts *o, struct err *e)
{
	const char *child = n->drv->protocol ? NULL : child_key(n->drv);
	const char *names[BLK_KNOWN_MAX];
	int rc;

	props_defaults(n->drv->props, n->p);
	for (size_t i = 0; i < o->n; i++) {
		const struct prop *p = n->drv->props;
		size_t len = child ? strlen(child) : 0;

		/* Those of the child have been looked at, or are a mistake told below. */
		if (o->opt[i].used ||
		    (child && !strncmp(o->opt[i].key, child, len) && o->opt[i].key[len] == '.'))
			continue;
		while (p && p->name && strcmp(p->name, o->opt[i].key))
			p++;
		if (!p || !p->name)
			continue;
		rc = props_set(n->drv->props, n->p, p->name, o->opt[i].val, e);
		if (rc)
			return rc;
		o->opt[i].used = true;
	}
	if (n->drv->keys) {
		rc = n->drv->keys(n, o, e);
		if (rc)
			return rc;
	}
	rc = opts_check_used(o, names, blk_known_keys(n->drv, names, ARRAY_SIZE(names)), e);
	if (rc)
		err_prefix(e, "driver %s: ", n->drv->name);
	return rc;
}

/* The value of the prop "filename", or NULL. */
static const char *prop_filename(const struct blk_node *n)
{
	for (const struct prop *p = n->drv->props; p && p->name; p++)
		if (p->type == PROP_STR && !strcmp(p->name, "filename"))
			return *(char **)(void *)((char *)n->p + p->offset);
	return NULL;
}

static int set_filename(struct blk_node *n, struct err *e)
{
	const char *name = prop_filename(n);

	if (n->filename)
		return 0;
	if (name)
		n->filename = strdup(name);
	else if (asprintf(&n->filename, "%s://", n->drv->name) < 0)
		n->filename = NULL;
	return n->filename ? 0 : err_set(e, ERR_HOST, ENOMEM, "out of memory");
}

/* What a driver left at zero, so that those above need not ask. */
static void complete_limits(struct blk_limits *l)
{
	if (!l->align)
		l->align = 1;
	if (!l->mem_align)
		l->mem_align = 1;
	if (!l->max_iov)
		l->max_iov = 1024;
	if (!l->max_len)
		l->max_len = 1u << 30;
	if (!l->block_size)
		l->block_size = 512;
	if (!l->discard_align)
		l->discard_align = 512;
}

int blk_node_open(const struct blk_driver *drv, struct opts *o, const struct blk_open *how,
		  struct blk_node *file, struct blk_node **out, struct err *e)
{
	struct blk_node *n = calloc(1, sizeof(*n));
	struct opts backing = { 0 };
	const char *name;
	int rc;

	if (!n || !(n->p = calloc(1, drv->size ? drv->size : 1))) {
		free(n);
		if (file)
			blk_node_close(file);
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	}
	n->drv = drv;
	n->file = file;
	n->refs = 1;
	n->open = *how;
	opts_get(o, "driver");
	rc = blk_take_keys(o, &n->open, &name, e);
	n->readonly = n->open.readonly;
	if (!rc)
		rc = set_name(n, name, e);
	if (!rc && !drv->protocol && !file)
		rc = open_child(n, o, e);
	if (!rc && n->file)
		rc = above_child(n, e);
	if (!rc)
		rc = blk_take_backing(n, o, &backing, e);
	if (!rc)
		rc = set_props(n, o, e);
	if (!rc)
		rc = set_filename(n, e);
	if (!rc)
		rc = drv->open(n, e);
	n->backing_keys = NULL;
	opts_free(&backing);
	if (rc) {
		blk_node_close(n);
		return rc;
	}
	complete_limits(&n->lim);
	n->next = nodes;
	nodes = n;
	*out = n;
	return 0;
}

static void unlist(struct blk_node *n)
{
	for (struct blk_node **at = &nodes; *at; at = &(*at)->next) {
		if (*at == n) {
			*at = n->next;
			return;
		}
	}
}

static void close_child(struct blk_node *n, struct blk_node *child)
{
	if (!child)
		return;
	if (child->parent == n)
		child->parent = NULL;
	blk_node_close(child);
}

void blk_node_close(struct blk_node *n)
{
	if (--n->refs)
		return;
	unlist(n);
	if (n->drv->close)
		n->drv->close(n);
	close_child(n, n->backing);
	close_child(n, n->file);
	props_free(n->drv->props, n->p);
	free(n->p);
	free(n->name);
	free(n->filename);
	free(n);
}

void blk_bitmaps_free(struct blk_bitmap *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(list[i].name);
	free(list);
}

void blk_snapshots_free(struct blk_snapshot *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(list[i].id);
		free(list[i].name);
	}
	free(list);
}
