/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/series/cells.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int native_min(const struct cells *c)
{
	return c->seconds ? BUCKET_NATIVE_SECONDS_MIN : BUCKET_NATIVE_BYTES_MIN;
}

static uint64_t native_upper(const struct cells *c, int index)
{
	return c->seconds ? bucket_native_seconds_upper(index)
			  : bucket_native_bytes_upper(index);
}

/* Native buckets without an integer, as below 10 µs or so, get no cell. */
static void make_cells(struct cells *c, int native_max, const uint64_t *bounds,
		       size_t n_bounds)
{
	uint64_t below = 0;
	size_t b = 0;

	c->upper[0] = 0;
	c->native[0] = 0;
	c->n = 1;
	for (int i = native_min(c); i <= native_max; i++) {
		uint64_t upper = native_upper(c, i);

		if (upper == below)
			continue;
		while (b < n_bounds && bounds[b] <= below)
			b++;
		for (; b < n_bounds && bounds[b] < upper; b++) {
			if (bounds[b] == c->upper[c->n - 1])
				continue;
			c->native[c->n] = (int16_t)i;
			c->upper[c->n++] = bounds[b];
		}
		c->native[c->n] = (int16_t)i;
		c->upper[c->n++] = upper;
		below = upper;
	}
}

unsigned cells_find(const struct cells *c, uint64_t v)
{
	unsigned low = 0, high = c->n - 1;

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (v > c->upper[mid])
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/*
 * Sets start[] to the cell of the smallest value of each step. Below 16 some
 * steps share a value.
 */
static void make_starts(struct cells *c)
{
	for (unsigned bit = 0; bit < CELLS_EXACT_BITS; bit++) {
		for (unsigned k = 0; k < 16; k++) {
			uint64_t v = bit < 4 ? (16 + k) >> (4 - bit)
					     : (uint64_t)(16 + k) << (bit - 4);

			c->start[cells_step(v)] = (uint16_t)cells_find(c, v);
		}
	}
	c->start[cells_step(0)] = 0;
}

int cells_init(struct cells *c, bool seconds, const uint64_t *bounds,
	       size_t n_bounds)
{
	int max = seconds ? BUCKET_NATIVE_SECONDS_MAX : BUCKET_NATIVE_BYTES_MAX;
	uint64_t *sorted = malloc((n_bounds + 1) * sizeof(*sorted));
	size_t cap;

	memset(c, 0, sizeof(*c));
	c->seconds = seconds;
	cap = (size_t)(max - native_min(c)) + 2 + n_bounds;
	assert(cap <= UINT16_MAX);
	c->upper = calloc(cap, sizeof(*c->upper));
	c->native = calloc(cap, sizeof(*c->native));
	if (!sorted || !c->upper || !c->native) {
		free(sorted);
		cells_fini(c);
		return -ENOMEM;
	}
	if (n_bounds)
		memcpy(sorted, bounds, n_bounds * sizeof(*sorted));
	qsort(sorted, n_bounds, sizeof(*sorted), compare_u64);
	make_cells(c, max, sorted, n_bounds);
	make_starts(c);
	free(sorted);
	return 0;
}

void cells_fini(struct cells *c)
{
	free(c->upper);
	free(c->native);
	c->upper = NULL;
	c->native = NULL;
	c->n = 0;
}
