/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_SERIES_TOP_DENIED_H
#define AGGREGATOR_SERIES_TOP_DENIED_H

#include <stddef.h>
#include <stdint.h>

/*
 * The services that ask a view for the most label sets without a slot. Keeps
 * the TOP_DENIED heaviest by Space-Saving (Metwally et al. 2005); each entry
 * estimates by a sketch how many distinct sets its service asked for. A new
 * service replaces the entry with the fewest and starts at its number, so a
 * service with more than 1 / TOP_DENIED of all sets is always among the
 * entries. Pure; for the engine's thread.
 */
#define TOP_DENIED 16u
#define TOP_DENIED_BITS 8
#define TOP_DENIED_NAME_BYTES 256u /* longer names are cut */

struct top_denied_entry {
	uint64_t hash; /* of the name */
	uint64_t floor; /* inherited from the entry it replaced */
	uint64_t sets; /* estimate, including floor */
	uint8_t sketch[1 << TOP_DENIED_BITS];
	char name[TOP_DENIED_NAME_BYTES];
};

struct top_denied {
	struct top_denied_entry
		*asker; /* array of TOP_DENIED; NULL: none yet */
	unsigned n;
};

/* Adds a label set, by its hash, for a service. Ignored if out of memory. */
void top_denied_add(struct top_denied *a, const char *name, size_t len,
		    uint64_t name_hash, uint64_t set_hash);
/* Returns the entry with the most sets; NULL: no entry. */
const struct top_denied_entry *top_denied_worst(const struct top_denied *a);
void top_denied_fini(struct top_denied *a);

#endif /* AGGREGATOR_SERIES_TOP_DENIED_H */
