// SPDX-License-Identifier: MIT
/*
 * test_vu_busy: a VMM whose device is at something for long
 *
 * The server with a gpu_thread; only what the thread runs is a stand-in.  The test
 * is the server's thread, the guest, and the front end but for what waits in it.
 */
#include "tests/vhost/vhost_test.h"

#include <pthread.h>
#include <sys/resource.h>

#include "gpu/gpu_thread.h"
#include "tests/gpu/thread_device.h"

#define WAIT_MS 20000
/* How long the device is at something, and what nobody has to wait for then. */
#define BUSY_MS 3000
#define AT_ONCE_MS 1000

/**
 * struct busy - a server with a device of its own
 * @f: the fixture, with that server
 * @thread: the device
 * @channel: the front end's end of the back-end channel
 */
struct busy {
	struct fixture f;
	struct gpu_thread *thread;
	int channel;
};

static void busy_start(struct busy *b, const struct fixture *f)
{
	static const struct gpu_config config = { .userptr = true };
	int pair[2];

	standin_init();
	*b = (struct busy){ .f = *f };
	b->thread = gpu_thread_new(&config, f->gm);
	assert_non_null(b->thread);
	b->f.server = vhost_user_server_new(f->gm, RESET_TIMEOUT_MS);
	assert_int_equal(vhost_user_server_attach(b->f.server, &gpu_thread_ops, b->thread), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(vhost_user_server_adopt(b->f.server, pair[0]), 0);
	b->f.sock = pair[1];
	start_rings(&b->f);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_false(refused_fds(&b->f, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1));
	close(pair[1]);
	b->channel = pair[0];
}

static void busy_end(struct busy *b)
{
	vhost_user_server_close(b->f.server);
	assert_true(vhost_user_server_wait_reset(b->f.server, WAIT_MS));
	assert_true(gpu_thread_free(b->thread, WAIT_MS));
	vhost_user_server_free(b->f.server);
	close(b->f.sock);
	close(b->channel);
}

/* A command that does what @what stands for in the stand-in. */
static void command(struct busy *b, unsigned int head, char what)
{
	char text[] = "------------------------ ";

	text[sizeof(text) - 2] = what;
	offer(&b->f, 0, head, text);
}

static void kick_only(struct busy *b)
{
	const uint64_t one = 1;

	assert_int_equal(write(b->f.kick[0], &one, sizeof(one)), sizeof(one));
}

static void serve_until_used(struct busy *b, unsigned int nr)
{
	uint64_t end = clock_ms() + WAIT_MS;

	while (ring_used_waiting(&b->f.rings[0]) < nr) {
		assert_true(clock_ms() < end);
		assert_true(vhost_user_server_step(b->f.server, 10) >= 0);
	}
}

/**
 * struct reader - reads the channel as QEMU does
 * @sock: the channel
 * @ms: how long it had to wait within a request
 * @ok: it was one
 * @ended: all of it was read
 */
struct reader {
	int sock;
	uint64_t ms;
	bool ok;
	atomic_bool ended;
};

/* Its main loop finds that there is something, and does nothing else before it has it. */
static void *read_as_qemu(void *arg)
{
	struct reader *reader = arg;
	struct pollfd pfd = { .fd = reader->sock, .events = POLLIN };
	struct vhost_user_header header;
	uint64_t start = 0;
	size_t len = 0;
	ssize_t got;

	do {
		if (poll(&pfd, 1, WAIT_MS) != 1)
			break;
		if (!len)
			start = clock_ms();
		got = recv(reader->sock, (char *)&header + len, sizeof(header) - len, 0);
		len += got > 0 ? (size_t)got : sizeof(header);
	} while (len < sizeof(header));
	reader->ms = clock_ms() - start;
	reader->ok = len == sizeof(header) && header.request == VHOST_USER_BACKEND_SHMEM_MAP;
	reader->ended = true;
	return NULL;
}

static void a_request_is_sent_whole_whatever_the_device_is_at(void **state)
{
	uint64_t end = clock_ms() + WAIT_MS;
	struct reader reader = { .ok = false };
	pthread_t thread;
	struct busy b;

	busy_start(&b, *state);
	reader.sock = b.channel;
	standin_work_ms = BUSY_MS;
	assert_int_equal(pthread_create(&thread, NULL, read_as_qemu, &reader), 0);
	command(&b, 0, 'm');
	command(&b, 2, 'w');
	kick_only(&b);
	while (!reader.ended) {
		assert_true(clock_ms() < end);
		assert_true(vhost_user_server_step(b.f.server, 10) >= 0);
	}
	pthread_join(thread, NULL);
	assert_true(reader.ok);
	if (reader.ms >= AT_ONCE_MS)
		fail_msg("the VMM stood still for %llu ms", (unsigned long long)reader.ms);
	serve_until_used(&b, 2);
	busy_end(&b);
}

static void messages_are_answered_whatever_the_device_is_at(void **state)
{
	struct fixture *f = *state;
	uint64_t start;
	struct busy b;

	busy_start(&b, f);
	command(&b, 0, 'b');
	kick(&b.f, 0);
	standin_wait(&standin_started);
	start = clock_ms();
	assert_int_equal(ask_u64(&b.f, VHOST_USER_GET_QUEUE_NUM), 2);
	assert_false(refused_memory(&b.f, RING_MEMORY_SIZE));
	assert_false(refused_fd(&b.f, VHOST_USER_SET_VRING_CALL, 0, b.f.call[0]));
	assert_true(clock_ms() - start < AT_ONCE_MS);
	assert_int_equal(ring_used_waiting(&b.f.rings[0]), 0);
	sem_post(&standin_gate);
	serve_until_used(&b, 1);
	busy_end(&b);
}

/* The guest resets its device while that is at something. */
static void a_reset_is_answered_when_it_is_over(void **state)
{
	struct vhost_user_vring_state base = { 0, 0 };
	uint64_t end = clock_ms() + WAIT_MS;
	struct fixture *f = *state;
	struct busy b;

	busy_start(&b, f);
	command(&b, 0, 'h');
	command(&b, 2, 'b');
	command(&b, 4, 'x');
	kick(&b.f, 0);
	standin_wait(&standin_started);
	assert_false(refused_state(&b.f, VHOST_USER_SET_VRING_ENABLE, 1, 0));
	send_message(&b.f, VHOST_USER_GET_VRING_BASE, 0, &base, sizeof(base));
	assert_false(reply_waits(&b.f));
	sem_post(&standin_gate);
	while (!reply_waits(&b.f)) {
		assert_true(clock_ms() < end);
		assert_true(vhost_user_server_step(b.f.server, 10) >= 0);
	}
	read_reply(&b.f, VHOST_USER_GET_VRING_BASE, &base, sizeof(base));
	assert_int_equal(base.num, 3);
	/* All three were handed back before. */
	assert_int_equal(ring_take_used(&b.f.rings[0]).id, 2);
	assert_int_equal(ring_take_used(&b.f.rings[0]).id, 0);
	assert_int_equal(ring_take_used(&b.f.rings[0]).id, 4);
	/* The last was not begun with. */
	assert_non_null(memmem(standin.log, standin.nr_log, "hbR", 3));
	busy_end(&b);
}

/**
 * struct load - what steps of the server were like
 * @steps: in which there was something to do
 * @slept: in which the thread gave up the processor, as in a call that blocks
 */
struct load {
	unsigned int steps;
	unsigned int slept;
};

static long sleeps(void)
{
	struct rusage usage;

	assert_int_equal(getrusage(RUSAGE_THREAD, &usage), 0);
	return usage.ru_nvcsw;
}

/* Wait for something to do, and do it. */
static void serve(struct busy *b, struct load *load)
{
	struct pollfd pfd = { .fd = vhost_user_server_fd(b->f.server), .events = POLLIN };
	long before;

	if (poll(&pfd, 1, 10) != 1)
		return;
	before = sleeps();
	load->steps += vhost_user_server_step(b->f.server, 0) == 1;
	load->slept += sleeps() != before;
}

/* A number of the statistics. */
static unsigned long statistic(struct busy *b, const char *name)
{
	char *text = NULL, *at;
	unsigned long value;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	vhost_user_server_print_stats(b->f.server, to);
	fclose(to);
	at = strstr(text, name);
	if (!at)
		fail_msg("no '%s' in: %s", name, text);
	value = strtoul(at + strlen(name), NULL, 10);
	if (strstr(name, "longest"))
		print_message("%.*s\n", (int)strcspn(at, "\n"), at);
	free(text);
	return value;
}

/* Requests of all sizes, messages, memory tables and interrupts; and it is at something. */
static void no_operation_takes_long(void **state)
{
	const uint32_t at = RING_DATA + (1u << 20);
	struct load load = { .steps = 0 };
	uint64_t end = clock_ms() + WAIT_MS;
	unsigned int round, taken = 0;
	struct busy b;

	busy_start(&b, *state);
	standin_work_ms = 20;
	for (round = 0; round < 100; round++) {
		command(&b, 0, 'w');
		command(&b, 2, 'x');
		/* Its text is the first byte after the header. */
		memset(b.f.guest.base + at, 'x', 8u << 20);
		ring_desc(&b.f.rings[0], 4, at, round % 8 ? 300000 : 8u << 20, N, 5);
		ring_desc(&b.f.rings[0], 5, RING_DATA + 0x8000, 0x40, W, 0);
		ring_offer(&b.f.rings[0], 4);
		kick_only(&b);
		if (round % 10 == 5)
			assert_false(refused_memory(&b.f, RING_MEMORY_SIZE));
		while (ring_used_waiting(&b.f.rings[0]) < 3) {
			assert_true(clock_ms() < end);
			serve(&b, &load);
		}
		for (taken = 0; taken < 3; taken++)
			ring_take_used(&b.f.rings[0]);
	}
	print_message("%u of %u steps slept\n", load.slept, load.steps);
	assert_true(load.steps >= 200);
	/*
	 * Two threads that meet at a lock is what it may be, the more the less processor
	 * there is; one that waits for the device sleeps in nearly every step.
	 */
	assert_true(load.slept * 2 < load.steps);
	assert_true(statistic(&b, "longest transport operation (us): ") > 0);
	/* Not by the clock on the wall: others may run on this machine. */
	assert_true(statistic(&b, "longest CPU time of a transport operation (us): ") < 10000);
	busy_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_request_is_sent_whole_whatever_the_device_is_at),
		TEST(messages_are_answered_whatever_the_device_is_at),
		TEST(a_reset_is_answered_when_it_is_over),
		TEST(no_operation_takes_long),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("vu_busy", tests, NULL, NULL);
}
