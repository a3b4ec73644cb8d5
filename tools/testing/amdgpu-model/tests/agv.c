// SPDX-License-Identifier: MIT
/* See agv.h. */
#include "agv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_NS 60000000000ull
#define VALIDATION "VK_LAYER_KHRONOS_validation"

static VKAPI_ATTR VkBool32 VKAPI_CALL message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
					      VkDebugUtilsMessageTypeFlagsEXT type,
					      const VkDebugUtilsMessengerCallbackDataEXT *data,
					      void *user)
{
	struct agv *v = user;

	v->messages++;
	if (!v->quiet)
		fprintf(stderr, "# validation: %s\n", data->pMessage);
	return VK_FALSE;
}

static bool has_validation(void)
{
	VkLayerProperties layers[32];
	uint32_t i, count = 32;

	if (vkEnumerateInstanceLayerProperties(&count, layers) < 0)
		return false;
	for (i = 0; i < count; i++) {
		if (!strcmp(layers[i].layerName, VALIDATION))
			return true;
	}
	return false;
}

static VkResult open_instance(struct agv *v)
{
	static const char *const layers[] = { VALIDATION };
	static const char *const extensions[] = { VK_EXT_DEBUG_UTILS_EXTENSION_NAME };
	bool validate = has_validation();
	VkDebugUtilsMessengerCreateInfoEXT messenger = {
		.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
		.messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
				   VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
		.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
		.pfnUserCallback = message,
		.pUserData = v,
	};
	VkApplicationInfo app = {
		.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
		.pApplicationName = "agv",
		.apiVersion = VK_API_VERSION_1_2,
	};
	VkInstanceCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
		.pNext = validate ? &messenger : NULL,
		.pApplicationInfo = &app,
		.enabledLayerCount = validate,
		.ppEnabledLayerNames = layers,
		.enabledExtensionCount = validate,
		.ppEnabledExtensionNames = extensions,
	};
	PFN_vkCreateDebugUtilsMessengerEXT create;
	VkResult ret = vkCreateInstance(&info, NULL, &v->instance);

	if (ret || !validate)
		return ret;
	create = (PFN_vkCreateDebugUtilsMessengerEXT)vkGetInstanceProcAddr(
		v->instance, "vkCreateDebugUtilsMessengerEXT");
	return create ? create(v->instance, &messenger, NULL, &v->messenger) :
			VK_ERROR_INITIALIZATION_FAILED;
}

static VkResult find_physical(struct agv *v)
{
	VkPhysicalDevice devices[8];
	uint32_t i, count = 8;
	VkResult ret = vkEnumeratePhysicalDevices(v->instance, &count, devices);

	if (ret < 0)
		return ret;
	for (i = 0; i < count; i++) {
		vkGetPhysicalDeviceProperties(devices[i], &v->properties);
		if (v->properties.vendorID != 0x1002)
			continue;
		v->physical = devices[i];
		vkGetPhysicalDeviceMemoryProperties(v->physical, &v->memory);
		return VK_SUCCESS;
	}
	return VK_ERROR_INITIALIZATION_FAILED;
}

static VkResult find_family(struct agv *v, VkQueueFlags with, VkQueueFlags without)
{
	VkQueueFamilyProperties families[8];
	uint32_t count = 8;

	vkGetPhysicalDeviceQueueFamilyProperties(v->physical, &count, families);
	for (v->family = 0; v->family < count; v->family++) {
		VkQueueFlags flags = families[v->family].queueFlags;

		if ((flags & with) == with && !(flags & without))
			return VK_SUCCESS;
	}
	return VK_ERROR_FEATURE_NOT_PRESENT;
}

static VkResult open_device(struct agv *v)
{
	static const char *const extensions[] = { VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME };
	float priority = 1;
	VkDeviceQueueCreateInfo queue = {
		.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
		.queueFamilyIndex = v->family,
		.queueCount = 1,
		.pQueuePriorities = &priority,
	};
	VkDeviceCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
		.queueCreateInfoCount = 1,
		.pQueueCreateInfos = &queue,
		.enabledExtensionCount = 1,
		.ppEnabledExtensionNames = extensions,
	};
	VkCommandPoolCreateInfo pool = {
		.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
		.queueFamilyIndex = v->family,
	};
	VkResult ret = vkCreateDevice(v->physical, &info, NULL, &v->device);

	if (ret)
		return ret;
	vkGetDeviceQueue(v->device, v->family, 0, &v->queue);
	v->host_pointer_properties = (PFN_vkGetMemoryHostPointerPropertiesEXT)vkGetDeviceProcAddr(
		v->device, "vkGetMemoryHostPointerPropertiesEXT");
	return vkCreateCommandPool(v->device, &pool, NULL, &v->pool);
}

/* A queue that can do @with and not @without. */
VkResult agv_open(struct agv *v, VkQueueFlags with, VkQueueFlags without)
{
	VkPhysicalDeviceExternalMemoryHostPropertiesEXT host = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT,
		.pNext = &v->driver
	};
	VkPhysicalDeviceProperties2 properties = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &host
	};
	VkResult ret;

	memset(v, 0, sizeof(*v));
	ret = open_instance(v);
	if (!ret)
		ret = find_physical(v);
	if (!ret)
		ret = find_family(v, with, without);
	if (!ret)
		ret = open_device(v);
	if (ret) {
		agv_close(v);
		return ret;
	}
	v->driver.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES;
	vkGetPhysicalDeviceProperties2(v->physical, &properties);
	v->alignment = host.minImportedHostPointerAlignment;
	return VK_SUCCESS;
}

void agv_close(struct agv *v)
{
	PFN_vkDestroyDebugUtilsMessengerEXT destroy;

	if (v->pool)
		vkDestroyCommandPool(v->device, v->pool, NULL);
	if (v->device)
		vkDestroyDevice(v->device, NULL);
	if (v->messenger) {
		destroy = (PFN_vkDestroyDebugUtilsMessengerEXT)vkGetInstanceProcAddr(
			v->instance, "vkDestroyDebugUtilsMessengerEXT");
		destroy(v->instance, v->messenger, NULL);
	}
	if (v->instance)
		vkDestroyInstance(v->instance, NULL);
	v->pool = NULL;
	v->device = NULL;
	v->messenger = NULL;
	v->instance = NULL;
}

static VkResult make_buffer(struct agv *v, VkDeviceSize size, bool imported, struct agv_buffer *b)
{
	VkExternalMemoryBufferCreateInfo external = {
		.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO,
		.handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT,
	};
	VkBufferCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
		.pNext = imported ? &external : NULL,
		.size = size,
		.usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT,
	};

	*b = (struct agv_buffer){ .size = size };
	return vkCreateBuffer(v->device, &info, NULL, &b->buffer);
}

static bool find_type(const struct agv *v, uint32_t types, VkMemoryPropertyFlags with,
		      VkMemoryPropertyFlags without, uint32_t *type)
{
	for (*type = 0; *type < v->memory.memoryTypeCount; (*type)++) {
		VkMemoryPropertyFlags flags = v->memory.memoryTypes[*type].propertyFlags;

		if (types & 1u << *type && (flags & with) == with && !(flags & without))
			return true;
	}
	return false;
}

static VkResult bind(struct agv *v, struct agv_buffer *b, VkMemoryPropertyFlags with,
		     VkMemoryPropertyFlags without)
{
	VkMemoryAllocateInfo info = { .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO };
	VkMemoryRequirements needs;
	uint32_t type;
	VkResult ret;

	vkGetBufferMemoryRequirements(v->device, b->buffer, &needs);
	if (!find_type(v, needs.memoryTypeBits, with, without, &type))
		return VK_ERROR_FEATURE_NOT_PRESENT;
	info.allocationSize = needs.size;
	info.memoryTypeIndex = type;
	ret = vkAllocateMemory(v->device, &info, NULL, &b->memory);
	if (!ret)
		ret = vkBindBufferMemory(v->device, b->buffer, b->memory, 0);
	if (!ret && v->memory.memoryTypes[type].propertyFlags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT)
		ret = vkMapMemory(v->device, b->memory, 0, VK_WHOLE_SIZE, 0, &b->cpu);
	return ret;
}

/* The caller's memory, as memory of the device to which buffers can be bound. */
VkResult agv_import_memory(struct agv *v, void *addr, VkDeviceSize size, VkDeviceMemory *memory)
{
	VkImportMemoryHostPointerInfoEXT import = {
		.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT,
		.handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT,
		.pHostPointer = addr,
	};
	VkMemoryAllocateInfo info = {
		.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
		.pNext = &import,
		.allocationSize = size,
	};
	VkMemoryHostPointerPropertiesEXT properties = {
		.sType = VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT
	};
	VkResult ret;

	ret = v->host_pointer_properties(v->device, import.handleType, addr, &properties);
	if (ret)
		return ret;
	if (!find_type(v, properties.memoryTypeBits, 0, 0, &info.memoryTypeIndex))
		return VK_ERROR_FEATURE_NOT_PRESENT;
	return vkAllocateMemory(v->device, &info, NULL, memory);
}

/* A buffer in a part of imported memory, which stays the caller's to free. */
VkResult agv_bind_part(struct agv *v, VkDeviceMemory memory, VkDeviceSize offset, VkDeviceSize size,
		       struct agv_buffer *b)
{
	VkMemoryRequirements needs;
	VkResult ret = make_buffer(v, size, true, b);

	if (ret)
		return ret;
	/* Also to be asked: the validation layer wants to see it. */
	vkGetBufferMemoryRequirements(v->device, b->buffer, &needs);
	return vkBindBufferMemory(v->device, b->buffer, memory, offset);
}

/* The caller's memory. */
VkResult agv_import(struct agv *v, void *addr, VkDeviceSize size, struct agv_buffer *b)
{
	VkDeviceMemory memory;
	VkResult ret = agv_import_memory(v, addr, size, &memory);

	if (ret)
		return ret;
	ret = agv_bind_part(v, memory, 0, size, b);
	b->memory = memory;
	if (ret)
		agv_free(v, b);
	return ret;
}

/* Memory of the device, with some properties and without others; mapped if it can be. */
VkResult agv_alloc(struct agv *v, VkDeviceSize size, VkMemoryPropertyFlags with,
		   VkMemoryPropertyFlags without, struct agv_buffer *b)
{
	VkResult ret = make_buffer(v, size, false, b);

	return ret ? ret : bind(v, b, with, without);
}

void agv_free(struct agv *v, struct agv_buffer *b)
{
	if (b->buffer)
		vkDestroyBuffer(v->device, b->buffer, NULL);
	if (b->memory)
		vkFreeMemory(v->device, b->memory, NULL);
	*b = (struct agv_buffer){ 0 };
}

VkResult agv_begin(struct agv *v, VkCommandBuffer *commands)
{
	VkCommandBufferAllocateInfo info = {
		.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
		.commandPool = v->pool,
		.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
		.commandBufferCount = 1,
	};
	VkCommandBufferBeginInfo begin = {
		.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
		.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
	};
	VkResult ret = vkAllocateCommandBuffers(v->device, &info, commands);

	return ret ? ret : vkBeginCommandBuffer(*commands, &begin);
}

/* End the commands, submit them, and wait. */
VkResult agv_run(struct agv *v, VkCommandBuffer commands)
{
	VkFenceCreateInfo info = { .sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO };
	VkSubmitInfo submit = {
		.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
		.commandBufferCount = 1,
		.pCommandBuffers = &commands,
	};
	VkFence fence;
	VkResult ret = vkEndCommandBuffer(commands);

	if (!ret)
		ret = vkCreateFence(v->device, &info, NULL, &fence);
	if (ret)
		return ret;
	ret = vkQueueSubmit(v->queue, 1, &submit, fence);
	if (!ret)
		ret = vkWaitForFences(v->device, 1, &fence, VK_TRUE, TIMEOUT_NS);
	vkDestroyFence(v->device, fence, NULL);
	vkFreeCommandBuffers(v->device, v->pool, 1, &commands);
	return ret;
}

VkResult agv_copy_part(struct agv *v, struct agv_buffer *from, VkDeviceSize from_offset,
		       struct agv_buffer *to, VkDeviceSize to_offset, VkDeviceSize size)
{
	VkBufferCopy region = { .srcOffset = from_offset, .dstOffset = to_offset, .size = size };
	VkCommandBuffer commands;
	VkResult ret = agv_begin(v, &commands);

	if (ret)
		return ret;
	vkCmdCopyBuffer(commands, from->buffer, to->buffer, 1, &region);
	return agv_run(v, commands);
}

VkResult agv_copy(struct agv *v, struct agv_buffer *from, struct agv_buffer *to)
{
	return agv_copy_part(v, from, 0, to, 0, from->size);
}
