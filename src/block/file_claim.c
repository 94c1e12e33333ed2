/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block devices that the host itself uses: one that is mounted, or under a volume group or a
 * RAID, refuses to be opened exclusively (open(2), O_EXCL of a block device), as one does that
 * another program has claimed so. Here the user is told who it is. Main thread.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "err.h"
#include "file_int.h"

/* Where the device is mounted, as this process sees it. */
static bool find_mount(dev_t dev, char *where, size_t size)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	unsigned major_nr, minor_nr;
	char line[4096], at[1024];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		found = sscanf(line, "%*u %*u %u:%u %*s %1023s", &major_nr, &minor_nr, at) == 3 &&
			makedev(major_nr, minor_nr) == dev;
		if (found)
			snprintf(where, size, "it is mounted at %s", at);
	}
	if (f)
		fclose(f);
	return found;
}

/* A device that is made of it: of a volume group, a RAID, an encrypted disk. */
static bool find_holder(dev_t dev, char *who, size_t size)
{
	struct dirent *d;
	char path[64];
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/holders", major(dev), minor(dev));
	dir = opendir(path);
	while (dir && !found && (d = readdir(dir))) {
		found = d->d_name[0] != '.';
		if (found)
			snprintf(who, size, "%s is made of it", d->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

int file_claimed(const struct file *f, struct err *e)
{
	char why[1200] = "it, or a partition of it, is mounted or another program has it";
	struct stat st;

	if (!stat(f->filename, &st) && !find_mount(st.st_rdev, why, sizeof(why)))
		find_holder(st.st_rdev, why, sizeof(why));
	err_set(e, ERR_INPUT, EBUSY, "'%s' is in use: %s", f->filename, why);
	err_hint(e,
		 "end that first (umount), or add readonly=on; share-rw=on is for those who know "
		 "that both can have it");
	return -EBUSY;
}
