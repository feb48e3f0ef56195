/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_RESOURCE_H
#define PROTO_RESOURCE_H

#include <stddef.h>

/*
 * Who served or called a request, as texts: one for each line of resource.def,
 * by name or by number. Constants only; any thread.
 */
enum resource_field {
#define RESOURCE(field, FIELD, name, need, label) RESOURCE_##FIELD,
#include "proto/resource.def"
	RESOURCE_FIELDS,
};

/* Borrowed; NULL is "". */
struct resource_texts {
	union {
		const char *text[RESOURCE_FIELDS];
		struct {
#define RESOURCE(field, FIELD, name, need, label) const char *field;
#include "proto/resource.def"
		};
	};
};

/* The names and labels of resource.def, by field. */
extern const char *const resource_name[RESOURCE_FIELDS];
extern const char *const resource_label[RESOURCE_FIELDS]; /* "": none */

#endif /* PROTO_RESOURCE_H */
