// SPDX-License-Identifier: MIT
/*
 * test_udmabuf: the device, its limits and RAM that does not do
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <linux/virtio_gpu_userptr.h>

#include "memory/backing.h"
#include "memory/guest_memory.h"
#include "memory/run_list.h"
#include "memory/udmabuf.h"
#include "tests/memory/udmabuf_test.h"
#include "tests/util/capture.h"

static void parameter(const char *folder, const char *name, const char *text)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void limits_are_read(void **state)
{
	char folder[] = "./parameters.XXXXXX";
	struct udmabuf_limits limits;

	(void)state;
	assert_non_null(mkdtemp(folder));
	/* Nothing there: no limit is known, and it is told. */
	assert_int_equal(udmabuf_read_limits(folder, &limits), -ENOENT);
	assert_int_equal(limits.items, UINT32_MAX);
	assert_int_equal(limits.bytes, UINT64_MAX);
	parameter(folder, "list_limit", "262144\n");
	parameter(folder, "size_limit_mb", "2048\n");
	assert_int_equal(udmabuf_read_limits(folder, &limits), 0);
	assert_int_equal(limits.items, 262144);
	assert_int_equal(limits.bytes, 2048 * MIB);
	/* The kernel takes both for unsigned. */
	parameter(folder, "list_limit", "-1\n");
	parameter(folder, "size_limit_mb", "-1\n");
	assert_int_equal(udmabuf_read_limits(folder, &limits), 0);
	assert_int_equal(limits.items, UINT32_MAX);
	assert_int_equal(limits.bytes, UINT64_MAX);
	parameter(folder, "size_limit_mb", "2147483647\n");
	assert_int_equal(udmabuf_read_limits(folder, &limits), 0);
	assert_int_equal(limits.bytes, 2147483647 * MIB);
	parameter(folder, "list_limit", "12 monkeys\n");
	assert_int_equal(udmabuf_read_limits(folder, &limits), -EINVAL);
	assert_int_equal(limits.items, UINT32_MAX);
	parameter(folder, "list_limit", "7");
	parameter(folder, "size_limit_mb", "");
	assert_int_equal(udmabuf_read_limits(folder, &limits), -EIO);
	assert_int_equal(limits.items, 7);
	assert_int_equal(limits.bytes, UINT64_MAX);
}

static void files_are_judged(void **state)
{
	int fits = ram(1, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	int open_end = ram(1, F_SEAL_GROW);
	int fixed = ram(1, F_SEAL_SHRINK | F_SEAL_WRITE);
	int future = ram(1, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE);
	int other = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_null(udmabuf_file_unfit(fits));
	assert_non_null(strstr(udmabuf_file_unfit(open_end), "F_SEAL_SHRINK"));
	assert_non_null(strstr(udmabuf_file_unfit(fixed), "against writing"));
	assert_non_null(strstr(udmabuf_file_unfit(future), "against writing"));
	assert_non_null(strstr(udmabuf_file_unfit(other), "not a memfd"));
	close(fits);
	close(open_end);
	close(fixed);
	close(future);
	close(other);
}

static void missing_device_is_said(void **state)
{
	struct guest_memory *gm = guest_memory_new();
	struct memory_quotas *quotas = quotas_of(gm, &(const struct memory_limits){ 0 });
	struct udmabuf_config config = { .gm = gm, .quotas = quotas };
	struct udmabuf *udmabuf = NULL;
	struct capture c;

	(void)state;
	capture_begin();
	assert_int_equal(udmabuf_open_at("./no-udmabuf", PARAMETERS, &config, &udmabuf), -ENOENT);
	capture_end(&c);
	assert_int_equal(captured(&c, "./no-udmabuf: No such file"), 1);
	assert_int_equal(captured(&c, "CONFIG_UDMABUF"), 1);
	/* Something that is there but does not make dma-bufs. */
	capture_begin();
	assert_int_equal(udmabuf_open_at("/dev/null", "./no-parameters", &config, &udmabuf),
			 -ENOTTY);
	capture_end(&c);
	assert_int_equal(captured(&c, "no dma-buf of one page"), 1);
	assert_int_equal(captured(&c, "./no-parameters: "), 1);
	assert_null(udmabuf);
	free(quotas);
	guest_memory_free(gm);
}

static void pieces_have_a_limit(void **state)
{
	struct backing fits, more;
	struct udmabuf_view *view;
	struct capture c;
	unsigned char *at;
	struct bench b;
	unsigned int i;
	int fd;

	(void)state;
	limits_are(1024, 64);
	b = bench(2048);
	fits = reversed(b.gm, 1024);
	more = reversed(b.gm, 1025);
	for (i = 0; i < 1024; i++)
		memcpy(b.ram + i * PAGE, &i, sizeof(i));
	view = view_of(&b, &fits);
	fd = own_fd(view);
	at = map(fd, 1024);
	for (i = 0; i < 1024; i++)
		assert_int_equal(*(unsigned int *)(at + i * PAGE), 1023 - i);
	munmap(at, 1024 * PAGE);
	close(fd);
	udmabuf_view_free(view, NULL, NULL);

	assert_int_equal(refused(&b, &more, &c), VIRTIO_GPU_RESP_ERR_LIMIT);
	assert_int_equal(captured(&c, "resource 7 refused: its memory is 1025 pieces"), 1);
	assert_int_equal(captured(&c, PARAMETERS "/list_limit, which is 1024,"), 1);
	assert_int_equal(captured(&c, "udmabuf.list_limit=1025 on the host kernel's command"), 1);
	/* The guest cannot fill the log with it. */
	assert_int_equal(refused(&b, &more, &c), VIRTIO_GPU_RESP_ERR_LIMIT);
	assert_string_equal(c.text, "");
	/* As told: raised while we run. */
	limits_are(1025, 64);
	udmabuf_view_free(view_of(&b, &more), NULL, NULL);
	assert_int_equal(udmabuf_limits(b.udmabuf)->items, 1025);
	run_list_destroy(&fits.runs);
	run_list_destroy(&more.runs);
	finish(&b);
}

static void bytes_have_a_limit(void **state)
{
	struct backing fits = { .id = 8 }, more = { .id = 9 };
	struct capture c;
	struct bench b;

	(void)state;
	limits_are(1024, 64);
	b = bench(65 * 256);
	add(b.gm, &fits, 0, 64 * MIB);
	add(b.gm, &more, 0, 64 * MIB + PAGE);
	udmabuf_view_free(view_of(&b, &fits), NULL, NULL);
	assert_int_equal(refused(&b, &more, &c), VIRTIO_GPU_RESP_ERR_LIMIT);
	assert_int_equal(captured(&c, "resource 9 refused: its memory is 65 MiB"), 1);
	assert_int_equal(captured(&c, PARAMETERS "/size_limit_mb, which is 64,"), 1);
	assert_int_equal(captured(&c, "udmabuf.size_limit_mb=65 on the host kernel's command"), 1);
	limits_are(1024, 65);
	udmabuf_view_free(view_of(&b, &more), NULL, NULL);
	run_list_destroy(&fits.runs);
	run_list_destroy(&more.runs);
	finish(&b);
}

/* With the chunk that is too much, not with the last one; and what the kernel says counts. */
static void limits_are_met_early(void **state)
{
	struct udmabuf_draft *draft = NULL;
	struct backing backing = { .id = 3 };
	struct capture c;
	struct bench b;

	(void)state;
	limits_are(2, 64);
	b = bench(64);
	add(b.gm, &backing, 0, PAGE);
	add(b.gm, &backing, 2 * PAGE, PAGE);
	backing.size = 16 * PAGE;
	assert_int_equal(udmabuf_draft_extend(b.udmabuf, &backing, &draft),
			 VIRTIO_GPU_RESP_OK_NODATA);
	/* As many pieces as before. */
	add(b.gm, &backing, 3 * PAGE, PAGE);
	backing.size = 16 * PAGE;
	assert_int_equal(udmabuf_draft_extend(b.udmabuf, &backing, &draft),
			 VIRTIO_GPU_RESP_OK_NODATA);
	add(b.gm, &backing, 8 * PAGE, PAGE);
	backing.size = 16 * PAGE;
	capture_begin();
	assert_int_equal(udmabuf_draft_extend(b.udmabuf, &backing, &draft),
			 VIRTIO_GPU_RESP_ERR_LIMIT);
	capture_end(&c);
	assert_int_equal(captured(&c, "resource 3 refused: its memory is at least 3 pieces"), 1);
	/* Enough for what may still come: 12 pages. */
	assert_int_equal(captured(&c, "udmabuf.list_limit=15 "), 1);
	limits_are(3, 64);
	assert_int_equal(udmabuf_draft_extend(b.udmabuf, &backing, &draft),
			 VIRTIO_GPU_RESP_OK_NODATA);
	/* The first chunk says how large it will be. */
	backing.size = 64 * MIB + PAGE;
	capture_begin();
	assert_int_equal(udmabuf_draft_extend(b.udmabuf, &backing, &draft),
			 VIRTIO_GPU_RESP_ERR_LIMIT);
	capture_end(&c);
	assert_int_equal(captured(&c, "resource 3 refused: its memory is 65 MiB"), 1);
	udmabuf_draft_free(draft);
	run_list_destroy(&backing.runs);
	finish(&b);
}

/* Lowered after the chunks were looked at: the kernel finds it, and we say why. */
static void limits_are_lowered_meanwhile(void **state)
{
	struct udmabuf_draft *draft = NULL;
	struct udmabuf_view *view = NULL;
	struct backing backing;
	struct capture c;
	struct bench b;

	(void)state;
	limits_are(1024, 64);
	b = bench(16);
	backing = reversed(b.gm, 8);
	assert_int_equal(udmabuf_draft_extend(b.udmabuf, &backing, &draft),
			 VIRTIO_GPU_RESP_OK_NODATA);
	limits_are(7, 64);
	capture_begin();
	assert_int_equal(udmabuf_view_create(b.udmabuf, &backing, draft, NULL, NULL, &view),
			 VIRTIO_GPU_RESP_ERR_LIMIT);
	capture_end(&c);
	assert_int_equal(captured(&c, PARAMETERS "/list_limit, which is 7,"), 1);
	assert_null(view);
	/* The draft is as it was. */
	limits_are(8, 64);
	assert_int_equal(udmabuf_view_create(b.udmabuf, &backing, draft, NULL, NULL, &view),
			 VIRTIO_GPU_RESP_OK_NODATA);
	udmabuf_view_free(view, NULL, NULL);
	run_list_destroy(&backing.runs);
	finish(&b);
}

static void descriptors_have_a_limit(void **state)
{
	struct bench b = bench(16);
	struct backing backing = reversed(b.gm, 1);
	struct rlimit old, none;
	struct capture c;
	uint32_t ret;
	struct udmabuf_view *view = NULL;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	capture_begin();
	/* The lowest number that is free is beyond what is allowed. */
	none = (struct rlimit){ (rlim_t)fcntl(0, F_DUPFD_CLOEXEC, 0), old.rlim_max };
	close((int)none.rlim_cur);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	ret = make_view(&b, &backing, &view);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	capture_end(&c);
	assert_int_equal(ret, VIRTIO_GPU_RESP_ERR_LIMIT);
	assert_int_equal(captured(&c, "RLIMIT_NOFILE"), 1);
	run_list_destroy(&backing.runs);
	finish(&b);
}

/* RAM that does not do */

static void set_files(struct bench *b, int *fds, unsigned int nr)
{
	struct guest_region regions[4];
	unsigned int i;

	for (i = 0; i < nr; i++)
		regions[i] = (struct guest_region){ .guest_addr = i * 16 * PAGE,
						    .size = 16 * PAGE,
						    .user_addr = (i + 1) << 24,
						    .fd = fds[i] };
	assert_int_equal(guest_memory_set(b->gm, regions, nr), 0);
}

static bool usable(struct bench *b, struct capture *c)
{
	bool ret;

	capture_begin();
	ret = udmabuf_usable(b->udmabuf);
	capture_end(c);
	return ret;
}

static void unsealed_memory_is_found(void **state)
{
	struct bench b = bench(16);
	int bad = ram(16, F_SEAL_GROW), good = ram(16, F_SEAL_SHRINK);
	int bad_twice[] = { bad, bad }, mixed[] = { bad, good };
	struct backing backing = { .id = 4 };
	struct udmabuf_view *view;
	struct capture c;

	(void)state;
	assert_true(usable(&b, &c));
	assert_string_equal(c.text, "");
	/* One line for a table, however often it is asked and the file is in it. */
	set_files(&b, bad_twice, 2);
	assert_false(usable(&b, &c));
	assert_int_equal(captured(&c, "'/memfd:ram (deleted)': it is not sealed against"), 1);
	assert_int_equal(captured(&c, "memory-backend-memfd"), 1);
	assert_false(usable(&b, &c));
	assert_string_equal(c.text, "");
	set_files(&b, mixed, 2);
	assert_true(usable(&b, &c));
	assert_int_equal(captured(&c, "not sealed"), 1);
	/* What lies in the file that does not do is refused, and only that. */
	add(b.gm, &backing, 0, PAGE);
	assert_int_equal(refused(&b, &backing, &c), VIRTIO_GPU_RESP_ERR_UNSUPPORTED);
	assert_int_equal(captured(&c, "not sealed"), 1);
	run_list_destroy(&backing.runs);
	memset(&backing, 0, sizeof(backing));
	add(b.gm, &backing, 16 * PAGE, PAGE);
	view = view_of(&b, &backing);
	udmabuf_view_free(view, NULL, NULL);
	run_list_destroy(&backing.runs);
	assert_int_equal(guest_memory_set(b.gm, NULL, 0), 0);
	assert_false(usable(&b, &c));
	assert_string_equal(c.text, "");
	close(bad);
	close(good);
	finish(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits_are_read),
		cmocka_unit_test(files_are_judged),
		cmocka_unit_test_teardown(missing_device_is_said, give_up),
		cmocka_unit_test_teardown(pieces_have_a_limit, restore_limits),
		cmocka_unit_test_teardown(bytes_have_a_limit, restore_limits),
		cmocka_unit_test_teardown(limits_are_met_early, restore_limits),
		cmocka_unit_test_teardown(limits_are_lowered_meanwhile, restore_limits),
		cmocka_unit_test_teardown(descriptors_have_a_limit, give_up),
		cmocka_unit_test_teardown(unsealed_memory_is_found, give_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
