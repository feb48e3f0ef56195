/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_API_ASK_H
#define AGGREGATOR_WEB_API_ASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/snapshot/snapshot.h"
#include "aggregator/store/store.h"
#include "aggregator/web/api.h"
#include "common/buf.h"

/*
 * What the endpoints of the page ask with: one connection to the store that
 * stays open, so that label sets are read once. For one thread at a time: the
 * lane of these endpoints. docs/API.md has the answers' shapes.
 */

/* A time-limited question needs at most this long. */
#define API_BUDGET_MS 80u

struct api_options {
	const char *store_path; /* NULL: there is no store. Borrowed. */
	/*
	 * A snapshot, to be given to rele: take() of agents and the engine,
	 * take_all() of the views too.
	 */
	const struct snapshot *(*take)(void *arg);
	const struct snapshot *(*take_all)(void *arg);
	void (*rele)(const struct snapshot *s);
	void *arg;
	const char *telemetry_path;
	bool tail; /* whether the tail is switched on */
	uint64_t windows_age_s; /* ends further back count as arriving now */
	int64_t started_us;
};

/* What changes while the program runs. */
struct api_config_state {
	bool successful;
	int64_t loaded_us;
	uint64_t log_age_s, log_bytes, windows_age_s, windows_bytes;
};

struct api;

/* Sets *out, released by api_free(). Does not open the store yet. -ENOMEM. */
int api_new(struct api **out, const struct api_options *opt);
void api_free(struct api *a); /* NULL is fine */

/*
 * Each fills out with the answer, or with {"error": …}, and returns the HTTP
 * status. They block on SQLite.
 */
unsigned api_services(struct api *a, const struct api_query *q,
		      struct buf *out);
unsigned api_service(struct api *a, const struct api_query *q, struct buf *out);
unsigned api_graph(struct api *a, const struct api_query *q, struct buf *out);
unsigned api_requests(struct api *a, const struct api_query *q,
		      struct buf *out);
unsigned api_agents(struct api *a, const struct api_query *q, struct buf *out);
unsigned api_programs(struct api *a, const struct api_query *q,
		      struct buf *out);
unsigned api_cardinality(struct api *a, const struct api_query *q,
			 struct buf *out);
unsigned api_gaps(struct api *a, const struct api_query *q, struct buf *out);
unsigned api_status(struct api *a, const struct api_config_state *config,
		    struct buf *out);

/*
 * The tail. Returns 0 if nothing matches yet and the question may wait: then
 * ask again when the log goes beyond *seen, with last true when the time is
 * over. *seen is 0 at first, and then where the next call goes on. Else returns
 * the HTTP status.
 */
unsigned api_tail(struct api *a, const struct api_query *q, bool last,
		  uint64_t *seen, struct buf *out);
#define API_TAIL_WAIT_S 20 /* the default */
#define API_TAIL_WAIT_MAX_S 25
/* Seconds that a tail wants to wait. */
unsigned api_tail_wait_s(const struct api_query *q);

/* --- for api_*.c --- */

struct api {
	struct api_options opt;
	struct store_reader *reader; /* NULL: not open yet */
	struct batch_arena *arena;
};

const char *api_get(const struct api_query *q, const char *key);
/* A number in [min, max]; fallback if not given. -EINVAL: not one. */
int api_get_u64(const struct api_query *q, const char *key, uint64_t min,
		uint64_t max, uint64_t fallback, uint64_t *out);
bool api_get_flag(const struct api_query *q, const char *key);
/* Opens the store if need be. Returns 0, or the status of an error in out. */
unsigned api_open(struct api *a, struct buf *out);
/* Whether text contains what, whatever the case of ASCII; what NULL: yes. */
bool api_contains(const char *text, const char *what);
unsigned api_bad(struct buf *out, const char *where, const char *why);
unsigned api_failed(struct buf *out, int err);

#endif /* AGGREGATOR_WEB_API_ASK_H */
