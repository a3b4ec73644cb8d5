#!/bin/bash
# SPDX-License-Identifier: MIT
#
# A program that knows nothing of this project, unmodified, over all of it:
# FFmpeg with libplacebo.  libplacebo imports the memory of FFmpeg's frames, which
# is from malloc, with VK_EXT_external_memory_host, both to bring a frame to the
# GPU and to bring the result back; between them its shaders cut out a part.  It
# was chosen because both directions go through imported memory, and because what
# it does can be asked of FFmpeg's own code, with the same result to the last bit.
#
# FFmpeg's hwupload imports memory, too, but wants its semaphores exported as
# opaque descriptors without asking whether the device can do that, and lavapipe,
# which is the host's driver here, cannot.
#
# Runs in the guest and prints TAP.  Where there is a virtio-gpu device with
# userptr resources its statistics have to show the imports; elsewhere that is
# skipped.

set -euo pipefail

readonly FRAMES=3
readonly TIMEOUT=300
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly HERE
PATH=$HERE:$PATH

nr=0 failed=0

# result STATUS WORDS...: one line of TAP.
result() {
	nr=$((nr + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $nr ${*:2}"
	else
		failed=$((failed + 1))
		echo "not ok $nr ${*:2}"
	fi
}

# statistic NAME: a number that the device has counted.
statistic() {
	userptr-device-stats | awk -v name="$1" '$1 == name { print $2 }'
}

# resources_left: what the device still holds after it had time to let go.
resources_left() {
	local end=$((SECONDS + TIMEOUT)) left

	while left=$(statistic userptr_resources) && [ "$left" != 0 ] && [ "$SECONDS" -lt "$end" ]; do
		sleep 0.1
	done
	echo "${left:-unknown}"
}

# frames GRAPH [OPTION...]: the MD5 of each frame that the filter graph makes.
frames() {
	timeout "$TIMEOUT" ffmpeg -nostdin -hide_banner -loglevel error "${@:2}" \
		-f lavfi -i testsrc2=size=320x240:rate=10 -frames:v "$FRAMES" -vf "$1" -f framemd5 - |
		grep -v '^#'
}

# same_frames FORMAT X Y WIDTH HEIGHT: one test.
same_frames() {
	local got wanted placebo="format=$1:dithering=none:peak_detect=false"

	placebo+=":crop_x=$2:crop_y=$3:crop_w=$4:crop_h=$5:w=$4:h=$5"
	if ! wanted=$(frames "format=$1,crop=$4:$5:$2:$3") ||
		! got=$(frames "format=$1,libplacebo=$placebo" \
			-init_hw_device vulkan=vk:0 -filter_hw_device vk); then
		result 1 "ffmpeg libplacebo $1: ffmpeg failed"
	elif [ "$(wc -l <<<"$wanted")" -ne "$FRAMES" ]; then
		result 1 "ffmpeg libplacebo $1: not $FRAMES frames"
	elif [ "$got" != "$wanted" ]; then
		printf '# CPU     %s\n# Vulkan  %s\n' "${wanted//$'\n'/$'\n# CPU     '}" \
			"${got//$'\n'/$'\n# Vulkan  '}"
		result 1 "ffmpeg libplacebo $1: other frames than the CPU makes"
	else
		result 0 "ffmpeg libplacebo $1: $FRAMES frames as the CPU makes them"
	fi
}

main() {
	local before='' created left nothing

	echo "TAP version 13"
	echo "1..4"
	if ! command -v ffmpeg >/dev/null; then
		for nr in 1 2 3 4; do
			echo "ok $nr # SKIP no ffmpeg here"
		done
		return
	fi
	echo "# $(ffmpeg -version | head -n 1)"
	before=$(statistic userptr_created 2>/dev/null) || true
	same_frames rgba 100 80 160 120
	same_frames gray 0 0 320 240
	if [ -z "$before" ]; then
		echo "ok 3 # SKIP no device with statistics (virtio-gpu, --loopback)"
		echo "ok 4 # SKIP no device with statistics (virtio-gpu, --loopback)"
		return "$((failed > 0))"
	fi
	# Each frame of both: one import up, one down.
	created=$(($(statistic userptr_created) - before))
	result "$((created < FRAMES * 2 * 2))" "ffmpeg imported user memory: $created userptr resources"
	left=$(resources_left)
	[ "$left" = 0 ] && nothing=0 || nothing=1
	result "$nothing" "ffmpeg has ended: $left userptr resources left"
	return "$((failed > 0))"
}

main
