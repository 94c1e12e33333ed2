/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * evread: names the guest's input devices, each with the events it has and, of an absolute
 * axis, how far that goes; then prints what comes from them, a group of events to a line:
 *
 *	Posada virtio tablet: abs0=100 abs1=200 key110=1
 *
 * It ends when Esc comes up.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "inputs.h"

static const char *const type_name[EV_CNT] = {
	[EV_KEY] = "key", [EV_REL] = "rel", [EV_ABS] = "abs",
	[EV_MSC] = "msc", [EV_LED] = "led", [EV_REP] = "rep",
};

static void describe(const struct inputs *in, unsigned i)
{
	struct input_absinfo abs;
	struct input_id id;
	unsigned long types = 0;
	char serial[64] = "";
	int fd = in->fd[i].fd;

	ioctl(fd, EVIOCGBIT(0, sizeof(types)), &types);
	printf("device: %s:", in->name[i]);
	for (unsigned t = 0; t < EV_CNT; t++)
		if (types >> t & 1 && type_name[t])
			printf(" %s", type_name[t]);
	if (types >> EV_ABS & 1 && !ioctl(fd, EVIOCGABS(ABS_X), &abs))
		printf(" x=%d..%d", abs.minimum, abs.maximum);
	if (types >> EV_ABS & 1 && !ioctl(fd, EVIOCGABS(ABS_Y), &abs))
		printf(" y=%d..%d", abs.minimum, abs.maximum);
	if (!ioctl(fd, EVIOCGID, &id))
		printf(" id=%04x:%04x:%04x", id.bustype, id.vendor, id.product);
	if (ioctl(fd, EVIOCGUNIQ(sizeof(serial)), serial) > 0 && serial[0])
		printf(" serial=%s", serial);
	putchar('\n');
}

int main(void)
{
	static char group[INPUTS][512];
	struct input_event ev;
	struct inputs in;
	bool ended = false;
	int i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	inputs_open(&in);
	for (i = 0; i < (int)in.n; i++)
		describe(&in, (unsigned)i);
	puts("evread: ready");
	while (!ended && (i = inputs_read(&in, &ev)) >= 0) {
		size_t n = strlen(group[i]);

		if (ev.type != EV_SYN) {
			snprintf(group[i] + n, sizeof(group[i]) - n, " %s%x=%d",
				 ev.type < EV_CNT && type_name[ev.type] ? type_name[ev.type] : "?",
				 ev.code, ev.value);
			continue;
		}
		printf("%s:%s%s\n", in.name[i], group[i], ev.code == SYN_DROPPED ? " dropped" : "");
		ended = strstr(group[i], " key1=0");
		group[i][0] = 0;
	}
	return EXIT_SUCCESS;
}
