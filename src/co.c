/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Coroutines: see include/co.h. Each has a stack of its own; a switch saves the
 * registers that a called function must keep (System V ABI for x86-64, section
 * 3.2.1) and changes the stack pointer. Any thread, each with its own.
 */
#include "co.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define CO_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CO_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define CO_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CO_TSAN 1
#endif
#endif

#ifdef CO_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef CO_TSAN
#include <sanitizer/tsan_interface.h>
#endif

enum { PAGE = 4096, POOL_MAX = 64 };

struct co {
	void *sp; /* where its registers lie while it does not run */
	void *entered_from; /* the same of whoever entered it */
	struct co *outer; /* the coroutine that entered it, or NULL */
	void (*fn)(void *arg);
	void *arg;
	uint8_t *stack; /* a guard page, then CO_STACK bytes */
	struct co *next; /* in the pool */
	bool ended;
#ifdef CO_ASAN
	void *fake_stack, *outer_fake_stack;
	const void *outer_bottom;
	size_t outer_size;
#endif
#ifdef CO_TSAN
	void *fiber, *outer_fiber;
#endif
};

static _Thread_local struct co *current, *pool;
static _Thread_local unsigned pooled;

/*
 * co_switch(save, to): keeps the caller's registers on its stack, the stack
 * pointer in *save, and goes on where `to` was kept. MXCSR and the x87 control
 * word belong to the callee, too, but nobody here changes them.
 */
void co_switch(void **save, void *to);
__asm__(".text\n"
	".globl co_switch\n"
	".hidden co_switch\n"
	".type co_switch, @function\n"
	"co_switch:\n"
	"	endbr64\n"
	"	push %rbp\n"
	"	push %rbx\n"
	"	push %r12\n"
	"	push %r13\n"
	"	push %r14\n"
	"	push %r15\n"
	"	mov %rsp, (%rdi)\n"
	"	mov %rsi, %rsp\n"
	"	pop %r15\n"
	"	pop %r14\n"
	"	pop %r13\n"
	"	pop %r12\n"
	"	pop %rbx\n"
	"	pop %rbp\n"
	"	ret\n"
	".size co_switch, . - co_switch\n");

/* --- switching, with what the sanitizers must hear of it -------------------------- */

static void before_enter(struct co *c)
{
#ifdef CO_ASAN
	__sanitizer_start_switch_fiber(&c->outer_fake_stack, c->stack + PAGE, CO_STACK);
#endif
#ifdef CO_TSAN
	c->outer_fiber = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(c->fiber, 0);
#endif
}

static void after_enter(struct co *c)
{
#ifdef CO_ASAN
	__sanitizer_finish_switch_fiber(c->outer_fake_stack, NULL, NULL);
#endif
}

static void before_leave(struct co *c)
{
#ifdef CO_ASAN
	__sanitizer_start_switch_fiber(c->ended ? NULL : &c->fake_stack, c->outer_bottom,
				       c->outer_size);
#endif
#ifdef CO_TSAN
	__tsan_switch_to_fiber(c->outer_fiber, 0);
#endif
}

static void after_leave(struct co *c)
{
#ifdef CO_ASAN
	__sanitizer_finish_switch_fiber(c->fake_stack, &c->outer_bottom, &c->outer_size);
#endif
}

static void leave(struct co *c)
{
	before_leave(c);
	co_switch(&c->sp, c->entered_from);
	after_leave(c);
}

/* The first function on a coroutine's stack; does not return. */
static void begin(void)
{
	struct co *c = current;

	after_leave(c);
	c->fn(c->arg);
	c->ended = true;
	leave(c);
	__builtin_unreachable();
}

/* --- life -------------------------------------------------------------------------- */

static struct co *allocate(void)
{
	struct co *c = pool;
	void *stack;

	if (c) {
		pool = c->next;
		pooled--;
		return c;
	}
	stack = mmap(NULL, PAGE + CO_STACK, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c || mprotect(stack, PAGE, PROT_NONE)) {
		munmap(stack, PAGE + CO_STACK);
		free(c);
		return NULL;
	}
	c->stack = stack;
	return c;
}

static void destroy(struct co *c)
{
	munmap(c->stack, PAGE + CO_STACK);
	free(c);
}

static void release(struct co *c)
{
#ifdef CO_TSAN
	__tsan_destroy_fiber(c->fiber);
#endif
	if (pooled == POOL_MAX) {
		destroy(c);
		return;
	}
	c->next = pool;
	pool = c;
	pooled++;
}

void co_thread_exit(void)
{
	struct co *c;

	while ((c = pool)) {
		pool = c->next;
		destroy(c);
	}
	pooled = 0;
}

struct co *co_create(void (*fn)(void *arg), void *arg)
{
	struct co *c = allocate();
	void **sp;

	if (!c)
		return NULL;
	c->fn = fn;
	c->arg = arg;
	c->ended = false;
#ifdef CO_ASAN
	c->fake_stack = NULL;
#endif
#ifdef CO_TSAN
	c->fiber = __tsan_create_fiber(0);
#endif
	/* As co_switch would have left it: six registers, then where to go on. 16-byte aligned at
	 * a call, so 8 off at begin's first instruction. */
	sp = (void **)(void *)(c->stack + PAGE + CO_STACK);
	*--sp = NULL;
	*--sp = (void *)begin;
	for (int i = 0; i < 6; i++)
		*--sp = NULL;
	c->sp = sp;
	return c;
}

void co_enter(struct co *c)
{
	c->outer = current;
	current = c;
	before_enter(c);
	co_switch(&c->entered_from, c->sp);
	after_enter(c);
	current = c->outer;
	if (c->ended)
		release(c);
}

void co_yield (void)
{
	leave(current);
}

struct co *co_self(void)
{
	return current;
}

/* --- queues and locks ----------------------------------------------------------------- */

void co_queue_wait(struct co_queue *q)
{
	struct co_waiter w = { .co = current };

	if (q->last)
		q->last->next = &w;
	else
		q->first = &w;
	q->last = &w;
	co_yield ();
}

/* Takes the first waiter out: afterwards it lives only as long as its coroutine sleeps. */
static struct co *take(struct co_queue *q)
{
	struct co_waiter *w = q->first;

	if (!w)
		return NULL;
	q->first = w->next;
	if (!q->first)
		q->last = NULL;
	return w->co;
}

bool co_queue_wake(struct co_queue *q)
{
	struct co *c = take(q);

	if (c)
		co_enter(c);
	return c != NULL;
}

void co_queue_wake_all(struct co_queue *q)
{
	struct co_queue all = *q;
	struct co *c;

	*q = (struct co_queue){ 0 };
	while ((c = take(&all)))
		co_enter(c);
}

void co_lock(struct co_lock *l)
{
	if (l->held)
		co_queue_wait(&l->waiters); /* who unlocks passes it on, held */
	l->held = true;
}

void co_unlock(struct co_lock *l)
{
	struct co *c = take(&l->waiters);

	if (c)
		co_enter(c);
	else
		l->held = false;
}
