// SPDX-License-Identifier: MIT
/* The model's files in debugfs; see agm_debugfs.c for what they mean. */
#include "agt.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLDER "/sys/kernel/debug/dri/0000:03:00.0/"

static int put(const char *name, uint64_t value)
{
	char path[128];
	FILE *file;
	int ret;

	snprintf(path, sizeof(path), FOLDER "%s", name);
	file = fopen(path, "we");
	if (!file)
		return -errno;
	ret = fprintf(file, "%" PRIu64 "\n", value) < 0 ? -EIO : 0;
	return fclose(file) && !ret ? -errno : ret;
}

/* The number behind @name in a file of such lines. */
static int64_t get(const char *path, const char *name)
{
	FILE *file = fopen(path, "re");
	int64_t value = -ENOENT;
	char line[128];
	size_t len = strlen(name);

	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		if (!strncmp(line, name, len) && line[len] == ' ')
			value = strtoll(line + len, NULL, 10);
	}
	fclose(file);
	return value;
}

/* Rings of the mask start no job. */
int agt_hold(uint32_t mask)
{
	return put("hold", mask);
}

/* So many jobs start in spite of that. */
int agt_step(uint32_t jobs)
{
	return put("step", jobs);
}

/* How many jobs of a ring have not been started. */
int agt_pending(const char *ring)
{
	return (int)get(FOLDER "rings", ring);
}

int64_t agt_stat(const char *name)
{
	return get(FOLDER "stats", name);
}

/* How long a job may take. */
int agt_lockup(uint32_t ms)
{
	FILE *file = fopen("/sys/module/amdgpu_model/parameters/lockup_ms", "we");
	int ret;

	if (!file)
		return -errno;
	ret = fprintf(file, "%u", ms) < 0 ? -EIO : 0;
	return fclose(file) && !ret ? -errno : ret;
}

/* "vram" or "gtt": bytes, 0 for all. */
int agt_limit(const char *pool, uint64_t bytes)
{
	char name[32];

	snprintf(name, sizeof(name), "%s_limit", pool);
	return put(name, bytes);
}
