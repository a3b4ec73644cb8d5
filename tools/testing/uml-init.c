// SPDX-License-Identifier: MIT
/*
 * uml-init: first process of the guest, in User-Mode Linux and behind QEMU
 *
 * In User-Mode Linux the root is the machine's own, read-only; only /dev, /proc
 * and /sys are covered, so that a build folder in /tmp or /run is seen; what
 * can be written is /dev/shm, and /dev/hostfs is the machine's root again, for
 * files below the covered three.  Behind QEMU the root is the initramfs of
 * scripts/make-initramfs.  This program mounts what a process expects on top,
 * runs one command, prints its exit status and powers off.
 *
 * The kernel hands unknown "name=value" words of its command line to init as
 * environment:
 *
 *	uml_cmd		file with the command, see below
 *	uml_tty		the command's terminal (/dev/tty0); set behind QEMU
 *	uml_modules	file with the paths of modules to load first, in order
 *
 * The command is strings that end with a NUL each,
 *
 *	uid, gid, working folder, environment..., "", command, arguments...
 *
 * so that no blank, quote or newline in them needs care.  Linked statically:
 * it runs before anything is known to work.
 *
 * Invariant: whatever goes wrong, the marker line is printed or the reason why
 * not, and the machine is powered off.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define MAX_STRINGS 1024
#define MAX_FILE (256 * 1024)

struct command {
	uid_t uid;
	gid_t gid;
	const char *cwd;
	char **env;
	char **argv;
};

static char file_data[MAX_FILE + 2];
static char *strings[MAX_STRINGS + 2];

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("uml-init: ", stdout);
	vprintf(format, args);
	putchar('\n');
	fflush(stdout);
	va_end(args);
}

static void __attribute__((noreturn)) power_off(void)
{
	sync();
	tcdrain(STDOUT_FILENO);
	reboot(RB_POWER_OFF);
	/* Only reached if that failed: leaving init panics, which is loud. */
	_exit(1);
}

static void mount_one(const char *type, const char *where, const char *options, bool needed)
{
	if (!mount(type, where, type, 0, options) || errno == EBUSY)
		return;
	if (needed)
		say("mount %s on %s: %s", type, where, strerror(errno));
}

/* The console's tty belongs to no one yet: make it plain, without echo or CR. */
static void open_console(void)
{
	struct termios tio;
	int fd = open(getenv("uml_tty") ?: "/dev/tty0", O_RDWR | O_NOCTTY);

	if (fd < 0)
		return;
	if (!tcgetattr(fd, &tio)) {
		cfmakeraw(&tio);
		tcsetattr(fd, TCSANOW, &tio);
	}
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

static void mount_all(void)
{
	mount_one("devtmpfs", "/dev", "mode=0755", true);
	open_console();
	mount_one("proc", "/proc", "", true);
	mount_one("sysfs", "/sys", "", true);
	mount_one("debugfs", "/sys/kernel/debug", "", false);
	mount_one("tracefs", "/sys/kernel/tracing", "", false);
	mkdir("/dev/shm", 01777);
	mount_one("tmpfs", "/dev/shm", "mode=1777", true);
	/* Behind QEMU there is no hostfs: all that is needed is in the initramfs. */
	mkdir("/dev/hostfs", 0755);
	mount_one("hostfs", "/dev/hostfs", "/", !getenv("uml_tty"));
	mkdir("/dev/pts", 0755);
	mount_one("devpts", "/dev/pts", "", false);
	if (symlink("/proc/self/fd", "/dev/fd") && errno != EEXIST)
		say("/dev/fd: %s", strerror(errno));
}

/* What udev does elsewhere: render nodes are for everyone. */
static void open_render_nodes(void)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *dir = opendir("/dev/dri");

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, "renderD", 7))
			continue;
		snprintf(path, sizeof(path), "/dev/dri/%s", entry->d_name);
		chmod(path, 0666);
	}
	closedir(dir);
}

static int load_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (syscall(SYS_finit_module, fd, "", 0))
		ret = -errno;
	close(fd);
	return ret;
}

/* What udev and modprobe do elsewhere, in the order of a list of paths. */
static void load_modules(const char *list)
{
	FILE *file = fopen(list, "re");
	char path[PATH_MAX];
	int ret;

	if (!file) {
		say("%s: %s", list, strerror(errno));
		return;
	}
	while (fgets(path, sizeof(path), file)) {
		path[strcspn(path, "\n")] = '\0';
		ret = load_module(path);
		if (ret)
			say("%s: %s", path, strerror(-ret));
	}
	fclose(file);
}

static int read_strings(const char *path)
{
	size_t len = 0;
	ssize_t got;
	char *at;
	int nr = 0;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while ((got = read(fd, file_data + len, MAX_FILE + 1 - len)) > 0)
		len += got;
	close(fd);
	if (got < 0)
		return -errno;
	if (len > MAX_FILE || !len || file_data[len - 1])
		return -EINVAL;
	for (at = file_data; at < file_data + len; at += strlen(at) + 1) {
		if (nr == MAX_STRINGS)
			return -E2BIG;
		strings[nr++] = at;
	}
	return nr;
}

static int parse_command(const char *path, struct command *command)
{
	int nr, i;

	if (!path)
		return -ENOENT;
	nr = read_strings(path);
	if (nr < 0)
		return nr;
	if (nr < 5)
		return -EINVAL;
	command->uid = strtoul(strings[0], NULL, 10);
	command->gid = strtoul(strings[1], NULL, 10);
	command->cwd = strings[2];
	command->env = &strings[3];
	for (i = 3; i < nr && *strings[i]; i++)
		;
	if (i + 1 >= nr)
		return -EINVAL;
	strings[i] = NULL;
	command->argv = &strings[i + 1];
	return 0;
}

static void __attribute__((noreturn)) run_child(const struct command *command)
{
	setsid();
	if (chdir(command->cwd))
		say("%s: %s", command->cwd, strerror(errno));
	if (command->uid || command->gid) {
		if (setgroups(0, NULL) || setgid(command->gid) || setuid(command->uid)) {
			say("cannot become user %u: %s", command->uid, strerror(errno));
			_exit(126);
		}
	}
	execvpe(command->argv[0], command->argv, command->env);
	say("%s: %s", command->argv[0], strerror(errno));
	_exit(127);
}

/* Reaps everything, as the first process has to; returns the child's status. */
static int wait_for(pid_t child)
{
	int status;
	pid_t pid;

	for (;;) {
		pid = wait(&status);
		if (pid < 0 && errno != EINTR)
			return 126;
		if (pid == child)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
}

int main(void)
{
	struct command command;
	pid_t child;
	int ret;

	mount_all();
	/* Blank lines are not ours: the marker lines stand alone. */
	say("begin");
	ret = parse_command(getenv("uml_cmd"), &command);
	if (ret) {
		say("command file %s: %s", getenv("uml_cmd") ?: "(uml_cmd is not set)",
		    strerror(-ret));
		power_off();
	}
	if (getenv("uml_modules"))
		load_modules(getenv("uml_modules"));
	open_render_nodes();
	child = fork();
	if (!child)
		run_child(&command);
	if (child < 0)
		say("fork: %s", strerror(errno));
	else
		say("exit status %d", wait_for(child));
	power_off();
}
