/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Symbols of an ELF kernel, for the crash report and the monitor.
 *
 * System V ABI, chapters 4 and 5 (ELF header, sections, symbol table, program
 * header), 32-bit and 64-bit little-endian. The table is read at the first
 * lookup and kept. Any thread.
 *
 * The file is anybody's: every offset is checked against its size, and it is
 * read, not mapped, so that one cut short meanwhile is no SIGBUS.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report.h"

#define MAX_TABLE (64u << 20) /* bytes of symbols or names; a large kernel has 8 MiB */
#define MAX_SEGMENTS 16
#define NAME_SHOWN 80 /* characters of a name, at most */

struct symbol {
	uint64_t addr;
	uint64_t size; /* 0: not said, up to the next one */
	uint64_t limit; /* end of its section */
	uint32_t name; /* offset in names */
	uint8_t rank; /* of several at one address the highest is the best name */
};

/* A loaded range whose physical address differs: early boot code runs there. */
struct segment {
	uint64_t vaddr, paddr, size;
};

struct symtab {
	char *path;
	struct symbol *sym; /* ascending addr, then rank */
	size_t n;
	char *names; /* NUL-terminated as a whole */
	size_t names_len;
	struct segment seg[MAX_SEGMENTS];
	unsigned n_seg;
};

/* An open ELF file; headers of 32-bit ones are widened. */
struct elf {
	int fd;
	uint64_t size;
	bool is64;
	Elf64_Ehdr eh;
	Elf64_Shdr *sh;
	size_t n_sh;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of table; innermost */
static struct symtab table;

/* len bytes at off into a new buffer with a NUL behind them; NULL when the file has them not. */
static void *read_part(const struct elf *f, uint64_t off, uint64_t len)
{
	uint64_t end, done = 0;
	uint8_t *buf;

	if (__builtin_add_overflow(off, len, &end) || end > f->size || len > MAX_TABLE)
		return NULL;
	buf = malloc(len + 1);
	if (!buf)
		return NULL;
	while (done < len) {
		ssize_t n = pread(f->fd, buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			free(buf);
			return NULL;
		}
		done += (uint64_t)n;
	}
	buf[len] = '\0';
	return buf;
}

static bool read_header(struct elf *f)
{
	Elf32_Ehdr h32;
	bool ok = false;
	uint8_t *h;

	h = read_part(f, 0, sizeof(f->eh));
	if (!h || memcmp(h, ELFMAG, SELFMAG) != 0 || h[EI_DATA] != ELFDATA2LSB)
		goto out;
	if (h[EI_CLASS] == ELFCLASS64) {
		f->is64 = true;
		memcpy(&f->eh, h, sizeof(f->eh));
		ok = f->eh.e_machine == EM_X86_64;
	} else if (h[EI_CLASS] == ELFCLASS32) {
		memcpy(&h32, h, sizeof(h32));
		f->eh.e_type = h32.e_type;
		f->eh.e_phoff = h32.e_phoff;
		f->eh.e_phentsize = h32.e_phentsize;
		f->eh.e_phnum = h32.e_phnum;
		f->eh.e_shoff = h32.e_shoff;
		f->eh.e_shentsize = h32.e_shentsize;
		f->eh.e_shnum = h32.e_shnum;
		ok = h32.e_machine == EM_386 || h32.e_machine == EM_X86_64;
	}
	ok = ok && (f->eh.e_type == ET_EXEC || f->eh.e_type == ET_DYN);
out:
	free(h);
	return ok;
}

static void widen_section(Elf64_Shdr *out, const Elf32_Shdr *in)
{
	*out = (Elf64_Shdr){
		.sh_type = in->sh_type,
		.sh_flags = in->sh_flags,
		.sh_addr = in->sh_addr,
		.sh_offset = in->sh_offset,
		.sh_size = in->sh_size,
		.sh_link = in->sh_link,
		.sh_entsize = in->sh_entsize,
	};
}

static bool read_sections(struct elf *f)
{
	size_t entsize = f->is64 ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
	uint8_t *raw;

	if (f->eh.e_shentsize != entsize || !f->eh.e_shnum)
		return false;
	raw = read_part(f, f->eh.e_shoff, f->eh.e_shnum * entsize);
	if (!raw)
		return false;
	f->sh = calloc(f->eh.e_shnum, sizeof(*f->sh));
	if (f->sh) {
		f->n_sh = f->eh.e_shnum;
		for (size_t i = 0; i < f->n_sh; i++) {
			Elf32_Shdr sh32;

			if (f->is64) {
				memcpy(&f->sh[i], raw + i * entsize, entsize);
				continue;
			}
			memcpy(&sh32, raw + i * entsize, entsize);
			widen_section(&f->sh[i], &sh32);
		}
	}
	free(raw);
	return f->sh != NULL;
}

static void read_segments(const struct elf *f, struct symtab *t)
{
	size_t entsize = f->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	uint8_t *raw;

	if (f->eh.e_phentsize != entsize)
		return;
	raw = read_part(f, f->eh.e_phoff, f->eh.e_phnum * entsize);
	for (size_t i = 0; raw && i < f->eh.e_phnum && t->n_seg < MAX_SEGMENTS; i++) {
		struct segment *s = &t->seg[t->n_seg];
		Elf64_Phdr p64;
		Elf32_Phdr p32;
		uint32_t type;

		if (f->is64) {
			memcpy(&p64, raw + i * entsize, entsize);
			type = p64.p_type;
			*s = (struct segment){ p64.p_vaddr, p64.p_paddr, p64.p_memsz };
		} else {
			memcpy(&p32, raw + i * entsize, entsize);
			type = p32.p_type;
			*s = (struct segment){ p32.p_vaddr, p32.p_paddr, p32.p_memsz };
		}
		if (type == PT_LOAD && s->vaddr != s->paddr)
			t->n_seg++;
	}
	free(raw);
}

static uint8_t rank_of(unsigned char info, uint64_t size)
{
	uint8_t rank = 0;

	if (size)
		rank += 8;
	if (ELF64_ST_TYPE(info) == STT_FUNC)
		rank += 4;
	if (ELF64_ST_BIND(info) == STB_GLOBAL)
		rank += 2;
	else if (ELF64_ST_BIND(info) == STB_WEAK)
		rank += 1;
	return rank;
}

/* Takes one symbol when it names code. */
static void add_symbol(const struct elf *f, struct symtab *t, const Elf64_Sym *s)
{
	unsigned type = ELF64_ST_TYPE(s->st_info);
	const Elf64_Shdr *sh;
	uint64_t limit;

	if ((type != STT_FUNC && type != STT_NOTYPE) || s->st_shndx == SHN_UNDEF ||
	    s->st_shndx >= f->n_sh || s->st_name >= t->names_len || !t->names[s->st_name])
		return;
	sh = &f->sh[s->st_shndx];
	if (!(sh->sh_flags & SHF_EXECINSTR) ||
	    __builtin_add_overflow(sh->sh_addr, sh->sh_size, &limit))
		return;
	t->sym[t->n++] = (struct symbol){
		.addr = s->st_value,
		.size = s->st_size,
		.limit = limit,
		.name = s->st_name,
		.rank = rank_of(s->st_info, s->st_size),
	};
}

static int by_address(const void *pa, const void *pb)
{
	const struct symbol *a = pa, *b = pb;

	if (a->addr != b->addr)
		return a->addr < b->addr ? -1 : 1;
	return (int)a->rank - (int)b->rank;
}

static void read_symbols(const struct elf *f, struct symtab *t)
{
	size_t entsize = f->is64 ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym);
	const Elf64_Shdr *sh = NULL;
	uint8_t *raw;
	size_t n;

	for (size_t i = 0; i < f->n_sh && !sh; i++)
		if (f->sh[i].sh_type == SHT_SYMTAB)
			sh = &f->sh[i];
	if (!sh || sh->sh_entsize != entsize || sh->sh_link >= f->n_sh)
		return;
	t->names_len = f->sh[sh->sh_link].sh_size;
	t->names = read_part(f, f->sh[sh->sh_link].sh_offset, t->names_len);
	raw = read_part(f, sh->sh_offset, sh->sh_size);
	n = sh->sh_size / entsize;
	if (raw && t->names && n)
		t->sym = calloc(n, sizeof(*t->sym));
	for (size_t i = 0; t->sym && i < n; i++) {
		Elf64_Sym s;
		Elf32_Sym s32;

		if (f->is64) {
			memcpy(&s, raw + i * entsize, entsize);
		} else {
			memcpy(&s32, raw + i * entsize, entsize);
			s = (Elf64_Sym){ .st_name = s32.st_name,
					 .st_info = s32.st_info,
					 .st_shndx = s32.st_shndx,
					 .st_value = s32.st_value,
					 .st_size = s32.st_size };
		}
		add_symbol(f, t, &s);
	}
	free(raw);
	if (t->n)
		qsort(t->sym, t->n, sizeof(*t->sym), by_address);
}

/* Fills t from path; a file that has no symbols leaves it empty. */
static void load(struct symtab *t, const char *path)
{
	struct elf f = { .fd = -1 };
	struct stat st;

	/* Not blocking: the path may name a FIFO by now. */
	f.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (f.fd < 0 || fstat(f.fd, &st) < 0 || !S_ISREG(st.st_mode))
		goto out;
	f.size = (uint64_t)st.st_size;
	if (!read_header(&f) || !read_sections(&f))
		goto out;
	read_segments(&f, t);
	read_symbols(&f, t);
out:
	free(f.sh);
	if (f.fd >= 0)
		close(f.fd);
}

static void unload(struct symtab *t)
{
	free(t->path);
	free(t->sym);
	free(t->names);
	memset(t, 0, sizeof(*t));
}

/* The nearest symbol at or below addr that reaches to it. */
static const struct symbol *find(const struct symtab *t, uint64_t addr)
{
	size_t lo = 0, hi = t->n;

	while (lo < hi) { /* lo: the number of symbols at or below addr */
		size_t mid = lo + (hi - lo) / 2;

		if (t->sym[mid].addr <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	/* A short symbol may lie inside a longer one: look a few back. */
	for (unsigned tries = 0; lo > 0 && tries < 16; tries++) {
		const struct symbol *s = &t->sym[--lo];

		if (s->size ? addr - s->addr < s->size : addr < s->limit)
			return s;
	}
	return NULL;
}

static const struct symbol *find_any(const struct symtab *t, uint64_t addr, uint64_t *offset)
{
	const struct symbol *s = find(t, addr);

	if (s) {
		*offset = addr - s->addr;
		return s;
	}
	for (unsigned i = 0; i < t->n_seg; i++) {
		const struct segment *g = &t->seg[i];

		if (addr < g->paddr || addr - g->paddr >= g->size)
			continue;
		s = find(t, addr - g->paddr + g->vaddr);
		if (s) {
			*offset = addr - g->paddr + g->vaddr - s->addr;
			return s;
		}
	}
	return NULL;
}

bool symbol_lookup(const char *elf_path, uint64_t addr, char *out, size_t out_len)
{
	uint64_t offset;

	return symbol_lookup_offset(elf_path, addr, out, out_len, &offset);
}

bool symbol_lookup_offset(const char *elf_path, uint64_t addr, char *out, size_t out_len,
			  uint64_t *offset)
{
	char name[NAME_SHOWN + 1];
	const struct symbol *s;

	if (out_len)
		out[0] = '\0';
	if (!elf_path)
		return false;
	pthread_mutex_lock(&lock);
	if (!table.path || strcmp(table.path, elf_path) != 0) {
		unload(&table);
		table.path = strdup(elf_path);
		if (table.path)
			load(&table, elf_path);
	}
	s = find_any(&table, addr, offset);
	if (s) {
		/* It goes to a terminal: no control characters. */
		snprintf(name, sizeof(name), "%s", table.names + s->name);
		for (char *c = name; *c; c++)
			if (*c < ' ' || *c > '~')
				*c = '?';
		if (s->size)
			snprintf(out, out_len, "%s+0x%llx/0x%llx", name,
				 (unsigned long long)*offset, (unsigned long long)s->size);
		else
			snprintf(out, out_len, "%s+0x%llx", name, (unsigned long long)*offset);
	}
	pthread_mutex_unlock(&lock);
	return s != NULL;
}
