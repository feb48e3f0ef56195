/* SPDX-License-Identifier: Apache-2.0 */
/* A program file as a whole: which dialect it is, and its top level. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"
#include "probe-agent/programs/spec_code.h"
#include "probe-agent/programs/spec_reader.h"

#define FILE_MAX (4u << 20)

/* --- paths --- */

/* path without its last suffix, and another one instead; malloc'd. */
static char *beside(const char *path, const char *suffix)
{
	const char *slash = strrchr(path, '/'),
		   *base = slash ? slash + 1 : path;
	const char *dot = strrchr(base, '.');
	size_t n = dot && dot != base ? (size_t)(dot - path) : strlen(path);
	char *out = NULL;

	return asprintf(&out, "%.*s%s", (int)n, path, suffix) < 0 ? NULL : out;
}

/* name without folder and suffix; malloc'd. */
static char *stem(const char *path, const char *suffix)
{
	const char *slash = strrchr(path, '/'),
		   *base = slash ? slash + 1 : path;
	size_t n = strlen(base), k = strlen(suffix);
	const char *dot = strrchr(base, '.');

	if (n > k && !strcmp(base + n - k, suffix))
		n -= k;
	else if (dot && dot != base)
		n = (size_t)(dot - base);
	return strndup(base, n);
}

/* What a file names, seen from the file's folder; malloc'd. */
static char *from_file(const char *path, const char *named)
{
	const char *slash = strrchr(path, '/');
	char *out = NULL;

	if (*named == '/' || !slash)
		return strdup(named);
	return asprintf(&out, "%.*s/%s", (int)(slash - path), path, named) < 0
		       ? NULL
		       : out;
}

/* --- a spec before its file says anything --- */

static int begin_spec(struct spec *s, const char *path,
		      enum spec_dialect dialect, const char *prefix,
		      const struct spec_options *opt)
{
	memset(s, 0, sizeof(*s));
	s->dialect = dialect;
	s->file = strdup(path);
	s->prefix = strdup(opt->prefix ? opt->prefix : prefix);
	if (opt->limits)
		s->limits = *opt->limits;
	else
		spec_limits_default(&s->limits);
	return s->file && s->prefix ? 0 : -ENOMEM;
}

int spec_for_object(struct spec *out, const char *path,
		    const struct spec_options *opt)
{
	int err = begin_spec(out, path, SPEC_AUTO, "ebpf_solo_io_", opt);

	if (!err) {
		out->name = stem(path, ".bpf.o");
		out->object = strdup(path);
		err = out->name && out->object ? 0 : -ENOMEM;
	}
	if (err)
		spec_fini(out);
	return err;
}

/* --- ebpf_exporter v2 --- */

static int ignore_tracing(struct spec_reader *r, int node, void *to)
{
	(void)to;
	spec_warn(r, node, "tracing is ignored: spans are not made yet");
	return 0;
}

static int read_cgroup_type(struct spec_reader *r, int node, void *to)
{
	const char *text = spec_yaml_text(r->y, node);

	if (!text ||
	    (*text && strcmp(text, "hash") && strcmp(text, "cgrp_storage")))
		return spec_fail(r, node, "type: must be hash or cgrp_storage");
	*(bool *)to = !strcmp(text, "cgrp_storage");
	return 0;
}

static int read_cgroup_regexps(struct spec_reader *r, int node, void *to)
{
	struct spec_cgroup_map *c = to;
	struct spec_texts texts = { c->regexps, c->n_regexps };
	int err = spec_read_texts(r, node, &texts);

	c->regexps = texts.list;
	c->n_regexps = texts.n;
	return err;
}

static int read_cgroup_map(struct spec_reader *r, int node, void *to)
{
	static const struct spec_field fields[] = {
		{ "name", spec_read_text,
		  offsetof(struct spec_cgroup_map, name) },
		{ "type", read_cgroup_type,
		  offsetof(struct spec_cgroup_map, storage) },
		{ "regexps", read_cgroup_regexps, 0 },
		{ NULL, NULL, 0 },
	};
	struct spec_cgroup_map *c = to;
	int err = spec_read_fields(r, node, "cgroup_id_map", fields, c);

	if (!err && (!c->name || c->n_regexps == 0))
		return spec_fail(r, node,
				 "cgroup_id_map: needs name and regexps");
	return err;
}

static int read_kaddrs(struct spec_reader *r, int node, void *to)
{
	struct spec *s = to;
	struct spec_texts texts = { s->kaddrs, s->n_kaddrs };
	int err = spec_read_texts(r, node, &texts);

	s->kaddrs = texts.list;
	s->n_kaddrs = texts.n;
	return err;
}

static int read_metrics(struct spec_reader *r, int node, void *to)
{
	return spec_read_metrics(r, node, to);
}

#define AT(member) offsetof(struct spec, member)

static int parse_exporter(struct spec_reader *r, int root, struct spec *s)
{
	static const struct spec_field fields[] = {
		{ "metrics", read_metrics, 0 },
		{ "tracing", ignore_tracing, 0 },
		{ "kaddrs", read_kaddrs, 0 },
		{ "cgroup_id_map", read_cgroup_map, AT(cgroups) },
		{ NULL, NULL, 0 },
	};
	int err =
		begin_spec(s, r->path, SPEC_EXPORTER, "ebpf_exporter_", r->opt);

	if (err)
		return err;
	s->name = stem(r->path, ".yaml");
	s->object = beside(r->path, ".bpf.o");
	if (!s->name || !s->object)
		return -ENOMEM;
	return spec_read_fields(r, root, "file", fields, s);
}

/* --- ours --- */

static int read_attach_one(struct spec_reader *r, int node,
			   struct spec_attach *a)
{
	struct spec_texts texts = { NULL, 0 };
	const char *text = spec_yaml_text(r->y, node);
	int list = spec_yaml_get(r->y, node, "any_of");
	int err;

	if (text) {
		texts.list = spec_grow(NULL, &texts.n, sizeof(char *));
		if (!texts.list)
			return -ENOMEM;
		err = spec_read_text(r, node, &texts.list[0]);
	} else if (list && spec_yaml_count(r->y, node) == 1) {
		err = spec_read_texts(r, list, &texts);
	} else {
		return spec_fail(r, node,
				 "attach: must be TYPE:TARGET or any_of: with "
				 "a list of them");
	}
	a->any_of = texts.list;
	a->n_any_of = texts.n;
	return err;
}

static int read_attach(struct spec_reader *r, int node, void *to)
{
	struct spec *s = to;
	size_t n = spec_yaml_count(r->y, node);

	if (spec_yaml_kind(r->y, node) != SPEC_NODE_MAP || n > 256)
		return spec_fail(r, node, "attach: must map functions");
	for (size_t i = 0; i < n; i++) {
		struct spec_attach *a =
			spec_grow(s->attach, &s->n_attach, sizeof(*a));
		int key, err, value = spec_yaml_pair(r->y, node, i, &key);

		if (!a)
			return -ENOMEM;
		s->attach = a;
		a[i].line = spec_yaml_line(r->y, key);
		err = spec_read_text(r, key, &a[i].function);
		if (!err)
			err = read_attach_one(r, value, &a[i]);
		if (err)
			return err;
	}
	return 0;
}

static int read_consts(struct spec_reader *r, int node, void *to)
{
	struct spec *s = to;
	size_t n = spec_yaml_count(r->y, node);

	if (spec_yaml_kind(r->y, node) != SPEC_NODE_MAP || n > 256)
		return spec_fail(r, node, "const: must map names to integers");
	for (size_t i = 0; i < n; i++) {
		struct spec_const *c =
			spec_grow(s->consts, &s->n_consts, sizeof(*c));
		int key, err, value = spec_yaml_pair(r->y, node, i, &key);

		if (!c)
			return -ENOMEM;
		s->consts = c;
		c[i].line = spec_yaml_line(r->y, key);
		err = spec_read_text(r, key, &c[i].name);
		if (!err)
			err = spec_read_int64(r, value, &c[i].value);
		if (err)
			return err;
	}
	return 0;
}

static int refuse_in(struct spec_reader *r, int node, void *to)
{
	(void)to;
	return spec_fail(r, node,
			 "in: choosing processes is not built yet; "
			 "filter in the program");
}

static int refuse_source(struct spec_reader *r, int node, void *to)
{
	(void)to;
	return spec_fail(r, node,
			 "source: run `redtap-agent program build` "
			 "on it and name its object:");
}

static int refuse_image(struct spec_reader *r, int node, void *to)
{
	(void)to;
	return spec_fail(r, node,
			 "images and built-in programs are not built "
			 "yet: name an object:");
}

static bool reserved(const char *name)
{
	static const char *const prefix[] = { "redtap_", "http_", "traces_",
					      "process_", "scrape_" };

	for (size_t i = 0; i < sizeof(prefix) / sizeof(*prefix); i++)
		if (!strncmp(name, prefix[i], strlen(prefix[i])))
			return true;
	return !strcmp(name, "target_info") || !strcmp(name, "up");
}

static int check_names(struct spec_reader *r, int root, const struct spec *s)
{
	for (size_t i = 0; i < s->n_metrics; i++)
		if (reserved(s->metrics[i].name)) {
			spec_fail(r, root, "'%s' is a name of redtap's own",
				  s->metrics[i].name);
			r->e->line = s->metrics[i].line;
			return -EINVAL;
		}
	return 0;
}

static int parse_ours(struct spec_reader *r, int root, struct spec *s)
{
	static const struct spec_field fields[] = {
		{ "program", spec_read_text, AT(name) },
		{ "object", spec_read_text, AT(object) },
		{ "attach", read_attach, 0 },
		{ "const", read_consts, 0 },
		{ "kaddrs", read_kaddrs, 0 },
		{ "cgroup_id_map", read_cgroup_map, AT(cgroups) },
		{ "metrics", read_metrics, 0 },
		{ "limits", spec_read_limits, AT(limits) },
		{ "pin", spec_read_bool, AT(pin) },
		{ "in", refuse_in, 0 },
		{ "source", refuse_source, 0 },
		{ "image", refuse_image, 0 },
		{ "builtin", refuse_image, 0 },
		{ NULL, NULL, 0 },
	};
	int err = begin_spec(s, r->path, SPEC_OURS, "", r->opt);
	char *object;

	r->strict = true;
	if (!err)
		err = spec_read_fields(r, root, "file", fields, s);
	if (err)
		return err;
	if (!s->name || !*s->name || strlen(s->name) > 63)
		return spec_fail(r, root,
				 "program: a name of at most 63 "
				 "bytes is missing");
	if (!s->object)
		return spec_fail(r, root, "object: is missing");
	object = from_file(r->path, s->object);
	if (!object)
		return -ENOMEM;
	free(s->object);
	s->object = object;
	return 0;
}

/* --- which of them --- */

static int parse_root(struct spec_reader *r, int root, struct spec **out,
		      size_t *n)
{
	struct spec *s;
	int err;

	if (spec_yaml_kind(r->y, root) != SPEC_NODE_MAP)
		return spec_fail(r, root, "a program file is a map of keys");
	if (spec_yaml_get(r->y, root, "programs"))
		err = spec_parse_code(r, root, out, n, begin_spec);
	else if ((s = spec_grow(*out, n, sizeof(*s)))) {
		*out = s;
		if (spec_yaml_get(r->y, root, "program"))
			err = parse_ours(r, root, s);
		else
			err = parse_exporter(r, root, s);
	} else
		err = -ENOMEM;
	for (size_t i = 0; i < *n && !err; i++)
		err = check_names(r, root, &(*out)[i]);
	return err;
}

int spec_parse(struct spec **out, size_t *n, const char *path, const char *text,
	       size_t len, const struct spec_options *opt, struct spec_error *e)
{
	struct spec_reader r = { .path = path, .opt = opt, .e = e };
	int err;

	*out = NULL;
	*n = 0;
	*e = (struct spec_error){ .line = 0 };
	err = spec_yaml_parse(&r.y, text, len, e);
	if (!err)
		err = parse_root(&r, spec_yaml_root(r.y), out, n);
	spec_yaml_free(r.y);
	if (err) {
		spec_free(*out, *n);
		*out = NULL;
		*n = 0;
	}
	return err;
}

static int read_file(struct buf *out, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), err = 0;
	struct stat st;
	ssize_t got;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EISDIR;
	}
	out->max = FILE_MAX;
	do {
		char *to = buf_reserve(out, 65536);

		got = to ? read(fd, to, 65536) : -1;
		if (got > 0)
			out->len += (size_t)got;
		else if (got < 0)
			err = out->err ? out->err : -errno;
	} while (got > 0);
	close(fd);
	return err;
}

int spec_load(struct spec **out, size_t *n, const char *path,
	      const struct spec_options *opt, struct spec_error *e)
{
	struct buf text = { 0 };
	int err = read_file(&text, path);

	*out = NULL;
	*n = 0;
	if (err) {
		*e = (struct spec_error){ .line = 0 };
		snprintf(e->what, sizeof(e->what), "cannot be read: %s",
			 strerror(-err));
	} else {
		err = spec_parse(out, n, path, text.data ? text.data : "",
				 text.len, opt, e);
	}
	buf_fini(&text);
	return err;
}
