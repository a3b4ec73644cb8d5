// SPDX-License-Identifier: MIT
/*
 * userptr-aftermath: run a command, then see whether it left anything behind
 *
 *	userptr-aftermath "CHECK..." COMMAND [ARGUMENT]...
 *
 * Runs as root in the guest of a test.  Each check waits for a while, as much
 * is released in the background, and prints a line "after: ..." if what it
 * looks for did not come about:
 *
 *	pins		no page is pinned that was not before; VmPin is 0 everywhere
 *	listed		debugfs lists no registration of any device
 *	devices		the host's device processes hold nothing (asked for with
 *			the line "host: check-devices", see scripts/qemu-run)
 *	locked		each user id that tests run as can pin exactly as much as
 *			its limit allows, on the device USERPTR_MAIN
 *	kmemleak	the kernel's leak detector finds nothing
 *
 * Exit status: the command's, or 120 if a check failed.
 *
 * Invariant: every check that is asked for is made or fails; a kernel without
 * what a check needs is a failure.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/userptr-test-util.h"

#define STATUS_LEFT_BEHIND 120
/* The users that tests become; each test has one of its own. */
#define FIRST_UID 3000
#define LAST_UID 3063
#define LOCKED_PAGES 16
#define KMEMLEAK "/sys/kernel/debug/kmemleak"
#define DEBUGFS_DRI "/sys/kernel/debug/dri"
/* kmemleak does not report what is younger (MSECS_MIN_AGE). */
#define KMEMLEAK_AGE_S 5

static bool failed;

#define complain(...)                          \
	do {                                   \
		failed = true;                 \
		printf("after: " __VA_ARGS__); \
		putchar('\n');                 \
	} while (0)

static void pause_ms(long ms)
{
	const struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&pause, NULL);
}

/* Process @pid's VmPin, 0 if there is no such process any more. */
static long pinned_kib(const char *pid)
{
	char path[64];
	long kib;

	snprintf(path, sizeof(path), "/proc/%.20s/status", pid);
	kib = read_counter(path, "VmPin:");
	return kib > 0 ? kib : 0;
}

static void check_pins(long before)
{
	struct dirent *entry;
	DIR *dir;

	if (before < 0 || wait_pins(before, SETTLE_MS))
		complain("%ld pages are pinned, %ld before", pins_outstanding(), before);
	dir = opendir("/proc");
	while (dir && (entry = readdir(dir))) {
		if (pinned_kib(entry->d_name))
			complain("VmPin of process %s is %ld kB", entry->d_name,
				 pinned_kib(entry->d_name));
	}
	if (dir)
		closedir(dir);
}

/* Lines that begin with a number, as that of a resource, or a negative errno. */
static long count_entries(const char *path)
{
	FILE *file = fopen(path, "re");
	char line[1024];
	long nr = 0;

	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		const char *first = line + strspn(line, " ");

		nr += *first >= '0' && *first <= '9';
	}
	fclose(file);
	return nr;
}

static void check_list(const char *path)
{
	uint64_t end = vg_now_us() + SETTLE_MS * 1000ull;
	long nr;

	while ((nr = count_entries(path)) > 0 && vg_now_us() < end)
		pause_ms(10);
	if (nr > 0)
		complain("%s lists %ld registrations", path, nr);
}

static void check_listed(void)
{
	struct dirent *entry;
	char path[400];
	DIR *dir = opendir(DEBUGFS_DRI);

	if (!dir) {
		complain("%s: %s", DEBUGFS_DRI, strerror(errno));
		return;
	}
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), DEBUGFS_DRI "/%s/virtio-gpu-userptr", entry->d_name);
		if (!access(path, F_OK))
			check_list(path);
	}
	closedir(dir);
}

static void check_devices(void)
{
	char answer[64] = "";

	/* On a line of its own, whatever the command printed last. */
	printf("\nhost: check-devices\n");
	fflush(stdout);
	if (!fgets(answer, sizeof(answer), stdin) || strcmp(answer, "host: ok\n"))
		complain("a host device still holds something");
}

/* Registers all that the limit allows, and then one page more. */
static int pin_to_the_limit(void *uid)
{
	struct region exact, more;
	struct vg_bo bo;
	struct vg vg;
	int ret;

	/* Not counted: the pages of both are there before the limit is set. */
	if (region_alloc(&exact, LOCKED_PAGES) || region_alloc(&more, 1))
		return 1;
	if (vg_open(&vg, getenv("USERPTR_MAIN"), 1) ||
	    become_user(*(uid_t *)uid, LOCKED_PAGES * PAGE))
		return 2;
	ret = vg_userptr_create(vg.fd, exact.addr, exact.size, 0, &bo);
	if (ret) {
		printf("after: user %u cannot pin its limit of %d pages: %s\n", *(uid_t *)uid,
		       LOCKED_PAGES, strerror(-ret));
		return 3;
	}
	ret = vg_userptr_create(vg.fd, more.addr, more.size, 0, &bo);
	if (ret != -ENOMEM) {
		printf("after: user %u can pin one page more than its limit (%d)\n", *(uid_t *)uid,
		       ret);
		return 4;
	}
	vg_close(&vg);
	return 0;
}

static void check_locked(void)
{
	uid_t uid;
	int ret;

	if (!getenv("USERPTR_MAIN")) {
		complain("no device MAIN to check the limits with");
		return;
	}
	for (uid = FIRST_UID; uid <= LAST_UID; uid++) {
		ret = child_result(run_child(pin_to_the_limit, &uid));
		if (ret)
			complain("user %u: locked memory is not as before (%d)", uid, ret);
	}
}

/* Prints what the detector found; returns whether it found anything. */
static bool show_leaks(void)
{
	FILE *file = fopen(KMEMLEAK, "re");
	bool found = false;
	char line[512];

	if (!file)
		return true;
	while (fgets(line, sizeof(line), file)) {
		found = true;
		printf("after: leak: %s", line);
	}
	fclose(file);
	return found;
}

static void check_kmemleak(void)
{
	int i, ret;

	/* The age is a matter of time alone: there is nothing to wait for. */
	pause_ms(KMEMLEAK_AGE_S * 1000 + 200);
	/* What changed since the last scan is not reported: two are needed. */
	for (i = 0; i < 2; i++) {
		ret = write_file(KMEMLEAK, "scan");
		if (ret) {
			complain("%s: %s", KMEMLEAK, strerror(-ret));
			return;
		}
	}
	if (show_leaks())
		complain("the kernel leaks memory");
}

static int run_command(char **argv)
{
	pid_t pid, child;
	int status, ret = 126;

	/* Whatever the command leaves running ends up here, and not at init. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	child = fork();
	if (child < 0)
		return ret;
	if (!child) {
		execvp(argv[0], argv);
		fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	do {
		pid = wait(&status);
		if (pid < 0 && errno != EINTR)
			return ret;
	} while (pid != child);
	ret = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return ret;
}

static bool wanted(const char *checks, const char *name)
{
	size_t len = strlen(name);
	const char *at = checks;

	while ((at = strstr(at, name))) {
		if ((at == checks || at[-1] == ' ') && (!at[len] || at[len] == ' '))
			return true;
		at += len;
	}
	return false;
}

int main(int argc, char **argv)
{
	const char *checks = argv[1];
	long pins = pins_outstanding();
	int status;

	if (argc < 3) {
		fprintf(stderr, "usage: %s \"CHECK...\" COMMAND [ARGUMENT]...\n", argv[0]);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	status = run_command(&argv[2]);
	if (wanted(checks, "pins"))
		check_pins(pins);
	if (wanted(checks, "listed"))
		check_listed();
	if (wanted(checks, "locked"))
		check_locked();
	if (wanted(checks, "devices"))
		check_devices();
	if (wanted(checks, "kmemleak"))
		check_kmemleak();
	return failed ? STATUS_LEFT_BEHIND : status;
}
