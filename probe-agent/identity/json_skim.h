/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_IDENTITY_JSON_SKIM_H
#define PROBE_AGENT_IDENTITY_JSON_SKIM_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Walks a JSON text once and hands on its strings, with where they are. Builds
 * nothing and allocates nothing: what runtimes write about a container is
 * mostly of no use to us. Takes any bytes; pure; any thread.
 */

#define JSON_SKIM_DEPTH 4 /* keys of a place; what is deeper is passed over */
#define JSON_SKIM_KEY                                                          \
	128 /* bytes; a longer key is cut and so never matches                 \
	     */
#define JSON_SKIM_VALUE 16384 /* a longer string is left out */

struct json_place {
	unsigned depth;
	/* From the outermost; "" for an element of an array. */
	char key[JSON_SKIM_DEPTH][JSON_SKIM_KEY];
};

/* A string, unescaped and without NUL; borrowed. False ends the walk. */
typedef bool json_skim_fn(void *arg, const struct json_place *place,
			  const char *value);

/*
 * Walks the value that text begins with; what follows it is ignored. 0: to the
 * end, or to where fn wanted. -EPROTO: up to where it is no JSON.
 */
int json_skim(const char *text, size_t len, json_skim_fn *fn, void *arg);

/* True if the place is these keys: depth of them. */
bool json_place_is(const struct json_place *place, unsigned depth,
		   const char *const *key);

#endif /* PROBE_AGENT_IDENTITY_JSON_SKIM_H */
