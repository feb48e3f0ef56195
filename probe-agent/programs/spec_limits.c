/* SPDX-License-Identifier: Apache-2.0 */
/* `limits:` of one program, and of all in the agent's configuration. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cli.h"
#include "probe-agent/programs/spec_reader.h"

/* "1%" of one CPU. */
static int read_cpu(struct spec_reader *r, int node, void *to)
{
	const char *text = spec_yaml_text(r->y, node);
	char *end = NULL;
	double v = text ? strtod(text, &end) : 0;

	if (!text || end == text || strcmp(end, "%") != 0 || !(v >= 0.01) ||
	    v > 10000)
		return spec_fail(r, node,
				 "cpu: must be a part of one CPU like 1%%");
	*(double *)to = v / 100;
	return 0;
}

static int read_on_over(struct spec_reader *r, int node, void *to)
{
	const char *text = spec_yaml_text(r->y, node);

	if (!text || (strcmp(text, "detach") && strcmp(text, "report")))
		return spec_fail(r, node, "on_over: must be detach or report");
	*(bool *)to = !strcmp(text, "detach");
	return 0;
}

static int read_bytes(struct spec_reader *r, int node, void *to)
{
	const char *text = spec_yaml_text(r->y, node);
	uint64_t v;

	if (!text || cli_parse_bytes(text, &v) != 0 || v < 4096)
		return spec_fail(r, node,
				 "memory: must be a size like 16MiB, at least "
				 "4096");
	*(uint64_t *)to = v;
	return 0;
}

static int read_rate(struct spec_reader *r, int node, void *to)
{
	const char *text = spec_yaml_text(r->y, node);
	char *end = NULL;
	unsigned long v = text ? strtoul(text, &end, 10) : 0;

	if (!text || end == text || (*end && strcmp(end, "/s") != 0) ||
	    v == 0 || v > 10000000)
		return spec_fail(r, node,
				 "events: must be a rate like "
				 "20000/s");
	*(uint32_t *)to = (uint32_t)v;
	return 0;
}

static int read_interval(struct spec_reader *r, int node, void *to)
{
	uint32_t ms;
	int err = spec_read_duration_ms(r, node, &ms);

	if (!err && (ms < 100 || ms > 3600000))
		return spec_fail(r, node, "interval: must be from 100ms to 1h");
	if (!err)
		*(uint32_t *)to = ms;
	return err;
}

static int read_count(struct spec_reader *r, int node, void *to)
{
	unsigned v;
	int err = spec_read_unsigned(r, node, &v);

	if (!err && (v < 1 || v > 10000000))
		return spec_fail(r, node, "must be from 1 to 10000000");
	if (!err)
		*(uint32_t *)to = v;
	return err;
}

int spec_read_limits(struct spec_reader *r, int node, void *limits)
{
#define AT(member) offsetof(struct spec_limits, member)
	static const struct spec_field fields[] = {
		{ "cpu", read_cpu, AT(cpu) },
		{ "on_over", read_on_over, AT(detach) },
		{ "interval", read_interval, AT(interval_ms) },
		{ "entries", read_count, AT(entries) },
		{ "series", read_count, AT(series) },
		{ "memory", read_bytes, AT(memory_bytes) },
		{ "events", read_rate, AT(events_s) },
		{ NULL, NULL, 0 },
	};

	return spec_read_fields(r, node, "limits", fields, limits);
}
