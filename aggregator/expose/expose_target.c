/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/expose/expose_target.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static void put_label(struct expose_target *out, const char *name,
		      const char *value)
{
	if (value && *value)
		out->label[out->n++] = (struct expose_label){ name, value };
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Copies text up to end with %XX decoded. to has room for all of it. */
static char *copy_decoded(char *to, const char *text, const char *end)
{
	while (text < end) {
		int hi = end - text > 2 && *text == '%' ? hex_digit(text[1])
							: -1;
		int lo = hi < 0 ? -1 : hex_digit(text[2]);

		if (lo >= 0 && (hi || lo)) {
			*to++ = (char)(hi << 4 | lo);
			text += 3;
		} else {
			*to++ = *text++;
		}
	}
	*to++ = '\0';
	return to;
}

static bool name_taken(const struct expose_target *out, const char *name)
{
	for (size_t i = 0; i < out->n; i++)
		if (!strcmp(out->label[i].name, name))
			return true;
	return false;
}

/* "key=value,…" as redtap.proto has it: prefix_key, of what a name may have. */
static void put_chosen(struct expose_target *out, const char *prefix,
		       const char *list)
{
	char *at = out->text, *end = out->text + sizeof(out->text);
	size_t left = EXPOSE_TARGET_CHOSEN, fixed = strlen(prefix);

	while (list && *list && left) {
		size_t len = strcspn(list, ",");
		const char *equals = memchr(list, '=', len);
		char *name = at, *value;

		if (equals && (size_t)(end - at) > fixed + len + 2) {
			memcpy(at, prefix, fixed);
			value = copy_decoded(at + fixed, list, equals);
			for (char *c = name + fixed; *c; c++)
				if (!isalnum((unsigned char)*c))
					*c = '_';
			at = copy_decoded(value, equals + 1, list + len);
			if (!name_taken(out, name)) {
				put_label(out, name, value);
				left--;
			}
		}
		list += len + (list[len] == ',');
	}
}

void expose_target(struct expose_target *out, const struct snapshot_target *t)
{
	bool pod = t->pod && *t->pod;

	out->n = 0;
	put_label(out, "job", t->job);
	put_label(out, "instance", t->instance);
	put_label(out, "host_name", t->node);
#define PUT(name, text) put_label(out, text, t->name);
	RESOURCE_LABELS(PUT)
#undef PUT
	/* The conventions tell a pod's containers from others. */
	for (size_t i = 0; pod && i < out->n; i++)
		if (!strcmp(out->label[i].name, "container_name"))
			out->label[i].name = "k8s_container_name";
	put_chosen(out, pod ? "k8s_pod_label_" : "container_label_", t->labels);
}
