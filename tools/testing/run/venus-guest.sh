# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2153
#
# How the scripts of the Vulkan layers, Venus and amdgpu, boot their guest: stock QEMU
# and our device on a host of scripts/host-run, a plain kernel, and the image of
# scripts/make-guest-image as root.  Sourced after lib.sh, and for tests after tap.sh.

# Options of host-run and of qemu-run that a script adds to.
venus_host=() venus_qemu=()
# The guest's Vulkan driver, as the loader reads of it.
guest_icd=/usr/share/vulkan/icd.d/virtio_icd.json
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
		--env VK_DRIVER_FILES="$guest_icd" --logs "$logs" \
		"${venus_qemu[@]}" -- "$@"
}

# guest_boot NAME SECONDS DEVICE-OPTIONS COMMAND...: one guest that runs COMMANDS, each
# a line for sh, and counts what they report (TAP).
guest_boot() {
	local name=$1 seconds=$2 device=$3 commands='' programs status=0 logs=$LOGS/$1

	shift 3
	programs=$#
	commands=$(printf '%s; ' "$@")
	mkdir -p "$logs"
	printf '# boot: %s\n' "$name"
	venus_guest "$logs" "$seconds" "$device" sh -c "$commands true" \
		2>"$logs/errors.log" | tee "$logs/tap.log" |
		grep --line-buffered -E '^(ok|not ok) ' || status=${PIPESTATUS[0]}
	count_tap "$name" "$logs" "$status" "$programs" "the guest, the host or the device"
}

# make_ext4 FILE: a disk for a guest, with nothing on it.
make_ext4() {
	truncate -s 16M "$1"
	PATH=$PATH:/sbin:/usr/sbin mke2fs -q -t ext4 "$1" || die "mke2fs is missing: install e2fsprogs"
}

# make_swap FILE MIB: a disk for a host to swap to.
make_swap() {
	# Not sparse, or mkswap says so.
	dd if=/dev/zero of="$1" bs=1M count="$2" status=none
	chmod 600 "$1"
	PATH=$PATH:/sbin:/usr/sbin mkswap "$1" >/dev/null || die "mkswap is missing: install util-linux"
}
