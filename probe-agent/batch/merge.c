/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/batch/merge.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/hash_index.h"
#include "probe-agent/batch/intern.h"
#include "probe-agent/batch/samples_table.h"
#include "proto/limits.h"

#define TRACE_BYTES 24u
#define END_BYTES 18u
#define CHARS_MAX (1u << 20) /* of all strings */
#define SLOTS_START 256u

/* A connection; compared byte by byte. */
struct ends {
	uint8_t local[END_BYTES], remote[END_BYTES];
};

struct merge {
	struct intern tables;
	/* Columns of events, cap long. */
	uint32_t *series, *connection, *stream;
	int64_t *start_delta_us;
	uint64_t *duration_us, *tail_us, *request_bytes, *response_bytes;
	size_t n, cap;
	uint32_t streams; /* the OR of all: is there any? */
	/* Traces, cap_traced long. */
	uint32_t *traced;
	uint8_t *trace_ids;
	size_t n_traced, cap_traced, last_traced;
	struct hash_index index; /* of the connections */
	struct ends *ends;
	size_t n_ends, cap_ends;
	int64_t base_us, last_start_us;
	struct samples_table *samples;
	bool any_samples;
	struct batch_losses losses;
	struct batch_info info;
	/* Ours by number of the batch that is added; UINT32_MAX: not yet. */
	uint32_t *map;
	uint32_t *was; /* its streams so far, by connection */
	size_t cap_map;
};

int merge_new(struct merge **out)
{
	struct merge *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	if (intern_init(&m->tables) != 0 ||
	    hash_index_init(&m->index, SLOTS_START) != 0 ||
	    samples_table_new(&m->samples) != 0) {
		merge_free(m);
		return -ENOMEM;
	}
	*out = m;
	return 0;
}

void merge_free(struct merge *m)
{
	if (!m)
		return;
	intern_fini(&m->tables);
	hash_index_fini(&m->index);
	samples_table_free(m->samples);
	batch_info_free(&m->info);
	free(m->series);
	free(m->connection);
	free(m->stream);
	free(m->start_delta_us);
	free(m->duration_us);
	free(m->tail_us);
	free(m->request_bytes);
	free(m->response_bytes);
	free(m->traced);
	free(m->trace_ids);
	free(m->ends);
	free(m->map);
	free(m->was);
	free(m);
}

void merge_reset(struct merge *m)
{
	intern_reset(&m->tables);
	hash_index_clear(&m->index);
	samples_table_reset(m->samples);
	m->any_samples = false;
	batch_info_free(&m->info);
	memset(&m->losses, 0, sizeof(m->losses));
	m->n = m->n_traced = m->last_traced = m->n_ends = 0;
	m->streams = 0;
}

/* --- room --- */

static bool grow(void *column, size_t cap, size_t width)
{
	void *p;

	memcpy(&p, column, sizeof(p)); /* whatever it points to */
	p = reallocarray(p, cap, width);
	if (p)
		memcpy(column, &p, sizeof(p));
	return p != NULL;
}

static size_t cap_for(size_t n)
{
	size_t cap = 1024;

	while (cap < n)
		cap *= 2;
	return cap;
}

static int make_room(struct merge *m, const struct batch *b)
{
	size_t events = m->n + b->events.n;
	size_t traced = m->n_traced + b->events.n_traced;
	size_t map = b->series.n > b->events.n_connections
			     ? b->series.n
			     : b->events.n_connections + 1;
	bool good = true;

	if (events > m->cap) {
		size_t cap = cap_for(events);

		good = grow(&m->series, cap, 4) &&
		       grow(&m->connection, cap, 4) &&
		       grow(&m->stream, cap, 4) &&
		       grow(&m->start_delta_us, cap, 8) &&
		       grow(&m->duration_us, cap, 8) &&
		       grow(&m->tail_us, cap, 8) &&
		       grow(&m->request_bytes, cap, 8) &&
		       grow(&m->response_bytes, cap, 8);
		m->cap = good ? cap : m->cap;
	}
	if (good && traced > m->cap_traced) {
		size_t cap = cap_for(traced);

		good = grow(&m->traced, cap, 4) &&
		       grow(&m->trace_ids, cap, TRACE_BYTES);
		m->cap_traced = good ? cap : m->cap_traced;
	}
	if (good && map > m->cap_map) {
		good = grow(&m->map, cap_for(map), sizeof(*m->map)) &&
		       grow(&m->was, cap_for(map), sizeof(*m->was));
		m->cap_map = good ? cap_for(map) : m->cap_map;
	}
	return good ? 0 : -ENOMEM;
}

/* As if all that the batch has were new. */
static bool merge_fits(const struct merge *m, const struct batch *b)
{
	size_t chars = m->tables.n_chars;

	for (size_t i = 0; i < b->n_strings; i++)
		chars += b->strings[i].len + 1;
	return b->rollups.n == 0 && m->n + b->events.n <= MERGE_EVENTS &&
	       chars <= CHARS_MAX &&
	       m->tables.n_strings + b->n_strings <= LIMIT_STRINGS &&
	       m->tables.resources.n + b->resources.n <= LIMIT_RESOURCES &&
	       m->tables.series.n + b->series.n <= LIMIT_SERIES &&
	       samples_table_count(m->samples) + b->samples.n_series <=
		       LIMIT_SAMPLE_SERIES &&
	       m->n_ends + b->events.n_connections <= LIMIT_CONNECTIONS;
}

/* --- from the batch's numbers to ours --- */

static void forget_map(struct merge *m, size_t n)
{
	if (n > 0)
		memset(m->map, 0xff, n * sizeof(*m->map));
}

static int add_series(struct merge *m, const struct batch *b)
{
	uint32_t *out = m->series + m->n;

	forget_map(m, b->series.n);
	for (size_t i = 0; i < b->events.n; i++) {
		uint32_t k = b->events.series[i];

		if (m->map[k] == UINT32_MAX) {
			int64_t id = intern_batch_series(&m->tables, b, k);

			if (id < 0)
				return -ENOMEM;
			m->map[k] = (uint32_t)id;
		}
		out[i] = m->map[k];
	}
	return 0;
}

static uint64_t hash_ends(const struct merge *m, const struct ends *e)
{
	uint64_t h = m->tables.seed, w;
	uint8_t padded[40] = { 0 };

	memcpy(padded, e, sizeof(*e));
	for (size_t i = 0; i < sizeof(padded); i += 8) {
		memcpy(&w, padded + i, 8);
		h = intern_mix(h, w);
	}
	return h;
}

static uint64_t hash_entry(const void *arg, uint32_t entry)
{
	const struct merge *m = arg;

	return hash_ends(m, &m->ends[entry]);
}

/* The connection's row in the merged batch. */
static int64_t ends_row(struct merge *m, const struct ends *e)
{
	uint64_t hash = hash_ends(m, e);
	size_t at = hash;
	uint32_t i;

	while (hash_index_next(&m->index, &at, &i))
		if (memcmp(&m->ends[i], e, sizeof(*e)) == 0)
			return i;
	if (m->n_ends == m->cap_ends) {
		size_t cap = cap_for(m->n_ends + 1);

		if (!grow(&m->ends, cap, sizeof(*m->ends)))
			return -ENOMEM;
		m->cap_ends = cap;
	}
	if (hash_index_reserve(&m->index, hash_entry, m) < 0)
		return -ENOMEM;
	m->ends[m->n_ends] = *e;
	hash_index_put(&m->index, hash, (uint32_t)m->n_ends);
	return (int64_t)m->n_ends++;
}

static int add_connections(struct merge *m, const struct batch_events *e)
{
	uint32_t *out = m->connection + m->n;

	if (e->n > 0)
		memset(out, 0, e->n * sizeof(*out));
	if (!e->connection)
		return 0;
	forget_map(m, e->n_connections);
	for (size_t i = 0; i < e->n; i++) {
		uint32_t k = e->connection[i];
		struct ends ends;
		int64_t row;

		if (k-- == 0)
			continue;
		if (m->map[k] == UINT32_MAX) {
			memcpy(ends.local, e->connection_local + k * END_BYTES,
			       END_BYTES);
			memcpy(ends.remote,
			       e->connection_remote + k * END_BYTES, END_BYTES);
			row = ends_row(m, &ends);
			if (row < 0)
				return -ENOMEM;
			m->map[k] = (uint32_t)row + 1;
		}
		out[i] = m->map[k];
	}
	return 0;
}

/* They stay as they are until merge_encode(): differences are of our order. */
static void add_streams(struct merge *m, const struct batch_events *e)
{
	uint32_t *out = m->stream + m->n;

	if (e->n > 0)
		memset(out, 0, e->n * sizeof(*out));
	if (!e->stream)
		return;
	memset(m->was, 0, (e->n_connections + 1) * sizeof(*m->was));
	for (size_t i = 0; i < e->n; i++) {
		out[i] = batch_stream_get(&m->was[e->connection[i]],
					  e->stream[i]);
		m->streams |= out[i];
	}
}

/* Starts and traces are distances to the one before. */
static void add_times(struct merge *m, const struct batch *b)
{
	const struct batch_events *e = &b->events;
	int64_t start_us = b->base_us;

	for (size_t i = 0; i < e->n; i++) {
		start_us += e->start_delta_us[i];
		if (m->n == 0 && i == 0)
			m->base_us = m->last_start_us = start_us;
		m->start_delta_us[m->n + i] = start_us - m->last_start_us;
		m->last_start_us = start_us;
	}
}

static void add_traces(struct merge *m, const struct batch_events *e)
{
	size_t at = m->n;

	for (size_t i = 0; i < e->n_traced; i++) {
		at += e->traced[i];
		m->traced[m->n_traced + i] = (uint32_t)(at - m->last_traced);
		m->last_traced = at;
	}
	if (e->n_traced > 0)
		memcpy(m->trace_ids + m->n_traced * TRACE_BYTES, e->trace_ids,
		       e->n_traced * TRACE_BYTES);
	m->n_traced += e->n_traced;
}

static void add_values(struct merge *m, const struct batch_events *e)
{
	size_t bytes = e->n * sizeof(uint64_t);

	if (e->n == 0)
		return;
	memcpy(m->duration_us + m->n, e->duration_us, bytes);
	memcpy(m->tail_us + m->n, e->tail_us, bytes);
	memcpy(m->request_bytes + m->n, e->request_bytes, bytes);
	memcpy(m->response_bytes + m->n, e->response_bytes, bytes);
}

int merge_add(struct merge *m, const struct batch *b)
{
	int err;

	if (!merge_fits(m, b))
		return -EMSGSIZE;
	err = make_room(m, b);
	if (!err)
		err = add_series(m, b);
	if (!err)
		err = add_connections(m, &b->events);
	if (err)
		return err;
	add_streams(m, &b->events);
	add_times(m, b);
	add_traces(m, &b->events);
	add_values(m, &b->events);
	m->n += b->events.n;
	m->losses = b->losses;
	if (samples_any(&b->samples)) {
		m->any_samples = true;
		err = samples_table_merge(m->samples, b, SAMPLES_TOTALS_LATEST);
		if (err)
			return err;
	}
	if (b->info.version[0] == '\0' && b->info.n_probes == 0)
		return 0;
	batch_info_free(&m->info);
	return batch_info_copy(&m->info, &b->info);
}

/* --- the result --- */

/* Ends as the wire has them: all of one side, then all of the other. */
static uint8_t *ends_columns(const struct merge *m)
{
	uint8_t *out = malloc(2 * m->n_ends * END_BYTES + 1);

	for (size_t i = 0; out && i < m->n_ends; i++) {
		memcpy(out + i * END_BYTES, m->ends[i].local, END_BYTES);
		memcpy(out + (m->n_ends + i) * END_BYTES, m->ends[i].remote,
		       END_BYTES);
	}
	return out;
}

/* -ENOMEM. */
static int stream_column(const struct merge *m, uint32_t **out)
{
	uint32_t *is = calloc(m->n_ends + 1, sizeof(*is));

	*out = calloc(m->n + 1, sizeof(**out));
	for (size_t i = 0; is && *out && i < m->n; i++)
		(*out)[i] =
			batch_stream_put(&is[m->connection[i]], m->stream[i]);
	free(is);
	return is && *out ? 0 : -ENOMEM;
}

/* Their strings join the batch's, so this comes before the tables. */
static int put_samples(struct merge *m, struct batch_samples *out,
		       void **memory)
{
	bool whole;
	int err;

	if (!m->any_samples)
		return 0;
	err = samples_table_fill(m->samples, &m->tables, out, &whole, memory);
	return !err && !whole ? -EMSGSIZE : err;
}

int merge_encode(struct merge *m, const char *agent, uint64_t epoch,
		 uint64_t first, uint64_t last, void **data, size_t *len)
{
	struct batch b = {
		.agent = agent,
		.epoch = epoch,
		.sequence = last,
		.first_sequence = first,
		.base_us = m->n > 0 ? m->base_us : 0,
		.losses = m->losses,
		.info = m->info,
		.events = {
			.n = m->n,
			.series = m->series,
			.start_delta_us = m->start_delta_us,
			.duration_us = m->duration_us,
			.tail_us = m->tail_us,
			.request_bytes = m->request_bytes,
			.response_bytes = m->response_bytes,
			.n_traced = m->n_traced,
			.traced = m->traced,
			.trace_ids = m->trace_ids,
		},
	};
	uint8_t *ends = ends_columns(m);
	uint32_t *streams = NULL;
	void *tables = NULL, *samples = NULL;
	int err = ends ? put_samples(m, &b.samples, &samples) : -ENOMEM;

	if (!err)
		err = intern_tables(&m->tables, &b, &tables);
	if (!err && m->n_ends > 0) {
		b.events.connection = m->connection;
		b.events.n_connections = m->n_ends;
		b.events.connection_local = ends;
		b.events.connection_remote = ends + m->n_ends * END_BYTES;
		if (m->streams)
			err = stream_column(m, &streams);
		b.events.stream = streams;
	}
	if (!err)
		err = batch_encode(&b, data, len);
	free(tables);
	free(samples);
	free(streams);
	free(ends);
	return err;
}
