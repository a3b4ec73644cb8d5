# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2153
#
# How runners have several hosts at a time: each run is a function with a name, and
# what it prints is shown in one piece when it is over.  Sourced after tap.sh.
#
#	side_by_side VARIABLE	first: so many at a time as the variable says, see how_many()
#	begin FUNCTION NAME...	run it, when there is room, if RUN= asks for NAME
#	collect_all		wait for all of them
#
# Invariant: however the runner ends, no process of a run is left; and a run that ends
# without having counted anything counts as a failure.  $LOGS is the runner's folder.

# What runs: its process, which leads a group, and its name.
declare -A running=()
most=1

# collect: wait for one of those that run, show what it says, and count it.
collect() {
	local pid='' name p=0 f=1 s=0

	wait -n -p pid "${!running[@]}" || true
	name=${running[$pid]}
	unset "running[$pid]"
	cat "$LOGS/$name/report"
	if [ -f "$LOGS/$name/counts" ]; then
		read -r p f s <"$LOGS/$name/counts"
	else
		printf 'not ok - %s: its runner ended early\n' "$name"
	fi
	add "$p" "$f" "$s"
}

collect_all() {
	while [ "${#running[@]}" -gt 0 ]; do
		collect
	done
}

# begin FUNCTION NAME ARGUMENT...: run it, when there is room for another host.
begin() {
	local logs=$LOGS/$2

	chosen "$2" || return 0
	while [ "${#running[@]}" -ge "$most" ]; do
		collect
	done
	mkdir -p "$logs"
	# In a process group of its own, all of which can be ended.
	set -m
	# shellcheck disable=SC2030,SC2031 # they are read back from the file
	(
		set +m
		passed=0 failed=0 skipped=0
		"$@" >"$logs/report" 2>&1
		echo "$passed $failed $skipped" >"$logs/counts"
	) </dev/null &
	running[$!]=$2
	set +m
}

# shellcheck disable=SC2317
stop_all() {
	trap '' INT TERM HUP
	[ "${#running[@]}" -eq 0 ] || kill -- "${!running[@]/#/-}" 2>/dev/null || true
	wait || true
	exit 130
}

side_by_side() {
	most=$(how_many "$1")
	trap stop_all INT TERM HUP
}

# summary LAYER: the last line, and whether all is well.
summary() {
	# shellcheck disable=SC2031 # add() has changed these
	printf '%s: %d passed, %d failed, %d skipped\n' "$1" "$passed" "$failed" "$skipped"
	# shellcheck disable=SC2031
	[ "$((passed + failed))" -gt 0 ] || die "nothing was run: no run is called '${RUN:-}'"
	# shellcheck disable=SC2031
	[ "$failed" -eq 0 ]
}
