// SPDX-License-Identifier: MIT
/*
 * guest-module: load and unload kernel modules in a guest without kmod
 *
 *	guest-module load FILE...
 *	guest-module unload NAME...
 *
 * Invariant: the first module that cannot be loaded or unloaded ends it, with
 * its name and the reason on stderr and exit status 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (syscall(SYS_finit_module, fd, "", 0))
		ret = -errno;
	close(fd);
	return ret;
}

static int unload(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

static int report(const char *what, const char *name, int ret)
{
	if (ret)
		fprintf(stderr, "guest-module: %s %s: %s\n", what, name, strerror(-ret));
	return ret;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	int ret = 0;
	int i;

	if (strcmp(what, "load") && strcmp(what, "unload")) {
		fprintf(stderr, "usage: guest-module load FILE... | unload NAME...\n");
		return 2;
	}
	for (i = 2; i < argc && !ret; i++) {
		if (!strcmp(what, "load"))
			ret = report(what, argv[i], load(argv[i]));
		else
			ret = report(what, argv[i], unload(argv[i]));
	}
	return ret ? 1 : 0;
}
