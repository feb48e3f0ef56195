/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web/api_events.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/series/labelset.h"
#include "aggregator/web/api.h"
#include "common/cli.h"

/* --- the filter --- */

/* Seconds with a fraction, to the nearest microsecond; or a duration. */
static int parse_seconds(const char *text, uint64_t *us)
{
	char *end;
	double v = strtod(text, &end);
	uint64_t ms;

	if (*end && !cli_parse_duration_ms(text, &ms)) {
		v = (double)ms / 1e3;
		end += strlen(end);
	}
	if (!*text || *end || !(v >= 0) || v > 1e9)
		return -EINVAL;
	*us = (uint64_t)llround(v * 1e6);
	return 0;
}

static const char *text_or_any(const struct api_query *q, const char *key)
{
	const char *text = api_get(q, key);

	return text && *text ? text : NULL;
}

static unsigned parse_durations(struct api_filter *f, const struct api_query *q,
				struct buf *out)
{
	const char *min = text_or_any(q, "min"), *max = text_or_any(q, "max");

	f->has_min = min != NULL;
	f->max_us = UINT64_MAX;
	if (min && parse_seconds(min, &f->min_us))
		return api_bad(out, "min",
			       "neither seconds nor a duration like 250ms");
	if (max && parse_seconds(max, &f->max_us))
		return api_bad(out, "max",
			       "neither seconds nor a duration like 250ms");
	return 0;
}

unsigned api_filter_parse(struct api_filter *f, const struct api *a,
			  const struct api_query *q, struct buf *out)
{
	const char *status = text_or_any(q, "status");
	uint64_t v = 0;

	*f = (struct api_filter){
		.service = text_or_any(q, "service"),
		.instance = text_or_any(q, "instance"),
		.node = text_or_any(q, "node"),
		.role = text_or_any(q, "role"),
		.method = api_get(q, "method"),
		.route = api_get(q, "route"),
		.any_status = !status,
		.no_status = status && !strcmp(status, "none"),
		.errors = api_get_flag(q, "errors"),
		.from_s = -1,
		.future_us = 60000000,
		.past_us = a->opt.windows_age_s * 1000000,
	};
	if (f->role && strcmp(f->role, "server") && strcmp(f->role, "client"))
		return api_bad(out, "role", "neither server nor client");
	if (status && !f->no_status &&
	    api_get_u64(q, "status", 100, 599, 0, &v))
		return api_bad(out, "status", "neither 100 to 599 nor none");
	f->status = (uint32_t)v;
	return parse_durations(f, q, out);
}

/* --- what matches --- */

static bool is_text(const struct batch *b, uint32_t string, const char *text)
{
	return !strcmp(b->strings[string].data, text);
}

/* A job is namespace/service, or service alone. */
static bool is_job(const struct batch *b, uint32_t resource, const char *job)
{
	const char *ns = b->strings[b->resources.namespace_[resource]].data;
	const char *service = b->strings[b->resources.service[resource]].data;
	size_t n = strlen(ns);

	if (!n)
		return !strcmp(service, job);
	return !strncmp(job, ns, n) && job[n] == '/' &&
	       !strcmp(job + n + 1, service);
}

/* As the labels instance and http_request_method have them. */
static const char *instance_of(const struct batch *b, uint32_t resource)
{
	uint32_t instance = b->resources.instance[resource];

	return instance ? b->strings[instance].data : b->agent;
}

static const char *method_of(const struct batch *b, uint32_t row)
{
	uint32_t method = b->series.method[row];

	return method ? b->strings[method].data : "_OTHER";
}

static bool row_matches(const struct batch *b, uint32_t i,
			const struct api_filter *f)
{
	const struct batch_series *s = &b->series;
	uint32_t resource = s->resource[i];

	if (f->role &&
	    strcmp(f->role, s->role[i] == ROLE_CLIENT ? "client" : "server"))
		return false;
	if (f->service && !is_job(b, resource, f->service))
		return false;
	if (f->instance && strcmp(instance_of(b, resource), f->instance) != 0)
		return false;
	if ((f->method && strcmp(method_of(b, i), f->method) != 0) ||
	    (f->route && !is_text(b, s->route[i], f->route)))
		return false;
	if (!f->any_status && s->status[i] != (f->no_status ? 0 : f->status))
		return false;
	return !f->errors || labels_error_name(s, i);
}

static bool in_range(const struct api_filter *f, int64_t window_s)
{
	return f->from_s < 0 || (window_s >= f->from_s && window_s < f->to_s);
}

static void count_rollups(const struct batch *b, const struct store_log *row,
			  const struct api_filter *f, const bool *wanted,
			  struct api_events *e)
{
	const struct batch_rollups *ro = &b->rollups;

	for (size_t i = 0; i < ro->n; i++) {
		int64_t end_us = b->base_us + ro->window_delta_s[i] * 1000000;

		if (wanted[ro->series[i]] &&
		    in_range(f, window_start_s(end_us, row->received_us,
					       f->future_us, f->past_us)))
			e->rolled_up += ro->count[i];
	}
}

static int scan_events(const struct batch *b, const struct store_log *row,
		       const struct api_filter *f, const bool *wanted,
		       struct api_events *e, api_match_fn *fn, void *arg)
{
	const struct batch_events *ev = &b->events;
	uint64_t start = (uint64_t)b->base_us;
	int err = 0;

	for (uint32_t i = 0; i < ev->n && !err; i++) {
		uint64_t us = ev->duration_us[i];
		int64_t end_us;

		start += (uint64_t)ev->start_delta_us[i];
		if (!wanted[ev->series[i]])
			continue;
		if (batch_series_untimed(&b->series, ev->series[i])
			    ? f->has_min || f->max_us < UINT64_MAX
			    : us > f->max_us || (f->has_min && us <= f->min_us))
			continue;
		end_us = (int64_t)(start + us);
		if (!in_range(f, window_start_s(end_us, row->received_us,
						f->future_us, f->past_us)))
			continue;
		e->matched++;
		err = fn(arg, b, i, end_us);
	}
	return err;
}

int api_events_scan(struct api *a, const struct store_log *row,
		    const struct api_filter *f, struct api_events *e,
		    api_match_fn *fn, void *arg)
{
	struct batch b;
	bool *wanted, any = false;
	int err;

	err = batch_decode(a->arena, row->data, row->len, &b, NULL);
	if (err == -EPROTO)
		return 0;
	if (err < 0)
		return err;
	if (f->node && strcmp(f->node, b.agent) != 0)
		return 0;
	e->scanned += b.events.n;
	wanted = malloc(b.series.n + 1);
	if (!wanted)
		return -ENOMEM;
	for (uint32_t i = 0; i < b.series.n; i++)
		any |= wanted[i] = row_matches(&b, i, f);
	if (any) {
		count_rollups(&b, row, f, wanted, e);
		err = scan_events(&b, row, f, wanted, e, fn, arg);
	}
	free(wanted);
	return err;
}

/* --- a list --- */

void api_event_free(struct api_event *e)
{
	free(e->service);
	free(e->instance);
	free(e->node);
	free(e->method);
	free(e->route);
}

void api_events_fini(struct api_events *e)
{
	for (size_t i = 0; i < e->n; i++)
		api_event_free(&e->at[i]);
	free(e->at);
}

/* NULL for an absent text. */
static int copy_text(char **to, const struct batch *b, uint32_t string)
{
	*to = string ? strdup(b->strings[string].data) : NULL;
	return string && !*to ? -ENOMEM : 0;
}

static int copy_job(char **to, const struct batch *b, uint32_t resource)
{
	const char *ns = b->strings[b->resources.namespace_[resource]].data;
	const char *service = b->strings[b->resources.service[resource]].data;

	if (asprintf(to, "%s%s%s", ns, *ns ? "/" : "", service) >= 0)
		return 0;
	*to = NULL;
	return -ENOMEM;
}

static void copy_trace(struct api_event *to, const struct batch_events *ev,
		       uint32_t event)
{
	uint64_t at = 0;

	to->trace_id[0] = '\0';
	for (size_t i = 0; i < ev->n_traced && at <= event; i++) {
		at += ev->traced[i];
		for (size_t k = 0; at == event && k < 16; k++)
			snprintf(to->trace_id + 2 * k, 3, "%02x",
				 ev->trace_ids[24 * i + k]);
		if (at == event)
			return;
	}
}

int api_event_copy(struct api_event *to, uint64_t log_id, const struct batch *b,
		   uint32_t event, int64_t end_us)
{
	const struct batch_events *ev = &b->events;
	uint32_t row = ev->series[event], resource = b->series.resource[row];
	uint64_t us = ev->duration_us[event], tail = ev->tail_us[event];
	uint32_t code = batch_series_rpc_status(&b->series, row);

	*to = (struct api_event){
		.log_id = log_id,
		.event = event,
		.end_us = end_us,
		.duration_us = us,
		.untimed = batch_series_untimed(&b->series, row),
		.first_us = us - (tail < us ? tail : us),
		.request_bytes = ev->request_bytes[event],
		.response_bytes = ev->response_bytes[event],
		.status = b->series.status[row],
		.role = b->series.role[row],
		.error = labels_error_name(&b->series, row),
		.rpc = rpc_system_name(batch_series_rpc(&b->series, row)),
		.rpc_status = code ? rpc_code_name(code - 1) : NULL,
	};
	copy_trace(to, ev, event);
	to->node = strdup(b->agent);
	to->instance = strdup(instance_of(b, resource));
	to->method = strdup(method_of(b, row));
	if (!to->node || !to->instance || !to->method ||
	    copy_job(&to->service, b, resource) < 0 ||
	    copy_text(&to->route, b, b->series.route[row]) < 0) {
		api_event_free(to);
		return -ENOMEM;
	}
	return 0;
}

int api_events_add(struct api_events *e, uint64_t log_id, const struct batch *b,
		   uint32_t event, int64_t end_us)
{
	int err;

	if (e->n == e->limit)
		return 0;
	if (e->n == e->cap) {
		size_t cap = e->cap ? 2 * e->cap : 64;
		void *p = realloc(e->at, cap * sizeof(*e->at));

		if (!p)
			return -ENOMEM;
		e->at = p;
		e->cap = cap;
	}
	err = api_event_copy(&e->at[e->n], log_id, b, event, end_us);
	e->n += !err;
	return err;
}

/* --- columns --- */

#define COLUMN(key, put)                                                       \
	do {                                                                   \
		api_json_key(j, key);                                          \
		api_json_open(j, '[');                                         \
		for (size_t i = 0; i < e->n; i++) {                            \
			const struct api_event *x = &e->at[i];                 \
			put;                                                   \
		}                                                              \
		api_json_close(j, ']');                                        \
	} while (0)

static void put_status(struct api_json *j, uint32_t status)
{
	if (status)
		api_json_u64(j, status);
	else
		api_json_null(j);
}

static void put_duration(struct api_json *j, const struct api_event *x,
			 uint64_t us)
{
	if (x->untimed)
		api_json_null(j);
	else
		api_json_us(j, (int64_t)us);
}

static void put_id(struct api_json *j, const struct api_event *x)
{
	char id[48];

	snprintf(id, sizeof(id), "%llu-%u", (unsigned long long)x->log_id,
		 x->event);
	api_json_text(j, id);
}

void api_events_put(const struct api_events *e, struct api_json *j)
{
	api_json_key(j, "requests");
	api_json_open(j, '{');
	COLUMN("id", put_id(j, x));
	COLUMN("end", api_json_us(j, x->end_us));
	COLUMN("duration", put_duration(j, x, x->duration_us));
	COLUMN("time_to_first_byte", put_duration(j, x, x->first_us));
	COLUMN("service", api_json_text(j, x->service));
	COLUMN("instance", api_json_text(j, x->instance));
	COLUMN("node", api_json_text(j, x->node));
	COLUMN("role",
	       api_json_text(j, x->role == ROLE_CLIENT ? "client" : "server"));
	COLUMN("method", api_json_text(j, x->method));
	COLUMN("route", api_json_text(j, x->route));
	COLUMN("status", put_status(j, x->status));
	COLUMN("error", api_json_text(j, x->error));
	COLUMN("rpc", api_json_text(j, x->rpc));
	COLUMN("rpc_status", api_json_text(j, x->rpc_status));
	COLUMN("request_bytes", api_json_u64(j, x->request_bytes));
	COLUMN("response_bytes", api_json_u64(j, x->response_bytes));
	COLUMN("trace_id", api_json_text(j, *x->trace_id ? x->trace_id : NULL));
	api_json_close(j, '}');
}
