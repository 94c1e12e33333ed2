/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory for the instruction carrier: translation with the access checks
 * and page fault codes of AMD APM volume 2, 5.6 and 8.4.2, and accessed and
 * dirty bits. On the vCPU's own thread.
 */
#include <errno.h>
#include <string.h>

#include "assist_priv.h"
#include "gmem.h"
#include "vcpu.h"
#include "vm.h"

#define PF_PRESENT 1u
#define PF_WRITE 2u
#define PF_USER 4u

#define PF_RESERVED 8u

#define MAX_RACES 1000u
#define PAGE 4096u

static int page_fault(struct insn_cpu *c, uint64_t lin, uint32_t error)
{
	c->event = (struct insn_event){ .vector = 14, .has_error = true, .error = error };
	c->sregs.cr2 = lin;
	c->sregs_dirty = true;
	return -EFAULT;
}

/* Whether the rights along a walk forbid the access. */
static bool denied(const struct insn_cpu *c, const struct page_walk *w, unsigned how, bool user)
{
	bool write = how & INSN_WRITE;

	if (user)
		return !w->user || (write && !w->writable);
	if (write && !w->writable && (c->sregs.cr0 & CR0_WP))
		return true;
	return w->user && (c->sregs.cr4 & CR4_SMAP) &&
	       ((how & INSN_IMPLICIT) || !(c->regs.rflags & RFLAGS_AC));
}

/* Physical address of lin, as the processor would find it. */
static int walk(struct insn_cpu *c, uint64_t lin, unsigned how, uint64_t *gpa)
{
	struct vcpu *v = c->ctx;
	bool write = how & INSN_WRITE;
	bool user = !(how & INSN_IMPLICIT) && insn_cpl(c) == 3;
	uint32_t error = (write ? PF_WRITE : 0) | (user ? PF_USER : 0);
	struct page_walk w;

	/* Anew when another vCPU has changed an entry meanwhile; but not for ever. */
	for (unsigned tries = 0; tries < MAX_RACES; tries++) {
		if (guest_page_walk(v->vm, &c->sregs, lin, &w) < 0) {
			if (w.stop == WALK_RESERVED)
				error |= PF_PRESENT | PF_RESERVED;
			return page_fault(c, lin, error);
		}
		if (denied(c, &w, how, user))
			return page_fault(c, lin, error | PF_PRESENT);
		if (guest_walk_mark(v->vm, &c->sregs, &w, write)) {
			*gpa = w.gpa;
			return 0;
		}
	}
	return -EOPNOTSUPP;
}

/* Host address of lin for writing, good for the rest of its page. */
static int translate(struct insn_cpu *c, uint64_t lin, unsigned how, uint8_t **host)
{
	struct vcpu *v = c->ctx;
	uint64_t gpa;
	int r;

	r = walk(c, lin, how, &gpa);
	if (r < 0)
		return r;
	*host = vm_guest_ptr(v->vm, gpa, PAGE - (gpa & (PAGE - 1)), true);
	return *host ? 0 : -EOPNOTSUPP;
}

/* From one page, which may be firmware's instead of RAM. */
static int read_page(struct insn_cpu *c, uint64_t lin, uint8_t *buf, size_t len, unsigned how)
{
	struct vcpu *v = c->ctx;
	uint64_t gpa;
	const uint8_t *host;
	int r = walk(c, lin, how, &gpa);

	if (r < 0)
		return r;
	host = vm_guest_ptr(v->vm, gpa, len, false);
	if (!host)
		return -EOPNOTSUPP;
	memcpy(buf, host, len);
	return 0;
}

int assist_mem_read(struct insn_cpu *c, uint64_t lin, void *buf, size_t len, unsigned how)
{
	size_t first = PAGE - (lin & (PAGE - 1));
	int r;

	if (first > len)
		first = len;
	if (len - first > PAGE)
		return -EOPNOTSUPP;
	r = read_page(c, lin, buf, first, how);
	if (r == 0 && len > first)
		r = read_page(c, lin + first, (uint8_t *)buf + first, len - first, how);
	return r;
}

/* Both pages of a range are translated before a byte of either is touched. */
int assist_mem_write(struct insn_cpu *c, uint64_t lin, const void *buf, size_t len, unsigned how)
{
	size_t first = PAGE - (lin & (PAGE - 1));
	uint8_t *a, *b = NULL;
	int r;

	if (first > len)
		first = len;
	if (len - first > PAGE)
		return -EOPNOTSUPP;
	r = translate(c, lin, how | INSN_WRITE, &a);
	if (r == 0 && len > first)
		r = translate(c, lin + first, how | INSN_WRITE, &b);
	if (r < 0)
		return r;
	memcpy(a, buf, first);
	if (b)
		memcpy(b, (const uint8_t *)buf + first, len - first);
	return 0;
}

int assist_mem_map(struct insn_cpu *c, uint64_t lin, size_t len, void **p)
{
	uint8_t *host;
	int r;

	if (len > PAGE - (lin & (PAGE - 1)))
		return -EOPNOTSUPP;
	r = translate(c, lin, INSN_WRITE, &host);
	if (r == 0)
		*p = host;
	return r;
}
