/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives virtio-balloon (virtio 1.2, section 5.5): inflates and deflates, leaves a
 * buffer with statistics, reports free pages. How: see guests/lib/virtio.h.
 *
 *   follow=N   then follows N changes of num_pages by config interrupts, saying "actual PAGES"
 *   stats=N    and answers N requests for statistics
 */
#include "virtio.h"

enum { BF_STATS = 1, BF_HINT = 3, BF_REPORTING = 5 };
enum { BC_NUM_PAGES = 0, BC_ACTUAL = 4 };
enum { PAGE = 4096, BATCH = 256, POOL = 2048 }; /* at most POOL pages go into the balloon */

struct stat {
	uint16_t tag;
	uint64_t val;
} __attribute__((packed));

static struct vdev dev;
static struct vq inflate, deflate, stats, hint, reporting;
static uint8_t *pool;
static uint32_t actual, pfn[BATCH];
static struct stat stat[] = { { 4, 48 << 20 },
			      { 5, 64 << 20 },
			      { 0, 0 } }; /* free, total, swapped in */

static bool done(struct vq *q)
{
	uint64_t token;
	uint32_t len;

	return vq_wait(q, 10000) && vq_get(q, &token, &len);
}

/* Moves the balloon's size to `pages`. */
static bool move_to(uint32_t pages)
{
	while (actual != pages) {
		bool up = pages > actual;
		uint32_t n = up ? pages - actual : actual - pages, from;
		struct vbuf b = { (uint64_t)pfn, 0 };

		if (n > BATCH)
			n = BATCH;
		from = up ? actual : actual - n;
		for (uint32_t i = 0; i < n; i++)
			pfn[i] = (uint32_t)((uint64_t)pool / PAGE + from + i);
		b.len = n * 4;
		vq_add(up ? &inflate : &deflate, &b, 1, 0, 0);
		vq_kick(up ? &inflate : &deflate);
		if (!done(up ? &inflate : &deflate))
			return false;
		actual = up ? actual + n : actual - n;
	}
	dev.ops->cfg_write(&dev, BC_ACTUAL, 4, actual);
	return true;
}

static void mark(uint32_t pages, uint64_t salt)
{
	for (uint32_t i = 0; i < pages; i++)
		*(volatile uint64_t *)(pool + (uint64_t)i * PAGE) = salt + i;
}

static unsigned marked(uint32_t pages, uint64_t salt)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < pages; i++)
		n += *(volatile uint64_t *)(pool + (uint64_t)i * PAGE) == salt + i;
	return n;
}

static void up_and_down(void)
{
	mark(600, 1000);
	check(move_to(500), "inflated by 500 pages");
	check(vdev_cfg32(&dev, BC_ACTUAL) == 500, "the device knows");
	check(marked(600, 1000) - marked(500, 1000) == 100,
	      "pages outside the balloon keep what they have");
	say("%u of 500 pages still have what they had\n", marked(500, 1000));
	check(move_to(0), "deflated");
	mark(600, 5000);
	check(marked(600, 5000) == 600, "all pages can be used again");
}

static void strange_pages(void)
{
	struct vbuf b = { (uint64_t)pfn, 16 };

	pfn[0] = 0xffffffff;
	pfn[1] = 0xfd000; /* no RAM there */
	pfn[2] = LAPIC_BASE / PAGE;
	pfn[3] = 0x80000000;
	vq_add(&inflate, &b, 1, 0, 0);
	vq_kick(&inflate);
	check(done(&inflate) || (vdev_status(&dev) & VS_NEEDS_RESET),
	      "pages that are no RAM harm nothing");
	b.len = 3; /* less than one number */
	vq_add(&deflate, &b, 1, 0, 0);
	vq_kick(&deflate);
	check(done(&deflate) || (vdev_status(&dev) & VS_NEEDS_RESET), "three bytes harm nothing");
}

static void give_stats(void)
{
	struct vbuf b = { (uint64_t)stat, sizeof stat };

	vq_add(&stats, &b, 1, 0, 0);
	vq_kick(&stats);
}

static void report_free(void)
{
	struct vbuf b[] = { { (uint64_t)pool, 512 * PAGE },
			    { (uint64_t)pool + 1024 * PAGE, 512 * PAGE } };

	mark(POOL, 7000);
	vq_add(&reporting, b, 0, 2, 0);
	vq_kick(&reporting);
	check(done(&reporting), "free pages reported");
	check(*(uint64_t *)(pool + 512 * PAGE) == 7512, "what was not reported is still there");
	say("%u of 512 reported pages still have what they had\n", marked(512, 7000));
	mark(POOL, 8000);
	check(marked(POOL, 8000) == POOL, "all pages can be used again");
}

static bool start(void)
{
	unsigned n = 2;
	bool ok = vdev_begin(&dev, BIT(BF_STATS) | BIT(BF_HINT) | BIT(BF_REPORTING));

	ok = ok && vq_setup(&dev, &inflate, 0) && vq_setup(&dev, &deflate, 1);
	if (vdev_has(&dev, BF_STATS))
		ok = ok && vq_setup(&dev, &stats, n++);
	if (vdev_has(&dev, BF_HINT))
		ok = ok && vq_setup(&dev, &hint, n++);
	if (vdev_has(&dev, BF_REPORTING))
		ok = ok && vq_setup(&dev, &reporting, n++);
	if (ok)
		vdev_driver_ok(&dev);
	return ok;
}

static void follow(uint64_t changes, uint64_t answers)
{
	uint32_t before = vdev_cfg32(&dev, BC_NUM_PAGES);

	say("ready\n");
	while (changes || answers) {
		uint32_t want = vdev_cfg32(&dev, BC_NUM_PAGES);
		uint64_t token;
		uint32_t len;

		if (answers && vq_get(&stats, &token, &len)) {
			say("statistics asked for\n");
			answers--;
			give_stats();
		}
		if (changes && want != before) {
			before = want;
			changes--;
			check(move_to(want < POOL ? want : POOL), "moved");
			say("actual %u\n", actual);
		}
		vdev_wait_config(&dev, dev.config_irqs + 1, 20);
	}
}

void guest_main(void)
{
	vdev_need(&dev, VIRTIO_BALLOON);
	if (!check(start(), "set up"))
		return;
	say("offered %lx, taken %lx, num_pages %u\n", dev.offered, dev.features,
	    vdev_cfg32(&dev, BC_NUM_PAGES));
	pool = (uint8_t *)((alloc_mark() + 0x1fffff) & ~0x1fffffull);
	up_and_down();
	if (vdev_has(&dev, BF_REPORTING))
		report_free();
	if (vdev_has(&dev, BF_STATS))
		give_stats();
	if (arg_u64("follow", 0) || arg_u64("stats", 0))
		follow(arg_u64("follow", 0), arg_u64("stats", 0));
	strange_pages();
	check(vdev_reset(&dev) && start(), "set up again");
	actual = 0;
	check(move_to(10) && move_to(0), "and works");
}
