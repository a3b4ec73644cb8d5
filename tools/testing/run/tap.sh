# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# How the runners of guests and hosts count what programs report (TAP, or cmocka's
# words for programs of host/tests); sourced after lib.sh.
#
# Invariant: a boot that does not run all its programs and all the tests that they
# announce, or that ends badly, counts as a failure of its own.

passed=0 failed=0 skipped=0

# add OK BAD SKIPPED
add() {
	passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

# count_tap NAME LOGS STATUS PROGRAMS WHO: adds what LOGS/tap.log says of the boot
# NAME, in which so many PROGRAMS were to announce their tests (0: any number) and
# which ended with STATUS; else WHO failed, and LOGS/errors.log says why.
count_tap() {
	local name=$1 logs=$2 status=$3 programs=$4 who=$5 planned plans ok bad skip

	planned=$(awk -F'[. ]+' '/^1\.\.[0-9]+/ { n += $2 } END { print n + 0 }' "$logs/tap.log")
	plans=$(grep -cE '^1\.\.[0-9]+' "$logs/tap.log" || true)
	skip=$(grep -cE '^ok .*# SKIP' "$logs/tap.log" || true)
	ok=$(grep -cE '^ok ' "$logs/tap.log" || true)
	bad=$(grep -cE '^not ok ' "$logs/tap.log" || true)
	if [ "$((ok + bad))" -lt "$planned" ] || [ "$planned" -eq 0 ]; then
		printf 'not ok - %s: only %d of %d tests were run\n' "$name" $((ok + bad)) "$planned"
		bad=$((bad + 1))
	fi
	if [ "$plans" -lt "$programs" ]; then
		printf 'not ok - %s: only %d of %d programs were run\n' "$name" "$plans" "$programs"
		bad=$((bad + 1))
	fi
	if [ "$status" -ne 0 ]; then
		printf 'not ok - %s: %s failed (status %d)\n' "$name" "$who" "$status"
		bad=$((bad + 1))
		head -n 60 "$logs/errors.log"
	fi
	if [ "$bad" -gt 0 ]; then
		grep -E '^# .*[^ ]' "$logs/tap.log" | grep -vE '^#  (RUN|  *OK) ' | tail -n 60 || true
		printf '# logs of this boot: %s\n' "$logs"
	fi
	add $((ok - skip)) "$bad" "$skip"
}

# Seconds that each test program of units() may take.
units_limit=300

# units NAME OPTIONS-OF-HOST-RUN... -- PROGRAM...: test programs of host/tests on
# the host, in $UNITS, which say what they skip and why; logs are in $LOGS/NAME.
units() {
	local name=$1 options=() paths=() status=0 line ok bad skip

	shift
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	paths=("${@/#/$UNITS/}")
	# shellcheck disable=SC2153 # of who sources this
	mkdir -p "$LOGS/$name"
	printf '# host: %s\n' "$name"
	"$TOP/scripts/host-run" --timeout $((units_limit + 100)) --logs "$LOGS/$name" "${options[@]}" -- \
		env TEST_TIMEOUT="$units_limit" TMPDIR=/tmp sh "$TOP/host/tests/run-tests.sh" "${paths[@]}" \
		2>"$LOGS/$name/errors.log" | tee "$LOGS/$name/units.log" | sed '$d' || status=${PIPESTATUS[0]}
	line=$(grep -aE '^host: [0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$LOGS/$name/units.log" |
		tail -n 1) || line='host: 0 passed, 0 failed, 0 skipped'
	read -r _ ok _ bad _ skip _ <<<"$line"
	if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
		printf 'not ok - %s: ended with status %d\n' "$name" "$status"
		head -n 60 "$LOGS/$name/errors.log"
		bad=1
	fi
	add "$ok" "$bad" "$skip"
}
