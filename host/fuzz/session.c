// SPDX-License-Identifier: MIT
/*
 * session: see session.h
 *
 * Threads: see vmm.h.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/virtio_gpu_userptr.h>
#include <virtgpu_loopback.h>

#include "fuzz/device.h"
#include "fuzz/guest.h"
#include "fuzz/poison.h"
#include "fuzz/session.h"
#include "fuzz/vmm.h"
#include "fuzz/wrap.h"
#include "gpu/gpu_device.h"
#include "util/log.h"

#define STREAM_AT 32
#define COMMAND_BYTES 40
#define WINDOW (UINT64_C(1) << 20)

/* What a message can have: a descriptor of each kind. */
enum fd_kind { FD_RAM, FD_SMALL, FD_EVENT, FD_PIPE, FD_SOCKET, FD_NULL, FD_EMPTY, NR_FD_KINDS };

static const struct session_world *world;
static bool verbose;
static int kinds[NR_FD_KINDS];
static int null_socket[2];
/* Region 1 and 2 are in the table. */
static bool has_region[GUEST_REGIONS];

void session_start(void)
{
	int ends[2];

	guest_start();
	kinds[FD_RAM] = guest_fd();
	kinds[FD_SMALL] = memfd_create("small", MFD_CLOEXEC);
	kinds[FD_EMPTY] = memfd_create("empty", MFD_CLOEXEC);
	kinds[FD_EVENT] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	kinds[FD_NULL] = open("/dev/null", O_RDWR | O_CLOEXEC);
	/* To see what the device does with an input, when it is run again. */
	verbose = getenv("FUZZ_VERBOSE");
	log_set_verbose(verbose);
	fuzz_need(!pipe2(ends, O_CLOEXEC | O_NONBLOCK) &&
			  !socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, null_socket) &&
			  !ftruncate(kinds[FD_SMALL], GUEST_PAGE) && kinds[FD_NULL] >= 0,
		  "no descriptors");
	kinds[FD_PIPE] = ends[0];
	kinds[FD_SOCKET] = null_socket[0];
}

/* ---- requests ---- */

/*
 * The reference context may be told to end the process, or to say OK without doing
 * anything; then nothing of what follows can be judged.
 */
static const uint8_t *tame(const struct fuzz_record *record)
{
	static uint8_t copies[VMM_RINGS * VMM_SLOTS * 4][FUZZ_MAX_DATA];
	static unsigned int next;
	uint8_t *data = copies[next++ % ARRAY_SIZE(copies)];
	size_t at;

	memcpy(data, record->data, record->len);
	for (at = STREAM_AT + 24; at + COMMAND_BYTES <= record->len; at += COMMAND_BYTES) {
		if (fuzz_get(data, record->len, at, 4) != LOOPBACK_OP_INJECT)
			continue;
		poison_give_up();
		if (fuzz_get(data, record->len, at + 4, 4) == LOOPBACK_FAULT_DIE)
			fuzz_put(data, record->len, at + 4, 4, LOOPBACK_FAULT_DROP);
	}
	return data;
}

static void do_command(const struct fuzz_record *record)
{
	const uint8_t *data = record->data;

	if (fuzz_get(data, record->len, 0, 4) == VIRTIO_GPU_CMD_SUBMIT_3D)
		data = tame(record);
	pages_sent(data, record->len, vmm.requests + 1);
	ring_offer(data, record->len, record->arg);
}

static void answered(const struct vmm_request *request, const uint8_t *answer, uint32_t len)
{
	pages_answered(request->data, request->len, request->number,
		       (uint32_t)fuzz_get(answer, len, 0, 4));
}

/* ---- the front end ---- */

static void do_ring(uint8_t arg)
{
	unsigned int index = arg % VMM_RINGS;

	if (vmm.rings[index].runs)
		vmm_stop_ring(index);
	else if (vmm.rings[index].size)
		vmm_start_ring(index);
}

static void do_restart(void)
{
	vmm_stop_ring(1);
	vmm_stop_ring(0);
	vmm_start_ring(0);
	vmm_start_ring(1);
}

static void do_table(unsigned int nr)
{
	unsigned int i;

	/* The rings are in the first; without it they are broken, as they should be. */
	if (!nr && (vmm.rings[0].runs || vmm.rings[1].runs))
		vmm_do_wrong();
	vmm_set_table(nr);
	for (i = 0; i < GUEST_REGIONS; i++)
		has_region[i] = i < nr;
}

/* Removes region arg, but never the rings', or adds it again. */
static void do_slot(uint8_t arg)
{
	unsigned int index = 1 + arg % (GUEST_REGIONS - 1);
	const struct guest_region *region = &guest_regions()[index];
	struct vhost_user_single_region single = {
		.region = {
			.guest_addr = region->guest_addr,
			.size = region->size,
			.user_addr = region->user_addr,
			.mmap_offset = region->fd_offset,
		},
	};
	bool add = !has_region[index];
	uint64_t refused = 1;

	if (vmm_call(add ? VHOST_USER_ADD_MEM_REG : VHOST_USER_REM_MEM_REG, &single, sizeof(single),
		     add ? region->fd : -1, &refused, sizeof(refused)) < 0)
		return;
	if (!refused)
		has_region[index] = add;
	else if (vmm.exact && !watch_has_failed())
		fuzz_oracle("region %u cannot be %s", index, add ? "added" : "removed");
}

static void do_ask(uint8_t arg)
{
	static const uint32_t questions[] = {
		VHOST_USER_GET_FEATURES,
		VHOST_USER_GET_PROTOCOL_FEATURES,
		VHOST_USER_GET_QUEUE_NUM,
		VHOST_USER_GET_MAX_MEM_SLOTS,
	};
	struct vhost_user_config config[4] = { { .offset = arg % 32, .size = 1 + arg % 24 } };
	uint8_t answer[VHOST_USER_MAX_CONFIG_SIZE];

	if (arg & 0x80)
		vmm_call(arg & 0x40 ? VHOST_USER_GET_CONFIG : VHOST_USER_SET_CONFIG, config,
			 sizeof(config[0]) + config[0].size, -1, answer, sizeof(answer));
	else
		vmm_call(questions[arg % ARRAY_SIZE(questions)], NULL, 0, -1, answer,
			 sizeof(answer));
}

static void do_message(const struct fuzz_record *record)
{
	unsigned int nr = record->arg & 0xf, i;
	int fds[VMM_MAX_FDS];

	if (!record->len)
		return;
	vmm_do_wrong();
	if (nr == 0xf)
		nr = VMM_MAX_FDS;
	for (i = 0; i < nr; i++)
		fds[i] = kinds[(i + (record->arg >> 4)) % NR_FD_KINDS];
	vmm_send(record->data, record->len, fds, nr);
	vmm_pump();
	vmm_drain();
}

static void settle(void)
{
	if (world && world->settle)
		world->settle();
}

static void do_manner(uint8_t arg)
{
	vmm.manner = arg % NR_MANNERS;
	/* Whoever does not answer does nothing wrong, but what waits for it waits. */
	if (vmm.manner == MANNER_RIGHT)
		shmem_answer_now();
}

/* ---- connections ---- */

static int connect_again(int listener)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (sock >= 0 && !getsockname(listener, (struct sockaddr *)&addr, &len) &&
	    !connect(sock, (struct sockaddr *)&addr, len))
		return sock;
	if (sock >= 0)
		close(sock);
	return -1;
}

/* A socket that listens, at an address that the kernel finds. */
static int listen_anywhere(void)
{
	struct sockaddr addr = { .sa_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (sock >= 0 && !bind(sock, &addr, sizeof(addr.sa_family)) && !listen(sock, 2))
		return sock;
	if (sock >= 0)
		close(sock);
	return -1;
}

/* Our own descriptor of the listening socket, or -1. */
static int listener = -1;

static bool open_device(const struct fuzz_input *input)
{
	uint8_t bits = input->head.config;
	struct gpu_config config;
	int fd;

	device_config(&config);
	config.userptr_rdonly = !(bits & CONFIG_NO_RDONLY);
	/* A second processor could make any fault of one. */
	config.allow_inject = bits & CONFIG_INJECT && !(input->head.chaos & 0xf);
	config.verbose = verbose;
	config.host_visible = bits & CONFIG_NO_WINDOW ? 0 : WINDOW;
	if (bits & CONFIG_LARGE) {
		config.limits.max_userptr_bytes = UINT64_C(1) << 40;
		config.limits.max_segments = 1 << 20;
		config.limits.max_entries = 4096;
		config.limits.memory = (struct memory_limits){ .total_bytes = 0 };
		config.limits.max_blobs = 0;
		config.limits.max_contexts = 0;
		config.limits.max_attachments = 0;
	}
	if (world && world->configure)
		world->configure(&config, bits);
	fd = vmm_begin();
	vmm.answered = answered;
	vmm.gone = pages_reset;
	if (bits & CONFIG_LISTEN) {
		close(fd);
		close(vmm.sock);
		vmm.sock = -1;
		fd = listen_anywhere();
		listener = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
		vmm.sock = fd < 0 ? -1 : connect_again(fd);
		vmm.connected = vmm.sock >= 0;
	}
	/* Whoever hangs up in time does nothing wrong, nor does who is hung up on. */
	if (bits & CONFIG_IMPATIENT)
		vmm_do_wrong();
	return device_open(&config, fd, bits & CONFIG_IMPATIENT ? 64 : 0);
}

static void begin_connection(const struct fuzz_input *input)
{
	unsigned int i;

	for (i = 0; i < GUEST_REGIONS; i++)
		has_region[i] = true;
	if (input->head.mode & MODE_RAW) {
		vmm_do_wrong();
		for (i = 0; i < VMM_RINGS; i++)
			ring_clear(i, 16);
		return;
	}
	vmm_handshake(8 - 2 * (input->head.mode & MODE_RING) / 2);
}

static void do_reconnect(const struct fuzz_input *input)
{
	bool exact = vmm.exact;

	if (listener < 0)
		return;
	vmm_end();
	vmm_pump();
	close(vmm_begin());
	close(vmm.sock);
	vmm.answered = answered;
	vmm.gone = pages_reset;
	vmm.exact = exact;
	vmm.sock = connect_again(listener);
	vmm.connected = vmm.sock >= 0;
	begin_connection(input);
	/* It is served when the device has let go of what the last one gave. */
	if (vmm.exact && vmm.connected)
		pages_reset();
}

/* ---- the whole ---- */

static void do_step(uint8_t arg)
{
	unsigned int i;

	for (i = 0; i < arg % 8u && !device_finished() && device_step(0); i++)
		;
}

static void pass_time(uint8_t arg)
{
	struct timespec time = { .tv_nsec = 1000l * (arg % 64) * 16 };

	__real_clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

static void do_record(const struct fuzz_input *input, const struct fuzz_record *record)
{
	unsigned int index = record->arg % VMM_RINGS;

	switch (record->op) {
	case OP_COMMAND:
		do_command(record);
		break;
	case OP_SPOIL:
		ring_spoil_next(record->data, record->len);
		break;
	case OP_DAMAGE:
		ring_damage(index, record->data, record->len);
		break;
	case OP_KICK:
		ring_kick(index);
		break;
	case OP_RING:
		do_ring(record->arg);
		break;
	case OP_RESTART:
		do_restart();
		break;
	case OP_TABLE:
		do_table(record->arg % (GUEST_REGIONS + 1));
		break;
	case OP_SLOT:
		do_slot(record->arg);
		break;
	case OP_ASK:
		do_ask(record->arg);
		break;
	case OP_MESSAGE:
		do_message(record);
		break;
	case OP_MANNER:
		do_manner(record->arg);
		break;
	case OP_ANSWER_NOW:
		shmem_answer_now();
		break;
	case OP_STEP:
		do_step(record->arg);
		break;
	case OP_TIME:
		pass_time(record->arg);
		break;
	case OP_WAIT:
		vmm_pump();
		break;
	case OP_RECONNECT:
		do_reconnect(input);
		break;
	default:
		if (world && world->record)
			world->record(record);
		break;
	}
}

static void do_records(const struct fuzz_input *input)
{
	unsigned int i;

	for (i = 0; i < input->nr; i++) {
		const struct fuzz_record *record = &input->records[i];

		do_record(input, record);
		if (!vmm.exact)
			poison_give_up();
		/* Requests may pile up, and the device may not have had a turn at all. */
		if (record->op != OP_STEP &&
		    !(record->op == OP_COMMAND && record->arg & SHAPE_NO_KICK))
			vmm_pump();
		if (world && world->step)
			world->step();
	}
}

/* All comes to its end; whoever did nothing wrong gets all answers. */
static void finish(const struct fuzz_input *input)
{
	bool all = !(input->head.config & CONFIG_INJECT);
	unsigned int i;

	vmm.manner = MANNER_RIGHT;
	shmem_look();
	shmem_answer_now();
	for (i = 0; i < VMM_RINGS; i++)
		ring_kick(i);
	/* A fault that was armed may keep an answer for as long as it likes. */
	if (all && vmm_wait(settle) && vmm.exact && vmm.connected)
		fuzz_oracle("ANSWERS: %u requests have none", vmm_outstanding());
	for (i = VMM_RINGS; i > 0 && vmm.connected; i--)
		vmm_stop_ring(i - 1);
}

void session_run(const struct fuzz_input *input, const struct session_world *behind)
{
	world = behind;
	if (world && world->begin && !world->begin(&input->head))
		return;
	pages_begin();
	if (open_device(input)) {
		poison_begin(device_memory());
		begin_connection(input);
		chaos_begin(input->head.chaos, (uint32_t)fuzz_get(input->head.seed, 2, 0, 2));
		if (!vmm.exact)
			poison_give_up();
		do_records(input);
		chaos_end();
		finish(input);
		vmm_end();
		poison_begin(NULL);
		device_close();
	} else {
		vmm_end();
	}
	if (listener >= 0)
		close(listener);
	listener = -1;
	if (world && world->end)
		world->end();
}
