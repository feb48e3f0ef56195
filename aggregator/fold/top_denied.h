/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_FOLD_TOP_DENIED_H
#define AGGREGATOR_FOLD_TOP_DENIED_H

#include <stddef.h>
#include <stdint.h>

/*
 * Who asks a view for the most label sets that it has not: the heaviest of a
 * stream by Space-Saving (Metwally et al. 2005), but each counts how many
 * different sets it asked for, by a sketch. A newcomer takes the place of the
 * least and inherits its number, so who asks for more than a sixteenth of all
 * is always among them, however many others there are. Pure; the engine's
 * thread.
 */
#define TOP_DENIED 16u
#define TOP_DENIED_BITS 8
#define TOP_DENIED_NAME_BYTES 256u /* longer names are cut */

struct top_denied_entry {
	uint64_t hash; /* of the name */
	uint64_t floor; /* inherited */
	uint64_t sets; /* floor included */
	uint8_t sketch[1 << TOP_DENIED_BITS];
	char name[TOP_DENIED_NAME_BYTES];
};

struct top_denied {
	struct top_denied_entry
		*asker; /* TOP_DENIED of them; NULL: nobody asked */
	unsigned n;
};

/* A set (by its hash) that was not there. Out of memory: nothing is kept. */
void top_denied_add(struct top_denied *a, const char *name, size_t len,
		    uint64_t name_hash, uint64_t set_hash);
/* The one with the most; NULL: nobody asked. */
const struct top_denied_entry *top_denied_worst(const struct top_denied *a);
void top_denied_fini(struct top_denied *a);

#endif /* AGGREGATOR_FOLD_TOP_DENIED_H */
