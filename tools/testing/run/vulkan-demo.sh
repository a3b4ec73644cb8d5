# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# How the demos of Vulkan in a guest are run; sourced after venus-guest.sh.
#
# Invariant: the last line is "$NAME: ok" or "$NAME: FAILED: <why>", and the exit
# status says the same.  $LOGS is the demo's folder.

# What the guest reads: without FILE= the largest file that it has itself.
IN_GUEST=/usr/lib/x86_64-linux-gnu/libLLVM.so.19.1

# fail WHY
fail() {
	printf '%s: FAILED: %s\n' "$NAME" "$*"
	exit 1
}

# bytes_of FILE: of its beginning, as many as the demo reads.
bytes_of() {
	local size most=$((64 << 20))

	size=$(stat -c %s "$1")
	echo $((size < most ? size : most))
}

# vulkan_demo PROGRAM DEVICE-OPTIONS FUNCTION: PROGRAM in a guest, with a file; what it
# prints, what FUNCTION adds to that, and the last line.
vulkan_demo() {
	local program=$1 device=$2 more=$3 status=0 last reason file command=("$1" "$IN_GUEST")

	if [ -n "${FILE:-}" ]; then
		file=$(realpath "$FILE") || fail "$FILE: no such file"
		if [ ! -f "$file" ] || [ ! -r "$file" ] || [ ! -s "$file" ]; then
			fail "$FILE: is no regular file that can be read, or is empty"
		fi
		venus_host+=(--share "$(dirname "$file")")
		# A disk has whole sectors and no name; what the demo takes has its own.
		venus_qemu+=(--disk "$file")
		# shellcheck disable=SC2016 # for the guest
		command=(sh -c 'head -c "$1" /dev/vda >"$2" && exec "$3" "$2"' sh
			"$(bytes_of "$file")" "/tmp/$(basename "$file")" "$program")
	fi
	rm -rf "$LOGS"
	mkdir -p "$LOGS"
	# The demo's last line is to stay the last.
	venus_guest "$LOGS" "${DEMO_TIMEOUT:-600}" "$device" "${command[@]}" \
		2>"$LOGS/errors.log" | tee "$LOGS/report.txt" |
		grep --line-buffered -v "^$NAME: " || status=${PIPESTATUS[0]}
	last=$(tail -n 1 "$LOGS/report.txt")
	"$more"
	case $last in
	"$NAME: ok")
		[ "$status" -ne 0 ] || { echo "$last"; exit 0; }
		;;
	"$NAME: FAILED: "*)
		[ "$status" -eq 125 ] || { echo "$last"; exit 1; }
		;;
	esac
	cat "$LOGS/errors.log" >&2
	reason=$(grep -m 1 -E '^(uml|qemu|host)-run: ' "$LOGS/errors.log" || true)
	fail "${reason:-the guest ended with status $status} (logs are in $LOGS)"
}
