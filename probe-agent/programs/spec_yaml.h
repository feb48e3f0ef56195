/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_PROGRAMS_SPEC_YAML_H
#define PROBE_AGENT_PROGRAMS_SPEC_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe-agent/programs/spec.h"

/*
 * A YAML text as a tree whose nodes know their line, for spec_*.c only. Aliases
 * are nodes that occur at several places; readers descend a fixed number of
 * levels, so a text cannot send them round in circles.
 */
struct spec_yaml;

enum spec_node_kind {
	SPEC_NODE_NONE,
	SPEC_NODE_TEXT,
	SPEC_NODE_LIST,
	SPEC_NODE_MAP,
};

/* Sets *out, released by spec_yaml_free(). -EINVAL fills *e; -ENOMEM. */
int spec_yaml_parse(struct spec_yaml **out, const char *text, size_t len,
		    struct spec_error *e);
void spec_yaml_free(struct spec_yaml *y); /* NULL is fine */

int spec_yaml_root(struct spec_yaml *y); /* 0: an empty text */
enum spec_node_kind spec_yaml_kind(struct spec_yaml *y, int node);
unsigned spec_yaml_line(struct spec_yaml *y, int node);
unsigned spec_yaml_column(struct spec_yaml *y, int node);
/* A scalar's text, or NULL. Borrowed from y. */
const char *spec_yaml_text(struct spec_yaml *y, int node);
/* Entries of a list or a map; 0 of all else. */
size_t spec_yaml_count(struct spec_yaml *y, int node);
int spec_yaml_item(struct spec_yaml *y, int node, size_t i); /* of a list */
/* Entry i of a map: its value; *key its name's node. */
int spec_yaml_pair(struct spec_yaml *y, int node, size_t i, int *key);
int spec_yaml_get(struct spec_yaml *y, int node, const char *key);

#endif /* PROBE_AGENT_PROGRAMS_SPEC_YAML_H */
