/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: encrypted images (crypt_method, and "Full disk encryption header pointer" in the
 * specification). LUKS: a header of luks.c's in clusters of its own; each sector of data is
 * encrypted by its number in the file (host offset / 512). The older method: AES-CBC by
 * the number of the guest's sector, without a header; it is only read. Tables, the header and
 * backing files' data are not encrypted. Opening is the main thread's, the rest the node's.
 *
 * All goes through a buffer, so that the guest's memory never holds what is on disk. Parts of
 * sectors are written by reading the rest first; meanwhile no other write is under way.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "iov.h"
#include "qcow2.h"
#include "secret.h"
#include "sector_cipher.h"

enum { SECTOR = CIPHER_SECTOR, BUFFER_MAX = 1 << 20, HEADER_MOST = 64 << 20 };

struct qcow2_crypt {
	uint32_t method;
	struct luks_header luks;
	struct sector_cipher *cipher; /* NULL: no data are to be read */
	unsigned writers; /* of whole sectors */
	bool part_writer; /* one who writes a part of a sector; waits for the writers first */
	struct co_queue no_writers, no_part_writer;
};

/* --- the LUKS header --- */

static int header_read(void *ctx, uint64_t off, void *buf, size_t len)
{
	const struct qcow2 *q = ctx;

	return co_pread(q->node->file, q->crypt_host + off, buf, len);
}

static int header_write(void *ctx, uint64_t off, const void *buf, size_t len)
{
	const struct qcow2 *q = ctx;

	return co_pwrite(q->node->file, q->crypt_host + off, buf, len, 0);
}

static int header_flush(void *ctx)
{
	const struct qcow2 *q = ctx;

	return co_flush(q->node->file);
}

static struct luks_file luks_file_of(struct qcow2 *q)
{
	return (struct luks_file){
		.image = q->node->filename,
		.size = q->crypt_len,
		.read = header_read,
		.write = header_write,
		.flush = header_flush,
		.ctx = q,
	};
}

static int bad_ext(const struct qcow2 *q, struct err *e, const char *field, uint64_t value,
		   const char *why)
{
	return err_set(e, ERR_INPUT, EINVAL,
		       "%s: qcow2 header: encryption header: %s is %" PRIu64 " (%#" PRIx64 "): %s",
		       q->node->filename, field, value, value, why);
}

static int find_header(struct qcow2 *q, struct err *e)
{
	uint64_t size = q->node->file->size, host, bytes;
	struct qcow2_crypt_ext x;
	uint32_t len = 0;
	const uint8_t *ext = qcow2_ext_find(q, QCOW2_EXT_CRYPT, &len);

	if (!ext)
		return err_set(e, ERR_INPUT, EINVAL,
			       "%s: qcow2 header: crypt_method is 2 (LUKS), and no extension says "
			       "where its header is",
			       q->node->filename);
	if (len < sizeof(x))
		return bad_ext(q, e, "the extension's length", len, "less than 16");
	memcpy(&x, ext, sizeof(x));
	host = be64_to_cpu(x.offset);
	bytes = be64_to_cpu(x.len);
	if (host & (q->cluster_size - 1))
		return bad_ext(q, e, "offset", host, "not a multiple of the cluster size");
	if (host < q->cluster_size)
		return bad_ext(q, e, "offset", host, "inside the header");
	if (host > size)
		return bad_ext(q, e, "offset", host, "behind the end of the file");
	if (bytes > size - host)
		return bad_ext(q, e, "length", bytes, "it ends behind the end of the file");
	if (bytes > HEADER_MOST)
		return bad_ext(q, e, "length", bytes, "more than 64 MiB");
	if (qcow2_is_metadata(q, host, bytes))
		return bad_ext(q, e, "offset", host, "it overlaps other tables");
	q->crypt_host = host;
	q->crypt_len = bytes;
	return 0;
}

/* --- opening --- */

static const char *method_name(uint32_t method)
{
	return method == QCOW2_CRYPT_LUKS ? "luks" : method == QCOW2_CRYPT_AES ? "aes" : "none";
}

static int check_options(const struct qcow2 *q, uint32_t method, struct err *e)
{
	const char *has = method_name(method);

	if (method && (!q->crypt_format || !strcmp(q->crypt_format, has)))
		return 0;
	if (method)
		return err_set(e, ERR_USAGE, EINVAL, "%s: encrypt.format=%s: its encryption is %s",
			       q->node->filename, q->crypt_format, has);
	if (!q->crypt_format && !q->key_secret)
		return 0;
	err_set(e, ERR_USAGE, EINVAL, "%s: %s=%s is given, and it is not encrypted",
		q->node->filename, q->crypt_format ? "encrypt.format" : "encrypt.key-secret",
		q->crypt_format ? q->crypt_format : q->key_secret);
	err_hint(e, "leave it out, if you expected that");
	return -EINVAL;
}

static int refuse_writing(struct qcow2 *q, struct err *e)
{
	struct blk_node *n = q->node;

	if (n->readonly)
		return 0;
	if (n->open.auto_readonly) {
		n->readonly = true;
		q->writable = false;
		return 0;
	}
	err_set(e, ERR_INPUT, EROFS,
		"%s has the old AES encryption (crypt_method 1), which can only be read",
		n->filename);
	err_hint(e, "make a new image of it: posada-img convert -O qcow2 "
		    "-o encrypt.format=luks,encrypt.key-secret=ID ...; or add read-only=on");
	return -EROFS;
}

static int get_secret(const struct qcow2 *q, const void **pass, size_t *len, struct err *e)
{
	const struct blk_node *n = q->node;
	int rc;

	if (q->key_secret) {
		rc = secret_get(q->key_secret, pass, len, e);
		if (rc)
			err_prefix(e, "%s: encrypt.", n->filename);
		return rc;
	}
	err_set(e, ERR_USAGE, ENOKEY, "%s is encrypted, and encrypt.key-secret= is missing",
		n->filename);
	err_hint(e,
		 "add -object secret,id=sec0,file=PATH, and encrypt.key-secret=sec0 at the image "
		 "(posada-img: --object ... --image-opts "
		 "driver=qcow2,encrypt.key-secret=sec0,file.filename=...)");
	return -ENOKEY;
}

static int unlock(struct qcow2 *q, struct err *e)
{
	const struct luks_file f = luks_file_of(q);
	struct qcow2_crypt *c = q->crypt;
	const void *pass;
	size_t len;
	int rc = get_secret(q, &pass, &len, e);

	if (rc)
		return rc;
	if (c->method == QCOW2_CRYPT_LUKS)
		return luks_unlock(&f, &c->luks, pass, len, &c->cipher, e);
	if (cipher_create_qcow_aes(pass, len, &c->cipher))
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	return 0;
}

int qcow2_crypt_open(struct qcow2 *q, struct err *e)
{
	uint32_t method = be32_to_cpu(q->hdr.crypt_method);
	struct luks_file f;
	int rc = check_options(q, method, e);

	if (rc || !method)
		return rc;
	q->crypt = calloc(1, sizeof(*q->crypt));
	if (!q->crypt)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	q->crypt->method = method;
	if (method == QCOW2_CRYPT_LUKS) {
		rc = find_header(q, e);
		f = luks_file_of(q);
		rc = rc ? rc : luks_read_header(&f, &q->crypt->luks, e);
	} else if (!q->node->open.no_data) {
		rc = refuse_writing(q, e);
	}
	if (q->node->lim.align < SECTOR)
		q->node->lim.align = SECTOR;
	return rc || q->node->open.no_data ? rc : unlock(q, e);
}

void qcow2_crypt_free(struct qcow2 *q)
{
	if (q->crypt)
		cipher_free(q->crypt->cipher);
	free(q->crypt);
	q->crypt = NULL;
}

/* --- reading --- */

/* [co] Whole sectors at host, decrypted; number: of the first. Behind the data's end are zeroes. */
static int read_sectors(struct qcow2 *q, uint64_t number, uint64_t host, uint8_t *buf, size_t len)
{
	uint64_t size = q->data->size;
	size_t have = host >= size ? 0 : size - host < len ? (size_t)(size - host) : len;
	int rc = have ? co_pread(q->data, host, buf, have) : 0;

	if (rc)
		return rc;
	memset(buf + have, 0, len - have);
	cipher_decrypt(q->crypt->cipher, number, buf, len / SECTOR);
	return 0;
}

/* Some bytes at host, as far as they go into one buffer: [start, end) in whole sectors. */
struct part {
	uint64_t start, end;
	size_t in, len; /* where in the buffer the bytes are; how many */
};

static struct part next_part(uint64_t host, uint64_t len)
{
	struct part p = { .start = host / SECTOR * SECTOR, .in = host % SECTOR };
	uint64_t end = host + len;

	if (end - p.start > BUFFER_MAX)
		end = p.start + BUFFER_MAX;
	p.len = (size_t)(end - host);
	p.end = (end + SECTOR - 1) / SECTOR * SECTOR;
	return p;
}

static uint8_t *buffer_for(uint64_t len)
{
	void *buf;

	len += 2 * SECTOR;
	/* O_DIRECT below is met as it wants it. */
	return posix_memalign(&buf, 4096, len < BUFFER_MAX ? len : BUFFER_MAX) ? NULL : buf;
}

int qcow2_crypt_read(struct qcow2 *q, uint64_t off, uint64_t host, uint64_t len,
		     const struct iovec *iov, unsigned n_iov, uint64_t skip)
{
	const struct qcow2_crypt *c = q->crypt;
	bool by_guest = c->method == QCOW2_CRYPT_AES;
	uint8_t *buf;
	int rc = 0;

	if (!c->cipher)
		return -EACCES;
	buf = buffer_for(len);
	if (!buf)
		return -ENOMEM;
	for (uint64_t done = 0; !rc && done < len;) {
		struct part p = next_part(host + done, len - done);
		uint64_t at = by_guest ? off + done - p.in : p.start;

		rc = read_sectors(q, at / SECTOR, p.start, buf, (size_t)(p.end - p.start));
		if (!rc)
			iov_from_buf(iov, n_iov, skip + done, buf + p.in, p.len);
		done += p.len;
	}
	free(buf);
	return rc;
}

/* --- writing --- */

/* [co] */
static void begin_write(struct qcow2_crypt *c, bool whole)
{
	while (c->part_writer)
		co_queue_wait(&c->no_part_writer);
	if (whole) {
		c->writers++;
		return;
	}
	c->part_writer = true;
	while (c->writers)
		co_queue_wait(&c->no_writers);
}

static void end_write(struct qcow2_crypt *c, bool whole)
{
	if (!whole) {
		c->part_writer = false;
		co_queue_wake_all(&c->no_part_writer);
	} else if (!--c->writers) {
		co_queue_wake_all(&c->no_writers);
	}
}

/* [co] What the first and the last sector hold besides. */
static int read_edges(struct qcow2 *q, const struct part *p, uint8_t *buf)
{
	uint64_t last = p->end - SECTOR;
	int rc = 0;

	if (p->in)
		rc = read_sectors(q, p->start / SECTOR, p->start, buf, SECTOR);
	if (!rc && (p->in + p->len) % SECTOR && (last != p->start || !p->in))
		rc = read_sectors(q, last / SECTOR, last, buf + (last - p->start), SECTOR);
	return rc;
}

int qcow2_crypt_write(struct qcow2 *q, uint64_t host, uint64_t len, const struct iovec *iov,
		      unsigned n_iov)
{
	bool whole = !((host | len) % SECTOR);
	struct qcow2_crypt *c = q->crypt;
	uint8_t *buf;
	int rc = 0;

	if (!c->cipher || c->method != QCOW2_CRYPT_LUKS)
		return -EACCES;
	buf = buffer_for(len);
	if (!buf)
		return -ENOMEM;
	begin_write(c, whole);
	for (uint64_t done = 0; !rc && done < len;) {
		struct part p = next_part(host + done, len - done);
		size_t bytes = (size_t)(p.end - p.start);

		rc = whole ? 0 : read_edges(q, &p, buf);
		if (rc)
			break;
		iov_to_buf(iov, n_iov, done, buf + p.in, p.len);
		cipher_encrypt(c->cipher, p.start / SECTOR, buf, bytes / SECTOR);
		rc = co_pwrite(q->data, p.start, buf, bytes, 0);
		done += p.len;
	}
	end_write(c, whole);
	free(buf);
	return rc;
}

/* --- whole images --- */

void *qcow2_crypt_info(const struct qcow2 *q)
{
	json_t *o, *luks, *value;
	const char *key;

	if (q->crypt->method == QCOW2_CRYPT_AES)
		return json_pack("{s:s}", "format", "aes");
	/* The order is what people see. */
	luks = luks_info(&q->crypt->luks);
	o = json_object();
	json_object_foreach(luks, key, value)
	{
		json_object_set(o, key, value);
		if (!strcmp(key, "uuid"))
			json_object_set_new(o, "format", json_string("luks"));
	}
	json_decref(luks);
	return o;
}

int qcow2_crypt_amend(struct qcow2 *q, const struct luks_amend *a, struct err *e)
{
	struct luks_file f = luks_file_of(q);
	const void *pass;
	size_t len;
	int rc;

	if (!q->crypt)
		return err_set(e, ERR_USAGE, EINVAL,
			       "%s: Can't amend encryption options - encryption not present",
			       q->node->filename);
	if (q->crypt->method != QCOW2_CRYPT_LUKS)
		return err_set(e, ERR_USAGE, ENOTSUP,
			       "%s: only LUKS encryption has options that can be amended",
			       q->node->filename);
	rc = get_secret(q, &pass, &len, e);
	return rc ? rc : luks_amend(&f, &q->crypt->luks, a, pass, len, e);
}
