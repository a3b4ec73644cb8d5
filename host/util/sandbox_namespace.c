// SPDX-License-Identifier: MIT
/*
 * sandbox_namespace: what the render servers see of the machine
 *
 * Processes: those of their own process id namespace, whose process 1 is the launcher.
 * Network: none.  Files: all that there are, as drivers and their settings lie in many
 * places, but none can be written; homes and what sessions keep in /run/user are
 * hidden, unless the environment names a file in there, as for a driver that somebody
 * has built.  Devices: those of GPUs, and of the kernel those that every program needs.
 *
 * A user namespace is what lets an ordinary user have the others.  It has one more
 * effect, for which root gets one too: who made it, the device, may look at the
 * processes in it without any capability, and they at none outside of it.
 *
 * Each step that does not work is left out; sandbox_describe() tells.
 *
 * Threads: see sandbox_parts.h.
 */
#include "util/sandbox_parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* Kinds in the order of enum sandbox_measure, and their names in /proc/PID/ns. */
static const struct {
	int flag;
	const char *path;
} kinds[] = {
	[MEASURE_USER_NS] = { CLONE_NEWUSER, "/proc/self/ns/user" },
	[MEASURE_PID_NS] = { CLONE_NEWPID, "/proc/self/ns/pid" },
	[MEASURE_MOUNT_NS] = { CLONE_NEWNS, "/proc/self/ns/mnt" },
	[MEASURE_NET_NS] = { CLONE_NEWNET, "/proc/self/ns/net" },
	[MEASURE_IPC_NS] = { CLONE_NEWIPC, "/proc/self/ns/ipc" },
	[MEASURE_UTS_NS] = { CLONE_NEWUTS, "/proc/self/ns/uts" },
	[MEASURE_CGROUP_NS] = { CLONE_NEWCGROUP, "/proc/self/ns/cgroup" },
};

#define NR_KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* What drivers are found through. */
static const char *const driver_variables[] = {
	"VK_DRIVER_FILES", "VK_ADD_DRIVER_FILES",     "VK_ICD_FILENAMES", "VK_LAYER_PATH",
	"LD_LIBRARY_PATH", "RENDER_SERVER_EXEC_PATH", "LD_PRELOAD",	  "LIBGL_DRIVERS_PATH",
};

static const char *const homes[] = { "/home", "/root", "/run/user" };

/* In /dev; with a * at the end, all that begin so. */
static const char *const devices[] = {
	"null",	   "zero", "full",    "random", "urandom", "dri",
	"udmabuf", "kfd",  "nvidia*", "mali*",	"dxg",	   "dma_heap",
};

#define MAX_KEPT 64

/**
 * struct kept - a device that moves from the old /dev to the new one
 * @name: in both
 * @mount: of it alone
 * @is_dir: it is a folder of devices
 */
struct kept {
	char name[NAME_MAX + 1];
	int mount;
	bool is_dir;
};

/**
 * sandbox_namespace_flags() - the flags for clone() of the namespaces that there are
 *
 * Return: flags, none without /proc
 */
int sandbox_namespace_flags(void)
{
	int flags = 0;
	size_t i;

	for (i = 0; i < NR_KINDS; i++)
		if (!access(kinds[i].path, F_OK))
			flags |= kinds[i].flag;
	return flags;
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		err = -errno;
	close(fd);
	return err;
}

/* To be in there who one was outside. */
static int map_ids(unsigned int uid, unsigned int gid)
{
	char line[64];
	int err;

	/* Of supplementary groups none can be mapped, and none has to: they stay. */
	err = write_file("/proc/self/setgroups", "deny");
	if (err && err != -ENOENT)
		return err;
	snprintf(line, sizeof(line), "%u %u 1\n", uid, uid);
	err = write_file("/proc/self/uid_map", line);
	if (err)
		return err;
	snprintf(line, sizeof(line), "%u %u 1\n", gid, gid);
	return write_file("/proc/self/gid_map", line);
}

/* ---- /dev ---- */

static bool is_wanted(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
		size_t len = strlen(devices[i]);

		if (devices[i][len - 1] == '*' ? !strncmp(name, devices[i], len - 1) :
						 !strcmp(name, devices[i]))
			return true;
	}
	return false;
}

/* Take what is wanted out of /dev.  Returns how many there are. */
static unsigned int keep_devices(struct kept kept[MAX_KEPT])
{
	DIR *dir = opendir("/dev");
	struct dirent *entry;
	unsigned int nr = 0;

	if (!dir)
		return 0;
	while (nr < MAX_KEPT && (entry = readdir(dir))) {
		struct kept *device = &kept[nr];
		struct stat st;

		if (!is_wanted(entry->d_name) || fstatat(dirfd(dir), entry->d_name, &st, 0))
			continue;
		device->mount = open_tree(dirfd(dir), entry->d_name,
					  OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
		if (device->mount < 0)
			continue;
		snprintf(device->name, sizeof(device->name), "%s", entry->d_name);
		device->is_dir = S_ISDIR(st.st_mode);
		nr++;
	}
	closedir(dir);
	return nr;
}

static int put_device(const struct kept *device)
{
	char path[sizeof("/dev/") + NAME_MAX];
	int fd;

	snprintf(path, sizeof(path), "/dev/%.*s", NAME_MAX, device->name);
	if (device->is_dir) {
		if (mkdir(path, 0755))
			return -errno;
	} else {
		fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
		if (fd < 0)
			return -errno;
		close(fd);
	}
	if (move_mount(device->mount, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH))
		return -errno;
	return 0;
}

static int make_dev(void)
{
	static struct kept kept[MAX_KEPT];
	unsigned int nr = keep_devices(kept), i;
	int err = 0;

	if (!nr)
		return -ENODEV;
	if (mount("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k"))
		err = -errno;
	for (i = 0; i < nr; i++) {
		if (!err) {
			err = put_device(&kept[i]);
			if (err)
				umount2("/dev", MNT_DETACH);
		}
		close(kept[i].mount);
	}
	if (!err)
		mkdir("/dev/shm", 01777);
	return err;
}

/* ---- files ---- */

/* Whether the value of a variable names something below @dir. */
static bool names_path_in(const char *value, const char *dir)
{
	size_t len = strlen(dir);
	const char *at;

	for (at = value; at && (at = strstr(at, dir)); at += len)
		if ((at == value || at[-1] == ':' || at[-1] == ' ') &&
		    (at[len] == '/' || !at[len] || at[len] == ':'))
			return true;
	return false;
}

static bool is_needed(const char *dir)
{
	size_t i;

	for (i = 0; i < sizeof(driver_variables) / sizeof(driver_variables[0]); i++)
		if (names_path_in(getenv(driver_variables[i]), dir))
			return true;
	return false;
}

static bool hide_homes(void)
{
	bool all = true;
	size_t i;

	for (i = 0; i < sizeof(homes) / sizeof(homes[0]); i++) {
		if (access(homes[i], F_OK) && errno == ENOENT)
			continue;
		if (is_needed(homes[i]) ||
		    mount("tmpfs", homes[i], "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
			  "mode=0755,size=4k"))
			all = false;
	}
	return all;
}

static void make_mounts(int flags, struct sandbox_state *state)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID };

	/* Nothing of this shall be seen outside, and nothing writable come in. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return;
	if (flags & CLONE_NEWPID &&
	    !mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		sandbox_set(state, MEASURE_OWN_PROC);
	if (!make_dev())
		sandbox_set(state, MEASURE_OWN_DEV);
	if (hide_homes())
		sandbox_set(state, MEASURE_HOMES);
	if (!mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &attr, sizeof(attr)))
		sandbox_set(state, MEASURE_READ_ONLY);
	if (sandbox_has(state, MEASURE_OWN_DEV))
		mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		      "mode=1777,size=64m");
	/* Not in what was there before. */
	if (chdir("/"))
		state->in_force &= ~(UINT32_C(1) << MEASURE_READ_ONLY);
}

/**
 * sandbox_enter_namespaces() - make a process at home in its new namespaces
 * @flags: with which clone() made it
 * @uid: whose it was
 * @gid: whose it was
 * @state: notes what was reached
 *
 * Return: 0 or a negative errno: it is nobody in its user namespace
 */
int sandbox_enter_namespaces(int flags, unsigned int uid, unsigned int gid,
			     struct sandbox_state *state)
{
	size_t i;
	int err;

	if (flags & CLONE_NEWUSER) {
		err = map_ids(uid, gid);
		if (err)
			return err;
	}
	for (i = 0; i < NR_KINDS; i++)
		if (flags & kinds[i].flag)
			sandbox_set(state, (enum sandbox_measure)i);
	if (flags & CLONE_NEWNS)
		make_mounts(flags, state);
	return 0;
}
