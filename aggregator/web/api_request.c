/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/series/labelset.h"
#include "aggregator/store/store.h"
#include "aggregator/web/api.h"
#include "proto/batch.h"

#define TRACE_ID_BYTES 16u
#define SPAN_ID_BYTES 8u

static bool parse_number(const char **at, uint64_t *out)
{
	const char *from = *at;
	uint64_t v = 0;

	for (; isdigit((unsigned char)**at); (*at)++) {
		unsigned digit = (unsigned)(**at - '0');

		if (v > (UINT64_MAX - digit) / 10)
			return false;
		v = 10 * v + digit;
	}
	*out = v;
	return *at > from;
}

int api_request_parse(const char *id, uint64_t *log_id, uint32_t *event)
{
	uint64_t n;

	if (!parse_number(&id, log_id) || *id++ != '-' ||
	    !parse_number(&id, &n) || *id || n > UINT32_MAX || !*log_id ||
	    *log_id > INT64_MAX)
		return -EINVAL;
	*event = (uint32_t)n;
	return 0;
}

/* --- the answer --- */

static int set(json_t *o, const char *key, json_t *value)
{
	return json_object_set_new(o, key, value);
}

static int set_number(json_t *o, const char *key, uint64_t v)
{
	return set(o, key, json_integer((json_int_t)v));
}

static int set_seconds(json_t *o, const char *key, uint64_t us)
{
	return set(o, key, json_real((double)us / 1e6));
}

/* Sets a string of the batch; leaves the key out if it is empty. */
static int set_string(json_t *o, const char *key, const struct batch *b,
		      uint32_t string)
{
	return string ? set(o, key, json_string(b->strings[string].data)) : 0;
}

static int set_hex(json_t *o, const char *key, const uint8_t *data, size_t n)
{
	char text[2 * TRACE_ID_BYTES + 1];

	for (size_t i = 0; i < n; i++)
		snprintf(text + 2 * i, 3, "%02x", data[i]);
	return set(o, key, json_string(text));
}

static int set_series(json_t *o, const struct batch *b, uint32_t row)
{
	const struct batch_series *s = &b->series;
	const struct batch_resources *rs = &b->resources;
	uint32_t resource = s->resource[row];
	const char *error = labels_error_name(s, row);
	const char *rpc = rpc_system_name(batch_series_rpc(s, row));
	uint32_t code = batch_series_rpc_status(s, row);
	int bad = 0;

	for (unsigned c = 0; c < RESOURCE_N; c++)
		bad |= set_string(o, batch_resource_name(c), b,
				  rs->column[c][resource]);
	bad |= set(o, "role",
		   json_string(s->role[row] == 2 ? "client" : "server"));
	bad |= set_string(o, "method", b, s->method[row]);
	bad |= set_string(o, "route", b, s->route[row]);
	bad |= set_string(o, "scheme", b, s->scheme[row]);
	bad |= set_string(o, "address", b, s->address[row]);
	if (s->port[row])
		bad |= set_number(o, "port", s->port[row]);
	if (s->status[row])
		bad |= set_number(o, "status", s->status[row]);
	if (rpc)
		bad |= set(o, "rpc", json_string(rpc));
	if (code && rpc_code_name(code - 1))
		bad |= set(o, "rpc_status",
			   json_string(rpc_code_name(code - 1)));
	if (error)
		bad |= set(o, "error", json_string(error));
	return bad;
}

static int set_trace(json_t *o, const struct batch_events *ev, uint32_t event)
{
	uint64_t at = 0;

	for (size_t i = 0; i < ev->n_traced; i++) {
		const uint8_t *id =
			ev->trace_ids + i * (TRACE_ID_BYTES + SPAN_ID_BYTES);

		at += ev->traced[i];
		if (at == event)
			return set_hex(o, "trace_id", id, TRACE_ID_BYTES) |
			       set_hex(o, "span_id", id + TRACE_ID_BYTES,
				       SPAN_ID_BYTES);
	}
	return 0;
}

static json_t *event_json(const char *id, const struct store_log *row,
			  const struct batch *b, uint32_t event)
{
	const struct batch_events *ev = &b->events;
	uint64_t duration = ev->duration_us[event], tail = ev->tail_us[event];
	uint64_t start = (uint64_t)b->base_us;
	json_t *o = json_object();
	int bad = 0;

	for (uint32_t i = 0; i <= event; i++)
		start += (uint64_t)ev->start_delta_us[i];
	bad |= set(o, "request_id", json_string(id));
	bad |= set(o, "node", json_string(b->agent));
	bad |= set_series(o, b, ev->series[event]);
	bad |= set_seconds(o, "start", start);
	if (!batch_series_untimed(&b->series, ev->series[event])) {
		bad |= set_seconds(o, "duration", duration);
		bad |= set_seconds(o, "time_to_first_byte",
				   duration -
					   (tail < duration ? tail : duration));
	}
	bad |= set_number(o, "request_bytes", ev->request_bytes[event]);
	bad |= set_number(o, "response_bytes", ev->response_bytes[event]);
	bad |= set_trace(o, ev, event);
	bad |= set_seconds(o, "received", (uint64_t)row->received_us);
	bad |= set_number(o, "epoch", b->epoch);
	bad |= set_number(o, "sequence", b->sequence);
	if (bad) {
		json_decref(o);
		return NULL;
	}
	return o;
}

static int answer(struct buf *out, const char *id, const struct store_log *row,
		  uint32_t event)
{
	struct batch_arena *arena = NULL;
	char *text = NULL;
	json_t *o = NULL;
	struct batch b;
	int err = batch_arena_new(&arena);

	if (!err)
		err = batch_decode(arena, row->data, row->len, &b, NULL);
	if (!err && event >= b.events.n)
		err = -ENOENT;
	if (!err) {
		o = event_json(id, row, &b, event);
		text = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(16))
			 : NULL;
		err = text ? 0 : -ENOMEM;
	}
	if (!err) {
		buf_puts(out, text);
		buf_putc(out, '\n');
		err = out->err;
	}
	free(text);
	json_decref(o);
	batch_arena_free(arena);
	return err;
}

unsigned api_request(struct buf *out, const char *store_path, const char *id)
{
	struct store_log_reader *reader;
	struct store_log row;
	uint64_t log_id;
	uint32_t event;
	int err;

	if (api_request_parse(id, &log_id, &event) < 0)
		return api_error(out, 400, "not an exemplar's request_id",
				 "id");
	if (!store_path)
		return api_error(out, 501, "no store to read from", NULL);
	err = store_log_open(&reader, store_path, INT64_MIN, INT64_MAX);
	if (err < 0)
		return api_error(out, 503, "cannot open the store",
				 strerror(-err));
	err = store_log_find(reader, log_id, &row);
	if (!err)
		err = answer(out, id, &row, event);
	store_log_close(reader);
	if (err == -ENOENT)
		return api_error(out, 404, "no such request, or it expired",
				 "id");
	if (err < 0)
		return api_error(out, 500, "cannot read the store",
				 strerror(-err));
	return 200;
}
