// SPDX-License-Identifier: MIT
/*
 * userptr-radv-test: process memory in RADV, on an amdgpu behind virtio-gpu
 *
 * What VK_EXT_external_memory_host imports and what it refuses; every kind of memory
 * as source and as destination of copies; parts, doubles and the order of ends.
 * Nothing here needs a shader: the transfer queue is SDMA.
 *
 * The validation layer is on.  A test in which it says a word has failed, but for
 * those that use Vulkan wrongly on purpose.  Needs RADV_PERFTEST=transfer_queue.
 *
 * Invariant: see venus-session.h.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agv.h"
#include "kselftest_harness.h"
#include "model.h"
#include "test-memory.h"
#include "venus-session.h"
#include "vulkan-expect.h"

#define LOCAL VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT
#define HUGE_PAGES "/proc/sys/vm/nr_hugepages"

/* TCG, and a validation layer: a test takes its time. */
#define CASE(name) TEST_F_TIMEOUT(radv, name, 300)

FIXTURE(radv)
{
	struct session session;
	struct agv v;
	long faults;
	/* Vulkan is used wrongly on purpose: the layer must speak. */
	bool wrong_use;
	/* The engine is made to fault. */
	bool faulty;
};

FIXTURE_SETUP(radv)
{
	self->wrong_use = self->faulty = false;
	ASSERT_EQ(0, session_begin(&self->session));
	ASSERT_TRUE(self->session.virtio);
	self->faults = model_there() ? model_stat("faults") : -1;
	ASSERT_VK(VK_SUCCESS, agv_open(&self->v, VK_QUEUE_TRANSFER_BIT,
				       VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT));
}

FIXTURE_TEARDOWN(radv)
{
	agv_close(&self->v);
	EXPECT_EQ(self->wrong_use, self->v.messages != 0)
	{
		TH_LOG("%u messages of the validation layer", self->v.messages);
	}
	if (self->faults >= 0 && !self->faulty)
		EXPECT_EQ(self->faults, model_stat("faults"));
	EXPECT_EQ(0, session_settled(&self->session));
}

typedef FIXTURE_DATA(radv) SELF;

CASE(is_radv)
{
	TH_LOG("%s, %s %s", self->v.properties.deviceName, self->v.driver.driverName,
	       self->v.driver.driverInfo);
	EXPECT_EQ(VK_DRIVER_ID_MESA_RADV, self->v.driver.driverID);
	EXPECT_EQ(0x1002, self->v.properties.vendorID);
	/* What the card is called comes last in the capset. */
	EXPECT_EQ(0, strncmp(self->v.properties.deviceName, "AMD ", 4));
	EXPECT_EQ(PAGE, self->v.alignment);
	/* Otherwise the layer is not there, and its silence says nothing. */
	EXPECT_NE(VK_NULL_HANDLE, self->v.messenger);
}

/* ---- kinds of memory --------------------------------------------------------- */

/* The device reads what the CPU has written to @addr, and writes what the CPU reads. */
static void check_memory(struct __test_metadata *_metadata, SELF *self, void *addr, size_t size)
{
	void *copy = aligned_alloc(PAGE, size);
	struct agv_buffer ours, theirs;

	ASSERT_NE(NULL, copy);
	memset(copy, GUARD, size);
	fill_words(addr, size, 0x1234);
	ASSERT_VK(VK_SUCCESS, agv_import(&self->v, addr, size, &theirs));
	ASSERT_VK(VK_SUCCESS, agv_import(&self->v, copy, size, &ours));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 2 * size / 1024, SETTLE_MS));
	ASSERT_VK(VK_SUCCESS, agv_copy(&self->v, &theirs, &ours));
	EXPECT_EQ(-1, wrong_word(copy, size, 0x1234, WORD_STEP, 0));
	/* After the import, too. */
	fill_words(addr, size, 0x77);
	ASSERT_VK(VK_SUCCESS, agv_copy(&self->v, &theirs, &ours));
	EXPECT_EQ(-1, wrong_word(copy, size, 0x77, WORD_STEP, 0));
	fill_words(copy, size, 0xabcd);
	ASSERT_VK(VK_SUCCESS, agv_copy(&self->v, &ours, &theirs));
	EXPECT_EQ(-1, wrong_word(addr, size, 0xabcd, WORD_STEP, 0));
	agv_free(&self->v, &ours);
	agv_free(&self->v, &theirs);
	EXPECT_EQ(-1, wrong_word(addr, size, 0xabcd, WORD_STEP, 0));
	free(copy);
}

/* All tests here take a device. */
#define NEEDS_DEVICE()
#include "kinds-of-memory.h"

CASE(hugetlb)
{
	uint8_t *addr;

	ASSERT_EQ(0, write_file(HUGE_PAGES, "4"));
	addr = mmap(NULL, 2 * HUGE_PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	ASSERT_NE(MAP_FAILED, addr);
	check_memory(_metadata, self, addr, 2 * HUGE_PAGE);
	/* And a part of one. */
	check_memory(_metadata, self, addr + 3 * PAGE, 5 * PAGE);
	munmap(addr, 2 * HUGE_PAGE);
	EXPECT_EQ(0, write_file(HUGE_PAGES, "0"));
}

CASE(through_vram)
{
	const size_t size = MIB(8);
	uint8_t *from = aligned_alloc(PAGE, size), *to = aligned_alloc(PAGE, size);
	struct agv_buffer a, vram, b;

	ASSERT_NE(NULL, from);
	ASSERT_NE(NULL, to);
	fill_words(from, size, 0x4711);
	memset(to, 0, size);
	ASSERT_VK(VK_SUCCESS, agv_import(&self->v, from, size, &a));
	ASSERT_VK(VK_SUCCESS, agv_import(&self->v, to, size, &b));
	ASSERT_VK(VK_SUCCESS, agv_alloc(&self->v, size, LOCAL, 0, &vram));
	ASSERT_VK(VK_SUCCESS, agv_copy(&self->v, &a, &vram));
	ASSERT_VK(VK_SUCCESS, agv_copy(&self->v, &vram, &b));
	EXPECT_EQ(-1, wrong_word(to, size, 0x4711, WORD_STEP, 0));
	agv_free(&self->v, &a);
	agv_free(&self->v, &b);
	agv_free(&self->v, &vram);
	free(to);
	free(from);
}

/* ---- read-only files ----------------------------------------------------------- */

/* It can be a source, and is never written to, whatever the program says. */
CASE(read_only_file)
{
	int fd = ext4_file(8 * PAGE);
	uint8_t *copy = aligned_alloc(PAGE, 8 * PAGE), *addr;
	struct agv_buffer file, ours;
	VkResult ret;

	if (fd < 0)
		SKIP(return, "no ext4 image in this run");
	if (self->faults < 0)
		SKIP(return, "no software amdgpu that can be asked");
	addr = mmap(NULL, 8 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_NE(NULL, copy);
	memset(copy, 0, 8 * PAGE);
	ASSERT_VK(VK_SUCCESS, agv_import(&self->v, addr, 8 * PAGE, &file));
	ASSERT_VK(VK_SUCCESS, agv_import(&self->v, copy, 8 * PAGE, &ours));
	ASSERT_VK(VK_SUCCESS, agv_copy(&self->v, &file, &ours));
	EXPECT_TRUE(all_bytes(copy, 8 * PAGE, GUARD));
	memset(copy, 0xee, 8 * PAGE);
	self->faulty = true;
	ret = agv_copy(&self->v, &ours, &file);
	TH_LOG("writing to it: %s", vkc_result(ret));
	EXPECT_EQ(0, model_wait_stat("faults", self->faults + 1, SETTLE_MS));
	EXPECT_TRUE(all_bytes(addr, 8 * PAGE, GUARD));
	EXPECT_TRUE(file_has_bytes(fd, 8 * PAGE, GUARD));
	agv_free(&self->v, &ours);
	agv_free(&self->v, &file);
	munmap(addr, 8 * PAGE);
	close(fd);
	free(copy);
}

/* What all write to whom it belongs cannot be pinned for writing. */
CASE(refuses_shared_file)
{
	int fd = ext4_file(4 * PAGE);
	VkDeviceMemory memory;
	uint8_t *addr;

	if (fd < 0)
		SKIP(return, "no ext4 image in this run");
	addr = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_VK(VK_ERROR_INVALID_EXTERNAL_HANDLE,
		  agv_import_memory(&self->v, addr, 4 * PAGE, &memory));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	munmap(addr, 4 * PAGE);
	close(fd);
}

/* ---- errors ------------------------------------------------------------------ */

CASE(not_aligned)
{
	static const struct {
		size_t offset, size;
	} wrong[] = {
		{ 1, PAGE },	 { 64, PAGE },		{ PAGE / 2, PAGE },	{ 0, 1 },
		{ 0, PAGE - 1 }, { 0, 2 * PAGE + 256 }, { PAGE / 2, PAGE / 2 },
	};
	uint8_t *addr = aligned_alloc(PAGE, 4 * PAGE);
	VkDeviceMemory memory;
	size_t i;

	ASSERT_NE(NULL, addr);
	self->wrong_use = self->v.quiet = true;
	for (i = 0; i < ARRAY_SIZE(wrong); i++)
		EXPECT_VK(VK_ERROR_INVALID_EXTERNAL_HANDLE,
			  agv_import_memory(&self->v, addr + wrong[i].offset, wrong[i].size,
					    &memory));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	free(addr);
}

CASE(refuses_memory_that_is_not_there)
{
	uint8_t *addr = map_anonymous(4 * PAGE);
	VkDeviceMemory memory;

	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_EQ(0, munmap(addr + 2 * PAGE, PAGE));
	EXPECT_VK(VK_ERROR_INVALID_EXTERNAL_HANDLE,
		  agv_import_memory(&self->v, addr, 4 * PAGE, &memory));
	EXPECT_VK(VK_ERROR_INVALID_EXTERNAL_HANDLE,
		  agv_import_memory(&self->v, addr + 2 * PAGE, PAGE, &memory));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	check_memory(_metadata, self, addr, 2 * PAGE);
	munmap(addr, 4 * PAGE);
}

CASE(refuses_memory_without_access)
{
	uint8_t *addr = map_anonymous(4 * PAGE);
	VkDeviceMemory memory;

	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_EQ(0, mprotect(addr, 4 * PAGE, PROT_NONE));
	EXPECT_VK(VK_ERROR_INVALID_EXTERNAL_HANDLE,
		  agv_import_memory(&self->v, addr, 4 * PAGE, &memory));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	munmap(addr, 4 * PAGE);
}

/* ---- parts and doubles --------------------------------------------------------- */

CASE(one_range_twice)
{
	uint8_t *addr = aligned_alloc(PAGE, MIB(1)), *other = aligned_alloc(PAGE, MIB(1));
	struct agv_buffer a, b, to;

	ASSERT_NE(NULL, addr);
	ASSERT_NE(NULL, other);
	memset(other, 0, MIB(1));
	ASSERT_VK(VK_SUCCESS, agv_import(&self->v, addr, MIB(1), &a));
	ASSERT_VK(VK_SUCCESS, agv_import(&self->v, addr, MIB(1), &b));
	ASSERT_VK(VK_SUCCESS, agv_import(&self->v, other, MIB(1), &to));
	fill_words(addr, MIB(1), 3);
	ASSERT_VK(VK_SUCCESS, agv_copy(&self->v, &a, &to));
	EXPECT_EQ(-1, wrong_word(other, MIB(1), 3, WORD_STEP, 0));
	agv_free(&self->v, &a);
	/* The second one goes on, both ways. */
	fill_words(other, MIB(1), 4);
	ASSERT_VK(VK_SUCCESS, agv_copy(&self->v, &to, &b));
	EXPECT_EQ(-1, wrong_word(addr, MIB(1), 4, WORD_STEP, 0));
	agv_free(&self->v, &b);
	agv_free(&self->v, &to);
	free(other);
	free(addr);
}

/* Two buffers in one import, and copies that begin and end anywhere in them. */
CASE(parts)
{
	uint8_t *addr = aligned_alloc(PAGE, 16 * PAGE);
	struct agv_buffer low, high;
	VkDeviceMemory memory;

	ASSERT_NE(NULL, addr);
	memset(addr, GUARD, 16 * PAGE);
	fill_words(addr + 4 * PAGE, 4 * PAGE, 8);
	ASSERT_VK(VK_SUCCESS, agv_import_memory(&self->v, addr, 16 * PAGE, &memory));
	ASSERT_VK(VK_SUCCESS, agv_bind_part(&self->v, memory, 4 * PAGE, 4 * PAGE, &low));
	ASSERT_VK(VK_SUCCESS, agv_bind_part(&self->v, memory, 8 * PAGE, 8 * PAGE, &high));
	ASSERT_VK(VK_SUCCESS, agv_copy_part(&self->v, &low, 12, &high, PAGE + 4, 2 * PAGE + 40));
	EXPECT_EQ(0, memcmp(addr + 9 * PAGE + 4, addr + 4 * PAGE + 12, 2 * PAGE + 40));
	EXPECT_TRUE(all_bytes(addr, 4 * PAGE, GUARD));
	EXPECT_TRUE(all_bytes(addr + 8 * PAGE, PAGE + 4, GUARD));
	EXPECT_TRUE(all_bytes(addr + 11 * PAGE + 44, 5 * PAGE - 44, GUARD));
	agv_free(&self->v, &low);
	agv_free(&self->v, &high);
	vkFreeMemory(self->v.device, memory, NULL);
	free(addr);
}

/* ---- ends -------------------------------------------------------------------- */

CASE(memory_is_freed_after_the_import)
{
	uint8_t *addr = map_anonymous(MIB(1));
	struct agv_buffer a, b;

	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_VK(VK_SUCCESS, agv_import(&self->v, addr, MIB(1) / 2, &a));
	ASSERT_VK(VK_SUCCESS, agv_import(&self->v, addr + MIB(1) / 2, MIB(1) / 2, &b));
	ASSERT_VK(VK_SUCCESS, agv_copy(&self->v, &a, &b));
	agv_free(&self->v, &a);
	agv_free(&self->v, &b);
	/* The pages are the kernel's again as soon as the host has let go. */
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	munmap(addr, MIB(1));
}

/* Vulkan forbids it, and many do it. */
CASE(memory_is_freed_before_the_import)
{
	uint8_t *addr = map_anonymous(MIB(1)), *other = map_anonymous(MIB(1));
	struct agv_buffer a, b;

	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_NE(MAP_FAILED, other);
	memset(other, 1, MIB(1));
	ASSERT_VK(VK_SUCCESS, agv_import(&self->v, addr, MIB(1), &a));
	ASSERT_VK(VK_SUCCESS, agv_import(&self->v, other, MIB(1), &b));
	ASSERT_VK(VK_SUCCESS, agv_copy(&self->v, &a, &b));
	ASSERT_EQ(0, munmap(addr, MIB(1)));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 1024, SETTLE_MS));
	agv_free(&self->v, &a);
	/* What else there is works on. */
	addr = map_anonymous(MIB(1));
	ASSERT_NE(MAP_FAILED, addr);
	memset(addr, 9, MIB(1));
	ASSERT_VK(VK_SUCCESS, agv_import(&self->v, addr, MIB(1), &a));
	ASSERT_VK(VK_SUCCESS, agv_copy(&self->v, &a, &b));
	EXPECT_TRUE(all_bytes(other, MIB(1), 9));
	agv_free(&self->v, &a);
	agv_free(&self->v, &b);
	munmap(other, MIB(1));
	munmap(addr, MIB(1));
}

/* ---- many ---------------------------------------------------------------------- */

static int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int nr = 0;

	while (dir && readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

/**
 * struct sizes - what must not grow
 * @fds: descriptors of this process
 * @gtt: bytes of the card's GTT
 * @vram: bytes of its VRAM
 * @objects: objects that it has
 */
struct sizes {
	int fds;
	long gtt;
	long vram;
	long objects;
};

static void measure(struct __test_metadata *_metadata, struct sizes *sizes)
{
	ASSERT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	ASSERT_EQ(0, ask_host("check-devices"));
	sizes->fds = open_descriptors();
	sizes->gtt = model_stat("gtt_used");
	sizes->vram = model_stat("vram_used");
	sizes->objects = model_stat("objects");
}

CASE(a_thousand_imports)
{
	uint8_t *addr = aligned_alloc(PAGE, 8 * PAGE);
	struct sizes before = { 0 }, after;
	struct agv_buffer a, b;
	int i;

	if (self->faults < 0)
		SKIP(return, "no software amdgpu that can be asked");
	ASSERT_NE(NULL, addr);
	for (i = 0; i < 500; i++) {
		if (i == 50) {
			measure(_metadata, &before);
			ASSERT_EQ(0, ask_host("mark-memory 0"));
		}
		memset(addr, i, 4 * PAGE);
		ASSERT_VK(VK_SUCCESS, agv_import(&self->v, addr, 4 * PAGE, &a));
		ASSERT_VK(VK_SUCCESS, agv_import(&self->v, addr + 4 * PAGE, 4 * PAGE, &b));
		if (i % 10 == 0) {
			ASSERT_VK(VK_SUCCESS, agv_copy(&self->v, &a, &b));
			ASSERT_TRUE(all_bytes(addr + 4 * PAGE, 4 * PAGE, i));
		}
		agv_free(&self->v, &b);
		agv_free(&self->v, &a);
	}
	measure(_metadata, &after);
	EXPECT_EQ(before.fds, after.fds);
	EXPECT_EQ(before.gtt, after.gtt);
	EXPECT_EQ(before.vram, after.vram);
	EXPECT_EQ(before.objects, after.objects);
	EXPECT_EQ(0, ask_host("check-memory 0"));
	free(addr);
}

TEST_HARNESS_MAIN
