/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How far it is: with -p all the time, else when SIGUSR1 or SIGINFO comes. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "img.h"

static volatile sig_atomic_t asked;
static bool always;
static int last; /* hundredths of a percent */

static void on_signal(int sig)
{
	asked = 1;
}

static void show(int hundredths)
{
	printf("    (%d.%02d/100%%)%c", hundredths / 100, hundredths % 100, always ? '\r' : '\n');
	fflush(stdout);
}

void img_progress_begin(bool p)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	always = p;
	last = 0;
	sigemptyset(&sa.sa_mask);
	sigaction(SIGUSR1, &sa, NULL);
	if (always)
		show(0);
}

void img_progress(uint64_t done, uint64_t total)
{
	int now = total ? (int)((unsigned __int128)done * 10000 / total) : 10000;

	/* Every hundredth would be a flood. */
	if (!asked && (!always || now - last < 100))
		return;
	asked = 0;
	last = now;
	show(now);
}

void img_progress_end(bool complete)
{
	if (!always)
		return;
	if (complete)
		show(10000);
	putchar('\n');
	fflush(stdout);
}
