/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_REPLAY_IMPORT_H
#define PROBE_AGENT_REPLAY_IMPORT_H

#include <stdint.h>
#include <stdio.h>

#include "probe-agent/batch/packer.h"
#include "proto/trace.h"

/*
 * Turns the records that other programs keep of requests into batches: access
 * logs, JSON lines, HAR. docs/PROTOCOL.md lists the fields that are read. A
 * line that cannot be read is not an error: it is counted, and the first
 * IMPORT_BAD_SHOWN are printed with their numbers. The same file always gives
 * the same batches. Not locked.
 */

enum import_format {
	IMPORT_AUTO, /* recognised by the beginning of the file */
	IMPORT_COMBINED, /* of nginx and Apache; or their common format */
	IMPORT_COMBINED_TIME, /* with the duration in seconds as last field */
	IMPORT_JSON,
	IMPORT_HAR,
};
/* -EINVAL: no format has this name. */
int import_format_parse(const char *name, enum import_format *out);
const char *import_format_name(enum import_format format); /* static */

#define IMPORT_BAD_SHOWN 10
#define IMPORT_LINE_MAX (1u << 20)

struct import_options {
	enum import_format format;
	const char *agent; /* id in the batches */
	const char *service; /* of requests that name none */
	const char *map; /* JSON: "ours=theirs,…"; NULL: names as documented */
};

struct import_stats {
	enum import_format format; /* never IMPORT_AUTO */
	uint64_t lines, events, bad;
};

/*
 * Reads in to its end and writes its batches; name is for messages. -EPROTO:
 * no known format, or a HAR file that is not JSON. -EINVAL: map. -ENOMEM, -EIO,
 * or the error of the writer.
 */
int import_file(FILE *in, const char *name, const struct import_options *opt,
		struct trace_writer *to, struct import_stats *out);

/* --- between the files of this module --- */

struct import;

/* One request, as the reader of a format found it; strings are borrowed. */
struct import_event {
	struct packer_event
		e; /* import_add() sets method, and route, service if absent */
	const char *method, *target; /* target NULL: e.route is set */
	size_t method_len, target_len;
};
/* Adds a request. Negative errno: the import must end with it. */
int import_add(struct import *im, struct import_event *x);

/*
 * Reads a line and adds its request. Returns 1. -EPROTO: a bad line, *why is
 * set. Other errors must end the import. The same holds for JSON lines.
 */
int import_log_line(struct import *im, enum import_format format, char *line,
		    size_t len, const char **why);

struct import_json; /* the names of the fields */
int import_json_new(struct import_json **out, const char *map);
void import_json_free(struct import_json *j);
int import_json_line(struct import *im, const struct import_json *j,
		     const char *line, size_t len, const char **why);
/* Adds a whole HAR document; import_bad() gets bad entries. -EPROTO: no HAR. */
int import_json_har(struct import *im, const char *text, size_t len);
/* Counts and prints a bad line or entry. */
void import_bad(struct import *im, const char *what, uint64_t number,
		const char *why);

/* Converts "2026-11-22T03:00:00.123Z" or seconds since 1970 to µs. -EINVAL. */
int import_time(const char *text, int64_t *out_us);

#endif /* PROBE_AGENT_REPLAY_IMPORT_H */
