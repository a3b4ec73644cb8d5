// SPDX-License-Identifier: MIT
/*
 * userptr-amdgpu-test: registered memory under the engines of an amdgpu
 *
 * By the raw protocol: memory of every kind is read and written by SDMA, at every
 * offset, several times at once, and read-only memory is read only.  The same for
 * both ways that the device can take; the runner says which.
 *
 * Invariant: see amdvgpu-fixture.h.
 */
#include <unistd.h>

#include "amdvgpu-fixture.h"

/* ---- what is there --------------------------------------------------------- */

CASE(is_an_amdgpu)
{
	struct drm_amdgpu_info_device info = { 0 };

	ASSERT_EQ(0, avc_query(&self->c, AMDGPU_INFO_DEV_INFO, 0, &info, sizeof(info)));
	EXPECT_NE(0, info.device_id);
	EXPECT_EQ(PAGE, info.virtual_address_alignment);
	TH_LOG("device %#x, family %u, SDMA on ring %u", info.device_id, info.family,
	       self->c.rings[AMDGPU_HW_IP_DMA]);
	EXPECT_LT(self->c.rings[AMDGPU_HW_IP_GFX], self->c.rings[AMDGPU_HW_IP_DMA]);
}

/* The runner has chosen; nothing else is done to any registration. */
CASE(takes_the_way_that_it_was_told)
{
	const char *name = getenv("USERPTR_WAY_STAT");
	long before, created, after;
	struct region region;
	struct avc_bo bo;

	NEEDS_MODEL();
	ASSERT_NE(NULL, name);
	before = device_stat(name);
	ASSERT_LE(0, before);
	created = model_stat("user_pages");
	ASSERT_EQ(0, region_scattered(&region, 7));
	ASSERT_EQ(0, avc_register_at(&self->c, region.addr, region.size, VA_FIRST, &bo));
	after = device_stat(name);
	TH_LOG("%s: %ld, then %ld", name, before, after);
	EXPECT_LT(before, after);
	/* Process memory is what the card has been given, or a dma-buf: a job makes it look. */
	ASSERT_EQ(0, copy_once(self, VA_OURS, VA_FIRST, PAGE, &bo));
	EXPECT_EQ(!!getenv("USERPTR_WAY_USERPTR"), model_stat("user_pages") > created);
	ASSERT_EQ(0, avc_bo_free(&self->c, &bo));
	region_free(&region);
}

/* ---- both directions ------------------------------------------------------- */

/*
 * The engine reads what the CPU has written to @region, and the CPU reads there what
 * the engine has written; what lies around a part that is written stays.
 */
static void check_memory(struct __test_metadata *_metadata, SELF *self, void *addr, size_t size)
{
	const size_t part = size < OUR_BYTES ? size : OUR_BYTES;
	uint8_t *bytes = addr, *ours = self->ours.cpu;
	struct avc_bo bo;

	fill_words(addr, size, 0x1234);
	ASSERT_EQ(0, avc_register_at(&self->c, addr, size, VA_FIRST, &bo));
	ASSERT_EQ(0, copy_once(self, VA_OURS, VA_FIRST, part, &bo));
	EXPECT_EQ(-1, wrong_word(ours, part, 0x1234, WORD_STEP, 0));
	/* After it was registered, too. */
	fill_words(addr, size, 0x77);
	ASSERT_EQ(0, copy_once(self, VA_OURS, VA_FIRST + size - part, part, &bo));
	EXPECT_EQ(0, memcmp(ours, bytes + size - part, part));
	/* The other way, at odd addresses and across a page's end. */
	memset(ours, GUARD, part);
	memset(addr, 0, size);
	ASSERT_EQ(0, copy_once(self, VA_FIRST + 1, VA_OURS, part - 2, &bo));
	EXPECT_EQ(0, bytes[0]);
	EXPECT_TRUE(all_bytes(bytes + 1, part - 2, GUARD));
	EXPECT_TRUE(all_bytes(bytes + part - 1, size - part + 1, 0));
	ASSERT_EQ(0, avc_bo_free(&self->c, &bo));
	EXPECT_TRUE(all_bytes(bytes + 1, part - 2, GUARD));
}

/* More than the buffer that it is compared with. */
CASE(large)
{
	uint8_t *addr = aligned_alloc(PAGE, 2 * OUR_BYTES);

	ASSERT_NE(NULL, addr);
	check_memory(_metadata, self, addr, 2 * OUR_BYTES);
	free(addr);
}

/* All tests here take a device. */
#define NEEDS_DEVICE()
#include "kinds-of-memory.h"

/* From one registration to another, with nothing in between. */
CASE(between_registrations)
{
	struct region from, to;
	struct avc_bo a, b;
	uint32_t resources[2];

	ASSERT_EQ(0, region_scattered(&from, 300));
	ASSERT_EQ(0, region_scattered(&to, 300));
	from.size = to.size = 300 * PAGE;
	fill_words(from.addr, from.size, 0x99);
	memset(to.addr, 0, to.size);
	ASSERT_EQ(0, avc_register_at(&self->c, from.addr, from.size, VA_FIRST, &a));
	ASSERT_EQ(0, avc_register_at(&self->c, to.addr, to.size, VA_SECOND, &b));
	resources[0] = a.bo.res;
	resources[1] = b.bo.res;
	avc_begin(&self->c);
	avc_copy(&self->c, VA_SECOND, VA_FIRST, from.size);
	ASSERT_EQ(0, avc_run(&self->c, resources, 2));
	EXPECT_EQ(-1, wrong_word(to.addr, to.size, 0x99, WORD_STEP, 0));
	ASSERT_EQ(0, avc_bo_free(&self->c, &a));
	ASSERT_EQ(0, avc_bo_free(&self->c, &b));
	region_free(&to);
	region_free(&from);
}

CASE(one_range_twice)
{
	uint8_t *addr = map_anonymous(MIB(1));
	struct avc_bo a, b;

	ASSERT_NE(MAP_FAILED, addr);
	memset(addr, 0, MIB(1));
	ASSERT_EQ(0, avc_register_at(&self->c, addr, MIB(1), VA_FIRST, &a));
	ASSERT_EQ(0, avc_register_at(&self->c, addr, MIB(1), VA_SECOND, &b));
	ASSERT_NE(a.bo.res, b.bo.res);
	memset(self->ours.cpu, 0x21, PAGE);
	ASSERT_EQ(0, copy_once(self, VA_FIRST + PAGE, VA_OURS, PAGE, &a));
	ASSERT_EQ(0, copy_once(self, VA_OURS + MIB(1), VA_SECOND + PAGE, PAGE, &b));
	EXPECT_TRUE(all_bytes((uint8_t *)self->ours.cpu + MIB(1), PAGE, 0x21));
	/* One goes, the other stays. */
	ASSERT_EQ(0, avc_bo_free(&self->c, &a));
	ASSERT_EQ(0, copy_once(self, VA_SECOND, VA_OURS, PAGE, &b));
	EXPECT_TRUE(all_bytes(addr, 2 * PAGE, 0x21));
	ASSERT_EQ(0, avc_bo_free(&self->c, &b));
	munmap(addr, MIB(1));
}

/* ---- addresses for the GPU --------------------------------------------------- */

CASE(part_of_it_is_mapped)
{
	uint8_t *addr = map_anonymous(16 * PAGE);
	struct avc_bo bo;

	NEEDS_MODEL();
	ASSERT_NE(MAP_FAILED, addr);
	fill_words(addr, 16 * PAGE, 5);
	ASSERT_EQ(0, avc_register(&self->c, addr, 16 * PAGE, 0, &bo));
	ASSERT_EQ(0, avc_va_op(&self->c, AMDGPU_VA_OP_MAP, bo.bo.res, 4 * PAGE, VA_FIRST, 2 * PAGE,
			       AVC_RW));
	ASSERT_EQ(0, copy_once(self, VA_OURS, VA_FIRST, 2 * PAGE, &bo));
	EXPECT_EQ(0, memcmp(self->ours.cpu, addr + 4 * PAGE, 2 * PAGE));
	/* What lies behind it in the memory is not there for the GPU. */
	copy_once(self, VA_OURS, VA_FIRST + PAGE, 2 * PAGE, &bo);
	expect_fault(_metadata, self);
	ASSERT_EQ(0, vg_bo_close(self->c.fd, bo.bo.handle));
	munmap(addr, 16 * PAGE);
}

CASE(bad_mappings)
{
	uint8_t *addr = map_anonymous(4 * PAGE);
	struct avc *c = &self->c;
	struct avc_bo bo;
	uint32_t res;

	ASSERT_NE(MAP_FAILED, addr);
	memset(addr, 1, 4 * PAGE);
	ASSERT_EQ(0, avc_register(c, addr, 4 * PAGE, 0, &bo));
	res = bo.bo.res;
	EXPECT_GT(0, avc_va_op(c, AMDGPU_VA_OP_MAP, res, 0, VA_FIRST, 5 * PAGE, AVC_RW));
	EXPECT_GT(0, avc_va_op(c, AMDGPU_VA_OP_MAP, res, 4 * PAGE, VA_FIRST, PAGE, AVC_RW));
	EXPECT_GT(0, avc_va_op(c, AMDGPU_VA_OP_MAP, res, -PAGE, VA_FIRST, 2 * PAGE, AVC_RW));
	EXPECT_GT(0, avc_va_op(c, AMDGPU_VA_OP_MAP, res, 0, VA_FIRST + 1, PAGE, AVC_RW));
	EXPECT_GT(0, avc_va_op(c, AMDGPU_VA_OP_MAP, res, 0, VA_FIRST, 0, AVC_RW));
	EXPECT_GT(0, avc_va_op(c, AMDGPU_VA_OP_MAP, res, 0, -PAGE, 2 * PAGE, AVC_RW));
	EXPECT_GT(0, avc_va_op(c, AMDGPU_VA_OP_MAP, 0x7fffffff, 0, VA_FIRST, PAGE, AVC_RW));
	EXPECT_GT(0, avc_va_op(c, 77, res, 0, VA_FIRST, PAGE, AVC_RW));
	EXPECT_GT(0, avc_va_op(c, AMDGPU_VA_OP_UNMAP, res, 0, VA_FIRST, PAGE, 0));
	/* None of that has done any harm. */
	ASSERT_EQ(0, avc_va_map(c, &bo, VA_FIRST, AVC_RW));
	ASSERT_EQ(0, copy_once(self, VA_OURS, VA_FIRST, 4 * PAGE, &bo));
	EXPECT_TRUE(all_bytes(self->ours.cpu, 4 * PAGE, 1));
	ASSERT_EQ(0, avc_bo_free(c, &bo));
	munmap(addr, 4 * PAGE);
}

CASE(unmapped_for_the_gpu)
{
	uint8_t *addr = map_anonymous(4 * PAGE);
	struct avc_bo bo;

	NEEDS_MODEL();
	ASSERT_NE(MAP_FAILED, addr);
	memset(addr, 3, 4 * PAGE);
	ASSERT_EQ(0, avc_register_at(&self->c, addr, 4 * PAGE, VA_FIRST, &bo));
	ASSERT_EQ(0, copy_once(self, VA_OURS, VA_FIRST, PAGE, &bo));
	ASSERT_EQ(0, avc_va_op(&self->c, AMDGPU_VA_OP_UNMAP, bo.bo.res, 0, VA_FIRST, 4 * PAGE, 0));
	memset(self->ours.cpu, 0, PAGE);
	copy_once(self, VA_OURS, VA_FIRST, PAGE, &bo);
	expect_fault(_metadata, self);
	EXPECT_TRUE(all_bytes(self->ours.cpu, PAGE, 0));
	ASSERT_EQ(0, vg_bo_close(self->c.fd, bo.bo.handle));
	munmap(addr, 4 * PAGE);
}

/* ---- read-only --------------------------------------------------------------- */

CASE(read_only_is_offered)
{
	struct drm_virtgpu_userptr_query query = { 0 };

	ASSERT_EQ(0, vg_userptr_query(self->c.fd, &query));
	EXPECT_TRUE(query.rdonly_capset_mask & 1ull << AMDVGPU_CAPSET_DRM);
	EXPECT_TRUE(query.create_flags & VIRTGPU_USERPTR_RDONLY);
}

/* Reads work, a mapping for writing is refused, and the engine faults where it writes. */
static void check_read_only(struct __test_metadata *_metadata, SELF *self, void *addr, size_t size)
{
	static const uint64_t refused[] = {
		AVC_RW,
		AMDGPU_VM_PAGE_WRITEABLE,
		AVC_RW | AMDGPU_VM_PAGE_EXECUTABLE,
	};
	struct avc *c = &self->c;
	struct avc_bo bo;
	size_t i;

	ASSERT_EQ(0, avc_register(c, addr, size, VIRTGPU_USERPTR_RDONLY, &bo));
	for (i = 0; i < ARRAY_SIZE(refused); i++) {
		EXPECT_GT(0,
			  avc_va_op(c, AMDGPU_VA_OP_MAP, bo.bo.res, 0, VA_FIRST, size, refused[i]));
		EXPECT_GT(0, avc_va_op(c, AMDGPU_VA_OP_REPLACE, bo.bo.res, 0, VA_FIRST, size,
				       refused[i]));
	}
	ASSERT_EQ(0, avc_va_map(c, &bo, VA_FIRST, AVC_READ));
	ASSERT_EQ(0, copy_once(self, VA_OURS, VA_FIRST, size, &bo));
	EXPECT_TRUE(all_bytes(self->ours.cpu, size, GUARD));
	memset(self->ours.cpu, 0xee, size);
	copy_once(self, VA_FIRST, VA_OURS, size, &bo);
	expect_fault(_metadata, self);
	EXPECT_TRUE(all_bytes(addr, size, GUARD));
	ASSERT_EQ(0, vg_bo_close(c->fd, bo.bo.handle));
}

CASE(read_only_memory)
{
	uint8_t *addr = map_anonymous(8 * PAGE);

	NEEDS_MODEL();
	ASSERT_NE(MAP_FAILED, addr);
	memset(addr, GUARD, 8 * PAGE);
	ASSERT_EQ(0, mprotect(addr, 8 * PAGE, PROT_READ));
	check_read_only(_metadata, self, addr, 8 * PAGE);
	munmap(addr, 8 * PAGE);
}

/* The pages are those of the page cache, which all who read the file see. */
CASE(read_only_shared_file)
{
	int fd = ext4_file(8 * PAGE);
	uint8_t *addr;

	NEEDS_MODEL();
	if (fd < 0)
		SKIP(return, "no ext4 image in this run");
	addr = mmap(NULL, 8 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, addr);
	check_read_only(_metadata, self, addr, 8 * PAGE);
	EXPECT_TRUE(file_has_bytes(fd, 8 * PAGE, GUARD));
	munmap(addr, 8 * PAGE);
	close(fd);
}

/* What can be written to is registered read-only: only the CPU writes. */
CASE(read_only_by_choice)
{
	uint8_t *addr = map_anonymous(4 * PAGE);
	struct avc_bo bo, both;

	ASSERT_NE(MAP_FAILED, addr);
	memset(addr, 1, 4 * PAGE);
	ASSERT_EQ(0, avc_register(&self->c, addr, 4 * PAGE, VIRTGPU_USERPTR_RDONLY, &bo));
	ASSERT_EQ(0, avc_va_map(&self->c, &bo, VA_FIRST, AVC_READ));
	/* Beside one that may write: each has its own rights. */
	ASSERT_EQ(0, avc_register_at(&self->c, addr, 4 * PAGE, VA_SECOND, &both));
	memset(self->ours.cpu, 2, PAGE);
	ASSERT_EQ(0, copy_once(self, VA_SECOND + PAGE, VA_OURS, PAGE, &both));
	addr[0] = 9;
	ASSERT_EQ(0, copy_once(self, VA_OURS + MIB(1), VA_FIRST, 2 * PAGE, &bo));
	EXPECT_EQ(9, ((uint8_t *)self->ours.cpu)[MIB(1)]);
	EXPECT_TRUE(all_bytes((uint8_t *)self->ours.cpu + MIB(1) + PAGE, PAGE, 2));
	ASSERT_EQ(0, avc_bo_free(&self->c, &both));
	ASSERT_EQ(0, avc_bo_free(&self->c, &bo));
	munmap(addr, 4 * PAGE);
}

/* ---- many ------------------------------------------------------------------ */

/* Nothing grows: descriptors and memory of the device, objects and bytes of the card. */
CASE(a_thousand_registrations)
{
	uint8_t *addr = aligned_alloc(PAGE, 4 * PAGE);
	long gtt = -1, vram = -1, objects = -1;
	struct avc_bo bo;
	int i;

	NEEDS_MODEL();
	ASSERT_NE(NULL, addr);
	memset(addr, 1, 4 * PAGE);
	for (i = 0; i < 1000; i++) {
		if (i == 100) {
			ASSERT_EQ(0, ask_host("check-devices"));
			ASSERT_EQ(0, ask_host("mark-memory 0"));
			gtt = model_stat("gtt_used");
			vram = model_stat("vram_used");
			objects = model_stat("objects");
		}
		addr[0] = i;
		ASSERT_EQ(0, avc_register_at(&self->c, addr, 4 * PAGE, VA_FIRST, &bo));
		if (i % 20 == 0) {
			ASSERT_EQ(0, copy_once(self, VA_OURS, VA_FIRST, PAGE, &bo));
			ASSERT_EQ((uint8_t)i, *(uint8_t *)self->ours.cpu);
		}
		ASSERT_EQ(0, avc_bo_free(&self->c, &bo));
	}
	EXPECT_EQ(0, ask_host("check-devices"));
	EXPECT_EQ(0, ask_host("check-memory 0"));
	EXPECT_EQ(gtt, model_stat("gtt_used"));
	EXPECT_EQ(vram, model_stat("vram_used"));
	EXPECT_EQ(objects, model_stat("objects"));
	free(addr);
}

TEST_HARNESS_MAIN
