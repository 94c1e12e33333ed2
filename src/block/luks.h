/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LUKS version 1 headers: reading, unlocking by a passphrase, and making new
 * ones. For images of format luks, and for qcow2 with crypt_method 2. Blocking
 * (deriving keys takes as long as the header says, a minute at most); any
 * thread, one at a time per image.
 *
 * The sectors of a luks image are numbered from its payload on; those of qcow2
 * from the beginning of the qcow2 file (host offset / 512).
 */
#ifndef POSADA_BLOCK_LUKS_H
#define POSADA_BLOCK_LUKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/luks.h"

struct err;
struct sector_cipher;

/* Where a header lies: a file, or the area that qcow2's header extension names. */
struct luks_file {
	const char *image; /* for messages */
	uint64_t size; /* bytes of the file or area; read and write stay within */
	int (*read)(void *ctx, uint64_t off, void *buf, size_t len); /* 0 or -errno */
	int (*write)(void *ctx, uint64_t off, const void *buf, size_t len); /* luks_create's */
	int (*flush)(void *ctx); /* luks_amend's */
	void *ctx;
};

/* Hash iterations that one key slot, or the digest of the master key, may ask for. */
#define LUKS_ITERATIONS_MAX (1u << 26)

struct luks_slot {
	bool active;
	uint32_t iterations, stripes;
	uint64_t key_offset; /* bytes; unchecked unless active */
	uint8_t salt[LUKS_SALT];
};

/* A header, checked. */
struct luks_header {
	char cipher[LUKS_NAME], mode[LUKS_NAME], hash[LUKS_NAME], uuid[LUKS_UUID];
	uint64_t payload_offset; /* bytes, within the file */
	uint32_t key_bytes, digest_iterations;
	uint8_t digest[LUKS_DIGEST], digest_salt[LUKS_SALT];
	struct luks_slot slot[LUKS_SLOTS];
};

/* Whether n bytes at a file's beginning are a LUKS header's, of whatever version. */
bool luks_probe(const void *buf, size_t n);

/* Reads and checks it; needs no passphrase. Messages name image, field and value. */
int luks_read_header(const struct luks_file *f, struct luks_header *out, struct err *e);
/* -EACCES: the passphrase fits no key slot. */
int luks_unlock(const struct luks_file *f, const struct luks_header *h, const void *pass,
		size_t pass_len, struct sector_cipher **out, struct err *e);

/* --- making --- */

/* Options of create: names as qemu-img has them. NULL: the default. */
struct luks_params {
	char *key_secret;
	char *cipher_alg; /* aes-128, aes-256 */
	char *cipher_mode; /* xts, cbc */
	char *ivgen_alg; /* plain, plain64, essiv */
	char *ivgen_hash_alg; /* sha256, of essiv */
	char *hash_alg;
	uint64_t iter_time; /* milliseconds that trying a passphrase shall take */
};

/*
 * Their rows in a table of props. at: where in st they are ("luks.", or nothing); prefix: of
 * the names ("encrypt.", or nothing).
 */
#define LUKS_PARAMS(st, at, prefix)                                                                \
	PROP(st, at key_secret, PROP_STR, prefix "key-secret", NULL,                               \
	     "id of the -object secret that holds the passphrase"),                                \
		PROP(st, at cipher_alg, PROP_STR, prefix "cipher-alg", NULL,                       \
		     "aes-256 (the default) or aes-128"),                                          \
		PROP(st, at cipher_mode, PROP_STR, prefix "cipher-mode", NULL,                     \
		     "xts (the default) or cbc"),                                                  \
		PROP(st, at ivgen_alg, PROP_STR, prefix "ivgen-alg", NULL,                         \
		     "plain64 (the default), plain or essiv"),                                     \
		PROP(st, at ivgen_hash_alg, PROP_STR, prefix "ivgen-hash-alg", NULL,               \
		     "hash of essiv: sha256"),                                                     \
		PROP(st, at hash_alg, PROP_STR, prefix "hash-alg", NULL,                           \
		     "hash of keys (default: sha256)"),                                            \
		PROP_RANGE(st, at iter_time, PROP_U64, prefix "iter-time", "2000", 1, 60000,       \
			   "milliseconds that trying a passphrase shall take")

/* Bytes from the header's beginning to the payload. -errno: what luks_create would say. */
int luks_header_size(const struct luks_params *p, uint64_t *out, struct err *e);
/*
 * Writes a header with a new key into f, whose size is luks_header_size's at least and
 * which reads as zeroes. out: the cipher of the data; may be NULL.
 */
int luks_create(const struct luks_file *f, const struct luks_params *p, const void *pass,
		size_t pass_len, struct sector_cipher **out, struct err *e);

/* --- key slots --- */

/* Options of amend: names as qemu-img has them. */
struct luks_amend {
	int state; /* LUKS_KEEP: nothing is asked for */
	char *new_secret, *old_secret; /* ids of secrets, or NULL */
	uint32_t keyslot; /* LUKS_SLOTS: none is named */
	uint64_t iter_time;
	bool force; /* also what makes the image unreadable for good */
};
enum { LUKS_KEEP, LUKS_ACTIVE, LUKS_INACTIVE };
extern const char *const luks_states[];

#define LUKS_AMEND_PARAMS(st, at, prefix)                                                          \
	PROP_RANGE(st, at iter_time, PROP_U64, prefix "iter-time", "2000", 1, 60000,               \
		   "milliseconds that trying the new passphrase shall take"),                      \
		PROP_RANGE(st, at keyslot, PROP_U32, prefix "keyslot", NULL, 0, LUKS_SLOTS - 1,    \
			   "this key slot (0 to 7)"),                                              \
		PROP(st, at new_secret, PROP_STR, prefix "new-secret", NULL,                       \
		     "id of the -object secret that holds a passphrase to be added"),              \
		PROP(st, at old_secret, PROP_STR, prefix "old-secret", NULL,                       \
		     "id of one whose key slots are to be erased"),                                \
		PROP_CHOICE(st, at state, prefix "state", "keep", luks_states,                     \
			    "active: adds a key slot; inactive: erases some")

/*
 * Adds a key slot or erases some, and changes h accordingly. pass: one that unlocks it. A power
 * cut leaves each slot as it was, or as it shall be.
 */
int luks_amend(const struct luks_file *f, struct luks_header *h, const struct luks_amend *a,
	       const void *pass, size_t pass_len, struct err *e);

/* For luks_slots.c. The master key, CIPHER_KEY_MAX bytes; slots: those that are tried. *slot: which
 * fits. -EACCES: none. */
int luks_find_key(const struct luks_file *f, const struct luks_header *h, unsigned slots,
		  const void *pass, size_t pass_len, uint8_t *key, unsigned *slot, struct err *e);
/* The master key, split and encrypted by the passphrase, for a slot: luks_material_len bytes. */
int luks_wrap_key(const struct luks_header *h, unsigned slot, const uint8_t *key, const void *pass,
		  size_t pass_len, uint8_t *material);
uint64_t luks_material_len(const struct luks_header *h); /* whole sectors */
void luks_slot_to_wire(const struct luks_slot *s, struct luks_wire_slot *w);
uint32_t luks_clamp_iterations(uint64_t n);

/* What `info` shows ("encrypt" of qcow2, "data" of luks): a new json_t *, or NULL without memory.
 */
void *luks_info(const struct luks_header *h);

#endif
