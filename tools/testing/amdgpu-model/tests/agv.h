/* SPDX-License-Identifier: MIT */
/*
 * agv: a Vulkan device that moves bytes
 *
 * Plain Vulkan 1.2 and VK_EXT_external_memory_host, on the first device of AMD, with a queue of one
 * kind.  Functions return a VkResult.
 */
#ifndef AGV_H
#define AGV_H

#include <stdbool.h>
#include <stdint.h>

#include <vulkan/vulkan.h>

/**
 * struct agv - a device with one queue
 * @instance: instance
 * @messenger: counts what the validation layer says
 * @messages: how much it has said
 * @quiet: count it, but do not print it
 * @physical: physical device
 * @properties: of it
 * @driver: of it
 * @memory: of it
 * @alignment: of imported memory
 * @family: of the queue
 * @device: device
 * @queue: queue
 * @pool: of command buffers
 * @host_pointer_properties: vkGetMemoryHostPointerPropertiesEXT
 */
struct agv {
	VkInstance instance;
	VkDebugUtilsMessengerEXT messenger;
	unsigned int messages;
	bool quiet;
	VkPhysicalDevice physical;
	VkPhysicalDeviceProperties properties;
	VkPhysicalDeviceDriverProperties driver;
	VkPhysicalDeviceMemoryProperties memory;
	VkDeviceSize alignment;
	uint32_t family;
	VkDevice device;
	VkQueue queue;
	VkCommandPool pool;
	PFN_vkGetMemoryHostPointerPropertiesEXT host_pointer_properties;
};

/**
 * struct agv_buffer - a buffer and its memory
 * @buffer: buffer
 * @memory: memory
 * @size: bytes
 * @cpu: where it is mapped, or NULL
 */
struct agv_buffer {
	VkBuffer buffer;
	VkDeviceMemory memory;
	VkDeviceSize size;
	void *cpu;
};

VkResult agv_open(struct agv *v, VkQueueFlags with, VkQueueFlags without);
void agv_close(struct agv *v);

VkResult agv_import(struct agv *v, void *addr, VkDeviceSize size, struct agv_buffer *b);
VkResult agv_import_memory(struct agv *v, void *addr, VkDeviceSize size, VkDeviceMemory *memory);
VkResult agv_bind_part(struct agv *v, VkDeviceMemory memory, VkDeviceSize offset, VkDeviceSize size,
		       struct agv_buffer *b);
VkResult agv_alloc(struct agv *v, VkDeviceSize size, VkMemoryPropertyFlags with,
		   VkMemoryPropertyFlags without, struct agv_buffer *b);
void agv_free(struct agv *v, struct agv_buffer *b);

VkResult agv_begin(struct agv *v, VkCommandBuffer *commands);
VkResult agv_run(struct agv *v, VkCommandBuffer commands);
VkResult agv_copy(struct agv *v, struct agv_buffer *from, struct agv_buffer *to);
VkResult agv_copy_part(struct agv *v, struct agv_buffer *from, VkDeviceSize from_offset,
		       struct agv_buffer *to, VkDeviceSize to_offset, VkDeviceSize size);

#endif /* AGV_H */
