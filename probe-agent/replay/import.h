/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_REPLAY_IMPORT_H
#define PROBE_AGENT_REPLAY_IMPORT_H

#include <stdint.h>
#include <stdio.h>

#include "probe-agent/batch/packer.h"
#include "proto/trace.h"

/*
 * What others wrote down of requests, as batches: access logs, JSON lines, HAR.
 * docs/PROTOCOL.md says which fields are taken. A line that cannot be read is
 * counted, and shown with its number up to IMPORT_BAD_SHOWN times; it is no
 * error. The same file gives the same batches. Not locked.
 */

enum import_format {
	IMPORT_AUTO, /* by the beginning of the file */
	IMPORT_COMBINED, /* nginx and Apache: combined, or common */
	IMPORT_COMBINED_TIME, /* with the seconds it took as last field */
	IMPORT_JSON,
	IMPORT_HAR,
};
/* -EINVAL */
int import_format_parse(const char *name, enum import_format *out);
const char *import_format_name(enum import_format format); /* static */

#define IMPORT_BAD_SHOWN 10
#define IMPORT_LINE_MAX (1u << 20)

struct import_options {
	enum import_format format;
	const char *agent; /* id in the batches */
	const char *service; /* where the file names none */
	const char *map; /* JSON: "ours=theirs,…"; NULL: names as documented */
};

struct import_stats {
	enum import_format format; /* never IMPORT_AUTO */
	uint64_t lines, events, bad;
};

/*
 * Reads in to its end; name is for messages. -EPROTO: none of the formats, or a
 * HAR file that is not JSON; -EINVAL: map; the writer's error; -ENOMEM, -EIO.
 */
int import_file(FILE *in, const char *name, const struct import_options *opt,
		struct trace_writer *to, struct import_stats *out);

/* --- between the files of this module --- */

struct import;

/* What a reader of a format found; strings are borrowed. */
struct import_event {
	struct packer_event
		e; /* method, route and service are filled in later */
	const char *method, *target; /* target NULL: e.route is set */
	size_t method_len, target_len;
};
/* 0, or negative errno: to be handed on. */
int import_add(struct import *im, struct import_event *x);

/* 1: an event, added; 0: nothing to take; -EPROTO: a bad line, *why says why.
 */
int import_log_line(struct import *im, enum import_format format, char *line,
		    size_t len, const char **why);

struct import_json; /* how fields are called */
int import_json_new(struct import_json **out, const char *map);
void import_json_free(struct import_json *j);
int import_json_line(struct import *im, const struct import_json *j,
		     const char *line, size_t len, const char **why);
/* A whole HAR document; bad entries are told by import_bad(). */
int import_json_har(struct import *im, const char *text, size_t len);
void import_bad(struct import *im, const char *what, uint64_t number,
		const char *why);

/* "2026-11-22T03:00:00.123Z" or seconds since 1970 to µs. -EINVAL. */
int import_time(const char *text, int64_t *out_us);

#endif /* PROBE_AGENT_REPLAY_IMPORT_H */
