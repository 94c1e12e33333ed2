/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: images of the formats vdi, vmdk, vhdx and vpc, and of anything that is
 * probed. The first byte of the input says which format, whether checksums are made to fit
 * first, whether the image is written, and whether its size is changed; the rest is a file, see
 * mem_disk.h. What opens is read, and written, here and there; an error has a message.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/block/internal.h"
#include "mem_disk.h"
#include "opts.h"
#include "wire/be.h"
#include "wire/vhd.h"
#include "wire/vhdx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct blk_driver blk_raw, blk_vdi, blk_vhdx, blk_vmdk, blk_vpc;

const struct blk_driver *const blk_drivers[] = {
	&blk_raw, &blk_vdi, &blk_vhdx, &blk_vmdk, &blk_vpc, &mem_disk, NULL,
};

/* Of the first byte. */
enum { FORMAT = 7, MEND = 8, WRITE = 16, RESIZE = 32 };
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

/* Longer and shorter; then what was there before is asked for again. */
static void resize(struct blk_node *n)
{
	uint64_t sizes[] = { n->size + 512, n->size * 3 + 4096, n->size / 2 / 512 * 512, 0 };

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct err e = { 0 };
		int rc = blk_node_truncate(n, sizes[i], &e);

		if (rc > 0 || (rc && (!e.msg[0] || !e.status)) || (!rc && n->size != sizes[i]))
			abort();
		look_around(n, !n->readonly);
	}
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct blk_open how = { .readonly = true };
	struct opts o = { 0 };
	struct blk_node *n = NULL;
	struct err e = { 0 };
	const char *format;
	bool probed;
	int rc;

	if (size < 1 || !mem_disk_load(data + 1, size - 1))
		return 0;
	format = formats[data[0] & FORMAT];
	if (data[0] & MEND)
		mend(format);
	how.readonly = !(data[0] & WRITE);
	rc = blk_open_format(mem_disk_node(&how), format, &o, &how, &n, &probed, &e);
	/* It is there, or it says why not. */
	if (rc > 0 || (rc && (!e.msg[0] || !e.status || rc != -e.code)))
		abort();
	if (!rc) {
		look_around(n, !how.readonly);
		whole_image(n);
		if (data[0] & RESIZE)
			resize(n);
		if (blk_node_in_flight(n))
			abort();
		blk_node_close(n);
	}
	return 0;
}
