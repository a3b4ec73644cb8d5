// SPDX-License-Identifier: MIT
/*
 * Control of time, and what was done: debugfs, below the device's folder.
 *
 *	hold		mask of rings that start no job: bit 0 gfx0, 1 to 4 compute, then sdma; 0
 *			lets all go on
 *	step		write N: N jobs are started in spite of hold
 *	rings		jobs that have not been started, by ring
 *	stats		counters
 *	vram_limit	bytes of VRAM that may be taken, 0 for all there is
 *	gtt_limit	likewise
 *
 * A test that wants a job in flight sets hold, submits, does what it is about, and clears hold.
 */

#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include <drm/drm_debugfs.h>
#include <drm/drm_file.h>

#include "agm_device.h"
#include "agm_ring.h"

static int agm_hold_get(void *data, u64 *value)
{
	struct agm_device *dev = data;

	*value = atomic_read(&dev->hold);
	return 0;
}

static int agm_hold_set(void *data, u64 value)
{
	struct agm_device *dev = data;

	atomic_set(&dev->hold, value & (BIT(AGM_RINGS) - 1));
	atomic_set(&dev->step, 0);
	agm_rings_wake(dev);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(agm_hold_fops, agm_hold_get, agm_hold_set, "%llu\n");

static int agm_step_set(void *data, u64 value)
{
	struct agm_device *dev = data;

	atomic_add(value & 0xffff, &dev->step);
	agm_rings_wake(dev);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(agm_step_fops, NULL, agm_step_set, "%llu\n");

static int agm_limit_get(void *data, u64 *value)
{
	struct agm_pool *pool = data;

	*value = pool->limit;
	return 0;
}

static int agm_limit_set(void *data, u64 value)
{
	struct agm_pool *pool = data;

	WRITE_ONCE(pool->limit, value ? min(value, pool->size) : pool->size);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(agm_limit_fops, agm_limit_get, agm_limit_set, "%llu\n");

static int agm_rings_show(struct seq_file *m, void *unused)
{
	struct agm_device *dev = m->private;
	int i;

	for (i = 0; i < AGM_RINGS; i++)
		seq_printf(m, "%s %u\n", dev->rings[i]->name, agm_ring_pending(dev->rings[i]));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(agm_rings);

static int agm_stats_show(struct seq_file *m, void *unused)
{
	struct agm_device *dev = m->private;
	struct agm_stats *s = &dev->stats;
	const struct {
		const char *name;
		atomic64_t *value;
	} all[] = {
		{ "jobs", &s->jobs },
		{ "faults", &s->faults },
		{ "bad_packets", &s->bad_packets },
		{ "sdma_packets", &s->sdma_packets },
		{ "pm4_packets", &s->pm4_packets },
		{ "bytes_copied", &s->bytes_copied },
		{ "bytes_filled", &s->bytes_filled },
		{ "bytes_written", &s->bytes_written },
		{ "draws", &s->draws },
		{ "invalidations", &s->invalidations },
		{ "user_pages", &s->user_pages },
		{ "objects", &s->objects },
		{ "vram_used", &dev->vram.used },
		{ "gtt_used", &dev->gtt.used },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(all); i++)
		seq_printf(m, "%s %llu\n", all[i].name, (u64)atomic64_read(all[i].value));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(agm_stats);

void agm_debugfs_init(struct drm_minor *minor)
{
	struct agm_device *dev = to_agm(minor->dev);
	struct dentry *dir = minor->dev->debugfs_root;

	debugfs_create_file("hold", 0600, dir, dev, &agm_hold_fops);
	debugfs_create_file("step", 0200, dir, dev, &agm_step_fops);
	debugfs_create_file("rings", 0400, dir, dev, &agm_rings_fops);
	debugfs_create_file("stats", 0400, dir, dev, &agm_stats_fops);
	debugfs_create_file("vram_limit", 0600, dir, &dev->vram, &agm_limit_fops);
	debugfs_create_file("gtt_limit", 0600, dir, &dev->gtt, &agm_limit_fops);
}
