// SPDX-License-Identifier: MIT
/*
 * fuzz_drm_guard: any bytes as a command stream of a native context
 *
 * For libFuzzer: `make fuzz-drm-guard`, then run the program.  Finds accesses
 * outside the stream, and streams that pass and name what is not known.
 */
#include <endian.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_gpu.h>

#include "renderer/virgl/drm_guard.h"

#define KNOWN 1
#define BO_VA_OP 3
#define VA_OP_SIZE 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t u32_at(const uint8_t *data, size_t offset)
{
	uint32_t value;

	memcpy(&value, data + offset, sizeof(value));
	return le32toh(value);
}

/* What the library would take for an operation on a buffer, read in our own way. */
static bool names_unknown(const uint8_t *data, size_t size)
{
	while (size) {
		uint8_t command[VA_OP_SIZE] = { 0 };
		uint32_t len = u32_at(data, 4);

		memcpy(command, data, len < sizeof(command) ? len : sizeof(command));
		if (u32_at(command, 0) == BO_VA_OP && !(u32_at(command, 40) & 1) &&
		    u32_at(command, 56) != KNOWN)
			return true;
		data += len;
		size -= len;
	}
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct drm_guard guard = { .type = DRM_CONTEXT_AMDGPU };

	if (drm_guard_add(&guard, KNOWN))
		return 0;
	if (drm_guard_check(&guard, data, size) == VIRTIO_GPU_RESP_OK_NODATA) {
		if (names_unknown(data, size))
			abort();
		drm_guard_executed(&guard, data, size);
		if (drm_guard_fence_ring(&guard, 64))
			abort();
	}
	drm_guard_destroy(&guard);
	return 0;
}
