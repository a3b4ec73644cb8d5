// SPDX-License-Identifier: MIT
/*
 * interval: a set of intervals, searched by overlap
 *
 * See interval.h.  A treap is a search tree by position and a heap by random
 * priorities, which keeps it about as deep as its best shape, whatever is
 * inserted in whatever order.  Functions call themselves as deep as the tree.
 */
#include <stdbool.h>
#include <stddef.h>

#include "interval.h"

static bool before(const struct interval_node *a, const struct interval_node *b)
{
	if (a->first != b->first)
		return a->first < b->first;
	if (a->last != b->last)
		return a->last < b->last;
	return a->seq < b->seq;
}

static bool overlaps(const struct interval_node *node, uint64_t first, uint64_t last)
{
	return node->first <= last && node->last >= first;
}

/* The reach of @node from those below it, which know theirs. */
static void update(struct interval_node *node)
{
	node->reach = node->last;
	if (node->left && node->left->reach > node->reach)
		node->reach = node->left->reach;
	if (node->right && node->right->reach > node->reach)
		node->reach = node->right->reach;
}

/* One tree of two, of which all of @a comes before all of @b. */
static struct interval_node *join(struct interval_node *a, struct interval_node *b)
{
	if (!a)
		return b;
	if (!b)
		return a;
	if (a->priority > b->priority) {
		a->right = join(a->right, b);
		update(a);
		return a;
	}
	b->left = join(a, b->left);
	update(b);
	return b;
}

/* Two trees of one: @below comes before @at, and @behind does not. */
static void split(struct interval_node *root, const struct interval_node *at,
		  struct interval_node **below, struct interval_node **behind)
{
	if (!root) {
		*below = NULL;
		*behind = NULL;
		return;
	}
	if (before(root, at)) {
		split(root->right, at, &root->right, behind);
		*below = root;
	} else {
		split(root->left, at, below, &root->left);
		*behind = root;
	}
	update(root);
}

static struct interval_node *insert_below(struct interval_node *root, struct interval_node *node)
{
	if (!root || node->priority > root->priority) {
		split(root, node, &node->left, &node->right);
		update(node);
		return node;
	}
	if (before(node, root))
		root->left = insert_below(root->left, node);
	else
		root->right = insert_below(root->right, node);
	update(root);
	return root;
}

static struct interval_node *remove_below(struct interval_node *root, struct interval_node *node)
{
	if (!root)
		return NULL;
	if (root == node)
		return join(node->left, node->right);
	if (before(node, root))
		root->left = remove_below(root->left, node);
	else
		root->right = remove_below(root->right, node);
	update(root);
	return root;
}

/* The first one behind @behind, or of all if that is NULL, that overlaps. */
static struct interval_node *search(struct interval_node *root, const struct interval_node *behind,
				    uint64_t first, uint64_t last)
{
	struct interval_node *found;

	if (!root || root->reach < first)
		return NULL;
	if (behind && !before(behind, root))
		return search(root->right, behind, first, last);
	found = search(root->left, behind, first, last);
	if (found)
		return found;
	if (overlaps(root, first, last))
		return root;
	/* What starts behind the end does not overlap, nor what comes after it. */
	if (root->first > last)
		return NULL;
	return search(root->right, behind, first, last);
}

/* xorshift: priorities need to be scattered, not to be secret. */
static uint32_t next_random(struct interval_tree *tree)
{
	uint32_t x = tree->random ? tree->random : 0x9e3779b9;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	tree->random = x;
	return x;
}

/**
 * interval_insert() - add an interval
 * @tree: set
 * @node: in no tree, with @first and @last set
 */
void interval_insert(struct interval_tree *tree, struct interval_node *node)
{
	node->seq = ++tree->seq;
	node->priority = next_random(tree);
	node->left = NULL;
	node->right = NULL;
	tree->root = insert_below(tree->root, node);
}

/**
 * interval_remove() - take an interval out
 * @tree: set
 * @node: in it
 */
void interval_remove(struct interval_tree *tree, struct interval_node *node)
{
	tree->root = remove_below(tree->root, node);
}

/**
 * interval_first() - the first interval that overlaps [@first, @last]
 * @tree: set
 * @first: number
 * @last: number, not before @first
 *
 * Return: it, or NULL.
 */
struct interval_node *interval_first(const struct interval_tree *tree, uint64_t first,
				     uint64_t last)
{
	return search(tree->root, NULL, first, last);
}

/**
 * interval_next() - the next interval that overlaps [@first, @last]
 * @tree: set
 * @node: in the set; what comes behind it is looked at
 * @first: number
 * @last: number, not before @first
 *
 * Return: it, or NULL.
 */
struct interval_node *interval_next(const struct interval_tree *tree,
				    const struct interval_node *node, uint64_t first, uint64_t last)
{
	return search(tree->root, node, first, last);
}
