// SPDX-License-Identifier: MIT
/*
 * userptr-venus-test: VK_EXT_external_memory_host from malloc to compute shader
 *
 * What Vulkan promises of imported host memory, tested with shaders that read
 * and write it in place.  Runs on any driver; what is particular to virtio-gpu
 * (pins, the device's statistics, what cannot be pinned) is skipped on others.
 *
 * The validation layer is on.  A test in which it says a word has failed, but
 * for those that use Vulkan wrongly on purpose.
 *
 * Invariant: see venus-session.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "venus-session.h"

#define HOST_ALLOCATION VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT
#define HOST_FOREIGN VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_MAPPED_FOREIGN_MEMORY_BIT_EXT
#define EXT4_DIR "/dev/shm/ext4"
#define GUARD 0x5a

/* TCG, and a validation layer: a test takes its time. */
#define CASE(name) TEST_F_TIMEOUT(venus, name, 400)

#define EXPECT_VK(wanted, call)                                    \
	do {                                                       \
		VkResult _got = (call);                            \
		EXPECT_EQ(wanted, _got)                            \
		{                                                  \
			TH_LOG("%s: %s", #call, vkc_result(_got)); \
		}                                                  \
	} while (0)

#define ASSERT_VK(wanted, call)                                    \
	do {                                                       \
		VkResult _got = (call);                            \
		ASSERT_EQ(wanted, _got)                            \
		{                                                  \
			TH_LOG("%s: %s", #call, vkc_result(_got)); \
		}                                                  \
	} while (0)

/* What only our kernel driver and device do. */
#define NEEDS_DEVICE()             \
	if (!self->session.virtio) \
	SKIP(return, "no virtio-gpu device with userptr resources")

FIXTURE(venus)
{
	struct session session;
	struct gpu gpu;
	/* Vulkan is used wrongly on purpose: the layer must speak. */
	bool wrong_use;
};

FIXTURE_SETUP(venus)
{
	self->wrong_use = false;
	ASSERT_EQ(0, session_begin(&self->session));
	ASSERT_VK(VK_SUCCESS, gpu_open(&self->gpu, true));
}

FIXTURE_TEARDOWN(venus)
{
	unsigned int messages;

	gpu_close(&self->gpu);
	messages = self->gpu.vkc.messages;
	EXPECT_EQ(self->wrong_use, messages != 0)
	{
		TH_LOG("%u messages of the validation layer", messages);
	}
	EXPECT_EQ(0, session_settled(&self->session));
}

typedef FIXTURE_DATA(venus) SELF;

/* ---- helpers --------------------------------------------------------------- */

static void fill_words(void *addr, size_t size, uint32_t seed)
{
	uint32_t *words = addr;
	size_t i;

	for (i = 0; i < size / 4; i++)
		words[i] = seed + i * 0x9e3779b9u;
}

/* The first word that is not what the CPU or a shader wrote, or -1. */
static long wrong_word(const void *addr, size_t size, uint32_t seed, uint32_t step, uint32_t flip)
{
	const volatile uint32_t *words = addr;
	size_t i;

	for (i = 0; i < size / 4; i++) {
		if (words[i] != ((seed + (uint32_t)i * step) ^ flip))
			return i;
	}
	return -1;
}

static bool all_bytes(const uint8_t *addr, size_t size, uint8_t byte)
{
	size_t i;

	for (i = 0; i < size && addr[i] == byte; i++)
		;
	return i == size;
}

/*
 * Both directions: a shader reads what the CPU has written to @addr, and the CPU
 * reads there what a shader has written.  Leaves the shader's words behind.
 */
static void check_memory(struct __test_metadata *_metadata, SELF *self, void *addr, size_t size)
{
	struct vkc_buffer buffer, result;
	void *copy = aligned_alloc(PAGE, size), *map;

	ASSERT_NE(NULL, copy);
	memset(copy, GUARD, size);
	fill_words(addr, size, 0x1234);
	ASSERT_VK(VK_SUCCESS, vkc_buffer_import(&self->gpu.vkc, addr, size, &buffer));
	ASSERT_VK(VK_SUCCESS, vkc_buffer_import(&self->gpu.vkc, copy, size, &result));
	/* Waited for: finding out about memory types pins a page for a moment. */
	if (self->session.virtio)
		EXPECT_EQ(0, vg_wait_status_kib("VmPin", 2 * size / 1024, SETTLE_MS));
	ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_INVERT, &buffer, &result, 0));
	EXPECT_EQ(-1, wrong_word(copy, size, 0x1234, 0x9e3779b9u, ~0u));
	/* After the import, too. */
	fill_words(addr, size, 0x77);
	ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_COPY, &buffer, &result, 0));
	EXPECT_EQ(-1, wrong_word(copy, size, 0x77, 0x9e3779b9u, 0));
	ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_FILL, NULL, &buffer, 0xabcd));
	EXPECT_EQ(-1, wrong_word(addr, size, 0xabcd, 1, 0));
	ASSERT_VK(VK_SUCCESS,
		  vkMapMemory(self->gpu.vkc.device, buffer.memory, 0, VK_WHOLE_SIZE, 0, &map));
	EXPECT_EQ(addr, map);
	vkUnmapMemory(self->gpu.vkc.device, buffer.memory);
	vkc_buffer_free(&self->gpu.vkc, &result);
	vkc_buffer_free(&self->gpu.vkc, &buffer);
	EXPECT_EQ(-1, wrong_word(addr, size, 0xabcd, 1, 0));
	free(copy);
}

/* The import fails in the way that Vulkan says, and leaves nothing behind. */
static void check_refused(struct __test_metadata *_metadata, SELF *self, void *addr, size_t size)
{
	struct vkc_buffer buffer;

	EXPECT_VK(VK_ERROR_INVALID_EXTERNAL_HANDLE,
		  vkc_buffer_import(&self->gpu.vkc, addr, size, &buffer));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
}

static void *map_anonymous(size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* ---- properties ------------------------------------------------------------ */

CASE(properties)
{
	NEEDS_DEVICE();
	TH_LOG("%s, %s %s", self->gpu.vkc.properties.deviceName, self->gpu.vkc.driver.driverName,
	       self->gpu.vkc.driver.driverInfo);
	EXPECT_EQ(4096, self->gpu.vkc.alignment);
}

static void external_properties(SELF *self, VkExternalMemoryHandleTypeFlagBits type,
				VkExternalMemoryProperties *out)
{
	const VkPhysicalDeviceExternalBufferInfo info = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_BUFFER_INFO,
		.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT,
		.handleType = type,
	};
	VkExternalBufferProperties properties = {
		.sType = VK_STRUCTURE_TYPE_EXTERNAL_BUFFER_PROPERTIES,
	};

	vkGetPhysicalDeviceExternalBufferProperties(self->gpu.vkc.physical, &info, &properties);
	*out = properties.externalMemoryProperties;
}

CASE(external_buffer_properties)
{
	VkExternalMemoryProperties properties;

	external_properties(self, HOST_ALLOCATION, &properties);
	EXPECT_TRUE(properties.externalMemoryFeatures & VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT);
	EXPECT_FALSE(properties.externalMemoryFeatures & VK_EXTERNAL_MEMORY_FEATURE_EXPORTABLE_BIT);
	EXPECT_TRUE(properties.compatibleHandleTypes & HOST_ALLOCATION);
	EXPECT_EQ(0, properties.exportFromImportedHandleTypes);
	external_properties(self, HOST_FOREIGN, &properties);
	EXPECT_FALSE(properties.externalMemoryFeatures & VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT);
}

CASE(host_pointer_properties)
{
	VkMemoryHostPointerPropertiesEXT properties = {
		.sType = VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT,
	};
	const VkPhysicalDeviceMemoryProperties *memory = &self->gpu.vkc.memory;
	void *addr = aligned_alloc(PAGE, PAGE);
	uint32_t type;

	ASSERT_NE(NULL, addr);
	ASSERT_VK(VK_SUCCESS, self->gpu.vkc.host_pointer_properties(
				      self->gpu.vkc.device, HOST_ALLOCATION, addr, &properties));
	EXPECT_NE(0, properties.memoryTypeBits);
	/* It is memory of the host as the application sees it, so it can be mapped. */
	for (type = 0; type < 32; type++) {
		if (!(properties.memoryTypeBits & (1u << type)))
			continue;
		ASSERT_GT(memory->memoryTypeCount, type);
		EXPECT_TRUE(memory->memoryTypes[type].propertyFlags &
			    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT);
	}
	/* Asking has registered nothing, or nothing that stays. */
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	free(addr);
}

/* ---- errors ---------------------------------------------------------------- */

CASE(pointer_not_aligned)
{
	uint8_t *addr = aligned_alloc(PAGE, 4 * PAGE);

	NEEDS_DEVICE();
	ASSERT_NE(NULL, addr);
	self->wrong_use = self->gpu.vkc.quiet = true;
	check_refused(_metadata, self, addr + 64, PAGE);
	check_refused(_metadata, self, addr + PAGE / 2, PAGE);
	check_refused(_metadata, self, addr + 1, PAGE);
	free(addr);
}

CASE(size_not_aligned)
{
	VkDeviceMemory memory;
	uint8_t *addr = aligned_alloc(PAGE, 4 * PAGE);
	static const size_t sizes[] = { 1, 64, PAGE - 1, PAGE + 1, 2 * PAGE + 256 };
	size_t i;

	NEEDS_DEVICE();
	ASSERT_NE(NULL, addr);
	self->wrong_use = self->gpu.vkc.quiet = true;
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		EXPECT_VK(VK_ERROR_INVALID_EXTERNAL_HANDLE,
			  vkc_import(&self->gpu.vkc, addr, sizes[i], &memory));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	free(addr);
}

CASE(refuses_memory_that_is_not_there)
{
	uint8_t *addr = map_anonymous(4 * PAGE);

	NEEDS_DEVICE();
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_EQ(0, munmap(addr + 2 * PAGE, PAGE));
	check_refused(_metadata, self, addr, 4 * PAGE);
	check_refused(_metadata, self, addr + 2 * PAGE, PAGE);
	check_memory(_metadata, self, addr, 2 * PAGE);
	munmap(addr, 4 * PAGE);
}

CASE(refuses_memory_without_access)
{
	uint8_t *addr = map_anonymous(4 * PAGE);

	NEEDS_DEVICE();
	ASSERT_NE(MAP_FAILED, addr);
	memset(addr, GUARD, 4 * PAGE);
	ASSERT_EQ(0, mprotect(addr, 4 * PAGE, PROT_READ));
	check_refused(_metadata, self, addr, 4 * PAGE);
	ASSERT_EQ(0, mprotect(addr, 4 * PAGE, PROT_NONE));
	check_refused(_metadata, self, addr, 4 * PAGE);
	ASSERT_EQ(0, mprotect(addr, 4 * PAGE, PROT_READ | PROT_WRITE));
	EXPECT_TRUE(all_bytes(addr, 4 * PAGE, GUARD));
	munmap(addr, 4 * PAGE);
}

/* A new file of @size bytes on the ext4 of this run, unlinked; -1 if there is none. */
static int ext4_file(size_t size)
{
	const char *image = getenv("USERPTR_EXT4");
	int fd;

	if (!image || (mkdir(EXT4_DIR, 0700) && errno != EEXIST) ||
	    (mount(image, EXT4_DIR, "ext4", 0, NULL) && errno != EBUSY))
		return -1;
	fd = open(EXT4_DIR, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0 && ftruncate(fd, size)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

CASE(refuses_shared_file)
{
	int fd = ext4_file(4 * PAGE);
	uint8_t *addr;

	NEEDS_DEVICE();
	if (fd < 0)
		SKIP(return, "no ext4 image in this run");
	addr = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, addr);
	check_refused(_metadata, self, addr, 4 * PAGE);
	munmap(addr, 4 * PAGE);
	close(fd);
}

/* Memory of Vulkan's own, which is no memory of the process. */
CASE(refuses_memory_of_the_device)
{
	const VkMemoryAllocateInfo info = {
		.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
		.allocationSize = 16 * PAGE,
	};
	VkDevice device = self->gpu.vkc.device;
	VkDeviceMemory memory;
	void *map;

	NEEDS_DEVICE();
	ASSERT_TRUE(self->gpu.vkc.memory.memoryTypes[0].propertyFlags &
		    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT);
	ASSERT_VK(VK_SUCCESS, vkAllocateMemory(device, &info, NULL, &memory));
	ASSERT_VK(VK_SUCCESS, vkMapMemory(device, memory, 0, VK_WHOLE_SIZE, 0, &map));
	check_refused(_metadata, self, map, 16 * PAGE);
	vkUnmapMemory(device, memory);
	vkFreeMemory(device, memory, NULL);
}

/* ---- kinds of memory ------------------------------------------------------- */

CASE(heap)
{
	void *small = aligned_alloc(PAGE, PAGE), *large = aligned_alloc(PAGE, MIB(2));

	ASSERT_NE(NULL, small);
	ASSERT_NE(NULL, large);
	check_memory(_metadata, self, small, PAGE);
	check_memory(_metadata, self, large, MIB(2));
	free(large);
	free(small);
}

/* What malloc keeps beside and between is not touched. */
CASE(heap_in_the_middle)
{
	uint8_t *addr = aligned_alloc(PAGE, 16 * PAGE);

	ASSERT_NE(NULL, addr);
	memset(addr, GUARD, 16 * PAGE);
	check_memory(_metadata, self, addr + 5 * PAGE, 3 * PAGE);
	EXPECT_TRUE(all_bytes(addr, 5 * PAGE, GUARD));
	EXPECT_TRUE(all_bytes(addr + 8 * PAGE, 8 * PAGE, GUARD));
	free(addr);
}

CASE(stack)
{
	uint8_t block[9 * PAGE];
	uint8_t *addr = (uint8_t *)(((uintptr_t)block + PAGE - 1) & ~(PAGE - 1));

	check_memory(_metadata, self, addr, 8 * PAGE);
}

CASE(mmap_anonymous)
{
	uint8_t *addr = map_anonymous(MIB(1));

	ASSERT_NE(MAP_FAILED, addr);
	check_memory(_metadata, self, addr, MIB(1));
	munmap(addr, MIB(1));
}

CASE(mmap_shared_memory)
{
	int fd = memfd_create("venus", MFD_CLOEXEC);
	uint8_t *addr, *other;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, MIB(1)));
	addr = mmap(NULL, MIB(1), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	other = mmap(NULL, MIB(1), PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_NE(MAP_FAILED, other);
	check_memory(_metadata, self, addr, MIB(1));
	EXPECT_EQ(-1, wrong_word(other, MIB(1), 0xabcd, 1, 0));
	munmap(other, MIB(1));
	munmap(addr, MIB(1));
	close(fd);
}

/* The process's own copy is written, never the file. */
CASE(private_file)
{
	int fd = ext4_file(0);
	uint8_t page[PAGE], *addr;
	int i;

	if (fd < 0)
		fd = memfd_create("venus", MFD_CLOEXEC);
	ASSERT_LE(0, fd);
	memset(page, GUARD, PAGE);
	for (i = 0; i < 16; i++)
		ASSERT_EQ(PAGE, write(fd, page, PAGE));
	addr = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, addr);
	check_memory(_metadata, self, addr, 16 * PAGE);
	for (i = 0; i < 16; i++) {
		ASSERT_EQ(PAGE, pread(fd, page, PAGE, i * PAGE));
		EXPECT_TRUE(all_bytes(page, PAGE, GUARD));
	}
	munmap(addr, 16 * PAGE);
	close(fd);
}

CASE(huge_pages)
{
	struct region region;

	NEEDS_DEVICE();
	ASSERT_EQ(0, region_huge(&region, MIB(4) / PAGE));
	check_memory(_metadata, self, region.addr, region.size);
	region_free(&region);
}

CASE(scattered_pages)
{
	struct region region;

	NEEDS_DEVICE();
	ASSERT_EQ(0, region_scattered(&region, 500));
	check_memory(_metadata, self, region.addr, region.size);
	region_free(&region);
}

/* ---- what is bound to what ------------------------------------------------- */

CASE(two_imports_of_one_range)
{
	uint8_t *addr = aligned_alloc(PAGE, 16 * PAGE), *copy = aligned_alloc(PAGE, 16 * PAGE);
	struct vkc_buffer one, two, result;

	ASSERT_NE(NULL, addr);
	ASSERT_NE(NULL, copy);
	ASSERT_VK(VK_SUCCESS, vkc_buffer_import(&self->gpu.vkc, addr, 16 * PAGE, &one));
	/* Overlapping, not the same. */
	ASSERT_VK(VK_SUCCESS, vkc_buffer_import(&self->gpu.vkc, addr + 4 * PAGE, 12 * PAGE, &two));
	ASSERT_VK(VK_SUCCESS, vkc_buffer_import(&self->gpu.vkc, copy, 16 * PAGE, &result));
	ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_FILL, NULL, &one, 1000));
	ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_COPY, &two, &result, 0));
	EXPECT_EQ(-1, wrong_word(copy, 12 * PAGE, 1000 + 4 * PAGE / 4, 1, 0));
	ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_FILL, NULL, &two, 5000));
	ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_COPY, &one, &result, 0));
	EXPECT_EQ(-1, wrong_word(copy, 4 * PAGE, 1000, 1, 0));
	EXPECT_EQ(-1, wrong_word(copy + 4 * PAGE, 12 * PAGE, 5000, 1, 0));
	/* The end of one is not the end of the other. */
	vkc_buffer_free(&self->gpu.vkc, &one);
	ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_FILL, NULL, &two, 9000));
	EXPECT_EQ(-1, wrong_word(addr + 4 * PAGE, 12 * PAGE, 9000, 1, 0));
	vkc_buffer_free(&self->gpu.vkc, &two);
	vkc_buffer_free(&self->gpu.vkc, &result);
	free(copy);
	free(addr);
}

CASE(buffer_bound_in_the_middle)
{
	const size_t size = 16 * PAGE, offset = 5 * PAGE, part = 4 * PAGE;
	uint8_t *addr = aligned_alloc(PAGE, size);
	struct vkc_buffer buffer = { .size = part };
	VkMemoryRequirements needs;

	ASSERT_NE(NULL, addr);
	memset(addr, GUARD, size);
	ASSERT_VK(VK_SUCCESS, vkc_import(&self->gpu.vkc, addr, size, &buffer.memory));
	ASSERT_VK(VK_SUCCESS, vkc_buffer_make(&self->gpu.vkc, part, &buffer.buffer));
	vkGetBufferMemoryRequirements(self->gpu.vkc.device, buffer.buffer, &needs);
	ASSERT_EQ(0, offset % needs.alignment);
	ASSERT_GE(size - offset, needs.size);
	ASSERT_VK(VK_SUCCESS,
		  vkBindBufferMemory(self->gpu.vkc.device, buffer.buffer, buffer.memory, offset));
	ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_FILL, NULL, &buffer, 42));
	EXPECT_EQ(-1, wrong_word(addr + offset, part, 42, 1, 0));
	EXPECT_TRUE(all_bytes(addr, offset, GUARD));
	EXPECT_TRUE(all_bytes(addr + offset + part, size - offset - part, GUARD));
	vkc_buffer_free(&self->gpu.vkc, &buffer);
	free(addr);
}

/* Two buffers in one import, each in its own half. */
CASE(two_buffers_in_one_import)
{
	const size_t half = 8 * PAGE;
	uint8_t *addr = aligned_alloc(PAGE, 2 * half);
	struct vkc_buffer low = { .size = half }, high = { .size = half };
	VkDevice device = self->gpu.vkc.device;

	ASSERT_NE(NULL, addr);
	fill_words(addr, half, 3);
	ASSERT_VK(VK_SUCCESS, vkc_import(&self->gpu.vkc, addr, 2 * half, &low.memory));
	ASSERT_VK(VK_SUCCESS, vkc_buffer_make(&self->gpu.vkc, half, &low.buffer));
	ASSERT_VK(VK_SUCCESS, vkc_buffer_make(&self->gpu.vkc, half, &high.buffer));
	ASSERT_VK(VK_SUCCESS, vkBindBufferMemory(device, low.buffer, low.memory, 0));
	ASSERT_VK(VK_SUCCESS, vkBindBufferMemory(device, high.buffer, low.memory, half));
	ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_INVERT, &low, &high, 0));
	EXPECT_EQ(-1, wrong_word(addr, half, 3, 0x9e3779b9u, 0));
	EXPECT_EQ(-1, wrong_word(addr + half, half, 3, 0x9e3779b9u, ~0u));
	vkc_buffer_free(&self->gpu.vkc, &high);
	vkc_buffer_free(&self->gpu.vkc, &low);
	free(addr);
}

/* ---- who goes first -------------------------------------------------------- */

static void *used_import(struct __test_metadata *_metadata, SELF *self, struct vkc_buffer *buffer)
{
	void *addr = map_anonymous(MIB(1));

	EXPECT_NE(MAP_FAILED, addr);
	EXPECT_VK(VK_SUCCESS, vkc_buffer_import(&self->gpu.vkc, addr, MIB(1), buffer));
	EXPECT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_FILL, NULL, buffer, 7));
	EXPECT_EQ(-1, wrong_word(addr, MIB(1), 7, 1, 0));
	return addr;
}

CASE(memory_freed_before_its_buffer)
{
	struct vkc_buffer buffer;
	void *addr = used_import(_metadata, self, &buffer);

	vkFreeMemory(self->gpu.vkc.device, buffer.memory, NULL);
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	vkDestroyBuffer(self->gpu.vkc.device, buffer.buffer, NULL);
	munmap(addr, MIB(1));
}

CASE(pages_unmapped_before_memory_is_freed)
{
	struct vkc_buffer buffer;
	void *addr = used_import(_metadata, self, &buffer);

	munmap(addr, MIB(1));
	vkDestroyBuffer(self->gpu.vkc.device, buffer.buffer, NULL);
	vkFreeMemory(self->gpu.vkc.device, buffer.memory, NULL);
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	/* And the device works on: this was no violation. */
	addr = used_import(_metadata, self, &buffer);
	vkc_buffer_free(&self->gpu.vkc, &buffer);
	munmap(addr, MIB(1));
}

CASE(device_destroyed_before_pages_are_unmapped)
{
	struct vkc_buffer buffer;
	void *addr = used_import(_metadata, self, &buffer);

	vkc_buffer_free(&self->gpu.vkc, &buffer);
	gpu_close(&self->gpu);
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	EXPECT_EQ(-1, wrong_word(addr, MIB(1), 7, 1, 0));
	munmap(addr, MIB(1));
}

/* The same addresses, again and again, with other pages each time. */
CASE(same_address_with_new_pages)
{
	struct vkc_buffer buffer;
	void *addr = NULL, *old;
	int i;

	for (i = 0; i < 20; i++) {
		old = addr;
		addr = mmap(old, MIB(1), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | (old ? MAP_FIXED : 0), -1, 0);
		ASSERT_NE(MAP_FAILED, addr);
		ASSERT_VK(VK_SUCCESS, vkc_buffer_import(&self->gpu.vkc, addr, MIB(1), &buffer));
		ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_FILL, NULL, &buffer, i));
		ASSERT_EQ(-1, wrong_word(addr, MIB(1), i, 1, 0));
		vkc_buffer_free(&self->gpu.vkc, &buffer);
	}
	munmap(addr, MIB(1));
}

/* ---- while a shader runs --------------------------------------------------- */

CASE(cpu_and_running_shader_share_memory)
{
	struct vkc_dispatch dispatch;
	struct gate gate;
	struct vkc_job job;
	int round;

	ASSERT_VK(VK_SUCCESS, gate_make(&self->gpu, &gate));
	dispatch = gate_dispatch(&self->gpu, &gate, 16);
	ASSERT_VK(VK_SUCCESS, vkc_submit(&self->gpu.vkc, &dispatch, 1, &job));
	for (round = 1; round <= 16; round++) {
		ASSERT_EQ(0, gate_await(&gate, round));
		ASSERT_VK(VK_TIMEOUT, vkc_wait(&self->gpu.vkc, &job, 0));
		gate_pass(&gate, round);
	}
	ASSERT_VK(VK_SUCCESS, vkc_wait(&self->gpu.vkc, &job, VKC_TIMEOUT_MS));
	EXPECT_EQ(16, atomic_load(&gate.words[GATE_ROUNDS]));
	vkc_job_free(&self->gpu.vkc, &job);
	gate_free(&self->gpu, &gate);
}

/*
 * The release rule.  The shader stands at the gate, behind which it will write
 * to memory that is freed meanwhile: the kernel tells the device, and the
 * pages stay pinned.  What is mapped at the same address afterwards is other
 * memory, which the shader must not change.  Its context goes on living, as
 * all this takes less than the device's grace period.
 */
CASE(freed_while_the_fence_is_pending)
{
	struct venus_registration registration;
	struct vkc_dispatch dispatches[2];
	struct vkc_buffer buffer;
	struct gate gate;
	struct vkc_job job;
	void *addr, *again;

	NEEDS_DEVICE();
	/* A block of this size is a mapping of its own, which free() unmaps. */
	ASSERT_EQ(1, mallopt(M_MMAP_THRESHOLD, KIB(128)));
	addr = aligned_alloc(PAGE, MIB(1));
	ASSERT_NE(NULL, addr);
	memset(addr, 0, MIB(1));
	ASSERT_VK(VK_SUCCESS, gate_make(&self->gpu, &gate));
	ASSERT_VK(VK_SUCCESS, vkc_buffer_import(&self->gpu.vkc, addr, MIB(1), &buffer));
	ASSERT_EQ(0, venus_find(addr, MIB(1), &registration));
	dispatches[0] = gate_dispatch(&self->gpu, &gate, 1);
	dispatches[1] = gpu_work(&self->gpu, VKC_FILL, NULL, &buffer, 1);
	ASSERT_VK(VK_SUCCESS, vkc_submit(&self->gpu.vkc, dispatches, 2, &job));
	ASSERT_EQ(0, gate_await(&gate, 1));

	free(addr);
	again = mmap((void *)(uintptr_t)registration.info.addr, MIB(1), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	ASSERT_EQ(registration.info.addr, (uintptr_t)again);
	memset(again, GUARD, MIB(1));
	EXPECT_EQ(0, vg_userptr_wait(registration.fd, registration.handle,
				     VIRTGPU_USERPTR_INFO_WAIT_REVOKED, SETTLE_MS));
	EXPECT_EQ(-ETIME, vg_userptr_wait(registration.fd, registration.handle,
					  VIRTGPU_USERPTR_INFO_WAIT_RELEASED, 300));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 1024 + 4, SETTLE_MS));
	EXPECT_VK(VK_TIMEOUT, vkc_wait(&self->gpu.vkc, &job, 0));

	gate_pass(&gate, 1);
	EXPECT_VK(VK_SUCCESS, vkc_wait(&self->gpu.vkc, &job, VKC_TIMEOUT_MS));
	EXPECT_EQ(1, atomic_load(&gate.words[GATE_ROUNDS]));
	vkc_buffer_free(&self->gpu.vkc, &buffer);
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 4, SETTLE_MS));
	EXPECT_TRUE(all_bytes(again, MIB(1), GUARD));
	vkc_job_free(&self->gpu.vkc, &job);
	gate_free(&self->gpu, &gate);
	munmap(again, MIB(1));
}

/* ---- many, and too much ---------------------------------------------------- */

CASE(thousand_imports)
{
	const bool host_answers = getenv("USERPTR_ASK_HOST");
	const size_t size = 64 * PAGE;
	void *addr = map_anonymous(size);
	long rss = 0, slab = 0, pins;
	struct loopback_stats stats;
	struct vkc_buffer buffer;
	int i;

	ASSERT_NE(MAP_FAILED, addr);
	for (i = 0; i < 1000; i++) {
		ASSERT_VK(VK_SUCCESS, vkc_buffer_import(&self->gpu.vkc, addr, size, &buffer));
		if (i % 50 == 0) {
			ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_FILL, NULL, &buffer, i));
			ASSERT_EQ(-1, wrong_word(addr, size, i, 1, 0));
		}
		vkc_buffer_free(&self->gpu.vkc, &buffer);
		/* What grows only once has grown by now. */
		if (i == 200) {
			ASSERT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
			rss = vg_status_kib("VmRSS");
			slab = read_counter("/proc/meminfo", "SUnreclaim:");
			if (host_answers)
				ASSERT_EQ(0, ask_host("mark-memory 0"));
		}
	}
	pins = vg_wait_status_kib("VmPin", 0, SETTLE_MS);
	EXPECT_EQ(0, pins);
	/* A kilobyte each would be 800. */
	EXPECT_GE(rss + 400, vg_status_kib("VmRSS"));
	EXPECT_GE(slab + 1600, read_counter("/proc/meminfo", "SUnreclaim:"));
	/* The device and its render server. */
	if (host_answers)
		EXPECT_EQ(0, ask_host("check-memory 0"));
	if (self->session.loopback) {
		ASSERT_EQ(0, session_stats(&self->session, &stats));
		EXPECT_LE(1000, stats.userptr_created);
		EXPECT_EQ(0, stats.userptr_resources);
		EXPECT_EQ(stats.userptr_created, stats.userptr_destroyed);
	}
	munmap(addr, size);
}

/* More pieces than the host's kernel takes for one dma-buf (udmabuf.list_limit). */
CASE(more_pieces_than_the_host_takes)
{
	struct vkc_buffer buffer;
	struct region region;
	long limit = atol(getenv("USERPTR_LIST_LIMIT") ?: "1024");

	NEEDS_DEVICE();
	ASSERT_LT(0, limit);
	ASSERT_EQ(0, region_scattered(&region, limit));
	check_memory(_metadata, self, region.addr, region.size);
	region_free(&region);
	ASSERT_EQ(0, region_scattered(&region, limit + 1));
	EXPECT_VK(VK_ERROR_OUT_OF_DEVICE_MEMORY,
		  vkc_buffer_import(&self->gpu.vkc, region.addr, region.size, &buffer));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	region_free(&region);
	ASSERT_EQ(0, region_scattered(&region, 2 * limit));
	EXPECT_VK(VK_ERROR_OUT_OF_DEVICE_MEMORY,
		  vkc_buffer_import(&self->gpu.vkc, region.addr, region.size, &buffer));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	region_free(&region);
}

/* And more bytes (udmabuf.size_limit_mb). */
CASE(more_bytes_than_the_host_takes)
{
	struct vkc_buffer buffer;
	struct region region;
	long limit = atol(getenv("USERPTR_SIZE_LIMIT_MB") ?: "64");

	NEEDS_DEVICE();
	ASSERT_LT(0, limit);
	ASSERT_EQ(0, region_huge(&region, MIB(limit) / PAGE + 1));
	EXPECT_VK(VK_ERROR_OUT_OF_DEVICE_MEMORY,
		  vkc_buffer_import(&self->gpu.vkc, region.addr, region.size, &buffer));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	EXPECT_VK(VK_SUCCESS, vkc_buffer_import(&self->gpu.vkc, region.addr, MIB(limit), &buffer));
	vkc_buffer_free(&self->gpu.vkc, &buffer);
	region_free(&region);
}

/* After what went wrong the context is as good as before. */
CASE(works_after_errors)
{
	struct vkc_buffer buffer;
	uint8_t *addr = map_anonymous(MIB(1));
	int i;

	NEEDS_DEVICE();
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_EQ(0, munmap(addr + MIB(1) - PAGE, PAGE));
	for (i = 0; i < 50; i++)
		ASSERT_VK(VK_ERROR_INVALID_EXTERNAL_HANDLE,
			  vkc_buffer_import(&self->gpu.vkc, addr, MIB(1), &buffer));
	check_memory(_metadata, self, addr, MIB(1) - PAGE);
	munmap(addr, MIB(1) - PAGE);
}

TEST_HARNESS_MAIN
