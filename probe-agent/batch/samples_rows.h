/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_BATCH_SAMPLES_ROWS_H
#define PROBE_AGENT_BATCH_SAMPLES_ROWS_H

#include "probe-agent/batch/samples_table.h"

/* The inside of the table, for samples_*.c only. */

/* Distinct rows of numbers, each of its own length, numbered as they came. */
struct samples_rows {
	struct intern_index index;
	uint32_t *words;
	size_t n_words, cap_words;
	struct {
		uint32_t at, len;
	} * row;
	size_t n, cap;
};

int samples_rows_init(struct samples_rows *r);
void samples_rows_fini(struct samples_rows *r);
void samples_rows_reset(struct samples_rows *r);
/* The row's number; *fresh: it is new. -ENOMEM. */
int64_t samples_rows_add(struct samples_rows *r, const uint32_t *word,
			 size_t len, bool *fresh);

/* What a family's row begins with; label names and bounds follow. */
enum samples_word {
	SAMPLES_W_KIND,
	SAMPLES_W_MERGE,
	SAMPLES_W_NAME,
	SAMPLES_W_UNIT,
	SAMPLES_W_PROGRAM,
	SAMPLES_W_LABELS, /* how many */
	SAMPLES_W_BOUNDS,
	SAMPLES_W_MULTIPLIER, /* two words */
	SAMPLES_W_REST = SAMPLES_W_MULTIPLIER + 2,
};
#define SAMPLES_FAMILY_WORDS                                                   \
	(SAMPLES_W_REST + LIMIT_SAMPLE_LABELS + 2 * LIMIT_SAMPLE_BOUNDS)

struct samples_family_state {
	uint32_t help; /* string; 0: none */
	uint32_t set; /* of gauges: the one to send; 0: none waits */
	uint32_t number; /* in the batch being filled; UINT32_MAX: not in it */
};

struct samples_series_state {
	uint64_t add; /* counter, or the sum of a histogram */
	int64_t value; /* gauge */
	uint64_t *bucket; /* n_bounds + 1; NULL: none grew */
	uint32_t set; /* of gauges: the set that has it */
	bool waits; /* counter or histogram that grew */
	bool filled; /* in the batch that was filled last */
};

struct samples_program_row {
	uint32_t name, reason, state; /* name, reason: strings */
	uint8_t digest[SAMPLES_DIGEST_BYTES];
	uint64_t runs, run_ns, trap_ns, read_us;
};

struct samples_map_row {
	uint32_t program, name, guarantee;
	uint64_t entries, max_entries;
};

struct samples_table {
	struct intern strings;
	struct samples_rows families, series;
	struct samples_family_state *family;
	struct samples_series_state *state;
	size_t cap_families, cap_states;
	uint32_t sets; /* of gauges, counted */
	size_t n_waiting; /* counters and histograms */
	size_t n_gauges_told; /* families with a set */
	bool told, told_filled; /* programs */
	struct samples_program_row *program;
	struct samples_map_row *map;
	size_t n_programs, n_maps;
	/* Runs of the set before, until the names say whose they are. */
	struct samples_program_row *before;
	size_t n_before;
	uint64_t read, dropped[SAMPLES_STAGES];
	uint64_t sent_read, sent_dropped[SAMPLES_STAGES];
	bool totals_filled;
	size_t cursor; /* series: where the next fill begins */
};

static inline const uint32_t *samples_row(const struct samples_rows *r,
					  size_t i)
{
	return r->words + r->row[i].at;
}

#endif /* PROBE_AGENT_BATCH_SAMPLES_ROWS_H */
