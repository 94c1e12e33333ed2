/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the command line asked for. Filled by cmdline.c without any I/O beyond
 * printing help; read by everyone else. Strings are the argv's, unless marked otherwise.
 */
#ifndef POSADA_CONFIG_H
#define POSADA_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "assist.h"
#include "bootorder.h"
#include "gmem.h"
#include "machine.h"

struct display_scene;
struct err;

/* A repeatable option's arguments, in order. */
struct strlist {
	const char **s;
	size_t n;
};

struct accel_opts {
	int assist; /* enum assist_mode */
};

enum machine_type { MACHINE_PC, MACHINE_MICRO };

struct machine_opts {
	int memory; /* enum gmem_kind */
	char *dumpdtb; /* write the device tree there and end; malloc'd, or NULL */
};

struct config {
	uint64_t ram_size;
	bool have_ram; /* -m was given */
	unsigned n_cpus;
	const char *cpu; /* "host,+x,-y,z=off" or NULL; see cpuid_parse */
	enum machine_type machine; /* index into machine_names */
	struct machine_opts machine_opts;
	struct accel_opts accel;
	const char *kernel, *initrd, *append;
	const char *bios; /* NULL: the default, or none for -kernel */
	struct strlist firmware_dirs; /* -L */
	struct strlist fw_cfg, smbios;
	struct boot_opts boot;
	struct strlist serial, chardev, device, qmp, monitor, mon;
	struct strlist drive, blockdev, object;
	struct strlist netdev, nic, net;
	const char *hd[4]; /* -hda .. -hdd */
	struct strlist files; /* named without an option; see autodetect.h */
	const char *cdrom; /* -cdrom: in the place of -hdc */
	const char *debugcon;
	const char *screendump; /* FILE[,after=SECONDS|,on=exit] or NULL */
	bool nographic;
	const char *display; /* NULL, "none", or for display_class_of */
	const struct display_scene *scene; /* no option says what shows it: choose; else NULL */
	struct strlist vnc;
	const char *layout; /* -k: the keyboard's, or NULL */
	const char *vga; /* NULL: the machine's default, "none", "std", "cirrus" */
	char *name; /* malloc'd, or NULL */
	uint8_t uuid[16];
	bool have_uuid;
	struct rtc_base rtc;
	bool snapshot; /* -snapshot */
	bool no_reboot, no_shutdown, start_paused, nodefaults;
};

#define SMP_MAX 255
#define RAM_DEFAULT (128ull << 20)
#define RAM_WITH_BIOS (512ull << 20) /* for a disk or ISO image named without an option */
#define RAM_MAX (4ull << 40)

enum cmdline_result { CMDLINE_RUN = 0, CMDLINE_DONE = 1 /* help or version was printed */ };

/* NULL-ended. */
extern const char *const machine_names[];

/* CMDLINE_RUN, CMDLINE_DONE or -errno. */
int cmdline_parse(int argc, char **argv, struct config *cfg, struct err *e);

/* Puts s, which must live as long as the list, at its end. */
int config_add(struct strlist *l, const char *s, struct err *e);
/* What cmdline_parse allocated; also after an error. */
void cmdline_free(struct config *cfg);

/* "-help" text and the README's option table, from the same rows. */
void cmdline_help(bool markdown);

#endif
