// SPDX-License-Identifier: MIT
/*
 * quota: see quota.h
 */
#include "util/quota.h"

#include <assert.h>
#include <inttypes.h>

#include "util/clock.h"
#include "util/log.h"

/* A guest can run into a limit as often as it likes; the log says so this often. */
#define LOG_MS 5000

/**
 * quota_init() - an unused quota
 * @quota: it
 * @name: what it limits
 * @option: what changes it
 * @max: the limit
 */
void quota_init(struct quota *quota, const char *name, const char *option, uint64_t max)
{
	*quota = (struct quota){ .name = name, .option = option, .max = max };
}

/**
 * quota_left() - what may still be charged
 * @quota: it
 *
 * Return: that much.
 */
uint64_t quota_left(const struct quota *quota)
{
	return quota->used < quota->max ? quota->max - quota->used : 0;
}

/* Count a refusal; whether it is to be logged, and how many there were since the last line. */
static bool count_refusal(struct quota *quota, uint64_t *times)
{
	uint64_t now = clock_ms();

	quota->refused++;
	if (now < quota->silent_until)
		return false;
	quota->silent_until = now + LOG_MS;
	*times = quota->refused - quota->logged;
	quota->logged = quota->refused;
	return true;
}

/**
 * quota_refuse() - something does not fit
 * @quota: in what
 * @amount: how much it would be
 */
void quota_refuse(struct quota *quota, uint64_t amount)
{
	uint64_t times;

	if (count_refusal(quota, &times))
		log_error("limit of %s reached: %" PRIu64 " of %" PRIu64 " are used, %" PRIu64
			  " more are refused (%" PRIu64
			  " times since this was last said); %s raises it",
			  quota->name, quota->used, quota->max, amount, times, quota->option);
}

/**
 * quota_charge() - use some of it
 * @quota: of what
 * @amount: how much
 *
 * Return: true if it fits and was charged.
 */
bool quota_charge(struct quota *quota, uint64_t amount)
{
	if (amount > quota_left(quota)) {
		quota_refuse(quota, amount);
		return false;
	}
	quota->used += amount;
	if (quota->used > quota->peak)
		quota->peak = quota->used;
	return true;
}

/**
 * quota_uncharge() - give back what was charged
 * @quota: to what
 * @amount: how much
 */
void quota_uncharge(struct quota *quota, uint64_t amount)
{
	assert(amount <= quota->used);
	quota->used -= amount;
}

/**
 * quota_fits() - whether one thing is within the limit
 * @quota: of what each has by itself
 * @amount: how much this one has
 *
 * Return: true if so.
 */
bool quota_fits(struct quota *quota, uint64_t amount)
{
	uint64_t times;

	if (amount <= quota->max) {
		if (amount > quota->peak)
			quota->peak = amount;
		return true;
	}
	if (count_refusal(quota, &times))
		log_error("limit of %s is %" PRIu64 ", %" PRIu64 " are refused (%" PRIu64
			  " times since this was last said); %s raises it",
			  quota->name, quota->max, amount, times, quota->option);
	return false;
}

/**
 * quota_print() - a line of the statistics
 * @quota: of it
 * @to: where it goes
 */
void quota_print(const struct quota *quota, FILE *to)
{
	fprintf(to,
		"limit %s: used %" PRIu64 " of %" PRIu64 ", peak %" PRIu64 ", refused %" PRIu64
		"\n",
		quota->name, quota->used, quota->max, quota->peak, quota->refused);
}
