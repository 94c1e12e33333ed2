/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's input devices, for programs that read events of all of them. */
#ifndef POSADA_GUEST_INPUTS_H
#define POSADA_GUEST_INPUTS_H

#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { INPUTS = 16 };

struct inputs {
	struct pollfd fd[INPUTS];
	char name[INPUTS][64];
	unsigned n;
};

static inline void inputs_open(struct inputs *in)
{
	char path[32];

	in->n = 0;
	for (unsigned i = 0; i < INPUTS; i++) {
		int fd;

		snprintf(path, sizeof(path), "/dev/input/event%u", i);
		fd = open(path, O_RDWR);
		if (fd < 0)
			continue;
		in->fd[in->n] = (struct pollfd){ .fd = fd, .events = POLLIN };
		if (ioctl(fd, EVIOCGNAME(sizeof(in->name[0])), in->name[in->n]) < 0)
			snprintf(in->name[in->n], sizeof(in->name[0]), "event%u", i);
		in->n++;
	}
}

/* Waits for the next event of any of them; returns which, or -1: no device is left. */
static inline int inputs_read(struct inputs *in, struct input_event *ev)
{
	while (poll(in->fd, in->n, -1) > 0)
		for (unsigned i = 0; i < in->n; i++) {
			if (!in->fd[i].revents)
				continue;
			if (read(in->fd[i].fd, ev, sizeof(*ev)) == sizeof(*ev))
				return (int)i;
			in->fd[i].fd = -1;
		}
	return -1;
}

#endif
