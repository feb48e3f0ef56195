/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/fold/askers.h"

#include <stdlib.h>
#include <string.h>

#include "aggregator/fold/sketch.h"

static struct asker *least(const struct askers *a)
{
	struct asker *least = &a->asker[0];

	for (unsigned i = 1; i < a->n; i++)
		if (a->asker[i].sets < least->sets)
			least = &a->asker[i];
	return least;
}

/* Never in the middle of a character. */
static void set_name(struct asker *to, const char *name, size_t len)
{
	if (len >= ASKERS_NAME_BYTES)
		for (len = ASKERS_NAME_BYTES - 1;
		     len > 0 && ((uint8_t)name[len] & 0xc0) == 0x80; len--)
			;
	memcpy(to->name, name, len);
	to->name[len] = '\0';
}

/* Somebody's first set needs no estimate: with many services, most are. */
static void come(struct askers *a, const char *name, size_t len, uint64_t hash,
		 uint64_t set_hash)
{
	struct asker *to;

	if (!a->asker) {
		a->asker = calloc(ASKERS, sizeof(*a->asker));
		if (!a->asker)
			return;
	}
	to = a->n < ASKERS ? &a->asker[a->n++] : least(a);
	to->floor = to->sets++;
	to->hash = hash;
	memset(to->sketch, 0, sizeof(to->sketch));
	sketch_add(to->sketch, ASKERS_BITS, set_hash);
	set_name(to, name, len);
}

void askers_add(struct askers *a, const char *name, size_t len,
		uint64_t name_hash, uint64_t set_hash)
{
	for (unsigned i = 0; i < a->n; i++) {
		struct asker *to = &a->asker[i];

		if (to->hash != name_hash)
			continue;
		if (sketch_add(to->sketch, ASKERS_BITS, set_hash))
			to->sets = to->floor +
				   sketch_estimate(to->sketch, ASKERS_BITS);
		return;
	}
	come(a, name, len, name_hash, set_hash);
}

const struct asker *askers_worst(const struct askers *a)
{
	const struct asker *worst = NULL;

	for (unsigned i = 0; i < a->n; i++)
		if (!worst || a->asker[i].sets > worst->sets)
			worst = &a->asker[i];
	return worst;
}

void askers_fini(struct askers *a)
{
	free(a->asker);
	a->asker = NULL;
	a->n = 0;
}
