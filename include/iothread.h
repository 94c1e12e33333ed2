/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * I/O threads: loops of their own for devices (-object iothread,id=ID; the
 * device's iothread=ID), so that their work does not wait for the main loop's.
 */
#ifndef POSADA_IOTHREAD_H
#define POSADA_IOTHREAD_H

#include <stdint.h>

struct err;
struct iothread;
struct loop;
struct machine;

/* Starts one; -EEXIST when the id is taken. Main thread. */
int iothread_add(struct machine *m, const char *id, uint64_t poll_max_ns, struct err *e);
/* Its loop, or NULL when there is none of that id. */
struct loop *iothread_loop(struct machine *m, const char *id);
/* For a device's iothread=: the loop of id, the main loop when id is NULL; -ENOENT names the way
 * out. */
int iothread_get(struct machine *m, const char *id, struct loop **out, struct err *e);
/* Ends and joins them all, after the devices that used them are gone. */
void iothreads_destroy(struct machine *m);
/* Calls fn for each, in order of creation. */
void iothread_each(struct machine *m, void (*fn)(void *ctx, const char *id, int tid), void *ctx);

#endif
