/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_TRACE_H
#define PROTO_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * A trace file: encoded batches, as an aggregator's log or an agent's outbox
 * has them, to be replayed later. docs/PROTOCOL.md has the format. trace.c is
 * the only file that sees zstd. Not locked: one thread each.
 */

#define TRACE_TEXT_MAX 65536u /* of the provenance */

/* Where the batches come from. NULL and 0: not said. */
struct trace_origin {
	const char *created_by; /* program and version */
	const char *source; /* node or aggregator */
	const char *service; /* the only one whose requests are in it */
	int64_t from_us, to_us; /* what was asked for, since 1970 */
};

/* --- writing --- */

struct trace_writer;

/* Takes len bytes; 0 or a negative errno, which sticks. */
typedef int trace_sink_fn(void *arg, const void *data, size_t len);

/* Sets *out, released by trace_writer_free(). -EINVAL: origin; -ENOMEM. */
int trace_writer_new(struct trace_writer **out,
		     const struct trace_origin *origin, trace_sink_fn *sink,
		     void *arg);
/* -EMSGSIZE: over LIMIT_MESSAGE_BYTES, or empty; or the sink's error. */
int trace_write(struct trace_writer *w, const void *batch, size_t len);
/* Hands all that was written to the sink: readable up to here. */
int trace_flush(struct trace_writer *w);
/* Writes the end mark. Without it a reader takes the file for cut. */
int trace_end(struct trace_writer *w);
void trace_writer_free(struct trace_writer *w); /* NULL is fine */
uint64_t trace_written(const struct trace_writer *w); /* batches */

/* A sink that writes to a FILE *, its arg. */
int trace_to_file(void *arg, const void *data, size_t len);

/* --- reading --- */

struct trace_reader;

/*
 * Reads from f, which stays the caller's. Sets *out, released by
 * trace_reader_free(). -EPROTO if it is no trace file, -ENOTSUP if of a newer
 * version, -EIO, -ENOMEM.
 */
int trace_reader_new(struct trace_reader **out, FILE *f);
void trace_reader_free(struct trace_reader *r); /* NULL is fine */
/* Borrowed from the reader. */
const struct trace_origin *trace_origin(const struct trace_reader *r);
/*
 * The next batch, borrowed until the next call; whole, but not validated. 1; 0
 * at the end; -EPROTO where the file is damaged or cut, and from then on:
 * trace_damage() says how. What came before was whole.
 */
int trace_read(struct trace_reader *r, const void **batch, size_t *len);
uint64_t trace_batches(const struct trace_reader *r); /* read so far */
/* What is wrong; static. NULL: nothing so far. */
const char *trace_damage(const struct trace_reader *r);

#endif /* PROTO_TRACE_H */
