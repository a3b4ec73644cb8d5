#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: stress.sh STATS
#
# amdgpu_stress of libdrm-tests, which nobody has told that this is no real card: copies
# between VRAM and GTT in both directions.  It does not wait for the end of what it
# submits; STATS, the model's counters, say when all is done and how much it was.

# value NAME
value() { awk -v name="$1" '$1 == name { print $2 }' "$stats"; }

stats=$1
echo 1..3
if amdgpu_stress -b v 64m -b g 64m -b vg 16m -c 1 2 64m 3 -c 2 1 32m 2 -c 3 1 16m 2 >/dev/null; then
	echo "ok 1 amdgpu_stress"
else
	echo "not ok 1 amdgpu_stress"
fi
tries=0
# 3 * 64 + 2 * 32 + 2 * 16 MiB
while [ "$(value bytes_copied)" -lt 301989888 ] && [ $tries -lt 300 ]; do
	sleep 0.1
	tries=$((tries + 1))
done
[ "$(value bytes_copied)" -eq 301989888 ] || printf 'not '
echo "ok 2 all bytes were copied"
[ "$(value faults)$(value bad_packets)" = 00 ] || printf 'not '
echo "ok 3 without a fault"
