/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -object secret: see include/secret.h. Main thread. */
#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <nettle/base64.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "opts.h"
#include "props.h"

enum { SECRET_MAX = 1 << 20, SHOWN_MAX = 16 };

enum format { FORMAT_RAW, FORMAT_BASE64 };

struct secret {
	char *id;
	uint8_t *data;
	size_t len;
	struct secret *next;
};

static struct secret *secrets;

struct secret_opts {
	char *id, *data, *file;
	int format;
};

static const char *const formats[] = { "raw", "base64", NULL };

const struct prop secret_props[] = {
	PROP(struct secret_opts, id, PROP_STR, "id", NULL, "its name, for key-secret= of images"),
	PROP(struct secret_opts, data, PROP_STR, "data", NULL,
	     "the secret itself; other users of this host can see it"),
	PROP(struct secret_opts, file, PROP_STR, "file", NULL,
	     "file that holds the secret, every byte of it"),
	PROP_CHOICE(struct secret_opts, format, "format", "raw", formats, "how it is written"),
	PROP_END,
};

static struct secret *find(const char *id)
{
	struct secret *s = secrets;

	while (s && strcmp(s->id, id) != 0)
		s = s->next;
	return s;
}

static void secret_free(struct secret *s)
{
	if (s->data)
		explicit_bzero(s->data, s->len);
	free(s->data);
	free(s->id);
	free(s);
}

/* Reads until the end; buf has SECRET_MAX + 1 bytes. Bytes, or -errno. */
static ssize_t read_all(const char *path, uint8_t *buf)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t n = 1;
	size_t len = 0;

	if (fd < 0)
		return -errno;
	while (n && len <= SECRET_MAX) {
		n = read(fd, buf + len, SECRET_MAX + 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		len += (size_t)n;
	}
	n = n < 0 ? -errno : (ssize_t)len;
	close(fd);
	return n;
}

static int load_file(struct secret *s, const char *path, struct err *e)
{
	uint8_t *buf = malloc(SECRET_MAX + 1);
	ssize_t n;

	if (!buf)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	s->data = buf;
	s->len = SECRET_MAX + 1; /* to be wiped, whatever happens */
	n = read_all(path, buf);
	if (n < 0)
		return err_set(e, ERR_INPUT, (int)-n, "file=%s: cannot read the secret: %s", path,
			       strerror((int)-n));
	s->len = (size_t)n;
	if (n > SECRET_MAX)
		return err_set(e, ERR_INPUT, EFBIG, "file=%s: a secret has at most %d bytes", path,
			       SECRET_MAX);
	return 0;
}

static int decode(struct secret *s, struct err *e)
{
	struct base64_decode_ctx ctx;
	size_t room = BASE64_DECODE_LENGTH(s->len), len = room;
	uint8_t *out = malloc(room ? room : 1);
	bool good;

	if (!out)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	base64_decode_init(&ctx);
	good = base64_decode_update(&ctx, &len, out, s->len, (const char *)s->data) &&
	       base64_decode_final(&ctx);
	explicit_bzero(s->data, s->len);
	free(s->data);
	s->data = out;
	s->len = good ? len : 0;
	if (!good) {
		explicit_bzero(out, room);
		return err_set(e, ERR_INPUT, EINVAL, "format=base64: the secret is not base64");
	}
	return 0;
}

static int fill(struct secret *s, const struct secret_opts *so, struct err *e)
{
	int rc = 0;

	s->id = strdup(so->id);
	if (so->data) {
		s->data = (uint8_t *)strdup(so->data);
		s->len = strlen(so->data);
	}
	if (!s->id || (so->data && !s->data))
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	if (so->file)
		rc = load_file(s, so->file, e);
	if (!rc && so->format == FORMAT_BASE64)
		rc = decode(s, e);
	return rc;
}

static int check(const struct secret_opts *so, struct err *e)
{
	if (!so->id || !*so->id) {
		err_set(e, ERR_USAGE, EINVAL, "id= is missing");
		err_hint(e, "-object secret,id=s0,file=PATH, and key-secret=s0 at the image");
		return -EINVAL;
	}
	if (find(so->id))
		return err_set(e, ERR_USAGE, EEXIST, "id=%s: another secret has this name", so->id);
	if (!so->data == !so->file) {
		err_set(e, ERR_USAGE, EINVAL, "id=%s: %s", so->id,
			so->data ? "both data= and file= are given"
				 : "neither file= nor data= is given");
		err_hint(e, "file=PATH keeps the secret from other users' eyes");
		return -EINVAL;
	}
	return 0;
}

int secret_add(struct opts *o, struct err *e)
{
	struct secret_opts so = { 0 };
	struct secret *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	props_defaults(secret_props, &so);
	rc = props_apply(secret_props, &so, o, e);
	rc = rc ? rc : check(&so, e);
	rc = rc ? rc : fill(s, &so, e);
	if (so.data)
		explicit_bzero(so.data, strlen(so.data));
	props_free(secret_props, &so);
	if (rc) {
		secret_free(s);
		return rc;
	}
	s->next = secrets;
	secrets = s;
	return 0;
}

int secret_get(const char *id, const void **data, size_t *len, struct err *e)
{
	const struct secret *s = id ? find(id) : NULL;
	const char *names[SHOWN_MAX];
	size_t n = 0;

	if (s) {
		*data = s->data;
		*len = s->len;
		return 0;
	}
	if (!id) {
		err_set(e, ERR_USAGE, EINVAL, "key-secret= is missing: the image is encrypted");
		err_hint(e, "-object secret,id=s0,file=PATH, and key-secret=s0 at the image");
		return -EINVAL;
	}
	err_set(e, ERR_USAGE, ENOENT, "key-secret=%s: no secret has this name", id);
	for (s = secrets; s && n < SHOWN_MAX; s = s->next)
		names[n++] = s->id;
	if (n)
		err_suggest(e, id, names, n);
	else
		err_hint(e, "add -object secret,id=%s,file=PATH", id);
	return -ENOENT;
}

void secrets_wipe(void)
{
	while (secrets) {
		struct secret *s = secrets;

		secrets = s->next;
		secret_free(s);
	}
}
