/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory: see include/gmem.h. One host mapping of the RAM size, made
 * without reserving it: pages appear when the guest or a loader touches them.
 * Set-up on the main thread; accessors on any.
 */
#include "gmem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "err.h"

#define HUGE_PAGE (2ull << 20)

static void add_range(struct gmem *g, uint64_t gpa, uint64_t size, uint8_t *host)
{
	g->range[g->n++] = (struct gmem_range){ .gpa = gpa, .size = size, .host = host };
}

/* At a multiple of 2 MiB, so that large pages of the host can be large pages of the guest. */
static void *map_aligned(uint64_t size, int flags, int fd)
{
	uint8_t *p = mmap(NULL, size + HUGE_PAGE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t skip;

	if (p == MAP_FAILED)
		return p;
	skip = -(uintptr_t)p & (HUGE_PAGE - 1);
	if (skip)
		munmap(p, skip);
	munmap(p + skip + size, HUGE_PAGE - skip);
	return mmap(p + skip, size, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0);
}

int gmem_init(struct gmem *g, uint64_t ram_size, enum gmem_kind kind, struct err *e)
{
	int flags = MAP_NORESERVE;
	uint64_t low;

	memset(g, 0, sizeof(*g));
	g->memfd = -1;
	if (!ram_size || ram_size & 0xfff)
		return err_set(e, ERR_USAGE, EINVAL, "RAM of %llu bytes: not a multiple of 4 KiB",
			       (unsigned long long)ram_size);
	if (kind == GMEM_MEMFD) {
		g->memfd = memfd_create("posada-ram", MFD_CLOEXEC);
		if (g->memfd < 0 || ftruncate(g->memfd, (off_t)ram_size) < 0) {
			int code = errno;

			gmem_fini(g);
			return err_set(e, ERR_HOST, code, "cannot create a memfd of %llu MiB: %s",
				       (unsigned long long)(ram_size >> 20), strerror(code));
		}
		flags |= MAP_SHARED;
	} else {
		flags |= MAP_PRIVATE | MAP_ANONYMOUS;
	}
	g->ram = map_aligned(ram_size, flags, g->memfd);
	if (g->ram == MAP_FAILED) {
		int code = errno;

		g->ram = NULL;
		gmem_fini(g);
		err_set(e, ERR_HOST, code, "-m: the host cannot map %llu MiB of guest RAM: %s",
			(unsigned long long)(ram_size >> 20), strerror(code));
		err_hint(e, "give the guest less with -m, or look at 'ulimit -v' and free memory");
		return -code;
	}
	/* A core dump of the VMM should not carry the guest's memory. */
	madvise(g->ram, ram_size, MADV_DONTDUMP);
	g->ram_size = ram_size;
	low = ram_size < GMEM_LOW_MAX ? ram_size : GMEM_LOW_MAX;
	add_range(g, 0, low, g->ram);
	if (ram_size > low)
		add_range(g, GMEM_HIGH_BASE, ram_size - low, g->ram + low);
	return 0;
}

void gmem_large_pages(struct gmem *g)
{
	if (g->ram_size > HUGE_PAGE)
		madvise(g->ram + HUGE_PAGE, g->ram_size - HUGE_PAGE, MADV_HUGEPAGE);
}

void gmem_fini(struct gmem *g)
{
	if (g->ram)
		munmap(g->ram, g->ram_size);
	if (g->memfd >= 0)
		close(g->memfd);
	g->ram = NULL;
	g->memfd = -1;
	g->n = 0;
}

static const struct gmem_range *find(const struct gmem *g, uint64_t gpa)
{
	for (unsigned i = 0; i < g->n; i++)
		if (gpa - g->range[i].gpa < g->range[i].size)
			return &g->range[i];
	return NULL;
}

void *gmem_ptr(const struct gmem *g, uint64_t gpa, size_t len)
{
	const struct gmem_range *r = find(g, gpa);

	if (!r || len > r->size - (gpa - r->gpa))
		return NULL;
	return r->host + (gpa - r->gpa);
}

/* Whether [gpa, gpa+len) is RAM throughout, maybe of several ranges. */
static bool covered(const struct gmem *g, uint64_t gpa, size_t len)
{
	while (len) {
		const struct gmem_range *r = find(g, gpa);
		uint64_t room;

		if (!r)
			return false;
		room = r->size - (gpa - r->gpa);
		if (room >= len)
			return true;
		gpa += room;
		len -= room;
	}
	return true;
}

static int copy(const struct gmem *g, uint64_t gpa, uint8_t *buf, size_t len, bool to_guest)
{
	if (!covered(g, gpa, len))
		return -EFAULT;
	while (len) {
		const struct gmem_range *r = find(g, gpa);
		uint64_t off = gpa - r->gpa;
		size_t n = r->size - off < len ? r->size - off : len;

		if (to_guest)
			memcpy(r->host + off, buf, n);
		else
			memcpy(buf, r->host + off, n);
		gpa += n;
		buf += n;
		len -= n;
	}
	return 0;
}

int gmem_read(const struct gmem *g, uint64_t gpa, void *buf, size_t len)
{
	return copy(g, gpa, buf, len, false);
}

int gmem_write(const struct gmem *g, uint64_t gpa, const void *buf, size_t len)
{
	return copy(g, gpa, (uint8_t *)(uintptr_t)buf, len, true);
}

/* Whether [host, host+len) is RAM that the guest can write, in one range of g->ram. */
static bool discardable(const struct gmem *g, const uint8_t *host, size_t len)
{
	for (unsigned i = 0; i < g->n; i++) {
		const struct gmem_range *r = &g->range[i];
		uint64_t off = (uint64_t)(host - r->host);

		if (host >= r->host && off < r->size && len <= r->size - off)
			return !r->readonly && host >= g->ram &&
			       (uint64_t)(host - g->ram) < g->ram_size;
	}
	return false;
}

int gmem_discard(const struct gmem *g, void *host, size_t len)
{
	const uintptr_t page = 4096;
	uintptr_t from, end;
	int rc;

	if (!discardable(g, host, len))
		return -EFAULT;
	from = ((uintptr_t)host + page - 1) & ~(page - 1);
	end = ((uintptr_t)host + len) & ~(page - 1);
	if (from >= end)
		return 0;
	do {
		/* A page of a memfd goes only when the file has a hole there. */
		if (g->memfd >= 0)
			rc = fallocate(g->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				       (off_t)(from - (uintptr_t)g->ram), (off_t)(end - from));
		else
			rc = madvise((void *)from, end - from, MADV_DONTNEED);
	} while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : 0;
}

uint64_t gmem_low_size(const struct gmem *g)
{
	return g->ram_size < GMEM_LOW_MAX ? g->ram_size : GMEM_LOW_MAX;
}

uint64_t gmem_high_size(const struct gmem *g)
{
	return g->ram_size - gmem_low_size(g);
}
