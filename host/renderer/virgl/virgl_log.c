// SPDX-License-Identifier: MIT
/*
 * virgl_log: what the library says
 *
 * Its lines go to our log.  To give a context a resource is a call without a result:
 * whether it failed shows only in what the library says meanwhile, and what it says
 * differs from version to version.  So at the start it is tried: what is said when it
 * goes well is no failure later on, and when it cannot go well something else must be
 * said.  Tested with 1.1.0, which says nothing when it goes well; up to 1.3.0 the code
 * in question is the same.
 *
 * Threads: any.  What was said is counted for the thread that made the call; what is
 * usual is learned at the start, when there is no other.
 */
#include "renderer/virgl/virgl_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "util/log.h"

#define MAX_USUAL 8
#define LINE_SIZE 96
#define PROBE_SIZE 4096
/* Ids that no guest has used yet. */
#define PROBE_GOOD 1u
#define PROBE_BAD 2u

/* What an attach says that goes well, with each number as a '#'. */
static char usual[MAX_USUAL][LINE_SIZE];
static unsigned int nr_usual;
static __thread bool learning;
/* Since virgl_listen(): errors, and lines that are not usual. */
static __thread unsigned int complaints;
static __thread unsigned int remarks;
/* Complaints are for the person who starts the program. */
static __thread bool starting;

/* Numbers are of this resource and that context. */
static void without_numbers(char to[LINE_SIZE], const char *line)
{
	size_t at = 0;

	while (*line && *line != '\n' && at < LINE_SIZE - 1) {
		if (!isdigit((unsigned char)*line)) {
			to[at++] = *line++;
			continue;
		}
		to[at++] = '#';
		while (isdigit((unsigned char)*line))
			line++;
	}
	to[at] = '\0';
}

static bool is_usual(const char *line)
{
	unsigned int i;

	for (i = 0; i < nr_usual; i++)
		if (!strcmp(usual[i], line))
			return true;
	return false;
}

static void hear(const char *message)
{
	char line[LINE_SIZE];

	without_numbers(line, message);
	if (is_usual(line))
		return;
	if (!learning)
		remarks++;
	else if (nr_usual < MAX_USUAL)
		memcpy(usual[nr_usual++], line, sizeof(line));
}

static void library_log(enum virgl_log_level_flags level, const char *message, void *opaque)
{
	int len = (int)strcspn(message, "\n");

	(void)opaque;
	if (level < VIRGL_LOG_LEVEL_INFO)
		return;
	if (level >= VIRGL_LOG_LEVEL_ERROR)
		complaints++;
	hear(message);
	/* A guest can make the library complain as often as it likes. */
	if (starting && level >= VIRGL_LOG_LEVEL_ERROR)
		log_error("libvirglrenderer: %.*s", len, message);
	else
		log_event("libvirglrenderer: %.*s", len, message);
}

/**
 * virgl_log_begin() - hear the library, which is about to start for the first time
 */
void virgl_log_begin(void)
{
	starting = true;
	nr_usual = 0;
	virgl_set_log_callback(library_log, NULL, NULL);
}

/**
 * virgl_log_started() - from now on guests are the ones it complains of
 */
void virgl_log_started(void)
{
	starting = false;
}

/**
 * virgl_listen() - forget what the library said
 */
void virgl_listen(void)
{
	complaints = 0;
	remarks = 0;
}

/**
 * virgl_complained() - whether it said something since virgl_listen()
 * @anything: also what is no error, but not usual
 *
 * Return: whether it did, on this thread.
 */
bool virgl_complained(bool anything)
{
	return anything ? remarks : complaints;
}

/* What a context may have: any file will do. */
static bool import_good(void)
{
	struct virgl_renderer_resource_import_blob_args args = {
		.res_handle = PROBE_GOOD,
		.blob_mem = VIRGL_RENDERER_BLOB_MEM_HOST3D,
		.fd_type = VIRGL_RENDERER_BLOB_FD_TYPE_DMABUF,
		.size = PROBE_SIZE,
	};

	args.fd = memfd_create("probe", MFD_CLOEXEC);
	/* The descriptor is the library's then, in most cases of failure, too. */
	return args.fd >= 0 && !virgl_renderer_resource_import_blob(&args);
}

/* Memory of this process, which cannot be given to a worker. */
static bool make_bad(void *memory)
{
	struct iovec iov = { .iov_base = memory, .iov_len = PROBE_SIZE };
	struct virgl_renderer_resource_create_blob_args args = {
		.res_handle = PROBE_BAD,
		.blob_mem = VIRGL_RENDERER_BLOB_MEM_GUEST,
		.size = PROBE_SIZE,
		.iovecs = &iov,
		.num_iovs = 1,
	};

	return !virgl_renderer_resource_create_blob(&args);
}

/**
 * virgl_log_probe() - learn how the library says that a context cannot have a resource
 * @context: the library's id of a Venus context
 */
void virgl_log_probe(uint32_t context)
{
	void *memory = calloc(1, PROBE_SIZE);

	if (import_good()) {
		learning = true;
		virgl_renderer_ctx_attach_resource((int)context, PROBE_GOOD);
		learning = false;
		virgl_renderer_resource_unref(PROBE_GOOD);
	}
	if (memory && make_bad(memory)) {
		virgl_listen();
		virgl_renderer_ctx_attach_resource((int)context, PROBE_BAD);
		if (!virgl_complained(true))
			log_error("this libvirglrenderer does not say when a context cannot have "
				  "a resource; guests are told that it can");
		virgl_renderer_resource_unref(PROBE_BAD);
	}
	free(memory);
}
