/* SPDX-License-Identifier: MIT */
/*
 * vkc: a Vulkan compute device, as much of it as the demo and the tests need
 *
 * Plain Vulkan 1.2 and VK_EXT_external_memory_host; nothing here knows what is
 * behind the driver.  Every function that can fail returns a VkResult.
 *
 * All shaders share one layout: VKC_BINDINGS storage buffers and VKC_PUSH words
 * of push constants.
 *
 * Invariant: no byte of a struct vkc_buffer is copied by this code, and none is
 * allocated by Vulkan: its memory is the caller's, imported.
 *
 * Threads: one at a time.
 */
#ifndef VKC_H
#define VKC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vulkan/vulkan.h>

#define VKC_BINDINGS 3
#define VKC_PUSH 4
/* Invocations of a workgroup in all shaders that work on words or blocks. */
#define VKC_GROUP 64
/* Dispatches of one submission. */
#define VKC_DISPATCHES 4
/* How long a submission may take before it counts as hung. */
#define VKC_TIMEOUT_MS 120000

/* Operations of work.comp. */
#define VKC_FILL 1
#define VKC_COPY 2
#define VKC_INVERT 3

/**
 * struct vkc - a device with one compute queue
 * @instance: instance
 * @messenger: counts what the validation layer says
 * @physical: physical device
 * @device: device
 * @queue: its queue
 * @family: the queue's family
 * @properties: of @physical
 * @driver: of @physical
 * @memory: of @physical
 * @alignment: minImportedHostPointerAlignment
 * @set_layout: of all shaders
 * @layout: of all shaders
 * @sets: where descriptor sets come from
 * @commands: where command buffers come from
 * @messages: warnings and errors of the validation layer so far
 * @quiet: count them, but do not print them
 * @host_pointer_properties: vkGetMemoryHostPointerPropertiesEXT
 */
struct vkc {
	VkInstance instance;
	VkDebugUtilsMessengerEXT messenger;
	VkPhysicalDevice physical;
	VkDevice device;
	VkQueue queue;
	uint32_t family;
	VkPhysicalDeviceProperties properties;
	VkPhysicalDeviceDriverProperties driver;
	VkPhysicalDeviceMemoryProperties memory;
	VkDeviceSize alignment;
	VkDescriptorSetLayout set_layout;
	VkPipelineLayout layout;
	VkDescriptorPool sets;
	VkCommandPool commands;
	unsigned int messages;
	bool quiet;
	PFN_vkGetMemoryHostPointerPropertiesEXT host_pointer_properties;
};

/**
 * struct vkc_buffer - a storage buffer in imported memory
 * @buffer: the buffer
 * @memory: the memory that was imported
 * @size: bytes of the buffer
 */
struct vkc_buffer {
	VkBuffer buffer;
	VkDeviceMemory memory;
	VkDeviceSize size;
};

/**
 * struct vkc_dispatch - one run of a shader
 * @pipeline: the shader
 * @buffers: what it is bound to; NULL where the shader has no binding
 * @push: its push constants
 * @groups: workgroups
 */
struct vkc_dispatch {
	VkPipeline pipeline;
	const struct vkc_buffer *buffers[VKC_BINDINGS];
	uint32_t push[VKC_PUSH];
	uint32_t groups;
};

/**
 * struct vkc_job - a submission
 * @commands: command buffer
 * @sets: descriptor sets, one a dispatch
 * @nr: how many
 * @fence: signalled at the end
 */
struct vkc_job {
	VkCommandBuffer commands;
	VkDescriptorSet sets[VKC_DISPATCHES];
	uint32_t nr;
	VkFence fence;
};

const char *vkc_result(VkResult result);

VkResult vkc_open(struct vkc *vkc, bool validate);
void vkc_close(struct vkc *vkc);

VkResult vkc_pipeline(struct vkc *vkc, const uint32_t *code, size_t bytes, VkPipeline *pipeline);

VkResult vkc_import(struct vkc *vkc, void *addr, VkDeviceSize size, VkDeviceMemory *memory);
VkResult vkc_buffer_make(struct vkc *vkc, VkDeviceSize size, VkBuffer *buffer);
VkResult vkc_buffer_import(struct vkc *vkc, void *addr, VkDeviceSize size, struct vkc_buffer *out);
void vkc_buffer_free(struct vkc *vkc, struct vkc_buffer *buffer);

VkResult vkc_submit(struct vkc *vkc, const struct vkc_dispatch *dispatches, uint32_t nr,
		    struct vkc_job *job);
VkResult vkc_wait(struct vkc *vkc, const struct vkc_job *job, int timeout_ms);
void vkc_job_free(struct vkc *vkc, struct vkc_job *job);
VkResult vkc_run(struct vkc *vkc, const struct vkc_dispatch *dispatches, uint32_t nr);

#endif /* VKC_H */
