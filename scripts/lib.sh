# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# What every script of this project shares: messages, the build and cache
# folders, and the private apt configuration.  Sourced, never run.
#
# Invariant: nothing here writes outside $BUILD and $CACHE, and the system's
# own apt sources, lists and caches are only ever read.

set -euo pipefail

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Exported by the Makefile (O=); a script run by hand gets the same default.
BUILD=${BUILD:-$TOP/build}
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/virtio-gpu-userptr
# The Linux version that the series is laid over, as in patches/linux-$KVER.
KVER=${KVER:-7.3}

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*"; }
die() { printf '%s: error: %s\n' "$(basename "$0" .sh)" "$*" >&2; exit 1; }

# run_as_root CMD...: CMD as root, saying why first if that needs sudo.
run_as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		say "root is needed for: $*"
		sudo "$@"
	else
		die "root is needed for '$*', and there is no sudo: run it yourself"
	fi
}

# debian_archive: the address of the Debian archive that this machine's apt
# is set up with (the first "deb" source of component main that carries the
# release the machine runs).  Empty answer: there is none.
debian_archive() {
	local codename
	# shellcheck disable=SC1091
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	# awk reads to the end: leaving early would kill apt-get with SIGPIPE.
	# shellcheck disable=SC2016 # apt fills these in
	apt-get indextargets --format '$(CREATED_BY) $(COMPONENT) $(RELEASE) $(REPO_URI)' |
		awk -v r="$codename" '$1 == "Packages" && $2 == "main" &&
			$3 == r && uri == "" { uri = $4 } END { print uri }'
}

# private_apt COMMAND...: apt-get with the project's own sources, lists and
# cache below $CACHE/apt.  Signatures are checked as always: the keyring is
# the distribution's.
private_apt() { with_private_apt apt-get "$@"; }

# with_private_apt PROGRAM ARGUMENTS...: the same for another program of apt.
with_private_apt() {
	local root=$CACHE/apt program=$1
	shift
	"$program" -q \
		-o Dir::Etc::SourceList="$root/sources.list" \
		-o Dir::Etc::SourceParts=/dev/null \
		-o Dir::Etc::Preferences=/dev/null \
		-o Dir::Etc::PreferencesParts=/dev/null \
		-o Dir::State="$root/state" \
		-o Dir::State::status="$root/state/status" \
		-o Dir::Cache="$root/cache" \
		-o APT::Sandbox::User="$(id -un)" \
		-o APT::Update::Post-Invoke= -o APT::Update::Post-Invoke-Success= \
		"$@"
}

# private_apt_setup SUITE...: point private_apt at these suites of the
# machine's own archive and bring its lists up to date.
private_apt_setup() {
	local root=$CACHE/apt archive suite
	local keyring=/usr/share/keyrings/debian-archive-keyring.gpg

	archive=$(debian_archive)
	[ -n "$archive" ] ||
		die "apt on this machine has no Debian archive for its own release: set one up, or give a kernel tree with KSRC=/path"
	[ -r "$keyring" ] || die "$keyring is missing: install debian-archive-keyring"
	mkdir -p "$root/state/lists/partial" "$root/cache/archives/partial"
	: >>"$root/state/status"
	for suite in "$@"; do
		echo "deb [signed-by=$keyring] $archive $suite main"
	done >"$root/sources.list"
	say "reading the package lists of $*"
	# Without the option apt-get counts an archive that it cannot reach as a
	# success.
	private_apt update -o APT::Update::Error-Mode=any >"$root/update.log" 2>&1 ||
		{ cat "$root/update.log" >&2; die "cannot read the package lists of $*: no network?"; }
}

# private_apt_download PACKAGE: bring PACKAGE into $CACHE/apt/cache/archives,
# without what it depends on.
private_apt_download() {
	local archives=$CACHE/apt/cache/archives

	# apt-get download writes to the current folder.
	mkdir -p "$archives/partial"
	rm -rf "$archives/incoming"
	mkdir "$archives/incoming"
	(cd "$archives/incoming" && private_apt download "$1") || return 1
	mv "$archives/incoming"/*.deb "$archives/"
	rmdir "$archives/incoming"
}

# lock_build: wait for any other script that works on the kernel tree of
# $BUILD; the lock goes with the process.
lock_build() {
	exec 9>"$BUILD/.lock"
	if ! flock -n 9; then
		say "waiting for another build in $BUILD"
		flock 9
	fi
}

# how_many NAME: the variable NAME, if it is set; else one for each processor
# that has 4 GiB of memory to itself, and at least one.
how_many() {
	local fit number=${!1:-}

	if [ -z "$number" ]; then
		number=$(nproc)
		fit=$(awk '/^MemAvailable:/ { print int($2 / 4194304) }' /proc/meminfo)
		[ "$number" -le "$fit" ] || number=$fit
		[ "$number" -ge 1 ] || number=1
	fi
	[[ $number =~ ^[1-9][0-9]*$ ]] || die "$1=$number: not a number from 1 up"
	echo "$number"
}

# chosen NAME: whether RUN= asks for it: a list of names, in which * matches
# anything; without RUN= everything is asked for.
chosen() {
	local pattern patterns

	read -r -a patterns <<<"${RUN:-*}"
	for pattern in "${patterns[@]}"; do
		# shellcheck disable=SC2053 # a pattern
		[[ $1 != $pattern ]] || return 0
	done
	return 1
}

# amdgpu_headers FOLDER: makes FOLDER one with xf86drm.h and libdrm/ as libdrm 2.4.121 or
# newer has them, the machine's or the tree's, and prints it; nothing if there are none.
amdgpu_headers() {
	local from=$BUILD/trixie/usr/include

	if pkg-config --exists 'libdrm_amdgpu >= 2.4.121' 2>/dev/null; then
		from=$(pkg-config --variable=includedir libdrm)
	elif [ ! -f "$BUILD/trixie/.userptr-packages" ]; then
		return 0
	fi
	# By themselves: beside them are headers of another C library.
	mkdir -p "$1"
	ln -sfn "$from/xf86drm.h" "$1/xf86drm.h"
	ln -sfn "$from/libdrm" "$1/libdrm"
	echo "$1"
}
