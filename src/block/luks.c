/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LUKS version 1 headers ("LUKS1 On-Disk Format Specification" 1.2.3): checking and
 * unlocking. See luks.h for threads. What a header says is checked before it is used
 * for anything: offsets lie between header and payload, counts bound time and memory.
 */
#include "luks.h"

#include <errno.h>
#include <inttypes.h>
#include <nettle/memops.h>
#include <nettle/nettle-meta.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "luks_key.h"
#include "sector_cipher.h"

/* Of all that a passphrase is tried on together. */
#define ITERATIONS_TOTAL_MAX (2ull * LUKS_ITERATIONS_MAX)

bool luks_probe(const void *buf, size_t n)
{
	return n >= LUKS_MAGIC_LEN && !memcmp(buf, LUKS_MAGIC, LUKS_MAGIC_LEN);
}

static uint64_t round_up_sector(uint64_t n)
{
	return (n + LUKS_SECTOR - 1) / LUKS_SECTOR * LUKS_SECTOR;
}

/* Bytes that a slot's key takes on disk. */
uint64_t luks_material_len(const struct luks_header *h)
{
	return round_up_sector((uint64_t)h->key_bytes * LUKS_STRIPES);
}

/* --- checking --- */

/* A text field of the header, for messages too: it must end inside the field and be printable. */
static int take_text(const struct luks_file *f, const char *field, const char *from, size_t size,
		     char *to, struct err *e)
{
	size_t len = strnlen(from, size);

	for (size_t i = 0; i < len; i++)
		if (from[i] < ' ' || from[i] > '~')
			return err_set(e, ERR_INPUT, EINVAL,
				       "%s: LUKS header: %s: byte %zu is 0x%02x, not text",
				       f->image, field, i, (uint8_t)from[i]);
	if (len == size)
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: LUKS header: %s '%.*s' has no end within its %zu bytes",
			       f->image, field, (int)size, from, size);
	memcpy(to, from, len);
	memset(to + len, 0, size - len);
	return 0;
}

static int check_magic(const struct luks_file *f, const struct luks_wire_header *w, struct err *e)
{
	unsigned version = be16_to_cpu(w->version);

	if (!luks_probe(w, sizeof(*w)))
		return err_set(e, ERR_INPUT, EINVAL, "%s: not a LUKS image: no magic number",
			       f->image);
	if (version == 1)
		return 0;
	err_set(e, ERR_INPUT, ENOTSUP, "%s: LUKS header: version %u is not supported, only 1 is",
		f->image, version);
	if (version == 2)
		err_hint(e, "\"cryptsetup convert --type luks1\" makes version 1 of it, when it "
			    "uses nothing new");
	return -ENOTSUP;
}

/* That the names are known, and the key's length fits them. */
static int check_cipher(const struct luks_file *f, const struct luks_header *h, struct err *e)
{
	static const uint8_t any_key[CIPHER_KEY_MAX];
	struct sector_cipher *c;
	int rc;

	if (!luks_hash(h->hash)) {
		err_set(e, ERR_INPUT, ENOTSUP, "%s: LUKS header: hash-spec '%s' is not supported",
			f->image, h->hash);
		err_hint(e, "known: sha1 sha224 sha256 sha384 sha512 ripemd160");
		return -ENOTSUP;
	}
	if (!h->key_bytes || h->key_bytes > CIPHER_KEY_MAX)
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: LUKS header: key-bytes %" PRIu32 " is not in 1..%d", f->image,
			       h->key_bytes, CIPHER_KEY_MAX);
	rc = cipher_create(h->cipher, h->mode, any_key, h->key_bytes, &c);
	switch (rc) {
	case 0:
		cipher_free(c);
		return 0;
	case -ENOTSUP:
		err_set(e, ERR_INPUT, ENOTSUP,
			"%s: LUKS header: cipher '%s' with mode '%s' is not supported", f->image,
			h->cipher, h->mode);
		err_hint(e, "known: aes with xts-plain64, xts-plain, cbc-essiv:sha256, cbc-plain64 "
			    "or cbc-plain");
		return -ENOTSUP;
	case -EINVAL:
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: LUKS header: key-bytes %" PRIu32 " does not fit mode '%s'",
			       f->image, h->key_bytes, h->mode);
	default:
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	}
}

static int check_iterations(const struct luks_file *f, const char *field, uint32_t n, struct err *e)
{
	if (n && n <= LUKS_ITERATIONS_MAX)
		return 0;
	return err_set(e, ERR_INPUT, EINVAL, "%s: LUKS header: %s %" PRIu32 " is not in 1..%u",
		       f->image, field, n, LUKS_ITERATIONS_MAX);
}

static int check_slot(const struct luks_file *f, const struct luks_header *h, unsigned i,
		      struct err *e)
{
	const struct luks_slot *s = &h->slot[i];
	const uint64_t first = round_up_sector(sizeof(struct luks_wire_header));
	char field[40];
	int rc;

	snprintf(field, sizeof(field), "key slot %u: iterations", i);
	rc = check_iterations(f, field, s->iterations, e);
	if (rc)
		return rc;
	if (s->stripes != LUKS_STRIPES)
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: LUKS header: key slot %u: stripes %" PRIu32 " is not %d",
			       f->image, i, s->stripes, LUKS_STRIPES);
	if (s->key_offset < first || s->key_offset + luks_material_len(h) > h->payload_offset)
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: LUKS header: key slot %u: key-material-offset %" PRIu64
			       ": its %" PRIu64
			       " sectors are not between the header's end, %" PRIu64
			       ", and the payload, %" PRIu64,
			       f->image, i, s->key_offset / LUKS_SECTOR,
			       luks_material_len(h) / LUKS_SECTOR, first / LUKS_SECTOR,
			       h->payload_offset / LUKS_SECTOR);
	for (unsigned k = 0; k < i; k++) {
		const struct luks_slot *o = &h->slot[k];

		if (o->active && s->key_offset < o->key_offset + luks_material_len(h) &&
		    o->key_offset < s->key_offset + luks_material_len(h))
			return err_set(e, ERR_INPUT, EINVAL,
				       "%s: LUKS header: key slot %u: key-material-offset %" PRIu64
				       ": overlaps that of key slot %u, %" PRIu64,
				       f->image, i, s->key_offset / LUKS_SECTOR, k,
				       o->key_offset / LUKS_SECTOR);
	}
	return 0;
}

static int take_slots(const struct luks_file *f, const struct luks_wire_header *w,
		      struct luks_header *h, struct err *e)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		uint32_t active = be32_to_cpu(w->slot[i].active);
		struct luks_slot *s = &h->slot[i];
		int rc;

		if (active != LUKS_SLOT_ACTIVE && active != LUKS_SLOT_DISABLED)
			return err_set(e, ERR_INPUT, EINVAL,
				       "%s: LUKS header: key slot %u: active 0x%08" PRIx32
				       " is neither 0x%08x (active) nor 0x%08x (disabled)",
				       f->image, i, active, LUKS_SLOT_ACTIVE, LUKS_SLOT_DISABLED);
		s->active = active == LUKS_SLOT_ACTIVE;
		s->iterations = be32_to_cpu(w->slot[i].iterations);
		s->stripes = be32_to_cpu(w->slot[i].stripes);
		s->key_offset = (uint64_t)be32_to_cpu(w->slot[i].key_offset) * LUKS_SECTOR;
		memcpy(s->salt, w->slot[i].salt, sizeof(s->salt));
		if (!s->active)
			continue;
		rc = check_slot(f, h, i, e);
		if (rc)
			return rc;
		total += (uint64_t)s->iterations + h->digest_iterations;
	}
	if (total > ITERATIONS_TOTAL_MAX)
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: LUKS header: the key slots' iterations are %" PRIu64
			       " together, more than %llu",
			       f->image, total, ITERATIONS_TOTAL_MAX);
	return 0;
}

static int check_payload(const struct luks_file *f, const struct luks_header *h, struct err *e)
{
	const uint64_t first = round_up_sector(sizeof(struct luks_wire_header));

	if (h->payload_offset < first)
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: LUKS header: payload-offset %" PRIu64
			       ": within the header, which is of %" PRIu64 " sectors",
			       f->image, h->payload_offset / LUKS_SECTOR, first / LUKS_SECTOR);
	if (h->payload_offset > f->size)
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: LUKS header: payload-offset %" PRIu64
			       ": beyond the end, %" PRIu64 " bytes",
			       f->image, h->payload_offset / LUKS_SECTOR, f->size);
	return 0;
}

static int read_some(const struct luks_file *f, uint64_t off, void *buf, size_t len,
		     const char *what, struct err *e)
{
	int rc = f->read(f->ctx, off, buf, len);

	if (rc)
		err_set(e, ERR_INPUT, -rc, "%s: cannot read the LUKS %s at %" PRIu64 ": %s",
			f->image, what, off, strerror(-rc));
	return rc;
}

int luks_read_header(const struct luks_file *f, struct luks_header *h, struct err *e)
{
	struct luks_wire_header w;
	int rc;

	if (f->size < sizeof(w))
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: not a LUKS image: %" PRIu64 " bytes, and the header has %zu",
			       f->image, f->size, sizeof(w));
	rc = read_some(f, 0, &w, sizeof(w), "header", e);
	rc = rc ? rc : check_magic(f, &w, e);
	rc = rc ? rc : take_text(f, "cipher-name", w.cipher, sizeof(w.cipher), h->cipher, e);
	rc = rc ? rc : take_text(f, "cipher-mode", w.mode, sizeof(w.mode), h->mode, e);
	rc = rc ? rc : take_text(f, "hash-spec", w.hash, sizeof(w.hash), h->hash, e);
	rc = rc ? rc : take_text(f, "uuid", w.uuid, sizeof(w.uuid), h->uuid, e);
	if (rc)
		return rc;
	h->key_bytes = be32_to_cpu(w.key_bytes);
	h->payload_offset = (uint64_t)be32_to_cpu(w.payload_offset) * LUKS_SECTOR;
	h->digest_iterations = be32_to_cpu(w.digest_iterations);
	memcpy(h->digest, w.digest, sizeof(h->digest));
	memcpy(h->digest_salt, w.digest_salt, sizeof(h->digest_salt));
	rc = check_cipher(f, h, e);
	rc = rc ? rc : check_iterations(f, "mk-digest-iter", h->digest_iterations, e);
	rc = rc ? rc : check_payload(f, h, e);
	return rc ? rc : take_slots(f, &w, h, e);
}

/* --- unlocking --- */

/* Keys on the way; wiped at the end. */
struct unlocking {
	const struct luks_file *f;
	const struct luks_header *h;
	const struct nettle_hash *hash;
	const void *pass;
	size_t pass_len;
	uint8_t *material;
	uint8_t key[CIPHER_KEY_MAX];
};

/* The slot's key material, decrypted by what the passphrase gives. */
static int read_material(struct unlocking *u, const struct luks_slot *s, struct err *e)
{
	const struct luks_header *h = u->h;
	size_t len = (size_t)luks_material_len(h);
	struct sector_cipher *c;
	int rc = read_some(u->f, s->key_offset, u->material, len, "key material", e);

	if (rc)
		return rc;
	luks_pbkdf2(u->hash, u->pass, u->pass_len, s->salt, sizeof(s->salt), s->iterations, u->key,
		    h->key_bytes);
	rc = cipher_create(h->cipher, h->mode, u->key, h->key_bytes, &c);
	if (rc)
		return err_set(e, ERR_HOST, -rc, "out of memory");
	cipher_decrypt(c, 0, u->material, len / CIPHER_SECTOR);
	cipher_free(c);
	return 0;
}

/* 1: u->key is the master key; 0: it is not. */
static int try_slot(struct unlocking *u, const struct luks_slot *s, struct err *e)
{
	const struct luks_header *h = u->h;
	uint8_t digest[LUKS_DIGEST];
	int rc = read_material(u, s, e);

	if (rc)
		return rc;
	luks_af_merge(u->hash, u->material, h->key_bytes, LUKS_STRIPES, u->key);
	luks_pbkdf2(u->hash, u->key, h->key_bytes, h->digest_salt, sizeof(h->digest_salt),
		    h->digest_iterations, digest, sizeof(digest));
	return memeql_sec(digest, h->digest, sizeof(digest));
}

/* slots: a bit for each that is tried. *slot: the one that fits. */
static int try_slots(struct unlocking *u, unsigned slots, unsigned *slot, struct err *e)
{
	unsigned tried = 0;

	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		bool try = u->h->slot[i].active && slots >> i & 1;
		int rc = try ? try_slot(u, &u->h->slot[i], e) : 0;

		*slot = i;
		if (rc)
			return rc < 0 ? rc : 0;
		tried += try;
	}
	if (!tried)
		return err_set(e, ERR_INPUT, EACCES,
			       "%s: LUKS header: all key slots are disabled; nothing can unlock it",
			       u->f->image);
	return err_set(e, ERR_INPUT, EACCES, "%s: the passphrase fits none of its key slots (%u)",
		       u->f->image, tried);
}

int luks_find_key(const struct luks_file *f, const struct luks_header *h, unsigned slots,
		  const void *pass, size_t pass_len, uint8_t *key, unsigned *slot, struct err *e)
{
	struct unlocking u = {
		.f = f, .h = h, .hash = luks_hash(h->hash), .pass = pass, .pass_len = pass_len
	};
	size_t len = (size_t)luks_material_len(h);
	int rc;

	u.material = malloc(len);
	if (!u.material)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	rc = try_slots(&u, slots, slot, e);
	if (!rc)
		memcpy(key, u.key, sizeof(u.key));
	explicit_bzero(u.material, len);
	free(u.material);
	explicit_bzero(&u, sizeof(u));
	return rc;
}

int luks_unlock(const struct luks_file *f, const struct luks_header *h, const void *pass,
		size_t pass_len, struct sector_cipher **out, struct err *e)
{
	uint8_t key[CIPHER_KEY_MAX];
	unsigned slot;
	int rc = luks_find_key(f, h, (1u << LUKS_SLOTS) - 1, pass, pass_len, key, &slot, e);

	if (!rc && cipher_create(h->cipher, h->mode, key, h->key_bytes, out))
		rc = err_set(e, ERR_HOST, ENOMEM, "out of memory");
	explicit_bzero(key, sizeof(key));
	return rc;
}
