/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loads libraries at their first use: see include/lazy.h. Any thread. */
#include "lazy.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "err.h"

int lazy_load(const struct lazy_lib *lib, void *api, struct err *e)
{
	void *l = dlopen(lib->soname, RTLD_NOW | RTLD_LOCAL);
	int rc = 0;

	if (!l)
		rc = err_set(e, ERR_UNAVAILABLE, ENOENT, "cannot load the library for %s: %s",
			     lib->use, dlerror());
	for (const struct lazy_symbol *s = lib->symbols; !rc && s->name; s++) {
		void *sym = dlsym(l, s->name);

		if (!sym)
			rc = err_set(e, ERR_UNAVAILABLE, ENOENT,
				     "the library for %s, %s, has no %s", lib->use, lib->soname,
				     s->name);
		memcpy((char *)api + s->slot, &sym, sizeof(sym));
	}
	if (rc)
		err_hint(e, "install the package %s", lib->package);
	return rc;
}
