/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How LUKS makes keys: hashes by name, PBKDF2 and the anti-forensic splitter. Any thread. */
#ifndef POSADA_BLOCK_LUKS_KEY_H
#define POSADA_BLOCK_LUKS_KEY_H

#include <stddef.h>
#include <stdint.h>

struct nettle_hash;

/* By the name in a LUKS header; NULL: unknown. */
const struct nettle_hash *luks_hash(const char *name);

/* PBKDF2 with HMAC (RFC 8018 5.2). iterations: one at least. */
void luks_pbkdf2(const struct nettle_hash *hash, const void *pass, size_t pass_len,
		 const void *salt, size_t salt_len, uint32_t iterations, void *out, size_t len);
/* Iterations that take about ms milliseconds of this thread's time for len bytes of key. */
uint32_t luks_pbkdf2_measure(const struct nettle_hash *hash, size_t len, unsigned ms);

/*
 * AFsplit and AFmerge of the specification, appendix: key of len bytes, split into
 * stripes * len bytes of which all are needed to get it back. 0, or -errno of getrandom.
 */
int luks_af_split(const struct nettle_hash *hash, const void *key, size_t len, unsigned stripes,
		  void *split);
void luks_af_merge(const struct nettle_hash *hash, const void *split, size_t len, unsigned stripes,
		   void *key);

/* len bytes nobody can guess. 0 or -errno. */
int luks_random(void *buf, size_t len);

#endif
