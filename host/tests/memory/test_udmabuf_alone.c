// SPDX-License-Identifier: MIT
/*
 * test_udmabuf_alone: whoever can reach a dma-buf counts, until it cannot
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/dma-buf.h>

#include "memory/backing.h"
#include "memory/release.h"
#include "memory/run_list.h"
#include "memory/udmabuf.h"
#include "tests/memory/udmabuf_test.h"
#include "tests/memory/vgem_test.h"
#include "tests/util/capture.h"

static void send_fd(int socket, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	assert_int_equal(sendmsg(socket, &msg, 0), 1);
}

static int receive_fd(int socket)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	int fd;

	assert_int_equal(recvmsg(socket, &msg, MSG_CMSG_CLOEXEC), 1);
	assert_non_null(CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

/* Everything that can have it, one after the other; each counts until it goes. */
static void whoever_has_it_counts(void **state)
{
	struct bench b = bench(16);
	struct backing backing = reversed(b.gm, 8);
	struct udmabuf_view *view = view_of(&b, &backing);
	int fd, pair[2];
	unsigned char *at;

	(void)state;
	fd = own_fd(view);
	assert_false(udmabuf_view_alone(view));
	close(fd);
	assert_true(udmabuf_view_alone(view));

	/* Sent, and received by nobody yet. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	fd = own_fd(view);
	send_fd(pair[0], fd);
	close(fd);
	assert_false(udmabuf_view_alone(view));
	fd = receive_fd(pair[1]);
	assert_false(udmabuf_view_alone(view));
	close(fd);
	assert_true(udmabuf_view_alone(view));
	/* Sent, and never received. */
	fd = own_fd(view);
	send_fd(pair[0], fd);
	close(fd);
	assert_false(udmabuf_view_alone(view));
	close(pair[0]);
	assert_false(udmabuf_view_alone(view));
	close(pair[1]);
	assert_true(udmabuf_view_alone(view));

	/* A mapping without a descriptor, also of a part of it only. */
	fd = own_fd(view);
	at = map(fd, 8);
	close(fd);
	at[0] = 1;
	assert_false(udmabuf_view_alone(view));
	munmap(at, 7 * PAGE);
	assert_false(udmabuf_view_alone(view));
	munmap(at + 7 * PAGE, PAGE);
	assert_true(udmabuf_view_alone(view));

	udmabuf_view_free(view, NULL, NULL);
	run_list_destroy(&backing.runs);
	finish(&b);
}

/**
 * struct child - a process that has what it was forked with
 * @pid: it
 * @end: it ends when this is closed
 */
struct child {
	pid_t pid;
	int end;
};

/* A child that has @fd, or if @mapped a mapping of it, but no other descriptor. */
static struct child child_with(int fd, bool mapped)
{
	int ready[2], end[2];
	struct child child;
	char byte;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	assert_int_equal(pipe2(end, O_CLOEXEC), 0);
	child.pid = fork();
	assert_true(child.pid >= 0);
	if (!child.pid) {
		if (mapped && mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED)
			_exit(1);
		if (dup2(ready[1], 3) != 3 || dup2(end[0], 4) != 4)
			_exit(1);
		if (!mapped && dup2(fd, 5) != 5)
			_exit(1);
		close_range(mapped ? 5 : 6, ~0u, 0);
		_exit(write(3, "", 1) != 1 || read(4, &byte, 1) != 0);
	}
	close(ready[1]);
	close(end[0]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	child.end = end[1];
	return child;
}

static void child_ends(struct child *child)
{
	int status;

	close(child->end);
	assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
	assert_int_equal(status, 0);
}

static void other_processes_count(void **state)
{
	struct bench b = bench(16);
	struct backing backing = reversed(b.gm, 4);
	struct udmabuf_view *view = view_of(&b, &backing);
	struct child child;
	int fd, i, status;

	(void)state;
	for (i = 0; i < 2; i++) {
		fd = own_fd(view);
		child = child_with(fd, i);
		assert_true(udmabuf_view_held_by(view, child.pid));
		assert_true(udmabuf_view_held_by(view, getpid()));
		close(fd);
		assert_false(udmabuf_view_alone(view));
		assert_true(udmabuf_view_held_by(view, child.pid));
		/* The view's own descriptor is not what is asked for. */
		assert_false(udmabuf_view_held_by(view, getpid()));
		child_ends(&child);
		assert_true(udmabuf_view_alone(view));
		assert_false(udmabuf_view_held_by(view, child.pid));
	}
	/* Our own mapping, and a child that is killed with one. */
	fd = own_fd(view);
	child = child_with(fd, true);
	close(fd);
	assert_false(udmabuf_view_held_by(view, getpid()));
	assert_int_equal(kill(child.pid, SIGKILL), 0);
	assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
	close(child.end);
	assert_true(udmabuf_view_alone(view));
	udmabuf_view_free(view, NULL, NULL);
	run_list_destroy(&backing.runs);
	finish(&b);
}

enum { JUGGLES = 1000 };

/* Send it on, then unmap and close it: somebody has it until the last round. */
static void juggle(int socket, bool begins, int fd, atomic_bool *over)
{
	unsigned char *at;
	unsigned int i;

	if (!begins)
		close(fd);
	for (i = 0; i < JUGGLES; i++) {
		if (!begins || i)
			fd = receive_fd(socket);
		at = map(fd, 1);
		at[0]++;
		if (!begins && i == JUGGLES - 1)
			break;
		send_fd(socket, fd);
		close(fd);
		munmap(at, PAGE);
	}
	/* The one that did not begin is the last who has it. */
	if (!begins)
		atomic_store(over, true);
	_exit(0);
}

/* It goes to and fro between two processes, and there is no moment to slip through. */
static void moving_is_never_alone(void **state)
{
	struct bench b = bench(4);
	struct backing backing = reversed(b.gm, 1);
	struct udmabuf_view *view = view_of(&b, &backing);
	atomic_bool *over =
		mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int fd = own_fd(view), pair[2], i, status;
	unsigned int looks = 0;
	pid_t pids[2];

	(void)state;
	assert_ptr_not_equal(over, MAP_FAILED);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	for (i = 0; i < 2; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (!pids[i]) {
			/* The view's own descriptor is not to be had here. */
			if (dup2(pair[i], 3) != 3 || dup2(fd, 4) != 4)
				_exit(1);
			close_range(5, ~0u, 0);
			juggle(3, !i, 4, over);
		}
	}
	close(fd);
	close(pair[0]);
	close(pair[1]);
	while (!udmabuf_view_alone(view))
		looks++;
	assert_true(atomic_load(over));
	assert_true(looks > 0);
	for (i = 0; i < 2; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	munmap(over, PAGE);
	udmabuf_view_free(view, NULL, NULL);
	run_list_destroy(&backing.runs);
	finish(&b);
}

/* Whoever has it can set locks, which stay with the file, and its name. */
static void count_cannot_be_hidden(void **state)
{
	struct bench b = bench(4);
	struct backing backing = reversed(b.gm, 1);
	struct udmabuf_view *view = view_of(&b, &backing);
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
	int fd = own_fd(view);

	(void)state;
	assert_int_equal(ioctl(fd, DMA_BUF_SET_NAME_B, "x\ncount:\t1\n"), 0);
	assert_false(udmabuf_view_alone(view));
	for (lock.l_start = 0; lock.l_start < 400; lock.l_start += 2)
		assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	assert_false(udmabuf_view_alone(view));
	close(fd);
	assert_true(udmabuf_view_alone(view));
	udmabuf_view_free(view, NULL, NULL);
	run_list_destroy(&backing.runs);
	finish(&b);
}

/* Pages cannot be pinned through a mapping, so none outlives it (see the source). */
static void mapping_cannot_be_pinned(void **state)
{
	struct bench b = bench(4);
	struct backing backing = reversed(b.gm, 1);
	struct udmabuf_view *view = view_of(&b, &backing);
	int fd = own_fd(view), pipes[2];
	unsigned char *at = map(fd, 1);
	struct iovec remote = { at, 8 }, local;
	char buffer[8];

	(void)state;
	at[0] = 1;
	local = (struct iovec){ buffer, sizeof(buffer) };
	assert_int_equal(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(vmsplice(pipes[1], &remote, 1, 0), -1);
	assert_int_equal(errno, EFAULT);
	close(pipes[0]);
	close(pipes[1]);
	munmap(at, PAGE);
	close(fd);
	assert_true(udmabuf_view_alone(view));
	udmabuf_view_free(view, NULL, NULL);
	run_list_destroy(&backing.runs);
	finish(&b);
}

/**
 * struct keeper - a process that does not let go by itself
 * @child: it
 * @evicted: times it was asked for
 * @gone: cookie of gone()
 */
struct keeper {
	struct child child;
	unsigned int evicted;
	void *gone;
};

static void keeper_evict(void *opaque, struct backing *backing, bool force)
{
	struct keeper *keeper = opaque;

	assert_int_equal(backing->id, 7);
	keeper->evicted++;
	if (force)
		kill(keeper->child.pid, SIGKILL);
}

static void keeper_gone(void *opaque, void *cookie)
{
	struct keeper *keeper = opaque;

	keeper->gone = cookie;
}

/* With release, and a process that keeps a mapping until it is ended. */
static void release_ends_a_keeper(void **state)
{
	struct bench b = bench(16);
	struct backing backing = reversed(b.gm, 4);
	struct udmabuf_view *view = view_of(&b, &backing);
	struct keeper keeper = { .evicted = 0 };
	struct release_host host = { .opaque = &keeper,
				     .evict = keeper_evict,
				     .gone = keeper_gone };
	struct release *release;
	char holder[64];
	struct capture c;
	int fd, status;

	(void)state;
	assert_int_equal(release_new(&host, 20, &release), 0);
	fd = own_fd(view);
	keeper.child = child_with(fd, true);
	close(fd);
	capture_begin();
	assert_false(release_begin(release, &backing, udmabuf_view_base(view), &keeper));
	while (!keeper.gone) {
		struct pollfd ready = { .fd = release_fd(release), .events = POLLIN };

		assert_int_equal(poll(&ready, 1, 10000), 1);
		release_dispatch(release);
	}
	capture_end(&c);
	assert_ptr_equal(keeper.gone, &keeper);
	assert_in_range(keeper.evicted, 2, 20);
	snprintf(holder, sizeof(holder), "held by %d (", (int)keeper.child.pid);
	assert_in_range(captured(&c, holder), 2, 3);
	assert_int_equal(waitpid(keeper.child.pid, &status, 0), keeper.child.pid);
	close(keeper.child.end);
	release_free(release);
	run_list_destroy(&backing.runs);
	finish(&b);
}

/* A guest that has used up all descriptors must get its answers all the same. */
static void alone_without_a_free_descriptor(void **state)
{
	struct bench b = bench(16);
	struct backing backing = reversed(b.gm, 1);
	struct udmabuf_view *view = view_of(&b, &backing);
	bool alone[3], held;
	struct rlimit old, none;
	unsigned int i;
	int other;

	(void)state;
	other = own_fd(view);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ (rlim_t)fcntl(0, F_DUPFD_CLOEXEC, 0), old.rlim_max };
	close((int)none.rlim_cur);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	held = !udmabuf_view_alone(view);
	/* In its place, so that there is none to spare. */
	assert_int_equal(dup2(0, other), other);
	for (i = 0; i < 3; i++)
		alone[i] = udmabuf_view_alone(view);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_true(held);
	assert_true(alone[0] && alone[1] && alone[2]);
	close(other);
	udmabuf_view_free(view, NULL, NULL);
	run_list_destroy(&backing.runs);
	finish(&b);
}

/* The reservation object, with vgem's fences */

/*
 * An import counts although neither a descriptor nor a mapping is left, and work
 * that outlives the import is seen in the reservation object.
 */
static void imports_and_fences_count(void **state)
{
	struct udmabuf_view *view;
	struct prime_arg prime = { 0 };
	struct close_arg gem = { 0 };
	struct fence_attach_arg attach = { 0 };
	struct fence_signal_arg signal = { 0 };
	struct backing backing;
	struct bench b;
	int i, vgem;

	(void)state;
	need_udmabuf();
	vgem = open_vgem();
	b = bench(16);
	backing = reversed(b.gm, 8);
	view = view_of(&b, &backing);
	/* Work that reads, then work that writes. */
	for (i = 0; i < 2; i++) {
		prime.fd = own_fd(view);
		assert_int_equal(ioctl(vgem, DRM_PRIME_FD_TO_HANDLE, &prime), 0);
		close(prime.fd);
		assert_false(udmabuf_view_alone(view));
		assert_false(udmabuf_view_held_by(view, getpid()));
		attach.handle = prime.handle;
		attach.flags = i ? VGEM_FENCE_WRITE : 0;
		assert_int_equal(ioctl(vgem, VGEM_FENCE_ATTACH, &attach), 0);
		gem.handle = prime.handle;
		assert_int_equal(ioctl(vgem, DRM_GEM_CLOSE, &gem), 0);
		assert_false(udmabuf_view_alone(view));
		assert_false(udmabuf_view_alone(view));
		signal.fence = attach.out_fence;
		assert_int_equal(ioctl(vgem, VGEM_FENCE_SIGNAL, &signal), 0);
		assert_true(udmabuf_view_alone(view));
	}
	udmabuf_view_free(view, NULL, NULL);
	run_list_destroy(&backing.runs);
	finish(&b);
	close(vgem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whoever_has_it_counts),
		cmocka_unit_test(other_processes_count),
		cmocka_unit_test(moving_is_never_alone),
		cmocka_unit_test(count_cannot_be_hidden),
		cmocka_unit_test(mapping_cannot_be_pinned),
		cmocka_unit_test_teardown(release_ends_a_keeper, give_up),
		cmocka_unit_test_teardown(alone_without_a_free_descriptor, give_up),
		cmocka_unit_test(imports_and_fences_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
