// SPDX-License-Identifier: MIT
/*
 * userptr-create-test: what may be registered, and what is refused
 *
 * Arguments, addresses, mappings that have no pages of the process's own.  Runs in
 * the guest, as root, with one device.
 *
 * Invariant: see userptr-test-session.h.
 */
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "ioctl/userptr-fixture.h"

TEST_F(userptr, malformed_arguments)
{
	struct region *region = &self->region;
	struct drm_virtgpu_resource_create_userptr good, bad;
	int fd = self->session.vg.fd;

	ASSERT_EQ(0, region_alloc(region, 4));
	memset(&good, 0, sizeof(good));
	good.addr = (uintptr_t)region->addr;
	good.size = region->size;

#define EXPECT_REFUSED(field, wrong)                                                               \
	do {                                                                                       \
		bad = good;                                                                        \
		bad.field = (wrong);                                                               \
		EXPECT_EQ(-EINVAL, vg_ioctl(fd, DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_USERPTR, &bad)); \
	} while (0)
	EXPECT_REFUSED(size, 0);
	EXPECT_REFUSED(size, good.size - 1);
	EXPECT_REFUSED(size, good.size + 512);
	EXPECT_REFUSED(addr, good.addr + 1);
	EXPECT_REFUSED(addr, good.addr + 2048);
	EXPECT_REFUSED(flags, 1u << 3);
	EXPECT_REFUSED(flags, VIRTGPU_USERPTR_KEEP | VIRTGPU_USERPTR_EVENT);
	EXPECT_REFUSED(flags, 1u << 31);
	EXPECT_REFUSED(pad, 1);
#undef EXPECT_REFUSED
	expect_untouched(_metadata, &self->session);
	/* The good one is good: what was refused was the one field. */
	ASSERT_EQ(0, vg_ioctl(fd, DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_USERPTR, &good));
	EXPECT_EQ(0, vg_bo_close(fd, good.bo_handle));
}

TEST_F(userptr, addresses_outside_user_space)
{
	struct session *session = &self->session;

	/* Wraps, ends at the very end, not canonical, just beyond, not mapped. */
	EXPECT_EQ(-EFAULT, try_create(session, (void *)-PAGE, 2 * PAGE, 0));
	EXPECT_EQ(-EFAULT, try_create(session, (void *)-PAGE, PAGE, 0));
	EXPECT_EQ(-EFAULT, try_create(session, (void *)(1ul << 63), PAGE, 0));
	EXPECT_EQ(-EFAULT, try_create(session, (void *)0x00007ffffffff000, 2 * PAGE, 0));
	EXPECT_EQ(-EFAULT, try_create(session, NULL, PAGE, 0));
	expect_untouched(_metadata, session);
}

TEST_F(userptr, holes_and_protection)
{
	struct session *session = &self->session;
	struct region *region = &self->region;
	uint8_t *at;

	ASSERT_EQ(0, region_alloc(region, 1024));
	at = region->addr;
	ASSERT_EQ(0, munmap(at + 700 * PAGE, PAGE));
	EXPECT_EQ(-EFAULT, try_create(session, at, region->size, 0));
	EXPECT_EQ(-EFAULT, try_create(session, at + 700 * PAGE, PAGE, 0));
	EXPECT_EQ(-EFAULT, try_create(session, at, region->size, VIRTGPU_USERPTR_RDONLY));

	ASSERT_EQ(0, mprotect(at + 600 * PAGE, PAGE, PROT_NONE));
	EXPECT_EQ(-EFAULT, try_create(session, at, 601 * PAGE, 0));
	EXPECT_EQ(-EFAULT, try_create(session, at, 601 * PAGE, VIRTGPU_USERPTR_RDONLY));

	ASSERT_EQ(0, mprotect(at + 500 * PAGE, PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, try_create(session, at, 501 * PAGE, 0));
	expect_untouched(_metadata, session);
	EXPECT_EQ(0, try_create(session, at, 501 * PAGE, VIRTGPU_USERPTR_RDONLY));
	EXPECT_EQ(0, try_create(session, at, 500 * PAGE, 0));
}

TEST_F(userptr, mapping_of_another_object)
{
	struct session *session = &self->session;

	/* The results blob, which this process has mapped. */
	EXPECT_EQ(-EFAULT, try_create(session, session->vg.map, VG_RESULT_SIZE, 0));
	EXPECT_EQ(-EFAULT,
		  try_create(session, session->vg.map, VG_RESULT_SIZE, VIRTGPU_USERPTR_RDONLY));
	expect_untouched(_metadata, session);
}

TEST_F(userptr, secretmem)
{
	struct session *session = &self->session;
	void *addr;
	int fd;

	fd = syscall(SYS_memfd_secret, 0);
	if (fd < 0)
		SKIP(return, "no memfd_secret() in this kernel: %s", strerror(errno));
	ASSERT_EQ(0, ftruncate(fd, PAGE));
	addr = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_EQ(-EFAULT, try_create(session, addr, PAGE, 0));
	expect_untouched(_metadata, session);
}

/* Shared memory without dirty tracking is memory like any other. */
TEST_F(userptr, shared_tmpfs_mapping)
{
	struct session *session = &self->session;
	struct vg_bo bo;
	uint8_t *addr;
	int fd;

	fd = memfd_create("shared", MFD_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, 16 * PAGE));
	addr = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_EQ(0, vg_userptr_create(session->vg.fd, addr, 16 * PAGE, 0, &bo));
	ASSERT_EQ(0, vg_fill(&session->vg, bo.res, PAGE - 1, 2, 0x77));
	EXPECT_EQ(0, addr[PAGE - 2]);
	EXPECT_EQ(0x77, addr[PAGE - 1]);
	EXPECT_EQ(0x77, addr[PAGE]);
	EXPECT_EQ(0, addr[PAGE + 1]);
	EXPECT_TRUE(same_digest(&session->vg, bo.res, addr, 16 * PAGE));
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
}

TEST_F(userptr, dirty_tracked_file)
{
	struct session *session = &self->session;
	const char *image = getenv("USERPTR_EXT4"), *dir = "/dev/shm/ext4";
	uint8_t *addr;
	int fd;

	if (!image)
		SKIP(return, "no ext4 image in this run");
	mkdir(dir, 0700);
	ASSERT_EQ(0, mount(image, dir, "ext4", 0, NULL))
	{
		TH_LOG("%s: %m", image);
	}
	fd = open("/dev/shm/ext4/file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, 4 * PAGE));

	addr = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, addr);
	memset(addr, 0x42, 4 * PAGE);
	EXPECT_EQ(-EFAULT, try_create(session, addr, 4 * PAGE, 0));
	expect_untouched(_metadata, session);
	/* Reading the file's own pages, or writing copies of them, is fine. */
	EXPECT_EQ(0, try_create(session, addr, 4 * PAGE, VIRTGPU_USERPTR_RDONLY));
	EXPECT_EQ(0, munmap(addr, 4 * PAGE));
	addr = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_EQ(0, try_create(session, addr, 4 * PAGE, 0));
	EXPECT_EQ(0, munmap(addr, 4 * PAGE));
	close(fd);
	EXPECT_EQ(0, wait_no_resources(&session->vg, SETTLE_MS));
	EXPECT_EQ(0, wait_pins(session->pins, SETTLE_MS));
	EXPECT_EQ(0, umount(dir))
	{
		TH_LOG("umount: %m");
	}
}

TEST_HARNESS_MAIN
