/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Decompression on the host: round trips, damage, early ends, bombs. */
#include "boot_images.h"

static const enum compression all[] = { COMPRESS_GZIP, COMPRESS_BZIP2, COMPRESS_LZMA,
					COMPRESS_XZ,   COMPRESS_LZ4,   COMPRESS_ZSTD };
#define N_ALL ((int)(sizeof(all) / sizeof(all[0])))

static int unpack(enum compression c, struct buf in, size_t max, struct buf *out, struct err *e)
{
	uint8_t *exact = malloc(in.len);
	int ret;

	memcpy(exact, in.p, in.len);
	memset(e, 0, sizeof(*e));
	ret = decompress(c, exact, in.len, max, &out->p, &out->len, e);
	free(exact);
	if (ret) {
		ck_assert_ptr_null(out->p);
		ck_assert_int_eq(ret, -e->code);
		ck_assert_ptr_nonnull(strstr(e->msg, compression_name(c)));
	}
	return ret;
}

static void check_round_trip(enum compression c, struct buf packed, struct buf plain)
{
	struct buf out;
	struct err e;

	ck_assert_int_eq(compression_detect(packed.p, packed.len), c);
	/* max exactly what there is; then one byte less */
	ck_assert_int_eq(unpack(c, packed, plain.len, &out, &e), 0);
	ck_assert_uint_eq(out.len, plain.len);
	ck_assert_mem_eq(out.p, plain.p, plain.len);
	decompress_free(out.p, out.len);
	ck_assert_int_eq(unpack(c, packed, plain.len - 1, &out, &e), -E2BIG);
	ck_assert_int_eq(e.status, ERR_INPUT);

	/* What the kernel's build appends is not looked at. */
	buf_add_le32(&packed, (uint32_t)plain.len);
	ck_assert_int_eq(unpack(c, packed, SIZE_MAX, &out, &e), 0);
	ck_assert_uint_eq(out.len, plain.len);
	ck_assert_mem_eq(out.p, plain.p, plain.len);
	decompress_free(out.p, out.len);
	free(packed.p);
}

START_TEST(round_trip)
{
	struct buf plain = buf_pattern(300000, 1);

	check_round_trip(all[_i], pack(all[_i], plain), plain);
	plain.len = 4096;
	check_round_trip(all[_i], pack(all[_i], plain), plain);
	free(plain.p);
}
END_TEST

/* More than one 8 MiB block, the last one short; and two frames in a row. */
START_TEST(lz4_legacy_blocks)
{
	struct buf plain = buf_pattern(17 * MiB + 123, 2), a = { plain.p, 5000 },
		   rest = { plain.p + 5000, 9 * MiB }, two = { plain.p, 5000 + 9 * MiB };
	struct buf first = pack(COMPRESS_LZ4, a), second = pack(COMPRESS_LZ4, rest);

	check_round_trip(COMPRESS_LZ4, pack(COMPRESS_LZ4, plain), plain);
	buf_add(&first, second.p, second.len);
	check_round_trip(COMPRESS_LZ4, first, two);
	free(second.p);
	free(plain.p);
}
END_TEST

START_TEST(lz4_standard_frame)
{
	struct buf plain = buf_pattern(300000, 3), packed = pack_lz4_frame(plain), out;
	struct err e;

	for (size_t len = 16; len < packed.len; len += packed.len / 50) {
		ck_assert_int_eq(unpack(COMPRESS_LZ4, (struct buf){ packed.p, len }, MiB, &out, &e),
				 -EINVAL);
		ck_assert_ptr_nonnull(strstr(e.msg, "cut short"));
	}
	packed.p[packed.len / 2] ^= 1;
	ck_assert_int_eq(unpack(COMPRESS_LZ4, packed, MiB, &out, &e), -EINVAL);
	packed.p[packed.len / 2] ^= 1;
	check_round_trip(COMPRESS_LZ4, packed, plain);
	free(plain.p);
}
END_TEST

/* As the zstd program makes them: with the content's size in the header. */
START_TEST(zstd_with_size)
{
	struct buf plain = buf_pattern(300000, 4), packed = buf_new(ZSTD_compressBound(plain.len));

	packed.len = ZSTD_compress(packed.p, packed.len, plain.p, plain.len, 3);
	check_round_trip(COMPRESS_ZSTD, packed, plain);
	free(plain.p);
}
END_TEST

START_TEST(cut_short)
{
	struct buf plain = buf_pattern(100000, 5), packed = pack(all[_i], plain), out;
	struct err e;

	for (size_t len = 16; len < packed.len; len += 1 + packed.len / 200) {
		int ret = unpack(all[_i], (struct buf){ packed.p, len }, MiB, &out, &e);

		ck_assert_msg(ret == -EINVAL, "%s of %zu bytes cut to %zu: %d",
			      compression_name(all[_i]), packed.len, len, ret);
		ck_assert_int_eq(e.status, ERR_INPUT);
	}
	free(packed.p);
	free(plain.p);
}
END_TEST

/* Formats with a checksum find every damage; legacy lz4 has none, but must not crash. */
START_TEST(damaged)
{
	struct buf plain = buf_pattern(100000, 6), packed = pack(all[_i], plain), out;
	bool checked = all[_i] != COMPRESS_LZ4 && all[_i] != COMPRESS_LZMA;
	unsigned found = 0, tried = 0;
	struct err e;

	for (size_t at = 16; at < packed.len; at += 1 + packed.len / 300) {
		int ret;

		packed.p[at] ^= 0x10;
		ret = unpack(all[_i], packed, MiB, &out, &e);
		packed.p[at] ^= 0x10;
		tried++;
		found += ret != 0;
		if (!ret) {
			ck_assert_msg(!checked || (out.len == plain.len &&
						   !memcmp(out.p, plain.p, plain.len)),
				      "%s: damage at %zu of %zu not found",
				      compression_name(all[_i]), at, packed.len);
			decompress_free(out.p, out.len);
		} else {
			ck_assert(ret == -EINVAL || ret == -E2BIG);
		}
	}
	if (checked)
		ck_assert_uint_gt(found, tried * 9 / 10);
	free(packed.p);
	free(plain.p);
}
END_TEST

/* 64 MiB of zeros in little: bounded by max. */
START_TEST(bomb)
{
	struct buf zeros = buf_new(64 * MiB), packed = pack(all[_i], zeros), out;
	struct err e;

	ck_assert_uint_lt(packed.len, MiB);
	ck_assert_int_eq(unpack(all[_i], packed, 10 * MiB, &out, &e), -E2BIG);
	ck_assert_ptr_nonnull(strstr(e.msg, "10485760"));
	free(packed.p);
	free(zeros.p);
}
END_TEST

START_TEST(lz4_absurd_block)
{
	struct buf b = buf_new(0), out;
	struct err e;

	buf_add_le32(&b, 0x184c2102);
	buf_add_le32(&b, 0xfffffff0);
	buf_add(&b, "0123456789abcdef", 16);
	ck_assert_int_eq(unpack(COMPRESS_LZ4, b, MiB, &out, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.msg, "damaged"));
	free(b.p);
}
END_TEST

/* A dictionary of 3 GiB asked for in the header of little data. */
START_TEST(lzma_absurd_dictionary)
{
	struct buf plain = buf_pattern(5000, 7), packed = pack(COMPRESS_LZMA, plain), out;
	struct err e;

	packed.p[4] = 0xc0;
	ck_assert_int_eq(unpack(COMPRESS_LZMA, packed, MiB, &out, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.msg, "256 MiB"));
	free(packed.p);
	free(plain.p);
}
END_TEST

START_TEST(lzo_is_named)
{
	static const uint8_t lzo[32] = "\x89LZO\0\r\n\x1a\n";
	struct buf out;
	struct err e;

	ck_assert_int_eq(compression_detect(lzo, sizeof(lzo)), COMPRESS_LZO);
	ck_assert_int_eq(unpack(COMPRESS_LZO, (struct buf){ (uint8_t *)lzo, 32 }, MiB, &out, &e),
			 -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.msg, "lzo"));
	ck_assert_str_ne(e.hint, "");
}
END_TEST

START_TEST(detect)
{
	ck_assert_int_eq(compression_detect((const uint8_t *)"\x1f\x8b\x08", 3), COMPRESS_NONE);
	ck_assert_int_eq(compression_detect((const uint8_t *)"0123456789abcdef", 16),
			 COMPRESS_NONE);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("decompress");

	tcase_add_loop_test(tc, round_trip, 0, N_ALL);
	tcase_add_test(tc, lz4_legacy_blocks);
	tcase_add_test(tc, lz4_standard_frame);
	tcase_add_test(tc, zstd_with_size);
	tcase_add_loop_test(tc, cut_short, 0, N_ALL);
	tcase_add_loop_test(tc, damaged, 0, N_ALL);
	tcase_add_loop_test(tc, bomb, 0, N_ALL);
	tcase_add_test(tc, lz4_absurd_block);
	tcase_add_test(tc, lzma_absurd_dictionary);
	tcase_add_test(tc, lzo_is_named);
	tcase_add_test(tc, detect);
	return run_case("boot: decompression", tc);
}
