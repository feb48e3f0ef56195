/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "probe-agent/batch/packer.h"
#include "probe-agent/replay/replay_streams.h"
#include "proto/limits.h"
#include "proto/trace.h"

#define BASE_US INT64_C(1700000000000000)

static struct buf file;
static struct trace_writer *writer;

static int to_buf(void *arg, const void *data, size_t len)
{
	return buf_append(arg, data, len);
}

static void begin(void)
{
	static const struct trace_origin origin = { .created_by = "test" };

	buf_fini(&file);
	assert_int_equal(trace_writer_new(&writer, &origin, to_buf, &file), 0);
}

/* An agent's batches 1 to n, of i requests each, a second apart. */
static void put(const char *agent, uint64_t epoch, unsigned n, int64_t at_us)
{
	struct batch_losses none = { 0 };
	struct packer *p;
	uint64_t sequence;
	size_t len;
	void *data;

	assert_int_equal(packer_new(&p, agent, epoch), 0);
	for (unsigned i = 1; i <= n; i++) {
		for (unsigned k = 0; k < i; k++) {
			struct packer_event e = { .method = "GET",
						  .role = 1,
						  .status = 200,
						  .start_us =
							  at_us + i * 1000000,
						  .duration_us = 1000 + k };

			assert_true(packer_add(p, &e) >= 0);
		}
		assert_int_equal(packer_take(p, &none, &data, &len, &sequence),
				 0);
		assert_int_equal(trace_write(writer, data, len), 0);
		free(data);
	}
	packer_free(p);
}

static void end(void)
{
	assert_int_equal(trace_end(writer), 0);
	trace_writer_free(writer);
}

static int plan(struct replay_streams *p, size_t cut, const char *as)
{
	FILE *f = fmemopen(file.data, file.len - cut, "r");
	int err = replay_streams_make(p, f, as);

	fclose(f);
	return err;
}

static struct replay_stream *stream(struct replay_streams *p, const char *agent,
				    uint64_t epoch)
{
	struct batch key = { .agent = agent, .epoch = epoch };

	return replay_streams_find(p, &key);
}

static void counts_what_is_in_the_file(void **state)
{
	struct replay_stream *s;
	struct replay_streams p;

	(void)state;
	begin();
	put("a", 7, 3, BASE_US);
	put("b", 7, 2, BASE_US + 5000000);
	assert_int_equal(trace_write(writer, "no batch", 8), 0);
	end();
	assert_int_equal(plan(&p, 0, NULL), 0);
	assert_int_equal(p.n, 2);
	assert_int_equal(p.batches, 5);
	assert_int_equal(p.requests, 6 + 3);
	assert_int_equal(p.invalid, 1);
	assert_null(p.damage);
	assert_int_equal(p.first_us, BASE_US + 1000000 + 1000);
	assert_int_equal(p.last_us, BASE_US + 7000000 + 1001);
	s = stream(&p, "b", 7);
	assert_int_equal(s->requests, 3);
	assert_string_equal(s->id, "b");
	assert_null(stream(&p, "b", 8));
	replay_streams_fini(&p);
	/* Without its end, the file is cut: what is there counts. */
	assert_int_equal(plan(&p, 1, NULL), 0);
	assert_non_null(p.damage);
	replay_streams_fini(&p);
}

static void the_same_file_and_id_is_the_same_epoch(void **state)
{
	struct replay_streams p, again, other;

	(void)state;
	begin();
	put("a", 7, 3, BASE_US);
	end();
	assert_int_equal(plan(&p, 0, NULL), 0);
	assert_int_equal(plan(&again, 0, "a"), 0);
	assert_int_equal(plan(&other, 0, "b"), 0);
	assert_int_equal(stream(&p, "a", 7)->new_epoch,
			 stream(&again, "a", 7)->new_epoch);
	assert_int_not_equal(stream(&p, "a", 7)->new_epoch,
			     stream(&other, "a", 7)->new_epoch);
	assert_string_equal(stream(&other, "a", 7)->id, "b");
	/* By the second in which it began: files follow each other. */
	assert_int_equal(stream(&p, "a", 7)->new_epoch / 1000000000,
			 BASE_US / 1000000 + 1);
	replay_streams_fini(&again);
	replay_streams_fini(&other);
	begin();
	put("a", 7, 4, BASE_US);
	end();
	assert_int_equal(plan(&other, 0, NULL), 0);
	assert_int_not_equal(stream(&p, "a", 7)->new_epoch,
			     stream(&other, "a", 7)->new_epoch);
	replay_streams_fini(&other);
	replay_streams_fini(&p);
}

static void several_agents_keep_their_names_behind_the_id(void **state)
{
	char id[LIMIT_AGENT_BYTES + 1] = "";
	struct replay_streams p;

	(void)state;
	begin();
	put("a", 2, 1, BASE_US);
	put("a", 1, 1, BASE_US);
	put("b", 1, 1, BASE_US);
	end();
	assert_int_equal(plan(&p, 0, "x"), 0);
	assert_string_equal(stream(&p, "a", 1)->id, "x-a");
	assert_string_equal(stream(&p, "b", 1)->id, "x-b");
	/* Epochs keep their order, though both began in the same second. */
	assert_true(stream(&p, "a", 1)->new_epoch <
		    stream(&p, "a", 2)->new_epoch);
	replay_streams_fini(&p);
	memset(id, 'x', LIMIT_AGENT_BYTES);
	assert_int_equal(plan(&p, 0, id), -EINVAL);
	replay_streams_fini(&p);
}

static void a_batch_is_sent_under_its_new_head(void **state)
{
	const int64_t shift_us = INT64_C(86400000000);
	struct batch_arena *in, *out;
	struct trace_reader *r;
	struct replay_stream *s;
	const void *data;
	struct batch b, c;
	struct replay_streams p;
	size_t len;
	void *sent;
	FILE *f;

	(void)state;
	begin();
	put("a", 7, 2, BASE_US);
	end();
	assert_int_equal(plan(&p, 0, "z"), 0);
	s = stream(&p, "a", 7);
	assert_int_equal(batch_arena_new(&in), 0);
	assert_int_equal(batch_arena_new(&out), 0);
	f = fmemopen(file.data, file.len, "r");
	assert_int_equal(trace_reader_new(&r, f), 0);
	for (unsigned i = 1; i <= 2; i++) {
		assert_int_equal(trace_read(r, &data, &len), 1);
		assert_int_equal(batch_decode(in, data, len, &b, NULL), 0);
		assert_int_equal(replay_streams_rewrite(s, &b, data, len,
							shift_us, &sent, &len),
				 0);
		assert_int_equal(batch_decode(out, sent, len, &c, NULL), 0);
		assert_string_equal(c.agent, "z");
		assert_int_equal(c.epoch, s->new_epoch);
		assert_int_equal(c.sequence, i);
		/* The first was not told: this one stands for it too. */
		assert_int_equal(c.first_sequence, 1);
		assert_int_equal(c.base_us, b.base_us + shift_us);
		assert_int_equal(c.events.n, i);
		assert_int_equal(replay_streams_batch_end_us(&c),
				 replay_streams_batch_end_us(&b) + shift_us);
		free(sent);
	}
	trace_reader_free(r);
	fclose(f);
	batch_arena_free(in);
	batch_arena_free(out);
	replay_streams_fini(&p);
}

/* A batch of n empty strings and no request. */
static void put_nothing(size_t n)
{
	struct batch_string *strings = calloc(n, sizeof(*strings));
	struct batch b = { .agent = "n",
			   .epoch = 1,
			   .sequence = 1,
			   .base_us = BASE_US,
			   .n_strings = n,
			   .strings = strings };
	void *data;
	size_t len;

	for (size_t i = 0; i < n; i++)
		strings[i].data = "";
	assert_int_equal(batch_encode(&b, &data, &len), 0);
	assert_int_equal(trace_write(writer, data, len), 0);
	free(data);
	free(strings);
}

static void a_file_that_holds_nothing_is_not_read_for_long(void **state)
{
	struct replay_streams p;

	(void)state;
	/* A fleet's heartbeats of some days are fine. */
	begin();
	for (int i = 0; i < 3000; i++)
		put_nothing(8000);
	end();
	assert_int_equal(plan(&p, 0, NULL), 0);
	assert_int_equal(p.batches, 3000);
	replay_streams_fini(&p);
	begin();
	for (int i = 0; i < 300; i++)
		put_nothing(LIMIT_STRINGS);
	end();
	assert_in_range(file.len, 1, 30000);
	assert_int_equal(plan(&p, 0, NULL), -EFBIG);
	assert_in_range(p.batches, 1, 299);
	replay_streams_fini(&p);
}

static void more_streams_than_agents_there_may_be_are_refused(void **state)
{
	struct replay_streams p;

	(void)state;
	begin();
	for (unsigned i = 0; i < REPLAY_STREAMS_MAX; i++)
		put("n", i + 1, 1, BASE_US);
	put("n", 1, 1, BASE_US); /* known */
	end();
	assert_int_equal(plan(&p, 0, NULL), 0);
	assert_int_equal(p.n, REPLAY_STREAMS_MAX);
	replay_streams_fini(&p);
	begin();
	for (unsigned i = 0; i <= REPLAY_STREAMS_MAX; i++)
		put("n", i + 1, 1, BASE_US);
	end();
	assert_int_equal(plan(&p, 0, NULL), -E2BIG);
	replay_streams_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_what_is_in_the_file),
		cmocka_unit_test(the_same_file_and_id_is_the_same_epoch),
		cmocka_unit_test(several_agents_keep_their_names_behind_the_id),
		cmocka_unit_test(a_batch_is_sent_under_its_new_head),
		cmocka_unit_test(
			a_file_that_holds_nothing_is_not_read_for_long),
		cmocka_unit_test(
			more_streams_than_agents_there_may_be_are_refused),
	};
	int failed = cmocka_run_group_tests_name("plan", tests, NULL, NULL);

	buf_fini(&file);
	return failed;
}
