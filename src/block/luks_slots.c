/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LUKS version 1: adding and erasing key slots ("LUKS1 On-Disk Format Specification" 1.2.3,
 * 4.3 and 4.4). See luks.h for threads.
 *
 * A slot becomes active by one word of the header, after all else of it is on stable storage. One
 * that is erased loses its key material first: it must not be found behind a slot that only
 * says that it is disabled.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "luks.h"
#include "luks_key.h"
#include "secret.h"
#include "sector_cipher.h"

enum { ALL_SLOTS = (1 << LUKS_SLOTS) - 1 };

const char *const luks_states[] = { "keep", "active", "inactive", NULL };

static int refuse(const struct luks_file *f, struct err *e, const char *why)
{
	return err_set(e, ERR_USAGE, EINVAL, "%s: %s", f->image, why);
}

static uint64_t wire_at(unsigned slot)
{
	return offsetof(struct luks_wire_header, slot) + slot * sizeof(struct luks_wire_slot);
}

static int write_durably(const struct luks_file *f, uint64_t off, const void *buf, size_t len)
{
	int rc = f->write(f->ctx, off, buf, len);

	return rc ? rc : f->flush(f->ctx);
}

static int write_state(const struct luks_file *f, unsigned slot, bool active)
{
	struct be32 word = cpu_to_be32(active ? LUKS_SLOT_ACTIVE : LUKS_SLOT_DISABLED);

	return write_durably(f, wire_at(slot) + offsetof(struct luks_wire_slot, active), &word,
			     sizeof(word));
}

/* --- adding --- */

static int choose_slot(const struct luks_file *f, const struct luks_header *h,
		       const struct luks_amend *a, unsigned *slot, struct err *e)
{
	for (*slot = 0; a->keyslot == LUKS_SLOTS && *slot < LUKS_SLOTS; ++*slot)
		if (!h->slot[*slot].active)
			return 0;
	if (a->keyslot == LUKS_SLOTS) {
		refuse(f, e, "Can't add a keyslot - all keyslots are in use");
		err_hint(e, "erase one: state=inactive,old-secret=ID or keyslot=N");
		return -EINVAL;
	}
	*slot = a->keyslot;
	if (!h->slot[*slot].active || a->force)
		return 0;
	err_set(e, ERR_USAGE, EEXIST,
		"%s: Refusing to overwrite active keyslot %u - please erase it first", f->image,
		*slot);
	return -EEXIST;
}

/* Where a disabled slot's key would lie is not checked when a header is read. */
static int check_place(const struct luks_file *f, const struct luks_header *h, unsigned slot,
		       struct err *e)
{
	uint64_t at = h->slot[slot].key_offset, len = luks_material_len(h);
	bool good = at >= sizeof(struct luks_wire_header) && at + len <= h->payload_offset;

	for (unsigned i = 0; i < LUKS_SLOTS; i++)
		if (i != slot && h->slot[i].active && at < h->slot[i].key_offset + len &&
		    h->slot[i].key_offset < at + len)
			good = false;
	if (good)
		return 0;
	return err_set(e, ERR_INPUT, EINVAL,
		       "%s: LUKS header: key slot %u: key-material-offset %" PRIu64
		       ": not a place for a key",
		       f->image, slot, at / LUKS_SECTOR);
}

/* The slot with its key, and only then its being active. */
static int write_slot(const struct luks_file *f, const struct luks_header *h, unsigned slot,
		      const uint8_t *material)
{
	struct luks_slot s = h->slot[slot];
	struct luks_wire_slot w;
	int rc;

	s.active = false;
	luks_slot_to_wire(&s, &w);
	rc = write_durably(f, wire_at(slot), &w, sizeof(w));
	if (!rc)
		rc = write_durably(f, s.key_offset, material, (size_t)luks_material_len(h));
	return rc ? rc : write_state(f, slot, true);
}

static int fill_slot(const struct luks_file *f, struct luks_header *h, unsigned slot,
		     uint64_t iter_time, const uint8_t *key, const void *pass, size_t len,
		     struct err *e)
{
	uint8_t *material = malloc(luks_material_len(h));
	struct luks_header now = *h;
	struct luks_slot *s = &now.slot[slot];
	int rc;

	if (!material)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	s->active = true;
	s->stripes = LUKS_STRIPES;
	s->iterations = luks_clamp_iterations(
		luks_pbkdf2_measure(luks_hash(h->hash), h->key_bytes, (unsigned)iter_time));
	rc = luks_random(s->salt, sizeof(s->salt));
	if (!rc)
		rc = luks_wrap_key(&now, slot, key, pass, len, material);
	if (!rc)
		rc = write_slot(f, &now, slot, material);
	free(material);
	if (rc)
		return err_set(e, ERR_INPUT, -rc, "%s: cannot write key slot %u: %s", f->image,
			       slot, strerror(-rc));
	*h = now;
	return 0;
}

static int add(const struct luks_file *f, struct luks_header *h, const struct luks_amend *a,
	       const void *pass, size_t pass_len, struct err *e)
{
	uint8_t key[CIPHER_KEY_MAX];
	const void *new_pass;
	unsigned slot, old;
	size_t len;
	int rc;

	if (!a->new_secret)
		return refuse(f, e, "new-secret= is required to activate a keyslot");
	if (a->old_secret)
		return refuse(f, e, "old-secret= must not be given when activating keyslots");
	rc = secret_get(a->new_secret, &new_pass, &len, e);
	if (!rc)
		rc = choose_slot(f, h, a, &slot, e);
	if (!rc)
		rc = check_place(f, h, slot, e);
	if (!rc)
		rc = luks_find_key(f, h, ALL_SLOTS, pass, pass_len, key, &old, e);
	if (!rc)
		rc = fill_slot(f, h, slot, a->iter_time, key, new_pass, len, e);
	explicit_bzero(key, sizeof(key));
	return rc;
}

/* --- erasing --- */

static unsigned active_slots(const struct luks_header *h)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < LUKS_SLOTS; i++)
		bits |= h->slot[i].active ? 1u << i : 0;
	return bits;
}

/* The slots that old-secret= unlocks, among those in *slots. */
static int match_slots(const struct luks_file *f, const struct luks_header *h, const char *secret,
		       unsigned *slots, struct err *e)
{
	unsigned left = *slots, slot;
	uint8_t key[CIPHER_KEY_MAX];
	const void *pass;
	size_t len;
	int rc = secret_get(secret, &pass, &len, e);

	*slots = 0;
	while (!rc && left) {
		rc = luks_find_key(f, h, left, pass, len, key, &slot, e);
		if (!rc) {
			*slots |= 1u << slot;
			/* Those before it have been tried. */
			left &= ~((2u << slot) - 1);
		}
	}
	explicit_bzero(key, sizeof(key));
	if (rc && rc != -EACCES)
		return rc;
	if (*slots)
		return 0;
	return err_set(e, ERR_USAGE, EACCES,
		       "%s: No keyslots match given (old) password for erase operation", f->image);
}

static int erase_slot(const struct luks_file *f, struct luks_header *h, unsigned slot)
{
	size_t len = (size_t)luks_material_len(h);
	uint8_t *noise = malloc(len);
	int rc = noise ? luks_random(noise, len) : -ENOMEM;

	if (!rc)
		rc = write_durably(f, h->slot[slot].key_offset, noise, len);
	free(noise);
	if (!rc)
		rc = write_state(f, slot, false);
	if (!rc)
		h->slot[slot].active = false;
	return rc;
}

static int erase(const struct luks_file *f, struct luks_header *h, const struct luks_amend *a,
		 struct err *e)
{
	unsigned slots = active_slots(h);
	int rc = 0;

	if (a->new_secret)
		return refuse(f, e, "new-secret= must not be given when erasing keyslots");
	if (!a->old_secret && a->keyslot == LUKS_SLOTS)
		return refuse(f, e,
			      "To erase keyslot(s), either explicit keyslot index or the password "
			      "currently contained in them must be given");
	if (a->keyslot < LUKS_SLOTS) {
		slots &= 1u << a->keyslot;
		if (!slots)
			return err_set(e, ERR_USAGE, EINVAL, "%s: keyslot %u is not active",
				       f->image, a->keyslot);
	}
	if (a->old_secret)
		rc = match_slots(f, h, a->old_secret, &slots, e);
	if (rc)
		return rc;
	if (slots == active_slots(h) && !a->force) {
		refuse(f, e,
		       "these are all the active keyslots: erasing them will erase all the data "
		       "in the image irreversibly - refusing operation");
		err_hint(e, "add another passphrase first, or --force");
		return -EINVAL;
	}
	for (unsigned i = 0; !rc && i < LUKS_SLOTS; i++)
		if (slots >> i & 1)
			rc = erase_slot(f, h, i);
	return rc ? err_set(e, ERR_INPUT, -rc, "%s: cannot erase a key slot: %s", f->image,
			    strerror(-rc))
		  : 0;
}

int luks_amend(const struct luks_file *f, struct luks_header *h, const struct luks_amend *a,
	       const void *pass, size_t pass_len, struct err *e)
{
	if (a->state == LUKS_ACTIVE)
		return add(f, h, a, pass, pass_len, e);
	if (a->state == LUKS_INACTIVE)
		return erase(f, h, a, e);
	return refuse(f, e, "state=active or state=inactive is missing");
}
