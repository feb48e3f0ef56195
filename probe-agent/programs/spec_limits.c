/* SPDX-License-Identifier: Apache-2.0 */
/* `limits:` of one program, and of all in the agent's configuration. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cli.h"
#include "probe-agent/programs/spec_reader.h"

/* "1%" of one CPU. */
static int set_cpu(struct spec_limits *l, const char *text)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || strcmp(end, "%") != 0 || !(v >= 0.01) || v > 10000)
		return -EINVAL;
	l->cpu = v / 100;
	return 0;
}

static int set_on_over(struct spec_limits *l, const char *text)
{
	l->detach = !strcmp(text, "detach");
	return l->detach || !strcmp(text, "report") ? 0 : -EINVAL;
}

static int set_interval(struct spec_limits *l, const char *text)
{
	uint64_t ms;
	int err = cli_parse_duration_ms(text, &ms);

	if (err || ms < 100 || ms > 3600000)
		return -EINVAL;
	l->interval_ms = (uint32_t)ms;
	return 0;
}

static int set_count(uint32_t *to, const char *text)
{
	uint64_t v;
	int err = cli_parse_u64(text, 1, 10000000, &v);

	if (!err)
		*to = (uint32_t)v;
	return err;
}

static int set_entries(struct spec_limits *l, const char *text)
{
	return set_count(&l->entries, text);
}

static int set_series(struct spec_limits *l, const char *text)
{
	return set_count(&l->series, text);
}

static int set_memory(struct spec_limits *l, const char *text)
{
	uint64_t v;

	if (cli_parse_bytes(text, &v) != 0 || v < 4096)
		return -EINVAL;
	l->memory_bytes = v;
	return 0;
}

/* "20000/s" */
static int set_events(struct spec_limits *l, const char *text)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (end == text || (*end && strcmp(end, "/s") != 0) || v == 0 ||
	    v > 10000000)
		return -EINVAL;
	l->events_s = (uint32_t)v;
	return 0;
}

static const struct limit {
	const char *key;
	int (*set)(struct spec_limits *l, const char *text);
	const char *must; /* be */
} limits[] = {
	{ "cpu", set_cpu, "a part of one CPU like 1%" },
	{ "on_over", set_on_over, "detach or report" },
	{ "interval", set_interval, "from 100ms to 1h" },
	{ "entries", set_entries, "from 1 to 10000000" },
	{ "series", set_series, "from 1 to 10000000" },
	{ "memory", set_memory, "a size like 16MiB, at least 4096" },
	{ "events", set_events, "a rate like 20000/s" },
};
#define LIMITS (sizeof(limits) / sizeof(*limits))

const char *spec_limits_set(struct spec_limits *l, const char *key,
			    const char *text)
{
	for (size_t i = 0; i < LIMITS; i++)
		if (!strcmp(limits[i].key, key))
			return limits[i].set(l, text) ? limits[i].must : NULL;
	return "one of cpu, on_over, interval, entries, series, memory, events";
}

static int know_limit(struct spec_reader *r, int node, void *to)
{
	(void)r;
	(void)node;
	(void)to;
	return 0;
}

int spec_read_limits(struct spec_reader *r, int node, void *to)
{
	/* Names alone: what each says is read below, by the same table. */
	struct spec_field fields[LIMITS + 1] = { { NULL, NULL, 0 } };
	size_t n = spec_yaml_count(r->y, node);
	int err;

	for (size_t i = 0; i < LIMITS; i++)
		fields[i] = (struct spec_field){ limits[i].key, know_limit, 0 };
	err = spec_read_fields(r, node, "limits", fields, to);
	for (size_t i = 0; i < n && !err; i++) {
		int key, value = spec_yaml_pair(r->y, node, i, &key);
		const char *name = spec_yaml_text(r->y, key);
		const char *text = spec_yaml_text(r->y, value);
		const char *must =
			name ? spec_limits_set(to, name, text ? text : "")
			     : NULL;

		if (must)
			err = spec_fail(r, value, "%s: must be %s", name, must);
	}
	return err;
}
