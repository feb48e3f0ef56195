/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_PROGRAMS_SPEC_READER_H
#define PROBE_AGENT_PROGRAMS_SPEC_READER_H

#include "probe-agent/programs/spec.h"
#include "probe-agent/programs/spec_yaml.h"

/* The inside of the file reader, for spec_*.c only. */

struct spec_reader {
	struct spec_yaml *y;
	const char *path;
	const struct spec_options *opt;
	struct spec_error *e;
	bool strict; /* an unknown key is an error; else a warning */
};

/* Reads the value at node into *to. 0 or a negative errno, said by e. */
typedef int spec_field_fn(struct spec_reader *r, int node, void *to);

struct spec_field {
	const char *key;
	spec_field_fn *read;
	size_t offset; /* of what it fills, within the struct */
};

/* Fills r->e with the node's place. Returns -EINVAL. */
int spec_fail(struct spec_reader *r, int node, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void spec_warn(struct spec_reader *r, int node, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Reads a map by the table (ended by a NULL key) into base; what names it in
 * messages. An unknown key is reported with the nearest known one.
 */
int spec_read_fields(struct spec_reader *r, int node, const char *what,
		     const struct spec_field *fields, void *base);

/* Fields by type: char *, unsigned, int64_t, double, bool, struct texts. */
struct spec_texts {
	char **list;
	size_t n;
};
int spec_read_text(struct spec_reader *r, int node, void *to);
int spec_read_unsigned(struct spec_reader *r, int node, void *to);
int spec_read_int64(struct spec_reader *r, int node, void *to);
int spec_read_double(struct spec_reader *r, int node, void *to);
int spec_read_bool(struct spec_reader *r, int node, void *to);
int spec_read_texts(struct spec_reader *r, int node, void *to);
int spec_read_duration_ms(struct spec_reader *r, int node, void *to);

#define SPEC_LIST_MAX 1024u /* entries of any list of a program file */

/* Grows a list by one cleared entry of size bytes; NULL: no memory. */
void *spec_grow(void *list, size_t *n, size_t size);

/* The nearest of a NULL-ended list of names, or NULL if none is near. */
const char *spec_nearest(const char *name, const char *const *names);

/* --- spec_labels.c --- */

/* `labels:` of a metric; to is the struct spec_metric. */
int spec_read_labels(struct spec_reader *r, int node, void *to);

/* --- spec_metrics.c --- */

/* The map `metrics:` of ebpf_exporter's dialects and ours. */
int spec_read_metrics(struct spec_reader *r, int node, struct spec *s);
/* Is it a name that Prometheus takes, after the prefix? */
bool spec_metric_name_valid(const char *name);
bool spec_label_name_valid(const char *name);

/* --- spec_limits.c --- */

int spec_read_limits(struct spec_reader *r, int node, void *limits);

#endif /* PROBE_AGENT_PROGRAMS_SPEC_READER_H */
