/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The network backends there are: one line each. */
#include "net_int.h"

extern const struct net_class net_tap, net_user;

extern const struct net_class *const net_classes[];
const struct net_class *const net_classes[] = {
	&net_tap,
	&net_user,
	NULL,
};
