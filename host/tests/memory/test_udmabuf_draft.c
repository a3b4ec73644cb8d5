// SPDX-License-Identifier: MIT
/*
 * test_udmabuf_draft: the list that the kernel is told, chunk by chunk
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <linux/udmabuf.h>

#include "memory/backing.h"
#include "memory/guest_memory.h"
#include "memory/run_list.h"
#include "memory/udmabuf.h"
#include "tests/memory/udmabuf_test.h"

/* The list of a backing that is all there. */
static const struct udmabuf_create_list *list_of(const struct backing *backing,
						 struct udmabuf_draft **draft)
{
	*draft = NULL;
	assert_int_equal(udmabuf_draft_add(draft, backing), 0);
	return udmabuf_draft_list(*draft);
}

static void assert_item(const struct udmabuf_create_list *list, uint32_t index, int fd,
			uint64_t offset, uint64_t size)
{
	assert_true(index < list->count);
	assert_int_equal(list->list[index].memfd, fd);
	assert_int_equal(list->list[index].offset, offset);
	assert_int_equal(list->list[index].size, size);
}

/*
 * Two regions of one file that adjoin in the file but not in guest addresses,
 * and a second file whose offsets would go on where the first one's end.
 */
static void pieces_are_merged(void **state)
{
	struct guest_memory *gm = guest_memory_new();
	int a = ram(16, F_SEAL_SHRINK), b = ram(16, F_SEAL_SHRINK);
	struct guest_region regions[] = {
		{ .guest_addr = 0, .size = 8 * PAGE, .user_addr = 1 << 24, .fd = a },
		{ 64 * PAGE, 8 * PAGE, 2 << 24, 8 * PAGE, a },
		{ 128 * PAGE, 16 * PAGE, 3 << 24, 0, b },
	};
	const struct udmabuf_create_list *list;
	struct backing backing = { .id = 1 };
	struct udmabuf_draft *draft;
	int fd_a, fd_b;

	(void)state;
	assert_int_equal(guest_memory_set(gm, regions, 3), 0);
	fd_a = ram_file_fd(guest_memory_file(gm, 0));
	fd_b = ram_file_fd(guest_memory_file(gm, 2));
	add(gm, &backing, 7 * PAGE, PAGE);
	add(gm, &backing, 64 * PAGE, PAGE);
	add(gm, &backing, 65 * PAGE, PAGE);
	add(gm, &backing, (128 + 10) * PAGE, PAGE);
	add(gm, &backing, 4 * PAGE, 2 * PAGE);
	add(gm, &backing, 2 * PAGE, 2 * PAGE);
	list = list_of(&backing, &draft);
	assert_int_equal(list->flags, UDMABUF_FLAGS_CLOEXEC);
	assert_int_equal(list->count, 4);
	assert_item(list, 0, fd_a, 7 * PAGE, 3 * PAGE);
	assert_item(list, 1, fd_b, 10 * PAGE, PAGE);
	assert_item(list, 2, fd_a, 4 * PAGE, 2 * PAGE);
	assert_item(list, 3, fd_a, 2 * PAGE, 2 * PAGE);
	udmabuf_draft_free(draft);
	run_list_destroy(&backing.runs);
	guest_memory_free(gm);
	close(a);
	close(b);
}

/**
 * struct chunked - a backing that comes in chunks
 * @gm: guest memory, page n of it at n * PAGE
 * @backing: what has come
 * @draft: what was made of it
 */
struct chunked {
	struct guest_memory *gm;
	struct backing backing;
	struct udmabuf_draft *draft;
};

/* A chunk: runs of [first, first + nr) pages, up to { 0, 0 }. */
static void chunk(struct chunked *c, const unsigned int (*pages)[2])
{
	for (; (*pages)[1]; pages++)
		add(c->gm, &c->backing, (*pages)[0] * PAGE, (*pages)[1] * PAGE);
	assert_int_equal(udmabuf_draft_add(&c->draft, &c->backing), 0);
}

/*
 * Chunk by chunk, with every way for one to begin and end: the first run goes on
 * where the last chunk ended, as all of the chunk or not, or it does not.
 */
static void chunks_make_the_same_list(void **state)
{
	static const unsigned int chunks[][4][2] = {
		{ { 10, 1 }, { 20, 2 } },
		{ { 22, 1 }, { 30, 1 }, { 31, 1 } },
		{ { 32, 4 } },
		{ { 36, 1 } },
		{ { 5, 1 } },
		{ { 37, 2 }, { 6, 1 } },
	};
	struct chunked c = { .gm = memory_of(ram(64, F_SEAL_SHRINK), 64) };
	const struct udmabuf_create_list *list, *whole;
	struct udmabuf_draft *at_once;
	uint64_t covered;
	size_t i, j;
	int fd;

	(void)state;
	fd = ram_file_fd(guest_memory_file(c.gm, 0));
	for (i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
		chunk(&c, chunks[i]);
		/* At any time it is all that has come. */
		list = udmabuf_draft_list(c.draft);
		for (covered = 0, j = 0; j < list->count; j++)
			covered += list->list[j].size;
		assert_int_equal(covered, c.backing.size);
	}
	assert_int_equal(list->count, 6);
	assert_item(list, 0, fd, 10 * PAGE, PAGE);
	assert_item(list, 1, fd, 20 * PAGE, 3 * PAGE);
	assert_item(list, 2, fd, 30 * PAGE, 7 * PAGE);
	assert_item(list, 3, fd, 5 * PAGE, PAGE);
	assert_item(list, 4, fd, 37 * PAGE, 2 * PAGE);
	assert_item(list, 5, fd, 6 * PAGE, PAGE);
	whole = list_of(&c.backing, &at_once);
	assert_int_equal(whole->count, list->count);
	assert_int_equal(whole->flags, list->flags);
	assert_memory_equal(whole->list, list->list, list->count * sizeof(list->list[0]));
	/* Nothing new changes nothing. */
	assert_int_equal(udmabuf_draft_add(&c.draft, &c.backing), 0);
	list = udmabuf_draft_list(c.draft);
	assert_int_equal(list->count, 6);
	assert_memory_equal(whole->list, list->list, list->count * sizeof(list->list[0]));
	udmabuf_draft_free(at_once);
	udmabuf_draft_free(c.draft);
	run_list_destroy(&c.backing.runs);
	guest_memory_free(c.gm);
}

/* A page at a time, and each is a piece of its own: it grows, and nothing moves. */
static void many_chunks_make_a_long_list(void **state)
{
	enum { PAGES = 3000 };
	struct chunked c = { .gm = memory_of(ram(PAGES, F_SEAL_SHRINK), PAGES) };
	const struct udmabuf_create_list *list;
	unsigned int i;
	int fd;

	(void)state;
	fd = ram_file_fd(guest_memory_file(c.gm, 0));
	for (i = 0; i < PAGES; i++) {
		const unsigned int page[][2] = { { PAGES - 1 - i, 1 }, { 0, 0 } };

		chunk(&c, page);
		assert_int_equal(udmabuf_draft_list(c.draft)->count, i + 1);
	}
	list = udmabuf_draft_list(c.draft);
	for (i = 0; i < PAGES; i++)
		assert_item(list, i, fd, (PAGES - 1 - i) * PAGE, PAGE);
	udmabuf_draft_free(c.draft);
	run_list_destroy(&c.backing.runs);
	guest_memory_free(c.gm);
}

/*
 * Where the host's pages are larger than the guest's a piece may end within one as
 * long as it can go on; what cannot any more is refused.
 */
static void pieces_are_whole_pages(void **state)
{
	struct guest_memory *gm = memory_of(ram(16, F_SEAL_SHRINK), 16);
	struct backing backing = { .id = 1 };
	struct udmabuf_draft *draft = NULL;

	(void)state;
	add(gm, &backing, 0, 512);
	backing.size = 4 * PAGE;
	assert_int_equal(udmabuf_draft_add(&draft, &backing), 0);
	add(gm, &backing, 512, PAGE - 512);
	add(gm, &backing, 8 * PAGE, 100);
	backing.size = 4 * PAGE;
	assert_int_equal(udmabuf_draft_add(&draft, &backing), 0);
	/* In the middle... */
	add(gm, &backing, 4 * PAGE, PAGE);
	backing.size = 4 * PAGE;
	assert_int_equal(udmabuf_draft_add(&draft, &backing), -EINVAL);
	udmabuf_draft_free(draft);
	run_list_destroy(&backing.runs);
	/* ...and at the end, where it starts and where it ends. */
	draft = NULL;
	backing = (struct backing){ .id = 1 };
	add(gm, &backing, 0, PAGE);
	add(gm, &backing, 2 * PAGE, 100);
	assert_int_equal(udmabuf_draft_add(&draft, &backing), -EINVAL);
	udmabuf_draft_free(draft);
	run_list_destroy(&backing.runs);
	draft = NULL;
	backing = (struct backing){ .id = 1 };
	add(gm, &backing, 100, PAGE);
	assert_int_equal(udmabuf_draft_add(&draft, &backing), -EINVAL);
	udmabuf_draft_free(draft);
	run_list_destroy(&backing.runs);
	guest_memory_free(gm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_are_merged),
		cmocka_unit_test(chunks_make_the_same_list),
		cmocka_unit_test(many_chunks_make_a_long_list),
		cmocka_unit_test(pieces_are_whole_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
