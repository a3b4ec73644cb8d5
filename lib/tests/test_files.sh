#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_files.sh: what `make all` and `make install` have made
#
# Says what it finds as the unit tests do, for host/tests/run-tests.sh.
#
#	LIB_BUILD	where it was built
#	LIB_SOURCE	the folder lib
#	HSAKMT_INCLUDE	the folder of <hsakmt/hsakmt.h>, where that is not the machine's
#
# Everything that it makes lies in the current folder.
# shellcheck disable=SC2317 # called by name
set -u

SHARED=$LIB_BUILD/libvirtgpu-userptr.so
STATIC=$LIB_BUILD/libvirtgpu-userptr.a
HEADER=$LIB_SOURCE/include/virtgpu-userptr.h
HSAKMT=$LIB_BUILD/libhsakmt-virtgpu.so
CC=${CC:-cc}

# interface: the functions of the header.
interface() {
	grep -ohE '\bvirtgpu_userptr_[a-z_]+\(' "$HEADER" | tr -d '(' | sort -u
}

# The shared library shows the interface, each symbol with its version.
symbols() {
	nm -D --defined-only "$SHARED" | awk '$2 == "T" { print $3 }' >shown
	interface | sed 's/$/@@VIRTGPU_USERPTR_0.1/' >expected
	diff expected shown
}

# So does the static one, without versions.
symbols_static() {
	nm -g --defined-only "$STATIC" | awk 'NF == 3 { print $3 }' | sort >shown
	interface >expected
	diff expected shown
}

# The thunk shows what it says, each of which the stock header declares, or its own.
symbols_hsakmt() {
	[ -e "$HSAKMT" ] || { echo "there was no <hsakmt/hsakmt.h>"; return 77; }
	nm -D --defined-only "$HSAKMT" | awk '$2 == "T" { print $3 }' >shown
	sed -n 's/^\t\(hsaKmt.*\);/\1@@HSAKMT_VIRTGPU_0.1/p' \
		"$LIB_SOURCE/libhsakmt-virtgpu.map" | LC_ALL=C sort >expected
	LC_ALL=C sort shown | diff expected - || return 1
	readelf -d "$HSAKMT" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
		grep -vxE 'libvirtgpu-userptr\.so\.0|libc\.so\.6|ld-linux-.*' >needed
	[ ! -s needed ] || { cat needed; return 1; }
}

# It needs nothing but the C library, to which the loader belongs.
dependencies() {
	readelf -d "$SHARED" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | \
		grep -vxE 'libc\.so\.6|ld-linux-.*' >needed
	[ ! -s needed ] || { cat needed; return 1; }
	readelf -d "$SHARED" | grep -q 'SONAME.*\[libvirtgpu-userptr.so.0\]'
}

# install: below DESTDIR, for PREFIX.
install_it() {
	env -u MAKEFLAGS "${MAKE:-make}" -s -C "$LIB_SOURCE" O="$LIB_BUILD" PREFIX=/usr \
		HSAKMT="${HSAKMT_INCLUDE:-}" DESTDIR="$PWD/dest" install
}

# Who compiles against what was installed finds all of it, in C and in C++, shared
# and static; the program says so itself when it runs.
installed() {
	install_it || return 1
	cat >program.c <<-'END'
		#include <virtgpu-userptr.h>

		int main(void)
		{
			struct virtgpu_userptr *ctx;

			return virtgpu_userptr_open(-1, 0, &ctx) == -9 && *virtgpu_userptr_error() ? 0 : 1;
		}
	END
	cp program.c program.cc
	flags=$(PKG_CONFIG_SYSROOT_DIR=$PWD/dest PKG_CONFIG_PATH='' \
		PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 \
		PKG_CONFIG_LIBDIR=$PWD/dest/usr/lib/pkgconfig \
		pkg-config --cflags --libs libvirtgpu-userptr) || return 1
	# shellcheck disable=SC2086 # a list
	$CC -std=c99 -Wall -Wextra -Werror -pedantic -o program program.c $flags || return 1
	LD_LIBRARY_PATH=$PWD/dest/usr/lib ./program || return 1
	$CC -I dest/usr/include -o program program.c dest/usr/lib/libvirtgpu-userptr.a -pthread || return 1
	./program || return 1
	if command -v g++ >/dev/null; then
		g++ -Wall -Wextra -Werror -I dest/usr/include -fsyntax-only program.cc || return 1
	fi
}

# So does who compiles against the thunk; it says that there is no GPU.
installed_hsakmt() {
	[ -e "$HSAKMT" ] || { echo "there was no <hsakmt/hsakmt.h>"; return 77; }
	[ -d dest ] || install_it || return 1
	cat >program.c <<-'END'
		#include <hsakmt-virtgpu.h>

		int main(void)
		{
			return hsaKmtOpenKFD() == HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED &&
			       hsaKmtVirtgpuCopy(1, 2, 3, 4) != HSAKMT_STATUS_SUCCESS ? 0 : 1;
		}
	END
	cp program.c program.cc
	flags=$(PKG_CONFIG_SYSROOT_DIR=$PWD/dest PKG_CONFIG_PATH='' \
		PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 \
		PKG_CONFIG_LIBDIR=$PWD/dest/usr/lib/pkgconfig \
		pkg-config --cflags --libs libhsakmt-virtgpu) || return 1
	# shellcheck disable=SC2086 # lists
	$CC -Wall -Wextra -Werror -o program program.c $flags \
		-idirafter "${HSAKMT_INCLUDE:-/usr/include}" -Wl,-rpath-link,dest/usr/lib || return 1
	HSAKMT_VIRTGPU_NODE=/dev/null LD_LIBRARY_PATH=$PWD/dest/usr/lib ./program || return 1
	if command -v g++ >/dev/null; then
		# shellcheck disable=SC2086 # lists
		g++ -Wall -Wextra -Werror $flags -idirafter "${HSAKMT_INCLUDE:-/usr/include}" \
			-fsyntax-only program.cc || return 1
	fi
}

# Each function has a manual page, under its own name.
manual() {
	status=0
	[ -d dest ] || install_it || return 1
	for name in $(interface); do
		[ -e "dest/usr/share/man/man3/$name.3" ] || { echo "no page $name.3"; status=1; }
	done
	for name in $(grep -ohE '\bhsaKmtVirtgpu[A-Za-z]+\(' "$LIB_SOURCE/include/hsakmt-virtgpu.h" |
		tr -d '(' | sort -u); do
		[ -e "dest/usr/share/man/man3/$name.3" ] || { echo "no page $name.3"; status=1; }
	done
	for name in virtgpu-userptr hsakmt-virtgpu; do
		[ -e "dest/usr/share/man/man7/$name.7" ] || { echo "no page $name.7"; status=1; }
	done
	for page in "$LIB_SOURCE"/man/*; do
		groff -man -ww -z -Tutf8 "$page" 2>complaints || status=1
		[ ! -s complaints ] || { cat complaints; status=1; }
		if command -v mandoc >/dev/null; then
			mandoc -T lint -W warning "$page" || status=1
		fi
	done
	return "$status"
}

for test in symbols symbols_static symbols_hsakmt dependencies installed installed_hsakmt \
	manual; do
	echo "[ RUN      ] $test"
	"$test"
	case $? in
	0) echo "[       OK ] $test" ;;
	77) echo "[  SKIPPED ] $test" ;;
	*) echo "[  FAILED  ] $test"; failed=1 ;;
	esac
done
exit "${failed:-0}"
