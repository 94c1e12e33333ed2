/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Monitor commands that look into the guest: memory by linear (x, memsave) and
 * physical (xp, pmemsave) address, ports (i, o), and expressions. Main loop only;
 * a vCPU's registers are read on its thread by vcpu_call.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "err.h"
#include "monitor_int.h"
#include "report.h"
#include "vcpu.h"

#define X_BYTES_MAX (64u << 10) /* shown by one command */
#define X_INSNS_MAX 4096u
#define SAVE_CHUNK (1u << 20)
#define PAGE 4096u

/* --- registers --- */

struct get_regs {
	struct kvm_regs r;
	struct kvm_sregs s;
	int ret;
};

static void get_regs_on_vcpu(struct vcpu *v, void *ctx)
{
	struct get_regs *g = ctx;

	g->ret = vcpu_get_regs(v, &g->r);
	if (g->ret == 0)
		g->ret = vcpu_get_sregs(v, &g->s);
}

static int get_regs(struct vcpu *v, struct get_regs *g, struct err *e)
{
	vcpu_call(v, get_regs_on_vcpu, g);
	if (g->ret < 0)
		return err_set(e, ERR_HOST, -g->ret,
			       "KVM does not tell the registers of CPU %u: %s", v->id,
			       strerror(-g->ret));
	return 0;
}

static bool is_long(const struct kvm_sregs *s)
{
	return (s->efer & (1u << 10)) && s->cs.l;
}

static unsigned code_bits(const struct kvm_sregs *s)
{
	return is_long(s) ? 64 : s->cs.db ? 32 : 16;
}

#define REG(field) offsetof(struct kvm_regs, field)
#define SREG(field) (offsetof(struct get_regs, s) + offsetof(struct kvm_sregs, field))

static const struct reg {
	const char *name;
	size_t offset; /* in struct get_regs */
	uint8_t size;
} regs[] = {
	{ "rax", REG(rax), 8 },
	{ "rbx", REG(rbx), 8 },
	{ "rcx", REG(rcx), 8 },
	{ "rdx", REG(rdx), 8 },
	{ "rsi", REG(rsi), 8 },
	{ "rdi", REG(rdi), 8 },
	{ "rbp", REG(rbp), 8 },
	{ "rsp", REG(rsp), 8 },
	{ "r8", REG(r8), 8 },
	{ "r9", REG(r9), 8 },
	{ "r10", REG(r10), 8 },
	{ "r11", REG(r11), 8 },
	{ "r12", REG(r12), 8 },
	{ "r13", REG(r13), 8 },
	{ "r14", REG(r14), 8 },
	{ "r15", REG(r15), 8 },
	{ "rip", REG(rip), 8 },
	{ "rflags", REG(rflags), 8 },
	{ "eax", REG(rax), 4 },
	{ "ebx", REG(rbx), 4 },
	{ "ecx", REG(rcx), 4 },
	{ "edx", REG(rdx), 4 },
	{ "esi", REG(rsi), 4 },
	{ "edi", REG(rdi), 4 },
	{ "ebp", REG(rbp), 4 },
	{ "esp", REG(rsp), 4 },
	{ "eip", REG(rip), 4 },
	{ "eflags", REG(rflags), 4 },
	{ "cs", SREG(cs.selector), 2 },
	{ "ds", SREG(ds.selector), 2 },
	{ "es", SREG(es.selector), 2 },
	{ "fs", SREG(fs.selector), 2 },
	{ "gs", SREG(gs.selector), 2 },
	{ "ss", SREG(ss.selector), 2 },
	{ "cs.base", SREG(cs.base), 8 },
	{ "ds.base", SREG(ds.base), 8 },
	{ "es.base", SREG(es.base), 8 },
	{ "fs.base", SREG(fs.base), 8 },
	{ "gs.base", SREG(gs.base), 8 },
	{ "ss.base", SREG(ss.base), 8 },
	{ "tr.base", SREG(tr.base), 8 },
	{ "gdt.base", SREG(gdt.base), 8 },
	{ "idt.base", SREG(idt.base), 8 },
	{ "cr0", SREG(cr0), 8 },
	{ "cr2", SREG(cr2), 8 },
	{ "cr3", SREG(cr3), 8 },
	{ "cr4", SREG(cr4), 8 },
	{ "efer", SREG(efer), 8 },
};

#define N_REGS (sizeof(regs) / sizeof(regs[0]))

static int reg_value(struct mon *m, const char *name, uint64_t *out, struct err *e)
{
	const char *names[N_REGS + 1];
	struct vcpu *v = mon_vcpu(m, NULL, e);
	struct get_regs g;

	if (!v || get_regs(v, &g, e) < 0)
		return -EINVAL;
	if (!strcmp(name, "pc")) { /* where the next instruction lies, as x wants it */
		*out = g.r.rip + (is_long(&g.s) ? 0 : g.s.cs.base);
		return 0;
	}
	for (size_t i = 0; i < N_REGS; i++) {
		if (!strcmp(regs[i].name, name)) {
			*out = 0;
			memcpy(out, (const char *)&g + regs[i].offset, regs[i].size);
			return 0;
		}
		names[i] = regs[i].name;
	}
	names[N_REGS] = "pc";
	err_set(e, ERR_USAGE, EINVAL, "unknown register '$%s'", name);
	err_suggest(e, name, names, N_REGS + 1);
	return -EINVAL;
}

/* --- expressions: 64-bit unsigned, C's precedences --- */

struct expr {
	struct mon *m;
	const char *text, *p;
	unsigned depth;
	struct err *e;
};

static int expr_error(struct expr *x, const char *what)
{
	return err_set(x->e, ERR_USAGE, EINVAL, "expression '%.80s': %s%s%.40s%s", x->text, what,
		       *x->p ? " at '" : " at its end", x->p, *x->p ? "'" : "");
}

static void expr_blanks(struct expr *x)
{
	while (isspace((unsigned char)*x->p))
		x->p++;
}

static int expr_binary(struct expr *x, int min_level, uint64_t *out);

static int expr_operand(struct expr *x, uint64_t *out)
{
	char name[16];
	size_t n;
	char *end;
	int ret;

	expr_blanks(x);
	if (++x->depth > 64)
		return expr_error(x, "nested too deeply");
	if (*x->p == '(') {
		x->p++;
		ret = expr_binary(x, 0, out);
		if (ret < 0)
			return ret;
		expr_blanks(x);
		if (*x->p != ')')
			return expr_error(x, "')' is missing");
		x->p++;
	} else if (*x->p == '-' || *x->p == '~' || *x->p == '+') {
		char op = *x->p++;

		ret = expr_operand(x, out);
		if (ret < 0)
			return ret;
		*out = op == '-' ? -*out : op == '~' ? ~*out : *out;
	} else if (*x->p == '$') {
		x->p++;
		n = strspn(x->p, "abcdefghijklmnopqrstuvwxyz0123456789.");
		snprintf(name, sizeof(name), "%.*s", (int)(n < 15 ? n : 15), x->p);
		ret = reg_value(x->m, name, out, x->e);
		if (ret < 0)
			return ret;
		x->p += n;
	} else if (*x->p == '\'' && x->p[1] && x->p[2] == '\'') {
		*out = (unsigned char)x->p[1];
		x->p += 3;
	} else if (isdigit((unsigned char)*x->p)) {
		errno = 0;
		*out = strtoull(x->p, &end, 0);
		if (errno)
			return expr_error(x, "a number beyond 64 bits");
		if (isalnum((unsigned char)*end) || *end == '_') {
			x->p = end;
			return expr_error(x, "not a digit");
		}
		x->p = end;
	} else {
		return expr_error(x, "a number or a $register is missing");
	}
	x->depth--;
	return 0;
}

static const struct expr_op {
	const char *text;
	int level;
} expr_ops[] = {
	{ "|", 0 }, { "^", 1 }, { "&", 2 }, { "<<", 3 }, { ">>", 3 },
	{ "+", 4 }, { "-", 4 }, { "*", 5 }, { "/", 5 },  { "%", 5 },
};

static const struct expr_op *expr_next_op(struct expr *x)
{
	expr_blanks(x);
	for (size_t i = 0; i < sizeof(expr_ops) / sizeof(expr_ops[0]); i++) {
		if (!strncmp(x->p, expr_ops[i].text, strlen(expr_ops[i].text)))
			return &expr_ops[i];
	}
	return NULL;
}

/* Operators of min_level and above, left to right. */
static int expr_binary(struct expr *x, int min_level, uint64_t *out)
{
	const struct expr_op *op;
	uint64_t a, b;
	int ret = expr_operand(x, &a);

	while (ret == 0 && (op = expr_next_op(x)) != NULL && op->level >= min_level) {
		x->p += strlen(op->text);
		ret = expr_binary(x, op->level + 1, &b);
		if (ret < 0)
			break;
		switch (op->text[0]) {
		case '|':
			a |= b;
			break;
		case '^':
			a ^= b;
			break;
		case '&':
			a &= b;
			break;
		case '<':
			a = b < 64 ? a << b : 0;
			break;
		case '>':
			a = b < 64 ? a >> b : 0;
			break;
		case '+':
			a += b;
			break;
		case '-':
			a -= b;
			break;
		case '*':
			a *= b;
			break;
		default:
			if (!b)
				return expr_error(x, "division by zero");
			a = op->text[0] == '/' ? a / b : a % b;
		}
	}
	*out = a;
	return ret;
}

int mon_eval(struct mon *m, const char *text, uint64_t *out, struct err *e)
{
	struct expr x = { .m = m, .text = text, .p = text, .e = e };
	int ret = expr_binary(&x, 0, out);

	if (ret == 0) {
		expr_blanks(&x);
		if (*x.p)
			ret = expr_error(&x, "an operator is missing");
	}
	return ret;
}

/* --- /FMT --- */

struct fmt {
	unsigned count;
	char letter; /* x d u o c i */
	unsigned size; /* 1 2 4 8 */
};

static int parse_fmt(struct mon *m, const char *text, struct fmt *f, struct err *e)
{
	const char *p = text ? text + 1 : "";
	unsigned long count = 1;
	char *end;

	if (isdigit((unsigned char)*p)) {
		errno = 0;
		count = strtoul(p, &end, 10);
		p = end;
		if (errno || !count || count > X_BYTES_MAX)
			return err_set(e, ERR_USAGE, EINVAL, "'%s': the count must be 1 to %u",
				       text, X_BYTES_MAX);
	}
	f->count = (unsigned)count;
	f->letter = m->fmt ? m->fmt : 'x';
	f->size = 0;
	for (; *p; p++) {
		if (strchr("xduoci", *p)) {
			f->letter = *p;
		} else if (strchr("bhwg", *p)) {
			f->size = *p == 'b' ? 1 : *p == 'h' ? 2 : *p == 'w' ? 4 : 8;
		} else {
			err_set(e, ERR_USAGE, EINVAL, "'%s': '%c' is not a format or a size", text,
				*p);
			err_hint(e, "formats: x d u o c i; sizes: b h w g (1 2 4 8 bytes)");
			return -EINVAL;
		}
	}
	if (!f->size)
		f->size = f->letter == 'c' ? 1 : m->fmt_size ? m->fmt_size : 4;
	return 0;
}

static uint64_t le_value(const uint8_t *p, unsigned size)
{
	uint64_t v = 0;

	for (unsigned i = size; i-- > 0;)
		v = v << 8 | p[i];
	return v;
}

/* One value; columns line up but for hexadecimal, which is padded with zeros. */
static void print_number(FILE *f, uint64_t v, char letter, unsigned size, bool pad)
{
	static const uint8_t octal_digits[9] = { 0, 3, 6, 0, 11, 0, 0, 0, 22 };
	static const uint8_t decimal_digits[9] = { 0, 3, 5, 0, 10, 0, 0, 0, 20 };
	int shift = 64 - 8 * (int)size;
	int width = pad ? decimal_digits[size] : 0;

	switch (letter) {
	case 'd':
		fprintf(f, "%*" PRId64, width + !!width, (int64_t)(v << shift) >> shift);
		break;
	case 'u':
		fprintf(f, "%*" PRIu64, width, v);
		break;
	case 'o':
		fprintf(f, "0%0*" PRIo64, pad ? octal_digits[size] : 0, v);
		break;
	case 'c':
		v &= 0xff;
		if (v == '\'' || v == '\\')
			fprintf(f, "'\\%c'", (char)v);
		else if (v >= ' ' && v < 0x7f)
			fprintf(f, "'%c'", (char)v);
		else
			fprintf(f, "'\\x%02x'", (unsigned)v);
		break;
	default:
		fprintf(f, "0x%0*" PRIx64, pad ? 2 * (int)size : 0, v);
	}
}

/* --- reading --- */

/* As much of [addr, addr+len) as can be read, from the start. */
static size_t read_physical(const struct vm *vm, uint64_t addr, uint8_t *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		uint64_t a = addr + done;
		size_t n = PAGE - (size_t)(a % PAGE);
		const void *p;

		if (n > len - done)
			n = len - done;
		p = vm_guest_ptr(vm, a, n, false);
		if (!p)
			break;
		memcpy(buf + done, p, n);
		done += n;
	}
	return done;
}

static void print_insns(FILE *f, const struct fmt *fmt, uint64_t addr, const uint8_t *buf,
			size_t len, unsigned bits, const char *kernel)
{
	size_t off = 0;

	for (unsigned i = 0; i < fmt->count; i++) {
		char text[160], bytes[3 * INSN_MAX + 1] = "";
		size_t n;

		if (off == len) {
			fprintf(f, "0x%08" PRIx64 ": Cannot access memory\n", addr + off);
			return;
		}
		n = disasm_symbols(buf + off, len - off, addr + off, bits, kernel, text,
				   sizeof(text));
		if (!n || n > len - off)
			n = 1; /* text says why there is none */
		for (size_t k = 0; k < n && k < INSN_MAX; k++)
			sprintf(bytes + 3 * k, "%02x ", buf[off + k]);
		fprintf(f, "0x%08" PRIx64 ":  %-24s %s\n", addr + off, bytes, text);
		off += n;
	}
}

static void print_memory(FILE *f, const struct fmt *fmt, uint64_t addr, const uint8_t *buf,
			 size_t len)
{
	unsigned per_line = fmt->size == 1 || fmt->letter == 'c' ? 8 : 16 / fmt->size;

	for (unsigned i = 0; i < fmt->count; i++) {
		size_t off = (size_t)i * fmt->size;

		if (i % per_line == 0)
			fprintf(f, "%s%016" PRIx64 ":", i ? "\n" : "", addr + off);
		if (off + fmt->size > len) {
			fputs(" Cannot access memory\n", f);
			return;
		}
		fputc(' ', f);
		print_number(f, le_value(buf + off, fmt->size), fmt->letter, fmt->size, true);
	}
	fputc('\n', f);
}

static json_t *examine(struct mon *m, const json_t *args, bool physical, struct err *e)
{
	struct vcpu *v = mon_vcpu(m, NULL, e);
	uint64_t addr = (uint64_t)mon_int(args, "addr", 0);
	size_t len, done, size;
	struct get_regs g;
	struct fmt fmt;
	json_t *j = NULL;
	char *text = NULL;
	uint8_t *buf;
	FILE *f;

	if (!v || parse_fmt(m, mon_str(args, "fmt"), &fmt, e) < 0 || get_regs(v, &g, e) < 0)
		return NULL;
	len = (size_t)fmt.count * (fmt.letter == 'i' ? INSN_MAX : fmt.size);
	if (len > (fmt.letter == 'i' ? X_INSNS_MAX * INSN_MAX : X_BYTES_MAX)) {
		err_set(e, ERR_USAGE, E2BIG,
			"at most %u bytes or %u instructions can be shown at a time", X_BYTES_MAX,
			X_INSNS_MAX);
		err_hint(e, "memsave and pmemsave write any amount to a file");
		return NULL;
	}
	buf = malloc(len);
	f = open_memstream(&text, &size);
	if (!buf || !f)
		goto out;
	if (physical)
		done = read_physical(m->vm, addr, buf, len);
	else
		done = guest_read_gva(m->vm, &g.s, addr, buf, len);
	m->fmt = fmt.letter;
	m->fmt_size = fmt.size;
	if (fmt.letter == 'i')
		print_insns(f, &fmt, addr, buf, done, code_bits(&g.s), m->vm->cfg->kernel);
	else
		print_memory(f, &fmt, addr, buf, done);
out:
	if (f && fclose(f) == 0 && text && buf)
		j = mon_string(text);
	free(text);
	free(buf);
	return j;
}

json_t *mon_x(struct mon *m, const json_t *args, struct err *e)
{
	return examine(m, args, false, e);
}

json_t *mon_xp(struct mon *m, const json_t *args, struct err *e)
{
	return examine(m, args, true, e);
}

json_t *mon_print(struct mon *m, const json_t *args, struct err *e)
{
	char *text = NULL;
	size_t size;
	json_t *j = NULL;
	struct fmt fmt;
	FILE *f;

	if (parse_fmt(m, mon_str(args, "fmt"), &fmt, e) < 0)
		return NULL;
	if (!mon_str(args, "fmt"))
		fmt.letter = 'd';
	f = open_memstream(&text, &size);
	if (!f)
		return NULL;
	print_number(f, (uint64_t)mon_int(args, "expr", 0), fmt.letter, 8, false);
	if (fclose(f) == 0 && text)
		j = mon_string(text);
	free(text);
	return j;
}

json_t *mon_gva2gpa(struct mon *m, const json_t *args, struct err *e)
{
	struct vcpu *v = mon_vcpu(m, args, e);
	struct page_walk w;
	struct get_regs g;
	char text[64] = "Unmapped";

	if (!v || get_regs(v, &g, e) < 0)
		return NULL;
	if (guest_page_walk(m->vm, &g.s, (uint64_t)mon_int(args, "addr", 0), &w) == 0)
		snprintf(text, sizeof(text), "gpa: 0x%" PRIx64, w.gpa);
	return mon_string(text);
}

/* --- ports --- */

/* The size of a port access by /FMT: one value of 1, 2 or 4 bytes. */
static int port_size(struct mon *m, const json_t *args, unsigned *size, struct err *e)
{
	const char *text = mon_str(args, "fmt");
	struct mon fresh = { .fmt_size = 1 };
	struct fmt fmt;
	int64_t port = mon_int(args, "port", 0);

	if (text && !strcmp(text, "/l"))
		text = "/w"; /* what a 4-byte port access is called in assembly */
	if (parse_fmt(&fresh, text, &fmt, e) < 0)
		return -EINVAL;
	if (fmt.size == 8 || fmt.count != 1)
		return err_set(e, ERR_USAGE, EINVAL,
			       "a port takes one value of 1, 2 or 4 bytes (/b /h /w)");
	if (port < 0 || port > 0xffff)
		return err_set(e, ERR_USAGE, EINVAL, "port 0x%" PRIx64 " is beyond 0xffff",
			       (uint64_t)port);
	*size = fmt.size;
	return 0;
}

static json_t *port_result(struct mon *m, unsigned port, const uint8_t *buf, unsigned size,
			   bool answered)
{
	char text[80];

	snprintf(text, sizeof(text), "port%c[0x%04x] = 0x%0*" PRIx64 "%s",
		 size == 1   ? 'b'
		 : size == 2 ? 'w'
			     : 'l',
		 port, 2 * (int)size, le_value(buf, size),
		 answered ? "" : " (no device in this process answers there)");
	return mon_string(text);
}

json_t *mon_port_in(struct mon *m, const json_t *args, struct err *e)
{
	uint64_t port = (uint64_t)mon_int(args, "port", 0);
	uint8_t buf[8] = { 0 };
	unsigned size;
	bool ok;

	if (port_size(m, args, &size, e) < 0)
		return NULL;
	ok = bus_read(&m->vm->m.pio, port, buf, size);
	return port_result(m, (unsigned)port, buf, size, ok);
}

json_t *mon_port_out(struct mon *m, const json_t *args, struct err *e)
{
	uint64_t port = (uint64_t)mon_int(args, "port", 0);
	uint64_t val = (uint64_t)mon_int(args, "val", 0);
	uint8_t buf[8] = { 0 };
	unsigned size;

	if (port_size(m, args, &size, e) < 0)
		return NULL;
	if (val >> (8 * size) && ((int64_t)val >= 0 || (int64_t)val < -(1ll << (8 * size - 1)))) {
		err_set(e, ERR_USAGE, EINVAL, "value 0x%" PRIx64 " does not fit in %u bytes", val,
			size);
		return NULL;
	}
	for (unsigned i = 0; i < size; i++)
		buf[i] = (uint8_t)(val >> (8 * i));
	if (bus_write(&m->vm->m.pio, port, buf, size))
		return mon_empty();
	err_set(e, ERR_USAGE, ENXIO, "no device in this process answers at port 0x%04x",
		(unsigned)port);
	return NULL;
}

/* --- memory to a file --- */

static int write_all(int fd, const uint8_t *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		buf += n;
		len -= (size_t)n;
	}
	return 0;
}

/* sregs: for linear addresses; NULL: physical. */
static json_t *save(struct mon *m, const json_t *args, const struct kvm_sregs *sregs, struct err *e)
{
	const char *name = mon_str(args, "filename");
	uint64_t addr = (uint64_t)mon_int(args, "val", 0), done = 0;
	int64_t size = mon_int(args, "size", 0);
	uint8_t *buf;
	int fd = -1, ret = 0;

	if (size < 0) {
		err_set(e, ERR_USAGE, EINVAL, "Parameter 'size' expects a size");
		return NULL;
	}
	buf = malloc(SAVE_CHUNK);
	if (!buf)
		return NULL;
	do {
		uint64_t left = (uint64_t)size - done, at = addr + done;
		size_t n = left < SAVE_CHUNK ? (size_t)left : SAVE_CHUNK, got;

		if (sregs)
			got = guest_read_gva(m->vm, sregs, at, buf, n);
		else
			got = read_physical(m->vm, at, buf, n);
		if (got < n) {
			ret = err_set(e, ERR_USAGE, EFAULT,
				      "Invalid addr 0x%016" PRIx64 "/size %" PRId64 " specified",
				      addr, size);
			err_hint(e, "nothing can be read at 0x%016" PRIx64, at + got);
			break;
		}
		/* Only now, so that a mistyped address costs no file its content. */
		if (fd < 0)
			fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK,
				  0600);
		if (fd < 0) {
			ret = err_set(e, ERR_HOST, errno, "Could not open '%s': %s", name,
				      strerror(errno));
			break;
		}
		ret = write_all(fd, buf, n);
		if (ret < 0) {
			err_set(e, ERR_HOST, -ret, "Could not write '%s': %s", name,
				strerror(-ret));
			break;
		}
		done += n;
	} while (done < (uint64_t)size);
	if (fd >= 0 && close(fd) < 0 && ret == 0)
		ret = err_set(e, ERR_HOST, errno, "Could not write '%s': %s", name,
			      strerror(errno));
	free(buf);
	return ret < 0 ? NULL : mon_empty();
}

json_t *mon_memsave(struct mon *m, const json_t *args, struct err *e)
{
	struct vcpu *v = mon_vcpu(m, args, e);
	struct get_regs g;

	return v && get_regs(v, &g, e) == 0 ? save(m, args, &g.s, e) : NULL;
}

json_t *mon_pmemsave(struct mon *m, const json_t *args, struct err *e)
{
	return save(m, args, NULL, e);
}
