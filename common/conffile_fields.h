/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_CONFFILE_FIELDS_H
#define COMMON_CONFFILE_FIELDS_H

/*
 * Macros that describe the fields of a configuration to the YAML library, whose
 * header must be included first. All fields are optional: one that is not given
 * stays 0 and gets its default later.
 */

#define TEXT(key, type, member)                                                \
	CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,  \
			       type, member, 1, 4096)
#define LIST(key, type, member, entry)                                         \
	CYAML_FIELD_SEQUENCE(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,    \
			     type, member, entry, 0, 1024)
#define UINT(key, type, member)                                                \
	CYAML_FIELD_UINT(key, CYAML_FLAG_OPTIONAL, type, member)
#define BOOLEAN(key, type, member)                                             \
	CYAML_FIELD_BOOL(key, CYAML_FLAG_OPTIONAL, type, member)
/* A mapping whose fields have offsets from the start of the whole structure. */
#define GROUP(name, type, fields)                                              \
	{                                                                      \
		.key = name, .data_offset = 0,                                 \
		.value = {                                                     \
			CYAML_VALUE_MAPPING(CYAML_FLAG_OPTIONAL, type,         \
					    fields),                           \
		},                                                             \
	}

#endif /* COMMON_CONFFILE_FIELDS_H */
