/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Encryption of disk sectors: each of 512 bytes by itself, its number being
 * what makes equal sectors look different. Pure computation; a cipher may be
 * used by several threads at once.
 */
#ifndef POSADA_BLOCK_SECTOR_CIPHER_H
#define POSADA_BLOCK_SECTOR_CIPHER_H

#include <stddef.h>
#include <stdint.h>

enum { CIPHER_SECTOR = 512, CIPHER_KEY_MAX = 64 };

struct sector_cipher;

/*
 * By the names of LUKS headers: cipher "aes", mode "xts-plain64", "cbc-essiv:sha256",
 * "cbc-plain64" or those with plain, whose numbers are of 32 bits. -ENOTSUP: an unknown name,
 * -EINVAL: not a length of key that the mode takes (bytes), -ENOMEM.
 */
int cipher_create(const char *cipher, const char *mode, const void *key, size_t key_len,
		  struct sector_cipher **out);
/* The first method of qcow2: AES-128-CBC, the key being the first 16 bytes of the passphrase. */
int cipher_create_qcow_aes(const void *pass, size_t len, struct sector_cipher **out);
/* Wipes the keys. NULL is fine. */
void cipher_free(struct sector_cipher *c);

/* In place: n_sectors of 512 bytes, the first being that number. */
void cipher_encrypt(const struct sector_cipher *c, uint64_t sector, void *buf, size_t n_sectors);
void cipher_decrypt(const struct sector_cipher *c, uint64_t sector, void *buf, size_t n_sectors);

#endif
