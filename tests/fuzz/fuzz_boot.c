/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: any bytes as a kernel, with a ramdisk (or Multiboot module) and
 * a command line, into 64 MiB of guest memory. Run with the corpus in
 * tests/fuzz/corpus/boot.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot.h"
#include "err.h"
#include "gmem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct gmem mem;
static char initrd[32];

static void setup(void)
{
	char bytes[5000] = "ramdisk";
	struct err e;
	int fd;

	if (gmem_init(&mem, 64 << 20, GMEM_ANON, &e)) {
		err_print(&e);
		exit(1);
	}
	fd = memfd_create("initrd", 0);
	if (fd < 0 || write(fd, bytes, sizeof(bytes)) != sizeof(bytes)) {
		perror("memfd");
		exit(1);
	}
	snprintf(initrd, sizeof(initrd), "/proc/self/fd/%d", fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct boot_request rq = {
		.kernel = "input",
		.initrd = initrd,
		.append = "a b",
		.linux_extra = "c",
		.mem = &mem,
		.ram_is_zero = true, /* not so, but clearing megabytes each time finds nothing */
	};
	struct boot_entry out;
	struct err e = { 0 };
	int ret;

	if (!mem.ram)
		setup();
	rq.n_e820 = boot_e820(&mem, rq.e820);
	ret = boot_load_image(&rq, data, size, &out, &e);
	/* It loads, and the entry is in RAM; or it says why not. */
	if (ret ? ret != -e.code || !e.msg[0] || !e.status : !gmem_ptr(&mem, out.rip, 1))
		abort();
	return 0;
}
