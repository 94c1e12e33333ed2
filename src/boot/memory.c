/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory for the boot loaders: which of it is free, the descriptor table
 * and page tables a kernel is entered with, and its command line.
 * Main thread, no vCPU running.
 */
#include "loader.h"

#include <stdio.h>
#include <string.h>

#include "gmem.h"
#include "wire/le.h"

/* Below this lie our own tables (BOOT_*), so nothing of the kernel may. */
#define LOW_END (BOOT_CMDLINE_ADDR + BOOT_CMDLINE_MAX)

_Static_assert(LOW_END <= BOOT_EBDA_ADDR, "boot data and EBDA");

struct size_text size_text(uint64_t bytes)
{
	struct size_text t;

	if (bytes < 1024)
		snprintf(t.s, sizeof(t.s), "%llu bytes", (unsigned long long)bytes);
	else if (bytes < 1 << 20)
		snprintf(t.s, sizeof(t.s), "%llu KiB", (unsigned long long)(bytes >> 10));
	else if (bytes % (1 << 20))
		snprintf(t.s, sizeof(t.s), "%.1f MiB", (double)bytes / (1 << 20));
	else
		snprintf(t.s, sizeof(t.s), "%llu MiB", (unsigned long long)(bytes >> 20));
	return t;
}

void boot_hint_memory(struct err *e, uint64_t need)
{
	const uint64_t step = 64ull << 20;
	uint64_t size = (need + (8 << 20) + step - 1) / step * step;

	if (size <= GMEM_LOW_MAX)
		err_hint(e, "give the guest more memory: -m %lluM",
			 (unsigned long long)(size >> 20));
	else
		err_hint(e, "kernel and ramdisk must lie in the first 3 GiB of guest memory");
}

/* The RAM that holds all of [gpa, gpa+size). */
static bool in_ram(const struct boot *b, uint64_t gpa, uint64_t size)
{
	for (unsigned i = 0; i < b->rq->n_e820; i++) {
		const struct e820_entry *r = &b->rq->e820[i];

		if (r->type == E820_RAM && gpa >= r->addr && gpa - r->addr <= r->size &&
		    size <= r->size - (gpa - r->addr))
			return true;
	}
	return false;
}

uint64_t boot_ram_top(const struct boot *b)
{
	uint64_t top = 0;

	for (unsigned i = 0; i < b->rq->n_e820; i++) {
		const struct e820_entry *r = &b->rq->e820[i];

		if (r->type == E820_RAM && r->addr < GMEM_LOW_MAX)
			top = r->addr + r->size;
	}
	return top;
}

uint64_t boot_claims_end(const struct boot *b)
{
	uint64_t end = 0;

	for (unsigned i = 0; i < b->n_claims; i++) {
		if (b->claim[i].end > end)
			end = b->claim[i].end;
	}
	return end;
}

/* Index of the first claim that overlaps [gpa, gpa+size), or -1. */
static int find_claim(const struct boot *b, uint64_t gpa, uint64_t size)
{
	for (unsigned i = 0; i < b->n_claims; i++) {
		if (gpa < b->claim[i].end && b->claim[i].start < gpa + size)
			return (int)i;
	}
	return -1;
}

static void *record_claim(struct boot *b, uint64_t gpa, uint64_t size)
{
	void *p = gmem_ptr(b->rq->mem, gpa, size);

	if (!p || b->n_claims == BOOT_CLAIMS_MAX)
		return NULL;
	b->claim[b->n_claims].start = gpa;
	b->claim[b->n_claims].end = gpa + size;
	b->n_claims++;
	return p;
}

void *boot_claim(struct boot *b, const char *what, uint64_t gpa, uint64_t size, struct err *e)
{
	unsigned long long first = gpa, last = gpa + size - 1;
	uint64_t top = boot_ram_top(b);
	void *p;

	if (!size || last < first || gpa >= GMEM_LOW_MAX || last >= GMEM_LOW_MAX) {
		kernel_err(b, e,
			   "%s is to lie at 0x%llx to 0x%llx, which is not in the first 3 GiB",
			   what, first, last);
		return NULL;
	}
	if (gpa < LOW_END) {
		kernel_err(b, e,
			   "%s is to lie at 0x%llx to 0x%llx, but memory below 0x%llx is taken by "
			   "boot data",
			   what, first, last, LOW_END);
		err_hint(e, "link the kernel to 1 MiB or above");
		return NULL;
	}
	if (last >= top) {
		kernel_err(b, e, "kernel needs memory up to %s (%s), the guest has %s",
			   size_text(last + 1).s, what, size_text(b->rq->mem->ram_size).s);
		boot_hint_memory(e, last + 1);
		return NULL;
	}
	if (!in_ram(b, gpa, size)) {
		kernel_err(b, e, "%s is to lie at 0x%llx to 0x%llx, parts of which are not RAM",
			   what, first, last);
		err_hint(e, "link the kernel to 1 MiB or above");
		return NULL;
	}
	if (find_claim(b, gpa, size) >= 0) {
		kernel_err(b, e, "%s, at 0x%llx to 0x%llx, overlaps another part of the kernel",
			   what, first, last);
		return NULL;
	}
	p = record_claim(b, gpa, size);
	if (!p)
		kernel_err(b, e, "the kernel has too many parts");
	return p;
}

void *boot_claim_top(struct boot *b, uint64_t size, uint64_t limit, uint64_t *gpa)
{
	uint64_t end = boot_ram_top(b);

	if (limit < end)
		end = limit;
	/* Downwards past one claim after the other. */
	while (size && size <= end) {
		uint64_t start = (end - size) & ~(BOOT_PAGE - 1);
		int i = find_claim(b, start, size);

		if (start < BOOT_KERNEL_MIN)
			break;
		if (i < 0) {
			*gpa = start;
			return in_ram(b, start, size) ? record_claim(b, start, size) : NULL;
		}
		end = b->claim[i].start;
	}
	return NULL;
}

void *boot_claim_above(struct boot *b, uint64_t size, uint64_t *gpa)
{
	uint64_t from = boot_claims_end(b);

	if (from < BOOT_KERNEL_MIN)
		from = BOOT_KERNEL_MIN;
	*gpa = (from + BOOT_PAGE - 1) & ~(BOOT_PAGE - 1);
	if (!size || size > GMEM_LOW_MAX || !in_ram(b, *gpa, size))
		return NULL;
	return record_claim(b, *gpa, size);
}

static bool is_zero(const uint8_t *p, size_t len)
{
	return !*p && !memcmp(p, p + 1, len - 1);
}

void boot_copy(const struct boot *b, void *to, const uint8_t *from, size_t len)
{
	if (!b->rq->ram_is_zero) {
		memcpy(to, from, len);
		return;
	}
	/* A bzImage's vmlinux carries its bss: megabytes of zeros that need not become pages. */
	while (len) {
		size_t n = BOOT_PAGE - ((uintptr_t)to & (BOOT_PAGE - 1));

		if (n > len)
			n = len;
		if (!is_zero(from, n))
			memcpy(to, from, n);
		to = (uint8_t *)to + n;
		from += n;
		len -= n;
	}
}

void boot_clear(const struct boot *b, void *p, size_t len)
{
	/* Writing zeros over fresh zeros would only make the host fill in pages. */
	if (!b->rq->ram_is_zero)
		memset(p, 0, len);
}

void *boot_low(const struct boot *b, uint64_t gpa, size_t len)
{
	return gmem_ptr(b->rq->mem, gpa, len);
}

/* Intel SDM volume 3, 3.4.5: present, ring 0, base 0, limit 4 GiB, accessed. */
#define DESC_DATA32 0x00cf93000000ffffull
#define DESC_CODE32 0x00cf9b000000ffffull
#define DESC_CODE64 0x00af9b000000ffffull

static void write_gdt(const struct boot *b, enum boot_mode mode)
{
	struct le64 *gdt = boot_low(b, BOOT_GDT_ADDR, 4 * sizeof(*gdt));

	gdt[0] = cpu_to_le64(0);
	gdt[1] = cpu_to_le64(0);
	gdt[2] = cpu_to_le64(mode == BOOT_LONG64 ? DESC_CODE64 : DESC_CODE32);
	gdt[3] = cpu_to_le64(DESC_DATA32);
}

#define PTE_PRESENT_WRITABLE 0x3u
#define PTE_LARGE 0x80u

/* A PML4, a PDPT and four page directories: 4 GiB by 2 MiB pages, each address to itself. */
static void write_page_tables(const struct boot *b)
{
	struct le64 *pml4 = boot_low(b, BOOT_PAGE_TABLES, 6 * BOOT_PAGE);
	struct le64 *pdpt = pml4 + 512, *pd = pdpt + 512;

	memset(pml4, 0, 2 * BOOT_PAGE);
	pml4[0] = cpu_to_le64((BOOT_PAGE_TABLES + BOOT_PAGE) | PTE_PRESENT_WRITABLE);
	for (unsigned i = 0; i < 4; i++)
		pdpt[i] = cpu_to_le64((BOOT_PAGE_TABLES + (2 + i) * BOOT_PAGE) |
				      PTE_PRESENT_WRITABLE);
	for (unsigned i = 0; i < 4 * 512; i++)
		pd[i] = cpu_to_le64((uint64_t)i << 21 | PTE_LARGE | PTE_PRESENT_WRITABLE);
}

void boot_enter(struct boot *b, enum boot_mode mode, uint64_t rip)
{
	write_gdt(b, mode);
	b->out->mode = mode;
	b->out->rip = rip;
	b->out->rsp = BOOT_STACK_TOP;
	if (mode == BOOT_LONG64) {
		write_page_tables(b);
		b->out->cr3 = BOOT_PAGE_TABLES;
	}
}

int boot_cmdline_text(const struct boot *b, const char *first, uint64_t max, char *to,
		      struct err *e)
{
	const char *extra = b->out->is_linux ? b->rq->linux_extra : NULL;
	/* Ours first: the user's word is the last one, and after "--" it would go to init. */
	const char *part[] = { first, extra, b->rq->append };
	size_t n = 0;

	if (max > BOOT_CMDLINE_MAX - 1)
		max = BOOT_CMDLINE_MAX - 1;
	for (unsigned i = 0; i < 3; i++) {
		if (part[i] && *part[i])
			n += (n ? 1 : 0) + strlen(part[i]);
	}
	if (n > max) {
		err_set(e, ERR_USAGE, E2BIG,
			"-append: the kernel's command line would be %zu bytes long, this kernel "
			"takes %llu",
			n, (unsigned long long)max);
		if (extra && *extra)
			err_hint(e, "%zu bytes of it are added for this host: %s",
				 strlen(extra) + 1, extra);
		return -E2BIG;
	}
	for (unsigned i = 0, any = 0; i < 3; i++) {
		if (!part[i] || !*part[i])
			continue;
		if (any)
			*to++ = ' ';
		any = 1;
		memcpy(to, part[i], strlen(part[i]));
		to += strlen(part[i]);
	}
	*to = '\0';
	return 0;
}

int boot_cmdline(const struct boot *b, const char *first, uint64_t max, struct err *e)
{
	return boot_cmdline_text(b, first, max, boot_low(b, BOOT_CMDLINE_ADDR, BOOT_CMDLINE_MAX),
				 e);
}
