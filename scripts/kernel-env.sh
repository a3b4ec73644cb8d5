# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# How this project calls kbuild; sourced after lib.sh by the scripts that
# build or check the kernel.
#
# Invariant: two output folders with the same configuration give the same
# objects, so that a second clone finds them all in ccache.

KERNEL_TREE=$BUILD/linux-$KVER
# What kbuild calls ARCH.
KERNEL_ARCH=um

export CCACHE_DIR=$CACHE/ccache
export CCACHE_MAXSIZE=2G
export KBUILD_BUILD_TIMESTAMP='2026-01-01 00:00:00 UTC'
export KBUILD_BUILD_USER=userptr KBUILD_BUILD_HOST=build
# Settings of a calling make or of the user's shell are not for the kernel.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES O KSRC V W C CFLAGS LDFLAGS KCFLAGS ARCH \
	CROSS_COMPILE KCONFIG_CONFIG KBUILD_OUTPUT

# kernel_make OUT ARG...: make in the kernel tree; OUT is a folder in it.  With
# EXEC=exec make takes the place of the calling (sub)shell.
kernel_make() {
	local out=$1

	shift
	${EXEC:-} make --no-print-directory -C "$KERNEL_TREE" ARCH="$KERNEL_ARCH" O="$out" CC='ccache gcc' "$@"
}

# config_inputs FRAGMENT: a checksum over all that the configuration is made of.
config_inputs() {
	{
		gcc --version
		cat "$1" "$KERNEL_TREE/.userptr-origin"
		cd "$KERNEL_TREE" || exit
		# Of the many Kconfig files only the laid ones change in a package's
		# tree; in a user's tree any may.
		if grep -q '^tree ' .userptr-origin; then
			find . -path './build-*' -prune -o -name 'Kconfig*' -type f -print0 |
				sort -z | xargs -0 sha256sum
		else
			{ grep -E '(^|/)Kconfig' "$BUILD/linux-$KVER.laid/manifest" || true; } |
				xargs -r cat
		fi
	} 2>/dev/null | sha256sum
}

# configure_kernel OUT FRAGMENT: make OUT/.config out of an empty configuration
# and FRAGMENT, unless that was done with the same inputs, and stop if an
# option of FRAGMENT has not the value that FRAGMENT gives.
configure_kernel() {
	local out=$KERNEL_TREE/$1 fragment=$2 inputs line option lost=

	inputs=$(config_inputs "$fragment")
	if [ -f "$out/.config" ] && [ "$inputs" = "$(cat "$out/.config-inputs" 2>/dev/null)" ]; then
		return
	fi
	mkdir -p "$out"
	rm -f "$out/.config-inputs"
	KCONFIG_ALLCONFIG=$fragment kernel_make "$1" -s allnoconfig >"$out/config.log" 2>&1 </dev/null ||
		{ cat "$out/config.log" >&2; die "the kernel cannot be configured"; }
	while read -r line; do
		grep -qxF -- "$line" "$out/.config" && continue
		option=${line#\# }
		option=${option%%[= ]*}
		lost="$lost
  $option: wanted '$line', got '$(grep -E "^(# )?${option}[= ]" "$out/.config" || echo nothing)'"
	done < <(grep -E '^(CONFIG_[A-Z0-9_a-z]+=|# CONFIG_[A-Z0-9_a-z]+ is not set$)' "$fragment")
	[ -z "$lost" ] || die "options of $fragment did not take effect:$lost"
	echo "$inputs" >"$out/.config-inputs"
}

# progress PID LOG: one line every ten seconds while the build, whose process
# id is PID, runs; full output is in LOG.
progress() {
	local started=$SECONDS last=$SECONDS objects

	while kill -0 "$1" 2>/dev/null; do
		sleep 0.2
		[ $((SECONDS - last)) -ge 10 ] || continue
		last=$SECONDS
		objects=$(grep -c '^  CC ' "$2" || true)
		say "$objects files compiled, $((SECONDS - started)) s"
	done
}

# build_kernel OUT TARGET...: bring TARGETs of the configured OUT up to date.
build_kernel() {
	local out=$1 log=$BUILD/logs/$1.log maker status=0 compiled

	shift
	mkdir -p "$BUILD/logs"
	# The process id must be make's: a process in the background ignores Ctrl-C.
	EXEC='exec' kernel_make "$out" -j"$(nproc)" "$@" >"$log" 2>&1 </dev/null &
	maker=$!
	# shellcheck disable=SC2064 # $maker as it is now
	trap "kill $maker 2>/dev/null; wait $maker; exit 130" INT TERM HUP
	progress "$maker" "$log"
	wait "$maker" || status=$?
	trap - INT TERM HUP
	if [ "$status" -ne 0 ]; then
		grep -nE '(error|Error|undefined reference|\*\*\*)' "$log" | head -n 40 >&2 ||
			tail -n 40 "$log" >&2
		die "the kernel does not build; the whole output is in $log"
	fi
	# Warnings about our driver are shown also when the build passes.
	grep -A 6 -E 'drivers/gpu/drm/virtio/.*warning:' "$log" >&2 || true
	compiled=$(grep -c '^  CC ' "$log" || true)
	[ "$compiled" -eq 0 ] || say "compiled $compiled files"
}
