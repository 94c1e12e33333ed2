/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: the memory of a saved machine ("Snapshots" in the specification). It lies behind the
 * disk like data of a longer one, from where the first L1 entry begins that the disk does not
 * need. On the node's thread, with no request under way.
 */
#include <errno.h>
#include <string.h>

#include "err.h"
#include "qcow2.h"

struct vm {
	struct qcow2 *q;
	uint64_t off;
	struct iovec iov;
};

/* Guest bytes that an L1 entry is for. */
static uint64_t span_of(const struct qcow2 *q)
{
	return q->cluster_size * q->l2_entries;
}

/* Where it is, if so many bytes can be there. */
static int place(const struct vm *v, uint64_t *at)
{
	uint64_t span = span_of(v->q), start = qcow2_disk_entries(v->q), len = v->iov.iov_len, last;

	if (v->off > INT64_MAX || len > INT64_MAX - v->off)
		return -EFBIG;
	last = start + (v->off + len + span - 1) / span;
	if (last > QCOW2_L1_MAX / 8 || last > INT64_MAX / span)
		return -EFBIG;
	*at = start * span + v->off;
	return 0;
}

static int write_vm(void *arg)
{
	struct vm *v = arg;
	struct qcow2 *q = v->q;
	uint64_t at, need, more;
	int rc = place(v, &at);

	if (rc || !v->iov.iov_len)
		return rc;
	need = qcow2_l1_entries(q->cluster_bits, q->ext_l2, at + v->iov.iov_len);
	more = need + need / 8; /* as it is written piece by piece */
	if (more > QCOW2_L1_MAX / 8)
		more = need;
	rc = qcow2_begin_write(q);
	if (!rc && need > q->l1.n)
		rc = qcow2_grow_l1(q, more);
	return rc ? rc : qcow2_write(q, at, v->iov.iov_len, &v->iov, 1, 0);
}

static int fail(const struct qcow2 *q, struct err *e, int rc, const char *what)
{
	return err_set(e, rc == -ENOMEM ? ERR_HOST : ERR_INPUT, -rc,
		       "%s: cannot %s the memory of a machine: %s", q->node->filename, what,
		       strerror(-rc));
}

int qcow2_vmstate_write(struct blk_node *n, uint64_t off, const void *buf, size_t len,
			struct err *e)
{
	struct vm v = { .q = qcow2_of(n),
			.off = off,
			.iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len } };
	int rc = -EROFS;

	if (v.q->external)
		rc = -ENOTSUP;
	else if (v.q->writable)
		rc = qcow2_run(v.q, write_vm, &v);
	return rc ? fail(v.q, e, rc, "write") : 0;
}

static int read_vm(void *arg)
{
	struct vm *v = arg;
	uint64_t at;
	int rc = place(v, &at);

	return rc ? rc : qcow2_read_buf(v->q, at, v->iov.iov_base, v->iov.iov_len);
}

int qcow2_vmstate_read(struct blk_node *n, uint64_t off, void *buf, size_t len, struct err *e)
{
	struct vm v = { .q = qcow2_of(n), .off = off, .iov = { .iov_base = buf, .iov_len = len } };
	int rc = qcow2_run(v.q, read_vm, &v);

	return rc ? fail(v.q, e, rc, "read") : 0;
}

int qcow2_vmstate_clear(struct qcow2 *q)
{
	uint64_t span = span_of(q);
	int rc = 0;

	for (uint64_t i = qcow2_disk_entries(q); !rc && i < q->l1.n; i++)
		if (qcow2_array_get(&q->l1, i))
			rc = qcow2_map_discard(q, i * span, span, true);
	return rc;
}
