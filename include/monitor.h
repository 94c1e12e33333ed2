/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control from outside: one table of commands (src/monitor.c), spoken as text
 * (-monitor, Ctrl-A c) and as JSON (-qmp). Main loop only.
 */
#ifndef POSADA_MONITOR_H
#define POSADA_MONITOR_H

struct chardev;
struct err;
struct vm;

/* A monitor on a backend; lives until monitors_destroy. */
int monitor_add_text(struct vm *vm, struct chardev *c, struct err *e);
int monitor_add_qmp(struct vm *vm, struct chardev *c, struct err *e);
void monitors_destroy(struct vm *vm);

#endif
