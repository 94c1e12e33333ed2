/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Synthetic kernels for the tests of the boot loaders: built in memory, byte by byte. */
#ifndef TEST_BOOT_IMAGES_H
#define TEST_BOOT_IMAGES_H

#include <check.h>
#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bzlib.h>
#include <lz4frame.h>
#include <lz4hc.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "suite.h"
#include "boot.h"
#include "err.h"
#include "gmem.h"
#include "wire/linux_boot.h"
#include "wire/multiboot.h"
#include "wire/pvh.h"

#define MiB (1ull << 20)

struct buf {
	uint8_t *p;
	size_t len;
};

static inline struct buf buf_new(size_t len)
{
	struct buf b = { calloc(1, len + 1), len };

	ck_assert_ptr_nonnull(b.p);
	return b;
}

static inline void buf_add(struct buf *b, const void *p, size_t len)
{
	b->p = realloc(b->p, b->len + len + 1);
	ck_assert_ptr_nonnull(b->p);
	memcpy(b->p + b->len, p, len);
	b->len += len;
}

static inline void buf_add_le32(struct buf *b, uint32_t v)
{
	struct le32 w = cpu_to_le32(v);

	buf_add(b, &w, sizeof(w));
}

/* Bytes that compress, but not to nothing: words from a small generator, half of them the same. */
static inline struct buf buf_pattern(size_t len, uint32_t seed)
{
	struct buf b = buf_new(len);

	for (size_t i = 0; i < len; i++) {
		seed = seed * 1103515245 + 12345;
		b.p[i] = i & 64 ? (uint8_t)(seed >> 24) : (uint8_t)(i >> 8);
	}
	return b;
}

/* --- compression, as the kernel's build does it --- */

static inline struct buf pack_lzma_family(struct buf in, bool xz)
{
	struct buf out = buf_new(in.len + in.len / 2 + 4096);
	lzma_options_lzma opt;
	lzma_filter filters[] = {
		{ .id = LZMA_FILTER_X86 },
		{ .id = LZMA_FILTER_LZMA2, .options = &opt },
		{ .id = LZMA_VLI_UNKNOWN },
	};
	lzma_stream s = LZMA_STREAM_INIT;

	lzma_lzma_preset(&opt, 6);
	opt.dict_size = 1 << 20;
	if (xz)
		ck_assert_int_eq(lzma_stream_encoder(&s, filters, LZMA_CHECK_CRC32), LZMA_OK);
	else
		ck_assert_int_eq(lzma_alone_encoder(&s, &opt), LZMA_OK);
	s.next_in = in.p;
	s.avail_in = in.len;
	s.next_out = out.p;
	s.avail_out = out.len;
	ck_assert_int_eq(lzma_code(&s, LZMA_FINISH), LZMA_STREAM_END);
	out.len = s.total_out;
	lzma_end(&s);
	return out;
}

static inline struct buf pack_gzip(struct buf in)
{
	struct buf out = buf_new(in.len + in.len / 2 + 4096);
	z_stream z = { .next_in = in.p,
		       .avail_in = (unsigned)in.len,
		       .next_out = out.p,
		       .avail_out = (unsigned)out.len };

	ck_assert_int_eq(deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, 0), Z_OK);
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	out.len = z.total_out;
	deflateEnd(&z);
	return out;
}

static inline struct buf pack_lz4_legacy(struct buf in)
{
	struct buf out = buf_new(0);
	size_t block = 8 << 20;

	buf_add_le32(&out, 0x184c2102);
	for (size_t at = 0; at < in.len; at += block) {
		int n = (int)(in.len - at < block ? in.len - at : block);
		char *tmp = malloc((size_t)LZ4_compressBound(n));
		int m = LZ4_compress_default((char *)in.p + at, tmp, n, LZ4_compressBound(n));

		ck_assert_int_gt(m, 0);
		buf_add_le32(&out, (uint32_t)m);
		buf_add(&out, tmp, (size_t)m);
		free(tmp);
	}
	return out;
}

static inline struct buf pack_lz4_frame(struct buf in)
{
	LZ4F_preferences_t pref = { .frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled };
	struct buf out = buf_new(LZ4F_compressFrameBound(in.len, &pref));

	out.len = LZ4F_compressFrame(out.p, out.len, in.p, in.len, &pref);
	ck_assert(!LZ4F_isError(out.len));
	return out;
}

static inline struct buf pack(enum compression c, struct buf in)
{
	struct buf out;
	unsigned n;

	switch (c) {
	case COMPRESS_GZIP:
		return pack_gzip(in);
	case COMPRESS_BZIP2:
		out = buf_new(in.len + in.len / 2 + 4096);
		n = (unsigned)out.len;
		ck_assert_int_eq(BZ2_bzBuffToBuffCompress((char *)out.p, &n, (char *)in.p,
							  (unsigned)in.len, 9, 0, 0),
				 BZ_OK);
		out.len = n;
		return out;
	case COMPRESS_LZMA:
		return pack_lzma_family(in, false);
	case COMPRESS_XZ:
		return pack_lzma_family(in, true);
	case COMPRESS_LZ4:
		return pack_lz4_legacy(in);
	case COMPRESS_ZSTD: {
		ZSTD_CCtx *z = ZSTD_createCCtx();

		out = buf_new(ZSTD_compressBound(in.len));
		/* Linux packs from a pipe: the frame does not say its size. */
		ZSTD_CCtx_setParameter(z, ZSTD_c_contentSizeFlag, 0);
		ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1);
		out.len = ZSTD_compress2(z, out.p, out.len, in.p, in.len);
		ck_assert(!ZSTD_isError(out.len));
		ZSTD_freeCCtx(z);
		return out;
	}
	default:
		out = buf_new(0);
		buf_add(&out, in.p, in.len);
		return out;
	}
}

/* --- ELF --- */

struct test_segment {
	uint32_t type;
	uint64_t vaddr, paddr, memsz;
	const void *p;
	size_t len;
};

static inline struct buf make_elf64(const struct test_segment *seg, unsigned n, uint64_t entry)
{
	Elf64_Ehdr eh = { .e_type = ET_EXEC,
			  .e_machine = EM_X86_64,
			  .e_version = EV_CURRENT,
			  .e_entry = entry,
			  .e_phoff = sizeof(eh),
			  .e_ehsize = sizeof(eh),
			  .e_phentsize = sizeof(Elf64_Phdr),
			  .e_phnum = (uint16_t)n };
	size_t at = sizeof(eh) + n * sizeof(Elf64_Phdr);
	struct buf b = buf_new(0);

	memcpy(eh.e_ident, ELFMAG "\2\1\1", 7);
	buf_add(&b, &eh, sizeof(eh));
	for (unsigned i = 0; i < n; i++) {
		Elf64_Phdr ph = { .p_type = seg[i].type,
				  .p_flags = PF_R | PF_W | PF_X,
				  .p_offset = at,
				  .p_vaddr = seg[i].vaddr,
				  .p_paddr = seg[i].paddr,
				  .p_filesz = seg[i].len,
				  .p_memsz = seg[i].memsz,
				  .p_align = 4 };

		buf_add(&b, &ph, sizeof(ph));
		at += seg[i].len;
	}
	for (unsigned i = 0; i < n; i++)
		buf_add(&b, seg[i].p, seg[i].len);
	return b;
}

static inline struct buf make_elf32(const struct test_segment *seg, unsigned n, uint32_t entry)
{
	Elf32_Ehdr eh = { .e_type = ET_EXEC,
			  .e_machine = EM_386,
			  .e_version = EV_CURRENT,
			  .e_entry = entry,
			  .e_phoff = sizeof(eh),
			  .e_ehsize = sizeof(eh),
			  .e_phentsize = sizeof(Elf32_Phdr),
			  .e_phnum = (uint16_t)n };
	size_t at = sizeof(eh) + n * sizeof(Elf32_Phdr);
	struct buf b = buf_new(0);

	memcpy(eh.e_ident, ELFMAG "\1\1\1", 7);
	buf_add(&b, &eh, sizeof(eh));
	for (unsigned i = 0; i < n; i++) {
		Elf32_Phdr ph = { .p_type = seg[i].type,
				  .p_flags = PF_R | PF_W | PF_X,
				  .p_offset = (uint32_t)at,
				  .p_vaddr = (uint32_t)seg[i].vaddr,
				  .p_paddr = (uint32_t)seg[i].paddr,
				  .p_filesz = (uint32_t)seg[i].len,
				  .p_memsz = (uint32_t)seg[i].memsz,
				  .p_align = 4 };

		buf_add(&b, &ph, sizeof(ph));
		at += seg[i].len;
	}
	for (unsigned i = 0; i < n; i++)
		buf_add(&b, seg[i].p, seg[i].len);
	return b;
}

static inline Elf64_Phdr *phdr64(struct buf b, unsigned i)
{
	return (Elf64_Phdr *)(void *)(b.p + sizeof(Elf64_Ehdr)) + i;
}

static inline void add_note(struct buf *b, const char *owner, uint32_t type, const void *desc,
			    uint32_t len)
{
	uint32_t owner_len = (uint32_t)strlen(owner) + 1;

	buf_add_le32(b, owner_len);
	buf_add_le32(b, len);
	buf_add_le32(b, type);
	buf_add(b, owner, owner_len);
	buf_add(b, "\0\0\0", (4 - owner_len % 4) % 4);
	buf_add(b, desc, len);
	buf_add(b, "\0\0\0", (4 - len % 4) % 4);
}

/* --- bzImage --- */

#define SETUP_SECTS 3
#define PAYLOAD_OFFSET 0x2c0

/* In the layout of Linux 6.1, with a payload as the kernel's build makes it. */
static inline struct buf make_bzimage(struct buf payload)
{
	struct buf b = buf_new((SETUP_SECTS + 1) * 512 + PAYLOAD_OFFSET);
	struct linux_setup_header h = {
		.setup_sects = SETUP_SECTS,
		.boot_flag = cpu_to_le16(0xaa55),
		.jump = { 0xeb, 0x6a },
		.header = cpu_to_le32(0x53726448),
		.version = cpu_to_le16(0x20f),
		.loadflags = 0x01,
		.setup_data = cpu_to_le64(0xdeadbeef),
		.initrd_addr_max = cpu_to_le32(0x7fffffff),
		.kernel_alignment = cpu_to_le32(0x200000),
		.xloadflags = cpu_to_le16(0x7f),
		.cmdline_size = cpu_to_le32(2047),
		.payload_offset = cpu_to_le32(PAYLOAD_OFFSET),
		.payload_length = cpu_to_le32((uint32_t)payload.len),
		.pref_address = cpu_to_le64(0x1000000),
	};

	memcpy(b.p, "MZ", 2);
	memcpy(b.p + 0x1f1, &h, sizeof(h));
	buf_add(&b, payload.p, payload.len);
	buf_add(&b, "tail of the protected-mode code", 32);
	return b;
}

static inline struct linux_setup_header *setup_header(struct buf b)
{
	return (void *)(b.p + 0x1f1);
}

/* The kernel's build appends the unpacked size, but for gzip, which has it. */
static inline struct buf make_payload(enum compression c, struct buf vmlinux)
{
	struct buf b = pack(c, vmlinux);

	if (c != COMPRESS_GZIP && c != COMPRESS_NONE)
		buf_add_le32(&b, (uint32_t)vmlinux.len);
	return b;
}

static inline struct buf make_bzimage_of(enum compression c, struct buf vmlinux)
{
	struct buf payload = make_payload(c, vmlinux), b = make_bzimage(payload);

	free(payload.p);
	return b;
}

/* --- a request, and what became of it --- */

struct boot_test {
	struct gmem mem;
	struct boot_request rq;
	struct boot_entry out;
	struct err e;
};

static inline void boot_test_init(struct boot_test *t, uint64_t ram)
{
	memset(t, 0, sizeof(*t));
	ck_assert_int_eq(gmem_init(&t->mem, ram, GMEM_ANON, &t->e), 0);
	t->rq.kernel = "KERNEL";
	t->rq.mem = &t->mem;
	t->rq.ram_is_zero = true;
	t->rq.rsdp = BOOT_ACPI_ADDR;
	t->rq.n_e820 = boot_e820(&t->mem, t->rq.e820);
}

static inline void boot_test_fini(struct boot_test *t)
{
	gmem_fini(&t->mem);
}

static inline int boot_test_load(struct boot_test *t, struct buf img)
{
	/* In a block of its exact size, so that a sanitizer sees reads beyond it. */
	uint8_t *exact = malloc(img.len ? img.len : 1);
	int ret;

	memcpy(exact, img.p, img.len);
	memset(&t->e, 0, sizeof(t->e));
	ret = boot_load_image(&t->rq, exact, img.len, &t->out, &t->e);
	free(exact);
	return ret;
}

/* It must fail with this status, naming the option, and with this in its message or hint. */
static inline void boot_test_fails(struct boot_test *t, struct buf img, enum err_status status,
				   const char *text)
{
	char all[sizeof(t->e.msg) + sizeof(t->e.hint) + 2];
	int ret = boot_test_load(t, img);

	ck_assert_msg(ret < 0, "loaded, but should fail with '%s'", text);
	snprintf(all, sizeof(all), "%s\n%s", t->e.msg, t->e.hint);
	ck_assert_msg(strstr(all, text) != NULL, "'%s' is not in '%s'", text, all);
	ck_assert_msg(t->e.msg[0] == '-', "no option is named: %s", t->e.msg);
	ck_assert_int_eq(t->e.status, status);
	ck_assert_int_eq(ret, -t->e.code);
}

static inline const void *guest(struct boot_test *t, uint64_t gpa, size_t len)
{
	void *p = gmem_ptr(&t->mem, gpa, len);

	ck_assert_ptr_nonnull(p);
	return p;
}

static inline void guest_has(struct boot_test *t, uint64_t gpa, const void *p, size_t len)
{
	ck_assert_mem_eq(guest(t, gpa, len), p, len);
}

static inline void guest_has_zeros(struct boot_test *t, uint64_t gpa, size_t len)
{
	const uint8_t *p = guest(t, gpa, len);

	ck_assert(!len || (!p[0] && !memcmp(p, p + 1, len - 1)));
}

static inline uint64_t guest_u64(struct boot_test *t, uint64_t gpa)
{
	struct le64 v;

	memcpy(&v, guest(t, gpa, sizeof(v)), sizeof(v));
	return le64_to_cpu(v);
}

/* A file in the temporary directory; the name is good until the next call but three. */
static inline const char *temp_file(struct buf b)
{
	static char names[4][64];
	static unsigned next;
	char *name = names[next++ % 4];
	const char *dir = getenv("TMPDIR");
	int fd;

	snprintf(name, sizeof(names[0]), "%.40s/posada-boot-XXXXXX", dir ? dir : "/tmp");
	fd = mkstemp(name);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, b.p, b.len), (ssize_t)b.len);
	close(fd);
	return name;
}

static inline int run_case(const char *name, TCase *tc)
{
	Suite *s = suite_create(name);

	tcase_set_timeout(tc, 120);
	suite_add_tcase(s, tc);
	return run_suite(s);
}

#endif
