/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-balloon: the traditional memory balloon of virtio 1.2, section 5.5.
 * Pages that the guest puts into the balloon, or reports as free, go back to
 * the host at once; when the guest uses them again they are there, as zeros.
 *
 * Pages of the free page hinting queue are only counted: a driver may use a
 * hinted page again before the device has seen the hint (section 5.5.6.6.1), so
 * that without a log of what the guest writes, discarding could lose data.
 *
 * Queues, timers and the monitor's calls: main loop. Configuration space: vCPU
 * threads, under dev.lock; what both use is atomic.
 */
#include "virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "balloon.h"
#include "err.h"
#include "gmem.h"
#include "iov.h"
#include "machine.h"
#include "props.h"
#include "queue_work.h"
#include "wire/virtio_balloon.h"

#define NS_PER_S 1000000000ull
#define CHANGE_NS NS_PER_S /* between two BALLOON_CHANGE events */

enum {
	QUEUE_SIZE = 128,
	PAGE = 1 << VIRTIO_BALLOON_PFN_SHIFT,
	PFNS = 1024, /* looked at together */
	PFNS_MAX = 16384, /* of one chain */
	/* Work of one callback; the rest waits until others on the loop have had their turn. */
	CHAINS_SLICE = 64,
	PFNS_SLICE = PFNS_MAX,
	STATS_MAX = 64, /* entries of a buffer that are looked at */
};

_Static_assert(BALLOON_STATS == (int)VIRTIO_BALLOON_S_NR, "the monitor knows them all");

/* In the order of their numbers. */
enum role { INFLATE, DEFLATE, STATS, HINT, REPORT, ROLES };

struct balloon {
	struct virtio_dev v; /* first member */
	bool p_deflate_on_oom, p_hint, p_reporting, p_poison;
	uint32_t interval; /* of polling for statistics, seconds; 0: off */

	/* configuration space; atomic: main loop and vCPUs */
	_Atomic uint32_t num_pages, actual, cmd_id, poison_val;
	uint8_t written[sizeof(struct virtio_balloon_config)]; /* by the driver; dev.lock */

	/* main loop */
	struct virtqueue *role[ROLES]; /* NULL: not in use by this driver */
	struct vq_chain stats_chain; /* kept to ask for statistics with */
	bool stats_held, stats_ignored;
	struct iovec iov[QUEUE_SIZE];
	struct loop_timer poll, change;
	uint64_t change_ns; /* last event */
	uint32_t told; /* `actual` at that time */
	uint32_t last_cmd_id;
	bool hint_valid; /* what comes now belongs to the round */
	struct balloon_info info; /* what of it is remembered here */
	bool host_error; /* reported */
};

static const char *who(const struct balloon *b)
{
	return b->v.dev.id ? b->v.dev.id : b->v.dev.cls->name;
}

/* --- giving memory back ---------------------------------------------------------- */

static void discard(struct balloon *b, void *host, size_t len)
{
	int rc = gmem_discard(&b->v.dev.m->mem, host, len);

	if (!rc) {
		b->info.given_back += len;
	} else if (rc == -EFAULT) {
		log_guest(&b->v.loop_log, who(b), "gives memory that is not RAM");
	} else if (!b->host_error) {
		b->host_error = true;
		log_warn("%s: the host does not take memory back: %s; it stays in use", who(b),
			 strerror(-rc));
	}
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/*
 * Drivers name pages in any order: sorted, neighbours go in one system call.
 * Neighbours on the host alone do not: low and high RAM are.
 */
static void discard_pages(struct balloon *b, uint32_t *pfn, size_t n)
{
	const struct gmem *mem = &b->v.dev.m->mem;
	uint8_t *run = NULL;
	size_t len = 0;

	qsort(pfn, n, sizeof(*pfn), by_number);
	for (size_t i = 0; i < n; i++) {
		uint8_t *page;

		if (i && pfn[i] == pfn[i - 1])
			continue;
		page = gmem_ptr(mem, (uint64_t)pfn[i] << VIRTIO_BALLOON_PFN_SHIFT, PAGE);
		if (!page)
			log_guest(&b->v.loop_log, who(b), "page 0x%x is not RAM", pfn[i]);
		if (run && page == run + len && pfn[i] == pfn[i - 1] + 1) {
			len += PAGE;
			continue;
		}
		if (run)
			discard(b, run, len);
		run = page;
		len = PAGE;
	}
	if (run)
		discard(b, run, len);
}

/* --- queues ------------------------------------------------------------------------ */

/* Returns how many page numbers there were. */
static size_t inflate(struct balloon *b, const struct vq_chain *c)
{
	size_t n = c->out_len / sizeof(struct le32);
	struct le32 raw[PFNS];
	uint32_t pfn[PFNS];

	if (c->out_len % sizeof(struct le32))
		log_guest(&b->v.loop_log, who(b), "page numbers of %u bytes", c->out_len);
	if (n > PFNS_MAX) {
		log_guest(&b->v.loop_log, who(b),
			  "%zu page numbers at once: those after %d ignored", n, PFNS_MAX);
		n = PFNS_MAX;
	}
	for (size_t done = 0; done < n;) {
		size_t part = n - done < PFNS ? n - done : PFNS;

		iov_to_buf(c->iov, c->n_out, done * sizeof(raw[0]), raw, part * sizeof(raw[0]));
		for (size_t i = 0; i < part; i++)
			pfn[i] = le32_to_cpu(raw[i]);
		discard_pages(b, pfn, part);
		done += part;
	}
	return n;
}

/*
 * A guest that fills its free pages with a value of its own wants to find it
 * there again, and zeros are what it would find.
 */
static bool wants_poison(const struct balloon *b)
{
	return virtio_has(&b->v, VIRTIO_BALLOON_F_PAGE_POISON) && b->poison_val;
}

static void report(struct balloon *b, const struct vq_chain *c)
{
	for (unsigned i = c->n_out; i < c->n_out + c->n_in && !wants_poison(b); i++)
		discard(b, c->iov[i].iov_base, c->iov[i].iov_len);
}

static void set_cmd_id(struct balloon *b, uint32_t id)
{
	b->cmd_id = id;
	virtio_config_changed(&b->v);
}

/* A round: its number, free pages, and STOP; then DONE lets the driver have its pages back. */
static void hint(struct balloon *b, const struct vq_chain *c)
{
	struct le32 raw;

	if (c->n_out) {
		uint32_t id = VIRTIO_BALLOON_CMD_ID_STOP;

		if (iov_to_buf(c->iov, c->n_out, 0, &raw, sizeof(raw)) == sizeof(raw))
			id = le32_to_cpu(raw);
		else
			log_guest(&b->v.loop_log, who(b), "a command id of %u bytes", c->out_len);
		if (id == VIRTIO_BALLOON_CMD_ID_STOP && b->hint_valid) {
			b->info.hinting = false;
			b->info.hinted = true;
			set_cmd_id(b, VIRTIO_BALLOON_CMD_ID_DONE);
		}
		b->hint_valid = b->info.hinting && id == b->cmd_id;
	}
	if (b->hint_valid)
		b->info.hint_bytes += c->in_len;
}

/* Tags in any order, and those that are not known are left out (section 5.5.6.3.2). */
static void read_stats(struct balloon *b, const struct vq_chain *c)
{
	struct virtio_balloon_stat stat[STATS_MAX];
	size_t n = iov_to_buf(c->iov, c->n_out, 0, stat, sizeof(stat)) / sizeof(stat[0]);

	b->info.stat_given = 0;
	for (size_t i = 0; i < n; i++) {
		unsigned tag = le16_to_cpu(stat[i].tag);

		if (tag >= VIRTIO_BALLOON_S_NR)
			continue;
		b->info.stat[tag] = le64_to_cpu(stat[i].val);
		b->info.stat_given |= 1u << tag;
	}
	b->info.stat_time = time(NULL);
}

/* Keeps the buffer; giving it back asks for new statistics. */
static void stats(struct balloon *b, struct virtqueue *vq, const struct vq_chain *c)
{
	/* The first buffer of legacy drivers was never filled (section 5.5.6.3.3). */
	if (b->v.legacy && !b->stats_ignored)
		b->stats_ignored = true;
	else
		read_stats(b, c);
	if (b->stats_held) {
		log_guest(&b->v.loop_log, who(b), "more than one buffer for statistics");
		vq_push(vq, &b->stats_chain, 0);
	}
	b->stats_chain = *c;
	b->stats_held = true;
}

static enum role role_of(const struct balloon *b, const struct virtqueue *vq)
{
	enum role r = INFLATE;

	while (r < ROLES && b->role[r] != vq)
		r++;
	return r;
}

static void balloon_kick(struct virtio_dev *v, struct virtqueue *vq)
{
	struct balloon *b = (struct balloon *)v;
	enum role role = role_of(b, vq);
	struct vq_chain c = { .iov = b->iov, .max = QUEUE_SIZE };
	size_t chains = 0, pages = 0;

	if (role == ROLES)
		return;
	while (chains < CHAINS_SLICE && pages < PFNS_SLICE) {
		if (!queue_take(v, vq, &c))
			break;
		chains++;
		switch (role) {
		case INFLATE:
			pages += inflate(b, &c);
			break;
		case HINT:
			hint(b, &c);
			break;
		case REPORT:
			report(b, &c);
			break;
		case STATS:
			stats(b, vq, &c);
			continue;
		default: /* deflated pages come back when they are used */
			break;
		}
		vq_push(vq, &c, 0);
	}
	queue_flush(v, vq);
	if (chains == CHAINS_SLICE || pages >= PFNS_SLICE)
		virtio_requeue(vq);
}

/* --- statistics ------------------------------------------------------------------------ */

static void arm_poll(struct balloon *b, uint64_t at)
{
	if (b->interval && b->role[STATS])
		loop_timer_set(&b->poll, at);
	else
		loop_timer_cancel(&b->poll);
}

static void balloon_poll(void *ctx)
{
	struct balloon *b = ctx;
	struct virtqueue *vq = b->role[STATS];

	if (vq && b->stats_held && queue_runs(&b->v, vq)) {
		b->stats_held = false;
		vq_push(vq, &b->stats_chain, 0);
		vq_flush(vq);
	}
	arm_poll(b, loop_now_ns() + b->interval * NS_PER_S);
}

/* --- start and stop, main loop ------------------------------------------------------------ */

/*
 * Queues have fixed numbers, but drivers are known to leave no gaps for
 * features that they do not use: the optional ones are told by their order.
 */
static void assign_roles(struct balloon *b)
{
	static const unsigned feature[ROLES] = {
		[STATS] = VIRTIO_BALLOON_F_STATS_VQ,
		[HINT] = VIRTIO_BALLOON_F_FREE_PAGE_HINT,
		[REPORT] = VIRTIO_BALLOON_F_PAGE_REPORTING,
	};
	unsigned n = STATS;

	b->role[INFLATE] = b->v.vq[INFLATE];
	b->role[DEFLATE] = b->v.vq[DEFLATE];
	for (unsigned r = STATS; r < ROLES; r++) {
		b->role[r] = NULL;
		if (!virtio_has(&b->v, feature[r]))
			continue;
		while (n < ROLES && !b->v.vq[n]->started)
			n++;
		if (n < ROLES)
			b->role[r] = b->v.vq[n++];
	}
}

static void balloon_start(struct virtio_dev *v)
{
	struct balloon *b = (struct balloon *)v;

	assign_roles(b);
	b->stats_ignored = false;
	arm_poll(b, loop_now_ns() + b->interval * NS_PER_S);
}

static void balloon_stop(struct virtio_dev *v, struct virtqueue *vq)
{
	struct balloon *b = (struct balloon *)v;

	if (b->stats_held && (!vq || vq == b->role[STATS])) {
		b->stats_held = false;
		vq_unpop(b->role[STATS], &b->stats_chain);
	}
	if (!vq || vq == b->role[HINT])
		b->info.hinting = b->hint_valid = false;
	if (vq)
		return;
	memset(b->role, 0, sizeof(b->role));
	loop_timer_cancel(&b->poll);
}

/* --- configuration space, vCPU threads ------------------------------------------------------ */

static void balloon_config_read(struct virtio_dev *v, unsigned off, void *buf, unsigned len)
{
	struct balloon *b = (struct balloon *)v;
	const struct virtio_balloon_config c = {
		.num_pages = cpu_to_le32(b->num_pages),
		.actual = cpu_to_le32(b->actual),
		.free_page_hint_cmd_id = cpu_to_le32(b->cmd_id),
		.poison_val = cpu_to_le32(b->poison_val),
	};

	memcpy(buf, (const char *)&c + off, len);
}

/* The field at offset at, when this write has completed it: legacy drivers write byte by byte. */
static bool completed(const struct balloon *b, unsigned at, unsigned off, unsigned len,
		      uint32_t *val)
{
	const unsigned last = at + sizeof(struct le32) - 1;
	struct le32 raw;

	if (off > last || off + len <= last)
		return false;
	memcpy(&raw, b->written + at, sizeof(raw));
	*val = le32_to_cpu(raw);
	return true;
}

static void balloon_config_write(struct virtio_dev *v, unsigned off, const void *buf, unsigned len)
{
	struct balloon *b = (struct balloon *)v;
	uint32_t val;

	memcpy(b->written + off, buf, len);
	if (completed(b, offsetof(struct virtio_balloon_config, actual), off, len, &val)) {
		b->actual = val;
		loop_timer_set(&b->change, loop_now_ns());
	}
	if (completed(b, offsetof(struct virtio_balloon_config, poison_val), off, len, &val))
		b->poison_val = val;
}

/* All memory is the guest's again; what it is asked to do with stays. */
static void balloon_reset(struct virtio_dev *v)
{
	struct balloon *b = (struct balloon *)v;

	memset(b->written, 0, sizeof(b->written));
	b->actual = b->poison_val = 0;
	b->cmd_id = VIRTIO_BALLOON_CMD_ID_STOP;
	loop_timer_set(&b->change, loop_now_ns());
}

/* --- the monitor's side, main loop --------------------------------------------------------------
 */

/* Tells that `actual` has changed, not too often. */
static void balloon_change(void *ctx)
{
	struct balloon *b = ctx;
	struct machine *m = b->v.dev.m;
	uint64_t now = loop_now_ns();

	if (b->actual == b->told)
		return;
	if (b->change_ns && now < b->change_ns + CHANGE_NS) {
		loop_timer_set(&b->change, b->change_ns + CHANGE_NS);
		return;
	}
	b->change_ns = now;
	b->told = b->actual;
	if (m->balloon_changed)
		m->balloon_changed(m);
}

static uint64_t without_pages(const struct balloon *b, uint64_t pages)
{
	uint64_t ram = b->v.dev.m->mem.ram_size, bytes = pages << VIRTIO_BALLOON_PFN_SHIFT;

	return bytes < ram ? ram - bytes : 0;
}

static void balloon_get_info(struct dev *d, struct balloon_info *out)
{
	struct balloon *b = (struct balloon *)d;

	*out = b->info;
	out->actual = without_pages(b, b->actual);
	out->target = without_pages(b, b->num_pages);
	out->polling_interval = b->interval;
}

static void balloon_set_target(struct dev *d, uint64_t bytes)
{
	struct balloon *b = (struct balloon *)d;
	uint64_t ram = d->m->mem.ram_size;

	b->num_pages = bytes < ram ? (uint32_t)((ram - bytes) >> VIRTIO_BALLOON_PFN_SHIFT) : 0;
	virtio_config_changed(&b->v);
}

static void balloon_set_polling(struct dev *d, uint32_t seconds)
{
	struct balloon *b = (struct balloon *)d;

	b->interval = seconds;
	arm_poll(b, loop_now_ns());
}

static int balloon_start_hint(struct dev *d, struct err *e)
{
	struct balloon *b = (struct balloon *)d;

	if (!b->role[HINT]) {
		err_set(e, ERR_USAGE, ENOTSUP, "the guest gives no hints on free pages");
		if (!b->p_hint)
			err_hint(e, "the device needs free-page-hint=on");
		return -ENOTSUP;
	}
	if (b->info.hinting)
		return err_set(e, ERR_USAGE, EBUSY, "the guest is still giving hints");
	b->info.hinting = true;
	b->info.hinted = false;
	b->info.hint_bytes = 0;
	if (++b->last_cmd_id <= VIRTIO_BALLOON_CMD_ID_DONE)
		b->last_cmd_id = VIRTIO_BALLOON_CMD_ID_DONE + 1;
	set_cmd_id(b, b->last_cmd_id);
	return 0;
}

static const struct balloon_ops balloon_ops = {
	.info = balloon_get_info,
	.set_target = balloon_set_target,
	.set_polling = balloon_set_polling,
	.hint = balloon_start_hint,
};

/* --- making it
 * -------------------------------------------------------------------------------------- */

static int balloon_init(struct virtio_dev *v, struct err *e)
{
	struct balloon *b = (struct balloon *)v;
	struct machine *m = v->dev.m;

	if (m->balloon) {
		err_set(e, ERR_USAGE, EBUSY, "the machine has a balloon");
		err_hint(e, "one is enough: it can take any part of the guest's memory");
		return -EBUSY;
	}
	loop_timer_init(&b->poll, m->loop, balloon_poll, b);
	loop_timer_init(&b->change, m->loop, balloon_change, b);
	v->config_size = sizeof(struct virtio_balloon_config);
	v->host_features = VIRTIO_F(VIRTIO_BALLOON_F_STATS_VQ);
	if (b->p_deflate_on_oom)
		v->host_features |= VIRTIO_F(VIRTIO_BALLOON_F_DEFLATE_ON_OOM);
	if (b->p_hint)
		v->host_features |= VIRTIO_F(VIRTIO_BALLOON_F_FREE_PAGE_HINT);
	if (b->p_poison)
		v->host_features |= VIRTIO_F(VIRTIO_BALLOON_F_PAGE_POISON);
	if (b->p_reporting)
		v->host_features |= VIRTIO_F(VIRTIO_BALLOON_F_PAGE_REPORTING);
	for (unsigned i = 0; i < ROLES; i++)
		if (!virtio_add_queue(v, QUEUE_SIZE))
			return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	m->balloon = &balloon_ops;
	m->balloon_dev = &v->dev;
	return 0;
}

static void balloon_fini(struct virtio_dev *v)
{
	struct balloon *b = (struct balloon *)v;
	struct machine *m = v->dev.m;

	if (m->balloon_dev != &v->dev)
		return;
	m->balloon = NULL;
	m->balloon_dev = NULL;
	loop_timer_cancel(&b->poll);
	loop_timer_cancel(&b->change);
}

static const struct virtio_type balloon_type = {
	.name = "virtio-balloon",
	.id = 5,
	.legacy_pci_id = 0x1002,
	.pci_class = 0x00ff00, /* fits no class */
	.init = balloon_init,
	.fini = balloon_fini,
	.reset = balloon_reset,
	.config_read = balloon_config_read,
	.config_write = balloon_config_write,
	.start = balloon_start,
	.kick = balloon_kick,
	.stop = balloon_stop,
};

static const struct prop balloon_props[] = {
	PROP(struct balloon, p_deflate_on_oom, PROP_BOOL, "deflate-on-oom", "off",
	     "the guest may take memory back when it has no other"),
	PROP(struct balloon, p_reporting, PROP_BOOL, "free-page-reporting", "off",
	     "the guest's free memory goes back to the host by itself"),
	PROP(struct balloon, p_hint, PROP_BOOL, "free-page-hint", "off",
	     "the guest can be asked how much memory is free (balloon_hint)"),
	PROP(struct balloon, p_poison, PROP_BOOL, "page-poison", "on",
	     "the guest may say what it fills free pages with"),
	PROP(struct balloon, interval, PROP_U32, "guest-stats-polling-interval", "0",
	     "seconds between questions for statistics; 0: none"),
	PROP_END,
};

VIRTIO_DEVICE(virtio_balloon, balloon, "virtio-balloon", "memory balloon", balloon_type,
	      balloon_props);
