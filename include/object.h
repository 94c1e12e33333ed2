/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -object TYPE,id=ID,...: things that are neither devices nor backends. Main thread. */
#ifndef POSADA_OBJECT_H
#define POSADA_OBJECT_H

#include <stdio.h>

struct err;
struct machine;

/* Makes what arg says; messages do not repeat the option. */
int object_add(struct machine *m, const char *arg, struct err *e);
/* "-object help" */
void object_help(FILE *f);

#endif
