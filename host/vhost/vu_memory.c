// SPDX-License-Identifier: MIT
/*
 * vu_memory: the memory regions of a front end
 *
 * Invariant: guest memory is what the slots say, without those that are files of
 * ours.  A slot has its file as long as it is one of the first nr_slots.
 *
 * Threads: the one of the server.
 */
#include "vhost/vu_internal.h"

/**
 * vu_close_slots() - close the files of slots
 * @slots: the slots
 * @nr: how many
 */
void vu_close_slots(struct vu_slot *slots, unsigned int nr)
{
	while (nr--)
		vu_close_fd(&slots[nr].fd);
}

/*
 * Guest memory is what @slots say, but for what the front end has mapped of ours.
 * @whole: they are all there is to say.
 */
static int apply_slots(struct vhost_user_server *server, const struct vu_slot *slots,
		       unsigned int nr, bool whole)
{
	struct guest_region regions[GUEST_MEMORY_MAX_REGIONS];
	unsigned int i, nr_regions = 0;
	int err;

	for (i = 0; i < nr; i++) {
		const struct vhost_user_region *region = &slots[i].region;

		if (slots[i].fd < 0)
			continue;
		if (nr_regions == GUEST_MEMORY_MAX_REGIONS)
			return -EINVAL;
		regions[nr_regions++] = (struct guest_region){
			.guest_addr = region->guest_addr,
			.size = region->size,
			.user_addr = region->user_addr,
			.fd_offset = region->mmap_offset,
			.fd = slots[i].fd,
		};
	}
	err = guest_memory_set(server->gm, regions, nr_regions);
	if (err)
		return err;
	server->ops->memory_changed(server->dev);
	for (i = 0; i < VHOST_USER_NR_RINGS; i++)
		vu_ring_memory_changed(&server->rings[i], whole);
	return 0;
}

/* A region and its file, which is taken out of the message. */
static struct vu_slot take_slot(struct vhost_user_server *server, struct vu_message *msg,
				unsigned int index, const void *from)
{
	struct vu_slot slot = { .fd = msg->fds[index] };
	bool ours = shmem_channel_passed(&server->backend, slot.fd);

	memcpy(&slot.region, from, sizeof(slot.region));
	log_event("region: guest %#llx size %#llx at %#llx of its file%s",
		  (unsigned long long)slot.region.guest_addr, (unsigned long long)slot.region.size,
		  (unsigned long long)slot.region.mmap_offset,
		  ours ? ", which is one of ours and no RAM" : "");
	if (ours)
		close(slot.fd);
	msg->fds[index] = -1;
	slot.fd = ours ? -1 : slot.fd;
	return slot;
}

/**
 * vu_set_mem_table() - SET_MEM_TABLE: all regions at once
 * @server: the server
 * @msg: the message
 * @reply: its answer
 *
 * Return: see struct vu_handler.
 */
int vu_set_mem_table(struct vhost_user_server *server, struct vu_message *msg,
		     struct vu_reply *reply)
{
	struct vu_slot slots[GUEST_MEMORY_MAX_REGIONS] = { { .fd = -1 } };
	struct vhost_user_memory table;
	unsigned int i;
	int err;

	(void)reply;
	if (msg->header.size < sizeof(table))
		return -EINVAL;
	memcpy(&table, msg->payload, sizeof(table));
	if (table.nr > GUEST_MEMORY_MAX_REGIONS || table.nr != msg->nr_fds ||
	    msg->header.size != sizeof(table) + table.nr * sizeof(struct vhost_user_region))
		return -EINVAL;
	for (i = 0; i < table.nr; i++)
		slots[i] = take_slot(server, msg, i,
				     msg->payload + sizeof(table) +
					     i * sizeof(struct vhost_user_region));
	err = apply_slots(server, slots, table.nr, true);
	if (err) {
		vu_close_slots(slots, table.nr);
		return err;
	}
	vu_close_slots(server->slots, server->nr_slots);
	memcpy(server->slots, slots, table.nr * sizeof(slots[0]));
	server->nr_slots = table.nr;
	return 0;
}

/**
 * vu_get_max_mem_slots() - GET_MAX_MEM_SLOTS: how many there can be
 * @server: the server
 * @msg: the message
 * @reply: its answer
 *
 * Return: see struct vu_handler.
 */
int vu_get_max_mem_slots(struct vhost_user_server *server, struct vu_message *msg,
			 struct vu_reply *reply)
{
	(void)server;
	(void)msg;
	vu_reply_u64(reply, VU_MAX_SLOTS);
	return 0;
}

/**
 * vu_add_mem_reg() - ADD_MEM_REG: one more
 * @server: the server
 * @msg: the message
 * @reply: its answer
 *
 * Return: see struct vu_handler.
 */
int vu_add_mem_reg(struct vhost_user_server *server, struct vu_message *msg, struct vu_reply *reply)
{
	struct vu_slot *slot = &server->slots[server->nr_slots];
	int err = 0;

	(void)reply;
	if (msg->nr_fds != 1)
		return -EINVAL;
	if (server->nr_slots == VU_MAX_SLOTS)
		return -ENOSPC;
	*slot = take_slot(server, msg, 0,
			  msg->payload + offsetof(struct vhost_user_single_region, region));
	if (slot->fd >= 0)
		err = apply_slots(server, server->slots, server->nr_slots + 1, false);
	if (err)
		vu_close_fd(&slot->fd);
	else
		server->nr_slots++;
	return err;
}

/**
 * vu_rem_mem_reg() - REM_MEM_REG: one less
 * @server: the server
 * @msg: the message
 * @reply: its answer
 *
 * Return: see struct vu_handler.
 */
int vu_rem_mem_reg(struct vhost_user_server *server, struct vu_message *msg, struct vu_reply *reply)
{
	struct vhost_user_single_region in;
	struct vu_slot gone;
	unsigned int i;
	int err = 0;

	(void)reply;
	memcpy(&in, msg->payload, sizeof(in));
	for (i = 0; i < server->nr_slots; i++) {
		const struct vhost_user_region *region = &server->slots[i].region;

		if (region->guest_addr == in.region.guest_addr && region->size == in.region.size &&
		    region->user_addr == in.region.user_addr)
			break;
	}
	if (i == server->nr_slots)
		return -EINVAL;
	gone = server->slots[i];
	server->slots[i] = server->slots[--server->nr_slots];
	if (gone.fd >= 0)
		err = apply_slots(server, server->slots, server->nr_slots, false);
	if (err)
		server->slots[server->nr_slots++] = gone;
	else
		vu_close_fd(&gone.fd);
	return err;
}
