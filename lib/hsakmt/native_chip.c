// SPDX-License-Identifier: MIT
/*
 * native_chip: what follows from a chip's version
 *
 * ROCm's kernel interface has some properties that amdgpu's own, which is the one that
 * reaches through the native context, has not.  They are the same for all chips of a
 * version; these are facts of AMD's documents and of the kernel (amdkfd).
 */
#include <stddef.h>

#include "native.h"

#define V(major, minor, revision) ((major) << 16 | (minor) << 8 | (revision))

/* clang-format off */
static const struct native_chip chips[] = {
	/* version	target	simds	waves	lds */
	{ V(9, 0, 1),	 90000,	4,	10,	64 },
	{ V(9, 1, 0),	 90002,	4,	10,	64 },
	{ V(9, 2, 1),	 90004,	4,	10,	64 },
	{ V(9, 2, 2),	 90002,	4,	10,	64 },
	{ V(9, 3, 0),	 90012,	4,	10,	64 },
	{ V(9, 4, 0),	 90006,	4,	10,	64 },
	{ V(9, 4, 1),	 90008,	4,	10,	64 },
	{ V(9, 4, 2),	 90010,	4,	8,	64 },
	{ V(9, 4, 3),	 90402,	4,	8,	64 },
	{ V(9, 4, 4),	 90402,	4,	8,	64 },
	{ V(9, 5, 0),	 90500,	4,	8,	160 },
	{ V(10, 1, 1),	100102,	2,	20,	64 },
	{ V(10, 1, 2),	100101,	2,	20,	64 },
	{ V(10, 1, 3),	100103,	2,	20,	64 },
	{ V(10, 1, 4),	100103,	2,	20,	64 },
	{ V(10, 1, 10),	100100,	2,	20,	64 },
	{ V(10, 3, 0),	100300,	2,	16,	64 },
	{ V(10, 3, 1),	100303,	2,	16,	64 },
	{ V(10, 3, 2),	100301,	2,	16,	64 },
	{ V(10, 3, 3),	100305,	2,	16,	64 },
	{ V(10, 3, 4),	100302,	2,	16,	64 },
	{ V(10, 3, 5),	100304,	2,	16,	64 },
	{ V(10, 3, 6),	100306,	2,	16,	64 },
	{ V(10, 3, 7),	100306,	2,	16,	64 },
	{ V(11, 0, 0),	110000,	2,	16,	64 },
	{ V(11, 0, 1),	110003,	2,	16,	64 },
	{ V(11, 0, 2),	110002,	2,	16,	64 },
	{ V(11, 0, 3),	110001,	2,	16,	64 },
	{ V(11, 0, 4),	110003,	2,	16,	64 },
	{ V(11, 5, 0),	110500,	2,	16,	64 },
	{ V(11, 5, 1),	110501,	2,	16,	64 },
	{ V(11, 5, 2),	110502,	2,	16,	64 },
	{ V(11, 5, 3),	110503,	2,	16,	64 },
	{ V(12, 0, 0),	120000,	2,	16,	64 },
	{ V(12, 0, 1),	120001,	2,	16,	64 },
};
/* clang-format on */

/**
 * native_chip() - what follows from a chip's version
 * @version: see struct native_chip
 *
 * Return: NULL if it is not known.
 */
const struct native_chip *native_chip(uint32_t version)
{
	size_t i;

	for (i = 0; i < sizeof(chips) / sizeof(chips[0]); i++)
		if (chips[i].version == version)
			return &chips[i];
	return NULL;
}
