/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_REPLAY_IMPORT_H
#define PROBE_AGENT_REPLAY_IMPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "probe-agent/batch/packer.h"
#include "proto/trace.h"

/*
 * Turns the records that other programs keep of requests into batches: access
 * logs, JSON lines, HAR. docs/IMPORTS.md lists the formats and what is read of
 * them. A line that cannot be read is not an error: it is counted, and the
 * first IMPORT_BAD_SHOWN are printed with their numbers. The same file always
 * gives the same batches. Memory does not grow with the file. Not locked.
 */

/* In the order of the table in import.c. */
enum import_format {
	IMPORT_AUTO, /* recognised by the beginning of the file */
	IMPORT_HAR,
	IMPORT_CADDY,
	IMPORT_TRAEFIK,
	IMPORT_ENVOY,
	IMPORT_HAPROXY,
	IMPORT_ALB,
	IMPORT_W3C,
	IMPORT_INGRESS_NGINX,
	IMPORT_COMBINED_TIME,
	IMPORT_APACHE_D,
	IMPORT_COMBINED,
	IMPORT_JSON,
	IMPORT_FORMATS,
};
/* -EINVAL: no format has this name. */
int import_format_parse(const char *name, enum import_format *out);
const char *import_format_name(enum import_format format); /* static */
#define IMPORT_BAD_SHOWN 10

struct import_options {
	enum import_format format;
	const char *agent; /* id in the batches */
	const char *service; /* of requests that name none */
	const char *map; /* JSON: "ours=theirs,…"; NULL: names as documented */
};

struct import_stats {
	enum import_format format; /* IMPORT_AUTO: none was recognised */
	uint64_t guessed_by; /* lines that decided on it; 0: it was asked for */
	/* Lines, or entries of a HAR: each is one of the three that follow. */
	uint64_t lines;
	uint64_t events; /* requests */
	uint64_t other; /* blank lines, comments, and other records */
	uint64_t bad; /* unreadable */
	uint64_t untimed; /* of events: those whose duration is unknown */
	const char *problem; /* after -EPROTO and -ENODATA: why; static */
};

/*
 * Reads in to its end and writes its batches; name is for messages. -EPROTO:
 * no known format, or a HAR that is not JSON. -ENODATA: no request in it.
 * -EINVAL: map. -ENOMEM, -EIO, or the error of the writer.
 */
int import_file(FILE *in, const char *name, const struct import_options *opt,
		struct trace_writer *to, struct import_stats *out);

/* --- between the files of this module --- */

/* One request, as the reader of a format found it; strings are borrowed. */
struct import_event {
	/*
	 * import_add() sets the method, and the route and service if absent.
	 * start_us is when it started, or ended if at_end.
	 */
	struct packer_event e;
	bool at_end;
	const char *method, *target; /* target NULL: e.route is set */
	size_t method_len, target_len;
};

/* What the readers of lines know of their file beside the line. */
struct import_json;
#define IMPORT_COLUMNS_MAX 128
struct import_lines {
	enum import_format format;
	bool guess; /* whether a line is of this format: read it strictly */
	struct import_json *json;
	/* W3C: what each column holds, from the last #Fields. */
	uint8_t column[IMPORT_COLUMNS_MAX];
	uint8_t columns;
	bool in_ms; /* whole numbers: by #Software, or the format was asked for
		     */
	char date[16]; /* of #Date, for lines with a time only */
	/* A line has a number that is a duration or not, in some unit. */
	bool unit_unknown;
};

/*
 * Reads a line of a format; it may be written to. Returns 1: *x is a request.
 * 0: something else that belongs into such a file. -EPROTO: *why, static, says
 * what is wrong.
 */
typedef int import_line_fn(struct import_lines *l, char *line, size_t len,
			   struct import_event *x, const char **why);
import_line_fn import_combined_line, import_traefik_line;
import_line_fn import_envoy_line, import_haproxy_line, import_alb_line;
import_line_fn import_w3c_line, import_json_line;

/* The reader of a format; NULL: it has no lines. */
import_line_fn *import_format_line(enum import_format format);
/* True if a file without --format may be in it. */
bool import_format_recognised(enum import_format format);
/*
 * Makes *x an empty event and reads a line in the format of l, out of what a
 * container's log puts around it; blank lines and comments are 0.
 */
int import_line(struct import_lines *l, char *line, size_t len,
		struct import_event *x, const char **why);

/*
 * The text in quotes at *at, which then is behind it; NUL-terminated in place.
 * A backslash escapes the next character. NULL: no such text.
 */
char *import_quoted(char **at);
/* The word at *at, which then is behind it and the blanks that follow. */
char *import_word(char **at);
/* Reads "METHOD target HTTP/1.1" in place. */
bool import_request(char *text, struct import_event *x);
/* Reads a status; "-" and 0 are 0: none was sent. -EPROTO. */
int import_status(const char *text, uint32_t *out);
/* Reads a size; "-" is 0. -EPROTO. */
int import_bytes(const char *text, uint64_t *out);

struct import;
/* Adds a request. Negative errno: the import must end with it. */
int import_add(struct import *im, struct import_event *x);
/* Counts and prints a bad line or entry. */
void import_bad(struct import *im, const char *what, uint64_t number,
		const char *why);

struct import_source;
/*
 * Reads a HAR as it comes. Counts in *stats what import_add() and import_bad()
 * do not. -EPROTO: no HAR.
 */
int import_har(struct import *im, struct import_source *in,
	       struct import_stats *stats);
/* True if a text begins like a HAR. */
bool import_har_begins(const char *text, size_t len);

#endif /* PROBE_AGENT_REPLAY_IMPORT_H */
