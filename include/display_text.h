/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -display text: a screen shown in a terminal, whose keys become the guest's. Text
 * modes are shown as text, graphics in half-block characters. Main loop.
 */
#ifndef POSADA_DISPLAY_TEXT_H
#define POSADA_DISPLAY_TEXT_H

struct chardev;
struct err;
struct loop;
struct machine;
struct text_display;

/*
 * On c, a mux whose monitor comes after it; its terminal's size is that of descriptor tty_fd.
 * -ENODEV: the machine has no screen.
 */
int text_display_create(struct machine *m, struct loop *l, struct chardev *c, int tty_fd,
			struct text_display **out, struct err *e);
void text_display_resized(struct text_display *d); /* the terminal has another size, maybe */
void text_display_destroy(struct text_display *d); /* NULL: nothing */

#endif
