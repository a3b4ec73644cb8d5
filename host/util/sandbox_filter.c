// SPDX-License-Identifier: MIT
/*
 * sandbox_filter: privileges and system calls of a process
 *
 * Why a list of what is forbidden, not of what is allowed.  The process has code that
 * is not ours and changes under us: the C library, libvirglrenderer, and the drivers
 * of whatever GPU there is, some of which compile shaders.  A list of what they need
 * is wrong with their next version, and then a VM loses its GPU for nothing.  What
 * reaches *other processes*, makes new ones, or is a well-known way into the kernel is
 * known, and neither drivers nor C library need it.
 *
 * Forbidden calls fail with EPERM, so that a driver that tries one anyway goes on
 * without; there are two exceptions.  clone3() fails with ENOSYS: its flags are in
 * memory, where a filter cannot look, and the C library then uses clone().  A call by
 * the number of another architecture (int 0x80, x32) kills the process.
 *
 * The device itself may not make processes at all: the launcher does (sandbox.h).
 *
 * Threads: see sandbox_parts.h.
 */
#include "util/sandbox_parts.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool has_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	return syscall(SYS_capget, &header, data) || data[0].permitted || data[1].permitted ||
	       data[0].inheritable || data[1].inheritable;
}

/**
 * sandbox_drop_privileges() - this thread, and what it makes, gets no privilege any more
 * @state: notes what was reached
 *
 * Capabilities belong to threads: the process has only one.  Its memory cannot be
 * looked at by others of the same user, nor its descriptors be taken; that lasts until
 * it executes a program.
 */
void sandbox_drop_privileges(struct sandbox_state *state)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { { 0 } };
	unsigned long cap;

	/* A program that root executes would get those of the bounding set back. */
	for (cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	syscall(SYS_capset, &header, data);
	if (!has_capabilities())
		sandbox_set(state, MEASURE_NO_CAPABILITIES);
	if (!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		sandbox_set(state, MEASURE_NO_NEW_PRIVS);
	if (!prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		sandbox_set(state, MEASURE_NOT_DUMPABLE);
}

#ifdef HAVE_SECCOMP

#include <seccomp.h>

/* Nobody needs these. */
static const char *const for_nobody[] = {
	/* other processes */
	"process_vm_readv",
	"process_vm_writev",
	"process_madvise",
	"process_mrelease",
	"pidfd_getfd",
	"move_pages",
	"migrate_pages",
	"name_to_handle_at",
	"open_by_handle_at",
	/* other views of the system */
	"unshare",
	"setns",
	"mount",
	"umount",
	"umount2",
	"mount_setattr",
	"open_tree",
	"move_mount",
	"fsopen",
	"fsconfig",
	"fsmount",
	"fspick",
	"pivot_root",
	"chroot",
	"quotactl",
	"quotactl_fd",
	"fanotify_init",
	/* the kernel's less travelled roads */
	"bpf",
	"perf_event_open",
	"userfaultfd",
	"io_uring_setup",
	"io_uring_enter",
	"io_uring_register",
	"keyctl",
	"add_key",
	"request_key",
	"lookup_dcookie",
	"nfsservctl",
	"remap_file_pages",
	"modify_ldt",
	"personality",
	"uselib",
	"ustat",
	"sysfs",
	"_sysctl",
	"vm86",
	"vm86old",
	/* the machine */
	"kexec_load",
	"kexec_file_load",
	"init_module",
	"finit_module",
	"delete_module",
	"create_module",
	"reboot",
	"swapon",
	"swapoff",
	"acct",
	"syslog",
	"vhangup",
	"iopl",
	"ioperm",
	"settimeofday",
	"stime",
	"clock_settime",
	"clock_adjtime",
	"adjtimex",
	"sethostname",
	"setdomainname",
	/* whoever listens somewhere: a session's bus, a printer, a container engine */
	"connect",
	"bind",
	"listen",
};

/* The device has its launcher for these. */
static const char *const for_no_device[] = {
	"execve",
	"execveat",
};

/* And, unless it has a leak checker, it needs none of these either. */
static const char *const for_leak_checkers[] = {
	"ptrace",
	"fork",
	"vfork",
};

/* A render server gets its socket from the launcher, and makes pairs. */
static const char *const for_no_server[] = {
	"ptrace", "accept", "accept4", "pidfd_open", "pidfd_send_signal",
};

/* Which argument of clone() has the flags. */
#ifdef __s390__
#define CLONE_FLAGS_ARG 1
#else
#define CLONE_FLAGS_ARG 0
#endif

static const unsigned int namespace_flags[] = {
	CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNS,     CLONE_NEWNET,
	CLONE_NEWIPC,  CLONE_NEWUTS, CLONE_NEWCGROUP,
};

/**
 * struct filter - one that is being made
 * @context: the library's
 * @rules: that it has
 * @err: of the first rule that could not be made
 */
struct filter {
	scmp_filter_ctx context;
	uint32_t rules;
	int err;
};

/* With @nr_args conditions. */
static void forbid(struct filter *filter, const char *name, uint32_t action, unsigned int nr_args,
		   const struct scmp_arg_cmp *args)
{
	int number = seccomp_syscall_resolve_name(name), err;

	/* The library, or the architecture, has no such call. */
	if (number == __NR_SCMP_ERROR || number < 0 || filter->err)
		return;
	err = seccomp_rule_add_array(filter->context, action, number, nr_args, args);
	if (err)
		filter->err = err;
	else
		filter->rules++;
}

#define FORBID_ALL(filter, names) forbid_all(filter, names, sizeof(names) / sizeof((names)[0]))

static void forbid_all(struct filter *filter, const char *const *names, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		forbid(filter, names[i], SCMP_ACT_ERRNO(EPERM), 0, NULL);
}

static void forbid_if(struct filter *filter, const char *name, struct scmp_arg_cmp arg)
{
	forbid(filter, name, SCMP_ACT_ERRNO(EPERM), 1, &arg);
}

static void forbid_for_device(struct filter *filter, bool sanitized)
{
	FORBID_ALL(filter, for_no_device);
	if (sanitized)
		return;
	FORBID_ALL(filter, for_leak_checkers);
	/* Threads only. */
	forbid_if(filter, "clone", SCMP_CMP(CLONE_FLAGS_ARG, SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
}

static void forbid_for_server(struct filter *filter)
{
	size_t i;

	FORBID_ALL(filter, for_no_server);
	for (i = 0; i < sizeof(namespace_flags) / sizeof(namespace_flags[0]); i++)
		forbid_if(filter, "clone",
			  SCMP_CMP(CLONE_FLAGS_ARG, SCMP_CMP_MASKED_EQ, namespace_flags[i],
				   namespace_flags[i]));
	/* Typing on the terminal of whoever started the device. */
	forbid_if(filter, "ioctl", SCMP_CMP(1, SCMP_CMP_MASKED_EQ, UINT32_MAX, TIOCSTI));
	forbid_if(filter, "ioctl", SCMP_CMP(1, SCMP_CMP_MASKED_EQ, UINT32_MAX, TIOCLINUX));
}

static void set_attributes(struct filter *filter)
{
	/* In all threads or in none. */
	filter->err = seccomp_attr_set(filter->context, SCMP_FLTATR_CTL_TSYNC, 1);
	if (!filter->err)
		filter->err = seccomp_attr_set(filter->context, SCMP_FLTATR_ACT_BADARCH,
					       SCMP_ACT_KILL_PROCESS);
	/* A tree, not a list; only faster. */
	seccomp_attr_set(filter->context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
}

/**
 * sandbox_filter_calls() - forbid system calls, in all threads
 * @which: for whom
 * @state: notes what was reached
 */
void sandbox_filter_calls(enum sandbox_filter which, struct sandbox_state *state)
{
	struct filter filter = { .context = seccomp_init(SCMP_ACT_ALLOW) };

	if (!filter.context)
		return;
	set_attributes(&filter);
	FORBID_ALL(&filter, for_nobody);
	forbid(&filter, "clone3", SCMP_ACT_ERRNO(ENOSYS), 0, NULL);
	forbid_if(&filter, "socket", SCMP_CMP(0, SCMP_CMP_NE, AF_UNIX));
	if (which == FILTER_RENDER_SERVER)
		forbid_for_server(&filter);
	else
		forbid_for_device(&filter, which == FILTER_SANITIZED_DEVICE);
	if (!filter.err && !seccomp_load(filter.context)) {
		sandbox_set(state, MEASURE_SECCOMP);
		state->rules = filter.rules;
	}
	seccomp_release(filter.context);
}

#else

void sandbox_filter_calls(enum sandbox_filter which, struct sandbox_state *state)
{
	(void)which;
	(void)state;
}

#endif /* HAVE_SECCOMP */
