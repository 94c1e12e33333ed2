/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the input module share; see input.h. Main loop only. */
#ifndef POSADA_INPUT_INT_H
#define POSADA_INPUT_INT_H

#include "input.h"

enum { INPUT_QUEUE_MAX = 16384 };

/* As input_type, when not more than `limit` wait already. */
int input_queue(struct machine *m, const unsigned *codes, unsigned n, unsigned ms, unsigned limit,
		struct err *e);
unsigned input_queued(const struct machine *m); /* how many wait */
/* A scan code of set 1, bit 7 for the prefix 0xe0, as a key's code; 0: there is none. */
unsigned input_key_number(unsigned scan);
/* The first name of a key, or NULL. */
const char *input_key_name(unsigned code);
/* Sets the hint: the key that name is nearest to. */
void input_key_suggest(struct err *e, const char *name);

#endif
