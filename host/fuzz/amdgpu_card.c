// SPDX-License-Identifier: MIT
/*
 * amdgpu_card: see amdgpu_card.h
 *
 * What is in submissions is in amdgpu_submit.c, what takes a submission apart; here are
 * clients, objects and jobs, and libdrm's functions for them.
 *
 * Threads: see amdgpu_card.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <amdgpu.h>
#include <amdgpu_drm.h>
#include <xf86drm.h>

#include "fuzz/amdgpu_card.h"
#include "fuzz/amdgpu_internal.h"
#include "fuzz/fuzz.h"
#include "fuzz/kernel.h"

#define PATH "/dev/dri/renderD128"
#define MEMORY ((uint64_t)1 << 30)

struct card card;

/* ---- lock ---- */

void card_lock(void)
{
	watch_pause();
	pthread_mutex_lock(&card.lock);
}

void card_unlock(const int *unused)
{
	(void)unused;
	pthread_mutex_unlock(&card.lock);
	watch_resume();
}

bool card_refuses(void)
{
	bool now = card.refuse & 1;

	card.refuse >>= 1;
	return now;
}

/* ---- clients and what they have ---- */

static int ino_of(int fd, ino_t *ino)
{
	struct stat st;

	if (fstat(fd, &st))
		return -1;
	*ino = st.st_ino;
	return 0;
}

struct client *card_client(int fd)
{
	unsigned int i;
	ino_t ino;

	if (!ino_of(fd, &ino))
		for (i = 0; i < card.nr_clients; i++)
			if (card.clients[i].ino == ino)
				return &card.clients[i];
	fuzz_oracle("AMDGPU: descriptor %d is asked, which is no client of the card", fd);
}

/* kernel.c: somebody opens what is below /dev/dri. */
static int open_card(const char *path)
{
	CARD_LOCKED;
	struct client *client = &card.clients[card.nr_clients];
	int fd;

	if (strcmp(path, PATH) || card.nr_clients == MAX_CLIENTS || card_refuses()) {
		errno = strcmp(path, PATH) ? ENOENT : ENOMEM;
		return -1;
	}
	fd = memfd_create("card", MFD_CLOEXEC);
	if (fd < 0)
		return -1;
	memset(client, 0, sizeof(*client));
	if (ino_of(fd, &client->ino)) {
		close(fd);
		return -1;
	}
	client->number = ++card.nr_clients;
	return fd;
}

bool card_has_handle(const struct client *client, uint32_t value)
{
	unsigned int i;

	for (i = 0; i < MAX_HANDLES; i++)
		if (value && client->handles[i].value == value)
			return true;
	return false;
}

struct handle *card_handle(struct client *client, uint32_t value, const char *what)
{
	unsigned int i;

	for (i = 0; i < MAX_HANDLES; i++)
		if (value && client->handles[i].value == value)
			return &client->handles[i];
	fuzz_oracle("AMDGPU: %s names handle %u, which client %u does not have", what, value,
		    client->number);
}

void card_need_ctx(const struct client *client, uint32_t id, const char *what)
{
	unsigned int i;

	for (i = 0; i < MAX_CTXS; i++)
		if (id && client->ctxs[i] == id)
			return;
	fuzz_oracle("AMDGPU: %s names context %u, which client %u does not have", what, id,
		    client->number);
}

static struct object *new_object(void)
{
	unsigned int i;

	for (i = 0; i < MAX_OBJECTS; i++) {
		if (card.objects[i].used)
			continue;
		card.objects[i] = (struct object){ .used = true, .fd = -1 };
		return &card.objects[i];
	}
	return NULL;
}

static void free_object(struct object *object)
{
	if (object->fd >= 0)
		close(object->fd);
	*object = (struct object){ .fd = -1 };
}

/* A handle for it: the one that there is, or another one. */
static int open_object(struct client *client, struct object *object, uint32_t *out)
{
	struct handle *free = NULL;
	unsigned int i;

	for (i = 0; i < MAX_HANDLES; i++) {
		if (client->handles[i].value && client->handles[i].object == object) {
			*out = client->handles[i].value;
			return 0;
		}
		if (!client->handles[i].value)
			free = &client->handles[i];
	}
	if (!free)
		return -ENOMEM;
	*free = (struct handle){ client->number * 1000 + ++client->serial, object };
	object->opens++;
	*out = free->value;
	return 0;
}

int drmCloseBufferHandle(int fd, uint32_t value)
{
	CARD_LOCKED;
	struct client *client = card_client(fd);
	struct handle *handle = card_handle(client, value, "GEM_CLOSE");
	struct object *object = handle->object;

	card_unmap_handle(client, value);
	*handle = (struct handle){ .value = 0 };
	/* What was exported, or is the guest's, can be opened again. */
	if (!--object->opens && !object->what && object->fd < 0)
		free_object(object);
	return 0;
}

static int create(struct client *client, union drm_amdgpu_gem_create *args)
{
	struct object *object;
	uint64_t size = args->in.bo_size;
	uint32_t value;
	int err;

	if (!size || size > MEMORY || !(args->in.domains & 7) || args->in.domains & ~7ull)
		return -EINVAL;
	object = card_refuses() ? NULL : new_object();
	if (!object)
		return -ENOMEM;
	object->size = size;
	err = open_object(client, object, &value);
	if (err)
		free_object(object);
	memset(args, 0, sizeof(*args));
	args->out.handle = value;
	return err;
}

static int create_userptr(struct client *client, struct drm_amdgpu_gem_userptr *args)
{
	struct object *object;
	unsigned int i;

	for (i = 0; i < MAX_OBJECTS; i++) {
		object = &card.objects[i];
		if (!object->used || !object->address || object->address != args->addr)
			continue;
		if (args->size != object->size)
			fuzz_oracle("AMDGPU: a userptr of %llu bytes, which are %llu",
				    (unsigned long long)args->size,
				    (unsigned long long)object->size);
		if (object->readonly && !(args->flags & AMDGPU_GEM_USERPTR_READONLY))
			fuzz_oracle("AMDGPU: a userptr that may be written, and must not");
		if (!(args->flags & AMDGPU_GEM_USERPTR_REGISTER))
			fuzz_oracle("AMDGPU: a userptr whose pages may go unnoticed");
		return card_refuses() ? -ENOMEM : open_object(client, object, &args->handle);
	}
	fuzz_oracle("AMDGPU: a userptr of memory that nobody gave");
}

int drmPrimeFDToHandle(int fd, int dmabuf, uint32_t *out)
{
	CARD_LOCKED;
	struct client *client = card_client(fd);
	unsigned int i;
	ino_t ino;
	int err = -EINVAL;

	for (i = 0; !ino_of(dmabuf, &ino) && i < MAX_OBJECTS; i++)
		if (card.objects[i].used && card.objects[i].ino == ino)
			err = card_refuses() ? -ENOMEM : open_object(client, &card.objects[i], out);
	errno = -err;
	return err ? -1 : 0;
}

/* A descriptor of it as a dma-buf, the object's own. */
static int make_dmabuf(struct object *object)
{
	if (object->fd >= 0)
		return 0;
	object->fd = memfd_create("dma-buf", MFD_CLOEXEC);
	if (object->fd >= 0 && !ftruncate(object->fd, (off_t)object->size) &&
	    !ino_of(object->fd, &object->ino))
		return 0;
	return -ENOMEM;
}

int drmPrimeHandleToFD(int fd, uint32_t value, uint32_t flags, int *out)
{
	CARD_LOCKED;
	struct object *object = card_handle(card_client(fd), value, "PRIME export")->object;

	if (!(flags & DRM_CLOEXEC))
		fuzz_oracle("AMDGPU: a dma-buf that children have");
	if (object->what)
		fuzz_oracle("AMDGPU: guest memory is exported again");
	errno = ENOMEM;
	if (card_refuses() || make_dmabuf(object))
		return -1;
	*out = fcntl(object->fd, F_DUPFD_CLOEXEC, 0);
	return *out < 0 ? -1 : 0;
}

/* ---- guest memory ---- */

static struct object *guest_object(uint64_t what, uint64_t size, bool readonly)
{
	struct object *object = new_object();

	fuzz_need(object, "room for guest memory");
	object->what = what;
	object->size = size;
	object->readonly = readonly;
	return object;
}

int card_guest_dmabuf(uint64_t what, uint64_t size, bool readonly)
{
	CARD_LOCKED;
	struct object *object = guest_object(what, size, readonly);

	fuzz_need(!make_dmabuf(object), "a memfd");
	return fcntl(object->fd, F_DUPFD_CLOEXEC, 0);
}

void card_guest_range(uint64_t what, uint64_t address, uint64_t size, bool readonly)
{
	CARD_LOCKED;

	guest_object(what, size, readonly)->address = address;
}

static struct object *find_guest(uint64_t what)
{
	unsigned int i;

	for (i = 0; i < MAX_OBJECTS; i++)
		if (card.objects[i].used && card.objects[i].what == what)
			return &card.objects[i];
	return NULL;
}

static bool is_reached(const struct object *object)
{
	unsigned int i;

	for (i = 0; i < MAX_JOBS; i++)
		if (card.jobs[i].fd >= 0 && card.jobs[i].reaches[object - card.objects])
			return true;
	return object->opens;
}

bool card_reaches(uint64_t what)
{
	CARD_LOCKED;
	const struct object *object = find_guest(what);

	return object && is_reached(object);
}

void card_forget(uint64_t what)
{
	CARD_LOCKED;
	struct object *object = find_guest(what);

	if (object && is_reached(object))
		fuzz_oracle("RELEASE RULE: guest memory is the guest's own again, and the GPU "
			    "reaches it");
	if (object)
		free_object(object);
}

/* ---- jobs ---- */

int card_add_job(struct client *client, const struct job *what)
{
	unsigned int i, free = MAX_JOBS;
	struct job *job;

	if (card.settled) {
		client->last = ++card.last_job;
		return 0;
	}
	for (i = 0; i < MAX_JOBS; i++)
		if (card.jobs[i].fd < 0)
			free = i;
	if (free == MAX_JOBS)
		return -ENOMEM;
	job = &card.jobs[free];
	*job = *what;
	job->fd = eventfd(0, EFD_CLOEXEC);
	if (job->fd < 0)
		return -ENOMEM;
	job->client = client;
	job->number = ++card.last_job;
	for (i = 0; i < MAX_HANDLES; i++)
		if (client->handles[i].value)
			job->reaches[client->handles[i].object - card.objects] = true;
	client->last = job->number;
	return 0;
}

struct job *card_oldest_job(void)
{
	struct job *oldest = NULL;
	unsigned int i;

	for (i = 0; i < MAX_JOBS; i++)
		if (card.jobs[i].fd >= 0 && (!oldest || card.jobs[i].number < oldest->number))
			oldest = &card.jobs[i];
	return oldest;
}

static void finish(struct job *job)
{
	uint64_t one = 1;

	fuzz_need(write(job->fd, &one, sizeof(one)) == sizeof(one), "an eventfd");
	close(job->fd);
	job->fd = -1;
}

void card_finish(unsigned int nr)
{
	CARD_LOCKED;
	struct job *job;

	while (nr-- && (job = card_oldest_job()))
		finish(job);
}

void card_settle(void)
{
	CARD_LOCKED;
	struct job *job;

	card.settled = true;
	while ((job = card_oldest_job()))
		finish(job);
}

unsigned int card_jobs(void)
{
	CARD_LOCKED;
	unsigned int i, nr = 0;

	for (i = 0; i < MAX_JOBS; i++)
		nr += card.jobs[i].fd >= 0;
	return nr;
}

/* ---- syncobjs: each client has one at most ---- */

int drmSyncobjCreate(int fd, uint32_t flags, uint32_t *handle)
{
	CARD_LOCKED;
	struct client *client = card_client(fd);

	(void)flags;
	errno = ENOMEM;
	if (card_refuses())
		return -1;
	if (client->syncobj)
		fuzz_oracle("AMDGPU: a second syncobj");
	*handle = client->syncobj = client->number * 1000;
	return 0;
}

static struct client *need_syncobj(int fd, uint32_t handle)
{
	struct client *client = card_client(fd);

	if (!handle || handle != client->syncobj)
		fuzz_oracle("AMDGPU: syncobj %u, which client %u does not have", handle,
			    client->number);
	return client;
}

int drmSyncobjDestroy(int fd, uint32_t handle)
{
	CARD_LOCKED;

	need_syncobj(fd, handle)->syncobj = 0;
	return 0;
}

int drmSyncobjExportSyncFile(int fd, uint32_t handle, int *out)
{
	CARD_LOCKED;
	struct client *client = need_syncobj(fd, handle);
	unsigned int i;

	errno = ENOMEM;
	if (card_refuses())
		return -1;
	*out = -1;
	for (i = 0; i < MAX_JOBS; i++)
		if (card.jobs[i].fd >= 0 && card.jobs[i].number == client->last)
			*out = fcntl(card.jobs[i].fd, F_DUPFD_CLOEXEC, 0);
	/* It is over. */
	if (*out < 0)
		*out = eventfd(1, EFD_CLOEXEC);
	return *out < 0 ? -1 : 0;
}

int drmSyncobjWait(int fd, uint32_t *handles, unsigned int nr, int64_t timeout, unsigned int flags,
		   uint32_t *first)
{
	CARD_LOCKED;
	struct client *client = need_syncobj(fd, handles[0]);
	struct job *job;

	(void)timeout;
	(void)flags;
	(void)first;
	if (nr != 1)
		fuzz_oracle("AMDGPU: a wait for %u syncobjs", nr);
	while ((job = card_oldest_job()) && job->number <= client->last)
		finish(job);
	return 0;
}

/* ---- the rest of libdrm ---- */

static int memory_of(struct client *client, unsigned int command, void *data)
{
	switch (command) {
	case DRM_AMDGPU_GEM_CREATE:
		return create(client, data);
	case DRM_AMDGPU_GEM_USERPTR:
		return create_userptr(client, data);
	case DRM_AMDGPU_GEM_VA:
		return card_va(client, data);
	case DRM_AMDGPU_CTX:
		return card_ctx(client, data);
	case DRM_AMDGPU_CS:
		return card_cs(client, data);
	case DRM_AMDGPU_WAIT_CS:
		return card_wait_cs(client, data);
	default:
		return card_other(client, command, data);
	}
}

int drmCommandWriteRead(int fd, unsigned long command, void *data, unsigned long size)
{
	CARD_LOCKED;
	unsigned char copy[512];
	int ret;

	if (size > sizeof(copy))
		fuzz_oracle("AMDGPU: an ioctl with %lu bytes", size);
	memcpy(copy, data, size);
	ret = memory_of(card_client(fd), (unsigned int)command, copy);
	memcpy(data, copy, size);
	return ret;
}

int drmCommandWrite(int fd, unsigned long command, void *data, unsigned long size)
{
	CARD_LOCKED;
	struct client *client = card_client(fd);

	(void)client;
	if (command != DRM_AMDGPU_INFO || size != sizeof(struct drm_amdgpu_info))
		fuzz_oracle("AMDGPU: ioctl %lu with %lu bytes", command, size);
	return card_info(data);
}

drmVersionPtr drmGetVersion(int fd)
{
	drmVersionPtr version;

	watch_pause();
	(void)card_client(fd);
	version = calloc(1, sizeof(*version));
	fuzz_need(version, "memory");
	version->version_major = 3;
	version->name = (char *)"amdgpu";
	watch_resume();
	return version;
}

void drmFreeVersion(drmVersionPtr version)
{
	free(version);
}

int amdgpu_device_initialize2(int fd, bool dedup, uint32_t *major, uint32_t *minor,
			      amdgpu_device_handle *out)
{
	CARD_LOCKED;

	if (dedup)
		fuzz_oracle("AMDGPU: contexts would have a client together");
	(void)card_client(fd);
	if (card_refuses())
		return -ENOMEM;
	*major = 3;
	*minor = 60;
	*out = (amdgpu_device_handle)&card;
	return 0;
}

int amdgpu_device_deinitialize(amdgpu_device_handle device)
{
	(void)device;
	return 0;
}

const char *amdgpu_get_marketing_name(amdgpu_device_handle device)
{
	(void)device;
	return "played";
}

int amdgpu_query_gpu_info(amdgpu_device_handle device, struct amdgpu_gpu_info *info)
{
	(void)device;
	memset(info, 0, sizeof(*info));
	return 0;
}

int amdgpu_query_buffer_size_alignment(amdgpu_device_handle device,
				       struct amdgpu_buffer_size_alignments *info)
{
	(void)device;
	info->size_local = info->size_remote = 4096;
	return 0;
}

int amdgpu_query_sw_info(amdgpu_device_handle device, enum amdgpu_sw_info what, void *value)
{
	(void)device;
	(void)what;
	memset(value, 0, 4);
	return 0;
}

/* ---- begin and end ---- */

void card_begin(uint32_t refusals)
{
	unsigned int i;

	memset(&card, 0, sizeof(card));
	pthread_mutex_init(&card.lock, NULL);
	card.refuse = refusals;
	for (i = 0; i < MAX_OBJECTS; i++)
		card.objects[i].fd = -1;
	for (i = 0; i < MAX_JOBS; i++)
		card.jobs[i].fd = -1;
	kernel_open_card = open_card;
}

void card_end(void)
{
	unsigned int i, j;

	kernel_open_card = NULL;
	for (i = 0; i < card.nr_clients; i++) {
		const struct client *client = &card.clients[i];

		for (j = 0; j < MAX_HANDLES; j++)
			if (client->handles[j].value)
				fuzz_oracle("AMDGPU: handle %u is left", client->handles[j].value);
		for (j = 0; j < MAX_CTXS; j++)
			if (client->ctxs[j])
				fuzz_oracle("AMDGPU: context %u is left", client->ctxs[j]);
	}
	if (card_jobs())
		fuzz_oracle("AMDGPU: jobs are left");
	for (i = 0; i < MAX_OBJECTS; i++)
		free_object(&card.objects[i]);
	pthread_mutex_destroy(&card.lock);
}
