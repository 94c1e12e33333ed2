/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of monitor commands, and those that ask about the VM or control it.
 * Names, members and texts are those of the QEMU Machine Protocol and of its
 * human monitor where they have the command; "x-" marks our own. Main loop only.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "assist.h"
#include "chardev.h"
#include "config.h"
#include "dev.h"
#include "err.h"
#include "monitor_int.h"
#include "props.h"
#include "report.h"
#include "vcpu.h"

/* --- running and ending --- */

static json_t *stop(struct mon *m, const json_t *args, struct err *e)
{
	vm_pause(m->vm);
	return mon_empty();
}

static json_t *cont(struct mon *m, const json_t *args, struct err *e)
{
	return vm_resume(m->vm, e) < 0 ? NULL : mon_empty();
}

static json_t *system_reset(struct mon *m, const json_t *args, struct err *e)
{
	vm_reset(m->vm);
	return mon_empty();
}

static json_t *system_powerdown(struct mon *m, const json_t *args, struct err *e)
{
	return vm_powerdown(m->vm, e) < 0 ? NULL : mon_empty();
}

static json_t *quit(struct mon *m, const json_t *args, struct err *e)
{
	mon_tell_end(m->vm);
	vm_quit(m->vm, 0);
	return mon_empty();
}

static json_t *query_status(struct mon *m, const json_t *args, struct err *e)
{
	return json_pack("{s:b, s:b, s:s}", "running", m->vm->state == RUN_RUNNING, "singlestep", 0,
			 "status", run_state_name(m->vm->state));
}

static void print_status(FILE *f, const struct mon *m, const json_t *r)
{
	const char *status = mon_str(r, "status");

	if (!strcmp(status, "running") || !strcmp(status, "paused"))
		fprintf(f, "VM status: %s\n", status);
	else
		fprintf(f, "VM status: paused (%s)\n", status);
}

/* --- what this is --- */

json_t *mon_version(void)
{
	int major = 0, minor = 0, micro = 0;

	sscanf(POSADA_VERSION, "%d.%d.%d", &major, &minor, &micro);
	/* Clients look for the numbers under this name. */
	return json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "micro", micro, "minor", minor,
			 "major", major, "package", "posada " POSADA_VERSION);
}

static json_t *query_version(struct mon *m, const json_t *args, struct err *e)
{
	return mon_version();
}

static void print_version(FILE *f, const struct mon *m, const json_t *r)
{
	fprintf(f, "%s\n", mon_str(r, "package"));
}

static json_t *query_name(struct mon *m, const json_t *args, struct err *e)
{
	json_t *j = mon_empty();

	if (m->vm->cfg->name)
		json_object_set_new(j, "name", mon_string(m->vm->cfg->name));
	return j;
}

static void print_name(FILE *f, const struct mon *m, const json_t *r)
{
	if (mon_str(r, "name"))
		fprintf(f, "%s\n", mon_str(r, "name"));
}

static json_t *query_uuid(struct mon *m, const json_t *args, struct err *e)
{
	const uint8_t *u = m->vm->cfg->uuid;
	char text[40];

	snprintf(text, sizeof(text),
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
		 u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
		 u[15]);
	return json_pack("{s:s}", "UUID", text);
}

static void print_uuid(FILE *f, const struct mon *m, const json_t *r)
{
	fprintf(f, "%s\n", mon_str(r, "UUID"));
}

static json_t *query_kvm(struct mon *m, const json_t *args, struct err *e)
{
	return json_pack("{s:b, s:b}", "enabled", 1, "present", 1);
}

static void print_kvm(FILE *f, const struct mon *m, const json_t *r)
{
	fputs("kvm support: enabled\n", f);
}

static json_t *query_target(struct mon *m, const json_t *args, struct err *e)
{
	return json_pack("{s:s}", "arch", "x86_64");
}

static json_t *query_commands(struct mon *m, const json_t *args, struct err *e)
{
	json_t *list = json_array();

	for (const struct mon_cmd *c = mon_cmds; c->run; c++) {
		if (c->qmp)
			json_array_append_new(list, json_pack("{s:s}", "name", c->qmp));
	}
	return list;
}

static json_t *human_monitor_command(struct mon *m, const json_t *args, struct err *e)
{
	struct vcpu *v = mon_vcpu(m, args, e);
	struct mon text = { .vm = m->vm };
	char *out, *crlf = NULL;
	size_t size;
	json_t *j = NULL;
	FILE *f;

	if (!v)
		return NULL;
	text.cpu = v->id;
	out = mon_text_run(&text, mon_str(args, "command-line"));
	if (!out)
		return NULL;
	/* Lines end as on a terminal: clients split at "\r\n". */
	f = open_memstream(&crlf, &size);
	if (f) {
		for (const char *p = out; *p; p++) {
			if (*p == '\n')
				fputc('\r', f);
			fputc(*p, f);
		}
		if (fclose(f) == 0 && crlf)
			j = mon_string(crlf);
	}
	free(crlf);
	free(out);
	return j;
}

/* --- CPUs --- */

static void tid_on_vcpu(struct vcpu *v, void *ctx)
{
	*(pid_t *)ctx = gettid();
}

static json_t *query_cpus(struct mon *m, const json_t *args, struct err *e)
{
	json_t *list = json_array();

	for (unsigned i = 0; m->vm->vcpu && i < m->vm->n_cpus; i++) {
		char path[64];
		pid_t tid = 0;

		vcpu_call(m->vm->vcpu[i], tid_on_vcpu, &tid);
		snprintf(path, sizeof(path), "/machine/unattached/device[%u]", i);
		json_array_append_new(list,
				      json_pack("{s:i, s:s, s:i, s:s, s:{s:i, s:i, s:i}}",
						"cpu-index", (int)i, "qom-path", path, "thread-id",
						(int)tid, "target", "x86_64", "props", "core-id", 0,
						"thread-id", 0, "socket-id", (int)i));
	}
	return list;
}

static void print_cpus(FILE *f, const struct mon *m, const json_t *r)
{
	const json_t *cpu;
	size_t i;

	json_array_foreach(r, i, cpu)
		fprintf(f, "%c CPU #%zu: thread_id=%" PRId64 "\n", i == m->cpu ? '*' : ' ', i,
			mon_int(cpu, "thread-id", 0));
}

static json_t *set_cpu(struct mon *m, const json_t *args, struct err *e)
{
	struct vcpu *v = mon_vcpu(m, args, e);

	if (!v)
		return NULL;
	m->cpu = v->id;
	return mon_empty();
}

static void registers_on_vcpu(struct vcpu *v, void *ctx)
{
	report_registers(v, ctx);
}

static json_t *info_registers(struct mon *m, const json_t *args, struct err *e)
{
	struct vcpu *v = mon_vcpu(m, args, e);
	bool all = mon_bool(args, "all");
	char *text = NULL;
	size_t size;
	json_t *j = NULL;
	FILE *f;

	if (!v)
		return NULL;
	f = open_memstream(&text, &size);
	if (!f)
		return NULL;
	for (unsigned i = all ? 0 : v->id; i < m->vm->n_cpus; i++) {
		fprintf(f, "%sCPU#%u\n", ftell(f) > 0 ? "\n" : "", i);
		vcpu_call(m->vm->vcpu[i], registers_on_vcpu, f);
		if (!all)
			break;
	}
	if (fclose(f) == 0 && text)
		j = mon_string(text);
	free(text);
	return j;
}

/* Counters of KVM_RUN's returns, by reason; those that never happened are left out. */
static json_t *query_exits(struct mon *m, const json_t *args, struct err *e)
{
	json_t *list = json_array();

	for (unsigned i = 0; m->vm->vcpu && i < m->vm->n_cpus; i++) {
		struct vcpu *v = m->vm->vcpu[i];
		const unsigned n = sizeof(v->exits) / sizeof(v->exits[0]);
		json_t *exits = json_object();
		json_int_t total = 0;

		for (unsigned k = 0; k < n; k++) {
			json_int_t count = (json_int_t)atomic_load_explicit(&v->exits[k],
									    memory_order_relaxed);

			if (!count)
				continue;
			total += count;
			/* Reasons this build has no name for share one. */
			count += mon_int(exits, kvm_exit_name(k), 0);
			json_object_set_new(exits, kvm_exit_name(k), json_integer(count));
		}
		json_array_append_new(list, json_pack("{s:i, s:I, s:o}", "cpu-index", (int)i,
						      "total", total, "exits", exits));
	}
	return list;
}

static void print_exits(FILE *f, const struct mon *m, const json_t *r)
{
	const char *name;
	json_t *cpu, *n;
	size_t i;

	json_array_foreach(r, i, cpu)
	{
		fprintf(f, "CPU #%" PRId64 ": %" PRId64 " exits\n", mon_int(cpu, "cpu-index", 0),
			mon_int(cpu, "total", 0));
		json_object_foreach(json_object_get(cpu, "exits"), name, n)
			fprintf(f, "  %-20s %12" PRId64 "\n", name, (int64_t)json_integer_value(n));
	}
}

static void assist_line(void *ctx, const char *text)
{
	fprintf(ctx, "%s\n", text);
}

static json_t *info_assist(struct mon *m, const json_t *args, struct err *e)
{
	char *text = NULL;
	size_t size;
	json_t *j = NULL;
	FILE *f;

	if (!m->vm->assist)
		return mon_string(
			m->vm->software_kvm
				? "not in use (accel kvm,assist=off)"
				: "not in use: the host's KVM runs the guest in hardware");
	f = open_memstream(&text, &size);
	if (!f)
		return NULL;
	assist_info(m->vm, assist_line, f);
	if (fclose(f) == 0 && text)
		j = mon_string(text);
	free(text);
	return j;
}

/* --- memory and the buses --- */

static json_t *query_memory_size(struct mon *m, const json_t *args, struct err *e)
{
	return json_pack("{s:I, s:I}", "base-memory", (json_int_t)m->vm->m.mem.ram_size,
			 "plugged-memory", (json_int_t)0);
}

static json_t *mtree_entry(uint64_t base, uint64_t size, int prio, const char *type,
			   const char *name)
{
	return json_pack("{s:I, s:I, s:i, s:s, s:o}", "base", (json_int_t)base, "size",
			 (json_int_t)size, "prio", prio, "type", type, "name",
			 mon_string(name ? name : "?"));
}

static void mtree_region(void *ctx, const struct io_region *r)
{
	json_array_append_new(ctx, mtree_entry(r->base, r->size, r->prio, "i/o", r->name));
}

/* Memory comes in ascending order, and among what devices have there. */
static void mtree_memory(void *ctx, const struct mem_segment *s)
{
	size_t at = 0;

	while (at < json_array_size(ctx) &&
	       (uint64_t)mon_int(json_array_get(ctx, at), "base", 0) < s->gpa)
		at++;
	json_array_insert_new(ctx, at,
			      mtree_entry(s->gpa, s->size, s->region->prio,
					  !s->host      ? "hole"
					  : s->readonly ? "rom"
							: "ram",
					  s->region->name));
}

static json_t *query_mtree(struct mon *m, const json_t *args, struct err *e)
{
	json_t *memory = json_array(), *io = json_array();

	bus_each(&m->vm->m.mmio, mtree_region, memory);
	bus_each(&m->vm->m.pio, mtree_region, io);
	memmap_each(&m->vm->m.map, mtree_memory, memory);
	return json_pack("{s:o, s:o}", "memory", memory, "I/O", io);
}

static void print_mtree(FILE *f, const struct mon *m, const json_t *r)
{
	const char *space;
	json_t *list, *x;
	size_t i;

	json_object_foreach((json_t *)r, space, list)
	{
		fprintf(f, "address-space: %s\n", space);
		json_array_foreach(list, i, x)
		{
			uint64_t base = (uint64_t)mon_int(x, "base", 0);

			fprintf(f, "  %016" PRIx64 "-%016" PRIx64 " (prio %" PRId64 ", %s): %s\n",
				base, base + (uint64_t)mon_int(x, "size", 0) - 1,
				mon_int(x, "prio", 0), mon_str(x, "type"), mon_str(x, "name"));
		}
		fputc('\n', f);
	}
}

/* --- devices --- */

static const char *bus_name(enum dev_bus b)
{
	switch (b) {
	case DEV_BUS_ISA:
		return "isa";
	case DEV_BUS_PCI:
		return "pci";
	case DEV_BUS_MMIO:
		return "virtio-mmio";
	case DEV_BUS_SYSTEM:
		return "system";
	case DEV_BUS_VIRTIO_SERIAL:
		return "virtio-serial";
	case DEV_BUS_IDE:
		return "ide";
	}
	return "?";
}

static json_t *prop_value(const struct prop *p, const void *obj)
{
	const void *at = (const char *)obj + p->offset;
	const char *s;

	switch (p->type) {
	case PROP_BOOL:
		return json_boolean(*(const bool *)at);
	case PROP_U8:
		return json_integer(*(const uint8_t *)at);
	case PROP_U16:
		return json_integer(*(const uint16_t *)at);
	case PROP_U32:
		return json_integer(*(const uint32_t *)at);
	case PROP_U64:
	case PROP_SIZE:
		return json_integer((json_int_t) * (const uint64_t *)at);
	case PROP_STR:
	case PROP_CHARDEV:
	case PROP_DRIVE:
		s = *(char *const *)at;
		return mon_string(s ? s : "");
	case PROP_ENUM:
		return mon_string(p->choices[*(const int *)at]);
	}
	return json_null();
}

static const char *prop_type_name(const struct prop *p)
{
	switch (p->type) {
	case PROP_BOOL:
		return "bool";
	case PROP_U8:
		return "uint8";
	case PROP_U16:
		return "uint16";
	case PROP_U32:
		return "uint32";
	case PROP_U64:
		return "uint64";
	case PROP_SIZE:
		return "size";
	default:
		return "str";
	}
}

static json_t *query_devices(struct mon *m, const json_t *args, struct err *e)
{
	json_t *list = json_array();

	for (const struct dev *d = m->vm->m.devices; d; d = d->next) {
		json_t *props = json_object();

		for (const struct prop *p = d->cls->props; p && p->name; p++)
			json_object_set_new(props, p->name, prop_value(p, d));
		for (const struct prop *p = d->cls->bus_props; p && p->name; p++)
			json_object_set_new(props, p->name, prop_value(p, d));
		json_array_append_new(list,
				      json_pack("{s:s, s:o, s:s, s:o}", "driver", d->cls->name,
						"id", mon_string(d->id ? d->id : ""), "bus",
						bus_name(d->cls->bus), "properties", props));
	}
	return list;
}

static void print_devices(FILE *f, const struct mon *m, const json_t *r)
{
	static const char *const buses[] = { "system", "isa", "pci", "virtio-mmio",
					     "virtio-serial" };
	const char *key;
	json_t *d, *v;
	size_t i;

	for (size_t b = 0; b < sizeof(buses) / sizeof(buses[0]); b++) {
		bool first = true;

		json_array_foreach(r, i, d)
		{
			if (strcmp(mon_str(d, "bus"), buses[b]))
				continue;
			if (first)
				fprintf(f, "bus: %s\n", buses[b]);
			first = false;
			fprintf(f, "  dev: %s, id \"%s\"\n", mon_str(d, "driver"),
				mon_str(d, "id"));
			json_object_foreach(json_object_get(d, "properties"), key, v)
			{
				int64_t n = json_integer_value(v);

				if (json_is_integer(v))
					fprintf(f, "    %s = %" PRId64 " (0x%" PRIx64 ")\n", key, n,
						(uint64_t)n);
				else if (json_is_string(v))
					fprintf(f, "    %s = \"%s\"\n", key, json_string_value(v));
				else
					fprintf(f, "    %s = %s\n", key,
						json_is_true(v) ? "true" : "false");
			}
		}
	}
}

static void add_properties(json_t *list, const struct prop *props)
{
	for (const struct prop *p = props; p && p->name; p++) {
		json_t *j = json_pack("{s:s, s:s}", "name", p->name, "type", prop_type_name(p));

		if (p->help)
			json_object_set_new(j, "description", mon_string(p->help));
		if (p->def)
			json_object_set_new(j, "default-value", mon_string(p->def));
		json_array_append_new(list, j);
	}
}

static json_t *device_list_properties(struct mon *m, const json_t *args, struct err *e)
{
	const char *name = mon_str(args, "typename");
	const struct dev_class *cls = dev_class_find(name);
	json_t *list;

	if (!cls) {
		dev_unknown(name, e);
		/* As clients know it: class DeviceNotFound and this text. */
		e->code = ENODEV;
		snprintf(e->msg, sizeof(e->msg), "Device '%s' not found", name);
		return NULL;
	}
	list = json_array();
	add_properties(list, cls->props);
	add_properties(list, cls->bus_props);
	return list;
}

static void add_chardev(void *ctx, const char *id, const char *description)
{
	json_array_append_new(ctx, json_pack("{s:o, s:o, s:b}", "label", mon_string(id), "filename",
					     mon_string(description), "frontend-open", 1));
}

static json_t *query_chardev(struct mon *m, const json_t *args, struct err *e)
{
	json_t *list = json_array();

	chardev_each(m->vm->m.chardevs, add_chardev, list);
	return list;
}

static void print_chardev(FILE *f, const struct mon *m, const json_t *r)
{
	const json_t *x;
	size_t i;

	json_array_foreach(r, i, x)
		fprintf(f, "%s: filename=%s\n", mon_str(x, "label"), mon_str(x, "filename"));
}

/* --- the table --- */

#define ARG(n, t)                                                                                  \
	{                                                                                          \
		.name = (n), .type = (t)                                                           \
	}
#define OPT(n, t)                                                                                  \
	{                                                                                          \
		.name = (n), .type = (t), .optional = true                                         \
	}

/* clang-format off */
const struct mon_cmd mon_cmds[] = {
	{ .qmp = "qmp_capabilities", .args = { OPT("enable", MON_ARRAY) },
	  .help = "end the negotiation that starts a session", .run = mon_qmp_capabilities },
	{ .qmp = "query-commands", .help = "the JSON commands", .run = query_commands },
	{ .qmp = "human-monitor-command",
	  .args = { ARG("command-line", MON_STR), OPT("cpu-index", MON_INT) },
	  .help = "run a text command; returns what it prints", .run = human_monitor_command },
	{ .text = "help", .alias = "?", .args = { OPT("command", MON_REST) },
	  .help = "show the commands, or what one of them takes", .run = mon_help },
	{ .text = "info", .help = "list what 'info' can show", .run = mon_info },

	{ .qmp = "stop", .text = "stop", .help = "pause the guest", .run = stop },
	{ .qmp = "cont", .text = "cont", .alias = "c", .help = "let the guest run", .run = cont },
	{ .qmp = "system_reset", .text = "system_reset", .help = "reset the machine",
	  .run = system_reset },
	{ .qmp = "system_powerdown", .text = "system_powerdown",
	  .help = "press the power button: the guest is asked to power off",
	  .run = system_powerdown },
	{ .qmp = "quit", .text = "quit", .alias = "q", .help = "end the virtual machine at once",
	  .run = quit },

	{ .qmp = "query-status", .text = "info status", .help = "whether the guest runs",
	  .run = query_status, .print = print_status },
	{ .qmp = "query-version", .text = "info version", .help = "the version of posada",
	  .run = query_version, .print = print_version },
	{ .qmp = "query-name", .text = "info name", .help = "the name given by -name",
	  .run = query_name, .print = print_name },
	{ .qmp = "query-uuid", .text = "info uuid", .help = "the UUID given by -uuid",
	  .run = query_uuid, .print = print_uuid },
	{ .qmp = "query-kvm", .text = "info kvm", .help = "whether KVM is in use",
	  .run = query_kvm, .print = print_kvm },
	{ .qmp = "query-target", .help = "the guest's architecture", .run = query_target },

	{ .qmp = "query-cpus-fast", .text = "info cpus", .help = "virtual CPUs and their threads",
	  .run = query_cpus, .print = print_cpus },
	{ .text = "cpu", .args = { ARG("cpu-index", MON_INT) },
	  .help = "set the CPU that x, print, info registers ... look at", .run = set_cpu },
	{ .text = "info registers", .args = { OPT("all", MON_FLAG), OPT("cpu-index", MON_INT) },
	  .help = "registers of a CPU, or of all (-a)", .run = info_registers },
	{ .qmp = "x-query-exits", .text = "info exits",
	  .help = "how often and why each CPU left KVM_RUN", .run = query_exits,
	  .print = print_exits },
	{ .text = "info assist", .help = "what was done for a KVM that is software",
	  .run = info_assist },

	{ .qmp = "query-memory-size-summary", .text = "info memory_size_summary",
	  .help = "size of guest memory", .run = query_memory_size },
	{ .qmp = "x-query-mtree", .text = "info mtree",
	  .help = "what lies where in memory and I/O space", .run = query_mtree,
	  .print = print_mtree },
	{ .qmp = "x-query-devices", .text = "info qtree", .help = "devices and their properties",
	  .run = query_devices, .print = print_devices },
	{ .qmp = "query-pci", .text = "info pci", .help = "PCI devices, their BARs and interrupts",
	  .run = mon_query_pci, .print = mon_print_pci },
	{ .qmp = "device-list-properties", .args = { ARG("typename", MON_STR) },
	  .help = "properties that a device takes", .run = device_list_properties },
	{ .qmp = "query-chardev", .text = "info chardev", .help = "character backends",
	  .run = query_chardev, .print = print_chardev },

	{ .qmp = "x-query-network", .text = "info network",
	  .help = "networks and cards, their addresses, links and what passed",
	  .run = mon_query_network, .print = mon_print_network },
	{ .qmp = "set_link", .args = { ARG("name", MON_STR), ARG("up", MON_BOOL) },
	  .help = "pull a network's cable out, or put it in again", .run = mon_set_link },
	{ .text = "set_link", .args = { ARG("name", MON_STR), ARG("state", MON_STR) },
	  .help = "pull a network's cable out (off), or put it in again (on)",
	  .run = mon_text_set_link },

	{ .qmp = "balloon", .args = { ARG("value", MON_INT) },
	  .help = "ask the guest to do with so many bytes of memory", .run = mon_qmp_balloon },
	{ .text = "balloon", .args = { ARG("mib", MON_INT) },
	  .help = "ask the guest to do with so much memory, in MiB", .run = mon_text_balloon },
	{ .qmp = "query-balloon", .text = "info balloon",
	  .help = "memory that the guest has now (MiB), and its statistics",
	  .run = mon_query_balloon, .print = mon_print_balloon },
	{ .qmp = "x-balloon-stats", .text = "balloon_stats", .args = { ARG("seconds", MON_INT) },
	  .help = "ask the guest for statistics every so many seconds; 0: no more",
	  .run = mon_balloon_stats },
	{ .qmp = "x-balloon-hint", .text = "balloon_hint",
	  .help = "ask the guest how much memory is free (free-page-hint=on)",
	  .run = mon_balloon_hint },
	{ .qmp = "screendump",
	  .args = { ARG("filename", MON_STR), OPT("device", MON_STR), OPT("head", MON_INT),
		    OPT("format", MON_STR) },
	  .help = "write what the screen shows to a file, as PNG or PPM", .run = mon_screendump },
	{ .text = "screendump", .args = { ARG("filename", MON_STR), OPT("format", MON_STR) },
	  .help = "write what the screen shows to a file: NAME.png, else PPM",
	  .run = mon_screendump },
	{ .qmp = "query-vnc", .help = "the VNC server and its clients", .run = mon_query_vnc },
	{ .qmp = "query-vnc-servers", .text = "info vnc", .help = "VNC servers and their clients",
	  .run = mon_query_vnc_servers, .print = mon_print_vnc },
	{ .qmp = "set_password", .text = "set_password",
	  .args = { ARG("protocol", MON_STR), ARG("password", MON_STR), OPT("connected", MON_STR),
		    OPT("display", MON_STR) },
	  .help = "set the password that VNC clients need: set_password vnc PASSWORD",
	  .run = mon_set_password },
	{ .qmp = "change-vnc-password", .args = { ARG("password", MON_STR) },
	  .help = "set the password that VNC clients need", .run = mon_change_vnc_password },
	{ .qmp = "query-block", .help = "drives", .run = mon_query_block },
	{ .text = "info block", .args = { OPT("device", MON_STR) },
	  .help = "drives: images, sizes, cache modes", .run = mon_info_block },
	{ .qmp = "query-blockstats", .text = "info blockstats",
	  .help = "what each drive has read and written", .run = mon_query_blockstats,
	  .print = mon_print_blockstats },
	{ .qmp = "block_resize",
	  .args = { ARG("size", MON_INT), OPT("device", MON_STR), OPT("node-name", MON_STR) },
	  .help = "change the size of a drive", .run = mon_block_resize },
	{ .text = "block_resize", .args = { ARG("device", MON_STR), ARG("size", MON_STR) },
	  .help = "change the size of a drive: 20G, or MiB without a suffix",
	  .run = mon_block_resize_text },
	{ .text = "commit", .args = { ARG("device", MON_STR) },
	  .help = "write what a drive (or all) changed to its backing file, or with -snapshot to its image",
	  .run = mon_commit },
	{ .qmp = "eject",
	  .args = { OPT("device", MON_STR), OPT("id", MON_STR), OPT("force", MON_BOOL) },
	  .help = "open a CD drive's tray and take the medium out", .run = mon_eject },
	{ .text = "eject", .args = { OPT("force", MON_FLAG), ARG("device", MON_STR) },
	  .help = "take the medium out of a CD drive; -f: even if the guest has locked it",
	  .run = mon_eject },
	{ .qmp = "blockdev-change-medium",
	  .args = { ARG("filename", MON_STR), OPT("device", MON_STR), OPT("id", MON_STR),
		    OPT("format", MON_STR), OPT("force", MON_BOOL),
		    OPT("read-only-mode", MON_STR) },
	  .help = "put another image into a CD drive", .run = mon_change_medium },
	{ .text = "change",
	  .args = { OPT("force", MON_FLAG), ARG("device", MON_STR), ARG("filename", MON_STR),
		    OPT("format", MON_STR) },
	  .help = "put another image into a CD drive; change vnc password PASSWORD",
	  .run = mon_change },
	{ .qmp = "block_set_io_throttle",
	  .args = { ARG("bps", MON_INT), ARG("bps_rd", MON_INT), ARG("bps_wr", MON_INT),
		    ARG("iops", MON_INT), ARG("iops_rd", MON_INT), ARG("iops_wr", MON_INT),
		    OPT("device", MON_STR), OPT("id", MON_STR), OPT("bps_max", MON_INT),
		    OPT("bps_rd_max", MON_INT), OPT("bps_wr_max", MON_INT), OPT("iops_max", MON_INT), OPT("iops_rd_max", MON_INT),
		    OPT("iops_wr_max", MON_INT), OPT("bps_max_length", MON_INT),
		    OPT("bps_rd_max_length", MON_INT), OPT("bps_wr_max_length", MON_INT),
		    OPT("iops_max_length", MON_INT), OPT("iops_rd_max_length", MON_INT),
		    OPT("iops_wr_max_length", MON_INT), OPT("iops_size", MON_INT) },
	  .help = "limit a drive's bytes and operations a second",
	  .run = mon_block_set_io_throttle },
	{ .text = "block_set_io_throttle",
	  .args = { ARG("device", MON_STR), ARG("bps", MON_INT), ARG("bps_rd", MON_INT),
		    ARG("bps_wr", MON_INT), ARG("iops", MON_INT), ARG("iops_rd", MON_INT),
		    ARG("iops_wr", MON_INT) },
	  .help = "limit a drive's bytes and operations a second; 0: no limit",
	  .run = mon_block_set_io_throttle },

	{ .text = "sendkey", .args = { ARG("keys", MON_STR), OPT("hold-time", MON_INT) },
	  .help = "press keys for hold-time ms (default 100): sendkey ctrl-alt-f1",
	  .run = mon_sendkey },
	{ .qmp = "send-key", .args = { ARG("keys", MON_ARRAY), OPT("hold-time", MON_INT) },
	  .help = "press keys together", .run = mon_qmp_send_key },
	{ .text = "paste", .args = { ARG("text", MON_REST) },
	  .help = "type text by the layout of -k; \\n is Enter, \\t Tab, \\\\ a backslash",
	  .run = mon_paste, .print = mon_print_paste },
	{ .qmp = "x-paste", .args = { ARG("text", MON_STR) },
	  .help = "type text by the layout of -k; returns how many characters it lacks",
	  .run = mon_qmp_paste },
	{ .qmp = "input-send-event",
	  .args = { ARG("events", MON_ARRAY), OPT("device", MON_STR), OPT("head", MON_INT) },
	  .help = "keys, buttons and movements", .run = mon_input_send_event },
	{ .text = "mouse_move",
	  .args = { ARG("dx", MON_INT), ARG("dy", MON_INT), OPT("dz", MON_INT) },
	  .help = "move the mouse, and turn its wheel", .run = mon_mouse_move },
	{ .text = "mouse_button", .args = { ARG("state", MON_INT) },
	  .help = "set the mouse's buttons: 1 left, 2 middle, 4 right", .run = mon_mouse_button },
	{ .qmp = "query-mice", .text = "info mice", .help = "mice and tablets",
	  .run = mon_query_mice, .print = mon_print_mice },

	{ .text = "x", .args = { OPT("fmt", MON_FMT), ARG("addr", MON_INT) },
	  .help = "show memory at a linear address", .run = mon_x },
	{ .text = "xp", .args = { OPT("fmt", MON_FMT), ARG("addr", MON_INT) },
	  .help = "show memory at a physical address", .run = mon_xp },
	{ .text = "print", .alias = "p", .args = { OPT("fmt", MON_FMT), ARG("expr", MON_INT) },
	  .help = "value of an expression of numbers and $registers", .run = mon_print },
	{ .text = "gva2gpa", .args = { ARG("addr", MON_INT) },
	  .help = "physical address of a linear one", .run = mon_gva2gpa },
	{ .text = "i", .args = { OPT("fmt", MON_FMT), ARG("port", MON_INT) },
	  .help = "read a port of a device outside of KVM", .run = mon_port_in },
	{ .text = "o", .args = { OPT("fmt", MON_FMT), ARG("port", MON_INT), ARG("val", MON_INT) },
	  .help = "write a port of a device outside of KVM", .run = mon_port_out },
	{ .qmp = "memsave", .text = "memsave",
	  .args = { ARG("val", MON_INT), ARG("size", MON_INT), ARG("filename", MON_STR),
		    OPT("cpu-index", MON_INT) },
	  .help = "write memory at linear address 'val' to a file", .run = mon_memsave },
	{ .qmp = "pmemsave", .text = "pmemsave",
	  .args = { ARG("val", MON_INT), ARG("size", MON_INT), ARG("filename", MON_STR) },
	  .help = "write memory at physical address 'val' to a file", .run = mon_pmemsave },
	{ .run = NULL },
};
/* clang-format on */
