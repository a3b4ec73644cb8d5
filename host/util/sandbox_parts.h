/* SPDX-License-Identifier: MIT */
/*
 * sandbox_parts: what the files of the sandbox have in common
 *
 * Not for others: they use util/sandbox.h.
 *
 * Threads: those of util/sandbox.h.
 */
#ifndef SANDBOX_PARTS_H
#define SANDBOX_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "util/sandbox.h"

/* What can be in force; the first ones are kinds of namespaces. */
enum sandbox_measure {
	MEASURE_USER_NS,
	MEASURE_PID_NS,
	MEASURE_MOUNT_NS,
	MEASURE_NET_NS,
	MEASURE_IPC_NS,
	MEASURE_UTS_NS,
	MEASURE_CGROUP_NS,
	MEASURE_READ_ONLY,
	MEASURE_OWN_PROC,
	MEASURE_OWN_DEV,
	MEASURE_HOMES,
	MEASURE_NO_NEW_PRIVS,
	MEASURE_NO_CAPABILITIES,
	MEASURE_NOT_DUMPABLE,
	MEASURE_SECCOMP,
	NR_MEASURES,
};

/**
 * struct sandbox_state - what is in force in one process
 * @in_force: bits of enum sandbox_measure
 * @rules: of seccomp
 * @error: why the launcher is of no use, or why there is no user namespace; an errno
 */
struct sandbox_state {
	uint32_t in_force;
	uint32_t rules;
	int32_t error;
};

static inline void sandbox_set(struct sandbox_state *state, enum sandbox_measure measure)
{
	state->in_force |= UINT32_C(1) << measure;
}

static inline bool sandbox_has(const struct sandbox_state *state, enum sandbox_measure measure)
{
	return state->in_force >> measure & 1;
}

/* ---- sandbox_filter.c ---- */

/* The second is the first with a leak checker in it, which makes a process that traces. */
enum sandbox_filter {
	FILTER_DEVICE,
	FILTER_SANITIZED_DEVICE,
	FILTER_RENDER_SERVER,
};

/* Both note in @state what they have reached. */
void sandbox_drop_privileges(struct sandbox_state *state);
/* For all threads of the process. */
void sandbox_filter_calls(enum sandbox_filter which, struct sandbox_state *state);

/* ---- sandbox_namespace.c ---- */

/* The flags for clone() of all the namespaces that this kernel has. */
int sandbox_namespace_flags(void);
/*
 * In a process that was made with @flags: make it at home there.  0 or a negative
 * errno: it has a user namespace in which it is nobody.
 */
int sandbox_enter_namespaces(int flags, unsigned int uid, unsigned int gid,
			     struct sandbox_state *state);

/* ---- sandbox_launcher.c ---- */

/**
 * struct sandbox_plan - of the launcher
 * @flags: its namespaces, for clone()
 * @confine: it, and so what it starts
 * @output: stdout and stderr of what it starts, or -1: as they are
 */
struct sandbox_plan {
	int flags;
	bool confine;
	int output;
};

/* The launcher's process id and its channel; 0 or a negative errno. */
int sandbox_launch(const struct sandbox_plan *plan, pid_t *pid, int *channel,
		   struct sandbox_state *state);
int sandbox_request(int channel, uint32_t sequence, const char *const argv[],
		    struct sandbox_server *server);

#endif /* SANDBOX_PARTS_H */
