/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making LUKS version 1 headers ("LUKS1 On-Disk Format Specification" 1.2.3, 4.1 and 4.2),
 * and telling what is in one. See luks.h for threads.
 *
 * Key material lies at multiples of 4 KiB, slot after slot, and the payload after the last.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <nettle/nettle-meta.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "luks.h"
#include "luks_key.h"
#include "sector_cipher.h"

enum {
	ALIGN = 4096,
	ITERATIONS_MIN = 1000, /* as the specification recommends */
	DIGEST_SHARE = 8, /* checking the key takes this part of the time of a passphrase */
};

static uint64_t material_room(uint32_t key_bytes)
{
	return ((uint64_t)key_bytes * LUKS_STRIPES + ALIGN - 1) / ALIGN * ALIGN;
}

/* --- parameters --- */

static int bad_param(struct err *e, const char *name, const char *value, const char *known)
{
	err_set(e, ERR_USAGE, EINVAL, "%s=%s is not known", name, value);
	err_hint(e, "known: %s", known);
	return -EINVAL;
}

static const char *or_default(const char *value, const char *def)
{
	return value ? value : def;
}

/* The IV's part of the mode's name: "plain64", "essiv:sha256". */
static int take_ivgen(const struct luks_params *p, bool xts, struct luks_header *h, struct err *e)
{
	const char *iv = or_default(p->ivgen_alg, "plain64");
	const char *hash = or_default(p->ivgen_hash_alg, "sha256");
	bool essiv = !strcmp(iv, "essiv");

	if (!essiv && strcmp(iv, "plain64") != 0 && strcmp(iv, "plain") != 0)
		return bad_param(e, "ivgen-alg", iv, "plain64 plain essiv");
	if (essiv && xts) {
		err_set(e, ERR_USAGE, EINVAL, "ivgen-alg=essiv is for cipher-mode=cbc");
		err_hint(e, "leave ivgen-alg= out");
		return -EINVAL;
	}
	if (essiv && strcmp(hash, "sha256") != 0)
		return bad_param(e, "ivgen-hash-alg", hash, "sha256");
	if (!essiv && p->ivgen_hash_alg)
		return err_set(e, ERR_USAGE, EINVAL, "ivgen-hash-alg=%s is for ivgen-alg=essiv",
			       hash);
	snprintf(h->mode, sizeof(h->mode), "%s-%s%s", xts ? "xts" : "cbc", iv,
		 essiv ? ":sha256" : "");
	return 0;
}

static int take_params(const struct luks_params *p, struct luks_header *h, struct err *e)
{
	const char *alg = or_default(p->cipher_alg, "aes-256");
	const char *mode = or_default(p->cipher_mode, "xts");
	const char *hash = or_default(p->hash_alg, "sha256");
	bool xts = !strcmp(mode, "xts");

	*h = (struct luks_header){ .cipher = "aes" };
	if (!strcmp(alg, "aes-128"))
		h->key_bytes = 16;
	else if (!strcmp(alg, "aes-256"))
		h->key_bytes = 32;
	else
		return bad_param(e, "cipher-alg", alg, "aes-128 aes-256");
	if (!xts && strcmp(mode, "cbc") != 0)
		return bad_param(e, "cipher-mode", mode, "xts cbc");
	if (xts)
		h->key_bytes *= 2;
	if (!luks_hash(hash))
		return bad_param(e, "hash-alg", hash, "sha1 sha224 sha256 sha384 sha512 ripemd160");
	snprintf(h->hash, sizeof(h->hash), "%s", hash);
	h->payload_offset = ALIGN + LUKS_SLOTS * material_room(h->key_bytes);
	return take_ivgen(p, xts, h, e);
}

int luks_header_size(const struct luks_params *p, uint64_t *out, struct err *e)
{
	struct luks_header h;
	int rc = take_params(p, &h, e);

	if (!rc)
		*out = h.payload_offset;
	return rc;
}

/* --- a new header --- */

uint32_t luks_clamp_iterations(uint64_t n)
{
	if (n < ITERATIONS_MIN)
		return ITERATIONS_MIN;
	return n < LUKS_ITERATIONS_MAX ? (uint32_t)n : LUKS_ITERATIONS_MAX;
}

static void set_iterations(struct luks_header *h, uint64_t ms)
{
	uint32_t n = luks_pbkdf2_measure(luks_hash(h->hash), h->key_bytes, (unsigned)ms);

	h->slot[0].iterations = luks_clamp_iterations(n);
	/* The digest is of 20 bytes only; its time is not worth a measurement of its own. */
	h->digest_iterations = luks_clamp_iterations(n / DIGEST_SHARE);
}

/* RFC 4122, version 4. */
static int set_uuid(struct luks_header *h)
{
	uint8_t b[16];
	int rc = luks_random(b, sizeof(b));

	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	snprintf(h->uuid, sizeof(h->uuid),
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		 b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
		 b[15]);
	return rc;
}

static void set_slots(struct luks_header *h)
{
	h->slot[0].active = true;
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		h->slot[i].stripes = LUKS_STRIPES;
		h->slot[i].key_offset = ALIGN + i * material_room(h->key_bytes);
	}
}

void luks_slot_to_wire(const struct luks_slot *s, struct luks_wire_slot *w)
{
	w->active = cpu_to_be32(s->active ? LUKS_SLOT_ACTIVE : LUKS_SLOT_DISABLED);
	w->iterations = cpu_to_be32(s->iterations);
	w->stripes = cpu_to_be32(s->stripes);
	w->key_offset = cpu_to_be32((uint32_t)(s->key_offset / LUKS_SECTOR));
	memcpy(w->salt, s->salt, sizeof(w->salt));
}

static void to_wire(const struct luks_header *h, struct luks_wire_header *w)
{
	memset(w, 0, sizeof(*w));
	memcpy(w->magic, LUKS_MAGIC, LUKS_MAGIC_LEN);
	w->version = cpu_to_be16(1);
	memcpy(w->cipher, h->cipher, sizeof(w->cipher));
	memcpy(w->mode, h->mode, sizeof(w->mode));
	memcpy(w->hash, h->hash, sizeof(w->hash));
	memcpy(w->uuid, h->uuid, sizeof(w->uuid));
	w->payload_offset = cpu_to_be32((uint32_t)(h->payload_offset / LUKS_SECTOR));
	w->key_bytes = cpu_to_be32(h->key_bytes);
	memcpy(w->digest, h->digest, sizeof(w->digest));
	memcpy(w->digest_salt, h->digest_salt, sizeof(w->digest_salt));
	w->digest_iterations = cpu_to_be32(h->digest_iterations);
	for (unsigned i = 0; i < LUKS_SLOTS; i++)
		luks_slot_to_wire(&h->slot[i], &w->slot[i]);
}

int luks_wrap_key(const struct luks_header *h, unsigned slot, const uint8_t *key, const void *pass,
		  size_t pass_len, uint8_t *material)
{
	const struct nettle_hash *hash = luks_hash(h->hash);
	const struct luks_slot *s = &h->slot[slot];
	size_t len = (size_t)luks_material_len(h);
	uint8_t derived[CIPHER_KEY_MAX];
	struct sector_cipher *c;
	/* Behind the key too: known text there would tell a right passphrase early. */
	int rc = luks_random(material, len);

	rc = rc ? rc : luks_af_split(hash, key, h->key_bytes, LUKS_STRIPES, material);
	if (rc)
		return rc;
	luks_pbkdf2(hash, pass, pass_len, s->salt, sizeof(s->salt), s->iterations, derived,
		    h->key_bytes);
	rc = cipher_create(h->cipher, h->mode, derived, h->key_bytes, &c);
	explicit_bzero(derived, sizeof(derived));
	if (rc)
		return rc;
	cipher_encrypt(c, 0, material, len / CIPHER_SECTOR);
	cipher_free(c);
	return 0;
}

static int make_keys(struct luks_header *h, uint8_t key[CIPHER_KEY_MAX])
{
	int rc = luks_random(key, CIPHER_KEY_MAX);

	rc = rc ? rc : luks_random(h->digest_salt, sizeof(h->digest_salt));
	rc = rc ? rc : luks_random(h->slot[0].salt, sizeof(h->slot[0].salt));
	if (!rc)
		luks_pbkdf2(luks_hash(h->hash), key, h->key_bytes, h->digest_salt,
			    sizeof(h->digest_salt), h->digest_iterations, h->digest,
			    sizeof(h->digest));
	return rc;
}

/* The key first: a header never promises one that is not there. */
static int write_all(const struct luks_file *f, const struct luks_header *h,
		     const uint8_t *material, struct err *e)
{
	struct luks_wire_header w;
	int rc;

	to_wire(h, &w);
	rc = f->write(f->ctx, h->slot[0].key_offset, material, (size_t)luks_material_len(h));
	rc = rc ? rc : f->write(f->ctx, 0, &w, sizeof(w));
	if (rc)
		err_set(e, ERR_INPUT, -rc, "%s: cannot write the LUKS header: %s", f->image,
			strerror(-rc));
	return rc;
}

int luks_create(const struct luks_file *f, const struct luks_params *p, const void *pass,
		size_t pass_len, struct sector_cipher **out, struct err *e)
{
	uint8_t key[CIPHER_KEY_MAX], *material;
	struct luks_header h;
	int rc = take_params(p, &h, e);

	if (rc)
		return rc;
	if (f->size < h.payload_offset)
		return err_set(e, ERR_INPUT, ENOSPC,
			       "%s: %" PRIu64 " bytes are too few for a LUKS header of %" PRIu64,
			       f->image, f->size, h.payload_offset);
	material = malloc(luks_material_len(&h));
	if (!material)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	set_slots(&h);
	set_iterations(&h, p->iter_time);
	rc = set_uuid(&h);
	rc = rc ? rc : make_keys(&h, key);
	rc = rc ? rc : luks_wrap_key(&h, 0, key, pass, pass_len, material);
	if (rc)
		err_set(e, ERR_HOST, -rc, "%s: cannot make a key: %s", f->image, strerror(-rc));
	rc = rc ? rc : write_all(f, &h, material, e);
	if (!rc && out && cipher_create(h.cipher, h.mode, key, h.key_bytes, out))
		rc = err_set(e, ERR_HOST, ENOMEM, "out of memory");
	explicit_bzero(key, sizeof(key));
	free(material);
	return rc;
}

/* --- what is in one --- */

static json_t *slot_info(const struct luks_slot *s)
{
	if (!s->active)
		return json_pack("{s:b, s:I}", "active", 0, "key-offset",
				 (json_int_t)s->key_offset);
	return json_pack("{s:b, s:I, s:I, s:I}", "active", 1, "iters", (json_int_t)s->iterations,
			 "key-offset", (json_int_t)s->key_offset, "stripes",
			 (json_int_t)s->stripes);
}

void *luks_info(const struct luks_header *h)
{
	bool xts = !strncmp(h->mode, "xts", 3);
	const char *iv = strchr(h->mode, '-') + 1;
	json_t *slots = json_array();
	char alg[16], ivgen[LUKS_NAME];
	json_t *o;

	snprintf(alg, sizeof(alg), "aes-%" PRIu32, h->key_bytes * 8 / (xts ? 2 : 1));
	snprintf(ivgen, sizeof(ivgen), "%.*s", (int)strcspn(iv, ":"), iv);
	for (unsigned i = 0; i < LUKS_SLOTS; i++)
		json_array_append_new(slots, slot_info(&h->slot[i]));
	o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:I, s:I}", "ivgen-alg", ivgen, "hash-alg",
		      h->hash, "cipher-alg", alg, "uuid", h->uuid, "cipher-mode",
		      xts ? "xts" : "cbc", "slots", slots, "payload-offset",
		      (json_int_t)h->payload_offset, "master-key-iters",
		      (json_int_t)h->digest_iterations);
	if (o && strchr(iv, ':'))
		json_object_set_new(o, "ivgen-hash-alg", json_string(strchr(iv, ':') + 1));
	return o;
}
