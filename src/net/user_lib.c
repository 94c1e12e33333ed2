/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loads libslirp, 4.7 or newer, at its first use: see src/net/user.h. The main thread. */
#include <stddef.h>

#include "lazy.h"
#include "user.h"

struct user_api user_api;
pthread_mutex_t user_lock = PTHREAD_MUTEX_INITIALIZER;

/* GLib would print these, in a form of its own; a guest can bring some about. */
static void on_log(const char *domain, unsigned level, const char *text, void *ctx)
{
	static struct log_limit limit = LOG_LIMIT_INIT;

	log_guest(&limit, "user network", "%s", text);
}

#define SYMBOL(name, field)                                                                        \
	{                                                                                          \
		name, offsetof(struct user_api, field)                                             \
	}

int user_load(struct err *e)
{
	static const struct lazy_symbol symbols[] = {
		SYMBOL("slirp_new", create),
		SYMBOL("slirp_cleanup", cleanup),
		SYMBOL("slirp_pollfds_fill", pollfds_fill),
		SYMBOL("slirp_pollfds_poll", pollfds_poll),
		SYMBOL("slirp_input", input),
		SYMBOL("slirp_add_hostfwd", add_hostfwd),
		SYMBOL("slirp_remove_hostfwd", remove_hostfwd),
		SYMBOL("slirp_add_exec", add_exec),
		SYMBOL("slirp_connection_info", connection_info),
		SYMBOL("g_free", free),
		SYMBOL("g_log_set_handler", log_set_handler),
		{ NULL, 0 },
	};
	static const struct lazy_lib lib = {
		.soname = "libslirp.so.0",
		.package = "libslirp0",
		.use = "user networks",
		.symbols = symbols,
	};
	static bool loaded;
	int rc = loaded ? 0 : lazy_load(&lib, &user_api, e);

	if (!rc && !loaded)
		user_api.log_set_handler("Slirp", ~3u, on_log, NULL); /* all levels, no flags */
	loaded = !rc;
	return rc;
}
