// SPDX-License-Identifier: MIT
#include <kunit/test.h>
