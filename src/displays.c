/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -display and -vnc: see include/display_class.h. Main loop. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "display.h"
#include "display_class.h"
#include "err.h"
#include "log.h"
#include "opts.h"
#include "props.h"
#include "vm.h"

extern const struct display_class display_sdl, display_text, display_vnc, display_web;

const struct display_class *const display_classes[] = {
#ifdef POSADA_SDL
	&display_sdl,
#endif
	&display_text, &display_vnc, &display_web, NULL,
};

static const struct display_class *find(const char *name, size_t len)
{
	for (size_t i = 0; display_classes[i]; i++)
		if (strlen(display_classes[i]->name) == len &&
		    !strncmp(display_classes[i]->name, name, len))
			return display_classes[i];
	return NULL;
}

const struct display_class *display_class_of(const char *arg, struct err *e)
{
	size_t len = strcspn(arg, "=,");
	const struct display_class *c = find(arg, len);
	const char *names[16];
	char name[32];
	unsigned n = 0;

	if (c)
		return c;
	for (; display_classes[n]; n++)
		names[n] = display_classes[n]->name;
	names[n++] = "none";
	snprintf(name, sizeof(name), "%.*s", (int)len, arg);
	err_set(e, ERR_USAGE, EINVAL, "no display '%s'", name);
	if (!strcmp(name, "sdl")) {
		err_hint(e, "this program was built without it: with libsdl2-dev installed 'make' "
			    "builds it in");
		return NULL;
	}
	err_suggest(e, name, names, n);
	if (!e->hint[0])
		err_hint(e, "-display help lists them; -nographic has the serial port on this "
			    "terminal");
	return NULL;
}

void displays_help(const char *name)
{
	const struct display_class *c = name ? find(name, strlen(name)) : NULL;

	if (c) {
		printf("%s: %s\n", c->name, c->desc);
		if (c->address)
			printf("-display %s=X is the same as -display %s,%s=X\n", c->name, c->name,
			       c->address);
		if (c->props)
			props_help(c->props, stdout);
		return;
	}
	puts("Displays (-display NAME; -display NAME,help tells more of one):");
	for (size_t i = 0; display_classes[i]; i++)
		printf("  %-8s %s\n", display_classes[i]->name, display_classes[i]->desc);
	puts("  none     no screen is shown");
}

static int parse(struct display *d, const char *arg, struct err *e)
{
	const struct display_class *c = d->cls;
	struct opts o;
	int rc;

	props_defaults(c->props, d);
	rc = opts_parse(&o, arg, c->address, e);
	if (rc)
		return rc;
	rc = props_apply(c->props, d, &o, e);
	opts_free(&o);
	return rc;
}

static void close_window(struct display *d)
{
	vm_ask_to_stop(d->vm, "closing the window", "closing it again");
}

/* arg: what comes behind the name. why: nobody asked for it. */
static int start(struct vm *vm, const struct config *cfg, const struct display_class *c,
		 const char *arg, const char *why, struct display **list, struct err *e)
{
	struct display *d = calloc(1, c->size);
	int rc;

	if (!d)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	d->cls = c;
	d->vm = vm;
	d->m = &vm->m;
	d->loop = vm->m.loop;
	d->layout = cfg->layout;
	d->guest = cfg->name ? cfg->name : "Posada";
	d->close = close_window;
	d->why = why;
	d->next = *list;
	*list = d;
	if (!screen_first(d->m)) {
		rc = err_set(e, ERR_USAGE, ENODEV, "the machine has no graphics card");
		err_hint(e, "add one with -vga cirrus, or use -nographic");
		return rc;
	}
	rc = c->props ? parse(d, arg, e) : 0;
	return rc ? rc : c->start(d, e);
}

/* Takes the first, which may be half-made, away. */
static void end_first(struct display **list)
{
	struct display *d = *list;

	*list = d->next;
	d->cls->stop(d);
	if (d->cls->props)
		props_free(d->cls->props, d);
	free(d);
}

static void start_default(struct vm *vm, const struct config *cfg, struct display **list)
{
	struct display_scene scene = *cfg->scene;
	struct err e = { 0 };

	if (!screen_first(&vm->m))
		return;
	do {
		struct display_choice choice = display_choose(&scene);
		const struct display_class *c = display_class_of(choice.name, &e);
		struct display *before = *list;

		/* Before it takes the terminal. */
		if (choice.where)
			log_note("the screen is %s (%s); -display help lists others", choice.where,
				 choice.why);
		if (c && !start(vm, cfg, c, "", choice.why, list, &e))
			return;
		if (*list != before)
			end_first(list);
		log_note("-display %s: %s", choice.name, e.msg);
	} while (display_choose_next(&scene));
	log_note("so the guest runs without a screen that is shown%s%s", e.hint[0] ? "; " : "",
		 e.hint);
}

int displays_start(struct vm *vm, const struct config *cfg, struct display **list, struct err *e)
{
	int rc = 0;

	if (cfg->display && strcmp(cfg->display, "none")) {
		const char *rest = cfg->display + strcspn(cfg->display, "=,");

		rc = start(vm, cfg, display_class_of(cfg->display, e), rest + !!*rest, NULL, list,
			   e);
		if (rc)
			err_prefix(e, "-display %s: ", cfg->display);
	}
	if (cfg->scene)
		start_default(vm, cfg, list);
	for (size_t i = 0; !rc && i < cfg->vnc.n; i++) {
		rc = start(vm, cfg, display_class_of("vnc", e), cfg->vnc.s[i], NULL, list, e);
		if (rc)
			err_prefix(e, "-vnc %s: ", cfg->vnc.s[i]);
	}
	return rc;
}

void displays_stop(struct display *list)
{
	while (list)
		end_first(&list);
}
