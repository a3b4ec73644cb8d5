// SPDX-License-Identifier: MIT
/*
 * holders: see holders.h
 */
#include "memory/holders.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "memory/view.h"
#include "util/process.h"

/* Of our own; a device has one for each context, and few others. */
#define MAX_PROCESSES 2048

/* Append "123 (name)" to @text. */
static void name_process(char *text, size_t size, pid_t pid)
{
	size_t used = strlen(text);
	char path[64], name[32] = "?";
	FILE *comm;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	comm = fopen(path, "re");
	if (comm) {
		if (fgets(name, sizeof(name), comm))
			name[strcspn(name, "\n")] = 0;
		fclose(comm);
	}
	snprintf(text + used, size - used, "%s%d (%s)", used ? ", " : "", (int)pid, name);
}

static void name_if_held(const struct memory_view *view, char *text, size_t size, pid_t pid)
{
	if (memory_view_held_by(view, pid))
		name_process(text, size, pid);
}

/* The number that a name in /proc is, or 0. */
static pid_t number_of(const struct dirent *entry)
{
	char *end;
	long number = strtol(entry->d_name, &end, 10);

	return number > 0 && !*end ? (pid_t)number : 0;
}

/* This process, and all that came of it. */
static void name_ours(const struct memory_view *view, char *text, size_t size)
{
	struct process_list ours;
	size_t i;

	name_if_held(view, text, size, getpid());
	/* Of a list that could not be completed there is the beginning. */
	(void)process_descendants(getpid(), &ours);
	for (i = 0; i < ours.nr && i < MAX_PROCESSES; i++)
		name_if_held(view, text, size, ours.pids[i]);
	process_list_destroy(&ours);
}

static void name_everybody(const struct memory_view *view, char *text, size_t size)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	while (proc && (entry = readdir(proc)))
		if (number_of(entry))
			name_if_held(view, text, size, number_of(entry));
	if (proc)
		closedir(proc);
}

/**
 * name_holders() - who has a view
 * @view: it
 * @everybody: look into all processes that may be looked into
 * @text: where the names go
 * @size: bytes of that
 */
void name_holders(const struct memory_view *view, bool everybody, char *text, size_t size)
{
	text[0] = 0;
	/* A kernel may not tell who has started whom (CONFIG_PROC_CHILDREN). */
	if (everybody || access("/proc/thread-self/children", R_OK))
		name_everybody(view, text, size);
	else
		name_ours(view, text, size);
	if (!text[0])
		snprintf(text, size, "%s",
			 everybody ? "no process that can be looked at" :
				     "none of our processes that can be looked at");
}
