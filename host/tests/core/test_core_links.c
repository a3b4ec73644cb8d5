// SPDX-License-Identifier: MIT
/*
 * test_core_links: the core of userptr resources in another VMM
 *
 * This program is linked with libuserptr-core.a and nothing else of the device,
 * as a VMM that has rings, a virtio-gpu and renderers of its own would be.  So
 * that it links is half of the test; the other half is that it works.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_gpu_userptr.h>

#include "gpu/userptr.h"
#include "memory/guest_memory.h"
#include "memory/memory_limits.h"
#include "memory/run_list.h"

#define PAGE 4096ull
#define RAM_BASE 0x100000000ull
#define RAM_PAGES 64
#define ID 5
#define OK VIRTIO_GPU_RESP_OK_NODATA

/**
 * struct vmm - the little that the core asks of a VMM
 * @gm: guest memory
 * @quotas: what it may take
 * @core: the core
 * @destroyed: cookie of the last destroyed(), or NULL
 */
struct vmm {
	struct guest_memory *gm;
	struct memory_quotas quotas;
	struct userptr_core *core;
	void *destroyed;
};

static bool id_in_use(void *opaque, uint32_t id)
{
	(void)opaque;
	return id == ID + 1;
}

static void destroyed(void *opaque, void *cookie)
{
	struct vmm *vmm = opaque;

	assert_null(vmm->destroyed);
	vmm->destroyed = cookie;
}

/* RAM whose page n is full of the byte n. */
static void set_memory(struct guest_memory *gm)
{
	struct guest_region region = { .guest_addr = RAM_BASE, .size = RAM_PAGES * PAGE };
	unsigned char page[PAGE];
	unsigned int i;

	region.fd = memfd_create("ram", MFD_CLOEXEC);
	assert_true(region.fd >= 0);
	for (i = 0; i < RAM_PAGES; i++) {
		memset(page, (int)i, sizeof(page));
		assert_int_equal(write(region.fd, page, sizeof(page)), sizeof(page));
	}
	assert_int_equal(guest_memory_set(gm, &region, 1), 0);
	close(region.fd);
}

static void vmm_start(struct vmm *vmm)
{
	static const struct userptr_limits limits = {
		.max_size = RAM_PAGES * PAGE,
		.max_segments = 64,
		.max_entries = 16,
		.rdonly = true,
	};
	static const struct memory_limits sums = { .resources = 4 };
	struct userptr_host host = {
		.opaque = vmm,
		.id_in_use = id_in_use,
		.destroyed = destroyed,
		.quotas = &vmm->quotas,
	};

	memset(vmm, 0, sizeof(*vmm));
	vmm->gm = guest_memory_new();
	assert_non_null(vmm->gm);
	set_memory(vmm->gm);
	memory_quotas_init(&vmm->quotas, &sums, vmm->gm);
	vmm->core = userptr_core_new(&limits, &host, vmm->gm);
	assert_non_null(vmm->core);
}

static void vmm_stop(struct vmm *vmm)
{
	userptr_core_free(vmm->core);
	guest_memory_free(vmm->gm);
}

static struct virtio_gpu_mem_entry entry(unsigned int page, unsigned int pages)
{
	return (struct virtio_gpu_mem_entry){
		.addr = htole64(RAM_BASE + page * PAGE),
		.length = htole32((uint32_t)(pages * PAGE)),
	};
}

static uint32_t create(struct vmm *vmm, uint32_t id)
{
	struct {
		struct virtio_gpu_resource_create_userptr cmd;
		struct virtio_gpu_mem_entry entries[2];
	} req = {
		.cmd = {
			.hdr.type = htole32(VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR),
			.resource_id = htole32(id),
			.size = htole64(6 * PAGE),
			.nr_entries = htole32(2),
		},
		.entries = { entry(40, 1), entry(3, 2) },
	};

	return userptr_create(vmm->core, &req, sizeof(req), NULL);
}

static uint32_t add_pages(struct vmm *vmm, uint32_t id)
{
	struct {
		struct virtio_gpu_resource_add_userptr_pages cmd;
		struct virtio_gpu_mem_entry entries[2];
	} req = {
		.cmd = {
			.hdr.type = htole32(VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES),
			.resource_id = htole32(id),
			.nr_entries = htole32(2),
			.offset = htole64(3 * PAGE),
		},
		/* The first one goes on where the last command's ended. */
		.entries = { entry(5, 2), entry(63, 1) },
	};

	return userptr_add_pages(vmm->core, &req, sizeof(req), NULL);
}

static uint32_t destroy_check(struct vmm *vmm, uint32_t id, struct userptr **userptr)
{
	struct virtio_gpu_resource_destroy_userptr cmd = {
		.hdr.type = htole32(VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR),
		.resource_id = htole32(id),
	};

	return userptr_destroy_check(vmm->core, &cmd, sizeof(cmd), userptr);
}

/* Byte for byte, as a renderer of that VMM would walk it. */
static void check_pages(const struct backing *backing, const unsigned char *pages, unsigned int nr)
{
	unsigned int i;

	assert_int_equal(backing->size, nr * PAGE);
	for (i = 0; i < nr; i++) {
		const unsigned char *at;
		uint64_t len;

		at = run_list_piece(&backing->runs, i * PAGE, &len);
		assert_non_null(at);
		assert_true(len >= PAGE);
		assert_int_equal(at[0], pages[i]);
		assert_int_equal(at[PAGE - 1], pages[i]);
	}
}

static void a_resource_lives_and_ends(void **state)
{
	static const unsigned char pages[] = { 40, 3, 4, 5, 6, 63 };
	struct userptr_totals totals;
	struct userptr *userptr, *again;
	struct backing *backing;
	struct vmm vmm;
	int cookie;

	(void)state;
	vmm_start(&vmm);
	assert_int_equal(create(&vmm, ID), OK);
	userptr = userptr_find(vmm.core, ID);
	assert_non_null(userptr);
	assert_int_equal(userptr_state(userptr), USERPTR_HALF_BUILT);
	assert_int_equal(add_pages(&vmm, ID), OK);
	assert_int_equal(userptr_state(userptr), USERPTR_USABLE);
	backing = userptr_backing(userptr);
	assert_int_equal(backing->id, ID);
	assert_int_equal(backing->runs.nr, 3);
	check_pages(backing, pages, sizeof(pages));

	/* Somebody uses it: the end is told when that is over. */
	backing_hold(backing);
	assert_int_equal(destroy_check(&vmm, ID, &again), OK);
	assert_ptr_equal(again, userptr);
	userptr_destroy_begin(userptr, &cookie);
	assert_true(backing_stopped(backing));
	userptr_destroy_end(userptr);
	assert_null(vmm.destroyed);
	backing_release(backing);
	assert_ptr_equal(vmm.destroyed, &cookie);
	assert_null(userptr_find(vmm.core, ID));
	userptr_core_totals(vmm.core, &totals);
	assert_int_equal(totals.resources, 0);
	assert_int_equal(totals.runs, 0);
	assert_int_equal(totals.created, 1);
	vmm_stop(&vmm);
}

static void what_is_wrong_is_refused(void **state)
{
	struct userptr *userptr;
	struct vmm vmm;

	(void)state;
	vmm_start(&vmm);
	assert_int_equal(create(&vmm, ID + 1), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
	assert_int_equal(add_pages(&vmm, ID), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
	assert_int_equal(destroy_check(&vmm, ID, &userptr),
			 VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
	/* A half-built one goes with the core. */
	assert_int_equal(create(&vmm, ID), OK);
	assert_int_equal(create(&vmm, ID), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
	vmm_stop(&vmm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_resource_lives_and_ends),
		cmocka_unit_test(what_is_wrong_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
