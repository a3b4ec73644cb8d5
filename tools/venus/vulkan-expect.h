/* SPDX-License-Identifier: MIT */
/*
 * vulkan-expect: results of Vulkan in tests, by their names
 *
 * Included by test programs only, after kselftest_harness.h.
 */
#ifndef VULKAN_EXPECT_H
#define VULKAN_EXPECT_H

#include "vkc.h"

#define EXPECT_VK(wanted, call)                                    \
	do {                                                       \
		VkResult _got = (call);                            \
		EXPECT_EQ(wanted, _got)                            \
		{                                                  \
			TH_LOG("%s: %s", #call, vkc_result(_got)); \
		}                                                  \
	} while (0)

#define ASSERT_VK(wanted, call)                                    \
	do {                                                       \
		VkResult _got = (call);                            \
		ASSERT_EQ(wanted, _got)                            \
		{                                                  \
			TH_LOG("%s: %s", #call, vkc_result(_got)); \
		}                                                  \
	} while (0)

#endif /* VULKAN_EXPECT_H */
