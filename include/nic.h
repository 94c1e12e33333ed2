/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What -netdev, -nic and -net ask for (hw/nic.c). Main thread, while the machine is made. */
#ifndef POSADA_NIC_H
#define POSADA_NIC_H

#include <stdio.h>

struct config;
struct err;
struct machine;

/* -netdev: before the devices that are on them. */
int nic_add_netdevs(struct machine *m, const struct config *cfg, struct err *e);
/* -nic and -net: after all other devices. */
int nic_add(struct machine *m, const struct config *cfg, struct err *e);
/* Models of cards. */
void nic_help(FILE *f);

#endif
