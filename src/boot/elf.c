/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ELF kernels: System V ABI, chapter 4 and 5, and its x86-64 supplement; the
 * PVH entry by Xen's "x86/HVM direct boot ABI". Main thread, no vCPU running.
 *
 * Both classes are read into one struct elf in which every file range has been
 * checked; nothing after elf_parse looks at program headers in the file again.
 */
#include "loader.h"

#include <elf.h>
#include <string.h>

#include "gmem.h"
#include "wire/pvh.h"

/* Linux has less than 1 KiB of notes. */
#define NOTES_MAX (1u << 20)

bool elf_is(const struct boot_image *img)
{
	return img->len >= SELFMAG && !memcmp(img->p, ELFMAG, SELFMAG);
}

static const char *machine_name(unsigned machine)
{
	static const struct {
		unsigned machine;
		const char *name;
	} names[] = {
		{ EM_AARCH64, "AArch64" },     { EM_ARM, "32-bit Arm" },
		{ EM_RISCV, "RISC-V" },        { EM_PPC64, "64-bit POWER" },
		{ EM_PPC, "PowerPC" },         { EM_S390, "s390" },
		{ EM_MIPS, "MIPS" },           { EM_SPARCV9, "SPARC V9" },
		{ EM_LOONGARCH, "LoongArch" },
	};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].machine == machine)
			return names[i].name;
	}
	return "another machine";
}

/* The few fields of the two header forms that matter. */
struct header {
	unsigned type, machine, phnum, phentsize;
	uint64_t phoff;
};

static int read_header(const struct boot *b, struct elf *elf, struct header *h, struct err *e)
{
	const struct boot_image *img = &elf->img;

	if (img->len < sizeof(Elf32_Ehdr))
		return kernel_err(b, e, "the ELF file is cut short: it has %zu bytes", img->len);
	if (img->p[EI_DATA] != ELFDATA2LSB) {
		kernel_err(b, e, "this is a big-endian ELF file, for another machine than x86");
		err_hint(e, "%s", boot_accepted);
		return -EINVAL;
	}
	if (img->p[EI_CLASS] == ELFCLASS64 && img->len >= sizeof(Elf64_Ehdr)) {
		Elf64_Ehdr eh;

		memcpy(&eh, img->p, sizeof(eh));
		*h = (struct header){ eh.e_type, eh.e_machine, eh.e_phnum, eh.e_phentsize,
				      eh.e_phoff };
		elf->entry = eh.e_entry;
	} else if (img->p[EI_CLASS] == ELFCLASS32) {
		Elf32_Ehdr eh;

		memcpy(&eh, img->p, sizeof(eh));
		*h = (struct header){ eh.e_type, eh.e_machine, eh.e_phnum, eh.e_phentsize,
				      eh.e_phoff };
		elf->entry = eh.e_entry;
	} else {
		return kernel_err(b, e,
				  "the ELF file is damaged or cut short (class %u, %zu bytes)",
				  img->p[EI_CLASS], img->len);
	}
	elf->is64 = img->p[EI_CLASS] == ELFCLASS64;
	return 0;
}

static int check_header(const struct boot *b, const struct elf *elf, const struct header *h,
			struct err *e)
{
	size_t phsize = elf->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);

	if (h->machine != (elf->is64 ? EM_X86_64 : EM_386)) {
		kernel_err(b, e, "this is an ELF file for %s",
			   h->machine == EM_X86_64 ? "x32" : machine_name(h->machine));
		err_hint(e, "%s", boot_accepted);
		return -EINVAL;
	}
	if (h->type != ET_EXEC && h->type != ET_DYN) {
		kernel_err(b, e, "this is an ELF %s, not an executable",
			   h->type == ET_REL    ? "object file (.o or a kernel module)"
			   : h->type == ET_CORE ? "core dump"
						: "file of unknown type");
		err_hint(e, "%s", boot_accepted);
		return -EINVAL;
	}
	if (!h->phnum)
		return kernel_err(b, e, "the ELF file has no program headers, so nothing to load");
	if (h->phentsize != phsize)
		return kernel_err(b, e,
				  "the ELF file is damaged: program headers of %u bytes, not %zu",
				  h->phentsize, phsize);
	if (h->phoff > elf->img.len || h->phnum * phsize > elf->img.len - h->phoff)
		return kernel_err(b, e,
				  "the ELF file is cut short: %u program headers at 0x%llx, file "
				  "of 0x%zx bytes",
				  h->phnum, (unsigned long long)h->phoff, elf->img.len);
	return 0;
}

static struct elf_segment read_segment(const struct elf *elf, const struct header *h, unsigned i)
{
	if (elf->is64) {
		Elf64_Phdr ph;

		memcpy(&ph, elf->img.p + h->phoff + i * sizeof(ph), sizeof(ph));
		return (struct elf_segment){ ph.p_type,   ph.p_offset, ph.p_vaddr, ph.p_paddr,
					     ph.p_filesz, ph.p_memsz,  ph.p_align };
	} else {
		Elf32_Phdr ph;

		memcpy(&ph, elf->img.p + h->phoff + i * sizeof(ph), sizeof(ph));
		return (struct elf_segment){ ph.p_type,   ph.p_offset, ph.p_vaddr, ph.p_paddr,
					     ph.p_filesz, ph.p_memsz,  ph.p_align };
	}
}

int elf_parse(const struct boot *b, const struct boot_image *img, struct elf *elf, struct err *e)
{
	unsigned loads = 0;
	struct header h = { 0 };
	int ret;

	elf->img = *img;
	elf->n = 0;
	ret = read_header(b, elf, &h, e);
	if (!ret)
		ret = check_header(b, elf, &h, e);
	if (ret)
		return ret;
	for (unsigned i = 0; i < h.phnum; i++) {
		struct elf_segment s = read_segment(elf, &h, i);
		uint64_t end;

		if (s.type == PT_INTERP) {
			kernel_err(b, e, "this is a dynamically linked program, not a kernel");
			err_hint(e, "%s", boot_accepted);
			return -EINVAL;
		}
		if (s.type != PT_NOTE && (s.type != PT_LOAD || !s.memsz))
			continue;
		if (s.offset > img->len || s.filesz > img->len - s.offset)
			return kernel_err(b, e,
					  "the ELF file is cut short: segment %u has 0x%llx bytes "
					  "at 0x%llx, the file has 0x%zx",
					  i, (unsigned long long)s.filesz,
					  (unsigned long long)s.offset, img->len);
		if (s.type == PT_LOAD && s.filesz > s.memsz)
			return kernel_err(b, e,
					  "the ELF file is damaged: segment %u has 0x%llx bytes in "
					  "the file for 0x%llx in memory",
					  i, (unsigned long long)s.filesz,
					  (unsigned long long)s.memsz);
		if (s.type == PT_LOAD && __builtin_add_overflow(s.paddr, s.memsz, &end))
			return kernel_err(b, e,
					  "the ELF file is damaged: segment %u, 0x%llx bytes at "
					  "0x%llx, wraps round",
					  i, (unsigned long long)s.memsz,
					  (unsigned long long)s.paddr);
		if (elf->n == ELF_SEGMENTS_MAX)
			return kernel_err(b, e, "the ELF file has more than %d segments to load",
					  ELF_SEGMENTS_MAX);
		loads += s.type == PT_LOAD;
		elf->seg[elf->n++] = s;
	}
	if (!loads)
		return kernel_err(b, e, "the ELF file has no segment to load");
	return 0;
}

int elf_load(struct boot *b, const struct elf *elf, struct err *e)
{
	for (unsigned i = 0; i < elf->n; i++) {
		const struct elf_segment *s = &elf->seg[i];
		uint8_t *to;

		if (s->type != PT_LOAD)
			continue;
		to = boot_claim(b, "a segment of the ELF file", s->paddr, s->memsz, e);
		if (!to)
			return -EINVAL;
		boot_copy(b, to, elf->img.p + s->offset, s->filesz);
		boot_clear(b, to + s->filesz, s->memsz - s->filesz);
	}
	return 0;
}

static bool in_segment(const struct elf *elf, uint64_t paddr)
{
	for (unsigned i = 0; i < elf->n; i++) {
		const struct elf_segment *s = &elf->seg[i];

		if (s->type == PT_LOAD && paddr >= s->paddr && paddr - s->paddr < s->memsz)
			return true;
	}
	return false;
}

int elf_entry(const struct boot *b, const struct elf *elf, uint64_t *rip, struct err *e)
{
	for (unsigned i = 0; i < elf->n; i++) {
		const struct elf_segment *s = &elf->seg[i];

		if (s->type == PT_LOAD && elf->entry >= s->vaddr &&
		    elf->entry - s->vaddr < s->memsz) {
			*rip = elf->entry - s->vaddr + s->paddr;
			return 0;
		}
	}
	/* ELF says virtual, but Linux and others that are linked high give the physical address. */
	*rip = elf->entry;
	if (in_segment(elf, elf->entry))
		return 0;
	return kernel_err(b, e, "the entry point 0x%llx is in none of the ELF file's segments",
			  (unsigned long long)elf->entry);
}

/*
 * Walks the notes for one of this owner and type (any type: -1). *desc_len says how much of
 * the description is in the file. NULL when there is none.
 */
static const uint8_t *find_note(const struct elf *elf, const char *owner, long type,
				size_t *desc_len)
{
	size_t owner_len = strlen(owner) + 1;

	for (unsigned i = 0; i < elf->n; i++) {
		const struct elf_segment *s = &elf->seg[i];
		const uint8_t *p = elf->img.p + s->offset;
		size_t left = s->filesz < NOTES_MAX ? s->filesz : NOTES_MAX;
		size_t align = s->align == 8 ? 8 : 4;

		while (s->type == PT_NOTE && left >= sizeof(Elf64_Nhdr)) {
			uint64_t desc, next;
			Elf64_Nhdr nh; /* the same as Elf32_Nhdr: three words */

			memcpy(&nh, p, sizeof(nh));
			desc = (sizeof(nh) + (uint64_t)nh.n_namesz + align - 1) & ~(align - 1);
			next = (desc + nh.n_descsz + align - 1) & ~(align - 1);
			if (desc + nh.n_descsz > left)
				break;
			if (nh.n_namesz == owner_len && !memcmp(p + sizeof(nh), owner, owner_len) &&
			    (type < 0 || nh.n_type == (uint32_t)type)) {
				*desc_len = nh.n_descsz;
				return p + desc;
			}
			/* The last note need not be padded. */
			if (next >= left)
				break;
			p += next;
			left -= next;
		}
	}
	return NULL;
}

/* The address in the PVH note. */
static bool pvh_entry(const struct elf *elf, uint64_t *rip)
{
	size_t len = 0;
	const uint8_t *desc = find_note(elf, PVH_NOTE_OWNER, PVH_NOTE_PHYS32_ENTRY, &len);

	/* The ABI says 4 bytes; 64-bit Linux writes 8. */
	*rip = 0;
	if (!desc || (len != 4 && len != 8))
		return false;
	memcpy(rip, desc, len);
	return true;
}

static bool is_linux(const struct elf *elf)
{
	static const char banner[] = "Linux version ";
	size_t len;

	if (find_note(elf, "Linux", -1, &len))
		return true;
	for (unsigned i = 0; i < elf->n; i++) {
		const struct elf_segment *s = &elf->seg[i];

		if (s->type == PT_LOAD &&
		    memmem(elf->img.p + s->offset, s->filesz, banner, sizeof(banner) - 1))
			return true;
	}
	return false;
}

/* Everything for PVH lies at BOOT_INFO_ADDR. */
struct pvh_boot_info {
	struct pvh_start_info start;
	struct pvh_module initrd;
	struct pvh_memmap_entry memmap[E820_MAX];
};

_Static_assert(BOOT_INFO_ADDR + sizeof(struct pvh_boot_info) <= BOOT_INFO_END, "PVH info");

#define PVH_INFO_ADDR(field) (BOOT_INFO_ADDR + offsetof(struct pvh_boot_info, field))

static int pvh_enter(struct boot *b, uint64_t rip, struct err *e)
{
	const struct boot_request *rq = b->rq;
	struct pvh_boot_info info = { 0 };
	uint64_t initrd, initrd_size;
	int ret;

	ret = boot_cmdline(b, NULL, b->out->is_linux ? LINUX_CMDLINE_MAX : BOOT_CMDLINE_MAX - 1, e);
	if (ret)
		return ret;
	ret = boot_load_initrd(b, LINUX_INITRD_LIMIT, &initrd, &initrd_size, e);
	if (ret)
		return ret;
	info.start.magic = cpu_to_le32(PVH_START_MAGIC);
	info.start.version = cpu_to_le32(1);
	info.start.cmdline_paddr = cpu_to_le64(BOOT_CMDLINE_ADDR);
	info.start.rsdp_paddr = cpu_to_le64(rq->rsdp);
	info.start.memmap_paddr = cpu_to_le64(PVH_INFO_ADDR(memmap));
	info.start.memmap_entries = cpu_to_le32(rq->n_e820);
	if (initrd_size) {
		info.start.nr_modules = cpu_to_le32(1);
		info.start.modlist_paddr = cpu_to_le64(PVH_INFO_ADDR(initrd));
		info.initrd.paddr = cpu_to_le64(initrd);
		info.initrd.size = cpu_to_le64(initrd_size);
	}
	for (unsigned i = 0; i < rq->n_e820; i++) {
		info.memmap[i].addr = cpu_to_le64(rq->e820[i].addr);
		info.memmap[i].size = cpu_to_le64(rq->e820[i].size);
		info.memmap[i].type = cpu_to_le32(rq->e820[i].type);
	}
	memcpy(boot_low(b, BOOT_INFO_ADDR, sizeof(info)), &info, sizeof(info));
	boot_enter(b, BOOT_PROT32, rip);
	b->out->rbx = BOOT_INFO_ADDR;
	return 0;
}

int elf_boot(struct boot *b, const struct boot_image *img, struct err *e)
{
	struct elf elf;
	uint64_t rip;
	bool pvh;
	int ret;

	ret = elf_parse(b, img, &elf, e);
	if (ret)
		return ret;
	pvh = pvh_entry(&elf, &rip);
	if (!pvh && !elf.is64) {
		kernel_err(b, e, "this is a 32-bit ELF file without Multiboot header or PVH note");
		err_hint(e, "%s", boot_accepted);
		return -EINVAL;
	}
	b->out->is_linux = is_linux(&elf);
	ret = elf_load(b, &elf, e);
	if (ret)
		return ret;
	if (pvh) {
		b->out->format = "ELF with PVH note";
		if (!in_segment(&elf, rip))
			return kernel_err(
				b, e,
				"the PVH entry point 0x%llx is in none of the ELF file's segments",
				(unsigned long long)rip);
		return pvh_enter(b, rip, e);
	}
	b->out->format = b->out->is_linux ? "Linux vmlinux" : "64-bit ELF";
	ret = elf_entry(b, &elf, &rip, e);
	if (ret)
		return ret;
	return linux_enter(b, NULL, rip, e);
}
