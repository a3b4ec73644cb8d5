# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Whether QEMU's guests run with KVM; sourced after lib.sh by who boots them.
#
# Invariant: $accel is kvm only if a guest booted with it, or ACCEL= says so.

# choose_accel LOGS: sets $accel.  That /dev/kvm is there says little: a guest must
# boot with it; what that one says is kept below LOGS.
choose_accel() {
	accel=${ACCEL:-}
	case $accel in
	kvm | tcg) return ;;
	'') ;;
	*) die "ACCEL=$accel: kvm or tcg" ;;
	esac
	accel=tcg
	if [ ! -w /dev/kvm ]; then
		echo "# no /dev/kvm here: using TCG"
	elif "$TOP/scripts/qemu-run" --kernel plain --accel kvm --mem 512M --timeout 10 \
		--logs "$1/kvm-probe" -- sh -c : >/dev/null 2>&1; then
		accel=kvm
		echo "# a guest boots with KVM: using it"
	else
		echo "# no guest boots with this machine's KVM ($1/kvm-probe): using TCG"
	fi
}
