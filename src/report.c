/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The report of a guest's death, and `info registers`: takes the snapshot and
 * writes what report_format.c makes of it. On the vCPU's own thread, outside
 * KVM_RUN.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "report.h"
#include "vm.h"

static void take_snapshot(struct vcpu *v, struct cpu_snapshot *c)
{
	memset(c, 0, sizeof(*c));
	c->id = v->id;
	c->exit = *v->run; /* before anything below changes it */
	c->have_regs = vcpu_get_regs(v, &c->regs) == 0 && vcpu_get_sregs(v, &c->sregs) == 0;
	c->have_events = vcpu_get_events(v, &c->events) == 0;
}

/* All of it, also to a slow reader of a non-blocking stderr, but not for ever. */
static void write_stderr(const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(STDERR_FILENO, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };

			if (poll(&p, 1, 1000) != 0)
				continue;
		}
		if (n <= 0)
			return;
		text += n;
		len -= (size_t)n;
	}
}

void report_guest_death(struct vcpu *v, const char *why, ...)
{
	struct vm *vm = v->vm;
	struct cpu_snapshot c;
	char words[256];
	char *text = NULL;
	size_t len = 0;
	va_list ap;
	FILE *f;

	if (atomic_exchange(&vm->report_made, true))
		return;
	va_start(ap, why);
	vsnprintf(words, sizeof(words), why, ap);
	va_end(ap);
	take_snapshot(v, &c);
	/* One write, so that nothing gets in between. */
	f = open_memstream(&text, &len);
	if (!f) {
		report_format(vm, &c, words, stderr);
		return;
	}
	/* The guest may have left the terminal in the middle of a line. */
	if (isatty(STDERR_FILENO))
		fputc('\n', f);
	report_format(vm, &c, words, f);
	if (fclose(f) == 0)
		write_stderr(text, len);
	free(text);
}

void report_registers(struct vcpu *v, FILE *f)
{
	struct cpu_snapshot c;

	take_snapshot(v, &c);
	report_format_registers(v->vm, &c, f);
}
