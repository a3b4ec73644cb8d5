// SPDX-License-Identifier: MIT
/*
 * userptr-life-owner-test: the owner takes memory back
 *
 * Which ends the registration, whatever part of it is taken and in whatever way.
 * Huge pages are in userptr-life-huge-test.  Runs in the guest, as root.
 *
 * Invariant: see life.h.
 */
#include <sys/mount.h>

#include "life/life.h"

REVOKED_BY(munmap_whole, ANON)
{
	return munmap(self->addr, self->size);
}

REVOKED_BY(munmap_head, ANON)
{
	return munmap(self->addr, PAGE);
}

REVOKED_BY(munmap_middle, ANON)
{
	return munmap(self->addr + 7 * PAGE, 2 * PAGE);
}

REVOKED_BY(munmap_tail, ANON)
{
	return munmap(self->addr + self->size - PAGE, PAGE);
}

REVOKED_BY(munmap_more, ANON)
{
	return munmap(self->block, self->block_size);
}

REVOKED_BY(munmap_shared_file, MEMFD)
{
	return munmap(self->addr + PAGE, PAGE);
}

REVOKED_BY(map_fixed_over_all, ANON)
{
	return map_over(self->addr, self->size);
}

REVOKED_BY(map_fixed_over_a_page, ANON)
{
	return map_over(self->addr + 5 * PAGE, PAGE);
}

static int move(SELF *self, int flags)
{
	void *to = mmap(NULL, self->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (to == MAP_FAILED)
		return -errno;
	return mremap(self->addr, self->size, self->size, MREMAP_MAYMOVE | MREMAP_FIXED | flags,
		      to) == to ?
		       0 :
		       -errno;
}

REVOKED_BY(mremap_move, ANON)
{
	return move(self, 0);
}

REVOKED_BY(mremap_dontunmap, ANON)
{
	return move(self, MREMAP_DONTUNMAP);
}

REVOKED_BY(mremap_move_shared_file, MEMFD)
{
	return move(self, 0);
}

REVOKED_BY(mremap_shrink, ANON)
{
	return mremap(self->addr, self->size, self->size - PAGE, 0) == self->addr ? 0 : -errno;
}

REVOKED_BY(madv_dontneed_whole, ANON)
{
	return madvise(self->addr, self->size, MADV_DONTNEED);
}

REVOKED_BY(madv_dontneed_first_page, ANON)
{
	return madvise(self->addr, PAGE, MADV_DONTNEED);
}

REVOKED_BY(madv_dontneed_last_page, ANON)
{
	return madvise(self->addr + self->size - PAGE, PAGE, MADV_DONTNEED);
}

REVOKED_BY(madv_dontneed_and_touched, ANON)
{
	int ret = madvise(self->addr + PAGE, PAGE, MADV_DONTNEED);

	self->addr[PAGE] = 1;
	return ret;
}

REVOKED_AS_LOOKED_UP(madv_dontneed_without_access, ANON)
{
	return mprotect(self->addr, self->size, PROT_NONE) ?:
		       madvise(self->addr + 3 * PAGE, PAGE, MADV_DONTNEED);
}

REVOKED_BY(madv_dontneed_copied_pages, MEMFD_COW)
{
	return madvise(self->addr + 3 * PAGE, PAGE, MADV_DONTNEED);
}

REVOKED_AS_LOOKED_UP(madv_remove, MEMFD)
{
	return madvise(self->addr + 3 * PAGE, PAGE, MADV_REMOVE);
}

REVOKED_AS_LOOKED_UP(madv_remove_all, MEMFD)
{
	return madvise(self->addr, self->size, MADV_REMOVE);
}

REVOKED_AS_LOOKED_UP(ftruncate_to_nothing, MEMFD)
{
	return ftruncate(self->file, 0);
}

REVOKED_AS_LOOKED_UP(ftruncate_to_the_middle, MEMFD)
{
	return ftruncate(self->file, self->block_size / 2);
}

REVOKED_BY(ftruncate_under_copied_pages, MEMFD_COW)
{
	return ftruncate(self->file, 0);
}

REVOKED_AS_LOOKED_UP(punch_hole, MEMFD)
{
	return punch(self, 4, 3);
}

REVOKED_AS_LOOKED_UP(punch_hole_last_page, MEMFD)
{
	return punch(self, PAGES - 1, 1);
}

REVOKED_BY(brk_shrink, HEAP)
{
	/* Nobody else may have moved it. */
	if (sbrk(0) != self->block + self->block_size)
		return -EBUSY;
	return brk(self->addr + self->size - PAGE);
}

REVOKED_BY(shmdt, SYSV)
{
	return shmdt(self->block);
}

REVOKED_BY(free_of_malloc, MALLOC)
{
	free(self->block);
	return 0;
}

static int punch_in_child(void *opaque)
{
	return punch(opaque, 2, 1) ? 1 : 0;
}

REVOKED_AS_LOOKED_UP(punch_hole_by_another_process, MEMFD)
{
	return child_result(run_child(punch_in_child, self));
}

/* What looks at the memory must not keep the file, which may be gone. */
REVOKED_BY(file_system_unmounted, NOTHING)
{
	char dir[] = "/dev/userptr-life-XXXXXX", name[sizeof(dir) + 8];
	struct region region = { .size = MIB(64) };
	int ret;

	if (!mkdtemp(dir) || mount("userptr-life", dir, "tmpfs", 0, "size=80M"))
		return -errno;
	snprintf(name, sizeof(name), "%s/file", dir);
	self->file = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (self->file < 0 || ftruncate(self->file, region.size))
		return -errno;
	self->size = region.size;
	self->addr = mmap(NULL, self->size, PROT_READ | PROT_WRITE, MAP_SHARED, self->file, 0);
	if (self->addr == MAP_FAILED)
		return -errno;
	memset(self->addr, 1, self->size);
	region.addr = self->addr;
	ret = create(&self->session, &region, 0, &self->bo);
	if (ret)
		return ret;
	if (madvise(self->addr, self->size, MADV_DONTNEED) || munmap(self->addr, self->size) ||
	    close(self->file))
		return -errno;
	self->file = -1;
	return umount2(dir, 0) || rmdir(dir) ? -errno : 0;
}

TEST_HARNESS_MAIN
