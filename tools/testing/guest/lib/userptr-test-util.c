// SPDX-License-Identifier: MIT
/*
 * userptr-test-util: memory, processes and kernel counters for the test programs
 *
 * See userptr-test-util.h.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/userptr-test-util.h"

#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_PFN ((1ull << 55) - 1)
/* Pages more than runs are wanted, for neighbours that come by chance. */
#define SCATTER_SPARE 64
/* How often more are tried. */
#define SCATTER_TRIES 3

/* Nothing to wait on exists for what these poll for. */
static void pause_briefly(void)
{
	const struct timespec pause = { .tv_nsec = 2 * 1000 * 1000 };

	nanosleep(&pause, NULL);
}

static void *map_pages(size_t size)
{
	void *addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return addr == MAP_FAILED ? NULL : addr;
}

/* Reads the frame numbers of up to 512 pages; how many, or a negative errno. */
static long read_frames(int fd, uintptr_t addr, size_t pages, uint64_t *frames)
{
	size_t want = pages < 512 ? pages : 512;
	ssize_t got;
	long i;

	got = pread(fd, frames, want * 8, addr / PAGE * 8);
	if (got < 0)
		return -errno;
	for (i = 0; i < got / 8; i++) {
		if (!(frames[i] & PAGEMAP_PRESENT))
			return -EFAULT;
		frames[i] &= PAGEMAP_PFN;
		/* Without CAP_SYS_ADMIN the kernel hides the numbers. */
		if (!frames[i])
			return -EPERM;
	}
	return i;
}

/*
 * Runs in the pages from @addr on; stops before the run that exceeds @max and
 * says in @used how many pages were taken.
 */
static long measure_runs(const void *addr, size_t pages, unsigned long max, size_t *used)
{
	uint64_t frames[512], last = 0;
	size_t done = 0;
	long runs = 0, got, i;
	int fd;

	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (done < pages) {
		got = read_frames(fd, (uintptr_t)addr + done * PAGE, pages - done, frames);
		if (got <= 0) {
			runs = got ? got : -EIO;
			break;
		}
		for (i = 0; i < got; i++) {
			if (frames[i] != last + 1 && (unsigned long)++runs > max)
				break;
			last = frames[i];
		}
		done += i;
		if (i < got) {
			runs--;
			break;
		}
	}
	close(fd);
	*used = done;
	return runs;
}

/**
 * count_runs() - physically contiguous pieces of a range, from the pagemap
 * @addr: first byte
 * @pages: pages
 *
 * Return: how many, or a negative errno.
 */
long count_runs(const void *addr, size_t pages)
{
	size_t used;

	return measure_runs(addr, pages, ~0ul, &used);
}

/**
 * region_alloc() - plain memory, all pages there
 * @region: out
 * @pages: pages
 *
 * Return: 0 or a negative errno.
 */
int region_alloc(struct region *region, size_t pages)
{
	long runs;

	memset(region, 0, sizeof(*region));
	region->size = region->block_size = pages * PAGE;
	region->block = map_pages(region->block_size);
	if (!region->block)
		return -ENOMEM;
	region->addr = region->block;
	if (madvise(region->addr, region->size, MADV_POPULATE_WRITE))
		return -errno;
	runs = count_runs(region->addr, pages);
	if (runs < 0)
		return runs;
	region->runs = runs;
	return 0;
}

/**
 * region_huge() - memory in as few physical pieces as can be had
 * @region: out
 * @pages: pages
 *
 * Of huge pages where there are any; otherwise as the allocator hands it out.
 *
 * Return: 0 or a negative errno.
 */
int region_huge(struct region *region, size_t pages)
{
	long runs;

	memset(region, 0, sizeof(*region));
	region->size = pages * PAGE;
	region->block_size = (region->size + 2 * HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	region->block = map_pages(region->block_size);
	if (!region->block)
		return -ENOMEM;
	region->addr = (uint8_t *)(((uintptr_t)region->block + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
	/* Only an advice: a kernel without huge pages has none to give. */
	madvise(region->block, region->block_size, MADV_HUGEPAGE);
	if (madvise(region->addr, region->size, MADV_POPULATE_WRITE))
		return -errno;
	runs = count_runs(region->addr, pages);
	if (runs < 0)
		return runs;
	region->runs = runs;
	return 0;
}

/* As region_scattered(), with @spare pages that may lie beside others; -ENOSPC if more do. */
static int scatter(struct region *region, unsigned int runs, size_t spare)
{
	size_t pages = runs + spare, used, i;
	long found;

	memset(region, 0, sizeof(*region));
	region->block_size = 2 * pages * PAGE;
	region->block = map_pages(region->block_size);
	if (!region->block)
		return -ENOMEM;
	region->addr = region->block;
	for (i = 0; i < pages; i++) {
		region->addr[i * PAGE] = 1;
		region->addr[(pages + i) * PAGE] = 1;
	}
	found = measure_runs(region->addr, pages, runs, &used);
	if (found < 0)
		return found;
	if (found != (long)runs)
		return -ENOSPC;
	region->size = used * PAGE;
	region->runs = runs;
	return 0;
}

/**
 * region_scattered() - memory in an exact number of physical pieces
 * @region: out
 * @runs: pieces
 *
 * Two mappings are touched page by page in turn, so that neighbours in one are
 * no neighbours in memory.  Where two are all the same, the region becomes as
 * much longer: one page more is never more than one run more, so every number
 * of runs up to the pages there are is met exactly.  Pages that another process
 * has just freed in that very pattern can come back in order: then there is
 * another try with more of them, while the first are kept from coming again.
 *
 * Return: 0 or a negative errno.
 */
int region_scattered(struct region *region, unsigned int runs)
{
	struct region unfit[SCATTER_TRIES];
	size_t spare = SCATTER_SPARE;
	int ret, nr = 0;

	while ((ret = scatter(region, runs, spare)) == -ENOSPC && nr < SCATTER_TRIES) {
		unfit[nr++] = *region;
		spare *= 4;
	}
	while (nr)
		region_free(&unfit[--nr]);
	return ret;
}

/**
 * region_fill() - write a pattern in which every eight bytes differ
 * @region: the memory
 * @seed: start of the pattern
 */
void region_fill(const struct region *region, uint64_t seed)
{
	uint64_t *word = (uint64_t *)region->addr;
	size_t i;

	for (i = 0; i < region->size / 8; i++)
		word[i] = seed + i * 0x9e3779b97f4a7c15ull;
}

/**
 * region_free() - unmap
 * @region: may be freed already
 */
void region_free(struct region *region)
{
	if (region->block)
		munmap(region->block, region->block_size);
	region->block = NULL;
}

/**
 * sha256() - digest on this CPU
 * @data: bytes
 * @len: how many
 * @digest: out
 *
 * Return: 0 or -EIO.
 */
int sha256(const void *data, size_t len, uint8_t digest[LOOPBACK_SHA256_SIZE])
{
	return EVP_Digest(data, len, digest, NULL, EVP_sha256(), NULL) ? 0 : -EIO;
}

/**
 * same_digest() - does the host see the bytes that we see?
 * @vg: context
 * @res: resource, from its start
 * @data: the same bytes here
 * @len: how many
 *
 * Return: true if both digests are the same.
 */
bool same_digest(struct vg *vg, uint32_t res, const void *data, size_t len)
{
	uint8_t host[LOOPBACK_SHA256_SIZE], guest[LOOPBACK_SHA256_SIZE];
	int ret = vg_sha256(vg, res, 0, len, host);

	if (ret)
		fprintf(stderr, "# host's digest of resource %u: %s\n", res, strerror(-ret));
	return !ret && !sha256(data, len, guest) && !memcmp(host, guest, sizeof(host));
}

/**
 * read_counter() - a number that follows a name at the start of a line
 * @path: file
 * @name: the name, with whatever stands before the number
 *
 * Return: the number or a negative errno.
 */
long read_counter(const char *path, const char *name)
{
	FILE *file = fopen(path, "re");
	size_t len = strlen(name);
	long value = -ENOENT;
	char line[256];

	if (!file)
		return -errno;
	while (value < 0 && fgets(line, sizeof(line), file)) {
		if (!strncmp(line, name, len))
			value = strtol(line + len, NULL, 10);
	}
	fclose(file);
	return value;
}

/**
 * pins_outstanding() - pages pinned by anyone in this kernel
 *
 * Return: pages.
 */
long pins_outstanding(void)
{
	/* Each CPU adds what it has counted once a second, or now; root only. */
	write_file("/proc/sys/vm/stat_refresh", "1");
	return read_counter("/proc/vmstat", "nr_foll_pin_acquired ") -
	       read_counter("/proc/vmstat", "nr_foll_pin_released ");
}

/**
 * wait_pins() - wait until that many pages are pinned
 * @pins: pages
 * @timeout_ms: how long
 *
 * Return: 0 or -ETIME.
 */
int wait_pins(long pins, int timeout_ms)
{
	uint64_t end = vg_now_us() + timeout_ms * 1000ull;

	while (pins_outstanding() != pins) {
		if (vg_now_us() > end)
			return -ETIME;
		pause_briefly();
	}
	return 0;
}

/**
 * wait_no_resources() - wait until the device holds no userptr resource
 * @vg: context
 * @timeout_ms: how long
 *
 * Return: 0, -ETIME or another negative errno.
 */
int wait_no_resources(struct vg *vg, int timeout_ms)
{
	uint64_t end = vg_now_us() + timeout_ms * 1000ull;
	struct loopback_stats stats;
	int ret;

	for (;;) {
		ret = vg_stats(vg, &stats);
		if (ret)
			return ret;
		if (!stats.userptr_resources && !stats.userptr_segments && !stats.userptr_bytes)
			return 0;
		if (vg_now_us() > end)
			return -ETIME;
		pause_briefly();
	}
}

/**
 * write_file() - write a string to a file that exists
 * @path: file
 * @text: the string
 *
 * Return: 0 or a negative errno.
 */
int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/**
 * file_contains() - is there a line with this in it?
 * @path: file
 * @text: what
 *
 * Return: true if so.
 */
bool file_contains(const char *path, const char *text)
{
	FILE *file = fopen(path, "re");
	bool found = false;
	char line[1024];

	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file))
		found = strstr(line, text);
	fclose(file);
	return found;
}

/**
 * wait_file_contains() - wait until there is
 * @path: file
 * @text: what
 * @timeout_ms: how long
 *
 * Return: 0 or -ETIME.
 */
int wait_file_contains(const char *path, const char *text, int timeout_ms)
{
	uint64_t end = vg_now_us() + timeout_ms * 1000ull;

	while (!file_contains(path, text)) {
		if (vg_now_us() > end)
			return -ETIME;
		pause_briefly();
	}
	return 0;
}

/**
 * kmsg_open() - the kernel's log, from now on
 *
 * Return: a descriptor for kmsg_says() or a negative errno.
 */
int kmsg_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (lseek(fd, 0, SEEK_END) < 0) {
		close(fd);
		return -ESPIPE;
	}
	return fd;
}

/**
 * kmsg_says() - was this logged since kmsg_open() or the last time?
 * @fd: of kmsg_open()
 * @text: what
 *
 * Return: true if so.
 */
bool kmsg_says(int fd, const char *text)
{
	bool found = false;
	char line[2048];
	ssize_t got;

	/* A line a read; EPIPE: some were lost, and there are more. */
	while ((got = read(fd, line, sizeof(line) - 1)) > 0 || (got < 0 && errno == EPIPE)) {
		line[got > 0 ? got : 0] = '\0';
		found = found || strstr(line, text);
	}
	return found;
}

/**
 * pause_for_look() - let the driver look at memory that it suspects
 *
 * It looks at the same resource again only after 10 ms.  That it finds nothing
 * wrong cannot be waited for.
 */
void pause_for_look(void)
{
	const struct timespec pause = { .tv_nsec = 25 * 1000 * 1000 };

	nanosleep(&pause, NULL);
}

/* The state letter of a thread, 0 if it cannot be read. */
static char thread_state(const char *path)
{
	char line[256] = "", *end;
	FILE *file = fopen(path, "re");

	if (!file)
		return 0;
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	fclose(file);
	/* Behind the name, in which anything can be. */
	end = strrchr(line, ')');
	return end && end[1] ? end[2] : 0;
}

/* Threads of process @pid that sleep in the kernel. */
static unsigned int count_sleeping(pid_t pid)
{
	struct dirent *entry;
	unsigned int nr = 0;
	char path[400];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/stat", pid, entry->d_name);
		nr += thread_state(path) == 'S';
	}
	if (dir)
		closedir(dir);
	return nr;
}

/**
 * wait_sleeping() - wait until so many threads of a process sleep
 * @pid: process
 * @threads: how many, or more
 * @timeout_ms: how long
 *
 * Nothing says that a thread has begun to wait in an ioctl but its state.
 *
 * Return: 0 or -ETIME.
 */
int wait_sleeping(pid_t pid, unsigned int threads, int timeout_ms)
{
	uint64_t end = vg_now_us() + timeout_ms * 1000ull;

	while (count_sleeping(pid) < threads) {
		if (vg_now_us() > end)
			return -ETIME;
		pause_briefly();
	}
	return 0;
}

/**
 * virtio_device_name() - the device that virtio_gpu drives, the only one
 * @name: out, as to be written to VIRTIO_DRIVER "unbind"
 * @len: bytes of @name
 *
 * Return: 0 or a negative errno.
 */
int virtio_device_name(char *name, size_t len)
{
	struct dirent *entry;
	DIR *dir = opendir(VIRTIO_DRIVER);
	int ret = -ENODEV;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, "virtio", 6))
			continue;
		snprintf(name, len, "%.60s", entry->d_name);
		ret = 0;
	}
	closedir(dir);
	return ret;
}

/**
 * run_child() - run a function in a process of its own
 * @body: its result, 0 to 125, becomes the exit status
 * @arg: its argument
 *
 * The child ends with its parent, so that a test that fails leaves nothing.
 *
 * Return: process id or a negative errno.
 */
pid_t run_child(int (*body)(void *arg), void *arg)
{
	pid_t parent = getpid(), pid;

	fflush(stdout);
	fflush(stderr);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(125);
	_exit(body(arg));
}

/**
 * wait_child() - wait for a process with a limit
 * @pid: the child
 * @timeout_ms: how long
 * @status: out, as of waitpid()
 *
 * Return: 0 or -ETIME.
 */
int wait_child(pid_t pid, int timeout_ms, int *status)
{
	uint64_t end = vg_now_us() + timeout_ms * 1000ull;
	pid_t got;

	while (!(got = waitpid(pid, status, WNOHANG))) {
		if (vg_now_us() > end)
			return -ETIME;
		pause_briefly();
	}
	return got == pid ? 0 : -errno;
}

/**
 * child_result() - wait for a process and say how it ended
 * @pid: the child
 *
 * Return: its exit status, minus the signal that killed it, or -1000 if it
 * had to be killed here because it did not end.
 */
int child_result(pid_t pid)
{
	int status;

	if (wait_child(pid, VG_TIMEOUT_MS, &status)) {
		kill(pid, SIGKILL);
		return -1000;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/**
 * become_user() - drop all privilege
 * @uid: user id; the limit is counted per user, so each test has its own
 * @memlock: bytes of RLIMIT_MEMLOCK
 *
 * Return: 0 or a negative errno.
 */
int become_user(uid_t uid, uint64_t memlock)
{
	const struct rlimit limit = { .rlim_cur = memlock, .rlim_max = memlock };

	if (setrlimit(RLIMIT_MEMLOCK, &limit) || setgroups(0, NULL) || setgid(uid) || setuid(uid))
		return -errno;
	/* A change of user makes /proc/self unreadable for its owner. */
	if (prctl(PR_SET_DUMPABLE, 1) || prctl(PR_SET_PDEATHSIG, SIGKILL))
		return -errno;
	return 0;
}

int ask_host(const char *request)
{
	char answer[64] = "";

	printf("\nhost: %s\n", request);
	fflush(stdout);
	if (!fgets(answer, sizeof(answer), stdin))
		return -EIO;
	return strcmp(answer, "host: ok\n") ? -EREMOTEIO : 0;
}

/**
 * can_look_up() - does the kernel have pinned_page_lookup()?
 *
 * The driver says by what it checks what MMU_NOTIFY_CLEAR was about.  Without
 * that function it is ignored for shmem, hugetlb and memory without access.
 *
 * Return: true if so.
 */
bool can_look_up(void)
{
	char line[256] = "";
	glob_t found = { 0 };
	FILE *file;

	if (!glob("/sys/kernel/debug/dri/*/virtio-gpu-userptr", 0, NULL, &found)) {
		file = fopen(found.gl_pathv[0], "re");
		if (file) {
			if (!fgets(line, sizeof(line), file))
				line[0] = 0;
			fclose(file);
		}
	}
	globfree(&found);
	return strstr(line, "pinned_page_lookup");
}
