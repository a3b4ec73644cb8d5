// SPDX-License-Identifier: MIT
/*
 * frame: between libFuzzer and a target
 *
 * Takes inputs apart and puts them together; mutates them record by record; writes
 * the inputs to begin with (`--seeds=FOLDER`).  See fuzz.h.
 *
 * Threads: one.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz/fuzz.h"

#define RECORD_HEAD 4
#define MAX_INPUT (1 << 16)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2,
				 size_t size2, uint8_t *out, size_t max, unsigned int seed);
/* libFuzzer's own. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

void fuzz_oracle(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, format);
	fputs("ORACLE: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	abort();
}

void fuzz_need(bool there, const char *what)
{
	if (there)
		return;
	fprintf(stderr, "fuzz: cannot run here: %s\n", what);
	_exit(2);
}

/* ---- numbers ---- */

uint64_t fuzz_get(const uint8_t *data, size_t len, size_t offset, unsigned int width)
{
	uint64_t value = 0;
	unsigned int i;

	for (i = 0; i < width && offset + i < len; i++)
		value |= (uint64_t)data[offset + i] << (8 * i);
	return value;
}

void fuzz_put(uint8_t *data, size_t len, size_t offset, unsigned int width, uint64_t value)
{
	unsigned int i;

	for (i = 0; i < width && offset + i < len; i++)
		data[offset + i] = (uint8_t)(value >> (8 * i));
}

uint64_t fuzz_odd_number(struct fuzz_random *random)
{
	uint64_t value = (uint64_t)1 << fuzz_below(random, 64);

	switch (fuzz_below(random, 6)) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX - fuzz_below(random, 3);
	case 2:
		return value;
	case 3:
		return value - 1;
	case 4:
		return -value;
	default:
		return (uint64_t)fuzz_random(random) << 32 | fuzz_random(random);
	}
}

void fuzz_touch_field(struct fuzz_random *random, const struct fuzz_field *field, uint8_t *data,
		      size_t len)
{
	uint64_t unit = field->unit ? field->unit : 1, value;
	uint64_t steps = (field->max - field->min) / unit + 1;

	if (fuzz_once_in(random, 12))
		value = fuzz_odd_number(random);
	else
		value = field->min + (steps > UINT32_MAX ? fuzz_random(random) :
							   fuzz_below(random, (uint32_t)steps)) *
					     unit;
	fuzz_put(data, len, field->offset, field->width, value);
}

/* ---- inputs ---- */

static void input_read(struct fuzz_input *input, const uint8_t *data, size_t size)
{
	size_t head = size < sizeof(input->head) ? size : sizeof(input->head);

	memset(&input->head, 0, sizeof(input->head));
	if (head)
		memcpy(&input->head, data, head);
	data += head;
	size -= head;
	for (input->nr = 0; size >= RECORD_HEAD && input->nr < FUZZ_MAX_RECORDS; input->nr++) {
		struct fuzz_record *record = &input->records[input->nr];
		size_t len = (size_t)data[2] | (size_t)data[3] << 8;

		size -= RECORD_HEAD;
		if (len > size)
			len = size;
		if (len > FUZZ_MAX_DATA)
			len = FUZZ_MAX_DATA;
		*record = (struct fuzz_record){
			.op = data[0] % fuzz_target.nr_ops,
			.arg = data[1],
			.len = (uint16_t)len,
			.data = data + RECORD_HEAD,
		};
		data += RECORD_HEAD + len;
		size -= len;
	}
}

/* Whole records, as many as fit. */
static size_t input_write(const struct fuzz_input *input, uint8_t *out, size_t max)
{
	size_t size = sizeof(input->head);
	unsigned int i;

	if (max < size)
		return 0;
	memcpy(out, &input->head, size);
	for (i = 0; i < input->nr; i++) {
		const struct fuzz_record *record = &input->records[i];

		if (max - size < RECORD_HEAD + (size_t)record->len)
			break;
		out[size] = record->op;
		out[size + 1] = record->arg;
		out[size + 2] = (uint8_t)record->len;
		out[size + 3] = (uint8_t)(record->len >> 8);
		if (record->len)
			memcpy(out + size + RECORD_HEAD, record->data, record->len);
		size += RECORD_HEAD + record->len;
	}
	return size;
}

uint8_t *fuzz_make(struct fuzz_maker *maker, uint8_t op, uint8_t arg, size_t len)
{
	struct fuzz_input *input = maker->input;
	uint8_t *data = maker->pool + maker->used;

	if (input->nr == FUZZ_MAX_RECORDS || len > FUZZ_MAX_DATA ||
	    len > sizeof(maker->pool) - maker->used)
		return NULL;
	memset(data, 0, len);
	maker->used += len;
	input->records[input->nr++] = (struct fuzz_record){
		.op = op,
		.arg = arg,
		.len = (uint16_t)len,
		.data = data,
	};
	return data;
}

/* ---- mutations ---- */

static struct fuzz_maker maker;

/* Move the last @nr records to @at. */
static void records_rotate(struct fuzz_input *input, unsigned int at, unsigned int nr)
{
	static struct fuzz_record moved[FUZZ_MAX_RECORDS];
	struct fuzz_record *records = input->records;

	memcpy(moved, records + input->nr - nr, nr * sizeof(*moved));
	memmove(records + at + nr, records + at, (input->nr - nr - at) * sizeof(*moved));
	memcpy(records + at, moved, nr * sizeof(*moved));
}

static void mutate_insert(struct fuzz_random *random, struct fuzz_input *input)
{
	unsigned int before = input->nr, at = fuzz_below(random, before + 1);

	fuzz_target.make(random, &maker);
	records_rotate(input, at, input->nr - before);
}

static void mutate_delete(struct fuzz_random *random, struct fuzz_input *input)
{
	unsigned int at, nr;

	if (!input->nr)
		return;
	at = fuzz_below(random, input->nr);
	nr = 1 + (fuzz_once_in(random, 2) ? 0 : fuzz_below(random, input->nr - at));
	memmove(input->records + at, input->records + at + nr,
		(input->nr - at - nr) * sizeof(input->records[0]));
	input->nr -= nr;
}

static void mutate_copy(struct fuzz_random *random, struct fuzz_input *input)
{
	unsigned int from, nr, i;

	if (!input->nr)
		return;
	from = fuzz_below(random, input->nr);
	nr = 1 + fuzz_below(random, input->nr - from < 4 ? input->nr - from : 4);
	if (nr > FUZZ_MAX_RECORDS - input->nr)
		return;
	for (i = 0; i < nr; i++)
		input->records[input->nr + i] = input->records[from + i];
	input->nr += nr;
	records_rotate(input, fuzz_below(random, input->nr - nr + 1), nr);
}

static void mutate_swap(struct fuzz_random *random, struct fuzz_input *input)
{
	struct fuzz_record *a, *b, saved;

	if (input->nr < 2)
		return;
	a = &input->records[fuzz_below(random, input->nr)];
	b = &input->records[fuzz_below(random, input->nr)];
	saved = *a;
	*a = *b;
	*b = saved;
}

/* The data of a record, where it can be changed and has room to grow; or NULL. */
static uint8_t *own_data(struct fuzz_record *record)
{
	uint8_t *data = maker.pool + maker.used;

	if (sizeof(maker.pool) - maker.used < FUZZ_MAX_DATA)
		return NULL;
	memset(data, 0, FUZZ_MAX_DATA);
	if (record->len)
		memcpy(data, record->data, record->len);
	record->data = data;
	maker.used += FUZZ_MAX_DATA;
	return data;
}

static void mutate_record(struct fuzz_random *random, struct fuzz_input *input, bool knowing)
{
	struct fuzz_record *record;
	uint8_t *data;

	if (!input->nr)
		return;
	record = &input->records[fuzz_below(random, input->nr)];
	data = own_data(record);
	if (!data)
		return;
	if (knowing)
		fuzz_target.touch(random, record, data);
	else
		record->len = (uint16_t)LLVMFuzzerMutate(data, record->len, FUZZ_MAX_DATA);
}

static void mutate_arg(struct fuzz_random *random, struct fuzz_input *input)
{
	if (input->nr)
		input->records[fuzz_below(random, input->nr)].arg = (uint8_t)fuzz_random(random);
}

static void mutate_head(struct fuzz_random *random, struct fuzz_input *input)
{
	struct fuzz_head *head = &input->head;

	switch (fuzz_below(random, 5)) {
	case 0:
		head->config = (uint8_t)fuzz_random(random);
		break;
	case 1:
		head->chaos = fuzz_once_in(random, 3) ? (uint8_t)fuzz_random(random) : 0;
		break;
	case 2:
		fuzz_put(head->fail, 2, 0, 2,
			 fuzz_once_in(random, 3) ? 0 : 1 + fuzz_below(random, 200));
		head->fails = (uint8_t)(fuzz_once_in(random, 4) ? fuzz_random(random) : 0);
		break;
	case 3:
		head->mode = (uint8_t)fuzz_random(random);
		break;
	default:
		fuzz_put(head->seed, 2, 0, 2, fuzz_random(random));
		break;
	}
}

static void mutate(struct fuzz_random *random, struct fuzz_input *input)
{
	switch (fuzz_below(random, 16)) {
	case 0:
	case 1:
	case 2:
		mutate_insert(random, input);
		break;
	case 3:
		mutate_delete(random, input);
		break;
	case 4:
		mutate_copy(random, input);
		break;
	case 5:
		mutate_swap(random, input);
		break;
	case 6:
		mutate_head(random, input);
		break;
	case 7:
		mutate_arg(random, input);
		break;
	case 8:
	case 9:
		mutate_record(random, input, false);
		break;
	default:
		mutate_record(random, input, true);
		break;
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed)
{
	static struct fuzz_input input;
	static uint8_t out[MAX_INPUT];
	struct fuzz_random random = { .state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1 };
	unsigned int times = 1 + fuzz_below(&random, 4);

	if (max > sizeof(out))
		max = sizeof(out);
	maker.input = &input;
	maker.used = 0;
	input_read(&input, data, size);
	while (times--)
		mutate(&random, &input);
	/* It may not end with an empty one: that says nothing to libFuzzer. */
	if (!input.nr)
		mutate_insert(&random, &input);
	size = input_write(&input, out, max);
	memcpy(data, out, size);
	return size;
}

/* The beginning of one, and the end of the other. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2,
				 size_t size2, uint8_t *out, size_t max, unsigned int seed)
{
	static struct fuzz_input first, second;
	struct fuzz_random random = { .state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1 };
	unsigned int from, nr;

	input_read(&first, data1, size1);
	input_read(&second, data2, size2);
	first.nr = fuzz_below(&random, first.nr + 1);
	from = fuzz_below(&random, second.nr + 1);
	nr = second.nr - from;
	if (nr > FUZZ_MAX_RECORDS - first.nr)
		nr = FUZZ_MAX_RECORDS - first.nr;
	memcpy(first.records + first.nr, second.records + from, nr * sizeof(first.records[0]));
	first.nr += nr;
	return input_write(&first, out, max);
}

/* ---- running ---- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_input input;

	input_read(&input, data, size);
	watch_begin(&input.head);
	fuzz_target.run(&input);
	watch_end();
	return 0;
}

/* Write the inputs to begin with; does not return. */
static void write_seeds(const char *folder)
{
	static struct fuzz_input input;
	static uint8_t out[MAX_INPUT];
	char path[4096];
	unsigned int nr;

	for (nr = 0;; nr++) {
		FILE *file;
		size_t size;

		memset(&input, 0, sizeof(input));
		maker.input = &input;
		maker.used = 0;
		if (!fuzz_target.seed(nr, &input, &maker))
			break;
		size = input_write(&input, out, sizeof(out));
		snprintf(path, sizeof(path), "%s/seed-%03u", folder, nr);
		file = fopen(path, "we");
		if (!file || fwrite(out, 1, size, file) != size || fclose(file)) {
			perror(path);
			exit(1);
		}
	}
	exit(0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char option[] = "--seeds=";
	int i;

	for (i = 1; i < *argc; i++)
		if (!strncmp((*argv)[i], option, sizeof(option) - 1))
			write_seeds((*argv)[i] + sizeof(option) - 1);
	/* As in the program: who hangs up while being told something is no reason to die. */
	signal(SIGPIPE, SIG_IGN);
	if (fuzz_target.start)
		fuzz_target.start();
	return 0;
}
