// SPDX-License-Identifier: MIT
/*
 * native_va: addresses of the GPU
 *
 * Who uses the context decides what is where in its address space.  Addresses are
 * given out upwards, and from the start again when the end is reached, so that one that
 * was taken back is not soon another thing's.  Behind each range is a gap, in which
 * what runs over its end faults.  What is large begins where large pages do.
 *
 * Locking: as in native.h.
 */
#include <errno.h>
#include <unistd.h>

#include "native.h"

#define LARGE 0x200000ull
/* More than any chip has. */
#define MAX_END (1ull << 57)

static uint64_t align_up(uint64_t value, uint64_t align)
{
	return (value + align - 1) & ~(align - 1);
}

/**
 * native_va_init() - begin with nothing in use
 * @va: out
 * @first: lowest address, as the device says
 * @end: behind the highest one, likewise
 * @align: of addresses, likewise
 *
 * Return: 0, or -EPROTO if that cannot be.
 */
int native_va_init(struct native_va *va, uint64_t first, uint64_t end, uint64_t align)
{
	uint64_t page = sysconf(_SC_PAGESIZE);

	if (!align || align & (align - 1) || align > LARGE || end > MAX_END || first >= end)
		return -EPROTO;
	*va = (struct native_va){ .align = align > page ? align : page };
	/* No address is 0: that means none in many interfaces. */
	va->first = align_up(first ? first : 1, va->align);
	va->end = end & ~(va->align - 1);
	va->cursor = va->first;
	return va->first < va->end ? 0 : -EPROTO;
}

/* A free place at or behind @from. */
static bool find(const struct native_va *va, uint64_t from, uint64_t size, uint64_t align,
		 uint64_t *at)
{
	const struct interval_node *node;

	if (size > va->end)
		return false;
	for (*at = align_up(from, align); *at <= va->end - size;
	     *at = align_up(node->last + 1, align)) {
		node = interval_first(&va->used, *at, *at + size - 1);
		if (!node)
			return true;
	}
	return false;
}

/**
 * native_va_alloc() - take addresses
 * @va: of which
 * @size: bytes
 * @node: out: they, and the gap; in use until native_va_free()
 *
 * Return: 0, -EINVAL or -ENOSPC.
 */
int native_va_alloc(struct native_va *va, uint64_t size, struct interval_node *node)
{
	uint64_t align = size >= LARGE ? LARGE : va->align, at;

	if (!size || size > va->end)
		return -EINVAL;
	size = align_up(size, va->align) + va->align;
	if (!find(va, va->cursor, size, align, &at) && !find(va, va->first, size, align, &at))
		return -ENOSPC;
	node->first = at;
	node->last = at + size - 1;
	interval_insert(&va->used, node);
	va->cursor = at + size;
	return 0;
}

/**
 * native_va_free() - give addresses back
 * @va: of which
 * @node: they
 */
void native_va_free(struct native_va *va, struct interval_node *node)
{
	interval_remove(&va->used, node);
}
