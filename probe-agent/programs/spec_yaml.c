/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/programs/spec_yaml.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct spec_yaml {
	yaml_document_t doc;
	bool has_doc;
};

int spec_yaml_parse(struct spec_yaml **out, const char *text, size_t len,
		    struct spec_error *e)
{
	struct spec_yaml *y = calloc(1, sizeof(*y));
	yaml_parser_t parser;
	int err = 0;

	if (!y)
		return -ENOMEM;
	if (!yaml_parser_initialize(&parser)) {
		free(y);
		return -ENOMEM;
	}
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	if (yaml_parser_load(&parser, &y->doc)) {
		y->has_doc = true;
	} else {
		e->line = (unsigned)parser.problem_mark.line + 1;
		e->column = (unsigned)parser.problem_mark.column + 1;
		snprintf(e->what, sizeof(e->what), "not YAML: %s",
			 parser.problem ? parser.problem : "cannot be read");
		err = parser.error == YAML_MEMORY_ERROR ? -ENOMEM : -EINVAL;
	}
	yaml_parser_delete(&parser);
	if (err) {
		spec_yaml_free(y);
		return err;
	}
	*out = y;
	return 0;
}

void spec_yaml_free(struct spec_yaml *y)
{
	if (!y)
		return;
	if (y->has_doc)
		yaml_document_delete(&y->doc);
	free(y);
}

int spec_yaml_root(struct spec_yaml *y)
{
	return y->has_doc && yaml_document_get_root_node(&y->doc) ? 1 : 0;
}

static yaml_node_t *node_at(struct spec_yaml *y, int node)
{
	return node > 0 ? yaml_document_get_node(&y->doc, node) : NULL;
}

enum spec_node_kind spec_yaml_kind(struct spec_yaml *y, int node)
{
	const yaml_node_t *n = node_at(y, node);

	if (!n)
		return SPEC_NODE_NONE;
	switch (n->type) {
	case YAML_SCALAR_NODE:
		return SPEC_NODE_TEXT;
	case YAML_SEQUENCE_NODE:
		return SPEC_NODE_LIST;
	case YAML_MAPPING_NODE:
		return SPEC_NODE_MAP;
	default:
		return SPEC_NODE_NONE;
	}
}

unsigned spec_yaml_line(struct spec_yaml *y, int node)
{
	const yaml_node_t *n = node_at(y, node);

	return n ? (unsigned)n->start_mark.line + 1 : 0;
}

unsigned spec_yaml_column(struct spec_yaml *y, int node)
{
	const yaml_node_t *n = node_at(y, node);

	return n ? (unsigned)n->start_mark.column + 1 : 0;
}

const char *spec_yaml_text(struct spec_yaml *y, int node)
{
	const yaml_node_t *n = node_at(y, node);

	/* libyaml ends it with a NUL; one inside would cut it. */
	if (!n || n->type != YAML_SCALAR_NODE ||
	    memchr(n->data.scalar.value, 0, n->data.scalar.length))
		return NULL;
	return (const char *)n->data.scalar.value;
}

size_t spec_yaml_count(struct spec_yaml *y, int node)
{
	const yaml_node_t *n = node_at(y, node);

	if (n && n->type == YAML_SEQUENCE_NODE)
		return (size_t)(n->data.sequence.items.top -
				n->data.sequence.items.start);
	if (n && n->type == YAML_MAPPING_NODE)
		return (size_t)(n->data.mapping.pairs.top -
				n->data.mapping.pairs.start);
	return 0;
}

int spec_yaml_item(struct spec_yaml *y, int node, size_t i)
{
	const yaml_node_t *n = node_at(y, node);

	if (!n || n->type != YAML_SEQUENCE_NODE ||
	    i >= spec_yaml_count(y, node))
		return 0;
	return n->data.sequence.items.start[i];
}

int spec_yaml_pair(struct spec_yaml *y, int node, size_t i, int *key)
{
	const yaml_node_t *n = node_at(y, node);

	*key = 0;
	if (!n || n->type != YAML_MAPPING_NODE || i >= spec_yaml_count(y, node))
		return 0;
	*key = n->data.mapping.pairs.start[i].key;
	return n->data.mapping.pairs.start[i].value;
}

int spec_yaml_get(struct spec_yaml *y, int node, const char *key)
{
	size_t n = spec_yaml_count(y, node);

	for (size_t i = 0; i < n; i++) {
		int at, value = spec_yaml_pair(y, node, i, &at);
		const char *name = spec_yaml_text(y, at);

		if (name && !strcmp(name, key))
			return value;
	}
	return 0;
}
