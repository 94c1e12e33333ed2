/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupts through KVM's own chips: two 8259 PICs, an IOAPIC and a LAPIC a
 * CPU in the kernel, and the 8254 timer (Linux Documentation/virt/kvm/api.rst).
 *
 * GSI n is PIC input n and IOAPIC pin n for the 16 ISA lines, GSIs 16 to 23 are
 * IOAPIC pins alone: KVM's default routing. GSIs from 24 on are messages (MSI), which
 * need a table of our own. Setting one costs up to 2 ms on some hosts, so that
 * is done only when a route really changes, and not before the first message.
 *
 * Any thread; irq_state->lock guards the routes, and is taken last.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "err.h"
#include "log.h"
#include "vm.h"

enum { PIC_MASTER, PIC_SLAVE, IOAPIC, N_CHIPS };
enum { ISA_LINES = 16, IOAPIC_PINS = 24, DEFAULT_ROUTES = ISA_LINES + IOAPIC_PINS };
/* What KVM has room for on x86. */
enum { MAX_ROUTES = 4096, MAX_MESSAGES = MAX_ROUTES - DEFAULT_ROUTES };

/* A message that a GSI raises; kept, so as to be set again for nothing, when no irqfd uses it. */
struct route {
	struct msi_msg msg;
	bool in_table; /* KVM knows of it */
	bool in_use;
};

struct kvm_irq_state {
	/* as KVM made them, put back at a reset */
	struct kvm_irqchip chip[N_CHIPS];
	struct kvm_pit_state2 pit;

	pthread_mutex_t lock;
	unsigned n_routes; /* those ever used are the first */
	struct route route[MAX_MESSAGES];
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
	pthread_mutex_init(&vm->irq_state->lock, NULL);
	for (unsigned i = 0; i < N_CHIPS; i++) {
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
	for (unsigned i = 0; i < N_CHIPS; i++)
		if (ioctl(vm->fd, KVM_SET_IRQCHIP, &vm->irq_state->chip[i]) < 0)
			log_warn("reset: KVM kept interrupt controller %u as it was: %s", i,
				 strerror(errno));
	if (ioctl(vm->fd, KVM_SET_PIT2, &vm->irq_state->pit) < 0)
		log_warn("reset: KVM kept the timer as it was: %s", strerror(errno));
}

void kvm_irq_destroy(struct vm *vm)
{
	if (!vm->irq_state)
		return;
	pthread_mutex_destroy(&vm->irq_state->lock);
	free(vm->irq_state);
	vm->irq_state = NULL;
}

void kvm_set_elcr(struct machine *m, uint16_t level_mask)
{
	struct vm *vm = vm_of(m);

	for (unsigned i = PIC_MASTER; i <= PIC_SLAVE; i++) {
		struct kvm_irqchip chip = { .chip_id = i };
		int rc = ioctl(vm->fd, KVM_GET_IRQCHIP, &chip);

		chip.chip.pic.elcr = (uint8_t)(level_mask >> 8 * i) & chip.chip.pic.elcr_mask;
		if (rc < 0 || ioctl(vm->fd, KVM_SET_IRQCHIP, &chip) < 0)
			log_warn("KVM did not take which interrupts are level-triggered: %s",
				 strerror(errno));
	}
}

/* --- messages ------------------------------------------------------------------- */

int kvm_msi_send(struct machine *m, const struct msi_msg *msg)
{
	struct kvm_msi msi = {
		.address_lo = (uint32_t)msg->addr,
		.address_hi = (uint32_t)(msg->addr >> 32),
		.data = msg->data,
	};

	/* 0: no CPU took it, which is the guest's affair. */
	return ioctl(vm_of(m)->fd, KVM_SIGNAL_MSI, &msi) < 0 ? -errno : 0;
}

static struct kvm_irq_routing_entry *add_pin(struct kvm_irq_routing_entry *e, unsigned gsi,
					     unsigned chip, unsigned pin)
{
	*e = (struct kvm_irq_routing_entry){ .gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP };
	e->u.irqchip.irqchip = chip;
	e->u.irqchip.pin = pin;
	return e + 1;
}

/* Tells KVM all routes: its own as it has them by default, and the messages. */
static int set_table(struct vm *vm)
{
	struct kvm_irq_state *s = vm->irq_state;
	struct kvm_irq_routing_entry *e;
	struct kvm_irq_routing *table =
		calloc(1, sizeof(*table) + (DEFAULT_ROUTES + s->n_routes) * sizeof(*e));
	int rc;

	if (!table)
		return -ENOMEM;
	e = table->entries;
	for (unsigned i = 0; i < IOAPIC_PINS; i++) {
		e = add_pin(e, i, KVM_IRQCHIP_IOAPIC, i);
		if (i < ISA_LINES)
			e = add_pin(e, i, i < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
				    i % 8);
	}
	for (unsigned i = 0; i < s->n_routes; i++, e++) {
		e->gsi = IOAPIC_PINS + i;
		e->type = KVM_IRQ_ROUTING_MSI;
		e->u.msi.address_lo = (uint32_t)s->route[i].msg.addr;
		e->u.msi.address_hi = (uint32_t)(s->route[i].msg.addr >> 32);
		e->u.msi.data = s->route[i].msg.data;
	}
	table->nr = DEFAULT_ROUTES + s->n_routes;
	rc = ioctl(vm->fd, KVM_SET_GSI_ROUTING, table) < 0 ? -errno : 0;
	free(table);
	for (unsigned i = 0; !rc && i < s->n_routes; i++)
		s->route[i].in_table = true;
	return rc;
}

static bool same(const struct msi_msg *a, const struct msi_msg *b)
{
	return a->addr == b->addr && a->data == b->data;
}

/* A GSI for q: preferably one that led to this message before. */
static int take_route(struct kvm_irq_state *s, struct irqfd *q, const struct msi_msg *msg)
{
	unsigned best = MAX_MESSAGES;

	for (unsigned i = 0; i < s->n_routes; i++) {
		if (s->route[i].in_use)
			continue;
		if (best == MAX_MESSAGES || same(&s->route[i].msg, msg))
			best = i;
		if (same(&s->route[i].msg, msg))
			break;
	}
	if (best == MAX_MESSAGES) {
		if (s->n_routes == MAX_MESSAGES)
			return -ENOSPC;
		best = s->n_routes++;
		s->route[best] = (struct route){ .msg = *msg };
	}
	s->route[best].in_use = true;
	q->gsi = (int)(IOAPIC_PINS + best);
	return 0;
}

static int irqfd_listen(struct vm *vm, struct irqfd *q, bool on)
{
	struct kvm_irqfd arg = {
		.fd = (uint32_t)q->fd,
		.gsi = (uint32_t)q->gsi,
		.flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
	};
	eventfd_t count;

	if (q->on == on)
		return 0;
	if (ioctl(vm->fd, KVM_IRQFD, &arg) < 0)
		return -errno;
	q->on = on;
	/*
	 * KVM raises what waits in the eventfd when it begins to listen, but leaves
	 * it there, where it would still look pending. What is written from now on, KVM
	 * takes out at once: so nothing is lost here.
	 */
	if (on)
		eventfd_read(q->fd, &count);
	return 0;
}

/* Lock held. */
static int set_message(struct vm *vm, struct irqfd *q, const struct msi_msg *msg)
{
	struct kvm_irq_state *s = vm->irq_state;
	struct route *r;
	int rc = 0;

	if (q->gsi < 0)
		rc = take_route(s, q, msg);
	if (rc)
		return rc;
	r = &s->route[q->gsi - IOAPIC_PINS];
	if (!r->in_table || !same(&r->msg, msg)) {
		r->msg = *msg;
		r->in_table = false;
		rc = set_table(vm);
	}
	q->msg = *msg;
	return rc ? rc : irqfd_listen(vm, q, true);
}

int kvm_irqfd_set(struct machine *m, struct irqfd *q, const struct msi_msg *msg)
{
	struct vm *vm = vm_of(m);
	int rc;

	pthread_mutex_lock(&vm->irq_state->lock);
	rc = msg ? set_message(vm, q, msg) : irqfd_listen(vm, q, false);
	pthread_mutex_unlock(&vm->irq_state->lock);
	return rc;
}

void kvm_irqfd_free(struct machine *m, struct irqfd *q)
{
	struct vm *vm = vm_of(m);

	pthread_mutex_lock(&vm->irq_state->lock);
	irqfd_listen(vm, q, false);
	if (q->gsi >= 0)
		vm->irq_state->route[q->gsi - IOAPIC_PINS].in_use = false;
	q->gsi = -1;
	pthread_mutex_unlock(&vm->irq_state->lock);
}
