// SPDX-License-Identifier: MIT
/*
 * test_virgl_server: the render server of contexts of the real libvirglrenderer
 *
 * How it is started and ends, and that nobody who has the guest's memory is left when
 * it and this process end.
 */
#include "tests/renderer/virgl_test.h"

#ifdef HAVE_VIRGLRENDERER

/* A context works: what is submitted comes back. */
static void check_context(struct bench *bench, struct renderer_context *context)
{
	unsigned int answered = bench->answers[1];

	assert_int_equal(submit(bench, context, 0, true, NULL, 0, 1), 0);
	WAIT_FOR(bench, bench->answers[1] > answered);
	assert_int_equal(bench->responses[1], OK);
}

/* The guest goes on with new contexts when the old ones are gone. */
static void test_killed_server(void **state)
{
	struct bench *bench = *state;
	struct renderer_blob blob = shm_blob(4);
	struct renderer_mapping mapping;
	struct renderer_context *context, *other;
	pid_t pid, server = server_pid();

	context = new_worker(bench, &pid);
	assert_int_equal(make_blob(bench, context, &blob), 0);
	assert_int_equal(kill(server, SIGKILL), 0);
	WAIT_FOR(bench, bench->nr_lost == 1);
	WAIT_FOR(bench, !ops->context_create(bench->renderer, VENUS, "", &other));
	assert_int_not_equal(server_pid(), server);
	check_context(bench, other);
	/* What the old context had made is gone, and its id is free. */
	assert_int_not_equal(ops->blob_export(bench->renderer, 4, &mapping), 0);
	destroy_blob(bench, 4);
	assert_int_equal(make_blob(bench, other, &blob), 0);
	ops->context_destroy(bench->renderer, context);
	ops->context_destroy(bench->renderer, other);
}

/* It is started again without being asked for, too; but one that ends at once is not. */
static void test_server_that_always_ends(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context;
	struct process_list servers;
	pid_t server, pid, worker;
	uint64_t killed;
	int process;

	context = new_worker(bench, &worker);
	WAIT_FOR(bench, clock_ms() - bench->created > 1000);
	server = server_pid();
	killed = clock_ms();
	assert_int_equal(kill(server, SIGKILL), 0);
	do {
		pump(bench, killed, "another server");
		assert_int_equal(process_children(only_child(getpid()), &servers), 0);
		pid = servers.nr == 1 ? servers.pids[0] : server;
		process_list_destroy(&servers);
		/* The worker may become the launcher's child before it ends. */
	} while (pid == server || pid == worker);
	process = process_open(pid);
	assert_true(process >= 0);
	killed = clock_ms();
	process_kill(process);
	WAIT_FOR(bench, process_ended(process));
	close(process);
	ops->context_destroy(bench->renderer, context);
	WAIT_FOR(bench, !ops->context_create(bench->renderer, VENUS, "", &context));
	assert_true(clock_ms() - killed > 500);
	check_context(bench, context);
	ops->context_destroy(bench->renderer, context);
}

/* Memory that outlives the server is there for its successor's contexts. */
static void test_userptr_outlives_the_server(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context, *other;
	struct test_backing backing;
	pid_t pid, pids[MAX_WORKERS];

	if (no_udmabuf(bench))
		skip();
	context = new_worker(bench, &pid);
	make_backing(bench, &backing, 3, 4);
	make_view(bench, &backing);
	assert_int_equal(ops->attach(context, &backing.base), 0);
	assert_int_equal(kill(server_pid(), SIGKILL), 0);
	WAIT_FOR(bench, bench->nr_lost == 1);
	WAIT_FOR(bench, !ops->context_create(bench->renderer, VENUS, "", &other));
	assert_int_equal(ops->attach(other, &backing.base), 0);
	assert_int_equal(workers(pids), 1);
	WAIT_FOR(bench, memory_view_held_by(backing.base.view, pids[0]));
	stop_backing(bench, &backing);
	WAIT_FOR(bench, memory_view_alone(backing.base.view));
	free_backing(&backing);
	ops->context_destroy(bench->renderer, context);
	ops->context_destroy(bench->renderer, other);
}

/* Without a server that can be started there is no renderer, and nobody is left. */
static void test_no_server(void **state)
{
	static const char *const paths[] = { "/nonexistent", "/bin/true" };
	struct renderer_host host = { .opaque = NULL };
	struct renderer_config config = { .grace_ms = GRACE_MS };
	struct renderer *renderer;
	struct process_list left;
	const char *usual = getenv("RENDER_SERVER_EXEC_PATH");
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		assert_int_equal(setenv("RENDER_SERVER_EXEC_PATH", paths[i], 1), 0);
		assert_int_not_equal(ops->create(&config, &host, &renderer), 0);
		sandbox_end();
		assert_int_equal(process_descendants(getpid(), &left), 0);
		assert_int_equal(left.nr, 0);
		process_list_destroy(&left);
	}
	if (usual)
		assert_int_equal(setenv("RENDER_SERVER_EXEC_PATH", usual, 1), 0);
	else
		unsetenv("RENDER_SERVER_EXEC_PATH");
}

static void not_told(void *opaque, struct renderer_context *context)
{
	(void)opaque;
	(void)context;
}

/* In a process of its own: a device with a context; says who its processes are. */
__attribute__((noreturn)) static void be_a_device(int to, bool confined)
{
	struct renderer_host host = { .lost = not_told };
	struct renderer_config config = { .grace_ms = GRACE_MS };
	struct process_list list = { .nr = 0 };
	struct renderer_context *context;
	struct renderer *renderer;
	uint64_t started;
	int output;

	if (confined && sandbox_init(SANDBOX_AUTO, true, &output))
		_exit(1);
	if (ops->create(&config, &host, &renderer) ||
	    ops->context_create(renderer, VENUS, "", &context))
		_exit(1);
	/* The worker that it tried the server with goes. */
	for (started = clock_ms(); list.nr != 3 && clock_ms() - started < WAIT_MS;) {
		process_list_destroy(&list);
		if (process_descendants(getpid(), &list))
			_exit(1);
	}
	if (list.nr != 3 || write(to, list.pids, 3 * sizeof(pid_t)) != 3 * sizeof(pid_t))
		_exit(1);
	for (;;)
		pause();
}

/*
 * A worker that does not notice that its server is gone - it is stopped, as others are
 * busy - ends all the same, when server and device are killed at once.
 */
static void check_nobody_outlives_us(bool confined)
{
	struct pollfd worker = { .events = POLLIN };
	pid_t device, pids[3];
	int fds[2], server;

	assert_int_equal(pipe(fds), 0);
	device = fork();
	assert_true(device >= 0);
	if (!device)
		be_a_device(fds[1], confined);
	close(fds[1]);
	assert_int_equal(read(fds[0], pids, sizeof(pids)), sizeof(pids));
	close(fds[0]);
	/* Launcher, server, worker: each is the one before's child. */
	assert_true(process_is_child(pids[1], pids[0]));
	assert_true(process_is_child(pids[2], pids[1]));
	server = process_open(pids[1]);
	worker.fd = process_open(pids[2]);
	assert_true(server >= 0 && worker.fd >= 0);
	stop_process(pids[2]);
	assert_int_equal(kill(device, SIGKILL), 0);
	process_kill(server);
	assert_int_equal(poll(&worker, 1, WAIT_MS), 1);
	assert_int_equal(waitpid(device, NULL, 0), device);
	close(server);
	close(worker.fd);
}

static void test_nobody_outlives_us(void **state)
{
	(void)state;
	check_nobody_outlives_us(false);
	check_nobody_outlives_us(true);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_killed_server),
		TEST(test_server_that_always_ends),
		TEST(test_userptr_outlives_the_server),
		cmocka_unit_test(test_no_server),
		cmocka_unit_test(test_nobody_outlives_us),
	};

	log_set_verbose(getenv("VERBOSE"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else /* !HAVE_VIRGLRENDERER */

int main(void)
{
	return virgl_not_built();
}

#endif
