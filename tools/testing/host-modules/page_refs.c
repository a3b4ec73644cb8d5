// SPDX-License-Identifier: MIT
/*
 * page_refs: how many references each page of memory has
 *
 * A host must not let a guest drive the reference count of a page towards its
 * limit, and nothing in /proc tells that count.  This module of the host in
 * User-Mode Linux does, in the file page_refs of debugfs: one 64-bit number for
 * each page frame, in the order of frames, as in /proc/kpagecount.  A page of a
 * large folio has the folio's count.  The file ends with the last frame of memory.
 *
 * The numbers are read without any lock: each was true at some time during the
 * read.
 */
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/uaccess.h>

static struct dentry *file;

static u64 refs_of_frame(unsigned long pfn)
{
	return folio_ref_count(page_folio(pfn_to_page(pfn)));
}

/* From @pos, whole numbers only; 0 behind the last frame. */
static ssize_t page_refs_read(struct file *unused, char __user *to, size_t size, loff_t *pos)
{
	unsigned long pfn = *pos / sizeof(u64);
	size_t done = 0;
	u64 refs;

	if (*pos % sizeof(u64) || size % sizeof(u64))
		return -EINVAL;
	for (; done < size && pfn_valid(pfn); pfn++, done += sizeof(refs)) {
		refs = refs_of_frame(pfn);
		if (copy_to_user(to + done, &refs, sizeof(refs)))
			return -EFAULT;
		cond_resched();
	}
	*pos += done;
	return done;
}

static const struct file_operations page_refs_fops = {
	.owner = THIS_MODULE,
	.read = page_refs_read,
	.llseek = default_llseek,
};

static int __init page_refs_init(void)
{
	file = debugfs_create_file("page_refs", 0400, NULL, NULL, &page_refs_fops);
	return PTR_ERR_OR_ZERO(file);
}
module_init(page_refs_init);

static void __exit page_refs_exit(void)
{
	debugfs_remove(file);
}
module_exit(page_refs_exit);

MODULE_DESCRIPTION("References of each page, for tests of a host");
MODULE_LICENSE("Dual MIT/GPL");
