/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Encryption of images: AES modes, PBKDF2 and the anti-forensic splitter by known answers;
 * LUKS headers against qemu-img and qemu-io in both directions, and with each field
 * hostile; the driver luks; secrets.
 *
 * Known answers without a name of a standard were computed by OpenSSL and Python's hashlib.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <nettle/nettle-meta.h>
#include <nettle/sha2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "suite.h"
#include "../../src/block/luks.h"
#include "../../src/block/luks_key.h"
#include "../../src/block/sector_cipher.h"
#include "block_int.h"
#include "err.h"
#include "loop.h"
#include "opts.h"
#include "secret.h"
#include "wire/qcow2.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static char dir[64], path[96];
static struct err e;

static void setup(void)
{
	strcpy(dir, "test_luks-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/image", dir);
}

static void teardown(void)
{
	char cmd[96];

	secrets_wipe();
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static int shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int shell(const char *fmt, ...)
{
	char cmd[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	return system(cmd);
}

#define run(...) ck_assert_msg(shell(__VA_ARGS__) == 0, "a command failed, see above")

static bool says(const char *text)
{
	return strstr(e.msg, text) != NULL;
}

static size_t from_hex(const char *hex, uint8_t *out)
{
	size_t n = 0;

	for (; *hex; hex += 2, n++) {
		char byte[3] = { hex[0], hex[1], '\0' };

		out[n] = (uint8_t)strtoul(byte, NULL, 16);
	}
	return n;
}

static void same(const void *data, const char *hex)
{
	uint8_t want[128];
	size_t n = from_hex(hex, want);

	ck_assert_mem_eq(data, want, n);
}

static void same_sha256(const void *data, size_t len, const char *hex)
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	sha256_update(&ctx, len, data);
	sha256_digest(&ctx, sizeof(digest), digest);
	same(digest, hex);
}

/* --- known answers --------------------------------------------------------------------- */

#define KEY128 "27182818284590452353602874713526"
#define KEY128B "31415926535897932384626433832795"
#define KEY256 "2718281828459045235360287471352662497757247093699959574966967627"
#define KEY256B "3141592653589793238462643383279502884197169399375105820974944592"

static const struct {
	const char *mode, *key;
	uint64_t sector;
	const char *first, *last, *sha256; /* 16 bytes of each end; of all 512 */
} answers[] = {
	/* IEEE 1619-2007, vectors 4, 10 and 14 */
	{ "xts-plain64", KEY128 KEY128B, 0, "27a7479befa1d476489f308cd4cfa6e2",
	  "0a282df920147beabe421ee5319d0568",
	  "ebee4d64dd2395bb2d6a2d37a0a48ecb2bf4913cfc99d27c2214f2f4144715ea" },
	{ "xts-plain64", KEY256 KEY256B, 0xff, "1c3b3a102f770386e4836c99e370cf9b",
	  "c4f36ffda9fcea70b9c6e693e148c151",
	  "e97e974fa393af794f7a4684395814cf820de60a01eaec677d87b452e316b364" },
	{ "xts-plain64", KEY256 KEY256B, 0xffffffffff, "64497e5a831e4a932c09be3e5393376d",
	  "d609d273ad5b0d59631c531f6a0a57b9",
	  "afba71abc4e95b186d89a63a5437c1bafcfd1a18ca273970c534aba4f8d05282" },
	{ "xts-plain", KEY256 KEY256B, 0x100000007, "71450faff57f9c35a3d8806c32519826",
	  "927fa4476939922889cb15c3673451c3",
	  "b621cfcf76c1cf3c4db82d43730c91680383e689c385bd9d19ee0b1f161c9262" },
	{ "cbc-plain64", KEY128, 0x100000007, "06f771467ad5d47d46ca2dc3e0754e06",
	  "ebf2a570e61b5b81ad910b3864e57e62",
	  "b321754480ca25e8a2a753326e6f132602bc3b9b3a6e33029562efa47676c590" },
	{ "cbc-plain64", KEY256, 0x100000007, "61d1143c907775e49de44675ac64b97a",
	  "a9bd30547fa429c82c867379d2769c82",
	  "b392aa152cd287300cd7d2a2d89ba8c10b172010ed28c4095b04944b49825cf2" },
	{ "cbc-plain", KEY128, 0x100000007, "ccd1bf1bbd51ca8f266d5af49edcf4ce",
	  "ae445ab0066ab7e3ff32bce688b1868e",
	  "40be0e7cfed439f53753eac4fd09c67d69a2d3a5f9fb21442fedb29b4f50b250" },
	{ "cbc-essiv:sha256", KEY128, 0x100000007, "3e56abc18768f48b7637178d89f7a4db",
	  "a504d4af57924e2b5b27e6919cb16174",
	  "352aefdb9118541aa7a283dd0fcea72432014befc9fed414bf887edb48744c1e" },
	{ "cbc-essiv:sha256", KEY256, 0x100000007, "a23990b64c110f96d0839cb7e2de483a",
	  "abf4b5c3b12d400b4f856659b5b5f58c",
	  "a4b66ac30ebfec62776965fccbcbe327893951b0c80c632129669ae01f8b7754" },
};

/* Plain bytes 0, 1, ... 255, 0 ... 255; the middle one of three sectors is the vector's. */
static void check_answer(struct sector_cipher *c, uint64_t sector, const char *first,
			 const char *last, const char *sha256)
{
	uint8_t buf[3 * 512], plain[3 * 512];
	unsigned before = sector ? 1 : 0;

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = plain[i] = (uint8_t)i;
	cipher_encrypt(c, sector - before, buf, 3);
	same(buf + before * 512, first);
	same(buf + before * 512 + 496, last);
	same_sha256(buf + before * 512, 512, sha256);
	ck_assert_int_ne(memcmp(buf, buf + 512, 512), 0);
	ck_assert_int_ne(memcmp(buf + 512, buf + 1024, 512), 0);
	cipher_decrypt(c, sector - before, buf, 3);
	ck_assert_mem_eq(buf, plain, sizeof(buf));
}

START_TEST(test_cipher_answers)
{
	uint8_t key[64];
	struct sector_cipher *c;
	size_t len = from_hex(answers[_i].key, key);

	ck_assert_int_eq(cipher_create("aes", answers[_i].mode, key, len, &c), 0);
	check_answer(c, answers[_i].sector, answers[_i].first, answers[_i].last,
		     answers[_i].sha256);
	cipher_free(c);
}
END_TEST

START_TEST(test_qcow_aes)
{
	struct sector_cipher *c;

	ck_assert_int_eq(cipher_create_qcow_aes("pass", 4, &c), 0);
	check_answer(c, 0x100000007, "bf78eaeee4fdab78bc2b48f38a48dd76",
		     "44960c4ce8ac4039790ee9b20592e6c3",
		     "0f0a1abb940cac1a1fe738f0589dcee70d6bb50371218ad109078df72c03dd51");
	cipher_free(c);
	ck_assert_int_eq(cipher_create_qcow_aes("0123456789abcdefX", 17, &c), 0);
	check_answer(c, 0x100000007, "bf3289dee3317642f481783b9dbba505",
		     "a79471a28099bc2f764e0b75a2a50f34",
		     "c72f176d4eedd9725a5f241c5ee46baeca3ee15bcc533f9b88360d5727922f3c");
	cipher_free(c);
}
END_TEST

START_TEST(test_cipher_refused)
{
	static const uint8_t key[128];
	struct sector_cipher *c = NULL;

	ck_assert_int_eq(cipher_create("serpent", "xts-plain64", key, 64, &c), -ENOTSUP);
	ck_assert_int_eq(cipher_create("aes", "xts-plain65", key, 64, &c), -ENOTSUP);
	ck_assert_int_eq(cipher_create("aes", "cbc-essiv:sha1", key, 32, &c), -ENOTSUP);
	ck_assert_int_eq(cipher_create("aes", "", key, 32, &c), -ENOTSUP);
	for (size_t len = 0; len <= 128; len++) {
		int xts = cipher_create("aes", "xts-plain64", key, len, &c);

		ck_assert_int_eq(xts, len == 32 || len == 64 ? 0 : -EINVAL);
		if (!xts)
			cipher_free(c);
		xts = cipher_create("aes", "cbc-plain64", key, len, &c);
		ck_assert_int_eq(xts, len == 16 || len == 32 ? 0 : -EINVAL);
		if (!xts)
			cipher_free(c);
	}
	cipher_free(NULL);
}
END_TEST

START_TEST(test_pbkdf2)
{
	static const struct {
		const char *hash, *pass, *salt;
		unsigned iterations, len;
		const char *key;
	} v[] = {
		/* RFC 6070 */
		{ "sha1", "password", "salt", 1, 20, "0c60c80f961f0e71f3a9b524af6012062fe037a6" },
		{ "sha1", "password", "salt", 4096, 20,
		  "4b007901b765489abead49d926f721d065a429c1" },
		{ "sha1", "passwordPASSWORDpassword", "saltSALTsaltSALTsaltSALTsaltSALTsalt", 4096,
		  25, "3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038" },
		/* RFC 7914, 11 */
		{ "sha256", "passwd", "salt", 1, 64,
		  "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
		  "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783" },
		{ "sha224", "password", "salt", 2, 64,
		  "93200ffa96c5776d38fa10abdf8f5bfc0054b9718513df472d2331d2d1e66a3f"
		  "97b510224f700ce72581ffb10a1c99ec99a8cc1b951851a71f30d9265fccf912" },
		{ "sha384", "password", "salt", 2, 64,
		  "54f775c6d790f21930459162fc535dbf04a939185127016a04176a0730c6f1f4"
		  "fb48832ad1261baadd2cedd50814b1c806ad1bbf43ebdc9d047904bf7ceafe1e" },
		{ "sha512", "password", "salt", 2, 64,
		  "e1d9c16aa681708a45f5c7c4e215ceb66e011a2e9f0040713f18aefdb866d53c"
		  "f76cab2868a39b9f7840edce4fef5a82be67335c77a6068e04112754f27ccf4e" },
	};
	uint8_t out[64];

	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		luks_pbkdf2(luks_hash(v[i].hash), v[i].pass, strlen(v[i].pass), v[i].salt,
			    strlen(v[i].salt), v[i].iterations, out, v[i].len);
		same(out, v[i].key);
	}
	ck_assert_ptr_null(luks_hash("md5"));
	ck_assert_ptr_null(luks_hash(""));
}
END_TEST

START_TEST(test_af_merge)
{
	static const struct {
		const char *hash;
		size_t len;
		const char *key;
	} v[] = {
		{ "sha1", 16, "39dc096a30dbd214b9c8d0fb60f4a268" },
		{ "sha1", 64,
		  "8a13faaf1134a208a52b11bb90efb23bc73485c9724955bb4490b3cbc0117445"
		  "e2a5d442e8a7c9972f3fd39cfffb24b655660a7c77890299cf5f1cb1d91a2588" },
		{ "sha256", 64,
		  "eca873cf6bc22d50feec673a0b4a15fabdf772fc63fe9c91e7c58cbcf0c6f9ab"
		  "530d404ab852310dc1d6f880cf868cfe078f233fafac8b183a8089bbc9a57d2b" },
		{ "sha512", 32,
		  "34287d698b0cad2640a9bc2547bfba5fd04598147ecebdaffe18a1efc932730b" },
		{ "ripemd160", 32,
		  "75ae4e25e855470dc572da0d69f6cf9361413d2949396eb7a173c4284984ccab" },
		{ "sha256", 24, "ee30e412c4fcb3d050e162061113245c9d9fe7a31dae948c" },
	};
	static uint8_t split[64 * LUKS_STRIPES];
	uint8_t key[64];

	for (size_t i = 0; i < sizeof(split); i++)
		split[i] = (uint8_t)(i * 7 + (i >> 8) * 3);
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		luks_af_merge(luks_hash(v[i].hash), split, v[i].len, LUKS_STRIPES, key);
		same(key, v[i].key);
	}
}
END_TEST

START_TEST(test_af_split)
{
	static uint8_t split[24 * LUKS_STRIPES], again[24 * LUKS_STRIPES];
	const struct nettle_hash *sha = luks_hash("sha256");
	uint8_t key[24], back[24];

	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(i + 1);
	ck_assert_int_eq(luks_af_split(sha, key, 24, LUKS_STRIPES, split), 0);
	luks_af_merge(sha, split, 24, LUKS_STRIPES, back);
	ck_assert_mem_eq(key, back, 24);
	ck_assert_int_eq(luks_af_split(sha, key, 24, LUKS_STRIPES, again), 0);
	ck_assert_int_ne(memcmp(split, again, sizeof(split)), 0);
	/* Without any one byte there is no key. */
	for (size_t i = 0; i < sizeof(split); i += 9973) {
		split[i] ^= 1;
		luks_af_merge(sha, split, 24, LUKS_STRIPES, back);
		ck_assert_int_ne(memcmp(key, back, 24), 0);
		split[i] ^= 1;
	}
}
END_TEST

START_TEST(test_measure)
{
	uint32_t n = luks_pbkdf2_measure(luks_hash("sha256"), 64, 100);
	uint32_t more = luks_pbkdf2_measure(luks_hash("sha256"), 64, 1000);

	/* A machine of a thousandth or of a thousand times of this one's speed is not expected. */
	ck_assert_uint_gt(n, 200);
	ck_assert_uint_lt(n, 200000000);
	ck_assert_uint_gt(more, n);
	ck_assert_uint_eq(luks_pbkdf2_measure(luks_hash("sha256"), 64, UINT32_MAX), UINT32_MAX);
}
END_TEST

/* --- headers in memory -------------------------------------------------------------------- */

struct memory {
	uint8_t *data;
	size_t size;
	int fail; /* errno of each access */
	unsigned reads;
};

static int mem_read(void *ctx, uint64_t off, void *buf, size_t len)
{
	struct memory *m = ctx;

	m->reads++;
	if (m->fail)
		return -m->fail;
	ck_assert_uint_le(off, m->size);
	ck_assert_uint_le(len, m->size - off);
	memcpy(buf, m->data + off, len);
	return 0;
}

static int mem_write(void *ctx, uint64_t off, const void *buf, size_t len)
{
	struct memory *m = ctx;

	if (m->fail)
		return -m->fail;
	ck_assert_uint_le(off, m->size);
	ck_assert_uint_le(len, m->size - off);
	memcpy(m->data + off, buf, len);
	return 0;
}

static struct memory mem;

static struct luks_file mem_file(void)
{
	return (struct luks_file){
		.image = "disk.luks",
		.size = mem.size,
		.read = mem_read,
		.write = mem_write,
		.ctx = &mem,
	};
}

static const struct luks_params quick = { .iter_time = 1 };

static struct sector_cipher *must_create(const struct luks_params *p, const char *pass)
{
	struct sector_cipher *c = NULL;
	struct luks_file f;
	uint64_t size;

	ck_assert_msg(!luks_header_size(p, &size, &e), "%s", e.msg);
	mem.data = calloc(1, size);
	mem.size = size;
	f = mem_file();
	ck_assert_msg(!luks_create(&f, p, pass, strlen(pass), &c, &e), "%s", e.msg);
	return c;
}

static int try_header(struct luks_header *h)
{
	struct luks_file f = mem_file();

	memset(&e, 0, sizeof(e));
	return luks_read_header(&f, h, &e);
}

static int try_pass(const char *pass, struct sector_cipher **c)
{
	struct luks_file f = mem_file();
	struct luks_header h;

	ck_assert_msg(!try_header(&h), "%s", e.msg);
	*c = NULL;
	return luks_unlock(&f, &h, pass, strlen(pass), c, &e);
}

static struct luks_wire_header *wire(void)
{
	return (struct luks_wire_header *)(void *)mem.data;
}

static void same_cipher(const struct sector_cipher *a, const struct sector_cipher *b)
{
	uint8_t buf[1024] = { 1, 2, 3 };

	cipher_encrypt(a, 77, buf, 2);
	cipher_decrypt(b, 77, buf, 2);
	for (size_t i = 0; i < sizeof(buf); i++)
		ck_assert_int_eq(buf[i], i < 3 ? (int)i + 1 : 0);
}

START_TEST(test_create_and_unlock)
{
	struct sector_cipher *made = must_create(&quick, "pass phrase"), *c, *c2;
	struct luks_header h;

	ck_assert_int_eq(try_header(&h), 0);
	ck_assert_str_eq(h.cipher, "aes");
	ck_assert_str_eq(h.mode, "xts-plain64");
	ck_assert_str_eq(h.hash, "sha256");
	ck_assert_uint_eq(h.key_bytes, 64);
	ck_assert_uint_eq(strlen(h.uuid), 36);
	ck_assert_uint_ge(h.slot[0].iterations, 1000);
	ck_assert_uint_ge(h.digest_iterations, 1000);
	ck_assert_int_eq(try_pass("pass phrase", &c), 0);
	same_cipher(made, c);
	ck_assert_int_eq(try_pass("pass phrase ", &c2), -EACCES);
	ck_assert(says("disk.luks") && says("fits none of its key slots (1)"));
	ck_assert_ptr_null(c2);
	ck_assert_int_eq(try_pass("", &c2), -EACCES);
	/* Another image has other keys and salts, whatever the passphrase. */
	free(mem.data);
	c2 = must_create(&quick, "pass phrase");
	ck_assert_int_ne(memcmp(wire()->slot[0].salt, h.slot[0].salt, LUKS_SALT), 0);
	ck_assert_int_ne(memcmp(wire()->digest_salt, h.digest_salt, LUKS_SALT), 0);
	ck_assert_str_ne(wire()->uuid, h.uuid);
	{
		uint8_t a[512] = { 0 }, b[512] = { 0 };

		cipher_encrypt(c, 0, a, 1);
		cipher_encrypt(c2, 0, b, 1);
		ck_assert_int_ne(memcmp(a, b, 512), 0);
	}
	cipher_free(c);
	cipher_free(c2);
	cipher_free(made);
	free(mem.data);
}
END_TEST

START_TEST(test_damage)
{
	struct sector_cipher *made = must_create(&quick, "pw"), *c;
	size_t at = be32_to_cpu(wire()->slot[0].key_offset) * (size_t)512;
	struct luks_header h;

	/* Any byte of the key material, the salts, the digest: the passphrase is right no more. */
	uint8_t *const bytes[] = {
		mem.data + at,  mem.data + at + 255999, wire()->slot[0].salt + 31,
		wire()->digest, wire()->digest + 19,    wire()->digest_salt
	};

	for (size_t i = 0; i < ARRAY_SIZE(bytes); i++) {
		*bytes[i] ^= 0x80;
		ck_assert_int_eq(try_pass("pw", &c), -EACCES);
		*bytes[i] ^= 0x80;
	}
	ck_assert_int_eq(try_pass("pw", &c), 0);
	cipher_free(c);

	wire()->slot[0].active = cpu_to_be32(LUKS_SLOT_DISABLED);
	ck_assert_int_eq(try_pass("pw", &c), -EACCES);
	ck_assert(says("all key slots are disabled"));
	/* The key in another slot does as well. */
	wire()->slot[7] = wire()->slot[0];
	wire()->slot[7].active = cpu_to_be32(LUKS_SLOT_ACTIVE);
	ck_assert_int_eq(try_pass("pw", &c), 0);
	cipher_free(c);

	mem.fail = EIO;
	ck_assert_int_eq(try_header(&h), -EIO);
	ck_assert(says("disk.luks: cannot read the LUKS header at 0"));
	mem.fail = 0;
	cipher_free(made);
	free(mem.data);
}
END_TEST

START_TEST(test_unlock_read_error)
{
	struct sector_cipher *made = must_create(&quick, "pw"), *c = NULL;
	struct luks_file f = mem_file();
	struct luks_header h;

	ck_assert_int_eq(try_header(&h), 0);
	mem.fail = ENXIO;
	ck_assert_int_eq(luks_unlock(&f, &h, "pw", 2, &c, &e), -ENXIO);
	ck_assert(says("key material at 4096"));
	ck_assert_int_eq(luks_create(&f, &quick, "pw", 2, NULL, &e), -ENXIO);
	ck_assert(says("cannot write the LUKS header"));
	mem.fail = 0;
	f.size--;
	ck_assert_int_eq(luks_create(&f, &quick, "pw", 2, NULL, &e), -ENOSPC);
	cipher_free(made);
	free(mem.data);
}
END_TEST

START_TEST(test_params)
{
	static const struct {
		struct luks_params p;
		const char *says;
	} bad[] = {
		{ { .cipher_alg = "aes-255" }, "cipher-alg=aes-255" },
		{ { .cipher_alg = "" }, "cipher-alg=" },
		{ { .cipher_mode = "ecb" }, "cipher-mode=ecb" },
		{ { .ivgen_alg = "benbi" }, "ivgen-alg=benbi" },
		{ { .ivgen_alg = "essiv" }, "ivgen-alg=essiv" },
		{ { .cipher_mode = "cbc", .ivgen_alg = "essiv", .ivgen_hash_alg = "sha1" },
		  "ivgen-hash-alg=sha1" },
		{ { .ivgen_hash_alg = "sha256" }, "ivgen-hash-alg=sha256" },
		{ { .hash_alg = "md5" }, "hash-alg=md5" },
	};
	uint64_t size;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert_int_eq(luks_header_size(&bad[i].p, &size, &e), -EINVAL);
		ck_assert_msg(says(bad[i].says), "%s", e.msg);
	}
}
END_TEST

/* --- hostile fields ----------------------------------------------------------------------- */

enum field {
	F_VERSION,
	F_PAYLOAD,
	F_KEY_BYTES,
	F_DIGEST_ITER,
	F_ACTIVE,
	F_ITER,
	F_OFFSET,
	F_STRIPES,
};

static void set_field(enum field f, uint32_t v)
{
	struct luks_wire_header *w = wire();

	switch (f) {
	case F_VERSION:
		w->version = cpu_to_be16((uint16_t)v);
		break;
	case F_PAYLOAD:
		w->payload_offset = cpu_to_be32(v);
		break;
	case F_KEY_BYTES:
		w->key_bytes = cpu_to_be32(v);
		break;
	case F_DIGEST_ITER:
		w->digest_iterations = cpu_to_be32(v);
		break;
	case F_ACTIVE:
		w->slot[0].active = cpu_to_be32(v);
		break;
	case F_ITER:
		w->slot[0].iterations = cpu_to_be32(v);
		break;
	case F_OFFSET:
		w->slot[0].key_offset = cpu_to_be32(v);
		break;
	case F_STRIPES:
		w->slot[0].stripes = cpu_to_be32(v);
		break;
	}
}

/* An image as qemu-img makes it has its payload at sector 4040, its first key at 8. */
START_TEST(test_hostile_numbers)
{
	static const struct {
		enum field f;
		uint32_t value;
		int rc;
		const char *field, *shown;
	} v[] = {
		{ F_VERSION, 0, -ENOTSUP, "version", "0" },
		{ F_VERSION, 2, -ENOTSUP, "version", "2" },
		{ F_VERSION, 0xffff, -ENOTSUP, "version", "65535" },
		{ F_PAYLOAD, 0, -EINVAL, "payload-offset", "0" },
		{ F_PAYLOAD, 1, -EINVAL, "payload-offset", "1" },
		{ F_PAYLOAD, 4041, -EINVAL, "payload-offset", "4041" },
		{ F_PAYLOAD, 507, -EINVAL, "key-material-offset", "507" },
		{ F_PAYLOAD, 0xffffffff, -EINVAL, "payload-offset", "4294967295" },
		{ F_KEY_BYTES, 0, -EINVAL, "key-bytes", "0" },
		{ F_KEY_BYTES, 63, -EINVAL, "key-bytes", "63" },
		{ F_KEY_BYTES, 65, -EINVAL, "key-bytes", "65" },
		{ F_KEY_BYTES, 16, -EINVAL, "key-bytes", "16" },
		{ F_KEY_BYTES, 48, -EINVAL, "key-bytes", "48" },
		{ F_KEY_BYTES, 0xffffffff, -EINVAL, "key-bytes", "4294967295" },
		{ F_DIGEST_ITER, 0, -EINVAL, "mk-digest-iter", "0" },
		{ F_DIGEST_ITER, LUKS_ITERATIONS_MAX + 1, -EINVAL, "mk-digest-iter", "67108865" },
		{ F_DIGEST_ITER, 0xffffffff, -EINVAL, "mk-digest-iter", "4294967295" },
		{ F_ACTIVE, 0, -EINVAL, "key slot 0: active", "0x00000000" },
		{ F_ACTIVE, LUKS_SLOT_ACTIVE + 1, -EINVAL, "key slot 0: active", "0x00ac71f4" },
		{ F_ACTIVE, LUKS_SLOT_DISABLED - 1, -EINVAL, "key slot 0: active", "0x0000deac" },
		{ F_ACTIVE, 0xffffffff, -EINVAL, "key slot 0: active", "0xffffffff" },
		{ F_ITER, 0, -EINVAL, "key slot 0: iterations", "0" },
		{ F_ITER, LUKS_ITERATIONS_MAX + 1, -EINVAL, "key slot 0: iterations", "67108865" },
		{ F_ITER, 0xffffffff, -EINVAL, "key slot 0: iterations", "4294967295" },
		{ F_OFFSET, 0, -EINVAL, "key slot 0: key-material-offset", "0" },
		{ F_OFFSET, 1, -EINVAL, "key slot 0: key-material-offset", "1" },
		{ F_OFFSET, 4040 - 499, -EINVAL, "key slot 0: key-material-offset", "3541" },
		{ F_OFFSET, 0xffffffff, -EINVAL, "key slot 0: key-material-offset", "4294967295" },
		{ F_STRIPES, 0, -EINVAL, "key slot 0: stripes", "0" },
		{ F_STRIPES, 3999, -EINVAL, "key slot 0: stripes", "3999" },
		{ F_STRIPES, 4001, -EINVAL, "key slot 0: stripes", "4001" },
		{ F_STRIPES, 0xffffffff, -EINVAL, "key slot 0: stripes", "4294967295" },
		/* At the edge: these are right. */
		{ F_PAYLOAD, 508, 0, NULL, NULL },
		{ F_PAYLOAD, 4039, 0, NULL, NULL },
		{ F_DIGEST_ITER, LUKS_ITERATIONS_MAX, 0, NULL, NULL },
		{ F_ITER, LUKS_ITERATIONS_MAX, 0, NULL, NULL },
		{ F_ITER, 1, 0, NULL, NULL },
		{ F_OFFSET, 2, 0, NULL, NULL },
		{ F_OFFSET, 4040 - 500, 0, NULL, NULL },
		{ F_KEY_BYTES, 32, 0, NULL, NULL },
		{ F_ACTIVE, LUKS_SLOT_DISABLED, 0, NULL, NULL },
	};
	struct sector_cipher *made = must_create(&quick, "pw");
	const struct luks_wire_header good = *wire();
	struct luks_header h;

	ck_assert_uint_eq(be32_to_cpu(good.payload_offset), 4040);
	ck_assert_uint_eq(be32_to_cpu(good.slot[0].key_offset), 8);
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		*wire() = good;
		set_field(v[i].f, v[i].value);
		mem.reads = 0;
		ck_assert_msg(try_header(&h) == v[i].rc, "%zu: %s", i, e.msg);
		ck_assert_uint_eq(mem.reads, 1);
		if (v[i].rc)
			ck_assert_msg(says("disk.luks") && says(v[i].field) && says(v[i].shown),
				      "%zu: %s", i, e.msg);
	}
	cipher_free(made);
	free(mem.data);
}
END_TEST

START_TEST(test_hostile_text)
{
	struct sector_cipher *made = must_create(&quick, "pw");
	const struct luks_wire_header good = *wire();
	const struct {
		char *at;
		size_t size;
		const char *field;
		bool known; /* only some texts are right */
	} texts[] = {
		{ wire()->cipher, LUKS_NAME, "cipher-name", true },
		{ wire()->mode, LUKS_NAME, "cipher-mode", true },
		{ wire()->hash, LUKS_NAME, "hash-spec", true },
		{ wire()->uuid, LUKS_UUID, "uuid", false },
	};
	struct luks_header h;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		memset(texts[i].at, 'x', texts[i].size);
		ck_assert_int_eq(try_header(&h), -EINVAL);
		ck_assert(says("disk.luks") && says(texts[i].field) && says("xxxx"));
		texts[i].at[texts[i].size - 1] = '\0';
		ck_assert_int_eq(try_header(&h), texts[i].known ? -ENOTSUP : 0);
		ck_assert(!texts[i].known || says("xxxx"));
		texts[i].at[2] = '\x1b';
		ck_assert_int_eq(try_header(&h), -EINVAL);
		ck_assert(says(texts[i].field) && says("byte 2 is 0x1b") && !says("\x1b"));
		memset(texts[i].at, 0, texts[i].size);
		ck_assert_int_eq(try_header(&h), texts[i].known ? -ENOTSUP : 0);
		*wire() = good;
	}
	for (unsigned i = 0; i < LUKS_MAGIC_LEN; i++) {
		wire()->magic[i]++;
		ck_assert(!luks_probe(mem.data, mem.size));
		ck_assert_int_eq(try_header(&h), -EINVAL);
		ck_assert(says("not a LUKS image"));
		*wire() = good;
	}
	ck_assert(luks_probe(mem.data, 6) && !luks_probe(mem.data, 5));
	cipher_free(made);
	free(mem.data);
}
END_TEST

START_TEST(test_hostile_slots)
{
	struct sector_cipher *made = must_create(&quick, "pw"), *c;
	struct luks_header h;

	/* Of one that is disabled nothing is used. */
	wire()->slot[3].key_offset = cpu_to_be32(UINT32_MAX);
	wire()->slot[3].stripes = cpu_to_be32(0);
	ck_assert_int_eq(try_pass("pw", &c), 0);
	cipher_free(c);
	/* Two active ones in one place. */
	wire()->slot[3] = wire()->slot[0];
	ck_assert_int_eq(try_header(&h), -EINVAL);
	ck_assert(says("key slot 3: key-material-offset 8: overlaps that of key slot 0, 8"));
	wire()->slot[3].key_offset = cpu_to_be32(8 + 499);
	ck_assert_int_eq(try_header(&h), -EINVAL);
	wire()->slot[3].key_offset = cpu_to_be32(8 + 500);
	ck_assert_int_eq(try_header(&h), 0);
	/* Each is within its limit, but together they take too long. */
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		wire()->slot[i] = wire()->slot[0];
		wire()->slot[i].key_offset = cpu_to_be32(8 + i * 500);
		wire()->slot[i].iterations = cpu_to_be32(LUKS_ITERATIONS_MAX / 4);
	}
	wire()->digest_iterations = cpu_to_be32(1);
	ck_assert_int_eq(try_header(&h), -EINVAL);
	ck_assert(says("134217736 together"));
	wire()->slot[7].iterations = cpu_to_be32(LUKS_ITERATIONS_MAX / 4 - 8);
	ck_assert_int_eq(try_header(&h), 0);
	cipher_free(made);
	free(mem.data);
}
END_TEST

START_TEST(test_short_image)
{
	struct sector_cipher *made = must_create(&quick, "pw");
	struct luks_header h;
	static const size_t sizes[] = { 0, 1, 511, 591, 592, 4096, 260096, 2068479 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		mem.size = sizes[i];
		ck_assert_int_eq(try_header(&h), -EINVAL);
		ck_assert(says("disk.luks"));
	}
	mem.size = 2068480;
	ck_assert_int_eq(try_header(&h), 0);
	cipher_free(made);
	free(mem.data);
}
END_TEST

/* --- secrets -------------------------------------------------------------------------------- */

static int add_secret(const char *text)
{
	struct opts o;
	int rc;

	memset(&e, 0, sizeof(e));
	ck_assert_int_eq(opts_parse(&o, text, NULL, &e), 0);
	rc = secret_add(&o, &e);
	opts_free(&o);
	return rc;
}

static void has_secret(const char *id, const void *want, size_t n)
{
	const void *data;
	size_t len;

	ck_assert_msg(!secret_get(id, &data, &len, &e), "%s", e.msg);
	ck_assert_uint_eq(len, n);
	ck_assert(!n || !memcmp(data, want, n));
}

static void write_file(const char *name, const void *data, size_t len)
{
	FILE *f = fopen(name, "we");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
}

START_TEST(test_secrets)
{
	static uint8_t big[(1 << 20) + 1];
	char text[160];

	ck_assert_int_eq(add_secret("id=a,data=pass,,word"), 0);
	has_secret("a", "pass,word", 9);
	ck_assert_int_eq(add_secret("id=b,data=cGFzcwB3,format=base64"), 0);
	has_secret("b", "pass\0w", 6);
	ck_assert_int_eq(add_secret("id=empty,data="), 0);
	has_secret("empty", "", 0);
	write_file(path, "line\nwith\0zero\n", 15);
	snprintf(text, sizeof(text), "id=c,file=%s", path);
	ck_assert_int_eq(add_secret(text), 0);
	has_secret("c", "line\nwith\0zero\n", 15);
	write_file(path, "bGlu\nZQ==\n", 10);
	snprintf(text, sizeof(text), "id=d,file=%s,format=base64", path);
	ck_assert_int_eq(add_secret(text), 0);
	has_secret("d", "line", 4);
	write_file(path, big, sizeof(big) - 1);
	snprintf(text, sizeof(text), "id=big,file=%s", path);
	ck_assert_int_eq(add_secret(text), 0);
	has_secret("big", big, sizeof(big) - 1);
	secrets_wipe();
	ck_assert_int_eq(add_secret("id=a,data=again"), 0);
	has_secret("a", "again", 5);
}
END_TEST

START_TEST(test_secrets_refused)
{
	static const struct {
		const char *text;
		int rc;
		const char *says, *hint;
	} bad[] = {
		{ "data=x", -EINVAL, "id= is missing", "-object secret,id=" },
		{ "id=,data=x", -EINVAL, "id= is missing", "" },
		{ "id=a,data=x", -EEXIST, "id=a", "" },
		{ "id=n", -EINVAL, "neither file= nor data=", "file=PATH" },
		{ "id=n,data=x,file=y", -EINVAL, "both data= and file=", "" },
		{ "id=n,data=SECRET!,format=base64", -EINVAL, "format=base64", "" },
		{ "id=n,data=QQ,format=base64", -EINVAL, "format=base64", "" },
		{ "id=n,data=x,format=hex", -EINVAL, "format", "" },
		{ "id=n,data=x,keyid=k", -EINVAL, "keyid", "" },
		{ "id=n,file=/nonexistent/file", -ENOENT, "file=/nonexistent/file", "" },
		{ "id=n,file=/", -EISDIR, "file=/", "" },
		{ "id=n,file=/dev/zero", -EFBIG, "file=/dev/zero", "" },
	};
	const void *data;
	size_t len;

	ck_assert_int_eq(secret_get("a", &data, &len, &e), -ENOENT);
	ck_assert(says("key-secret=a") && strstr(e.hint, "-object secret,id=a"));
	ck_assert_int_eq(add_secret("id=a,data=pw"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int rc = add_secret(bad[i].text);

		ck_assert_msg(rc == bad[i].rc && says(bad[i].says) && strstr(e.hint, bad[i].hint),
			      "%s: %d %s (%s)", bad[i].text, rc, e.msg, e.hint);
		ck_assert(!says("SECRET!"));
	}
	ck_assert_int_eq(secret_get("n", &data, &len, &e), -ENOENT);
	ck_assert_int_eq(secret_get(NULL, &data, &len, &e), -EINVAL);
	ck_assert(says("key-secret= is missing"));
}
END_TEST

/* --- the driver ------------------------------------------------------------------------------ */

/*
 * qemu-img measures how fast this machine is, and gives up when it finds the clock of
 * a busy one too coarse: again, then.
 */
#define CREATE_TRIES 20

static struct loop *l;
static struct blk_node *n;

static void driver_setup(void)
{
	setup();
	ck_assert_int_eq(loop_create(&l, &e), 0);
	ck_assert_int_eq(add_secret("id=s,data=pw"), 0);
	ck_assert_int_eq(add_secret("id=wrong,data=PW"), 0);
}

static void close_node(void)
{
	if (!n)
		return;
	blk_node_drain(n);
	blk_node_detach(n);
	blk_node_close(n);
	n = NULL;
}

static void driver_teardown(void)
{
	close_node();
	loop_destroy(l);
	teardown();
}

static int try_open(const char *secret, const char *more)
{
	struct blk_open how = { .loop = l };
	struct opts o;
	char text[256];
	int rc;

	snprintf(text, sizeof(text), "file.driver=file,file.filename=%s%s%s%s", path,
		 secret ? ",key-secret=" : "", secret ? secret : "", more);
	ck_assert_int_eq(opts_parse(&o, text, NULL, &e), 0);
	memset(&e, 0, sizeof(e));
	rc = blk_node_open(blk_driver_find("luks"), &o, &how, NULL, &n, &e);
	opts_free(&o);
	if (rc)
		n = NULL;
	return rc;
}

static void must_open(void)
{
	ck_assert_msg(!try_open("s", ""), "%s", e.msg);
	ck_assert_msg(!blk_node_attach(n, l, &e), "%s", e.msg);
}

static void create_image(uint64_t size, struct luks_params p)
{
	const struct blk_create c = { .size = size, .opts = &p };

	if (!p.key_secret)
		p.key_secret = "s";
	if (!p.iter_time)
		p.iter_time = 1;
	ck_assert_msg(!blk_driver_find("luks")->image->create(path, &c, &e), "%s", e.msg);
}

static const struct {
	const char *alg, *mode, *ivgen, *hash;
} kinds[] = {
	{ "aes-256", "xts", "plain64", "sha256" },  { "aes-128", "xts", "plain64", "sha1" },
	{ "aes-256", "cbc", "essiv", "sha512" },    { "aes-128", "cbc", "plain64", "sha256" },
	{ "aes-128", "cbc", "essiv", "sha224" },    { "aes-256", "cbc", "plain", "sha384" },
	{ "aes-256", "xts", "plain", "ripemd160" },
};

#define OPEN_QEMU                                                                                  \
	"--object secret,id=s,data=pw --image-opts driver=luks,file.filename=%s,key-secret=s"

/* The whole disk, decrypted by qemu-img, into buf. */
static void read_by_qemu(void *buf, size_t size)
{
	char plain[112];
	FILE *f;

	snprintf(plain, sizeof(plain), "%s/plain", dir);
	run("qemu-img convert " OPEN_QEMU " -O raw %s", path, plain);
	f = fopen(plain, "re");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fread(buf, 1, size, f), size);
	ck_assert_int_eq(fgetc(f), EOF);
	fclose(f);
}

static void create_by_qemu(int kind, const char *size)
{
	for (int i = 0; i < CREATE_TRIES; i++)
		if (!shell("qemu-img create -q -f luks --object secret,id=s,data=pw -o "
			   "key-secret=s,iter-time=10,cipher-alg=%s,cipher-mode=%s,ivgen-alg=%s,"
			   "hash-alg=%s%s %s %s 2>>%s/log",
			   kinds[kind].alg, kinds[kind].mode, kinds[kind].ivgen, kinds[kind].hash,
			   strcmp(kinds[kind].ivgen, "essiv") != 0 ? "" : ",ivgen-hash-alg=sha256",
			   path, size, dir))
			return;
	ck_abort_msg("qemu-img cannot make an image");
}

enum { KIND_SIZE = 3 << 20 };

/* Writes at any alignment, here; then qemu-img reads the whole. */
static void check_writes(int seed)
{
	uint8_t *shadow = malloc(KIND_SIZE), *got = malloc(KIND_SIZE);

	srand((unsigned)seed);
	for (size_t i = 0; i < KIND_SIZE; i++)
		shadow[i] = (uint8_t)(i * 31 >> 7);
	ck_assert_int_eq(blk_node_pwrite(n, 0, shadow, KIND_SIZE), 0);
	for (unsigned i = 0; i < 60; i++) {
		size_t off = (size_t)rand() % KIND_SIZE, len = (size_t)rand() % 3000 + 1;

		if (len > KIND_SIZE - off)
			len = KIND_SIZE - off;
		memset(shadow + off, rand(), len);
		ck_assert_int_eq(blk_node_pwrite(n, off, shadow + off, len), 0);
		off = (size_t)rand() % (KIND_SIZE - 5000);
		ck_assert_int_eq(blk_node_pread(n, off, got, 4999), 0);
		ck_assert_mem_eq(got, shadow + off, 4999);
	}
	ck_assert_int_eq(blk_node_flush(n), 0);
	close_node();
	read_by_qemu(got, KIND_SIZE);
	ck_assert_mem_eq(got, shadow, KIND_SIZE);
	free(shadow);
	free(got);
}

/* What is told of an image is what qemu-img tells. */
static void check_info(void)
{
	json_t *root, *want, *got;
	char file[112];

	snprintf(file, sizeof(file), "%s/info", dir);
	run("qemu-img info -U --output=json %s >%s", path, file);
	root = json_load_file(file, 0, NULL);
	ck_assert_ptr_nonnull(root);
	want = json_object_get(json_object_get(root, "format-specific"), "data");
	ck_assert_ptr_nonnull(want);
	got = n->drv->image->info(n);
	ck_assert_msg(json_equal(got, want), "%s\n%s", json_dumps(got, 0), json_dumps(want, 0));
	json_decref(got);
	json_decref(root);
}

START_TEST(test_from_qemu)
{
	uint8_t *buf = malloc(KIND_SIZE), *want = malloc(KIND_SIZE);

	create_by_qemu(_i, "3M");
	run("qemu-io " OPEN_QEMU " -c 'write -q -P 0x11 0 64k' -c 'write -q -P 0x22 65536 512' "
	    "-c 'write -q -P 0x33 1M 1M' -c 'write -q -P 0x44 3145216 512' >%s/log",
	    path, dir);
	read_by_qemu(want, KIND_SIZE);
	ck_assert_int_eq(want[0], 0x11);
	ck_assert_int_eq(want[KIND_SIZE - 1], 0x44);
	ck_assert_int_eq(try_open("wrong", ""), -EACCES);
	ck_assert(says(path) && says("passphrase"));
	must_open();
	ck_assert_uint_eq(n->size, KIND_SIZE);
	ck_assert_int_eq(blk_node_pread(n, 0, buf, KIND_SIZE), 0);
	ck_assert_mem_eq(buf, want, KIND_SIZE);
	check_info();
	check_writes(_i + 1);
	free(buf);
	free(want);
}
END_TEST

START_TEST(test_to_qemu)
{
	struct luks_params p = {
		.cipher_alg = (char *)(uintptr_t)kinds[_i].alg,
		.cipher_mode = (char *)(uintptr_t)kinds[_i].mode,
		.ivgen_alg = (char *)(uintptr_t)kinds[_i].ivgen,
		.hash_alg = (char *)(uintptr_t)kinds[_i].hash,
	};
	uint64_t header;

	create_image(KIND_SIZE, p);
	must_open();
	ck_assert_int_eq(luks_header_size(&p, &header, &e), 0);
	ck_assert_uint_eq(n->size, KIND_SIZE);
	ck_assert_uint_eq(n->file->size, header + KIND_SIZE);
	check_info();
	check_writes(_i + 100);
}
END_TEST

/* Larger than the buffer, neither end at a sector's; and only what was meant is written. */
START_TEST(test_large_requests)
{
	enum { SIZE = 5 << 20, OFF = 100, LEN = (4 << 20) + 77 };
	uint8_t *buf = calloc(1, SIZE), *want = calloc(1, SIZE);

	create_image(SIZE, quick);
	must_open();
	ck_assert_int_eq(blk_node_pwrite(n, 0, want, SIZE), 0);
	for (size_t i = 0; i < LEN; i++)
		want[OFF + i] = (uint8_t)(i >> 9 ^ i);
	ck_assert_int_eq(blk_node_pwrite(n, OFF, want + OFF, LEN), 0);
	ck_assert_int_eq(blk_node_pread(n, 0, buf, SIZE), 0);
	ck_assert_mem_eq(buf, want, SIZE);
	memset(buf, 0, SIZE);
	ck_assert_int_eq(blk_node_pread(n, OFF, buf, LEN), 0);
	ck_assert_mem_eq(buf, want + OFF, LEN);
	/* The file holds nothing of it in clear. */
	ck_assert_int_eq(blk_node_pread(n->file, n->file->size - SIZE, buf, SIZE), 0);
	for (size_t i = 0; i + 16 <= SIZE; i += 512)
		ck_assert_int_ne(memcmp(buf + i, want + i, 16), 0);
	free(buf);
	free(want);
}
END_TEST

static unsigned finished;

static void on_done(struct blk_io *io, int ret)
{
	ck_assert_int_eq(ret, 0);
	finished++;
}

/* Parts of the same sectors at once, from scattered buffers: none is lost. */
START_TEST(test_parallel_parts)
{
	enum { N = 64, PART = 40 };
	static uint8_t data[N * PART], got[N * PART];
	struct iovec iov[N][2];
	struct blk_io io[N];

	create_image(1 << 20, quick);
	must_open();
	for (unsigned i = 0; i < N; i++) {
		memset(data + i * PART, (int)i + 1, PART);
		iov[i][0] = (struct iovec){ data + i * PART, 7 };
		iov[i][1] = (struct iovec){ data + i * PART + 7, PART - 7 };
		io[i] = (struct blk_io){ .op = BLK_WRITE,
					 .off = 900 + i * PART,
					 .len = PART,
					 .iov = iov[i],
					 .n_iov = 2,
					 .done = on_done };
		blk_node_submit(n, &io[i]);
		ck_assert_uint_eq(finished, 0);
	}
	blk_node_drain(n);
	ck_assert_uint_eq(finished, N);
	for (unsigned i = 0; i < N; i++) {
		iov[i][0].iov_base = got + i * PART;
		iov[i][1].iov_base = got + i * PART + 7;
		io[i].op = BLK_READ;
		blk_node_submit(n, &io[i]);
	}
	blk_node_drain(n);
	ck_assert_uint_eq(finished, 2 * N);
	ck_assert_mem_eq(got, data, sizeof(data));
}
END_TEST

static int last_ret;

static void keep_ret(struct blk_io *io, int ret)
{
	last_ret = ret;
}

static int run_io(struct blk_io *io)
{
	io->done = keep_ret;
	last_ret = 1;
	blk_node_submit(n, io);
	ck_assert_int_eq(last_ret, 1);
	blk_node_drain(n);
	return last_ret;
}

START_TEST(test_other_requests)
{
	struct blk_io zero = { .op = BLK_WRITE_ZEROES, .len = 512 };
	struct blk_io discard = { .op = BLK_DISCARD, .len = 512 };
	struct blk_io flush = { .op = BLK_FLUSH };
	uint8_t buf[512];
	uint64_t bytes;
	unsigned flags;

	create_image(1 << 20, quick);
	must_open();
	/* Those above write zeroes out; a hole in the file would read as anything. */
	ck_assert_int_eq(run_io(&zero), -ENOTSUP);
	ck_assert_int_eq(run_io(&discard), -ENOTSUP);
	ck_assert_int_eq(run_io(&flush), 0);
	ck_assert_int_eq(blk_node_status(n, 0, 1 << 20, &bytes, &flags), 0);
	ck_assert_uint_eq(flags, BLK_DATA | BLK_ALLOCATED);

	ck_assert_int_eq(blk_node_truncate(n, 2 << 20, &e), 0);
	ck_assert_uint_eq(n->size, 2 << 20);
	ck_assert_int_eq(blk_node_truncate(n, UINT64_MAX, &e), -EFBIG);
	ck_assert_int_eq(blk_node_truncate(n, INT64_MAX, &e), -EFBIG);
	ck_assert_int_eq(blk_node_pwrite(n, (2 << 20) - 512, memset(buf, 7, 512), 512), 0);
	/* The file shrinks below: what is missing is an error, not made up. */
	ck_assert_int_eq(truncate(path, (off_t)n->file->size - 512), 0);
	ck_assert_int_lt(blk_node_pread(n, (2 << 20) - 512, buf, 512), 0);
	ck_assert_int_eq(n->drv->refresh(n, &e), 0);
	ck_assert_uint_eq(n->size, (2 << 20) - 512);
	/* Part of a sector at its end is not shown. */
	ck_assert_int_eq(truncate(path, (off_t)n->file->size + 511), 0);
	ck_assert_int_eq(n->drv->refresh(n, &e), 0);
	ck_assert_uint_eq(n->size, (2 << 20) - 512);
	ck_assert_int_eq(truncate(path, 4096), 0);
	ck_assert_int_eq(n->drv->refresh(n, &e), -EINVAL);
	ck_assert(says(path) && says("4096"));
}
END_TEST

START_TEST(test_open_refused)
{
	struct luks_params p = { .key_secret = "s", .iter_time = 1 };
	struct blk_create c = { .size = 1 << 20, .opts = &p, .backing = "base" };
	const struct blk_image_ops *ops = blk_driver_find("luks")->image;

	create_image(1 << 20, quick);
	ck_assert_int_eq(try_open(NULL, ""), -EINVAL);
	ck_assert(says(path) && says("key-secret= is missing"));
	ck_assert_int_eq(try_open("t", ""), -ENOENT);
	ck_assert(says(path) && says("key-secret=t"));
	ck_assert_int_eq(try_open("s", ",key-secrets=s"), -EINVAL);
	write_file(path, "not an image of any kind", 24);
	ck_assert_int_eq(try_open("s", ""), -EINVAL);
	ck_assert(says(path) && says("not a LUKS image"));

	ck_assert_int_eq(ops->create(path, &c, &e), -ENOTSUP);
	c.backing = NULL;
	c.size = INT64_MAX;
	ck_assert_int_eq(ops->create(path, &c, &e), -EFBIG);
	p.key_secret = NULL;
	ck_assert_int_eq(ops->create(path, &c, &e), -EINVAL);
	p.key_secret = "t";
	ck_assert_int_eq(ops->create(path, &c, &e), -ENOENT);
	p.key_secret = "s";
	c.size = 512;
	ck_assert_int_eq(ops->create("/nonexistent/image", &c, &e), -ENOENT);
	ck_assert(says("/nonexistent/image"));
}
END_TEST

START_TEST(test_probe)
{
	const char *name;
	uint8_t buf[512] = LUKS_MAGIC;

	ck_assert_int_eq(blk_driver_find("luks")->probe(buf, 512, 1 << 20), 100);
	buf[5]++;
	ck_assert_int_eq(blk_driver_find("luks")->probe(buf, 512, 1 << 20), 0);
	name = blk_driver_find("luks")->name;
	ck_assert_str_eq(name, "luks");
}
END_TEST

/* --- in qcow2 -------------------------------------------------------------------------------- */

struct area {
	int fd;
	uint64_t off;
};

static int area_read(void *ctx, uint64_t off, void *buf, size_t len)
{
	struct area *a = ctx;

	return pread(a->fd, buf, len, (off_t)(a->off + off)) == (ssize_t)len ? 0 : -EIO;
}

static uint64_t be64_at(int fd, uint64_t off)
{
	struct be64 v;

	ck_assert_int_eq(pread(fd, &v, sizeof(v), (off_t)off), sizeof(v));
	return be64_to_cpu(v);
}

/* Where the file of 64 KiB clusters has the first cluster of the disk. */
static uint64_t first_cluster(int fd)
{
	const uint64_t mask = 0x00fffffffffffe00;
	uint64_t l2 = be64_at(fd, be64_at(fd, 40) & mask) & mask;

	ck_assert_uint_ne(l2, 0);
	return be64_at(fd, l2) & mask;
}

START_TEST(test_qcow2_luks)
{
	struct qcow2_crypt_ext ext;
	struct qcow2_ext head;
	struct sector_cipher *c;
	struct luks_header h;
	uint64_t at = 112, host;
	uint8_t buf[2048];
	struct area a;
	struct luks_file f = { .image = path, .read = area_read, .ctx = &a };

	for (int i = 0; shell("qemu-img create -q -f qcow2 --object secret,id=s,data=pw -o "
			      "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 %s 4M "
			      "2>>%s/log",
			      path, dir);
	     i++)
		ck_assert_int_lt(i, CREATE_TRIES);
	run("qemu-io --object secret,id=s,data=pw --image-opts "
	    "driver=qcow2,file.filename=%s,encrypt.key-secret=s -c 'write -q -P 0x77 0 64k' "
	    ">%s/log",
	    path, dir);
	a.fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(a.fd, 0);
	for (;; at += sizeof(head) + (be32_to_cpu(head.len) + 7) / 8 * 8) {
		ck_assert_int_eq(pread(a.fd, &head, sizeof(head), (off_t)at), sizeof(head));
		ck_assert_uint_ne(be32_to_cpu(head.type), QCOW2_EXT_END);
		if (be32_to_cpu(head.type) == QCOW2_EXT_CRYPT)
			break;
	}
	ck_assert_int_eq(pread(a.fd, &ext, sizeof(ext), (off_t)(at + sizeof(head))), sizeof(ext));
	a.off = be64_to_cpu(ext.offset);
	f.size = be64_to_cpu(ext.len);
	ck_assert_msg(!luks_read_header(&f, &h, &e), "%s", e.msg);
	ck_assert_int_eq(luks_unlock(&f, &h, "pX", 2, &c, &e), -EACCES);
	ck_assert_msg(!luks_unlock(&f, &h, "pw", 2, &c, &e), "%s", e.msg);
	host = first_cluster(a.fd);
	ck_assert_int_eq(pread(a.fd, buf, sizeof(buf), (off_t)host), sizeof(buf));
	cipher_decrypt(c, host / 512, buf, sizeof(buf) / 512);
	for (size_t i = 0; i < sizeof(buf); i++)
		ck_assert_int_eq(buf[i], 0x77);
	cipher_free(c);
	close(a.fd);
}
END_TEST

START_TEST(test_qcow2_aes)
{
	struct sector_cipher *c;
	uint8_t buf[2048];
	int fd;

	run("qemu-img create -q -f qcow2 --object secret,id=s,data=pw -o "
	    "encrypt.format=aes,encrypt.key-secret=s %s 4M",
	    path);
	run("qemu-io --object secret,id=s,data=pw --image-opts "
	    "driver=qcow2,file.filename=%s,encrypt.format=aes,encrypt.key-secret=s "
	    "-c 'write -q -P 0x78 0 64k' >%s/log 2>&1",
	    path, dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, buf, sizeof(buf), (off_t)first_cluster(fd)), sizeof(buf));
	ck_assert_int_eq(cipher_create_qcow_aes("pw", 2, &c), 0);
	cipher_decrypt(c, 0, buf, sizeof(buf) / 512);
	for (size_t i = 0; i < sizeof(buf); i++)
		ck_assert_int_eq(buf[i], 0x78);
	cipher_free(c);
	close(fd);
}
END_TEST

static void add(Suite *s, const char *name, void (*up)(void), void (*down)(void),
		const TTest *const *tests, size_t count)
{
	TCase *tc = tcase_create(name);

	if (up)
		tcase_add_checked_fixture(tc, up, down);
	tcase_set_timeout(tc, 200);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(tc, tests[i]);
	suite_add_tcase(s, tc);
}

static void add_loops(Suite *s)
{
	TCase *tc = tcase_create("kinds");

	tcase_set_timeout(tc, 200);
	tcase_add_checked_fixture(tc, driver_setup, driver_teardown);
	/* The rest would only take longer: qemu-img measures for seconds. */
	tcase_add_loop_test(tc, test_from_qemu, 0, 4);
	tcase_add_loop_test(tc, test_to_qemu, 0, ARRAY_SIZE(kinds));
	suite_add_tcase(s, tc);
	tc = tcase_create("answers");
	tcase_add_loop_test(tc, test_cipher_answers, 0, ARRAY_SIZE(answers));
	suite_add_tcase(s, tc);
}

int main(void)
{
	const TTest *const pure[] = { test_qcow_aes,
				      test_cipher_refused,
				      test_pbkdf2,
				      test_af_merge,
				      test_af_split,
				      test_measure,
				      test_create_and_unlock,
				      test_damage,
				      test_unlock_read_error,
				      test_params,
				      test_hostile_numbers,
				      test_hostile_text,
				      test_hostile_slots,
				      test_short_image };
	const TTest *const files[] = { test_secrets, test_secrets_refused, test_qcow2_luks,
				       test_qcow2_aes };
	const TTest *const driver[] = { test_large_requests, test_parallel_parts,
					test_other_requests, test_open_refused, test_probe };
	Suite *s = suite_create("luks");

	add(s, "memory", NULL, NULL, pure, ARRAY_SIZE(pure));
	add(s, "files", setup, teardown, files, ARRAY_SIZE(files));
	add(s, "driver", driver_setup, driver_teardown, driver, ARRAY_SIZE(driver));
	add_loops(s);
	return run_suite(s);
}
