/* SPDX-License-Identifier: MIT */
/*
 * wrap: functions of the C library that targets have their own of
 *
 * With --wrap=NAME the linker gives the __wrap_ function to whoever calls NAME,
 * and the C library's to whoever calls __real_NAME.  WRAPPED in the Makefile is the
 * list of them.
 */
#ifndef WRAP_H
#define WRAP_H

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <time.h>

/* watch.c */
void *__wrap_malloc(size_t size);
void *__real_malloc(size_t size);
void *__wrap_calloc(size_t nr, size_t size);
void *__real_calloc(size_t nr, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t nr, size_t size);
void *__real_reallocarray(void *old, size_t nr, size_t size);
char *__wrap_strdup(const char *text);
char *__real_strdup(const char *text);
int __wrap_eventfd(unsigned int value, int flags);
int __real_eventfd(unsigned int value, int flags);
int __wrap_timerfd_create(clockid_t clock, int flags);
int __real_timerfd_create(clockid_t clock, int flags);
int __wrap_epoll_create1(int flags);
int __real_epoll_create1(int flags);
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __real_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
int __wrap_munmap(void *at, size_t size);
int __real_munmap(void *at, size_t size);

/* fast_time.c */
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_nanosleep(clockid_t clock, int flags, const struct timespec *when,
			   struct timespec *left);
int __real_clock_nanosleep(clockid_t clock, int flags, const struct timespec *when,
			   struct timespec *left);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *when,
			   struct itimerspec *old);
int __real_timerfd_settime(int fd, int flags, const struct itimerspec *when,
			   struct itimerspec *old);
int __wrap_poll(struct pollfd *fds, nfds_t nr, int timeout);
int __real_poll(struct pollfd *fds, nfds_t nr, int timeout);
int __wrap_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout);
int __real_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
				  const struct timespec *until);
int __real_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
				  const struct timespec *until);
int __wrap_pthread_clockjoin_np(pthread_t thread, void **value, clockid_t clock,
				const struct timespec *until);
int __real_pthread_clockjoin_np(pthread_t thread, void **value, clockid_t clock,
				const struct timespec *until);

/* kernel.c */
int __wrap_ioctl(int fd, unsigned long request, ...);
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_open(const char *path, int flags, ...);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__real_fopen(const char *path, const char *mode);
/* What the functions above have to tell it: a wait, whose answer is "not ready" if it is true. */
bool kernel_poll(const struct pollfd *fds, nfds_t nr, int timeout);
void kernel_mapped(void *at, int fd);
void kernel_unmapped(void *at);

/* processes.c; what it is called with is declared in the headers of what is fuzzed. */
int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t len);
int __real_setsockopt(int fd, int level, int option, const void *value, socklen_t len);

#endif /* WRAP_H */
