/* SPDX-License-Identifier: MIT */
/*
 * fuzz: what all fuzz targets share
 *
 * An input is a head and records: what is done to the part that is fuzzed, one
 * thing after the other.  Any bytes are an input, so that libFuzzer may do what it
 * likes; but the mutator here knows the records, and asks the target for whole ones
 * that make sense.  A target is one struct fuzz_target; frame.c has what libFuzzer
 * calls.
 *
 * What is looked at after each input, whatever the target: descriptors, mappings of
 * files, and memory (by libFuzzer and LeakSanitizer).  What the target itself knows
 * to be wrong it says with fuzz_oracle().
 *
 * Threads: one, but for what a target starts.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
/* More records than that are cut off. */
#define FUZZ_MAX_RECORDS 160
/* Bytes of a record's data. */
#define FUZZ_MAX_DATA 2048

/**
 * struct fuzz_random - numbers that look random, the same for the same seed
 * @state: not 0
 */
struct fuzz_random {
	uint64_t state;
};

static inline uint32_t fuzz_random(struct fuzz_random *random)
{
	random->state ^= random->state << 13;
	random->state ^= random->state >> 7;
	random->state ^= random->state << 17;
	return (uint32_t)(random->state >> 16);
}

/* From 0 to @n - 1. */
static inline uint32_t fuzz_below(struct fuzz_random *random, uint32_t n)
{
	return (uint32_t)(((uint64_t)fuzz_random(random) * n) >> 32);
}

/* Once in @n times. */
static inline bool fuzz_once_in(struct fuzz_random *random, uint32_t n)
{
	return !fuzz_below(random, n);
}

/**
 * struct fuzz_head - what holds for a whole input
 * @config: of what is fuzzed, in bits of the target's
 * @chaos: what a second processor does meanwhile; 0: nothing
 * @fail: this allocation fails, counted from 1; 0: none
 * @fails: and so many after it
 * @mode: the target's
 * @seed: of what is random
 */
struct fuzz_head {
	uint8_t config;
	uint8_t chaos;
	uint8_t fail[2];
	uint8_t fails;
	uint8_t mode;
	uint8_t seed[2];
};

/**
 * struct fuzz_record - one thing to do
 * @op: what, modulo the number of the target's
 * @arg: how
 * @len: bytes of @data
 * @data: in the input
 */
struct fuzz_record {
	uint8_t op;
	uint8_t arg;
	uint16_t len;
	const uint8_t *data;
};

/**
 * struct fuzz_input - an input
 * @head: a copy
 * @nr: of @records
 * @records: in order
 */
struct fuzz_input {
	struct fuzz_head head;
	unsigned int nr;
	struct fuzz_record records[FUZZ_MAX_RECORDS];
};

/**
 * struct fuzz_maker - where new records go
 * @input: to the end of this one
 * @pool: their data
 * @used: bytes of @pool
 */
struct fuzz_maker {
	struct fuzz_input *input;
	uint8_t pool[1 << 16];
	size_t used;
};

/* A new record with @len bytes of data, zeroed; NULL: there is no more room. */
uint8_t *fuzz_make(struct fuzz_maker *maker, uint8_t op, uint8_t arg, size_t len);

/**
 * struct fuzz_target - a target
 * @name: of it
 * @nr_ops: of its records
 * @start: once, before all; may be NULL
 * @run: one input
 * @make: some records that make sense, at the end of an input
 * @touch: change a record so that it still makes sense; @record->data is @data, which
 *	has room for FUZZ_MAX_DATA bytes
 * @seed: number @nr of the inputs to begin with, head and records; false: no more
 */
struct fuzz_target {
	const char *name;
	unsigned int nr_ops;
	void (*start)(void);
	void (*run)(const struct fuzz_input *input);
	void (*make)(struct fuzz_random *random, struct fuzz_maker *maker);
	void (*touch)(struct fuzz_random *random, struct fuzz_record *record, uint8_t *data);
	bool (*seed)(unsigned int nr, struct fuzz_input *input, struct fuzz_maker *maker);
};

extern const struct fuzz_target fuzz_target;

/* Something is as it must not be: say what, and abort. */
void fuzz_oracle(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* For what has to work where the target runs, or nothing can be fuzzed. */
void fuzz_need(bool there, const char *what);

/* Little-endian numbers in the data of records, zero past the end. */
uint64_t fuzz_get(const uint8_t *data, size_t len, size_t offset, unsigned int width);
void fuzz_put(uint8_t *data, size_t len, size_t offset, unsigned int width, uint64_t value);

/* A number that such code may have forgotten. */
uint64_t fuzz_odd_number(struct fuzz_random *random);

/**
 * struct fuzz_field - a number in the data of a record
 * @offset: where
 * @width: bytes
 * @min: plausible values: from here
 * @max: to here
 * @unit: in steps of it, 0 counts as 1
 */
struct fuzz_field {
	uint16_t offset;
	uint8_t width;
	uint64_t min;
	uint64_t max;
	uint64_t unit;
};

/* A value that makes sense, or, once in a while, one that does not. */
void fuzz_touch_field(struct fuzz_random *random, const struct fuzz_field *field, uint8_t *data,
		      size_t len);

/*
 * watch.c: what every input is watched for
 */

/* Before and after an input; the second aborts if something was left behind. */
void watch_begin(const struct fuzz_head *head);
void watch_end(void);
/* The calling thread is the harness, not what is fuzzed: its allocations do not fail. */
void watch_pause(void);
void watch_resume(void);
/* Whether an allocation has failed since watch_begin(). */
bool watch_has_failed(void);

#endif /* FUZZ_H */
