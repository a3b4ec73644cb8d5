// SPDX-License-Identifier: MIT
/*
 * Process memory as an object: what the GPU sees is what the process has at that address, also when
 * the kernel or the process takes pages away.
 *
 * AGM_SWAP in the environment is a device to swap to; without it two tests are skipped.
 */
#include "agt.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"

#define SIZE (64 * AGT_PAGE)
#define USER AGT_VA
#define OURS (AGT_VA + 0x1000000)
#define RW_FLAGS (AMDGPU_GEM_USERPTR_REGISTER | AMDGPU_GEM_USERPTR_VALIDATE)
#define RO_FLAGS (AMDGPU_GEM_USERPTR_READONLY | AMDGPU_GEM_USERPTR_VALIDATE)

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

FIXTURE(userptr)
{
	struct agt t;
	struct agt_bo ours;
	struct agt_bo user;
	uint32_t bos[2];
	uint8_t *mem;
	int64_t faults;
};

static uint8_t *anonymous(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

FIXTURE_SETUP(userptr)
{
	ASSERT_EQ(0, agt_open(&self->t));
	ASSERT_EQ(0, agt_bo_make(&self->t, SIZE, AMDGPU_GEM_DOMAIN_VRAM, OURS, &self->ours));
	memset(self->ours.cpu, 0x11, SIZE);
	self->mem = anonymous(SIZE);
	ASSERT_NE(NULL, self->mem);
	memset(self->mem, 0x22, SIZE);
	ASSERT_EQ(0, agt_bo_userptr(&self->t, self->mem, SIZE, RW_FLAGS, &self->user));
	ASSERT_EQ(0, agt_map(&self->t, &self->user, USER, AGT_RW));
	self->bos[0] = self->ours.handle;
	self->bos[1] = self->user.handle;
	agt_start(&self->t);
	self->faults = agt_stat("faults");
}

FIXTURE_TEARDOWN(userptr)
{
	agt_hold(0);
	agt_close(&self->t);
}

#define RUN() agt_run(&self->t, AGT_SDMA, self->bos, 2)
#define OUR(offset) (((uint8_t *)self->ours.cpu)[offset])

static bool all(const uint8_t *bytes, size_t size, uint8_t value)
{
	while (size) {
		if (bytes[--size] != value)
			return false;
	}
	return true;
}

TEST_F(userptr, both_ways)
{
	self->mem[5] = 0x77;
	agt_sdma_copy(&self->t, OURS, USER, AGT_PAGE);
	agt_sdma_copy(&self->t, USER + 3 * AGT_PAGE + 1, OURS, 2 * AGT_PAGE);
	ASSERT_EQ(0, RUN());
	EXPECT_EQ(0x77, OUR(5));
	EXPECT_EQ(0x22, OUR(6));
	EXPECT_EQ(0x22, self->mem[3 * AGT_PAGE]);
	EXPECT_EQ(0x77, self->mem[3 * AGT_PAGE + 6]);
}

TEST_F(userptr, bad_arguments)
{
	struct agt_bo bo;
	void *hole = anonymous(AGT_PAGE);
	int fd = memfd_create("file", 0);
	void *file;

	ASSERT_EQ(0, ftruncate(fd, SIZE));
	file = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	munmap(hole, AGT_PAGE);
	EXPECT_EQ(-EINVAL, agt_bo_userptr(&self->t, self->mem + 1, SIZE, RW_FLAGS, &bo));
	EXPECT_EQ(-EINVAL, agt_bo_userptr(&self->t, self->mem, SIZE - 1, RW_FLAGS, &bo));
	EXPECT_EQ(-EINVAL, agt_bo_userptr(&self->t, self->mem, 0, RW_FLAGS, &bo));
	EXPECT_EQ(-EINVAL, agt_bo_userptr(&self->t, self->mem, SIZE, RW_FLAGS | 16, &bo));
	EXPECT_EQ(-EFAULT, agt_bo_userptr(&self->t, (void *)-AGT_PAGE, SIZE, RW_FLAGS, &bo));
	EXPECT_EQ(-EACCES,
		  agt_bo_userptr(&self->t, self->mem, SIZE, AMDGPU_GEM_USERPTR_VALIDATE, &bo));
	EXPECT_EQ(-EFAULT, agt_bo_userptr(&self->t, hole, AGT_PAGE, RW_FLAGS, &bo));
	EXPECT_EQ(-EPERM, agt_bo_userptr(&self->t, file, SIZE,
					 RW_FLAGS | AMDGPU_GEM_USERPTR_ANONONLY, &bo));
	EXPECT_EQ(0, agt_bo_userptr(&self->t, file, SIZE, RW_FLAGS, &bo));
	EXPECT_EQ(-EPERM, agt_bo_map_cpu(&self->t, &bo));
	EXPECT_EQ(-EPERM, agt_export(&self->t, bo.handle));
	agt_bo_free(&self->t, &bo);
}

TEST_F(userptr, shared_file)
{
	int fd = memfd_create("file", 0);
	struct agt_bo bo;
	uint8_t *file, byte;

	ASSERT_EQ(0, ftruncate(fd, SIZE));
	file = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_EQ(0, agt_bo_userptr(&self->t, file, SIZE, RW_FLAGS, &bo));
	ASSERT_EQ(0, agt_map(&self->t, &bo, USER + 0x100000, AGT_RW));
	self->bos[1] = bo.handle;
	agt_sdma_copy(&self->t, USER + 0x100000, OURS, SIZE);
	ASSERT_EQ(0, RUN());
	ASSERT_EQ(1, pread(fd, &byte, 1, SIZE - 1));
	EXPECT_EQ(0x11, byte);
	EXPECT_TRUE(all(file, SIZE, 0x11));
}

/* The GPU writes to no page of a read-only object, whatever its mapping says. */
TEST_F(userptr, read_only)
{
	char path[] = "/tmp/agm-XXXXXX";
	int fd = mkstemp(path);
	uint8_t *file;
	struct agt_bo bo;

	ASSERT_EQ(AGT_PAGE, write(fd, self->mem, AGT_PAGE));
	file = mmap(NULL, AGT_PAGE, PROT_READ, MAP_SHARED, fd, 0);
	/* What cannot be written to by the process cannot be for the GPU. */
	EXPECT_EQ(-EPERM, agt_bo_userptr(&self->t, file, AGT_PAGE, RW_FLAGS, &bo));
	ASSERT_EQ(0, agt_bo_userptr(&self->t, file, AGT_PAGE, RO_FLAGS, &bo));
	ASSERT_EQ(0, agt_map(&self->t, &bo, USER + 0x100000, AGT_RW));
	self->bos[1] = bo.handle;
	agt_sdma_copy(&self->t, OURS, USER + 0x100000, AGT_PAGE);
	ASSERT_EQ(0, RUN());
	EXPECT_EQ(0x22, OUR(0));
	agt_start(&self->t);
	memset(self->ours.cpu, 0x33, SIZE);
	agt_sdma_copy(&self->t, USER + 0x100000, OURS, AGT_PAGE);
	EXPECT_EQ(-ENODATA, RUN());
	EXPECT_TRUE(all(file, AGT_PAGE, 0x22));
	EXPECT_EQ(self->faults + 1, agt_stat("faults"));
	unlink(path);
}

/* What is at the address now, not what was there. */
TEST_F(userptr, new_memory_at_the_address)
{
	int64_t before = agt_stat("invalidations");

	agt_sdma_copy(&self->t, OURS, USER, SIZE);
	ASSERT_EQ(0, RUN());
	ASSERT_EQ(self->mem, mmap(self->mem, SIZE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	EXPECT_LT(before, agt_stat("invalidations"));
	memset(self->mem, 0x44, SIZE);
	ASSERT_EQ(0, RUN());
	EXPECT_TRUE(all(self->ours.cpu, SIZE, 0x44));
	ASSERT_EQ(0, madvise(self->mem, SIZE, MADV_DONTNEED));
	ASSERT_EQ(0, RUN());
	EXPECT_TRUE(all(self->ours.cpu, SIZE, 0));
}

TEST_F(userptr, unmapped)
{
	ASSERT_EQ(0, munmap(self->mem, SIZE));
	agt_sdma_copy(&self->t, USER, OURS, SIZE);
	/* In the list: refused.  Not in the list: a fault. */
	EXPECT_EQ(-EFAULT, RUN());
	EXPECT_EQ(self->faults, agt_stat("faults"));
	EXPECT_EQ(-ENODATA, agt_run(&self->t, AGT_SDMA, self->bos, 1));
	EXPECT_EQ(self->faults + 1, agt_stat("faults"));
}

TEST_F(userptr, partly_unmapped)
{
	ASSERT_EQ(0, munmap(self->mem + SIZE / 2, AGT_PAGE));
	agt_sdma_copy(&self->t, USER, OURS, AGT_PAGE);
	EXPECT_EQ(-EFAULT, RUN());
	EXPECT_EQ(0x22, self->mem[0]);
}

struct unmapper {
	uint8_t *mem;
	int done;
};

static void *unmap(void *arg)
{
	struct unmapper *u = arg;

	munmap(u->mem, SIZE);
	__atomic_store_n(&u->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* munmap() returns when the engine is done with the pages, and not before. */
TEST_F(userptr, unmap_waits_for_jobs)
{
	struct agt_submit s = { .ip = AGT_SDMA, .bos = self->bos, .num_bos = 2 };
	struct unmapper u = { .mem = self->mem };
	pthread_t thread;

	ASSERT_EQ(0, agt_hold(AGT_HOLD_ALL));
	agt_sdma_copy(&self->t, OURS, USER, SIZE);
	ASSERT_EQ(0, agt_submit(&self->t, &s));
	ASSERT_EQ(0, pthread_create(&thread, NULL, unmap, &u));
	usleep(100000);
	EXPECT_EQ(0, __atomic_load_n(&u.done, __ATOMIC_ACQUIRE));
	EXPECT_EQ(0x11, OUR(0));
	ASSERT_EQ(0, agt_hold(0));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, agt_wait(&self->t, &s, 0));
	/* The job read the pages that were there when it was submitted. */
	EXPECT_TRUE(all(self->ours.cpu, SIZE, 0x22));
}

struct submitter {
	struct agt *t;
	struct agt_submit s;
	int ret;
};

static void *submit(void *arg)
{
	struct submitter *u = arg;

	u->ret = agt_submit(u->t, &u->s);
	return NULL;
}

/* A submission has found the pages, and waits for a place in the ring when they go. */
TEST_F(userptr, unmapped_during_submission)
{
	struct submitter u = { .t = &self->t,
			       .s = { .ip = AGT_SDMA, .bos = self->bos, .num_bos = 2 } };
	struct agt_submit nothing = { .ip = AGT_SDMA };
	struct unmapper v = { .mem = self->mem };
	pthread_t submitting, unmapping;
	int i;

	ASSERT_EQ(0, agt_hold(AGT_HOLD_ALL));
	AGT_EMIT(&self->t, 0);
	for (i = 0; i < 32; i++)
		ASSERT_EQ(0, agt_submit(&self->t, &nothing));
	ASSERT_EQ(0, pthread_create(&submitting, NULL, submit, &u));
	usleep(100000);
	ASSERT_EQ(0, pthread_create(&unmapping, NULL, unmap, &v));
	usleep(100000);
	ASSERT_EQ(0, agt_hold(0));
	ASSERT_EQ(0, pthread_join(submitting, NULL));
	ASSERT_EQ(0, pthread_join(unmapping, NULL));
	/* It has found out, and has looked again. */
	EXPECT_EQ(-EFAULT, u.ret);
}

/* The parent's memory stays the parent's after fork(), whoever writes first. */
TEST_F(userptr, fork)
{
	int status;
	pid_t child;

	agt_sdma_copy(&self->t, USER, OURS, SIZE);
	ASSERT_EQ(0, RUN());
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		memset(self->mem, 0x55, SIZE);
		/* Nor may another process use the object. */
		_exit(RUN() == -EPERM ? 0 : 1);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	memset(self->ours.cpu, 0x66, SIZE);
	ASSERT_EQ(0, RUN());
	EXPECT_TRUE(all(self->mem, SIZE, 0x66));
}

TEST_F(userptr, process_exits_with_a_job_held)
{
	int64_t jobs = agt_stat("jobs");
	int status, i;
	pid_t child;

	ASSERT_EQ(0, agt_hold(AGT_HOLD_ALL));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct agt_submit s = { .ip = AGT_SDMA, .num_bos = 1 };
		struct agt_bo user;
		uint8_t *mem = anonymous(SIZE);
		struct agt t;

		s.bos = &user.handle;
		if (agt_open(&t) || agt_bo_userptr(&t, mem, SIZE, RW_FLAGS, &user) ||
		    agt_map(&t, &user, USER, AGT_RW))
			_exit(1);
		agt_start(&t);
		agt_sdma_fill(&t, USER, 0x12345678, SIZE);
		_exit(agt_submit(&t, &s) ? 2 : 0);
	}
	usleep(100000);
	/* Its exit waits, as its memory is in use. */
	EXPECT_EQ(0, waitpid(child, &status, WNOHANG));
	ASSERT_EQ(0, agt_hold(0));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	for (i = 0; i < 1000 && agt_stat("jobs") == jobs; i++)
		usleep(1000);
	EXPECT_EQ(jobs + 1, agt_stat("jobs"));
}

static bool swap_is_on(void)
{
	const char *device = getenv("AGM_SWAP");

	return device && (!swapon(device, 0) || errno == EBUSY);
}

/* How many pages of @mem are in memory. */
static size_t resident(uint8_t *mem)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry;
	size_t i, count = 0;

	for (i = 0; i < SIZE / AGT_PAGE; i++) {
		if (pread(fd, &entry, 8, ((uintptr_t)mem / AGT_PAGE + i) * 8) == 8 && entry >> 63)
			count++;
	}
	close(fd);
	return count;
}

/* Whether the kernel could page @mem out; what is being written from the last time has to be waited for. */
static bool paged_out(uint8_t *mem)
{
	int tries;

	for (tries = 0; tries < 1000; tries++) {
		if (madvise(mem, SIZE, MADV_PAGEOUT))
			return false;
		if (!resident(mem))
			return true;
		usleep(1000);
	}
	return false;
}

/* Nothing is pinned: the kernel can page the memory out, and the GPU gets it back. */
TEST_F(userptr, swap)
{
	int64_t before = agt_stat("invalidations");
	int round;

	if (!swap_is_on())
		SKIP(return, "AGM_SWAP is no device that can be swapped to");
	for (round = 0; round < 20; round++) {
		memset(self->ours.cpu, round, SIZE);
		agt_start(&self->t);
		agt_sdma_copy(&self->t, USER, OURS, SIZE);
		ASSERT_EQ(0, RUN());
		/* The only copy is what the GPU has just written. */
		ASSERT_TRUE(paged_out(self->mem));
		memset(self->ours.cpu, 0xff, SIZE);
		agt_start(&self->t);
		if (round % 2) {
			agt_sdma_copy(&self->t, OURS, USER, SIZE);
			ASSERT_EQ(0, RUN());
			ASSERT_TRUE(all(self->ours.cpu, SIZE, round));
		}
		ASSERT_TRUE(all(self->mem, SIZE, round));
	}
	EXPECT_LT(before, agt_stat("invalidations"));
}

static void *page_out(void *arg)
{
	struct unmapper *u = arg;

	madvise(u->mem, SIZE, MADV_PAGEOUT);
	__atomic_store_n(&u->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

TEST_F(userptr, swap_waits_for_jobs)
{
	struct agt_submit s = { .ip = AGT_SDMA, .bos = self->bos, .num_bos = 2 };
	struct unmapper u = { .mem = self->mem };
	pthread_t thread;

	if (!swap_is_on())
		SKIP(return, "AGM_SWAP is no device that can be swapped to");
	ASSERT_EQ(0, agt_hold(AGT_HOLD_ALL));
	agt_sdma_copy(&self->t, USER, OURS, SIZE);
	ASSERT_EQ(0, agt_submit(&self->t, &s));
	ASSERT_EQ(0, pthread_create(&thread, NULL, page_out, &u));
	usleep(100000);
	EXPECT_EQ(0, __atomic_load_n(&u.done, __ATOMIC_ACQUIRE));
	EXPECT_EQ(SIZE / AGT_PAGE, resident(self->mem));
	ASSERT_EQ(0, agt_hold(0));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, agt_wait(&self->t, &s, AGT_TIMEOUT_MS));
	EXPECT_TRUE(all(self->mem, SIZE, 0x11));
}

TEST_HARNESS_MAIN
