# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# What a guest's programs can have scripts/qemu-run do on the host: the lines "host:
# REQUEST" of its usage().  Sourced after guest-run.sh.
#
# Invariant: host_request() succeeds if what was asked for is done; $answer is what
# else there is to say.
# What the script that sources this has and uses:
# shellcheck disable=SC2034,SC2154

answer='' marks=() waker=''

# statistics N: the statistics that device N prints now.
statistics() {
	local log=$tmp/device-$1.log lines end=$((SECONDS + 5))

	lines=$(wc -l <"$log")
	kill -USR1 "${device_pids[$1]}" 2>/dev/null || return 1
	until tail -n "+$((lines + 1))" "$log" | grep -q '^jobs: '; do
		[ "$SECONDS" -le "$end" ] || return 1
		sleep 0.02
	done
	tail -n "+$((lines + 1))" "$log"
}

# device_idle N: whether device N says that it holds nothing.
device_idle() {
	local all

	all=$(statistics "$1") || return 1
	! grep -qE '^(userptr|udmabuf|stitch) [a-z ]* now: [1-9]' <<<"$all"
}

# devices_idle: wait until all devices that run hold nothing.
devices_idle() {
	local nr end=$((SECONDS + 10))

	for nr in "${!device_pids[@]}"; do
		until device_idle "$nr"; do
			if [ "$SECONDS" -gt "$end" ]; then
				problem "device $nr still holds resources" "$tmp/device-$nr.log"
				return 1
			fi
			sleep 0.1
		done
	done
}

# device_number N NAME: the number behind "NAME: " in the statistics of device N.
device_number() {
	answer=$(statistics "$1" | sed -n "s/^$2: \([0-9]*\).*/\1/p" | tail -n 1)
	[ -n "$answer" ]
}

# device_usage N: KiB of memory that device N and all its children have to
# themselves, and their open descriptors.
device_usage() {
	local pids pid kib fds=0

	read -r kib pids < <(cat /proc/[0-9]*/status 2>/dev/null | awk -v root="${device_pids[$1]}" '
		/^Pid:/ { pid = $2 }
		/^PPid:/ { parent[pid] = $2 }
		/^RssAnon:/ { rss[pid] = $2 }
		END {
			ours[root] = 1
			do {
				grown = 0
				for (pid in parent)
					if (!(pid in ours) && parent[pid] in ours)
						grown = ours[pid] = 1
			} while (grown)
			for (pid in ours) {
				sum += rss[pid]
				list = list " " pid
			}
			print sum list
		}')
	for pid in $pids; do
		fds=$((fds + $(find "/proc/$pid/fd" -mindepth 1 2>/dev/null | wc -l)))
	done
	echo "$kib $fds"
}

# check_usage N: whether that is what it was at mark-memory.  An import that
# leaves a page or a descriptor behind each time is found after a few hundred;
# what the allocator keeps for next time is less.
check_usage() {
	local kib fds kib_before fds_before

	read -r kib_before fds_before <<<"${marks[$1]:-0 0}"
	read -r kib fds < <(device_usage "$1")
	echo "device $1: $kib KiB and $fds descriptors, before $kib_before and $fds_before" \
		>>"$tmp/device-$1.log"
	[ "$kib" -le $((kib_before + 2048)) ] && [ "$fds" -le $((fds_before + 8)) ]
}

# wake_guest: asks QEMU until the guest is suspended, then wakes it up.
wake_guest() {
	local lines end=$((SECONDS + 60))

	trap - EXIT INT TERM HUP
	lines=$(wc -l <"$tmp/monitor.log")
	while [ "$SECONDS" -le "$end" ]; do
		echo "info status" >"$tmp/monitor.in"
		sleep 0.2
		tail -n "+$((lines + 1))" "$tmp/monitor.log" | grep -q 'VM status: .*suspended' || continue
		echo system_wakeup >"$tmp/monitor.in"
		return
	done
}

# The software amdgpu of a host of scripts/host-run --amdgpu.
readonly CARD=0000:03:00.0
readonly MODEL=/sys/kernel/debug/dri/$CARD
# Makes the host short of memory, see tools/testing/amdgpu-model/tests.
readonly SQUEEZE=$BUILD/tools/amdgpu/agm-squeeze

# model_request WORD [ARGUMENT]: what the guest wants of the model.
model_request() {
	case $1 in
	hold | step | vram_limit | gtt_limit) echo "$2" >"$MODEL/$1" ;;
	stat)
		answer=$(cat "$MODEL/stats" "$MODEL/rings" | awk -v n="$2" '$1 == n { print $2 }') &&
			[ -n "$answer" ]
		;;
	unplug) echo 1 >"/sys/bus/pci/devices/$CARD/remove" ;;
	plug) echo 1 >/sys/bus/pci/rescan && [ -e "$MODEL/stats" ] ;;
	page-out) "$SQUEEZE" /dev/ubda "$2" 2>>"$tmp/squeeze.log" ;;
	*) return 1 ;;
	esac
}

# host_request WORD [ARGUMENT...]: what usage() lists; fails if it cannot be done.
host_request() {
	local nr=${2:-}

	answer=
	case $1 in
	check-devices) devices_idle; return ;;
	monitor) printf '%s\n' "${*:2}" >"$tmp/monitor.in"; return ;;
	wake-when-asleep) wake_guest </dev/null & waker=$!; return ;;
	model) model_request "${@:2}" 2>>"$tmp/model.log"; return ;;
	esac
	[[ $nr =~ ^[0-9]+$ ]] && [ -n "${devices[$nr]:-}" ] || return 1
	case $1 in
	kill-device) kill_device "$nr" ;;
	start-device) [ -z "${device_pids[$nr]:-}" ] && plug_device "$nr" ;;
	pause-device) kill -STOP "${device_pids[$nr]}" ;;
	resume-device) kill -CONT "${device_pids[$nr]}" ;;
	mark-memory) marks[nr]=$(device_usage "$nr") ;;
	check-memory) check_usage "$nr" ;;
	device-stat) device_number "$nr" "${*:3}" ;;
	*) return 1 ;;
	esac
}
