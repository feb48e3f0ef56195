/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/series/top_denied.h"

#include <stdlib.h>
#include <string.h>

#include "aggregator/series/sketch.h"

static struct top_denied_entry *least(const struct top_denied *a)
{
	struct top_denied_entry *least = &a->asker[0];

	for (unsigned i = 1; i < a->n; i++)
		if (a->asker[i].sets < least->sets)
			least = &a->asker[i];
	return least;
}

/* Cuts a long name, but never inside a UTF-8 character. */
static void set_name(struct top_denied_entry *to, const char *name, size_t len)
{
	if (len >= TOP_DENIED_NAME_BYTES)
		for (len = TOP_DENIED_NAME_BYTES - 1;
		     len > 0 && ((uint8_t)name[len] & 0xc0) == 0x80; len--)
			;
	memcpy(to->name, name, len);
	to->name[len] = '\0';
}

/*
 * Adds a service. Its first set needs no estimate; with many services most sets
 * are first ones.
 */
static void come(struct top_denied *a, const char *name, size_t len,
		 uint64_t hash, uint64_t set_hash)
{
	struct top_denied_entry *to;

	if (!a->asker) {
		a->asker = calloc(TOP_DENIED, sizeof(*a->asker));
		if (!a->asker)
			return;
	}
	to = a->n < TOP_DENIED ? &a->asker[a->n++] : least(a);
	to->floor = to->sets++;
	to->hash = hash;
	memset(to->sketch, 0, sizeof(to->sketch));
	sketch_add(to->sketch, TOP_DENIED_BITS, set_hash);
	set_name(to, name, len);
}

void top_denied_add(struct top_denied *a, const char *name, size_t len,
		    uint64_t name_hash, uint64_t set_hash)
{
	for (unsigned i = 0; i < a->n; i++) {
		struct top_denied_entry *to = &a->asker[i];

		if (to->hash != name_hash)
			continue;
		if (sketch_add(to->sketch, TOP_DENIED_BITS, set_hash))
			to->sets = to->floor +
				   sketch_estimate(to->sketch, TOP_DENIED_BITS);
		return;
	}
	come(a, name, len, name_hash, set_hash);
}

const struct top_denied_entry *top_denied_worst(const struct top_denied *a)
{
	const struct top_denied_entry *worst = NULL;

	for (unsigned i = 0; i < a->n; i++)
		if (!worst || a->asker[i].sets > worst->sets)
			worst = &a->asker[i];
	return worst;
}

void top_denied_fini(struct top_denied *a)
{
	free(a->asker);
	a->asker = NULL;
	a->n = 0;
}
