// SPDX-License-Identifier: MIT
/*
 * What is refused: memory that is not there, flags that mean nothing, submissions that are wrong; and
 * what INFO says.
 */
#include "agt.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "kselftest_harness.h"

#define MIB 1048576ul

FIXTURE(limit)
{
	struct agt t;
};

FIXTURE_SETUP(limit)
{
	ASSERT_EQ(0, agt_open(&self->t));
	agt_start(&self->t);
	AGT_EMIT(&self->t, 0);
}

FIXTURE_TEARDOWN(limit)
{
	agt_limit("vram", 0);
	agt_limit("gtt", 0);
	agt_close(&self->t);
}

static int info(struct agt *t, uint32_t query, void *to, uint32_t size)
{
	struct drm_amdgpu_info args = { .return_pointer = (uintptr_t)to,
					.return_size = size,
					.query = query };

	return agt_ioctl(t->fd, DRM_IOCTL_AMDGPU_INFO, &args);
}

TEST_F(limit, vram)
{
	struct agt_bo a, b;
	int64_t used = agt_stat("vram_used");

	ASSERT_EQ(0, agt_limit("vram", used + 2 * MIB));
	ASSERT_EQ(0, agt_bo_create(&self->t, MIB, AMDGPU_GEM_DOMAIN_VRAM, 0, &a));
	EXPECT_EQ(used + (int64_t)MIB, agt_stat("vram_used"));
	EXPECT_EQ(-ENOMEM, agt_bo_create(&self->t, 2 * MIB, AMDGPU_GEM_DOMAIN_VRAM, 0, &b));
	/* With another domain allowed it is there. */
	ASSERT_EQ(0, agt_bo_create(&self->t, 2 * MIB,
				   AMDGPU_GEM_DOMAIN_VRAM | AMDGPU_GEM_DOMAIN_GTT, 0, &b));
	EXPECT_EQ(used + (int64_t)MIB, agt_stat("vram_used"));
	agt_bo_free(&self->t, &a);
	agt_bo_free(&self->t, &b);
	EXPECT_EQ(used, agt_stat("vram_used"));
}

TEST_F(limit, gtt)
{
	struct agt_bo a;
	int64_t used = agt_stat("gtt_used");

	ASSERT_EQ(0, agt_limit("gtt", used + MIB));
	EXPECT_EQ(-ENOMEM, agt_bo_create(&self->t, 2 * MIB, AMDGPU_GEM_DOMAIN_GTT, 0, &a));
	EXPECT_EQ(used, agt_stat("gtt_used"));
}

TEST_F(limit, create)
{
	struct agt_bo a;

	EXPECT_EQ(-EINVAL, agt_bo_create(&self->t, 0, AMDGPU_GEM_DOMAIN_GTT, 0, &a));
	EXPECT_EQ(-EINVAL, agt_bo_create(&self->t, ~0ull, AMDGPU_GEM_DOMAIN_GTT, 0, &a));
	EXPECT_EQ(-EINVAL, agt_bo_create(&self->t, MIB, 0, 0, &a));
	EXPECT_EQ(-EINVAL, agt_bo_create(&self->t, MIB, AMDGPU_GEM_DOMAIN_GDS, 0, &a));
	EXPECT_EQ(-EINVAL, agt_bo_create(&self->t, MIB, AMDGPU_GEM_DOMAIN_OA, 0, &a));
	EXPECT_EQ(-EINVAL, agt_bo_create(&self->t, MIB, AMDGPU_GEM_DOMAIN_DOORBELL, 0, &a));
	EXPECT_EQ(-EINVAL, agt_bo_create(&self->t, MIB, AMDGPU_GEM_DOMAIN_GTT, 1ull << 40, &a));
	ASSERT_EQ(0, agt_bo_create(&self->t, 1, AMDGPU_GEM_DOMAIN_VRAM,
				   AMDGPU_GEM_CREATE_NO_CPU_ACCESS, &a));
	EXPECT_EQ(-EPERM, agt_bo_map_cpu(&self->t, &a));
	agt_bo_free(&self->t, &a);
}

/* An object of one address space that another file cannot have. */
TEST_F(limit, memory_is_zero)
{
	struct agt_bo a;
	uint32_t *words, i;
	int round;

	for (round = 0; round < 4; round++) {
		ASSERT_EQ(0, agt_bo_create(&self->t, MIB, AMDGPU_GEM_DOMAIN_VRAM, 0, &a));
		ASSERT_EQ(0, agt_bo_map_cpu(&self->t, &a));
		words = a.cpu;
		for (i = 0; i < MIB / 4; i++)
			ASSERT_EQ(0, words[i]);
		memset(words, 0xff, MIB);
		agt_bo_free(&self->t, &a);
	}
}

TEST_F(limit, infos)
{
	struct drm_amdgpu_info_device device;
	struct drm_amdgpu_memory_info memory;
	uint32_t word = 0;

	ASSERT_EQ(0, info(&self->t, AMDGPU_INFO_ACCEL_WORKING, &word, sizeof(word)));
	EXPECT_EQ(1, word);
	ASSERT_EQ(0, info(&self->t, AMDGPU_INFO_DEV_INFO, &device, sizeof(device)));
	EXPECT_EQ(0x73bf, device.device_id);
	EXPECT_EQ(AMDGPU_FAMILY_NV, device.family);
	ASSERT_EQ(0, info(&self->t, AMDGPU_INFO_MEMORY, &memory, sizeof(memory)));
	EXPECT_EQ(0, memory.vram.total_heap_size % MIB);
	EXPECT_LT(0, memory.gtt.total_heap_size);
	/* As much as there is room for. */
	word = 0xffffffff;
	ASSERT_EQ(0, info(&self->t, AMDGPU_INFO_DEV_INFO, &word, 2));
	EXPECT_EQ(0xffff73bf, word);
	EXPECT_EQ(-EINVAL, info(&self->t, 0xfff, &word, 4));
	EXPECT_EQ(-EFAULT, info(&self->t, AMDGPU_INFO_DEV_INFO, (void *)16, sizeof(device)));
	EXPECT_EQ(-EINVAL, info(&self->t, AMDGPU_INFO_DEV_INFO, &word, 0));
}

/* A submission of chunks as they are. */
static int submit(struct agt *t, struct drm_amdgpu_cs_chunk *chunks, uint32_t count, uint32_t ctx)
{
	uint64_t pointers[8];
	union drm_amdgpu_cs args = {
		.in = { .ctx_id = ctx, .num_chunks = count, .chunks = (uintptr_t)pointers }
	};
	uint32_t i;

	for (i = 0; i < count && i < 8; i++)
		pointers[i] = (uintptr_t)&chunks[i];
	return agt_ioctl(t->fd, DRM_IOCTL_AMDGPU_CS, &args);
}

#define CHUNK(id, data)                                    \
	{                                                  \
		id, sizeof(data) / 4, (uintptr_t) & (data) \
	}

TEST_F(limit, chunks)
{
	struct drm_amdgpu_cs_chunk_ib ib = { .va_start = AGT_VA_IB,
					     .ib_bytes = 4,
					     .ip_type = AGT_SDMA };
	struct drm_amdgpu_bo_list_entry entry = { .bo_handle = 9999 };
	struct drm_amdgpu_bo_list_in list = { .bo_number = 1,
					      .bo_info_size = sizeof(entry),
					      .bo_info_ptr = (uintptr_t)&entry };
	struct drm_amdgpu_cs_chunk_sem sem = { .handle = 9999 };
	struct drm_amdgpu_cs_chunk_dep dep = { .ip_type = AGT_SDMA, .ctx_id = 9999 };
	struct drm_amdgpu_cs_chunk c[3] = { CHUNK(AMDGPU_CHUNK_ID_IB, ib) };
	uint32_t ctx = self->t.ctx;

	EXPECT_EQ(0, submit(&self->t, c, 1, ctx));
	EXPECT_EQ(-EINVAL, submit(&self->t, c, 0, ctx));
	EXPECT_EQ(-EINVAL, submit(&self->t, c, 100000, ctx));
	EXPECT_EQ(-EINVAL, submit(&self->t, c, 1, 9999));
	/* No command buffer, or part of one. */
	c[0].length_dw = 3;
	EXPECT_EQ(-EINVAL, submit(&self->t, c, 1, ctx));
	c[0].length_dw = 0x40000001;
	EXPECT_EQ(-EINVAL, submit(&self->t, c, 1, ctx));
	c[0].length_dw = sizeof(ib) / 4;
	c[0].chunk_data = 16;
	EXPECT_EQ(-EFAULT, submit(&self->t, c, 1, ctx));
	c[0].chunk_data = (uintptr_t)&ib;
	c[0].chunk_id = 0x77;
	EXPECT_EQ(-EINVAL, submit(&self->t, c, 1, ctx));
	c[0].chunk_id = AMDGPU_CHUNK_ID_IB;
	c[1] = (struct drm_amdgpu_cs_chunk)CHUNK(0x77, ib);
	EXPECT_EQ(-EINVAL, submit(&self->t, c, 2, ctx));
	c[1] = (struct drm_amdgpu_cs_chunk)CHUNK(AMDGPU_CHUNK_ID_BO_HANDLES, list);
	EXPECT_EQ(-ENOENT, submit(&self->t, c, 2, ctx));
	entry.bo_handle = self->t.ib.handle;
	EXPECT_EQ(0, submit(&self->t, c, 2, ctx));
	c[2] = c[1];
	EXPECT_EQ(-EINVAL, submit(&self->t, c, 3, ctx));
	list.bo_number = 0x7fffffff;
	EXPECT_EQ(-EINVAL, submit(&self->t, c, 2, ctx));
	c[1] = (struct drm_amdgpu_cs_chunk)CHUNK(AMDGPU_CHUNK_ID_SYNCOBJ_IN, sem);
	EXPECT_EQ(-ENOENT, submit(&self->t, c, 2, ctx));
	c[1].chunk_id = AMDGPU_CHUNK_ID_SYNCOBJ_OUT;
	EXPECT_EQ(-EINVAL, submit(&self->t, c, 2, ctx));
	c[1] = (struct drm_amdgpu_cs_chunk)CHUNK(AMDGPU_CHUNK_ID_DEPENDENCIES, dep);
	EXPECT_EQ(-EINVAL, submit(&self->t, c, 2, ctx));
}

TEST_F(limit, command_buffers)
{
	struct drm_amdgpu_cs_chunk_ib ib = { .va_start = AGT_VA_IB,
					     .ib_bytes = 4,
					     .ip_type = AGT_SDMA },
				      other = ib;
	struct drm_amdgpu_cs_chunk c[2] = { CHUNK(AMDGPU_CHUNK_ID_IB, ib),
					    CHUNK(AMDGPU_CHUNK_ID_IB, other) };
	uint32_t ctx = self->t.ctx;

	EXPECT_EQ(0, submit(&self->t, c, 2, ctx));
	/* Not on two rings. */
	other.ring = 1;
	EXPECT_EQ(-EINVAL, submit(&self->t, c, 2, ctx));
	ib.ring = 2;
	EXPECT_EQ(-EINVAL, submit(&self->t, c, 1, ctx));
	ib.ring = 0;
	ib.ip_type = AMDGPU_HW_IP_VCN_DEC;
	EXPECT_EQ(-EINVAL, submit(&self->t, c, 1, ctx));
	ib.ip_type = AGT_SDMA;
	ib.ip_instance = 1;
	EXPECT_EQ(-EINVAL, submit(&self->t, c, 1, ctx));
	ib.ip_instance = 0;
	ib.ib_bytes = 0;
	EXPECT_EQ(-EINVAL, submit(&self->t, c, 1, ctx));
	ib.ib_bytes = 6;
	EXPECT_EQ(-EINVAL, submit(&self->t, c, 1, ctx));
	ib.ib_bytes = 4;
	ib.flags = AMDGPU_IB_FLAGS_SECURE;
	EXPECT_EQ(-EINVAL, submit(&self->t, c, 1, ctx));
}

TEST_F(limit, lists)
{
	struct drm_amdgpu_bo_list_entry entry = { .bo_handle = self->t.ib.handle };
	union drm_amdgpu_bo_list create = { .in = { .operation = AMDGPU_BO_LIST_OP_CREATE,
						    .bo_number = 1,
						    .bo_info_size = sizeof(entry),
						    .bo_info_ptr = (uintptr_t)&entry } },
				 args = create;
	struct drm_amdgpu_cs_chunk_ib ib = { .va_start = AGT_VA_IB,
					     .ib_bytes = 4,
					     .ip_type = AGT_SDMA };
	struct drm_amdgpu_cs_chunk chunk = CHUNK(AMDGPU_CHUNK_ID_IB, ib);
	uint64_t pointer = (uintptr_t)&chunk;
	union drm_amdgpu_cs cs = { .in = { .ctx_id = self->t.ctx,
					   .num_chunks = 1,
					   .chunks = (uintptr_t)&pointer } },
			    again;
	uint32_t list;

	ASSERT_EQ(0, agt_ioctl(self->t.fd, DRM_IOCTL_AMDGPU_BO_LIST, &args));
	list = args.out.list_handle;
	cs.in.bo_list_handle = list;
	again = cs;
	EXPECT_EQ(0, agt_ioctl(self->t.fd, DRM_IOCTL_AMDGPU_CS, &again));
	args = create;
	args.in.operation = AMDGPU_BO_LIST_OP_UPDATE;
	args.in.list_handle = list;
	EXPECT_EQ(0, agt_ioctl(self->t.fd, DRM_IOCTL_AMDGPU_BO_LIST, &args));
	EXPECT_EQ(list, args.out.list_handle);
	args = create;
	args.in.operation = AMDGPU_BO_LIST_OP_DESTROY;
	args.in.list_handle = list;
	EXPECT_EQ(0, agt_ioctl(self->t.fd, DRM_IOCTL_AMDGPU_BO_LIST, &args));
	again = cs;
	EXPECT_EQ(-ENOENT, agt_ioctl(self->t.fd, DRM_IOCTL_AMDGPU_CS, &again));
	entry.bo_handle = 9999;
	args = create;
	EXPECT_EQ(-ENOENT, agt_ioctl(self->t.fd, DRM_IOCTL_AMDGPU_BO_LIST, &args));
}

TEST_F(limit, contexts)
{
	uint32_t ids[4100], i;
	int ret = 0;

	EXPECT_EQ(-EINVAL, agt_ctx_free(&self->t, 9999));
	for (i = 0; i < 4100 && !ret; i++)
		ret = agt_ctx_create(&self->t, &ids[i]);
	/* There is an end to it. */
	EXPECT_EQ(-EBUSY, ret);
	EXPECT_EQ(0, agt_ctx_free(&self->t, ids[0]));
	EXPECT_EQ(0, agt_ctx_create(&self->t, &ids[0]));
}

TEST_HARNESS_MAIN
