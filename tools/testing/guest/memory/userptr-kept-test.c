// SPDX-License-Identifier: MIT
/*
 * userptr-kept-test: what may happen to registered memory, and does no harm
 *
 * Registers memory, then does what moves pages, takes them away or shares them.
 * A control, memory of the same kind that nobody registered, shows that what was
 * done does do that.  Runs as root in an x86-64 guest.
 *
 * Invariant: see memory.h and userptr-test-session.h.
 */
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "memory/memory-check.h"

#define MEMORY_BLOCKS "/sys/devices/system/memory/"

FIXTURE(kept)
{
	struct session session;
	struct memory memory;
	struct memory control;
};

FIXTURE_VARIANT(kept)
{
	int (*make)(struct memory * memory);
	/* Its small pages can be made a huge one. */
	bool anonymous;
	bool huge;
};

#define KEPT(kind, ...)                          \
	FIXTURE_VARIANT_ADD(kept, kind)          \
	{                                        \
		.make = make_##kind, __VA_ARGS__ \
	}

KEPT(small, .anonymous = true);
KEPT(thp, .anonymous = true, .huge = true);
KEPT(memfd);

FIXTURE_SETUP(kept)
{
	memset(&self->memory, 0, sizeof(self->memory));
	memset(&self->control, 0, sizeof(self->control));
	session_begin(_metadata, &self->session, "MAIN");
	if (!self->session.node)
		return;
	ASSERT_EQ(0, variant->make(&self->memory));
	ASSERT_EQ(0, variant->make(&self->control));
}

FIXTURE_TEARDOWN(kept)
{
	session_end(_metadata, &self->session);
	memory_free(&self->memory);
	memory_free(&self->control);
	EXPECT_EQ(0, restore_kernel());
}

TEST_F_TIMEOUT(kept, paged_out, TEST_SECONDS)
{
	struct memory *memory = &self->memory, *control = &self->control;
	int ret = swap_on();

	if (ret == -EOPNOTSUPP)
		SKIP(return, "%s", skip_reason);
	ASSERT_EQ(0, ret);
	register_memory(_metadata, &self->session, memory, 0);
	EXPECT_EQ(0, madvise(memory->region.addr, memory->region.size, MADV_PAGEOUT));
	ASSERT_EQ(0, page_out(control));
	EXPECT_EQ(0, madvise(memory->region.addr, memory->region.size, MADV_PAGEOUT));
	check_kept(_metadata, &self->session, memory, 30);
	EXPECT_TRUE(control_same(control));
	release(_metadata, &self->session, memory);
}

/* Registered while its pages have copies on the disk, which then goes. */
TEST_F_TIMEOUT(kept, swapoff, TEST_SECONDS)
{
	struct memory *memory = &self->memory, *control = &self->control;
	int ret = swap_on();

	if (ret == -EOPNOTSUPP)
		SKIP(return, "%s", skip_reason);
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, page_out(memory));
	ASSERT_EQ(0, page_out(control));
	register_memory(_metadata, &self->session, memory, 0);
	ASSERT_EQ(0, swap_off());
	check_kept(_metadata, &self->session, memory, 32);
	EXPECT_TRUE(control_same(control));
	release(_metadata, &self->session, memory);
}

TEST_F_TIMEOUT(kept, compaction, TEST_SECONDS)
{
	struct memory *memory = &self->memory;
	long scanned = read_counter("/proc/vmstat", "compact_migrate_scanned ");
	int i;

	if (access("/proc/sys/vm/compact_memory", W_OK))
		SKIP(return, "no compaction in this kernel");
	register_memory(_metadata, &self->session, memory, 0);
	for (i = 0; i < 5; i++)
		ASSERT_EQ(0, write_file("/proc/sys/vm/compact_memory", "1"));
	EXPECT_LT(scanned, read_counter("/proc/vmstat", "compact_migrate_scanned "));
	check_kept(_metadata, &self->session, memory, 34);
	release(_metadata, &self->session, memory);
}

TEST_F_TIMEOUT(kept, drop_caches, TEST_SECONDS)
{
	struct memory *memory = &self->memory;
	long dropped = read_counter("/proc/vmstat", "drop_pagecache ");

	register_memory(_metadata, &self->session, memory, 0);
	ASSERT_EQ(0, write_file("/proc/sys/vm/drop_caches", "3"));
	EXPECT_LT(dropped, read_counter("/proc/vmstat", "drop_pagecache "));
	check_kept(_metadata, &self->session, memory, 36);
	release(_metadata, &self->session, memory);
}

TEST_F_TIMEOUT(kept, collapse, TEST_SECONDS)
{
	struct memory *memory = &self->memory, *control = &self->control;

	register_memory(_metadata, &self->session, memory, 0);
	if (variant->anonymous) {
		ASSERT_EQ(0, madvise(control->region.addr, control->region.size, MADV_COLLAPSE))
		{
			TH_LOG("MADV_COLLAPSE of the control: %m");
		}
		EXPECT_TRUE(all_huge(control));
	}
	/* Small pages cannot become a huge one; a huge one is one already. */
	EXPECT_EQ(variant->huge ? 0 : -1,
		  madvise(memory->region.addr, memory->region.size, MADV_COLLAPSE));
	check_kept(_metadata, &self->session, memory, 38);
	EXPECT_TRUE(control_same(control));
	release(_metadata, &self->session, memory);
}

TEST_F_TIMEOUT(kept, neighbours_protection, TEST_SECONDS)
{
	struct memory *memory = &self->memory;
	struct memory part = *memory;
	size_t edge = 16 * PAGE;

	/* What is registered has neighbours in its mapping, and in its folios. */
	part.region.addr += edge;
	part.region.size -= 2 * edge;
	part.model.addr += edge;
	part.model.size -= 2 * edge;
	register_memory(_metadata, &self->session, &part, 0);
	ASSERT_EQ(0, mprotect(memory->region.addr, edge, PROT_READ));
	ASSERT_EQ(0, mprotect(memory->region.addr + memory->region.size - edge, edge, PROT_NONE));
	check_kept(_metadata, &self->session, &part, 40);
	ASSERT_EQ(0, mprotect(memory->region.addr, memory->region.size, PROT_READ | PROT_WRITE));
	check_kept(_metadata, &self->session, &part, 42);
	/* The registered memory's own protection, there and back. */
	ASSERT_EQ(0, mprotect(part.region.addr, part.region.size, PROT_READ));
	host_writes(_metadata, &self->session, &part);
	ASSERT_EQ(0, mprotect(part.region.addr, part.region.size, PROT_READ | PROT_WRITE));
	check_kept(_metadata, &self->session, &part, 44);
	release(_metadata, &self->session, &part);
}

/* The node of each folio, or with @node >= 0: try to move them there. */
static int move_to_node(const struct memory *memory, int node, int *status)
{
	size_t nr = memory->region.size / memory->step, i;
	void **pages = calloc(nr, sizeof(*pages));
	int *nodes = calloc(nr, sizeof(*nodes));
	int ret = -ENOMEM;

	for (i = 0; pages && nodes && i < nr; i++) {
		pages[i] = memory->region.addr + i * memory->step;
		nodes[i] = node;
		status[i] = -1;
	}
	if (pages && nodes)
		ret = syscall(SYS_move_pages, 0, nr, pages, node < 0 ? NULL : nodes, status,
			      MPOL_MF_MOVE);
	free(pages);
	free(nodes);
	return ret < 0 ? -errno : ret;
}

/* Folios of @memory on @node, or a negative errno. */
static long count_on_node(const struct memory *memory, int node)
{
	size_t nr = memory->region.size / memory->step, i;
	int *status = calloc(nr, sizeof(*status));
	long found;

	if (!status)
		return -ENOMEM;
	found = move_to_node(memory, -1, status);
	for (i = 0; found >= 0 && i < nr; i++)
		found += status[i] == node;
	free(status);
	return found;
}

static bool two_nodes(void)
{
	return !access("/sys/devices/system/node/node1", F_OK);
}

TEST_F_TIMEOUT(kept, moved_between_nodes, TEST_SECONDS)
{
	struct memory *memory = &self->memory, *control = &self->control;
	long all = control->region.size / control->step, before[2];
	unsigned long mask[2] = { 1, 2 };
	int status[512], node;

	if (!two_nodes())
		SKIP(return, "only one NUMA node");
	register_memory(_metadata, &self->session, memory, 0);
	for (node = 0; node < 2; node++)
		before[node] = count_on_node(memory, node);
	EXPECT_EQ(all, before[0] + before[1]);
	for (node = 0; node < 2; node++) {
		EXPECT_LE(0, move_to_node(memory, node, status));
		EXPECT_LE(0, move_to_node(control, node, status));
		EXPECT_EQ(all, count_on_node(control, node));
		EXPECT_EQ(before[node], count_on_node(memory, node));
	}
	check_kept(_metadata, &self->session, memory, 50);
	for (node = 0; node < 2; node++) {
		EXPECT_LE(0, syscall(SYS_migrate_pages, 0, 3, &mask[!node], &mask[node]));
		EXPECT_EQ(all, count_on_node(control, node));
		EXPECT_EQ(before[node], count_on_node(memory, node));
	}
	check_kept(_metadata, &self->session, memory, 52);
	EXPECT_TRUE(control_same(control));
	release(_metadata, &self->session, memory);
}

struct toucher {
	struct memory *memory;
	pthread_t thread;
	bool stop;
};

/* Writes one byte of each page back to it, again and again. */
static void *touch(void *opaque)
{
	struct toucher *toucher = opaque;
	volatile uint8_t *at = toucher->memory->region.addr;
	size_t i;

	while (!__atomic_load_n(&toucher->stop, __ATOMIC_ACQUIRE)) {
		for (i = 0; i < toucher->memory->region.size; i += PAGE)
			at[i] = at[i];
	}
	return NULL;
}

/* With several threads the kernel wants to know who uses which page. */
static int balance(struct toucher *touchers, long faults)
{
	long before = read_counter("/proc/vmstat", "numa_hint_faults ");
	uint64_t start = vg_now_us();
	int ret = write_file(NUMA_BALANCING, "1");
	int i, nr;

	for (nr = 0; !ret && nr < 2; nr++)
		ret = -pthread_create(&touchers[nr].thread, NULL, touch, &touchers[nr]);
	while (!ret && read_counter("/proc/vmstat", "numa_hint_faults ") < before + faults)
		ret = expired(start, BACKGROUND_MS) ? -ETIME : 0;
	for (i = 0; i < nr; i++) {
		__atomic_store_n(&touchers[i].stop, true, __ATOMIC_RELEASE);
		pthread_join(touchers[i].thread, NULL);
	}
	return ret;
}

TEST_F_TIMEOUT(kept, numa_balancing, TEST_SECONDS)
{
	struct memory *memory = &self->memory, *control = &self->control;
	struct toucher touchers[] = { { .memory = memory }, { .memory = control } };

	if (!two_nodes())
		SKIP(return, "only one NUMA node");
	register_memory(_metadata, &self->session, memory, 0);
	/* A huge page is one fault. */
	ASSERT_EQ(0, balance(touchers, variant->huge ? 4 : 200))
	{
		TH_LOG("NUMA balancing does nothing");
	}
	check_kept(_metadata, &self->session, memory, 54);
	EXPECT_TRUE(control_same(control));
	release(_metadata, &self->session, memory);
}

TEST_F_TIMEOUT(kept, merging, TEST_SECONDS)
{
	struct memory *memory = &self->memory, same;
	uint64_t start;
	long scans;
	int ret;

	/* As in the memory that does become one page. */
	memset(memory->region.addr, 0x5a, memory->region.size);
	memset(memory->model.addr, 0x5a, memory->region.size);
	register_memory(_metadata, &self->session, memory, 0);
	ASSERT_EQ(0, madvise(memory->region.addr, memory->region.size, MADV_MERGEABLE));
	ret = make_merged(&same);
	if (!ret) {
		scans = read_counter(KSM "full_scans", "");
		start = vg_now_us();
		while (read_counter(KSM "full_scans", "") < scans + 3)
			ASSERT_FALSE(expired(start, BACKGROUND_MS));
	}
	memory_free(&same);
	if (ret == -EOPNOTSUPP)
		SKIP(return, "%s", skip_reason);
	EXPECT_EQ(0, ret);
	EXPECT_TRUE(same_frames(memory));
	check_kept(_metadata, &self->session, memory, 56);
	release(_metadata, &self->session, memory);
}

static int offline_block(void *path)
{
	return -write_file(path, "offline");
}

/*
 * The kernel tries for ever, until a signal: give it one when it has tried to
 * move pages and failed.  Returns how the attempt ended, as child_result().
 */
static int try_offline(uint64_t block)
{
	long failures = read_counter("/proc/vmstat", "pgmigrate_fail ");
	uint64_t start = vg_now_us();
	char path[128];
	int status;
	pid_t pid;

	snprintf(path, sizeof(path), MEMORY_BLOCKS "memory%lu/state", block);
	pid = run_child(offline_block, path);
	if (pid < 0)
		return pid;
	while (!waitpid(pid, &status, WNOHANG)) {
		if (read_counter("/proc/vmstat", "pgmigrate_fail ") <= failures &&
		    !expired(start, BACKGROUND_MS))
			continue;
		kill(pid, SIGKILL);
		return child_result(pid);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Pages of one block of memory hotplug, or 0 if there is none. */
static uint64_t block_pages(void)
{
	FILE *file = fopen(MEMORY_BLOCKS "block_size_bytes", "re");
	uint64_t size = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%lx", &size) != 1)
		size = 0;
	fclose(file);
	return size / PAGE;
}

TEST_F_TIMEOUT(kept, memory_offlining, TEST_SECONDS)
{
	struct memory *memory = &self->memory;
	uint64_t size = block_pages(), block, last = ~0ull;
	char path[128];
	size_t i;
	int ret;

	if (!size)
		SKIP(return, "no memory hotplug in this kernel");
	register_memory(_metadata, &self->session, memory, 0);
	for (i = 0; i < pages_of(memory); i++) {
		block = memory->frames[i] / size;
		if (block == last)
			continue;
		last = block;
		ret = try_offline(block);
		EXPECT_NE(0, ret)
		{
			TH_LOG("block %lu, which has registered pages, went offline", block);
		}
		snprintf(path, sizeof(path), MEMORY_BLOCKS "memory%lu/state", block);
		EXPECT_TRUE(file_contains(path, "online"));
		check_kept(_metadata, &self->session, memory, 58);
	}
	release(_metadata, &self->session, memory);
}

struct fork_arg {
	struct memory *memory;
	int to_child[2];
	int to_parent[2];
};

static bool await(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char byte;

	return poll(&pfd, 1, VG_TIMEOUT_MS) == 1 && read(fd, &byte, 1) == 1;
}

static bool tell(int fd)
{
	return write(fd, "", 1) == 1;
}

static int writing_child(void *opaque)
{
	struct fork_arg *arg = opaque;
	struct memory *memory = arg->memory;
	struct region *region = &memory->region;

	CHECK(await(arg->to_child[0]));
	/* The parent has written: a private copy is as it was when we forked. */
	if (!memory->shared)
		CHECK(!memcmp(region->addr, memory->model.addr, region->size));
	guest_fill(memory, 70);
	CHECK(tell(arg->to_parent[1]));
	CHECK(await(arg->to_child[0]));
	if (!memory->shared)
		CHECK(!memcmp(region->addr, memory->model.addr, region->size));
	return 0;
}

TEST_F_TIMEOUT(kept, fork_and_both_write, TEST_SECONDS)
{
	struct session *session = &self->session;
	struct memory *memory = &self->memory;
	struct fork_arg arg = { .memory = memory };
	pid_t pid;

	ASSERT_EQ(0, pipe2(arg.to_child, O_CLOEXEC));
	ASSERT_EQ(0, pipe2(arg.to_parent, O_CLOEXEC));
	register_memory(_metadata, session, memory, 0);
	pid = run_child(writing_child, &arg);
	ASSERT_LT(0, pid);
	/* The owner's first write after the fork must not give it a copy. */
	check_kept(_metadata, session, memory, 60);
	ASSERT_TRUE(tell(arg.to_child[1]));
	ASSERT_TRUE(await(arg.to_parent[0]));
	if (memory->shared)
		region_fill(&memory->model, 70);
	check_kept(_metadata, session, memory, 62);
	ASSERT_TRUE(tell(arg.to_child[1]));
	EXPECT_EQ(0, child_result(pid));
	check_kept(_metadata, session, memory, 64);
	release(_metadata, session, memory);
}

TEST_F_TIMEOUT(kept, locked_and_unlocked, TEST_SECONDS)
{
	struct memory *memory = &self->memory;
	struct region *region = &memory->region;

	register_memory(_metadata, &self->session, memory, 0);
	ASSERT_EQ(0, mlock(region->addr, region->size));
	EXPECT_EQ((long)(region->size / 1024), vg_status_kib("VmLck"));
	check_kept(_metadata, &self->session, memory, 66);
	ASSERT_EQ(0, munlock(region->addr, region->size));
	EXPECT_EQ(0, vg_status_kib("VmLck"));
	EXPECT_EQ((long)(region->size / 1024), vg_status_kib("VmPin"));
	check_kept(_metadata, &self->session, memory, 68);
	release(_metadata, &self->session, memory);
	/* And locked before it is registered. */
	ASSERT_EQ(0, mlock(region->addr, region->size));
	register_memory(_metadata, &self->session, memory, 0);
	ASSERT_EQ(0, munlock(region->addr, region->size));
	check_kept(_metadata, &self->session, memory, 72);
	release(_metadata, &self->session, memory);
}

TEST_F_TIMEOUT(kept, clear_referenced, TEST_SECONDS)
{
	struct memory *memory = &self->memory;
	long referenced;

	register_memory(_metadata, &self->session, memory, 0);
	referenced = read_counter("/proc/self/smaps_rollup", "Referenced:");
	ASSERT_EQ(0, write_file("/proc/self/clear_refs", "1"));
	EXPECT_GT(referenced, read_counter("/proc/self/smaps_rollup", "Referenced:"));
	check_kept(_metadata, &self->session, memory, 74);
	release(_metadata, &self->session, memory);
}

/* Write-protects every page table entry of the process. */
TEST_F_TIMEOUT(kept, clear_soft_dirty, TEST_SECONDS)
{
	struct memory *memory = &self->memory;

	if (count_entries(&self->control, PM_SOFT_DIRTY, PM_SOFT_DIRTY) <= 0)
		SKIP(return, "this kernel does not track dirty pages of processes");
	register_memory(_metadata, &self->session, memory, 0);
	ASSERT_EQ(0, write_file("/proc/self/clear_refs", "4"));
	EXPECT_EQ(0, count_entries(&self->control, PM_SOFT_DIRTY, PM_SOFT_DIRTY));
	check_kept(_metadata, &self->session, memory, 76);
	release(_metadata, &self->session, memory);
}

TEST_HARNESS_MAIN
