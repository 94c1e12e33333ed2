/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first program of Posada's Linux guest: /init of the initramfs, process 1.
 *
 *	/init			say that user space runs, mount /proc, /sys and /dev, then power off
 *at once if the kernel's command line has posada.poweroff, and otherwise become /etc/rc /init
 *posada.poweroff	flush the console and power off; how /etc/rc ends
 *
 * The banner is what the boot benchmarks wait for, so nothing comes before it. On a KVM that
 *emulates the guest's kernel a page fault or a system call costs half a millisecond and the start
 *of a shell a third of a second: hence a program without a C library, of two pages, that makes five
 *system calls.
 */
#include <asm/unistd.h>
#include <linux/reboot.h>
#include <stddef.h>
#include <stdint.h>

#define STDOUT 1
#define O_RDONLY 0
#define O_WRONLY 1
#define CLOCK_BOOTTIME 7
#define TCSBRK 0x5409
#define F_OK 0

/* PM1a_CNT of a Posada machine; SLP_EN (bit 13) with sleep type 0 is S5. For a kernel without ACPI.
 */
#define ACPI_PM1A_CNT 0x604
#define ACPI_SLP_EN_HIGH 0x20

struct utsname {
	char sysname[65], nodename[65], release[65], version[65], machine[65], domainname[65];
};

struct sysinfo {
	long uptime;
	unsigned long loads[3], totalram, freeram, sharedram, bufferram, totalswap, freeswap;
	unsigned short procs, pad;
	unsigned long totalhigh, freehigh;
	unsigned int mem_unit;
};

struct timespec {
	long sec, nsec;
};

static long sys5(long nr, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return ret;
}

#define sys(nr, a, b, c, d) sys5(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0)

static char *put(char *p, const char *s)
{
	while (*s)
		*p++ = *s++;
	return p;
}

static char *put_num(char *p, unsigned long n, unsigned int width)
{
	char digits[20];
	unsigned int i = 0;

	do {
		digits[i++] = '0' + n % 10;
		n /= 10;
	} while (n || i < width);
	while (i)
		*p++ = digits[--i];
	return p;
}

static unsigned int count_cpus(void)
{
	uint64_t mask[16] = { 0 };
	unsigned int n = 0;

	sys(__NR_sched_getaffinity, 0, sizeof(mask), mask, 0);
	for (size_t i = 0; i < sizeof(mask) / sizeof(mask[0]); i++)
		for (; mask[i]; mask[i] &= mask[i] - 1)
			n++;
	return n;
}

static void banner(void)
{
	struct utsname name;
	struct sysinfo info;
	struct timespec up;
	char line[192], *p = line;
	unsigned int cpus = count_cpus();

	sys(__NR_uname, &name, 0, 0, 0);
	sys(__NR_sysinfo, &info, 0, 0, 0);
	sys(__NR_clock_gettime, CLOCK_BOOTTIME, &up, 0, 0);

	p = put(p, "Posada guest: Linux ");
	p = put(p, name.release);
	p = put(p, ", ");
	p = put_num(p, cpus, 1);
	p = put(p, cpus == 1 ? " CPU, " : " CPUs, ");
	p = put_num(p, info.totalram * info.mem_unit >> 20, 1);
	p = put(p, " MiB, up ");
	p = put_num(p, up.sec, 1);
	p = put(p, ".");
	p = put_num(p, up.nsec / 10000000, 2);
	p = put(p, " s\n");
	sys(__NR_write, STDOUT, line, p - line, 0);
}

static int same_word(const char *p, const char *word)
{
	while (*word && *p == *word)
		p++, word++;
	return !*word && (*p == ' ' || *p == '\n' || *p == 0);
}

/* Is word, on its own, on the kernel's command line? */
static int on_cmdline(const char *word)
{
	static char buf[4096];
	long fd = sys(__NR_open, "/proc/cmdline", O_RDONLY, 0, 0);
	long len = fd < 0 ? 0 : sys(__NR_read, fd, buf, sizeof(buf) - 1, 0);

	for (char *p = buf; p < buf + len;) {
		if (same_word(p, word))
			return 1;
		while (*p && *p != ' ')
			p++;
		while (*p == ' ')
			p++;
		if (!*p)
			break;
	}
	return 0;
}

static void power_off(void)
{
	sys(__NR_sync, 0, 0, 0, 0);
	sys(__NR_ioctl, STDOUT, TCSBRK, 1, 0); /* wait until the console has sent everything */
	if (sys(__NR_access, "/sys/firmware/acpi/tables", F_OK, 0, 0) < 0) {
		static const uint8_t s5[2] = { 0, ACPI_SLP_EN_HIGH };
		long fd = sys(__NR_open, "/dev/port", O_WRONLY, 0, 0);

		if (fd >= 0)
			sys(__NR_pwrite64, fd, s5, sizeof(s5), ACPI_PM1A_CNT);
	}
	sys(__NR_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_POWER_OFF, 0);
	for (;;)
		sys(__NR_pause, 0, 0, 0, 0);
}

static __attribute__((noreturn, used)) void start(long *stack)
{
	static char *const argv[] = { "sh", "/etc/rc", NULL };
	static char *const envp[] = { "PATH=/bin", "HOME=/root", "TERM=linux", NULL };

	/* The kernel hands process 1 the words it does not know, but never one with a dot. */
	if (stack[0] == 2 && same_word((const char *)stack[2], "posada.poweroff"))
		power_off();
	banner();
	sys(__NR_mount, "proc", "/proc", "proc", 0);
	sys(__NR_mount, "sysfs", "/sys", "sysfs", 0);
	sys(__NR_mount, "devtmpfs", "/dev", "devtmpfs", 0); /* fails where the kernel has done it */
	if (on_cmdline("posada.poweroff"))
		power_off();
	sys(__NR_execve, "/bin/busybox", argv, envp, 0);
	power_off();
	__builtin_unreachable();
}

__asm__(".globl _start\n"
	"_start:\n"
	"	mov %rsp, %rdi\n"
	"	and $-16, %rsp\n"
	"	call start\n");
