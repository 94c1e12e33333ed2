/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scattered buffers (struct iovec): copying in and out, and cutting. Any thread. */
#ifndef POSADA_IOV_H
#define POSADA_IOV_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

static inline size_t iov_len(const struct iovec *iov, unsigned n)
{
	size_t len = 0;

	for (unsigned i = 0; i < n; i++)
		len += iov[i].iov_len;
	return len;
}

/* Copies between buf and the bytes at off; returns how many there were, at most len. */
static inline size_t iov_copy(const struct iovec *iov, unsigned n, size_t off, void *buf,
			      size_t len, int to_iov)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < len; i++) {
		size_t part = iov[i].iov_len;
		char *p = iov[i].iov_base;

		if (off >= part) {
			off -= part;
			continue;
		}
		part -= off;
		if (part > len - done)
			part = len - done;
		if (to_iov)
			memcpy(p + off, (char *)buf + done, part);
		else
			memcpy((char *)buf + done, p + off, part);
		done += part;
		off = 0;
	}
	return done;
}

static inline size_t iov_to_buf(const struct iovec *iov, unsigned n, size_t off, void *buf,
				size_t len)
{
	return iov_copy(iov, n, off, buf, len, 0);
}

static inline size_t iov_from_buf(const struct iovec *iov, unsigned n, size_t off, const void *buf,
				  size_t len)
{
	return iov_copy(iov, n, off, (void *)(uintptr_t)buf, len, 1);
}

/* Takes len bytes off the front, changing iov and n; returns how many there were. */
static inline size_t iov_discard_front(struct iovec **iov, unsigned *n, size_t len)
{
	size_t done = 0;

	while (*n && done < len) {
		size_t part = (*iov)->iov_len;

		if (part > len - done) {
			part = len - done;
			(*iov)->iov_base = (char *)(*iov)->iov_base + part;
			(*iov)->iov_len -= part;
			return len;
		}
		done += part;
		(*iov)++;
		(*n)--;
	}
	return done;
}

/* Takes len bytes off the end. */
static inline size_t iov_discard_back(struct iovec *iov, unsigned *n, size_t len)
{
	size_t done = 0;

	while (*n && done < len) {
		size_t part = iov[*n - 1].iov_len;

		if (part > len - done) {
			iov[*n - 1].iov_len -= len - done;
			return len;
		}
		done += part;
		(*n)--;
	}
	return done;
}

/* The part [off, off + len) of iov into out[max]; returns how many entries, 0 when it does not fit.
 */
static inline unsigned iov_slice(const struct iovec *iov, unsigned n, size_t off, size_t len,
				 struct iovec *out, unsigned max)
{
	unsigned k = 0;

	for (unsigned i = 0; i < n && len; i++) {
		size_t part = iov[i].iov_len;

		if (off >= part) {
			off -= part;
			continue;
		}
		if (k == max)
			return 0;
		part -= off;
		if (part > len)
			part = len;
		out[k].iov_base = (char *)iov[i].iov_base + off;
		out[k++].iov_len = part;
		len -= part;
		off = 0;
	}
	return len ? 0 : k;
}

#endif
