/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log of a VHDX image ([MS-VHDX] 2.3): changes of metadata that whoever wrote the
 * image did not come to carry out. They are carried out in memory, on what is read
 * of the metadata; the file stays as it is. At opening, on the node's thread.
 *
 * The log is a ring of 4 KiB sectors. An entry is a header, descriptors, and a sector of
 * data for each descriptor that is not of zeroes. Entries with numbers one after the
 * other are a sequence; the one with the highest number counts, from the entry on
 * that its last one calls the tail.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "internal.h"
#include "mapped.h"
#include "vhdx_int.h"

#define LOG_MOST (32u << 20)
#define MIB (1u << 20)
/* Overlapping entries could make us look at the same bytes again and again. */
#define CHECKED_MOST 4u /* times the size of the log */
#define APPLIED_MOST (16ull * MAPPED_TABLE_MOST)

/* --- checksums ----------------------------------------------------------------------------------
 */

/* CRC-32C, reflected, a byte at a time. */
static uint32_t crc_add(uint32_t crc, const uint8_t *p, size_t n)
{
	static uint32_t table[256];

	if (!table[1]) {
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t c = i;

			for (unsigned bit = 0; bit < 8; bit++)
				c = c >> 1 ^ (c & 1 ? 0x82f63b78u : 0);
			table[i] = c;
		}
	}
	while (n--)
		crc = crc >> 8 ^ table[(crc ^ *p++) & 0xff];
	return crc;
}

bool vhdx_checksum_ok(const void *p, size_t n, size_t field)
{
	static const uint8_t zero[4];
	const uint8_t *bytes = p;
	uint32_t crc = crc_add(UINT32_MAX, bytes, field);
	struct le32 want;

	crc = crc_add(crc, zero, 4);
	crc = crc_add(crc, bytes + field + 4, n - field - 4);
	memcpy(&want, bytes + field, sizeof(want));
	return ~crc == le32_to_cpu(want);
}

/* --- entries
 * -------------------------------------------------------------------------------------- */

struct search {
	const struct vhdx_log *log;
	struct vhdx_guid guid;
	uint64_t checked; /* bytes whose checksum was taken */
};

/* A run of valid entries. */
struct sequence {
	uint32_t start, head; /* where its first and its last entry begin */
	uint32_t length; /* of all entries */
	uint64_t number; /* of the last */
};

static const struct vhdx_log_entry *entry_at(const struct vhdx_log *log, uint32_t at)
{
	return (const void *)(log->buf + at);
}

static const struct vhdx_log_desc *desc_of(const struct vhdx_log_entry *h, uint32_t i)
{
	return (const struct vhdx_log_desc *)(const void *)(h + 1) + i;
}

/* Bytes of the sectors with the header and the descriptors. */
static uint64_t head_size(const struct vhdx_log_entry *h)
{
	uint64_t n = sizeof(*h) +
		     (uint64_t)le32_to_cpu(h->descriptor_count) * sizeof(struct vhdx_log_desc);

	return (n + VHDX_LOG_SECTOR - 1) / VHDX_LOG_SECTOR * VHDX_LOG_SECTOR;
}

static bool data_ok(const struct vhdx_log_data *d, uint64_t number)
{
	return !memcmp(d->signature, "data", 4) && le32_to_cpu(d->sequence_high) == number >> 32 &&
	       le32_to_cpu(d->sequence_low) == (uint32_t)number;
}

static bool descs_ok(const struct vhdx_log_entry *h, uint32_t length)
{
	uint64_t number = le64_to_cpu(h->sequence_number), data = head_size(h);

	if (data > length)
		return false;
	for (uint32_t i = 0; i < le32_to_cpu(h->descriptor_count); i++) {
		const struct vhdx_log_desc *d = desc_of(h, i);

		if (le64_to_cpu(d->sequence_number) != number ||
		    le64_to_cpu(d->file_offset) % VHDX_LOG_SECTOR)
			return false;
		if (!memcmp(d->signature, "zero", 4)) {
			if (le64_to_cpu(d->leading_bytes) % VHDX_LOG_SECTOR)
				return false;
			continue;
		}
		if (memcmp(d->signature, "desc", 4) != 0 || length - data < VHDX_LOG_SECTOR ||
		    !data_ok((const void *)((const uint8_t *)h + data), number))
			return false;
		data += VHDX_LOG_SECTOR;
	}
	return true;
}

static bool entry_ok(struct search *s, uint32_t at)
{
	const struct vhdx_log_entry *h = entry_at(s->log, at);
	uint32_t length = le32_to_cpu(h->entry_length), tail = le32_to_cpu(h->tail);

	if (memcmp(h->signature, "loge", 4) != 0 || memcmp(&h->log, &s->guid, 16) != 0)
		return false;
	if (!length || length % VHDX_LOG_SECTOR || length > s->log->size ||
	    tail % VHDX_LOG_SECTOR || tail >= s->log->size || !le64_to_cpu(h->sequence_number))
		return false;
	s->checked += length;
	if (s->checked > (uint64_t)CHECKED_MOST * s->log->size)
		return false;
	return vhdx_checksum_ok(h, length, offsetof(struct vhdx_log_entry, checksum)) &&
	       descs_ok(h, length);
}

/* The longest sequence from start on; false when there is none. */
static bool sequence_at(struct search *s, uint32_t start, struct sequence *q)
{
	uint32_t size = s->log->size, at = start;

	*q = (struct sequence){ .start = start };
	while (q->length < size && entry_ok(s, at)) {
		const struct vhdx_log_entry *h = entry_at(s->log, at);
		uint32_t length = le32_to_cpu(h->entry_length);

		if ((q->length && le64_to_cpu(h->sequence_number) != q->number + 1) ||
		    length > size - q->length)
			break;
		q->number = le64_to_cpu(h->sequence_number);
		q->head = at;
		q->length += length;
		at = (at + length) % size;
	}
	return q->length > 0;
}

/* Goes on to the next entry of q; false when *at is its last. */
static bool next_entry(const struct vhdx_log *log, const struct sequence *q, uint32_t *at)
{
	if (*at == q->head)
		return false;
	*at = (*at + le32_to_cpu(entry_at(log, *at)->entry_length)) % log->size;
	return true;
}

/* Whether the entry that the last one of q calls the tail is in q. */
static bool has_tail(const struct vhdx_log *log, const struct sequence *q)
{
	uint32_t tail = le32_to_cpu(entry_at(log, q->head)->tail), at = q->start;

	do {
		if (at == tail)
			return true;
	} while (next_entry(log, q, &at));
	return false;
}

static bool find_sequence(struct search *s, struct sequence *best)
{
	uint64_t at = 0;
	bool found = false;

	while (at < s->log->size) {
		struct sequence q = { 0 };

		if (!sequence_at(s, (uint32_t)at, &q)) {
			at += VHDX_LOG_SECTOR;
			continue;
		}
		at += q.length;
		if (has_tail(s->log, &q) && (!found || q.number > best->number)) {
			*best = q;
			found = true;
		}
	}
	return found;
}

/* --- what they write
 * ---------------------------------------------------------------------------------- */

static int add_patches(struct vhdx_log *log, const struct vhdx_log_entry *h)
{
	uint32_t count = le32_to_cpu(h->descriptor_count);
	const uint8_t *data = (const uint8_t *)h + head_size(h);
	struct vhdx_patch *p = realloc(log->patch, (log->n + count + 1) * sizeof(*p));

	if (!p)
		return -ENOMEM;
	log->patch = p;
	for (uint32_t i = 0; i < count; i++) {
		const struct vhdx_log_desc *d = desc_of(h, i);
		bool zero = !memcmp(d->signature, "zero", 4);

		p[log->n++] = (struct vhdx_patch){
			.off = le64_to_cpu(d->file_offset),
			.len = zero ? le64_to_cpu(d->leading_bytes) : VHDX_LOG_SECTOR,
			.desc = d,
			.data = zero ? NULL : (const void *)data,
		};
		data += zero ? 0 : VHDX_LOG_SECTOR;
	}
	return 0;
}

static int use_sequence(struct blk_node *n, struct vhdx_log *log, const struct sequence *q,
			struct err *e)
{
	const struct vhdx_log_entry *head = entry_at(log, q->head);
	uint64_t size = le64_to_cpu(head->flushed_file_offset);
	uint32_t at = le32_to_cpu(head->tail);
	int rc;

	if (size > n->file->size)
		return mapped_bad(n, e, "VHDX log field FlushedFileOffset", size,
				  "the file has been cut short");
	do {
		rc = add_patches(log, entry_at(log, at));
	} while (!rc && next_entry(log, q, &at));
	return rc ? err_set(e, ERR_HOST, -rc, "out of memory") : 0;
}

int vhdx_log_read(struct blk_node *n, const struct vhdx_header *h, struct vhdx_log *log,
		  struct err *e)
{
	uint64_t off = le64_to_cpu(h->log_offset);
	struct search s = { .log = log, .guid = h->log };
	struct sequence q = { 0 };
	void *buf = NULL;
	int rc;

	log->size = le32_to_cpu(h->log_length);
	if (!log->size || log->size % MIB)
		return mapped_bad(n, e, "VHDX header field LogLength", log->size,
				  "not a multiple of 1 MiB");
	if (log->size > LOG_MOST)
		return mapped_unsupported(n, e, "VHDX header field LogLength", log->size,
					  "a log that was not carried out may have 32 MiB");
	if (off < VHDX_FIXED_END || off % MIB)
		return mapped_bad(n, e, "VHDX header field LogOffset", off,
				  "not a multiple of 1 MiB, from 1 MiB on");
	rc = mapped_read_table(n->file, off, log->size, 2ull * log->size, &buf, "the VHDX log", e);
	log->buf = buf;
	if (rc)
		return rc;
	memcpy(log->buf + log->size, log->buf, log->size);
	if (!find_sequence(&s, &q))
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: the image was not closed, and its VHDX log is damaged: it has "
			       "no valid sequence of entries",
			       n->filename);
	return use_sequence(n, log, &q, e);
}

/* Data sectors lack their first and last bytes, which are in the descriptor. */
static void copy_sector(const struct vhdx_patch *p, uint8_t to[VHDX_LOG_SECTOR])
{
	memcpy(to, &p->desc->leading_bytes, 8);
	memcpy(to + 8, p->data->data, sizeof(p->data->data));
	memcpy(to + VHDX_LOG_SECTOR - 4, &p->desc->trailing_bytes, 4);
}

int vhdx_log_apply(struct blk_node *n, struct vhdx_log *log, uint64_t off, void *buf, size_t len,
		   struct err *e)
{
	uint8_t sector[VHDX_LOG_SECTOR];

	for (size_t i = 0; i < log->n; i++) {
		const struct vhdx_patch *p = &log->patch[i];
		uint64_t end = p->len > UINT64_MAX - p->off ? UINT64_MAX : p->off + p->len;
		uint64_t from = p->off > off ? p->off : off;
		uint64_t to = end < off + len ? end : off + len;

		if (from >= to)
			continue;
		log->applied += to - from;
		if (log->applied > APPLIED_MOST)
			return err_set(e, ERR_INPUT, EINVAL,
				       "%s: its VHDX log writes the same metadata over and over",
				       n->filename);
		if (!p->data) {
			memset((uint8_t *)buf + (from - off), 0, to - from);
			continue;
		}
		copy_sector(p, sector);
		memcpy((uint8_t *)buf + (from - off), sector + (from - p->off), to - from);
	}
	return 0;
}

void vhdx_log_free(struct vhdx_log *log)
{
	free(log->buf);
	free(log->patch);
	*log = (struct vhdx_log){ 0 };
}
