/* SPDX-License-Identifier: MIT */
/* Fences that the model signals; see agm_ring.c. */
#ifndef AGM_FENCE_H
#define AGM_FENCE_H

#include <linux/types.h>

struct dma_fence;

struct dma_fence *agm_fence_create(const char *timeline, u64 context, u64 seqno);
bool agm_fence_of_vm(struct dma_fence *fence, const void *vm);
void agm_fence_set_owner(struct dma_fence *fence, const void *vm);

#endif
