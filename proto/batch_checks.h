/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_BATCH_CHECKS_H
#define PROTO_BATCH_CHECKS_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/batch.h"
#include "proto/redtap.pb-c.h"

/* Checks of whole columns, for batch.c and batch_rollups.c only. */

/*
 * A column is reduced to one number (the greatest value, or the OR of all) that
 * is then checked, so that the loops have no branch and can be vectorised.
 */
static inline uint32_t max_u32(const uint32_t *v, size_t n)
{
	uint32_t max = 0;

	for (size_t i = 0; i < n; i++)
		max = v[i] > max ? v[i] : max;
	return max;
}

static inline uint64_t bits_u64(const uint64_t *v, size_t n)
{
	uint64_t bits = 0;

	for (size_t i = 0; i < n; i++)
		bits |= v[i];
	return bits;
}

static inline bool below_u32(const uint32_t *v, size_t n, size_t limit)
{
	return n == 0 || max_u32(v, n) < limit;
}

/* Only for limits that are powers of two. */
static inline bool below_u64(const uint64_t *v, size_t n, uint64_t limit)
{
	assert((limit & (limit - 1)) == 0);
	return bits_u64(v, n) < limit;
}

/* --- batch_rollups.c --- */

/* Takes rollups over. NULL, or a static reason to refuse. m may be NULL. */
const char *batch_take_rollups(const Redtap__Rollups *m, struct batch *b);

/* --- batch_samples.c --- */

/*
 * Takes samples over, and changes columns in place. NULL, or a static reason to
 * refuse. m may be NULL.
 */
const char *batch_take_samples(Redtap__Samples *m, struct batch *b);
/*
 * Fills in *m with borrowed columns, for packing, and those in *memory, which
 * the caller frees afterwards. -ENOMEM.
 */
int batch_put_samples(Redtap__Samples *m, const struct batch_samples *s,
		      void **memory);

#endif /* PROTO_BATCH_CHECKS_H */
