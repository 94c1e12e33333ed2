/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames of a backend written to a file that tcpdump and wireshark read: pcap with nanoseconds
 * (draft-ietf-opsawg-pcap, sections 4 and 5, magic 0xa1b23c4d), pcap=FILE at a backend or -object
 * filter-dump. A file with a bound becomes FILE.1 when it is full, and a new one begins.
 *
 * Opening and closing: the main loop. Frames: the card's loop.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "err.h"
#include "iov.h"
#include "log.h"
#include "net_int.h"
#include "opts.h"
#include "props.h"

enum {
	LINKTYPE_ETHERNET = 1,
	SNAPLEN = 262144,
	IOV_MOST = 1024,
	NAME_MOST = 4096,
};

struct file_header {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t zone, accuracy, snaplen, linktype;
};

struct record_header {
	uint32_t seconds, nanoseconds, captured, length;
};

struct net_pcap {
	struct net_pcap *next;
	char *path;
	uint32_t maxlen; /* bytes of a frame */
	uint64_t size; /* of the file; 0: no bound */
	int fd;
	uint64_t at;
	bool broken; /* a write has failed; said so */
};

struct net_dump {
	struct net_dump *next;
	char *id, *netdev, *file;
	uint32_t maxlen;
	uint64_t size;
};

const struct prop net_dump_props[] = {
	PROP(struct net_dump, id, PROP_STR, "id", NULL, "its name"),
	PROP(struct net_dump, netdev, PROP_STR, "netdev", NULL, "the -netdev whose frames it is"),
	PROP(struct net_dump, file, PROP_STR, "file", NULL, "the pcap file; what it had is lost"),
	PROP_RANGE(struct net_dump, maxlen, PROP_U32, "maxlen", "262144", 1, SNAPLEN,
		   "bytes kept of each frame"),
	PROP_RANGE(struct net_dump, size, PROP_SIZE, "pcap-size", NULL, 0, INT64_MAX,
		   "bytes, after which it becomes FILE.1 and a new one begins; 0: no bound"),
	PROP_END,
};

/* --- the file -------------------------------------------------------------------------------- */

/* Without waiting for a reader of a pipe, and not over a file that another dump is in. */
static int open_file(const char *path, int *out)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600), rc;
	struct stat st;

	if (fd < 0)
		return errno == ENXIO ? -EINVAL : -errno;
	if (fstat(fd, &st))
		rc = -errno;
	else if (!S_ISREG(st.st_mode))
		rc = -EINVAL;
	else if (flock(fd, LOCK_EX | LOCK_NB))
		rc = errno == EWOULDBLOCK ? -EBUSY : -errno;
	else
		rc = ftruncate(fd, 0) ? -errno : 0;
	if (rc)
		close(fd);
	else
		*out = fd;
	return rc;
}

static int begin(struct net_pcap *p)
{
	const struct file_header h = { .magic = 0xa1b23c4d,
				       .major = 2,
				       .minor = 4,
				       .snaplen = p->maxlen,
				       .linktype = LINKTYPE_ETHERNET };
	int rc = open_file(p->path, &p->fd);
	ssize_t len;

	if (rc)
		return rc;
	len = write(p->fd, &h, sizeof(h));
	if (len != sizeof(h)) {
		rc = len < 0 ? -errno : -ENOSPC;
		close(p->fd);
		p->fd = -1;
		return rc;
	}
	p->at = sizeof(h);
	return 0;
}

static void give_up(struct net_pcap *p, int code)
{
	log_warn("%s: %s: no more frames are written to it", p->path, strerror(code));
	p->broken = true;
}

static int rotate(struct net_pcap *p)
{
	char old[NAME_MOST + 3];

	snprintf(old, sizeof(old), "%s.1", p->path);
	if (rename(p->path, old))
		return -errno;
	close(p->fd);
	p->fd = -1;
	return begin(p);
}

/* --- frames ----------------------------------------------------------------------------------- */

/* A record is in the file whole or not at all. */
static void put(struct net_pcap *p, const struct timespec *now, const struct iovec *iov,
		unsigned n_iov, size_t skip, size_t len)
{
	struct iovec v[IOV_MOST];
	struct record_header h;
	size_t kept = len < p->maxlen ? len : p->maxlen;
	size_t room = p->size ? p->size - sizeof(struct file_header) - sizeof(h) : kept;
	unsigned k;
	ssize_t done;
	int rc;

	kept = kept < room ? kept : room;
	k = iov_slice(iov, n_iov, skip, kept, v + 1, IOV_MOST - 1);
	if (p->broken || (kept && !k))
		return;
	if (p->size && p->at + sizeof(h) + kept > p->size) {
		rc = rotate(p);
		if (rc) {
			give_up(p, -rc);
			return;
		}
	}
	h = (struct record_header){ (uint32_t)now->tv_sec, (uint32_t)now->tv_nsec, (uint32_t)kept,
				    (uint32_t)len };
	v[0] = (struct iovec){ &h, sizeof(h) };
	done = writev(p->fd, v, (int)k + 1);
	if (done == (ssize_t)(sizeof(h) + kept)) {
		p->at += (uint64_t)done;
		return;
	}
	give_up(p, done < 0 ? errno : ENOSPC);
	if (ftruncate(p->fd, (off_t)p->at))
		log_warn("%s: its last frame is cut off", p->path);
}

void net_pcap_frame(struct net_pcap *p, const struct iovec *iov, unsigned n_iov, size_t skip,
		    size_t len)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	for (; p; p = p->next)
		put(p, &now, iov, n_iov, skip, len);
}

/* --- opening ------------------------------------------------------------------------------------
 */

static void pcap_free(struct net_pcap *p)
{
	if (p->fd >= 0)
		close(p->fd);
	free(p->path);
	free(p);
}

void net_pcap_close(struct net_pcap **list)
{
	while (*list) {
		struct net_pcap *p = *list;

		*list = p->next;
		pcap_free(p);
	}
}

int net_pcap_open(struct net_pcap **list, const char *key, const char *path, uint32_t maxlen,
		  uint64_t size, struct err *e)
{
	struct net_pcap *p;
	int rc;

	if (!*path || strlen(path) >= NAME_MOST)
		return err_set(e, ERR_USAGE, EINVAL, "%s=%s: not a file name", key, path);
	if (size && size < NET_PCAP_SIZE_LEAST) {
		err_set(e, ERR_USAGE, ERANGE, "pcap-size=%llu: too small",
			(unsigned long long)size);
		err_hint(e, "at least %d", NET_PCAP_SIZE_LEAST);
		return -ERANGE;
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	*p = (struct net_pcap){
		.path = strdup(path), .maxlen = maxlen ? maxlen : SNAPLEN, .size = size, .fd = -1
	};
	rc = p->path ? begin(p) : -ENOMEM;
	if (!rc) {
		p->next = *list;
		*list = p;
		return 0;
	}
	pcap_free(p);
	if (rc == -EBUSY)
		return err_set(e, ERR_INPUT, EBUSY, "%s=%s: another program or dump writes to it",
			       key, path);
	if (rc == -EINVAL)
		return err_set(e, ERR_INPUT, EINVAL, "%s=%s: not a regular file", key, path);
	err_set(e, ERR_INPUT, -rc, "%s=%s: cannot be written: %s", key, path, strerror(-rc));
	if (rc == -ENOENT)
		err_hint(e, "the directory must exist");
	return rc;
}

/* --- -object filter-dump: remembered until its backend is made
 * ------------------------------------ */

static void dump_free(struct net_dump *d)
{
	props_free(net_dump_props, d);
	free(d);
}

int net_dump_parse(struct net_dump **list, struct opts *o, struct err *e)
{
	struct net_dump *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	props_defaults(net_dump_props, d);
	rc = props_apply(net_dump_props, d, o, e);
	if (!rc && !(d->id && *d->id && d->netdev && d->file)) {
		rc = err_set(e, ERR_USAGE, EINVAL, "%s= is missing",
			     !d->id || !*d->id ? "id"
			     : !d->netdev      ? "netdev"
					       : "file");
		err_hint(e, "-object filter-dump,id=f0,netdev=net0,file=net0.pcap");
	}
	for (const struct net_dump *x = *list; !rc && x; x = x->next)
		if (!strcmp(x->id, d->id))
			rc = err_set(e, ERR_USAGE, EEXIST, "id=%s: another filter-dump has this id",
				     d->id);
	if (rc) {
		dump_free(d);
		return rc;
	}
	d->next = *list;
	*list = d;
	return 0;
}

int net_dumps_open(struct net_dump *list, const char *netdev, struct net_pcap **out, struct err *e)
{
	int rc = 0;

	for (struct net_dump *d = list; !rc && d; d = d->next)
		if (!strcmp(d->netdev, netdev))
			rc = net_pcap_open(out, "file", d->file, d->maxlen, d->size, e);
	return rc;
}

const char *net_dump_netdev(const struct net_dump *list, unsigned i)
{
	while (list && i--)
		list = list->next;
	return list ? list->netdev : NULL;
}

void net_dumps_free(struct net_dump *list)
{
	while (list) {
		struct net_dump *next = list->next;

		dump_free(list);
		list = next;
	}
}
