/* SPDX-License-Identifier: MIT */
/*
 * call_limit: calls that wait for a socket, made to return
 *
 * libvirglrenderer waits for the render server and for workers over sockets, and
 * has no limit for how long.  While a call is limited and has not returned in time,
 * the socket is shut down, and whoever waits for it gets an error.
 *
 * Threads: begin and end on one thread; the limit has one of its own.
 */
#ifndef CALL_LIMIT_H
#define CALL_LIMIT_H

#include <stdbool.h>

struct call_limit;

/* 0 or a negative errno. */
int call_limit_new(struct call_limit **out);
void call_limit_free(struct call_limit *limit);
/*
 * What follows, until call_limit_end(), may wait for @socket; after @limit_ms the
 * socket is shut down.
 */
void call_limit_begin(struct call_limit *limit, int socket, unsigned int limit_ms);
/* Whether it was too long. */
bool call_limit_end(struct call_limit *limit);

#endif /* CALL_LIMIT_H */
