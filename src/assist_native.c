/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs one of the guest's instructions on the host processor, on the guest's
 * registers and FPU state: the way to carry out a thousand arithmetic
 * instructions with the exact results, flags and exceptions of the hardware.
 *
 * The guest is hostile and chooses the bytes, so:
 *
 * - Only instructions of the ISA sets listed below are run, and only when all
 *   of their operands are general registers, vector registers and the like,
 *   immediates, and at most one explicit memory operand of known size. That
 *   leaves out whatever jumps, uses the stack, or touches memory it does not
 *   name (MASKMOVQ, gathers).
 * - It is not the guest's bytes that run. They are rebuilt: prefixes for
 *   segments and address size are dropped, the memory operand becomes [reg]
 *   with reg pointing to a buffer, RSP becomes another register. The result
 *   is decoded again and must name the same operation and operands.
 * - Guest memory is copied to the buffer before and from it afterwards, with
 *   the guest's own page faults. The buffer has unmapped pages around it, and
 *   the operand's alignment, so that #GP comes when it would.
 * - Exceptions (#XM, #MF, #GP, #UD, #AC) are real ones: their signals are
 *   caught while the instruction runs, and the guest gets the exception.
 *
 * One struct insn_native per vCPU thread.
 */
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "assist_native.h"
#include "assist_priv.h"
#include "zydis_lazy.h"

#define PAGE 4096u
#define SLOT 64u /* bytes of code for one instruction */
#define SLOTS (PAGE / SLOT)
#define OPERAND_MAX 512u /* bytes: no operand of the sets below is larger */

#define X87_FOP 6
#define X87_FIP 8
#define X87_FDP 16
#define MXCSR 24
#define XSAVE_HEADER 512

/* Components that may be loaded here: not PKRU, which would lock us out of our own memory. */
#define RUN_COMPONENTS 0xe7ull

/* The assembly below knows these offsets. */
struct frame {
	uint64_t gpr[16]; /* in encoding order; the place of RSP is not used */
	uint64_t rflags;
	uint64_t rfbm;
	void *xsave; /* NULL: leave the FPU alone */
	void *init; /* an area that sets the FPU back */
	void *code;
};
_Static_assert(offsetof(struct frame, rflags) == 128, "known to insn_native_enter");
_Static_assert(offsetof(struct frame, rfbm) == 136, "known to insn_native_enter");
_Static_assert(offsetof(struct frame, xsave) == 144, "known to insn_native_enter");
_Static_assert(offsetof(struct frame, init) == 152, "known to insn_native_enter");
_Static_assert(offsetof(struct frame, code) == 160, "known to insn_native_enter");

struct slot {
	uint8_t code[16];
	uint8_t len; /* 0: free */
};

struct insn_native {
	uint8_t *map; /* guard, code page, guard, two buffer pages, guard */
	uint8_t *code; /* executable, and written only while it is not */
	uint8_t *buf;
	uint64_t xcr0, rfbm;
	struct slot slot[SLOTS];
	unsigned next_slot;
	struct frame frame;
	_Alignas(64) uint8_t init[XSAVE_AREA];
};

#define MAP_PAGES 6u

/* Of this thread while it runs a guest's instruction, for the signal handler. */
static _Thread_local struct insn_native *running;
static _Thread_local volatile int trap_number;

void insn_native_enter(struct frame *f);
extern const char insn_native_exit[];

/*
 * Loads the frame, jumps to its code, and stores the frame when the code comes
 * back to insn_native_exit, be it by its own jump or by the signal handler. The
 * stack pointer is the host's throughout, so that signals are safe at any point.
 */
__asm__(".text\n"
	".globl insn_native_enter, insn_native_exit\n"
	".hidden insn_native_enter, insn_native_exit\n"
	".type insn_native_enter, @function\n"
	"insn_native_enter:\n"
	"	push %rbp\n"
	"	push %rbx\n"
	"	push %r12\n"
	"	push %r13\n"
	"	push %r14\n"
	"	push %r15\n"
	"	push 160(%rdi)\n" /* code */
	"	push %rdi\n"
	"	mov 144(%rdi), %rcx\n"
	"	test %rcx, %rcx\n"
	"	jz 1f\n"
	"	mov 136(%rdi), %eax\n"
	"	xor %edx, %edx\n"
	"	xrstor64 (%rcx)\n"
	"1:	push 128(%rdi)\n"
	"	popfq\n"
	"	mov 0(%rdi), %rax\n"
	"	mov 8(%rdi), %rcx\n"
	"	mov 16(%rdi), %rdx\n"
	"	mov 24(%rdi), %rbx\n"
	"	mov 40(%rdi), %rbp\n"
	"	mov 48(%rdi), %rsi\n"
	"	mov 64(%rdi), %r8\n"
	"	mov 72(%rdi), %r9\n"
	"	mov 80(%rdi), %r10\n"
	"	mov 88(%rdi), %r11\n"
	"	mov 96(%rdi), %r12\n"
	"	mov 104(%rdi), %r13\n"
	"	mov 112(%rdi), %r14\n"
	"	mov 120(%rdi), %r15\n"
	"	mov 56(%rdi), %rdi\n"
	"	jmp *8(%rsp)\n"
	"insn_native_exit:\n"
	"	push %rdi\n"
	"	mov 8(%rsp), %rdi\n"
	"	pop 56(%rdi)\n"
	"	mov %rax, 0(%rdi)\n"
	"	mov %rcx, 8(%rdi)\n"
	"	mov %rdx, 16(%rdi)\n"
	"	mov %rbx, 24(%rdi)\n"
	"	mov %rbp, 40(%rdi)\n"
	"	mov %rsi, 48(%rdi)\n"
	"	mov %r8, 64(%rdi)\n"
	"	mov %r9, 72(%rdi)\n"
	"	mov %r10, 80(%rdi)\n"
	"	mov %r11, 88(%rdi)\n"
	"	mov %r12, 96(%rdi)\n"
	"	mov %r13, 104(%rdi)\n"
	"	mov %r14, 112(%rdi)\n"
	"	mov %r15, 120(%rdi)\n"
	"	pushfq\n"
	"	pop 128(%rdi)\n"
	"	cld\n"
	"	mov 144(%rdi), %rcx\n"
	"	test %rcx, %rcx\n"
	"	jz 2f\n"
	"	mov 136(%rdi), %eax\n"
	"	xor %edx, %edx\n"
	"	xsave64 (%rcx)\n"
	"	mov 152(%rdi), %rcx\n"
	"	xrstor64 (%rcx)\n"
	"2:	add $16, %rsp\n"
	"	pop %r15\n"
	"	pop %r14\n"
	"	pop %r13\n"
	"	pop %r12\n"
	"	pop %rbx\n"
	"	pop %rbp\n"
	"	ret\n"
	".size insn_native_enter, . - insn_native_enter\n");

/* --- faults of the instruction ------------------------------------------------ */

static const int fault_signals[] = { SIGFPE, SIGILL, SIGSEGV, SIGBUS };
#define FAULT_SIGNALS (sizeof(fault_signals) / sizeof(fault_signals[0]))
static struct sigaction old_action[FAULT_SIGNALS];

static void on_fault(int sig, siginfo_t *info, void *ctx)
{
	ucontext_t *uc = ctx;
	uint64_t rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];

	if (running && rip - (uintptr_t)running->code < PAGE) {
		trap_number = (int)uc->uc_mcontext.gregs[REG_TRAPNO];
		uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)insn_native_exit;
		return;
	}
	/* Not ours: as it was before us. The fault comes again when we return. */
	for (size_t i = 0; i < FAULT_SIGNALS; i++) {
		if (fault_signals[i] != sig)
			continue;
		if ((old_action[i].sa_flags & SA_SIGINFO) && old_action[i].sa_sigaction)
			old_action[i].sa_sigaction(sig, info, ctx);
		else
			sigaction(sig, &old_action[i], NULL);
	}
}

static void catch_faults(void)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < FAULT_SIGNALS; i++)
		sigaction(fault_signals[i], &sa, &old_action[i]);
}

/* --- what may run ---------------------------------------------------------------- */

static const struct isa {
	uint16_t set; /* ZYDIS_ISA_SET_* */
	uint8_t cls;
	uint8_t word, bit; /* of CPUID */
	uint8_t word2, bit2; /* a second one; the same when there is none */
} isas[] = {
#define ISA1(name, class, w, b)                                                                    \
	{                                                                                          \
		ZYDIS_ISA_SET_##name, CLASS_##class, INSN_CPUID_##w, b, INSN_CPUID_##w, b          \
	}
#define ISA2(name, class, w, b, w2, b2)                                                            \
	{                                                                                          \
		ZYDIS_ISA_SET_##name, CLASS_##class, INSN_CPUID_##w, b, INSN_CPUID_##w2, b2        \
	}
/* The vector lengths below 512 bits need AVX512VL too. */
#define ISA512(name, w, b)                                                                         \
	ISA1(name##_512, AVX512, w, b), ISA2(name##_256, AVX512, w, b, 7B, 31),                    \
		ISA2(name##_128, AVX512, w, b, 7B, 31)
	/* clang-format off */
	ISA1(POPCNT, GPR, 1C, 23), ISA1(LZCNT, GPR, X1C, 5), ISA1(BMI1, GPR, 7B, 3),
	ISA1(BMI2, GPR, 7B, 8), ISA1(ADOX_ADCX, GPR, 7B, 19), ISA1(TBM, GPR, X1C, 21),
	ISA1(MOVBE, GPR, 1C, 22),
	ISA1(X87, X87, 1D, 0), ISA2(FCMOV, X87, 1D, 0, 1D, 15), ISA1(SSE3X87, X87, 1C, 0),
	ISA2(PPRO, X87, 1D, 0, 1D, 15),
	ISA1(PENTIUMMMX, MMX, 1D, 23), ISA1(SSE2MMX, SSE, 1D, 26), ISA1(SSSE3MMX, SSE, 1C, 9),
	ISA1(SSE, SSE, 1D, 25), ISA1(SSEMXCSR, SSE, 1D, 25), ISA1(SSE2, SSE, 1D, 26),
	ISA1(SSE3, SSE, 1C, 0), ISA1(SSSE3, SSE, 1C, 9), ISA1(SSE4, SSE, 1C, 19),
	ISA1(SSE42, SSE, 1C, 20), ISA1(SSE4A, SSE, X1C, 6), ISA1(AES, SSE, 1C, 25),
	ISA1(PCLMULQDQ, SSE, 1C, 1), ISA1(SHA, SSE, 7B, 29), ISA1(GFNI, SSE, 7C, 8),
	ISA1(AVX, AVX, 1C, 28), ISA1(AVX2, AVX, 7B, 5), ISA2(AVXAES, AVX, 1C, 28, 1C, 25),
	ISA1(FMA, AVX, 1C, 12), ISA1(F16C, AVX, 1C, 29), ISA1(FMA4, AVX, X1C, 16),
	ISA1(XOP, AVX, X1C, 11), ISA1(VAES, AVX, 7C, 9), ISA1(VPCLMULQDQ, AVX, 7C, 10),
	ISA2(AVX_GFNI, AVX, 1C, 28, 7C, 8), ISA1(AVX_VNNI, AVX, 71A, 4),
	ISA512(AVX512F, 7B, 16), ISA1(AVX512F_128N, AVX512, 7B, 16),
	ISA1(AVX512F_SCALAR, AVX512, 7B, 16), ISA1(AVX512F_KOP, AVX512, 7B, 16),
	ISA512(AVX512DQ, 7B, 17), ISA1(AVX512DQ_128N, AVX512, 7B, 17),
	ISA1(AVX512DQ_SCALAR, AVX512, 7B, 17), ISA1(AVX512DQ_KOP, AVX512, 7B, 17),
	ISA512(AVX512BW, 7B, 30), ISA1(AVX512BW_128N, AVX512, 7B, 30),
	ISA1(AVX512BW_KOP, AVX512, 7B, 30),
	ISA512(AVX512CD, 7B, 28), ISA512(AVX512_IFMA, 7B, 21), ISA512(AVX512_VBMI, 7C, 1),
	ISA512(AVX512_VBMI2, 7C, 6), ISA512(AVX512_VNNI, 7C, 11), ISA512(AVX512_BITALG, 7C, 12),
	ISA512(AVX512_VPOPCNTDQ, 7C, 14), ISA512(AVX512_VP2INTERSECT, 7D, 8),
	ISA512(AVX512_BF16, 71A, 5), ISA512(AVX512_GFNI, 7C, 8), ISA512(AVX512_VAES, 7C, 9),
	ISA512(AVX512_VPCLMULQDQ, 7C, 10),
/* clang-format on */
#undef ISA1
#undef ISA2
#undef ISA512
};

static const struct isa *find_isa(uint16_t set)
{
	for (size_t n = 0; n < sizeof(isas) / sizeof(isas[0]); n++)
		if (isas[n].set == set)
			return &isas[n];
	return NULL;
}

/* Number of a general register, by whatever width; -1 when it is not one. */
static int gpr_number(ZydisRegister r)
{
	if (r >= ZYDIS_REGISTER_AL && r <= ZYDIS_REGISTER_BL)
		return r - ZYDIS_REGISTER_AL;
	if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH)
		return r - ZYDIS_REGISTER_AH;
	if (r >= ZYDIS_REGISTER_SPL && r <= ZYDIS_REGISTER_R15B)
		return r - ZYDIS_REGISTER_SPL + 4;
	if (r >= ZYDIS_REGISTER_AX && r <= ZYDIS_REGISTER_R15W)
		return r - ZYDIS_REGISTER_AX;
	if (r >= ZYDIS_REGISTER_EAX && r <= ZYDIS_REGISTER_R15D)
		return r - ZYDIS_REGISTER_EAX;
	if (r >= ZYDIS_REGISTER_RAX && r <= ZYDIS_REGISTER_R15)
		return r - ZYDIS_REGISTER_RAX;
	return -1;
}

static bool is_vector(ZydisRegister r)
{
	return (r >= ZYDIS_REGISTER_XMM0 && r <= ZYDIS_REGISTER_ZMM31);
}

static bool is_mmx(ZydisRegister r)
{
	return r >= ZYDIS_REGISTER_MM0 && r <= ZYDIS_REGISTER_MM7;
}

/* Registers that an instruction may name: all of them are loaded from the frame. */
static bool register_allowed(const ZydisDecodedOperand *op)
{
	ZydisRegister r = op->reg.value;

	if (gpr_number(r) == 4)
		return op->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT; /* to be replaced */
	return gpr_number(r) >= 0 || is_vector(r) || is_mmx(r) ||
	       (r >= ZYDIS_REGISTER_ST0 && r <= ZYDIS_REGISTER_ST7) ||
	       (r >= ZYDIS_REGISTER_K0 && r <= ZYDIS_REGISTER_K7) || r == ZYDIS_REGISTER_MXCSR ||
	       r == ZYDIS_REGISTER_X87CONTROL || r == ZYDIS_REGISTER_X87STATUS ||
	       r == ZYDIS_REGISTER_X87TAG || r == ZYDIS_REGISTER_FLAGS ||
	       r == ZYDIS_REGISTER_EFLAGS || r == ZYDIS_REGISTER_RFLAGS;
}

/* The rules of the head of this file, on a decoded instruction. *mem: its memory operand or NULL.
 */
static bool shape_allowed(const ZydisDecodedInstruction *d, const ZydisDecodedOperand *op,
			  const ZydisDecodedOperand **mem)
{
	*mem = NULL;
	/* Pentium Pro: FCOMI and its kind are wanted, and SYSENTER is not. */
	if (d->meta.isa_set == ZYDIS_ISA_SET_PPRO && d->meta.category != ZYDIS_CATEGORY_X87_ALU)
		return false;
	if (!find_isa((uint16_t)d->meta.isa_set) || d->meta.branch_type != ZYDIS_BRANCH_TYPE_NONE ||
	    (d->attributes & (ZYDIS_ATTRIB_HAS_LOCK | ZYDIS_ATTRIB_IS_PRIVILEGED)))
		return false;
	for (unsigned n = 0; n < d->operand_count; n++) {
		switch (op[n].type) {
		case ZYDIS_OPERAND_TYPE_REGISTER:
			if (op[n].reg.value != ZYDIS_REGISTER_NONE && !register_allowed(&op[n]))
				return false;
			break;
		case ZYDIS_OPERAND_TYPE_IMMEDIATE:
			if (op[n].imm.is_relative)
				return false;
			break;
		case ZYDIS_OPERAND_TYPE_MEMORY:
			if (*mem || op[n].visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT ||
			    op[n].mem.type != ZYDIS_MEMOP_TYPE_MEM ||
			    op[n].encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM || op[n].size < 8 ||
			    op[n].size > OPERAND_MAX * 8 || op[n].size % 8)
				return false;
			*mem = &op[n];
			break;
		default:
			return false;
		}
	}
	return true;
}

bool insn_native_allowed(const struct insn *i, enum insn_class *cls)
{
	const struct isa *isa = find_isa((uint16_t)i->d.meta.isa_set);
	const ZydisDecodedOperand *mem;

	if (!isa || !shape_allowed(&i->d, i->op, &mem))
		return false;
	*cls = isa->cls;
	if (i->d.meta.category == ZYDIS_CATEGORY_X87_ALU)
		*cls = CLASS_X87; /* FISTTP is of SSE3 */
	/* Of the SSE sets, but of the integer unit. */
	switch (i->d.mnemonic) {
	case ZYDIS_MNEMONIC_CRC32:
	case ZYDIS_MNEMONIC_MOVNTI:
	case ZYDIS_MNEMONIC_LFENCE:
	case ZYDIS_MNEMONIC_MFENCE:
	case ZYDIS_MNEMONIC_SFENCE:
		*cls = CLASS_GPR;
		break;
	default:
		break;
	}
	return true;
}

/* --- rebuilding ---------------------------------------------------------------- */

/* Registers of the host that stand in for what the guest's bytes say. */
struct plan {
	unsigned base; /* points to the buffer */
	unsigned rsp; /* holds the guest's RSP */
	bool uses_rsp;
	uint8_t code[ZYDIS_MAX_INSTRUCTION_LENGTH];
	unsigned len;
};

/* A register of the first eight, not RSP or RBP, that the instruction does not use. */
static unsigned free_register(unsigned used)
{
	static const uint8_t order[] = { 7, 6, 3, 2, 1, 0 };

	for (size_t n = 0; n < sizeof(order); n++)
		if (!(used >> order[n] & 1))
			return order[n];
	return 16;
}

/* Writes 0 to the bits that would extend the base or index of the new memory operand. */
static void clear_base_index_extension(const ZydisDecodedInstruction *d, uint8_t *c)
{
	switch (d->encoding) {
	case ZYDIS_INSTRUCTION_ENCODING_VEX:
		if (d->raw.vex.size == 3)
			c[d->raw.vex.offset + 1] |= 0x60; /* X and B, inverted */
		break;
	case ZYDIS_INSTRUCTION_ENCODING_XOP:
		c[d->raw.xop.offset + 1] |= 0x60;
		break;
	case ZYDIS_INSTRUCTION_ENCODING_EVEX:
		c[d->raw.evex.offset + 1] |= 0x60;
		break;
	default:
		if (d->attributes & ZYDIS_ATTRIB_HAS_REX)
			c[d->raw.rex.offset] &= 0xfc;
	}
}

/* Puts register `to` in place of RSP, number 4 without extension, in an explicit operand's field.
 */
static bool replace_rsp(const ZydisDecodedInstruction *d, const ZydisDecodedOperand *op,
			unsigned to, uint8_t *c)
{
	uint8_t *vvvv;

	switch (op->encoding) {
	case ZYDIS_OPERAND_ENCODING_MODRM_REG:
		c[d->raw.modrm.offset] = (uint8_t)((c[d->raw.modrm.offset] & ~0x38u) | to << 3);
		return true;
	case ZYDIS_OPERAND_ENCODING_MODRM_RM:
		c[d->raw.modrm.offset] = (uint8_t)((c[d->raw.modrm.offset] & ~7u) | to);
		return true;
	case ZYDIS_OPERAND_ENCODING_NDSNDD:
		if (d->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX)
			vvvv = &c[d->raw.vex.offset + (d->raw.vex.size == 3 ? 2u : 1u)];
		else if (d->encoding == ZYDIS_INSTRUCTION_ENCODING_XOP)
			vvvv = &c[d->raw.xop.offset + 2];
		else if (d->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX)
			vvvv = &c[d->raw.evex.offset + 2];
		else
			return false;
		*vvvv = (uint8_t)((*vvvv & ~0x78u) | (~to & 15) << 3);
		return true;
	default:
		return false;
	}
}

static bool is_dropped_prefix(const struct insn *i, unsigned at)
{
	switch (i->code[at]) {
	case 0x26: /* segments */
	case 0x2e:
	case 0x36:
	case 0x3e:
	case 0x64:
	case 0x65:
	case 0x67: /* address size */
		return true;
	default:
		/* A REX that does not come last has no effect, and must not get one. */
		return insn_long(i->c) && (i->code[at] & 0xf0) == 0x40 &&
		       !((i->d.attributes & ZYDIS_ATTRIB_HAS_REX) && i->d.raw.rex.offset == at);
	}
}

static bool rebuild(const struct insn *i, const ZydisDecodedOperand *mem, struct plan *p)
{
	const ZydisDecodedInstruction *d = &i->d;
	bool modrm = d->attributes & ZYDIS_ATTRIB_HAS_MODRM;
	unsigned head = modrm ? d->raw.modrm.offset + 1u : d->length;
	uint8_t c[ZYDIS_MAX_INSTRUCTION_LENGTH];
	unsigned used = 0;

	memcpy(c, i->code, sizeof(c));
	for (unsigned n = 0; n < d->operand_count; n++) {
		int r = i->op[n].type == ZYDIS_OPERAND_TYPE_REGISTER
				? gpr_number(i->op[n].reg.value)
				: -1;

		if (r >= 0)
			used |= 1u << r;
	}
	p->uses_rsp = used & 1u << 4;
	p->rsp = 16;
	if (p->uses_rsp) {
		p->rsp = free_register(used);
		if (p->rsp > 7)
			return false;
		used |= 1u << p->rsp;
		for (unsigned n = 0; n < d->operand_count; n++)
			if (i->op[n].type == ZYDIS_OPERAND_TYPE_REGISTER &&
			    gpr_number(i->op[n].reg.value) == 4 &&
			    i->op[n].reg.value != ZYDIS_REGISTER_AH &&
			    !replace_rsp(d, &i->op[n], p->rsp, c))
				return false;
	}
	p->base = 16;
	if (mem) {
		p->base = free_register(used);
		if (!modrm || p->base > 7)
			return false;
		clear_base_index_extension(d, c);
		/* mod 0, r/m = base: no SIB, no displacement */
		c[d->raw.modrm.offset] = (uint8_t)((c[d->raw.modrm.offset] & 0x38) | p->base);
	}
	p->len = 0;
	for (unsigned n = 0; n < head; n++)
		if (n >= d->raw.prefix_count || !is_dropped_prefix(i, n))
			p->code[p->len++] = c[n];
	if (modrm) { /* what follows ModRM, SIB and displacement are immediates */
		unsigned from = head;

		if (d->attributes & ZYDIS_ATTRIB_HAS_SIB)
			from = d->raw.sib.offset + 1u;
		if (d->raw.disp.size)
			from = d->raw.disp.offset + d->raw.disp.size / 8u;
		for (unsigned n = from; n < d->length; n++)
			p->code[p->len++] = c[n];
	}
	return true;
}

/* The rebuilt bytes must mean what the guest's do, but for the registers of the plan. */
static bool verify(const struct insn *i, const struct plan *p)
{
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	const ZydisDecodedOperand *mem;
	ZydisDecodedInstruction d;
	ZydisDecoder dec;

	i->z->DecoderInit(&dec, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	if (!ZYAN_SUCCESS(i->z->DecoderDecodeFull(&dec, p->code, p->len, &d, op)) ||
	    d.length != p->len || d.mnemonic != i->d.mnemonic ||
	    d.meta.isa_set != i->d.meta.isa_set || d.operand_count != i->d.operand_count ||
	    !shape_allowed(&d, op, &mem))
		return false;
	for (unsigned n = 0; n < d.operand_count; n++) {
		const ZydisDecodedOperand *a = &i->op[n], *b = &op[n];
		int ra, rb;

		if (a->type != b->type || a->size != b->size || a->actions != b->actions ||
		    a->visibility != b->visibility)
			/* The flags register's width is that of the mode. */
			if (!(a->type == ZYDIS_OPERAND_TYPE_REGISTER && a->type == b->type &&
			      b->reg.value == ZYDIS_REGISTER_RFLAGS))
				return false;
		switch (a->type) {
		case ZYDIS_OPERAND_TYPE_REGISTER:
			ra = gpr_number(a->reg.value);
			rb = gpr_number(b->reg.value);
			if (rb == 4)
				return false;
			if (ra == 4 ? rb != (int)p->rsp
				    : a->reg.value != b->reg.value &&
					      b->reg.value != ZYDIS_REGISTER_RFLAGS)
				return false;
			break;
		case ZYDIS_OPERAND_TYPE_IMMEDIATE:
			if (a->imm.value.u != b->imm.value.u)
				return false;
			break;
		default:
			if (gpr_number(b->mem.base) != (int)p->base ||
			    b->mem.index != ZYDIS_REGISTER_NONE || b->mem.disp.value ||
			    b->mem.segment != ZYDIS_REGISTER_DS)
				return false;
		}
	}
	return true;
}

/* --- running ---------------------------------------------------------------- */

struct insn_native *insn_native_new(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct insn_native *n;
	unsigned eax, edx;
	struct host_cpuid id;
	sigset_t faults;

	id = host_cpuid(1, 0);
	if (!(id.ecx & 1u << 27 /* OSXSAVE */))
		return NULL;
	n = aligned_alloc(64, (sizeof(*n) + 63) & ~63ul);
	if (!n)
		return NULL;
	memset(n, 0, sizeof(*n));
	n->map = mmap(NULL, MAP_PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (n->map == MAP_FAILED) {
		free(n);
		return NULL;
	}
	n->code = n->map + PAGE;
	n->buf = n->map + 3 * PAGE;
	if (mprotect(n->buf, 2 * PAGE, PROT_READ | PROT_WRITE) < 0) {
		insn_native_free(n);
		return NULL;
	}
	__asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
	n->xcr0 = eax | (uint64_t)edx << 32;
	n->rfbm = n->xcr0 & RUN_COMPONENTS;
	n->init[0] = 0x7f; /* FCW 0x37f, MXCSR 0x1f80: as a C program starts */
	n->init[1] = 0x03;
	n->init[MXCSR] = 0x80;
	n->init[MXCSR + 1] = 0x1f;
	pthread_once(&once, catch_faults);
	/* A fault whose signal is blocked ends the process, and threads may block all they do not
	 * know. */
	sigemptyset(&faults);
	for (size_t k = 0; k < FAULT_SIGNALS; k++)
		sigaddset(&faults, fault_signals[k]);
	pthread_sigmask(SIG_UNBLOCK, &faults, NULL);
	return n;
}

void insn_native_free(struct insn_native *n)
{
	if (!n)
		return;
	munmap(n->map, MAP_PAGES * PAGE);
	free(n);
}

/* The code of p followed by a jump to insn_native_exit; from the cache when it ran before. */
static void *install(struct insn_native *n, const struct plan *p)
{
	/* jmp *0(%rip) */
	static const uint8_t jump[] = { 0xff, 0x25, 0, 0, 0, 0 };
	const char *exit_at = insn_native_exit;
	struct slot *s;
	uint8_t *c;

	for (unsigned k = 0; k < SLOTS; k++)
		if (n->slot[k].len == p->len && !memcmp(n->slot[k].code, p->code, p->len))
			return n->code + k * SLOT;
	s = &n->slot[n->next_slot];
	c = n->code + n->next_slot * SLOT;
	s->len = 0;
	if (mprotect(n->code, PAGE, PROT_READ | PROT_WRITE) < 0)
		return NULL;
	memcpy(c, p->code, p->len);
	memcpy(c + p->len, jump, sizeof(jump));
	memcpy(c + p->len + sizeof(jump), &exit_at, sizeof(exit_at));
	if (mprotect(n->code, PAGE, PROT_READ | PROT_EXEC) < 0)
		return NULL;
	memcpy(s->code, p->code, p->len);
	s->len = (uint8_t)p->len;
	n->next_slot = (n->next_slot + 1) % SLOTS;
	return c;
}

/* What the processor looks at before it runs an instruction of a class. true: c->event is set. */
static bool not_available(struct insn *i, enum insn_class cls)
{
	const struct isa *isa = find_isa((uint16_t)i->d.meta.isa_set);
	const struct insn_cpu *c = i->c;
	uint64_t cr0 = c->sregs.cr0, cr4 = c->sregs.cr4;
	bool vex = i->d.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY;
	bool undefined = !insn_has(c, isa->word, isa->bit) || !insn_has(c, isa->word2, isa->bit2) ||
			 (vex && (!(cr0 & CR0_PE) || (c->regs.rflags & RFLAGS_VM)));
	bool not_now = cr0 & CR0_TS;

	switch (cls) {
	case CLASS_GPR:
		not_now = false;
		break;
	case CLASS_X87:
		/* WAIT heeds TS only with MP set, and never EM. */
		if (i->d.mnemonic == ZYDIS_MNEMONIC_FWAIT)
			not_now = (cr0 & CR0_TS) && (cr0 & CR0_MP);
		else
			not_now = cr0 & (CR0_TS | CR0_EM);
		break;
	case CLASS_MMX:
		undefined = undefined || (cr0 & CR0_EM);
		break;
	case CLASS_SSE:
		undefined = undefined || (cr0 & CR0_EM) || !(cr4 & CR4_OSFXSR);
		break;
	case CLASS_AVX:
		undefined = undefined || !(cr4 & CR4_OSXSAVE) || (c->xcr0 & 6) != 6;
		break;
	case CLASS_AVX512:
		undefined = undefined || !(cr4 & CR4_OSXSAVE) || (c->xcr0 & 0xe6) != 0xe6;
		break;
	}
	if (undefined)
		insn_raise(i, VEC_UD);
	else if (not_now)
		insn_raise(i, VEC_NM);
	return undefined || not_now;
}

static void put64(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, 8);
}

/*
 * FNSTENV and FNSAVE store the same pointers, from registers that some
 * processors do not load from the area unless an exception is pending.
 */
static void fix_x87_environment(struct insn *i, const uint8_t *xsave, uint8_t *env, size_t size)
{
	bool format16 = size == 14 || size == 94;

	if (i->d.mnemonic != ZYDIS_MNEMONIC_FNSTENV && i->d.mnemonic != ZYDIS_MNEMONIC_FNSAVE)
		return;
	memcpy(env + (format16 ? 6 : 12), xsave + X87_FIP, format16 ? 2 : 4);
	memcpy(env + (format16 ? 10 : 20), xsave + X87_FDP, format16 ? 2 : 4);
}

/* x87 instructions leave their address and ModRM byte in the state: the guest's are wanted. */
static void fix_x87_pointers(struct insn *i, uint8_t *xsave, uint64_t lin)
{
	const struct insn_native *n = i->c->native;
	uint64_t fip, fdp;

	memcpy(&fip, xsave + X87_FIP, 8);
	memcpy(&fdp, xsave + X87_FDP, 8);
	if (fip - (uintptr_t)n->code < PAGE) {
		put64(xsave + X87_FIP, i->c->regs.rip);
		xsave[X87_FOP] =
			i->code[i->d.raw.modrm.offset]; /* the opcode's last bits above stay */
	}
	if (fdp - (uintptr_t)n->buf < 2 * PAGE)
		put64(xsave + X87_FDP, lin);
}

/* What the area says may come from a guest: XRSTOR must not refuse it. */
static void make_loadable(uint8_t *xsave, uint64_t xcr0)
{
	uint32_t mxcsr;
	uint64_t bv;

	memcpy(&bv, xsave + XSAVE_HEADER, 8);
	put64(xsave + XSAVE_HEADER, bv & xcr0);
	memset(xsave + XSAVE_HEADER + 8, 0, 56);
	memcpy(&mxcsr, xsave + MXCSR, 4);
	mxcsr &= 0xffff;
	memcpy(xsave + MXCSR, &mxcsr, 4);
}

static enum insn_status fault(struct insn *i, int trap)
{
	switch (trap) {
	case VEC_XM:
		if (!(i->c->sregs.cr4 & CR4_OSXMMEXCPT))
			return insn_raise(i, VEC_UD);
		return insn_raise(i, VEC_XM);
	case VEC_UD:
	case VEC_MF:
	case VEC_NM:
		return insn_raise(i, (uint8_t)trap);
	case VEC_GP:
	case VEC_AC:
	case VEC_SS:
		return insn_raise_code(i, (uint8_t)trap, 0);
	default:
		return insn_unsupported(i, "it failed on the host");
	}
}

enum insn_status insn_run_native(struct insn *i, enum insn_class cls)
{
	struct insn_cpu *c = i->c;
	struct insn_native *n;
	const ZydisDecodedOperand *mem;
	struct frame *f;
	uint64_t lin = 0;
	uint8_t *operand = NULL;
	size_t size = 0;
	struct plan p;
	int r, trap;

	if ((cls == CLASS_AVX || cls == CLASS_AVX512) && c->ops->load_xcr0(c) < 0)
		return insn_unsupported(i, "KVM did not give XCR0");
	if (not_available(i, cls))
		return INSN_EVENT;
	if (!c->native)
		c->native = insn_native_new();
	n = c->native;
	if (!n)
		return insn_unsupported(i, "no memory that could be executed");
	if (!shape_allowed(&i->d, i->op, &mem) || !rebuild(i, mem, &p) || !verify(i, &p))
		return insn_unsupported(i, "its encoding is not one that can be run on the host");
	f = &n->frame;
	if (mem) {
		bool write = mem->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;

		size = mem->size / 8;
		r = insn_linear(i, mem, size, write, &lin);
		/* Read also what is only written: masked and partial stores keep the rest. */
		operand = n->buf + (lin & 63);
		if (r == 0)
			r = c->ops->read(c, lin, operand, size, write ? INSN_WRITE : INSN_READ);
		if (r < 0)
			return insn_failed(i, r);
	}
	if (cls != CLASS_GPR && !c->fpu_loaded && c->ops->load_fpu(c) < 0)
		return insn_unsupported(i, "KVM did not give the FPU state");
	for (unsigned k = 0; k < 16; k++)
		f->gpr[k] = *insn_gpr(c, k);
	if (p.uses_rsp)
		f->gpr[p.rsp] = c->regs.rsp;
	if (mem)
		f->gpr[p.base] = (uintptr_t)operand;
	f->rflags = c->regs.rflags & RFLAGS_STATUS;
	f->rfbm = n->rfbm;
	f->xsave = cls == CLASS_GPR ? NULL : c->xsave;
	f->init = n->init;
	f->code = install(n, &p);
	if (!f->code)
		return insn_unsupported(i, "no memory that could be executed");
	if (f->xsave)
		make_loadable(f->xsave, n->xcr0);

	trap_number = -1;
	running = n;
	insn_native_enter(f);
	running = NULL;
	trap = trap_number;

	if (f->xsave) {
		fix_x87_pointers(i, c->xsave, lin);
		c->fpu_dirty = true; /* also after #XM: its flags are set */
	}
	if (trap >= 0)
		return fault(i, trap);
	if (mem && (mem->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)) {
		fix_x87_environment(i, c->xsave, operand, size);
		r = c->ops->write(c, lin, operand, size, INSN_WRITE);
		if (r < 0) {
			c->fpu_loaded = c->fpu_dirty = false; /* as if it had not run */
			return insn_failed(i, r);
		}
	}
	for (unsigned k = 0; k < 16; k++)
		if (k != 4 && k != p.base && k != p.rsp)
			*insn_gpr(c, k) = f->gpr[k];
	if (p.uses_rsp)
		c->regs.rsp = f->gpr[p.rsp];
	c->regs.rflags = (c->regs.rflags & ~RFLAGS_STATUS) | (f->rflags & RFLAGS_STATUS);
	return INSN_DONE;
}
