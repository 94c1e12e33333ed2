/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unit tests of qcow2 headers and tables that are not as they should be. Each field of the header
 * is set to 0, to its maximum, one off to both sides, and to its value with each other bit: the
 * image then opens and can be used, or is refused by a message that names the image, the field and
 * the value. The same for header extensions, the backing file's name, snapshots, and entries of
 * tables, which are looked at when they are used. Where qemu-io is installed, what it opens is
 * compared.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "suite.h"
#include "block_int.h"
#include "err.h"
#include "opts.h"
#include "props.h"
#include "wire/qcow2.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

enum { DISK = 256 << 10, CLUSTER = 4096 };
/* Where a new image of clusters of 4 KiB has its tables, and its first data. */
enum { REFTABLE = CLUSTER, REFBLOCK = 2 * CLUSTER, L1 = 3 * CLUSTER, L2 = 4 * CLUSTER };

static struct err e;
static char dir[64], image[96], said_name[96], said[4096];
static bool have_tool;

static const struct blk_image_ops *ops(void)
{
	return blk_driver_find("qcow2")->image;
}

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%s/test_qcow2_header.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(image, sizeof(image), "%s/disk.qcow2", dir);
	snprintf(said_name, sizeof(said_name), "%s/said", dir);
	have_tool = !system("command -v qemu-io >/dev/null");
	e = (struct err){ 0 };
}

static void teardown(void)
{
	char cmd[96];

	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static void create(const char *options)
{
	struct blk_create c = { .size = DISK };
	void *o = calloc(1, ops()->create_size);
	struct opts opts;

	ck_assert_ptr_nonnull(o);
	ck_assert_int_eq(opts_parse(&opts, options, NULL, &e), 0);
	props_defaults(ops()->create_props, o);
	ck_assert_msg(!props_apply(ops()->create_props, o, &opts, &e), "%s", e.msg);
	c.opts = o;
	ck_assert_msg(!ops()->create(image, &c, &e), "%s", e.msg);
	props_free(ops()->create_props, o);
	opts_free(&opts);
	free(o);
}

static int open_image(bool readonly, struct blk_node **n)
{
	struct blk_open how = { .readonly = readonly, .locking = true, .discard = true };

	e = (struct err){ 0 };
	return blk_node_open_file(image, "qcow2", &how, n, &e);
}

static struct blk_node *must_open(bool readonly)
{
	struct blk_node *n = NULL;

	ck_assert_msg(!open_image(readonly, &n), "%s", e.msg);
	return n;
}

static void write_first(void)
{
	struct blk_node *n = must_open(false);
	uint8_t buf[CLUSTER];

	memset(buf, 1, sizeof(buf));
	ck_assert_int_eq(blk_node_pwrite(n, 0, buf, sizeof(buf)), 0);
	blk_node_close(n);
}

/* --- bytes of the image ------------------------------------------------------------------- */

static uint64_t get(uint64_t off, unsigned size)
{
	uint8_t buf[8];
	uint64_t v = 0;
	int fd = open(image, O_RDONLY);

	ck_assert_int_eq(pread(fd, buf, size, (off_t)off), (ssize_t)size);
	close(fd);
	for (unsigned i = 0; i < size; i++)
		v = v << 8 | buf[i];
	return v;
}

static void put(uint64_t off, unsigned size, uint64_t v)
{
	uint8_t buf[8];
	int fd = open(image, O_WRONLY);

	for (unsigned i = size; i-- > 0; v >>= 8)
		buf[i] = (uint8_t)v;
	ck_assert_int_eq(pwrite(fd, buf, size, (off_t)off), (ssize_t)size);
	close(fd);
}

/* All of it. */
static uint8_t *save(size_t *len)
{
	uint8_t *data = malloc(4 << 20);
	FILE *f = fopen(image, "r");

	*len = fread(data, 1, 4 << 20, f);
	fclose(f);
	return data;
}

static void restore(uint8_t *data, size_t len)
{
	FILE *f = fopen(image, "w");

	ck_assert_uint_eq(fwrite(data, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
	free(data);
}

/* --- what happens -------------------------------------------------------------------------- */

/* What goes to stderr is kept in `said`. */
static int hush(void)
{
	int old = dup(STDERR_FILENO), fd = open(said_name, O_CREAT | O_TRUNC | O_RDWR, 0600);

	dup2(fd, STDERR_FILENO);
	close(fd);
	return old;
}

static void listen_again(int old)
{
	FILE *f = fopen(said_name, "r");

	dup2(old, STDERR_FILENO);
	close(old);
	said[fread(said, 1, sizeof(said) - 1, f)] = '\0';
	fclose(f);
}

/* Everything that can be done to it. Nothing of it may do more than fail. */
static void use(struct blk_node *n)
{
	static uint8_t buf[DISK];
	struct blk_check found = { 0 };
	struct blk_snapshot *list = NULL;
	uint64_t bytes, len = n->size < DISK ? n->size : DISK;
	unsigned flags;
	size_t count;
	struct err why;

	blk_node_pread(n, 0, buf, len);
	if (len)
		blk_node_status(n, 0, len, &bytes, &flags);
	if (!n->readonly && len >= 8192) {
		memset(buf, 2, CLUSTER);
		blk_node_pwrite(n, 0, buf, 512);
		blk_node_pwrite(n, len / 2, buf, CLUSTER);
		blk_node_zero(n, 4096, 4096, BLK_UNMAP);
		blk_node_flush(n);
	}
	if (!ops()->snap_list(n, &list, &count, &why))
		blk_snapshots_free(list, count);
	else
		ck_assert_msg(strstr(why.msg, image), "%s", why.msg);
	if (n->size <= DISK * 2 && ops()->check(n, 0, &found, &why))
		ck_assert_msg(strstr(why.msg, image), "%s", why.msg);
}

/* Whether their tool opens it to read from it. */
static bool theirs_opens(void)
{
	char cmd[256];

	snprintf(cmd, sizeof(cmd), "timeout 10 qemu-io -r -U -f qcow2 -c quit %s >/dev/null 2>&1",
		 image);
	return !system(cmd);
}

/* --- each field of the header ------------------------------------------------------------------
 */

#define FIELD(n, others)                                                                           \
	{                                                                                          \
#n, offsetof(struct qcow2_header, n), sizeof(((struct qcow2_header *)0)->n),       \
			others                                                                     \
	}

/*
 * others: what a message may name instead, '|' between them, for what contradicts one
 * another is told by either; and of what tells its value in words.
 */
static const struct field {
	const char *name;
	size_t off;
	unsigned size;
	const char *others;
} fields[] = {
	FIELD(magic, "it begins with"),
	FIELD(version, "header_length"),
	FIELD(backing_file_offset, "extension"),
	FIELD(backing_file_size, "backing_file_offset"),
	FIELD(cluster_bits, "l1_table_offset|refcount_table_offset|l1_size|size|header_length"),
	FIELD(size, "l1_size"),
	FIELD(crypt_method, "encrypt|secret"),
	FIELD(l1_size, "l1_table_offset|refcount_table_offset"),
	FIELD(l1_table_offset, "refcount_table_offset"),
	FIELD(refcount_table_offset, ""),
	FIELD(refcount_table_clusters, "refcount_table_offset"),
	FIELD(nb_snapshots, "snapshots_offset"),
	FIELD(snapshots_offset, ""),
	FIELD(incompatible_features, "compression_type|cluster_bits|data file|corrupt|l1_size"),
	FIELD(compatible_features, ""),
	FIELD(autoclear_features, ""),
	FIELD(refcount_order, ""),
	FIELD(header_length, "extension"),
	FIELD(compression_type, ""),
};

static bool names(const char *msg, const char *list)
{
	char copy[128], *save = NULL;

	snprintf(copy, sizeof(copy), "%s", list);
	for (char *w = strtok_r(copy, "|", &save); w; w = strtok_r(NULL, "|", &save))
		if (strstr(msg, w))
			return true;
	return false;
}

/* The image, the field and the value. */
static void told(const struct field *f, uint64_t value)
{
	char decimal[24], hex[24];

	snprintf(decimal, sizeof(decimal), "%" PRIu64, value);
	snprintf(hex, sizeof(hex), "%#" PRIx64, value);
	ck_assert_msg(strstr(e.msg, image), "%s=%s: no image in: %s", f->name, hex, e.msg);
	if (names(e.msg, f->others))
		return;
	ck_assert_msg(strstr(e.msg, f->name), "%s=%s: no field in: %s", f->name, hex, e.msg);
	ck_assert_msg(strstr(e.msg, decimal) || strstr(e.msg, hex), "%s=%s: no value in: %s",
		      f->name, hex, e.msg);
}

static bool is_field(const struct field *f, const char *name)
{
	return !strcmp(f->name, name);
}

/*
 * What we refuse and they do not look at, or the other way round; each for a reason:
 * - they check these only when they are used, or not at all: snapshots of none, a disk's size or
 *   lengths that nothing depends on
 * - they take no L1 table at all as an empty one
 */
static bool may_differ(const struct field *f, bool ours)
{
	if (!ours)
		return is_field(f, "backing_file_offset") || is_field(f, "backing_file_size") ||
		       is_field(f, "refcount_table_offset") || is_field(f, "l1_table_offset") ||
		       is_field(f, "l1_size") || is_field(f, "cluster_bits") ||
		       is_field(f, "refcount_table_clusters") || is_field(f, "nb_snapshots") ||
		       is_field(f, "header_length") || is_field(f, "autoclear_features") ||
		       is_field(f, "incompatible_features") || is_field(f, "version") ||
		       is_field(f, "size") || is_field(f, "snapshots_offset");
	return is_field(f, "backing_file_size") || is_field(f, "backing_file_offset") ||
	       is_field(f, "header_length") || is_field(f, "snapshots_offset") ||
	       is_field(f, "version") || is_field(f, "size") || is_field(f, "cluster_bits");
}

static void try_value(const struct field *f, uint64_t value, bool compare)
{
	struct blk_node *n = NULL;
	bool readable;
	uint64_t was = get(f->off, f->size);
	size_t len;
	uint8_t *sound = save(&len);

	put(f->off, f->size, value);
	for (int readonly = 1; readonly >= 0; readonly--) {
		int old = hush(), rc = open_image(readonly, &n);

		if (!rc) {
			use(n);
			blk_node_close(n);
		}
		listen_again(old);
		ck_assert_int_le(rc, 0);
		if (rc)
			told(f, value);
		if (!readonly)
			break;
		readable = !rc;
		if (compare && have_tool && theirs_opens() != readable && !may_differ(f, readable))
			ck_abort_msg("%s=%#" PRIx64 " (%#" PRIx64
				     "): we %s it, qemu-io does not: %s",
				     f->name, value, was, readable ? "open" : "refuse", e.msg);
	}
	restore(sound, len);
}

static const char *const kinds[] = {
	"cluster_size=4K",
	"cluster_size=4K,compat=0.10",
	"cluster_size=512",
	"cluster_size=16K,extended_l2=on,compression_type=zstd",
};

START_TEST(header_fields)
{
	const struct field *f = &fields[_i % (int)ARRAY_SIZE(fields)];
	const char *options = kinds[_i / (int)ARRAY_SIZE(fields)];
	uint64_t most = f->size == 8 ? UINT64_MAX : (1ull << (f->size * 8)) - 1, v;

	if (strstr(options, "0.10") && f->off >= QCOW2_V2_HEADER)
		return; /* of version 2 these are something else */
	create(options);
	write_first();
	v = get(f->off, f->size);
	try_value(f, 0, true);
	try_value(f, most, true);
	try_value(f, (v - 1) & most, true);
	try_value(f, (v + 1) & most, true);
	for (unsigned bit = 0; bit < f->size * 8; bit++)
		try_value(f, v ^ 1ull << bit, bit % 8 == 7);
}
END_TEST

/* --- extensions and names
 * ------------------------------------------------------------------------- */

static void refused(const char *says)
{
	struct blk_node *n;

	ck_assert_msg(open_image(true, &n) < 0, "opened: '%s'", says);
	ck_assert_msg(strstr(e.msg, says) && strstr(e.msg, image), "no '%s' in: %s", says, e.msg);
}

static void works(void)
{
	struct blk_node *n = must_open(true);

	use(n);
	blk_node_close(n);
}

/* The first extension is the table of names of features. */
enum { EXT = sizeof(struct qcow2_header), EXT_LEN = EXT + 4, EXT_DATA = EXT + 8 };

static const struct {
	uint32_t type, len;
	const char *says; /* NULL: it opens */
} extensions[] = {
	{ QCOW2_EXT_FEATURE_NAMES, UINT32_MAX, "0x6803f857 is 4294967295 bytes" },
	{ QCOW2_EXT_FEATURE_NAMES, 0x7fffffff, "0x6803f857 is 2147483647 bytes" },
	{ QCOW2_EXT_FEATURE_NAMES, CLUSTER, "0x6803f857 is 4096 bytes" },
	{ QCOW2_EXT_FEATURE_NAMES, CLUSTER - EXT_DATA + 1, "0x6803f857 is 3977 bytes" },
	{ QCOW2_EXT_FEATURE_NAMES, CLUSTER - EXT_DATA, NULL },
	{ QCOW2_EXT_FEATURE_NAMES, 1, NULL }, /* less than a name */
	{ QCOW2_EXT_FEATURE_NAMES, 0, NULL },
	{ 0x12345678, 48, NULL }, /* nobody knows it */
	{ 0x12345678, CLUSTER, "0x12345678 is 4096 bytes" },
	{ QCOW2_EXT_END, UINT32_MAX, NULL }, /* the end has no length */
	{ QCOW2_EXT_BACKING_FORMAT, 48, NULL }, /* there is no backing file */
	{ QCOW2_EXT_DATA_FILE, 48, NULL }, /* there is no data file */
};

START_TEST(header_extensions)
{
	create("cluster_size=4K");
	write_first();
	put(EXT, 4, extensions[_i].type);
	put(EXT_LEN, 4, extensions[_i].len);
	/* What follows in its place is no extension. */
	if (extensions[_i].len < CLUSTER && extensions[_i].type)
		put(EXT_DATA + (extensions[_i].len + 7ull) / 8 * 8 % (CLUSTER - EXT_DATA), 8, 0);
	if (extensions[_i].says)
		refused(extensions[_i].says);
	else
		works();
}
END_TEST

START_TEST(unknown_features)
{
	create("cluster_size=4K");
	put(offsetof(struct qcow2_header, incompatible_features), 8, 1ull << 40 | 1ull << 5);
	refused("bit 5, bit 40");
	refused("incompatible_features is 0x10000000020");
	/* Its first name becomes that of bit 40. */
	put(EXT_DATA, 2, 40);
	put(EXT_DATA + 2, 8, 0x6d61676963000000); /* magic */
	refused("bit 5, 'magic'");
	/* It goes to a terminal. */
	put(EXT_DATA + 2, 8, 0x1b5b324a41000000);
	refused("'?[2JA'");
	/* A name without an end. */
	for (unsigned i = 2; i < 48; i++)
		put(EXT_DATA + i, 1, 'n');
	refused("nnnnnnnn'");
}
END_TEST

START_TEST(backing_names)
{
	static const struct {
		uint64_t off;
		uint32_t len;
		const char *says;
	} bad[] = {
		{ 1024, 1024, "backing_file_size is 1024" },
		{ 1024, UINT32_MAX, "backing_file_size is 4294967295" },
		{ 111, 4, "backing_file_offset is 111" },
		{ 1, 4, "backing_file_offset is 1" },
		{ CLUSTER - 3, 4, "backing_file_offset is 4093" },
		{ CLUSTER, 4, "backing_file_offset is 4096" },
		{ UINT64_MAX, 4, "backing_file_offset is 18446744073709551615" },
		{ 1ull << 63, 4, "backing_file_offset is 9223372036854775808" },
		{ 1024, 4, "nope" }, /* the file, which is not there */
		{ CLUSTER - 4, 4, "backing file" },
	};

	create("cluster_size=4K");
	put(1024, 4, 0x6e6f7065);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		put(offsetof(struct qcow2_header, backing_file_offset), 8, bad[i].off);
		put(offsetof(struct qcow2_header, backing_file_size), 4, bad[i].len);
		refused(bad[i].says);
	}
}
END_TEST

/* --- snapshots
 * ------------------------------------------------------------------------------------ */

#define ENTRY(field) (at + offsetof(struct qcow2_snapshot_entry, field))

static void list_refused(const char *says)
{
	struct blk_node *n = NULL;
	struct blk_snapshot *list = NULL;
	size_t count = 0;

	if (!open_image(true, &n)) {
		ck_assert_msg(ops()->snap_list(n, &list, &count, &e), "listed: '%s'", says);
		use(n);
		blk_node_close(n);
	}
	ck_assert_msg(strstr(e.msg, says) && strstr(e.msg, image), "no '%s' in: %s", says, e.msg);
}

static void load_refused(const char *says)
{
	struct blk_node *n = must_open(true);
	int old = hush();

	ck_assert_msg(ops()->snap_load(n, "one", &e), "loaded: '%s'", says);
	use(n);
	blk_node_close(n);
	listen_again(old);
	ck_assert_msg(strstr(e.msg, says) && strstr(e.msg, image), "no '%s' in: %s", says, e.msg);
}

START_TEST(snapshot_tables)
{
	struct blk_node *n;
	uint64_t at;

	create("cluster_size=4K");
	write_first();
	n = must_open(false);
	ck_assert_msg(!ops()->snap_create(n, "one", &e), "%s", e.msg);
	blk_node_close(n);
	at = get(offsetof(struct qcow2_header, snapshots_offset), 8);
	put(offsetof(struct qcow2_header, nb_snapshots), 4, 65536);
	list_refused("snapshots_offset is"); /* that many reach behind the end */
	put(offsetof(struct qcow2_header, nb_snapshots), 4, UINT32_MAX);
	list_refused("nb_snapshots is 4294967295");
	put(offsetof(struct qcow2_header, nb_snapshots), 4, 1);
	put(offsetof(struct qcow2_header, snapshots_offset), 8, at + 8);
	list_refused("snapshots_offset is");
	put(offsetof(struct qcow2_header, snapshots_offset), 8, at);
	put(ENTRY(extra_size), 4, UINT32_MAX);
	list_refused("4294967295");
	put(ENTRY(extra_size), 4, 1025);
	list_refused("1025");
	put(ENTRY(extra_size), 4, 24);
	put(ENTRY(name_size), 2, UINT16_MAX);
	list_refused("behind the end of the file");
	put(ENTRY(name_size), 2, 3);
	put(ENTRY(l1_size), 4, UINT32_MAX);
	list_refused("l1_size is 4294967295");
	/* A disk without a table is an empty one. */
	put(ENTRY(l1_size), 4, 0);
	n = must_open(true);
	ck_assert_msg(!ops()->snap_load(n, "one", &e), "%s", e.msg);
	use(n);
	blk_node_close(n);
}
END_TEST

START_TEST(snapshot_l1)
{
	static const struct {
		uint64_t offset;
		const char *says;
	} bad[] = {
		{ 1, "l1_table_offset of snapshot table entry 0 is 0x1:" },
		{ L1 + 512, "l1_table_offset of snapshot table entry 0 is 0x3200:" },
		{ 1ull << 40, "l1_table_offset of snapshot table entry 0 is 0x10000000000:" },
		{ UINT64_MAX, "l1_table_offset of snapshot table entry 0 is 0xffffffffffffffff:" },
	};
	struct blk_node *n;
	uint64_t at;

	create("cluster_size=4K");
	write_first();
	n = must_open(false);
	ck_assert_msg(!ops()->snap_create(n, "one", &e), "%s", e.msg);
	blk_node_close(n);
	at = get(offsetof(struct qcow2_header, snapshots_offset), 8);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		put(ENTRY(l1_offset), 8, bad[i].offset);
		load_refused(bad[i].says);
	}
}
END_TEST

/* --- entries of tables
 * ----------------------------------------------------------------------------- */

#define COPIED QCOW2_COPIED

static const struct {
	uint64_t at, value;
	const char *says; /* on stderr, with the image's name; NULL: nothing is said */
} entries[] = {
	{ L1, COPIED | (L2 + 512), "" },
	{ L1, COPIED | 1ull << 45, "" },
	{ L1, COPIED | (QCOW2_OFFSET_MASK & ~4095ull), "" },
	{ L1, COPIED | 1, "" },
	{ L1, COPIED | 1ull << 56 | L2, "" },
	{ L1, UINT64_MAX, "" },
	{ L1, COPIED | L1, "" }, /* itself */
	{ L1, COPIED | REFTABLE, "" },
	{ L1, COPIED | REFBLOCK, "" },
	{ L1, 0, NULL },
	{ L2, COPIED | 512, "" },
	{ L2, COPIED | 1ull << 50, "" },
	{ L2, COPIED | 2 | (5 * CLUSTER), "" },
	{ L2, COPIED | 1ull << 57 | (5 * CLUSTER), "" },
	{ L2, UINT64_MAX & ~QCOW2_COMPRESSED, "" },
	{ L2, QCOW2_COMPRESSED | 1ull << 48, "" },
	{ L2, UINT64_MAX, "" },
	{ L2, COPIED | L1, "" },
	{ L2, COPIED | L2, "" },
	{ L2, COPIED | REFTABLE, "" },
	{ L2, COPIED | REFBLOCK, "" },
	{ L2, 0, NULL },
	{ REFTABLE, REFBLOCK | 1, "" },
	{ REFTABLE, REFBLOCK + 512, "" },
	{ REFTABLE, 1ull << 45, "" },
	{ REFTABLE, UINT64_MAX, "" },
	{ REFTABLE, REFTABLE, "" },
	{ REFTABLE, L1, "" },
	{ REFTABLE, 0, "" },
};

/* Using the image says that it is corrupt, and its file is not written over its tables. */
START_TEST(table_entries)
{
	struct blk_node *n;
	uint64_t header[3];
	int old;

	create("cluster_size=4K");
	write_first();
	put(entries[_i].at, 8, entries[_i].value);
	for (unsigned i = 0; i < 3; i++)
		header[i] = get(i * 8, 8);
	old = hush();
	n = must_open(false);
	use(n);
	blk_node_close(n);
	listen_again(old);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(get(i * 8, 8), header[i]);
	ck_assert_msg(!entries[_i].says == !strstr(said, "corrupt"), "%s", said);
	ck_assert(!entries[_i].says || strstr(said, image));
	if (!entries[_i].says)
		return;
	/* It is marked, and nobody writes to it before it is repaired. */
	ck_assert_int_eq(open_image(false, &n), -EROFS);
	ck_assert_msg(strstr(e.msg, "corrupt") && strstr(e.msg, image), "%s", e.msg);
	works();
}
END_TEST

/* A block that counts clusters behind the file's end, up to its own: they leak, and no more. */
START_TEST(counts_behind_the_end)
{
	struct blk_check found = { 0 };
	struct blk_node *n;
	uint8_t buf[512] = { 3 };

	create("cluster_size=512");
	n = must_open(true);
	for (uint64_t i = n->file->size / 512; i < 256; i++)
		put(1024 + i * 2, 2, 1);
	blk_node_close(n);
	n = must_open(false);
	ck_assert_int_eq(blk_node_pwrite(n, 0, buf, sizeof(buf)), 0);
	blk_node_close(n);
	n = must_open(true);
	buf[0] = 0;
	ck_assert_int_eq(blk_node_pread(n, 0, buf, sizeof(buf)), 0);
	ck_assert_uint_eq(buf[0], 3);
	ck_assert_int_eq(ops()->check(n, 0, &found, &e), 0);
	ck_assert_uint_eq(found.corruptions, 0);
	ck_assert_uint_gt(found.leaks, 200);
	blk_node_close(n);
}
END_TEST

START_TEST(short_files)
{
	static const off_t lengths[] = { 0,   1,   71,   72,   103,  104,  111,
					 112, 511, 4095, 4096, 8192, 12288 };
	struct blk_node *n;

	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		create("cluster_size=4K");
		ck_assert_int_eq(truncate(image, lengths[i]), 0);
		ck_assert_msg(open_image(true, &n) < 0, "%ld bytes", (long)lengths[i]);
		ck_assert_msg(strstr(e.msg, image), "%s", e.msg);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("qcow2 headers");
	TCase *t = tcase_create("headers");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, header_fields, 0, (int)(ARRAY_SIZE(fields) * ARRAY_SIZE(kinds)));
	tcase_add_loop_test(t, header_extensions, 0, (int)ARRAY_SIZE(extensions));
	tcase_add_test(t, unknown_features);
	tcase_add_test(t, backing_names);
	tcase_add_test(t, snapshot_tables);
	tcase_add_test(t, snapshot_l1);
	tcase_add_loop_test(t, table_entries, 0, (int)ARRAY_SIZE(entries));
	tcase_add_test(t, counts_behind_the_end);
	tcase_add_test(t, short_files);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
