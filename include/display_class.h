/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What shows a screen to a person: the displays of -display NAME[=ADDRESS][,KEY=VALUE...],
 * one file each in src/display and one line in src/displays.c. Several can be there at
 * once. Main loop.
 */
#ifndef POSADA_DISPLAY_CLASS_H
#define POSADA_DISPLAY_CLASS_H

#include <stdbool.h>
#include <stddef.h>

struct config;
struct display;
struct err;
struct loop;
struct machine;
struct prop;
struct vm;

struct display_class {
	const char *name; /* as in -display NAME */
	const char *desc; /* one line for -display help */
	const char *address; /* the key that NAME=VALUE stands for; NULL: it has none */
	const struct prop *props; /* NULL: none */
	size_t size; /* of its struct, which begins with struct display */
	/* Properties are set; the machine is there and has a screen (or not: screen_first). */
	int (*start)(struct display *d, struct err *e);
	void (*stop)(struct display *d); /* accepts a half-made one */
};

struct display {
	const struct display_class *cls;
	struct vm *vm;
	struct machine *m;
	struct loop *loop;
	const char *layout; /* -k, or NULL: en-us */
	const char *guest; /* the guest's name, or "Posada" */
	const char *why; /* it was chosen, when nobody asked for one; else NULL */
	/* Its window was closed: as SIGTERM, asks the guest to power off, and then stops it. */
	void (*close)(struct display *d);
	struct display *next;
};

/* The table, NULL-ended. */
extern const struct display_class *const display_classes[];

/* Of NAME[=ADDRESS][,...]: NULL when unknown, with a message that names the nearest. */
const struct display_class *display_class_of(const char *arg, struct err *e);
/* For -display help and -display NAME,help. */
void displays_help(const char *name);

/* Starts -display's, and -vnc's. *list is theirs; displays_stop also after an error. */
int displays_start(struct vm *vm, const struct config *cfg, struct display **list, struct err *e);
void displays_stop(struct display *list);

/*
 * --- what is shown when no option says so (src/display_choose.c) --- displays_start does, when
 * the configuration has a scene: what cannot be started makes room for the next, and where none
 * can, the guest runs without.
 */

struct display_choice {
	const char *name; /* of a class */
	const char *why; /* "there is a desktop session" */
	const char *where; /* "in a window"; NULL: it says so itself, with its address and why */
};

/* What there is to choose from. */
struct display_scene {
	bool desktop; /* DISPLAY or WAYLAND_DISPLAY is set and a window can be made */
	bool terminal; /* standard input and output are one, and nobody else uses it */
	bool no_window; /* there was a desktop session, but no window could be made */
};

struct display_choice display_choose(const struct display_scene *s);
/* What was chosen cannot be: takes it out of the scene. false: nothing is left. */
bool display_choose_next(struct display_scene *s);

#endif
