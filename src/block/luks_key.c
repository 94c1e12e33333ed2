/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How LUKS makes keys ("LUKS1 On-Disk Format Specification" 1.2.3, 2.4 and appendix
 * A; RFC 8018): see luks_key.h. Hashes are nettle's. Any thread.
 */
#include "luks_key.h"

#include <errno.h>
#include <nettle/hmac.h>
#include <nettle/nettle-meta.h>
#include <nettle/pbkdf2.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "sector_cipher.h"
#include "wire/be.h"

const struct nettle_hash *luks_hash(const char *name)
{
	static const struct nettle_hash *const known[] = { &nettle_sha1,   &nettle_sha224,
							   &nettle_sha256, &nettle_sha384,
							   &nettle_sha512, &nettle_ripemd160 };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(known[i]->name, name))
			return known[i];
	return NULL;
}

union hash_state {
	struct sha1_ctx sha1;
	struct sha256_ctx sha256;
	struct sha512_ctx sha512;
	struct ripemd160_ctx ripemd160;
};

/* --- PBKDF2 --- */

struct hmac {
	const struct nettle_hash *hash;
	union hash_state outer, inner, state;
};

static void update(void *ctx, size_t len, const uint8_t *data)
{
	struct hmac *h = ctx;

	hmac_update(&h->state, h->hash, len, data);
}

static void digest(void *ctx, size_t len, uint8_t *out)
{
	struct hmac *h = ctx;

	hmac_digest(&h->outer, &h->inner, &h->state, h->hash, len, out);
}

void luks_pbkdf2(const struct nettle_hash *hash, const void *pass, size_t pass_len,
		 const void *salt, size_t salt_len, uint32_t iterations, void *out, size_t len)
{
	struct hmac h = { .hash = hash };

	hmac_set_key(&h.outer, &h.inner, &h.state, hash, pass_len, pass);
	pbkdf2(&h, update, digest, hash->digest_size, iterations, salt_len, salt, len, out);
	explicit_bzero(&h, sizeof(h));
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint32_t luks_pbkdf2_measure(const struct nettle_hash *hash, size_t len, unsigned ms)
{
	enum { LONG_ENOUGH = 5000000 }; /* ns: the clock's steps do not matter */
	static const uint8_t salt[32];
	uint8_t out[CIPHER_KEY_MAX];
	uint32_t n = 1024;
	uint64_t took = 0;
	double per_ms;

	for (; n < 1u << 24; n *= 2) {
		uint64_t start = cpu_ns();

		luks_pbkdf2(hash, "", 0, salt, sizeof(salt), n, out, len);
		took = cpu_ns() - start;
		if (took >= LONG_ENOUGH)
			break;
	}
	per_ms = (double)n * 1e6 / (double)(took ? took : 1);
	return per_ms * ms < UINT32_MAX ? (uint32_t)(per_ms * ms) : UINT32_MAX;
}

/* --- the anti-forensic splitter --- */

static void hash_part(const struct nettle_hash *hash, uint32_t number, size_t len, uint8_t *part)
{
	struct be32 n = cpu_to_be32(number);
	union hash_state s;

	hash->init(&s);
	hash->update(&s, sizeof(n), (const uint8_t *)&n);
	hash->update(&s, len, part);
	hash->digest(&s, len, part);
	explicit_bzero(&s, sizeof(s));
}

/* Each part of a digest's size, the last maybe shorter, becomes the hash of its number and itself.
 */
static void diffuse(const struct nettle_hash *hash, uint8_t *block, size_t len)
{
	uint32_t number = 0;

	while (len) {
		size_t part = len < hash->digest_size ? len : hash->digest_size;

		hash_part(hash, number++, part, block);
		block += part;
		len -= part;
	}
}

static void xor_into(uint8_t *acc, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		acc[i] ^= data[i];
}

/* What the last stripe is combined with to give the key. */
static void af_mix(const struct nettle_hash *hash, const uint8_t *split, size_t len,
		   unsigned stripes, uint8_t *acc)
{
	memset(acc, 0, len);
	for (unsigned i = 0; i + 1 < stripes; i++) {
		xor_into(acc, split + i * len, len);
		diffuse(hash, acc, len);
	}
}

int luks_af_split(const struct nettle_hash *hash, const void *key, size_t len, unsigned stripes,
		  void *split)
{
	uint8_t *last = (uint8_t *)split + (stripes - 1) * len;
	int rc = luks_random(split, (stripes - 1) * len);

	if (rc)
		return rc;
	af_mix(hash, split, len, stripes, last);
	xor_into(last, key, len);
	return 0;
}

void luks_af_merge(const struct nettle_hash *hash, const void *split, size_t len, unsigned stripes,
		   void *key)
{
	af_mix(hash, split, len, stripes, key);
	xor_into(key, (const uint8_t *)split + (stripes - 1) * len, len);
}

int luks_random(void *buf, size_t len)
{
	uint8_t *at = buf;

	while (len) {
		ssize_t n = getrandom(at, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}
