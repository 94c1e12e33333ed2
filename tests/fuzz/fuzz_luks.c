/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: any bytes as a file with a LUKS header, which is read and then unlocked
 * by a passphrase. What lies beyond the bytes reads as zeroes, up to a size of 4 MiB. Iterations
 * are cut to a few, so that time goes to the parser.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/block/luks.h"
#include "../../src/block/sector_cipher.h"
#include "err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_SIZE = 4 << 20, FEW = 4 };

struct input {
	const uint8_t *data;
	size_t size;
};

static int read_input(void *ctx, uint64_t off, void *buf, size_t len)
{
	const struct input *in = ctx;

	if (off > FILE_SIZE || len > FILE_SIZE - off)
		abort();
	memset(buf, 0, len);
	if (off < in->size)
		memcpy(buf, in->data + off, len < in->size - off ? len : in->size - off);
	return 0;
}

static void unlock(const struct luks_file *f, struct luks_header *h)
{
	struct sector_cipher *c;
	uint8_t sector[512] = { 0 };
	struct err e = { 0 };

	if (h->digest_iterations > FEW)
		h->digest_iterations = FEW;
	for (unsigned i = 0; i < LUKS_SLOTS; i++)
		if (h->slot[i].iterations > FEW)
			h->slot[i].iterations = FEW;
	if (luks_unlock(f, h, "pw", 2, &c, &e)) {
		if (!e.msg[0])
			abort();
		return;
	}
	cipher_decrypt(c, UINT64_MAX, sector, 1);
	cipher_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	const struct luks_file f = {
		.image = "fuzz", .size = FILE_SIZE, .read = read_input, .ctx = &in
	};
	struct luks_header h;
	struct err e = { 0 };
	int rc = luks_read_header(&f, &h, &e);
	json_t *info;

	if (rc) {
		if (!e.msg[0] || rc != -e.code)
			abort();
		return 0;
	}
	unlock(&f, &h);
	info = luks_info(&h);
	if (!info)
		abort();
	json_decref(info);
	return 0;
}
