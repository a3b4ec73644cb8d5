# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# What the scripts that run a guest share: device processes started and
# stopped, and what counts as a kernel's complaint.  Sourced after lib.sh.
#
# Invariant: device_pids[N] is set exactly while device N is a child of this
# script; cleanup_devices leaves none.  $tmp is the run's folder: sockets gpuN
# and logs device-N.log are in it.  $failed is 1 once problem() was called.

# Beside it lies one more, -testing, with what only tests may ask for.
DEVICE=${HOST_DEVICE:-$BUILD/host/virtio-gpu-userptr-device}

# What a kernel prints when it has found something wrong.
SPLAT='BUG:|WARNING:|Oops|Kernel panic|possible (recursive|circular|irq)|inconsistent lock'
SPLAT+='|INFO: |suspicious RCU|UBSAN:|KASAN:|kmemleak: [0-9]+ new|Bad page|list_(add|del) corruption'
SPLAT+='|refcount_t:|ran out of memory on the host|Call Trace|scheduling while atomic'
SPLAT+='|DEBUG_LOCKS_WARN|ODEBUG:|general protection fault|unable to handle|rcu:.*(stall|detected)'

device_pids=() dying=() tmp='' failed=0 expect=''

# problem TEXT [FILE [LINES]]: the run failed; FILE's end may say why.
problem() {
	# shellcheck disable=SC2034 # for the script that sources this
	failed=1
	printf '%s: %s\n' "$(basename "$0")" "$1" >&2
	[ $# -lt 2 ] || [ ! -s "$2" ] || tail -n "${3:-20}" "$2" | sed 's/^/  | /' >&2
}

# make_run_folder NAME: sets $tmp.  Socket paths are limited to 107 bytes.  On
# the host that host-run makes, RUN_FOLDERS is its own tmpfs.
make_run_folder() {
	local base=${RUN_FOLDERS:-$BUILD}

	[ ${#base} -le 70 ] || base=${TMPDIR:-/tmp}
	tmp=$(mktemp -d "$base/$1.XXXXXX")
}

# wait_gone PID SECONDS: true if PID, a child of ours, ends in time.
wait_gone() {
	local end=$((SECONDS + $2))

	while kill -0 "$1" 2>/dev/null; do
		[ "$SECONDS" -le "$end" ] || return 1
		sleep 0.02
	done
}

# wait_listening SOCKET PID: true once process PID listens at SOCKET, false if
# it ends or takes too long.  A socket is listening when the kernel says so
# (flag 0x10000): a file that is there may not be, and a connection to find out
# would be taken for a guest.
wait_listening() {
	local end=$((SECONDS + 10))

	until awk -v s="$1" '$4 == "00010000" && $8 == s { found = 1 }
			END { exit !found }' /proc/net/unix; do
		if ! kill -0 "$2" 2>/dev/null || [ "$SECONDS" -gt "$end" ]; then
			return 1
		fi
		sleep 0.02
	done
}

# start_device N OPTIONS: and wait until it listens.
start_device() {
	local nr=$1 program=$DEVICE options

	read -r -a options <<<"$2"
	# What is installed is what is run, wherever it will do.
	[[ $2 != *--allow-inject* && $2 != *--access-platform* ]] || program+=-testing
	"$program" --socket "$tmp/gpu$nr" "${options[@]}" </dev/null >>"$tmp/device-$nr.log" 2>&1 &
	device_pids[nr]=$!
	wait_listening "$tmp/gpu$nr" "$!" && return
	problem "device $nr ($2) does not listen" "$tmp/device-$nr.log"
	return 1
}

# stop_device N: as at the end of a run; one that ended before, does not end,
# or ends with an error is a problem, unless it was expected to (dying[N]).
stop_device() {
	local nr=$1 pid=${device_pids[$1]} status=0

	if [ -z "${dying[$nr]:-}" ]; then
		kill -0 "$pid" 2>/dev/null || problem "device $nr ended before the guest" \
			"$tmp/device-$nr.log"
		kill -TERM "$pid" 2>/dev/null || true
	fi
	if ! wait_gone "$pid" 10; then
		problem "device $nr did not end within 10 s" "$tmp/device-$nr.log"
		kill -KILL "$pid"
	fi
	wait "$pid" 2>/dev/null || status=$?
	unset "device_pids[$nr]"
	[ -n "${dying[$nr]:-}" ] || [ "$status" -eq 0 ] ||
		problem "device $nr ended with status $status" "$tmp/device-$nr.log"
}

# kill_device N: at once, whatever it is doing.
kill_device() {
	[ -n "${device_pids[$1]:-}" ] || return 0
	kill -KILL "${device_pids[$1]}" 2>/dev/null || true
	wait "${device_pids[$1]}" 2>/dev/null || true
	unset "device_pids[$1]"
}

cleanup_devices() {
	local nr

	for nr in "${!device_pids[@]}"; do
		kill_device "$nr"
	done
}

# check_console FILE: a problem if the kernel complained.  Lines that match
# $expect are no complaint; a warning among them goes with its whole dump.
check_console() {
	local log=$1

	if [ -n "$expect" ]; then
		log=$tmp/unexpected.log
		awk -v e="$expect" '/WARNING:/ && $0 ~ e { skip = 1 }
			!skip && $0 !~ e { print }
			/---\[ end trace/ { skip = 0 }' "$1" >"$log"
	fi
	grep -qaE "$SPLAT" "$log" || return 0
	problem "the kernel complained:"
	grep -aE -A 25 "$SPLAT" "$log" | head -n 80 | sed 's/^/  | /' >&2
	return 1
}
