// SPDX-License-Identifier: MIT
/*
 * log: see log.h
 *
 * stderr and stdout are somebody else's: a terminal that was stopped, a pipe that
 * nobody reads, a file on a server that is away.  O_NONBLOCK would change them for
 * all who share them, and poll() is no promise for a write that comes later.  So
 * each has a thread that does nothing but write, and a bounded buffer before it;
 * what does not fit is left out and counted.
 *
 * Invariants: a buffer holds whole lines; a line is written in one piece if pipes
 * take it in one (PIPE_BUF), so that lines of other processes on the same stderr do
 * not get mixed into it; and no byte is a control character, as some are chosen by a
 * guest, and stderr may be a terminal.
 *
 * Locks: lock is held for the time of a copy, never while anything is written.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/log.h"

/* What a writer may be behind: some thousand lines of --verbose. */
#define BUFFER_SIZE (256u << 10)
#define LINE_SIZE 512u
#define FLUSH_MS 1000

_Static_assert(LINE_SIZE <= PIPE_BUF, "a line is one piece");

/**
 * struct stream - a descriptor that lines are written to, and what waits for that
 * @fd: it
 * @thread: writes
 * @wake: there is something to write, or nothing more will come
 * @bytes: the lines, a ring
 * @head: the first of them
 * @used: how many
 * @lost: lines that did not fit since the last that did
 * @writing: the thread has taken some, and has not written them yet
 * @running: there is a thread
 * @ended: it has written everything after quit
 */
struct stream {
	int fd;
	pthread_t thread;
	pthread_cond_t wake;
	char bytes[BUFFER_SIZE];
	size_t head;
	size_t used;
	unsigned long lost;
	bool writing;
	bool running;
	bool ended;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* A stream has nothing left to write. */
static pthread_cond_t idle;
static struct stream errors = { .fd = STDERR_FILENO };
static struct stream output = { .fd = STDOUT_FILENO };
/* log_start() was called; and nothing more will come. */
static bool started;
static bool quit;
static bool verbose;
/* Places that have left out lines, and when that was last told. */
static struct log_site *sites;
static uint64_t told_second;

/**
 * log_set_verbose() - whether log_event() prints
 * @on: the answer
 */
void log_set_verbose(bool on)
{
	verbose = on;
}

static uint64_t now_seconds(void)
{
	return clock_ms() / 1000;
}

/* Waits as long as it takes.  Nothing can be done about errors. */
static void write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t done = write(fd, text, len);

		if (done >= 0) {
			text += done;
			len -= (size_t)done;
		} else if (errno == EAGAIN) {
			/* Others have set O_NONBLOCK. */
			struct pollfd pollfd = { .fd = fd, .events = POLLOUT };

			if (poll(&pollfd, 1, -1) < 0 && errno != EINTR)
				return;
		} else if (errno != EINTR) {
			return;
		}
	}
}

/* ---- lines ---- */

/* Returns the length of the line, with its end. */
__attribute__((format(printf, 2, 0))) static size_t format_line(char line[LINE_SIZE],
								const char *format, va_list args)
{
	static const char prefix[] = PROGRAM_NAME ": ";
	size_t used = sizeof(prefix) - 1, room = LINE_SIZE - used - 1;
	int len;

	memcpy(line, prefix, used);
	len = vsnprintf(line + used, room, format, args);
	if (len < 0)
		return 0;
	len = (size_t)len < room ? len : (int)room - 1;
	for (char *at = line + used; at < line + used + len; at++)
		if ((unsigned char)*at < ' ' || *at == '\x7f')
			*at = '?';
	used += (size_t)len;
	line[used++] = '\n';
	return used;
}

static void put_bytes(struct stream *stream, const char *text, size_t len)
{
	size_t at = (stream->head + stream->used) % BUFFER_SIZE;
	size_t first = len < BUFFER_SIZE - at ? len : BUFFER_SIZE - at;

	memcpy(stream->bytes + at, text, first);
	memcpy(stream->bytes, text + first, len - first);
	stream->used += len;
}

/* Under lock; unlocks.  Without a thread that writes the line is written here. */
static void put_and_unlock(struct stream *stream, const char *text, size_t len)
{
	char lost[LINE_SIZE];
	int lost_len = 0;

	if (!stream->running) {
		/* A thread that did not end is stuck, and so would this one be. */
		bool stuck = started && !stream->ended;

		pthread_mutex_unlock(&lock);
		if (!stuck)
			write_all(stream->fd, text, len);
		return;
	}
	if (stream->lost)
		lost_len = snprintf(lost, sizeof(lost),
				    PROGRAM_NAME ": %lu lines were lost: nobody read them\n",
				    stream->lost);
	if (BUFFER_SIZE - stream->used < len + (size_t)lost_len) {
		stream->lost++;
	} else {
		put_bytes(stream, lost, (size_t)lost_len);
		put_bytes(stream, text, len);
		stream->lost = 0;
		pthread_cond_signal(&stream->wake);
	}
	pthread_mutex_unlock(&lock);
}

__attribute__((format(printf, 1, 0))) static void log_line(const char *format, va_list args)
{
	char line[LINE_SIZE];
	size_t len = format_line(line, format, args);

	pthread_mutex_lock(&lock);
	put_and_unlock(&errors, line, len);
}

/* ---- places that print too much ---- */

/* Under lock: whether one more line may be printed. */
static bool may_print(struct log_site *site, const char *format)
{
	uint64_t now = now_seconds(), passed = now - site->second;

	if (!started)
		return true;
	site->printed -= passed < site->printed ? (unsigned int)passed : site->printed;
	site->second = now;
	if (site->printed < LOG_BURST) {
		site->printed++;
		return true;
	}
	if (!site->format) {
		site->format = format;
		site->next = sites;
		sites = site;
	}
	site->left_out++;
	return false;
}

/* Says how many lines of each place are missing.  Under lock, which it lets go. */
static void tell_left_out(void)
{
	struct log_site *site;

	told_second = now_seconds();
	for (site = sites; site; site = site->next) {
		char line[LINE_SIZE];
		int len;

		if (!site->left_out)
			continue;
		len = snprintf(line, sizeof(line),
			       PROGRAM_NAME ": %lu lines like this were not printed: %.300s\n",
			       site->left_out, site->format);
		site->left_out = 0;
		put_and_unlock(&errors, line, (size_t)len);
		pthread_mutex_lock(&lock);
	}
}

/* Under lock: whether a place has lines to tell of. */
static bool has_left_out(void)
{
	const struct log_site *site;

	for (site = sites; site; site = site->next)
		if (site->left_out)
			return true;
	return false;
}

__attribute__((format(printf, 2, 0))) static void log_at(struct log_site *site, const char *format,
							 va_list args)
{
	bool print;

	pthread_mutex_lock(&lock);
	print = may_print(site, format);
	if (!print && errors.running)
		pthread_cond_signal(&errors.wake);
	pthread_mutex_unlock(&lock);
	if (print)
		log_line(format, args);
}

/**
 * log_error_at() - a line that is printed if its place has not printed too many
 * @site: the place
 * @format: printf format without newline
 */
void log_error_at(struct log_site *site, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_at(site, format, args);
	va_end(args);
}

#undef log_error
/**
 * log_error() - the same, for callers that have no place of their own
 * @format: printf format without newline
 */
void log_error(const char *format, ...)
{
	static struct log_site site;
	va_list args;

	va_start(args, format);
	log_at(&site, format, args);
	va_end(args);
}

/**
 * log_notice() - a line that is always printed
 * @format: printf format without newline
 */
void log_notice(const char *format, ...)
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

/**
 * log_output() - print to stdout
 * @text: whole lines
 * @len: bytes of it
 */
void log_output(const char *text, size_t len)
{
	pthread_mutex_lock(&lock);
	put_and_unlock(&output, text, len);
}

/* ---- threads ---- */

/* Under lock: take whole lines, as many as a pipe takes in one piece. */
static size_t take_lines(struct stream *stream, char lines[PIPE_BUF])
{
	size_t len = stream->used < PIPE_BUF ? stream->used : PIPE_BUF, i, whole = 0;

	for (i = 0; i < len; i++) {
		lines[i] = stream->bytes[(stream->head + i) % BUFFER_SIZE];
		if (lines[i] == '\n')
			whole = i + 1;
	}
	/* A text may be one long line. */
	if (!whole)
		whole = len;
	stream->head = (stream->head + whole) % BUFFER_SIZE;
	stream->used -= whole;
	return whole;
}

/* Under lock: until there is something to do; a second, if there is something to tell. */
static void wait_for_lines(struct stream *stream)
{
	struct timespec until = { .tv_sec = (time_t)told_second + 1 };

	if (stream != &errors || !has_left_out())
		pthread_cond_wait(&stream->wake, &lock);
	else if (now_seconds() > told_second)
		tell_left_out();
	else
		pthread_cond_timedwait(&stream->wake, &lock, &until);
}

static void *write_lines(void *opaque)
{
	struct stream *stream = opaque;
	char lines[PIPE_BUF];

	pthread_mutex_lock(&lock);
	while (!quit || stream->used) {
		size_t len;

		if (!stream->used) {
			wait_for_lines(stream);
			continue;
		}
		len = take_lines(stream, lines);
		stream->writing = true;
		pthread_mutex_unlock(&lock);
		write_all(stream->fd, lines, len);
		pthread_mutex_lock(&lock);
		stream->writing = false;
		pthread_cond_broadcast(&idle);
	}
	stream->ended = true;
	pthread_cond_broadcast(&idle);
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* Signals are for the main thread. */
static int start_thread(pthread_t *thread, void *(*run)(void *), void *opaque)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(thread, NULL, run, opaque);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -err;
}

static void start_stream(struct stream *stream)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&stream->wake, &attr);
	pthread_condattr_destroy(&attr);
	stream->ended = false;
	/* Without a thread it is as before log_start(). */
	stream->running = !start_thread(&stream->thread, write_lines, stream);
	stream->ended = !stream->running;
}

/* ---- another process's lines ---- */

/**
 * struct follower - a pipe that is read, and who writes to it
 * @fd: it
 * @name: of the other process
 * @site: nobody is trusted to print little
 */
struct follower {
	int fd;
	const char *name;
	struct log_site site;
};

static void log_followed(struct follower *follower, const char *line, size_t len)
{
	bool print = verbose;

	if (!print) {
		pthread_mutex_lock(&lock);
		print = may_print(&follower->site, follower->name);
		pthread_mutex_unlock(&lock);
	}
	if (print)
		log_notice("%s: %.*s", follower->name, (int)len, line);
}

/* Reads what there is at once, so that the pipe does not stay full. */
static void *read_lines(void *opaque)
{
	struct follower *follower = opaque;
	char line[LINE_SIZE];
	size_t used = 0;
	ssize_t got;

	while ((got = read(follower->fd, line + used, sizeof(line) - used)) != 0) {
		char *end;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			break;
		used += (size_t)got;
		while ((end = memchr(line, '\n', used))) {
			log_followed(follower, line, (size_t)(end - line));
			used -= (size_t)(end + 1 - line);
			memmove(line, end + 1, used);
		}
		if (used < sizeof(line))
			continue;
		log_followed(follower, line, used);
		used = 0;
	}
	if (used)
		log_followed(follower, line, used);
	close(follower->fd);
	return NULL;
}

/**
 * log_follow() - print what another process writes, as far as it is not too much
 * @fd: the reading end of a pipe, which is closed when all others have closed theirs
 * @name: goes before each line, and stays valid
 *
 * For one pipe in the life of the process, and after log_start().  Its thread ends
 * with the others of the pipe, or with the process.
 *
 * Return: 0 or a negative errno; then @fd is the caller's.
 */
int log_follow(int fd, const char *name)
{
	static struct follower follower;
	pthread_t thread;
	int err;

	if (follower.name)
		return -EBUSY;
	follower = (struct follower){ .fd = fd, .name = name };
	err = start_thread(&thread, read_lines, &follower);
	if (!err)
		pthread_detach(thread);
	return err;
}

/* ---- start and end ---- */

/**
 * log_start() - from now on never wait, and print no flood
 *
 * In a process that forks and goes on without exec, only before that.
 */
void log_start(void)
{
	pthread_condattr_t attr;

	pthread_mutex_lock(&lock);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&idle, &attr);
	pthread_condattr_destroy(&attr);
	started = true;
	quit = false;
	start_stream(&errors);
	start_stream(&output);
	pthread_mutex_unlock(&lock);
}

static bool has_lines(const struct stream *stream)
{
	return stream->running && (stream->used || stream->writing);
}

/* Under lock, until a second has passed. */
static void wait_until_written(void)
{
	struct timespec until = clock_after_ms(FLUSH_MS);

	while (has_lines(&errors) || has_lines(&output))
		if (pthread_cond_timedwait(&idle, &lock, &until))
			break;
}

/**
 * log_flush() - wait until all is written, for a second at most
 */
void log_flush(void)
{
	pthread_mutex_lock(&lock);
	if (started)
		wait_until_written();
	pthread_mutex_unlock(&lock);
}

/* Under lock, which it lets go. */
static void stop_stream(struct stream *stream, const struct timespec *until)
{
	if (!stream->running)
		return;
	pthread_cond_signal(&stream->wake);
	while (!stream->ended)
		if (pthread_cond_timedwait(&idle, &lock, until))
			break;
	stream->running = false;
	/* One that is stuck in a write goes with the process. */
	if (!stream->ended)
		return;
	pthread_mutex_unlock(&lock);
	pthread_join(stream->thread, NULL);
	pthread_mutex_lock(&lock);
	pthread_cond_destroy(&stream->wake);
}

/**
 * log_stop() - write what is left, for a second at most, and go back to writing at once
 *
 * What could not be written in that time is lost, and so is what comes after it.
 */
void log_stop(void)
{
	struct timespec until;

	if (!started)
		return;
	pthread_mutex_lock(&lock);
	tell_left_out();
	quit = true;
	until = clock_after_ms(FLUSH_MS);
	stop_stream(&errors, &until);
	stop_stream(&output, &until);
	started = !errors.ended || !output.ended;
	pthread_mutex_unlock(&lock);
}
