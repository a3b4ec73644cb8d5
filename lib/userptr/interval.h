/* SPDX-License-Identifier: MIT */
/*
 * interval: a set of intervals, searched by overlap
 *
 * A treap of nodes that the caller embeds in its own structs, ordered by where
 * they start; each node knows how far the intervals below it reach, so that a
 * search leaves out what ends too early.  Both ends belong to an interval, and
 * intervals may overlap and be equal: what was inserted later comes later.
 *
 * Invariant: who owns a tree also locks it; nothing is allocated here.
 */
#ifndef USERPTR_INTERVAL_H
#define USERPTR_INTERVAL_H

#include <stdint.h>

/**
 * struct interval_node - an interval in a tree
 * @first: first number; set by the caller before it is inserted
 * @last: last number; likewise
 * @reach: greatest @last of this node and those below it
 * @seq: tells equal intervals apart
 * @priority: greater than that of the nodes below it
 * @left: what comes before
 * @right: what comes behind
 */
struct interval_node {
	uint64_t first;
	uint64_t last;
	uint64_t reach;
	uint64_t seq;
	uint32_t priority;
	struct interval_node *left;
	struct interval_node *right;
};

/**
 * struct interval_tree - a set of intervals; all zero is the empty one
 * @root: its top
 * @seq: of the node that was inserted last
 * @random: what the next priority is made of
 */
struct interval_tree {
	struct interval_node *root;
	uint64_t seq;
	uint32_t random;
};

void interval_insert(struct interval_tree *tree, struct interval_node *node);
void interval_remove(struct interval_tree *tree, struct interval_node *node);
struct interval_node *interval_first(const struct interval_tree *tree, uint64_t first,
				     uint64_t last);
struct interval_node *interval_next(const struct interval_tree *tree,
				    const struct interval_node *node, uint64_t first,
				    uint64_t last);

#endif /* USERPTR_INTERVAL_H */
