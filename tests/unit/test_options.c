/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Option strings, sizes, properties, suggestions, the command line and -cpu. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"
#include "config.h"
#include "cpuid.h"
#include "err.h"
#include "opts.h"
#include "props.h"

static struct err err;

START_TEST(options_split)
{
	struct opts o;

	ck_assert_int_eq(opts_parse(&o, "socket,path=/a,,b,server,id=x=y", NULL, &err), 0);
	ck_assert_str_eq(o.head, "socket");
	ck_assert_uint_eq(o.n, 3);
	ck_assert_str_eq(opts_get(&o, "path"), "/a,b");
	ck_assert_str_eq(opts_get(&o, "server"), "on");
	ck_assert_str_eq(opts_get(&o, "id"), "x=y");
	ck_assert_ptr_null(opts_get(&o, "socket"));
	opts_free(&o);
	ck_assert_int_eq(opts_parse(&o, "a=1,a=2", NULL, &err), 0);
	ck_assert_ptr_null(o.head);
	ck_assert_str_eq(opts_get(&o, "a"), "2");
	opts_free(&o);
	ck_assert_int_eq(opts_parse(&o, "512,x=1", "size", &err), 0);
	ck_assert_str_eq(opts_get(&o, "size"), "512");
	opts_free(&o);
	ck_assert_int_eq(opts_parse(&o, "a=", NULL, &err), 0);
	ck_assert_str_eq(opts_get(&o, "a"), "");
	opts_free(&o);
}
END_TEST

START_TEST(broken_options)
{
	static const char *const bad[] = { "a,", ",a", "a,,,b,", "=1", "a,=1", "a=1,=2" };
	struct opts o;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(opts_parse(&o, bad[i], NULL, &err) == -EINVAL, "'%s'", bad[i]);
		ck_assert_int_eq(err.status, ERR_USAGE);
		ck_assert_ptr_null(o.opt);
	}
}
END_TEST

START_TEST(unused_key_is_named)
{
	static const char *const known[] = { "server", "path" };
	struct opts o;

	opts_parse(&o, "path=x,sever=on", NULL, &err);
	opts_get(&o, "path");
	ck_assert_int_eq(opts_check_used(&o, known, 2, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.msg, "'sever'"));
	ck_assert_str_eq(err.hint, "did you mean 'server'?");
	opts_free(&o);
}
END_TEST

START_TEST(sizes)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 },
		{ "256", 256ull << 20 },
		{ "1k", 1024 },
		{ "512M", 512ull << 20 },
		{ "1.5G", 3ull << 29 },
		{ "2g", 2ull << 30 },
		{ "64MiB", 64ull << 20 },
		{ "1GB", 1ull << 30 },
		{ "100B", 100 },
		{ "0.5K", 512 },
		{ "15E", 15ull << 60 },
		{ "1P", 1ull << 50 },
	};
	static const char *const bad[] = {
		"",    "x",   "5x",   "-1",    "+1",  " 1", "1 ",  "1.",
		".5G", "1MM", "0x10", "1.2.3", "1KK", "K",  "1iB", "1BB"
	};
	uint64_t n;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ck_assert_msg(!parse_size(good[i].text, 1 << 20, &n, &err), "%s", good[i].text);
		ck_assert_msg(n == good[i].bytes, "%s: %llu", good[i].text, (unsigned long long)n);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(parse_size(bad[i], 1 << 20, &n, &err) == -EINVAL, "'%s'", bad[i]);
	ck_assert_int_eq(parse_size("16E", 1, &n, &err), -ERANGE);
	ck_assert_int_eq(parse_size("99999999999999999999", 1, &n, &err), -ERANGE);
	ck_assert_int_eq(parse_size("18446744073709551615", 1 << 20, &n, &err), -ERANGE);
}
END_TEST

START_TEST(numbers_and_switches)
{
	uint64_t n;
	bool b;

	ck_assert_int_eq(parse_u64("0x1f", &n, &err), 0);
	ck_assert_uint_eq(n, 31);
	ck_assert_int_eq(parse_u64("-1", &n, &err), -EINVAL);
	ck_assert_int_eq(parse_u64("", &n, &err), -EINVAL);
	ck_assert_int_eq(parse_u64("1z", &n, &err), -EINVAL);
	ck_assert_int_eq(parse_u64("18446744073709551616", &n, &err), -ERANGE);
	ck_assert_int_eq(parse_bool("yes", &b, &err), 0);
	ck_assert(b);
	ck_assert_int_eq(parse_bool("off", &b, &err), 0);
	ck_assert(!b);
	ck_assert_int_eq(parse_bool("maybe", &b, &err), -EINVAL);
}
END_TEST

struct thing {
	bool flag;
	uint8_t small;
	uint16_t port;
	uint64_t size;
	char *text;
	int colour;
};

static const char *const colours[] = { "red", "green", NULL };
static const struct prop thing_props[] = {
	PROP(struct thing, flag, PROP_BOOL, "flag", "on", "a switch"),
	PROP(struct thing, small, PROP_U8, "small", NULL, "a byte"),
	PROP_RANGE(struct thing, port, PROP_U16, "port", "0x3f8", 1, 0xfff0, "a port"),
	PROP(struct thing, size, PROP_SIZE, "size", "1K", "a size"),
	PROP(struct thing, text, PROP_STR, "text", NULL, "words"),
	PROP_CHOICE(struct thing, colour, "colour", "green", colours, "a colour"),
	PROP_END
};

START_TEST(properties)
{
	struct thing t = { 0 };
	struct opts o;
	char *help = NULL;
	size_t len;
	FILE *f;

	props_defaults(thing_props, &t);
	ck_assert(t.flag && t.port == 0x3f8 && t.size == 1024 && t.colour == 1 && !t.text);
	opts_parse(&o, "flag=off,small=255,size=2M,text=a,text=b,colour=red", NULL, &err);
	ck_assert_int_eq(props_apply(thing_props, &t, &o, &err), 0);
	ck_assert(!t.flag && t.small == 255 && t.size == 2 << 20 && t.colour == 0);
	ck_assert_str_eq(t.text, "b");
	opts_free(&o);

	ck_assert_int_eq(props_set(thing_props, &t, "small", "256", &err), -ERANGE);
	ck_assert_ptr_nonnull(strstr(err.msg, "small=256"));
	ck_assert_uint_eq(t.small, 255);
	ck_assert_int_eq(props_set(thing_props, &t, "port", "0", &err), -ERANGE);
	ck_assert_int_eq(props_set(thing_props, &t, "colour", "gren", &err), -EINVAL);
	ck_assert_str_eq(err.hint, "did you mean 'green'?");
	ck_assert_int_eq(props_set(thing_props, &t, "tekst", "x", &err), -EINVAL);
	ck_assert_str_eq(err.hint, "did you mean 'text'?");

	f = open_memstream(&help, &len);
	props_help(thing_props, f);
	fclose(f);
	ck_assert_ptr_nonnull(strstr(help, "colour=red|green"));
	ck_assert_ptr_nonnull(strstr(help, "(default: 0x3f8)"));
	free(help);
	props_free(thing_props, &t);
	ck_assert_ptr_null(t.text);
}
END_TEST

START_TEST(suggestions)
{
	static const char *const names[] = { "kernel", "initrd", "nographic", NULL, "serial" };

	ck_assert_str_eq(suggest("kernal", names, 5), "kernel");
	ck_assert_str_eq(suggest("intird", names, 5), "initrd"); /* two letters changed places */
	ck_assert_str_eq(suggest("ser", names, 5), "serial");
	ck_assert_ptr_null(suggest("zzz", names, 5));
	ck_assert_ptr_null(suggest("", names, 5));
	ck_assert_ptr_null(
		suggest("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", names, 5));
}
END_TEST

START_TEST(errors)
{
	struct err e;

	ck_assert_int_eq(err_set(&e, ERR_INPUT, ENOENT, "no %s", "file"), -ENOENT);
	err_prefix(&e, "-kernel %s: ", "x");
	ck_assert_str_eq(e.msg, "-kernel x: no file");
	ck_assert_str_eq(e.hint, "");
	ck_assert_int_eq(err_set(NULL, ERR_HOST, EIO, "nobody listens"), -EIO);
}
END_TEST

/* --- the command line --------------------------------------------------------- */

static struct config cfg;

/* Splits text at blanks and parses it. */
static int parse(const char *text)
{
	static char buf[1024];
	char *argv[64] = { "posada" };
	int argc = 1;

	snprintf(buf, sizeof(buf), "%s", text);
	for (char *p = strtok(buf, " "); p; p = strtok(NULL, " "))
		argv[argc++] = p;
	memset(&err, 0, sizeof(err));
	cmdline_free(&cfg);
	return cmdline_parse(argc, argv, &cfg, &err);
}

START_TEST(command_line)
{
	ck_assert_int_eq(parse("-m 256 --smp 2 -kernel k -initrd i -append a=b,c -nographic "
			       "-serial stdio -serial null -device a,b=c -no-reboot -S -cpu "
			       "host,-x2apic,+nx "
			       "-uuid 01234567-89ab-cdef-0123-456789abcdef -name web,guest=db "
			       "-machine pc,memory=memfd "
			       "-accel kvm,assist=off -rtc base=localtime,clock=host,driftfix=none "
			       "-enable-kvm"),
			 CMDLINE_RUN);
	ck_assert_uint_eq(cfg.ram_size, 256 << 20);
	ck_assert_uint_eq(cfg.n_cpus, 2);
	ck_assert_str_eq(cfg.kernel, "k");
	ck_assert_str_eq(cfg.append, "a=b,c");
	ck_assert_uint_eq(cfg.serial.n, 2);
	ck_assert_str_eq(cfg.serial.s[1], "null");
	ck_assert_uint_eq(cfg.uuid[0], 0x01);
	ck_assert_uint_eq(cfg.uuid[15], 0xef);
	ck_assert_str_eq(cfg.name, "db");
	ck_assert_int_eq(cfg.machine_opts.memory, GMEM_MEMFD);
	ck_assert_int_eq(cfg.accel.assist, ASSIST_OFF);
	ck_assert(cfg.nographic && cfg.no_reboot && cfg.start_paused && cfg.rtc.localtime);
	ck_assert_int_eq(parse("-smp cpus=4,sockets=1,cores=2,threads=2"), CMDLINE_RUN);
	ck_assert_uint_eq(cfg.n_cpus, 4);
	ck_assert_int_eq(parse("-smp sockets=2,cores=2"), CMDLINE_RUN);
	ck_assert_uint_eq(cfg.n_cpus, 4);
	ck_assert_int_eq(parse(""), CMDLINE_RUN);
	ck_assert_uint_eq(cfg.ram_size, RAM_DEFAULT);
	ck_assert_int_eq(cfg.accel.assist, ASSIST_AUTO);
}
END_TEST

START_TEST(bad_command_lines)
{
	static const struct {
		const char *text, *msg, *hint;
	} bad[] = {
		{ "-m 0", "-m 0: 0 is less than the 1 MiB", "256" },
		{ "-m 1P", "more than the supported 4 TiB", "" },
		{ "-m 5x", "'5x' is not a size", "512M" },
		{ "-m -5", "'-5' is not a size", "" },
		{ "-m size=1G,maxmem=2G", "unknown key 'maxmem'", "" },
		{ "-smp 0", "cpus=0 is not between 1 and 255", "" },
		{ "-smp 10000", "not between 1 and 255", "" },
		{ "-smp 2,maxcpus=4", "maxcpus=4", "" },
		{ "-smp cpus=3,cores=2", "sockets * cores * threads is 2, but cpus is 3", "" },
		{ "-smp 2,corse=2", "unknown key 'corse'", "did you mean 'cores'?" },
		{ "-kernal x", "unknown option '-kernal'", "did you mean '-kernel'?" },
		{ "--nograhpic", "unknown option '--nograhpic'", "did you mean '-nographic'?" },
		{ "-hde x", "unknown option '-hde'", "" },
		{ "-kernel", "-kernel wants an argument", "-kernel FILE" },
		{ "-machine pd", "no machine 'pd'", "did you mean 'pc'?" },
		{ "-machine pc,memry=memfd", "no property 'memry'", "did you mean 'memory'?" },
		{ "-machine accel=tcg", "no accelerator 'tcg'", "" },
		{ "-accel tcg", "no accelerator 'tcg'", "KVM only" },
		{ "-accel kvm,assist=maybe", "assist=maybe: no such value 'maybe'", "auto on off" },
		{ "-cpu qemu64", "no CPU model 'qemu64'", "host" },
		{ "-cpu host,+popcn", "no CPU feature 'popcn'", "did you mean 'popcnt'?" },
		{ "-cpu host,avx=perhaps", "avx=perhaps", "" },
		{ "-cpu host,+avx=on", "write +X, -X or X=on|off", "" },
		{ "-uuid 1234", "'1234' is not a UUID", "" },
		{ "-uuid 01234567-89ab-cdef-0123-456789abcdeg", "is not a UUID", "" },
		{ "-uuid 0123456789ab-cdef-0123-456789abcdef-", "is not a UUID", "" },
		{ "-rtc base=yesterday", "base=yesterday is not a date", "2026" },
		{ "-rtc clock=vm", "clock=vm", "clock=host" },
		{ "-rtc driftfix=slew", "driftfix=slew", "leave it out" },
		{ "-rtc driftfix=x", "driftfix=x", "" },
		{ "-display gtk", "no display 'gtk'", "web" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(parse(bad[i].text) < 0, "accepted: %s", bad[i].text);
		ck_assert_msg(strstr(err.msg, bad[i].msg) != NULL, "%s: '%s'", bad[i].text,
			      err.msg);
		ck_assert_msg(strstr(err.hint, bad[i].hint) != NULL, "%s: hint '%s'", bad[i].text,
			      err.hint);
		ck_assert_int_eq(err.status, ERR_USAGE);
	}
}
END_TEST

START_TEST(rtc_dates)
{
	ck_assert_int_eq(parse("-rtc base=1970-01-02T00:00:00"), CMDLINE_RUN);
	ck_assert_int_lt(llabs((long long)cfg.rtc.offset_s + time(NULL) - 86400), 5);
	ck_assert_int_eq(parse("-rtc base=1970-01-03"), CMDLINE_RUN);
	ck_assert_int_lt(llabs((long long)cfg.rtc.offset_s + time(NULL) - 2 * 86400), 5);
}
END_TEST

/* --- CPUID ----------------------------------------------------------------------- */

static struct {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 e[8];
} table;

static void fill_table(void)
{
	memset(&table, 0, sizeof(table));
	table.head.nent = 6;
	table.e[0] = (struct kvm_cpuid_entry2){ .function = 1, .ebx = 0x12340800, .ecx = 1u << 23 };
	table.e[1] = (struct kvm_cpuid_entry2){ .function = 7, .flags = 1, .ebx = 1u << 20 };
	table.e[2] = (struct kvm_cpuid_entry2){ .function = 0xb, .index = 0, .flags = 1 };
	table.e[3] = (struct kvm_cpuid_entry2){ .function = 0xb, .index = 1, .flags = 1 };
	table.e[4] = (struct kvm_cpuid_entry2){ .function = 0x80000008, .eax = 0x3030 };
	table.e[5] = (struct kvm_cpuid_entry2){ .function = 0x8000001e };
}

START_TEST(cpuid_features)
{
	fill_table();
	ck_assert_int_eq(cpuid_apply(&table.head, NULL, &err), 0);
	ck_assert_int_eq(cpuid_apply(&table.head, "host,-popcnt,smap=off,+popcnt", &err), -ENOTSUP);
	fill_table();
	ck_assert_int_eq(cpuid_apply(&table.head, "host,-popcnt,smap=off,avx512_bf16=off", &err),
			 0);
	ck_assert_uint_eq(table.e[0].ecx, 0);
	ck_assert_uint_eq(table.e[1].ebx, 0);
	fill_table();
	ck_assert_int_eq(cpuid_apply(&table.head, "host,+popcnt", &err), 0);
	ck_assert_int_eq(cpuid_apply(&table.head, "host,+vmx", &err), -ENOTSUP);
	ck_assert_int_eq(err.status, ERR_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.msg, "'vmx'"));
}
END_TEST

START_TEST(cpuid_topology)
{
	fill_table();
	cpuid_set_topology(&table.head, 2, 3);
	ck_assert_uint_eq(table.e[0].ebx, 0x02030800);
	ck_assert_uint_eq(table.e[0].edx >> 28 & 1, 1);
	ck_assert_uint_eq(table.e[2].eax, 0);
	ck_assert_uint_eq(table.e[2].ebx, 1);
	ck_assert_uint_eq(table.e[2].ecx, 0x100);
	ck_assert_uint_eq(table.e[2].edx, 2);
	ck_assert_uint_eq(table.e[3].eax, 2);
	ck_assert_uint_eq(table.e[3].ebx, 3);
	ck_assert_uint_eq(table.e[3].ecx, 0x201);
	ck_assert_uint_eq(table.e[4].ecx, 0x2002);
	ck_assert_uint_eq(table.e[5].eax, 2);
	cpuid_set_topology(&table.head, 0, 1);
	ck_assert_uint_eq(table.e[0].edx >> 28 & 1, 0);
	ck_assert_uint_eq(table.e[0].ebx, 0x00010800);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("options");
	TCase *tc = tcase_create("all");

	tcase_add_test(tc, options_split);
	tcase_add_test(tc, broken_options);
	tcase_add_test(tc, unused_key_is_named);
	tcase_add_test(tc, sizes);
	tcase_add_test(tc, numbers_and_switches);
	tcase_add_test(tc, properties);
	tcase_add_test(tc, suggestions);
	tcase_add_test(tc, errors);
	tcase_add_test(tc, command_line);
	tcase_add_test(tc, bad_command_lines);
	tcase_add_test(tc, rtc_dates);
	tcase_add_test(tc, cpuid_features);
	tcase_add_test(tc, cpuid_topology);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
