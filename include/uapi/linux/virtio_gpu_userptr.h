/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-gpu userptr resources: the wire
 *
 * What driver and device say to each other about a resource whose backing is
 * a range of a guest process's own memory.  This file and
 * <drm/virtgpu_drm_userptr.h> hold every number that the series adds.  All of
 * them are provisional: none is registered with OASIS or with DRM.  They stay
 * clear of what is merged or claimed elsewhere (feature bits 5 to 7, capsets 7
 * to 9, commands up to 0x010d and 0x0209).
 *
 * All fields are little-endian; padding and reserved fields are zero, and a
 * device refuses a command in which they are not.  A byte address or length in
 * a struct virtio_gpu_mem_entry of these commands is a multiple of
 * virtio_gpu_resp_userptr_info.alignment, and a length is not zero.
 *
 * The life of a resource, as the device sees it:
 *
 *	       CREATE (completes size)
 *	unknown ----------------------------------+
 *	   |   CREATE (part)        ADD completes v
 *	   +------------------> half-built -----> usable --+
 *	   |                        | error                | DESTROY
 *	   |   CREATE refused       v                      v
 *	   +------------------> failed ----------------> unknown
 *	                            DESTROY (also from half-built)
 *
 * A CREATE that is answered with VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID
 * (the id is 0 or in use) leaves the id as it was, and a device that has no
 * room for another id may leave it unknown; to destroy it then is answered
 * with VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID, which is harmless.
 */
#ifndef _UAPI_LINUX_VIRTIO_GPU_USERPTR_H
#define _UAPI_LINUX_VIRTIO_GPU_USERPTR_H

#include <linux/types.h>
#include <linux/virtio_gpu.h>

/* Feature bit: the commands below are understood. Needs VIRTIO_GPU_F_VIRGL. */
#define VIRTIO_GPU_F_RESOURCE_USERPTR		16

/* Commands on the control queue, and the one answer that carries data. */
#define VIRTIO_GPU_CMD_GET_USERPTR_INFO			0x0180
#define VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR		0x0181
#define VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES	0x0182
#define VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR		0x0183
#define VIRTIO_GPU_RESP_OK_USERPTR_INFO			0x1180

/* A limit of the host, not of the request's form, would be exceeded. */
#define VIRTIO_GPU_RESP_ERR_LIMIT			0x1280
/* Well-formed, but this device or context cannot do (or enforce) it. */
#define VIRTIO_GPU_RESP_ERR_UNSUPPORTED			0x1281

/* virtio_gpu_resp_userptr_info.flags: VIRTIO_GPU_USERPTR_RDONLY is accepted. */
#define VIRTIO_GPU_USERPTR_INFO_RDONLY		0x0001

/* virtio_gpu_resource_create_userptr.flags: the device must never write. */
#define VIRTIO_GPU_USERPTR_RDONLY		0x0001

/**
 * struct virtio_gpu_resp_userptr_info - answer to GET_USERPTR_INFO
 * @hdr: type VIRTIO_GPU_RESP_OK_USERPTR_INFO
 * @flags: VIRTIO_GPU_USERPTR_INFO_*
 * @max_entries: most entries in one command, at least 1
 * @max_segments: most entries in all commands of one resource, at least 1
 * @alignment: bytes, a power of two; of every address and length
 * @max_size: bytes; the largest resource
 * @rdonly_capset_mask: bit n: a context of capset n enforces read-only, and
 *	the device lets a read-only resource be attached to it
 * @reserved: 0; room for what later devices have to say, announced in @flags
 *
 * The command is a bare struct virtio_gpu_ctrl_hdr.  A driver ignores flags and
 * reserved fields that it does not know.
 */
struct virtio_gpu_resp_userptr_info {
	struct virtio_gpu_ctrl_hdr hdr;
	__le32 flags;
	__le32 max_entries;
	__le32 max_segments;
	__le32 alignment;
	__le64 max_size;
	__le64 rdonly_capset_mask;
	__le64 reserved[4];
};

/**
 * struct virtio_gpu_resource_create_userptr - start a resource
 * @hdr: type VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR
 * @resource_id: not 0, not in use
 * @flags: VIRTIO_GPU_USERPTR_*
 * @size: bytes; the lengths of all entries of the resource add up to it
 * @nr_segments: an upper bound of the entries in all commands of the resource
 *	together, or 0 if the driver has none to give; the command that completes
 *	@size fixes the number
 * @nr_entries: entries that follow this command, at least 1
 *
 * Followed by @nr_entries of struct virtio_gpu_mem_entry.  If they complete
 * @size the resource is usable when VIRTIO_GPU_RESP_OK_NODATA is answered.
 *
 * A driver sends each command as soon as it has the entries, before it knows the
 * rest, so that device and driver work at the same time; the device checks and
 * maps what has come, and answers each command when it has done so.
 */
struct virtio_gpu_resource_create_userptr {
	struct virtio_gpu_ctrl_hdr hdr;
	__le32 resource_id;
	__le32 flags;
	__le64 size;
	__le32 nr_segments;
	__le32 nr_entries;
};

/**
 * struct virtio_gpu_resource_add_userptr_pages - go on describing a resource
 * @hdr: type VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES
 * @resource_id: a half-built resource
 * @nr_entries: entries that follow this command, at least 1
 * @offset: bytes described by all earlier commands for this resource; any
 *	other value is an error, so that no chunk can be lost or doubled
 *
 * Followed by @nr_entries of struct virtio_gpu_mem_entry.
 */
struct virtio_gpu_resource_add_userptr_pages {
	struct virtio_gpu_ctrl_hdr hdr;
	__le32 resource_id;
	__le32 nr_entries;
	__le64 offset;
};

/**
 * struct virtio_gpu_resource_destroy_userptr - end all access
 * @hdr: type VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR
 * @resource_id: a half-built, usable or failed resource
 * @padding: 0
 *
 * VIRTIO_GPU_RESP_OK_NODATA is answered only when neither the device nor
 * anything it gave the memory to (a GPU included) can reach it any more; the
 * driver keeps the pages in place until then.  The id is unknown afterwards.
 * VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID says that the device has no userptr
 * resource of that id, hence no access either.
 */
struct virtio_gpu_resource_destroy_userptr {
	struct virtio_gpu_ctrl_hdr hdr;
	__le32 resource_id;
	__le32 padding;
};

#endif /* _UAPI_LINUX_VIRTIO_GPU_USERPTR_H */
