/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target (libFuzzer): a monitor session over a fake VM. The first byte
 * says how input and output are cut and whether the text form is spoken; the
 * rest is what the peer sends. A byte 0xfe in it is a peer that leaves and comes back.
 *
 *   fuzz_qmp -dict=tests/fuzz/qmp.dict -max_total_time=60 tests/fuzz/corpus/qmp
 */
#include "../unit/fake_monitor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/*
 * memsave and pmemsave would write where the input says: what a peer of the real monitor may do.
 * Here open() finds no file.
 */
int open(const char *name, int flags, ...);

int open(const char *name, int flags, ...)
{
	errno = ENOENT;
	return -1;
}

static void peer_reads(struct chardev *c, size_t step)
{
	/* Until it has everything: input must then be taken again. */
	for (int i = 0; i < 64 && !c->client->can_read(c->ctx); i++)
		fake_room(c, step * 4096);
	fake_room(c, ROOM);
	if (!c->client->can_read(c->ctx))
		abort();
	c->len = 0;
	c->room = step * 1024;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct chardev c = { 0 }, text = { 0 };
	size_t step, pos = 1;
	struct err e;
	bool qmp;

	if (!len)
		return 0;
	step = (size_t)(data[0] & 63) + 1;
	qmp = !(data[0] & 64);
	fake_init();
	if ((qmp ? monitor_add_qmp : monitor_add_text)(&fake.vm, &c, &e) < 0 ||
	    monitor_add_text(&fake.vm, &text, &e) < 0)
		abort();
	fake_open(&c);
	if (qmp && (data[0] & 128)) /* most commands want this first */
		fake_input(&c, "{\"execute\":\"qmp_capabilities\"}", 30, 30);
	c.room = step * 1024;
	while (pos < len) {
		const uint8_t *gone = memchr(data + pos, 0xfe, len - pos);
		size_t n = gone ? (size_t)(gone - data) - pos : len - pos;

		while (n) {
			size_t took = fake_input(&c, data + pos, n, step);

			pos += took;
			n -= took;
			if (n)
				peer_reads(&c, step);
		}
		if (gone) {
			pos++;
			fake_close(&c);
			fake_open(&c);
			c.room = step * 1024;
		}
	}
	c.room = ROOM; /* or the monitor would wait for its last words to be read */
	fake_fini();
	free(c.out);
	return 0;
}
