/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_WORKER_LAYOUT_H
#define PROBE_AGENT_WORKER_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>

#include "probe-agent/programs/spec.h"
#include "probe-agent/worker/object.h"

/*
 * From the types of an object's maps (BTF) to labels and values: what a file
 * left out, and all of it for maps that are named counter_, gauge_, hist_ or
 * print_. Pure.
 */

/*
 * Completes the metrics of *s and, for an object without a file, adds them.
 * -EINVAL: *why says what does not fit; -ENOMEM.
 */
int layout_resolve(struct spec *s, const struct object *o, char *why,
		   size_t why_size);

/* --- layout_types.c --- */

struct btf;

/* A number that a type holds at an offset. */
struct layout_number {
	unsigned offset, size;
	bool is_signed;
};

/*
 * Appends a label for each member of a type: nested ones as a_b, a scalar as
 * name. -EINVAL: *why says which member has no text; -ENOMEM.
 */
int layout_labels(const struct btf *btf, unsigned type, const char *name,
		  struct spec_label **list, size_t *n, char *why,
		  size_t why_size);
/* Finds a member by its label's name. -ENOENT. */
int layout_find(const struct btf *btf, unsigned type, const char *name,
		struct spec_label *out);
/* The type, if it is an integer. -EINVAL. */
int layout_number(const struct btf *btf, unsigned type,
		  struct layout_number *out);
bool layout_is_struct(const struct btf *btf, unsigned type);

typedef int (*layout_member_fn)(void *arg, const char *name, unsigned type,
				unsigned offset);
/* Calls fn for each member of a struct, until it returns an error. */
int layout_each_member(const struct btf *btf, unsigned type,
		       layout_member_fn fn, void *arg);

#endif /* PROBE_AGENT_WORKER_LAYOUT_H */
