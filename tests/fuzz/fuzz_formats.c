/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: images of the formats vdi, vmdk, vhdx and vpc, and of anything that is
 * probed. The first byte of the input says which format, whether checksums are made to fit
 * first, whether the image is written, and whether requests follow: a byte with
 * their number, and four bytes each. The rest is a file, see mem_disk.h. What opens is read, and
 * written, here and there; an error has a message. Or the image is made by the driver, of the size
 * that the file says, its options chosen by how much of the input is left; then what the requests
 * wrote must be there, now and when it is opened again, and check must be content.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../src/block/internal.h"
#include "mem_disk.h"
#include "opts.h"
#include "props.h"
#include "wire/be.h"
#include "wire/vhd.h"
#include "wire/vhdx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct blk_driver blk_raw, blk_vdi, blk_vhdx, blk_vmdk, blk_vpc;

const struct blk_driver *const blk_drivers[] = {
	&blk_raw, &blk_vdi, &blk_vhdx, &blk_vmdk, &blk_vpc, &mem_disk, NULL,
};

/* Of the first byte. */
enum { FORMAT = 7, MEND = 8, WRITE = 16, REQUESTS = 32, CREATE = 64 };
static const char *const formats[] = { NULL, "vdi", "vmdk", "vhdx", "vpc", "raw", NULL, NULL };

/* --- checksums, which a mutation never meets ------------------------------------------------- */

static uint32_t crc32c(const uint8_t *p, size_t len)
{
	uint32_t c = UINT32_MAX;

	while (len--) {
		c ^= *p++;
		for (unsigned i = 0; i < 8; i++)
			c = c >> 1 ^ (c & 1 ? 0x82f63b78u : 0);
	}
	return ~c;
}

static void mend_vhdx(uint64_t off, uint32_t len, const char *signature)
{
	static uint8_t buf[VHDX_REGIONS_SIZE];
	struct le32 sum;

	if (off + len > mem_disk_file.size)
		return;
	mem_disk_copy(BLK_READ, off, buf, len);
	if (memcmp(buf, signature, 4) != 0)
		return;
	memset(buf + 4, 0, 4);
	sum = cpu_to_le32(crc32c(buf, len));
	mem_disk_copy(BLK_WRITE, off + 4, (uint8_t *)&sum, 4);
}

/* The entries at the beginning of a log. */
static void mend_log(void)
{
	uint64_t at = 1 << 20;

	for (unsigned i = 0; i < 8; i++) {
		struct vhdx_log_entry h;
		uint32_t len;

		if (at + sizeof(h) > mem_disk_file.size)
			return;
		mem_disk_copy(BLK_READ, at, (uint8_t *)&h, sizeof(h));
		len = le32_to_cpu(h.entry_length);
		if (!len || len > VHDX_REGIONS_SIZE)
			len = 4096;
		mend_vhdx(at, len, "loge");
		at += len;
	}
}

static void mend_vhd(uint64_t off, uint32_t len, size_t field)
{
	uint8_t buf[1024];
	uint32_t sum = 0;
	struct be32 be;

	if (off > mem_disk_file.size || len > mem_disk_file.size - off)
		return;
	mem_disk_copy(BLK_READ, off, buf, len);
	memset(buf + field, 0, 4);
	for (uint32_t i = 0; i < len; i++)
		sum += buf[i];
	be = cpu_to_be32(~sum);
	mem_disk_copy(BLK_WRITE, off + field, (uint8_t *)&be, 4);
}

static void mend(const char *format)
{
	if (format && !strcmp(format, "vhdx")) {
		mend_vhdx(VHDX_HEADER1, sizeof(struct vhdx_header), "head");
		mend_vhdx(VHDX_HEADER2, sizeof(struct vhdx_header), "head");
		mend_vhdx(VHDX_REGIONS1, VHDX_REGIONS_SIZE, "regi");
		mend_vhdx(VHDX_REGIONS2, VHDX_REGIONS_SIZE, "regi");
		mend_log();
	}
	if (format && !strcmp(format, "vpc")) {
		mend_vhd(0, 512, offsetof(struct vhd_footer, checksum));
		mend_vhd(512, 1024, offsetof(struct vhd_dynamic, checksum));
		if (mem_disk_file.size >= 512)
			mend_vhd(mem_disk_file.size - 512, 512,
				 offsetof(struct vhd_footer, checksum));
	}
}

/* --- use ---------------------------------------------------------------------------------------
 */

/* The disk's ends, and places between them of all magnitudes. */
static uint64_t place(uint64_t size, unsigned i)
{
	return i < 2 ? i * 512 : i == 2 ? size - 512 : (size >> (i - 2)) / 512 * 512;
}

static void look_around(struct blk_node *n, bool write)
{
	static uint8_t buf[192 << 10];

	for (unsigned i = 0; n->size && i < 24; i++) {
		uint64_t at = place(n->size, i), left, bytes;
		size_t len = i % 3 ? 1536 : sizeof(buf);
		unsigned flags;

		if (at >= n->size)
			continue;
		left = n->size - at;
		len = left < len ? (size_t)left : len;
		if (!blk_node_status(n, at, left, &bytes, &flags) && (!bytes || bytes > left))
			abort();
		if (write && i % 2) {
			blk_node_pwrite(n, at, buf, len);
			blk_node_zero(n, at, len / 2, 0);
		}
		blk_node_pread(n, at, buf, len);
	}
	blk_node_flush(n);
}

static void whole_image(struct blk_node *n)
{
	const struct blk_image_ops *ops = n->drv->image;
	struct blk_check found = { 0 };
	struct err e;
	void *info;

	if (!ops)
		return;
	if (ops->check)
		ops->check(n, 0, &found, &e);
	if (ops->cluster_size)
		ops->cluster_size(n);
	info = ops->info ? ops->info(n) : NULL;
	if (info)
		json_decref(info);
}

/* --- requests, and what they must leave ------------------------------------------------------- */

enum { SECTOR = 512, KNOWN = 1 << 14, LENGTH_MOST = 96 };
#define UNKNOWN 256u /* a value that no sector has */

/* Sectors that were touched; each that is known is full of its value. */
static struct {
	uint64_t sector; /* from 1 on; 0: unused */
	uint32_t value;
} known[KNOWN];

static void remember(uint64_t off, uint64_t len, uint32_t value)
{
	for (uint64_t s = off / SECTOR + 1; s <= (off + len) / SECTOR; s++) {
		size_t at = (size_t)(s * 2654435761u % KNOWN);

		while (known[at].sector && known[at].sector != s)
			at = (at + 1) % KNOWN;
		known[at].sector = s;
		known[at].value = value;
	}
}

static void verify(struct blk_node *n)
{
	uint8_t buf[SECTOR], want[SECTOR];

	for (size_t i = 0; i < KNOWN; i++) {
		if (!known[i].sector || known[i].value == UNKNOWN)
			continue;
		memset(want, (int)known[i].value, SECTOR);
		if (!blk_node_pread(n, (known[i].sector - 1) * SECTOR, buf, SECTOR) &&
		    !memcmp(buf, want, SECTOR))
			continue;
		fprintf(stderr, "sector %" PRIu64 " is not %u\n", known[i].sector - 1,
			known[i].value);
		abort();
	}
}

/* One: what, where (a magnitude, and blocks from there), how much. */
static void request(struct blk_node *n, const uint8_t *r)
{
	static uint8_t buf[LENGTH_MOST * SECTOR];
	uint64_t off = place(n->size, r[1] % 24) + (r[1] / 24) * (512ull << 10);
	uint64_t len = SECTOR * (1 + r[2] % LENGTH_MOST);
	enum blk_op op = (r[0] & 7) < 4   ? BLK_WRITE
			 : (r[0] & 7) < 6 ? BLK_WRITE_ZEROES
					  : BLK_DISCARD;
	unsigned flags = (r[0] & 8 ? BLK_FUA : 0) | (r[0] & 16 ? BLK_UNMAP : 0);
	struct err e;
	int rc;

	if ((r[0] & 7) == 7) {
		blk_node_flush(n);
		return;
	}
	if (r[0] >= 224) {
		if (n->drv->truncate)
			blk_node_truncate(n, (n->size + (uint64_t)r[2] * 262144) / 512 * 512, &e);
		return;
	}
	if (off >= n->size)
		return;
	len = len < n->size - off ? len : n->size - off;
	if (op != BLK_WRITE)
		flags &= ~(unsigned)(op == BLK_DISCARD ? BLK_FUA | BLK_UNMAP : 0);
	else
		flags &= BLK_FUA;
	memset(buf, r[3], len);
	rc = mem_disk_run(n, op, flags, off, len, op == BLK_WRITE ? buf : NULL);
	remember(off, len, rc || op == BLK_DISCARD ? UNKNOWN : op == BLK_WRITE ? r[3] : 0);
}

static void requests(struct blk_node *n, const uint8_t *r, size_t count)
{
	memset(known, 0, sizeof(known));
	for (size_t i = 0; i < count; i++)
		request(n, r + i * 4);
}

/* An image of the driver's own instead of the one in the input. */
static int create(const char *format, unsigned how)
{
	const struct blk_driver *drv = blk_driver_find(format);
	uint64_t size = mem_disk_file.size / SECTOR * SECTOR;
	void *o = calloc(1, drv->image->create_size);
	struct blk_create c = { .size = size, .opts = o };
	char name[64];
	struct err e = { 0 };
	int rc, fd;

	mem_disk_load((const uint8_t[8]){ 0 }, 8);
	fd = memfd_create("image", 0); /* there must be a name; the data are in memory */
	if (fd < 0)
		abort();
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	props_defaults(drv->image->create_props, o);
	for (const struct prop *p = drv->image->create_props; p->name; p++) {
		unsigned choices = 0;

		while (p->choices && p->choices[choices])
			choices++;
		if (choices)
			props_set(drv->image->create_props, o, p->name, p->choices[how % choices],
				  &e);
		else if (p->type == PROP_BOOL && how & 1)
			props_set(drv->image->create_props, o, p->name, "on", &e);
		how /= 2;
	}
	rc = drv->image->create(name, &c, &e);
	if (rc && !e.msg[0])
		abort();
	props_free(drv->image->create_props, o);
	free(o);
	close(fd);
	return rc;
}

/* --- one input --- */

static int open_it(const char *format, const struct blk_open *how, struct blk_node **n)
{
	struct opts o = { 0 };
	struct err e = { 0 };
	bool probed;
	int rc = blk_open_format(mem_disk_node(how), format, &o, how, n, &probed, &e);

	/* It is there, or it says why not. */
	if (rc > 0 || (rc && (!e.msg[0] || !e.status || rc != -e.code)))
		abort();
	return rc;
}

static void close_it(struct blk_node *n)
{
	if (blk_node_in_flight(n))
		abort();
	blk_node_close(n);
}

static void own_image(const char *format, const uint8_t *r, size_t count, unsigned options)
{
	struct blk_open how = { .discard = true };
	struct blk_check found = { 0 };
	struct blk_node *n;
	struct err e;

	if (create(format, options) || open_it(format, &how, &n))
		return;
	requests(n, r, count);
	verify(n);
	blk_node_flush(n);
	close_it(n);
	how.readonly = true;
	if (open_it(format, &how, &n))
		abort();
	verify(n);
	if (n->drv->image->check && (n->drv->image->check(n, 0, &found, &e) || found.corruptions))
		abort();
	close_it(n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct blk_open how = { .discard = true };
	const uint8_t *r = NULL;
	struct blk_node *n;
	const char *format;
	size_t count = 0;
	uint8_t first;

	if (size < 1)
		return 0;
	first = *data++;
	size--;
	if (first & REQUESTS && size) {
		count = *data++ % 64;
		size--;
		count = count < size / 4 ? count : size / 4;
		r = data;
		data += count * 4;
		size -= count * 4;
	}
	if (!mem_disk_load(data, size))
		return 0;
	format = formats[first & FORMAT];
	if (first & CREATE && format && blk_driver_find(format)->image &&
	    blk_driver_find(format)->image->create_props && strcmp(format, "raw")) {
		own_image(format, r, count, (unsigned)(size - 8));
		return 0;
	}
	if (first & MEND)
		mend(format);
	how.readonly = !(first & WRITE);
	if (open_it(format, &how, &n))
		return 0;
	look_around(n, !how.readonly);
	if (!how.readonly)
		requests(n, r, count);
	whole_image(n);
	close_it(n);
	return 0;
}
