// SPDX-License-Identifier: MIT
/*
 * Locking the reservations of many objects.
 *
 * A reservation is what the fences of an object hang on, and it is shared: an imported object's is
 * that of the dma-buf, so other drivers lock it too, in an order of their own.  Hence wound/wait
 * mutexes: who finds one taken by an older ticket gives all back and starts again with that one.
 * Objects of one address space share its reservation, so a set of objects is a set of
 * reservations in which each is locked once: they are sorted by address, which has no other use.
 *
 * After agm_reserve() each reservation has room for the fences that were asked for, so that
 * adding them cannot fail any more.  Only memory can be missing for that.
 */

#include <linux/dma-resv.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "agm_bo.h"
#include "agm_vm.h"

static int agm_resv_order(const void *a, const void *b)
{
	const struct dma_resv *x = *(struct dma_resv **)a, *y = *(struct dma_resv **)b;

	return x < y ? -1 : x > y;
}

static int agm_resv_collect(struct agm_reservation *r, struct agm_vm *vm, struct agm_bo **bos,
			    unsigned int count)
{
	unsigned int i, unique = 0;

	r->resvs = kvmalloc_array(count + 1, sizeof(*r->resvs), GFP_KERNEL);
	if (!r->resvs)
		return -ENOMEM;
	r->resvs[0] = &vm->resv;
	for (i = 0; i < count; i++)
		r->resvs[i + 1] = bos[i]->base.resv;
	sort(r->resvs, count + 1, sizeof(*r->resvs), agm_resv_order, NULL);
	for (i = 0; i <= count; i++) {
		if (!unique || r->resvs[unique - 1] != r->resvs[i])
			r->resvs[unique++] = r->resvs[i];
	}
	r->count = unique;
	return 0;
}

/* All but @contended, which is locked already; on -EDEADLK nothing, and the one to begin with. */
static int agm_resv_lock_all(struct agm_reservation *r, struct dma_resv *contended,
			     struct dma_resv **failed)
{
	unsigned int i, locked;
	int ret;

	for (locked = 0; locked < r->count; locked++) {
		if (r->resvs[locked] == contended)
			continue;
		ret = dma_resv_lock(r->resvs[locked], &r->ticket);
		if (ret)
			break;
	}
	if (locked == r->count)
		return 0;
	*failed = r->resvs[locked];
	for (i = 0; i < locked; i++) {
		if (r->resvs[i] != contended)
			dma_resv_unlock(r->resvs[i]);
	}
	if (contended)
		dma_resv_unlock(contended);
	return ret;
}

static int agm_resv_room(struct agm_reservation *r, unsigned int fences)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < r->count && !ret; i++)
		ret = dma_resv_reserve_fences(r->resvs[i], fences);
	return ret;
}

/**
 * agm_reserve - lock an address space's root and objects
 * @r: what agm_unreserve() needs
 * @vm: the address space
 * @bos: the objects, of which some may be the same
 * @count: how many
 * @fences: how many fences will be added to each; not 0
 */
int agm_reserve(struct agm_reservation *r, struct agm_vm *vm, struct agm_bo **bos,
		unsigned int count, unsigned int fences)
{
	struct dma_resv *contended = NULL;
	int ret = agm_resv_collect(r, vm, bos, count);

	if (ret)
		return ret;
	ww_acquire_init(&r->ticket, &reservation_ww_class);
	while (agm_resv_lock_all(r, contended, &contended))
		dma_resv_lock_slow(contended, &r->ticket);
	ww_acquire_done(&r->ticket);
	ret = agm_resv_room(r, fences);
	if (ret)
		agm_unreserve(r);
	return ret;
}

void agm_unreserve(struct agm_reservation *r)
{
	unsigned int i;

	for (i = 0; i < r->count; i++)
		dma_resv_unlock(r->resvs[i]);
	ww_acquire_fini(&r->ticket);
	kvfree(r->resvs);
}
