/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM and character backends for the monitor's unit test and fuzz target: the
 * functions of vm.c, vcpu.c and src/chardev that the monitor calls, without KVM
 * or file descriptors. Included by one file of a program; memory, buses, page walks and
 * the disassembler are the real ones.
 */
#ifndef FAKE_MONITOR_H
#define FAKE_MONITOR_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "assist.h"
#include "bus.h"
#include "chardev.h"
#include "config.h"
#include "dev.h"
#include "err.h"
#include "gmem.h"
#include "monitor.h"
#include "props.h"
#include "report.h"
#include "vcpu.h"
#include "vm.h"

/* --- backends --- */

struct chardev {
	const struct chardev_client *client;
	void *ctx;
	bool open; /* a peer is there */
	bool console; /* "mon:" */
	size_t room; /* bytes the peer will take */
	char *out; /* what it has got, NUL-terminated */
	size_t len, cap;
};

#define ROOM (1ul << 30)

int chardev_attach(struct chardev *c, const struct chardev_client *client, void *ctx,
		   struct chardev_port **out, struct err *e)
{
	if (c->client)
		return err_set(e, ERR_USAGE, EBUSY, "the backend has a front end");
	c->client = client;
	c->ctx = ctx;
	*out = (struct chardev_port *)c;
	return 0;
}

void chardev_detach(struct chardev_port *p)
{
	((struct chardev *)p)->client = NULL;
}

size_t chardev_write(struct chardev_port *p, const void *buf, size_t len)
{
	struct chardev *c = (struct chardev *)p;
	size_t n = len < c->room ? len : c->room;

	if (!c->open)
		return len;
	if (c->len + n + 1 > c->cap) {
		c->cap = (c->len + n + 1) * 2;
		c->out = realloc(c->out, c->cap);
		if (!c->out)
			abort();
	}
	memcpy(c->out + c->len, buf, n);
	c->len += n;
	c->out[c->len] = '\0';
	c->room -= n;
	return n;
}

bool chardev_wants_monitor(const struct chardev *c)
{
	return c->console;
}

static bool chardev_accepted; /* set by chardev_accept */

void chardev_accept(struct chardev_port *p)
{
	chardev_accepted = true;
}

void chardev_each(struct chardev_set *s, void (*fn)(void *ctx, const char *id, const char *desc),
		  void *ctx)
{
	fn(ctx, "serial0", "stdio");
	fn(ctx, "qmp0", "unix:/tmp/qmp.sock,server=on");
}

static void fake_open(struct chardev *c)
{
	c->open = true;
	c->room = ROOM;
	c->client->event(c->ctx, CHARDEV_OPENED);
}

static inline void fake_close(struct chardev *c)
{
	c->open = false;
	c->client->event(c->ctx, CHARDEV_CLOSED);
}

/* Input in reads of at most step bytes. Returns how much was taken. */
static size_t fake_input(struct chardev *c, const void *buf, size_t len, size_t step)
{
	size_t done = 0;

	while (done < len) {
		size_t n = c->client->can_read(c->ctx);

		if (!n)
			break;
		n = n < step ? n : step;
		n = n < len - done ? n : len - done;
		c->client->read(c->ctx, (const uint8_t *)buf + done, n);
		done += n;
	}
	return done;
}

static inline void fake_room(struct chardev *c, size_t room)
{
	c->room = room;
	c->client->writable(c->ctx);
}

/* --- the VM --- */

#define FAKE_CPUS 2
#define FAKE_RAM (2u << 20)

static struct fake {
	struct vm vm;
	struct config cfg;
	struct vcpu cpu[FAKE_CPUS], *cpus[FAKE_CPUS];
	struct kvm_regs regs[FAKE_CPUS];
	struct kvm_sregs sregs[FAKE_CPUS];
	uint32_t port_val;
	unsigned resets, powerdowns, quits;
	bool regs_fail;
} fake;

static uint64_t port_read(void *dev, uint64_t off, unsigned size)
{
	return off == 0 ? fake.port_val & (size == 4 ? ~0u : (1u << 8 * size) - 1) : 0;
}

static void port_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
	fake.port_val = (uint32_t)val;
}

static const struct io_ops port_ops = { .read = port_read, .write = port_write };
static struct io_region fake_port = { .name = "fake-port", .ops = &port_ops, .size = 4 };
static struct io_region fake_mmio = { .name = "fake-mmio", .ops = &port_ops, .size = 0x1000 };

struct fake_dev {
	struct dev dev;
	uint16_t port;
	bool fast;
	char *chardev;
	int mode;
};

static const char *const fake_modes[] = { "plain", "fancy", NULL };
static const struct prop fake_props[] = {
	PROP(struct fake_dev, port, PROP_U16, "iobase", "0x3f8", "first port"),
	PROP(struct fake_dev, fast, PROP_BOOL, "fast", NULL, "be quick"),
	PROP(struct fake_dev, chardev, PROP_CHARDEV, "chardev", NULL, "backend"),
	PROP_CHOICE(struct fake_dev, mode, "mode", "plain", fake_modes, "how"),
	PROP_END,
};
static const struct dev_class fake_class = {
	.name = "fake-serial",
	.bus = DEV_BUS_ISA,
	.size = sizeof(struct fake_dev),
	.props = fake_props,
};
static char fake_id[] = "com1";
static struct fake_dev fake_device = {
	.dev = { .cls = &fake_class, .id = fake_id }, .port = 0x3f8, .fast = true, .mode = 1
};

const struct dev_class *dev_class_find(const char *name)
{
	return strcmp(name, fake_class.name) ? NULL : &fake_class;
}

int dev_unknown(const char *name, struct err *e)
{
	const char *names[] = { fake_class.name };

	err_set(e, ERR_USAGE, EINVAL, "no device '%s'", name);
	err_suggest(e, name, names, 1);
	return -EINVAL;
}

static int fake_slot(void *ctx, unsigned slot, uint64_t gpa, uint64_t size, uint8_t *host,
		     bool readonly, bool log_dirty)
{
	return 0;
}

static const struct memmap_ops fake_slots = { .set = fake_slot };

static void fake_init(void)
{
	struct err e;

	memset(&fake, 0, sizeof(fake));
	fake.vm.cfg = &fake.cfg;
	fake.vm.n_cpus = FAKE_CPUS;
	fake.vm.vcpu = fake.cpus;
	for (unsigned i = 0; i < FAKE_CPUS; i++) {
		fake.cpus[i] = &fake.cpu[i];
		fake.cpu[i].id = i;
		fake.cpu[i].vm = &fake.vm;
		fake.sregs[i].cr0 = 1; /* protected mode, flat, no paging */
		fake.sregs[i].cs.db = 1;
	}
	fake.regs[0].rsp = 0x8000;
	fake.regs[0].rip = 0x1000;
	fake.regs[1].rax = 0x1122334455667788;
	fake.cpu[1].exits[KVM_EXIT_IO] = 7;
	fake.cpu[1].exits[KVM_EXIT_HLT] = 3;
	fake.vm.state = RUN_RUNNING;
	fake.vm.m.devices = &fake_device.dev;
	bus_init(&fake.vm.m.pio, false);
	bus_init(&fake.vm.m.mmio, true);
	bus_map(&fake.vm.m.pio, &fake_port, 0x510);
	bus_map(&fake.vm.m.mmio, &fake_mmio, 0xfe000000);
	if (gmem_init(&fake.vm.m.mem, FAKE_RAM, GMEM_ANON, &e) < 0)
		abort();
	memmap_init(&fake.vm.m.map, &fake_slots, NULL);
	fake.vm.m.ram[0] =
		(struct mem_region){ .name = "ram", .host = fake.vm.m.mem.ram, .size = FAKE_RAM };
	if (memmap_map(&fake.vm.m.map, &fake.vm.m.ram[0], 0))
		abort();
}

static void fake_fini(void)
{
	monitors_destroy(&fake.vm);
	bus_unmap(&fake_port);
	bus_unmap(&fake_mmio);
	bus_fini(&fake.vm.m.pio);
	bus_fini(&fake.vm.m.mmio);
	memmap_fini(&fake.vm.m.map);
	gmem_fini(&fake.vm.m.mem);
}

const char *run_state_name(enum run_state s)
{
	static const char *const names[] = { "prelaunch", "running",        "paused",
					     "shutdown",  "guest-panicked", "internal-error" };

	return names[s];
}

void vm_listen(struct vm *vm, struct vm_listener *l)
{
	l->next = vm->listeners;
	vm->listeners = l;
}

void vm_unlisten(struct vm *vm, struct vm_listener *l)
{
	struct vm_listener **p = &vm->listeners;

	while (*p != l)
		p = &(*p)->next;
	*p = l->next;
}

static void fake_tell(const char *event)
{
	for (struct vm_listener *l = fake.vm.listeners; l; l = l->next)
		l->event(l->ctx, event);
}

void vm_pause(struct vm *vm)
{
	if (vm->state != RUN_RUNNING)
		return;
	vm->state = RUN_PAUSED;
	fake_tell("STOP");
}

int vm_resume(struct vm *vm, struct err *e)
{
	if (vm->state == RUN_SHUTDOWN) {
		err_set(e, ERR_USAGE, EBUSY, "the guest cannot go on");
		err_hint(e, "system_reset starts it anew");
		return -EBUSY;
	}
	if (vm->state != RUN_RUNNING) {
		vm->state = RUN_RUNNING;
		fake_tell("RESUME");
	}
	return 0;
}

void vm_reset(struct vm *vm)
{
	fake.resets++;
	fake_tell("RESET");
}

int vm_powerdown(struct vm *vm, struct err *e)
{
	fake.powerdowns++;
	fake_tell("POWERDOWN");
	return 0;
}

void vm_quit(struct vm *vm, int status)
{
	fake.quits++;
}

void vcpu_call(struct vcpu *v, void (*fn)(struct vcpu *v, void *ctx), void *ctx)
{
	fn(v, ctx);
}

int vcpu_get_regs(struct vcpu *v, struct kvm_regs *r)
{
	*r = fake.regs[v->id];
	return fake.regs_fail ? -EIO : 0;
}

int vcpu_get_sregs(struct vcpu *v, struct kvm_sregs *s)
{
	*s = fake.sregs[v->id];
	return 0;
}

void report_registers(struct vcpu *v, FILE *f)
{
	fprintf(f, "RAX=%016llx\n", fake.regs[v->id].rax);
}

void assist_info(struct vm *vm, void (*line)(void *ctx, const char *text), void *ctx)
{
	line(ctx, "int3 4");
	line(ctx, "system calls 2");
}

#endif
