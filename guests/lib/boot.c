/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the loader told: command line, memory map, modules, RSDP. Read from
 * Xen's hvm_start_info (xen/include/public/arch-x86/hvm/start_info.h),
 * Multiboot 1's information structure (specification 0.6.96, section 3.3) or
 * Linux's boot_params (Documentation/arch/x86/boot.rst, zero-page.rst).
 */
#include "guest.h"

struct boot boot;
extern uint32_t boot_eax, boot_ebx;
extern uint64_t boot_rsi, pdpt[], pd0[], image_end[];

#define MULTIBOOT_MAGIC 0x2badb002
#define HVM_MAGIC 0x336ec578

struct hvm_start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp;
	uint64_t memmap; /* version 1 */
	uint32_t memmap_entries, reserved;
};

struct hvm_module {
	uint64_t addr, size, cmdline, reserved;
};

struct hvm_memmap {
	uint64_t addr, size;
	uint32_t type, reserved;
};

struct multiboot_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
	uint32_t syms[4], mmap_length, mmap_addr;
};

struct multiboot_module {
	uint32_t start, end, string, reserved;
};

struct e820 {
	uint64_t addr, size;
	uint32_t type;
} __attribute__((packed));

static inline const void *at(uint64_t pa)
{
	return (const void *)pa;
}

static void add_mem(uint64_t addr, uint64_t size, uint32_t type)
{
	if (boot.n_mem < sizeof boot.mem / sizeof boot.mem[0])
		boot.mem[boot.n_mem++] = (struct mem_range){ addr, size, type };
}

static void add_module(uint64_t addr, uint64_t size, uint64_t args)
{
	if (boot.n_mod < sizeof boot.mod / sizeof boot.mod[0])
		boot.mod[boot.n_mod++] = (struct module){ addr, size, args ? at(args) : "" };
}

static void read_pvh(const struct hvm_start_info *si)
{
	const struct hvm_memmap *mm = at(si->memmap);
	const struct hvm_module *mod = at(si->modlist);

	boot.kind = BOOT_PVH;
	boot.name = "PVH";
	if (si->cmdline)
		boot.cmdline = at(si->cmdline);
	boot.rsdp = si->rsdp;
	if (si->version >= 1) {
		for (unsigned i = 0; i < si->memmap_entries; i++)
			add_mem(mm[i].addr, mm[i].size, mm[i].type);
	}
	for (unsigned i = 0; i < si->nr_modules; i++)
		add_module(mod[i].addr, mod[i].size, mod[i].cmdline);
}

static void read_multiboot(const struct multiboot_info *mi)
{
	const struct multiboot_module *mod = at(mi->mods_addr);

	boot.kind = BOOT_MULTIBOOT;
	boot.name = "Multiboot";
	if (mi->flags & 4)
		boot.cmdline = at(mi->cmdline);
	for (unsigned i = 0; (mi->flags & 8) && i < mi->mods_count; i++)
		add_module(mod[i].start, mod[i].end - mod[i].start, mod[i].string);
	if (mi->flags & 0x40) {
		uint64_t p = mi->mmap_addr, end = p + mi->mmap_length;

		/* Each entry is preceded by its size, which does not count itself. */
		while (p < end) {
			const struct e820 *e = at(p + 4);

			add_mem(e->addr, e->size, e->type);
			p += *(const uint32_t *)at(p) + 4;
		}
	}
}

static void read_boot_params(const uint8_t *bp)
{
	const struct e820 *e = (const struct e820 *)(bp + 0x2d0);
	uint32_t cmdline, initrd, initrd_size;

	boot.kind = BOOT_ELF64;
	boot.name = "ELF64 entry";
	memcpy(&cmdline, bp + 0x228, 4);
	if (cmdline)
		boot.cmdline = at(cmdline);
	memcpy(&boot.rsdp, bp + 0x70, 8);
	for (unsigned i = 0; i < bp[0x1e8]; i++)
		add_mem(e[i].addr, e[i].size, e[i].type);
	memcpy(&initrd, bp + 0x218, 4);
	memcpy(&initrd_size, bp + 0x21c, 4);
	if (initrd_size)
		add_module(initrd, initrd_size, 0);
}

static const char *find_arg(const char *name)
{
	size_t n = strlen(name);

	for (const char *p = boot.cmdline; *p; p++) {
		bool at_start = p == boot.cmdline || p[-1] == ' ';

		if (at_start && !strncmp(p, name, n) && (p[n] == '=' || p[n] == ' ' || !p[n]))
			return p + n;
	}
	return NULL;
}

uint64_t arg_u64(const char *name, uint64_t def)
{
	const char *p = find_arg(name);
	unsigned base = 10;
	uint64_t v = 0;

	if (!p || *p++ != '=')
		return def;
	if (p[0] == '0' && p[1] == 'x') {
		base = 16;
		p += 2;
	}
	for (; *p && *p != ' '; p++)
		v = v * base + (unsigned)(*p <= '9' ? *p - '0' : (*p | 32) - 'a' + 10);
	return v;
}

bool arg_is(const char *name, const char *value)
{
	const char *p = find_arg(name);
	size_t n;

	if (!p || !value)
		return p != NULL;
	n = strlen(value);
	return *p == '=' && !strncmp(p + 1, value, n) && (p[1 + n] == ' ' || !p[1 + n]);
}

/* The page directory for the gigabyte at 4 GiB: entry 0 is map_window's, the rest map_phys's. */
static uint64_t high_pd[512] __attribute__((aligned(4096)));

static void *map_high(unsigned slot, uint64_t pa, uint64_t flags)
{
	uint64_t va = (4ull << 30) + ((uint64_t)slot << 21);

	pdpt[4] = (uint64_t)high_pd | PTE_P | PTE_W | PTE_U;
	high_pd[slot] = (pa & ~0x1fffffull) | PTE_P | PTE_W | PTE_PS | flags;
	asm volatile("invlpg (%0)" ::"r"(va) : "memory");
	return (void *)(va + (pa & 0x1fffff));
}

void *map_window(uint64_t pa)
{
	return map_high(0, pa, 0);
}

void *map_phys(uint64_t pa)
{
	unsigned slot = 1;

	if (pa < 4ull << 30)
		return (void *)pa;
	while (high_pd[slot] && (high_pd[slot] ^ pa) & 0x000fffffffe00000)
		slot++;
	return map_high(slot, pa, (high_pd[slot] & PTE_U) | PTE_PCD);
}

void map_user(uint64_t va, uint64_t size)
{
	for (uint64_t p = va & ~0x1fffffull; p < va + size; p += 0x200000) {
		uint64_t *pd = p < 4ull << 30 ? pd0 : high_pd;

		pd[(p >> 21) % (p < 4ull << 30 ? 2048 : 512)] |= PTE_U;
		asm volatile("invlpg (%0)" ::"r"(p) : "memory");
	}
}

/* RAM from 16 MiB on: beyond what loaders put anywhere for these guests. */
static uint64_t alloc_next = 16 << 20;

void *alloc(uint64_t size, uint64_t align)
{
	uint64_t at = (alloc_next + align - 1) & -align;

	alloc_next = at + size;
	memset((void *)at, 0, size);
	return (void *)at;
}

uint64_t alloc_mark(void)
{
	return alloc_next;
}

void alloc_to(uint64_t mark)
{
	alloc_next = mark;
}

uint64_t play_pt[512] __attribute__((aligned(4096)));

void play_init(void)
{
	static uint64_t pd[512] __attribute__((aligned(4096)));

	pd[0] = (uint64_t)play_pt | PTE_P | PTE_W | PTE_U;
	pdpt[PLAY_VA >> 30] = (uint64_t)pd | PTE_P | PTE_W | PTE_U;
}

void play_map(uint64_t va, uint64_t pte)
{
	play_pt[va >> 12 & 511] = pte;
	asm volatile("invlpg (%0)" ::"r"(va) : "memory");
}

void guest_start(void);
void guest_start(void)
{
	boot.cmdline = "";
	if (boot_rsi)
		read_boot_params(at(boot_rsi));
	else if (*(const uint32_t *)at(boot_ebx) == HVM_MAGIC)
		read_pvh(at(boot_ebx)); /* first: PVH says nothing about EAX */
	else if (boot_eax == MULTIBOOT_MAGIC)
		read_multiboot(at(boot_ebx));
	else
		boot.name = "unknown";
	trap_init();
	pic_init(0x20);
	guest_main();
	say("%u checks, %u failed\n", n_checks, n_failed);
	leave(n_failed ? EXIT_FAIL : EXIT_PASS);
}
