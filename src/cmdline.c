/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line: one table of options, which parses, prints -help and feeds
 * the README. No I/O beyond printing help (-accel help asks /dev/kvm). Main thread.
 *
 * Options take one dash or two, and their names and values follow `kvm` and
 * `qemu-kvm`, since people know those by heart.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "block.h"
#include "chardev.h"
#include "cpuid.h"
#include "dev.h"
#include "display_class.h"
#include "err.h"
#include "keymap.h"
#include "net.h"
#include "nic.h"
#include "object.h"
#include "opts.h"
#include "props.h"
#include "vm.h"

const char *const machine_names[] = { [MACHINE_PC] = "pc", [MACHINE_MICRO] = "micro", NULL };

static const char *const memory_kinds[] = {
	[GMEM_ANON] = "anonymous", [GMEM_MEMFD] = "memfd", NULL
};

static const struct prop machine_props[] = {
	PROP_CHOICE(struct machine_opts, memory, "memory", "anonymous", memory_kinds,
		    "what backs guest RAM; memfd can be shared with other processes"),
	PROP(struct machine_opts, dumpdtb, PROP_STR, "dumpdtb", NULL,
	     "write the machine's flattened device tree to this file, and end"),
	PROP_END
};

static const char *const assist_modes[] = {
	[ASSIST_AUTO] = "auto", [ASSIST_ON] = "on", [ASSIST_OFF] = "off", NULL
};

static const struct prop accel_props[] = {
	PROP_CHOICE(struct accel_opts, assist, "assist", "auto", assist_modes,
		    "carry out what a software KVM cannot; auto asks the host's KVM"),
	PROP_END
};

struct option {
	const char *name;
	const char *arg; /* shown in help; NULL: takes none */
	const char *help;
	int (*set)(struct config *cfg, const char *arg, struct err *e);
	const char *section; /* starts a section of the help */
};

int config_add(struct strlist *l, const char *s, struct err *e)
{
	const char **grown = realloc(l->s, (l->n + 1) * sizeof(*grown));

	if (!grown)
		return err_set(e, ERR_HOST, ENOMEM, "out of memory");
	l->s = grown;
	l->s[l->n++] = s;
	return 0;
}

/* --- one function an option that needs more than a plain store ------------ */

static int set_m(struct config *cfg, const char *arg, struct err *e)
{
	static const char *const known[] = { "size" };
	struct opts o;
	const char *size;
	int rc = opts_parse(&o, arg, "size", e);

	if (rc)
		return rc;
	size = opts_get(&o, "size");
	if (!size)
		size = "128M";
	rc = opts_check_used(&o, known, 1, e);
	if (!rc)
		rc = parse_size(size, 1 << 20, &cfg->ram_size, e);
	if (!rc && cfg->ram_size < (1 << 20)) {
		rc = err_set(e, ERR_USAGE, EINVAL, "%s is less than the 1 MiB that a guest needs",
			     size);
		err_hint(e, "a bare number counts MiB: -m 256 is 256 MiB");
	}
	if (!rc && cfg->ram_size > RAM_MAX)
		rc = err_set(e, ERR_USAGE, ERANGE, "%s is more than the supported 4 TiB", size);
	cfg->ram_size = (cfg->ram_size + 0xfff) & ~0xfffull;
	cfg->have_ram = true;
	opts_free(&o);
	return rc;
}

static int smp_count(struct opts *o, const char *key, uint64_t def, uint64_t *out, struct err *e)
{
	const char *val = opts_get(o, key);
	int rc;

	*out = def;
	if (!val)
		return 0;
	rc = parse_u64(val, out, e);
	if (!rc && (*out < 1 || *out > SMP_MAX))
		rc = err_set(e, ERR_USAGE, ERANGE, "%s=%s is not between 1 and %d", key, val,
			     SMP_MAX);
	return rc;
}

static int set_smp(struct config *cfg, const char *arg, struct err *e)
{
	static const char *const known[] = { "cpus", "maxcpus", "sockets", "cores", "threads" };
	uint64_t cpus = 0, max = 0, sockets = 1, cores = 1, threads = 1;
	struct opts o;
	int rc = opts_parse(&o, arg, "cpus", e);

	if (rc)
		return rc;
	rc = smp_count(&o, "sockets", 1, &sockets, e);
	rc = rc ? rc : smp_count(&o, "cores", 1, &cores, e);
	rc = rc ? rc : smp_count(&o, "threads", 1, &threads, e);
	rc = rc ? rc : smp_count(&o, "cpus", sockets * cores * threads, &cpus, e);
	rc = rc ? rc : smp_count(&o, "maxcpus", cpus, &max, e);
	rc = rc ? rc : opts_check_used(&o, known, 5, e);
	if (!rc && (cpus > SMP_MAX || max != cpus))
		rc = err_set(e, ERR_USAGE, EINVAL,
			     max != cpus ? "maxcpus=%llu: CPUs cannot be added while the guest runs"
					 : "%llu CPUs are more than 255",
			     (unsigned long long)(max != cpus ? max : cpus));
	if (!rc && sockets * cores * threads != 1 && sockets * cores * threads != cpus)
		rc = err_set(e, ERR_USAGE, EINVAL,
			     "sockets * cores * threads is %llu, but cpus is %llu",
			     (unsigned long long)(sockets * cores * threads),
			     (unsigned long long)cpus);
	cfg->n_cpus = (unsigned)cpus;
	opts_free(&o);
	return rc;
}

static int print_cpu_help(struct config *cfg, const char *arg, struct err *e)
{
	if (strcmp(arg, "help") && strcmp(arg, "?")) {
		cfg->cpu = arg;
		return cpuid_check(arg, e);
	}
	cpuid_help(stdout);
	return CMDLINE_DONE;
}

static int set_machine(struct config *cfg, const char *arg, struct err *e)
{
	static const char *const accels[] = { "kvm" };
	struct opts o;
	const char *type, *accel;
	unsigned i;
	int rc;

	if (!strcmp(arg, "help") || !strcmp(arg, "?")) {
		puts("Machines:\n"
		     "  pc       PC with PCI, serial ports, RTC, keyboard controller and ACPI "
		     "(default)\n"
		     "  micro    serial ports and virtio-mmio devices, described by a device tree "
		     "and "
		     "on Linux's\n           command line; no PCI, no ACPI, no firmware\n"
		     "Properties of -machine (\"-machine pc,NAME=VALUE\"):");
		props_help(machine_props, stdout);
		return CMDLINE_DONE;
	}
	rc = opts_parse(&o, arg, "type", e);
	if (rc)
		return rc;
	type = opts_get(&o, "type");
	accel = opts_get(&o, "accel");
	for (i = 0; type && machine_names[i] && strcmp(type, machine_names[i]); i++)
		;
	if (type && !machine_names[i]) {
		rc = err_set(e, ERR_USAGE, EINVAL, "no machine '%s'", type);
		err_suggest(e, type, machine_names, i);
	} else if (type) {
		cfg->machine = (enum machine_type)i;
	}
	if (!rc && accel && strcmp(accel, "kvm")) {
		rc = err_set(e, ERR_USAGE, EINVAL, "no accelerator '%s'", accel);
		err_suggest(e, accel, accels, 1);
	}
	rc = rc ? rc : props_apply(machine_props, &cfg->machine_opts, &o, e);
	opts_free(&o);
	return rc;
}

static int set_accel(struct config *cfg, const char *arg, struct err *e)
{
	struct opts o;
	int rc;

	if (!strcmp(arg, "help") || !strcmp(arg, "?")) {
		puts("Accelerators:\n"
		     "  kvm      the host's /dev/kvm (default, and the only one)");
		kvm_describe_host(stdout);
		puts("Properties of -accel kvm:");
		props_help(accel_props, stdout);
		return CMDLINE_DONE;
	}
	rc = opts_parse(&o, arg, NULL, e);
	if (rc)
		return rc;
	if (o.head && strcmp(o.head, "kvm")) {
		rc = err_set(e, ERR_USAGE, EINVAL, "no accelerator '%s'", o.head);
		err_hint(e, "posada runs guests on KVM only: -accel kvm");
	}
	rc = rc ? rc : props_apply(accel_props, &cfg->accel, &o, e);
	opts_free(&o);
	return rc;
}

static int set_display(struct config *cfg, const char *arg, struct err *e)
{
	size_t name = strcspn(arg, "=,");

	if (!strcmp(arg, "help") || !strcmp(arg, "?")) {
		displays_help(NULL);
		return CMDLINE_DONE;
	}
	if (strcmp(arg, "none") && !display_class_of(arg, e))
		return -EINVAL;
	if (!strcmp(arg + name, ",help") || !strcmp(arg + name, ",?")) {
		displays_help(display_class_of(arg, e)->name);
		return CMDLINE_DONE;
	}
	cfg->display = arg;
	return 0;
}

static int set_layout(struct config *cfg, const char *arg, struct err *e)
{
	if (!strcmp(arg, "help") || !strcmp(arg, "?")) {
		keymap_help();
		return CMDLINE_DONE;
	}
	cfg->layout = arg;
	return 0;
}

static int set_vga(struct config *cfg, const char *arg, struct err *e)
{
	if (!strcmp(arg, "help") || !strcmp(arg, "?")) {
		printf("cirrus  Cirrus Logic GD5446 (the default with firmware)\n"
		       "std     VGA with Bochs's VBE modes, for larger screens\n"
		       "none    no graphics card\n");
		return CMDLINE_DONE;
	}
	if (strcmp(arg, "cirrus") && strcmp(arg, "std") && strcmp(arg, "none")) {
		err_set(e, ERR_USAGE, EINVAL, "no graphics card '%s'", arg);
		err_hint(
			e,
			"there are -vga cirrus, the default with firmware, -vga std and -vga none");
		return -EINVAL;
	}
	cfg->vga = arg;
	return 0;
}

static int set_name(struct config *cfg, const char *arg, struct err *e)
{
	static const char *const known[] = { "guest" };
	struct opts o;
	const char *guest;
	int rc = opts_parse(&o, arg, "guest", e);

	if (rc)
		return rc;
	guest = opts_get(&o, "guest");
	rc = opts_check_used(&o, known, 1, e);
	if (!rc && guest) {
		free(cfg->name);
		cfg->name = strdup(guest);
		rc = cfg->name ? 0 : err_set(e, ERR_HOST, ENOMEM, "out of memory");
	}
	opts_free(&o);
	return rc;
}

static int set_uuid(struct config *cfg, const char *arg, struct err *e)
{
	cfg->have_uuid = true;
	return parse_uuid(arg, cfg->uuid, e);
}

static int set_rtc(struct config *cfg, const char *arg, struct err *e)
{
	static const char *const known[] = { "base", "clock", "driftfix" };
	struct opts o;
	const char *base, *clock_key, *drift;
	int rc = opts_parse(&o, arg, "base", e);

	if (rc)
		return rc;
	base = opts_get(&o, "base");
	clock_key = opts_get(&o, "clock");
	drift = opts_get(&o, "driftfix");
	rc = opts_check_used(&o, known, 3, e);
	if (!rc && drift && strcmp(drift, "none") && strcmp(drift, "slew")) {
		rc = err_set(e, ERR_USAGE, EINVAL, "driftfix=%s: 'none' or 'slew'", drift);
	} else if (!rc && drift && !strcmp(drift, "slew")) {
		rc = err_set(e, ERR_USAGE, ENOTSUP,
			     "driftfix=slew: interrupts that the guest missed are not repeated");
		err_hint(e, "leave it out: the clock itself never drifts from the host's");
	}
	if (!rc && clock_key && strcmp(clock_key, "host")) {
		rc = err_set(e, ERR_USAGE, EINVAL, "clock=%s: the guest's clock follows the host's",
			     clock_key);
		err_hint(e, "write clock=host, or leave it out");
	}
	if (!rc && base && !strcmp(base, "localtime")) {
		cfg->rtc.localtime = true;
	} else if (!rc && base && strcmp(base, "utc")) {
		struct tm tm = { 0 };
		char *end = strptime(base, "%Y-%m-%dT%H:%M:%S", &tm);

		if (!end) {
			memset(&tm, 0, sizeof(tm));
			end = strptime(base, "%Y-%m-%d", &tm);
		}
		if (!end || *end) {
			rc = err_set(e, ERR_USAGE, EINVAL, "base=%s is not a date", base);
			err_hint(e, "utc, localtime, or a date such as 2026-11-20T09:30:00");
		} else {
			cfg->rtc.offset_s = (int64_t)timegm(&tm) - (int64_t)time(NULL);
		}
	}
	opts_free(&o);
	return rc;
}

static int print_device_help(struct config *cfg, const char *arg, struct err *e)
{
	size_t len = strcspn(arg, ",");
	char name[64];
	const struct dev_class *cls;

	if (!strcmp(arg, "help") || !strcmp(arg, "?")) {
		puts("Devices (-device NAME,help lists a device's properties):");
		for (size_t i = 0; dev_classes[i]; i++)
			if (!dev_classes[i]->internal)
				printf("  %-22s %s\n", dev_classes[i]->name, dev_classes[i]->desc);
		return CMDLINE_DONE;
	}
	if (strcmp(arg + len, ",help") && strcmp(arg + len, ",?"))
		return config_add(&cfg->device, arg, e);
	snprintf(name, sizeof(name), "%.*s", (int)len, arg);
	cls = dev_class_find(name);
	if (!cls || cls->internal) {
		dev_unknown(name, e);
		return -EINVAL;
	}
	printf("%s: %s\n", cls->name, cls->desc);
	props_help(cls->props, stdout);
	props_help(cls->bus_props, stdout);
	return CMDLINE_DONE;
}

static int set_chardev(struct config *cfg, const char *arg, struct err *e)
{
	if (strcmp(arg, "help") && strcmp(arg, "?"))
		return config_add(&cfg->chardev, arg, e);
	chardev_help(stdout);
	return CMDLINE_DONE;
}

static int set_boot(struct config *cfg, const char *arg, struct err *e)
{
	return bootorder_parse(&cfg->boot, arg, e);
}

static int set_enable_kvm(struct config *cfg, const char *arg, struct err *e)
{
	return 0; /* KVM is all there is */
}

static int print_version(struct config *cfg, const char *arg, struct err *e)
{
	puts("posada " POSADA_VERSION);
	return CMDLINE_DONE;
}

static int print_help(struct config *cfg, const char *arg, struct err *e)
{
	cmdline_help(false);
	return CMDLINE_DONE;
}

static int print_options_md(struct config *cfg, const char *arg, struct err *e)
{
	cmdline_help(true);
	return CMDLINE_DONE;
}

#define STORE(fn, field)                                                                           \
	static int fn(struct config *cfg, const char *arg, struct err *e)                          \
	{                                                                                          \
		cfg->field = arg;                                                                  \
		return 0;                                                                          \
	}
#define FLAG(fn, field)                                                                            \
	static int fn(struct config *cfg, const char *arg, struct err *e)                          \
	{                                                                                          \
		cfg->field = true;                                                                 \
		return 0;                                                                          \
	}
#define APPEND(fn, field)                                                                          \
	static int fn(struct config *cfg, const char *arg, struct err *e)                          \
	{                                                                                          \
		return config_add(&cfg->field, arg, e);                                            \
	}

STORE(set_bios, bios)
STORE(set_kernel, kernel)
STORE(set_initrd, initrd)
STORE(set_append, append)
STORE(set_debugcon, debugcon)
STORE(set_screendump, screendump)
FLAG(set_nographic, nographic)
FLAG(set_snapshot, snapshot)
FLAG(set_no_reboot, no_reboot)
FLAG(set_no_shutdown, no_shutdown)
FLAG(set_paused, start_paused)
FLAG(set_nodefaults, nodefaults)
APPEND(add_firmware_dir, firmware_dirs)
APPEND(add_fw_cfg, fw_cfg)
APPEND(add_smbios, smbios)
APPEND(add_serial, serial)
APPEND(add_qmp, qmp)
APPEND(add_monitor, monitor)
APPEND(add_mon, mon)

static int add_vnc(struct config *cfg, const char *arg, struct err *e)
{
	if (strcmp(arg, "help") && strcmp(arg, "?"))
		return config_add(&cfg->vnc, arg, e);
	displays_help("vnc");
	return CMDLINE_DONE;
}

static int set_hd(struct config *cfg, unsigned i, const char *arg, struct err *e)
{
	if (cfg->hd[i])
		return err_set(e, ERR_USAGE, EEXIST, "-hd%c %s: there is a -hd%c already, %s",
			       'a' + i, arg, 'a' + i, cfg->hd[i]);
	cfg->hd[i] = arg;
	return 0;
}

#define SET_HD(name, i)                                                                            \
	static int name(struct config *cfg, const char *arg, struct err *e)                        \
	{                                                                                          \
		return set_hd(cfg, i, arg, e);                                                     \
	}
SET_HD(set_hda, 0)
SET_HD(set_hdb, 1)
SET_HD(set_hdc, 2)
SET_HD(set_hdd, 3)

static int set_cdrom(struct config *cfg, const char *arg, struct err *e)
{
	if (cfg->cdrom)
		return err_set(e, ERR_USAGE, EEXIST, "there is a -cdrom already, %s", cfg->cdrom);
	cfg->cdrom = arg;
	return 0;
}

static int add_drive(struct config *cfg, const char *arg, struct err *e)
{
	if (strcmp(arg, "help") && strcmp(arg, "?"))
		return config_add(&cfg->drive, arg, e);
	blk_help(stdout);
	return CMDLINE_DONE;
}

static int add_netdev(struct config *cfg, const char *arg, struct err *e)
{
	size_t type = strcspn(arg, ",");
	char name[NET_NAME];

	if (strcmp(arg, "help") && strcmp(arg, "?") && strcmp(arg + type, ",help") &&
	    strcmp(arg + type, ",?"))
		return config_add(&cfg->netdev, arg, e);
	snprintf(name, sizeof(name), "%.*s", (int)type, arg);
	net_help(arg[type] ? name : NULL, stdout);
	return CMDLINE_DONE;
}

static int add_nic(struct config *cfg, const char *arg, struct err *e)
{
	size_t type = strcspn(arg, ",");
	char name[NET_NAME];

	if (strcmp(arg, "help") && strcmp(arg, "?") && strcmp(arg + type, ",help") &&
	    strcmp(arg, "model=help") && strcmp(arg + type, ",model=help"))
		return config_add(&cfg->nic, arg, e);
	snprintf(name, sizeof(name), "%.*s", (int)type, arg);
	net_help(strstr(arg, ",help") ? name : NULL, stdout);
	nic_help(stdout);
	return CMDLINE_DONE;
}

static int add_net(struct config *cfg, const char *arg, struct err *e)
{
	if (strcmp(arg, "help") && strcmp(arg, "?"))
		return config_add(&cfg->net, arg, e);
	net_help(NULL, stdout);
	nic_help(stdout);
	return CMDLINE_DONE;
}

static int add_object(struct config *cfg, const char *arg, struct err *e)
{
	if (strcmp(arg, "help") && strcmp(arg, "?"))
		return config_add(&cfg->object, arg, e);
	object_help(stdout);
	return CMDLINE_DONE;
}

static int add_blockdev(struct config *cfg, const char *arg, struct err *e)
{
	if (strcmp(arg, "help") && strcmp(arg, "?"))
		return config_add(&cfg->blockdev, arg, e);
	blk_help(stdout);
	return CMDLINE_DONE;
}

/* clang-format off */
static const struct option options[] = {
	{ "m", "SIZE", "guest RAM; a bare number counts MiB, K M G T behind it (default 128M)", set_m, "Machine" },
	{ "smp", "N", "CPUs, 1 to 255; also cpus=N,sockets=S,cores=C,threads=T (default 1)", set_smp },
	{ "cpu", "host[,+X][,-X][,X=on|off]", "CPU features the guest sees; -cpu help lists them", print_cpu_help },
	{ "machine", "pc|micro[,PROP=VALUE...]", "the board; -machine help lists properties", set_machine },
	{ "M", "pc|micro[,...]", "the same as -machine", set_machine },
	{ "accel", "kvm[,assist=auto|on|off]", "KVM, and help for guests on a software KVM", set_accel },
	{ "enable-kvm", NULL, "accepted for habit's sake; KVM is always used", set_enable_kvm },
	{ "name", "TEXT", "a name for the guest, shown by the monitor", set_name },
	{ "uuid", "UUID", "the guest's UUID", set_uuid },
	{ "smbios", "type=N,KEY=VALUE...|file=FILE", "what the machine says it is: vendor, product, serial number ...;\ntypes 0 to 4, 11 and 17", add_smbios },
	{ "rtc", "base=utc|localtime|DATE", "what the guest's clock starts from (default utc)", set_rtc },
	{ "kernel", "FILE", "boot this: Linux bzImage, ELF (PVH or 64-bit entry), Multiboot 1", set_kernel, "Boot" },
	{ "initrd", "FILE", "initial ramdisk; for Multiboot \"FILE ARGS,FILE ARGS\"", set_initrd },
	{ "append", "TEXT", "the kernel's command line", set_append },
	{ "bios", "FILE", "firmware (default SeaBIOS; none for -kernel, unless it is named)", set_bios },
	{ "L", "DIRECTORY", "look for firmware here first", add_firmware_dir },
	{ "boot", "[order=]LETTERS[,once=LETTERS][,menu=on]", "what to boot from: a floppy, c disk, d CD-ROM, n network; also\nstrict=on, splash-time=MS, reboot-timeout=MS", set_boot },
	{ "fw_cfg", "[name=]NAME,file=FILE|string=TEXT", "a file for the firmware and the guest, in fw_cfg", add_fw_cfg },
	{ "nographic", NULL, "serial port and monitor on this terminal (the default; Ctrl-A h: help)", set_nographic, "Console" },
	{ "display", "NAME[=ADDRESS][,KEY=VALUE...]", "what shows the guest's screen: sdl (a window), text (this terminal; Ctrl-A h: help),\nvnc, web (a browser), none; -display help lists them all", set_display },
	{ "vnc", "HOST:D|:D|unix:PATH|none[,KEY=VALUE...]", "a VNC server; :D is port 5900 + D of localhost; password=on, password-secret=ID,\nwebsocket=on, to=D ...; -vnc help lists them all", add_vnc },
	{ "vga", "cirrus|std|none", "the graphics card (default cirrus with firmware, else none)", set_vga },
	{ "k", "LAYOUT", "the guest's keyboard layout: en-us (default), es, de, fr ...; -k help lists them", set_layout },
	{ "screendump", "FILE[,after=SECONDS|,on=exit]", "save the screen at the end (on=exit, the default), or after a time, as\nNAME.png or PPM", set_screendump },
	{ "serial", "BACKEND", "the next serial port (COM1 to COM4): stdio, mon:stdio, pty, file:PATH,\nunix:PATH,server=on, tcp:HOST:PORT, null, none, chardev:ID", add_serial },
	{ "debugcon", "BACKEND", "bytes written to port 0xe9 (and 0x402) go there", set_debugcon },
	{ "chardev", "TYPE,id=ID[,...]", "a character backend; -chardev help lists them", set_chardev },
	{ "device", "NAME[,PROP=VALUE...]", "add a device; -device help, -device NAME,help", print_device_help, "Devices" },
	{ "drive", "file=FILE[,if=ide|virtio|pflash|none][,media=cdrom][,format=F][,...]", "a disk: cache=, aio=, readonly=, discard=, throttling.* ...;\n-drive help lists formats", add_drive, "Disks" },
	{ "blockdev", "driver=D,node-name=ID[,...]", "a disk image without a device, as key=value or JSON", add_blockdev },
	{ "hda", "FILE", "the first IDE disk; also -hdb, -hdc and -hdd", set_hda },
	{ "hdb", "FILE", NULL, set_hdb },
	{ "hdc", "FILE", NULL, set_hdc },
	{ "hdd", "FILE", NULL, set_hdd },
	{ "cdrom", "FILE", "an ISO image in the CD drive, which is in the place of -hdc", set_cdrom },
	{ "snapshot", NULL, "writes go to temporary files; 'commit' in the monitor keeps them", set_snapshot },
	{ "object", "iothread|secret|filter-dump,id=ID[,...]", "a thread for devices' I/O, an image's passphrase, or a pcap file of a\nnetwork; -object help", add_object },
	{ "nodefaults", NULL, "no serial port, monitor and CD drive that were not asked for", set_nodefaults },
	{ "nic", "TYPE[,model=M][,mac=A][,...]|none", "a network card and what carries its frames; none (the default): no\nnetwork card; -nic help lists types and models", add_nic, "Networks" },
	{ "netdev", "TYPE,id=ID[,...]", "what carries the frames of a -device that has netdev=ID; -netdev help,\n-netdev TYPE,help", add_netdev },
	{ "net", "nic[,model=M][,macaddr=A]|TYPE[,...]|none", "the older form: the first -net nic is on the first of the other -net, and so on", add_net },
	{ "monitor", "BACKEND", "text monitor: stdio, unix:PATH,server=on,wait=off, ... or none", add_monitor, "Control" },
	{ "qmp", "BACKEND", "JSON monitor (QMP), as in -qmp unix:PATH,server=on,wait=off", add_qmp },
	{ "mon", "chardev=ID[,mode=readline|control]", "a monitor on a -chardev", add_mon },
	{ "S", NULL, "do not start the CPUs; 'cont' in the monitor does", set_paused },
	{ "no-reboot", NULL, "exit when the guest resets", set_no_reboot },
	{ "no-shutdown", NULL, "keep the process when the guest powers off or dies", set_no_shutdown },
	{ "version", NULL, "print the version", print_version, "Information" },
	{ "help", NULL, "print this", print_help },
	{ "h", NULL, "print this", print_help },
	{ "help-markdown", NULL, NULL, print_options_md },
	{ NULL }
};
/* clang-format on */

void cmdline_help(bool markdown)
{
	if (!markdown)
		puts("posada " POSADA_VERSION ": a small KVM hypervisor for Linux on x86-64\n"
		     "usage: posada -kernel FILE [-initrd FILE] [-append TEXT] [OPTIONS]\n"
		     "       posada FILE...   an ISO or disk image, or a kernel and its ramdisk\n"
		     "Options take one dash or two.");
	else
		puts("| option | what it does |\n|---|---|");
	for (const struct option *o = options; o->name; o++) {
		char label[80];
		const char *help = o->help;

		if (!help)
			continue;
		snprintf(label, sizeof(label), "-%s%s%s", o->name, o->arg ? " " : "",
			 o->arg ? o->arg : "");
		if (markdown) {
			printf("| `");
			for (const char *p = label; *p; p++)
				printf(*p == '|' ? "\\|" : "%c", *p);
			printf("` | ");
			for (; *help; help++)
				printf(*help == '|' ? "\\|" : "%c", *help == '\n' ? ' ' : *help);
			puts(" |");
			continue;
		}
		if (o->section)
			printf("\n%s:\n", o->section);
		if (strlen(label) > 26)
			printf("  %s\n  %-26s ", label, "");
		else
			printf("  %-26s ", label);
		for (; *help; help++) {
			putchar(*help);
			if (*help == '\n')
				printf("  %-26s ", "");
		}
		putchar('\n');
	}
	if (!markdown)
		puts("\nExit status: 0 when the guest powered off or was stopped, (value << 1) | 1 "
		     "from\n"
		     "isa-debug-exit, 64 usage, 66 unusable file, 69 no KVM, 71 host error, 80 "
		     "guest died.");
}

static int unknown_option(const char *arg, struct err *e)
{
	const char *names[sizeof(options) / sizeof(options[0])];
	const char *word = arg + strspn(arg, "-");
	const char *near;
	size_t n = 0;

	for (const struct option *o = options; o->name; o++)
		if (o->help)
			names[n++] = o->name;
	err_set(e, ERR_USAGE, EINVAL, "unknown option '%s'", arg);
	near = suggest(word, names, n);
	if (near)
		err_hint(e, "did you mean '-%s'?", near);
	else
		err_hint(e, "'posada -help' lists the options");
	return -EINVAL;
}

int cmdline_parse(int argc, char **argv, struct config *cfg, struct err *e)
{
	memset(cfg, 0, sizeof(*cfg));
	cfg->ram_size = RAM_DEFAULT;
	cfg->n_cpus = 1;
	props_defaults(machine_props, &cfg->machine_opts);
	props_defaults(accel_props, &cfg->accel);
	for (int i = 1; i < argc; i++) {
		const char *word = argv[i], *arg = NULL;
		const struct option *o;
		int rc;

		if (word[0] != '-' || !word[1]) {
			rc = config_add(&cfg->files, word, e);
			if (rc)
				return rc;
			continue;
		}
		word += word[1] == '-' ? 2 : 1;
		for (o = options; o->name && strcmp(o->name, word); o++)
			;
		if (!o->name)
			return unknown_option(argv[i], e);
		if (o->arg) {
			if (i + 1 == argc) {
				err_set(e, ERR_USAGE, EINVAL, "-%s wants an argument", o->name);
				err_hint(e, "-%s %s", o->name, o->arg);
				return -EINVAL;
			}
			arg = argv[++i];
		}
		rc = o->set(cfg, arg, e);
		if (rc < 0) {
			if (o->arg)
				err_prefix(e, "-%s %s: ", o->name, arg);
			return rc;
		}
		if (rc == CMDLINE_DONE)
			return rc;
	}
	return CMDLINE_RUN;
}

void cmdline_free(struct config *cfg)
{
	struct strlist *lists[] = { &cfg->smbios, &cfg->serial,        &cfg->chardev,
				    &cfg->device, &cfg->qmp,           &cfg->monitor,
				    &cfg->mon,    &cfg->drive,         &cfg->blockdev,
				    &cfg->object, &cfg->firmware_dirs, &cfg->fw_cfg,
				    &cfg->files,  &cfg->netdev,        &cfg->nic,
				    &cfg->net };

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		free(lists[i]->s);
	free(cfg->name);
	free(cfg->boot.order);
	free(cfg->boot.once);
	props_free(machine_props, &cfg->machine_opts);
	memset(cfg, 0, sizeof(*cfg));
}
