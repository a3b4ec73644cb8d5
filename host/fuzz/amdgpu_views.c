// SPDX-License-Identifier: MIT
/*
 * amdgpu_views: see amdgpu_views.h
 *
 * Threads: see there.
 */
#include <fcntl.h>

#include "fuzz/amdgpu_views.h"
#include "fuzz/fuzz.h"
#include "memory/udmabuf.h"
#include "memory/view_stitch.h"

const struct memory_view_ops views_range_ops = { .kind = MEMORY_VIEW_STITCH };
const struct memory_view_ops views_dmabuf_ops = { .kind = MEMORY_VIEW_UDMABUF };

void *stitch_view_address(const struct stitch_view *view)
{
	return (void *)(uintptr_t)view->address;
}

uint64_t stitch_view_size(const struct stitch_view *view)
{
	return view->size;
}

bool stitch_view_readonly(const struct stitch_view *view)
{
	return view->readonly;
}

void stitch_view_get(struct stitch_view *view)
{
	view->objects++;
}

void stitch_view_put(struct stitch_view *view)
{
	if (!view->objects--)
		fuzz_oracle("AMDGPU: a range is given back once more than it was taken");
}

int udmabuf_view_dup(const struct udmabuf_view *view)
{
	int fd;

	watch_pause();
	fd = fcntl(view->fd, F_DUPFD_CLOEXEC, 0);
	watch_resume();
	return fd;
}
