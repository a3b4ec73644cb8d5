/* SPDX-License-Identifier: MIT */
/*
 * Packets of SDMA, generation 5.2, as dwords.
 *
 * For all that write command buffers for the model, on the host and in a guest; see
 * ../agm_sdma_decode.c for what they mean.  Each function returns how many dwords it has written.
 */
#ifndef AGT_SDMA_H
#define AGT_SDMA_H

#include <stdint.h>

/* The longest of them, in dwords. */
#define AGT_SDMA_DWORDS 7
/* What one packet fills at most, in bytes: whole pages of what 22 bits can say. */
#define AGT_SDMA_FILL_MAX 0x3ff000u
/* What one packet copies at most, likewise. */
#define AGT_SDMA_COPY_MAX 0x3ffff000u

static inline uint32_t agt_sdma_put_copy(uint32_t *dw, uint64_t dst, uint64_t src, uint32_t bytes)
{
	dw[0] = 1;
	dw[1] = bytes - 1;
	dw[2] = 0;
	dw[3] = (uint32_t)src;
	dw[4] = (uint32_t)(src >> 32);
	dw[5] = (uint32_t)dst;
	dw[6] = (uint32_t)(dst >> 32);
	return 7;
}

static inline uint32_t agt_sdma_put_fill(uint32_t *dw, uint64_t dst, uint32_t value, uint32_t bytes)
{
	dw[0] = 11 | 2u << 30;
	dw[1] = (uint32_t)dst;
	dw[2] = (uint32_t)(dst >> 32);
	dw[3] = value;
	dw[4] = bytes - 1;
	return 5;
}

#endif /* AGT_SDMA_H */
