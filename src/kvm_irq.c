/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupts through KVM's own chips: two 8259 PICs, an IOAPIC and a LAPIC a
 * CPU in the kernel, and the 8254 timer (Linux Documentation/virt/kvm/api.rst).
 *
 * GSI n is PIC input n and IOAPIC pin n for the 16 ISA lines, KVM's default
 * routing: setting a table of our own costs up to 2 ms at start on some hosts.
 * Lines may be set from any thread.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "err.h"
#include "log.h"
#include "vm.h"

/* As KVM made them, put back at a reset. */
struct kvm_irq_state {
	struct kvm_irqchip chip[3];
	struct kvm_pit_state2 pit;
};

static void set_line(void *ctx, unsigned n, bool level)
{
	struct vm *vm = ctx;
	struct kvm_irq_level line = { .irq = n, .level = level };

	if (ioctl(vm->fd, KVM_IRQ_LINE, &line) < 0)
		log_warn("KVM refused interrupt line %u: %s", n, strerror(errno));
}

int kvm_irq_create(struct vm *vm, struct err *e)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };

	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return err_set(e, ERR_HOST, errno, "KVM cannot make the interrupt controllers: %s",
			       strerror(errno));
	if (ioctl(vm->fd, KVM_CREATE_PIT2, &pit) < 0)
		return err_set(e, ERR_HOST, errno, "KVM cannot make the timer: %s",
			       strerror(errno));
	vm->irq_state = calloc(1, sizeof(*vm->irq_state));
	if (!vm->irq_state)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	for (unsigned i = 0; i < 3; i++) {
		vm->irq_state->chip[i].chip_id = i;
		if (ioctl(vm->fd, KVM_GET_IRQCHIP, &vm->irq_state->chip[i]) < 0)
			return err_set(e, ERR_HOST, errno,
				       "KVM does not show its interrupt controllers: %s",
				       strerror(errno));
	}
	if (ioctl(vm->fd, KVM_GET_PIT2, &vm->irq_state->pit) < 0)
		return err_set(e, ERR_HOST, errno, "KVM does not show its timer: %s",
			       strerror(errno));
	for (unsigned i = 0; i < 16; i++)
		vm->m.isa_irq[i] = (struct irq){ .set = set_line, .ctx = vm, .n = i };
	return 0;
}

void kvm_irq_reset(struct vm *vm)
{
	for (unsigned i = 0; i < 3; i++)
		if (ioctl(vm->fd, KVM_SET_IRQCHIP, &vm->irq_state->chip[i]) < 0)
			log_warn("reset: KVM kept interrupt controller %u as it was: %s", i,
				 strerror(errno));
	if (ioctl(vm->fd, KVM_SET_PIT2, &vm->irq_state->pit) < 0)
		log_warn("reset: KVM kept the timer as it was: %s", strerror(errno));
}
