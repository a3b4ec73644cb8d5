/* SPDX-License-Identifier: MIT */
/*
 * vulkan-demo: what the demos of Vulkan on process memory have in common
 *
 * Lines of output, malloc'ed memory, a file to fill it from, and how long each step
 * took.  Whatever fails ends the program, with "<demo_name>: FAILED: <why>" as its
 * last line.
 *
 * Threads: one.
 */
#ifndef VULKAN_DEMO_H
#define VULKAN_DEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vulkan/vulkan.h>

#define PAGE 4096ul
/* How long the release may take. */
#define RELEASE_MS 10000

/* As the runner calls it, "demo-venus"; each demo defines it. */
extern const char demo_name[];

void __attribute__((noreturn, format(printf, 1, 2))) demo_fail(const char *format, ...);
void __attribute__((format(printf, 2, 3))) demo_row(const char *label, const char *format, ...);
void demo_check(VkResult result, const char *what);

void demo_begin_step(void);
void demo_end_step(const char *name);
void demo_print_steps(void);

void demo_device(const VkPhysicalDeviceProperties *properties,
		 const VkPhysicalDeviceDriverProperties *driver);

uint8_t *demo_allocate(size_t size, uint8_t byte);
void demo_fill(const char *path, uint8_t *addr, size_t size);

bool demo_kernel(void);
uint32_t demo_segments(const void *addr, size_t size);
void demo_pinned(size_t bytes);
void demo_unpinned(void);

#endif /* VULKAN_DEMO_H */
