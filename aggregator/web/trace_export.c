/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web/trace_export.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aggregator/store/store.h"
#include "common/log.h"
#include "common/version.h"
#include "proto/batch.h"
#include "proto/batch_keep.h"

/* One epoch of an agent, and its requests in the file so far. */
struct stream {
	char *agent;
	uint64_t epoch, requests;
};

struct workers_job {
	struct trace_export *e;
	struct trace_writer *writer;
	struct batch_arena *arena;
	void *streams; /* a tree */
};

static int compare_ids(const void *a, const void *b)
{
	const struct stream *x = a, *y = b;

	if (x->epoch != y->epoch)
		return x->epoch < y->epoch ? -1 : 1;
	return strcmp(x->agent, y->agent);
}

static struct stream *find_stream(struct workers_job *j, const struct batch *b)
{
	struct stream *s = calloc(1, sizeof(*s));
	void *found;

	if (!s)
		return NULL;
	s->epoch = b->epoch;
	s->agent = strdup(b->agent);
	found = s->agent ? tsearch(s, &j->streams, compare_ids) : NULL;
	if (!found || *(struct stream **)found != s) {
		free(s->agent);
		free(s);
	}
	return found ? *(struct stream **)found : NULL;
}

static void free_stream(void *p)
{
	struct stream *s = p;

	free(s->agent);
	free(s);
}

/*
 * Writes the requests of one service. The losses in the batch are those of the
 * whole agent, so they are replaced by counts of what the file contains.
 */
static int write_part(struct workers_job *j, const struct batch *b)
{
	struct batch_losses losses = { 0 };
	struct stream *s = find_stream(j, b);
	uint64_t requests = batch_keep_count(b, j->e->service);
	void *data;
	size_t len;
	int err;

	if (!s)
		return -ENOMEM;
	if (requests == 0)
		return 0;
	s->requests += requests;
	losses.captured = losses.packed = s->requests;
	err = batch_keep_service(b, j->e->service, &losses, &data, &len,
				 &requests);
	if (err < 0)
		return err;
	err = trace_write(j->writer, data, len);
	free(data);
	j->e->batches += !err;
	j->e->requests += !err ? requests : 0;
	return err;
}

static int write_row(struct workers_job *j, const struct store_log *row)
{
	struct batch b;
	int err;

	if (!j->e->service) {
		err = trace_write(j->writer, row->data, row->len);
		j->e->batches += !err;
		j->e->requests += !err ? row->requests : 0;
		return err;
	}
	err = batch_decode(j->arena, row->data, row->len, &b, NULL);
	if (err == -EPROTO) {
		j->e->unreadable++;
		return 0;
	}
	return err < 0 ? err : write_part(j, &b);
}

static int write_rows(struct workers_job *j, struct store_log_reader *reader)
{
	struct store_log row;
	int err;

	while ((err = store_log_next(reader, &row)) > 0) {
		err = write_row(j, &row);
		if (err < 0)
			return err;
	}
	return err < 0 ? err : trace_end(j->writer);
}

int trace_export_write(struct trace_export *e, trace_sink_fn *sink, void *arg)
{
	struct workers_job j = { .e = e };
	struct store_log_reader *reader = NULL;
	char host[256] = "", by[64];
	struct trace_origin origin = { .created_by = by,
				       .source = host,
				       .service = e->service,
				       .from_us = e->from_us,
				       .to_us = e->to_us };
	int err;

	snprintf(by, sizeof(by), "redtap-aggregator %s", version_string());
	gethostname(host, sizeof(host) - 1);
	err = store_log_open(&reader, e->store_path, e->from_us, e->to_us);
	if (!err)
		err = batch_arena_new(&j.arena);
	if (!err)
		err = trace_writer_new(&j.writer, &origin, sink, arg);
	if (!err)
		err = write_rows(&j, reader);
	if (e->unreadable)
		log_warn("cannot decode batches of the log batches=%llu",
			 (unsigned long long)e->unreadable);
	trace_writer_free(j.writer);
	batch_arena_free(j.arena);
	store_log_close(reader);
	tdestroy(j.streams, free_stream);
	return err;
}

int trace_export_temporary(struct trace_export *e, int *fd)
{
	char *copy = strdup(e->store_path);
	FILE *f;
	int err = 0, file, keep;

	*fd = -1;
	if (!copy)
		return -ENOMEM;
	file = open(dirname(copy), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (file < 0)
		err = -errno;
	free(copy);
	if (err < 0)
		return err;
	keep = fcntl(file, F_DUPFD_CLOEXEC, 0);
	f = keep < 0 ? NULL : fdopen(file, "w");
	if (!f) {
		err = -errno;
		close(file);
	} else {
		err = trace_export_write(e, trace_to_file, f);
		if (fclose(f) != 0 && !err)
			err = -errno;
	}
	if (err < 0 && keep >= 0)
		close(keep);
	*fd = err < 0 ? -1 : keep;
	return err;
}
