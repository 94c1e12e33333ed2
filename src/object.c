/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -object: see include/object.h. Main thread, before devices are made. */
#include "object.h"

#include <errno.h>
#include <string.h>

#include "err.h"
#include "iothread.h"
#include "machine.h"
#include "net.h"
#include "opts.h"
#include "props.h"
#include "secret.h"

struct iothread_opts {
	char *id;
	uint64_t poll_max_ns;
};

static const struct prop iothread_props[] = {
	PROP(struct iothread_opts, id, PROP_STR, "id", NULL, "its name, for iothread= of devices"),
	PROP_RANGE(struct iothread_opts, poll_max_ns, PROP_U64, "poll-max-ns", "32768", 0, 1000000,
		   "look for events this long before sleeping; 0: do not"),
	PROP_END
};

static int add_iothread(struct machine *m, struct opts *o, struct err *e)
{
	struct iothread_opts io = { 0 };
	int rc;

	props_defaults(iothread_props, &io);
	rc = props_apply(iothread_props, &io, o, e);
	if (!rc && !io.id) {
		rc = err_set(e, ERR_USAGE, EINVAL, "id= is missing");
		err_hint(e, "-object iothread,id=io0, and iothread=io0 at the device");
	}
	rc = rc ? rc : iothread_add(m, io.id, io.poll_max_ns, e);
	props_free(iothread_props, &io);
	return rc;
}

static int add_secret(struct machine *m, struct opts *o, struct err *e)
{
	return secret_add(o, e);
}

static int add_filter_dump(struct machine *m, struct opts *o, struct err *e)
{
	return net_dump_add(m->nets, o, e);
}

static const struct object_type {
	const char *name, *desc;
	const struct prop *props;
	int (*add)(struct machine *m, struct opts *o, struct err *e);
} types[] = {
	{ "iothread", "a thread that serves the queues of devices", iothread_props, add_iothread },
	{ "filter-dump", "a pcap file of the frames of a -netdev", net_dump_props,
	  add_filter_dump },
	{ "secret", "a passphrase, for encrypted images", secret_props, add_secret },
};

enum { N_TYPES = sizeof(types) / sizeof(types[0]) };

void object_help(FILE *f)
{
	fputs("Objects (-object TYPE,id=ID,...):\n", f);
	for (unsigned i = 0; i < N_TYPES; i++) {
		fprintf(f, "%s: %s\n", types[i].name, types[i].desc);
		props_help(types[i].props, f);
	}
}

int object_add(struct machine *m, const char *arg, struct err *e)
{
	const char *names[N_TYPES], *type;
	struct opts o;
	int rc = opts_parse(&o, arg, "qom-type", e);
	unsigned i;

	if (rc)
		return rc;
	type = opts_get(&o, "qom-type");
	for (i = 0; i < N_TYPES; i++) {
		names[i] = types[i].name;
		if (type && !strcmp(type, types[i].name))
			break;
	}
	if (!type) {
		rc = err_set(e, ERR_USAGE, EINVAL, "no object named");
	} else if (i == N_TYPES) {
		rc = err_set(e, ERR_USAGE, EINVAL, "no object '%s'", type);
		err_suggest(e, type, names, N_TYPES);
	} else {
		rc = types[i].add(m, &o, e);
	}
	opts_free(&o);
	return rc;
}
