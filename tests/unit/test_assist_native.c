/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every instruction that the carrier runs on the host processor, against the same bytes run
 * here: registers, flags, memory, FPU state and exceptions, on random and edge operands.
 *
 * The instructions are found by trying all opcodes of all maps and prefixes. What this
 * processor lacks is counted and named, and must raise #UD in the carrier, too.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "suite.h"
#include "assist_machine.h"

#define RUNS 6 /* random states for each form of an instruction */

/* --- native execution, independent of the carrier's ------------------------- */

struct native {
	uint64_t gpr[16]; /* encoding order, RSP unused */
	uint64_t rflags;
	uint8_t *xsave;
};

/* Loads n, jumps to code at 8(%rsp), which jumps back to native_back. */
void native_go(struct native *n, void *code);
extern const char native_back[];
__asm__(".text\n.globl native_go, native_back\n"
	"native_go:\n"
	"	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n	"
	"push %r15\n"
	"	sub $512, %rsp\n" /* nothing here may touch what is above */
	"	push %rsi\n	push %rdi\n"
	"	mov 136(%rdi), %rcx\n	mov $0xe7, %eax\n	xor %edx, %edx\n	xrstor64 "
	"(%rcx)\n"
	"	mov %rdi, %r15\n"
	"	push 128(%r15)\n	popfq\n"
	"	mov (%r15), %rax\n	mov 8(%r15), %rcx\n	mov 16(%r15), %rdx\n"
	"	mov 24(%r15), %rbx\n	mov 40(%r15), %rbp\n	mov 48(%r15), %rsi\n"
	"	mov 56(%r15), %rdi\n	mov 64(%r15), %r8\n	mov 72(%r15), %r9\n"
	"	mov 80(%r15), %r10\n	mov 88(%r15), %r11\n	mov 96(%r15), %r12\n"
	"	mov 104(%r15), %r13\n	mov 112(%r15), %r14\n	mov 120(%r15), %r15\n"
	"	jmp *8(%rsp)\n"
	"native_back:\n"
	"	push %r15\n	mov 8(%rsp), %r15\n	pop 120(%r15)\n"
	"	mov %rax, (%r15)\n	mov %rcx, 8(%r15)\n	mov %rdx, 16(%r15)\n"
	"	mov %rbx, 24(%r15)\n	mov %rbp, 40(%r15)\n	mov %rsi, 48(%r15)\n"
	"	mov %rdi, 56(%r15)\n	mov %r8, 64(%r15)\n	mov %r9, 72(%r15)\n"
	"	mov %r10, 80(%r15)\n	mov %r11, 88(%r15)\n	mov %r12, 96(%r15)\n"
	"	mov %r13, 104(%r15)\n	mov %r14, 112(%r15)\n"
	"	pushfq\n	pop 128(%r15)\n	cld\n"
	"	mov 136(%r15), %rcx\n	mov $0xe7, %eax\n	xor %edx, %edx\n	xsave64 "
	"(%rcx)\n"
	"	fninit\n	push $0x1f80\n	ldmxcsr (%rsp)\n	pop %rax\n"
	"	add $528, %rsp\n"
	"	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbp\n	"
	"pop %rbx\n"
	"	ret\n");

static uint8_t *page;
static volatile int native_trap;

static void on_signal(int sig, siginfo_t *info, void *ctx)
{
	ucontext_t *uc = ctx;
	uint64_t rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];

	if (rip - (uintptr_t)page >= 4096) {
		signal(sig, SIG_DFL); /* a bug: let it show */
		return;
	}
	native_trap = (int)uc->uc_mcontext.gregs[REG_TRAPNO];
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)native_back;
}

static void setup(void)
{
	static const int sigs[] = { SIGFPE, SIGILL, SIGSEGV, SIGBUS };
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };

	for (size_t i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		sigaction(sigs[i], &sa, NULL);
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	ck_assert_ptr_ne(page, MAP_FAILED);
	ck_assert_ptr_nonnull(zydis(NULL));
}

/* Runs the bytes natively; the exception's vector or -1. */
static int run_native(struct native *n, const uint8_t *code, size_t len)
{
	static const uint8_t jump[] = { 0xff, 0x25, 0, 0, 0, 0 };
	const char *back = native_back;

	memcpy(page, code, len);
	memcpy(page + len, jump, sizeof(jump));
	memcpy(page + len + sizeof(jump), &back, sizeof(back));
	native_trap = -1;
	native_go(n, page);
	return native_trap;
}

/* --- random state ------------------------------------------------------------- */

#define XSAVE_USED 2432u /* x87, SSE, AVX, AVX-512 */

static uint64_t seed;

static uint64_t rnd(void)
{
	return machine_random(&seed);
}

/* Numbers that arithmetic stumbles over, as often as random ones. */
static uint64_t edge(void)
{
	static const uint64_t v[] = {
		0,
		1,
		2,
		0x7f,
		0x80,
		0xff,
		0x8000,
		0xffff,
		0x7fffffff,
		0x80000000,
		0xffffffff,
		0x7fffffffffffffff,
		0x8000000000000000,
		0xffffffffffffffff,
		0x3f8000003f800000,
		0x3ff0000000000000,
		0x4000000000000000, /* 1.0, 2.0 */
		0x7f8000007f800000,
		0x7ff0000000000000,
		0xfff0000000000000, /* infinities */
		0x7fc000007fc00000,
		0x7ff8000000000000,
		0x7ff0000000000001, /* NaNs */
		0x0000000100000001,
		0x000fffffffffffff,
		0x0010000000000000, /* tiny */
		0x7f7fffff7f7fffff,
		0x7fefffffffffffff, /* largest */
	};

	return rnd() & 1 ? rnd() : v[rnd() % (sizeof(v) / sizeof(v[0]))];
}

static void random_state(struct assist_machine *m, struct native *n, bool unmask)
{
	uint16_t fcw = 0x37f, fsw;
	uint32_t mxcsr = 0x1f80;
	uint64_t bv = m->c.xcr0;

	/* Only where operands are: around the middle. */
	for (size_t i = MEM_SIZE / 2 - 64; i < MEM_SIZE / 2 + 640; i += 8) {
		uint64_t v = edge();

		memcpy(m->mem + i, &v, 8);
	}
	for (size_t i = 0; i < XSAVE_USED; i += 8) {
		uint64_t v = edge();

		memcpy(m->xsave + i, &v, 8);
	}
	memset(m->xsave + 512, 0, 64);
	memcpy(m->xsave + 512, &bv, 8);
	memset(m->xsave, 0, 32);
	/* Rounding and precision vary; exceptions are masked unless asked for. */
	fcw = (uint16_t)((rnd() & 0xf00) | 0x7f);
	mxcsr |= (uint32_t)rnd() & 0xe040; /* rounding, FTZ, DAZ */
	fsw = (uint16_t)(rnd() & 0x7f00) & 0xb800 ? (uint16_t)(rnd() & 0x3800) : 0;
	if (unmask) {
		fcw &= (uint16_t) ~(rnd() & 0x3f);
		mxcsr &= ~((uint32_t)rnd() & 0x1f80);
	}
	memcpy(m->xsave, &fcw, 2);
	memcpy(m->xsave + 2, &fsw, 2);
	m->xsave[4] = (uint8_t)rnd(); /* which registers are in use */
	memcpy(m->xsave + 24, &mxcsr, 4);
	m->xsave[28] = 0xff;
	m->xsave[29] = 0xff;
	for (unsigned i = 0; i < 8; i++) { /* x87: 80 bits, and sane numbers every other time */
		uint64_t mantissa = rnd() | 1ull << 63;
		uint16_t exponent = (uint16_t)(0x3fff + rnd() % 40 - 20);

		memset(m->xsave + 32 + 16 * i + 10, 0, 6);
		if (rnd() & 1) {
			memcpy(m->xsave + 32 + 16 * i, &mantissa, 8);
			memcpy(m->xsave + 32 + 16 * i + 8, &exponent, 2);
		}
	}
	for (unsigned i = 0; i < 16; i++)
		n->gpr[i] = edge();
	n->rflags = (rnd() & 0x8d5) | 2;
}

static uint64_t *machine_gpr(struct insn_cpu *c, unsigned i)
{
	__u64 *const r[] = { &c->regs.rax, &c->regs.rcx, &c->regs.rdx, &c->regs.rbx,
			     &c->regs.rsp, &c->regs.rbp, &c->regs.rsi, &c->regs.rdi,
			     &c->regs.r8,  &c->regs.r9,  &c->regs.r10, &c->regs.r11,
			     &c->regs.r12, &c->regs.r13, &c->regs.r14, &c->regs.r15 };

	return (uint64_t *)r[i];
}

/* --- one form of an instruction ------------------------------------------------ */

static unsigned n_forms, n_lacking, n_faults;
static uint8_t seen[ZYDIS_MNEMONIC_MAX_VALUE + 1]; /* 1: compared, 2: lacking */

static const char *name_of(const ZydisDecodedInstruction *d)
{
	return zydis(NULL)->MnemonicGetString(d->mnemonic);
}

static char where[160];

static void describe(const ZydisDecodedInstruction *d, const uint8_t *code, const char *what)
{
	int k = snprintf(where, sizeof(where), "%s:", name_of(d));

	for (unsigned i = 0; i < d->length; i++)
		k += snprintf(where + k, sizeof(where) - (size_t)k, " %02x", code[i]);
	snprintf(where + k, sizeof(where) - (size_t)k, ": %s", what);
}

/* ck_assert_msg() that costs nothing when all is well: there are millions of these. */
#define EXPECT(ok, ...)                                                                            \
	do {                                                                                       \
		if (!(ok))                                                                         \
			ck_abort_msg(__VA_ARGS__);                                                 \
	} while (0)

/* Whether it leaves the FPU as another instruction, NOP, does. */
static bool changes_fpu(struct assist_machine *m, const struct native *start, const uint8_t *code,
			size_t len)
{
	static _Alignas(64) uint8_t with[XSAVE_AREA], without[XSAVE_AREA];
	struct native n = *start;

	memcpy(with, m->xsave, sizeof(with));
	memcpy(without, m->xsave, sizeof(without));
	n.xsave = without;
	run_native(&n, (const uint8_t[]){ 0x90 }, 1);
	n = *start;
	n.xsave = with;
	run_native(&n, code, len);
	return memcmp(with, without, sizeof(with)) != 0;
}

/*
 * The carrier's result against the processor's, for one state. base: the register that the
 * memory operand is at, 16 for none; offset: from the middle of the buffer.
 */
static void compare(struct assist_machine *m, const ZydisDecodedInstruction *d, const uint8_t *code,
		    unsigned base, uint64_t address, bool unmask)
{
	static _Alignas(64) uint8_t xsave[XSAVE_AREA], mem[MEM_SIZE], mem_after[MEM_SIZE];
	struct native n = { .xsave = xsave }, before;
	enum insn_status s;
	int trap;

	random_state(m, &n, unmask);
	if (base < 16)
		n.gpr[base] = address;
	before = n;
	for (unsigned i = 0; i < 16; i++)
		if (i != 4)
			*machine_gpr(&m->c, i) = n.gpr[i];
	m->c.regs.rflags = n.rflags;
	m->c.regs.rip = (uintptr_t)page;
	m->c.fpu_loaded = true;
	memcpy(xsave, m->xsave, sizeof(xsave));
	memcpy(mem, m->mem, sizeof(mem));
	trap = run_native(&n, code, d->length);
	memcpy(mem_after, m->mem, sizeof(mem));
	memcpy(m->mem, mem, sizeof(mem));
	s = machine_step(m, code, d->length);

	if (trap >= 0) {
		n_faults++;
		describe(d, code, "raises an exception");
		EXPECT(s == INSN_EVENT && m->c.event.vector == trap,
		       "%s: %d natively, here status %d vector %u (%s)", where, trap, s,
		       m->c.event.vector, m->c.why ? m->c.why : "");
		EXPECT(m->c.regs.rip == (uintptr_t)page, "%s: RIP", where);
	} else {
		describe(d, code, "carried out");
		EXPECT(s == INSN_DONE, "%s: status %d vector %u (%s)", where, s, m->c.event.vector,
		       m->c.why ? m->c.why : "");
		EXPECT(m->c.regs.rip == (uintptr_t)page + d->length, "%s: RIP", where);
	}
	for (unsigned i = 0; i < 16; i++)
		EXPECT(i == 4 || *machine_gpr(&m->c, i) == n.gpr[i],
		       "%s: register %u is %llx, natively %llx", where, i,
		       (unsigned long long)*machine_gpr(&m->c, i), (unsigned long long)n.gpr[i]);
	EXPECT((m->c.regs.rflags & 0x8d5) == (n.rflags & 0x8d5), "%s: flags %llx, natively %llx",
	       where, (unsigned long long)m->c.regs.rflags, (unsigned long long)n.rflags);
	for (unsigned i = 0; memcmp(m->mem, mem_after, MEM_SIZE) && i < MEM_SIZE; i++)
		EXPECT(m->mem[i] == mem_after[i], "%s: memory at %x is %02x, natively %02x", where,
		       i, m->mem[i], mem_after[i]);
	if (m->c.fpu_dirty)
		for (unsigned i = 0; memcmp(m->xsave, xsave, XSAVE_AREA) && i < XSAVE_AREA; i++)
			EXPECT(m->xsave[i] == xsave[i],
			       "%s: FPU state at %u is %02x, natively %02x", where, i, m->xsave[i],
			       xsave[i]);
	else
		EXPECT(trap >= 0 || !changes_fpu(m, &before, code, d->length),
		       "%s: changes FPU state natively", where);
}

/* Whether the form is one for the carrier to run natively: it says so itself. */
static bool wanted(const ZydisDecodedInstruction *d, const ZydisDecodedOperand *op)
{
	for (unsigned i = 0; i < d->operand_count; i++)
		if (op[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    (op[i].visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT ||
		     op[i].mem.type != ZYDIS_MEMOP_TYPE_MEM))
			return false;
	switch (d->meta.isa_set) {
	case ZYDIS_ISA_SET_POPCNT:
	case ZYDIS_ISA_SET_LZCNT:
	case ZYDIS_ISA_SET_BMI1:
	case ZYDIS_ISA_SET_BMI2:
	case ZYDIS_ISA_SET_ADOX_ADCX:
	case ZYDIS_ISA_SET_TBM:
	case ZYDIS_ISA_SET_MOVBE:
	case ZYDIS_ISA_SET_X87:
	case ZYDIS_ISA_SET_FCMOV:
	case ZYDIS_ISA_SET_PENTIUMMMX:
	case ZYDIS_ISA_SET_SSE ... ZYDIS_ISA_SET_SSEMXCSR:
	case ZYDIS_ISA_SET_SSSE3 ... ZYDIS_ISA_SET_SSSE3MMX:
	case ZYDIS_ISA_SET_AES:
	case ZYDIS_ISA_SET_PCLMULQDQ:
	case ZYDIS_ISA_SET_SHA:
	case ZYDIS_ISA_SET_GFNI:
	case ZYDIS_ISA_SET_FMA ... ZYDIS_ISA_SET_FMA4:
	case ZYDIS_ISA_SET_F16C:
	case ZYDIS_ISA_SET_XOP:
	case ZYDIS_ISA_SET_VAES:
	case ZYDIS_ISA_SET_VPCLMULQDQ:
	case ZYDIS_ISA_SET_AVX ... ZYDIS_ISA_SET_AVX2:
	case ZYDIS_ISA_SET_AVX512BW_128 ... ZYDIS_ISA_SET_AVX512DQ_SCALAR:
	case ZYDIS_ISA_SET_AVX512F_128 ... ZYDIS_ISA_SET_AVX512F_SCALAR:
	case ZYDIS_ISA_SET_AVX512_BF16_128 ... ZYDIS_ISA_SET_AVX512_BITALG_512:
	case ZYDIS_ISA_SET_AVX512_GFNI_128 ... ZYDIS_ISA_SET_AVX512_VPOPCNTDQ_512:
	case ZYDIS_ISA_SET_AVXAES:
	case ZYDIS_ISA_SET_AVX_GFNI:
	case ZYDIS_ISA_SET_AVX_VNNI:
		return true;
	case ZYDIS_ISA_SET_PPRO:
		return d->meta.category == ZYDIS_CATEGORY_X87_ALU;
	default:
		return false;
	}
}

/*
 * KVM runs these right by itself, and so does the carrier, but natively they
 * have no fixed result here: they depend on what is not compared.
 */
static bool fixed_result(const ZydisDecodedInstruction *d)
{
	switch (d->mnemonic) {
	case ZYDIS_MNEMONIC_MASKMOVQ:
	case ZYDIS_MNEMONIC_MASKMOVDQU:
	case ZYDIS_MNEMONIC_VMASKMOVDQU:
		return false;
	default:
		return true;
	}
}

static void try_form(struct assist_machine *m, const uint8_t *code, size_t len, unsigned base)
{
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	const ZydisDecodedOperand *mem = NULL;
	ZydisDecodedInstruction d;
	ZydisDecoder dec;
	struct native n;
	uint64_t middle = (uintptr_t)m->mem + MEM_SIZE / 2;
	static _Alignas(64) uint8_t xsave[XSAVE_AREA];

	zydis(NULL)->DecoderInit(&dec, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	if (!ZYAN_SUCCESS(zydis(NULL)->DecoderDecodeFull(&dec, code, len, &d, op)) ||
	    !wanted(&d, op) || !fixed_result(&d))
		return;
	for (unsigned i = 0; i < d.operand_count; i++) {
		if (op[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
			mem = &op[i];
		/* Natively, RSP cannot be just any number: tested apart. */
		if (op[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    (op[i].reg.value == ZYDIS_REGISTER_RSP ||
		     op[i].reg.value == ZYDIS_REGISTER_ESP ||
		     op[i].reg.value == ZYDIS_REGISTER_SP || op[i].reg.value == ZYDIS_REGISTER_SPL))
			return;
	}
	if (mem ? base == 16 : base != 16)
		return;
	/* Does this processor have it? */
	n = (struct native){ .xsave = xsave };
	random_state(m, &n, false);
	memcpy(xsave, m->xsave, sizeof(xsave));
	if (base < 16)
		n.gpr[base] = middle;
	if (run_native(&n, code, d.length) == 6) {
		if (!seen[d.mnemonic])
			seen[d.mnemonic] = 2;
		n_lacking++;
		m->c.regs.rip = (uintptr_t)page;
		if (base < 16)
			*machine_gpr(&m->c, base) = middle;
		describe(&d, code, "not on this processor");
		ck_assert_msg(machine_step(m, code, d.length) == INSN_EVENT &&
				      m->c.event.vector == 6,
			      "%s: vector %u (%s)", where, m->c.event.vector,
			      m->c.why ? m->c.why : "");
		return;
	}
	seen[d.mnemonic] = 1;
	n_forms++;
	for (unsigned i = 0; i < RUNS; i++) {
		/* Aligned, unaligned, and across pages. */
		uint64_t at = middle + (i % 3 == 0 ? 0 : i % 3 == 1 ? rnd() % 64 : -(rnd() % 64));

		compare(m, &d, code, base, at, i % 4 == 3);
	}
}

/* ModRM: registers with every /reg; memory [rbx], [rbx+disp8], [r8 by REX] are left to addressing.
 */
static void try_modrm(struct assist_machine *m, uint8_t *code, size_t len)
{
	for (unsigned reg = 0; reg < 8; reg++) {
		code[len] = (uint8_t)(0xc0 | reg << 3 | 2);
		memset(code + len + 1, 0x1b, 4); /* an immediate, if any */
		try_form(m, code, 15, 16);
		code[len] = (uint8_t)(reg << 3 | 3);
		try_form(m, code, 15, 3);
	}
}

static void sweep_legacy(void)
{
	static const uint8_t prefix[] = { 0, 0x66, 0xf3, 0xf2 };
	struct assist_machine *m = machine_new();

	seed = 1;
	for (unsigned p = 0; p < 4; p++) {
		for (unsigned rex = 0; rex < 2; rex++) {
			for (unsigned map = 0; map < 4; map++) {
				for (unsigned op = 0; op < 256; op++) {
					uint8_t c[16] = { 0 };
					size_t n = 0;

					if (!map && (op < 0x9b || op > 0xdf))
						continue; /* x87 and WAIT only */
					if (prefix[p])
						c[n++] = prefix[p];
					if (rex)
						c[n++] = 0x48;
					if (map)
						c[n++] = 0x0f;
					if (map >= 2)
						c[n++] = map == 2 ? 0x38 : 0x3a;
					c[n++] = (uint8_t)op;
					try_modrm(m, c, n);
				}
			}
		}
	}
	machine_free(m);
}

/* All x87 encodings with registers: the operation is in the ModRM byte. */
static void sweep_x87_registers(void)
{
	struct assist_machine *m = machine_new();

	seed = 2;
	for (unsigned op = 0xd8; op < 0xe0; op++) {
		for (unsigned modrm = 0xc0; modrm < 0x100; modrm++) {
			uint8_t c[16] = { (uint8_t)op, (uint8_t)modrm };

			try_form(m, c, 15, 16);
		}
	}
	machine_free(m);
}

static void sweep_vex(void)
{
	struct assist_machine *m = machine_new();

	seed = 3;
	for (unsigned map = 1; map <= 3; map++) {
		for (unsigned pp = 0; pp < 4; pp++) {
			for (unsigned wl = 0; wl < 4; wl++) {
				for (unsigned vvvv = 0; vvvv < 2; vvvv++) {
					for (unsigned op = 0; op < 256; op++) {
						uint8_t c[16] = { 0xc4, (uint8_t)(0xe0 | map), 0,
								  (uint8_t)op };

						/* Second source: none, or register 6. */
						c[2] = (uint8_t)((wl & 2) << 6 |
								 (vvvv ? 9u << 3 : 15u << 3) |
								 (wl & 1) << 2 | pp);
						try_modrm(m, c, 4);
					}
				}
			}
		}
	}
	machine_free(m);
}

static void sweep_evex(void)
{
	struct assist_machine *m = machine_new();

	seed = 4;
	for (unsigned map = 1; map <= 3; map++) {
		for (unsigned pp = 0; pp < 4; pp++) {
			for (unsigned w = 0; w < 2; w++) {
				for (unsigned op = 0; op < 256; op++) {
					/* Vector length or rounding, broadcast, mask, zeroing. */
					for (unsigned k = 0; k < 10; k++) {
						uint8_t c[16] = { 0x62, (uint8_t)(0xf0 | map), 0, 0,
								  (uint8_t)op };

						c[2] = (uint8_t)(w << 7 |
								 ((k & 1) ? 9u << 3 : 15u << 3) |
								 4 | pp);
						c[3] = (uint8_t)((k % 3) << 5 | 8 | (k >= 6) << 4 |
								 (k == 5 || k == 8) << 7 |
								 ((k >= 4) ? 3 : 0));
						for (unsigned reg = 0; reg < 2; reg++) {
							c[5] = (uint8_t)(0xc0 | reg << 3 | 2);
							memset(c + 6, 0x1b, 4);
							try_form(m, c, 15, 16);
							c[5] = (uint8_t)(reg << 3 | 3);
							try_form(m, c, 15, 3);
						}
					}
				}
			}
		}
	}
	machine_free(m);
}

static void sweep_xop(void)
{
	struct assist_machine *m = machine_new();

	seed = 5;
	for (unsigned map = 8; map <= 10; map++) {
		for (unsigned w = 0; w < 2; w++) {
			for (unsigned op = 0; op < 256; op++) {
				uint8_t c[16] = { 0x8f, (uint8_t)(0xe0 | map),
						  (uint8_t)(w << 7 | 9u << 3), (uint8_t)op };

				try_modrm(m, c, 4);
			}
		}
	}
	machine_free(m);
}

/* Every way to say where the operand is, by one load and one store. */
START_TEST(addressing)
{
	static const struct {
		uint8_t code[12];
		uint8_t base;
		int disp;
	} forms[] = {
		{ { 0x66, 0x0f, 0xd6, 0x00 }, 0, 0 }, /* movq %xmm0, (%rax) */
		{ { 0x66, 0x0f, 0xd6, 0x7d, 0x08 }, 5, 8 }, /* %xmm7, 8(%rbp) */
		{ { 0x66, 0x0f, 0xd6, 0x87, 0x10, 0xff, 0xff, 0xff }, 7, -240 }, /* disp32 */
		{ { 0x66, 0x41, 0x0f, 0xd6, 0x04, 0x24 }, 12, 0 }, /* (%r12): SIB */
		{ { 0x66, 0x45, 0x0f, 0xd6, 0x7d, 0x00 }, 13, 0 }, /* %xmm15, 0(%r13) */
		{ { 0x66, 0x44, 0x0f, 0xd6, 0x04, 0x25 }, 16, 0 }, /* absolute: filled in below */
		{ { 0xf3, 0x41, 0x0f, 0x7e, 0x06 }, 14, 0 }, /* movq (%r14), %xmm0 */
		{ { 0xc4, 0xc1, 0x7c, 0x10, 0x43, 0x20 }, 11, 32 }, /* vmovups 32(%r11), %ymm0 */
		{ { 0x62, 0xd1, 0x7c, 0x48, 0x10, 0x41, 0x02 }, 9, 128 }, /* disp8 * 64 */
		{ { 0x2e, 0x66, 0x0f, 0xd6, 0x06 }, 6, 0 }, /* CS prefix: ignored */
	};
	struct assist_machine *m = machine_new();
	struct xmm {
		uint64_t q[2];
	} want;

	seed = 6;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
		ZydisDecodedInstruction d;
		ZydisDecoder dec;

		if (forms[i].base == 16)
			continue; /* absolute 32-bit addresses are not ours to map */
		zydis(NULL)->DecoderInit(&dec, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
		ck_assert(ZYAN_SUCCESS(
			zydis(NULL)->DecoderDecodeFull(&dec, forms[i].code, 12, &d, op)));
		for (unsigned k = 0; k < RUNS; k++)
			compare(m, &d, forms[i].code, forms[i].base,
				(uintptr_t)m->mem + MEM_SIZE / 2 - (uint64_t)forms[i].disp, false);
	}

	/* Base RSP with index and scale, FS base, RIP and 32-bit addresses: by hand. */
	memset(m->mem, 0, MEM_SIZE);
	want = (struct xmm){ { 0x1122334455667788, 0x99aabbccddeeff00 } };
	memcpy(m->mem + 0x820, &want, 16);
	m->c.regs.rsp = (uintptr_t)m->mem + 0x800;
	m->c.regs.rcx = 4;
	ck_assert_int_eq(STEP(m, 0x0f, 0x10, 0x44, 0x8c, 0x10), INSN_DONE); /* 16(%rsp,%rcx,4) */
	ck_assert_mem_eq(m->xsave + 160, &want, 16);
	memset(m->xsave + 160, 0, 16);
	m->c.sregs.fs.base = (uintptr_t)m->mem + 0x700;
	m->c.regs.rax = 0x120;
	ck_assert_int_eq(STEP(m, 0x64, 0x0f, 0x10, 0x00), INSN_DONE); /* %fs:(%rax) */
	ck_assert_mem_eq(m->xsave + 160, &want, 16);
	memset(m->xsave + 160, 0, 16);
	m->c.regs.rip = (uintptr_t)m->mem + 0x800 - 7;
	ck_assert_int_eq(STEP(m, 0x0f, 0x10, 0x05, 0x20, 0, 0, 0), INSN_DONE); /* 0x20(%rip) */
	ck_assert_mem_eq(m->xsave + 160, &want, 16);
	memset(m->xsave + 160, 0, 16);
	m->c.sregs.gs.base = (uintptr_t)m->mem + 0x800;
	m->c.regs.rax = 0xdead00000020; /* addr32: only the low half counts */
	ck_assert_int_eq(STEP(m, 0x65, 0x67, 0x0f, 0x10, 0x00), INSN_DONE);
	ck_assert_mem_eq(m->xsave + 160, &want, 16);
	machine_free(m);
}
END_TEST

/* RSP as an operand, which another register stands in for. */
START_TEST(stack_pointer)
{
	struct assist_machine *m = machine_new();
	struct insn_cpu *c = &m->c;
	uint64_t x = 0x0123456789abcdef;

	c->regs.rax = 0xff00ff;
	ck_assert_int_eq(STEP(m, 0xf3, 0x48, 0x0f, 0xb8, 0xe0), INSN_DONE); /* popcnt %rax, %rsp */
	ck_assert_uint_eq(c->regs.rsp, 16);
	c->regs.rsp = x;
	ck_assert_int_eq(STEP(m, 0xf3, 0x48, 0x0f, 0xb8, 0xfc), INSN_DONE); /* popcnt %rsp, %rdi */
	ck_assert_uint_eq(c->regs.rdi, (uint64_t)__builtin_popcountll(x));
	ck_assert_uint_eq(c->regs.rsp, x);
	ck_assert_int_eq(STEP(m, 0x66, 0x48, 0x0f, 0x6e, 0xc4), INSN_DONE); /* movq %rsp, %xmm0 */
	ck_assert_mem_eq(m->xsave + 160, &x, 8);
	ck_assert_int_eq(STEP(m, 0x66, 0x0f, 0x7e, 0xc4), INSN_DONE); /* movd %xmm0, %esp */
	ck_assert_uint_eq(c->regs.rsp, (uint32_t)x);
	if (c->cpuid[INSN_CPUID_7B] & 8) {
		c->regs.rsp = 0xf0;
		c->regs.rcx = 0x3c;
		/* andn %rcx, %rsp, %rax: RSP in VEX.vvvv */
		ck_assert_int_eq(STEP(m, 0xc4, 0xe2, 0xd8, 0xf2, 0xc1), INSN_DONE);
		ck_assert_uint_eq(c->regs.rax, 0x0c);
		ck_assert_uint_eq(c->regs.rsp, 0xf0);
		/* andn (%rdi), %rsp, %rsp: a base register as well */
		c->regs.rdi = (uintptr_t)m->mem;
		memcpy(m->mem, &x, 8);
		ck_assert_int_eq(STEP(m, 0xc4, 0xe2, 0xd8, 0xf2, 0x27), INSN_DONE);
		ck_assert_uint_eq(c->regs.rsp, ~0xf0ull & x);
		ck_assert_uint_eq(c->regs.rdi, (uintptr_t)m->mem);
	}
	machine_free(m);
}
END_TEST

/* Checks that come before the instruction itself. */
START_TEST(availability)
{
	struct assist_machine *m = machine_new();
	struct insn_cpu *c = &m->c;
	const uint64_t cr0 = c->sregs.cr0, cr4 = c->sregs.cr4;

#define VECTOR(v, ...)                                                                             \
	do {                                                                                       \
		ck_assert_int_eq(STEP(m, __VA_ARGS__), INSN_EVENT);                                \
		ck_assert_uint_eq(c->event.vector, (v));                                           \
		ck_assert(!c->event.has_error);                                                    \
	} while (0)
	c->sregs.cr0 = cr0 | 8; /* TS */
	VECTOR(7, 0x0f, 0x58, 0xc1); /* addps */
	VECTOR(7, 0xd9, 0xe8); /* fld1 */
	VECTOR(7, 0x9b); /* wait, MP set */
	VECTOR(7, 0x0f, 0x77); /* emms */
	VECTOR(7, 0xc5, 0xf8, 0x77); /* vzeroupper */
	ck_assert_int_eq(STEP(m, 0xf3, 0x0f, 0xb8, 0xc1), INSN_DONE); /* popcnt */
	c->sregs.cr0 = (cr0 | 8) & ~2ull; /* TS without MP */
	ck_assert_int_eq(STEP(m, 0x9b), INSN_DONE);
	c->sregs.cr0 = cr0 | 4; /* EM */
	VECTOR(6, 0x0f, 0x58, 0xc1);
	VECTOR(7, 0xd9, 0xe8);
	c->regs.rbx = (uintptr_t)m->mem;
	VECTOR(7, 0xdb, 0x0b); /* fisttp: x87, though it came with SSE3 */
	VECTOR(6, 0x0f, 0x77);
	c->sregs.cr0 = cr0;
	c->sregs.cr4 = cr4 & ~(1ull << 9); /* OSFXSR */
	VECTOR(6, 0x0f, 0x58, 0xc1);
	ck_assert_int_eq(STEP(m, 0xd9, 0xe8), INSN_DONE);
	c->sregs.cr4 = cr4 & ~(1ull << 18); /* OSXSAVE */
	VECTOR(6, 0xc5, 0xf8, 0x58, 0xc1); /* vaddps */
	c->sregs.cr4 = cr4;
	c->xcr0 = 3;
	VECTOR(6, 0xc5, 0xf8, 0x58, 0xc1);
	c->xcr0 = 7;
	VECTOR(6, 0x62, 0xf1, 0x74, 0x48, 0x58, 0xc1); /* vaddps zmm */
	c->cpuid[INSN_CPUID_1C] &= ~(1u << 23);
	VECTOR(6, 0xf3, 0x0f, 0xb8, 0xc1);
	c->cpuid[INSN_CPUID_1D] &= ~(1u << 25);
	VECTOR(6, 0x0f, 0x58, 0xc1);
	c->sregs.cr4 = cr4 & ~(1ull << 10); /* OSXMMEXCPT: #UD for #XM */
	c->cpuid[INSN_CPUID_1D] |= 1u << 25;
	m->xsave[24] = m->xsave[25] = 0; /* all unmasked */
	memset(m->xsave + 160, 0, 32);
	m->xsave[512] = 3;
	VECTOR(6, 0x0f, 0x5e, 0xc1); /* 0 / 0 */
	c->sregs.cr4 = cr4;
	m->xsave[24] = m->xsave[25] = 0;
	VECTOR(19, 0x0f, 0x5e, 0xc1);
#undef VECTOR
	machine_free(m);
}
END_TEST

/* Page faults and general protection of the memory operand. Nothing else may change. */
START_TEST(memory_faults)
{
	struct assist_machine *m = machine_new();
	struct insn_cpu *c = &m->c;
	static _Alignas(64) uint8_t before[XSAVE_AREA];

	memcpy(before, m->xsave, sizeof(before));
	m->forbidden = (uintptr_t)m->mem + 4096;
	c->regs.rbx = m->forbidden - 8;
	ck_assert_int_eq(STEP(m, 0x0f, 0x10, 0x03), INSN_EVENT); /* movups (%rbx), %xmm0 */
	ck_assert_uint_eq(c->event.vector, 14);
	ck_assert_uint_eq(c->event.error, 0);
	ck_assert_uint_eq(c->sregs.cr2, m->forbidden);
	ck_assert_uint_eq(c->regs.rip, 0x100000);
	ck_assert_int_eq(STEP(m, 0xdd, 0x1b), INSN_DONE); /* fstp (%rbx): 8 bytes do fit */
	memcpy(m->xsave, before, sizeof(before));
	c->regs.rbx++;
	ck_assert_int_eq(STEP(m, 0xdd, 0x1b), INSN_EVENT); /* and must not pop when they do not */
	ck_assert_uint_eq(c->event.error, 2);
	ck_assert_mem_eq(m->xsave, before, sizeof(before));
	m->forbidden = 0;
	m->read_only = (uintptr_t)m->mem + 8192;
	c->regs.rbx = m->read_only;
	ck_assert_int_eq(STEP(m, 0x0f, 0x10, 0x03), INSN_DONE);
	ck_assert_int_eq(STEP(m, 0x0f, 0x11, 0x03), INSN_EVENT);
	ck_assert_uint_eq(c->event.error, 3);
	c->regs.rbx = (uintptr_t)m->mem + 1;
	ck_assert_int_eq(STEP(m, 0x0f, 0x28, 0x03), INSN_EVENT); /* movaps, not aligned */
	ck_assert_uint_eq(c->event.vector, 13);
	ck_assert(c->event.has_error);
	c->regs.rbx = 1ull << 63; /* not canonical */
	ck_assert_int_eq(STEP(m, 0x0f, 0x10, 0x03), INSN_EVENT);
	ck_assert_uint_eq(c->event.vector, 13);
	c->regs.rbp = 1ull << 63; /* by the stack segment */
	ck_assert_int_eq(STEP(m, 0x0f, 0x10, 0x45, 0), INSN_EVENT);
	ck_assert_uint_eq(c->event.vector, 12);
	machine_free(m);
}
END_TEST

/* A page that goes away between the read and the write: as if nothing had run. */
START_TEST(late_write_fault)
{
	struct assist_machine *m = machine_new();
	struct kvm_regs before;

	m->fail_writes = true;
	m->c.fpu_loaded = true;
	m->c.regs.rbx = (uintptr_t)m->mem;
	before = m->c.regs;
	ck_assert_int_eq(STEP(m, 0xdd, 0x1b), INSN_EVENT); /* fstp (%rbx) */
	ck_assert_uint_eq(m->c.event.vector, 14);
	ck_assert(!m->c.fpu_dirty && !m->c.fpu_loaded); /* the popped state is not used */
	ck_assert_mem_eq(&before, &m->c.regs, sizeof(before));
	machine_free(m);
}
END_TEST

/* An area as only a hostile or broken source would give it: the host's XRSTOR must not fault. */
START_TEST(unloadable_state)
{
	struct assist_machine *m = machine_new();

	memset(m->xsave + 512, 0xff, 64);
	memset(m->xsave + 24, 0xff, 4);
	m->xsave[25] = 0x1f; /* exceptions masked */
	ck_assert_int_eq(STEP(m, 0x0f, 0x57, 0xc0), INSN_DONE);
	machine_free(m);
}
END_TEST

/* What must never reach the host: the carrier says that it does not know it, or #UD. */
START_TEST(refused)
{
	static const uint8_t codes[][12] = {
		{ 0x0f, 0x05 }, /* syscall */
		{ 0xff, 0x23 }, /* jmp *(%rbx) */
		{ 0xff, 0xd0 }, /* call *%rax */
		{ 0xc3 }, /* ret */
		{ 0xeb, 0xfe }, /* jmp . */
		{ 0x58 }, /* pop %rax */
		{ 0xa4 }, /* movsb */
		{ 0x48, 0xab }, /* stosq */
		{ 0x66, 0x0f, 0xf7, 0xc1 }, /* maskmovdqu: writes at RDI */
		{ 0x0f, 0xf7, 0xc1 }, /* maskmovq */
		{ 0xc5, 0xf9, 0xf7, 0xc1 }, /* vmaskmovdqu */
		{ 0xc4, 0xe2, 0x71, 0x90, 0x04, 0x1b }, /* vpgatherdd */
		{ 0x62, 0xf2, 0x7d, 0x49, 0x90, 0x04, 0x1b }, /* the EVEX one */
		{ 0x62, 0xf2, 0x7d, 0x49, 0xa0, 0x04, 0x1b }, /* vpscatterdd */
		{ 0x0f, 0xae, 0x03 }, /* fxsave: KVM does it */
		{ 0xf3, 0x48, 0x0f, 0xae, 0xc0 }, /* rdfsbase */
		{ 0xf3, 0x48, 0x0f, 0xae, 0xd8 }, /* wrgsbase */
		{ 0x0f, 0x01, 0xef }, /* wrpkru */
		{ 0xc7, 0xf8, 0, 0, 0, 0 }, /* xbegin */
		{ 0x0f, 0x0b }, /* ud2 */
		{ 0xf4 }, /* hlt */
		{ 0xec }, /* in */
		{ 0x0f, 0x22, 0xd8 }, /* mov to cr3 */
		{ 0x0f, 0x30 }, /* wrmsr */
		{ 0xf2, 0x0f, 0x38, 0xf8, 0x03 }, /* enqcmd */
		{ 0x66, 0x0f, 0x38, 0xf8, 0x03 }, /* movdir64b */
		{ 0xf3, 0x0f, 0x38, 0xdc, 0x03 }, /* aesenc128kl */
		{ 0xc4, 0xe2, 0x7b, 0x4b, 0x04, 0x1b }, /* tileloadd */
		{ 0xc9 }, /* leave */
		{ 0x0f, 0xa2 }, /* cpuid */
		{ 0x89, 0x03 }, /* mov: KVM never fails on it */
	};
	struct assist_machine *m = machine_new();

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		struct kvm_regs before;
		enum insn_status s;

		m->c.regs.rbx = m->c.regs.rdi = m->c.regs.rsi = (uintptr_t)m->mem;
		before = m->c.regs;
		s = machine_step(m, codes[i], sizeof(codes[i]));
		ck_assert_msg(s == INSN_UNSUPPORTED || (s == INSN_EVENT && m->c.event.vector == 6),
			      "code %zu (%02x %02x): status %d", i, codes[i][0], codes[i][1], s);
		ck_assert_mem_eq(&before, &m->c.regs, sizeof(before));
		ck_assert_uint_eq(m->writes, 0);
	}
	machine_free(m);
}
END_TEST

/* The FPU state of this program must not leak into the guest, nor the guest's into it. */
START_TEST(host_state_is_restored)
{
	struct assist_machine *m = machine_new();
	uint32_t mxcsr;
	uint16_t fcw;

	m->xsave[24] = 0x40; /* DAZ, all unmasked */
	m->xsave[25] = 0x60;
	m->xsave[0] = 0;
	m->xsave[1] = 0x0c;
	m->xsave[512] = 3;
	ck_assert_int_eq(STEP(m, 0x0f, 0x57, 0xc0), INSN_DONE); /* xorps */
	ck_assert_int_eq(STEP(m, 0xd9, 0xe8), INSN_DONE); /* fld1 */
	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	__asm__ volatile("fnstcw %0" : "=m"(fcw));
	ck_assert_uint_eq(mxcsr & 0xffc0, 0x1f80);
	ck_assert_uint_eq(fcw, 0x37f);
	ck_assert(1.0 / (volatile double){ 3.0 } < 0.5);
	machine_free(m);
}
END_TEST

/* That the sweeps above were not empty, and did cover what KVM is known to lack. */
START_TEST(coverage)
{
	static const ZydisMnemonic must[] = {
		ZYDIS_MNEMONIC_POPCNT,    ZYDIS_MNEMONIC_CRC32,   ZYDIS_MNEMONIC_ADDPS,
		ZYDIS_MNEMONIC_ADDSD,     ZYDIS_MNEMONIC_MOVD,    ZYDIS_MNEMONIC_MOVQ,
		ZYDIS_MNEMONIC_MOVLPS,    ZYDIS_MNEMONIC_MOVHPS,  ZYDIS_MNEMONIC_XORPS,
		ZYDIS_MNEMONIC_PXOR,      ZYDIS_MNEMONIC_LDMXCSR, ZYDIS_MNEMONIC_STMXCSR,
		ZYDIS_MNEMONIC_FLDCW,     ZYDIS_MNEMONIC_FWAIT,   ZYDIS_MNEMONIC_FNCLEX,
		ZYDIS_MNEMONIC_EMMS,      ZYDIS_MNEMONIC_FNSTSW,  ZYDIS_MNEMONIC_FLD,
		ZYDIS_MNEMONIC_FADD,      ZYDIS_MNEMONIC_FSTP,    ZYDIS_MNEMONIC_FNSTENV,
		ZYDIS_MNEMONIC_FLDENV,    ZYDIS_MNEMONIC_FNSAVE,  ZYDIS_MNEMONIC_FRSTOR,
		ZYDIS_MNEMONIC_FCOMI,     ZYDIS_MNEMONIC_FSQRT,   ZYDIS_MNEMONIC_FNSTCW,
		ZYDIS_MNEMONIC_CVTTSD2SI, ZYDIS_MNEMONIC_PSHUFB,  ZYDIS_MNEMONIC_UCOMISD,
	};
	/* Later additions, where the processor has them. */
	static const ZydisMnemonic if_there[] = {
		ZYDIS_MNEMONIC_LZCNT,      ZYDIS_MNEMONIC_TZCNT,      ZYDIS_MNEMONIC_ANDN,
		ZYDIS_MNEMONIC_BEXTR,      ZYDIS_MNEMONIC_BLSI,       ZYDIS_MNEMONIC_BLSR,
		ZYDIS_MNEMONIC_BZHI,       ZYDIS_MNEMONIC_MULX,       ZYDIS_MNEMONIC_PDEP,
		ZYDIS_MNEMONIC_PEXT,       ZYDIS_MNEMONIC_RORX,       ZYDIS_MNEMONIC_SHLX,
		ZYDIS_MNEMONIC_ADCX,       ZYDIS_MNEMONIC_ADOX,       ZYDIS_MNEMONIC_MOVBE,
		ZYDIS_MNEMONIC_AESENC,     ZYDIS_MNEMONIC_PCLMULQDQ,  ZYDIS_MNEMONIC_SHA256RNDS2,
		ZYDIS_MNEMONIC_VADDPS,     ZYDIS_MNEMONIC_VZEROUPPER, ZYDIS_MNEMONIC_VFMADD213PD,
		ZYDIS_MNEMONIC_VPADDD,     ZYDIS_MNEMONIC_VCVTPH2PS,  ZYDIS_MNEMONIC_KMOVQ,
		ZYDIS_MNEMONIC_VPTERNLOGD, ZYDIS_MNEMONIC_VPERMB,     ZYDIS_MNEMONIC_GF2P8MULB,
	};

	sweep_legacy();
	sweep_x87_registers();
	sweep_vex();
	sweep_evex();
	sweep_xop();
	printf("%u forms compared, %u exceptions among them\n", n_forms, n_faults);
	ck_assert_uint_gt(n_forms, 1500);
	ck_assert_uint_gt(n_faults, 100);
	for (size_t i = 0; i < sizeof(must) / sizeof(must[0]); i++)
		ck_assert_msg(seen[must[i]] == 1, "%s was not compared",
			      zydis(NULL)->MnemonicGetString(must[i]));
	for (size_t i = 0; i < sizeof(if_there) / sizeof(if_there[0]); i++)
		ck_assert_msg(seen[if_there[i]], "%s was not found at all",
			      zydis(NULL)->MnemonicGetString(if_there[i]));
	if (!n_lacking)
		return;
	printf("skipped: %u forms of instructions that this processor lacks:", n_lacking);
	for (unsigned i = 0; i <= ZYDIS_MNEMONIC_MAX_VALUE; i++)
		if (seen[i] == 2)
			printf(" %s", zydis(NULL)->MnemonicGetString((ZydisMnemonic)i));
	printf("\n");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("assist_native");
	TCase *t = tcase_create("native");

	tcase_add_unchecked_fixture(t, setup, NULL);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, coverage);
	tcase_add_test(t, addressing);
	tcase_add_test(t, stack_pointer);
	tcase_add_test(t, availability);
	tcase_add_test(t, memory_faults);
	tcase_add_test(t, late_write_fault);
	tcase_add_test(t, unloadable_state);
	tcase_add_test(t, refused);
	tcase_add_test(t, host_state_is_restored);
	suite_add_tcase(s, t);
	return run_suite(s);
}
