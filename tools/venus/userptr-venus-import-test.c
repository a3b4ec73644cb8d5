// SPDX-License-Identifier: MIT
/*
 * userptr-venus-import-test: which memory VK_EXT_external_memory_host imports
 *
 * What the driver says about it, what is refused, and every kind of memory that
 * is read and written in place by shaders.  Runs on any driver.
 *
 * Invariant: see venus-session.h.
 */
#include <unistd.h>

#include "venus-fixture.h"

#define HOST_ALLOCATION VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT
#define HOST_FOREIGN VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_MAPPED_FOREIGN_MEMORY_BIT_EXT

/* The import fails in the way that Vulkan says, and leaves nothing behind. */
static void check_refused(struct __test_metadata *_metadata, SELF *self, void *addr, size_t size)
{
	struct vkc_buffer buffer;

	EXPECT_VK(VK_ERROR_INVALID_EXTERNAL_HANDLE,
		  vkc_buffer_import(&self->gpu.vkc, addr, size, &buffer));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
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

#include "kinds-of-memory.h"

TEST_HARNESS_MAIN
