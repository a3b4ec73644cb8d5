// SPDX-License-Identifier: MIT
/*
 * Buffers shared with other drivers and processes: udmabuf, vgem, and our own; and who waits for whom.
 */
#include "agt.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/dma-buf.h>
#include <linux/udmabuf.h>

#include "kselftest_harness.h"

#ifndef DMA_BUF_IOCTL_EXPORT_SYNC_FILE
#error "linux-libc-dev is too old"
#endif

#define PAGES 16
#define SIZE (PAGES * AGT_PAGE)
#define OURS (AGT_VA + 0x1000000)

FIXTURE(share)
{
	struct agt t;
	struct agt_bo ours;
	int64_t faults;
};

FIXTURE_SETUP(share)
{
	ASSERT_EQ(0, agt_open(&self->t));
	ASSERT_EQ(0, agt_bo_make(&self->t, SIZE, AMDGPU_GEM_DOMAIN_VRAM, OURS, &self->ours));
	memset(self->ours.cpu, 0x11, SIZE);
	agt_start(&self->t);
	self->faults = agt_stat("faults");
}

FIXTURE_TEARDOWN(share)
{
	agt_hold(0);
	agt_close(&self->t);
}

/* A udmabuf of the pages of a memfd, the last one first; its memory at @mem. */
static int make_udmabuf(uint8_t **mem)
{
	char buffer[sizeof(struct udmabuf_create_list) + PAGES * sizeof(struct udmabuf_create_item)];
	struct udmabuf_create_list *list = (void *)buffer;
	int memfd = memfd_create("pages", MFD_ALLOW_SEALING), dev, fd, i;

	if (memfd < 0 || ftruncate(memfd, SIZE) || fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		return -errno;
	*mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	list->flags = UDMABUF_FLAGS_CLOEXEC;
	list->count = PAGES;
	for (i = 0; i < PAGES; i++) {
		list->list[i].memfd = memfd;
		list->list[i].offset = (PAGES - 1 - i) * AGT_PAGE;
		list->list[i].size = AGT_PAGE;
	}
	dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	fd = ioctl(dev, UDMABUF_CREATE_LIST, list);
	if (fd < 0)
		fd = -errno;
	close(dev);
	close(memfd);
	return fd;
}

static bool idle(int dmabuf)
{
	struct pollfd p = { .fd = dmabuf, .events = POLLOUT };

	return poll(&p, 1, 0) == 1 && p.revents & POLLOUT;
}

static int import(struct agt *t, int dmabuf, struct agt_bo *bo)
{
	int ret;

	*bo = (struct agt_bo){ .size = SIZE };
	ret = agt_import(t, dmabuf, &bo->handle);
	return ret ? ret : agt_map(t, bo, AGT_VA, AGT_RW);
}

TEST_F(share, udmabuf)
{
	uint8_t *mem;
	struct agt_bo bo;
	int fd = make_udmabuf(&mem), i;
	uint32_t bos[2];

	ASSERT_LE(0, fd);
	ASSERT_EQ(SIZE, lseek(fd, 0, SEEK_END));
	ASSERT_EQ(0, import(&self->t, fd, &bo));
	bos[0] = bo.handle;
	bos[1] = self->ours.handle;
	for (i = 0; i < PAGES; i++)
		memset(mem + i * AGT_PAGE, i, AGT_PAGE);
	agt_sdma_copy(&self->t, OURS, AGT_VA, SIZE);
	agt_sdma_fill(&self->t, AGT_VA + AGT_PAGE, 0x77777777, 8);
	ASSERT_EQ(0, agt_run(&self->t, AGT_SDMA, bos, 2));
	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(PAGES - 1 - i, ((uint8_t *)self->ours.cpu)[i * AGT_PAGE + 17]);
	EXPECT_EQ(0x77, mem[(PAGES - 2) * AGT_PAGE]);
	EXPECT_EQ(0x77, mem[(PAGES - 2) * AGT_PAGE + 7]);
	EXPECT_EQ(PAGES - 2, mem[(PAGES - 2) * AGT_PAGE + 8]);
	EXPECT_TRUE(idle(fd));
}

/* A mapping alone gives no access: the object must be in the list of a job once. */
TEST_F(share, not_in_the_list)
{
	uint8_t *mem;
	struct agt_bo bo;
	int fd = make_udmabuf(&mem);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, import(&self->t, fd, &bo));
	agt_sdma_fill(&self->t, AGT_VA, 0x77777777, 8);
	EXPECT_EQ(-ENODATA, agt_run(&self->t, AGT_SDMA, NULL, 0));
	EXPECT_EQ(self->faults + 1, agt_stat("faults"));
	EXPECT_EQ(0, mem[0]);
}

/* As long as a job can touch it the buffer is busy, also when nobody has a handle any more. */
TEST_F(share, busy_until_the_job_ends)
{
	struct agt_submit s = { .ip = AGT_SDMA, .num_bos = 1 };
	uint8_t *mem;
	struct agt_bo bo;
	int fd = make_udmabuf(&mem);
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, import(&self->t, fd, &bo));
	s.bos = &bo.handle;
	EXPECT_TRUE(idle(fd));
	ASSERT_EQ(0, agt_hold(AGT_HOLD_ALL));
	agt_sdma_fill(&self->t, AGT_VA, 0x77777777, SIZE);
	ASSERT_EQ(0, agt_submit(&self->t, &s));
	EXPECT_FALSE(idle(fd));
	ASSERT_EQ(0, agt_unmap(&self->t, &bo));
	ASSERT_EQ(0, agt_gem_close(self->t.fd, bo.handle));
	EXPECT_FALSE(idle(fd));
	EXPECT_EQ(0, mem[0]);
	ASSERT_EQ(0, agt_hold(0));
	ASSERT_EQ(1, poll(&p, 1, AGT_TIMEOUT_MS));
	EXPECT_EQ(0x77, mem[0]);
	EXPECT_EQ(0x77, mem[SIZE - 1]);
}

/* A handle closed while a job that has it not in its list, but can see it, is in flight. */
TEST_F(share, busy_by_mapping_alone)
{
	struct agt_submit s = { .ip = AGT_SDMA };
	uint8_t *mem;
	struct agt_bo bo;
	int fd = make_udmabuf(&mem);
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, import(&self->t, fd, &bo));
	/* Once in the list, so that its pages are there. */
	AGT_EMIT(&self->t, 0);
	ASSERT_EQ(0, agt_run(&self->t, AGT_SDMA, &bo.handle, 1));
	agt_start(&self->t);
	agt_sdma_fill(&self->t, AGT_VA, 0x77777777, SIZE);
	ASSERT_EQ(0, agt_hold(AGT_HOLD_ALL));
	ASSERT_EQ(0, agt_submit(&self->t, &s));
	EXPECT_TRUE(idle(fd));
	ASSERT_EQ(0, agt_gem_close(self->t.fd, bo.handle));
	EXPECT_FALSE(idle(fd));
	ASSERT_EQ(0, agt_hold(0));
	ASSERT_EQ(1, poll(&p, 1, AGT_TIMEOUT_MS));
	EXPECT_EQ(0, agt_wait(&self->t, &s, 0));
	EXPECT_EQ(0x77, mem[0]);
}

TEST_F(share, fence_is_a_writers)
{
	struct dma_buf_export_sync_file sync = { .flags = DMA_BUF_SYNC_READ, .fd = -1 };
	struct agt_submit s = { .ip = AGT_SDMA, .num_bos = 1 };
	struct pollfd p = { .events = POLLIN };
	uint8_t *mem;
	struct agt_bo bo;
	int fd = make_udmabuf(&mem);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, import(&self->t, fd, &bo));
	s.bos = &bo.handle;
	ASSERT_EQ(0, agt_hold(AGT_HOLD_ALL));
	AGT_EMIT(&self->t, 0);
	ASSERT_EQ(0, agt_submit(&self->t, &s));
	/* Who wants to read waits for writers. */
	ASSERT_EQ(0, ioctl(fd, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &sync));
	p.fd = sync.fd;
	EXPECT_EQ(0, poll(&p, 1, 20));
	ASSERT_EQ(0, agt_hold(0));
	EXPECT_EQ(1, poll(&p, 1, AGT_TIMEOUT_MS));
	close(sync.fd);
}

TEST_F(share, metadata_and_size_of_an_import)
{
	struct drm_amdgpu_gem_metadata metadata = { .op = AMDGPU_GEM_METADATA_OP_SET_METADATA };
	struct drm_amdgpu_gem_create_in info;
	struct drm_amdgpu_gem_op op = { .op = AMDGPU_GEM_OP_GET_GEM_CREATE_INFO,
					.value = (uintptr_t)&info };
	uint8_t *mem;
	uint32_t handle, again;
	int fd = make_udmabuf(&mem);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, agt_import(&self->t, fd, &handle));
	/* The same buffer is the same handle. */
	ASSERT_EQ(0, agt_import(&self->t, fd, &again));
	EXPECT_EQ(handle, again);
	op.handle = handle;
	ASSERT_EQ(0, agt_ioctl(self->t.fd, DRM_IOCTL_AMDGPU_GEM_OP, &op));
	EXPECT_EQ(SIZE, info.bo_size);
	EXPECT_EQ(AMDGPU_GEM_DOMAIN_GTT, info.domains);
	metadata.handle = handle;
	metadata.data.data_size_bytes = 8;
	metadata.data.data[1] = 99;
	ASSERT_EQ(0, agt_ioctl(self->t.fd, DRM_IOCTL_AMDGPU_GEM_METADATA, &metadata));
	memset(&metadata.data, 0, sizeof(metadata.data));
	metadata.op = AMDGPU_GEM_METADATA_OP_GET_METADATA;
	ASSERT_EQ(0, agt_ioctl(self->t.fd, DRM_IOCTL_AMDGPU_GEM_METADATA, &metadata));
	EXPECT_EQ(8, metadata.data.data_size_bytes);
	EXPECT_EQ(99, metadata.data.data[1]);
	metadata.op = AMDGPU_GEM_METADATA_OP_SET_METADATA;
	metadata.data.data_size_bytes = 257;
	EXPECT_EQ(-EINVAL, agt_ioctl(self->t.fd, DRM_IOCTL_AMDGPU_GEM_METADATA, &metadata));
}

TEST_F(share, mmap_of_an_import)
{
	uint8_t *mem;
	struct agt_bo bo;
	int fd = make_udmabuf(&mem);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, import(&self->t, fd, &bo));
	ASSERT_EQ(0, agt_bo_map_cpu(&self->t, &bo));
	((uint8_t *)bo.cpu)[0] = 0x5a;
	EXPECT_EQ(0x5a, mem[SIZE - AGT_PAGE]);
	/* The mapping outlives the object. */
	ASSERT_EQ(0, agt_gem_close(self->t.fd, bo.handle));
	mem[SIZE - AGT_PAGE] = 0x5b;
	EXPECT_EQ(0x5b, ((uint8_t *)bo.cpu)[0]);
	munmap(bo.cpu, SIZE);
}

TEST_F(share, export_and_mmap)
{
	struct agt other;
	uint8_t *mem;
	uint32_t handle;
	int fd = agt_export(&self->t, self->ours.handle);

	ASSERT_LE(0, fd);
	mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, (void *)mem);
	EXPECT_EQ(0x11, mem[SIZE - 1]);
	agt_sdma_fill(&self->t, OURS + AGT_PAGE, 0x55555555, 16);
	ASSERT_EQ(0, agt_run(&self->t, AGT_SDMA, &self->ours.handle, 1));
	EXPECT_EQ(0x55, mem[AGT_PAGE]);
	/* Another process: the same object, with its own address. */
	ASSERT_EQ(0, agt_open(&other));
	ASSERT_EQ(0, agt_import(&other, fd, &handle));
	ASSERT_EQ(0, agt_va(&other, AMDGPU_VA_OP_MAP, handle, 0, AGT_VA, SIZE, AGT_RW));
	agt_start(&other);
	agt_sdma_fill(&other, AGT_VA, 0x66666666, 16);
	ASSERT_EQ(0, agt_run(&other, AGT_SDMA, &handle, 1));
	EXPECT_EQ(0x66, mem[0]);
	agt_close(&other);
	/* The file's end leaves the buffer. */
	agt_bo_free(&self->t, &self->ours);
	EXPECT_EQ(0x66, mem[0]);
	munmap(mem, SIZE);
	close(fd);
}

/* Two processes share an object: the second one's job waits for the first one's. */
TEST_F(share, implicit_synchronisation)
{
	struct agt_submit first = { .ip = AGT_SDMA, .bos = &self->ours.handle, .num_bos = 1 };
	struct agt_submit second = { .ip = AGT_SDMA, .ring = 1, .num_bos = 1 };
	struct agt other;
	uint32_t handle;
	int fd = agt_export(&self->t, self->ours.handle);

	ASSERT_EQ(0, agt_open(&other));
	ASSERT_EQ(0, agt_import(&other, fd, &handle));
	ASSERT_EQ(0, agt_va(&other, AMDGPU_VA_OP_MAP, handle, 0, AGT_VA, SIZE, AGT_RW));
	second.bos = &handle;
	agt_sdma_fill(&self->t, OURS, 0x11111111, 16);
	agt_start(&other);
	agt_sdma_fill(&other, AGT_VA, 0x22222222, 16);
	ASSERT_EQ(0, agt_hold(AGT_HOLD_SDMA0));
	ASSERT_EQ(0, agt_submit(&self->t, &first));
	ASSERT_EQ(0, agt_submit(&other, &second));
	/* Its ring is not held, and yet. */
	EXPECT_EQ(-ETIME, agt_wait(&other, &second, 50));
	ASSERT_EQ(0, agt_hold(0));
	EXPECT_EQ(0, agt_wait(&other, &second, AGT_TIMEOUT_MS));
	EXPECT_EQ(0, agt_wait(&self->t, &first, 0));
	EXPECT_EQ(0x22, ((uint8_t *)self->ours.cpu)[0]);
	agt_close(&other);
}

/* An object of vgem, with a writer of its own: our job waits for that one. */
TEST_F(share, vgem)
{
	struct agt_vgem vgem;
	struct agt_submit s = { .ip = AGT_SDMA, .num_bos = 1 };
	uint32_t *mem;
	struct agt_bo bo;

	ASSERT_EQ(0, agt_vgem_create(&vgem, SIZE));
	mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, vgem.dmabuf, 0);
	ASSERT_NE(MAP_FAILED, (void *)mem);
	ASSERT_EQ(0, import(&self->t, vgem.dmabuf, &bo));
	s.bos = &bo.handle;
	agt_sdma_fill(&self->t, AGT_VA, 0x77777777, SIZE);
	ASSERT_EQ(0, agt_vgem_attach_fence(&vgem));
	ASSERT_EQ(0, agt_submit(&self->t, &s));
	EXPECT_EQ(-ETIME, agt_wait(&self->t, &s, 50));
	EXPECT_EQ(0, mem[0]);
	ASSERT_EQ(0, agt_vgem_signal_fence(&vgem));
	ASSERT_EQ(0, agt_wait(&self->t, &s, AGT_TIMEOUT_MS));
	EXPECT_EQ(0x77777777, mem[0]);
	EXPECT_EQ(0x77777777, mem[SIZE / 4 - 1]);
	close(vgem.fd);
}

TEST_F(share, always_valid_is_not_exported)
{
	struct agt_bo bo;

	ASSERT_EQ(0, agt_bo_create(&self->t, AGT_PAGE, AMDGPU_GEM_DOMAIN_GTT,
				   AMDGPU_GEM_CREATE_VM_ALWAYS_VALID, &bo));
	EXPECT_EQ(-EPERM, agt_export(&self->t, bo.handle));
	/* And needs no list. */
	ASSERT_EQ(0, agt_map(&self->t, &bo, AGT_VA, AGT_RW));
	ASSERT_EQ(0, agt_bo_map_cpu(&self->t, &bo));
	agt_sdma_fill(&self->t, AGT_VA, 0x77777777, 16);
	ASSERT_EQ(0, agt_run(&self->t, AGT_SDMA, NULL, 0));
	EXPECT_EQ(0x77, ((uint8_t *)bo.cpu)[15]);
	agt_bo_free(&self->t, &bo);
}

TEST_HARNESS_MAIN
