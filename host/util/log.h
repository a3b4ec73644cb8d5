/* SPDX-License-Identifier: MIT */
/*
 * log: messages on stderr
 *
 * One line per call, written at once.  log_event() is silent unless verbose.
 */
#ifndef LOG_H
#define LOG_H

#include <stdbool.h>

#define PROGRAM_NAME "virtio-gpu-userptr-device"

void log_set_verbose(bool on);
/* Something the person who runs the program must know. */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* One line of --verbose. */
void log_event(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif /* LOG_H */
