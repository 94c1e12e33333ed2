/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: the table of snapshots ("Snapshots" in the specification). It is read when it is
 * needed; entries that stay are written again byte for byte. The node's thread.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "qcow2.h"

enum {
	TABLE_MAX = 64 << 20,
	WINDOW = 64 << 10,
};

/* --- reading --- */

struct reader {
	struct qcow2 *q;
	uint64_t start, at; /* of the table; of what comes next */
	uint64_t window; /* where buf begins */
	size_t have;
	uint8_t *buf;
};

/* [co] The next bytes. -ERANGE: the file ends before. */
static int get(struct reader *r, void *out, size_t len)
{
	uint64_t size = r->q->node->file->size;
	uint8_t *to = out;

	if (r->at > size || len > size - r->at)
		return -ERANGE;
	while (len) {
		uint64_t in = r->at - r->window;
		size_t part;

		if (r->at < r->window || in >= r->have) {
			int rc;

			r->window = r->at;
			r->have = size - r->at < WINDOW ? (size_t)(size - r->at) : WINDOW;
			rc = co_pread(r->q->node->file, r->window, r->buf, r->have);
			if (rc) {
				r->have = 0;
				return rc;
			}
			in = 0;
		}
		part = r->have - in < len ? r->have - (size_t)in : len;
		memcpy(to, r->buf + in, part);
		to += part;
		r->at += part;
		len -= part;
	}
	return 0;
}

static int get_text(struct reader *r, char **out, size_t len)
{
	*out = calloc(1, len + 1);
	return *out ? get(r, *out, len) : -ENOMEM;
}

/* [co] *why: what is wrong with it, by what value. */
static int get_entry(struct reader *r, struct qcow2_snap *s, const char **why, uint64_t *value)
{
	uint32_t extra, l1;
	int rc;

	r->at = r->start + ((r->at - r->start + 7) & ~7ull);
	rc = get(r, &s->fixed, sizeof(s->fixed));
	if (rc)
		return rc;
	extra = be32_to_cpu(s->fixed.extra_size);
	l1 = be32_to_cpu(s->fixed.l1_size);
	*value = extra;
	*why = extra > QCOW2_SNAPSHOT_EXTRA_MAX ? "extra_data_size" : NULL;
	if (!*why && l1 > QCOW2_L1_MAX / 8) {
		*value = l1;
		*why = "l1_size";
	}
	if (*why)
		return -EFBIG;
	s->extra = malloc(extra ? extra : 1);
	rc = s->extra ? get(r, s->extra, extra) : -ENOMEM;
	if (!rc)
		rc = get_text(r, &s->id, be16_to_cpu(s->fixed.id_size));
	if (!rc)
		rc = get_text(r, &s->name, be16_to_cpu(s->fixed.name_size));
	if (!rc && r->at - r->start > TABLE_MAX) {
		*why = "the end of the entry in the table";
		*value = r->at - r->start;
		rc = -EFBIG;
	}
	return rc;
}

static int bad_entry(const struct qcow2 *q, uint32_t i, int rc, const char *why, uint64_t value,
		     struct err *e)
{
	if (rc == -ENOMEM)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	if (why)
		err_set(e, ERR_INPUT, EINVAL,
			"%s: qcow2 snapshot table, entry %u: %s is %" PRIu64 ": too large",
			q->node->filename, i, why, value);
	else if (rc == -ERANGE)
		err_set(e, ERR_INPUT, EINVAL,
			"%s: qcow2 snapshot table: nb_snapshots is %u, and entry %u reaches behind "
			"the end of the file",
			q->node->filename, be32_to_cpu(q->hdr.nb_snapshots), i);
	else
		return err_set(e, ERR_INPUT, -rc, "%s: cannot read the snapshot table: %s",
			       q->node->filename, strerror(-rc));
	err_hint(e, "posada-img check -r all %s", q->node->filename);
	return -EINVAL;
}

static int load(struct reader *r, struct qcow2_snaps *t, struct err *e)
{
	uint32_t n = be32_to_cpu(r->q->hdr.nb_snapshots);

	r->start = r->at = be64_to_cpu(r->q->hdr.snapshots_offset);
	for (t->n = 0; t->n < n;) {
		const char *why = NULL;
		uint64_t value = 0;
		int rc = get_entry(r, &t->s[t->n++], &why, &value);

		if (rc)
			return bad_entry(r->q, t->n - 1, rc, why, value, e);
	}
	t->bytes = r->at - r->start;
	return 0;
}

int qcow2_snaps_load(struct qcow2 *q, struct qcow2_snaps *t, struct err *e)
{
	struct reader r = { .q = q };
	int rc;

	/* One more may be added. */
	*t = (struct qcow2_snaps){ 0 };
	t->s = calloc(be32_to_cpu(q->hdr.nb_snapshots) + 1, sizeof(*t->s));
	r.buf = malloc(WINDOW);
	rc = t->s && r.buf ? load(&r, t, e) : err_set(e, ERR_HOST, ENOMEM, "out of memory");
	free(r.buf);
	return rc;
}

static void free_one(struct qcow2_snap *s)
{
	free(s->extra);
	free(s->id);
	free(s->name);
}

void qcow2_snaps_free(struct qcow2_snaps *t)
{
	for (uint32_t i = 0; i < t->n; i++)
		free_one(&t->s[i]);
	free(t->s);
	*t = (struct qcow2_snaps){ 0 };
}

/* --- looking --- */

long qcow2_snaps_find(const struct qcow2_snaps *t, const char *id_or_name)
{
	for (uint32_t i = 0; i < t->n; i++)
		if (!strcmp(t->s[i].id, id_or_name))
			return i;
	for (uint32_t i = 0; i < t->n; i++)
		if (!strcmp(t->s[i].name, id_or_name))
			return i;
	return -1;
}

/* A field of the extra data; false: there is none. */
static bool extra_field(const struct qcow2_snap *s, size_t at, uint64_t *v)
{
	struct be64 field;

	if (be32_to_cpu(s->fixed.extra_size) < at + sizeof(field))
		return false;
	memcpy(&field, s->extra + at, sizeof(field));
	*v = be64_to_cpu(field);
	return true;
}

uint64_t qcow2_snap_vm_size(const struct qcow2_snap *s)
{
	uint64_t v;

	if (extra_field(s, offsetof(struct qcow2_snapshot_extra, vm_state_size), &v))
		return v;
	return be32_to_cpu(s->fixed.vm_state_size);
}

uint64_t qcow2_snap_disk_size(const struct qcow2 *q, const struct qcow2_snap *s)
{
	uint64_t v;

	if (extra_field(s, offsetof(struct qcow2_snapshot_extra, disk_size), &v))
		return v;
	return be64_to_cpu(q->hdr.size);
}

static int describe(const struct qcow2 *q, const struct qcow2_snap *s, struct blk_snapshot *out)
{
	*out = (struct blk_snapshot){
		.id = strdup(s->id),
		.name = strdup(s->name),
		.vm_state_size = qcow2_snap_vm_size(s),
		.disk_size = qcow2_snap_disk_size(q, s),
		.date_s = be32_to_cpu(s->fixed.date_s),
		.date_ns = be32_to_cpu(s->fixed.date_ns),
		.vm_clock_ns = be64_to_cpu(s->fixed.vm_clock_ns),
	};
	out->have_icount =
		extra_field(s, offsetof(struct qcow2_snapshot_extra, icount), &out->icount) &&
		out->icount != UINT64_MAX;
	return out->id && out->name ? 0 : -ENOMEM;
}

struct listing {
	struct qcow2 *q;
	struct qcow2_snaps t;
	struct err *e;
};

static int load_listing(void *arg)
{
	struct listing *l = arg;

	return qcow2_snaps_load(l->q, &l->t, l->e);
}

int qcow2_snap_list(struct blk_node *n, struct blk_snapshot **list, size_t *count, struct err *e)
{
	struct listing l = { .q = qcow2_of(n), .e = e };
	int rc = qcow2_run(l.q, load_listing, &l);

	*list = NULL;
	*count = 0;
	if (!rc && l.t.n) {
		*list = calloc(l.t.n, sizeof(**list));
		rc = *list ? 0 : -ENOMEM;
		while (!rc && *count < l.t.n) {
			rc = describe(l.q, &l.t.s[*count], &(*list)[*count]);
			++*count;
		}
		if (rc) {
			blk_snapshots_free(*list, *count);
			*list = NULL;
			*count = 0;
			err_set(e, ERR_HOST, ENOMEM, "out of memory");
		}
	}
	qcow2_snaps_free(&l.t);
	return rc;
}

/* --- changing --- */

static uint64_t entry_bytes(const struct qcow2_snap *s)
{
	uint64_t len = sizeof(s->fixed) + (uint64_t)be32_to_cpu(s->fixed.extra_size) +
		       be16_to_cpu(s->fixed.id_size) + be16_to_cpu(s->fixed.name_size);

	return (len + 7) & ~7ull;
}

static void measure(struct qcow2_snaps *t)
{
	t->bytes = 0;
	for (uint32_t i = 0; i < t->n; i++)
		t->bytes += entry_bytes(&t->s[i]);
}

/* One more than all that are numbers. */
static void new_id(const struct qcow2_snaps *t, char out[24])
{
	uint64_t most = 0;

	for (uint32_t i = 0; i < t->n; i++) {
		uint64_t v = strtoull(t->s[i].id, NULL, 10);

		if (v > most && v < UINT64_MAX)
			most = v;
	}
	snprintf(out, 24, "%" PRIu64, most + 1);
}

int qcow2_snaps_add(struct qcow2 *q, struct qcow2_snaps *t, const struct blk_snapshot *info,
		    struct err *e)
{
	struct qcow2_snap *s = &t->s[t->n];
	struct qcow2_snapshot_extra extra = {
		.vm_state_size = cpu_to_be64(info->vm_state_size),
		.disk_size = q->hdr.size,
		.icount = cpu_to_be64(info->have_icount ? info->icount : UINT64_MAX),
	};
	size_t name = strlen(info->name);
	char id[24];

	if (t->n >= QCOW2_SNAPSHOTS_MAX)
		return err_set(e, ERR_INPUT, EFBIG, "%s has %u snapshots, and more cannot be",
			       q->node->filename, t->n);
	if (name > UINT16_MAX)
		return err_set(e, ERR_USAGE, ENAMETOOLONG,
			       "a snapshot's name of %zu bytes: 65535 at most", name);
	new_id(t, id);
	s->fixed = (struct qcow2_snapshot_entry){
		.id_size = cpu_to_be16((uint16_t)strlen(id)),
		.name_size = cpu_to_be16((uint16_t)name),
		.date_s = cpu_to_be32((uint32_t)info->date_s),
		.date_ns = cpu_to_be32(info->date_ns),
		.vm_clock_ns = cpu_to_be64(info->vm_clock_ns),
		.vm_state_size = cpu_to_be32(
			info->vm_state_size > UINT32_MAX ? 0 : (uint32_t)info->vm_state_size),
		.extra_size = cpu_to_be32(sizeof(extra)),
	};
	s->extra = malloc(sizeof(extra));
	s->id = strdup(id);
	s->name = strdup(info->name);
	t->n++; /* freed with the others */
	if (!s->extra || !s->id || !s->name)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	memcpy(s->extra, &extra, sizeof(extra));
	measure(t);
	if (t->bytes > TABLE_MAX)
		return err_set(e, ERR_INPUT, EFBIG,
			       "%s: its snapshot table would be larger than %d bytes",
			       q->node->filename, TABLE_MAX);
	return 0;
}

void qcow2_snaps_remove(struct qcow2_snaps *t, long i)
{
	free_one(&t->s[i]);
	t->n--;
	memmove(&t->s[i], &t->s[i + 1], (t->n - (uint32_t)i) * sizeof(*t->s));
	measure(t);
}

int qcow2_snaps_complete(const struct qcow2 *q, struct qcow2_snaps *t, uint32_t i)
{
	struct qcow2_snap *s = &t->s[i];
	struct be64 field[2] = { cpu_to_be64(qcow2_snap_vm_size(s)),
				 cpu_to_be64(qcow2_snap_disk_size(q, s)) };
	uint8_t *extra = malloc(sizeof(field));

	if (!extra)
		return -ENOMEM;
	memcpy(extra, field, sizeof(field));
	free(s->extra);
	s->extra = extra;
	s->fixed.extra_size = cpu_to_be32(sizeof(field));
	measure(t);
	return 0;
}

void *qcow2_snaps_pack(const struct qcow2_snaps *t)
{
	uint8_t *buf = calloc(1, t->bytes ? t->bytes : 1), *p = buf;

	for (uint32_t i = 0; buf && i < t->n; i++) {
		const struct qcow2_snap *s = &t->s[i];
		uint32_t extra = be32_to_cpu(s->fixed.extra_size);
		uint32_t id = be16_to_cpu(s->fixed.id_size), name = be16_to_cpu(s->fixed.name_size);

		memcpy(p, &s->fixed, sizeof(s->fixed));
		memcpy(p + sizeof(s->fixed), s->extra, extra);
		memcpy(p + sizeof(s->fixed) + extra, s->id, id);
		memcpy(p + sizeof(s->fixed) + extra + id, s->name, name);
		p += entry_bytes(s);
	}
	return buf;
}
