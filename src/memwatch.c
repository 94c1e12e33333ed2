/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Telling that the guest writes to memory, without asking for it: see include/memmap.h. Any
 * thread.
 *
 * While it is watched the mapping that KVM's slots refer to may only be read. The host takes the
 * page out of the guest's reach then (by KVM's MMU notifier), and a write that finds no page
 * that may be written ends KVM_RUN with EFAULT before anything has been done: once the mapping may
 * be written again the same instruction is run again. Where KVM emulates the instruction (in
 * kernel-mode code on a software KVM) the write comes as MMIO, which memmap_access carries
 * out, and a locked one as an emulation failure. Taking writing away and giving it back again
 * takes 5 us each, be the memory 16 MiB; a read-only slot in its stead takes 300, and would
 * make the first write MMIO everywhere, which KVM cannot do for wide vector stores;
 * userfaultfd is not open to everyone. Looking at the dirty log costs a wake-up for each look.
 *
 * Everybody but the guest uses another mapping of the same memory, which is never protected.
 */
#include "memwatch.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memmap.h"

int mem_twin_create(struct mem_twin *t, const char *name, uint64_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC), rc = 0;
	void *guest = MAP_FAILED, *own = MAP_FAILED;

	if (fd < 0)
		return -errno;
	if (!ftruncate(fd, (off_t)size)) {
		guest = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		own = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	}
	if (guest == MAP_FAILED || own == MAP_FAILED) {
		rc = -errno;
		if (guest != MAP_FAILED)
			munmap(guest, size);
		if (own != MAP_FAILED)
			munmap(own, size);
	} else {
		*t = (struct mem_twin){ .guest = guest, .own = own, .size = size };
	}
	close(fd);
	return rc;
}

void mem_twin_destroy(struct mem_twin *t)
{
	if (t->guest)
		munmap(t->guest, t->size);
	if (t->own)
		munmap(t->own, t->size);
	memset(t, 0, sizeof(*t));
}

/* The lock is held in the following two. */
static void disarm(struct memmap *mm, struct mem_watch *w)
{
	for (struct mem_watch **at = &mm->watches; *at; at = &(*at)->next) {
		if (*at == w) {
			*at = w->next;
			break;
		}
	}
	w->armed = false;
	mm->watch_seq++;
	/* It is one mapping as before: nothing can fail for want of memory. */
	mprotect(w->host, w->size, PROT_READ | PROT_WRITE);
}

void mem_watches_end(struct memmap *mm, const uint8_t *host, size_t len)
{
	struct mem_watch *next;

	for (struct mem_watch *w = mm->watches; w; w = next) {
		next = w->next;
		if (host + len <= w->host || host >= w->host + w->size)
			continue;
		disarm(mm, w);
		w->written(w->ctx);
	}
}

int memmap_watch(struct memmap *mm, struct mem_watch *w)
{
	int rc = 0;

	pthread_mutex_lock(&mm->lock);
	if (!w->armed && mprotect(w->host, w->size, PROT_READ)) {
		rc = -errno;
	} else if (!w->armed) {
		w->armed = true;
		w->next = mm->watches;
		mm->watches = w;
	}
	pthread_mutex_unlock(&mm->lock);
	return rc;
}

void memmap_unwatch(struct memmap *mm, struct mem_watch *w)
{
	pthread_mutex_lock(&mm->lock);
	if (w->armed)
		disarm(mm, w);
	pthread_mutex_unlock(&mm->lock);
}

bool memmap_written(struct memmap *mm, unsigned *seen)
{
	bool again;

	pthread_mutex_lock(&mm->lock);
	/* Which one it was KVM does not say; there are as many as there are graphics cards. */
	while (mm->watches)
		mem_watches_end(mm, mm->watches->host, 1);
	again = *seen != mm->watch_seq;
	*seen = mm->watch_seq;
	pthread_mutex_unlock(&mm->lock);
	return again;
}
