/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Libraries that few guests need, loaded when they are first needed: each would cost every start
 * of the program time, and its absence every user a package.
 */
#ifndef POSADA_LAZY_H
#define POSADA_LAZY_H

#include <stddef.h>

struct err;

struct lazy_symbol {
	const char *name;
	size_t slot; /* where its address goes in the struct of functions, offsetof */
};

struct lazy_lib {
	const char *soname; /* "libxkbcommon.so.0" */
	const char *package; /* Debian's, for the hint */
	const char *use; /* what it is needed for: "keyboard layouts" */
	const struct lazy_symbol *symbols; /* NULL-ended */
};

/*
 * Loads it and fills in api. Its caller remembers that it has been; loading it twice does no
 * harm. It stays until the process ends. ERR_UNAVAILABLE, with the package to install.
 */
int lazy_load(const struct lazy_lib *lib, void *api, struct err *e);

#endif
