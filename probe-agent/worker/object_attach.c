/* SPDX-License-Identifier: Apache-2.0 */
/* Where programs go: what SEC() says, what the file says, perf events, XDP. */
#include <errno.h>
#include <linux/perf_event.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "probe-agent/worker/bpf_log.h"
#include "probe-agent/worker/object_state.h"

static bool starts(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

static const struct spec_attach *said_of(const struct object *o,
					 const char *function)
{
	for (size_t i = 0; i < o->opt.spec->n_attach; i++)
		if (!strcmp(o->opt.spec->attach[i].function, function))
			return &o->opt.spec->attach[i];
	return NULL;
}

/* bcc's way: a function's name says where it belongs. False: it does not. */
static bool said_by_name(const struct object *o, const char *name, char *out,
			 size_t size)
{
	static const struct {
		const char *prefix, *word;
	} words[] = {
		{ "kprobe__", "kprobe:" },
		{ "kretprobe__", "kretprobe:" },
		{ "tracepoint__", "tracepoint:" },
		{ "raw_tracepoint__", "raw_tracepoint:" },
	};

	if (o->opt.spec->dialect != SPEC_EXPORTER_V1)
		return false;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		char *two;

		if (!starts(name, words[i].prefix))
			continue;
		snprintf(out, size, "%s%s", words[i].word,
			 name + strlen(words[i].prefix));
		two = strstr(out, "__");
		if (two && i == 2) { /* tracepoint:CATEGORY:EVENT */
			*two = ':';
			memmove(two + 1, two + 2, strlen(two + 1));
		}
		return true;
	}
	return false;
}

/* --- types --- */

static bool type_allowed(const struct object *o, const struct bpf_program *p)
{
	enum bpf_attach_type at = bpf_program__expected_attach_type(p);

	switch (bpf_program__type(p)) {
	case BPF_PROG_TYPE_KPROBE:
	case BPF_PROG_TYPE_TRACEPOINT:
	case BPF_PROG_TYPE_RAW_TRACEPOINT:
	case BPF_PROG_TYPE_PERF_EVENT:
	case BPF_PROG_TYPE_SOCKET_FILTER:
		return true;
	case BPF_PROG_TYPE_TRACING:
		return at == BPF_TRACE_RAW_TP || at == BPF_TRACE_FENTRY ||
		       at == BPF_TRACE_FEXIT || at == BPF_TRACE_ITER;
	case BPF_PROG_TYPE_XDP:
		return o->opt.xdp;
	default:
		return false;
	}
}

static enum bpf_prog_type type_of_word(const char *word)
{
	static const struct {
		const char *word;
		enum bpf_prog_type type;
	} types[] = {
		{ "kprobe:", BPF_PROG_TYPE_KPROBE },
		{ "kretprobe:", BPF_PROG_TYPE_KPROBE },
		{ "uprobe:", BPF_PROG_TYPE_KPROBE },
		{ "uretprobe:", BPF_PROG_TYPE_KPROBE },
		{ "usdt:", BPF_PROG_TYPE_KPROBE },
		{ "tracepoint:", BPF_PROG_TYPE_TRACEPOINT },
		{ "raw_tracepoint:", BPF_PROG_TYPE_RAW_TRACEPOINT },
		{ "perf_event:", BPF_PROG_TYPE_PERF_EVENT },
		{ "perf_event/", BPF_PROG_TYPE_PERF_EVENT },
		{ "xdp/", BPF_PROG_TYPE_XDP },
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (starts(word, types[i].word))
			return types[i].type;
	return BPF_PROG_TYPE_UNSPEC;
}

bool object_set_type(struct object *o, struct bpf_program *p)
{
	const char *name = bpf_program__name(p);
	const char *section = bpf_program__section_name(p);
	const struct spec_attach *said = said_of(o, name);
	enum bpf_prog_type type = bpf_program__type(p);
	char by_name[160];

	if (type == BPF_PROG_TYPE_UNSPEC && said && said->n_any_of > 0)
		type = type_of_word(said->any_of[0]);
	else if (type == BPF_PROG_TYPE_UNSPEC &&
		 said_by_name(o, name, by_name, sizeof(by_name)))
		type = type_of_word(by_name);
	else if (type == BPF_PROG_TYPE_UNSPEC)
		type = type_of_word(section);
	/* A function that others have inlined. */
	if (type == BPF_PROG_TYPE_UNSPEC &&
	    o->opt.spec->dialect == SPEC_EXPORTER_V1)
		return false;
	if (type == BPF_PROG_TYPE_UNSPEC) {
		object_fail(o, "%s: section %.60s is of no known type", name,
			    section);
		return false;
	}
	bpf_program__set_type(p, type);
	if (type == BPF_PROG_TYPE_XDP)
		bpf_program__set_expected_attach_type(p, BPF_XDP);
	if (type_allowed(o, p))
		return true;
	object_fail(o, "%s: programs of section %.60s are not allowed", name,
		    section);
	return false;
}

/* --- links --- */

int object_keep_link(struct object *o, struct bpf_link *link)
{
	struct bpf_link **list;

	if (o->n_links == OBJECT_LINKS_MAX)
		return -E2BIG;
	list = reallocarray(o->link, o->n_links + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	o->link = list;
	list[o->n_links++] = link;
	return 0;
}

/* link: as libbpf returns it. 0, or what went wrong. */
static int take_link(struct object *o, struct bpf_link *link)
{
	int err;

	if (!link)
		return errno ? -errno : -EINVAL;
	err = object_keep_link(o, link);
	if (err)
		bpf_link__destroy(link);
	return err;
}

/* --- perf events --- */

static int read_perf_attr(const char *text, struct perf_event_attr *attr)
{
	char copy[256], *save = NULL;

	*attr = (struct perf_event_attr){
		.size = sizeof(*attr),
		.type = PERF_TYPE_SOFTWARE,
	};
	snprintf(copy, sizeof(copy), "%s", text);
	for (char *word = strtok_r(copy, ",", &save); word;
	     word = strtok_r(NULL, ",", &save)) {
		char *is = strchr(word, '='), *end;
		unsigned long long v;

		if (!is)
			return -EINVAL;
		*is++ = '\0';
		v = strtoull(is, &end, 0);
		if (*end || end == is)
			return -EINVAL;
		if (!strcmp(word, "type"))
			attr->type = (uint32_t)v;
		else if (!strcmp(word, "config"))
			attr->config = v;
		else if (!strcmp(word, "period"))
			attr->sample_period = v;
		else if (!strcmp(word, "frequency")) {
			attr->freq = 1;
			attr->sample_freq = v;
		} else
			return -EINVAL;
	}
	return attr->sample_period > 0 ? 0 : -EINVAL; /* a union with freq */
}

/* On every CPU; one that is offline has none. */
static int attach_perf(struct object *o, struct bpf_program *p,
		       const char *text)
{
	long n = sysconf(_SC_NPROCESSORS_CONF);
	struct perf_event_attr attr;
	int err = read_perf_attr(text, &attr);
	unsigned up = 0;

	if (err) {
		object_fail(o,
			    "%s: perf_event: must be type=N,config=N and "
			    "period=N or frequency=N",
			    bpf_program__name(p));
		return err;
	}
	for (long cpu = 0; cpu < n && !err; cpu++) {
		int fd = (int)syscall(SYS_perf_event_open, &attr, -1, (int)cpu,
				      -1, PERF_FLAG_FD_CLOEXEC);
		struct bpf_link *link;

		if (fd < 0 && errno == ENODEV)
			continue;
		if (fd < 0) {
			object_fail(o, "%s: perf_event_open: %s",
				    bpf_program__name(p), strerror(errno));
			return -errno;
		}
		link = bpf_program__attach_perf_event(p, fd);
		if (!link)
			close(fd);
		err = take_link(o, link);
		up += !err;
	}
	return err ? err : up > 0 ? 0 : -ENODEV;
}

static int attach_xdp(struct object *o, struct bpf_program *p, const char *name)
{
	unsigned index = if_nametoindex(name);

	if (index == 0) {
		object_fail(o, "%s: there is no interface %s",
			    bpf_program__name(p), name);
		return -ENODEV;
	}
	return take_link(o, bpf_program__attach_xdp(p, (int)index));
}

/* --- what a file says: "uprobe:libc.so.6:malloc" --- */

static int attach_uprobe(struct object *o, struct bpf_program *p, bool ret,
			 char *target)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .retprobe = ret);
	char *symbol = strrchr(target, ':'), *plus;
	size_t offset = 0;

	if (!symbol)
		return -EINVAL;
	*symbol++ = '\0';
	plus = strchr(symbol, '+');
	if (plus) {
		*plus++ = '\0';
		offset = strtoul(plus, NULL, 0);
	}
	if (!strncmp(symbol, "0x", 2))
		offset = strtoul(symbol, NULL, 0);
	else
		opts.func_name = symbol;
	return take_link(o, bpf_program__attach_uprobe_opts(p, -1, target,
							    offset, &opts));
}

static int attach_usdt(struct object *o, struct bpf_program *p, char *target)
{
	char *name = strrchr(target, ':'), *provider;

	if (!name)
		return -EINVAL;
	*name++ = '\0';
	provider = strrchr(target, ':');
	if (!provider)
		return -EINVAL;
	*provider++ = '\0';
	return take_link(o, bpf_program__attach_usdt(p, -1, target, provider,
						     name, NULL));
}

static int attach_tracepoint(struct object *o, struct bpf_program *p,
			     char *target)
{
	char *name = strchr(target, ':');

	if (!name)
		return -EINVAL;
	*name++ = '\0';
	return take_link(o, bpf_program__attach_tracepoint(p, target, name));
}

static int attach_said(struct object *o, struct bpf_program *p,
		       const char *said)
{
	char copy[512], *target;

	if (snprintf(copy, sizeof(copy), "%s", said) >= (int)sizeof(copy))
		return -ENAMETOOLONG;
	target = strchr(copy, ':');
	if (!target)
		return -EINVAL;
	*target++ = '\0';
	if (!strcmp(copy, "kprobe") || !strcmp(copy, "kretprobe"))
		return take_link(o, bpf_program__attach_kprobe(
					    p, copy[1] == 'r', target));
	if (!strcmp(copy, "uprobe") || !strcmp(copy, "uretprobe"))
		return attach_uprobe(o, p, copy[1] == 'r', target);
	if (!strcmp(copy, "usdt"))
		return attach_usdt(o, p, target);
	if (!strcmp(copy, "tracepoint"))
		return attach_tracepoint(o, p, target);
	if (!strcmp(copy, "raw_tracepoint"))
		return take_link(o,
				 bpf_program__attach_raw_tracepoint(p, target));
	if (!strcmp(copy, "perf_event"))
		return attach_perf(o, p, target);
	return -EPROTONOSUPPORT;
}

static int attach_any(struct object *o, struct bpf_program *p,
		      const struct spec_attach *said)
{
	int err = -EINVAL;

	for (size_t i = 0; i < said->n_any_of; i++) {
		err = attach_said(o, p, said->any_of[i]);
		if (!err)
			return 0;
	}
	return err;
}

/* --- one program --- */

static int attach_program(struct object *o, struct bpf_program *p)
{
	const struct spec_attach *said = said_of(o, bpf_program__name(p));
	const char *section = bpf_program__section_name(p);
	char by_name[160];

	errno = 0;
	if (said)
		return attach_any(o, p, said);
	if (!starts(section, "tracepoint/") &&
	    said_by_name(o, bpf_program__name(p), by_name, sizeof(by_name)))
		return attach_said(o, p, by_name);
	if (starts(section, "perf_event/"))
		return attach_perf(o, p, section + strlen("perf_event/"));
	if (starts(section, "xdp/"))
		return attach_xdp(o, p, section + strlen("xdp/"));
	if (bpf_program__type(p) == BPF_PROG_TYPE_SOCKET_FILTER)
		return -EOPNOTSUPP;
	return take_link(o, bpf_program__attach(p));
}

int object_attach(struct object *o)
{
	size_t up = 0, wanted = 0;

	o->attached = true;
	if (o->adopted)
		return 0;
	for (size_t i = 0; i < o->n_programs; i++) {
		struct object_program *p = &o->program[i];
		char why[200];
		int err;

		if (p->fd < 0)
			continue;
		bpf_log_clear();
		err = attach_program(o, o->handle[i]);
		p->attached = !err;
		/* Programs that others call have nothing to attach to. */
		p->wanted = err != -EOPNOTSUPP;
		bpf_log_reason(why, sizeof(why));
		if (err && p->wanted)
			object_fail(o, "%s (%.60s): %s", p->name, p->section,
				    *why ? why : strerror(-err));
		object_keep_log(o);
		up += p->attached;
		wanted += p->wanted;
	}
	if (up == 0 && wanted > 0)
		return -EINVAL;
	return o->opt.pin_dir ? object_pin(o) : 0;
}

void object_detach(struct object *o)
{
	o->attached = false;
	while (o->n_links > 0)
		bpf_link__destroy(o->link[--o->n_links]);
	while (o->n_adopted > 0)
		close(o->adopted_link[--o->n_adopted]);
	for (size_t i = 0; i < o->n_programs; i++)
		o->program[i].attached = false;
}

void object_iterate(struct object *o)
{
	for (size_t i = 0; i < o->n_links; i++) {
		char bytes[4096];
		int fd;

		if (!o->link[i])
			continue;
		fd = bpf_iter_create(bpf_link__fd(o->link[i]));
		if (fd < 0)
			continue; /* no iterator */
		while (read(fd, bytes, sizeof(bytes)) > 0)
			;
		close(fd);
	}
}
