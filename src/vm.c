/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtual machine: made, started, paused, reset and ended. See include/vm.h.
 * Main thread and loop; vm_guest_died, vm_quit and requests from any thread.
 */
#include "vm.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "acpi.h"
#include "assist.h"
#include "block.h"
#include "boot.h"
#include "config.h"
#include "cpuid.h"
#include "err.h"
#include "firmware.h"
#include "devtree.h"
#include "iothread.h"
#include "log.h"
#include "loop.h"
#include "net.h"
#include "object.h"
#include "pci.h"
#include "secret.h"
#include "smbios.h"
#include "vcpu.h"
#include "virtio.h"

const char *run_state_name(enum run_state s)
{
	static const char *const names[] = {
		[RUN_PRELAUNCH] = "prelaunch",
		[RUN_RUNNING] = "running",
		[RUN_PAUSED] = "paused",
		[RUN_SHUTDOWN] = "shutdown",
		[RUN_GUEST_PANICKED] = "guest-panicked",
		[RUN_IO_ERROR] = "io-error",
		[RUN_INTERNAL_ERROR] = "internal-error",
	};

	return names[s];
}

void vm_listen(struct vm *vm, struct vm_listener *l)
{
	l->next = vm->listeners;
	vm->listeners = l;
}

void vm_unlisten(struct vm *vm, struct vm_listener *l)
{
	for (struct vm_listener **p = &vm->listeners; *p; p = &(*p)->next) {
		if (*p == l) {
			*p = l->next;
			return;
		}
	}
}

static void tell(struct vm *vm, const char *event)
{
	struct vm_listener *next;

	for (struct vm_listener *l = vm->listeners; l; l = next) {
		next = l->next; /* a listener may leave */
		l->event(l->ctx, event);
	}
}

/* --- pausing: see the protocol at the head of vcpu.c ------------------------ */

/* vm->lock held. */
static void kick_all(struct vm *vm, unsigned request)
{
	for (unsigned i = 0; i < vm->n_cpus; i++) {
		atomic_fetch_or(&vm->vcpu[i]->requests, request);
		if (!vm->vcpu[i]->parked)
			vcpu_kick(vm->vcpu[i]);
	}
}

/* Any thread: no vCPU begins another KVM_RUN. */
static void hold(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->pause = true;
	kick_all(vm, VCPU_REQ_PAUSE);
	pthread_mutex_unlock(&vm->lock);
}

static bool all_parked(void *ctx)
{
	const struct vm *vm = ctx;

	for (unsigned i = 0; i < vm->n_cpus; i++)
		if (vm->vcpu[i]->thread_started && !atomic_load(&vm->vcpu[i]->parked))
			return false;
	return true;
}

/* A vCPU on its way may have to wait for the loop in a device (loop_call): it is served. */
static void wait_parked(struct vm *vm)
{
	loop_wait(vm->m.loop, all_parked, vm);
}

static void let_go(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->pause = false;
	pthread_cond_broadcast(&vm->go_cond);
	pthread_mutex_unlock(&vm->lock);
}

void vm_pause(struct vm *vm)
{
	/* It is stopped already; from now on it does not go on by itself. */
	if (vm->state == RUN_IO_ERROR) {
		vm->state = RUN_PAUSED;
		blk_drain_all(vm->m.blks);
	}
	if (vm->state != RUN_RUNNING)
		return;
	hold(vm);
	wait_parked(vm);
	vm->state = RUN_PAUSED;
	blk_drain_all(vm->m.blks);
	tell(vm, "STOP");
}

int vm_resume(struct vm *vm, struct err *e)
{
	switch (vm->state) {
	case RUN_RUNNING:
		return 0;
	case RUN_PRELAUNCH:
	case RUN_PAUSED:
	case RUN_IO_ERROR:
		break;
	case RUN_GUEST_PANICKED:
	case RUN_SHUTDOWN:
	case RUN_INTERNAL_ERROR:
		err_set(e, ERR_USAGE, EBUSY, "the guest cannot go on: its state is '%s'",
			run_state_name(vm->state));
		err_hint(e, "system_reset starts it anew");
		return -EBUSY;
	}
	vm->state = RUN_RUNNING;
	tell(vm, "RESUME");
	let_go(vm);
	blk_retry_all(vm->m.blks);
	return 0;
}

/* --- what disks ask for; the block layer says why, on stderr ------------------------ */

/* Other requests may be on their way: only the vCPUs stop. */
static void disk_stop(void *ctx, struct blk *b, bool write, int error)
{
	struct vm *vm = ctx;

	if (vm->state != RUN_RUNNING)
		return;
	hold(vm);
	wait_parked(vm);
	vm->state = RUN_IO_ERROR;
	tell(vm, "STOP");
}

static void disk_resume(void *ctx, struct blk *b)
{
	struct vm *vm = ctx;
	struct err err;

	if (vm->state == RUN_IO_ERROR)
		vm_resume(vm, &err);
}

/* The guest may tell nobody of it; a line a second is enough. disk_stop speaks for itself. */
static void warn_of_error(struct vm *vm, const struct blk *b, bool write, int error,
			  const char *action)
{
	uint64_t now = loop_now_ns();

	if (!strcmp(action, "stop") || now - vm->io_error.warned_ns < 1000000000u)
		return;
	vm->io_error.warned_ns = now;
	log_warn("drive '%s': a %s failed: %s; %s", blk_id(b), write ? "write" : "read",
		 strerror(error),
		 !strcmp(action, "ignore") ? "ignored, as the drive's options say"
					   : "the guest is told");
}

static void disk_error(void *ctx, struct blk *b, bool write, int error, const char *action)
{
	struct vm *vm = ctx;

	warn_of_error(vm, b, write, error, action);
	vm->io_error.blk = b;
	vm->io_error.write = write;
	vm->io_error.error = error;
	vm->io_error.action = action;
	tell(vm, "BLOCK_IO_ERROR");
}

static void disk_tray_moved(void *ctx, struct blk *b, bool open)
{
	struct vm *vm = ctx;

	vm->tray.blk = b;
	vm->tray.open = open;
	tell(vm, "DEVICE_TRAY_MOVED");
}

void vm_quit(struct vm *vm, int status)
{
	if (!vm->quitting)
		vm->exit_status = status;
	vm->quitting = true;
	loop_quit(vm->m.loop);
}

bool vm_heeds_power_button(const struct vm *vm)
{
	return vm->m.power_button && vm->state == RUN_RUNNING &&
	       vm->m.power_button_heeded(vm->m.power_button_ctx);
}

int vm_powerdown(struct vm *vm, struct err *e)
{
	if (!vm->m.power_button)
		return err_set(e, ERR_USAGE, ENODEV, "the machine has no power button");
	tell(vm, "POWERDOWN");
	vm->m.power_button(vm->m.power_button_ctx);
	return 0;
}

void vm_ask_to_stop(struct vm *vm, const char *what, const char *again)
{
	if (!vm->asked_to_stop && vm_heeds_power_button(vm) && !vm_powerdown(vm, NULL)) {
		vm->asked_to_stop = true;
		log_note("%s: the guest's power button was pressed; %s stops it", what, again);
		return;
	}
	log_note("stopped by %s", what);
	vm_quit(vm, 0);
}

/* --- what the guest asks for: recorded on its thread, carried out on the loop --- */

struct request {
	struct vm *vm;
	enum machine_request what;
	int code;
};

static void guest_stopped(struct vm *vm, enum run_state state, const char *event, bool keep,
			  int status)
{
	hold(vm);
	wait_parked(vm);
	vm->state = state;
	tell(vm, event);
	if (!keep)
		vm_quit(vm, status);
}

static void carry_out(void *ctx)
{
	struct request rq = *(struct request *)ctx;
	struct vm *vm = rq.vm;

	free(ctx);
	if (vm->quitting)
		return;
	switch (rq.what) {
	case MACHINE_RESET:
		vm_reset(vm);
		break;
	case MACHINE_POWEROFF:
		guest_stopped(vm, RUN_SHUTDOWN, "SHUTDOWN", vm->cfg->no_shutdown, 0);
		break;
	case MACHINE_EXIT:
		guest_stopped(vm, RUN_SHUTDOWN, "SHUTDOWN", false, rq.code);
		break;
	case MACHINE_PANIC:
		log_warn("the guest reports a panic of its kernel (pvpanic)");
		guest_stopped(vm, RUN_GUEST_PANICKED, "GUEST_PANICKED", vm->cfg->no_shutdown,
			      ERR_GUEST);
		break;
	case MACHINE_CRASH_LOADED:
		tell(vm, "GUEST_CRASHLOADED");
		break;
	}
}

static void request(struct machine *m, enum machine_request what, int code)
{
	struct vm *vm = vm_of(m);
	struct request *rq = malloc(sizeof(*rq));

	if (!rq)
		return;
	*rq = (struct request){ .vm = vm, .what = what, .code = code };
	/* The guest must not run on past its own reset or end until the loop gets to it. */
	if (what != MACHINE_CRASH_LOADED)
		hold(vm);
	loop_post(m->loop, carry_out, rq);
}

static void balloon_changed(struct machine *m)
{
	tell(vm_of(m), "BALLOON_CHANGE");
}

static const struct machine_ops machine_ops = {
	.request = request,
	.msi_send = kvm_msi_send,
	.irqfd_set = kvm_irqfd_set,
	.irqfd_free = kvm_irqfd_free,
	.set_elcr = kvm_set_elcr,
};

static void died(void *ctx)
{
	struct vm *vm = ctx;

	if (!vm->quitting)
		guest_stopped(vm, RUN_INTERNAL_ERROR, "GUEST_PANICKED", vm->cfg->no_shutdown,
			      ERR_GUEST);
}

void vm_guest_died(struct vm *vm)
{
	hold(vm);
	loop_post(vm->m.loop, died, vm);
}

/* --- making ------------------------------------------------------------------- */

struct text {
	char *p;
	size_t n, max;
};

static void add_mmio_param(void *ctx, uint64_t base, uint64_t size, unsigned irq)
{
	struct text *t = ctx;
	int n = snprintf(t->p + t->n, t->max - t->n, "%svirtio_mmio.device=%llu@0x%llx:%u",
			 t->n ? " " : "", (unsigned long long)size, (unsigned long long)base, irq);

	if (n > 0 && (size_t)n < t->max - t->n)
		t->n += (size_t)n;
	else
		t->p[t->n] = 0;
}

/* What tells a Linux without a device tree of virtio-mmio devices. */
static void virtio_mmio_params(struct vm *vm, char *out, size_t max)
{
	struct text t = { .p = out, .max = max };

	out[0] = 0;
	virtio_mmio_each(&vm->m, add_mmio_param, &t);
}

static int load_kernel(struct vm *vm, bool first, struct boot_entry *entry, struct err *e)
{
	const char *assist = vm->assist ? assist_linux_params(vm) : "";
	char mmio[1024], extra[2048];
	struct boot_request rq = {
		.kernel = vm->cfg->kernel,
		.initrd = vm->cfg->initrd,
		.append = vm->cfg->append,
		.dtb = vm->dtb,
		.dtb_len = vm->dtb_len,
		.mem = &vm->m.mem,
		.rsdp = vm->rsdp,
		.ram_is_zero = first,
	};
	int rc;

	virtio_mmio_params(vm, mmio, sizeof(mmio));
	snprintf(extra, sizeof(extra), "%s%s%s", assist, *assist && *mmio ? " " : "", mmio);
	rq.linux_extra = extra[0] ? extra : NULL;
	rq.n_e820 = boot_e820(&vm->m.mem, rq.e820);
	rc = boot_load(&rq, entry, e);
	if (!rc && first && entry->is_linux && *assist)
		log_note("this host's KVM is software; added to the kernel's command line: %s",
			 assist);
	return rc;
}

struct reset_call {
	const struct boot_entry *entry;
	struct err err;
	int rc;
};

static void reset_vcpu(struct vcpu *v, void *ctx)
{
	struct reset_call *call = ctx;

	call->rc = vcpu_reset(v, v->id ? NULL : call->entry, &call->err);
}

/* What firmware would tell the guest: ACPI's tables, or the MultiProcessor table. */
static int build_tables(struct vm *vm, struct err *e)
{
	struct acpi_config acpi = {
		.n_cpus = vm->n_cpus,
		.serial_mask = vm->m.serial_mask,
		.i8042 = true,
		.rtc = true,
		.pvpanic = vm->m.pvpanic,
		.pci = vm->m.pci != NULL,
		.links = vm->m.bios != NULL,
		.vga = vm->m.screens != NULL,
	};
	int rc;

	if (vm->cfg->machine == MACHINE_MICRO && vm->cfg->smbios.n)
		return err_set(e, ERR_USAGE, ENOTSUP,
			       "-smbios %s: the micro machine has no such tables",
			       vm->cfg->smbios.s[0]);
	if (vm->cfg->machine == MACHINE_MICRO)
		return mptable_build(&vm->m.mem, vm->n_cpus, e);
	acpi.n_pci_irqs = pci_irq_routes(&vm->m, acpi.pci_irq, ACPI_PCI_IRQS);
	pci_mem64_window(&vm->m, &acpi.pci_mem64_base, &acpi.pci_mem64_size);
	rc = vm->m.bios ? acpi_tell_firmware(&vm->m, &acpi, e)
			: acpi_build(&vm->m.mem, &acpi, &vm->rsdp, e);
	return rc ? rc : smbios_tell(&vm->m, vm->cfg, e);
}

/* Tables and kernel into memory, every vCPU to its start. first: nothing has run yet. */
static int load_and_reset(struct vm *vm, bool first, struct err *e)
{
	struct boot_entry entry = { 0 };
	int rc;

	if (!vm->m.bios)
		pci_assign_resources(&vm->m);
	else if (!first)
		bootorder_reset(&vm->m, &vm->cfg->boot);
	rc = build_tables(vm, e);
	if (!vm->m.bios)
		rc = rc ? rc : load_kernel(vm, first, &entry, e);
	for (unsigned i = 0; !rc && i < vm->n_cpus; i++) {
		struct reset_call call = { .entry = vm->m.bios ? NULL : &entry };

		vcpu_call(vm->vcpu[i], reset_vcpu, &call);
		rc = call.rc;
		if (rc)
			*e = call.err;
	}
	return rc;
}

void vm_reset(struct vm *vm)
{
	bool run = vm->state != RUN_PAUSED && vm->state != RUN_PRELAUNCH;
	struct err err = { 0 };

	if (vm->cfg->no_reboot) {
		guest_stopped(vm, RUN_SHUTDOWN, "SHUTDOWN", vm->cfg->no_shutdown, 0);
		return;
	}
	hold(vm);
	wait_parked(vm);
	machine_reset_devices(&vm->m);
	kvm_irq_reset(vm);
	atomic_store(&vm->report_made, false);
	if (load_and_reset(vm, false, &err)) {
		err_prefix(&err, "reset: ");
		err_print(&err);
		vm_quit(vm, (int)err.status);
		return;
	}
	tell(vm, "RESET");
	if (run) {
		vm->state = RUN_RUNNING;
		let_go(vm);
	}
}

/* The CPUID table of all vCPUs, and the assist when this host's KVM needs it. */
static int choose_cpu(struct vm *vm, struct err *e)
{
	int rc = kvm_supported_cpuid(vm, &vm->cpuid, e);

	if (rc)
		return rc;
	vm->software_kvm = assist_detect(vm->cpuid);
	vm->m.phys_bits = cpuid_phys_bits(vm->cpuid);
	rc = cpuid_apply(vm->cpuid, vm->cfg->cpu, e);
	if (!rc && (vm->cfg->accel.assist == ASSIST_ON ||
		    (vm->cfg->accel.assist == ASSIST_AUTO && vm->software_kvm)))
		rc = assist_create(vm, e);
	if (!rc && vm->assist)
		assist_mask_cpuid(vm, vm->cpuid);
	return rc;
}

static int create_cpus(struct vm *vm, struct err *e)
{
	int rc = 0;

	vm->vcpu = calloc(vm->n_cpus, sizeof(struct vcpu *));
	if (!vm->vcpu)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	for (unsigned i = 0; !rc && i < vm->n_cpus; i++) {
		rc = vcpu_create(vm, i, &vm->vcpu[i], e);
		rc = rc ? rc : vcpu_set_cpuid(vm->vcpu[i], vm->cpuid, e);
	}
	return rc;
}

static const struct blk_host disk_ops = {
	.stop = disk_stop,
	.resume = disk_resume,
	.io_error = disk_error,
	.tray_moved = disk_tray_moved,
};

static int add_objects(struct vm *vm, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < vm->cfg->object.n; i++) {
		rc = object_add(&vm->m, vm->cfg->object.s[i], e);
		/* A secret is not to be shown, not even to those who mistyped it. */
		if (rc && strstr(vm->cfg->object.s[i], "secret"))
			err_prefix(e, "-object secret: ");
		else if (rc)
			err_prefix(e, "-object %s: ", vm->cfg->object.s[i]);
	}
	return rc;
}

static int (*const boards[])(struct machine *m, const struct config *cfg, struct err *e) = {
	[MACHINE_PC] = machine_pc_init,
	[MACHINE_MICRO] = machine_micro_init,
};

static void add_fdt_device(void *ctx, uint64_t base, uint64_t size, unsigned irq)
{
	struct fdt_machine *d = ctx;

	if (d->n_virtio == FDT_DEVICES_MAX)
		return;
	d->virtio[d->n_virtio].base = base;
	d->virtio[d->n_virtio].size = size;
	d->virtio[d->n_virtio++].irq = irq;
}

static int write_dtb(const struct vm *vm, struct err *e)
{
	const char *file = vm->cfg->machine_opts.dumpdtb;
	FILE *f = fopen(file, "we");
	bool ok = f && fwrite(vm->dtb, vm->dtb_len, 1, f) == 1;
	int code = errno;

	if (f && fclose(f)) {
		code = errno;
		ok = false;
	}
	return ok ? 0
		  : err_set(e, ERR_INPUT, code, "-machine dumpdtb=%s: cannot write it: %s", file,
			    strerror(code));
}

/* The micro machine's, or that of any machine when it is to be written to a file. */
static int make_dtb(struct vm *vm, struct err *e)
{
	struct fdt_machine d = {
		.model = machine_names[vm->cfg->machine],
		.mem = &vm->m.mem,
		.n_cpus = vm->n_cpus,
		.serial_mask = vm->m.serial_mask,
		.pci = vm->m.pci != NULL,
		.bootargs = vm->cfg->append,
	};
	int rc;

	if (vm->cfg->machine != MACHINE_MICRO && !vm->cfg->machine_opts.dumpdtb)
		return 0;
	virtio_mmio_each(&vm->m, add_fdt_device, &d);
	rc = fdt_build(&d, &vm->dtb, &vm->dtb_len, e);
	return rc || !vm->cfg->machine_opts.dumpdtb ? rc : write_dtb(vm, e);
}

int vm_create(struct vm *vm, const struct config *cfg, struct loop *loop,
	      struct chardev_set *chardevs, struct err *e)
{
	struct blk_host disk_host;
	int rc;

	memset(vm, 0, sizeof(*vm));
	vm->cfg = cfg;
	vm->n_cpus = cfg->n_cpus;
	vm->fd = vm->kvm_fd = -1;
	vm->m.mem.memfd = -1;
	vm->state = RUN_PRELAUNCH;
	pthread_mutex_init(&vm->lock, NULL);
	pthread_mutex_init(&vm->late_lock, NULL);
	pthread_cond_init(&vm->go_cond, NULL);
	vm->m.ops = &machine_ops;
	vm->m.cfg = cfg;
	vm->m.loop = loop;
	vm->m.balloon_changed = balloon_changed;
	vm->m.chardevs = chardevs;
	vm->m.n_cpus = cfg->n_cpus;
	vm->m.rtc = cfg->rtc;
	bus_init(&vm->m.pio, false);
	bus_init(&vm->m.mmio, true);
	memmap_init(&vm->m.map, &kvm_memmap_ops, vm);
	rc = gmem_init(&vm->m.mem, cfg->ram_size, (enum gmem_kind)cfg->machine_opts.memory, e);
	if (!rc)
		gmem_large_pages(&vm->m.mem);
	rc = rc ? rc : kvm_vm_create(vm, e);
	/* In this order: see the head of kvm_vm.c. */
	rc = rc ? rc : choose_cpu(vm, e);
	rc = rc ? rc : kvm_vm_map_memory(vm, e);
	rc = rc ? rc : kvm_irq_create(vm, e);
	if (!rc) {
		vm->m.pio.doorbell_ops = vm->m.mmio.doorbell_ops = &kvm_doorbell_ops;
		vm->m.pio.doorbell_ctx = vm->m.mmio.doorbell_ctx = vm;
		rc = create_cpus(vm, e);
	}
	disk_host = disk_ops;
	disk_host.ctx = vm;
	rc = rc ? rc : blk_set_create(&vm->m.blks, loop, &disk_host, e);
	rc = rc ? rc : net_set_create(&vm->m.nets, loop, e);
	rc = rc ? rc : add_objects(vm, e);
	vm->m.linux_words = vm->assist ? assist_linux_params(vm) : NULL;
	rc = rc ? rc : boards[cfg->machine](&vm->m, cfg, e);
	rc = rc ? rc : net_set_check(vm->m.nets, e);
	/* What is in a flash stays as it is: the guest may write it back. */
	if (!rc && vm->m.bios && vm->m.bios->path && vm->assist)
		assist_firmware(vm->m.bios->rom.host, vm->m.bios->rom.len);
	rc = rc ? rc : make_dtb(vm, e);
	if (rc || cfg->machine_opts.dumpdtb)
		return rc;
	return load_and_reset(vm, true, e);
}

int vm_start(struct vm *vm, struct err *e)
{
	vcpu_setup_kick_signal();
	vm->started_ns = loop_now_ns();
	vm->pause = vm->cfg->start_paused;
	vm->state = vm->pause ? RUN_PRELAUNCH : RUN_RUNNING;
	for (unsigned i = 0; i < vm->n_cpus; i++) {
		int rc;

		if (vm->pause)
			atomic_store(&vm->vcpu[i]->requests, VCPU_REQ_PAUSE);
		rc = vcpu_start(vm->vcpu[i], e);
		if (rc)
			return rc;
	}
	return 0;
}

void vm_destroy(struct vm *vm)
{
	if (vm->vcpu) {
		pthread_mutex_lock(&vm->lock);
		for (unsigned i = 0; i < vm->n_cpus; i++) {
			if (!vm->vcpu[i])
				continue;
			atomic_fetch_or(&vm->vcpu[i]->requests, VCPU_REQ_QUIT);
			if (!vm->vcpu[i]->parked)
				vcpu_kick(vm->vcpu[i]);
		}
		pthread_cond_broadcast(&vm->go_cond);
		pthread_mutex_unlock(&vm->lock);
		for (unsigned i = 0; i < vm->n_cpus; i++)
			if (vm->vcpu[i] && vm->vcpu[i]->thread_started)
				pthread_join(vm->vcpu[i]->thread, NULL);
	}
	machine_remove_devices(&vm->m);
	if (vm->m.blks)
		blk_set_destroy(vm->m.blks);
	secrets_wipe();
	net_set_destroy(vm->m.nets);
	iothreads_destroy(&vm->m);
	for (unsigned i = 0; vm->vcpu && i < vm->n_cpus; i++)
		vcpu_destroy(vm->vcpu[i]);
	free(vm->vcpu);
	if (vm->assist)
		assist_destroy(vm);
	bus_fini(&vm->m.pio);
	bus_fini(&vm->m.mmio);
	firmware_unmap(&vm->m);
	memmap_fini(&vm->m.map);
	kvm_vm_destroy(vm);
	gmem_fini(&vm->m.mem);
	free(vm->cpuid);
	kvm_irq_destroy(vm);
	free(vm->dtb);
	pthread_cond_destroy(&vm->go_cond);
	pthread_mutex_destroy(&vm->lock);
	pthread_mutex_destroy(&vm->late_lock);
}
