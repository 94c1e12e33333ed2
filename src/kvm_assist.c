/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The KVM ioctls that only the software-KVM assist needs: see
 * Documentation/virt/kvm/api.rst of Linux. The VM's by the main thread, the
 * vCPU's by its own.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "assist_priv.h"
#include "vcpu.h"
#include "vm.h"

static int enable_cap(const struct vm *vm, uint32_t cap, uint64_t arg)
{
	struct kvm_enable_cap ec = { .cap = cap, .args = { arg } };

	return ioctl(vm->fd, KVM_ENABLE_CAP, &ec) < 0 ? -errno : 0;
}

int kvm_assist_setup(struct vm *vm, struct err *e)
{
	/* Bit clear: the access ends KVM_RUN. Between the two is CSTAR. */
	uint8_t allow[1] = { 1u << (MSR_CSTAR - MSR_LSTAR) };
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges[0] = { .flags = KVM_MSR_FILTER_WRITE,
			       .nmsrs = MSR_SFMASK - MSR_LSTAR + 1,
			       .base = MSR_LSTAR,
			       .bitmap = allow },
	};
	int r;

	r = enable_cap(vm, KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_FILTER);
	if (r == 0 && ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter) < 0)
		r = -errno;
	if (r < 0) {
		err_set(e, ERR_UNAVAILABLE, -r, "this KVM cannot report MSR writes (%s)",
			strerror(-r));
		err_hint(e, "-accel kvm,assist=off runs guests that need no help");
		return r;
	}
	/*
	 * A software KVM tries to patch VMCALL in place for ever. Without the
	 * quirk the guest gets #UD; a KVM that has no such switch has no such loop.
	 */
	enable_cap(vm, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_FIX_HYPERCALL_INSN);
	return 0;
}

int kvm_assist_get_cpuid(struct vcpu *v, struct kvm_cpuid2 *c)
{
	return ioctl(v->fd, KVM_GET_CPUID2, c) < 0 ? -errno : 0;
}

int kvm_assist_set_debugregs(struct vcpu *v, const struct kvm_debugregs *d)
{
	return ioctl(v->fd, KVM_SET_DEBUGREGS, d) < 0 ? -errno : 0;
}

int kvm_assist_set_sregs(struct vcpu *v, const struct kvm_sregs *s)
{
	return ioctl(v->fd, KVM_SET_SREGS, s) < 0 ? -errno : 0;
}
