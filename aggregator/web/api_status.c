/* SPDX-License-Identifier: Apache-2.0 */
/* GET /api/v1/status: the aggregator itself. */
#include <errno.h>

#include "aggregator/web/api.h"
#include "aggregator/web/api_ask.h"
#include "aggregator/web/api_json.h"
#include "common/clock.h"
#include "common/version.h"

static void put_agents(const struct snapshot *s, struct api_json *j)
{
	uint64_t up = 0, captured = 0, counted = 0, dropped = 0;

	for (size_t i = 0; i < s->n_agents; i++) {
		const struct snapshot_agent *a = &s->agents[i];

		up += a->up;
		captured += a->captured;
		counted += a->counted;
		dropped += a->dropped_sequence_gap + a->dropped_expired;
		for (size_t k = 0; k < LOSS_STAGES; k++)
			dropped += a->dropped[k];
	}
	api_json_key(j, "agents");
	api_json_open(j, '{');
	api_json_put_u64(j, "total", s->n_agents);
	api_json_put_u64(j, "up", up);
	api_json_close(j, '}');
	api_json_key(j, "requests");
	api_json_open(j, '{');
	api_json_put_u64(j, "captured", captured);
	api_json_put_u64(j, "counted", counted);
	api_json_put_u64(j, "dropped", dropped);
	api_json_close(j, '}');
}

static void put_views(const struct snapshot *s, struct api_json *j)
{
	api_json_key(j, "views");
	api_json_open(j, '{');
	api_json_key(j, "name");
	api_json_open(j, '[');
	for (size_t v = 0; v < s->n_views; v++)
		api_json_text(j, s->views[v].view->name);
	api_json_close(j, ']');
	api_json_key(j, "series");
	api_json_open(j, '[');
	for (size_t v = 0; v < s->n_views; v++)
		api_json_u64(j, s->views[v].n);
	api_json_close(j, ']');
	api_json_key(j, "limit");
	api_json_open(j, '[');
	for (size_t v = 0; v < s->n_views; v++)
		api_json_u64(j, s->views[v].view->max_series);
	api_json_close(j, ']');
	api_json_close(j, '}');
}

static int64_t first_window(struct api *a)
{
	int64_t first = INT64_MAX;

	for (unsigned t = 0; t < STORE_TIERS; t++) {
		int64_t at = INT64_MAX;

		store_reader_first(a->reader, WINDOW_REQUESTS, t, &at);
		if (at < first)
			first = at;
	}
	return first;
}

static void put_store(struct api *a, const struct snapshot *s,
		      const struct api_config_state *config, struct api_json *j)
{
	struct store_log_bounds log = { .first = 0 };
	int64_t first = INT64_MAX;

	if (a->reader) {
		store_reader_log_bounds(a->reader, &log);
		first = first_window(a);
	}
	api_json_key(j, "store");
	api_json_open(j, '{');
	api_json_put_u64(j, "bytes", s->engine.store_bytes);
	api_json_put_u64(j, "log_batches", s->engine.log_batches);
	api_json_put_u64(j, "log_bytes", s->engine.log_bytes);
	api_json_key(j, "log_first");
	if (log.first)
		api_json_us(j, log.first_us);
	else
		api_json_null(j);
	api_json_put_u64(j, "windows", s->engine.windows);
	api_json_key(j, "windows_first");
	if (first != INT64_MAX)
		api_json_i64(j, first);
	else
		api_json_null(j);
	api_json_key(j, "retention");
	api_json_open(j, '{');
	api_json_put_u64(j, "log_s", config->log_age_s);
	api_json_put_u64(j, "log_bytes", config->log_bytes);
	api_json_put_u64(j, "windows_s", config->windows_age_s);
	api_json_put_u64(j, "windows_bytes", config->windows_bytes);
	api_json_close(j, '}');
	api_json_close(j, '}');
}

unsigned api_status(struct api *a, const struct api_config_state *config,
		    struct buf *out)
{
	struct api_json j = { .out = out };
	const struct snapshot *s;

	if (a->opt.store_path && api_open(a, out))
		return 503;
	s = a->opt.take_all(a->opt.arg);
	if (!s)
		return api_error(out, 503, "out of memory", NULL);
	api_json_open(&j, '{');
	api_json_put_text(&j, "version", version_string());
	api_json_put_text(&j, "revision", version_revision());
	api_json_put_us(&j, "now", clock_real_us());
	api_json_put_us(&j, "started", a->opt.started_us);
	api_json_put_bool(&j, "ready", s->ready);
	api_json_put_text(&j, "why", s->ready ? NULL : s->not_ready_why);
	api_json_put_text(&j, "telemetry_path", a->opt.telemetry_path);
	api_json_key(&j, "config");
	api_json_open(&j, '{');
	api_json_put_bool(&j, "successful", config->successful);
	api_json_put_us(&j, "loaded", config->loaded_us);
	api_json_close(&j, '}');
	api_json_put_bool(&j, "tail", a->opt.tail);
	put_agents(s, &j);
	put_store(a, s, config, &j);
	put_views(s, &j);
	api_json_close(&j, '}');
	buf_putc(out, '\n');
	a->opt.rele(s);
	return out->err ? api_failed(out, out->err) : 200;
}
