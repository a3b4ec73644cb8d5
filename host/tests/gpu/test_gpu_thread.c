// SPDX-License-Identifier: MIT
/*
 * test_gpu_thread: a device on a thread of its own, with the test as the server
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>

#include "gpu/gpu_thread.h"
#include "memory/guest_memory.h"
#include "tests/gpu/thread_device.h"

#define WAIT_MS 20000
/* Far more than anything takes here that does not wait, and far less than WAIT_MS. */
#define AT_ONCE_MS 2000
#define CAPACITY 64

/**
 * struct fixture - a thread and its server
 * @thread: it
 * @gm: its guest memory
 * @host: what the server hears
 * @heard: first letters of answers, 'M' and 'U' for the VMM, 'O' for room, 'D' for the
 *	end of a reset
 * @nr_heard: of these
 * @last: cookie of the last answer
 * @range: that the VMM was asked for
 * @file: to be mapped
 */
struct fixture {
	struct gpu_thread *thread;
	struct guest_memory *gm;
	struct vhost_backend_host host;
	char heard[8192];
	unsigned int nr_heard;
	void *last;
	struct vhost_shmem_range range;
	struct stat file;
};

static void hear(struct fixture *f, char what)
{
	assert_true(f->nr_heard < sizeof(f->heard) - 1);
	f->heard[f->nr_heard++] = what;
	f->heard[f->nr_heard] = 0;
}

static void on_respond(void *opaque, void *cookie, const void *data, size_t len)
{
	struct fixture *f = opaque;
	uint32_t type;

	f->last = cookie;
	if (len == 1) {
		hear(f, *(const char *)data);
		return;
	}
	/* One that never came to the device. */
	assert_int_equal(len, sizeof(struct virtio_gpu_ctrl_hdr));
	memcpy(&type, data, sizeof(type));
	assert_int_equal(le32toh(type), VIRTIO_GPU_RESP_ERR_UNSPEC);
	hear(f, '-');
}

static void on_room(void *opaque)
{
	hear(opaque, 'O');
}

static void on_map(void *opaque, const struct vhost_shmem_range *range, int fd)
{
	struct fixture *f = opaque;

	f->range = *range;
	assert_int_equal(fstat(fd, &f->file), 0);
	hear(f, 'M');
}

static void on_unmap(void *opaque, const struct vhost_shmem_range *range)
{
	struct fixture *f = opaque;

	f->range = *range;
	hear(f, 'U');
}

static void on_reset_done(void *opaque)
{
	hear(opaque, 'D');
}

static int setup(void **state)
{
	static const struct gpu_config config = { .userptr = true };
	struct fixture *f = calloc(1, sizeof(*f));

	standin_init();
	f->host = (struct vhost_backend_host){
		.respond = on_respond,
		.room = on_room,
		.shmem_map = on_map,
		.shmem_unmap = on_unmap,
		.reset_done = on_reset_done,
		.opaque = f,
	};
	f->gm = guest_memory_new();
	f->thread = gpu_thread_new(&config, f->gm);
	assert_non_null(f->thread);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	assert_true(gpu_thread_free(f->thread, WAIT_MS));
	assert_true(standin_freed);
	guest_memory_free(f->gm);
	free(f);
	return 0;
}

static void send_type(struct fixture *f, uint32_t type, char what, size_t padding, void *cookie)
{
	struct virtio_gpu_ctrl_hdr hdr = { .type = htole32(type) };
	size_t len = sizeof(hdr) + 1 + padding;
	char *data = calloc(1, len);

	memcpy(data, &hdr, sizeof(hdr));
	data[sizeof(hdr)] = what;
	assert_int_equal(gpu_thread_ops.request(f->thread, 0, data, len, CAPACITY, cookie), 0);
}

static void send(struct fixture *f, char what)
{
	send_type(f, VIRTIO_GPU_CMD_SUBMIT_3D, what, 0, f);
}

/* Until as much was heard as @what, which is then what was heard, and is forgotten. */
static void expect(struct fixture *f, const char *what)
{
	uint64_t end = clock_ms() + WAIT_MS;

	while (f->nr_heard < strlen(what)) {
		struct pollfd pfd = { .fd = gpu_thread_ops.fd(f->thread), .events = POLLIN };

		if (clock_ms() >= end)
			fail_msg("only '%s' of '%s'", f->heard, what);
		if (poll(&pfd, 1, (int)(end - clock_ms())) > 0)
			gpu_thread_ops.dispatch(f->thread, &f->host);
	}
	assert_string_equal(f->heard, what);
	f->nr_heard = 0;
	f->heard[0] = 0;
}

/* Nothing is heard now, and nothing more is said, the device being at something. */
static void expect_silence(struct fixture *f)
{
	gpu_thread_ops.dispatch(f->thread, &f->host);
	assert_string_equal(f->heard, "");
}

/* The device is at something, and does not end it. */
static void block(struct fixture *f)
{
	send(f, 'b');
	standin_wait(&standin_started);
}

static void unblock(void)
{
	sem_post(&standin_gate);
}

static void everything_in_its_order(void **state)
{
	struct fixture *f = *state;
	int cookie;

	gpu_thread_ops.set_features(f->thread, 5);
	send(f, 'x');
	gpu_thread_ops.write_config(f->thread, 4, "\1\0\0\0", 4);
	send(f, 'h');
	send(f, 'y');
	send_type(f, VIRTIO_GPU_CMD_SUBMIT_3D, 'h', 0, &cookie);
	send(f, 'r');
	send_type(f, VIRTIO_GPU_CMD_SUBMIT_3D, 'z', 0, &cookie);
	/* What is held is answered when the device says so. */
	expect(f, "xyhhrz");
	assert_ptr_equal(f->last, &cookie);
	assert_memory_equal(standin.log, "FxChyhrz", 8);
	assert_int_equal(standin.features, 5);
}

static void nobody_waits_for_a_device_that_is_busy(void **state)
{
	struct fixture *f = *state;
	uint64_t start, ms;
	uint32_t space[5];

	assert_null(gpu_thread_ops.busy(f->thread, &ms));
	block(f);
	start = clock_ms();
	assert_int_equal(gpu_thread_ops.features(f->thread), STANDIN_FEATURES);
	gpu_thread_ops.read_config(f->thread, 0, space, sizeof(space));
	assert_int_equal(le32toh(space[3]), 0x12345678);
	assert_int_equal(space[4], 0);
	gpu_thread_ops.read_config(f->thread, 14, space, 4);
	assert_int_equal(space[0], 0x1234);
	gpu_thread_ops.read_config(f->thread, UINT32_MAX, space, 4);
	assert_int_equal(space[0], 0);
	assert_int_equal(gpu_thread_ops.shmem_bytes(f->thread, 1), STANDIN_REGION);
	assert_int_equal(gpu_thread_ops.shmem_bytes(f->thread, 0), 0);
	gpu_thread_ops.set_features(f->thread, 1);
	gpu_thread_ops.set_features(f->thread, 2);
	gpu_thread_ops.write_config(f->thread, 4, "\1\0\0\0", 4);
	gpu_thread_ops.memory_changed(f->thread);
	send(f, 'x');
	gpu_thread_ops.begin_reset(f->thread);
	expect_silence(f);
	assert_string_equal(gpu_thread_ops.busy(f->thread, &ms), "SUBMIT_3D");
	assert_true(clock_ms() - start < AT_ONCE_MS);
	unblock();
	expect(f, "b-D");
	assert_int_equal(standin.features, 2);
}

static void a_reset_is_the_end_of_everything_before(void **state)
{
	struct fixture *f = *state;

	send(f, 'h');
	send(f, 'h');
	block(f);
	send(f, 'x');
	send(f, 'y');
	gpu_thread_ops.begin_reset(f->thread);
	unblock();
	/* In the order in which they came, but for what was answered before. */
	expect(f, "bXX--D");
	/* The device has not seen what it need not do any more. */
	assert_memory_equal(standin.log, "hhbR", 4);
	assert_int_equal(standin.nr_log, 4);
	send(f, 'z');
	expect(f, "z");
	/* And again. */
	gpu_thread_ops.begin_reset(f->thread);
	expect(f, "D");
}

static void what_the_vmm_did_is_not_forgotten_in_a_reset(void **state)
{
	struct fixture *f = *state;

	send(f, 'u');
	expect(f, "Uu");
	block(f);
	gpu_thread_ops.shmem_done(f->thread, -ECANCELED);
	send(f, 'x');
	gpu_thread_ops.begin_reset(f->thread);
	unblock();
	expect(f, "b-D");
	assert_memory_equal(standin.log, "ubSR", 4);
	assert_int_equal(standin.err, -ECANCELED);
}

static void the_vmm_is_asked(void **state)
{
	struct fixture *f = *state;

	send(f, 'm');
	/* When the device has closed its own. */
	block(f);
	expect(f, "Mm");
	unblock();
	expect(f, "b");
	assert_int_equal(f->range.id, VIRTIO_GPU_SHM_ID_HOST_VISIBLE);
	assert_int_equal(f->range.offset, 0x3000);
	assert_int_equal(f->range.size, 0x2000);
	assert_int_equal(f->range.fd_offset, 0x5000);
	assert_true(S_ISREG(f->file.st_mode));
	gpu_thread_ops.shmem_done(f->thread, 0);
	send(f, 'u');
	expect(f, "Uu");
	gpu_thread_ops.shmem_done(f->thread, -EIO);
	send(f, 'x');
	expect(f, "x");
	assert_int_equal(standin.err, -EIO);
	/* Not taken any more: it is not left open. */
	send(f, 'm');
	send(f, 'b');
	standin_wait(&standin_started);
	unblock();
}

/* Whether a file of that name is mapped into this process. */
static bool is_mapped(const char *name)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	bool found = false;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		found = found || strstr(line, name);
	fclose(maps);
	return found;
}

/* To unmap RAM takes as long as there are pages, and so it is nothing for the server. */
static void old_guest_memory_ends_with_the_device(void **state)
{
	struct fixture *f = *state;
	struct guest_region region = {
		.size = 1 << 20,
		.fd = memfd_create("test-ram", MFD_CLOEXEC),
	};

	assert_int_equal(ftruncate(region.fd, (off_t)region.size), 0);
	assert_int_equal(guest_memory_set(f->gm, &region, 1), 0);
	gpu_thread_ops.memory_changed(f->thread);
	send(f, 'x');
	expect(f, "x");
	block(f);
	assert_int_equal(guest_memory_set(f->gm, NULL, 0), 0);
	gpu_thread_ops.memory_changed(f->thread);
	gpu_thread_ops.memory_changed(f->thread);
	assert_true(is_mapped("test-ram"));
	unblock();
	send(f, 'x');
	expect(f, "bx");
	assert_false(is_mapped("test-ram"));
	/* And with it. */
	assert_int_equal(guest_memory_set(f->gm, &region, 1), 0);
	gpu_thread_ops.memory_changed(f->thread);
	close(region.fd);
}

static void there_is_no_room_for_more_than_some(void **state)
{
	struct fixture *f = *state;
	unsigned int i, nr = 0;

	block(f);
	while (gpu_thread_ops.room(f->thread)) {
		send(f, 'x');
		nr++;
		assert_true(nr < 4096);
	}
	assert_true(nr >= 256);
	expect_silence(f);
	unblock();
	/* Said once, and not with each request. */
	while (f->nr_heard < nr + 2) {
		struct pollfd pfd = { .fd = gpu_thread_ops.fd(f->thread), .events = POLLIN };

		assert_int_equal(poll(&pfd, 1, WAIT_MS), 1);
		gpu_thread_ops.dispatch(f->thread, &f->host);
	}
	for (i = 0, nr = 0; i < f->nr_heard; i++)
		nr += f->heard[i] == 'O';
	assert_int_equal(nr, 1);
	assert_true(gpu_thread_ops.room(f->thread));
}

static void there_is_no_room_for_more_bytes_than_some(void **state)
{
	struct fixture *f = *state;
	unsigned int nr = 0;

	block(f);
	while (gpu_thread_ops.room(f->thread)) {
		send_type(f, 0, 'x', 8u << 20, f);
		nr++;
		assert_true(nr < 64);
	}
	assert_true(nr >= 2);
	/* They are gone before anybody takes the answers; a reset gives the room, too. */
	gpu_thread_ops.begin_reset(f->thread);
	assert_true(gpu_thread_ops.room(f->thread));
	unblock();
}

/* Also if none of those that made room has an answer. */
static void room_is_said_without_any_answer(void **state)
{
	struct fixture *f = *state;

	block(f);
	while (gpu_thread_ops.room(f->thread))
		send_type(f, 0, 'h', 8u << 20, f);
	unblock();
	expect(f, "bO");
}

static void events_have_their_turn(void **state)
{
	const uint64_t one = 1;
	struct fixture *f = *state;
	unsigned int i;

	block(f);
	assert_int_equal(write(standin.fd, &one, sizeof(one)), sizeof(one));
	for (i = 0; i < 500; i++)
		send(f, 'x');
	send(f, 'b');
	unblock();
	standin_wait(&standin_started);
	/* Not after all that waits. */
	assert_non_null(memchr(standin.log, 'E', 200));
	unblock();
}

static char *statistics(struct fixture *f)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	gpu_thread_print_stats(f->thread, to);
	fclose(to);
	return text;
}

static void statistics_of_a_device_that_is_busy(void **state)
{
	struct fixture *f = *state;
	char *text;

	/* Long enough that they are not those of the start any more. */
	send(f, 'w');
	send(f, 'w');
	block(f);
	send(f, 'x');
	text = statistics(f);
	assert_non_null(strstr(text, "done: "));
	assert_null(strstr(text, "done: 0\n"));
	assert_non_null(strstr(text, "device is at: SUBMIT_3D, for "));
	assert_non_null(strstr(text, "requests waiting for the device: 1\n"));
	assert_non_null(strstr(text, "SUBMIT_3D commands below 1 s: 2\n"));
	assert_non_null(strstr(text, "longest SUBMIT_3D command (us): "));
	assert_null(strstr(text, "CTX_CREATE"));
	free(text);
	unblock();
	expect(f, "wwbx");
	send_type(f, VIRTIO_GPU_CMD_CTX_CREATE, 'x', 0, f);
	send_type(f, 0xffffffff, 'x', 0, f);
	gpu_thread_ops.begin_reset(f->thread);
	f->nr_heard = 0;
	while (!strchr(f->heard, 'D')) {
		struct pollfd pfd = { .fd = gpu_thread_ops.fd(f->thread), .events = POLLIN };

		assert_int_equal(poll(&pfd, 1, WAIT_MS), 1);
		gpu_thread_ops.dispatch(f->thread, &f->host);
	}
	text = statistics(f);
	assert_non_null(strstr(text, "SUBMIT_3D commands"));
	assert_non_null(strstr(text, "resets below "));
	free(text);
}

static void an_end_that_does_not_come(void **state)
{
	struct fixture *f = *state;
	uint64_t start = clock_ms();

	block(f);
	send(f, 'x');
	assert_false(gpu_thread_free(f->thread, 20));
	assert_true(clock_ms() - start >= 20);
	assert_false(standin_freed);
	unblock();
	/* teardown() waits for the end; what waited is not done any more. */
}

static void a_device_that_cannot_be_had(void **state)
{
	static const struct gpu_config config = { .userptr = true };

	(void)state;
	standin_init();
	standin_fails = ENODEV;
	errno = 0;
	assert_null(gpu_thread_new(&config, NULL));
	assert_int_equal(errno, ENODEV);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(everything_in_its_order),
		TEST(nobody_waits_for_a_device_that_is_busy),
		TEST(a_reset_is_the_end_of_everything_before),
		TEST(what_the_vmm_did_is_not_forgotten_in_a_reset),
		TEST(the_vmm_is_asked),
		TEST(old_guest_memory_ends_with_the_device),
		TEST(there_is_no_room_for_more_than_some),
		TEST(there_is_no_room_for_more_bytes_than_some),
		TEST(room_is_said_without_any_answer),
		TEST(events_have_their_turn),
		TEST(statistics_of_a_device_that_is_busy),
		TEST(an_end_that_does_not_come),
		cmocka_unit_test(a_device_that_cannot_be_had),
	};

	return cmocka_run_group_tests_name("gpu_thread", tests, NULL, NULL);
}
