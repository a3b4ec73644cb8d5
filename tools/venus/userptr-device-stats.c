// SPDX-License-Identifier: MIT
/*
 * userptr-device-stats: what the device has seen and holds, "name value" a line
 *
 * Asks through a loopback context, so the device has to run with --loopback.
 * For scripts that look at a number before and after a program has run.
 */
#include <stdio.h>
#include <string.h>

#include "venus-device.h"

static void print(const struct loopback_stats *stats)
{
	printf("userptr_resources %llu\n", stats->userptr_resources);
	printf("userptr_segments %llu\n", stats->userptr_segments);
	printf("userptr_bytes %llu\n", stats->userptr_bytes);
	printf("userptr_created %llu\n", stats->userptr_created);
	printf("userptr_destroyed %llu\n", stats->userptr_destroyed);
	printf("contexts %llu\n", stats->contexts);
	printf("errors %llu\n", stats->errors);
}

int main(void)
{
	struct loopback_stats stats;
	char node[64];
	struct vg vg;
	int ret;

	ret = venus_node(node, sizeof(node));
	if (!ret)
		ret = vg_open(&vg, node, 1);
	if (!ret) {
		ret = vg_stats(&vg, &stats);
		vg_close(&vg);
	}
	if (ret) {
		fprintf(stderr, "userptr-device-stats: %s\n", strerror(-ret));
		return 1;
	}
	print(&stats);
	return 0;
}
