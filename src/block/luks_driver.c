/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format luks: an encrypted disk behind a LUKS header in the same file. The header is
 * luks.c's, the encryption sector_cipher.c's. Node's thread.
 *
 * Every request is a coroutine with a buffer of its own: what the guest wrote is copied
 * once and encrypted there, so that its memory never holds what is on disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "block_int.h"
#include "co.h"
#include "co_io.h"
#include "err.h"
#include "internal.h"
#include "iov.h"
#include "luks.h"
#include "props.h"
#include "secret.h"
#include "sector_cipher.h"

enum { SECTOR = CIPHER_SECTOR, BUFFER_MAX = 1 << 20 };

struct luks {
	char *key_secret;
	struct luks_header h;
	struct sector_cipher *cipher;
	struct co_lock part_lock; /* writes of parts of sectors, which read the rest first */
	unsigned in_flight;
};

static const struct prop luks_props[] = {
	PROP(struct luks, key_secret, PROP_STR, "key-secret", NULL,
	     "id of the -object secret that holds the passphrase"),
	PROP_END,
};

/* --- opening --- */

static int file_read(void *ctx, uint64_t off, void *buf, size_t len)
{
	return co_pread(ctx, off, buf, len);
}

static int file_write(void *ctx, uint64_t off, const void *buf, size_t len)
{
	return co_pwrite(ctx, off, buf, len, 0);
}

static int file_flush(void *ctx)
{
	return co_flush(ctx);
}

static struct luks_file header_of(struct blk_node *file)
{
	return (struct luks_file){
		.image = file->filename,
		.size = file->size,
		.read = file_read,
		.write = file_write,
		.flush = file_flush,
		.ctx = file,
	};
}

static int luks_probe_buf(const uint8_t *buf, size_t n, uint64_t size)
{
	return luks_probe(buf, n) ? 100 : 0;
}

static int set_size(struct blk_node *n, struct err *e)
{
	const struct luks *l = n->p;

	if (n->file->size < l->h.payload_offset)
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: ends at %" PRIu64 ", before its payload at %" PRIu64,
			       n->filename, n->file->size, l->h.payload_offset);
	n->size = (n->file->size - l->h.payload_offset) / SECTOR * SECTOR;
	return 0;
}

static int luks_open(struct blk_node *n, struct err *e)
{
	const struct luks_file f = header_of(n->file);
	struct luks *l = n->p;
	const void *pass;
	size_t len;
	int rc = luks_read_header(&f, &l->h, e);

	if (rc)
		return rc;
	if (!n->open.no_data) {
		rc = secret_get(l->key_secret, &pass, &len, e);
		if (rc)
			err_prefix(e, "%s: ", n->filename);
		rc = rc ? rc : luks_unlock(&f, &l->h, pass, len, &l->cipher, e);
	}
	rc = rc ? rc : set_size(n, e);
	if (n->lim.align < SECTOR)
		n->lim.align = SECTOR;
	n->lim.mem_align = 1; /* all is copied */
	return rc;
}

static void luks_close(struct blk_node *n)
{
	struct luks *l = n->p;

	cipher_free(l->cipher);
}

static int luks_refresh(struct blk_node *n, struct err *e)
{
	int rc = n->file->drv->refresh ? n->file->drv->refresh(n->file, e) : 0;

	return rc ? rc : set_size(n, e);
}

static int luks_truncate(struct blk_node *n, uint64_t size, struct err *e)
{
	const struct luks *l = n->p;
	int rc;

	if (size > INT64_MAX - l->h.payload_offset)
		return err_set(e, ERR_USAGE, EFBIG, "%s: %" PRIu64 " bytes are too many",
			       n->filename, size);
	rc = blk_node_truncate(n->file, l->h.payload_offset + size, e);
	return rc ? rc : set_size(n, e);
}

/* --- requests --- */

/* Sectors [off, off + len), decrypted. */
static int read_sectors(struct blk_node *n, uint64_t off, uint8_t *buf, size_t len)
{
	const struct luks *l = n->p;
	int rc = co_pread(n->file, l->h.payload_offset + off, buf, len);

	if (!rc)
		cipher_decrypt(l->cipher, off / SECTOR, buf, len / SECTOR);
	return rc;
}

/* Some bytes of the request, as far as they go into one buffer: [off, end) in whole sectors. */
struct part {
	uint64_t off, end;
	uint64_t at; /* where in the request its bytes begin */
	size_t skip, len; /* bytes of the first sector before them; how many they are */
};

static struct part next_part(const struct blk_io *io, uint64_t done)
{
	uint64_t off = io->off + done, end = io->off + io->len;
	struct part p = { .off = off / SECTOR * SECTOR, .at = done, .skip = off % SECTOR };

	if (end - p.off > BUFFER_MAX)
		end = p.off + BUFFER_MAX;
	p.end = (end + SECTOR - 1) / SECTOR * SECTOR;
	p.len = (size_t)(end - off);
	return p;
}

static int read_part(struct blk_node *n, const struct blk_io *io, const struct part *p,
		     uint8_t *buf)
{
	int rc = read_sectors(n, p->off, buf, (size_t)(p->end - p->off));

	if (!rc)
		iov_from_buf(io->iov, io->n_iov, p->at, buf + p->skip, p->len);
	return rc;
}

/* What the first and last sector hold besides the request's bytes. */
static int read_edges(struct blk_node *n, const struct part *p, uint8_t *buf)
{
	uint64_t last = p->end - SECTOR;
	int rc = 0;

	if (p->skip)
		rc = read_sectors(n, p->off, buf, SECTOR);
	if (!rc && (p->off + p->skip + p->len) % SECTOR && (last != p->off || !p->skip))
		rc = read_sectors(n, last, buf + (last - p->off), SECTOR);
	return rc;
}

static int write_part(struct blk_node *n, const struct blk_io *io, const struct part *p,
		      uint8_t *buf)
{
	size_t len = (size_t)(p->end - p->off);
	struct luks *l = n->p;
	bool whole = p->len == len;
	int rc = 0;

	if (!whole) {
		co_lock(&l->part_lock);
		rc = read_edges(n, p, buf);
	}
	if (!rc) {
		iov_to_buf(io->iov, io->n_iov, p->at, buf + p->skip, p->len);
		cipher_encrypt(l->cipher, p->off / SECTOR, buf, len / SECTOR);
		rc = co_pwrite(n->file, l->h.payload_offset + p->off, buf, len,
			       io->flags & BLK_FUA);
	}
	if (!whole)
		co_unlock(&l->part_lock);
	return rc;
}

static int serve(struct blk_node *n, const struct blk_io *io)
{
	size_t room = io->len + 2 * SECTOR < BUFFER_MAX ? io->len + 2 * SECTOR : BUFFER_MAX;
	uint64_t done = 0;
	uint8_t *buf;
	int rc = 0;

	/* O_DIRECT below is met as it wants it; a page suits all else. */
	if (posix_memalign((void **)&buf, 4096, room))
		return -ENOMEM;
	while (!rc && done < io->len) {
		struct part p = next_part(io, done);

		rc = io->op == BLK_READ ? read_part(n, io, &p, buf) : write_part(n, io, &p, buf);
		done += p.len;
	}
	free(buf);
	return rc;
}

static void run(void *arg)
{
	struct blk_io *io = arg;
	struct blk_node *n = io->node;
	struct luks *l = n->p;
	int rc = serve(n, io);

	l->in_flight--;
	blk_io_done_later(io, rc);
}

static void luks_submit(struct blk_node *n, struct blk_io *io)
{
	struct luks *l = n->p;
	struct co *co;

	switch (io->op) {
	case BLK_READ:
	case BLK_WRITE:
		break;
	case BLK_FLUSH:
		blk_node_submit(n->file, io);
		return;
	default:
		/* Zeroes are encrypted like all else; what is discarded would not read as zeroes.
		 */
		blk_io_done_later(io, -ENOTSUP);
		return;
	}
	co = l->cipher ? co_create(run, io) : NULL;
	if (!co) {
		blk_io_done_later(io, l->cipher ? -ENOMEM : -EACCES);
		return;
	}
	l->in_flight++;
	co_enter(co);
}

static unsigned luks_in_flight(const struct blk_node *n)
{
	return ((const struct luks *)n->p)->in_flight;
}

/* --- images --- */

static const struct prop luks_create_props[] = {
	LUKS_PARAMS(struct luks_params, , ""),
	PROP_END,
};

static int create_file(const char *filename, const struct blk_create *c, struct blk_node **file,
		       struct err *e)
{
	struct blk_open how = c->how ? *c->how : (struct blk_open){ .locking = true };
	int fd = open(filename, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);

	if (fd < 0)
		return err_set(e, ERR_INPUT, errno, "cannot create '%s': %s", filename,
			       strerror(errno));
	close(fd);
	how.readonly = how.auto_readonly = false;
	return blk_open_protocol(filename, true, NULL, &how, file, e);
}

static int fill_file(struct blk_node *file, const struct blk_create *c, uint64_t header,
		     const void *pass, size_t len, struct err *e)
{
	struct luks_file f;
	int rc = blk_node_truncate(file, 0, e);

	rc = rc ? rc : blk_node_truncate(file, header + c->size, e);
	if (rc)
		return rc;
	f = header_of(file);
	rc = luks_create(&f, c->opts, pass, len, NULL, e);
	if (rc)
		return rc;
	rc = blk_node_flush(file);
	if (rc)
		err_set(e, ERR_INPUT, -rc, "cannot write '%s': %s", file->filename, strerror(-rc));
	return rc;
}

static int luks_create_image(const char *filename, const struct blk_create *c, struct err *e)
{
	const struct luks_params *p = c->opts;
	struct blk_node *file;
	uint64_t header;
	const void *pass;
	size_t len;
	int rc;

	if (c->backing)
		return err_set(e, ERR_USAGE, ENOTSUP, "'%s': LUKS images have no backing file",
			       filename);
	rc = luks_header_size(p, &header, e);
	rc = rc ? rc : secret_get(p->key_secret, &pass, &len, e);
	if (rc)
		return rc;
	if (c->size > INT64_MAX - header)
		return err_set(e, ERR_USAGE, EFBIG, "'%s': %" PRIu64 " bytes are too many",
			       filename, c->size);
	rc = create_file(filename, c, &file, e);
	if (rc)
		return rc;
	rc = fill_file(file, c, header, pass, len, e);
	blk_node_close(file);
	return rc;
}

static int luks_measure(const struct blk_create *c, uint64_t data, uint64_t *required,
			uint64_t *fully_allocated, struct err *e)
{
	int rc = luks_header_size(c->opts, required, e);

	if (!rc)
		*fully_allocated = *required += c->size;
	return rc;
}

static void *luks_info_of(const struct blk_node *n)
{
	return luks_info(&((const struct luks *)n->p)->h);
}

static const struct prop luks_amend_props[] = {
	LUKS_AMEND_PARAMS(struct luks_amend, , ""),
	PROP_END,
};

static int luks_amend_image(struct blk_node *n, struct opts *o, const struct blk_amend *how,
			    struct err *e)
{
	const struct luks_file f = header_of(n->file);
	struct luks *l = n->p;
	struct luks_amend a = { 0 };
	const void *pass;
	size_t len;
	int rc;

	props_defaults(luks_amend_props, &a);
	a.keyslot = LUKS_SLOTS;
	a.force = how->force;
	rc = props_apply(luks_amend_props, &a, o, e);
	rc = rc ? rc : secret_get(l->key_secret, &pass, &len, e);
	rc = rc ? rc : luks_amend(&f, &l->h, &a, pass, len, e);
	props_free(luks_amend_props, &a);
	return rc;
}

static const struct blk_image_ops luks_image = {
	.create_props = luks_create_props,
	.create_size = sizeof(struct luks_params),
	.create = luks_create_image,
	.measure = luks_measure,
	.info = luks_info_of,
	.amend = luks_amend_image,
	.amend_props = luks_amend_props,
};

const struct blk_driver blk_luks = {
	.name = "luks",
	.desc = "an encrypted disk with a LUKS header (version 1)",
	.size = sizeof(struct luks),
	.props = luks_props,
	.probe = luks_probe_buf,
	.open = luks_open,
	.close = luks_close,
	.submit = luks_submit,
	.reopen = blk_reopen_nothing,
	.in_flight = luks_in_flight,
	.refresh = luks_refresh,
	.truncate = luks_truncate,
	.image = &luks_image,
	.no_zeroes = true,
};
