/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Secrets: passphrases by name (-object secret,id=s0,file=PATH; key-secret=s0 at an
 * encrypted image), for the VM and the image tool. Of the whole process; main thread.
 */
#ifndef POSADA_SECRET_H
#define POSADA_SECRET_H

#include <stddef.h>

#include "props.h"

struct err;
struct opts;

extern const struct prop secret_props[];

/* Takes id=, data= or file=, and format= of o; reads the file now. -EEXIST: the id is taken. */
int secret_add(struct opts *o, struct err *e);
/*
 * For key-secret=ID; id NULL: none was given. *data is valid until secrets_wipe,
 * and not zero-terminated. -ENOENT names the way out.
 */
int secret_get(const char *id, const void **data, size_t *len, struct err *e);
/* Forgets all. */
void secrets_wipe(void);

#endif
