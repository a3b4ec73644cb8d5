// SPDX-License-Identifier: MIT
/*
 * backend: the GPU that this library is built for
 *
 * None: the amdgpu native context is yet to come.  Until then nothing can be opened,
 * and whoever asks is told so.
 */
#include <stddef.h>

#include "gpu.h"

/**
 * hsakmt_gpu_backend() - the GPU that this library is built for
 *
 * Return: NULL if there is none.
 */
const struct hsakmt_gpu_ops *hsakmt_gpu_backend(void)
{
	return NULL;
}
