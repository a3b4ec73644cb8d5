// SPDX-License-Identifier: MIT
/*
 * memlock: how much memory this process may lock
 *
 * Asked anew each time: limits and privileges change while a process runs.  No
 * state is kept.
 */
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "memlock.h"

/* Who has CAP_IPC_LOCK is not limited. */
static int is_privileged(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

	if (syscall(SYS_capget, &header, data))
		return 0;
	return !!(data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK));
}

/**
 * memlock_limit() - RLIMIT_MEMLOCK, as it applies to the calling process
 *
 * What other processes of the user have locked counts too, and is not known here.
 *
 * Return: bytes; UINT64_MAX for no limit.
 */
uint64_t memlock_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit))
		return UINT64_MAX;
	if (limit.rlim_cur == RLIM_INFINITY || is_privileged())
		return UINT64_MAX;
	return limit.rlim_cur;
}
