/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vCPU's thread: KVM_RUN, a table of exits, kicks, parking and calls
 * (Linux Documentation/virt/kvm/api.rst, sections 4.10 and 5).
 *
 * The protocol between threads: whoever wants something of a vCPU sets a bit in
 * v->requests, then kicks. The kick sets immediate_exit, so that a KVM_RUN about to
 * begin returns at once, and sends a signal, so that one under way returns. The
 * vCPU clears immediate_exit before it looks at requests: a request is never missed.
 */
#include "vcpu.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "assist.h"
#include "config.h"
#include "err.h"
#include "loop.h"
#include "report.h"
#include "vm.h"

#define KICK_SIGNAL SIGUSR1

struct vcpu_call {
	void (*fn)(struct vcpu *v, void *ctx);
	void *ctx;
	_Atomic bool done;
	struct vcpu_call *next;
};

static __thread struct vcpu *this_vcpu;

struct vcpu *vcpu_self(void)
{
	return this_vcpu;
}

static void ignore_signal(int sig)
{
	/* Its delivery alone ends KVM_RUN. */
}

void vcpu_setup_kick_signal(void)
{
	struct sigaction sa = { .sa_handler = ignore_signal };

	sigaction(KICK_SIGNAL, &sa, NULL);
}

void vcpu_kick(struct vcpu *v)
{
	if (!v->thread_started || v == this_vcpu)
		return;
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	pthread_kill(v->thread, KICK_SIGNAL);
}

/* --- exits: 0 go on, 1 stop (dead), handlers in a table ------------------- */

static void record(struct vcpu *v, uint16_t size, bool write, uint64_t addr, uint64_t val)
{
	v->ring[v->ring_pos++ % EXIT_RING] = (struct exit_record){ .reason = v->run->exit_reason,
								   .size = size,
								   .write = write,
								   .addr = addr,
								   .val = val };
}

static int die(struct vcpu *v)
{
	vm_guest_died(v->vm);
	return 1;
}

static int exit_io(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	bool write = run->io.direction == KVM_EXIT_IO_OUT;
	uint32_t first = 0;

	/* A string instruction brings up to a page of items for the one port. */
	if (write)
		bus_write_many(&v->vm->m.pio, run->io.port, data, run->io.size, run->io.count);
	else
		bus_read_many(&v->vm->m.pio, run->io.port, data, run->io.size, run->io.count);
	memcpy(&first, data, run->io.size);
	record(v, (uint16_t)(run->io.size * run->io.count), write, run->io.port, first);
	return 0;
}

static int exit_mmio(struct vcpu *v)
{
	struct machine *m = &v->vm->m;
	struct kvm_run *run = v->run;
	uint64_t val = 0;
	bool found =
		run->mmio.is_write
			? bus_write(&m->mmio, run->mmio.phys_addr, run->mmio.data, run->mmio.len)
			: bus_read(&m->mmio, run->mmio.phys_addr, run->mmio.data, run->mmio.len);

	/* Another CPU may be changing what memory there is. */
	if (!found)
		memmap_access(&m->map, run->mmio.phys_addr, run->mmio.data, run->mmio.len,
			      run->mmio.is_write);
	memcpy(&val, run->mmio.data, run->mmio.len <= 8 ? run->mmio.len : 8);
	record(v, (uint16_t)run->mmio.len, run->mmio.is_write, run->mmio.phys_addr, val);
	return 0;
}

static int exit_again(struct vcpu *v)
{
	return 0;
}

static int exit_shutdown(struct vcpu *v)
{
	record(v, 0, false, 0, 0);
	report_guest_death(
		v, "triple fault: an exception came while a double fault was being delivered");
	return die(v);
}

static int exit_assist(struct vcpu *v)
{
	int rc = v->assist ? assist_exit(v) : 0;

	if (rc > 0)
		return 0;
	if (rc < 0) {
		report_guest_death(v, "the assist failed: %s", strerror(-rc));
		return die(v);
	}
	return -1;
}

/*
 * Whether KVM gave up on an instruction whose write is a locked one: that is how it meets
 * memory that it cannot write to just now.
 */
static bool failed_locked(const struct kvm_run *run)
{
	static const uint8_t prefixes[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64,
					    0x65, 0x66, 0x67, 0xf2, 0xf3 };
	const uint8_t *insn = run->emulation_failure.insn_bytes;

	if (run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION || run->internal.ndata < 4 ||
	    !(run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES))
		return false;
	for (unsigned i = 0; i < run->emulation_failure.insn_size && i < 15; i++) {
		if (insn[i] == 0xf0 || insn[i] == 0x86 || insn[i] == 0x87) /* lock; xchg */
			return true;
		if (!memchr(prefixes, insn[i], sizeof(prefixes)) && (insn[i] & 0xf0) != 0x40)
			return false;
	}
	return false;
}

static int exit_internal_error(struct vcpu *v)
{
	static const char *const words[] = {
		[1] = "KVM could not emulate an instruction",
		[2] = "an exception came at an unexpected moment inside KVM",
		[3] = "KVM could not deliver an event to the guest",
		[4] = "KVM met an exit it does not know",
	};
	uint32_t sub = v->run->internal.suberror;
	int rc;

	record(v, 0, false, sub, v->run->internal.data[0]);
	if (failed_locked(v->run) && memmap_written(&v->vm->m.map, &v->watch_seq))
		return 0;
	rc = exit_assist(v);
	if (rc >= 0)
		return rc;
	report_guest_death(v, "%s (internal error %u)",
			   sub < 5 && words[sub] ? words[sub] : "KVM stopped", sub);
	return die(v);
}

static int exit_debug(struct vcpu *v)
{
	int rc = exit_assist(v);

	if (rc >= 0)
		return rc;
	record(v, 0, false, v->run->debug.arch.pc, v->run->debug.arch.exception);
	report_guest_death(v, "a debug exit nobody asked for");
	return die(v);
}

static int exit_msr(struct vcpu *v)
{
	bool write = v->run->exit_reason == KVM_EXIT_X86_WRMSR;
	int rc = exit_assist(v);

	record(v, 8, write, v->run->msr.index, v->run->msr.data);
	if (rc >= 0)
		return rc;
	v->run->msr.error = 1; /* the guest gets #GP, as for an MSR that does not exist */
	return 0;
}

static int exit_fail_entry(struct vcpu *v)
{
	record(v, 0, false, v->run->fail_entry.hardware_entry_failure_reason, 0);
	report_guest_death(v, "the processor refused to enter the guest (reason 0x%llx)",
			   (unsigned long long)v->run->fail_entry.hardware_entry_failure_reason);
	return die(v);
}

static int exit_system_event(struct vcpu *v)
{
	record(v, 0, false, v->run->system_event.type, 0);
	switch (v->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		machine_request(&v->vm->m, MACHINE_POWEROFF, 0);
		return 0;
	case KVM_SYSTEM_EVENT_RESET:
		machine_request(&v->vm->m, MACHINE_RESET, 0);
		return 0;
	default:
		machine_request(&v->vm->m, MACHINE_PANIC, 0);
		return 0;
	}
}

static int (*const exits[])(struct vcpu *) = {
	[KVM_EXIT_IO] = exit_io,
	[KVM_EXIT_MMIO] = exit_mmio,
	[KVM_EXIT_INTR] = exit_again,
	[KVM_EXIT_IRQ_WINDOW_OPEN] = exit_again,
	[KVM_EXIT_SHUTDOWN] = exit_shutdown,
	[KVM_EXIT_INTERNAL_ERROR] = exit_internal_error,
	[KVM_EXIT_DEBUG] = exit_debug,
	[KVM_EXIT_X86_RDMSR] = exit_msr,
	[KVM_EXIT_X86_WRMSR] = exit_msr,
	[KVM_EXIT_FAIL_ENTRY] = exit_fail_entry,
	[KVM_EXIT_SYSTEM_EVENT] = exit_system_event,
};

/*
 * Carries out the writes that KVM has kept back, of all CPUs, before what ended KVM_RUN. One is
 * taken out of the ring when it is done, so that no CPU overtakes another that is at it.
 */
static void late_writes(struct vcpu *v)
{
	enum {
		ENTRIES = (VM_RING_SIZE - sizeof(struct kvm_coalesced_mmio_ring)) /
			  sizeof(struct kvm_coalesced_mmio)
	};
	struct vm *vm = v->vm;
	struct kvm_coalesced_mmio_ring *ring = (void *)((uint8_t *)v->run + vm->late_ring);
	uint32_t first;

	if (!vm->late_ring || __atomic_load_n(&ring->first, __ATOMIC_ACQUIRE) ==
				      __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE))
		return;
	pthread_mutex_lock(&vm->late_lock);
	for (first = ring->first; first != __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE);) {
		struct kvm_coalesced_mmio *w = &ring->coalesced_mmio[first];

		bus_write(w->pio ? &vm->m.pio : &vm->m.mmio, w->phys_addr, w->data, w->len);
		first = (first + 1) % ENTRIES;
		__atomic_store_n(&ring->first, first, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&vm->late_lock);
}

static int dispatch(struct vcpu *v)
{
	uint32_t reason = v->run->exit_reason;

	if (reason < sizeof(v->exits) / sizeof(v->exits[0]))
		atomic_fetch_add_explicit(&v->exits[reason], 1, memory_order_relaxed);
	if (reason < sizeof(exits) / sizeof(exits[0]) && exits[reason])
		return exits[reason](v);
	record(v, 0, false, v->run->hw.hardware_exit_reason, 0);
	report_guest_death(v, "KVM stopped with exit %u (%s), which posada has no handler for",
			   reason, kvm_exit_name(reason));
	return die(v);
}

/* --- the thread ------------------------------------------------------------- */

/* Carries out what other threads asked for; parks while the VM is paused. False: end. */
static bool serve_requests(struct vcpu *v)
{
	struct vm *vm = v->vm;
	bool go_on = true;

	pthread_mutex_lock(&vm->lock);
	for (;;) {
		struct vcpu_call *call = v->calls;

		if (call) {
			v->calls = call->next;
			pthread_mutex_unlock(&vm->lock);
			call->fn(v, call->ctx);
			pthread_mutex_lock(&vm->lock);
			atomic_store(&call->done, true);
			loop_wake(vm->m.loop);
			continue;
		}
		if (atomic_load(&v->requests) & VCPU_REQ_QUIT) {
			go_on = false;
			break;
		}
		if (!vm->pause && !v->dead)
			break;
		if (!v->parked) {
			atomic_store(&v->parked, true);
			loop_wake(vm->m.loop);
		}
		pthread_cond_wait(&vm->go_cond, &vm->lock);
	}
	atomic_store(&v->parked, !go_on);
	if (go_on)
		atomic_store(&v->requests, 0);
	else
		loop_wake(vm->m.loop);
	pthread_mutex_unlock(&vm->lock);
	return go_on;
}

static void mark_dead(struct vcpu *v)
{
	pthread_mutex_lock(&v->vm->lock);
	v->dead = true;
	pthread_mutex_unlock(&v->vm->lock);
	atomic_fetch_or(&v->requests, VCPU_REQ_PAUSE);
}

static void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;
	char name[16];
	sigset_t set;
	int rc, code;

	this_vcpu = v;
	snprintf(name, sizeof(name), "vcpu%u", v->id);
	pthread_setname_np(pthread_self(), name);
	/* Only the kick: all other signals are the main thread's. */
	sigfillset(&set);
	sigdelset(&set, KICK_SIGNAL);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	for (;;) {
		__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
		if (atomic_load(&v->requests)) {
			if (!serve_requests(v))
				break;
			continue;
		}
		rc = ioctl(v->fd, KVM_RUN, 0);
		code = errno;
		late_writes(v);
		if (rc < 0) {
			v->synced = 0;
			if (code == EINTR || code == EAGAIN) {
				v->synced = v->run->kvm_valid_regs;
				continue;
			}
			if (code == EFAULT && memmap_written(&v->vm->m.map, &v->watch_seq))
				continue;
			report_guest_death(v, "KVM_RUN failed: %s", strerror(code));
			die(v);
			mark_dead(v);
			continue;
		}
		v->synced = v->run->kvm_valid_regs;
		if (dispatch(v))
			mark_dead(v);
		else if (v->assist)
			assist_poll(v);
	}
	this_vcpu = NULL;
	return NULL;
}

static bool call_done(void *ctx)
{
	return atomic_load(&((struct vcpu_call *)ctx)->done);
}

void vcpu_call(struct vcpu *v, void (*fn)(struct vcpu *v, void *ctx), void *ctx)
{
	struct vm *vm = v->vm;
	struct vcpu_call call = { .fn = fn, .ctx = ctx };
	struct vcpu_call **tail;

	if (!v->thread_started || v == this_vcpu) {
		fn(v, ctx);
		return;
	}
	pthread_mutex_lock(&vm->lock);
	for (tail = &v->calls; *tail; tail = &(*tail)->next)
		;
	*tail = &call;
	atomic_fetch_or(&v->requests, VCPU_REQ_CALL);
	pthread_cond_broadcast(&vm->go_cond);
	vcpu_kick(v);
	pthread_mutex_unlock(&vm->lock);
	/* It may itself be waiting for the loop, in a device. */
	loop_wait(vm->m.loop, call_done, &call);
}

/* --- life --------------------------------------------------------------------- */

int vcpu_create(struct vm *vm, unsigned id, struct vcpu **out, struct err *e)
{
	struct vcpu *v = calloc(1, sizeof(*v));

	if (!v)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	*out = v;
	v->vm = vm;
	v->id = id;
	v->run = MAP_FAILED;
	v->fd = ioctl(vm->fd, KVM_CREATE_VCPU, id);
	if (v->fd < 0) {
		int code = errno;

		err_set(e, ERR_HOST, code, "-smp %u: KVM cannot make CPU %u: %s", vm->n_cpus, id,
			strerror(code));
		err_hint(e, "ask for fewer CPUs with -smp");
		return -code;
	}
	v->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED)
		return err_set(e, ERR_HOST, errno, "cannot map CPU %u's area: %s", id,
			       strerror(errno));
	return 0;
}

void vcpu_destroy(struct vcpu *v)
{
	if (!v)
		return;
	if (v->assist)
		assist_vcpu_free(v);
	if (v->run != MAP_FAILED)
		munmap(v->run, v->vm->run_size);
	if (v->fd >= 0)
		close(v->fd);
	free(v->init);
	free(v);
}

int vcpu_start(struct vcpu *v, struct err *e)
{
	int rc;

	/* CPUs already running may kick this one: under the lock they see both or neither. */
	pthread_mutex_lock(&v->vm->lock);
	rc = pthread_create(&v->thread, NULL, vcpu_main, v);
	v->thread_started = !rc;
	pthread_mutex_unlock(&v->vm->lock);
	if (rc)
		return err_set(e, ERR_HOST, rc, "cannot start the thread of CPU %u: %s", v->id,
			       strerror(rc));
	return 0;
}
