/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/programs/spec_code.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * What ebpf_exporter v1 said outside of the code becomes attachments of the
 * form TYPE:TARGET. The object is what `program build` makes of the code:
 * FILE.NAME.bpf.o beside the file.
 */

static int add_attach(struct spec *s, unsigned line, const char *function,
		      const char *type, const char *target)
{
	struct spec_attach *a = spec_grow(s->attach, &s->n_attach, sizeof(*a));

	if (!a)
		return -ENOMEM;
	s->attach = a;
	a += s->n_attach - 1;
	a->line = line;
	a->function = strdup(function);
	a->any_of = spec_grow(NULL, &a->n_any_of, sizeof(char *));
	if (!a->function || !a->any_of ||
	    asprintf(&a->any_of[0], "%s:%s", type, target) < 0)
		return -ENOMEM;
	return 0;
}

/* A map from where to attach to the function there. */
static int read_hooks(struct spec_reader *r, int node, struct spec *s,
		      const char *type)
{
	size_t n = spec_yaml_count(r->y, node);
	int err = 0;

	if (spec_yaml_kind(r->y, node) != SPEC_NODE_MAP)
		return spec_fail(r, node, "%ss: must map places to functions",
				 type);
	for (size_t i = 0; i < n && !err; i++) {
		int key, value = spec_yaml_pair(r->y, node, i, &key);
		const char *place = spec_yaml_text(r->y, key);
		const char *function = spec_yaml_text(r->y, value);

		if (!place || !function)
			return spec_fail(r, key, "%ss: must map texts", type);
		err = add_attach(s, spec_yaml_line(r->y, key), function, type,
				 place);
	}
	return err;
}

static int read_kprobes(struct spec_reader *r, int node, void *to)
{
	return read_hooks(r, node, to, "kprobe");
}

static int read_kretprobes(struct spec_reader *r, int node, void *to)
{
	return read_hooks(r, node, to, "kretprobe");
}

static int read_tracepoints(struct spec_reader *r, int node, void *to)
{
	return read_hooks(r, node, to, "tracepoint");
}

static int read_raw_tracepoints(struct spec_reader *r, int node, void *to)
{
	return read_hooks(r, node, to, "raw_tracepoint");
}

struct perf_event {
	unsigned type, config, period, frequency;
	char *target;
};

static int read_perf_event(struct spec_reader *r, int node, struct spec *s)
{
	static const struct spec_field fields[] = {
		{ "type", spec_read_unsigned,
		  offsetof(struct perf_event, type) },
		{ "name", spec_read_unsigned,
		  offsetof(struct perf_event, config) },
		{ "target", spec_read_text,
		  offsetof(struct perf_event, target) },
		{ "sample_period", spec_read_unsigned,
		  offsetof(struct perf_event, period) },
		{ "sample_frequency", spec_read_unsigned,
		  offsetof(struct perf_event, frequency) },
		{ NULL, NULL, 0 },
	};
	struct perf_event p = { 0 };
	char place[128];
	int err = spec_read_fields(r, node, "perf_event", fields, &p);

	if (!err && !p.target)
		err = spec_fail(r, node, "perf_event: target is missing");
	if (!err && !p.period == !p.frequency)
		err = spec_fail(r, node,
				"perf_event: needs sample_period or "
				"sample_frequency");
	snprintf(place, sizeof(place), "type=%u,config=%u,%s=%u", p.type,
		 p.config, p.period ? "period" : "frequency",
		 p.period ? p.period : p.frequency);
	if (!err)
		err = add_attach(s, spec_yaml_line(r->y, node), p.target,
				 "perf_event", place);
	free(p.target);
	return err;
}

static int read_perf_events(struct spec_reader *r, int node, void *to)
{
	size_t n = spec_yaml_count(r->y, node);
	int err = 0;

	if (spec_yaml_kind(r->y, node) != SPEC_NODE_LIST)
		return spec_fail(r, node, "perf_events: must be a list");
	for (size_t i = 0; i < n && !err; i++)
		err = read_perf_event(r, spec_yaml_item(r->y, node, i), to);
	return err;
}

static int read_code(struct spec_reader *r, int node, void *to)
{
	struct spec *s = to;

	/* The text of a block begins in the line after its key. */
	s->code_line = spec_yaml_line(r->y, node) + 1;
	return spec_read_text(r, node, &s->code);
}

static int read_texts_into(struct spec_reader *r, int node, char ***list,
			   size_t *n)
{
	struct spec_texts texts = { *list, *n };
	int err = spec_read_texts(r, node, &texts);

	*list = texts.list;
	*n = texts.n;
	return err;
}

static int read_cflags(struct spec_reader *r, int node, void *to)
{
	struct spec *s = to;

	return read_texts_into(r, node, &s->cflags, &s->n_cflags);
}

static int read_code_kaddrs(struct spec_reader *r, int node, void *to)
{
	struct spec *s = to;

	return read_texts_into(r, node, &s->kaddrs, &s->n_kaddrs);
}

static int read_code_metrics(struct spec_reader *r, int node, void *to)
{
	return spec_read_metrics(r, node, to);
}

/* Keys of the userspace exporter. */
static int refuse_user_space(struct spec_reader *r, int node, void *to)
{
	(void)to;
	return spec_fail(r, node,
			 "usdt, uprobes and attachment of the "
			 "userspace exporter are not built yet: use "
			 "SEC(\"usdt\") or SEC(\"uprobe\") in C and "
			 "`program build`");
}

static int read_program(struct spec_reader *r, int node, struct spec *s)
{
	static const struct spec_field fields[] = {
		{ "name", spec_read_text, offsetof(struct spec, name) },
		{ "metrics", read_code_metrics, 0 },
		{ "kprobes", read_kprobes, 0 },
		{ "kretprobes", read_kretprobes, 0 },
		{ "tracepoints", read_tracepoints, 0 },
		{ "raw_tracepoints", read_raw_tracepoints, 0 },
		{ "perf_events", read_perf_events, 0 },
		{ "code", read_code, 0 },
		{ "cflags", read_cflags, 0 },
		{ "kaddrs", read_code_kaddrs, 0 },
		{ "usdt", refuse_user_space, 0 },
		{ "uprobes", refuse_user_space, 0 },
		{ "uretprobes", refuse_user_space, 0 },
		{ "attachment", refuse_user_space, 0 },
		{ "attachments", refuse_user_space, 0 },
		{ NULL, NULL, 0 },
	};
	const char *dot;
	int err = spec_read_fields(r, node, "program", fields, s);

	if (err)
		return err;
	if (!s->name || !*s->name || strlen(s->name) > 63 ||
	    strchr(s->name, '/'))
		return spec_fail(r, node,
				 "program: a name of at most 63 "
				 "bytes is missing");
	if (!s->code)
		return spec_fail(r, node, "program '%s': code is missing",
				 s->name);
	if (s->n_attach == 0)
		return spec_fail(r, node,
				 "program '%s' has no probes, "
				 "tracepoints or perf events",
				 s->name);
	dot = strrchr(r->path, '.');
	if (!dot || strchr(dot, '/'))
		dot = r->path + strlen(r->path);
	return asprintf(&s->object, "%.*s.%s.bpf.o", (int)(dot - r->path),
			r->path, s->name) < 0
		       ? -ENOMEM
		       : 0;
}

int spec_parse_code(struct spec_reader *r, int root, struct spec **out,
		    size_t *n, spec_begin_fn *begin)
{
	int list = spec_yaml_get(r->y, root, "programs");
	size_t count = spec_yaml_count(r->y, list);

	if (spec_yaml_kind(r->y, list) != SPEC_NODE_LIST || count > 64)
		return spec_fail(r, list,
				 "programs: must be a list of at most 64");
	for (size_t i = 0; i < count; i++) {
		struct spec *s = spec_grow(*out, n, sizeof(*s));
		int err;

		if (!s)
			return -ENOMEM;
		*out = s;
		s += i;
		err = begin(s, r->path, SPEC_EXPORTER_V1, "ebpf_exporter_",
			    r->opt);
		if (!err)
			err = read_program(r, spec_yaml_item(r->y, list, i), s);
		for (size_t k = 0; k < i && !err; k++)
			if (!strcmp((*out)[k].name, s->name))
				err = spec_fail(r, list,
						"two programs named %s",
						s->name);
		if (err)
			return err;
	}
	return 0;
}
