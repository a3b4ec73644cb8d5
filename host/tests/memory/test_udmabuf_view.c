// SPDX-License-Identifier: MIT
/*
 * test_udmabuf_view: real dma-bufs are the memory that they were made of
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/udmabuf.h>
#include <linux/virtio_gpu_userptr.h>

#include "memory/backing.h"
#include "memory/guest_memory.h"
#include "memory/run_list.h"
#include "memory/udmabuf.h"
#include "tests/memory/udmabuf_test.h"
#include "tests/memory/vgem_test.h"
#include "tests/util/capture.h"

/* A view that is NULL is alone, and cannot be had by anybody. */
static void none_is_alone(void **state)
{
	(void)state;
	assert_true(udmabuf_view_alone(NULL));
	assert_int_equal(udmabuf_view_dup(NULL), -EACCES);
	assert_false(udmabuf_view_held_by(NULL, getpid()));
	udmabuf_view_free(NULL, NULL, NULL);
}

static void memory_is_the_same(void **state)
{
	struct bench b = bench(64);
	struct backing backing = { .id = 1 };
	/* First pages of the pieces in guest memory, each two pages. */
	static const unsigned int first[] = { 40, 3, 62, 10 };
	struct udmabuf_totals totals;
	struct udmabuf_view *view;
	unsigned char *at;
	unsigned int i;
	int fd;

	(void)state;
	for (i = 0; i < 64; i++)
		memset(b.ram + i * PAGE, (int)i, PAGE);
	for (i = 0; i < 4; i++)
		add(b.gm, &backing, first[i] * PAGE, 2 * PAGE);
	view = view_of(&b, &backing);
	udmabuf_totals(b.udmabuf, &totals);
	assert_int_equal(totals.views, 1);
	assert_int_equal(totals.items, 4);
	fd = own_fd(view);
	assert_int_equal(lseek(fd, 0, SEEK_END), 8 * PAGE);
	at = map(fd, 8);
	for (i = 0; i < 8; i++) {
		unsigned int page = first[i / 2] + i % 2;

		assert_int_equal(at[i * PAGE], page);
		assert_int_equal(at[(i + 1) * PAGE - 1], page);
		/* And the other way round. */
		at[i * PAGE + 5] = (unsigned char)(200 + i);
		assert_int_equal(b.ram[page * PAGE + 5], 200 + i);
		b.ram[page * PAGE + 6] = (unsigned char)(100 + i);
		assert_int_equal(at[i * PAGE + 6], 100 + i);
	}
	munmap(at, 8 * PAGE);
	close(fd);
	assert_true(udmabuf_view_alone(view));
	udmabuf_view_free(view, NULL, NULL);
	udmabuf_totals(b.udmabuf, &totals);
	assert_int_equal(totals.created, 1);
	assert_int_equal(totals.created_items, 4);
	run_list_destroy(&backing.runs);
	finish(&b);
}

static void ours_are_known(void **state)
{
	struct bench b = bench(16);
	struct backing backings[3];
	struct udmabuf_view *views[3];
	struct udmabuf_create arg = { .size = PAGE };
	int fds[3], i, other, stranger;

	(void)state;
	for (i = 0; i < 3; i++) {
		backings[i] = reversed(b.gm, 2);
		views[i] = view_of(&b, &backings[i]);
		fds[i] = own_fd(views[i]);
	}
	/* A dma-buf of the same memory that somebody else made. */
	stranger = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	arg.memfd = (uint32_t)ram_file_fd(guest_memory_file(b.gm, 0));
	other = ioctl(stranger, UDMABUF_CREATE, &arg);
	assert_true(other >= 0);
	for (i = 0; i < 3; i++)
		assert_true(udmabuf_is_ours(b.udmabuf, fds[i]));
	assert_false(udmabuf_is_ours(b.udmabuf, other));
	assert_false(udmabuf_is_ours(b.udmabuf, stranger));
	assert_false(udmabuf_is_ours(b.udmabuf, (int)arg.memfd));
	assert_false(udmabuf_is_ours(b.udmabuf, -1));
	for (i = 0; i < 3; i++) {
		close(fds[i]);
		udmabuf_view_free(views[i], NULL, NULL);
		run_list_destroy(&backings[i].runs);
	}
	close(other);
	close(stranger);
	finish(&b);
}

/* Every page of @view, reversed, a window at a time. */
static void check_reversed(const struct udmabuf_view *view, unsigned int pages, unsigned int window)
{
	unsigned int first, i;
	int fd = own_fd(view);

	for (first = 0; first < pages; first += window) {
		unsigned char *at =
			mmap(NULL, window * PAGE, PROT_READ, MAP_SHARED, fd, (off_t)(first * PAGE));

		assert_ptr_not_equal(at, MAP_FAILED);
		for (i = 0; i < window; i++)
			assert_int_equal(*(unsigned int *)(at + i * PAGE), pages - 1 - first - i);
		munmap(at, window * PAGE);
	}
	close(fd);
}

/*
 * One gibibyte in single pages.  A kernel that copies the list into one block,
 * see udmabuf_view.c, is to be refused with its limit; the one that our runner
 * boots (USERPTR_LONG_LISTS) has no such limit.
 *
 * It is mapped in windows: where the host is a User-Mode Linux, each page of a
 * mapping is one of the machine, and a process has 65530 of them.
 */
static void one_gib_in_single_pages(void **state)
{
	enum { PAGES = 262144, WINDOW = 4096 };
	struct udmabuf_view *view = NULL;
	struct prime_arg prime = { 0 };
	struct close_arg gem = { 0 };
	struct backing backing;
	struct capture c;
	unsigned int i;
	struct bench b;
	uint32_t ret;
	int vgem;

	(void)state;
	limits_are(PAGES, 1024);
	vgem = open_vgem();
	b = bench(PAGES);
	backing = reversed(b.gm, PAGES);
	for (i = 0; i < PAGES; i++)
		memcpy(b.ram + i * PAGE, &i, sizeof(i));
	capture_begin();
	ret = make_view(&b, &backing, &view);
	capture_end(&c);
	if (ret == VIRTIO_GPU_RESP_ERR_LIMIT && !getenv("USERPTR_LONG_LISTS")) {
		assert_int_equal(captured(&c, "262144 pieces"), 1);
		assert_int_equal(captured(&c, "about 174762 in one list"), 1);
	} else {
		assert_int_equal(ret, VIRTIO_GPU_RESP_OK_NODATA);
		check_reversed(view, PAGES, WINDOW);
		/* By a driver, too. */
		prime.fd = own_fd(view);
		assert_int_equal(ioctl(vgem, DRM_PRIME_FD_TO_HANDLE, &prime), 0);
		close(prime.fd);
		assert_false(udmabuf_view_alone(view));
		gem.handle = prime.handle;
		assert_int_equal(ioctl(vgem, DRM_GEM_CLOSE, &gem), 0);
		assert_true(udmabuf_view_alone(view));
		udmabuf_view_free(view, NULL, NULL);
	}
	run_list_destroy(&backing.runs);
	finish(&b);
	close(vgem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none_is_alone),
		cmocka_unit_test(memory_is_the_same),
		cmocka_unit_test(ours_are_known),
		cmocka_unit_test_teardown(one_gib_in_single_pages, restore_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
