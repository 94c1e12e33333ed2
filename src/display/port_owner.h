/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who listens on a TCP port, for error messages. */
#ifndef POSADA_PORT_OWNER_H
#define POSADA_PORT_OWNER_H

#include <stdbool.h>
#include <stddef.h>

/* "name (process 123)" of this host; false: it cannot be seen. */
bool port_owner(unsigned port, char *out, size_t room);

#endif
