/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices of a machine: made from -device, reset, removed. See include/machine.h. Main thread. */
#include "machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bootorder.h"
#include "dev.h"
#include "err.h"
#include "opts.h"
#include "props.h"

static void destroy(struct dev *d)
{
	bootorder_remove(d->m, d);
	if (d->cls->fini)
		d->cls->fini(d);
	props_free(d->cls->props, d);
	props_free(d->cls->bus_props, d);
	pthread_mutex_destroy(&d->lock);
	free(d->id);
	free(d);
}

int machine_add_device(struct machine *m, const struct dev_class *cls, struct opts *o,
		       struct dev **out, struct err *e)
{
	const char *id = o ? opts_get(o, "id") : NULL;
	struct dev *d, **tail;
	int rc;

	if (id && machine_find_device(m, id))
		return err_set(e, ERR_USAGE, EEXIST, "id=%s: another device has this id", id);
	d = calloc(1, cls->size);
	if (!d)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	d->cls = cls;
	d->m = m;
	d->id = id ? strdup(id) : NULL;
	pthread_mutex_init(&d->lock, NULL);
	props_defaults(cls->props, d);
	props_defaults(cls->bus_props, d);
	rc = o ? props_apply_both(cls->props, cls->bus_props, d, o, e) : 0;
	rc = rc ? rc : cls->init(d, e);
	if (rc) {
		destroy(d);
		return rc;
	}
	for (tail = &m->devices; *tail; tail = &(*tail)->next)
		;
	*tail = d;
	if (cls->reset)
		cls->reset(d);
	if (out)
		*out = d;
	return 0;
}

int machine_add_device_arg(struct machine *m, const char *arg, struct err *e)
{
	const struct dev_class *cls;
	const char *driver;
	struct opts o;
	int rc = opts_parse(&o, arg, "driver", e);

	if (!rc) {
		driver = opts_get(&o, "driver");
		cls = driver ? dev_class_find(driver) : NULL;
		if (!driver)
			rc = err_set(e, ERR_USAGE, EINVAL, "no device named");
		else if (!cls || cls->internal)
			rc = dev_unknown(driver, e);
		else
			rc = machine_add_device(m, cls, &o, NULL, e);
		opts_free(&o);
	}
	if (rc)
		err_prefix(e, "-device %s: ", arg);
	return rc;
}

void machine_reset_devices(struct machine *m)
{
	for (struct dev *d = m->devices; d; d = d->next) {
		if (!d->cls->reset)
			continue;
		pthread_mutex_lock(&d->lock);
		d->cls->reset(d);
		pthread_mutex_unlock(&d->lock);
	}
}

void machine_remove_devices(struct machine *m)
{
	/* Last made, first removed: later devices may hang off earlier ones. */
	while (m->devices) {
		struct dev **last = &m->devices, *d;

		while ((*last)->next)
			last = &(*last)->next;
		d = *last;
		*last = NULL;
		destroy(d);
	}
	if (m->input_end)
		m->input_end(m);
}

struct dev *machine_find_device(struct machine *m, const char *id)
{
	for (struct dev *d = m->devices; d; d = d->next)
		if (d->id && !strcmp(d->id, id))
			return d;
	return NULL;
}
