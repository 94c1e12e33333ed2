/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The instruction carrier: decoding, operands, and the instructions that are
 * short. See include/assist_insn.h. AMD APM volume 3 describes each of them.
 */
#include "assist_insn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "assist_priv.h"
#include "zydis_lazy.h"

#define MSR_TSC 0x10u
#define MSR_TSC_AUX 0xc0000103u

enum insn_status insn_raise(struct insn *i, uint8_t vector)
{
	i->c->event = (struct insn_event){ .vector = vector };
	return INSN_EVENT;
}

enum insn_status insn_raise_code(struct insn *i, uint8_t vector, uint32_t error)
{
	i->c->event = (struct insn_event){ .vector = vector, .has_error = true, .error = error };
	return INSN_EVENT;
}

enum insn_status insn_gp(struct insn *i)
{
	return insn_raise_code(i, VEC_GP, 0);
}

enum insn_status insn_unsupported(struct insn *i, const char *why)
{
	i->c->why = why;
	return INSN_UNSUPPORTED;
}

enum insn_status insn_failed(struct insn *i, int r)
{
	if (r == -EFAULT)
		return INSN_EVENT;
	return insn_unsupported(i, r == -EOPNOTSUPP ? "its operand is not in RAM"
						    : "KVM did not give its state");
}

/* --- registers ------------------------------------------------------------ */

uint64_t *insn_gpr(struct insn_cpu *c, unsigned n)
{
	static const size_t at[16] = {
		offsetof(struct kvm_regs, rax), offsetof(struct kvm_regs, rcx),
		offsetof(struct kvm_regs, rdx), offsetof(struct kvm_regs, rbx),
		offsetof(struct kvm_regs, rsp), offsetof(struct kvm_regs, rbp),
		offsetof(struct kvm_regs, rsi), offsetof(struct kvm_regs, rdi),
		offsetof(struct kvm_regs, r8),  offsetof(struct kvm_regs, r9),
		offsetof(struct kvm_regs, r10), offsetof(struct kvm_regs, r11),
		offsetof(struct kvm_regs, r12), offsetof(struct kvm_regs, r13),
		offsetof(struct kvm_regs, r14), offsetof(struct kvm_regs, r15),
	};

	return (uint64_t *)(void *)((char *)&c->regs + at[n & 15]);
}

bool insn_long(const struct insn_cpu *c)
{
	return (c->sregs.efer & EFER_LMA) && c->sregs.cs.l;
}

bool insn_has(const struct insn_cpu *c, enum insn_feature_word w, unsigned bit)
{
	return c->cpuid[w] >> bit & 1;
}

/* Number, width in bytes and position of a general register; false when it is not one. */
static bool reg_parts(ZydisRegister r, unsigned *n, unsigned *size, unsigned *shift)
{
	*shift = 0;
	if (r >= ZYDIS_REGISTER_AL && r <= ZYDIS_REGISTER_R15B) {
		*n = (unsigned)(r - ZYDIS_REGISTER_AL);
		*size = 1;
		if (r >= ZYDIS_REGISTER_SPL) {
			*n -= 4; /* AH..BH are numbered between BL and SPL */
		} else if (r >= ZYDIS_REGISTER_AH) {
			*n -= 4;
			*shift = 8;
		}
	} else if (r >= ZYDIS_REGISTER_AX && r <= ZYDIS_REGISTER_R15W) {
		*n = (unsigned)(r - ZYDIS_REGISTER_AX);
		*size = 2;
	} else if (r >= ZYDIS_REGISTER_EAX && r <= ZYDIS_REGISTER_R15D) {
		*n = (unsigned)(r - ZYDIS_REGISTER_EAX);
		*size = 4;
	} else if (r >= ZYDIS_REGISTER_RAX && r <= ZYDIS_REGISTER_R15) {
		*n = (unsigned)(r - ZYDIS_REGISTER_RAX);
		*size = 8;
	} else {
		return false;
	}
	return true;
}

static uint64_t low_bytes(uint64_t val, unsigned size)
{
	return size >= 8 ? val : val & ((1ull << size * 8) - 1);
}

uint64_t insn_reg_get(struct insn_cpu *c, ZydisRegister r)
{
	unsigned n, size, shift;

	if (!reg_parts(r, &n, &size, &shift))
		return 0;
	return low_bytes(*insn_gpr(c, n) >> shift, size);
}

void insn_reg_set(struct insn_cpu *c, ZydisRegister r, uint64_t val)
{
	unsigned n, size, shift;
	uint64_t *p, mask;

	if (!reg_parts(r, &n, &size, &shift))
		return;
	p = insn_gpr(c, n);
	if (size >= 4) {
		*p = low_bytes(val, size); /* 32-bit results clear the upper half */
		return;
	}
	mask = low_bytes(~0ull, size) << shift;
	*p = (*p & ~mask) | (val << shift & mask);
}

/* --- memory operands -------------------------------------------------------- */

static int segment_fault(struct insn *i, enum insn_segment seg)
{
	insn_raise_code(i, seg == SEG_SS ? VEC_SS : VEC_GP, 0);
	return -EFAULT;
}

static bool canonical(const struct insn_cpu *c, uint64_t lin)
{
	unsigned bits = c->sregs.cr4 & (1u << 12) /* LA57 */ ? 57 : 48;
	int64_t s = (int64_t)(lin << (64 - bits)) >> (64 - bits);

	return (uint64_t)s == lin;
}

int insn_segment_linear(struct insn *i, enum insn_segment seg, uint64_t off, size_t size,
			bool write, uint64_t *lin)
{
	const struct kvm_sregs *sr = &i->c->sregs;
	const struct kvm_segment *const segs[] = { &sr->es, &sr->cs, &sr->ss,
						   &sr->ds, &sr->fs, &sr->gs };
	const struct kvm_segment *s = segs[seg];
	uint64_t last;

	if (insn_long(i->c)) {
		*lin = off + (seg == SEG_FS || seg == SEG_GS ? s->base : 0);
		if (!canonical(i->c, *lin) || !canonical(i->c, *lin + size - 1))
			return segment_fault(i, seg);
		return 0;
	}
	off = (uint32_t)off;
	last = off + size - 1;
	if (sr->cr0 & CR0_PE) {
		bool code = s->type & 8;

		/* Type bit 1: writable data or readable code; bit 2 of data: expands down. */
		if (s->unusable || !s->present || (write && (code || !(s->type & 2))) ||
		    (!write && code && !(s->type & 2)))
			return segment_fault(i, seg);
		if (!code && (s->type & 4)) {
			if (off <= s->limit || last > (s->db ? 0xffffffffu : 0xffffu))
				return segment_fault(i, seg);
		} else if (last > s->limit) {
			return segment_fault(i, seg);
		}
	} else if (last > s->limit) {
		return segment_fault(i, seg);
	}
	*lin = (uint32_t)(s->base + off);
	return 0;
}

static enum insn_segment segment_of(ZydisRegister r)
{
	switch (r) {
	case ZYDIS_REGISTER_ES:
		return SEG_ES;
	case ZYDIS_REGISTER_CS:
		return SEG_CS;
	case ZYDIS_REGISTER_SS:
		return SEG_SS;
	case ZYDIS_REGISTER_FS:
		return SEG_FS;
	case ZYDIS_REGISTER_GS:
		return SEG_GS;
	default:
		return SEG_DS;
	}
}

int insn_linear(struct insn *i, const ZydisDecodedOperand *op, size_t size, bool write,
		uint64_t *lin)
{
	uint64_t off = (uint64_t)op->mem.disp.value;

	if (op->mem.base == ZYDIS_REGISTER_RIP || op->mem.base == ZYDIS_REGISTER_EIP)
		off += i->next;
	else
		off += insn_reg_get(i->c, op->mem.base);
	off += insn_reg_get(i->c, op->mem.index) * op->mem.scale;
	off = low_bytes(off, i->d.address_width / 8);
	return insn_segment_linear(i, segment_of(op->mem.segment), off, size, write, lin);
}

int insn_get(struct insn *i, const ZydisDecodedOperand *op, uint64_t *val)
{
	size_t size = op->size / 8;
	uint64_t lin;
	int r;

	*val = 0;
	switch (op->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		*val = insn_reg_get(i->c, op->reg.value);
		return 0;
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		*val = op->imm.value.u;
		return 0;
	case ZYDIS_OPERAND_TYPE_MEMORY:
		if (size < 1 || size > 8)
			return -EINVAL;
		r = insn_linear(i, op, size, false, &lin);
		return r < 0 ? r : i->c->ops->read(i->c, lin, val, size, INSN_READ);
	default:
		return -EINVAL;
	}
}

static unsigned stack_bytes(const struct insn_cpu *c)
{
	return insn_long(c) ? 8 : c->sregs.ss.db ? 4 : 2;
}

static uint64_t stack_add(const struct insn_cpu *c, uint64_t rsp, int64_t n)
{
	unsigned size = stack_bytes(c);
	uint64_t mask = low_bytes(~0ull, size);

	return (rsp & ~mask) | ((rsp + (uint64_t)n) & mask);
}

int insn_push(struct insn *i, uint64_t *rsp, uint64_t val, unsigned size)
{
	uint64_t to = stack_add(i->c, *rsp, -(int64_t)size), lin;
	int r;

	r = insn_segment_linear(i, SEG_SS, low_bytes(to, stack_bytes(i->c)), size, true, &lin);
	if (r == 0)
		r = i->c->ops->write(i->c, lin, &val, size, INSN_WRITE);
	if (r == 0)
		*rsp = to;
	return r;
}

int insn_stack_read(struct insn *i, uint64_t rsp, uint64_t *val, unsigned size)
{
	uint64_t lin;
	int r;

	*val = 0;
	r = insn_segment_linear(i, SEG_SS, low_bytes(rsp, stack_bytes(i->c)), size, false, &lin);
	return r < 0 ? r : i->c->ops->read(i->c, lin, val, size, INSN_READ);
}

/* --- short instructions ------------------------------------------------------ */

static enum insn_status nop(struct insn *i)
{
	return INSN_DONE;
}

static enum insn_status ud(struct insn *i)
{
	return insn_raise(i, VEC_UD);
}

static enum insn_status int3(struct insn *i)
{
	i->trap = true;
	return insn_raise(i, VEC_BP);
}

static enum insn_status icebp(struct insn *i)
{
	i->trap = true;
	return insn_raise(i, VEC_DB);
}

static enum insn_status int_n(struct insn *i)
{
	i->trap = true;
	insn_raise(i, (uint8_t)i->op[0].imm.value.u);
	i->c->event.software = true;
	return INSN_EVENT;
}

static enum insn_status into(struct insn *i)
{
	if (!(i->c->regs.rflags & RFLAGS_OF))
		return INSN_DONE;
	i->trap = true;
	return insn_raise(i, VEC_OF);
}

static enum insn_status cld(struct insn *i)
{
	i->c->regs.rflags &= ~RFLAGS_DF;
	return INSN_DONE;
}

static enum insn_status stac_clac(struct insn *i)
{
	if (!insn_has(i->c, INSN_CPUID_7B, 20) || insn_cpl(i->c))
		return insn_raise(i, VEC_UD);
	if (i->d.mnemonic == ZYDIS_MNEMONIC_STAC)
		i->c->regs.rflags |= RFLAGS_AC;
	else
		i->c->regs.rflags &= ~RFLAGS_AC;
	return INSN_DONE;
}

static enum insn_status cmpxchg16b(struct insn *i)
{
	struct kvm_regs *g = &i->c->regs;
	uint64_t lin, lo = g->rax, hi = g->rdx;
	void *p;
	bool equal;
	int r;

	if (!insn_has(i->c, INSN_CPUID_1C, 13))
		return insn_raise(i, VEC_UD);
	r = insn_linear(i, &i->op[0], 16, true, &lin);
	if (r < 0)
		return insn_failed(i, r);
	if (lin & 15)
		return insn_gp(i);
	r = i->c->ops->map(i->c, lin, 16, &p);
	if (r < 0)
		return insn_failed(i, r);
	/* Locked or not in the guest: other virtual CPUs see the RAM as well, so always locked. */
	__asm__ volatile("lock cmpxchg16b %[m]"
			 : [m] "+m"(*(unsigned __int128 *)p), "+a"(lo), "+d"(hi), "=@ccz"(equal)
			 : "b"(g->rbx), "c"(g->rcx)
			 : "memory");
	g->rax = lo;
	g->rdx = hi;
	g->rflags = equal ? g->rflags | RFLAGS_ZF : g->rflags & ~RFLAGS_ZF;
	return INSN_DONE;
}

static enum insn_status rdtscp_rdpid(struct insn *i)
{
	struct kvm_regs *g = &i->c->regs;
	bool rdpid = i->d.mnemonic == ZYDIS_MNEMONIC_RDPID;
	uint64_t aux, tsc = 0;

	if (rdpid ? !insn_has(i->c, INSN_CPUID_7C, 22) : !insn_has(i->c, INSN_CPUID_X1D, 27))
		return insn_raise(i, VEC_UD);
	if (!rdpid && insn_cpl(i->c) && (i->c->sregs.cr4 & 4 /* TSD */))
		return insn_gp(i);
	if (i->c->ops->rdmsr(i->c, MSR_TSC_AUX, &aux) < 0 ||
	    (!rdpid && i->c->ops->rdmsr(i->c, MSR_TSC, &tsc) < 0))
		return insn_unsupported(i, "KVM does not give its MSR");
	if (rdpid) {
		insn_reg_set(i->c, i->op[0].reg.value, (uint32_t)aux);
		return INSN_DONE;
	}
	g->rax = (uint32_t)tsc;
	g->rdx = tsc >> 32;
	g->rcx = (uint32_t)aux;
	return INSN_DONE;
}

/* CLFLUSHOPT, CLWB, CLDEMOTE, CLZERO, MONITOR: all check that the address could be read (or
 * written). */
static enum insn_status cache_line(struct insn *i)
{
	static const uint8_t zero[64];
	bool clzero = i->d.mnemonic == ZYDIS_MNEMONIC_CLZERO;
	bool monitor =
		i->d.mnemonic == ZYDIS_MNEMONIC_MONITOR || i->d.mnemonic == ZYDIS_MNEMONIC_MONITORX;
	uint64_t lin;
	uint8_t byte;
	int r;

	switch (i->d.mnemonic) {
	case ZYDIS_MNEMONIC_CLFLUSHOPT:
		if (!insn_has(i->c, INSN_CPUID_7B, 23))
			return insn_raise(i, VEC_UD);
		break;
	case ZYDIS_MNEMONIC_CLWB:
		if (!insn_has(i->c, INSN_CPUID_7B, 24))
			return insn_raise(i, VEC_UD);
		break;
	case ZYDIS_MNEMONIC_CLZERO:
		if (!insn_has(i->c, INSN_CPUID_X8B, 0))
			return insn_raise(i, VEC_UD);
		break;
	case ZYDIS_MNEMONIC_MONITOR:
		/* As KVM does on hardware: never #UD for want of a CPUID bit. */
		if (insn_cpl(i->c))
			return insn_raise(i, VEC_UD);
		break;
	default:
		break;
	}
	if (monitor && (uint32_t)i->c->regs.rcx)
		return insn_gp(i); /* no extensions are defined */
	if (clzero || monitor) {
		ZydisRegister seg = ZYDIS_REGISTER_DS;
		uint64_t off = low_bytes(i->c->regs.rax, i->d.address_width / 8);

		for (unsigned n = 0; n < i->d.operand_count; n++)
			if (i->op[n].type == ZYDIS_OPERAND_TYPE_MEMORY)
				seg = i->op[n].mem.segment;
		r = insn_segment_linear(i, segment_of(seg), off, 1, clzero, &lin);
	} else {
		r = insn_linear(i, &i->op[0], 1, false, &lin);
	}
	if (r == 0 && clzero)
		r = i->c->ops->write(i->c, lin & ~63ull, zero, sizeof(zero), INSN_WRITE);
	else if (r == 0)
		r = i->c->ops->read(i->c, lin, &byte, 1, INSN_READ);
	/* Flushing what is not RAM is no business of ours. */
	if (r == -EOPNOTSUPP && !clzero)
		r = 0;
	return r < 0 ? insn_failed(i, r) : INSN_DONE;
}

/* MWAIT may end at once, for any reason: a NOP is a right MWAIT. */
static enum insn_status mwait(struct insn *i)
{
	if (i->d.mnemonic == ZYDIS_MNEMONIC_MWAIT && insn_cpl(i->c))
		return insn_raise(i, VEC_UD);
	if ((uint32_t)i->c->regs.rcx & ~3u)
		return insn_gp(i);
	return INSN_DONE;
}

static enum insn_status push(struct insn *i)
{
	uint64_t rsp = i->c->regs.rsp, val;
	int r;

	if (i->op[0].type == ZYDIS_OPERAND_TYPE_REGISTER && !(i->d.operand_width & 16) &&
	    i->op[0].reg.value >= ZYDIS_REGISTER_ES && i->op[0].reg.value <= ZYDIS_REGISTER_GS)
		return insn_unsupported(i, "not known");
	r = insn_get(i, &i->op[0], &val);
	if (r == 0)
		r = insn_push(i, &rsp, val, i->d.operand_width / 8);
	if (r < 0)
		return insn_failed(i, r);
	i->c->regs.rsp = rsp;
	return INSN_DONE;
}

static enum insn_status call(struct insn *i)
{
	uint64_t rsp = i->c->regs.rsp;
	int r;

	if (!insn_long(i->c) || i->op[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE ||
	    !i->op[0].imm.is_relative || i->d.operand_width != 64)
		return insn_unsupported(i, "only relative calls of 64-bit code are known");
	r = insn_push(i, &rsp, i->next, 8);
	if (r < 0)
		return insn_failed(i, r);
	i->c->regs.rsp = rsp;
	i->c->regs.rip = i->next + (uint64_t)i->op[0].imm.value.s;
	i->jumped = true;
	return INSN_DONE;
}

static enum insn_status enter(struct insn *i)
{
	unsigned size = i->d.operand_width / 8;
	unsigned level = i->op[1].imm.value.u & 31;
	uint64_t alloc = i->op[0].imm.value.u & 0xffff;
	uint64_t rsp = i->c->regs.rsp, rbp = i->c->regs.rbp, frame, val;
	int r;

	r = insn_push(i, &rsp, rbp, size);
	frame = rsp;
	/* The frame pointers of the enclosing levels, then our own. */
	for (unsigned n = 1; r == 0 && n < level; n++) {
		rbp = stack_add(i->c, rbp, -(int64_t)size);
		r = insn_stack_read(i, rbp, &val, size);
		if (r == 0)
			r = insn_push(i, &rsp, val, size);
	}
	if (r == 0 && level)
		r = insn_push(i, &rsp, frame, size);
	if (r < 0)
		return insn_failed(i, r);
	i->c->regs.rsp = stack_add(i->c, rsp, -(int64_t)alloc);
	i->c->regs.rbp = (i->c->regs.rbp & ~low_bytes(~0ull, size)) | low_bytes(frame, size);
	return INSN_DONE;
}

/* --- dispatch ------------------------------------------------------------------ */

static const struct {
	ZydisMnemonic mnemonic;
	enum insn_status (*fn)(struct insn *i);
} handlers[] = {
	{ ZYDIS_MNEMONIC_NOP, nop },
	{ ZYDIS_MNEMONIC_ENDBR64, nop },
	{ ZYDIS_MNEMONIC_ENDBR32, nop },
	{ ZYDIS_MNEMONIC_CLD, cld },
	{ ZYDIS_MNEMONIC_PUSH, push },
	{ ZYDIS_MNEMONIC_CALL, call },
	{ ZYDIS_MNEMONIC_ENTER, enter },
	{ ZYDIS_MNEMONIC_INT3, int3 },
	{ ZYDIS_MNEMONIC_INT, int_n },
	{ ZYDIS_MNEMONIC_INT1, icebp },
	{ ZYDIS_MNEMONIC_INTO, into },
	{ ZYDIS_MNEMONIC_UD0, ud },
	{ ZYDIS_MNEMONIC_UD1, ud },
	{ ZYDIS_MNEMONIC_UD2, ud },
	{ ZYDIS_MNEMONIC_STAC, stac_clac },
	{ ZYDIS_MNEMONIC_CLAC, stac_clac },
	{ ZYDIS_MNEMONIC_CMPXCHG16B, cmpxchg16b },
	{ ZYDIS_MNEMONIC_RDTSCP, rdtscp_rdpid },
	{ ZYDIS_MNEMONIC_RDPID, rdtscp_rdpid },
	{ ZYDIS_MNEMONIC_CLFLUSHOPT, cache_line },
	{ ZYDIS_MNEMONIC_CLWB, cache_line },
	{ ZYDIS_MNEMONIC_CLDEMOTE, cache_line },
	{ ZYDIS_MNEMONIC_CLZERO, cache_line },
	{ ZYDIS_MNEMONIC_MONITOR, cache_line },
	{ ZYDIS_MNEMONIC_MONITORX, cache_line },
	{ ZYDIS_MNEMONIC_MWAIT, mwait },
	{ ZYDIS_MNEMONIC_MWAITX, mwait },
	{ ZYDIS_MNEMONIC_INVPCID, insn_invpcid },
	{ ZYDIS_MNEMONIC_LAR, insn_lar_lsl },
	{ ZYDIS_MNEMONIC_LSL, insn_lar_lsl },
	{ ZYDIS_MNEMONIC_VERR, insn_verify },
	{ ZYDIS_MNEMONIC_VERW, insn_verify },
	{ ZYDIS_MNEMONIC_IRET, insn_iret },
	{ ZYDIS_MNEMONIC_IRETD, insn_iret },
	{ ZYDIS_MNEMONIC_SYSENTER, insn_sysenter },
	{ ZYDIS_MNEMONIC_SYSEXIT, insn_sysexit },
	{ ZYDIS_MNEMONIC_SYSRET, insn_sysret },
	{ ZYDIS_MNEMONIC_XGETBV, insn_xgetbv },
	{ ZYDIS_MNEMONIC_XSETBV, insn_xsetbv },
	{ ZYDIS_MNEMONIC_XSAVE, insn_xsave },
	{ ZYDIS_MNEMONIC_XSAVE64, insn_xsave },
	{ ZYDIS_MNEMONIC_XSAVEOPT, insn_xsave },
	{ ZYDIS_MNEMONIC_XSAVEOPT64, insn_xsave },
	{ ZYDIS_MNEMONIC_XSAVEC, insn_xsave },
	{ ZYDIS_MNEMONIC_XSAVEC64, insn_xsave },
	{ ZYDIS_MNEMONIC_XSAVES, insn_xsave },
	{ ZYDIS_MNEMONIC_XSAVES64, insn_xsave },
	{ ZYDIS_MNEMONIC_XRSTOR, insn_xrstor },
	{ ZYDIS_MNEMONIC_XRSTOR64, insn_xrstor },
	{ ZYDIS_MNEMONIC_XRSTORS, insn_xrstor },
	{ ZYDIS_MNEMONIC_XRSTORS64, insn_xrstor },
};

static enum insn_status dispatch(struct insn *i)
{
	enum insn_class cls;

	/* LOCK goes with one of the instructions here; Zydis refuses most other uses. */
	if ((i->d.attributes & ZYDIS_ATTRIB_HAS_LOCK) && i->d.mnemonic != ZYDIS_MNEMONIC_CMPXCHG16B)
		return insn_raise(i, VEC_UD);
	for (size_t n = 0; n < sizeof(handlers) / sizeof(handlers[0]); n++)
		if (handlers[n].mnemonic == i->d.mnemonic)
			return handlers[n].fn(i);
	if (insn_native_allowed(i, &cls))
		return insn_run_native(i, cls);
	return insn_unsupported(i, "not known");
}

static ZyanStatus decode(struct insn *i, const uint8_t *code, size_t len)
{
	const struct insn_cpu *c = i->c;
	ZydisDecoder dec;
	ZydisMachineMode mode;
	ZydisStackWidth width;

	if (insn_long(c)) {
		mode = ZYDIS_MACHINE_MODE_LONG_64;
		width = ZYDIS_STACK_WIDTH_64;
	} else {
		bool lma = c->sregs.efer & EFER_LMA;

		if (c->sregs.cs.db)
			mode = lma ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32
				   : ZYDIS_MACHINE_MODE_LEGACY_32;
		else if (c->sregs.cr0 & CR0_PE)
			mode = lma ? ZYDIS_MACHINE_MODE_LONG_COMPAT_16
				   : ZYDIS_MACHINE_MODE_LEGACY_16;
		else
			mode = ZYDIS_MACHINE_MODE_REAL_16;
		width = c->sregs.ss.db ? ZYDIS_STACK_WIDTH_32 : ZYDIS_STACK_WIDTH_16;
	}
	i->z->DecoderInit(&dec, mode, width);
	return i->z->DecoderDecodeFull(&dec, code, len, &i->d, i->op);
}

/* What the guest's memory holds at RIP, up to 15 bytes; at least those given. */
static size_t fetch(struct insn *i, const uint8_t *code, size_t len)
{
	struct insn_cpu *c = i->c;

	memset(i->code, 0, sizeof(i->code));
	memcpy(i->code, code, len);
	for (; len < sizeof(i->code); len++) {
		uint64_t lin;

		if (insn_segment_linear(i, SEG_CS, c->regs.rip + len, 1, false, &lin) < 0 ||
		    c->ops->read(c, lin, &i->code[len], 1, INSN_READ) < 0)
			break;
	}
	return len;
}

enum insn_status insn_step(struct insn_cpu *c, const struct zydis_api *z, const uint8_t *code,
			   size_t len)
{
	struct insn i = { .c = c, .z = z };
	uint64_t rflags = c->regs.rflags;
	enum insn_status s;
	ZyanStatus zs;

	if (len > sizeof(i.code))
		len = sizeof(i.code);
	memcpy(i.code, code, len);
	c->why = NULL;
	c->mnemonic = ZYDIS_MNEMONIC_INVALID;
	zs = decode(&i, i.code, len);
	if (zs == ZYDIS_STATUS_NO_MORE_DATA && len < sizeof(i.code)) {
		len = fetch(&i, code, len);
		zs = decode(&i, i.code, len);
	}
	if (!ZYAN_SUCCESS(zs)) {
		/* No instruction, then: #UD. KVM has failed on it, so nothing can run it. */
		snprintf(c->name, sizeof(c->name), "(undefined)");
		return insn_raise(&i, VEC_UD);
	}
	c->mnemonic = i.d.mnemonic;
	snprintf(c->name, sizeof(c->name), "%s", z->MnemonicGetString(i.d.mnemonic));
	i.next = c->regs.rip + i.d.length;
	if (!insn_long(c))
		i.next = (uint32_t)i.next;
	s = dispatch(&i);
	if ((s == INSN_DONE && !i.jumped) || (s == INSN_EVENT && i.trap))
		c->regs.rip = i.next;
	if (s == INSN_DONE) {
		c->regs.rflags &= ~RFLAGS_RF;
		if (rflags & RFLAGS_TF) {
			insn_raise(&i, VEC_DB);
			c->event.dr6 = 1u << 14; /* BS: single step */
			return INSN_EVENT;
		}
	}
	return s;
}
