/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pieces of memory of one size: apart from one another, aligned, and given back. */
#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/block/slab.h"
#include "suite.h"

enum { MOST = 3000 };

struct piece {
	struct slab_chunk *c;
	unsigned char *p;
	unsigned char fill;
};

static void take(struct slab *s, struct piece *x, unsigned i)
{
	x->p = slab_get(s, &x->c);
	ck_assert_ptr_nonnull(x->p);
	ck_assert_uint_eq((uintptr_t)x->p % (s->unit < 4096 ? s->unit : 4096), 0);
	x->fill = (unsigned char)(i * 7 + i / 256);
	memset(x->p, x->fill, s->unit);
}

static void give(struct slab *s, struct piece *x)
{
	ck_assert_uint_eq(x->p[0], x->fill);
	ck_assert_int_eq(memcmp(x->p, x->p + 1, s->unit - 1), 0);
	slab_put(s, x->c, x->p);
	x->p = NULL;
}

static void take_and_give(size_t unit, unsigned most)
{
	struct piece *x = calloc(most, sizeof(*x));
	struct slab s = { .unit = unit };

	srand(1);
	for (unsigned round = 0; round < 4 * most; round++) {
		unsigned i = (unsigned)rand() % most;

		if (x[i].p)
			give(&s, &x[i]);
		else
			take(&s, &x[i], round);
	}
	for (unsigned i = 0; i < most; i++)
		if (x[i].p)
			give(&s, &x[i]);
	ck_assert_ptr_null(s.chunks);
	free(x);
}

START_TEST(pieces_are_apart)
{
	take_and_give(512, MOST);
	take_and_give(4096, MOST);
	take_and_give(64 << 10, 100);
	take_and_give(2 << 20, 5);
}
END_TEST

/* What was given back is used before the host is asked for more. */
START_TEST(memory_is_used_again)
{
	struct piece x[MOST];
	struct slab s = { .unit = 4096 };
	unsigned char *low = NULL, *high = NULL;

	for (unsigned i = 0; i < MOST; i++) {
		take(&s, &x[i], i);
		low = !low || x[i].p < low ? x[i].p : low;
		high = x[i].p > high ? x[i].p : high;
	}
	for (unsigned i = 0; i < MOST; i += 3)
		give(&s, &x[i]);
	for (unsigned i = 0; i < MOST; i += 3) {
		take(&s, &x[i], i);
		ck_assert(x[i].p >= low && x[i].p <= high);
	}
	for (unsigned i = 0; i < MOST; i++)
		give(&s, &x[i]);
	ck_assert_ptr_null(s.chunks);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { pieces_are_apart, memory_is_used_again };

	return run_tests("slab", NULL, NULL, tests, sizeof(tests) / sizeof(tests[0]));
}
