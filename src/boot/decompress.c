/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decompression of kernels on the host, each format by its own library.
 * Formats: RFC 1952 (gzip), RFC 8878 (zstd), the .xz and .lzma file formats of
 * XZ Utils, bzip2, the LZ4 frame format and its legacy form. Any thread.
 *
 * The output buffer is an address range as large as the output may become;
 * the host gives memory to the part that is written. So each library runs once,
 * writing where the result stays, and nothing grows or moves.
 */
#include "boot.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>

#include <bzlib.h>
#include <lz4.h>
#include <lz4frame.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "err.h"
#include "wire/le.h"

#define OUTPUT_MAX (3ull << 30) /* zlib and bzip2 count in unsigned int */
#define XZ_MEMORY_MAX (256ull << 20) /* Linux is packed with dictionaries of up to 128 MiB */

#define LZ4_LEGACY_MAGIC 0x184c2102u
#define LZ4_LEGACY_BLOCK (8u << 20) /* size of every block but the last, unpacked */

struct input {
	const uint8_t *p;
	size_t len;
};

struct output {
	uint8_t *p;
	size_t len, max;
	size_t room; /* somewhat more than max, so that an excess is seen */
};

/* Why a decompressor stopped. */
enum result {
	DONE,
	CUT_SHORT, /* input ended early */
	DAMAGED,
	TOO_BIG, /* output reached room */
	NO_MEMORY,
	XZ_NEEDS_MORE, /* a dictionary of more than XZ_MEMORY_MAX */
};

static enum result run_gzip(struct input in, struct output *out)
{
	z_stream z = {
		.next_in = (uint8_t *)in.p,
		.avail_in = (unsigned)in.len,
		.next_out = out->p,
		.avail_out = (unsigned)out->room,
	};
	int ret;

	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		return NO_MEMORY;
	ret = inflate(&z, Z_FINISH);
	out->len = out->room - z.avail_out;
	inflateEnd(&z);
	switch (ret) {
	case Z_STREAM_END:
		return DONE;
	case Z_BUF_ERROR:
		return z.avail_out ? CUT_SHORT : TOO_BIG;
	case Z_MEM_ERROR:
		return NO_MEMORY;
	default:
		return DAMAGED;
	}
}

static enum result run_bzip2(struct input in, struct output *out)
{
	unsigned len = (unsigned)out->room;
	int ret = BZ2_bzBuffToBuffDecompress((char *)out->p, &len, (char *)in.p, (unsigned)in.len,
					     0, 0);

	out->len = len;
	switch (ret) {
	case BZ_OK:
		return DONE;
	case BZ_OUTBUFF_FULL:
		return TOO_BIG;
	case BZ_UNEXPECTED_EOF:
		return CUT_SHORT;
	case BZ_MEM_ERROR:
		return NO_MEMORY;
	default:
		return DAMAGED;
	}
}

static enum result run_lzma_decoder(lzma_ret init, lzma_stream *s, struct input in,
				    struct output *out)
{
	lzma_ret ret = init;

	s->next_in = in.p;
	s->avail_in = in.len;
	s->next_out = out->p;
	s->avail_out = out->room;
	if (ret == LZMA_OK)
		ret = lzma_code(s, LZMA_FINISH);
	out->len = out->room - s->avail_out;
	lzma_end(s);
	switch (ret) {
	case LZMA_STREAM_END:
		return DONE;
	case LZMA_OK: /* it stops for want of input or of room */
	case LZMA_BUF_ERROR:
		return s->avail_out ? CUT_SHORT : TOO_BIG;
	case LZMA_MEM_ERROR:
		return NO_MEMORY;
	case LZMA_MEMLIMIT_ERROR:
		return XZ_NEEDS_MORE;
	default:
		return DAMAGED;
	}
}

static enum result run_xz(struct input in, struct output *out)
{
	lzma_stream s = LZMA_STREAM_INIT;

	return run_lzma_decoder(lzma_stream_decoder(&s, XZ_MEMORY_MAX, 0), &s, in, out);
}

static enum result run_lzma(struct input in, struct output *out)
{
	lzma_stream s = LZMA_STREAM_INIT;

	return run_lzma_decoder(lzma_alone_decoder(&s, XZ_MEMORY_MAX), &s, in, out);
}

static enum result run_zstd(struct input in, struct output *out)
{
	/* One call for the whole frame needs no window buffer, which may be 128 MiB. */
	size_t frame = ZSTD_findFrameCompressedSize(in.p, in.len);
	size_t n;

	if (ZSTD_isError(frame))
		return ZSTD_getErrorCode(frame) == ZSTD_error_srcSize_wrong ? CUT_SHORT : DAMAGED;
	n = ZSTD_decompress(out->p, out->room, in.p, frame);
	if (!ZSTD_isError(n)) {
		out->len = n;
		return DONE;
	}
	switch (ZSTD_getErrorCode(n)) {
	case ZSTD_error_dstSize_tooSmall:
		return TOO_BIG;
	case ZSTD_error_memory_allocation:
		return NO_MEMORY;
	default:
		return DAMAGED;
	}
}

static uint32_t get_le32(const uint8_t *p)
{
	struct le32 v;

	memcpy(&v, p, sizeof(v));
	return le32_to_cpu(v);
}

/*
 * Legacy frames: a magic number, then blocks, each with its packed size in front. Nothing
 * marks the end: a size with no block behind it is what Linux's build appends.
 */
static enum result run_lz4_legacy(struct input in, struct output *out)
{
	size_t at = 4;

	while (in.len - at > 4) {
		uint32_t size = get_le32(in.p + at);
		size_t room = out->room - out->len;
		int n;

		at += 4;
		if (size == LZ4_LEGACY_MAGIC) /* another frame follows */
			continue;
		if (size > (uint32_t)LZ4_compressBound(LZ4_LEGACY_BLOCK))
			return DAMAGED;
		if (size > in.len - at)
			return CUT_SHORT;
		if (out->len > out->max)
			return TOO_BIG;
		if (room > LZ4_LEGACY_BLOCK)
			room = LZ4_LEGACY_BLOCK;
		n = LZ4_decompress_safe((const char *)in.p + at, (char *)out->p + out->len,
					(int)size, (int)room);
		if (n < 0)
			return DAMAGED;
		out->len += (size_t)n;
		at += size;
	}
	return out->len ? DONE : CUT_SHORT;
}

static enum result run_lz4_frame(struct input in, struct output *out)
{
	const LZ4F_decompressOptions_t opts = { .stableDst = 1 };
	LZ4F_dctx *ctx;
	size_t at = 0, more;
	enum result ret;

	if (LZ4F_isError(LZ4F_createDecompressionContext(&ctx, LZ4F_VERSION)))
		return NO_MEMORY;
	do {
		size_t got = out->room - out->len, used = in.len - at;

		more = LZ4F_decompress(ctx, out->p + out->len, &got, in.p + at, &used, &opts);
		if (LZ4F_isError(more)) {
			ret = DAMAGED;
			break;
		}
		out->len += got;
		at += used;
		ret = !more ? DONE : out->len == out->room ? TOO_BIG : CUT_SHORT;
		if (!got && !used)
			break;
	} while (more);
	LZ4F_freeDecompressionContext(ctx);
	return ret;
}

static enum result run_lz4(struct input in, struct output *out)
{
	return get_le32(in.p) == LZ4_LEGACY_MAGIC ? run_lz4_legacy(in, out)
						  : run_lz4_frame(in, out);
}

static const struct {
	const char *name;
	uint8_t magic[6];
	uint8_t magic_len;
	enum result (*run)(struct input in, struct output *out);
} formats[] = {
	[COMPRESS_NONE] = { .name = "not compressed" },
	[COMPRESS_GZIP] = { "gzip", { 0x1f, 0x8b, 0x08 }, 3, run_gzip },
	[COMPRESS_BZIP2] = { "bzip2", { 'B', 'Z', 'h' }, 3, run_bzip2 },
	/* no magic proper: the usual properties, and a dictionary of whole 64 KiB */
	[COMPRESS_LZMA] = { "lzma", { 0x5d, 0x00, 0x00 }, 3, run_lzma },
	[COMPRESS_XZ] = { "xz", { 0xfd, '7', 'z', 'X', 'Z', 0 }, 6, run_xz },
	[COMPRESS_LZ4] = { "lz4", { 0x02, 0x21, 0x4c, 0x18 }, 4, run_lz4 },
	[COMPRESS_ZSTD] = { "zstd", { 0x28, 0xb5, 0x2f, 0xfd }, 4, run_zstd },
	[COMPRESS_LZO] = { "lzo", { 0x89, 'L', 'Z', 'O' }, 4, NULL },
};

enum compression compression_detect(const uint8_t *p, size_t len)
{
	static const uint8_t lz4_frame[] = { 0x04, 0x22, 0x4d, 0x18 };

	if (len < 16)
		return COMPRESS_NONE;
	if (!memcmp(p, lz4_frame, sizeof(lz4_frame)))
		return COMPRESS_LZ4;
	for (unsigned c = 0; c < sizeof(formats) / sizeof(formats[0]); c++) {
		if (formats[c].magic_len && !memcmp(p, formats[c].magic, formats[c].magic_len))
			return (enum compression)c;
	}
	return COMPRESS_NONE;
}

const char *compression_name(enum compression c)
{
	return formats[c].name;
}

static int explain(enum result r, const char *name, size_t max, struct err *e)
{
	switch (r) {
	case TOO_BIG:
		return err_set(e, ERR_INPUT, E2BIG, "the %s data unpacks to more than %zu bytes",
			       name, max);
	case CUT_SHORT:
		return err_set(e, ERR_INPUT, EINVAL, "the %s data is cut short", name);
	case NO_MEMORY:
		return err_set(e, ERR_HOST, ENOMEM, "out of memory while unpacking %s data", name);
	case XZ_NEEDS_MORE:
		return err_set(e, ERR_INPUT, EINVAL,
			       "the %s data needs more than %llu MiB to unpack it", name,
			       XZ_MEMORY_MAX >> 20);
	default:
		return err_set(e, ERR_INPUT, EINVAL, "the %s data is damaged", name);
	}
}

static size_t page_round(size_t len)
{
	return (len + 4095) & ~(size_t)4095;
}

int decompress(enum compression c, const uint8_t *in, size_t in_len, size_t max, uint8_t **out,
	       size_t *out_len, struct err *e)
{
	struct output o = { .max = max < OUTPUT_MAX ? max : OUTPUT_MAX };
	enum result r;

	*out = NULL;
	*out_len = 0;
	if (!formats[c].run) {
		err_set(e, ERR_INPUT, EINVAL, "%s data cannot be unpacked", formats[c].name);
		err_hint(e,
			 "unpack the kernel by other means, or build it with another compression");
		return -EINVAL;
	}
	if (in_len > INT_MAX || in_len < 16)
		return err_set(e, ERR_INPUT, EINVAL, "%zu bytes of %s data cannot be unpacked",
			       in_len, formats[c].name);
	o.room = page_round(o.max + 1) + LZ4_LEGACY_BLOCK;
	o.p = mmap(NULL, o.room, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (o.p == MAP_FAILED)
		return err_set(e, ERR_HOST, ENOMEM,
			       "the host has not got the memory to unpack the %s data",
			       formats[c].name);
	/* Filling large pages in takes half the time. A host without them does without. */
	madvise(o.p, o.room, MADV_HUGEPAGE);

	r = formats[c].run((struct input){ in, in_len }, &o);
	if (r == DONE && o.len > o.max)
		r = TOO_BIG;
	if (r != DONE) {
		munmap(o.p, o.room);
		return explain(r, formats[c].name, o.max, e);
	}
	/* decompress_free knows only the length. */
	munmap(o.p + page_round(o.len + 1), o.room - page_round(o.len + 1));
	*out = o.p;
	*out_len = o.len;
	return 0;
}

void decompress_free(uint8_t *p, size_t len)
{
	if (p)
		munmap(p, page_round(len + 1));
}
