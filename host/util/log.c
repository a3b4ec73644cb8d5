// SPDX-License-Identifier: MIT
/*
 * log: messages on stderr
 *
 * Invariant: a message is one write of one line, so that lines of other
 * threads and processes on the same stderr do not get mixed into it.
 *
 * Threads: any; the flag is set once, before there are others.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/log.h"

static bool verbose;

/**
 * log_set_verbose() - whether log_event() prints
 * @on: the answer
 */
void log_set_verbose(bool on)
{
	verbose = on;
}

static void log_line(const char *format, va_list args)
{
	static const char prefix[] = PROGRAM_NAME ": ";
	char line[512];
	size_t used = sizeof(prefix) - 1, room = sizeof(line) - used - 1;
	int len;

	memcpy(line, prefix, used);
	len = vsnprintf(line + used, room, format, args);
	if (len < 0)
		return;
	used += (size_t)len < room ? (size_t)len : room - 1;
	line[used++] = '\n';
	/* Nothing can be done about a stderr that takes no more. */
	if (write(STDERR_FILENO, line, used) < 0)
		return;
}

/**
 * log_error() - a line that is always printed
 * @format: printf format without newline
 */
void log_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_line(format, args);
	va_end(args);
}

/**
 * log_event() - a line of --verbose
 * @format: printf format without newline
 */
void log_event(const char *format, ...)
{
	va_list args;

	if (!verbose)
		return;
	va_start(args, format);
	log_line(format, args);
	va_end(args);
}
