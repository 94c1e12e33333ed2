/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * AES on disk sectors: XTS (IEEE 1619, NIST SP 800-38E) and CBC with the ways of
 * making initial vectors that dm-crypt names plain, plain64 and essiv. AES itself
 * is nettle's. Any thread.
 */
#include "sector_cipher.h"

#include <endian.h>
#include <errno.h>
#include <nettle/aes.h>
#include <nettle/cbc.h>
#include <nettle/nettle-meta.h>
#include <nettle/sha2.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = AES_BLOCK_SIZE, BLOCKS = CIPHER_SECTOR / BLOCK };

enum iv { IV_PLAIN, IV_PLAIN64, IV_ESSIV };

struct mode {
	const char *name;
	bool xts;
	enum iv iv;
};

static const struct mode modes[] = {
	{ "xts-plain64", true, IV_PLAIN64 },     { "xts-plain", true, IV_PLAIN },
	{ "cbc-essiv:sha256", false, IV_ESSIV }, { "cbc-plain64", false, IV_PLAIN64 },
	{ "cbc-plain", false, IV_PLAIN },
};

union aes_key {
	struct aes128_ctx k128;
	struct aes256_ctx k256;
};

struct sector_cipher {
	const struct mode *mode;
	const struct nettle_cipher *data, *iv; /* iv: of XTS's tweaks or of ESSIV */
	union aes_key encrypt, decrypt, iv_key;
};

static const struct nettle_cipher *aes_of(size_t key_len)
{
	switch (key_len) {
	case AES128_KEY_SIZE:
		return &nettle_aes128;
	case AES256_KEY_SIZE:
		return &nettle_aes256;
	default:
		return NULL;
	}
}

static void set_iv_key(struct sector_cipher *c, const uint8_t *key, size_t len)
{
	struct sha256_ctx sha;
	uint8_t digest[SHA256_DIGEST_SIZE];

	if (c->mode->xts) {
		c->iv = c->data;
		c->iv->set_encrypt_key(&c->iv_key, key + len);
		return;
	}
	if (c->mode->iv != IV_ESSIV)
		return;
	sha256_init(&sha);
	sha256_update(&sha, len, key);
	sha256_digest(&sha, sizeof(digest), digest);
	c->iv = &nettle_aes256;
	c->iv->set_encrypt_key(&c->iv_key, digest);
	explicit_bzero(&sha, sizeof(sha));
	explicit_bzero(digest, sizeof(digest));
}

int cipher_create(const char *cipher, const char *mode, const void *key, size_t key_len,
		  struct sector_cipher **out)
{
	const struct mode *m = NULL;
	const struct nettle_cipher *aes;
	struct sector_cipher *c;
	/* XTS has a second key for its tweaks. */
	size_t len;

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (!strcmp(modes[i].name, mode))
			m = &modes[i];
	if (!m || strcmp(cipher, "aes") != 0)
		return -ENOTSUP;
	len = m->xts ? key_len / 2 : key_len;
	aes = aes_of(len);
	if (!aes || (m->xts && key_len % 2))
		return -EINVAL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->mode = m;
	c->data = aes;
	aes->set_encrypt_key(&c->encrypt, key);
	aes->set_decrypt_key(&c->decrypt, key);
	set_iv_key(c, key, len);
	*out = c;
	return 0;
}

int cipher_create_qcow_aes(const void *pass, size_t len, struct sector_cipher **out)
{
	uint8_t key[AES128_KEY_SIZE] = { 0 };
	int rc;

	memcpy(key, pass, len < sizeof(key) ? len : sizeof(key));
	rc = cipher_create("aes", "cbc-plain64", key, sizeof(key), out);
	explicit_bzero(key, sizeof(key));
	return rc;
}

void cipher_free(struct sector_cipher *c)
{
	if (!c)
		return;
	explicit_bzero(c, sizeof(*c));
	free(c);
}

/* What makes the sector different: XTS's first tweak, or the initial vector of CBC. */
static void sector_iv(const struct sector_cipher *c, uint64_t sector, uint64_t iv[2])
{
	iv[0] = htole64(c->mode->iv == IV_PLAIN ? (uint32_t)sector : sector);
	iv[1] = 0;
	if (c->iv)
		c->iv->encrypt(&c->iv_key, BLOCK, (uint8_t *)iv, (const uint8_t *)iv);
}

static void xor_tweaks(uint8_t *buf, const uint64_t *tweak)
{
	for (unsigned i = 0; i < 2 * BLOCKS; i++, buf += 8) {
		uint64_t word;

		memcpy(&word, buf, 8);
		word ^= tweak[i];
		memcpy(buf, &word, 8);
	}
}

/* The tweak of each block is the one before it times x, in GF(2^128) modulo x^128+x^7+x^2+x+1. */
static void xts_tweaks(uint64_t tweak[2 * BLOCKS])
{
	for (unsigned i = 2; i < 2 * BLOCKS; i += 2) {
		uint64_t low = le64toh(tweak[i - 2]), high = le64toh(tweak[i - 1]);

		tweak[i] = htole64(low << 1 ^ (high >> 63) * 0x87);
		tweak[i + 1] = htole64(high << 1 | low >> 63);
	}
}

static void xts_sector(const struct sector_cipher *c, uint64_t sector, uint8_t *buf, bool encrypt)
{
	uint64_t tweak[2 * BLOCKS];

	sector_iv(c, sector, tweak);
	xts_tweaks(tweak);
	xor_tweaks(buf, tweak);
	if (encrypt)
		c->data->encrypt(&c->encrypt, CIPHER_SECTOR, buf, buf);
	else
		c->data->decrypt(&c->decrypt, CIPHER_SECTOR, buf, buf);
	xor_tweaks(buf, tweak);
}

void cipher_encrypt(const struct sector_cipher *c, uint64_t sector, void *buf, size_t n_sectors)
{
	uint8_t *at = buf;

	for (; n_sectors; n_sectors--, sector++, at += CIPHER_SECTOR) {
		uint64_t iv[2];

		if (c->mode->xts) {
			xts_sector(c, sector, at, true);
			continue;
		}
		sector_iv(c, sector, iv);
		cbc_encrypt(&c->encrypt, c->data->encrypt, BLOCK, (uint8_t *)iv, CIPHER_SECTOR, at,
			    at);
	}
}

void cipher_decrypt(const struct sector_cipher *c, uint64_t sector, void *buf, size_t n_sectors)
{
	uint8_t *at = buf;

	for (; n_sectors; n_sectors--, sector++, at += CIPHER_SECTOR) {
		uint64_t iv[2];

		if (c->mode->xts) {
			xts_sector(c, sector, at, false);
			continue;
		}
		sector_iv(c, sector, iv);
		cbc_decrypt(&c->decrypt, c->data->decrypt, BLOCK, (uint8_t *)iv, CIPHER_SECTOR, at,
			    at);
	}
}
