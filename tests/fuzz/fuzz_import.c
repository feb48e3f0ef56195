/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of other programs. The first byte says which format is claimed. What is
 * taken is a whole trace of valid batches, with as many requests as the
 * importer reports; what is not is counted.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "probe-agent/replay/import.h"
#include "proto/batch.h"
#include "proto/trace.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Lines that are bad are shown there; libFuzzer writes to the descriptor. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	stderr = fopen("/dev/null", "w");
	return stderr ? 0 : 1;
}

static int to_buf(void *arg, const void *data, size_t len)
{
	return buf_append(arg, data, len);
}

static void check(struct buf *file, uint64_t events)
{
	static struct batch_arena *arena;
	struct trace_reader *r;
	const char *reason = NULL;
	const void *data;
	struct batch b;
	uint64_t n = 0;
	size_t len;
	FILE *f = fmemopen(file->data, file->len, "r");

	if (!f || (!arena && batch_arena_new(&arena) != 0))
		abort();
	assert(trace_reader_new(&r, f) == 0);
	while (trace_read(r, &data, &len) == 1) {
		int err = batch_decode(arena, data, len, &b, &reason);

		assert(!err);
		n += b.events.n;
	}
	assert(!trace_damage(r));
	assert(n == events);
	trace_reader_free(r);
	fclose(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct trace_origin origin = { .created_by = "fuzz" };
	struct import_options opt = { .agent = "import", .service = "fuzz" };
	struct import_stats stats;
	struct buf file = { 0 };
	struct trace_writer *w;
	FILE *in;
	int err;

	if (len < 2)
		return 0;
	opt.format = data[0] % IMPORT_FORMATS;
	if (data[0] & 0x80)
		opt.map = "time=t,target=a.b,status=s";
	in = fmemopen((void *)(uintptr_t)(data + 1), len - 1, "r");
	if (!in || trace_writer_new(&w, &origin, to_buf, &file) != 0)
		abort();
	err = import_file(in, "fuzz", &opt, w, &stats);
	assert(!err || err == -EPROTO || err == -ENODATA);
	/* A HAR that ends early has added what came before. */
	assert(stats.events + stats.bad + stats.other == stats.lines);
	assert(stats.untimed <= stats.events);
	assert(!err == (stats.events > 0 && !stats.problem));
	assert(!err || stats.problem);
	if (!err) {
		assert(trace_end(w) == 0);
		check(&file, stats.events);
	}
	trace_writer_free(w);
	buf_fini(&file);
	fclose(in);
	return 0;
}
