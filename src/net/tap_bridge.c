/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a tap needs around it: a bridge (SIOCBRADDIF of <linux/sockios.h>), a program that has the
 * right to add to one and hands the tap's descriptor over (SCM_RIGHTS, see unix(7) and the usage
 * of qemu-bridge-helper), and scripts. Main loop, set-up time and the end.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/sockios.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "err.h"
#include "tap_int.h"

extern char **environ;

bool tap_may_administer(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct cap[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return !syscall(SYS_capget, &head, cap) &&
	       cap[CAP_TO_INDEX(CAP_NET_ADMIN)].effective & CAP_TO_MASK(CAP_NET_ADMIN);
}

/* --- programs ----------------------------------------------------------------------------------
 */

/* Posada's signals are its own; a program begins with none blocked and none ignored. */
static int spawn(pid_t *pid, char *const argv[], const posix_spawn_file_actions_t *files)
{
	posix_spawnattr_t attr;
	sigset_t none, dfl;
	int rc;

	sigemptyset(&none);
	sigemptyset(&dfl);
	sigaddset(&dfl, SIGPIPE);
	sigaddset(&dfl, SIGCHLD);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &dfl);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	rc = posix_spawn(pid, argv[0], files, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	return -rc;
}

/* Waits for a program. How it ended, when not well. */
static int wait_for(pid_t pid, const char *key, const char *path, struct err *e)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_set(e, ERR_HOST, errno, "%s=%s: %s", key, path, strerror(errno));
	if (WIFSIGNALED(status))
		return err_set(e, ERR_HOST, EIO, "%s=%s: killed by signal %d", key, path,
			       WTERMSIG(status));
	if (WEXITSTATUS(status))
		return err_set(e, ERR_HOST, EIO, "%s=%s: failed with exit status %d", key, path,
			       WEXITSTATUS(status));
	return 0;
}

static int not_run(const char *key, const char *path, int rc, struct err *e)
{
	err_set(e, ERR_INPUT, -rc, "%s=%s: cannot be run: %s", key, path, strerror(-rc));
	if (rc == -EACCES)
		err_hint(e, "chmod +x %s", path);
	else if (rc == -ENOEXEC)
		err_hint(e, "its first line must name an interpreter: #!/bin/sh");
	else if (rc == -ENOENT && !access(path, F_OK))
		err_hint(e, "the interpreter in its first line does not exist");
	return rc;
}

int tap_run_script(const char *key, const char *path, const char *name, struct err *e)
{
	char *const argv[] = { (char *)(uintptr_t)path, (char *)(uintptr_t)name, NULL };
	pid_t pid;
	int rc;

	if (!path || !*path || !strcmp(path, "no"))
		return 0;
	rc = spawn(&pid, argv, NULL);
	return rc ? not_run(key, path, rc, e) : wait_for(pid, key, path, e);
}

/* --- a bridge, with the right --------------------------------------------------------------------
 */

/* A bridge takes the lowest address of its ports unless it was given one: ours is not to be it. */
static void raise_address(const char *name)
{
	struct ifreq ifr = { 0 };

	if (tap_if_ioctl(name, SIOCGIFHWADDR, &ifr))
		return;
	ifr.ifr_hwaddr.sa_data[0] = (char)0xfe;
	tap_if_ioctl(name, SIOCSIFHWADDR, &ifr);
}

int tap_join_bridge(struct tap *t, struct err *e)
{
	struct ifreq ifr = { .ifr_ifindex = (int)if_nametoindex(t->name) };
	int rc;

	if (strlen(t->br) >= IFNAMSIZ || !if_nametoindex(t->br)) {
		err_set(e, ERR_HOST, ENODEV, "br=%s: there is no such bridge", t->br);
		err_hint(e, "sudo ip link add %s type bridge && sudo ip link set %s up", t->br,
			 t->br);
		return -ENODEV;
	}
	raise_address(t->name);
	rc = tap_if_ioctl(t->br, SIOCBRADDIF, &ifr);
	if (rc == -EOPNOTSUPP || rc == -EINVAL || rc == -ENOTTY)
		err_set(e, ERR_HOST, -rc, "br=%s: not a bridge", t->br);
	else if (rc == -EBUSY)
		err_set(e, ERR_HOST, EBUSY, "br=%s: %s is a port of a bridge already", t->br,
			t->name);
	else if (rc)
		err_set(e, ERR_HOST, -rc, "br=%s: %s", t->br, strerror(-rc));
	if (rc)
		return rc;
	rc = tap_if_up(t->name);
	return rc ? err_set(e, ERR_HOST, -rc, "ifname=%s: cannot be set up: %s", t->name,
			    strerror(-rc))
		  : 0;
}

/* --- a bridge, without ---------------------------------------------------------------------------
 */

static const char *find_helper(void)
{
	static const char *const places[] = {
		"/usr/lib/qemu/qemu-bridge-helper",
		"/usr/libexec/qemu-bridge-helper",
		"/usr/local/libexec/qemu-bridge-helper",
	};

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (!access(places[i], X_OK))
			return places[i];
	return NULL;
}

/* The descriptor that comes with the first byte; -EPROTO: none does. */
static int receive_fd(int sock)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.room,
			      .msg_controllen = sizeof(control.room) };
	struct cmsghdr *c;
	ssize_t len;
	int fd;

	do
		len = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (len < 0 && errno == EINTR);
	c = len > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
	    c->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EPROTO;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

enum { HELPER_FD = 3 };

static int start_helper(const struct tap *t, const char *path, int sock, pid_t *pid)
{
	char fd_arg[16], br_arg[64];
	char *argv[5] = { (char *)(uintptr_t)path };
	posix_spawn_file_actions_t files;
	unsigned k = 1;
	int rc;

	snprintf(fd_arg, sizeof(fd_arg), "--fd=%d", HELPER_FD);
	snprintf(br_arg, sizeof(br_arg), "--br=%s", t->br);
	if (t->vnet_hdr)
		argv[k++] = (char *)(uintptr_t) "--use-vnet";
	argv[k++] = fd_arg;
	argv[k++] = br_arg;
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, sock, HELPER_FD);
	rc = spawn(pid, argv, &files);
	posix_spawn_file_actions_destroy(&files);
	return rc;
}

int tap_from_helper(struct tap *t, struct err *e)
{
	const char *path = t->helper ? t->helper : find_helper();
	int pair[2], fd, rc;
	pid_t pid;

	if (strlen(t->br) >= IFNAMSIZ)
		return err_set(e, ERR_USAGE, EINVAL, "br=%s: longer than 15 characters", t->br);
	if (!path)
		return err_set(e, ERR_HOST, ENOENT,
			       "br=%s: this user may not add to a bridge, and there is no "
			       "qemu-bridge-helper",
			       t->br);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return err_set(e, ERR_HOST, errno, "br=%s: %s", t->br, strerror(errno));
	rc = start_helper(t, path, pair[1], &pid);
	close(pair[1]);
	if (rc) {
		close(pair[0]);
		return not_run("helper", path, rc, e);
	}
	fd = receive_fd(pair[0]);
	close(pair[0]);
	rc = wait_for(pid, "helper", path, e);
	if (!rc && fd < 0)
		rc = err_set(e, ERR_HOST, EPROTO, "helper=%s: it gave no tap", path);
	if (!rc)
		return fd;
	if (fd >= 0)
		close(fd);
	err_hint(e, "it must be set-uid root, and \"allow %s\" in /etc/qemu/bridge.conf", t->br);
	return rc;
}
