#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs in the guest: the device process is killed, its GPU taken away, and a
# new one plugged in (needs a spare port, see scripts/qemu-run); what worked
# with the old one works with the new one.

set -eu

# ask REQUEST: of scripts/qemu-run.
ask() {
	printf '\nhost: %s\n' "$*"
	read -r answer
	[ "$answer" = "host: ok" ] || { echo "# $* -> $answer"; exit 1; }
}

# wait_for TEST...: up to 10 s.
wait_for() {
	tries=0
	until "$@"; do
		tries=$((tries + 1))
		[ "$tries" -lt 100 ] || { echo "# timed out: $*"; exit 1; }
		sleep 0.1
	done
}

device=$(readlink -f "/sys/class/drm/${USERPTR_MAIN#/dev/dri/}/device")
while [ ! -e "$device/vendor" ]; do
	device=${device%/*}
done
userptr-share-test -t two_contexts
ask kill-device 0
echo 1 >"$device/remove"
wait_for [ ! -e "$USERPTR_MAIN" ]
ask start-device 0
wait_for [ -e "$USERPTR_MAIN" ]
userptr-share-test -t two_contexts
userptr-close-test -t exit_with_live_registrations
