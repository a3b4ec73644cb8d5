// SPDX-License-Identifier: MIT
/*
 * page_uses: see page_uses.h
 *
 * A file that has pages in dma-bufs has a table, a number for each of its pages.
 * While pages are being counted, those that were have MARK in theirs.  Invariants:
 * in_use is how many numbers of a table are not 0, and if it is 0 there is no table;
 * so a table's file has references, from the runs that were counted.  with[n] is how
 * many pages of all tables have the number n.
 */
#include "memory/page_uses.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory/ram_file.h"
#include "memory/run_list.h"

#define MARK 0x8000u
_Static_assert(PAGE_USES_MAX < MARK, "a number has room for the mark");

/**
 * struct table - the pages of a file
 * @link: in page_uses.tables
 * @file: it
 * @in_use: pages that are in a dma-buf
 * @discarded: it had fewer pages than that
 * @checked: round in which that was looked at
 * @uses: a number for each page
 */
struct table {
	LIST_ENTRY(table) link;
	const struct ram_file *file;
	uint64_t in_use;
	bool discarded;
	uint64_t checked;
	uint16_t uses[];
};

/**
 * struct page_uses - all of them
 * @page: bytes of a page
 * @max: dma-bufs that a page can be in
 * @most: see page_uses_most()
 * @tables: of the files
 * @round: calls of page_uses_add()
 * @with: see above
 */
struct page_uses {
	uint64_t page;
	uint32_t max;
	uint32_t most;
	LIST_HEAD(, table) tables;
	uint64_t round;
	uint64_t with[PAGE_USES_MAX + 1];
};

/**
 * struct place - a page of a list of runs
 * @run: index of its run
 * @page: of the run's file
 */
struct place {
	size_t run;
	uint64_t page;
};

/* ---- tables ---- */

static struct table *find_table(struct page_uses *uses, const struct ram_file *file)
{
	struct table *table;

	LIST_FOREACH(table, &uses->tables, link)
		if (table->file == file)
			break;
	return table;
}

static struct table *get_table(struct page_uses *uses, const struct ram_file *file)
{
	struct table *table = find_table(uses, file);

	if (table)
		return table;
	/* Of a large one only what is touched is there. */
	table = calloc(1, sizeof(*table) + (file->size / uses->page + 1) * sizeof(table->uses[0]));
	if (!table)
		return NULL;
	table->file = file;
	LIST_INSERT_HEAD(&uses->tables, table, link);
	return table;
}

static void drop_unused_tables(struct page_uses *uses)
{
	struct table *table, *next;

	for (table = LIST_FIRST(&uses->tables); table; table = next) {
		next = LIST_NEXT(table, link);
		if (table->in_use)
			continue;
		LIST_REMOVE(table, link);
		free(table);
	}
}

/*
 * Whether the file has lost pages that are in a dma-buf, as far as that shows.  Those
 * that are being counted may yet have to be made, so it is looked at before them.
 */
static bool is_discarded(const struct page_uses *uses, struct table *table)
{
	struct stat st;

	if (table->checked == uses->round)
		return table->discarded;
	table->checked = uses->round;
	if (!table->discarded && table->in_use && !fstat(table->file->fd, &st))
		table->discarded = (uint64_t)st.st_blocks * 512 < table->in_use * uses->page;
	return table->discarded;
}

/* ---- one page ---- */

static int add_page(struct page_uses *uses, struct table *table, uint64_t page)
{
	uint32_t nr = table->uses[page];

	if (nr & MARK)
		return -EINVAL;
	if (nr >= uses->max)
		return -ENOSPC;
	if (nr)
		uses->with[nr]--;
	else
		table->in_use++;
	uses->with[nr + 1]++;
	if (nr + 1 > uses->most)
		uses->most = nr + 1;
	table->uses[page] = (uint16_t)((nr + 1) | MARK);
	return 0;
}

static void drop_page(struct page_uses *uses, struct table *table, uint64_t page)
{
	uint32_t nr = table->uses[page] & ~MARK;

	assert(nr);
	uses->with[nr]--;
	if (nr > 1)
		uses->with[nr - 1]++;
	else
		table->in_use--;
	while (uses->most && !uses->with[uses->most])
		uses->most--;
	table->uses[page] = (uint16_t)(nr - 1);
}

static void unmark_page(struct page_uses *uses, struct table *table, uint64_t page)
{
	(void)uses;
	table->uses[page] &= (uint16_t)~MARK;
}

/* ---- lists ---- */

static uint64_t end_page(const struct page_uses *uses, const struct run *run)
{
	return (run->offset + run->length + uses->page - 1) / uses->page;
}

/* @what with each page of @runs up to @end; their tables are there. */
static void for_pages(struct page_uses *uses, const struct run_list *runs, struct place end,
		      void (*what)(struct page_uses *, struct table *, uint64_t))
{
	struct table *table = NULL;
	size_t i;

	for (i = 0; i < runs->nr && i <= end.run; i++) {
		const struct run *run = &runs->runs[i];
		uint64_t page = run->offset / uses->page;
		uint64_t last = i == end.run ? end.page : end_page(uses, run);

		if (!table || table->file != run->file)
			table = find_table(uses, run->file);
		for (; page < last; page++)
			what(uses, table, page);
	}
}

/* Count until something is wrong; *@at is where that was. */
static int add_pages(struct page_uses *uses, const struct run_list *runs, struct place *at)
{
	struct table *table = NULL;
	int err;

	for (at->run = 0; at->run < runs->nr; at->run++) {
		const struct run *run = &runs->runs[at->run];
		uint64_t end = end_page(uses, run);

		at->page = run->offset / uses->page;
		if (!table || table->file != run->file) {
			table = get_table(uses, run->file);
			if (!table)
				return -ENOMEM;
			if (is_discarded(uses, table))
				return -EIO;
		}
		for (; at->page < end; at->page++) {
			err = add_page(uses, table, at->page);
			if (err)
				return err;
		}
	}
	return 0;
}

/**
 * page_uses_new() - nothing is counted
 * @max: dma-bufs that a page can be in
 *
 * Return: it, or NULL without memory.
 */
struct page_uses *page_uses_new(uint32_t max)
{
	struct page_uses *uses = calloc(1, sizeof(*uses));

	assert(max && max <= PAGE_USES_MAX);
	if (!uses)
		return NULL;
	uses->page = (uint64_t)sysconf(_SC_PAGESIZE);
	uses->max = max;
	LIST_INIT(&uses->tables);
	return uses;
}

/**
 * page_uses_free() - the other end of page_uses_new()
 * @uses: nothing is counted; may be NULL
 */
void page_uses_free(struct page_uses *uses)
{
	assert(!uses || LIST_EMPTY(&uses->tables));
	free(uses);
}

/**
 * page_uses_add() - count another dma-buf
 * @uses: where
 * @runs: its pages
 *
 * Return: 0 or a negative errno, see the header.
 */
int page_uses_add(struct page_uses *uses, const struct run_list *runs)
{
	struct place at;
	int err;

	uses->round++;
	err = add_pages(uses, runs, &at);
	if (err) {
		for_pages(uses, runs, at, drop_page);
		drop_unused_tables(uses);
		return err;
	}
	for_pages(uses, runs, at, unmark_page);
	return 0;
}

/**
 * page_uses_drop() - a dma-buf is gone
 * @uses: where it was counted
 * @runs: its pages
 */
void page_uses_drop(struct page_uses *uses, const struct run_list *runs)
{
	for_pages(uses, runs, (struct place){ .run = runs->nr }, drop_page);
	drop_unused_tables(uses);
}

/**
 * page_uses_most() - the most dma-bufs that any page is in
 * @uses: it
 *
 * Return: that number.
 */
uint32_t page_uses_most(const struct page_uses *uses)
{
	return uses->most;
}
