/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The descriptor of a VMDK image (VMware Virtual Disk Format 5.0, "The Descriptor File"):
 * lines KEY=VALUE, and one for each extent. Extents are files that the descriptor
 * names, and descriptors come from strangers: only names without a folder are taken, so
 * that an image cannot have files from elsewhere on the host shown to a guest. Main thread.
 */
#include "vmdk_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "internal.h"

#define SECTORS_MOST (1ull << 50)

static const char *const known_types[] = {
	"monolithicSparse",   "monolithicFlat",   "streamOptimized",    "twoGbMaxExtentSparse",
	"twoGbMaxExtentFlat", "2GbMaxExtentFlat", "2GbMaxExtentSparse", "vmfs",
};

static const struct {
	const char *name;
	enum vmdk_kind kind;
} kinds[] = {
	{ "FLAT", VMDK_FLAT },
	{ "VMFS", VMDK_FLAT },
	{ "SPARSE", VMDK_SPARSE },
	{ "ZERO", VMDK_ZERO },
};

/* Without blanks and quotes around it. */
static char *trim(char *s)
{
	size_t n;

	s += strspn(s, " \t\r\"");
	n = strlen(s);
	while (n && strchr(" \t\r\"", s[n - 1]))
		n--;
	s[n] = '\0';
	return s;
}

static int bad(const char *filename, const char *key, const char *val, int code, const char *why,
	       struct err *e)
{
	return err_set(e, ERR_INPUT, code, "%s: VMDK descriptor: %s=%.60s: %s", filename, key, val,
		       why);
}

static bool parse_number(const char *s, int base, uint64_t most, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(s, &end, base);
	return *s != '-' && end != s && !*end && !errno && *out <= most;
}

static int take_key(const char *filename, const char *key, const char *val, struct vmdk_desc *d,
		    struct err *e)
{
	uint64_t n;

	if (!strcmp(key, "version")) {
		if (parse_number(val, 10, 3, &n) && n)
			return 0;
		return bad(filename, key, val, ENOTSUP, "only 1 to 3 are supported", e);
	}
	if (!strcmp(key, "CID") || !strcmp(key, "parentCID")) {
		if (!parse_number(val, 16, UINT32_MAX, &n))
			return bad(filename, key, val, EINVAL, "not a hexadecimal number", e);
		*(key[0] == 'C' ? &d->cid : &d->parent_cid) = (uint32_t)n;
		return 0;
	}
	if (!strcmp(key, "parentFileNameHint"))
		return bad(filename, key, val, ENOTSUP, "images with a parent are not supported",
			   e);
	if (strcmp(key, "createType") != 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(known_types); i++) {
		if (!strcmp(known_types[i], val)) {
			strcpy(d->create_type, val);
			return 0;
		}
	}
	return bad(filename, key, val, ENOTSUP, "this kind of image is not supported", e);
}

/* The next word of *at, or NULL; a quoted one may hold blanks. */
static char *word(char **at)
{
	char *s = *at + strspn(*at, " \t"), *end;

	if (!*s)
		return NULL;
	if (*s == '"') {
		end = strchr(++s, '"');
		if (!end)
			return NULL;
	} else {
		end = s + strcspn(s, " \t");
	}
	*at = *end ? end + 1 : end;
	*end = '\0';
	return s;
}

static int bad_extent(const char *filename, const char *what, const char *value, int code,
		      const char *why, struct err *e)
{
	return err_set(e, ERR_INPUT, code, "%s: VMDK descriptor: %s of an extent is '%.60s': %s",
		       filename, what, value ? value : "", why);
}

static int extent_file(const char *filename, char *rest, struct vmdk_desc_extent *x, struct err *e)
{
	char *offset;

	x->name = word(&rest);
	if (!x->name || !*x->name || strchr(x->name, '/') || !strcmp(x->name, ".") ||
	    !strcmp(x->name, ".."))
		return bad_extent(filename, "the file", x->name, EPERM,
				  "only files in the descriptor's own folder are opened", e);
	offset = x->kind == VMDK_FLAT ? word(&rest) : NULL;
	if (offset && !parse_number(offset, 10, SECTORS_MOST, &x->offset))
		return bad_extent(filename, "the offset", offset, EINVAL, "not a number of sectors",
				  e);
	return 0;
}

/* The rest of a line that begins with "RW" or another access. */
static int take_extent(const char *filename, const char *access, char *rest, struct vmdk_desc *d,
		       struct err *e)
{
	struct vmdk_desc_extent *x;
	char *sectors = word(&rest), *kind = word(&rest);
	size_t i = 0;

	if (!strcmp(access, "NOACCESS"))
		return bad_extent(filename, "the access", access, ENOTSUP,
				  "only RW and RDONLY are supported", e);
	if (d->n == VMDK_EXTENTS_MOST)
		return err_set(e, ERR_INPUT, EFBIG, "%s: VMDK descriptor: more than %d extents",
			       filename, VMDK_EXTENTS_MOST);
	x = realloc(d->extent, (d->n + 1) * sizeof(*x));
	if (!x)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	d->extent = x;
	x = &x[d->n++];
	*x = (struct vmdk_desc_extent){ .readonly = !strcmp(access, "RDONLY") };
	if (!sectors || !parse_number(sectors, 10, SECTORS_MOST, &x->sectors) || !x->sectors)
		return bad_extent(filename, "the size", sectors, EINVAL, "not a number of sectors",
				  e);
	while (i < ARRAY_SIZE(kinds) && (!kind || strcmp(kinds[i].name, kind) != 0))
		i++;
	if (i == ARRAY_SIZE(kinds))
		return bad_extent(filename, "the type", kind, ENOTSUP,
				  "only FLAT, VMFS, SPARSE and ZERO are supported", e);
	x->kind = kinds[i].kind;
	return x->kind == VMDK_ZERO ? 0 : extent_file(filename, rest, x, e);
}

static int take_line(const char *filename, char *line, struct vmdk_desc *d, struct err *e)
{
	static const char *const access[] = { "RW", "RDONLY", "NOACCESS" };
	char *eq;

	line += strspn(line, " \t");
	line[strcspn(line, "\r")] = '\0';
	if (!*line || *line == '#')
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(access); i++) {
		size_t n = strlen(access[i]);

		if (!strncmp(line, access[i], n) && (line[n] == ' ' || line[n] == '\t'))
			return take_extent(filename, access[i], line + n, d, e);
	}
	eq = strchr(line, '=');
	if (!eq)
		return 0;
	*eq = '\0';
	return take_key(filename, trim(line), trim(eq + 1), d, e);
}

int vmdk_desc_parse(const char *filename, char *text, struct vmdk_desc *d, struct err *e)
{
	char *line;
	int rc = 0;

	*d = (struct vmdk_desc){ .parent_cid = UINT32_MAX };
	while (!rc && (line = strsep(&text, "\n")))
		rc = take_line(filename, line, d, e);
	if (!rc && d->parent_cid != UINT32_MAX)
		rc = err_set(e, ERR_INPUT, ENOTSUP,
			     "%s: VMDK descriptor: parentCID=%08x: images with a parent are not "
			     "supported",
			     filename, d->parent_cid);
	if (!rc && !d->create_type[0])
		rc = err_set(e, ERR_INPUT, EINVAL,
			     "%s: VMDK descriptor: there is no createType=", filename);
	return rc;
}
