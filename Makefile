# SPDX-License-Identifier: MIT
#
# Builds, runs and tests everything of this project; `make help` lists what
# there is to ask for.  Everything that is built goes below $(O), downloads and
# the compiler cache below ~/.cache/virtio-gpu-userptr.
#
# The work is done by scripts/; here is what depends on what.  Each step looks
# by itself for what there is to do, so all targets are phony, and each can be
# interrupted and run again.

# One thing at a time: each step uses all processors by itself.
.NOTPARALLEL:

O ?= build
# A name of its own: what kbuild and sub-makes call O and KSRC is not this.
override BUILD := $(abspath $(O))
# The Linux version that the series is laid over.
KVER ?= 7.3
export BUILD KSRC KVER FILE RUN ACCEL T MIN

JOBS := $(shell nproc)
KERNEL_TREE := $(BUILD)/linux-$(KVER)
Q := $(if $(filter 1,$(V)),,@)
SUBMAKE = +$(Q)$(MAKE) --no-print-directory -j$(JOBS)

# scripts/run-tests builds everything once and then runs each layer with
# BUILT=1, which is a promise that there is nothing left to build.
ifeq ($(BUILT),1)
built =
else
built = $(1)
endif

.PHONY: all help deps kernel-source kernel host tools demo test test-full \
	kernel-x86 trixie mesa mesa-radeonsi guest-image venus demo-venus test-qemu test-kunit test-host \
	test-lib test-uml test-venus lib lib-install bench bench-check \
	amdgpu demo-amdgpu test-amdgpu test-mutants test-fuzz fuzz coverage check format clean distclean

## all: build the guest kernel, the host device, the tools and the libraries (the default)
all: kernel host tools lib

## help: this list
help:
	@echo 'make [TARGET] [O=build folder] [KSRC=kernel tree] [V=1]'
	@echo
	@sed -n 's/^## \([^:]*\): /\1|/p' $(firstword $(MAKEFILE_LIST)) | \
		awk -F '|' '{ printf "  %-18s %s\n", $$1, $$2 }'
	@echo
	@echo '  O=DIR      build below DIR instead of ./build'
	@echo '  KVER=V     lay the series over Linux V (7.3): there must be a patches/linux-V'
	@echo '  KSRC=DIR   use a copy of the kernel tree DIR instead of the package'
	@echo '  FILE=FILE  what a demo reads'
	@echo '  RUN=NAME   the runs of test-uml, test-qemu, test-venus, test-amdgpu or test-mutants to'
	@echo '             do, the targets of fuzz or the guests of bench; * matches anything'
	@echo '  T=SECONDS  how long fuzz runs each target (60)'
	@echo '  MIN=N      coverage fails below N percent of the lines (95)'
	@echo '  ACCEL=A    kvm or tcg, for test-qemu (default: KVM if a guest boots with it)'
	@echo '  QUICK=1    bench measures less, in a few minutes'
	@echo '  RECORD=1   bench-check writes what it compares with'
	@echo '  V=1        show the commands'

## deps: install the Debian packages that are needed and missing
deps:
	$(Q)scripts/deps

## kernel-source: bring Linux and lay this project's files and patches over it
kernel-source: deps
	$(Q)scripts/fetch-linux
	$(Q)scripts/lay-tree

## kernel: build the guest kernel for User-Mode Linux
kernel: kernel-source
	$(Q)scripts/build-um

## kernel-x86: build the guest kernels for QEMU, one for debugging and a plain one
kernel-x86: $(call built,kernel-source)
	$(Q)scripts/build-x86

## trixie: make a tree of Debian trixie with QEMU 11.1, virglrenderer and lavapipe
trixie: $(call built,deps)
	$(Q)scripts/fetch-trixie

## mesa: build the guest's Vulkan drivers, Venus and RADV
mesa: trixie
	$(Q)scripts/build-mesa

## mesa-radeonsi: look whether the patches for Mesa compile in OpenGL's radeonsi
mesa-radeonsi: trixie
	$(Q)scripts/build-mesa --radeonsi

# What guests of the Vulkan layers run, and the device that the host of User-Mode Linux
# runs: one image for both layers.
guest-image: $(call built,kernel tools lib) mesa
	$(Q)scripts/build-x86 plain
	$(SUBMAKE) -C host O=$(BUILD)/venus/host SYSROOT=$(BUILD)/trixie all
	$(SUBMAKE) -C tools/venus O=$(BUILD)/tools/venus SYSROOT=$(BUILD)/trixie \
		KSRC=$(KERNEL_TREE) all
	$(SUBMAKE) -C tools/amdgpu O=$(BUILD)/tools/amdgpu-guest SYSROOT=$(BUILD)/trixie \
		KSRC=$(KERNEL_TREE) all
	$(Q)scripts/make-initramfs plain
	$(Q)scripts/make-guest-image

## venus: build everything that demo-venus and test-venus run
venus: guest-image

## amdgpu: build everything that demo-amdgpu and test-amdgpu run
amdgpu: guest-image
	$(SUBMAKE) -C tools/testing/amdgpu-model/tests O=$(BUILD)/tools/amdgpu \
		SYSROOT=$(BUILD)/trixie KSRC=$(KERNEL_TREE) all

## host: build the vhost-user device
host: deps
	$(SUBMAKE) -C host O=$(BUILD)/host all

LIB_MAKE = $(SUBMAKE) -C lib O=$(BUILD)/lib KSRC=$(KERNEL_TREE) HSAKMT=$(BUILD)/hsakmt

## lib: build the libraries of user space, and the programs that test them in the guest
lib: deps $(call built,kernel-source)
	$(Q)scripts/fetch-hsakmt
	$(LIB_MAKE) all guest

## lib-install: install the libraries (PREFIX=/usr/local, DESTDIR=)
lib-install: deps
	$(Q)scripts/fetch-hsakmt
	$(LIB_MAKE) install

## tools: build the programs that run in the guest
tools: kernel-source
	$(SUBMAKE) -C tools O=$(BUILD)/tools KSRC=$(KERNEL_TREE) all

## demo: hash and invert a file's bytes in a guest process's own memory (FILE=)
demo: $(call built,kernel host tools)
	$(Q)tools/testing/run/run-demo

## demo-venus: a Vulkan compute shader of the host on a guest process's memory (FILE=)
demo-venus: venus
	$(Q)tools/testing/run/run-demo-venus

## demo-amdgpu: an amdgpu's copy engine on a guest process's memory, with RADV (FILE=)
demo-amdgpu: amdgpu
	$(Q)tools/testing/run/run-demo-amdgpu

## test: check and every test layer; the last line is the sum of all
test: deps
	+$(Q)QUICK=$(if $(FULL),,1) MAKE='$(MAKE)' scripts/run-tests \
		test-qemu test-amdgpu -- check test-kunit test-host test-lib test-fuzz test-uml test-venus

## test-full: clean first, then test, all of it and longer, and test-mutants
test-full: export USERPTR_STRESS := $(or $(USERPTR_STRESS),120)
test-full: FULL := 1
test-full: clean test test-mutants

## test-kunit: the driver's KUnit tests, in User-Mode Linux
test-kunit: $(call built,kernel)
	$(Q)tools/testing/run/run-kunit

## test-host: the device's unit tests, with sanitizers
test-host: $(call built,deps)
	$(SUBMAKE) -C host O=$(BUILD)/host test

## test-lib: the libraries' unit tests, with sanitizers
test-lib: $(call built,deps)
	$(Q)scripts/fetch-hsakmt
	$(LIB_MAKE) test

## test-uml: tests in a guest against the real device
test-uml: $(call built,kernel host tools lib)
	$(Q)tools/testing/run/run-uml-tests

## test-qemu: tests in an x86-64 guest behind stock QEMU, with every debugging aid
test-qemu: $(call built,host tools lib) kernel-x86
	$(Q)scripts/fetch-trixie --for-qemu
	$(Q)tools/testing/run/run-qemu-tests

# The device's test programs for the hosts' system; layers that go on at the same time
# want them.
TRIXIE_TESTS = +$(Q)mkdir -p $(BUILD)/venus && flock $(BUILD)/venus/host.lock \
	$(MAKE) --no-print-directory -j$(JOBS) -C host O=$(BUILD)/venus/host SYSROOT=$(BUILD)/trixie tests

## test-venus: Vulkan on process memory, with stock QEMU, virglrenderer, udmabuf and lavapipe
test-venus: venus
	$(TRIXIE_TESTS)
	$(Q)tools/testing/run/run-venus-tests

## test-amdgpu: the software amdgpu, by itself, and under guests through our native context
test-amdgpu: amdgpu
	$(TRIXIE_TESTS)
	$(Q)tools/testing/run/run-amdgpu-tests

## fuzz: fuzz the device, with what was found before, T seconds a target
fuzz: $(call built,deps)
	+$(Q)MAKE='$(MAKE)' scripts/fuzz

## test-fuzz: the same; half an hour a target in test-full
test-fuzz: export T := $(or $(T),$(if $(QUICK),15,1800))
test-fuzz: fuzz

## coverage: lines of host/ that unit tests and fuzz inputs reach; fails below MIN percent
coverage: $(call built,deps)
	+$(Q)MAKE='$(MAKE)' scripts/coverage

## test-mutants: break the driver on purpose, and expect tests to fail
test-mutants: $(call built,kernel host tools)
	$(Q)scripts/test-mutants

## bench: what registrations cost, against bare pinning, with plots below build/bench
bench: $(call built,kernel-source host tools)
	$(Q)scripts/deps gnuplot-nox
	$(Q)scripts/fetch-trixie --for-qemu
	$(Q)scripts/build-um bench
	$(Q)scripts/build-x86 plain
	$(Q)tools/testing/run/run-bench

## bench-check: bytes, commands and instructions of a registration against recorded ones
bench-check: $(call built,kernel host tools)
	$(Q)scripts/deps valgrind
	$(SUBMAKE) -C host O=$(BUILD)/host cost
	$(Q)tools/testing/run/run-bench-check

# The parts of `make check`, each a target of its own.
CHECKS := checkpatch build sparse kconfig-off kernel-doc shellcheck format headers

## check: all static checks; the parts follow
## check-checkpatch: checkpatch --strict on our patches and kernel files
## check-build: our kernel files with W=1
## check-sparse: sparse on our kernel files
## check-kconfig-off: the driver compiles with our option off
## check-kernel-doc: kernel-doc -Werror on our kernel files
## check-shellcheck: shellcheck on all scripts
## check-format: clang-format on host/, lib/ and tools/
## check-headers: each of our headers compiles on its own
check: $(call built,kernel-source)
	$(Q)scripts/fetch-hsakmt
	$(Q)scripts/check $(CHECKS)

.PHONY: $(addprefix check-,$(CHECKS))
$(addprefix check-,$(CHECKS)): check-%: $(call built,kernel-source)
	$(Q)scripts/fetch-hsakmt
	$(Q)scripts/check $*

## format: rewrite host/, lib/ and tools/ with clang-format
format: deps
	$(Q)find host lib tools -name '*.[ch]' -print0 | xargs -0 -r clang-format -i

## clean: remove what was built; the kernel tree's source stays
clean:
	$(Q)scripts/clean

## distclean: remove the build folder; downloads and the compiler cache stay
distclean:
	$(Q)scripts/clean --all
