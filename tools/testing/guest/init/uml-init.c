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
 * The command may have another root: a folder (in User-Mode Linux), which is
 * then the lower layer under a tmpfs and is never written to, or a read-only
 * ext4 file system on a block device.  In it /tmp and /run are empty and can be
 * written to, and folders of the real machine can be shared: they are seen, and
 * can be written to, at the paths that they have there.
 *
 * The kernel hands unknown "name=value" words of its command line to init as
 * environment:
 *
 *	uml_cmd		file with the command, see below
 *	uml_tty		the command's terminal (/dev/tty0); set behind QEMU
 *	uml_stderr	another one for its standard error
 *	uml_modules	file with the paths of modules to load first, in order; after a tab
 *		may come parameters
 *
 * The command is strings that end with a NUL each,
 *
 *	uid, gid, working folder, root or "", shared folders..., "",
 *	environment..., "", command, arguments...
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
	const char *root;
	char **shares;
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

/* A tty belongs to no one yet: make it plain, without echo or CR. */
static int open_tty(const char *path)
{
	struct termios tio;
	int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	if (!tcgetattr(fd, &tio)) {
		cfmakeraw(&tio);
		tcsetattr(fd, TCSANOW, &tio);
	}
	return fd;
}

static void open_console(void)
{
	int fd = open_tty(getenv("uml_tty") ?: "/dev/tty0");

	if (fd < 0)
		return;
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

static void mount_all(void)
{
	mount_one("devtmpfs", "/dev", "mode=0755", true);
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

/* Like mkdir -p. */
static int make_folders(const char *path, mode_t mode)
{
	char part[PATH_MAX];
	size_t i;

	if (*path != '/' || strlen(path) >= sizeof(part))
		return -EINVAL;
	for (i = 1; path[i]; i++) {
		if (path[i + 1] && path[i + 1] != '/')
			continue;
		memcpy(part, path, i + 1);
		part[i + 1] = '\0';
		if (mkdir(part, mode) && errno != EEXIST)
			return -errno;
	}
	return 0;
}

/*
 * Mounts the root of the command at /dev/root.d/new.  The tmpfs that is needed
 * for that can only be in /dev, the one folder that is sure to be writable.
 */
static int mount_root(const char *root)
{
	struct stat st;

	if (stat(root, &st) || make_folders("/dev/root.d", 0755))
		return -errno;
	if (mount("tmpfs", "/dev/root.d", "tmpfs", 0, "mode=0755") ||
	    mkdir("/dev/root.d/lower", 0755) || mkdir("/dev/root.d/upper", 0755) ||
	    mkdir("/dev/root.d/work", 0755) || mkdir("/dev/root.d/new", 0755))
		return -errno;
	if (S_ISBLK(st.st_mode))
		return mount(root, "/dev/root.d/new", "ext4", MS_RDONLY, "") ? -errno : 0;
	if (mount(root, "/dev/root.d/lower", NULL, MS_BIND, NULL) ||
	    mount("overlay", "/dev/root.d/new", "overlay", 0,
		  "lowerdir=/dev/root.d/lower,upperdir=/dev/root.d/upper,"
		  "workdir=/dev/root.d/work"))
		return -errno;
	return 0;
}

/* Makes the command's root the root of everything from now on. */
static int enter_root(const struct command *command)
{
	char runtime[64];
	char **share;
	int ret;

	ret = mount_root(command->root);
	if (ret)
		return ret;
	if (chdir("/dev/root.d/new") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") ||
	    chdir("/"))
		return -errno;
	mount_all();
	mount_one("tmpfs", "/tmp", "mode=1777", true);
	mount_one("tmpfs", "/run", "mode=0755", true);
	snprintf(runtime, sizeof(runtime), "/run/user/%u", command->uid);
	ret = make_folders(runtime, 0755);
	if (ret)
		return ret;
	if (chown(runtime, command->uid, command->gid) || chmod(runtime, 0700))
		return -errno;
	for (share = command->shares; *share; share++) {
		ret = make_folders(*share, 0755);
		if (!ret && mount("hostfs", *share, "hostfs", 0, *share))
			ret = -errno;
		if (ret) {
			say("%s cannot be shared: %s", *share, strerror(-ret));
			return ret;
		}
	}
	return 0;
}

static int load_module(const char *path, const char *parameters)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (syscall(SYS_finit_module, fd, parameters, 0))
		ret = -errno;
	close(fd);
	return ret;
}

/* What udev and modprobe do elsewhere, in the order of a list of paths. */
static void load_modules(const char *list)
{
	FILE *file = fopen(list, "re");
	char line[PATH_MAX + 256], *path, *parameters;
	int ret;

	if (!file) {
		say("%s: %s", list, strerror(errno));
		return;
	}
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		parameters = line;
		path = strsep(&parameters, "\t");
		ret = load_module(path, parameters ? parameters : "");
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

/* From string *at on, up to the next empty one, which *at is left behind. */
static char **take_list(int *at, int nr)
{
	char **list = &strings[*at];

	while (*at < nr && *strings[*at])
		++*at;
	if (*at < nr)
		strings[(*at)++] = NULL;
	return list;
}

static int parse_command(const char *path, struct command *command)
{
	int at = 4;
	int nr;

	if (!path)
		return -ENOENT;
	nr = read_strings(path);
	if (nr < 0)
		return nr;
	if (nr < at)
		return -EINVAL;
	command->uid = strtoul(strings[0], NULL, 10);
	command->gid = strtoul(strings[1], NULL, 10);
	command->cwd = strings[2];
	command->root = strings[3];
	command->shares = take_list(&at, nr);
	command->env = take_list(&at, nr);
	command->argv = &strings[at];
	return at < nr ? 0 : -EINVAL;
}

static void __attribute__((noreturn)) run_child(const struct command *command)
{
	const char *tty = getenv("uml_stderr");
	int fd = tty ? open_tty(tty) : -1;

	/*
	 * No session of its own: the first process of one that opens a terminal
	 * owns it, as bash does, and its end would cut everyone's output off.
	 */
	setpgid(0, 0);
	if (fd >= 0)
		dup2(fd, STDERR_FILENO);
	else if (tty)
		say("%s: %s", tty, strerror(errno));
	if (chdir(command->cwd))
		say("%s: %s", command->cwd, strerror(errno));
	if (command->uid || command->gid) {
		if (setgroups(0, NULL) || setgid(command->gid) || setuid(command->uid)) {
			say("cannot become user %u: %s", command->uid, strerror(errno));
			_exit(126);
		}
	}
	/* Found by its own PATH, not by that of this process. */
	environ = command->env;
	execvp(command->argv[0], command->argv);
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
	open_console();
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
	ret = *command.root ? enter_root(&command) : 0;
	if (ret) {
		say("root %s: %s", command.root, strerror(-ret));
		power_off();
	}
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
