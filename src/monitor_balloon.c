/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Monitor commands of the memory balloon: see include/balloon.h. Names and
 * members are those of the QEMU Machine Protocol where it has them; the
 * statistics are those that clients know as the property guest-stats. Main loop.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "balloon.h"
#include "err.h"
#include "monitor_int.h"

#define MIB ((uint64_t)1 << 20)

/* By tag; as clients know them, and for people. */
static const char *const stat_names[BALLOON_STATS] = {
	"stat-swap-in",      "stat-swap-out",     "stat-major-faults",     "stat-minor-faults",
	"stat-free-memory",  "stat-total-memory", "stat-available-memory", "stat-disk-caches",
	"stat-htlb-pgalloc", "stat-htlb-pgfail",  "stat-oom-kills",        "stat-alloc-stalls",
	"stat-async-scans",  "stat-direct-scans", "stat-async-reclaims",   "stat-direct-reclaims",
};

/* 0, or -ENOTCONN: the class of that error is DeviceNotActive. */
static int check(const struct vm *vm, struct err *e)
{
	if (vm->m.balloon)
		return 0;
	err_set(e, ERR_USAGE, ENOTCONN, "No balloon device has been activated");
	err_hint(e, "add -device virtio-balloon-pci");
	return -ENOTCONN;
}

static json_int_t json_size(uint64_t n)
{
	return n > INT64_MAX ? INT64_MAX : (json_int_t)n;
}

static json_t *statistics(const struct balloon_info *info)
{
	json_t *stats = json_object();

	for (unsigned i = 0; i < BALLOON_STATS; i++)
		if (info->stat_given >> i & 1)
			json_object_set_new(stats, stat_names[i],
					    json_integer(json_size(info->stat[i])));
	return stats;
}

json_t *mon_query_balloon(struct mon *m, const json_t *args, struct err *e)
{
	const struct machine *machine = &m->vm->m;
	struct balloon_info info;
	json_t *j;

	if (check(m->vm, e) < 0)
		return NULL;
	machine->balloon->info(machine->balloon_dev, &info);
	j = json_pack("{s:I, s:I, s:I, s:I}", "actual", json_size(info.actual), "x-target",
		      json_size(info.target), "x-given-back", json_size(info.given_back),
		      "guest-stats-polling-interval", (json_int_t)info.polling_interval);
	if (info.stat_time) {
		json_object_set_new(j, "stats", statistics(&info));
		json_object_set_new(j, "last-update", json_integer(info.stat_time));
	}
	if (info.hinting || info.hinted)
		json_object_set_new(j, "x-free-page-hint",
				    json_pack("{s:b, s:I}", "running", info.hinting, "bytes",
					      json_size(info.hint_bytes)));
	return j;
}

void mon_print_balloon(FILE *f, const struct mon *m, const json_t *r)
{
	const json_t *hint = json_object_get(r, "x-free-page-hint");
	const char *name;
	json_t *n;

	fprintf(f, "balloon: actual=%" PRIu64 "\n", (uint64_t)mon_int(r, "actual", 0) / MIB);
	fprintf(f, "  target=%" PRIu64 "\n", (uint64_t)mon_int(r, "x-target", 0) / MIB);
	fprintf(f, "  given back=%" PRIu64 "\n", (uint64_t)mon_int(r, "x-given-back", 0) / MIB);
	json_object_foreach(json_object_get(r, "stats"), name, n)
		fprintf(f, "  %s=%" PRId64 "\n", name + strlen("stat-"),
			(int64_t)json_integer_value(n));
	if (hint)
		fprintf(f, "  hinted as free=%" PRIu64 "%s\n",
			(uint64_t)mon_int(hint, "bytes", 0) / MIB,
			mon_bool(hint, "running") ? " so far" : "");
}

json_t *mon_balloon_event(const struct vm *vm)
{
	struct balloon_info info;

	if (!vm->m.balloon)
		return NULL;
	vm->m.balloon->info(vm->m.balloon_dev, &info);
	return json_pack("{s:I}", "actual", json_size(info.actual));
}

static json_t *set_target(struct mon *m, int64_t value, uint64_t unit, const char *name,
			  struct err *e)
{
	uint64_t bytes;

	if (check(m->vm, e) < 0)
		return NULL;
	if (value <= 0 || __builtin_mul_overflow((uint64_t)value, unit, &bytes)) {
		err_set(e, ERR_USAGE, EINVAL, "Parameter '%s' expects a size", name);
		err_hint(e, "it is what the guest is to have, up to %" PRIu64 " MiB",
			 m->vm->m.mem.ram_size / MIB);
		return NULL;
	}
	m->vm->m.balloon->set_target(m->vm->m.balloon_dev, bytes);
	return mon_empty();
}

json_t *mon_qmp_balloon(struct mon *m, const json_t *args, struct err *e)
{
	return set_target(m, mon_int(args, "value", 0), 1, "value", e);
}

json_t *mon_text_balloon(struct mon *m, const json_t *args, struct err *e)
{
	return set_target(m, mon_int(args, "mib", 0), MIB, "mib", e);
}

json_t *mon_balloon_stats(struct mon *m, const json_t *args, struct err *e)
{
	int64_t seconds = mon_int(args, "seconds", 0);

	if (check(m->vm, e) < 0)
		return NULL;
	if (seconds < 0 || seconds > UINT32_MAX) {
		err_set(e, ERR_USAGE, EINVAL, "Parameter 'seconds' expects a number from 0 to %u",
			UINT32_MAX);
		return NULL;
	}
	m->vm->m.balloon->set_polling(m->vm->m.balloon_dev, (uint32_t)seconds);
	return mon_empty();
}

json_t *mon_balloon_hint(struct mon *m, const json_t *args, struct err *e)
{
	if (check(m->vm, e) < 0 || m->vm->m.balloon->hint(m->vm->m.balloon_dev, e) < 0)
		return NULL;
	return mon_empty();
}
