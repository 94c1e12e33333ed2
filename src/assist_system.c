/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instructions of the carrier that look at descriptors or change privilege:
 * AMD APM volume 2 chapters 4 (segmentation), 6 (system calls) and 8.9
 * (interrupt return), volume 3 chapter 4.
 */
#include <errno.h>
#include <string.h>

#include "assist_priv.h"

#define MSR_SYSENTER_CS 0x174u
#define MSR_SYSENTER_ESP 0x175u
#define MSR_SYSENTER_EIP 0x176u
#define MSR_STAR 0xc0000081u

#define EFER_SCE 1u

/* The low 8 bytes of a descriptor. */
#define DESC_TYPE(d) ((d) >> 40 & 15)
#define DESC_S(d) ((d) >> 44 & 1) /* 1: code or data, 0: system */
#define DESC_DPL(d) ((d) >> 45 & 3)
#define DESC_P(d) ((d) >> 47 & 1)
#define DESC_L(d) ((d) >> 53 & 1)
#define DESC_DB(d) ((d) >> 54 & 1)
#define DESC_G(d) ((d) >> 55 & 1)

static uint32_t desc_base(uint64_t d)
{
	return (uint32_t)((d >> 16 & 0xffffff) | (d >> 56) << 24);
}

static uint32_t desc_limit(uint64_t d)
{
	uint32_t limit = (uint32_t)((d & 0xffff) | (d >> 32 & 0xf0000));

	return DESC_G(d) ? limit << 12 | 0xfff : limit;
}

/* 0; -ENOENT when the selector is null or beyond its table; or a callback's error. */
static int read_descriptor(struct insn *i, uint16_t sel, uint64_t *d)
{
	const struct kvm_sregs *s = &i->c->sregs;
	uint64_t base = s->gdt.base;
	uint32_t limit = s->gdt.limit;

	if (!(sel & ~3u))
		return -ENOENT;
	if (sel & 4) {
		if (s->ldt.unusable)
			return -ENOENT;
		base = s->ldt.base;
		limit = s->ldt.limit;
	}
	if ((sel | 7u) > limit)
		return -ENOENT;
	return i->c->ops->read(i->c, base + (sel & ~7u), d, 8, INSN_READ | INSN_IMPLICIT);
}

static bool protected_mode(const struct insn_cpu *c)
{
	return (c->sregs.cr0 & CR0_PE) && !(c->regs.rflags & RFLAGS_VM);
}

/* Whether code at CPL could use the selector: conforming code is open to all. */
static bool visible(const struct insn *i, uint64_t d, uint16_t sel)
{
	if (DESC_S(d) && (DESC_TYPE(d) & 0xc) == 0xc)
		return true;
	return DESC_DPL(d) >= insn_cpl(i->c) && DESC_DPL(d) >= (sel & 3u);
}

enum insn_status insn_lar_lsl(struct insn *i)
{
	bool lsl = i->d.mnemonic == ZYDIS_MNEMONIC_LSL;
	bool lma = i->c->sregs.efer & EFER_LMA;
	/* System types with limits, and those with only rights: call and task gates. */
	uint16_t types = lma ? 1u << 2 | 1u << 9 | 1u << 11
			     : 1u << 1 | 1u << 2 | 1u << 3 | 1u << 9 | 1u << 11;
	uint64_t sel, d = 0;
	int r;

	if (!protected_mode(i->c))
		return insn_raise(i, VEC_UD);
	if (i->op[1].type == ZYDIS_OPERAND_TYPE_MEMORY)
		i->op[1].size = 16; /* a selector is 16 bits, whatever the operand size */
	r = insn_get(i, &i->op[1], &sel);
	if (r < 0)
		return insn_failed(i, r);
	if (!lsl)
		types |= lma ? 1u << 12 : 1u << 4 | 1u << 5 | 1u << 12;
	r = read_descriptor(i, (uint16_t)sel, &d);
	if (r < 0 && r != -ENOENT)
		return insn_failed(i, r);
	i->c->regs.rflags &= ~RFLAGS_ZF;
	if (r == -ENOENT || !visible(i, d, (uint16_t)sel) ||
	    (!DESC_S(d) && !(types >> DESC_TYPE(d) & 1)))
		return INSN_DONE;
	i->c->regs.rflags |= RFLAGS_ZF;
	insn_reg_set(i->c, i->op[0].reg.value, lsl ? desc_limit(d) : d >> 32 & 0x00ffff00);
	return INSN_DONE;
}

enum insn_status insn_verify(struct insn *i)
{
	bool write = i->d.mnemonic == ZYDIS_MNEMONIC_VERW;
	uint64_t sel, d = 0;
	bool ok;
	int r;

	if (!protected_mode(i->c))
		return insn_raise(i, VEC_UD);
	i->op[0].size = 16;
	r = insn_get(i, &i->op[0], &sel);
	if (r < 0)
		return insn_failed(i, r);
	r = read_descriptor(i, (uint16_t)sel, &d);
	if (r < 0 && r != -ENOENT)
		return insn_failed(i, r);
	ok = r == 0 && DESC_S(d) && visible(i, d, (uint16_t)sel);
	if (DESC_TYPE(d) & 8) /* code: never writable; bit 1: readable */
		ok = ok && !write && (DESC_TYPE(d) & 2);
	else /* data: always readable; bit 1: writable */
		ok = ok && (!write || (DESC_TYPE(d) & 2));
	i->c->regs.rflags = (i->c->regs.rflags & ~RFLAGS_ZF) | (ok ? RFLAGS_ZF : 0);
	return INSN_DONE;
}

static struct kvm_segment segment_from(uint64_t d, uint16_t sel)
{
	return (struct kvm_segment){
		.base = desc_base(d),
		.limit = desc_limit(d),
		.selector = sel,
		.type = (uint8_t)(DESC_TYPE(d) | 1), /* accessed */
		.present = 1,
		.dpl = (uint8_t)DESC_DPL(d),
		.db = (uint8_t)DESC_DB(d),
		.s = 1,
		.l = (uint8_t)DESC_L(d),
		.g = (uint8_t)DESC_G(d),
	};
}

/* A flat segment of SYSENTER and its kin, which read no descriptor. */
static struct kvm_segment flat(uint16_t sel, bool code, bool code64, uint8_t dpl)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = sel,
		.type = code ? 11 : 3,
		.present = 1,
		.dpl = dpl,
		.db = !(code && code64),
		.s = 1,
		.l = code && code64,
		.g = 1,
	};
}

/* A data segment that an outer ring must not see is made null. */
static void drop_inner(struct kvm_segment *s, unsigned cpl)
{
	bool conforming = (s->type & 0xc) == 0xc;

	if (s->unusable || conforming || s->dpl >= cpl)
		return;
	*s = (struct kvm_segment){ .unusable = 1 };
}

/*
 * IRET in 16- and 32-bit protected mode to the same or an outer ring. Returns
 * to virtual-8086 mode and by task gates are not known here, and the long mode
 * one is KVM's.
 */
enum insn_status insn_iret(struct insn *i)
{
	struct insn_cpu *c = i->c;
	unsigned size = i->d.operand_width / 8, cpl = insn_cpl(c), rpl;
	uint64_t rsp = c->regs.rsp, val[5], d, ss_d = 0, change;
	int r;

	if (!protected_mode(c) || (c->sregs.efer & EFER_LMA) || (size != 2 && size != 4))
		return insn_unsupported(i, "only protected mode is known");
	if (c->regs.rflags & RFLAGS_NT)
		return insn_unsupported(i, "task switches are not known");
	for (unsigned n = 0; n < 3; n++) { /* IP, CS, FLAGS */
		r = insn_stack_read(i, rsp + n * size, &val[n], size);
		if (r < 0)
			return insn_failed(i, r);
	}
	if (size == 4 && (val[2] & RFLAGS_VM) && cpl == 0)
		return insn_unsupported(i, "virtual-8086 mode is not known");
	val[1] &= 0xffff;
	rpl = val[1] & 3;
	r = read_descriptor(i, (uint16_t)val[1], &d);
	if (r == -ENOENT ||
	    (r == 0 && (!DESC_S(d) || !(DESC_TYPE(d) & 8) || rpl < cpl ||
			((DESC_TYPE(d) & 4) ? DESC_DPL(d) > rpl : DESC_DPL(d) != rpl))))
		return insn_raise_code(i, VEC_GP, val[1] & 0xfffc);
	if (r < 0)
		return insn_failed(i, r);
	if (!DESC_P(d))
		return insn_raise_code(i, VEC_NP, val[1] & 0xfffc);
	if (rpl > cpl) {
		for (unsigned n = 3; n < 5; n++) { /* SP, SS */
			r = insn_stack_read(i, rsp + n * size, &val[n], size);
			if (r < 0)
				return insn_failed(i, r);
		}
		val[4] &= 0xffff;
		r = read_descriptor(i, (uint16_t)val[4], &ss_d);
		if (r == -ENOENT ||
		    (r == 0 && ((val[4] & 3) != rpl || !DESC_S(ss_d) ||
				(DESC_TYPE(ss_d) & 0xa) != 2 || DESC_DPL(ss_d) != rpl)))
			return insn_raise_code(i, VEC_GP, val[4] & 0xfffc);
		if (r < 0)
			return insn_failed(i, r);
		if (!DESC_P(ss_d))
			return insn_raise_code(i, VEC_SS, val[4] & 0xfffc);
	}
	if (val[0] > desc_limit(d))
		return insn_gp(i);

	change = RFLAGS_STATUS | RFLAGS_TF | RFLAGS_DF | RFLAGS_NT;
	if (size == 4)
		change |= RFLAGS_RF | RFLAGS_AC | 1u << 21 /* ID */;
	if (cpl == 0)
		change |= RFLAGS_IOPL;
	if (cpl <= (c->regs.rflags & RFLAGS_IOPL) >> 12)
		change |= RFLAGS_IF;
	c->regs.rflags = (c->regs.rflags & ~change) | (val[2] & change);
	c->regs.rip = val[0];
	c->sregs.cs = segment_from(d, (uint16_t)val[1]);
	if (rpl > cpl) {
		c->sregs.ss = segment_from(ss_d, (uint16_t)val[4]);
		c->regs.rsp = val[3];
		drop_inner(&c->sregs.ds, rpl);
		drop_inner(&c->sregs.es, rpl);
		drop_inner(&c->sregs.fs, rpl);
		drop_inner(&c->sregs.gs, rpl);
	} else if (c->sregs.ss.db) {
		c->regs.rsp = (uint32_t)(rsp + 3 * size);
	} else {
		c->regs.rsp = (rsp & ~0xffffull) | ((rsp + 3 * size) & 0xffff);
	}
	c->sregs_dirty = true;
	i->jumped = true;
	return INSN_DONE;
}

enum insn_status insn_sysenter(struct insn *i)
{
	struct insn_cpu *c = i->c;
	bool lma = c->sregs.efer & EFER_LMA;
	uint64_t cs, ip, sp;

	if (!(c->sregs.cr0 & CR0_PE))
		return insn_gp(i);
	if (!insn_has(c, INSN_CPUID_1D, 11))
		return insn_raise(i, VEC_UD);
	if (c->ops->rdmsr(c, MSR_SYSENTER_CS, &cs) < 0 ||
	    c->ops->rdmsr(c, MSR_SYSENTER_ESP, &sp) < 0 ||
	    c->ops->rdmsr(c, MSR_SYSENTER_EIP, &ip) < 0)
		return insn_unsupported(i, "KVM does not give its MSRs");
	if (!(cs & 0xfffc))
		return insn_gp(i);
	cs &= 0xfffc;
	c->sregs.cs = flat((uint16_t)cs, true, lma, 0);
	c->sregs.ss = flat((uint16_t)(cs + 8), false, false, 0);
	c->regs.rflags &= ~(RFLAGS_VM | RFLAGS_IF | RFLAGS_RF);
	c->regs.rip = lma ? ip : (uint32_t)ip;
	c->regs.rsp = lma ? sp : (uint32_t)sp;
	c->sregs_dirty = true;
	i->jumped = true;
	return INSN_DONE;
}

enum insn_status insn_sysexit(struct insn *i)
{
	struct insn_cpu *c = i->c;
	bool to64 = i->d.operand_width == 64;
	uint64_t cs;

	if (!insn_has(c, INSN_CPUID_1D, 11))
		return insn_raise(i, VEC_UD);
	if (!(c->sregs.cr0 & CR0_PE) || insn_cpl(c))
		return insn_gp(i);
	if (c->ops->rdmsr(c, MSR_SYSENTER_CS, &cs) < 0)
		return insn_unsupported(i, "KVM does not give its MSR");
	if (!(cs & 0xfffc))
		return insn_gp(i);
	cs = (cs & 0xfffc) + (to64 ? 32 : 16);
	c->sregs.cs = flat((uint16_t)(cs | 3), true, to64, 3);
	c->sregs.ss = flat((uint16_t)((cs + 8) | 3), false, false, 3);
	c->regs.rip = to64 ? c->regs.rdx : (uint32_t)c->regs.rdx;
	c->regs.rsp = to64 ? c->regs.rcx : (uint32_t)c->regs.rcx;
	c->sregs_dirty = true;
	i->jumped = true;
	return INSN_DONE;
}

enum insn_status insn_sysret(struct insn *i)
{
	struct insn_cpu *c = i->c;
	bool to64 = i->d.operand_width == 64;
	uint64_t star;
	uint16_t sel;

	if (!(c->sregs.efer & EFER_SCE))
		return insn_raise(i, VEC_UD);
	if (!(c->sregs.cr0 & CR0_PE) || insn_cpl(c))
		return insn_gp(i);
	if (c->ops->rdmsr(c, MSR_STAR, &star) < 0)
		return insn_unsupported(i, "KVM does not give its MSR");
	sel = (uint16_t)(star >> 48);
	c->sregs.cs = flat((uint16_t)((sel + (to64 ? 16 : 0)) | 3), true, to64, 3);
	c->sregs.ss = flat((uint16_t)((sel + 8) | 3), false, false, 3);
	c->regs.rip = to64 ? c->regs.rcx : (uint32_t)c->regs.rcx;
	if (c->sregs.efer & EFER_LMA)
		c->regs.rflags = (c->regs.r11 & 0x3c7fd7) | 2;
	else
		c->regs.rflags |= RFLAGS_IF;
	c->sregs_dirty = true;
	i->jumped = true;
	return INSN_DONE;
}

enum insn_status insn_invpcid(struct insn *i)
{
	struct insn_cpu *c = i->c;
	uint64_t type, lin, desc[2]; /* PCID, address */
	int r;

	if (!insn_has(c, INSN_CPUID_7B, 10))
		return insn_raise(i, VEC_UD);
	if (insn_cpl(c))
		return insn_gp(i);
	type = insn_reg_get(c, i->op[0].reg.value);
	r = insn_linear(i, &i->op[1], sizeof(desc), false, &lin);
	if (r == 0)
		r = c->ops->read(c, lin, desc, sizeof(desc), INSN_READ);
	if (r < 0)
		return insn_failed(i, r);
	/* 0: one address, 1: one PCID, 2: all, 3: all but global pages. */
	if (type > 3 || (type < 2 && (desc[0] >> 12 || (desc[0] && !(c->sregs.cr4 & CR4_PCIDE)))) ||
	    (type == 0 && (uint64_t)((int64_t)(desc[1] << 16) >> 16) != desc[1]))
		return insn_gp(i);
	c->flush_tlb = true; /* more than asked is always right */
	return INSN_DONE;
}
