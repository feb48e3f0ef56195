/* SPDX-License-Identifier: Apache-2.0 */
/* Hints of `program run` about histograms of maps that have no file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/programs/spec_reader.h"

static struct spec_hint *hint_of(struct spec *s, const char *map, size_t len)
{
	struct spec_hint *h;

	for (size_t i = 0; i < s->n_hints; i++)
		if (strlen(s->hints[i].map) == len &&
		    !strncmp(s->hints[i].map, map, len))
			return &s->hints[i];
	h = spec_grow(s->hints, &s->n_hints, sizeof(*h));
	if (!h)
		return NULL;
	s->hints = h;
	h += s->n_hints - 1;
	h->map = strndup(map, len);
	return h->map ? h : NULL;
}

int spec_hint_value(struct spec *s, const char *text)
{
	const char *comma = strchr(text, ',');
	struct spec_hint *h;

	if (!comma || comma == text || !comma[1])
		return -EINVAL;
	h = hint_of(s, text, (size_t)(comma - text));
	if (!h)
		return -ENOMEM;
	free(h->value);
	h->value = strdup(comma + 1);
	return h->value ? 0 : -ENOMEM;
}

int spec_hint_bounds(struct spec *s, const char *text)
{
	const char *comma = strchr(text, ','), *p;
	struct spec_hint *h;

	if (!comma || comma == text)
		return -EINVAL;
	h = hint_of(s, text, (size_t)(comma - text));
	if (!h)
		return -ENOMEM;
	h->n_bounds = 0;
	for (p = comma; *p;) {
		uint64_t *list =
			reallocarray(h->bounds, h->n_bounds + 1, sizeof(*list));
		char *end;
		unsigned long long v;

		if (!list)
			return -ENOMEM;
		h->bounds = list;
		p += 1 + strspn(p + 1, " [");
		v = strtoull(p, &end, 10);
		if (end == p || (h->n_bounds > 0 && v <= list[h->n_bounds - 1]))
			return -EINVAL;
		list[h->n_bounds++] = v;
		p = end + strspn(end, " ]");
		if (*p && *p != ',')
			return -EINVAL;
	}
	return h->n_bounds > 0 ? 0 : -EINVAL;
}
