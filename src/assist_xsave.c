/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * XSAVE and its relatives for the carrier: Intel SDM volume 1, 13.4 to 13.13.
 * The guest's state is an XSAVE area in standard format (insn_cpu.xsave); the
 * instructions copy between it and an area in guest memory.
 */
#include <errno.h>
#include <string.h>

#include "assist_priv.h"

#define MSR_XSS 0xda0u

#define X87 (1ull << 0)
#define SSE (1ull << 1)
#define AVX (1ull << 2)
#define AVX512 (7ull << 5)
#define COMPACTED (1ull << 63)

/* Offsets in the legacy region (64-bit format of FXSAVE). */
#define FIP 8
#define FDP 16
#define MXCSR 24
#define MXCSR_MASK 28
#define ST0 32
#define XMM0 160
#define LEGACY_END 416
#define HEADER 512
#define EXTENDED 576

#define MXCSR_INIT 0x1f80u

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

static void put64(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, 8);
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

static void put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, 4);
}

/* The checks that all but XSETBV share. true: c->event is set. */
static bool not_usable(struct insn *i)
{
	const struct insn_cpu *c = i->c;

	if (!insn_has(c, INSN_CPUID_1C, 26) || !(c->sregs.cr4 & CR4_OSXSAVE)) {
		insn_raise(i, VEC_UD);
		return true;
	}
	return false;
}

/* Components in their initial state need not be saved; what memory says of them may be stale. */
static void init_component(uint8_t *area, const struct xsave_layout *l, unsigned n)
{
	if (n == 0) {
		memset(area, 0, MXCSR);
		put32(area, 0x037f); /* FCW, and FSW 0 */
		memset(area + ST0, 0, XMM0 - ST0);
	} else if (n == 1) {
		memset(area + XMM0, 0, LEGACY_END - XMM0);
	} else {
		memset(area + l->offset[n], 0, l->size[n]);
	}
}

static void copy_component(uint8_t *to, const uint8_t *from, unsigned n, bool rex_w)
{
	if (n == 0) {
		memcpy(to, from, FIP);
		/* Without REX.W the pointers are 32 bits and selectors, which are zero nowadays. */
		put64(to + FIP, rex_w ? get64(from + FIP) : (uint32_t)get64(from + FIP));
		put64(to + FDP, rex_w ? get64(from + FDP) : (uint32_t)get64(from + FDP));
		memcpy(to + ST0, from + ST0, XMM0 - ST0);
	} else {
		memcpy(to + XMM0, from + XMM0, LEGACY_END - XMM0);
	}
}

/* Where a component beyond SSE is in an area of this format. */
static unsigned offset_of(const struct xsave_layout *l, uint64_t xcomp_bv, unsigned n)
{
	unsigned at = EXTENDED;

	if (!(xcomp_bv & COMPACTED))
		return l->offset[n];
	for (unsigned k = 2; k <= n; k++) {
		if (!(xcomp_bv >> k & 1))
			continue;
		if (l->align64[k])
			at = (at + 63) & ~63u;
		if (k < n)
			at += l->size[k];
	}
	return at;
}

static unsigned area_size(const struct xsave_layout *l, uint64_t xcomp_bv, uint64_t rfbm)
{
	unsigned end = EXTENDED;

	for (unsigned n = 2; n < 63; n++) {
		if (rfbm >> n & 1) {
			unsigned e = offset_of(l, xcomp_bv, n) + l->size[n];

			if (e > end)
				end = e;
		}
	}
	return end;
}

/* XCR0, and for the supervisor forms XSS with it, as far as the layout is known. */
static uint64_t enabled(struct insn_cpu *c, bool supervisor)
{
	uint64_t xss = 0;

	if (supervisor)
		c->ops->rdmsr(c, MSR_XSS, &xss);
	return (c->xcr0 | xss) & c->layout->mask;
}

/* Common start: privilege, availability, alignment, and the FPU state. */
static enum insn_status start(struct insn *i, bool supervisor, uint64_t *lin)
{
	struct insn_cpu *c = i->c;
	int r;

	if (not_usable(i))
		return INSN_EVENT;
	if (supervisor && insn_cpl(c))
		return insn_gp(i);
	if (c->sregs.cr0 & CR0_TS)
		return insn_raise(i, VEC_NM);
	r = insn_linear(i, &i->op[0], EXTENDED, false, lin);
	if (r < 0)
		return INSN_EVENT;
	if (*lin & 63)
		return insn_gp(i);
	if (c->ops->load_xcr0(c) < 0 || (!c->fpu_loaded && c->ops->load_fpu(c) < 0))
		return insn_unsupported(i, "KVM did not give the FPU state");
	return INSN_DONE;
}

enum insn_status insn_xsave(struct insn *i)
{
	struct insn_cpu *c = i->c;
	const struct xsave_layout *l = c->layout;
	ZydisMnemonic m = i->d.mnemonic;
	bool rex_w = m == ZYDIS_MNEMONIC_XSAVE64 || m == ZYDIS_MNEMONIC_XSAVEOPT64 ||
		     m == ZYDIS_MNEMONIC_XSAVEC64 || m == ZYDIS_MNEMONIC_XSAVES64;
	bool opt = m == ZYDIS_MNEMONIC_XSAVEOPT || m == ZYDIS_MNEMONIC_XSAVEOPT64;
	bool supervisor = m == ZYDIS_MNEMONIC_XSAVES || m == ZYDIS_MNEMONIC_XSAVES64;
	bool compact = supervisor || m == ZYDIS_MNEMONIC_XSAVEC || m == ZYDIS_MNEMONIC_XSAVEC64;
	unsigned bit = supervisor ? 3 : compact ? 1 : 0;
	_Alignas(64) uint8_t area[XSAVE_AREA];
	uint64_t lin, rfbm, used, xcomp_bv = 0;
	enum insn_status s;
	unsigned size;
	int r;

	if ((opt || compact) && !insn_has(c, INSN_CPUID_D1A, bit))
		return insn_raise(i, VEC_UD);
	s = start(i, supervisor, &lin);
	if (s != INSN_DONE)
		return s;
	rfbm = enabled(c, supervisor) & ((uint32_t)c->regs.rax | c->regs.rdx << 32);
	used = get64(c->xsave + HEADER) & l->mask;
	if (compact) {
		xcomp_bv = rfbm | COMPACTED;
		/* There, MXCSR belongs to the SSE state, and counts. */
		if (get32(c->xsave + MXCSR) != MXCSR_INIT)
			used |= SSE;
	}
	size = area_size(l, xcomp_bv, rfbm);
	if (size > sizeof(area))
		return insn_unsupported(i, "its area is larger than any known");
	r = c->ops->read(c, lin, area, size, INSN_WRITE); /* what is not saved stays */
	if (r < 0)
		return insn_failed(i, r);

	for (unsigned n = 0; n < 63; n++) {
		uint64_t component = 1ull << n;

		if (!(rfbm & component) || ((opt || compact) && !(used & component)))
			continue;
		if (!(get64(c->xsave + HEADER) & component))
			init_component(c->xsave, l, n);
		if (n < 2)
			copy_component(area, c->xsave, n, rex_w);
		else
			memcpy(area + offset_of(l, xcomp_bv, n), c->xsave + l->offset[n],
			       l->size[n]);
	}
	if (compact ? (rfbm & used & SSE) : (rfbm & (SSE | AVX)))
		memcpy(area + MXCSR, c->xsave + MXCSR, 8); /* and its mask */
	if (compact) {
		put64(area + HEADER, used & rfbm);
		put64(area + HEADER + 8, xcomp_bv);
	} else {
		put64(area + HEADER, (get64(area + HEADER) & ~rfbm) | (used & rfbm));
	}
	r = c->ops->write(c, lin, area, size, INSN_WRITE);
	return r < 0 ? insn_failed(i, r) : INSN_DONE;
}

enum insn_status insn_xrstor(struct insn *i)
{
	struct insn_cpu *c = i->c;
	const struct xsave_layout *l = c->layout;
	ZydisMnemonic m = i->d.mnemonic;
	bool supervisor = m == ZYDIS_MNEMONIC_XRSTORS || m == ZYDIS_MNEMONIC_XRSTORS64;
	bool rex_w = m == ZYDIS_MNEMONIC_XRSTOR64 || m == ZYDIS_MNEMONIC_XRSTORS64;
	_Alignas(64) uint8_t area[XSAVE_AREA];
	uint64_t lin, enabled_bv, rfbm, xstate_bv, xcomp_bv, load, bv;
	uint32_t mxcsr, mxcsr_mask;
	bool compact, load_mxcsr;
	enum insn_status s;
	unsigned size;
	int r;

	if (supervisor && !insn_has(c, INSN_CPUID_D1A, 3))
		return insn_raise(i, VEC_UD);
	s = start(i, supervisor, &lin);
	if (s != INSN_DONE)
		return s;
	enabled_bv = enabled(c, supervisor);
	rfbm = enabled_bv & ((uint32_t)c->regs.rax | c->regs.rdx << 32);
	r = c->ops->read(c, lin, area, EXTENDED, INSN_READ);
	if (r < 0)
		return insn_failed(i, r);
	xstate_bv = get64(area + HEADER);
	xcomp_bv = get64(area + HEADER + 8);
	compact = xcomp_bv & COMPACTED;
	if (compact) {
		if (!insn_has(c, INSN_CPUID_D1A, 1) || (xcomp_bv & ~COMPACTED & ~enabled_bv) ||
		    (xstate_bv & ~xcomp_bv))
			return insn_gp(i);
		for (unsigned n = 16; n < 64; n += 8)
			if (get64(area + HEADER + n))
				return insn_gp(i);
	} else if (supervisor || (xstate_bv & ~enabled_bv) || xcomp_bv ||
		   get64(area + HEADER + 16)) {
		return insn_gp(i);
	}
	load = rfbm & xstate_bv;
	size = area_size(l, xcomp_bv, load);
	if (size > sizeof(area))
		return insn_unsupported(i, "its area is larger than any known");
	if (size > EXTENDED) {
		r = c->ops->read(c, lin + EXTENDED, area + EXTENDED, size - EXTENDED, INSN_READ);
		if (r < 0)
			return insn_failed(i, r);
	}
	/* MXCSR: with the SSE state in the compacted format; else with SSE or AVX, always. */
	mxcsr = get32(area + MXCSR);
	mxcsr_mask = get32(c->xsave + MXCSR_MASK);
	load_mxcsr = compact ? (load & SSE) : (rfbm & (SSE | AVX));
	if (load_mxcsr && (mxcsr & ~(mxcsr_mask ? mxcsr_mask : 0xffbf)))
		return insn_gp(i);
	if (load_mxcsr)
		put32(c->xsave + MXCSR, mxcsr);
	else if (compact && (rfbm & SSE))
		put32(c->xsave + MXCSR, MXCSR_INIT);

	for (unsigned n = 0; n < 63; n++) {
		if (!(rfbm >> n & 1))
			continue;
		if (!(load >> n & 1))
			init_component(c->xsave, l, n);
		else if (n < 2)
			copy_component(c->xsave, area, n, rex_w);
		else
			memcpy(c->xsave + l->offset[n], area + offset_of(l, xcomp_bv, n),
			       l->size[n]);
	}
	bv = get64(c->xsave + HEADER);
	put64(c->xsave + HEADER, (bv & ~rfbm) | load);
	c->fpu_dirty = true;
	return INSN_DONE;
}

enum insn_status insn_xgetbv(struct insn *i)
{
	struct insn_cpu *c = i->c;
	uint64_t val;

	if (not_usable(i))
		return INSN_EVENT;
	if (c->ops->load_xcr0(c) < 0)
		return insn_unsupported(i, "KVM did not give XCR0");
	val = c->xcr0;
	if ((uint32_t)c->regs.rcx == 1 && insn_has(c, INSN_CPUID_D1A, 2)) {
		if (!c->fpu_loaded && c->ops->load_fpu(c) < 0)
			return insn_unsupported(i, "KVM did not give the FPU state");
		val &= get64(c->xsave + HEADER);
	} else if ((uint32_t)c->regs.rcx) {
		return insn_gp(i);
	}
	c->regs.rax = (uint32_t)val;
	c->regs.rdx = val >> 32;
	return INSN_DONE;
}

enum insn_status insn_xsetbv(struct insn *i)
{
	struct insn_cpu *c = i->c;
	uint64_t val = (uint32_t)c->regs.rax | c->regs.rdx << 32;

	if (not_usable(i))
		return INSN_EVENT;
	if (insn_cpl(c) || (uint32_t)c->regs.rcx || (val & ~c->xcr0_allowed) || !(val & X87) ||
	    ((val & AVX) && !(val & SSE)) || ((val & AVX512) && (val & AVX512) != AVX512) ||
	    ((val & AVX512) && !(val & AVX)))
		return insn_gp(i);
	c->xcr0 = val;
	c->xcr0_dirty = true;
	return INSN_DONE;
}
