/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format vdi: check and repair. The map is all there is to be wrong: entries without a place in
 * the file, several with the same, and places that no entry has. Repair never changes
 * what can be read: a block gets a copy of what it shows, at a place of its own. Main thread.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "co_io.h"
#include "err.h"
#include "internal.h"
#include "vdi_int.h"

struct check {
	struct blk_node *n;
	struct vdi *v;
	unsigned fix;
	struct blk_check *out;
	uint32_t *owner; /* of each place: 1 + the block, 0: none */
	uint32_t free; /* places below are taken */
	uint8_t *buf; /* a block */
};

static void say(const struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct check *c, const char *fmt, ...)
{
	char line[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (c->out->say)
		c->out->say(c->out->ctx, line);
}

/* Counts a corruption; how its line begins. */
static const char *found(struct check *c)
{
	if (c->fix & BLK_FIX_ERRORS)
		c->out->corruptions_fixed++;
	else
		c->out->corruptions++;
	return c->fix & BLK_FIX_ERRORS ? "Repairing" : "ERROR";
}

/* --- copying --- */

/* What block entry shows; what lies behind the end of the file is zero. */
static int copy(struct check *c, uint32_t from, uint32_t to)
{
	struct blk_node *file = c->n->file;
	uint64_t at = vdi_place(c->v, from), len = c->v->block_size;
	uint64_t have = at < file->size ? file->size - at : 0;
	int rc;

	memset(c->buf, 0, len);
	rc = co_pread(file, at, c->buf, have < len ? have : len);
	return rc ? rc : co_pwrite(file, vdi_place(c->v, to), c->buf, len, 0);
}

static int move(struct check *c, uint32_t index, uint32_t to)
{
	int rc = copy(c, le32_to_cpu(c->v->map[index]), to);

	if (!rc)
		rc = vdi_enter(c->v, index, to);
	if (rc)
		return rc;
	c->owner[to] = index + 1;
	if (to >= c->v->next)
		c->v->next = to + 1;
	return 0;
}

/* There are no fewer places than blocks. */
static uint32_t free_place(struct check *c)
{
	while (c->free < c->v->blocks && c->owner[c->free])
		c->free++;
	return c->free;
}

/* --- corruptions --- */

/* Bytes of the disk that are in the block. */
static uint64_t used_of(const struct check *c, uint32_t index)
{
	uint64_t off = (uint64_t)index * c->v->block_size;
	uint64_t left = c->n->size > off ? c->n->size - off : 0;

	return left < c->v->block_size ? left : c->v->block_size;
}

static void find_owners(struct check *c)
{
	for (uint32_t i = 0; i < c->v->blocks; i++) {
		uint32_t entry = le32_to_cpu(c->v->map[i]);

		if (entry < c->v->blocks && !c->owner[entry] &&
		    vdi_place(c->v, entry) < c->n->file->size)
			c->owner[entry] = i + 1;
	}
}

static int check_entry(struct check *c, uint32_t i, uint32_t entry)
{
	struct vdi *v = c->v;
	uint64_t size = c->n->file->size;
	bool gone = vdi_place(v, entry) >= size, fix = c->fix & BLK_FIX_ERRORS;

	if (entry < v->blocks && c->owner[entry] == i + 1) {
		if (vdi_place(v, entry) + used_of(c, i) <= size)
			return 0;
		say(c, "%s block %u has place %u, which the file ends in", found(c), i, entry);
		return fix ? move(c, i, entry) : 0;
	}
	if (entry >= v->blocks)
		say(c, "%s block %u has place %u: there are only %u", found(c), i, entry,
		    v->blocks);
	else if (gone)
		say(c, "%s block %u has place %u, behind the end of the file", found(c), i, entry);
	else
		say(c, "%s block %u has the place of another: %u", found(c), i, entry);
	if (!fix)
		return 0;
	if (!gone)
		return move(c, i, free_place(c));
	say(c, "Repairing block %u: its data cannot be found, it is empty now", i);
	return vdi_enter(v, i, VDI_UNALLOCATED);
}

/* --- leaks: places between others, and behind all --- */

/* Places at the end of the file that no block has. */
static uint64_t places_behind(const struct check *c)
{
	uint64_t end = vdi_place(c->v, c->v->next), size = c->n->file->size;

	/* A device is as long as it is. */
	if (!strcmp(c->n->file->drv->name, "host_device") || size <= end)
		return 0;
	return (size - end + c->v->block_size - 1) / c->v->block_size;
}

/* The last blocks come to the holes, and the file becomes shorter, once the map says so. */
static int fix_leaks(struct check *c, struct err *e)
{
	struct vdi *v = c->v;
	uint32_t hole = 0;
	int rc = 0;

	/* Behind the last place there is no block any more. */
	if (v->next > v->blocks)
		v->next = v->blocks;
	while (!rc && v->next) {
		while (v->next && !c->owner[v->next - 1])
			v->next--;
		while (hole < v->next && c->owner[hole])
			hole++;
		if (hole >= v->next)
			break;
		rc = move(c, c->owner[v->next - 1] - 1, hole);
		if (!rc)
			v->next--;
	}
	rc = rc ? rc : vdi_settle(c->n);
	return rc || !places_behind(c) ? rc
				       : blk_node_truncate(c->n->file, vdi_place(v, v->next), e);
}

static int check_leaks(struct check *c, struct err *e)
{
	uint64_t leaks = places_behind(c);
	uint32_t holes = 0;

	for (uint32_t i = 0; i < c->v->next && i < c->v->blocks; i++)
		holes += !c->owner[i];
	leaks += holes;
	if (!leaks)
		return 0;
	say(c, "%s %" PRIu64 " places that no block has", c->fix ? "Repairing" : "Leaked", leaks);
	if (!c->fix) {
		c->out->leaks += leaks;
		return 0;
	}
	c->out->leaks_fixed += leaks;
	return fix_leaks(c, e);
}

/* --- all of it --- */

static int check(struct check *c, struct err *e)
{
	struct vdi *v = c->v;
	uint32_t in_header = le32_to_cpu(v->header.blocks_allocated);
	int rc = 0;

	find_owners(c);
	for (uint32_t i = 0; !rc && i < v->blocks; i++)
		if (vdi_has_block(le32_to_cpu(v->map[i])))
			rc = check_entry(c, i, le32_to_cpu(v->map[i]));
	if (rc)
		return rc;
	if (in_header != v->allocated && !c->out->corruptions_fixed) {
		say(c, "%s the header counts %u allocated blocks, the map has %u", found(c),
		    in_header, v->allocated);
		/* It is written with the map. */
		if (c->fix & BLK_FIX_ERRORS && v->blocks)
			rc = vdi_enter(v, 0, le32_to_cpu(v->map[0]));
	}
	/* Places are only given back when it is sure what they hold. */
	if (!rc && !c->out->corruptions)
		rc = check_leaks(c, e);
	if (!rc && c->fix)
		rc = vdi_settle(c->n);
	c->out->total_clusters = v->blocks;
	c->out->allocated_clusters = v->allocated;
	c->out->image_end_offset = vdi_place(v, v->next);
	return rc;
}

int vdi_check(struct blk_node *n, unsigned fix, struct blk_check *out, struct err *e)
{
	struct vdi *v = n->p;
	struct check c = { .n = n, .v = v, .fix = fix, .out = out };
	int rc = -ENOMEM;

	if (fix && n->readonly)
		return err_set(e, ERR_INPUT, EROFS, "%s cannot be written", n->filename);
	c.owner = calloc(v->blocks + 1ull, sizeof(*c.owner));
	c.buf = fix ? malloc(v->block_size) : NULL;
	e->msg[0] = '\0';
	if (c.owner && (c.buf || !fix))
		rc = check(&c, e);
	free(c.owner);
	free(c.buf);
	if (rc && !e->msg[0])
		err_set(e, ERR_HOST, -rc, "%s: %s", n->filename, strerror(-rc));
	return rc;
}
