/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_PROBE_AGENT_REPLAY_IMPORTED_H
#define TESTS_UNIT_PROBE_AGENT_REPLAY_IMPORTED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "probe-agent/replay/import.h"
#include "proto/batch.h"

/*
 * Imports a text and reads back what came of it: one line of text per request,
 *
 *	service METHOD route-or-address status oOUTCOME vVERSION start+us
 *	duration-or-? request-bytes/response-bytes
 */

#define IMPORTED_BASE_US INT64_C(1795251600000000) /* starts count from it */

struct imported {
	int err;
	struct import_stats stats;
	struct buf requests;
	char *said; /* on standard error */
};

static inline int imported_to_buf(void *arg, const void *data, size_t len)
{
	return buf_append(arg, data, len);
}

static inline void imported_describe(struct buf *out, const struct batch *b)
{
	const struct batch_series *s = &b->series;
	int64_t start_us = b->base_us;

	for (size_t i = 0; i < b->events.n; i++) {
		uint32_t k = b->events.series[i];
		uint32_t service = b->resources.service[s->resource[k]];

		start_us += b->events.start_delta_us[i];
		buf_printf(out, "%s %s %s%s %u o%u v%u %s %+lld ",
			   b->strings[service].data,
			   b->strings[s->method[k]].data,
			   b->strings[s->route[k]].data,
			   b->strings[s->address[k]].data, s->status[k],
			   s->outcome[k], s->version[k],
			   b->strings[s->scheme[k]].data,
			   (long long)(start_us - IMPORTED_BASE_US));
		if (batch_series_untimed(s, k))
			buf_puts(out, "?");
		else
			buf_printf(
				out, "%lluus",
				(unsigned long long)b->events.duration_us[i]);
		buf_printf(out, " %llu/%llu\n",
			   (unsigned long long)b->events.request_bytes[i],
			   (unsigned long long)b->events.response_bytes[i]);
	}
}

static inline void imported_read(struct buf *out, struct buf *file)
{
	FILE *f = fmemopen(file->data, file->len, "r");
	struct trace_reader *r;
	struct batch_arena *arena;
	const void *data;
	struct batch b;
	size_t len;

	if (!f || batch_arena_new(&arena) != 0 || trace_reader_new(&r, f) != 0)
		abort();
	while (trace_read(r, &data, &len) == 1) {
		if (batch_decode(arena, data, len, &b, NULL) != 0)
			abort();
		imported_describe(out, &b);
	}
	if (trace_damage(r))
		abort();
	trace_reader_free(r);
	batch_arena_free(arena);
	fclose(f);
}

static inline void imported_fini(struct imported *im)
{
	buf_fini(&im->requests);
	free(im->said);
	im->said = NULL;
}

/* The result is valid until the next call with the same *im. */
static inline int import_bytes_of(struct imported *im, const void *text,
				  size_t len, enum import_format format,
				  const char *map)
{
	static const struct trace_origin origin = { .created_by = "test" };
	struct import_options opt = {
		.format = format, .agent = "a", .service = "dflt", .map = map
	};
	FILE *in = len ? fmemopen((void *)(uintptr_t)text, len, "r")
		       : fopen("/dev/null", "r");
	FILE *real = stderr;
	struct trace_writer *w;
	struct buf file = { 0 };
	size_t said;

	imported_fini(im);
	if (!in || trace_writer_new(&w, &origin, imported_to_buf, &file) != 0)
		abort();
	stderr = open_memstream(&im->said, &said);
	im->err = import_file(in, "f", &opt, w, &im->stats);
	fclose(stderr);
	stderr = real;
	if (trace_end(w) != 0)
		abort();
	imported_read(&im->requests, &file);
	trace_writer_free(w);
	buf_fini(&file);
	fclose(in);
	return im->err;
}

static inline int import_text_of(struct imported *im, const char *text,
				 enum import_format format, const char *map)
{
	return import_bytes_of(im, text, strlen(text), format, map);
}

static inline const char *imported_requests(struct imported *im)
{
	const char *text = buf_str(&im->requests);

	return text ? text : "";
}

#endif /* TESTS_UNIT_PROBE_AGENT_REPLAY_IMPORTED_H */
