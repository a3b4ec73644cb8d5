/* SPDX-License-Identifier: MIT */
/* view_udmabuf: the former name of memory/udmabuf.h */
#include "memory/udmabuf.h"
