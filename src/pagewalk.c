/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's page tables, walked in software.
 *
 * Intel SDM volume 3A, chapter 4: 32-bit paging (4.3), PAE (4.4), 4-level and
 * 5-level paging (4.5). Any thread; the tables are the guest's and may say
 * anything, also change meanwhile: each entry is read once.
 */
#include <asm/processor-flags.h>
#include <errno.h>
#include <string.h>

#include "gmem.h"
#include "vcpu.h"
#include "vm.h"

#define EFER_LMA (1ull << 10)
#define EFER_NXE (1ull << 11)

#define PTE_P (1ull << 0)
#define PTE_W (1ull << 1)
#define PTE_U (1ull << 2)
#define PTE_A (1ull << 5)
#define PTE_D (1ull << 6)
#define PTE_PS (1ull << 7)
#define PTE_NX (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull

/* Bits hi..lo set. */
#define BITS(hi, lo) ((~0ull >> (63 - (hi))) & (~0ull << (lo)))

/* A level of tables: an entry covers 1 << shift bytes and is found by `bits` address bits. */
struct level {
	const char *name;
	uint8_t shift, bits;
};

struct paging {
	unsigned entry_size;
	unsigned n;
	uint64_t root_mask; /* of CR3 */
	struct level level[5];
};

/* clang-format off */
static const struct paging paging_32bit = { 4, 2, BITS(31, 12), {
	{ "PD", 22, 10 }, { "PT", 12, 10 } } };
static const struct paging paging_pae = { 8, 3, BITS(31, 5), {
	{ "PDPT", 30, 2 }, { "PD", 21, 9 }, { "PT", 12, 9 } } };
static const struct paging paging_4level = { 8, 4, PTE_ADDR, {
	{ "PML4", 39, 9 }, { "PDPT", 30, 9 }, { "PD", 21, 9 }, { "PT", 12, 9 } } };
static const struct paging paging_5level = { 8, 5, PTE_ADDR, {
	{ "PML5", 48, 9 }, { "PML4", 39, 9 }, { "PDPT", 30, 9 }, { "PD", 21, 9 }, { "PT", 12, 9 } } };
/* clang-format on */

/* NULL: paging is off. */
static const struct paging *paging_of(const struct kvm_sregs *s)
{
	if (!(s->cr0 & X86_CR0_PG))
		return NULL;
	if (s->efer & EFER_LMA)
		return s->cr4 & X86_CR4_LA57 ? &paging_5level : &paging_4level;
	return s->cr4 & X86_CR4_PAE ? &paging_pae : &paging_32bit;
}

static bool canonical(uint64_t gva, unsigned top_bit)
{
	int64_t high = (int64_t)gva >> top_bit;

	return high == 0 || high == -1;
}

/* Whether an entry with PS=1 at this level maps a page instead of pointing to a table. */
static bool large_page_level(const struct paging *p, unsigned shift, const struct kvm_sregs *s)
{
	if (p == &paging_32bit)
		return shift == 22 && (s->cr4 & X86_CR4_PSE);
	return shift == 21 || shift == 30; /* of a PAE PDPT entry PS is reserved, and found so */
}

/*
 * Bits that must be 0. Physical addresses count as 52 bits wide: what a
 * narrower processor calls reserved is outside RAM here.
 */
static uint64_t reserved_bits(const struct paging *p, unsigned shift, bool large,
			      const struct kvm_sregs *s)
{
	uint64_t bits = 0;

	if (p == &paging_32bit)
		return large ? BITS(21, 21) : 0; /* 20..13 are address bits 39..32 (PSE-36) */
	if (p == &paging_pae && shift == 30)
		return BITS(63, 52) | BITS(8, 5) | BITS(2, 1);
	if (p == &paging_pae)
		bits |= BITS(62, 52);
	if (!(s->efer & EFER_NXE))
		bits |= PTE_NX;
	if (shift >= 39)
		bits |= PTE_PS;
	if (large)
		bits |= BITS(shift - 1, 13); /* 12 is PAT */
	return bits;
}

/* The page's address in an entry that maps a page. */
static uint64_t page_address(const struct paging *p, unsigned shift, uint64_t entry)
{
	if (p == &paging_32bit && shift == 22)
		return (entry & BITS(31, 22)) | (entry & BITS(20, 13)) << (32 - 13);
	return entry & PTE_ADDR & ~BITS(shift - 1, 0);
}

/* Entries are naturally aligned, so that a guest's write is seen whole or not at all. */
static bool read_entry(const struct vm *vm, uint64_t gpa, unsigned size, uint64_t *entry)
{
	const void *p = vm_guest_ptr(vm, gpa, size, false);

	if (!p)
		return false;
	*entry = size == 8 ? __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED)
			   : __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED);
	return true;
}

static int stop(struct page_walk *w, enum walk_stop why)
{
	w->stop = why;
	return -EFAULT;
}

int guest_page_walk(const struct vm *vm, const struct kvm_sregs *s, uint64_t gva,
		    struct page_walk *w)
{
	const struct paging *p = paging_of(s);
	uint64_t table;

	memset(w, 0, sizeof(*w));
	w->user = true;
	w->writable = true;
	if (!p || p->level[0].shift < 39)
		gva &= BITS(31, 0);
	if (!p) {
		w->gpa = gva;
		w->present = true;
		return 0;
	}
	if (p->level[0].shift >= 39 && !canonical(gva, p->level[0].shift + 8u))
		return stop(w, WALK_NOT_CANONICAL);

	table = s->cr3 & p->root_mask;
	for (unsigned i = 0; i < p->n; i++) {
		const struct level *l = &p->level[i];
		uint64_t index = gva >> l->shift & BITS(l->bits - 1, 0);
		uint64_t at = table + index * p->entry_size;
		uint64_t entry, bad;
		bool large, rights;

		w->e[i].name = l->name;
		w->e[i].entry_gpa = at;
		w->levels = i + 1;
		if (!read_entry(vm, at, p->entry_size, &entry))
			return stop(w, WALK_NO_RAM);
		w->e[i].entry = entry;
		if (!(entry & PTE_P))
			return stop(w, WALK_NOT_PRESENT);
		large = (entry & PTE_PS) && large_page_level(p, l->shift, s);
		bad = entry & reserved_bits(p, l->shift, large, s);
		if (bad) {
			w->bad_bits = bad;
			return stop(w, WALK_RESERVED);
		}
		rights = !(p == &paging_pae && i == 0); /* a PAE PDPT entry carries none */
		if (rights) {
			w->user &= !!(entry & PTE_U);
			w->writable &= !!(entry & PTE_W);
			w->nx |= p->entry_size == 8 && (entry & PTE_NX);
		}
		if (large || l->shift == 12) {
			w->page_size = 1ull << l->shift;
			w->gpa = page_address(p, l->shift, entry) | (gva & (w->page_size - 1));
			w->present = true;
			break;
		}
		table = p == &paging_32bit ? entry & BITS(31, 12) : entry & PTE_ADDR;
	}
	return 0;
}

/* How many of len bytes at gva lie in its 4 KiB page. */
void *vm_guest_ptr(const struct vm *vm, uint64_t gpa, size_t len, bool write)
{
	void *p = gmem_ptr(&vm->m.mem, gpa, len);

	/* Without firmware and cards there is RAM and nothing else. */
	if (!vm->m.map.n || (p && gpa >= 1 << 20))
		return p;
	return memmap_ptr((struct memmap *)(uintptr_t)&vm->m.map, gpa, len, write);
}

static size_t to_page_end(uint64_t gva, size_t len)
{
	size_t room = 4096 - (gva & 4095);

	return room < len ? room : len;
}

bool guest_walk_mark(const struct vm *vm, const struct kvm_sregs *s, const struct page_walk *w,
		     bool write)
{
	const struct paging *p = paging_of(s);

	for (unsigned i = 0; i < w->levels; i++) {
		bool leaf = i + 1 == w->levels;
		uint64_t old = w->e[i].entry, new = old | PTE_A | (leaf && write ? PTE_D : 0);
		void *at;

		if (new == old || (p == &paging_pae && i == 0))
			continue;
		at = vm_guest_ptr(vm, w->e[i].entry_gpa, p->entry_size, true);
		if (!at)
			continue;
		if (p->entry_size == 8) {
			if (!__atomic_compare_exchange_n((uint64_t *)at, &old, new, false,
							 __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
				return false;
		} else {
			uint32_t old32 = (uint32_t)old;

			if (!__atomic_compare_exchange_n((uint32_t *)at, &old32, (uint32_t) new,
							 false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
				return false;
		}
	}
	return true;
}

size_t guest_read_gva(const struct vm *vm, const struct kvm_sregs *s, uint64_t gva, void *buf,
		      size_t len)
{
	size_t done = 0;

	while (done < len) {
		size_t n = to_page_end(gva + done, len - done);
		struct page_walk w;
		const void *host;

		if (guest_page_walk(vm, s, gva + done, &w) < 0)
			break;
		host = vm_guest_ptr(vm, w.gpa, n, false);
		if (!host)
			break;
		memcpy((uint8_t *)buf + done, host, n);
		done += n;
	}
	return done;
}

int vcpu_read_gva(struct vcpu *v, const struct kvm_sregs *s, uint64_t gva, void *buf, size_t len)
{
	return guest_read_gva(v->vm, s, gva, buf, len) == len ? 0 : -EFAULT;
}

/* No sane guest changes an entry this often during one access. */
#define MAX_RACES 1000

int vcpu_write_gva(struct vcpu *v, const struct kvm_sregs *s, uint64_t gva, const void *buf,
		   size_t len)
{
	unsigned races = 0;
	size_t done = 0;

	while (done < len) {
		size_t n = to_page_end(gva + done, len - done);
		struct page_walk w;
		void *host;

		if (guest_page_walk(v->vm, s, gva + done, &w) < 0)
			return -EFAULT;
		host = vm_guest_ptr(v->vm, w.gpa, n, true);
		if (!host)
			return -EFAULT;
		/* Another vCPU changed this very entry: walk again, by the new one. */
		if (!guest_walk_mark(v->vm, s, &w, true)) {
			if (++races > MAX_RACES)
				return -EFAULT;
			continue;
		}
		memcpy(host, (const uint8_t *)buf + done, n);
		done += n;
	}
	return 0;
}
