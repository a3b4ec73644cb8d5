# SPDX-License-Identifier: MIT
#
# For makefiles of programs that run in another system than the machine's own: the
# guest of the Vulkan layers, or the host that scripts/host-run makes.
#
# SYSROOT is a tree of that system, with its headers and libraries; the compiler and
# make are the machine's own.  Without it the machine's own libraries are used.
#
# TOP is the top of the repository, O where everything goes; both are set before.

KSRC ?= $(TOP)/build/linux-7.3
SYSROOT ?=
CC ?= gcc
LIBS := $(SYSROOT)/usr/lib/x86_64-linux-gnu

WARNINGS := -Wall -Wextra -Werror -Wshadow -Wmissing-prototypes -Wno-unused-parameter
CFLAGS ?= -O2 -g
# The compiler looks in its own folders first, where the machine's C library is.
SYSROOT_FLAGS := $(if $(SYSROOT),--sysroot=$(SYSROOT) -B$(LIBS) -L$(LIBS))
# What the programs of the guest are compiled with; uapi headers as they stand in the
# tree still carry the kernel's annotation.
GUEST_FLAGS := -std=gnu11 -D_GNU_SOURCE -D__user= -I$(TOP)/include -I$(TOP)/include/uapi \
	-I$(TOP)/tools/lib -I$(TOP)/lib/uapi -I$(TOP)/tools/testing/guest -I$(O) \
	-idirafter $(KSRC)/include/uapi -idirafter $(KSRC)/include/uapi/drm \
	-isystem $(KSRC)/tools/testing/selftests
DEPEND = -MMD -MP -MT $@ -MF $@.d
# $(1): flags that the folder adds
compile = $(CC) $(SYSROOT_FLAGS) $(1) $(CFLAGS) $(WARNINGS) $(DEPEND) -c -o $@ $<
link = $(CC) $(SYSROOT_FLAGS) $(CFLAGS) -pthread -o $@ $(filter %.o,$^)

# One short line a file, or with V=1 the command.
Q := $(if $(filter 1,$(V)),,@)
short = $(if $(Q),@printf '  %-5s %s\n' $(1) $(2))
# The name of a file as it is from the top of the repository.
named = $(patsubst $(TOP)/%,%,$(abspath $(1)))

.PHONY: all clean
.DELETE_ON_ERROR:
.SECONDARY:

# Before any rule of the file that includes this one.
all:

$(O):
	$(Q)mkdir -p $@

clean:
	rm -rf $(O)
