/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Input devices as the driver sees them: virtio 1.2, section 5.8. */
#ifndef POSADA_WIRE_VIRTIO_INPUT_H
#define POSADA_WIRE_VIRTIO_INPUT_H

#include <stddef.h>

#include "wire/le.h"

enum { VIRTIO_INPUT_EVENTS = 0, VIRTIO_INPUT_STATUS = 1 }; /* queues */

enum virtio_input_select {
	VIRTIO_INPUT_ID_NAME = 0x01,
	VIRTIO_INPUT_ID_SERIAL = 0x02,
	VIRTIO_INPUT_ID_DEVIDS = 0x03,
	VIRTIO_INPUT_PROP_BITS = 0x10,
	VIRTIO_INPUT_EV_BITS = 0x11, /* subsel: the type of event */
	VIRTIO_INPUT_ABS_INFO = 0x12, /* subsel: the axis */
};

struct virtio_input_absinfo {
	struct le32 min, max, fuzz, flat, res;
};

struct virtio_input_devids {
	struct le16 bustype, vendor, product, version;
};

struct virtio_input_config {
	uint8_t select, subsel; /* written by the driver */
	uint8_t size; /* of u; 0: there is no such thing */
	uint8_t reserved[5];
	union {
		char string[128]; /* without a zero at its end */
		uint8_t bitmap[128];
		struct virtio_input_absinfo abs;
		struct virtio_input_devids ids;
	} u;
};

/* Types, codes and values are those of linux/input-event-codes.h. */
struct virtio_input_event {
	struct le16 type, code;
	struct le32 value;
};

_Static_assert(sizeof(struct virtio_input_config) == 136, "section 5.8.4");
_Static_assert(offsetof(struct virtio_input_config, u) == 8, "section 5.8.4");
_Static_assert(sizeof(struct virtio_input_event) == 8, "section 5.8.6");

#endif
