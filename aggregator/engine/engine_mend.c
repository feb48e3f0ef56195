/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/engine/engine_state.h"
#include "common/clock.h"
#include "common/log.h"

/*
 * The log is the truth about which batches were counted. The ledger keeps only
 * the last number of each start, so a sender that makes it believe a number
 * that the agent has not reached yet makes the agent's next batches look like
 * duplicates. Then the log decides. Reading all of it may take minutes, so a
 * thread of its own does that while the batch is held back: its sender keeps it
 * and sends it again every few seconds.
 */

#define MEND_AGAIN_MS 1000u /* between readings */
#define MEND_HELD_MS 30000u /* an answer waits for its batch to come again */
/* A batch may have been received this much before the time of its requests. */
#define CLOCKS_DIFFER_US (60 * INT64_C(1000000))

struct engine_mend {
	/* The question: a batch whose numbers the ledger says are taken. */
	char agent[LIMIT_AGENT_BYTES + 1];
	uint64_t epoch, first, last;
	void *data; /* owned: its bytes as they came */
	size_t len;
	int64_t base_us;
	/* The answer, once done. */
	bool any; /* a number of the range is in the log */
	bool same; /* the last one, and with these bytes */
	uint64_t before; /* the highest number below first; 0: none */
	bool whole; /* the log has every batch since the first one */
	int64_t oldest_us; /* arrival of the oldest batch of all */
	int err;
	uint64_t done_ns;

	const char *path;
	pthread_t thread;
	bool running; /* for the engine's thread */
	atomic_bool done, stop;
};

/* --- the thread that reads the log --- */

static void look_at(struct engine_mend *m, const struct store_log *row)
{
	struct batch_peek b;

	if (batch_peek(row->data, row->len, &b) < 0 || b.epoch != m->epoch ||
	    b.agent_len != strlen(m->agent) ||
	    memcmp(b.agent, m->agent, b.agent_len) != 0)
		return;
	if (b.sequence < m->first) {
		if (b.sequence > m->before)
			m->before = b.sequence;
		return;
	}
	if (b.first_sequence > m->last)
		return;
	m->any = true;
	/* The log's may have a corrected time behind its end. */
	if (b.sequence == m->last && row->len >= m->len &&
	    memcmp(row->data, m->data, m->len) == 0)
		m->same = true;
}

static int read_log(struct engine_mend *m)
{
	struct store_log_reader *r;
	struct store_log row;
	bool begun = false;
	int n = store_log_open(&r, m->path, INT64_MIN, INT64_MAX);

	if (n < 0)
		return n;
	while (!atomic_load(&m->stop) && (n = store_log_next(r, &row)) > 0) {
		if (!begun) {
			m->oldest_us = row.received_us;
			m->whole = row.id == 1;
		}
		begun = true;
		look_at(m, &row);
	}
	if (!begun) /* nothing was counted, or all of it was deleted */
		m->oldest_us = INT64_MAX - CLOCKS_DIFFER_US;
	if (store_log_damaged(r) > 0 && !n)
		n = -EUCLEAN; /* the number may have been in that row */
	store_log_close(r);
	return n;
}

static void *mend_thread(void *arg)
{
	struct engine_mend *m = arg;

	m->err = read_log(m);
	m->done_ns = clock_mono_ns();
	atomic_store(&m->done, true);
	return NULL;
}

static void ask_log(struct engine *e, const struct engine_item *it,
		    const struct push *p, uint64_t first)
{
	struct engine_mend *m = e->mend;

	free(m->data);
	*m = (struct engine_mend){
		.epoch = it->batch.epoch,
		.first = first,
		.last = it->batch.sequence,
		.data = malloc(p->batch_len + 1),
		.len = p->batch_len,
		.base_us = it->batch.base_us,
		.path = store_path(e->store),
	};
	if (!m->data)
		return;
	memcpy(m->data, p->batch, p->batch_len);
	snprintf(m->agent, sizeof(m->agent), "%s", it->batch.agent);
	m->running = pthread_create(&m->thread, NULL, mend_thread, m) == 0;
}

/* --- the engine's thread --- */

static bool is_about(const struct engine_mend *m, const struct batch *b,
		     uint64_t first)
{
	return m->epoch == b->epoch && m->first == first &&
	       m->last == b->sequence && strcmp(m->agent, b->agent) == 0;
}

/* Ends a reading that is done. True if the answer is about this batch. */
static bool take_answer(struct engine *e, const struct batch *b, uint64_t first)
{
	struct engine_mend *m = e->mend;
	bool mine;

	if (!m->running || !atomic_load(&m->done))
		return false;
	mine = is_about(m, b, first);
	/* The batch it was about may never come again. */
	if (!mine && clock_mono_ns() < m->done_ns + ms_ns(MEND_HELD_MS))
		return false;
	pthread_join(m->thread, NULL);
	m->running = false;
	e->next_mend_ns = clock_mono_ns() + ms_ns(MEND_AGAIN_MS);
	return mine && !m->err;
}

enum engine_mended engine_mend(struct engine *e, const struct engine_item *it,
			       const struct push *p)
{
	const struct batch *b = &it->batch;
	uint64_t first = b->first_sequence ? b->first_sequence : b->sequence;
	struct engine_mend *m = e->mend;

	if (!it->row)
		return ENGINE_UNKNOWN;
	if (!take_answer(e, b, first)) {
		if (!m->running && clock_mono_ns() >= e->next_mend_ns)
			ask_log(e, it, p, first);
		return ENGINE_UNKNOWN;
	}
	if (m->same)
		return ENGINE_COUNTED;
	/* A number of this group is not in the log yet. */
	if (it->row->dirty &&
	    it->row->pending.sequence != it->row->committed.sequence)
		return ENGINE_UNKNOWN;
	/* What the log had before its oldest batch is unknown. */
	if (m->any ||
	    (!m->whole && m->base_us < m->oldest_us + CLOCKS_DIFFER_US))
		return ENGINE_UNKNOWN;
	log_warn("ledger mended from the log: numbers of this agent were used "
		 "by another sender agent=%s sequence=%llu logged=%llu",
		 b->agent, (unsigned long long)it->row->pending.sequence,
		 (unsigned long long)m->before);
	e->pending.mended++;
	ledger_mend(e->ledger, it->row, m->before);
	return ENGINE_MENDED;
}

int engine_mend_new(struct engine *e)
{
	e->mend = calloc(1, sizeof(*e->mend));
	return e->mend ? 0 : -ENOMEM;
}

void engine_mend_free(struct engine *e)
{
	struct engine_mend *m = e->mend;

	if (!m)
		return;
	atomic_store(&m->stop, true);
	if (m->running)
		pthread_join(m->thread, NULL);
	free(m->data);
	free(m);
	e->mend = NULL;
}
