/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/replay/replay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "proto/trace.h"

/* From a file's name to a trace: as it is, or imported. */

#define COPY_BYTES 65536u

static int copy_rest(FILE *from, FILE *to)
{
	char part[COPY_BYTES];
	size_t n;

	while ((n = fread(part, 1, sizeof(part), from)) > 0)
		if (fwrite(part, 1, n, to) != n)
			return -errno;
	if (ferror(from))
		return -EIO;
	return fflush(to) == 0 ? 0 : -errno;
}

/* Files are read twice, so what comes through a pipe is kept in a file. */
static int open_input(const char *name, FILE **out)
{
	bool standard = strcmp(name, "-") == 0;
	FILE *f = standard ? stdin : fopen(name, "re"), *copy;
	int err;

	if (!f)
		return -errno;
	*out = f;
	if (fseek(f, 0, SEEK_CUR) == 0)
		return 0;
	copy = tmpfile();
	err = copy ? copy_rest(f, copy) : -errno;
	if (!standard)
		fclose(f);
	if (err && copy)
		fclose(copy);
	*out = err ? NULL : copy;
	if (!err)
		rewind(copy);
	return err;
}

static void tell_import(const struct replay *r, const struct import_stats *st)
{
	log_info("imported file=%s format=%s recognised_by_lines=%" PRIu64
		 " lines=%" PRIu64 " requests=%" PRIu64 " other=%" PRIu64
		 " bad=%" PRIu64 " untimed=%" PRIu64,
		 r->name, import_format_name(st->format), st->guessed_by,
		 st->lines, st->events, st->other, st->bad, st->untimed);
	if (st->untimed > 0)
		log_warn("requests without a duration count everywhere but in "
			 "durations file=%s requests=%" PRIu64 " of=%" PRIu64,
			 r->name, st->untimed, st->events);
}

static int import(struct replay *r, FILE *in, FILE *out)
{
	struct trace_origin origin = { .created_by = "redtap-agent replay" };
	struct trace_writer *w;
	struct import_stats stats = { 0 };
	int err = trace_writer_new(&w, &origin, trace_to_file, out);

	if (err)
		return err;
	err = import_file(in, r->name, &r->import, w, &stats);
	if (!err)
		err = trace_end(w);
	trace_writer_free(w);
	if (!err)
		tell_import(r, &stats);
	r->problem = stats.problem;
	return err;
}

int replay_open(struct replay *r, FILE **out)
{
	FILE *f = NULL, *made;
	struct trace_reader *reader;
	int err = open_input(r->name, &f);

	r->problem = NULL;
	if (err)
		return err;
	err = trace_reader_new(&reader, f);
	if (!err)
		trace_reader_free(reader);
	rewind(f);
	if (err != -EPROTO) {
		if (err)
			fclose(f);
		*out = f;
		return err;
	}
	made = tmpfile();
	err = made ? import(r, f, made) : -errno;
	fclose(f);
	if (err && made)
		fclose(made);
	if (!err)
		rewind(made);
	*out = made;
	return err;
}
