// SPDX-License-Identifier: MIT
/*
 * test_gpu_hostile: anything at all is answered, once
 */
#include "tests/gpu/device_test.h"

static uint64_t fuzz_state;

static uint32_t fuzz(uint32_t below)
{
	fuzz_state ^= fuzz_state << 13;
	fuzz_state ^= fuzz_state >> 7;
	fuzz_state ^= fuzz_state << 17;
	return (uint32_t)(fuzz_state >> 11) % below;
}

static size_t fuzz_submit(unsigned char *cmd)
{
	struct {
		struct virtio_gpu_cmd_submit cmd;
		struct loopback_submit head;
		struct loopback_command c[2];
	} submit = {
		.cmd = { .hdr = header(VIRTIO_GPU_CMD_SUBMIT_3D, 1 + fuzz(3)),
			 .size = htole32(sizeof(submit) - sizeof(submit.cmd)) },
		.head = { .magic = htole32(LOOPBACK_MAGIC),
			  .nr_commands = htole32(2),
			  .status_res = htole32(fuzz(6)),
			  .status_offset = htole64(64) },
		.c = { op(1 + fuzz(5), 7, 1 + fuzz(5), fuzz(4096), 1 + fuzz(5), fuzz(4096),
			  fuzz(60 * PAGE)),
		       op(1 + fuzz(5), 7, 1 + fuzz(5), fuzz(4096), 1 + fuzz(5), fuzz(4096),
			  fuzz(4096)) },
	};

	memcpy(cmd, &submit, sizeof(submit));
	return sizeof(submit);
}

/* A valid command of some kind on few ids. */
static size_t fuzz_base(unsigned char *cmd)
{
	static const uint32_t types[] = {
		VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE,	 VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE,
		VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE,	 VIRTIO_GPU_CMD_RESOURCE_UNREF,
		VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR, VIRTIO_GPU_CMD_GET_CAPSET_INFO,
	};
	struct virtio_gpu_ctx_resource simple = {
		.hdr = header(types[fuzz(6)], 1 + fuzz(3)),
		.resource_id = htole32(1 + fuzz(5)),
	};
	struct virtio_gpu_mem_entry entry = {
		.addr = htole64(RAM_BASE + fuzz(64) * PAGE),
		.length = htole32(64 * PAGE),
	};
	struct virtio_gpu_resource_create_userptr create =
		create_head(1 + fuzz(5), fuzz(2), 64 * PAGE, 1, 1);
	struct virtio_gpu_resource_create_blob blob = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, 0),
		.resource_id = htole32(1 + fuzz(5)),
		.blob_mem = htole32(1),
		.nr_entries = htole32(1),
		.size = htole64(64 * PAGE),
	};
	struct virtio_gpu_ctx_create ctx = {
		.hdr = header(fuzz(4) ? VIRTIO_GPU_CMD_CTX_CREATE : 0x201, 1 + fuzz(3)),
		.context_init = htole32(fuzz(5) ? LOOPBACK : 0),
	};

	switch (fuzz(6)) {
	case 0:
		memcpy(cmd, &create, sizeof(create));
		memcpy(cmd + sizeof(create), &entry, sizeof(entry));
		return sizeof(create) + sizeof(entry);
	case 1:
		memcpy(cmd, &blob, sizeof(blob));
		memcpy(cmd + sizeof(blob), &entry, sizeof(entry));
		return sizeof(blob) + sizeof(entry);
	case 2:
		memcpy(cmd, &ctx, sizeof(ctx));
		return le32toh(ctx.hdr.type) == 0x201 ? sizeof(ctx.hdr) : sizeof(ctx);
	case 3:
	case 4:
		return fuzz_submit(cmd);
	default:
		memcpy(cmd, &simple, sizeof(simple));
		return sizeof(simple);
	}
}

static void test_hostile(void **state)
{
	const char *given = getenv("FUZZ_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 2654435761u;
	struct gpu_config config = bench_config();
	unsigned int round, i, good = 0, answered = 0;
	union {
		struct virtio_gpu_ctrl_hdr hdr;
		unsigned char bytes[512];
	} cmd;

	(void)state;
	print_message("FUZZ_SEED=%llu\n", (unsigned long long)seed);
	fuzz_state = seed | 1;
	config.allow_inject = false; /* or it would find DIE */
	for (round = 0; round < 8; round++) {
		struct bench *bench = bench_new(&config, 4 << 20);

		for (i = 0; i < 4000; i++) {
			size_t len = fuzz_base(cmd.bytes);

			if (fuzz(2)) {
				cmd.hdr.flags = htole32(fuzz(4));
				cmd.hdr.fence_id = htole64(i);
				cmd.hdr.ring_idx = (uint8_t)fuzz(3);
			}
			while (!fuzz(4))
				cmd.bytes[fuzz((uint32_t)len)] ^= (unsigned char)(1 << fuzz(8));
			if (!fuzz(30))
				len = fuzz((uint32_t)len + 1);
			bench_send_on(bench, fuzz(40) ? 0 : 1, &cmd, len, fuzz(100));
			if (!fuzz(8))
				gpu_device_dispatch(bench->dev);
		}
		/* Everything gets its one answer, jobs and destroys included. */
		for (i = 0; i < bench->nr; i++) {
			bench_wait(bench, &bench->answers[i]);
			answered++;
			if (bench->answers[i].len >= 24 &&
			    answer_type(&bench->answers[i]) < ERR_UNSPEC)
				good++;
		}
		bench_free(bench);
	}
	assert_int_equal(answered, 8 * 4000);
	assert_true(good > 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests_name("gpu_hostile", tests, NULL, NULL);
}
