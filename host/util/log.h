/* SPDX-License-Identifier: MIT */
/*
 * log: messages on stderr, statistics on stdout
 *
 * One line per call.  log_event() is silent unless verbose.
 *
 * From log_start() on nothing here waits for whoever reads stderr or stdout, and
 * nobody can fill a disk with log_error(): each place in the source that calls it
 * has LOG_BURST lines, and one more each second.  Before that, at the start and in
 * tests, every line is written at once.
 *
 * Threads: any.  log_start() and log_stop(): the one that has made no others yet.
 */
#ifndef LOG_H
#define LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROGRAM_NAME "virtio-gpu-userptr-device"
#define LOG_BURST 10u

/**
 * struct log_site - what one place in the source has printed; all zero at first
 * @format: of its lines; NULL: it has never left one out
 * @left_out: lines since the last one that was printed
 * @printed: of LOG_BURST, one less for each second that passes
 * @second: up to when they have been counted off
 * @next: another one that has left lines out
 */
struct log_site {
	const char *format;
	unsigned long left_out;
	unsigned int printed;
	uint64_t second;
	struct log_site *next;
};

void log_set_verbose(bool on);
void log_start(void);
void log_stop(void);
/* Wait until all is written, for a second at most: before _exit() and the like. */
void log_flush(void);
/* What another process writes to the pipe @fd, which is the log's from now on. */
int log_follow(int fd, const char *name);
/* A line that nothing is wrong with, and that is always printed: for the start. */
void log_notice(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Something the person who runs the program must know. */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_error_at(struct log_site *site, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* One line of --verbose. */
void log_event(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* @text, whole lines, to stdout. */
void log_output(const char *text, size_t len);

/* The function is for those who need its address; they have one site together. */
#define log_error(...)                                 \
	({                                             \
		static struct log_site log_site_;      \
                                                       \
		log_error_at(&log_site_, __VA_ARGS__); \
	})

#endif /* LOG_H */
