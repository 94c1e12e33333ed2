/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VM towards KVM: /dev/kvm, memory slots, doorbells
 * (Linux Documentation/virt/kvm/api.rst). Main thread; doorbells on any.
 *
 * Order counts: an MSR filter or a memory slot set after certain others waits
 * up to 15 ms for a grace period in the kernel, before them a tenth of one. So the
 * assist's MSR filter comes first, then memory, the irqchip and the vCPUs: see vm_create.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "assist.h"
#include "cpuid.h"
#include "err.h"
#include "vm.h"

/* Where Intel's KVM keeps three pages and a page table for real mode; below any firmware. */
#define TSS_ADDR 0xfeffd000u
#define IDENTITY_MAP_ADDR 0xfeffc000u

static bool cpu_flag(const char *flag)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[8192], want[32];
	bool found = false;

	snprintf(want, sizeof(want), " %s ", flag);
	while (f && !found && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = ' ';
		if (!strncmp(line, "flags", 5)) {
			found = strstr(line, want) != NULL;
			break;
		}
	}
	if (f)
		fclose(f);
	return found;
}

static int open_failed(int code, struct err *e)
{
	err_set(e, ERR_UNAVAILABLE, code, "cannot open /dev/kvm: %s", strerror(code));
	if (code == EACCES || code == EPERM)
		err_hint(e, "join the group that owns it: sudo usermod -aG kvm $USER, then log in "
			    "again");
	else if (code != ENOENT && code != ENXIO && code != ENODEV)
		err_hint(e,
			 "is it the KVM device? 'ls -l /dev/kvm' shows a character device 10, 232");
	else if (cpu_flag("vmx"))
		err_hint(e, "load the module: sudo modprobe kvm_intel (if that fails, turn on VT-x "
			    "in the BIOS set-up)");
	else if (cpu_flag("svm"))
		err_hint(e, "load the module: sudo modprobe kvm_amd (if that fails, turn on SVM in "
			    "the BIOS set-up)");
	else if (cpu_flag("hypervisor"))
		err_hint(e, "this host is itself a virtual machine: turn on nested virtualization "
			    "where it runs "
			    "(kvm_intel.nested=1 or kvm_amd.nested=1, and -cpu host)");
	else
		err_hint(e, "turn on VT-x or AMD-V (SVM) in the BIOS set-up, then: sudo modprobe "
			    "kvm_intel (or kvm_amd)");
	return -code;
}

static int require(struct vm *vm, struct err *e)
{
	static const struct {
		int cap;
		const char *name;
	} caps[] = {
		{ KVM_CAP_USER_MEMORY, "user memory" },
		{ KVM_CAP_IRQCHIP, "in-kernel irqchip" },
		{ KVM_CAP_PIT2, "in-kernel timer" },
		{ KVM_CAP_IOEVENTFD, "ioeventfd" },
		{ KVM_CAP_IRQFD, "irqfd" },
		{ KVM_CAP_IMMEDIATE_EXIT, "immediate exit" },
		{ KVM_CAP_EXT_CPUID, "CPUID" },
		{ KVM_CAP_XSAVE, "XSAVE state" },
	};
	int version = ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0);

	if (version != KVM_API_VERSION)
		return err_set(e, ERR_UNAVAILABLE, ENODEV,
			       version < 0 ? "/dev/kvm does not answer as KVM does"
					   : "/dev/kvm speaks another version of KVM's interface");
	for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
		if (ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, caps[i].cap) > 0)
			continue;
		err_set(e, ERR_UNAVAILABLE, ENOTSUP, "the host's KVM lacks: %s", caps[i].name);
		err_hint(e, "posada needs the KVM of Linux 4.12 or later");
		return -ENOTSUP;
	}
	return 0;
}

static int set_slot(void *ctx, unsigned slot, uint64_t gpa, uint64_t size, uint8_t *host,
		    bool readonly, bool log_dirty)
{
	struct vm *vm = ctx;
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = (readonly ? KVM_MEM_READONLY : 0) |
			 (log_dirty ? KVM_MEM_LOG_DIRTY_PAGES : 0),
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)host,
	};

	return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
}

static int get_dirty(void *ctx, unsigned slot, uint64_t *bitmap)
{
	struct vm *vm = ctx;
	struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = bitmap };

	return ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log) < 0 ? -errno : 0;
}

const struct memmap_ops kvm_memmap_ops = { .set = set_slot, .get_dirty = get_dirty };

int kvm_vm_map_memory(struct vm *vm, struct err *e)
{
	for (unsigned i = 0; i < vm->m.mem.n; i++) {
		const struct gmem_range *r = &vm->m.mem.range[i];
		struct mem_region *ram = &vm->m.ram[i];
		int rc;

		*ram = (struct mem_region){ .name = "ram", .host = r->host, .size = r->size };
		rc = memmap_map(&vm->m.map, ram, r->gpa);
		if (rc)
			return err_set(e, ERR_HOST, -rc,
				       "KVM refused %llu MiB of guest RAM at 0x%llx: %s",
				       (unsigned long long)(r->size >> 20),
				       (unsigned long long)r->gpa, strerror(-rc));
	}
	return 0;
}

int kvm_vm_create(struct vm *vm, struct err *e)
{
	uint64_t identity = IDENTITY_MAP_ADDR;
	int page;
	int rc, size;

	vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm_fd < 0)
		return open_failed(errno, e);
	rc = require(vm, e);
	if (rc)
		return rc;
	do {
		vm->fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
	} while (vm->fd < 0 && errno == EINTR);
	if (vm->fd < 0) {
		int code = errno;

		err_set(e, ERR_HOST, code, "KVM cannot make a virtual machine: %s", strerror(code));
		if (code == EBUSY)
			err_hint(e, "another hypervisor (VirtualBox, VMware) may be using the "
				    "processor's virtualization");
		return -code;
	}
	ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_ADDR);
	ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	size = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(struct kvm_run))
		return err_set(e, ERR_UNAVAILABLE, ENODEV,
			       "KVM's vCPU area is too small (%d bytes)", size);
	vm->run_size = (unsigned)size;
	page = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_MMIO);
	if (page > 0 && (page + 1) * VM_RING_SIZE <= size)
		vm->late_ring = (unsigned)page * VM_RING_SIZE;
	vm->late_ports = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_PIO) > 0;
	return 0;
}

void kvm_vm_destroy(struct vm *vm)
{
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->kvm_fd >= 0)
		close(vm->kvm_fd);
	vm->fd = vm->kvm_fd = -1;
}

int kvm_supported_cpuid(struct vm *vm, struct kvm_cpuid2 **out, struct err *e)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + CPUID_MAX * sizeof(c->entries[0]));

	if (!c)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	c->nent = CPUID_MAX;
	if (ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, c) < 0) {
		int code = errno;

		free(c);
		return err_set(e, ERR_HOST, code, "KVM does not say which CPU it offers: %s",
			       strerror(code));
	}
	*out = c;
	return 0;
}

void kvm_describe_host(FILE *f)
{
	struct vm vm = { .kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC) };
	struct kvm_cpuid2 *cpuid;
	struct err err = { 0 };

	if (vm.kvm_fd < 0) {
		open_failed(errno, &err);
	} else if (!require(&vm, &err) && !kvm_supported_cpuid(&vm, &cpuid, &err)) {
		fprintf(f, "  this host: %s\n",
			assist_detect(cpuid) ? "software KVM (kernel-mode guest code is emulated; "
					       "assist=auto is on)"
					     : "hardware KVM (assist=auto is off)");
		free(cpuid);
	}
	if (err.msg[0])
		fprintf(f, "  this host: no KVM: %s\n             %s\n", err.msg, err.hint);
	if (vm.kvm_fd >= 0)
		close(vm.kvm_fd);
}

/* Writes are kept back in a ring until the next exit, see late_writes() in vcpu.c. */
static int late_set(struct vm *vm, bool mmio, uint64_t addr, unsigned size, bool add)
{
	struct kvm_coalesced_mmio_zone zone = { .addr = addr, .size = size, .pio = !mmio };

	if (!vm->late_ring || (!mmio && !vm->late_ports))
		return -ENOSYS;
	return ioctl(vm->fd, add ? KVM_REGISTER_COALESCED_MMIO : KVM_UNREGISTER_COALESCED_MMIO,
		     &zone) < 0
		       ? -errno
		       : 0;
}

static int doorbell_set(void *ctx, bool mmio, uint64_t addr, unsigned size, int64_t match,
			int eventfd, bool add)
{
	struct vm *vm = ctx;
	struct kvm_ioeventfd io = {
		.datamatch = match == BUS_DOORBELL_ANY ? 0 : (uint64_t)match,
		.addr = addr,
		.len = size,
		.fd = eventfd,
		.flags = (mmio ? 0 : KVM_IOEVENTFD_FLAG_PIO) |
			 (match == BUS_DOORBELL_ANY ? 0 : KVM_IOEVENTFD_FLAG_DATAMATCH) |
			 (add ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};

	if (eventfd == BUS_DOORBELL_LATE)
		return late_set(vm, mmio, addr, size, add);
	return ioctl(vm->fd, KVM_IOEVENTFD, &io) < 0 ? -errno : 0;
}

const struct bus_doorbell_ops kvm_doorbell_ops = { .set = doorbell_set };
