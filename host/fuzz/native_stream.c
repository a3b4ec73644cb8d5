// SPDX-License-Identifier: MIT
/*
 * native_stream: command streams of native contexts, as libvirglrenderer takes them
 *
 * Threads: see processes.h.
 */
#include <errno.h>

#include "fuzz/fuzz.h"
#include "fuzz/library.h"

#define HEADER 16
#define RINGS 64
/* Of amdgpu: maps a buffer, unless it says that there is none; submits to a ring. */
#define BO_VA_OP 3
#define CS_SUBMIT 4

/* Of the operation on a buffer that there is not the real one dies. */
int native_stream_run(const uint8_t *data, size_t len, bool amdgpu, bool (*has)(uint32_t id),
		      uint64_t *rings)
{
	while (len >= HEADER) {
		uint64_t command = fuzz_get(data, len, 0, 4);
		size_t size = fuzz_get(data, len, 4, 4);

		if (size < HEADER || size > len)
			return -EINVAL;
		if (amdgpu && command == BO_VA_OP && !(fuzz_get(data, size, 40, 4) & 1) &&
		    !has((uint32_t)fuzz_get(data, size, 56, 4)))
			fuzz_oracle("VIRGL: a native context is told to use what there is not");
		if (command == CS_SUBMIT)
			*rings |= (uint64_t)1 << (fuzz_get(data, size, 28, 4) % RINGS);
		data += size;
		len -= size;
	}
	return len ? -EINVAL : 0;
}
