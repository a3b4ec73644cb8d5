#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run-tests.sh PROGRAM...: run cmocka test programs, sum up what they say.
#
# One line per program, its output when something failed, the reasons of
# skipped tests, and as last line "host: N passed, N failed, N skipped", or
# with another name than host: LAYER.
# Exit status 0 only if nothing failed.  TEST_TIMEOUT: seconds per program.
#
# Each program runs in a folder of its own below TMPDIR, where it may leave what
# it likes, and which has a short name: "." (a socket's path is 107 bytes at most).

layer=${LAYER:-host}
passed=0
failed=0
skipped=0
scratch=$(mktemp -d "${TMPDIR:-/tmp}/run.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
log=$scratch/log

# tally: "passed failed skipped" of the log.  A result counts only after its
# "[ RUN" line: cmocka lists failed and skipped tests once more at the end.
tally() {
	awk '/^\[ RUN / { running = 1; next }
	     running && /^\[       OK \]/ { ok++; running = 0 }
	     running && /^\[  FAILED  \]/ { bad++; running = 0 }
	     running && /^\[  SKIPPED \]/ { skip++; running = 0 }
	     END { printf "%d %d %d\n", ok, bad, skip }' "$log"
}

for program in "$@"; do
	name=$(basename "$program")
	mkdir "$scratch/$name" || exit 1
	(cd "$scratch/$name" && TMPDIR=. exec timeout "${TEST_TIMEOUT:-120}" "$program") \
		>"$log" 2>&1 </dev/null
	status=$?
	read -r ok bad skip <<-END
		$(tally)
	END
	why=
	if [ "$status" -eq 124 ]; then
		why=" (timed out)"
	elif [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
		why=" (ended with status $status)"
	elif [ "$((ok + bad + skip))" -eq 0 ]; then
		why=" (ran no test)"
	fi
	# A program that dies, hangs or runs nothing is a failure of its own.
	[ -z "$why" ] || bad=$((bad + 1))
	printf '%s: %s: %d passed, %d failed, %d skipped%s\n' "$layer" "$name" "$ok" "$bad" "$skip" "$why"
	if [ "$bad" -ne 0 ]; then
		sed 's/^/    /' "$log"
	elif [ "$skip" -ne 0 ]; then
		grep -i 'skip' "$log" | sed 's/^/    /'
	fi
	passed=$((passed + ok))
	failed=$((failed + bad))
	skipped=$((skipped + skip))
done

printf '%s: %d passed, %d failed, %d skipped\n' "$layer" "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
