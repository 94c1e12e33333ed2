/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xclose WINDOW: asks a window on $DISPLAY to close, as the button in its frame does (ICCCM,
 * WM_DELETE_WINDOW). For the boot tests.
 */
#include <X11/Xlib.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	Display *d = XOpenDisplay(NULL);
	XEvent ev = { .type = ClientMessage };

	if (!d || argc != 2) {
		fprintf(stderr, "xclose: no window, or no display\n");
		return 1;
	}
	ev.xclient.window = strtoul(argv[1], NULL, 0);
	ev.xclient.message_type = XInternAtom(d, "WM_PROTOCOLS", False);
	ev.xclient.format = 32;
	ev.xclient.data.l[0] = (long)XInternAtom(d, "WM_DELETE_WINDOW", False);
	XSendEvent(d, ev.xclient.window, False, NoEventMask, &ev);
	XCloseDisplay(d);
	return 0;
}
