/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Drives virtio-rng (virtio 1.2, section 5.4). How: see guests/lib/virtio.h. */
#include "virtio.h"

enum { BUFFER = 64, COUNT = 16 };

static struct vdev dev;
static struct vq queue;
static uint8_t buf[COUNT][BUFFER], pieces[3][1024];

/* One chain of n buffers; how many bytes came. */
static uint32_t fetch(const struct vbuf *b, unsigned n)
{
	uint64_t token;
	uint32_t len = 0;

	if (!vq_add(&queue, b, 0, n, 1))
		return 0;
	vq_kick(&queue);
	if (!vq_wait(&queue, 10000) || !vq_get(&queue, &token, &len))
		return 0;
	return len;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	while (n && !*p) {
		p++;
		n--;
	}
	return !n;
}

static void many(void)
{
	unsigned given = 0, done = 0, bad = 0;
	uint64_t token;
	uint32_t len;

	for (unsigned i = 0; i < COUNT; i++) {
		struct vbuf b = { (uint64_t)buf[i], BUFFER };

		memset(buf[i], 0, BUFFER);
		if (!vq_add(&queue, &b, 0, 1, i))
			break; /* a small queue */
		given++;
	}
	vq_kick(&queue);
	while (done < given && vq_wait(&queue, 10000) && vq_get(&queue, &token, &len)) {
		done++;
		bad += !len || len > BUFFER || (len >= 16 && all_zero(buf[token], 16));
	}
	check(done == given && !bad, "%u of %u buffers are filled, %u not well", done, given, bad);
	for (unsigned i = 0; i < given; i++) {
		for (unsigned k = 0; k < i; k++)
			bad += !memcmp(buf[i], buf[k], 8);
	}
	check(!bad, "no two of them begin alike");
}

void guest_main(void)
{
	struct vbuf one = { (uint64_t)pieces, 1 };
	struct vbuf three[] = { { (uint64_t)pieces[0], 5 },
				{ (uint64_t)pieces[1], 100 },
				{ (uint64_t)pieces[2], 1024 } };
	uint32_t len;

	vdev_need(&dev, VIRTIO_RNG);
	if (!check(vdev_begin(&dev, 0) && vq_setup(&dev, &queue, 0), "set up"))
		return;
	vdev_driver_ok(&dev);
	check(fetch(&one, 1) == 1, "one byte");
	len = fetch(three, 3);
	check(len >= 1 && len <= 5 + 100 + 1024, "%u bytes into three buffers", len);
	check(len < 105 || !all_zero(pieces[1], 100), "they are not zeroes");
	many();
	check(vdev_reset(&dev) && vdev_begin(&dev, 0) && vq_setup(&dev, &queue, 0), "set up again");
	vdev_driver_ok(&dev);
	check(fetch(&one, 1) == 1, "one byte after a reset");
	check(!(vdev_status(&dev) & VS_NEEDS_RESET), "the device is content");
}
