// SPDX-License-Identifier: MIT
/*
 * test_virgl_chatty: a libvirglrenderer that says more than the one that is known
 *
 * Between the renderer and the library stand functions with the library's names, which
 * say something when a context gets a resource, as another version might.
 */
#include "tests/renderer/virgl_test.h"

#ifdef HAVE_VIRGLRENDERER

#include <dlfcn.h>

#include <virglrenderer.h>

#include "tests/util/capture.h"

static virgl_log_callback_type renderer_log;
/* Say nothing at all; say that it failed. */
static bool mute, fails;

static void log_filter(enum virgl_log_level_flags level, const char *message, void *opaque)
{
	if (!mute)
		renderer_log(level, message, opaque);
}

void virgl_set_log_callback(virgl_log_callback_type log, void *opaque,
			    virgl_free_data_callback_type free_opaque)
{
	void (*library)(virgl_log_callback_type, void *, virgl_free_data_callback_type);

	*(void **)&library = dlsym(RTLD_NEXT, "virgl_set_log_callback");
	assert_non_null(library);
	renderer_log = log;
	library(log ? log_filter : NULL, opaque, free_opaque);
}

void virgl_renderer_ctx_attach_resource(int context, int resource)
{
	void (*library)(int, int);
	char line[128];

	*(void **)&library = dlsym(RTLD_NEXT, "virgl_renderer_ctx_attach_resource");
	assert_non_null(library);
	snprintf(line, sizeof(line), "proxy: res %d goes to context %d\n", resource, context);
	if (!mute)
		renderer_log(VIRGL_LOG_LEVEL_INFO, line, NULL);
	if (fails)
		renderer_log(VIRGL_LOG_LEVEL_INFO, "proxy: failed to attach it\n", NULL);
	library(context, resource);
}

/* What it says when all is well is no failure, and a failure is one. */
static void test_chatty(void **state)
{
	struct bench *bench = *state;
	struct renderer_blob blob = shm_blob(50);
	struct renderer_context *context, *other, *third;

	context = new_context(bench);
	other = new_context(bench);
	third = new_context(bench);
	assert_int_equal(make_blob(bench, context, &blob), 0);
	assert_int_equal(ops->blob_attach(other, 50), 0);
	fails = true;
	assert_int_equal(ops->blob_attach(third, 50), -EIO);
	fails = false;
	ops->blob_detach(other, 50);
	destroy_blob(bench, 50);
	ops->context_destroy(bench->renderer, context);
	ops->context_destroy(bench->renderer, other);
	ops->context_destroy(bench->renderer, third);
}

/* One that says nothing when it fails is noticed at the start. */
static void test_mute(void **state)
{
	struct renderer_host host = { .opaque = NULL };
	struct renderer_config config = { .grace_ms = GRACE_MS };
	struct renderer *renderer;
	struct capture log;

	(void)state;
	mute = true;
	capture_begin();
	assert_int_equal(ops->create(&config, &host, &renderer), 0);
	capture_end(&log);
	mute = false;
	assert_int_equal(captured(&log, "does not say when a context cannot have"), 1);
	ops->destroy(renderer);
	sandbox_end();
	capture_begin();
	assert_int_equal(ops->create(&config, &host, &renderer), 0);
	capture_end(&log);
	assert_int_equal(captured(&log, "does not say"), 0);
	ops->destroy(renderer);
	sandbox_end();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_chatty),
		cmocka_unit_test(test_mute),
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
