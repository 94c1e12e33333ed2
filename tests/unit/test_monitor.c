/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor: the table, the JSON protocol, the text form and its line editor, over a fake VM. */
#include <check.h>
#include <unistd.h>

#include "suite.h"
#include "fake_monitor.h"

static struct chardev a, b; /* two backends */

static void setup(void)
{
	fake_init();
	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
}

static void teardown(void)
{
	fake_fini();
	free(a.out);
	free(b.out);
}

static void forget_output(struct chardev *c)
{
	c->len = 0;
	if (c->out)
		c->out[0] = '\0';
}

static void type(struct chardev *c, const char *text)
{
	ck_assert_uint_eq(fake_input(c, text, strlen(text), 4096), strlen(text));
}

/* What came out since the last call. */
static const char *said(struct chardev *c)
{
	static char copy[1 << 20];

	snprintf(copy, sizeof(copy), "%s", c->out ? c->out : "");
	forget_output(c);
	return copy;
}

static void ck_has(const char *text, const char *part)
{
	ck_assert_msg(strstr(text, part) != NULL, "no <%s> in <%s>", part, text);
}

static void ck_has_not(const char *text, const char *part)
{
	ck_assert_msg(strstr(text, part) == NULL, "<%s> in <%s>", part, text);
}

/* --- JSON --- */

/* A session on c after its negotiation. */
static void open_qmp(struct chardev *c)
{
	struct err e;

	ck_assert_int_eq(monitor_add_qmp(&fake.vm, c, &e), 0);
	fake_open(c);
	type(c, "{\"execute\":\"qmp_capabilities\"}");
	forget_output(c);
}

/* Sends text; the one line that comes back, parsed. The caller's reference. */
static json_t *ask(struct chardev *c, const char *text)
{
	json_error_t je;
	json_t *j;

	forget_output(c);
	type(c, text);
	ck_assert_ptr_nonnull(c->out);
	j = json_loads(c->out, JSON_DISABLE_EOF_CHECK, &je);
	ck_assert_msg(j != NULL, "%s: %s for %s", je.text, c->out, text);
	ck_assert_msg(!strcmp(c->out + je.position, "\r\n"), "more than one line: %s", c->out);
	return j;
}

static void ck_error(struct chardev *c, const char *text, const char *cls, const char *desc)
{
	json_t *j = ask(c, text);
	const char *got_cls = NULL, *got = NULL;

	json_unpack(j, "{s:{s:s, s:s}}", "error", "class", &got_cls, "desc", &got);
	ck_assert_msg(got && got_cls, "no error for %s", text);
	ck_assert_str_eq(got_cls, cls);
	ck_assert_str_eq(got, desc);
	json_decref(j);
}

static void ck_return(struct chardev *c, const char *text, const char *want)
{
	json_t *j = ask(c, text), *w = json_loads(want, JSON_DECODE_ANY, NULL);

	ck_assert_ptr_nonnull(w);
	ck_assert_msg(json_equal(json_object_get(j, "return"), w), "%s: %s", text, c->out);
	json_decref(w);
	json_decref(j);
}

/* Output of a text command by way of JSON, with its "\r\n" line ends. */
static const char *hmp(const char *line)
{
	static char text[1 << 20];
	json_t *q = json_pack("{s:s, s:{s:s}}", "execute", "human-monitor-command", "arguments",
			      "command-line", line);
	char *dump = json_dumps(q, 0);
	json_t *j = ask(&a, dump);
	const char *s = json_string_value(json_object_get(j, "return"));

	ck_assert_msg(s != NULL, "%s: %s", line, a.out);
	snprintf(text, sizeof(text), "%s", s);
	json_decref(j);
	json_decref(q);
	free(dump);
	return text;
}

START_TEST(greeting_and_negotiation)
{
	struct err e;

	ck_assert_int_eq(monitor_add_qmp(&fake.vm, &a, &e), 0);
	ck_assert_int_eq(monitor_add_qmp(&fake.vm, &a, &e), -EBUSY);
	fake_open(&a);
	ck_assert_str_eq(said(&a),
			 "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 1, "
			 "\"major\": 0}, \"package\": \"posada 0.1.0\"}, \"capabilities\": "
			 "[]}}\r\n");
	ck_error(&a, "{\"execute\":\"query-status\"}", "CommandNotFound",
		 "Expecting capabilities negotiation with 'qmp_capabilities'");
	ck_error(&a, "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}",
		 "GenericError", "Capability oob not available");
	vm_pause(&fake.vm);
	ck_has_not(said(&a), "STOP"); /* no events before the negotiation */
	ck_return(&a, "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[]}}", "{}");
	ck_error(&a, "{\"execute\":\"qmp_capabilities\"}", "CommandNotFound",
		 "Capabilities negotiation is already complete, command ignored");
	ck_return(&a, "{\"execute\":\"query-status\"}",
		  "{\"running\":false,\"singlestep\":false,\"status\":\"paused\"}");
}
END_TEST

/* [request, class, text of the error] */
static const char *const errors[][3] = {
	{ "{\"execute\":\"nosuchthing\"}", "CommandNotFound",
	  "The command nosuchthing has not been found" },
	{ "{\"execute\":\"quer-status\"}", "CommandNotFound",
	  "The command quer-status has not been found; did you mean 'query-status'?" },
	{ "{\"execute\":5}", "GenericError", "QMP input member 'execute' must be a string" },
	{ "{}", "GenericError", "QMP input lacks member 'execute'" },
	{ "{\"execute\":\"stop\",\"argument\":{}}", "GenericError",
	  "QMP input member 'argument' is unexpected; did you mean 'arguments'?" },
	{ "{\"execute\":\"stop\",\"arguments\":[]}", "GenericError",
	  "QMP input member 'arguments' must be an object" },
	{ "[1]", "GenericError", "QMP input must be a JSON object" },
	{ "12\n", "GenericError", "QMP input must be a JSON object" },
	{ "\"abc\"", "GenericError", "QMP input must be a JSON object" },
	{ "{\"execute\":\"stop\",\"arguments\":{\"x\":1}}", "GenericError",
	  "Parameter 'x' is unexpected" },
	{ "{\"execute\":\"memsave\",\"arguments\":{\"val\":0}}", "GenericError",
	  "Parameter 'size' is missing" },
	{ "{\"execute\":\"memsave\",\"arguments\":{\"val\":\"a\",\"size\":1,\"filename\":\"f\"}}",
	  "GenericError", "Invalid parameter type for 'val', expected: integer" },
	{ "{\"execute\":\"memsave\",\"arguments\":{\"val\":1.5,\"size\":1,\"filename\":\"f\"}}",
	  "GenericError", "Invalid parameter type for 'val', expected: integer" },
	{ "{\"execute\":\"memsave\",\"arguments\":{\"val\":1,\"size\":1,\"filename\":2}}",
	  "GenericError", "Invalid parameter type for 'filename', expected: string" },
	{ "{\"execute\":\"memsave\",\"arguments\":{\"val\":1,\"size\":1,\"filname\":\"f\","
	  "\"filename\":\"f\"}}",
	  "GenericError", "Parameter 'filname' is unexpected; did you mean 'filename'?" },
	{ "{\"execute\":\"memsave\",\"arguments\":{\"val\":1,\"size\":1,\"filename\":\"f\","
	  "\"cpu-index\":9}}",
	  "GenericError",
	  "Parameter 'cpu-index' expects a CPU number; this machine has CPUs 0 to 1" },
	{ "{\"execute\":\"pmemsave\",\"arguments\":{\"val\":0,\"size\":-1,\"filename\":\"f\"}}",
	  "GenericError", "Parameter 'size' expects a size" },
	{ "{\"execute\":\"pmemsave\",\"arguments\":{\"val\":0,\"size\":1,\"filename\":"
	  "\"/nonexistent/f\"}}",
	  "GenericError", "Could not open '/nonexistent/f': No such file or directory" },
	{ "{\"execute\":\"device-list-properties\",\"arguments\":{\"typename\":\"fake-serail\"}}",
	  "DeviceNotFound", "Device 'fake-serail' not found; did you mean 'fake-serial'?" },
	/* what is not JSON */
	{ "{\"execute\": stop}", "GenericError", "JSON parse error, invalid token near 'stop'" },
	{ "{\"execute\": \"stop\" \"id\":1}", "GenericError",
	  "JSON parse error, '}' expected near '\"id\"'" },
	{ "{\"id\":1,\"id\":2}", "GenericError",
	  "JSON parse error, duplicate object key near '\"id\"'" },
	{ "}", "GenericError", "JSON parse error, expecting value" },
	{ "{\"a\": ]", "GenericError", "JSON parse error, unexpected ']'" },
	{ "[}", "GenericError", "JSON parse error, unexpected '}'" },
	{ "{\"a\xff", "GenericError", "JSON parse error, invalid byte" },
	{ "\x01", "GenericError", "JSON parse error, invalid byte" },
	{ "{\"a\n", "GenericError", "JSON parse error, control character in a string" },
	{ "\"\\ud800\"", "GenericError",
	  "JSON parse error, invalid Unicode '\\uD800' near '\"\\ud800\"'" },
};

START_TEST(every_error_and_synchronised_again)
{
	open_qmp(&a);
	ck_error(&a, errors[_i][0], errors[_i][1], errors[_i][2]);
	ck_return(&a, "\n{\"execute\":\"query-target\"}", "{\"arch\":\"x86_64\"}");
	/* The same with everything in one read. */
	forget_output(&a);
	type(&a, errors[_i][0]);
	type(&a,
	     "\n{\"execute\":\"query-target\",\"id\":1}{\"execute\":\"query-target\",\"id\":2}");
	ck_has(a.out, "\"id\": 1}\r\n");
	ck_has(a.out, "\"id\": 2}\r\n");
}
END_TEST

static const char session[] =
	"{\"execute\":\"qmp_capabilities\",\"id\":\"\\u00e9\\\"\\\\\"}"
	"{ 'execute' : 'query-status', 'id': 'single \"and\" \\' double' }\r\n"
	"{\"execute\":\"query-target\",\"id\":{\"a\":[1,{\"}\":\"]{\"}]}} 12 {\"execute\": nope}\n"
	"{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"p "
	"1+1\"},\"id\":null}"
	"[[],{}]\t{\"execute\":\"stop\"} \"\n {\"id\":1.5,\"execute\":\"cont\"}"
	"{\"id\":true,\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"x "
	"/2xw 0\"}}";

/* The session's output with the input in pieces of step bytes; times left out. */
static char *run_session(size_t step)
{
	struct chardev c = { 0 };
	struct err e;
	char *p;

	ck_assert_int_eq(monitor_add_qmp(&fake.vm, &c, &e), 0);
	fake_open(&c);
	ck_assert_uint_eq(fake_input(&c, session, strlen(session), step), strlen(session));
	for (p = c.out; (p = strstr(p, "seconds\": ")) != NULL;) {
		p += 10;
		memmove(p, p + strspn(p, "0123456789"), strlen(p + strspn(p, "0123456789")) + 1);
	}
	monitors_destroy(&fake.vm);
	return c.out;
}

START_TEST(split_at_any_byte)
{
	char *whole = run_session(4096);

	ck_has(whole, "\"id\": \"\\u00E9\\\"\\\\\"}");
	ck_has(whole, "\"id\": \"single \\\"and\\\" ' double\"}");
	ck_has(whole, "\"id\": {\"a\": [1, {\"}\": \"]{\"}]}}");
	ck_has(whole, "{\"return\": \"2\\r\\n\", \"id\": null}");
	ck_has(whole, "\"event\": \"STOP\"");
	ck_has(whole, "{\"return\": {}, \"id\": 1.5}");
	ck_has(whole, "0x00000000 0x00000000\\r\\n\", \"id\": true}");
	for (size_t step = 1; step < 40; step++) {
		char *parts = run_session(step);

		ck_assert_str_eq(parts, whole);
		free(parts);
	}
	free(whole);
}
END_TEST

START_TEST(huge_and_deep_values)
{
	size_t n = 3u << 20;
	char *big = malloc(n + 1);

	open_qmp(&a);
	memset(big, 'x', n);
	big[n] = '\0';
	memcpy(big, "{\"execute\":\"", 12);
	memcpy(big + n - 2, "\"}", 2);
	ck_error(&a, big, "GenericError", "JSON parse error, the value is larger than 1 MiB");
	ck_return(&a, "{\"execute\":\"query-target\"}", "{\"arch\":\"x86_64\"}");

	memset(big, '[', n / 2);
	memset(big + n / 2, ']', n / 2);
	ck_error(&a, big, "GenericError", "JSON parse error, the value is nested too deeply");
	ck_return(&a, "{\"execute\":\"query-target\"}", "{\"arch\":\"x86_64\"}");

	/* The deepest that is taken, echoed as an id. */
	strcpy(big, "{\"execute\":\"query-target\",\"id\":");
	for (int i = 0; i < 255; i++)
		strcat(big, "[");
	for (int i = 0; i < 255; i++)
		strcat(big, "]");
	strcat(big, "}");
	ck_return(&a, big, "{\"arch\":\"x86_64\"}");
	free(big);
}
END_TEST

START_TEST(events)
{
	json_t *j;
	int guest = -1;
	const char *name, *reason;
	json_int_t s, us;

	open_qmp(&a);
	open_qmp(&b);
	forget_output(&b);
	type(&a, "{\"execute\":\"stop\",\"id\":1}");
	ck_has(a.out, "\"event\": \"STOP\"}\r\n{\"return\": {}, \"id\": 1}\r\n");
	ck_has(b.out, "\"event\": \"STOP\"}\r\n");
	ck_has_not(b.out, "return");
	ck_assert_int_eq(fake.vm.state, RUN_PAUSED);
	type(&a, "{\"execute\":\"cont\"}");
	ck_has(a.out, "\"event\": \"RESUME\"");
	ck_assert_int_eq(fake.vm.state, RUN_RUNNING);

	forget_output(&b);
	type(&a, "{\"execute\":\"system_reset\"}");
	ck_assert_uint_eq(fake.resets, 1);
	j = json_loads(b.out, 0, NULL);
	ck_assert_int_eq(json_unpack(j, "{s:{s:I,s:I}, s:s, s:{s:b,s:s}}", "timestamp", "seconds",
				     &s, "microseconds", &us, "event", &name, "data", "guest",
				     &guest, "reason", &reason),
			 0);
	ck_assert_int_gt(s, 1600000000);
	ck_assert_int_lt(us, 1000000);
	ck_assert_str_eq(name, "RESET");
	ck_assert_int_eq(guest, 0);
	ck_assert_str_eq(reason, "host-qmp-system-reset");
	json_decref(j);

	forget_output(&b);
	fake_tell("RESET"); /* by the guest */
	ck_has(b.out, "\"data\": {\"guest\": true, \"reason\": \"guest-reset\"}");
	type(&a, "{\"execute\":\"system_powerdown\"}");
	ck_assert_uint_eq(fake.powerdowns, 1);
	ck_has(b.out, "\"event\": \"POWERDOWN\"");

	forget_output(&b);
	fake.vm.state = RUN_GUEST_PANICKED;
	fake_tell("GUEST_PANICKED");
	ck_has(b.out, "\"event\": \"GUEST_PANICKED\", \"data\": {\"action\": \"poweroff\"}");
	fake_tell("GUEST_CRASHLOADED");
	ck_has(b.out, "\"event\": \"GUEST_CRASHLOADED\", \"data\": {\"action\": \"run\"}");
	fake.cfg.no_shutdown = true;
	fake_tell("GUEST_PANICKED");
	ck_has(b.out, "\"data\": {\"action\": \"pause\"}");
}
END_TEST

START_TEST(the_end)
{
	/* [state when the session ends, what is told, once] */
	static const struct {
		enum run_state state;
		bool told;
		const char *data;
	} ends[] = {
		{ RUN_RUNNING, false, "{\"guest\": false, \"reason\": \"host-signal\"}" },
		{ RUN_SHUTDOWN, true, "{\"guest\": true, \"reason\": \"guest-shutdown\"}" },
		{ RUN_GUEST_PANICKED, false, "{\"guest\": true, \"reason\": \"guest-panic\"}" },
		{ RUN_INTERNAL_ERROR, false, "{\"guest\": true, \"reason\": \"guest-panic\"}" },
	};
	char *p;

	open_qmp(&a);
	fake.vm.state = ends[_i].state;
	if (ends[_i].told)
		fake_tell("SHUTDOWN");
	monitors_destroy(&fake.vm);
	p = strstr(a.out, "SHUTDOWN");
	ck_assert_ptr_nonnull(p);
	ck_has(p, ends[_i].data);
	ck_assert_ptr_null(strstr(p + 1, "SHUTDOWN"));
}
END_TEST

START_TEST(quit_is_told_before_the_end)
{
	open_qmp(&a);
	open_qmp(&b);
	type(&a, "{\"execute\":\"quit\",\"id\":1}");
	ck_assert_uint_eq(fake.quits, 1);
	ck_has(a.out, "\"event\": \"SHUTDOWN\", \"data\": {\"guest\": false, \"reason\": "
		      "\"host-qmp-quit\"}}\r\n{\"return\": {}, \"id\": 1}\r\n");
	ck_has(b.out, "host-qmp-quit");
	forget_output(&b);
	monitors_destroy(&fake.vm);
	ck_assert_str_eq(b.out, "");
}
END_TEST

START_TEST(a_new_peer_starts_anew)
{
	open_qmp(&a);
	type(&a, "{\"execute\":\"sto");
	fake_close(&a);
	forget_output(&a);
	fake_open(&a);
	ck_has(a.out, "{\"QMP\":");
	ck_error(&a, "{\"execute\":\"query-status\"}", "CommandNotFound",
		 "Expecting capabilities negotiation with 'qmp_capabilities'");
}
END_TEST

START_TEST(a_peer_that_does_not_read)
{
	static const char line[] = "{\"execute\":\"query-commands\",\"id\":%04d}\n";
	char text[64], want[64];
	size_t taken = 0, n = 0;
	char *p;

	open_qmp(&a);
	a.room = 10;
	/* Input stops being taken while not much output waits ... */
	while (a.client->can_read(a.ctx)) {
		snprintf(text, sizeof(text), line, (int)n++);
		ck_assert_uint_lt(n, 1000);
		taken += fake_input(&a, text, strlen(text), 7);
	}
	ck_assert_uint_gt(n, 10);
	ck_assert_uint_gt(taken, 0);
	/* ... also of one read that holds many commands ... */
	ck_assert_uint_eq(a.len, 10);
	fake_close(&a);
	fake_open(&a);
	type(&a, "{\"execute\":\"qmp_capabilities\"}");
	forget_output(&a);
	a.room = 0;
	p = malloc(4097);
	taken = 0;
	for (n = 0; taken < 4000; n++)
		taken += (size_t)sprintf(p + taken,
					 "{\"execute\":\"human-monitor-command\",\"arguments\":"
					 "{\"command-line\":\"xp /999xb 0\"},\"id\":%d}",
					 (int)n);
	ck_assert_uint_eq(fake_input(&a, p, taken, 4096), taken);
	free(p);
	ck_assert_uint_eq(a.client->can_read(a.ctx), 0);
	ck_assert_uint_eq(a.len, 0);
	/* ... and when it reads again, everything comes, in order. */
	chardev_accepted = false;
	for (int i = 0; i < 100000 && a.client->can_read(a.ctx) == 0; i++)
		fake_room(&a, 1000);
	fake_room(&a, ROOM);
	ck_assert(chardev_accepted);
	p = a.out;
	for (size_t i = 0; i < n; i++) {
		snprintf(want, sizeof(want), "\"id\": %d}\r\n", (int)i);
		p = strstr(p, want);
		ck_assert_msg(p != NULL, "answer %zu is missing", i);
	}
}
END_TEST

START_TEST(events_do_not_pile_up)
{
	open_qmp(&a);
	a.room = 0;
	for (int i = 0; i < 100000; i++)
		fake_tell("RESET");
	fake_room(&a, ROOM);
	ck_assert_uint_gt(a.len, 1u << 20);
	ck_assert_uint_lt(a.len, (1u << 20) + 1000);
	forget_output(&a);
	fake_tell("RESET");
	ck_has(a.out, "RESET");
}
END_TEST

START_TEST(queries)
{
	static const uint8_t uuid[16] = { 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0,
					  1,    2,    3,    4,    5,    6,    7,    0xff };
	json_t *j;
	char want[300];

	open_qmp(&a);
	ck_return(&a, "{\"execute\":\"query-name\"}", "{}");
	fake.cfg.name = "vm \xff one"; /* argv need not be UTF-8 */
	ck_return(&a, "{\"execute\":\"query-name\"}", "{\"name\":\"vm ? one\"}");
	memcpy(fake.cfg.uuid, uuid, 16);
	ck_return(&a, "{\"execute\":\"query-uuid\"}",
		  "{\"UUID\":\"12345678-9abc-def0-0102-0304050607ff\"}");
	ck_return(&a, "{\"execute\":\"query-kvm\"}", "{\"enabled\":true,\"present\":true}");
	ck_return(&a, "{\"execute\":\"query-version\"}",
		  "{\"qemu\":{\"major\":0,\"minor\":1,\"micro\":0},\"package\":\"posada 0.1.0\"}");
	snprintf(
		want, sizeof(want),
		"[{\"cpu-index\":0,\"qom-path\":\"/machine/unattached/device[0]\",\"thread-id\":%d,"
		"\"target\":\"x86_64\",\"props\":{\"core-id\":0,\"thread-id\":0,\"socket-id\":0}},"
		"{\"cpu-index\":1,\"qom-path\":\"/machine/unattached/device[1]\",\"thread-id\":%d,"
		"\"target\":\"x86_64\",\"props\":{\"core-id\":0,\"thread-id\":0,\"socket-id\":1}}]",
		(int)getpid(), (int)getpid());
	ck_return(&a, "{\"execute\":\"query-cpus-fast\"}", want);
	ck_return(&a, "{\"execute\":\"query-chardev\"}",
		  "[{\"label\":\"serial0\",\"filename\":\"stdio\",\"frontend-open\":true},"
		  "{\"label\":\"qmp0\",\"filename\":\"unix:/tmp/qmp.sock,server=on\","
		  "\"frontend-open\":true}]");
	ck_return(&a, "{\"execute\":\"query-memory-size-summary\"}",
		  "{\"base-memory\":2097152,\"plugged-memory\":0}");
	ck_return(&a, "{\"execute\":\"x-query-exits\"}",
		  "[{\"cpu-index\":0,\"total\":0,\"exits\":{}},"
		  "{\"cpu-index\":1,\"total\":10,\"exits\":{\"IO\":7,\"HLT\":3}}]");
	ck_return(
		&a, "{\"execute\":\"x-query-mtree\"}",
		"{\"memory\":[{\"base\":0,\"size\":2097152,\"prio\":0,\"type\":\"ram\",\"name\":"
		"\"ram\"},{\"base\":4261412864,\"size\":4096,\"prio\":0,\"type\":\"i/o\",\"name\":"
		"\"fake-mmio\"}],\"I/O\":[{\"base\":1296,\"size\":4,\"prio\":0,\"type\":\"i/o\","
		"\"name\":\"fake-port\"}]}");
	ck_return(&a, "{\"execute\":\"x-query-devices\"}",
		  "[{\"driver\":\"fake-serial\",\"id\":\"com1\",\"bus\":\"isa\",\"properties\":"
		  "{\"iobase\":1016,\"fast\":true,\"chardev\":\"\",\"mode\":\"fancy\"}}]");
	ck_return(&a,
		  "{\"execute\":\"device-list-properties\",\"arguments\":{\"typename\":"
		  "\"fake-serial\"}}",
		  "[{\"name\":\"iobase\",\"type\":\"uint16\",\"description\":\"first port\","
		  "\"default-value\":\"0x3f8\"},"
		  "{\"name\":\"fast\",\"type\":\"bool\",\"description\":\"be quick\"},"
		  "{\"name\":\"chardev\",\"type\":\"str\",\"description\":\"backend\"},"
		  "{\"name\":\"mode\",\"type\":\"str\",\"description\":\"how\","
		  "\"default-value\":\"plain\"}]");
	fake.vm.state = RUN_SHUTDOWN;
	ck_error(&a, "{\"execute\":\"cont\"}", "GenericError",
		 "the guest cannot go on; system_reset starts it anew");

	/* query-commands names what is in the table and nothing else. */
	j = ask(&a, "{\"execute\":\"query-commands\"}");
	for (const struct mon_cmd *c = mon_cmds; c->run; c++) {
		json_t *x, *name = c->qmp ? json_pack("{s:s}", "name", c->qmp) : NULL;
		size_t i, found = 0;

		json_array_foreach(json_object_get(j, "return"), i, x) found +=
			name && json_equal(x, name);
		ck_assert_uint_eq(found, name ? 1 : 0);
		json_decref(name);
	}
	json_decref(j);
}
END_TEST

START_TEST(memory_to_a_file)
{
	char name[] = "/tmp/test_monitor.XXXXXX", text[256], back[3000] = { 0 };
	int fd = mkstemp(name);

	ck_assert_int_ge(fd, 0);
	open_qmp(&a);
	for (unsigned i = 0; i < 3000; i++)
		fake.vm.m.mem.ram[0x1f00 + i] = (uint8_t)(i * 7);
	snprintf(text, sizeof(text),
		 "{\"execute\":\"pmemsave\",\"arguments\":{\"val\":7936,\"size\":3000,"
		 "\"filename\":\"%s\"}}",
		 name);
	ck_return(&a, text, "{}");
	ck_assert_int_eq(pread(fd, back, sizeof(back), 0), 3000);
	ck_assert_mem_eq(back, fake.vm.m.mem.ram + 0x1f00, 3000);

	/* A bad address leaves the file as it is. */
	snprintf(text, sizeof(text),
		 "{\"execute\":\"memsave\",\"arguments\":{\"val\":2097000,\"size\":1000,"
		 "\"filename\":\"%s\"}}",
		 name);
	ck_error(&a, text, "GenericError",
		 "Invalid addr 0x00000000001fff68/size 1000 specified; nothing can be read at "
		 "0x0000000000200000");
	ck_assert_int_eq(pread(fd, back, sizeof(back), 0), 3000);

	/* By linear address, of the text form, across the size of a chunk. */
	snprintf(text, sizeof(text), "memsave 0x1000 0x100001 %s", name);
	ck_assert_str_eq(hmp(text), "");
	ck_assert_int_eq(lseek(fd, 0, SEEK_END), 0x100001);
	ck_assert_int_eq(pread(fd, back, 256, 0xf00), 256);
	ck_assert_mem_eq(back, fake.vm.m.mem.ram + 0x1f00, 256);
	snprintf(text, sizeof(text), "pmemsave 0 0 \"%s\"", name);
	ck_assert_str_eq(hmp(text), "");
	ck_assert_int_eq(lseek(fd, 0, SEEK_END), 0);
	close(fd);
	unlink(name);
}
END_TEST

/* --- the table --- */

START_TEST(table_is_sound)
{
	for (const struct mon_cmd *c = mon_cmds; c->run; c++) {
		bool optional = false;

		ck_assert(c->qmp || c->text);
		ck_assert_ptr_nonnull(c->help);
		ck_assert(!c->alias || c->text);
		ck_assert_ptr_null(c->args[MON_ARGS_MAX].name);
		for (const struct mon_arg *arg = c->args; arg->name; arg++) {
			/* By position, so a missing one must be the last; flags and formats show.
			 */
			bool shows = arg->type == MON_FLAG || arg->type == MON_FMT;

			ck_assert_msg(!optional || arg->optional, "%s %s", c->text, arg->name);
			ck_assert(!shows || arg->optional);
			ck_assert(arg->type != MON_ARRAY || !c->text);
			ck_assert(arg->type != MON_REST || !arg[1].name);
			optional |= arg->optional && !shows;
		}
		for (const struct mon_cmd *d = mon_cmds; d < c; d++) {
			ck_assert(!c->qmp || !d->qmp || strcmp(c->qmp, d->qmp));
			ck_assert(!c->text || !d->text || strcmp(c->text, d->text));
			ck_assert(!c->alias || !d->alias || strcmp(c->alias, d->alias));
			ck_assert(!c->alias || !d->text || strcmp(c->alias, d->text));
		}
	}
}
END_TEST

/* One row of the list in docs/monitor.md. */
static void list_row(const struct mon_cmd *c, char *row, size_t len)
{
	char text[100] = "";

	if (c->text)
		snprintf(text, sizeof(text), "`%s`%s%s%s", c->text, c->alias ? ", `" : "",
			 c->alias ? c->alias : "", c->alias ? "`" : "");
	snprintf(row, len, "| %s | %s%s%s | %s |\n", text, c->qmp ? "`" : "", c->qmp ? c->qmp : "",
		 c->qmp ? "`" : "", c->help);
}

/* The list in the documentation is the table's. Its lines can be pasted from what this prints. */
START_TEST(documentation_lists_the_table)
{
	static char doc[1 << 16];
	FILE *f = fopen("docs/monitor.md", "r");
	size_t rows = 0, found = 0;
	char row[400];

	ck_assert_msg(f != NULL, "docs/monitor.md: %s (run from the top directory)",
		      strerror(errno));
	doc[fread(doc, 1, sizeof(doc) - 1, f)] = '\0';
	fclose(f);
	for (const struct mon_cmd *c = mon_cmds; c->run; c++) {
		list_row(c, row, sizeof(row));
		rows++;
		if (strstr(doc, row))
			found++;
		else
			fputs(row, stderr);
	}
	ck_assert_uint_eq(found, rows);
}
END_TEST

/* --- text commands --- */

/* [line, output] */
static const char *const texts[][2] = {
	{ "", "" },
	{ "  ", "" },
	{ "info status", "VM status: running\n" },
	{ "info version", "posada 0.1.0\n" },
	{ "info kvm", "kvm support: enabled\n" },
	{ "info uuid", "00000000-0000-0000-0000-000000000000\n" },
	{ "info chardev",
	  "serial0: filename=stdio\nqmp0: filename=unix:/tmp/qmp.sock,server=on\n" },
	{ "info memory_size_summary", "base-memory: 2097152\nplugged-memory: 0\n" },
	{ "info mtree", "address-space: memory\n"
			"  0000000000000000-00000000001fffff (prio 0, ram): ram\n"
			"  00000000fe000000-00000000fe000fff (prio 0, i/o): fake-mmio\n"
			"\n"
			"address-space: I/O\n"
			"  0000000000000510-0000000000000513 (prio 0, i/o): fake-port\n"
			"\n" },
	{ "info qtree", "bus: isa\n"
			"  dev: fake-serial, id \"com1\"\n"
			"    iobase = 1016 (0x3f8)\n"
			"    fast = true\n"
			"    chardev = \"\"\n"
			"    mode = \"fancy\"\n" },
	{ "info exits", "CPU #0: 0 exits\nCPU #1: 10 exits\n"
			"  IO                              7\n"
			"  HLT                             3\n" },
	{ "info registers", "CPU#0\nRAX=0000000000000000\n" },
	{ "info registers 1", "CPU#1\nRAX=1122334455667788\n" },
	{ "info registers -a", "CPU#0\nRAX=0000000000000000\n\nCPU#1\nRAX=1122334455667788\n" },
	{ "info assist", "not in use: the host's KVM runs the guest in hardware\n" },
	{ "help quit", "quit|q -- end the virtual machine at once\n" },
	{ "help  quit  ", "quit|q -- end the virtual machine at once\n" },
	{ "? q", "quit|q -- end the virtual machine at once\n" },
	{ "help info status", "info status -- whether the guest runs\n" },
	{ "help xp", "xp [/FMT] addr -- show memory at a physical address\n" },
	{ "help i", "i [/FMT] port -- read a port of a device outside of KVM\n" },
	{ "gva2gpa 0x1234", "gpa: 0x1234\n" },
	{ "stop", "" },
	{ "stop now", "Error: 'now' is more than the command takes\nUsage: stop\n" },
	{ "qit", "unknown command: 'qit'\ndid you mean 'quit'?\n" },
	{ "info staus", "unknown command: 'info staus'\ndid you mean 'info status'?\n" },
	{ "help memsvae", "Error: unknown command: 'memsvae'\ndid you mean 'memsave'?\n" },
	{ "zzzzzzzzzz", "unknown command: 'zzzzzzzzzz'\n'help' lists the commands\n" },
	{ "memsave 0",
	  "Error: parameter 'size' is missing\nUsage: memsave val size filename [cpu-index]\n" },
	{ "memsave 0 1 f 2", "Error: Parameter 'cpu-index' expects a CPU number\n"
			     "this machine has CPUs 0 to 1\n" },
	{ "memsave 0 1 \"f", "Error: the string has no closing '\"'\n"
			     "Usage: memsave val size filename [cpu-index]\n" },
	{ "cpu 2", "Error: Parameter 'cpu-index' expects a CPU number\n"
		   "this machine has CPUs 0 to 1\n" },
	/* expressions */
	{ "p 10+4*2", "18\n" },
	{ "print /x 10+4*2", "0x12\n" },
	{ "p/x -1", "0xffffffffffffffff\n" },
	{ "p /d -10", "-10\n" },
	{ "p /u -10", "18446744073709551606\n" },
	{ "p /o 8", "010\n" },
	{ "p /c 65", "'A'\n" },
	{ "p ( 1 + 2 ) * 3 ", "9\n" },
	{ "p 1 2", "Error: expression '1 2': an operator is missing at '2'\n"
		   "Usage: print|p [/FMT] expr\n" },
	{ "o 0x510 (1 + 2)*2 + 1", "" },
	{ "p (1 + 2)*3", "9\n" },
	{ "p 1<<4|0x81&0xf^2", "19\n" },
	{ "p 7-2-1", "4\n" },
	{ "p 17%5/2", "1\n" },
	{ "p ~0>>60", "15\n" },
	{ "p 1<<64", "0\n" },
	{ "p 'a'", "97\n" },
	{ "p /x $rsp+8", "0x8008\n" },
	{ "p 010", "8\n" },
	{ "p 1/0", "Error: expression '1/0': division by zero at its end\n"
		   "Usage: print|p [/FMT] expr\n" },
	{ "p 1+", "Error: expression '1+': a number or a $register is missing at its end\n"
		  "Usage: print|p [/FMT] expr\n" },
	{ "p 1x", "Error: expression '1x': not a digit at 'x'\nUsage: print|p [/FMT] expr\n" },
	{ "p (1", "Error: expression '(1': ')' is missing at its end\n"
		  "Usage: print|p [/FMT] expr\n" },
	{ "p 99999999999999999999",
	  "Error: expression '99999999999999999999': a number beyond 64 bits at "
	  "'99999999999999999999'\nUsage: print|p [/FMT] expr\n" },
	{ "p $rfalgs", "Error: unknown register '$rfalgs'\ndid you mean 'rflags'?\n"
		       "Usage: print|p [/FMT] expr\n" },
	{ "p /z 1", "Error: '/z': 'z' is not a format or a size\n"
		    "formats: x d u o c i; sizes: b h w g (1 2 4 8 bytes)\n" },
	/* memory: 0x100.. holds f0 f1 f2 ... */
	{ "xp 0x100", "0000000000000100: 0xf3f2f1f0\n" },
	{ "xp /3xw 0x100", "0000000000000100: 0xf3f2f1f0 0xf7f6f5f4 0xfbfaf9f8\n" },
	{ "x/2xg 0x100", "0000000000000100: 0xf7f6f5f4f3f2f1f0 0xfffefdfcfbfaf9f8\n" },
	{ "x /9xb 0x100", "0000000000000100: 0xf0 0xf1 0xf2 0xf3 0xf4 0xf5 0xf6 0xf7\n"
			  "0000000000000108: 0xf8\n" },
	{ "x /2dh 0x100", "0000000000000100:  -3600  -3086\n" },
	{ "x /2ub 0x108", "0000000000000108: 248 249\n" },
	{ "x /2oh 0x100", "0000000000000100: 0170760 0171762\n" },
	{ "x /4c 0x200", "0000000000000200: 'H' '\\'' '\\x0a' '\\\\'\n" },
	{ "xp /2xw 0x1ffffc", "00000000001ffffc: 0x00000000 Cannot access memory\n" },
	{ "x 0x70000000", "0000000070000000: Cannot access memory\n" },
	{ "x /0x 0", "Error: '/0x': the count must be 1 to 65536\n" },
	{ "x /65536xg 0", "Error: at most 65536 bytes or 4096 instructions can be shown at a time\n"
			  "memsave and pmemsave write any amount to a file\n" },
	/* ports */
	{ "o /w 0x510 0x12345678", "" },
	{ "i 0x510", "portb[0x0510] = 0x00\n" },
	{ "i /b 0x9999", "portb[0x9999] = 0xff (no device in this process answers there)\n" },
	{ "o 0x9999 1", "Error: no device in this process answers at port 0x9999\n" },
	{ "o 0x510 256", "Error: value 0x100 does not fit in 1 bytes\n" },
	{ "o 0x510 -129", "Error: value 0xffffffffffffff7f does not fit in 1 bytes\n" },
	{ "o 0x510 -128", "" },
	{ "i /g 0x510", "Error: a port takes one value of 1, 2 or 4 bytes (/b /h /w)\n" },
	{ "i 0x10000", "Error: port 0x10000 is beyond 0xffff\n" },
};

START_TEST(every_text)
{
	struct mon m = { .vm = &fake.vm };
	char *out;

	for (unsigned i = 0; i < 16; i++)
		fake.vm.m.mem.ram[0x100 + i] = (uint8_t)(0xf0 + i);
	memcpy(fake.vm.m.mem.ram + 0x200, "H'\n\\", 4);
	out = mon_text_run(&m, texts[_i][0]);
	ck_assert_ptr_nonnull(out);
	ck_assert_str_eq(out, texts[_i][1]);
	free(out);
}
END_TEST

static void ck_text(struct mon *m, const char *line, const char *want)
{
	char *out = mon_text_run(m, line);

	ck_assert_str_eq(out, want);
	free(out);
}

START_TEST(text_state)
{
	struct mon m = { .vm = &fake.vm };
	char want[100];

	ck_text(&m, "p /x $rax", "0x0\n");
	ck_text(&m, "cpu 1", "");
	ck_text(&m, "p /x $rax", "0x1122334455667788\n");
	ck_text(&m, "p /x $eax", "0x55667788\n");
	ck_text(&m, "info registers", "CPU#1\nRAX=1122334455667788\n");
	snprintf(want, sizeof(want), "  CPU #0: thread_id=%d\n* CPU #1: thread_id=%d\n",
		 (int)getpid(), (int)getpid());
	ck_text(&m, "info cpus", want);
	/* The last format stays. */
	ck_text(&m, "xp /1xb 0", "0000000000000000: 0x00\n");
	ck_text(&m, "xp 0", "0000000000000000: 0x00\n");
	ck_text(&m, "xp /2 0", "0000000000000000: 0x00 0x00\n");
	/* Real mode: $pc is where the instruction lies, $rip the offset. */
	fake.sregs[1].cs.base = 0xf0000;
	fake.regs[1].rip = 0xfff0;
	ck_text(&m, "p /x $pc", "0xffff0\n");
	ck_text(&m, "p /x $rip", "0xfff0\n");
	fake.regs_fail = true;
	ck_text(&m, "p $rip",
		"Error: KVM does not tell the registers of CPU 1: Input/output error\n"
		"Usage: print|p [/FMT] expr\n");
	fake.regs_fail = false;
	ck_text(&m, "info name", "");
	fake.cfg.name = "box";
	ck_text(&m, "info name", "box\n");
	fake.vm.software_kvm = true;
	ck_text(&m, "info assist", "not in use (accel kvm,assist=off)\n");
	fake.vm.assist = (struct assist *)&fake;
	ck_text(&m, "info assist", "int3 4\nsystem calls 2\n");
	ck_text(&m, "stop", "");
	ck_text(&m, "info status", "VM status: paused\n");
	fake.vm.state = RUN_PRELAUNCH;
	ck_text(&m, "info status", "VM status: paused (prelaunch)\n");
	ck_text(&m, "c", "");
	ck_assert_int_eq(fake.vm.state, RUN_RUNNING);
	ck_text(&m, "q", "");
	ck_assert_uint_eq(fake.quits, 1);
}
END_TEST

START_TEST(instructions)
{
	struct mon m = { .vm = &fake.vm };
	char *out;

	memcpy(fake.vm.m.mem.ram + 0x1000, "\x90\xb8\x01\x00\x00\x00\xf4", 7);
	out = mon_text_run(&m, "x /3i $pc");
	ck_has(out, "0x00001000:  90 ");
	ck_has(out, "0x00001001:  b8 01 00 00 00 ");
	ck_has(out, "0x00001006:  f4 ");
	free(out);
	out = mon_text_run(&m, "xp/2i 0x1fffff");
	ck_has(out, "0x001fffff:  00 ");
	ck_has(out, "0x00200000: Cannot access memory\n");
	free(out);
}
END_TEST

START_TEST(help_shows_every_command)
{
	struct mon m = { .vm = &fake.vm };
	char *all = mon_text_run(&m, "help"), *info = mon_text_run(&m, "info");
	char *info2 = mon_text_run(&m, "help info");

	ck_assert_str_eq(info, info2);
	for (const struct mon_cmd *c = mon_cmds; c->run; c++) {
		bool is_info = c->text && !strncmp(c->text, "info ", 5);

		ck_assert(!c->text || strstr(is_info ? info : all, c->help));
	}
	free(all);
	free(info);
	free(info2);
}
END_TEST

START_TEST(human_monitor_command)
{
	open_qmp(&a);
	ck_assert_str_eq(hmp("info status"), "VM status: running\r\n");
	ck_assert_str_eq(hmp("nosuch\xc3\xa9 1"),
			 "unknown command: 'nosuch\xc3\xa9'\r\n'help' lists the commands\r\n");
	ck_return(&a,
		  "{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":"
		  "\"p /x $rax\",\"cpu-index\":1}}",
		  "\"0x1122334455667788\\r\\n\"");
}
END_TEST

/* --- the line editor --- */

static void open_text(struct chardev *c)
{
	struct err e;

	ck_assert_int_eq(monitor_add_text(&fake.vm, c, &e), 0);
	fake_open(c);
	ck_has(c->out, "posada 0.1.0 monitor - type 'help' for more information\r\n");
	ck_has(c->out, "(posada) ");
	forget_output(c);
}

START_TEST(typing)
{
	open_text(&a);
	type(&a, "info status\n");
	ck_assert_str_eq(said(&a), "info status\r\nVM status: running\r\n(posada) ");
	/* a raw terminal's Enter, and what some clients send; an empty line */
	type(&a, "stop\r");
	ck_assert_str_eq(said(&a), "stop\r\n(posada) ");
	type(&a, "info status\r\n\n");
	ck_assert_str_eq(said(&a), "info status\r\nVM status: paused\r\n(posada) \r\n(posada) ");
	/* The focus comes back: prompt and what has been typed, no greeting. */
	type(&a, "inf");
	forget_output(&a);
	fake_open(&a);
	ck_assert_str_eq(said(&a), "\r\n\r(posada) inf\033[K");
	/* A new peer gets the greeting and an empty line. */
	fake_close(&a);
	fake_open(&a);
	ck_assert_int_eq(strncmp(said(&a), "posada 0.1.0 monitor", 20), 0);
	type(&a, "p 1\n");
	ck_assert_str_eq(said(&a), "p 1\r\n1\r\n(posada) ");
}
END_TEST

START_TEST(shared_with_the_console)
{
	struct err e;

	a.console = true;
	ck_assert_int_eq(monitor_add_text(&fake.vm, &a, &e), 0);
	fake_open(&a);
	ck_assert_int_eq(strncmp(said(&a), "\r\nposada 0.1.0 monitor", 22), 0);
}
END_TEST

/* [keys, the command that runs: its output] */
static const char *const keys[][2] = {
	{ "p 12\177\n", "\r\n1\r\n" },
	{ "p 12\b3\n", "\r\n13\r\n" },
	{ "garbage\025p 5\n", "\r\n5\r\n" },
	{ "p garbage\0276\n", "\r\n6\r\n" },
	{ "garbage\003p 7\n", "\r\n7\r\n" },
	{ "p 19\033[D8\n", "\r\n189\r\n" },
	{ "p 19\002\002\0062\n", "\r\n129\r\n" },
	{ "1\001p \005 \n", "\r\n1\r\n" },
	{ " 1\033[Hp\n", "\r\n1\r\n" },
	{ "p 9x\033[D\033[3~8\n", "\r\n98\r\n" },
	{ "p 123\002\002\013\n", "\r\n1\r\n" },
	{ "p 1\nfoo\033[A\033[A\n", "\r\n1\r\n" },
	{ "p 1\np 2\n\033[A\033[A\033[B\n", "\r\n2\r\n" },
	{ "p 1\np 2\n\020\020\016\0163\177p 4\n", "\r\n4\r\n" },
	{ "p 9\xc3\xa9\177\n", "\r\n9\r\n" },
	{ "in\tuui\t\n", "\r\n12000000-0000-0000-0000-000000000000\r\n" },
	{ "prin\t3\n", "\r\n3\r\n" },
	{ "\033[A\033[B\033[C\033[D\033[F\033[3~\177\025\027\013\tp 2\n", "\r\n2\r\n" },
	{ "\033[999999999999999999999~\033Z\033[1;5Cp 2\n", "\r\n2\r\n" },
};

START_TEST(editing)
{
	char want[200];

	fake.cfg.uuid[0] = 0x12;
	open_text(&a);
	ck_assert_uint_eq(fake_input(&a, keys[_i][0], strlen(keys[_i][0]), 1), strlen(keys[_i][0]));
	snprintf(want, sizeof(want), "%s(posada) ", keys[_i][1]);
	ck_assert_msg(a.len > strlen(want) && !strcmp(a.out + a.len - strlen(want), want),
		      "<%s> does not end in <%s>", a.out, want);
}
END_TEST

START_TEST(completion_lists)
{
	open_text(&a);
	type(&a, "info m\t");
	ck_assert_str_eq(said(&a), "info m\r\ninfo memory_size_summary  info mtree  info mice  \r\n"
				   "\r(posada) info m\033[K");
	type(&a, "t\t");
	ck_assert_str_eq(said(&a), "tree ");
	type(&a, "\025sys\t");
	ck_has(said(&a), "system_");
	type(&a, "\t");
	ck_has(said(&a), "system_reset  system_powerdown  ");
	type(&a, "\025nosuch\t");
	ck_assert_str_eq(said(&a), "\r(posada) \033[Knosuch");
}
END_TEST

START_TEST(long_lines_and_much_history)
{
	char line[5000];

	open_text(&a);
	memset(line, '1', sizeof(line));
	line[4999] = '\0';
	type(&a, "p ");
	type(&a, line); /* what does not fit is not taken */
	type(&a, "\n");
	ck_has(said(&a), "a number beyond 64 bits");
	for (int i = 0; i < 100; i++) {
		snprintf(line, sizeof(line), "p %d\n", i);
		type(&a, line);
	}
	for (int i = 0; i < 100; i++)
		type(&a, "\020");
	forget_output(&a);
	type(&a, "\n");
	ck_assert_str_eq(said(&a), "\r\n68\r\n(posada) "); /* the oldest of 32 */
}
END_TEST

START_TEST(text_peer_that_does_not_read)
{
	char line[64];
	int n = 0;

	open_text(&a);
	a.room = 0;
	while (a.client->can_read(a.ctx) && n < 10000) {
		snprintf(line, sizeof(line), "xp /4000xb 0\np %d\n", n++);
		fake_input(&a, line, strlen(line), 4096);
	}
	ck_assert_int_lt(n, 20);
	fake_room(&a, ROOM);
	ck_assert_uint_gt(a.client->can_read(a.ctx), 0);
	snprintf(line, sizeof(line), "p %d\r\n%d\r\n(posada) ", n - 1, n - 1);
	ck_has(a.out, line);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("monitor");
	TCase *t = tcase_create("monitor");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, greeting_and_negotiation);
	tcase_add_loop_test(t, every_error_and_synchronised_again, 0,
			    sizeof(errors) / sizeof(errors[0]));
	tcase_add_test(t, split_at_any_byte);
	tcase_add_test(t, huge_and_deep_values);
	tcase_add_test(t, events);
	tcase_add_loop_test(t, the_end, 0, 4);
	tcase_add_test(t, quit_is_told_before_the_end);
	tcase_add_test(t, a_new_peer_starts_anew);
	tcase_add_test(t, a_peer_that_does_not_read);
	tcase_add_test(t, events_do_not_pile_up);
	tcase_add_test(t, queries);
	tcase_add_test(t, memory_to_a_file);
	tcase_add_test(t, table_is_sound);
	tcase_add_test(t, documentation_lists_the_table);
	tcase_add_loop_test(t, every_text, 0, sizeof(texts) / sizeof(texts[0]));
	tcase_add_test(t, text_state);
	tcase_add_test(t, instructions);
	tcase_add_test(t, help_shows_every_command);
	tcase_add_test(t, human_monitor_command);
	tcase_add_test(t, typing);
	tcase_add_test(t, shared_with_the_console);
	tcase_add_loop_test(t, editing, 0, sizeof(keys) / sizeof(keys[0]));
	tcase_add_test(t, completion_lists);
	tcase_add_test(t, long_lines_and_much_history);
	tcase_add_test(t, text_peer_that_does_not_read);
	suite_add_tcase(s, t);
	return run_suite(s);
}
