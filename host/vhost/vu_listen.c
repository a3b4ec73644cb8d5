// SPDX-License-Identifier: MIT
/*
 * vu_listen: a socket at a path, for those who may connect to it
 *
 * Invariant: before listen() nobody can connect, and by then mode and group are what
 * they are to be; so there is no time in which somebody gets in who may not.  The
 * umask is left alone, for it is that of other threads, too.
 *
 * Threads: any.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vhost/vu_internal.h"

/* What --socket-group alone means. */
#define GROUP_MODE 0660

/* Whether a socket that is in the way can go: 0, or why not. */
static int remove_stale_socket(const struct sockaddr_un *addr)
{
	struct stat st;
	int fd, err = 0;

	if (lstat(addr->sun_path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* Only a refusal says that nobody is there; a full backlog says the opposite. */
	if (!connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) || errno != ECONNREFUSED)
		err = -EADDRINUSE;
	else if (unlink(addr->sun_path))
		err = -errno;
	close(fd);
	return err;
}

/* Group and mode of the file that @fd, opened with O_PATH, is. */
static int apply_access(int fd, const struct vhost_user_access *access)
{
	bool has_group = access->group != (gid_t)-1;
	int mode = access->mode;
	char path[32];

	if (has_group && fchownat(fd, "", (uid_t)-1, access->group, AT_EMPTY_PATH)) {
		log_error("the socket cannot be given to group %u: %s", (unsigned int)access->group,
			  strerror(errno));
		return -errno;
	}
	if (mode < 0 && has_group)
		mode = GROUP_MODE;
	if (mode < 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (chmod(path, (mode_t)mode)) {
		log_error("the socket cannot be given mode %04o: %s", (unsigned int)mode,
			  strerror(errno));
		return -errno;
	}
	return 0;
}

/*
 * By way of a descriptor, not of the path, where somebody who can write to its folder
 * could put something else.  What it is goes to @st.
 */
static int set_access(const char *path, const struct vhost_user_access *access, struct stat *st)
{
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int err;

	if (fd < 0)
		return -errno;
	if (fstat(fd, st))
		err = -errno;
	else if (!S_ISSOCK(st->st_mode))
		err = -EEXIST;
	else
		err = apply_access(fd, access);
	close(fd);
	return err;
}

/**
 * vu_listen_at() - make a socket
 * @path: where; a socket that nobody listens at is replaced
 * @access: who may connect
 * @st: what is there now, if it was made
 *
 * Return: the socket, which listens, or a negative errno.
 */
int vu_listen_at(const char *path, const struct vhost_user_access *access, struct stat *st)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, err;

	if (!*path || strlen(path) >= sizeof(addr.sun_path))
		return *path ? -ENAMETOOLONG : -ENOENT;
	strcpy(addr.sun_path, path);
	err = remove_stale_socket(&addr);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr))) {
		err = -errno;
		goto err_close;
	}
	err = set_access(path, access, st);
	if (!err && listen(fd, 1))
		err = -errno;
	if (!err)
		return fd;
	unlink(path);
err_close:
	close(fd);
	return err;
}
