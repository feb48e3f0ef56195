/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trace files: whatever a file holds, it is read up to the damage, and planned
 * and rewritten as a replay does. The same bytes written as batches come back,
 * and of a file that was cut anywhere, whole batches from its beginning.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "probe-agent/replay/replay_streams.h"
#include "proto/limits.h"
#include "proto/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static FILE *file_of(const void *data, size_t len)
{
	FILE *f = fmemopen((void *)(uintptr_t)data, len, "r");

	if (!f)
		abort();
	return f;
}

static void rewrite(const struct replay_streams *p, struct batch_arena *arena,
		    const struct batch *b, const void *data, size_t len)
{
	struct replay_stream *s = replay_streams_find(p, b);
	uint64_t requests = replay_streams_batch_requests(b);
	struct batch out;
	void *sent;
	int err;

	assert(s != NULL);
	err = replay_streams_rewrite(s, b, data, len, 0, &sent, &len);
	assert(!err || err == -EMSGSIZE);
	if (err)
		return;
	/* What is behind the last number told is not in order, and refused. */
	err = batch_decode(arena, sent, len, &out, NULL);
	assert(!err || b->sequence <= s->told);
	if (!err) {
		assert(strcmp(out.agent, s->id) == 0);
		assert(replay_streams_batch_requests(&out) == requests);
		s->told = b->sequence;
	}
	free(sent);
}

static void replay(const uint8_t *data, size_t len)
{
	static struct batch_arena *first, *second;
	uint64_t batches = 0, invalid = 0;
	struct trace_reader *r;
	const void *batch;
	struct batch b;
	struct replay_streams p;
	FILE *f = file_of(data, len);
	int err = replay_streams_make(&p, f, NULL);

	if (!first &&
	    (batch_arena_new(&first) != 0 || batch_arena_new(&second) != 0))
		abort();
	rewind(f);
	if (!err) {
		assert(trace_reader_new(&r, f) == 0);
		while (trace_read(r, &batch, &len) == 1) {
			assert(len > 0 && len <= LIMIT_MESSAGE_BYTES);
			if (batch_decode(first, batch, len, &b, NULL) != 0) {
				invalid++;
				continue;
			}
			batches++;
			rewrite(&p, second, &b, batch, len);
		}
		assert(p.batches == batches && p.invalid == invalid);
		assert(trace_damage(r) == p.damage);
		trace_reader_free(r);
	}
	replay_streams_fini(&p);
	fclose(f);
}

static int to_buf(void *arg, const void *data, size_t len)
{
	return buf_append(arg, data, len);
}

/* Batches of growing length, out of data; the first byte says what is cut. */
static void round_trip(const uint8_t *data, size_t len)
{
	static const struct trace_origin origin = { .created_by = "fuzz" };
	struct buf file = { 0 };
	struct trace_writer *w;
	struct trace_reader *r;
	const void *batch;
	size_t n, at = 0, cut = data[0];
	FILE *f;

	if (trace_writer_new(&w, &origin, to_buf, &file) != 0)
		abort();
	for (at = 0, n = 1; at + n <= len; at += n, n = n * 2 % 1021) {
		assert(trace_write(w, data + at, n) == 0);
		assert(n % 5 || trace_flush(w) == 0);
	}
	assert(trace_end(w) == 0);
	trace_writer_free(w);
	cut = cut < file.len ? cut : 0;
	f = file_of(file.data, file.len - cut);
	if (trace_reader_new(&r, f) == 0) {
		for (at = 0, n = 1; trace_read(r, &batch, &len) == 1;
		     at += n, n = n * 2 % 1021)
			assert(len == n && memcmp(batch, data + at, n) == 0);
		assert((!trace_damage(r)) == (cut == 0));
		trace_reader_free(r);
	}
	fclose(f);
	buf_fini(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len == 0)
		return 0;
	replay(data, len);
	round_trip(data, len);
	return 0;
}
