/* SPDX-License-Identifier: MIT */
/*
 * life-memory: memory to register and then to do something to
 *
 * Included by test programs only: it defines the data of their fixture "life".
 *
 * Invariant: around what is registered there is more of the same mapping, so that
 * something can be done to its neighbours.
 */
#ifndef LIFE_MEMORY_H
#define LIFE_MEMORY_H

#include <fcntl.h>
#include <malloc.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/swap.h>

#include "lib/userptr-test-session.h"

#define PAGES 16ul
#define MARGIN 4ul

/* Not in all C libraries' headers. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum source {
	ANON, /* private, anonymous */
	MEMFD, /* a file in memory, shared */
	MEMFD_COW, /* the same, private: pages that were copied */
	MALLOC, /* of malloc(), above its threshold for mmap() */
	HEAP, /* below the break */
	SYSV, /* System V shared memory */
	THP, /* a transparent huge page, and half of one before and behind it */
	HUGETLB, /* two pages of the reserve, with one before and one behind */
	HUGETLB_FILE, /* the same of a file, shared */
	SPARSE, /* a few pages of what could be a huge page, private */
	SPARSE_FILE, /* the same of a file */
	NOTHING, /* the case sees to it */
};

FIXTURE(life)
{
	struct session session;
	struct vg_bo bo;
	/* What is registered, what is mapped, and the file behind it or -1. */
	uint8_t *addr;
	size_t size;
	uint8_t *block;
	size_t block_size;
	int file;
	/* The registrations of settle(). */
	unsigned int settled;
	/* Why there is no such case here. */
	const char *reason;
};

#define SELF FIXTURE_DATA(life)

static inline int cannot(SELF *self, const char *reason)
{
	self->reason = reason;
	return -EOPNOTSUPP;
}

static inline int map_file(SELF *self, int flags)
{
	self->file = memfd_create("userptr-life", MFD_CLOEXEC);
	if (self->file < 0 || ftruncate(self->file, self->block_size))
		return -errno;
	self->block = mmap(NULL, self->block_size, PROT_READ | PROT_WRITE, flags, self->file, 0);
	return self->block == MAP_FAILED ? -errno : 0;
}

static inline int map_sysv(SELF *self)
{
	int id = shmget(IPC_PRIVATE, self->block_size, IPC_CREAT | 0600);

	if (id < 0)
		return -errno;
	self->block = shmat(id, NULL, 0);
	/* It lives until it is detached. */
	if (shmctl(id, IPC_RMID, NULL))
		return -errno;
	return self->block == (void *)-1 ? -errno : 0;
}

static inline int grow_heap(SELF *self)
{
	uintptr_t end;

	/* Room for what malloc() is asked for meanwhile. */
	mallopt(M_TRIM_THRESHOLD, MIB(64));
	free(malloc(KIB(120)));
	end = (uintptr_t)sbrk(0);
	if (sbrk(-end % PAGE) == (void *)-1)
		return -errno;
	self->block = sbrk(self->block_size);
	return self->block == (void *)-1 ? -errno : 0;
}

/* Where huge pages can be, and four of them. */
static inline int map_aligned(SELF *self, int flags)
{
	uintptr_t at;

	self->block_size = 4 * HUGE_PAGE;
	at = (uintptr_t)mmap(NULL, self->block_size + HUGE_PAGE, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	at = (at + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	self->block = mmap((void *)at, self->block_size, PROT_READ | PROT_WRITE, flags | MAP_FIXED,
			   self->file, 0);
	return self->block == MAP_FAILED ? -errno : 0;
}

#define THP_DIR "/sys/kernel/mm/transparent_hugepage/"
#define NR_HUGEPAGES "/proc/sys/vm/nr_hugepages"

/* Memory of this process that is in transparent huge pages. */
static inline long huge_kib(void)
{
	return read_counter("/proc/self/smaps_rollup", "AnonHugePages:");
}

static inline int map_thp(SELF *self)
{
	long before = huge_kib();
	int ret;

	if (access(THP_DIR, F_OK))
		return cannot(self, "no transparent huge pages in this kernel");
	ret = map_aligned(self, MAP_PRIVATE | MAP_ANONYMOUS);
	if (ret)
		return ret;
	if (madvise(self->block, self->block_size, MADV_HUGEPAGE))
		return -errno;
	memset(self->block, 0x77, self->block_size);
	self->addr = self->block + HUGE_PAGE / 2;
	self->size = 2 * HUGE_PAGE;
	/* Where memory is in pieces there are small pages instead. */
	return huge_kib() - before == (long)self->block_size / 1024 ? 0 : -ENOMEM;
}

static inline int map_hugetlb(SELF *self, bool file)
{
	int ret;

	if (access(NR_HUGEPAGES, W_OK))
		return cannot(self, "no hugetlb in this kernel");
	if (write_file(NR_HUGEPAGES, "4") || !file_contains(NR_HUGEPAGES, "4"))
		return -ENOMEM;
	if (file) {
		self->file = memfd_create("userptr-life", MFD_CLOEXEC | MFD_HUGETLB);
		if (self->file < 0 || ftruncate(self->file, 4 * HUGE_PAGE))
			return -errno;
	}
	ret = map_aligned(self, file ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB);
	self->addr = self->block + HUGE_PAGE;
	self->size = 2 * HUGE_PAGE;
	return ret;
}

/*
 * Small pages in the first two of what could be huge pages, and the kernel's
 * thread keeps away until allow_huge(): it could come by before the registration.
 */
static inline int map_sparse(SELF *self, bool file)
{
	int ret;

	if (access(THP_DIR, F_OK))
		return cannot(self, "no transparent huge pages in this kernel");
	if (file) {
		self->file = memfd_create("userptr-life", MFD_CLOEXEC);
		if (self->file < 0 || ftruncate(self->file, 4 * HUGE_PAGE))
			return -errno;
	}
	ret = map_aligned(self, file ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS);
	if (ret)
		return ret;
	if (madvise(self->block, self->block_size, MADV_NOHUGEPAGE))
		return -errno;
	memset(self->block, 0x77, 2 * HUGE_PAGE);
	self->addr = self->block + HUGE_PAGE - self->size;
	return 0;
}

static inline int map_memory(SELF *self, enum source source)
{
	self->size = PAGES * PAGE;
	self->addr = NULL;
	self->block_size = self->size + 2 * MARGIN * PAGE;
	switch (source) {
	case ANON:
		self->block = mmap(NULL, self->block_size, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		return self->block == MAP_FAILED ? -errno : 0;
	case MEMFD:
		return map_file(self, MAP_SHARED);
	case MEMFD_COW:
		return map_file(self, MAP_PRIVATE);
	case MALLOC:
		self->block_size = MIB(1);
		self->block = malloc(self->block_size);
		return self->block ? 0 : -ENOMEM;
	case HEAP:
		return grow_heap(self);
	case SYSV:
		return map_sysv(self);
	case THP:
		return map_thp(self);
	case HUGETLB:
	case HUGETLB_FILE:
		return map_hugetlb(self, source == HUGETLB_FILE);
	case SPARSE:
	case SPARSE_FILE:
		return map_sparse(self, source == SPARSE_FILE);
	default:
		return 0;
	}
}

static inline int register_memory(SELF *self, enum source source, uint32_t flags)
{
	struct region region;
	int ret = map_memory(self, source);

	if (ret || source == NOTHING)
		return ret;
	if (!self->addr)
		self->addr = (uint8_t *)(((uintptr_t)self->block + MARGIN * PAGE) & ~(PAGE - 1));
	region.addr = self->addr;
	region.size = self->size;
	memset(self->addr - PAGE, 0x77, self->size + 2 * PAGE);
	region_fill(&region, (uintptr_t)self->addr);
	return create(&self->session, &region, flags, &self->bo);
}

static inline int allow_huge(SELF *self)
{
	return madvise(self->block, self->block_size, MADV_HUGEPAGE) ? -errno : 0;
}

/* Other pages in the place of these. */
static inline int map_over(uint8_t *addr, size_t size)
{
	return mmap(addr, size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0) == addr ?
		       0 :
		       -errno;
}

/* A hole in the file, by pages of what is registered. */
static inline int punch(SELF *self, size_t page, size_t pages)
{
	return fallocate(self->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 self->addr - self->block + page * PAGE, pages * PAGE);
}

/* Anonymous pages leave only for a swap area; a loop device over memory is one. */
static inline int swap_on(SELF *self, char *path, size_t len)
{
	const char *node = getenv("USERPTR_SWAP");

	if (!node)
		return cannot(self, "no swap disk in this run");
	snprintf(path, len, "%s", node);
	return swapon(node, 0) ? -errno : 0;
}

#endif /* LIFE_MEMORY_H */
