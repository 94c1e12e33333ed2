/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Doorbells of a bus master: a write that starts it does not stop the vCPU, but
 * wakes the main loop, which has the work to do. Whoever looks at the channel
 * before the loop has heard the bell hears it first (ide_bell_sync), so that the
 * order in which the guest wrote is kept. Where the host has no doorbells, the
 * register's handler is called.
 */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ide_int.h"
#include "machine.h"

static const uint8_t values[IDE_BELLS] = { IDE_BM_START, IDE_BM_START | IDE_BM_TO_MEMORY };

void ide_bell_hear(struct ide_channel *ch)
{
	for (unsigned i = 0; i < IDE_BELLS; i++) {
		eventfd_t n;

		if (ch->bell[i].fd >= 0 && !eventfd_read(ch->bell[i].fd, &n))
			ide_bm_command(ch, values[i]);
	}
}

static void rung(void *ctx, uint32_t events)
{
	struct ide_channel *ch = ctx;

	pthread_mutex_lock(&ch->lock);
	ch->in_done = true;
	ide_bell_hear(ch);
	ch->in_done = false;
	ide_run_queued(ch);
	pthread_mutex_unlock(&ch->lock);
}

/* Without eventfds it works as well. */
void ide_bell_init(struct ide_channel *ch)
{
	for (unsigned i = 0; i < IDE_BELLS; i++) {
		int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

		ch->bell[i].fd = fd;
		if (fd >= 0 &&
		    loop_fd_add(ch->m->loop, &ch->bell[i].watch, fd, EPOLLIN, rung, ch) < 0) {
			close(fd);
			ch->bell[i].fd = -1;
		}
	}
}

void ide_bell_fini(struct ide_channel *ch)
{
	for (unsigned i = 0; i < IDE_BELLS; i++) {
		if (ch->bell[i].fd < 0)
			continue;
		loop_fd_del(&ch->bell[i].watch);
		close(ch->bell[i].fd);
		ch->bell[i].fd = -1;
	}
}

void ide_bell_map(struct ide_channel *ch)
{
	for (unsigned i = 0; i < IDE_BELLS; i++)
		if (ch->bell[i].fd >= 0)
			bus_doorbell(&ch->bm_ports, 0, 1, values[i], ch->bell[i].fd);
}
