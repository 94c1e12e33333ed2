/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The console device as the driver sees it: virtio 1.2, section 5.3. */
#ifndef POSADA_WIRE_VIRTIO_CONSOLE_H
#define POSADA_WIRE_VIRTIO_CONSOLE_H

#include <stddef.h>

#include "wire/le.h"

enum {
	VIRTIO_CONSOLE_F_SIZE = 0,
	VIRTIO_CONSOLE_F_MULTIPORT = 1,
	VIRTIO_CONSOLE_F_EMERG_WRITE = 2,
};

/* Queues; port n > 0 has 2n + 2 and 2n + 3. */
enum {
	VIRTIO_CONSOLE_RX0 = 0,
	VIRTIO_CONSOLE_TX0 = 1,
	VIRTIO_CONSOLE_CONTROL_RX = 2, /* to the driver */
	VIRTIO_CONSOLE_CONTROL_TX = 3, /* from the driver */
};

struct virtio_console_config {
	struct le16 cols;
	struct le16 rows;
	struct le32 max_nr_ports;
	struct le32 emerg_wr;
};

enum virtio_console_event {
	VIRTIO_CONSOLE_DEVICE_READY = 0, /* driver */
	VIRTIO_CONSOLE_PORT_ADD = 1, /* device */
	VIRTIO_CONSOLE_PORT_REMOVE = 2, /* device */
	VIRTIO_CONSOLE_PORT_READY = 3, /* driver */
	VIRTIO_CONSOLE_CONSOLE_PORT = 4, /* device */
	VIRTIO_CONSOLE_RESIZE = 5, /* device; struct virtio_console_resize follows */
	VIRTIO_CONSOLE_PORT_OPEN = 6, /* both */
	VIRTIO_CONSOLE_PORT_NAME = 7, /* device; the name follows, without a NUL */
};

struct virtio_console_control {
	struct le32 id; /* port */
	struct le16 event;
	struct le16 value;
};

struct virtio_console_resize {
	struct le16 cols;
	struct le16 rows;
};

_Static_assert(sizeof(struct virtio_console_config) == 12, "section 5.3.4");
_Static_assert(offsetof(struct virtio_console_config, emerg_wr) == 8, "section 5.3.4");
_Static_assert(sizeof(struct virtio_console_control) == 8, "section 5.3.6.2");
_Static_assert(sizeof(struct virtio_console_resize) == 4, "section 5.3.6.2");

#endif
