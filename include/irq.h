/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An interrupt line as a device sees it: a level, and somebody who hears it. */
#ifndef POSADA_IRQ_H
#define POSADA_IRQ_H

#include <stdbool.h>

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

#endif
