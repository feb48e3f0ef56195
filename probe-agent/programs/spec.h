/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_PROGRAMS_SPEC_H
#define PROBE_AGENT_PROGRAMS_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What a program file says: which object to load and how its maps become
 * metrics. Every dialect is read into this one form. A spec owns all of its
 * strings and lists; spec_free() releases them. Not locked: one thread at a
 * time.
 */

enum spec_dialect {
	SPEC_EXPORTER, /* ebpf_exporter v2: metrics: beside an object */
	SPEC_EXPORTER_V1, /* ebpf_exporter v1: programs: with bcc code */
	SPEC_OURS, /* program: */
	SPEC_AUTO, /* no file: maps named counter_, gauge_, hist_, print_ */
};

enum spec_kind {
	SPEC_COUNTER = 1, /* wire numbers, as enum samples_kind */
	SPEC_GAUGE = 2,
	SPEC_HISTOGRAM = 3,
	SPEC_PRINT = 4, /* shown by `program run`, never a metric */
};

enum spec_merge {
	SPEC_MERGE_NONE, /* one series for each node */
	SPEC_MERGE_SUM,
	SPEC_MERGE_MAX,
	SPEC_MERGE_MIN,
};

enum spec_buckets {
	SPEC_EXP2, /* key k: values up to 2^k */
	SPEC_EXP2ZERO, /* key 0: value 0; key k: values up to 2^(k-1) */
	SPEC_LINEAR, /* key k: values up to k * multiplier */
	SPEC_FIXED, /* keys are the upper bounds */
	SPEC_LOG2L, /* bcc's slots: key k holds 2^(k-1) … 2^k - 1 */
};

enum spec_decoder_kind {
	SPEC_CGROUP,
	SPEC_DNAME,
	SPEC_ERRNO,
	SPEC_HEX,
	SPEC_IFNAME,
	SPEC_INET_IP,
	SPEC_KSTACK,
	SPEC_KSYM,
	SPEC_MAJORMINOR,
	SPEC_PCI_CLASS,
	SPEC_PCI_DEVICE,
	SPEC_PCI_SUBCLASS,
	SPEC_PCI_VENDOR,
	SPEC_REGEXP,
	SPEC_STATIC_MAP,
	SPEC_STRING,
	SPEC_SYSCALL,
	SPEC_UINT,
	/* The 18 above are ebpf_exporter's; these are ours. */
	SPEC_INT,
	SPEC_BOOL,
	SPEC_DURATION,
	SPEC_COMM, /* pid to the name of its process */
	SPEC_EXE, /* pid to the name of its executable */
	SPEC_USER, /* uid to the user's name */
	SPEC_CONTAINER, /* pid to its container's id */
	SPEC_SERVICE, /* pid to its service's name */
	SPEC_CGROUP_CONTAINER, /* cgroup id to a container's id */
	SPEC_DECODERS,
};
#define SPEC_DECODERS_EXPORTER (SPEC_UINT + 1)

/* "cgroup", "uint" …; NULL if out of range. Static. */
const char *spec_decoder_name(unsigned kind);
/* The decoder of that name, or -ENOENT. */
int spec_decoder_kind(const char *name);

struct spec_pair {
	char *from, *to;
};

struct spec_decoder {
	enum spec_decoder_kind kind;
	struct spec_pair *map; /* static_map, and the names of an enum */
	size_t n_map;
	char **regexps;
	size_t n_regexps;
	bool allow_unknown;
};

struct spec_label {
	char *name;
	unsigned offset; /* in the key; filled in by size and padding, or BTF */
	unsigned size, padding; /* bytes; 0: told by BTF */
	struct spec_decoder *decoders;
	size_t n_decoders;
	bool is_cpu; /* of a per-CPU map: the CPU's number, not in the key */
	unsigned line;
};

struct spec_histogram {
	enum spec_buckets type;
	int64_t min, max; /* keys */
	double multiplier; /* 1 if not said */
	uint64_t *keys; /* of SPEC_FIXED, ascending */
	size_t n_keys;
	bool overflow_inf; /* the last key's count belongs to +Inf */
};

struct spec_metric {
	enum spec_kind kind;
	char *name; /* as shown, prefix and all */
	char *table; /* the map */
	char *help; /* "": none */
	char *unit; /* "" if not said */
	char *member; /* of a value that is a struct; NULL: the value itself */
	unsigned value_offset, value_size; /* 0: the whole value */
	bool value_signed;
	bool events; /* the map is a ring or perf buffer */
	bool evict_pid; /* keys of processes that are gone are taken out */
	bool auto_labels; /* made from BTF */
	enum spec_merge merge;
	struct spec_label *labels; /* without a histogram's bucket */
	size_t n_labels;
	struct spec_label bucket; /* of a histogram; decoders: uint */
	struct spec_histogram histogram;
	unsigned line;
};

/* An attachment that SEC() does not say, of our own format. */
struct spec_attach {
	char *function;
	char **any_of; /* "uprobe:lib:symbol", "tracepoint:a:b" …, in turn */
	size_t n_any_of;
	unsigned line;
};

/* A constant of .rodata. */
struct spec_const {
	char *name;
	int64_t value;
	unsigned line;
};

struct spec_limits {
	double cpu; /* of one CPU, 0.01 is 1 %; 0: no budget */
	bool detach; /* when over it; else only reported */
	uint32_t interval_ms; /* between two reads */
	uint32_t entries; /* keys of one map that are read */
	uint32_t series; /* beyond them: the overflow series */
	uint64_t memory_bytes; /* of one map */
	uint32_t events_s; /* events a second */
};

/* cgroup_id_map of ebpf_exporter: ids of cgroups whose paths match. */
struct spec_cgroup_map {
	char *name; /* NULL: none */
	bool storage; /* type: cgrp_storage */
	char **regexps;
	size_t n_regexps;
};

/* What `program run` says of a histogram of events. */
struct spec_hint {
	char *map;
	char *value; /* the member that is observed; NULL: not said */
	uint64_t *bounds; /* ascending */
	size_t n_bounds;
};

struct spec {
	char *name;
	char *file; /* where it is from, for messages */
	enum spec_dialect dialect;
	char *object; /* path of the ELF object */
	char *code; /* bcc dialect: to be compiled by `program build` */
	unsigned code_line;
	char **cflags;
	size_t n_cflags;
	char *prefix; /* of metrics: "ebpf_exporter_"; "" */
	struct spec_metric *metrics;
	size_t n_metrics;
	struct spec_attach *attach;
	size_t n_attach;
	struct spec_const *consts;
	size_t n_consts;
	char **kaddrs;
	size_t n_kaddrs;
	struct spec_cgroup_map cgroups;
	struct spec_limits limits;
	bool pin;
	struct spec_hint *hints;
	size_t n_hints;
};

struct spec_error {
	unsigned line, column; /* from 1; 0: not known */
	char what[256];
};

/* Told of keys that are accepted and do nothing. */
typedef void spec_warn_fn(void *arg, const char *file, unsigned line,
			  const char *what);

struct spec_options {
	const char *prefix; /* NULL: that of the dialect's origin */
	const struct spec_limits *limits; /* NULL: spec_limits_default() */
	spec_warn_fn *warn; /* may be NULL */
	void *arg;
};

void spec_limits_default(struct spec_limits *out);
/* Sets one by its name in a file. NULL, or what its text must be. */
const char *spec_limits_set(struct spec_limits *l, const char *key,
			    const char *text);

/*
 * Reads a YAML file, whose dialect its keys tell; several programs of one
 * ebpf_exporter v1 file are several specs. *out is an array of *n specs, each
 * released by spec_free() and the array by free(). -EINVAL: *e says what is
 * wrong and where; -ENOENT and the like; -ENOMEM.
 */
int spec_load(struct spec **out, size_t *n, const char *path,
	      const struct spec_options *opt, struct spec_error *e);
/* The same from memory. path names it in messages and gives the object. */
int spec_parse(struct spec **out, size_t *n, const char *path, const char *text,
	       size_t len, const struct spec_options *opt,
	       struct spec_error *e);

/*
 * Takes a hint of the command line: "MAP,MEMBER" as value, or "MAP,1,2,4" as
 * bounds. -EINVAL; -ENOMEM.
 */
int spec_hint_value(struct spec *s, const char *text);
int spec_hint_bounds(struct spec *s, const char *text);

/* An object without a file beside it: its maps' names say all. -ENOMEM. */
int spec_for_object(struct spec *out, const char *path,
		    const struct spec_options *opt);

void spec_fini(struct spec *s); /* clears it; all zero is fine */
void spec_free(struct spec *list, size_t n); /* the array, too */
/* What one metric or label owns; the struct itself is the caller's. */
void spec_metric_fini(struct spec_metric *m);
void spec_label_fini(struct spec_label *l);

/*
 * Upper bounds of the buckets in the keys' integer unit, ascending, without
 * +Inf: shown, each is multiplied by h->multiplier. Returns how many there are;
 * with bound NULL only that. -EINVAL: none, or over max.
 */
int spec_bounds(const struct spec_histogram *h, uint64_t *bound, size_t max);
/* Which bucket a key's count belongs to: -1: none; the number of bounds: +Inf.
 */
int spec_bucket(const struct spec_histogram *h, uint64_t key);
/* Is this key not a bucket but the sum of all values? */
bool spec_is_sum(const struct spec_histogram *h, uint64_t key);

#endif /* PROBE_AGENT_PROGRAMS_SPEC_H */
