/* SPDX-License-Identifier: Apache-2.0 */
/* `program check`: what a program would do, before it does. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "probe-agent/commands/verbs.h"
#include "probe-agent/worker/bpf_log.h"
#include "probe-agent/worker/cost.h"
#include "probe-agent/worker/layout.h"
#include "probe-agent/worker/program.h"

enum {
	KEY_ALLOW = 0x300,
	KEY_VERBOSE,
};

struct check_args {
	const char *what;
	bool xdp, verbose;
};

static const struct argp_option options[] = {
	{ "allow", KEY_ALLOW, "xdp", 0, "Programs of this type are allowed",
	  0 },
	{ "verbose", 'v', NULL, 0, "Show the whole log of the verifier", 0 },
	{ 0 },
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct check_args *a = state->input;

	switch (key) {
	case KEY_ALLOW:
		a->xdp = !strcmp(arg, "xdp");
		if (!a->xdp)
			argp_error(state, "--allow: '%s' is not xdp", arg);
		return 0;
	case 'v':
		a->verbose = true;
		return 0;
	case ARGP_KEY_ARG:
		if (a->what)
			argp_usage(state);
		a->what = arg;
		return 0;
	case ARGP_KEY_END:
		if (!a->what)
			argp_usage(state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const char *mark(bool good)
{
	return good ? "ok" : "NO";
}

static const char *type_name(const struct object_map *m)
{
	switch (m->type) {
	case OBJECT_MAP_HASH:
		return m->lru ? "lru hash" : "hash";
	case OBJECT_MAP_ARRAY:
		return "array";
	case OBJECT_MAP_RING:
		return "ring buffer";
	case OBJECT_MAP_PERF:
		return "perf buffer";
	default:
		return "other";
	}
}

static void print_map(const struct object_map *m, const struct spec *s)
{
	uint64_t bytes = (uint64_t)m->max_entries *
			 (m->key_size + (m->value_size ? m->value_size : 1));

	if (m->per_cpu)
		bytes *= (uint64_t)sysconf(_SC_NPROCESSORS_CONF);
	printf("  %-5s map %-20s %s%s, %u entries, %" PRIu64 " KiB",
	       m->guarantee == SAMPLES_RACY ? "note" : "ok", m->name,
	       m->per_cpu ? "per-CPU " : "", type_name(m), m->max_entries,
	       bytes / 1024);
	for (size_t i = 0; i < s->n_metrics; i++)
		if (!strcmp(s->metrics[i].table, m->name)) {
			printf(", %s", samples_guarantee_name(m->guarantee));
			break;
		}
	putchar('\n');
	if (m->guarantee == SAMPLES_RACY)
		printf("        adds without an atomic instruction, so CPUs "
		       "lose each other's counts: use "
		       "__sync_fetch_and_add()\n");
	if (m->guarantee == SAMPLES_SINCE_READ)
		printf("        %s: what came between the last read and that "
		       "is lost; propose a hash with evict: pid\n",
		       m->lru ? "the kernel drops keys when it is full"
			      : "its program deletes keys");
}

static void print_metric(const struct spec_metric *m)
{
	static const char *const kinds[] = { "", "counter", "gauge",
					     "histogram", "print" };

	printf("  ok    %s %s{", kinds[m->kind], m->name);
	for (size_t i = 0; i < m->n_labels; i++)
		printf("%s%s", i ? "," : "", m->labels[i].name);
	printf("} from map %s\n", m->table);
	for (size_t i = 0; i < m->n_labels; i++)
		for (size_t k = 0; k < m->labels[i].n_decoders; k++)
			if (m->labels[i].decoders[k].kind == SPEC_STRING)
				printf("        label %s is text from the "
				       "program's key\n",
				       m->labels[i].name);
	if (m->kind == SPEC_HISTOGRAM && !m->histogram.overflow_inf &&
	    m->histogram.type != SPEC_FIXED)
		printf("        values above the last bucket are counted in "
		       "it, as the program clamps them; overflow: inf moves "
		       "them to +Inf\n");
}

static void print_object(const struct object *o, const struct spec *s)
{
	const struct inspect *in = object_inspected(o);
	const struct object_program *p;
	const struct object_map *m;
	size_t n = object_programs(o, &p);

	for (size_t i = 0; i < n; i++)
		if (p[i].wanted)
			printf("  %-5s program %s (%s)%s\n", mark(p[i].fd >= 0),
			       p[i].name, p[i].section,
			       p[i].traps ? ", a breakpoint in processes" : "");
	n = object_maps(o, &m);
	for (size_t i = 0; i < n; i++)
		if (!m[i].internal && strcmp(m[i].name, "redtap_lost") != 0)
			print_map(&m[i], s);
	if (in->reads_kernel || in->reads_user)
		printf("  note  reads:%s%s memory\n",
		       in->reads_kernel ? " kernel" : "",
		       in->reads_user ? " user" : "");
	if (!object_map(o, "redtap_lost"))
		printf("  note  what finds no room in its maps and buffers is "
		       "not counted: build it with `redtap-agent program "
		       "build`\n");
}

static int check_one(struct spec *s, const struct check_args *a,
		     struct decode *decode)
{
	const struct object_options opt = { .spec = s,
					    .xdp = a->xdp,
					    .load = true };
	struct object *o;
	char why[256] = "";
	int err = object_open(&o, &opt);

	printf("%s (%s)\n", s->name, s->object);
	if (!err && !object_reason(o)[0])
		err = layout_resolve(s, o, why, sizeof(why));
	for (size_t i = 0; !err && i < s->n_metrics; i++)
		for (size_t k = 0; !err && k < s->metrics[i].n_labels; k++) {
			const char *what = "";

			err = decode_check(decode, &s->metrics[i].labels[k],
					   &what);
			if (err)
				snprintf(why, sizeof(why), "%s:%u: %s", s->file,
					 s->metrics[i].labels[k].line, what);
		}
	if (object_btf(o))
		print_object(o, s);
	for (size_t i = 0; !err && i < s->n_metrics; i++)
		print_metric(&s->metrics[i]);
	if (object_reason(o)[0]) {
		printf("  NO    %s\n", object_reason(o));
		err = -EINVAL;
	}
	if (why[0] && err)
		printf("  NO    %s\n", why);
	if (a->verbose)
		fputs(object_log(o), stdout);
	object_close(o);
	return err;
}

int verbs_check(int argc, char **argv)
{
	const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.args_doc = "WHAT",
		.doc = "Loads a program and attaches nothing: what it may call, "
		       "what its maps take, how exact they are, which metrics "
		       "it would give.",
	};
	const struct decode_options decode_options = { 0 };
	struct decode *decode = NULL;
	struct check_args a = { 0 };
	struct spec *list;
	size_t n;
	int status, err = 0;

	argp_err_exit_status = 2;
	argp_parse(&argp, argc, argv, 0, NULL, &a);
	status = verbs_specs(a.what, &list, &n);
	if (status)
		return status;
	bpf_log_install();
	if (decode_new(&decode, &decode_options))
		return 1;
	for (size_t i = 0; i < n; i++)
		if (check_one(&list[i], &a, decode))
			err = 1;
	if (!err)
		printf("a breakpoint costs %" PRIu64 " ns here\n",
		       cost_of_trap());
	spec_free(list, n);
	decode_free(decode);
	return err;
}
