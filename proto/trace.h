/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_TRACE_H
#define PROTO_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * A trace file: encoded batches, as in the log of an aggregator or the outbox
 * of an agent, for a later replay. docs/PROTOCOL.md describes the format. Who
 * may use zstd: see tests/lint.sh. Not locked: one thread per reader or writer.
 */

#define TRACE_TEXT_MAX 65536u /* bytes of the text with the origin */

/* Where the batches come from. NULL or 0: not given. */
struct trace_origin {
	const char *created_by; /* program and version */
	const char *source; /* node or aggregator */
	const char *service; /* the only service in the file */
	int64_t from_us, to_us; /* the requested range, since 1970 */
};

/* --- writing --- */

struct trace_writer;

/* Writes len bytes. Its first negative errno stops the writer for good. */
typedef int trace_sink_fn(void *arg, const void *data, size_t len);

/*
 * Sets *out, released by trace_writer_free(). -EINVAL: origin. -ENOMEM, or the
 * error of the sink.
 */
int trace_writer_new(struct trace_writer **out,
		     const struct trace_origin *origin, trace_sink_fn *sink,
		     void *arg);
/* -EMSGSIZE: empty or over LIMIT_MESSAGE_BYTES. Or the error of the sink. */
int trace_write(struct trace_writer *w, const void *batch, size_t len);
/* Passes everything to the sink, so that a reader can read up to here. */
int trace_flush(struct trace_writer *w);
/* Writes the end mark. Without it, a reader reports a file that was cut. */
int trace_end(struct trace_writer *w);
void trace_writer_free(struct trace_writer *w); /* NULL is fine */
uint64_t trace_written(const struct trace_writer *w); /* batches */

/* A sink that writes to a FILE *, its arg. */
int trace_to_file(void *arg, const void *data, size_t len);

/* --- reading --- */

struct trace_reader;

/*
 * Reads from f, which the caller keeps. Sets *out, released by
 * trace_reader_free(). -EPROTO: not a trace file. -ENOTSUP: of another version.
 * -EIO, -ENOMEM.
 */
int trace_reader_new(struct trace_reader **out, FILE *f);
void trace_reader_free(struct trace_reader *r); /* NULL is fine */
/* Borrowed from the reader. */
const struct trace_origin *trace_origin(const struct trace_reader *r);
/*
 * Reads the next batch, borrowed until the next call. Its checksum was checked,
 * but it is not validated. Returns 1, or 0 at the end. -EPROTO: the file is
 * damaged or cut here, as trace_damage() says; all later calls return it too.
 */
int trace_read(struct trace_reader *r, const void **batch, size_t *len);
uint64_t trace_batches(const struct trace_reader *r); /* read so far */
/* What is wrong with the file; static. NULL: nothing so far. */
const char *trace_damage(const struct trace_reader *r);

#endif /* PROTO_TRACE_H */
