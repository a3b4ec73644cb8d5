// SPDX-License-Identifier: MIT
/*
 * userptr-test-memory: memory in so many pieces, and whether the host sees its bytes
 *
 * See userptr-test-util.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/userptr-test-util.h"

#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_PFN ((1ull << 55) - 1)
/* Pages more than runs are wanted, for neighbours that come by chance. */
#define SCATTER_SPARE 64
/* How often more are tried. */
#define SCATTER_TRIES 3

static void *map_pages(size_t size)
{
	void *addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return addr == MAP_FAILED ? NULL : addr;
}

/* Reads the frame numbers of up to 512 pages; how many, or a negative errno. */
static long read_frames(int fd, uintptr_t addr, size_t pages, uint64_t *frames)
{
	size_t want = pages < 512 ? pages : 512;
	ssize_t got;
	long i;

	got = pread(fd, frames, want * 8, addr / PAGE * 8);
	if (got < 0)
		return -errno;
	for (i = 0; i < got / 8; i++) {
		if (!(frames[i] & PAGEMAP_PRESENT))
			return -EFAULT;
		frames[i] &= PAGEMAP_PFN;
		/* Without CAP_SYS_ADMIN the kernel hides the numbers. */
		if (!frames[i])
			return -EPERM;
	}
	return i;
}

/*
 * Runs in the pages from @addr on; stops before the run that exceeds @max and
 * says in @used how many pages were taken.
 */
static long measure_runs(const void *addr, size_t pages, unsigned long max, size_t *used)
{
	uint64_t frames[512], last = 0;
	size_t done = 0;
	long runs = 0, got, i;
	int fd;

	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (done < pages) {
		got = read_frames(fd, (uintptr_t)addr + done * PAGE, pages - done, frames);
		if (got <= 0) {
			runs = got ? got : -EIO;
			break;
		}
		for (i = 0; i < got; i++) {
			if (frames[i] != last + 1 && (unsigned long)++runs > max)
				break;
			last = frames[i];
		}
		done += i;
		if (i < got) {
			runs--;
			break;
		}
	}
	close(fd);
	*used = done;
	return runs;
}

/**
 * count_runs() - physically contiguous pieces of a range, from the pagemap
 * @addr: first byte
 * @pages: pages
 *
 * Return: how many, or a negative errno.
 */
long count_runs(const void *addr, size_t pages)
{
	size_t used;

	return measure_runs(addr, pages, ~0ul, &used);
}

/**
 * region_alloc() - plain memory, all pages there
 * @region: out
 * @pages: pages
 *
 * Return: 0 or a negative errno.
 */
int region_alloc(struct region *region, size_t pages)
{
	long runs;

	memset(region, 0, sizeof(*region));
	region->size = region->block_size = pages * PAGE;
	region->block = map_pages(region->block_size);
	if (!region->block)
		return -ENOMEM;
	region->addr = region->block;
	if (madvise(region->addr, region->size, MADV_POPULATE_WRITE))
		return -errno;
	runs = count_runs(region->addr, pages);
	if (runs < 0)
		return runs;
	region->runs = runs;
	return 0;
}

/**
 * region_huge() - memory in as few physical pieces as can be had
 * @region: out
 * @pages: pages
 *
 * Of huge pages where there are any; otherwise as the allocator hands it out.
 *
 * Return: 0 or a negative errno.
 */
int region_huge(struct region *region, size_t pages)
{
	long runs;

	memset(region, 0, sizeof(*region));
	region->size = pages * PAGE;
	region->block_size = (region->size + 2 * HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	region->block = map_pages(region->block_size);
	if (!region->block)
		return -ENOMEM;
	region->addr = (uint8_t *)(((uintptr_t)region->block + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
	/* Only an advice: a kernel without huge pages has none to give. */
	madvise(region->block, region->block_size, MADV_HUGEPAGE);
	if (madvise(region->addr, region->size, MADV_POPULATE_WRITE))
		return -errno;
	runs = count_runs(region->addr, pages);
	if (runs < 0)
		return runs;
	region->runs = runs;
	return 0;
}

/* As region_scattered(), with @spare pages that may lie beside others; -ENOSPC if more do. */
static int scatter(struct region *region, unsigned int runs, size_t spare)
{
	size_t pages = runs + spare, used, i;
	long found;

	memset(region, 0, sizeof(*region));
	region->block_size = 2 * pages * PAGE;
	region->block = map_pages(region->block_size);
	if (!region->block)
		return -ENOMEM;
	region->addr = region->block;
	for (i = 0; i < pages; i++) {
		region->addr[i * PAGE] = 1;
		region->addr[(pages + i) * PAGE] = 1;
	}
	found = measure_runs(region->addr, pages, runs, &used);
	if (found < 0)
		return found;
	if (found != (long)runs)
		return -ENOSPC;
	region->size = used * PAGE;
	region->runs = runs;
	return 0;
}

/**
 * region_scattered() - memory in an exact number of physical pieces
 * @region: out
 * @runs: pieces
 *
 * Two mappings are touched page by page in turn, so that neighbours in one are
 * no neighbours in memory.  Where two are all the same, the region becomes as
 * much longer: one page more is never more than one run more, so every number
 * of runs up to the pages there are is met exactly.  Pages that another process
 * has just freed in that very pattern can come back in order: then there is
 * another try with more of them, while the first are kept from coming again.
 *
 * Return: 0 or a negative errno.
 */
int region_scattered(struct region *region, unsigned int runs)
{
	struct region unfit[SCATTER_TRIES];
	size_t spare = SCATTER_SPARE;
	int ret, nr = 0;

	while ((ret = scatter(region, runs, spare)) == -ENOSPC && nr < SCATTER_TRIES) {
		unfit[nr++] = *region;
		spare *= 4;
	}
	while (nr)
		region_free(&unfit[--nr]);
	return ret;
}

/**
 * region_fill() - write a pattern in which every eight bytes differ
 * @region: the memory
 * @seed: start of the pattern
 */
void region_fill(const struct region *region, uint64_t seed)
{
	uint64_t *word = (uint64_t *)region->addr;
	size_t i;

	for (i = 0; i < region->size / 8; i++)
		word[i] = seed + i * 0x9e3779b97f4a7c15ull;
}

/**
 * region_free() - unmap
 * @region: may be freed already
 */
void region_free(struct region *region)
{
	if (region->block)
		munmap(region->block, region->block_size);
	region->block = NULL;
}

/**
 * sha256() - digest on this CPU
 * @data: bytes
 * @len: how many
 * @digest: out
 *
 * Return: 0 or -EIO.
 */
int sha256(const void *data, size_t len, uint8_t digest[LOOPBACK_SHA256_SIZE])
{
	return EVP_Digest(data, len, digest, NULL, EVP_sha256(), NULL) ? 0 : -EIO;
}

/**
 * same_digest() - does the host see the bytes that we see?
 * @vg: context
 * @res: resource, from its start
 * @data: the same bytes here
 * @len: how many
 *
 * Return: true if both digests are the same.
 */
bool same_digest(struct vg *vg, uint32_t res, const void *data, size_t len)
{
	uint8_t host[LOOPBACK_SHA256_SIZE], guest[LOOPBACK_SHA256_SIZE];
	int ret = vg_sha256(vg, res, 0, len, host);

	if (ret)
		fprintf(stderr, "# host's digest of resource %u: %s\n", res, strerror(-ret));
	return !ret && !sha256(data, len, guest) && !memcmp(host, guest, sizeof(host));
}
