/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/trace.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "common/buf.h"
#include "common/crc32.h"
#include "proto/limits.h"

#define VERSION 1u
#define LEVEL 3
#define HEAD_BYTES 16u
#define IN_BYTES (64u << 10)
/* Readers refuse a zstd window of more than 4 MiB. */
#define WINDOW_LOG 22

static const char magic[8] = { 'r', 'e', 'd', 't', 'r', 'c', '\r', '\n' };

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	      "integers are little-endian, as in docs/PROTOCOL.md");

/* --- writing --- */

struct trace_writer {
	trace_sink_fn *sink;
	void *arg;
	ZSTD_CCtx *zstd;
	int err;
	uint64_t batches;
	size_t out_cap;
	uint8_t out[];
};

static void put_line(struct buf *b, const char *key, const char *value)
{
	if (!value || *value == '\0')
		return;
	if (strchr(value, '\n'))
		b->err = -EINVAL;
	buf_printf(b, "%s=%s\n", key, value);
}

static int put_head(struct trace_writer *w, const struct trace_origin *o)
{
	struct buf text = { .max = TRACE_TEXT_MAX }, head = { 0 };
	uint32_t words[2] = { VERSION, 0 };
	int err;

	put_line(&text, "created-by", o->created_by);
	put_line(&text, "source", o->source);
	put_line(&text, "service", o->service);
	if (o->from_us != 0)
		buf_printf(&text, "from-us=%" PRId64 "\n", o->from_us);
	if (o->to_us != 0)
		buf_printf(&text, "to-us=%" PRId64 "\n", o->to_us);
	words[1] = (uint32_t)text.len;
	buf_append(&head, magic, sizeof(magic));
	buf_append(&head, words, sizeof(words));
	buf_append(&head, text.data, text.len);
	err = text.err ? text.err : head.err;
	if (!err)
		err = w->sink(w->arg, head.data, head.len);
	buf_fini(&text);
	buf_fini(&head);
	return err == -EMSGSIZE ? -EINVAL : err;
}

int trace_writer_new(struct trace_writer **out,
		     const struct trace_origin *origin, trace_sink_fn *sink,
		     void *arg)
{
	size_t cap = ZSTD_CStreamOutSize();
	struct trace_writer *w = calloc(1, sizeof(*w) + cap);
	int err;

	if (!w)
		return -ENOMEM;
	w->out_cap = cap;
	w->sink = sink;
	w->arg = arg;
	w->zstd = ZSTD_createCCtx();
	err = w->zstd ? 0 : -ENOMEM;
	if (!err) {
		ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, LEVEL);
		ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1);
		err = put_head(w, origin);
	}
	if (err) {
		trace_writer_free(w);
		return err;
	}
	*out = w;
	return 0;
}

static int feed(struct trace_writer *w, const void *data, size_t len,
		ZSTD_EndDirective how)
{
	ZSTD_inBuffer in = { data, len, 0 };
	size_t left;

	do {
		ZSTD_outBuffer to = { w->out, w->out_cap, 0 };

		left = ZSTD_compressStream2(w->zstd, &to, &in, how);
		if (ZSTD_isError(left))
			w->err = -ENOMEM; /* nothing else can fail */
		else if (to.pos > 0)
			w->err = w->sink(w->arg, w->out, to.pos);
	} while (!w->err && (how == ZSTD_e_continue ? in.pos < len : left > 0));
	return w->err;
}

int trace_write(struct trace_writer *w, const void *batch, size_t len)
{
	uint32_t n = (uint32_t)len, crc;

	if (len == 0 || len > LIMIT_MESSAGE_BYTES)
		return -EMSGSIZE;
	if (w->err)
		return w->err;
	crc = crc32_of(0, batch, len);
	if (!feed(w, &n, sizeof(n), ZSTD_e_continue) &&
	    !feed(w, batch, len, ZSTD_e_continue) &&
	    !feed(w, &crc, sizeof(crc), ZSTD_e_continue))
		w->batches++;
	return w->err;
}

int trace_flush(struct trace_writer *w)
{
	return w->err ? w->err : feed(w, NULL, 0, ZSTD_e_flush);
}

int trace_end(struct trace_writer *w)
{
	uint8_t mark[16] = { 0 };
	uint32_t crc;

	if (w->err)
		return w->err;
	memcpy(mark + 4, &w->batches, 8);
	crc = crc32_of(0, mark + 4, 8);
	memcpy(mark + 12, &crc, 4);
	return feed(w, mark, sizeof(mark), ZSTD_e_end);
}

void trace_writer_free(struct trace_writer *w)
{
	if (!w)
		return;
	ZSTD_freeCCtx(w->zstd);
	free(w);
}

uint64_t trace_written(const struct trace_writer *w)
{
	return w->batches;
}

int trace_to_file(void *arg, const void *data, size_t len)
{
	errno = 0;
	if (fwrite(data, 1, len, arg) == len)
		return 0;
	return errno ? -errno : -EIO;
}

/* --- reading --- */

struct trace_reader {
	FILE *file;
	ZSTD_DCtx *zstd;
	char *text;
	struct trace_origin origin;
	const char *damage;
	bool ended;
	uint64_t batches;
	size_t left; /* from zstd; 0: at the end of the frame */
	ZSTD_inBuffer in;
	uint8_t *batch; /* LIMIT_MESSAGE_BYTES + the checksum */
	uint8_t in_data[IN_BYTES];
};

/* Splits text in place; unknown keys are skipped. */
static void parse_text(struct trace_reader *r)
{
	struct trace_origin *o = &r->origin;
	char *rest = r->text, *line, *value;

	while ((line = strsep(&rest, "\n"))) {
		value = strchr(line, '=');
		if (!value)
			continue;
		*value++ = '\0';
		if (!strcmp(line, "created-by"))
			o->created_by = value;
		else if (!strcmp(line, "source"))
			o->source = value;
		else if (!strcmp(line, "service"))
			o->service = value;
		else if (!strcmp(line, "from-us"))
			o->from_us = strtoll(value, NULL, 10);
		else if (!strcmp(line, "to-us"))
			o->to_us = strtoll(value, NULL, 10);
	}
}

static int read_head(struct trace_reader *r)
{
	char head[HEAD_BYTES];
	uint32_t words[2];

	if (fread(head, 1, sizeof(head), r->file) != sizeof(head))
		return ferror(r->file) ? -EIO : -EPROTO;
	if (memcmp(head, magic, sizeof(magic)) != 0)
		return -EPROTO;
	memcpy(words, head + 8, sizeof(words));
	if (words[0] != VERSION)
		return -ENOTSUP;
	if (words[1] > TRACE_TEXT_MAX)
		return -EPROTO;
	r->text = calloc(1, words[1] + 1);
	if (!r->text)
		return -ENOMEM;
	if (fread(r->text, 1, words[1], r->file) != words[1])
		return ferror(r->file) ? -EIO : -EPROTO;
	parse_text(r);
	return 0;
}

int trace_reader_new(struct trace_reader **out, FILE *f)
{
	struct trace_reader *r = calloc(1, sizeof(*r));
	int err = -ENOMEM;

	if (!r)
		return -ENOMEM;
	r->file = f;
	r->in.src = r->in_data;
	r->left = 1;
	r->zstd = ZSTD_createDCtx();
	r->batch = malloc(LIMIT_MESSAGE_BYTES + 4);
	if (r->zstd && r->batch) {
		ZSTD_DCtx_setParameter(r->zstd, ZSTD_d_windowLogMax,
				       WINDOW_LOG);
		err = read_head(r);
	}
	if (err) {
		trace_reader_free(r);
		return err;
	}
	*out = r;
	return 0;
}

void trace_reader_free(struct trace_reader *r)
{
	if (!r)
		return;
	ZSTD_freeDCtx(r->zstd);
	free(r->batch);
	free(r->text);
	free(r);
}

const struct trace_origin *trace_origin(const struct trace_reader *r)
{
	return &r->origin;
}

static int damaged(struct trace_reader *r, const char *how)
{
	r->damage = how;
	return -EPROTO;
}

/* Reads len decompressed bytes; 0: to the end of the frame. -EPROTO. */
static int pull(struct trace_reader *r, void *to, size_t len)
{
	ZSTD_outBuffer out = { to, len, 0 };

	while (len > 0 ? out.pos < len : r->left > 0) {
		size_t before = out.pos, taken = r->in.pos;

		/* The decoder may have output left that needs no more input. */
		r->left = ZSTD_decompressStream(r->zstd, &out, &r->in);
		if (ZSTD_isError(r->left))
			return damaged(r, "compressed data is damaged");
		if (out.pos > before || r->in.pos > taken)
			continue;
		if (r->in.pos < r->in.size) /* output after the end mark */
			return damaged(r, "data after the end mark");
		r->in.pos = 0;
		r->in.size = fread(r->in_data, 1, IN_BYTES, r->file);
		if (r->in.size == 0)
			return damaged(r, ferror(r->file)
						  ? "file cannot be read"
						  : "file ends early");
	}
	return 0;
}

static int read_end(struct trace_reader *r)
{
	uint8_t mark[12];
	uint64_t batches;
	uint32_t crc;
	int err = pull(r, mark, sizeof(mark));

	if (err)
		return err;
	memcpy(&batches, mark, 8);
	memcpy(&crc, mark + 8, 4);
	if (crc != crc32_of(0, mark, 8) || batches != r->batches)
		return damaged(r, "wrong end mark");
	err = pull(r, NULL, 0);
	if (err)
		return err;
	r->ended = true;
	return 0;
}

int trace_read(struct trace_reader *r, const void **batch, size_t *len)
{
	uint32_t n, crc;
	int err;

	if (r->damage)
		return -EPROTO;
	if (r->ended)
		return 0;
	err = pull(r, &n, sizeof(n));
	if (err)
		return err;
	if (n == 0)
		return read_end(r);
	if (n > LIMIT_MESSAGE_BYTES)
		return damaged(r, "wrong length of a batch");
	err = pull(r, r->batch, n + sizeof(crc));
	if (err)
		return err;
	memcpy(&crc, r->batch + n, sizeof(crc));
	if (crc != crc32_of(0, r->batch, n))
		return damaged(r, "wrong checksum of a batch");
	r->batches++;
	*batch = r->batch;
	*len = n;
	return 1;
}

uint64_t trace_batches(const struct trace_reader *r)
{
	return r->batches;
}

const char *trace_damage(const struct trace_reader *r)
{
	return r->damage;
}
