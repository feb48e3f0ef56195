/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_FOLD_ASKERS_H
#define AGGREGATOR_FOLD_ASKERS_H

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
#define ASKERS 16u
#define ASKERS_BITS 8
#define ASKERS_NAME_BYTES 256u /* longer names are cut */

struct asker {
	uint64_t hash; /* of the name */
	uint64_t floor; /* inherited */
	uint64_t sets; /* floor included */
	uint8_t sketch[1 << ASKERS_BITS];
	char name[ASKERS_NAME_BYTES];
};

struct askers {
	struct asker *asker; /* ASKERS of them; NULL: nobody asked */
	unsigned n;
};

/* A set (by its hash) that was not there. Out of memory: nothing is kept. */
void askers_add(struct askers *a, const char *name, size_t len,
		uint64_t name_hash, uint64_t set_hash);
/* The one with the most; NULL: nobody asked. */
const struct asker *askers_worst(const struct askers *a);
void askers_fini(struct askers *a);

#endif /* AGGREGATOR_FOLD_ASKERS_H */
