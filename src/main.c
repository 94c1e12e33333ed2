/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * posada: argv in, a guest out. Parses the command line, makes the VM, runs
 * the main loop, and takes everything down again. Main thread.
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "autodetect.h"
#include "chardev.h"
#include "config.h"
#include "display.h"
#include "display_class.h"
#include "err.h"
#include "firmware.h"
#include "keymap.h"
#include "log.h"
#include "loop.h"
#include "monitor.h"
#include "opts.h"
#include "vm.h"

struct posada {
	struct config cfg;
	struct loop *loop;
	struct chardev_set *chardevs;
	struct vm vm;
	struct loop_fd signals;
	struct display *displays;
	struct screendump *dump; /* or NULL */
};

static void on_signal(void *ctx, uint32_t events)
{
	struct posada *p = ctx;
	struct signalfd_siginfo info;

	if (read(p->signals.fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGTERM) {
		vm_ask_to_stop(&p->vm, "SIGTERM", "a second SIGTERM");
		return;
	}
	log_note("stopped by SIG%s", sigabbrev_np((int)info.ssi_signo));
	vm_quit(&p->vm, 0);
}

/* SIGINT, SIGTERM, SIGHUP and SIGWINCH come through the loop, and to no other thread. */
static int take_signals(struct posada *p, struct err *e)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	/* For a display on the terminal, which takes it by a descriptor of its own. */
	sigaddset(&set, SIGWINCH);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of the write */
	if (fd < 0 || loop_fd_add(p->loop, &p->signals, fd, EPOLLIN, on_signal, p))
		return err_set(e, ERR_HOST, errno, "cannot watch for signals: %s", strerror(errno));
	return 0;
}

/* The user's Ctrl-A x. */
static void on_quit(void *ctx)
{
	struct posada *p = ctx;

	vm_quit(&p->vm, 0);
}

/* Whether an option has the terminal. */
static bool stdio_is_taken(const struct config *cfg)
{
	for (size_t i = 0; i < cfg->monitor.n; i++)
		if (strstr(cfg->monitor.s[i], "stdio"))
			return true;
	for (size_t i = 0; i < cfg->chardev.n; i++)
		if (!strncmp(cfg->chardev.s[i], "stdio", 5))
			return true;
	for (size_t i = 0; i < cfg->qmp.n; i++)
		if (strstr(cfg->qmp.s[i], "stdio"))
			return true;
	return cfg->debugcon && strstr(cfg->debugcon, "stdio");
}

static bool has_graphics(const struct config *cfg)
{
	bool firmware = cfg->machine == MACHINE_PC && firmware_wanted(cfg);

	for (size_t i = 0; i < cfg->device.n; i++)
		if (!strncmp(cfg->device.s[i], "VGA", 3) ||
		    !strncmp(cfg->device.s[i], "cirrus-vga", 10))
			return true;
	return cfg->vga ? strcmp(cfg->vga, "none") != 0 : firmware;
}

static bool is_set(const char *variable)
{
	const char *value = getenv(variable);

	return value && *value;
}

/* A graphics card is shown, unless an option names a use for the screen or the serial port. */
static void default_display(struct config *cfg)
{
	static struct display_scene scene;
	struct err e = { 0 };

	if (cfg->display || cfg->vnc.n || cfg->nographic || cfg->nodefaults || cfg->serial.n ||
	    !has_graphics(cfg))
		return;
	scene.terminal = isatty(0) && isatty(1) && !stdio_is_taken(cfg);
	scene.desktop =
		(is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")) && display_class_of("sdl", &e);
	cfg->scene = &scene;
}

/* What -nographic and the absence of -serial and -monitor stand for. */
static int default_console(struct config *cfg, struct err *e)
{
	if (cfg->serial.n || cfg->nodefaults)
		return 0;
	if ((cfg->display || cfg->vnc.n) && !cfg->nographic)
		return 0; /* -display none: no console asked for */
	/* The screen has it, or a window: then Ctrl-C ends us. Scripts find the console as ever. */
	if (cfg->scene && cfg->scene->terminal)
		return 0;
	/* The terminal cannot serve a monitor of its own as well. */
	for (size_t i = 0; i < cfg->monitor.n; i++)
		if (!strcmp(cfg->monitor.s[i], "stdio") || !strcmp(cfg->monitor.s[i], "mon:stdio"))
			return 0;
	return config_add(&cfg->serial, "mon:stdio", e);
}

static int add_monitor(struct posada *p, const char *option, const char *arg, const char *id,
		       bool qmp, struct err *e)
{
	struct chardev *c;
	int rc = chardev_from_legacy(p->chardevs, arg, id, &c, e);

	if (!rc && c)
		rc = qmp ? monitor_add_qmp(&p->vm, c, e) : monitor_add_text(&p->vm, c, e);
	if (rc)
		err_prefix(e, "-%s %s: ", option, arg);
	return rc;
}

/* -mon chardev=ID,mode=readline|control */
static int add_mon(struct posada *p, const char *arg, struct err *e)
{
	static const char *const known[] = { "chardev", "mode" };
	struct chardev *c = NULL;
	const char *id, *mode;
	struct opts o;
	int rc = opts_parse(&o, arg, "chardev", e);

	if (!rc) {
		id = opts_get(&o, "chardev");
		mode = opts_get(&o, "mode");
		rc = opts_check_used(&o, known, 2, e);
		if (!rc && !id)
			rc = err_set(e, ERR_USAGE, EINVAL, "chardev= is missing");
		if (!rc && mode && strcmp(mode, "readline") && strcmp(mode, "control"))
			rc = err_set(e, ERR_USAGE, EINVAL, "mode=%s: 'readline' or 'control'",
				     mode);
		if (!rc) {
			c = chardev_find(p->chardevs, id);
			if (!c)
				rc = err_set(e, ERR_USAGE, ENOENT, "no -chardev has the id '%s'",
					     id);
		}
		if (!rc)
			rc = mode && !strcmp(mode, "control") ? monitor_add_qmp(&p->vm, c, e)
							      : monitor_add_text(&p->vm, c, e);
		opts_free(&o);
	}
	if (rc)
		err_prefix(e, "-mon %s: ", arg);
	return rc;
}

static int add_monitors(struct posada *p, struct err *e)
{
	struct config *cfg = &p->cfg;
	char id[32];
	int rc = 0;

	/* "mon:" on a serial port: the monitor is the terminal's second front end. */
	for (size_t i = 0; !rc && i < cfg->serial.n; i++) {
		struct chardev *c;

		snprintf(id, sizeof(id), "serial%zu", i);
		c = chardev_find(p->chardevs, id);
		if (c && chardev_wants_monitor(c))
			rc = monitor_add_text(&p->vm, c, e);
	}
	for (size_t i = 0; !rc && i < cfg->monitor.n; i++) {
		snprintf(id, sizeof(id), "compat_monitor%zu", i);
		rc = add_monitor(p, "monitor", cfg->monitor.s[i], id, false, e);
	}
	for (size_t i = 0; !rc && i < cfg->qmp.n; i++) {
		snprintf(id, sizeof(id), "qmp%zu", i);
		rc = add_monitor(p, "qmp", cfg->qmp.s[i], id, true, e);
	}
	for (size_t i = 0; !rc && i < cfg->mon.n; i++)
		rc = add_mon(p, cfg->mon.s[i], e);
	return rc;
}

static int add_display(struct posada *p, struct err *e)
{
	int rc = 0;

	if (p->cfg.screendump)
		rc = screendump_create(&p->vm.m, p->loop, p->cfg.screendump, &p->dump, e);
	return rc ? rc : displays_start(&p->vm, &p->cfg, &p->displays, e);
}

/* A layout that is not there is said at the start, not when something is first typed. */
static int check_layout(const struct config *cfg, struct err *e)
{
	struct keymap *k = NULL;
	int rc = cfg->layout ? keymap_create(cfg->layout, &k, e) : 0;

	keymap_free(k);
	return rc;
}

static int run(struct posada *p, struct err *e)
{
	const struct chardev_host host = { .quit = on_quit, .ctx = p };
	int rc;

	rc = check_layout(&p->cfg, e);
	rc = rc ? rc : loop_create(&p->loop, e);
	rc = rc ? rc : take_signals(p, e);
	rc = rc ? rc : chardev_set_create(&p->chardevs, p->loop, &host, e);
	for (size_t i = 0; !rc && i < p->cfg.chardev.n; i++) {
		rc = chardev_add(p->chardevs, p->cfg.chardev.s[i], e);
		if (rc)
			err_prefix(e, "-chardev %s: ", p->cfg.chardev.s[i]);
	}
	if (rc)
		return rc;
	rc = vm_create(&p->vm, &p->cfg, p->loop, p->chardevs, e);
	if (!rc && !p->cfg.machine_opts.dumpdtb) {
		rc = add_display(p, e);
		rc = rc ? rc : add_monitors(p, e);
		rc = rc ? rc : vm_start(&p->vm, e);
		if (!rc)
			loop_run(p->loop);
	}
	screendump_end(p->dump);
	displays_stop(p->displays);
	monitors_destroy(&p->vm);
	vm_destroy(&p->vm);
	return rc;
}

int main(int argc, char **argv)
{
	static struct posada p;
	struct err err = { 0 };
	int rc, status = 0;

	/* One malloc arena: those that glibc makes for each thread cost address space and start-up
	 * time. */
	mallopt(M_ARENA_MAX, 1);
	rc = cmdline_parse(argc, argv, &p.cfg, &err);
	if (rc == CMDLINE_DONE) {
		if (fflush(stdout) || ferror(stdout)) {
			fprintf(stderr, "posada: cannot write to standard output: %s\n",
				strerror(errno));
			return ERR_INPUT;
		}
		return 0;
	}
	rc = rc ? rc : autodetect(&p.cfg, argc, argv, &err);
	if (!rc && !p.cfg.kernel && !p.cfg.machine_opts.dumpdtb && p.cfg.machine == MACHINE_MICRO) {
		rc = err_set(&err, ERR_USAGE, EINVAL, "nothing to boot");
		err_hint(&err, "this machine has no firmware: name a kernel with -kernel FILE");
	}
	default_display(&p.cfg);
	rc = rc ? rc : default_console(&p.cfg, &err);
	rc = rc ? rc : run(&p, &err);
	if (p.chardevs)
		chardev_set_destroy(p.chardevs);
	if (p.loop)
		loop_destroy(p.loop);
	cmdline_free(&p.cfg);
	status = p.vm.exit_status;
	if (rc) {
		err_print(&err);
		status = (int)err.status;
	}
	return status;
}
