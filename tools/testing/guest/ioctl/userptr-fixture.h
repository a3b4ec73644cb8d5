/* SPDX-License-Identifier: MIT */
/*
 * userptr-fixture: the device with default limits, and memory to register
 *
 * Included by test programs only: it defines their fixture "userptr".
 *
 * Invariant: see userptr-test-session.h.
 */
#ifndef USERPTR_FIXTURE_H
#define USERPTR_FIXTURE_H

#include "lib/userptr-test-session.h"

FIXTURE(userptr)
{
	struct session session;
	struct region region;
};

FIXTURE_SETUP(userptr)
{
	memset(&self->region, 0, sizeof(self->region));
	session_begin(_metadata, &self->session, "MAIN");
}

FIXTURE_TEARDOWN(userptr)
{
	session_end(_metadata, &self->session);
	region_free(&self->region);
}

#endif /* USERPTR_FIXTURE_H */
