/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_CONFFILE_WALK_H
#define COMMON_CONFFILE_WALK_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Walks over the values of a YAML text, each with the keys that lead to it and
 * its place in the text, which the YAML library does not keep. Stateless.
 */

struct conffile_value {
	const char *path; /* "store.commit_ms"; in a list: "services.port" */
	const char *text; /* the scalar */
	unsigned line, column; /* from 1, column in characters */
	size_t from, to; /* bytes of the text, with any quotes */
};

/* Returns 0, or what ends the walk and is returned by it. */
typedef int conffile_value_fn(void *arg, const struct conffile_value *v);

/*
 * Calls fn for each scalar that is a value. Returns 0 at the end, also for a
 * text that is not YAML, since the YAML library reports that. -ENOMEM, or what
 * fn returned.
 */
int conffile_walk(const char *text, size_t len, conffile_value_fn *fn,
		  void *arg);

/*
 * The place of the n-th value, from 0, at a path. False: there are not as many.
 */
bool conffile_find(const char *text, size_t len, const char *path, unsigned n,
		   unsigned *line, unsigned *column);

#endif /* COMMON_CONFFILE_WALK_H */
