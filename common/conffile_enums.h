/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_CONFFILE_ENUMS_H
#define COMMON_CONFFILE_ENUMS_H

#include <string.h>

#include "common/conffile_rules.h"
#include "common/conffile_text.h"
#include "common/conffile_walk.h"

/*
 * Checks words and booleans of a text against the schema of the YAML library,
 * whose header must be included first: the library itself does not say which
 * words there are, and reads every unknown word as the boolean true.
 */

struct conffile_enums {
	const cyaml_schema_value_t *schema;
	struct conffile_error *e;
};

/* The schema of the value at a path; NULL: there is no such key. */
static inline const cyaml_schema_value_t *
conffile_enums_find(const cyaml_schema_value_t *v, const char *path)
{
	while (v && *path) {
		const cyaml_schema_field_t *field;
		size_t len = strcspn(path, ".");

		while (v->type == CYAML_SEQUENCE)
			v = v->sequence.entry;
		if (v->type != CYAML_MAPPING)
			return NULL;
		for (field = v->mapping.fields; field->key; field++)
			if (strlen(field->key) == len &&
			    memcmp(field->key, path, len) == 0)
				break;
		v = field->key ? &field->value : NULL;
		path += len + (path[len] == '.');
	}
	while (v && v->type == CYAML_SEQUENCE)
		v = v->sequence.entry;
	return v;
}

static inline int conffile_enums_value(void *arg,
				       const struct conffile_value *value)
{
	const struct conffile_enums *c = arg;
	const cyaml_schema_value_t *v =
		conffile_enums_find(c->schema, value->path);
	struct conffile_rule rule = { .key = value->path };

	if (v && v->type == CYAML_BOOL) {
		rule.check = conffile_boolean;
	} else if (v && v->type == CYAML_ENUM) {
		rule.words = v->enumeration.strings;
		rule.n = v->enumeration.count;
		rule.stride = sizeof(*v->enumeration.strings);
	} else {
		return 0;
	}
	return conffile_check_rule(&rule, value, c->e);
}

/* -EINVAL: t->error says which value, where, and what is allowed. -ENOMEM. */
static inline int conffile_enums_check(const cyaml_schema_value_t *schema,
				       struct conffile_text *t)
{
	struct conffile_enums c = { schema, &t->error };

	return conffile_walk(t->written.data, t->written.len,
			     conffile_enums_value, &c);
}

#endif /* COMMON_CONFFILE_ENUMS_H */
