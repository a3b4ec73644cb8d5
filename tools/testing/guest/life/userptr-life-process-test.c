// SPDX-License-Identifier: MIT
/*
 * userptr-life-process-test: other processes, and the end of the owner
 *
 * fork, exec, exit and kill, with the file open elsewhere or passed on.  Runs in
 * the guest, as root.
 *
 * Invariant: see life.h.
 */
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "life/life.h"

static int write_everywhere(void *opaque)
{
	SELF *self = opaque;

	memset(self->addr, 0x66, self->size);
	CHECK(self->addr[self->size - 1] == 0x66);
	return 0;
}

STAYS_AFTER(fork_then_child_writes, ANON)
{
	return child_result(run_child(write_everywhere, self));
}

static int read_later(void *opaque)
{
	SELF *self = opaque;
	char token;

	CHECK(read(self->file, &token, 1) == 1);
	CHECK(self->addr[0] != 0x12 && self->addr[self->size - 1] != 0x12);
	return 0;
}

STAYS_AFTER(fork_then_parent_writes, ANON)
{
	int pipes[2];
	pid_t pid;

	if (pipe(pipes))
		return -errno;
	self->file = pipes[0];
	pid = run_child(read_later, self);
	memset(self->addr, 0x12, self->size);
	if (write(pipes[1], "1", 1) != 1)
		return -errno;
	close(pipes[1]);
	return child_result(pid);
}

static int unmap_in_child(void *opaque)
{
	SELF *self = opaque;

	CHECK(!madvise(self->addr, self->size, MADV_DONTNEED));
	CHECK(!munmap(self->block, self->block_size));
	return 0;
}

STAYS_AFTER(fork_then_child_unmaps, ANON)
{
	return child_result(run_child(unmap_in_child, self));
}

STAYS_AFTER(vfork_and_exec, ANON)
{
	int status;
	pid_t pid = vfork();

	if (!pid) {
		execl("/bin/cat", "cat", "/dev/null", NULL);
		_exit(1);
	}
	return pid < 0 || waitpid(pid, &status, 0) != pid || status ? -ECHILD : 0;
}

struct ids {
	struct vg_bo bo;
	uint64_t addr;
};

static int tell_ids(SELF *self, int fd)
{
	const struct ids ids = { .bo = self->bo, .addr = (uintptr_t)self->addr };

	return write(fd, &ids, sizeof(ids)) == sizeof(ids) ? 0 : -errno;
}

static int hear_ids(SELF *self, int fd)
{
	struct ids ids;

	if (read(fd, &ids, sizeof(ids)) != sizeof(ids))
		return -EIO;
	self->bo = ids.bo;
	self->addr = (void *)(uintptr_t)ids.addr;
	return 0;
}

/* self->file is where to tell of it. */
static int register_and_exit(void *opaque)
{
	SELF *self = opaque;

	CHECK(!register_own(self));
	CHECK(!tell_ids(self, self->file));
	return 0;
}

REVOKED_BY(exit_of_the_owner_with_the_file_open_elsewhere, NOTHING)
{
	int pipes[2], ret;
	pid_t pid;

	if (pipe(pipes))
		return -errno;
	self->file = pipes[1];
	pid = run_child(register_and_exit, self);
	ret = hear_ids(self, pipes[0]);
	close(pipes[0]);
	return ret ?: child_result(pid);
}

static int register_and_wait(void *opaque)
{
	SELF *self = opaque;

	CHECK(!register_own(self));
	CHECK(!tell_ids(self, self->file));
	pause();
	return 1;
}

REVOKED_BY(kill_of_the_owner_with_the_file_open_elsewhere, NOTHING)
{
	int pipes[2], ret;
	pid_t pid;

	if (pipe(pipes))
		return -errno;
	self->file = pipes[1];
	pid = run_child(register_and_wait, self);
	ret = hear_ids(self, pipes[0]);
	close(pipes[0]);
	kill(pid, SIGKILL);
	return ret ?: child_result(pid) == -SIGKILL ? 0 : -ECHILD;
}

/* A file of its own, of which the parent gets a descriptor. */
static int register_pass_and_exit(void *opaque)
{
	SELF *self = opaque;
	struct region region;
	struct vg vg;

	CHECK(!region_scattered(&region, PAGES));
	CHECK(!vg_open(&vg, self->session.node, 1));
	CHECK(!vg_userptr_create(vg.fd, region.addr, region.size, 0, &self->bo));
	CHECK(!send_fd(self->file, vg.fd));
	CHECK(!tell_ids(self, self->file));
	return 0;
}

TEST_F(life, exit_of_the_owner_after_passing_the_file_over_a_socket)
{
	int socks[2], fd;
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	self->file = socks[1];
	pid = run_child(register_pass_and_exit, self);
	fd = receive_fd(socks[0]);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, hear_ids(self, socks[0]));
	EXPECT_EQ(0, child_result(pid));
	EXPECT_EQ(0, vg_userptr_wait(fd, self->bo.handle, RELEASED, patience()));
	EXPECT_EQ(0, held(self));
	EXPECT_EQ(1, destroyed(self));
	EXPECT_EQ(self->session.pins, pins_outstanding());
	EXPECT_EQ(0, vg_bo_close(fd, self->bo.handle));
	close(socks[0]);
	close(fd);
}

static int register_and_exec(void *opaque)
{
	SELF *self = opaque;

	/* What is executed has the file, and waits for input. */
	CHECK(!fcntl(self->session.vg.fd, F_SETFD, 0));
	CHECK(!register_own(self));
	CHECK(!tell_ids(self, self->file));
	execl("/bin/cat", "cat", NULL);
	return 1;
}

TEST_F(life, exec_with_the_file_kept)
{
	int pipes[2], input[2];
	pid_t pid;

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, pipe2(input, O_CLOEXEC));
	ASSERT_EQ(STDIN_FILENO, dup2(input[0], STDIN_FILENO));
	self->file = pipes[1];
	pid = run_child(register_and_exec, self);
	ASSERT_EQ(0, hear_ids(self, pipes[0]));
	expect_revoked(_metadata, self);
	/* It is still there. */
	EXPECT_EQ(0, kill(pid, 0));
	EXPECT_EQ(0, waitpid(pid, NULL, WNOHANG));
	close(input[1]);
	EXPECT_EQ(0, child_result(pid));
	close(pipes[0]);
}

/* The heir of a file whose owner has gone: old handles are dead, new ones work. */
static int heir(SELF *self, int go, int done)
{
	struct vg *vg = &self->session.vg;
	struct vg_bo old = self->bo;
	char token;

	/* The end of the owner is the end of this pipe. */
	CHECK(read(go, &token, 1) == 0);
	CHECK(!vg_userptr_wait(vg->fd, old.handle, RELEASED, patience()));
	CHECK(!register_own(self));
	CHECK(same_digest(vg, self->bo.res, self->addr, PAGES * PAGE));
	CHECK(!vg_bo_close(vg->fd, self->bo.handle));
	CHECK(!vg_bo_close(vg->fd, old.handle));
	CHECK(!wait_no_resources(vg, patience()));
	CHECK(write(done, "1", 1) == 1);
	return 0;
}

static int owner_with_heir(void *opaque)
{
	SELF *self = opaque;
	int go[2];
	pid_t pid;

	CHECK(!pipe(go));
	CHECK(!register_own(self));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		close(go[1]);
		_exit(heir(self, go[0], self->file));
	}
	return 0;
}

TEST_F(life, child_uses_an_inherited_file_after_its_parent)
{
	struct pollfd pfd = { .events = POLLIN };
	int pipes[2];
	char token;

	ASSERT_EQ(0, pipe(pipes));
	self->file = pipes[1];
	EXPECT_EQ(0, child_result(run_child(owner_with_heir, self)));
	close(pipes[1]);
	self->file = -1;
	pfd.fd = pipes[0];
	ASSERT_EQ(1, poll(&pfd, 1, VG_TIMEOUT_MS));
	EXPECT_EQ(1, read(pipes[0], &token, 1));
	close(pipes[0]);
	EXPECT_EQ(2, destroyed(self));
}

TEST_HARNESS_MAIN
