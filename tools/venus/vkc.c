// SPDX-License-Identifier: MIT
/*
 * vkc: a Vulkan compute device, as much of it as the demo and the tests need
 *
 * See vkc.h.  Nothing here keeps state outside of struct vkc.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vkc.h"

#define HOST_ALLOCATION VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT
#define VALIDATION_LAYER "VK_LAYER_KHRONOS_validation"
#define MAX_DEVICES 8
#define MAX_FAMILIES 16
/* Submissions that exist at a time, times VKC_DISPATCHES. */
#define MAX_SETS 64

/* clang-format off */
static const struct {
	VkResult result;
	const char *name;
} results[] = {
	{ VK_SUCCESS, "VK_SUCCESS" },
	{ VK_NOT_READY, "VK_NOT_READY" },
	{ VK_TIMEOUT, "VK_TIMEOUT" },
	{ VK_ERROR_OUT_OF_HOST_MEMORY, "VK_ERROR_OUT_OF_HOST_MEMORY" },
	{ VK_ERROR_OUT_OF_DEVICE_MEMORY, "VK_ERROR_OUT_OF_DEVICE_MEMORY" },
	{ VK_ERROR_INITIALIZATION_FAILED, "VK_ERROR_INITIALIZATION_FAILED" },
	{ VK_ERROR_DEVICE_LOST, "VK_ERROR_DEVICE_LOST" },
	{ VK_ERROR_MEMORY_MAP_FAILED, "VK_ERROR_MEMORY_MAP_FAILED" },
	{ VK_ERROR_LAYER_NOT_PRESENT, "VK_ERROR_LAYER_NOT_PRESENT" },
	{ VK_ERROR_EXTENSION_NOT_PRESENT, "VK_ERROR_EXTENSION_NOT_PRESENT" },
	{ VK_ERROR_FEATURE_NOT_PRESENT, "VK_ERROR_FEATURE_NOT_PRESENT" },
	{ VK_ERROR_INCOMPATIBLE_DRIVER, "VK_ERROR_INCOMPATIBLE_DRIVER" },
	{ VK_ERROR_TOO_MANY_OBJECTS, "VK_ERROR_TOO_MANY_OBJECTS" },
	{ VK_ERROR_UNKNOWN, "VK_ERROR_UNKNOWN" },
	{ VK_ERROR_INVALID_EXTERNAL_HANDLE, "VK_ERROR_INVALID_EXTERNAL_HANDLE" },
};
/* clang-format on */

/**
 * vkc_result() - the name of a result
 * @result: the result
 *
 * Return: a name for it, also if it has none here.
 */
const char *vkc_result(VkResult result)
{
	size_t i;

	for (i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
		if (results[i].result == result)
			return results[i].name;
	}
	return result < 0 ? "another error" : "another result";
}

static VkBool32 on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
			   VkDebugUtilsMessageTypeFlagsEXT types,
			   const VkDebugUtilsMessengerCallbackDataEXT *data, void *opaque)
{
	struct vkc *vkc = opaque;

	vkc->messages++;
	if (!vkc->quiet)
		fprintf(stderr, "# validation: %s\n", data->pMessage);
	/* Not to be swallowed: the driver is to see what the program did. */
	return VK_FALSE;
}

static const VkDebugUtilsMessengerCreateInfoEXT messenger_info = {
	.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
	.messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
			   VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
	.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
	.pfnUserCallback = on_message,
};

static VkResult make_instance(struct vkc *vkc, bool validate)
{
	static const char *const layer = VALIDATION_LAYER;
	static const char *const extension = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
	const VkApplicationInfo app = {
		.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
		.pApplicationName = "virtio-gpu-userptr",
		.apiVersion = VK_API_VERSION_1_2,
	};
	VkDebugUtilsMessengerCreateInfoEXT messenger = messenger_info;
	VkInstanceCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
		.pApplicationInfo = &app,
	};
	PFN_vkCreateDebugUtilsMessengerEXT create;
	VkResult ret;

	messenger.pUserData = vkc;
	if (validate) {
		info.pNext = &messenger;
		info.enabledLayerCount = 1;
		info.ppEnabledLayerNames = &layer;
		info.enabledExtensionCount = 1;
		info.ppEnabledExtensionNames = &extension;
	}
	ret = vkCreateInstance(&info, NULL, &vkc->instance);
	if (ret || !validate)
		return ret;
	create = (PFN_vkCreateDebugUtilsMessengerEXT)vkGetInstanceProcAddr(
		vkc->instance, "vkCreateDebugUtilsMessengerEXT");
	return create(vkc->instance, &messenger, NULL, &vkc->messenger);
}

static bool has_extension(VkPhysicalDevice physical, const char *name)
{
	VkExtensionProperties *list;
	bool found = false;
	uint32_t nr = 0, i;

	if (vkEnumerateDeviceExtensionProperties(physical, NULL, &nr, NULL))
		return false;
	list = calloc(nr, sizeof(*list));
	if (!list)
		return false;
	if (!vkEnumerateDeviceExtensionProperties(physical, NULL, &nr, list)) {
		for (i = 0; i < nr && !found; i++)
			found = !strcmp(list[i].extensionName, name);
	}
	free(list);
	return found;
}

/* The first compute queue of the first device that imports host memory. */
static VkResult choose_device(struct vkc *vkc)
{
	VkPhysicalDevice devices[MAX_DEVICES];
	VkQueueFamilyProperties families[MAX_FAMILIES];
	uint32_t nr = MAX_DEVICES, i, nr_families;
	VkResult ret;

	ret = vkEnumeratePhysicalDevices(vkc->instance, &nr, devices);
	if (ret < 0)
		return ret;
	for (i = 0; i < nr; i++) {
		vkGetPhysicalDeviceProperties(devices[i], &vkc->properties);
		if (vkc->properties.apiVersion < VK_API_VERSION_1_2 ||
		    !has_extension(devices[i], VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME)) {
			fprintf(stderr, "# %s: no Vulkan 1.2 with host memory import\n",
				vkc->properties.deviceName);
			continue;
		}
		vkc->physical = devices[i];
		nr_families = MAX_FAMILIES;
		vkGetPhysicalDeviceQueueFamilyProperties(devices[i], &nr_families, families);
		for (vkc->family = 0; vkc->family < nr_families; vkc->family++) {
			if (families[vkc->family].queueFlags & VK_QUEUE_COMPUTE_BIT)
				return VK_SUCCESS;
		}
	}
	return VK_ERROR_EXTENSION_NOT_PRESENT;
}

static void read_properties(struct vkc *vkc)
{
	VkPhysicalDeviceExternalMemoryHostPropertiesEXT host = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT,
		.pNext = &vkc->driver,
	};
	VkPhysicalDeviceProperties2 properties = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
		.pNext = &host,
	};

	vkc->driver.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES;
	vkGetPhysicalDeviceProperties2(vkc->physical, &properties);
	vkc->properties = properties.properties;
	vkc->alignment = host.minImportedHostPointerAlignment;
	vkGetPhysicalDeviceMemoryProperties(vkc->physical, &vkc->memory);
}

static VkResult make_device(struct vkc *vkc)
{
	static const char *const extension = VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME;
	const float priority = 1;
	const VkDeviceQueueCreateInfo queue = {
		.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
		.queueFamilyIndex = vkc->family,
		.queueCount = 1,
		.pQueuePriorities = &priority,
	};
	const VkDeviceCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
		.queueCreateInfoCount = 1,
		.pQueueCreateInfos = &queue,
		.enabledExtensionCount = 1,
		.ppEnabledExtensionNames = &extension,
	};
	VkResult ret;

	ret = vkCreateDevice(vkc->physical, &info, NULL, &vkc->device);
	if (ret)
		return ret;
	vkGetDeviceQueue(vkc->device, vkc->family, 0, &vkc->queue);
	vkc->host_pointer_properties = (PFN_vkGetMemoryHostPointerPropertiesEXT)vkGetDeviceProcAddr(
		vkc->device, "vkGetMemoryHostPointerPropertiesEXT");
	return vkc->host_pointer_properties ? VK_SUCCESS : VK_ERROR_EXTENSION_NOT_PRESENT;
}

static VkResult make_layouts(struct vkc *vkc)
{
	const VkPushConstantRange push = {
		.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT,
		.size = VKC_PUSH * sizeof(uint32_t),
	};
	VkDescriptorSetLayoutBinding bindings[VKC_BINDINGS] = { 0 };
	const VkDescriptorSetLayoutCreateInfo set = {
		.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
		.bindingCount = VKC_BINDINGS,
		.pBindings = bindings,
	};
	const VkPipelineLayoutCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
		.setLayoutCount = 1,
		.pSetLayouts = &vkc->set_layout,
		.pushConstantRangeCount = 1,
		.pPushConstantRanges = &push,
	};
	VkResult ret;
	int i;

	for (i = 0; i < VKC_BINDINGS; i++) {
		bindings[i].binding = i;
		bindings[i].descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
		bindings[i].descriptorCount = 1;
		bindings[i].stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
	}
	ret = vkCreateDescriptorSetLayout(vkc->device, &set, NULL, &vkc->set_layout);
	return ret ? ret : vkCreatePipelineLayout(vkc->device, &info, NULL, &vkc->layout);
}

static VkResult make_pools(struct vkc *vkc)
{
	const VkDescriptorPoolSize size = {
		.type = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
		.descriptorCount = MAX_SETS * VKC_BINDINGS,
	};
	const VkDescriptorPoolCreateInfo sets = {
		.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
		.flags = VK_DESCRIPTOR_POOL_CREATE_FREE_DESCRIPTOR_SET_BIT,
		.maxSets = MAX_SETS,
		.poolSizeCount = 1,
		.pPoolSizes = &size,
	};
	const VkCommandPoolCreateInfo commands = {
		.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
		.queueFamilyIndex = vkc->family,
	};
	VkResult ret;

	ret = vkCreateDescriptorPool(vkc->device, &sets, NULL, &vkc->sets);
	return ret ? ret : vkCreateCommandPool(vkc->device, &commands, NULL, &vkc->commands);
}

/**
 * vkc_open() - instance, device and what every submission needs
 * @vkc: out
 * @validate: with the validation layer, which must be there
 *
 * Return: a result; vkc_close() is needed only after VK_SUCCESS.
 */
VkResult vkc_open(struct vkc *vkc, bool validate)
{
	VkResult ret;

	memset(vkc, 0, sizeof(*vkc));
	ret = make_instance(vkc, validate);
	if (!ret)
		ret = choose_device(vkc);
	if (!ret) {
		read_properties(vkc);
		ret = make_device(vkc);
	}
	if (!ret)
		ret = make_layouts(vkc);
	if (!ret)
		ret = make_pools(vkc);
	if (ret)
		vkc_close(vkc);
	return ret;
}

/**
 * vkc_close() - undo vkc_open()
 * @vkc: may be half-open; its pipelines, buffers and jobs are gone
 */
void vkc_close(struct vkc *vkc)
{
	PFN_vkDestroyDebugUtilsMessengerEXT destroy;

	if (vkc->device) {
		vkDestroyCommandPool(vkc->device, vkc->commands, NULL);
		vkDestroyDescriptorPool(vkc->device, vkc->sets, NULL);
		vkDestroyPipelineLayout(vkc->device, vkc->layout, NULL);
		vkDestroyDescriptorSetLayout(vkc->device, vkc->set_layout, NULL);
		vkDestroyDevice(vkc->device, NULL);
	}
	if (vkc->messenger) {
		destroy = (PFN_vkDestroyDebugUtilsMessengerEXT)vkGetInstanceProcAddr(
			vkc->instance, "vkDestroyDebugUtilsMessengerEXT");
		destroy(vkc->instance, vkc->messenger, NULL);
	}
	if (vkc->instance)
		vkDestroyInstance(vkc->instance, NULL);
	vkc->commands = VK_NULL_HANDLE;
	vkc->sets = VK_NULL_HANDLE;
	vkc->layout = VK_NULL_HANDLE;
	vkc->set_layout = VK_NULL_HANDLE;
	vkc->device = VK_NULL_HANDLE;
	vkc->messenger = VK_NULL_HANDLE;
	vkc->instance = VK_NULL_HANDLE;
}

/**
 * vkc_pipeline() - make a pipeline of a shader
 * @vkc: device
 * @code: SPIR-V
 * @bytes: of @code
 * @pipeline: out; the caller destroys it
 *
 * Return: a result.
 */
VkResult vkc_pipeline(struct vkc *vkc, const uint32_t *code, size_t bytes, VkPipeline *pipeline)
{
	const VkShaderModuleCreateInfo shader = {
		.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
		.codeSize = bytes,
		.pCode = code,
	};
	VkComputePipelineCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
		.stage = {
			.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
			.stage = VK_SHADER_STAGE_COMPUTE_BIT,
			.pName = "main",
		},
		.layout = vkc->layout,
	};
	VkResult ret;

	ret = vkCreateShaderModule(vkc->device, &shader, NULL, &info.stage.module);
	if (ret)
		return ret;
	ret = vkCreateComputePipelines(vkc->device, VK_NULL_HANDLE, 1, &info, NULL, pipeline);
	vkDestroyShaderModule(vkc->device, info.stage.module, NULL);
	return ret;
}

/* A type that the CPU sees without flushing, of those in @bits. */
static bool choose_type(const struct vkc *vkc, uint32_t bits, uint32_t *type)
{
	const VkMemoryPropertyFlags wanted = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
					     VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;

	for (*type = 0; *type < vkc->memory.memoryTypeCount; (*type)++) {
		if ((bits & (1u << *type)) &&
		    (vkc->memory.memoryTypes[*type].propertyFlags & wanted) == wanted)
			return true;
	}
	return false;
}

static VkResult import_type(struct vkc *vkc, void *addr, VkDeviceSize size, uint32_t type,
			    VkDeviceMemory *memory)
{
	const VkImportMemoryHostPointerInfoEXT host = {
		.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT,
		.handleType = HOST_ALLOCATION,
		.pHostPointer = addr,
	};
	const VkMemoryAllocateInfo info = {
		.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
		.pNext = &host,
		.allocationSize = size,
		.memoryTypeIndex = type,
	};

	return vkAllocateMemory(vkc->device, &info, NULL, memory);
}

/* @bits: types that will do, for what is to be bound. */
static VkResult import_bits(struct vkc *vkc, void *addr, VkDeviceSize size, uint32_t bits,
			    VkDeviceMemory *memory)
{
	VkMemoryHostPointerPropertiesEXT properties = {
		.sType = VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT,
	};
	uint32_t type;
	VkResult ret;

	ret = vkc->host_pointer_properties(vkc->device, HOST_ALLOCATION, addr, &properties);
	if (ret)
		return ret;
	if (!choose_type(vkc, properties.memoryTypeBits & bits, &type))
		return VK_ERROR_FEATURE_NOT_PRESENT;
	return import_type(vkc, addr, size, type, memory);
}

/**
 * vkc_import() - make device memory of the caller's memory
 * @vkc: device
 * @addr: first byte
 * @size: bytes
 * @memory: out; the caller frees it
 *
 * Return: a result; VK_ERROR_FEATURE_NOT_PRESENT if there is no memory type.
 */
VkResult vkc_import(struct vkc *vkc, void *addr, VkDeviceSize size, VkDeviceMemory *memory)
{
	return import_bits(vkc, addr, size, ~0u, memory);
}

/**
 * vkc_buffer_make() - a storage buffer that can be bound to imported memory
 * @vkc: device
 * @size: bytes
 * @buffer: out; the caller destroys it
 *
 * Return: a result.
 */
VkResult vkc_buffer_make(struct vkc *vkc, VkDeviceSize size, VkBuffer *buffer)
{
	const VkExternalMemoryBufferCreateInfo external = {
		.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO,
		.handleTypes = HOST_ALLOCATION,
	};
	const VkBufferCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
		.pNext = &external,
		.size = size,
		.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT,
	};

	return vkCreateBuffer(vkc->device, &info, NULL, buffer);
}

/**
 * vkc_buffer_import() - a storage buffer that is the caller's memory
 * @vkc: device
 * @addr: first byte
 * @size: bytes
 * @out: out; empty after an error
 *
 * Return: a result; VK_ERROR_FEATURE_NOT_PRESENT if the driver wants more for
 * the buffer than there is.
 */
VkResult vkc_buffer_import(struct vkc *vkc, void *addr, VkDeviceSize size, struct vkc_buffer *out)
{
	VkMemoryRequirements needs;
	VkResult ret;

	memset(out, 0, sizeof(*out));
	out->size = size;
	ret = vkc_buffer_make(vkc, size, &out->buffer);
	if (ret)
		return ret;
	vkGetBufferMemoryRequirements(vkc->device, out->buffer, &needs);
	if (needs.size > size)
		ret = VK_ERROR_FEATURE_NOT_PRESENT;
	if (!ret)
		ret = import_bits(vkc, addr, size, needs.memoryTypeBits, &out->memory);
	if (!ret)
		ret = vkBindBufferMemory(vkc->device, out->buffer, out->memory, 0);
	if (ret)
		vkc_buffer_free(vkc, out);
	return ret;
}

/**
 * vkc_buffer_free() - destroy the buffer and give the memory back
 * @vkc: device
 * @buffer: may be empty
 */
void vkc_buffer_free(struct vkc *vkc, struct vkc_buffer *buffer)
{
	vkDestroyBuffer(vkc->device, buffer->buffer, NULL);
	vkFreeMemory(vkc->device, buffer->memory, NULL);
	buffer->buffer = VK_NULL_HANDLE;
	buffer->memory = VK_NULL_HANDLE;
}

/* A set for each dispatch; a binding that the shader has not is given any buffer. */
static VkResult make_sets(struct vkc *vkc, const struct vkc_dispatch *dispatches,
			  struct vkc_job *job)
{
	VkDescriptorBufferInfo buffers[VKC_BINDINGS];
	VkWriteDescriptorSet write = {
		.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
		.descriptorCount = VKC_BINDINGS,
		.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
		.pBufferInfo = buffers,
	};
	const VkDescriptorSetAllocateInfo info = {
		.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
		.descriptorPool = vkc->sets,
		.descriptorSetCount = 1,
		.pSetLayouts = &vkc->set_layout,
	};
	const struct vkc_buffer *buffer, *any;
	VkResult ret;
	uint32_t i;
	int b;

	for (i = 0; i < job->nr; i++) {
		ret = vkAllocateDescriptorSets(vkc->device, &info, &job->sets[i]);
		if (ret)
			return ret;
		for (b = 0, any = NULL; b < VKC_BINDINGS && !any; b++)
			any = dispatches[i].buffers[b];
		for (b = 0; b < VKC_BINDINGS; b++) {
			buffer = dispatches[i].buffers[b];
			buffers[b].buffer = buffer ? buffer->buffer : any->buffer;
			buffers[b].offset = 0;
			buffers[b].range = VK_WHOLE_SIZE;
		}
		write.dstSet = job->sets[i];
		vkUpdateDescriptorSets(vkc->device, 1, &write, 0, NULL);
	}
	return VK_SUCCESS;
}

/* What a dispatch has written is there for the next one, and for the CPU. */
static void record(struct vkc *vkc, const struct vkc_dispatch *dispatches,
		   const struct vkc_job *job)
{
	const VkMemoryBarrier barrier = {
		.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
		.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT,
		.dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
				 VK_ACCESS_HOST_READ_BIT,
	};
	const VkPipelineStageFlags after = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT |
					   VK_PIPELINE_STAGE_HOST_BIT;
	uint32_t i;

	for (i = 0; i < job->nr; i++) {
		vkCmdBindPipeline(job->commands, VK_PIPELINE_BIND_POINT_COMPUTE,
				  dispatches[i].pipeline);
		vkCmdBindDescriptorSets(job->commands, VK_PIPELINE_BIND_POINT_COMPUTE, vkc->layout,
					0, 1, &job->sets[i], 0, NULL);
		vkCmdPushConstants(job->commands, vkc->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
				   sizeof(dispatches[i].push), dispatches[i].push);
		vkCmdDispatch(job->commands, dispatches[i].groups, 1, 1);
		vkCmdPipelineBarrier(job->commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, after, 0,
				     1, &barrier, 0, NULL, 0, NULL);
	}
}

static VkResult make_commands(struct vkc *vkc, const struct vkc_dispatch *dispatches,
			      struct vkc_job *job)
{
	const VkCommandBufferAllocateInfo info = {
		.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
		.commandPool = vkc->commands,
		.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
		.commandBufferCount = 1,
	};
	const VkCommandBufferBeginInfo begin = {
		.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
		.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
	};
	VkResult ret;

	ret = vkAllocateCommandBuffers(vkc->device, &info, &job->commands);
	if (!ret)
		ret = vkBeginCommandBuffer(job->commands, &begin);
	if (ret)
		return ret;
	record(vkc, dispatches, job);
	return vkEndCommandBuffer(job->commands);
}

/**
 * vkc_submit() - run shaders, one after the other
 * @vkc: device
 * @dispatches: what to run
 * @nr: how many, at most VKC_DISPATCHES
 * @job: out; needs vkc_job_free() after VK_SUCCESS
 *
 * Return: a result.
 */
VkResult vkc_submit(struct vkc *vkc, const struct vkc_dispatch *dispatches, uint32_t nr,
		    struct vkc_job *job)
{
	const VkFenceCreateInfo fence = { .sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO };
	const VkSubmitInfo info = {
		.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
		.commandBufferCount = 1,
		.pCommandBuffers = &job->commands,
	};
	VkResult ret;

	memset(job, 0, sizeof(*job));
	job->nr = nr;
	ret = make_sets(vkc, dispatches, job);
	if (!ret)
		ret = make_commands(vkc, dispatches, job);
	if (!ret)
		ret = vkCreateFence(vkc->device, &fence, NULL, &job->fence);
	if (!ret)
		ret = vkQueueSubmit(vkc->queue, 1, &info, job->fence);
	if (ret)
		vkc_job_free(vkc, job);
	return ret;
}

/**
 * vkc_wait() - wait for the end of a submission
 * @vkc: device
 * @job: the submission
 * @timeout_ms: how long, 0 not at all
 *
 * Return: a result; VK_TIMEOUT if it was not over.
 */
VkResult vkc_wait(struct vkc *vkc, const struct vkc_job *job, int timeout_ms)
{
	return vkWaitForFences(vkc->device, 1, &job->fence, VK_TRUE, timeout_ms * 1000000ull);
}

/**
 * vkc_job_free() - forget a submission
 * @vkc: device
 * @job: it is over, or was never made
 */
void vkc_job_free(struct vkc *vkc, struct vkc_job *job)
{
	uint32_t i;

	vkDestroyFence(vkc->device, job->fence, NULL);
	if (job->commands)
		vkFreeCommandBuffers(vkc->device, vkc->commands, 1, &job->commands);
	for (i = 0; i < job->nr; i++) {
		if (job->sets[i])
			vkFreeDescriptorSets(vkc->device, vkc->sets, 1, &job->sets[i]);
	}
	memset(job, 0, sizeof(*job));
}

/**
 * vkc_run() - run shaders and wait for them
 * @vkc: device
 * @dispatches: what to run
 * @nr: how many
 *
 * Return: a result; VK_TIMEOUT if they did not end in VKC_TIMEOUT_MS, which
 * leaves the submission as it is.
 */
VkResult vkc_run(struct vkc *vkc, const struct vkc_dispatch *dispatches, uint32_t nr)
{
	struct vkc_job job;
	VkResult ret;

	ret = vkc_submit(vkc, dispatches, nr, &job);
	if (ret)
		return ret;
	ret = vkc_wait(vkc, &job, VKC_TIMEOUT_MS);
	if (ret != VK_TIMEOUT)
		vkc_job_free(vkc, &job);
	return ret;
}
