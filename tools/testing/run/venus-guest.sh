# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# How the scripts of the Venus layer boot their guest: stock QEMU and our device
# with virglrenderer on a host of scripts/host-run, a plain kernel, and the image
# of scripts/make-guest-image as root.  Sourced after lib.sh.

# Options of host-run and of qemu-run that a script adds to.
venus_host=() venus_qemu=()
# What Vulkan is on the host; on a real one that is for the machine to say.
# Its kernel is ours, with our patch of udmabuf, only if it is no real one.
venus_env=(--env VK_DRIVER_FILES=/usr/share/vulkan/icd.d/lvp_icd.json --env USERPTR_LONG_LISTS=1)
[ "${USERPTR_HOST:-uml}" = uml ] || venus_env=()

# venus_guest LOGS SECONDS DEVICE-OPTIONS COMMAND...: COMMAND in the guest; its
# output, standard error and exit status, or 125 if anything around it failed.
# Of the device's log there is device-0.log in LOGS.
venus_guest() {
	local logs=$1 seconds=$2 device=$3

	shift 3
	mkdir -p "$logs/host"
	# The host has more time than the guest, so that it is the guest that is
	# found to hang, with its console.
	"$TOP/scripts/host-run" --mem "${VENUS_HOST_MEM:-3G}" --timeout $((seconds + 60)) \
		--env HOST_DEVICE="${HOST_DEVICE:-$BUILD/venus/host/virtio-gpu-userptr-device}" \
		"${venus_env[@]}" --logs "$logs/host" "${venus_host[@]}" -- \
		"$TOP/scripts/qemu-run" --kernel plain --cpus 1 --mem "${VENUS_GUEST_MEM:-1G}" \
		--timeout "$seconds" --root-image "$BUILD/venus/root.ext4" --device "$device" \
		--env VK_DRIVER_FILES=/usr/share/vulkan/icd.d/virtio_icd.json --logs "$logs" \
		"${venus_qemu[@]}" -- "$@"
}
