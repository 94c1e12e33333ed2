/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An interrupt line as a device sees it: a level, and somebody who hears it. */
#ifndef POSADA_IRQ_H
#define POSADA_IRQ_H

#include <stdbool.h>
#include <stdint.h>

struct irq {
	void (*set)(void *ctx, unsigned n, bool level); /* any thread */
	void *ctx;
	unsigned n;
};

static inline void irq_set(const struct irq *irq, bool level)
{
	if (irq->set)
		irq->set(irq->ctx, irq->n, level);
}

/* A message-signalled interrupt: what a PCI function writes to raise it (PCI 3.0, section 6.8). */
struct msi_msg {
	uint64_t addr;
	uint32_t data;
};

/*
 * An eventfd (non-blocking) that raises a message: the kernel hears of a write to fd without
 * another system call. While `on` is false (masked) writes stay in the
 * eventfd, and are raised when it is turned on again. Set by machine_irqfd_set.
 */
struct irqfd {
	int fd;
	int gsi; /* KVM's number for the route; -1: none */
	bool on;
	struct msi_msg msg;
};

#endif
