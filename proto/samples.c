/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/samples.h"

#include <string.h>

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool starts(const char *name, const char *with)
{
	return !strncmp(name, with, strlen(with));
}

/* A sample of a user's program must not look like one of redtap's own. */
static bool is_reserved(const char *name)
{
	return starts(name, "redtap_") || starts(name, "http_") ||
	       starts(name, "traces_") || starts(name, "process_") ||
	       starts(name, "scrape_") || starts(name, "target_info") ||
	       !strcmp(name, "up");
}

bool samples_metric_name_valid(const char *name)
{
	size_t n = 1;

	if (!is_letter(*name) && *name != ':')
		return false;
	for (; name[n]; n++)
		if (!is_letter(name[n]) && !is_digit(name[n]) && name[n] != ':')
			return false;
	return n <= 256 && !is_reserved(name);
}

bool samples_label_name_valid(const char *name)
{
	size_t n = 1;

	if (!is_letter(*name) || starts(name, "__") || !strcmp(name, "le"))
		return false;
	for (; name[n]; n++)
		if (!is_letter(name[n]) && !is_digit(name[n]))
			return false;
	return n <= 128;
}

static const char *pick(const char *const *names, unsigned n, unsigned i)
{
	return i < n ? names[i] : NULL;
}

const char *samples_kind_name(unsigned kind)
{
	static const char *const names[] = { "unknown", "counter", "gauge",
					     "histogram" };

	return pick(names, SAMPLES_KINDS + 1, kind);
}

const char *samples_guarantee_name(unsigned guarantee)
{
	static const char *const names[SAMPLES_GUARANTEES] = {
		[SAMPLES_EXACT] = "exact",
		[SAMPLES_SINCE_READ] = "since_read",
		[SAMPLES_RACY] = "racy",
		[SAMPLES_UNKNOWN] = "unknown",
	};

	return pick(names, SAMPLES_GUARANTEES, guarantee);
}

const char *samples_state_name(unsigned state)
{
	static const char *const names[SAMPLES_STATES] = {
		[SAMPLES_RUNNING] = "running",
		[SAMPLES_PARTIAL] = "partial",
		[SAMPLES_FAILED] = "failed",
		[SAMPLES_QUARANTINED] = "quarantined",
		[SAMPLES_OVER_BUDGET] = "over_budget",
	};

	return pick(names, SAMPLES_STATES, state);
}

const char *samples_stage_name(unsigned stage)
{
	static const char *const names[SAMPLES_STAGES] = {
		[SAMPLES_LOST_RING] = "ring",
		[SAMPLES_LOST_DECODE] = "decode",
		[SAMPLES_LOST_SKIP] = "skip",
		[SAMPLES_LOST_RATE] = "rate",
		[SAMPLES_LOST_OUTBOX] = "outbox",
		[SAMPLES_LOST_REFUSED] = "refused",
		[SAMPLES_LOST_MAP] = "map",
	};

	return pick(names, SAMPLES_STAGES, stage);
}

bool samples_any(const struct batch_samples *s)
{
	bool lost = false;

	for (unsigned i = 0; i < SAMPLES_STAGES; i++)
		lost |= s->dropped[i] != 0;
	return s->told || s->n_families > 0 || s->read > 0 || lost;
}

uint64_t samples_increments(const struct batch_samples *s)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < s->n_counters; i++)
		sum += s->increment[i];
	for (size_t i = 0; i < s->n_bucket_values; i++)
		sum += s->count[i];
	return sum;
}
