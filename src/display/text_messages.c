/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages on standard error, when that is a terminal, would be written over the guest's screen:
 * while it is shown they go to a file in memory, and to the terminal when it is not any more.
 * Main loop; messages come from any thread.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "text.h"

/* Put into effect, or, where that fails, left as it was. */
void text_messages_hold(struct text_messages *t)
{
	if (t->held || !isatty(STDERR_FILENO))
		return;
	t->terminal = dup(STDERR_FILENO);
	t->file = memfd_create("posada-messages", MFD_CLOEXEC);
	t->held = t->terminal >= 0 && t->file >= 0 && dup2(t->file, STDERR_FILENO) >= 0;
	if (t->held)
		return;
	if (t->terminal >= 0)
		close(t->terminal);
	if (t->file >= 0)
		close(t->file);
}

void text_messages_let_go(struct text_messages *t)
{
	char buf[4096];
	off_t at = 0;
	ssize_t n;

	if (!t->held)
		return;
	t->held = false;
	dup2(t->terminal, STDERR_FILENO);
	while ((n = pread(t->file, buf, sizeof(buf), at)) > 0) {
		/* The terminal's end of it: what it does not take is lost. */
		if (write(STDERR_FILENO, buf, (size_t)n) != n)
			break;
		at += n;
	}
	close(t->terminal);
	close(t->file);
}
