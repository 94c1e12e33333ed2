/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fw_cfg device: a selector at port 0x510, data byte by byte at 0x511, and a DMA
 * interface at 0x514 (QEMU, docs/specs/fw_cfg). See include/fw_cfg.h. Items are
 * read-only for the guest. vCPU threads; dev->lock guards selection and items.
 */
#include "dev.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus.h"
#include "err.h"
#include "fw_cfg.h"
#include "gmem.h"
#include "log.h"
#include "machine.h"
#include "opts.h"
#include "wire/be.h"
#include "wire/le.h"

enum { SELECT_PORT = 0x510, DMA_PORT = 0x514 };
enum { ID_TRADITIONAL = 1, ID_DMA = 2 };
enum { KEY_NONE = 0xffff, KEY_INDEX = 0x3fff, KEY_ARCH = 0x8000, ARCH_ITEMS = 16 };
enum { ITEMS = FW_CFG_FILE_FIRST + FW_CFG_FILES };

#define DMA_SIGNATURE 0x51454d5520434647ull /* "QEMU CFG" */

enum dma_control {
	DMA_ERROR = 0x01,
	DMA_READ = 0x02,
	DMA_SKIP = 0x04,
	DMA_SELECT = 0x08,
	DMA_WRITE = 0x10,
};

struct dma_access {
	struct be32 control, length;
	struct be64 address;
};

struct dir_entry {
	struct be32 size;
	struct be16 select, reserved;
	char name[FW_CFG_NAME_MAX + 1];
};
_Static_assert(sizeof(struct dir_entry) == 64, "fw_cfg directory entry");

struct item {
	uint8_t *data;
	size_t len;
};

struct fw_cfg {
	struct dev dev;
	struct io_region select, dma;
	struct item item[ITEMS], arch[ARCH_ITEMS];
	struct {
		struct be32 count;
		struct dir_entry entry[FW_CFG_FILES];
	} dir;
	unsigned n_files;
	uint16_t key;
	uint64_t pos; /* in the item */
	uint64_t dma_addr;
};

/* NULL: there is no such key. */
static struct item *item_of(struct fw_cfg *f, uint16_t key)
{
	unsigned i = key & KEY_INDEX;

	if (key & KEY_ARCH)
		return i < ARCH_ITEMS ? &f->arch[i] : NULL;
	return i < ITEMS ? &f->item[i] : NULL;
}

static void select_key(struct fw_cfg *f, uint16_t key)
{
	f->key = key;
	f->pos = 0;
}

/* What is left of the selected item, at most max bytes of it; the position moves on. */
static size_t take(struct fw_cfg *f, const uint8_t **p, size_t max)
{
	const struct item *i = f->key == KEY_NONE ? NULL : item_of(f, f->key);
	uint64_t pos = f->pos;
	size_t n;

	f->pos += max;
	if (!i || pos >= i->len)
		return 0;
	n = i->len - pos < max ? i->len - pos : max;
	*p = i->data + pos;
	return n;
}

/* --- ports -------------------------------------------------------------------- */

/* Byte 0 is the selector's, byte 1 the data port. Behind an item's end are zeroes. */
static uint64_t select_read(void *dev, uint64_t off, unsigned size)
{
	const uint8_t *p;

	return off == 1 && take(dev, &p, 1) ? *p : 0;
}

static void select_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	/* Data cannot be written by the port. */
	if (off == 0 && size == 2)
		select_key(dev, (uint16_t)val);
}

static const struct io_ops select_ops = {
	.read = select_read,
	.write = select_write,
	.min = 1,
	.max = 2,
};

/* len bytes of the item to guest memory, zeroes behind its end. */
static int dma_read(struct fw_cfg *f, uint64_t to, uint32_t len)
{
	static const uint8_t zeroes[4096];
	const uint8_t *p;
	size_t n = take(f, &p, len);
	int rc = n ? gmem_write(&f->dev.m->mem, to, p, n) : 0;

	for (uint64_t at = n; !rc && at < len; at += n) {
		n = len - at < sizeof(zeroes) ? len - at : sizeof(zeroes);
		rc = gmem_write(&f->dev.m->mem, to + at, zeroes, n);
	}
	return rc;
}

/* Carries out the request at dma_addr, and writes its outcome into it. */
static void dma_run(struct fw_cfg *f)
{
	struct dma_access a;
	uint64_t at = f->dma_addr, to;
	uint32_t control, len;
	struct be32 done;
	int rc = 0;

	f->dma_addr = 0;
	if (gmem_read(&f->dev.m->mem, at, &a, sizeof(a))) {
		done = cpu_to_be32(DMA_ERROR);
		gmem_write(&f->dev.m->mem, at, &done, sizeof(done));
		return;
	}
	control = be32_to_cpu(a.control);
	len = be32_to_cpu(a.length);
	to = be64_to_cpu(a.address);
	if (control & DMA_SELECT)
		select_key(f, (uint16_t)(control >> 16));
	if (control & DMA_READ)
		rc = to + len < to ? -EFAULT : dma_read(f, to, len);
	else if (control & DMA_WRITE)
		rc = -EROFS;
	else if (control & DMA_SKIP)
		f->pos += len;
	done = cpu_to_be32(rc ? DMA_ERROR : 0);
	gmem_write(&f->dev.m->mem, at, &done, sizeof(done));
}

static uint64_t dma_port_read(void *dev, uint64_t off, unsigned size)
{
	uint64_t val = 0;

	/* Big-endian: the first byte is the highest. */
	for (unsigned i = 0; i < size; i++)
		val |= (DMA_SIGNATURE >> 8 * (7 - (off + i)) & 0xff) << 8 * i;
	return val;
}

static uint32_t swap32(uint64_t val)
{
	return __builtin_bswap32((uint32_t)val);
}

/* The address, big-endian; writing its lower half begins. */
static void dma_port_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	struct fw_cfg *f = dev;

	if (size != 4)
		return;
	if (off == 0) {
		f->dma_addr = (uint64_t)swap32(val) << 32;
	} else if (off == 4) {
		f->dma_addr |= swap32(val);
		dma_run(f);
	}
}

static const struct io_ops dma_ops = {
	.read = dma_port_read,
	.write = dma_port_write,
	.min = 1,
	.max = 4,
};

/* --- items -------------------------------------------------------------------- */

static struct fw_cfg *fw_cfg_of(struct machine *m)
{
	return (struct fw_cfg *)m->fw_cfg;
}

int fw_cfg_set(struct machine *m, uint16_t key, const void *data, size_t len, struct err *e)
{
	struct fw_cfg *f = fw_cfg_of(m);
	struct item *i = item_of(f, key);
	uint8_t *copy = malloc(len ? len : 1);

	if (!copy)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	if (len)
		memcpy(copy, data, len);
	pthread_mutex_lock(&f->dev.lock);
	free(i->data);
	*i = (struct item){ copy, len };
	pthread_mutex_unlock(&f->dev.lock);
	return 0;
}

int fw_cfg_set16(struct machine *m, uint16_t key, uint16_t val, struct err *e)
{
	struct le16 v = cpu_to_le16(val);

	return fw_cfg_set(m, key, &v, sizeof(v), e);
}

int fw_cfg_set32(struct machine *m, uint16_t key, uint32_t val, struct err *e)
{
	struct le32 v = cpu_to_le32(val);

	return fw_cfg_set(m, key, &v, sizeof(v), e);
}

/* Its place in the directory; n_files: it is new. */
static unsigned file_index(const struct fw_cfg *f, const char *name)
{
	unsigned i = 0;

	while (i < f->n_files && strcmp(f->dir.entry[i].name, name))
		i++;
	return i;
}

int fw_cfg_set_file(struct machine *m, const char *name, const void *data, size_t len,
		    struct err *e)
{
	struct fw_cfg *f = fw_cfg_of(m);
	unsigned i = file_index(f, name);
	struct dir_entry *entry = &f->dir.entry[i];
	int rc;

	if (strlen(name) > FW_CFG_NAME_MAX)
		return err_set(e, ERR_USAGE, ENAMETOOLONG,
			       "fw_cfg file '%s': a name has at most %d characters", name,
			       FW_CFG_NAME_MAX);
	if (i == FW_CFG_FILES)
		return err_set(e, ERR_USAGE, ENOSPC, "fw_cfg file '%s': there are %d already", name,
			       FW_CFG_FILES);
	rc = len > UINT32_MAX
		     ? err_set(e, ERR_USAGE, EFBIG, "fw_cfg file '%s' is larger than 4 GiB", name)
		     : fw_cfg_set(m, (uint16_t)(FW_CFG_FILE_FIRST + i), data, len, e);
	if (rc)
		return rc;
	*entry = (struct dir_entry){
		.size = cpu_to_be32((uint32_t)len),
		.select = cpu_to_be16((uint16_t)(FW_CFG_FILE_FIRST + i)),
	};
	snprintf(entry->name, sizeof(entry->name), "%s", name);
	if (i == f->n_files)
		f->n_files++;
	f->dir.count = cpu_to_be32(f->n_files);
	return fw_cfg_set(m, FW_CFG_FILE_DIR, &f->dir,
			  sizeof(f->dir.count) + f->n_files * sizeof(f->dir.entry[0]), e);
}

/* --- -fw_cfg -------------------------------------------------------------------- */

enum { ARG_FILE_MAX = 64 << 20 };

static int set_from_path(struct machine *m, const char *name, const char *path, struct err *e)
{
	FILE *in = fopen(path, "re");
	uint8_t *buf = NULL;
	size_t len = 0, room = 0;
	int rc = 0;

	if (!in)
		return err_set(e, ERR_INPUT, errno, "file=%s: %s", path, strerror(errno));
	for (;;) {
		uint8_t *grown;

		if (len == room) {
			room = room ? 2 * room : 65536;
			grown = room > ARG_FILE_MAX ? NULL : realloc(buf, room);
			if (!grown) {
				rc = err_set(e, ERR_INPUT, EFBIG,
					     "file=%s: larger than %d MiB, or no memory for it",
					     path, ARG_FILE_MAX >> 20);
				break;
			}
			buf = grown;
		}
		len += fread(buf + len, 1, room - len, in);
		if (ferror(in)) {
			rc = err_set(e, ERR_INPUT, errno, "file=%s: %s", path, strerror(errno));
			break;
		}
		if (feof(in)) {
			rc = fw_cfg_set_file(m, name, buf, len, e);
			break;
		}
	}
	free(buf);
	fclose(in);
	return rc;
}

static int add_parsed(struct machine *m, struct opts *o, struct err *e)
{
	static const char *const known[] = { "name", "file", "string" };
	const char *name = opts_get(o, "name"), *file = opts_get(o, "file");
	const char *text = opts_get(o, "string");
	int rc = opts_check_used(o, known, 3, e);

	if (rc)
		return rc;
	if (!m->fw_cfg) {
		err_set(e, ERR_USAGE, ENODEV, "a machine without firmware has no fw_cfg");
		err_hint(e, "leave out -kernel, or name the firmware that is to start it: -bios "
			    "bios-256k.bin");
		return -ENODEV;
	}
	if (!name || !*name)
		return err_set(e, ERR_USAGE, EINVAL, "name= is missing");
	if (!file == !text) {
		err_set(e, ERR_USAGE, EINVAL, "give one of file= and string=");
		err_hint(e, "-fw_cfg name=opt/com.example/answer,string=42");
		return -EINVAL;
	}
	if (strncmp(name, "opt/", 4))
		log_warn("-fw_cfg name=%s: names of one's own begin with \"opt/\"", name);
	return file ? set_from_path(m, name, file, e)
		    : fw_cfg_set_file(m, name, text, strlen(text), e);
}

int fw_cfg_add_arg(struct machine *m, const char *arg, struct err *e)
{
	struct opts o;
	int rc = opts_parse(&o, arg, "name", e);

	if (!rc) {
		rc = add_parsed(m, &o, e);
		opts_free(&o);
	}
	if (rc)
		err_prefix(e, "-fw_cfg %s: ", arg);
	return rc;
}

/* --- life ------------------------------------------------------------------------ */

static void fw_cfg_reset(struct dev *d)
{
	struct fw_cfg *f = (struct fw_cfg *)d;

	select_key(f, KEY_NONE);
	f->dma_addr = 0;
}

static int fw_cfg_init(struct dev *d, struct err *e)
{
	struct fw_cfg *f = (struct fw_cfg *)d;
	int rc;

	f->select = (struct io_region){
		.name = "fw_cfg", .ops = &select_ops, .dev = f, .lock = &d->lock, .size = 2
	};
	f->dma = (struct io_region){
		.name = "fw_cfg-dma", .ops = &dma_ops, .dev = f, .lock = &d->lock, .size = 8
	};
	d->m->fw_cfg = d;
	rc = fw_cfg_set(d->m, FW_CFG_SIGNATURE, "QEMU", 4, e);
	rc = rc ? rc : fw_cfg_set32(d->m, FW_CFG_ID, ID_TRADITIONAL | ID_DMA, e);
	rc = rc ? rc : fw_cfg_set32(d->m, FW_CFG_FILE_DIR, 0, e);
	if (rc)
		return rc;
	bus_map(&d->m->pio, &f->select, SELECT_PORT);
	bus_map(&d->m->pio, &f->dma, DMA_PORT);
	return 0;
}

static void fw_cfg_fini(struct dev *d)
{
	struct fw_cfg *f = (struct fw_cfg *)d;

	if (bus_mapped(&f->select))
		bus_unmap(&f->select);
	if (bus_mapped(&f->dma))
		bus_unmap(&f->dma);
	for (unsigned i = 0; i < ITEMS; i++)
		free(f->item[i].data);
	for (unsigned i = 0; i < ARCH_ITEMS; i++)
		free(f->arch[i].data);
	if (d->m->fw_cfg == d)
		d->m->fw_cfg = NULL;
}

const struct dev_class fw_cfg_class = {
	.name = "fw_cfg",
	.desc = "what firmware and kernels are told of the machine",
	.bus = DEV_BUS_SYSTEM,
	.internal = true,
	.size = sizeof(struct fw_cfg),
	.init = fw_cfg_init,
	.reset = fw_cfg_reset,
	.fini = fw_cfg_fini,
};
