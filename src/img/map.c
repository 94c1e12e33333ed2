/* SPDX-License-Identifier: GPL-2.0-or-later */
/* posada-img map: which parts of a disk hold data, and where. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "img.h"

struct entry {
	uint64_t start, length, offset;
	struct img_status s;
	const struct blk_node *file; /* where it is stored, if anywhere */
	bool data, zero, present, has_offset;
};

struct map {
	struct img_how how;
	bool json;
	uint64_t start, length;
	bool first;
	struct img_below below;
};

static int look(struct map *m, struct blk_node *n, uint64_t off, uint64_t len, struct entry *e)
{
	struct img_place place;
	int rc;

	*e = (struct entry){ .start = off };
	rc = img_status_below(n, off, len, &m->below, &e->s, &place);
	if (rc)
		return rc;
	e->length = e->s.bytes;
	e->data = e->s.flags & BLK_DATA;
	e->zero = e->s.flags & BLK_ZERO;
	e->present = e->s.flags & BLK_ALLOCATED;
	e->has_offset = place.file;
	e->offset = place.off;
	e->file = place.file;
	return 0;
}

static bool follows(const struct entry *a, const struct entry *b)
{
	return a->data == b->data && a->zero == b->zero && a->present == b->present &&
	       a->s.node == b->s.node && a->has_offset == b->has_offset &&
	       (!a->has_offset || a->offset + a->length == b->offset);
}

static const char *yes(bool b)
{
	return b ? "true" : "false";
}

static void print_json(struct map *m, const struct entry *e)
{
	printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64 ", \"depth\": %u, "
	       "\"present\": %s, \"zero\": %s, \"data\": %s",
	       m->first ? "" : ",\n", e->start, e->length, e->s.depth, yes(e->present),
	       yes(e->zero), yes(e->data));
	if (e->has_offset)
		printf(", \"offset\": %" PRIu64, e->offset);
	putchar('}');
	m->first = false;
}

static int print(struct map *m, const struct entry *e)
{
	if (m->json) {
		print_json(m, e);
		return 0;
	}
	if (!e->data || e->zero)
		return 0;
	if (!e->has_offset)
		return img_fail("File contains external, encrypted or compressed clusters.");
	printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", e->start, e->length, e->offset,
	       e->file->filename);
	return 0;
}

static int walk(struct map *m, struct blk_node *n)
{
	uint64_t end = n->size, off = m->start;
	struct entry now = { 0 }, next;
	bool have = false;
	int rc;

	if (m->length < end - (off < end ? off : end))
		end = off + m->length;
	for (; off < end; off += next.length) {
		rc = look(m, n, off, end - off, &next);
		if (rc)
			return img_fail("%s: cannot find out what is at offset %" PRIu64 ": %s",
					n->filename, off, strerror(-rc));
		if (have && follows(&now, &next)) {
			now.length += next.length;
			continue;
		}
		if (have && print(m, &now))
			return 1;
		now = next;
		have = true;
	}
	/* Nothing is there: it says so. */
	if (!have)
		now.start = m->start;
	return have || m->json ? print(m, &now) : 0;
}

int img_map(int argc, char **argv)
{
	struct map m = { .how = { .look = true, .no_data = true },
			 .length = UINT64_MAX,
			 .first = true };
	const struct img_opt opts[] = {
		{ 'f', "format", IMG_TEXT, &m.how.format },
		{ 0, "image-opts", IMG_FLAG, &m.how.image_opts },
		{ 'U', "force-share", IMG_FLAG, &m.how.share },
		{ 0, "output", IMG_OUTPUT, &m.json },
		{ 's', "start-offset", IMG_SIZE, &m.start },
		{ 'l', "max-length", IMG_SIZE, &m.length },
		{ 0 },
	};
	int i = img_parse(argc, argv, opts);
	struct blk_node *n;
	int rc;

	if (i < 0)
		return 1;
	if (argc - i != 1)
		return img_misuse("Expecting one image file name");
	if (img_open(argv[i], &m.how, &n))
		return 1;
	if (m.json)
		putchar('[');
	else
		printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
	rc = walk(&m, n);
	if (m.json)
		printf("]\n");
	blk_node_close(n);
	return rc;
}
