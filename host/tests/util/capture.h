/* SPDX-License-Identifier: MIT */
/*
 * capture: what the code under test writes to stderr, for tests
 *
 * From capture_begin() to capture_end() stderr is a file; one at a time.  A
 * teardown calls capture_give_up(), so that an assertion that fails in between
 * is seen nevertheless.
 */
#ifndef CAPTURE_H
#define CAPTURE_H

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct capture {
	char text[8192];
};

/* The real stderr and the file in its place, or -1. */
static int capture_saved = -1;
static int capture_file = -1;

static inline void capture_begin(void)
{
	assert_int_equal(capture_saved, -1);
	capture_saved = dup(STDERR_FILENO);
	capture_file = memfd_create("stderr", MFD_CLOEXEC);
	assert_true(capture_saved >= 0 && capture_file >= 0);
	dup2(capture_file, STDERR_FILENO);
}

static inline void capture_end(struct capture *c)
{
	ssize_t len;

	dup2(capture_saved, STDERR_FILENO);
	close(capture_saved);
	capture_saved = -1;
	len = pread(capture_file, c->text, sizeof(c->text) - 1, 0);
	close(capture_file);
	assert_true(len >= 0);
	c->text[len] = 0;
}

static inline void capture_give_up(void)
{
	struct capture c;

	if (capture_saved < 0)
		return;
	capture_end(&c);
	print_error("%s", c.text);
}

/* How often @what was written. */
static inline unsigned int captured(const struct capture *c, const char *what)
{
	unsigned int nr = 0;
	const char *at = c->text;

	while ((at = strstr(at, what))) {
		at += strlen(what);
		nr++;
	}
	return nr;
}

#endif /* CAPTURE_H */
