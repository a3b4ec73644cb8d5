// SPDX-License-Identifier: MIT
/*
 * vu_reset: waiting for the device to let go, and going on afterwards
 *
 * A message after which the guest may have its memory back is answered when the device
 * has let go of that memory: when it has been reset.  That may take long, so it
 * is not waited for here: it is begun, the answer is kept, no further message is read
 * and no ring, and everything else goes on.  A device that takes longer than a front
 * end can wait is no reason for a false answer either: then the front end is hung up
 * on.  Whatever happened to the front end, there is no next one before the device has
 * been reset.
 *
 * Invariant: between vu_begin_reset() and vu_reset_done() no ring is active.
 *
 * Threads: the one of the server.
 */
#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "util/clock.h"
#include "vhost/vu_internal.h"

/* Between two looks at a reset that goes on. */
#define LOOK_MS 1000u

static void set_timer(struct vhost_user_server *server, unsigned int ms)
{
	struct itimerspec when = {
		.it_value = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l },
	};

	when.it_interval = when.it_value;
	timerfd_settime(server->reset_timer, 0, &when, NULL);
}

/**
 * vu_begin_reset() - have the device let go of everything
 * @server: no ring is active any more
 *
 * The device's request that the front end has carried out by now is over when the
 * device is reset: what it has mapped it takes away, with the reset, by itself.
 * One that it has not even begun with is withdrawn.
 */
void vu_begin_reset(struct vhost_user_server *server)
{
	unsigned int look = LOOK_MS;
	const char *why;

	if (server->resetting)
		return;
	server->resetting = true;
	server->reset_late = false;
	server->reset_since = clock_ms();
	if (shmem_channel_withdraw(&server->backend))
		server->ops->shmem_done(server->dev, -ECANCELED);
	why = vu_backend_read(server);
	if (why)
		server->violation = why;
	server->ops->begin_reset(server->dev);
	if (server->reset_timeout && server->reset_timeout < look)
		look = server->reset_timeout;
	set_timer(server, look);
}

/**
 * vu_reset_done() - the device has been reset
 * @opaque: the server
 */
void vu_reset_done(void *opaque)
{
	struct vhost_user_server *server = opaque;
	uint64_t ms = clock_ms() - server->reset_since;
	unsigned int i;

	set_timer(server, 0);
	server->resetting = false;
	server->reset_over = true;
	if (server->reset_late)
		log_error("the device has let go of the guest's memory now, after %llu s",
			  (unsigned long long)(ms / 1000));
	else
		log_event("device reset: done in %llu ms", (unsigned long long)ms);
	/* While the rings still are: requests were handed back. */
	vu_flush_signals(server);
	for (i = 0; i < VHOST_USER_NR_RINGS; i++)
		vu_ring_settle(&server->rings[i]);
}

/**
 * vu_reset_looked_after() - the timer has gone off
 * @server: the server
 *
 * Return: see vu_internal.h.
 */
bool vu_reset_looked_after(struct vhost_user_server *server)
{
	uint64_t ticks, busy_ms, ms;
	const char *busy;

	if (read(server->reset_timer, &ticks, sizeof(ticks)) < 0 || !server->resetting)
		return false;
	ms = clock_ms() - server->reset_since;
	if (!server->reset_timeout || ms < server->reset_timeout || server->reset_late)
		return false;
	server->reset_late = true;
	busy = server->ops->busy(server->dev, &busy_ms);
	log_error("the device has not let go of the guest's memory in %llu s (it is at: %s, for "
		  "%llu s)",
		  (unsigned long long)(ms / 1000), busy ? busy : "nothing",
		  (unsigned long long)(busy_ms / 1000));
	return true;
}
