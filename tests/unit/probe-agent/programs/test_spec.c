/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/programs/spec.h"

static struct spec *list;
static size_t n;
static struct spec_error error;
static char warnings[2048];

static void on_warning(void *arg, const char *file, unsigned line,
		       const char *what)
{
	size_t at = strlen(warnings);

	(void)arg;
	(void)file;
	snprintf(warnings + at, sizeof(warnings) - at, "%u: %s\n", line, what);
}

static int parse(const char *text)
{
	struct spec_options opt = { .warn = on_warning };

	*warnings = '\0';
	return spec_parse(&list, &n, "/etc/p.d/timers.yaml", text, strlen(text),
			  &opt, &error);
}

static void done(void)
{
	spec_free(list, n);
	list = NULL;
	n = 0;
}

/* Every key of ebpf_exporter's second format. */
static const char every_key[] = "metrics:\n"
				"  counters:\n"
				"    - name: timer_starts_total\n"
				"      help: Timers fired in the kernel\n"
				"      labels:\n"
				"        - name: function\n"
				"          size: 8\n"
				"          decoders:\n"
				"            - name: ksym\n"
				"    - name: events_total\n"
				"      help: Events\n"
				"      perf_event_array: true\n"
				"      flush_interval: 10s\n"
				"      labels:\n"
				"        - name: op\n"
				"          size: 1\n"
				"          padding: 3\n"
				"          decoders:\n"
				"            - name: uint\n"
				"            - name: static_map\n"
				"              allow_unknown: true\n"
				"              static_map:\n"
				"                1: read\n"
				"                2: write\n"
				"        - name: comm\n"
				"          size: 16\n"
				"          decoders:\n"
				"            - name: string\n"
				"            - name: regexp\n"
				"              skip_cache_size: 100\n"
				"              regexps:\n"
				"                - ^systemd-journal$\n"
				"                - ^syslog-ng$\n"
				"  histograms:\n"
				"    - name: bio_latency_seconds\n"
				"      help: Block IO latency histogram\n"
				"      bucket_type: exp2\n"
				"      bucket_min: 0\n"
				"      bucket_max: 26\n"
				"      bucket_multiplier: 0.000001\n"
				"      labels:\n"
				"        - name: device\n"
				"          size: 4\n"
				"          decoders:\n"
				"            - name: majorminor\n"
				"        - name: operation\n"
				"          size: 4\n"
				"          decoders:\n"
				"            - name: uint\n"
				"        - name: bucket\n"
				"          size: 8\n"
				"          decoders:\n"
				"            - name: uint\n"
				"    - name: sizes\n"
				"      help: Sizes\n"
				"      bucket_type: fixed\n"
				"      bucket_keys: [1, 5, 10]\n"
				"      labels:\n"
				"        - name: bucket\n"
				"          size: 4\n"
				"          decoders: [{name: uint}]\n"
				"        - name: cpu\n"
				"          size: 2\n"
				"          decoders: [{name: uint}]\n"
				"tracing:\n"
				"  spans:\n"
				"    - ringbuf: spans\n"
				"      service: x\n"
				"kaddrs:\n"
				"  - init_task\n"
				"cgroup_id_map:\n"
				"  name: cgroup_id_map\n"
				"  type: cgrp_storage\n"
				"  regexps:\n"
				"    - ^.*(system.slice/.*)$\n";

static void every_key_of_the_exporter_is_read(void **state)
{
	const struct spec_metric *m;

	(void)state;
	assert_int_equal(parse(every_key), 0);
	assert_int_equal(n, 1);
	assert_string_equal(list->name, "timers");
	assert_string_equal(list->object, "/etc/p.d/timers.bpf.o");
	assert_int_equal(list->n_metrics, 4);
	m = &list->metrics[0];
	assert_string_equal(m->name, "ebpf_exporter_timer_starts_total");
	assert_string_equal(m->table, "timer_starts_total");
	assert_string_equal(m->help, "Timers fired in the kernel");
	assert_int_equal(m->kind, SPEC_COUNTER);
	assert_int_equal(m->labels[0].decoders[0].kind, SPEC_KSYM);
	m = &list->metrics[1];
	assert_true(m->events);
	assert_int_equal(m->labels[0].padding, 3);
	assert_int_equal(m->labels[1].offset, 4);
	assert_string_equal(m->labels[0].decoders[1].map[1].from, "2");
	assert_string_equal(m->labels[0].decoders[1].map[1].to, "write");
	assert_true(m->labels[0].decoders[1].allow_unknown);
	assert_int_equal(m->labels[1].decoders[1].n_regexps, 2);
	m = &list->metrics[2];
	assert_int_equal(m->kind, SPEC_HISTOGRAM);
	assert_int_equal(m->n_labels, 2);
	assert_string_equal(m->bucket.name, "bucket");
	assert_int_equal(m->bucket.offset, 8);
	assert_int_equal(m->histogram.type, SPEC_EXP2);
	assert_true(m->histogram.multiplier == 0.000001);
	m = &list->metrics[3];
	assert_int_equal(m->n_labels, 1);
	assert_string_equal(m->labels[0].name, "cpu");
	assert_int_equal(m->histogram.n_keys, 3);
	assert_int_equal(list->n_kaddrs, 1);
	assert_true(list->cgroups.storage);
	assert_string_equal(list->cgroups.regexps[0], "^.*(system.slice/.*)$");
	assert_string_equal(
		warnings,
		"13: flush_interval is ignored: series stay, idle ones are "
		"hidden by the aggregator\n"
		"66: tracing is ignored: spans are not made yet\n");
	done();
}

static void the_bucket_is_last_if_no_label_says_it(void **state)
{
	(void)state;
	assert_int_equal(
		parse("metrics:\n  histograms:\n    - name: h\n"
		      "      help: h\n      bucket_type: linear\n"
		      "      bucket_max: 3\n      labels:\n"
		      "        - {name: a, size: 8, decoders: [{name: uint}]}\n"
		      "        - {name: b, size: 8, decoders: [{name: uint}]}\n"),
		0);
	assert_string_equal(list->metrics[0].bucket.name, "b");
	assert_string_equal(list->metrics[0].labels[0].name, "a");
	done();
}

static void unknown_keys_are_named_with_their_line(void **state)
{
	(void)state;
	assert_int_equal(parse("metrics:\n  counters:\n    - name: a\n"
			       "      help: x\n      labls: []\n"),
			 0);
	assert_string_equal(warnings, "5: metric: unknown key 'labls' is "
				      "ignored; nearest: labels\n");
	done();
	assert_int_equal(parse("program: a\nobject: a.o\nmetrics:\n"
			       "  counters:\n    - nam: x\n"),
			 -EINVAL);
	assert_int_equal(error.line, 5);
	assert_string_equal(error.what,
			    "metric: unknown key 'nam'; nearest: name");
	done();
}

struct wrong {
	const char *text, *what;
	unsigned line;
};

static void what_is_wrong_is_told_with_its_line(void **state)
{
	static const struct wrong w[] = {
		{ "metrics: [", "not YAML: did not find expected node content",
		  2 },
		{ "- a\n", "a program file is a map of keys", 1 },
		{ "", "a program file is a map of keys", 0 },
		{ "metrics:\n  counters:\n    - name: a\n      labels:\n"
		  "        - name: b\n          size: 8\n"
		  "          decoders: [{name: kysm}]\n",
		  "unknown decoder 'kysm'; nearest: ksym", 7 },
		{ "metrics:\n  counters:\n    - name: a-b\n",
		  "'ebpf_exporter_a-b' is not a metric's name", 3 },
		{ "metrics:\n  counters:\n    - name: a\n      labels:\n"
		  "        - {name: b, size: 1}\n",
		  "label 'b': decoders is missing", 5 },
		{ "metrics:\n  counters:\n    - name: a\n      labels:\n"
		  "        - {name: b, size: 1, decoders: [{name: uint}]}\n"
		  "        - {name: b, size: 1, decoders: [{name: uint}]}\n",
		  "label 'b' occurs twice", 6 },
		{ "metrics:\n  counters:\n    - name: a\n      labels:\n"
		  "        - {name: b, size: 1, decoders: [{name: uint}]}\n"
		  "      labels:\n"
		  "        - {name: c, size: 1, decoders: [{name: uint}]}\n",
		  "labels occurs twice", 6 },
		{ "metrics:\n  histograms:\n    - name: a\n"
		  "      bucket_type: exp3\n",
		  "bucket_type: must be exp2, exp2zero, linear, fixed or "
		  "log2l",
		  4 },
		{ "metrics:\n  histograms:\n    - name: a\n"
		  "      bucket_type: exp2\n      bucket_max: 64\n"
		  "      labels: [{name: b, size: 8, "
		  "decoders: [{name: uint}]}]\n",
		  "bucket_max: beyond 2^63", 3 },
		{ "metrics:\n  histograms:\n    - name: a\n"
		  "      bucket_type: fixed\n      bucket_keys: [3, 2]\n",
		  "bucket_keys: must ascend", 5 },
		{ "program: p\nobject: o\nin: {comm: x}\n",
		  "in: choosing processes is not built yet; filter in the "
		  "program",
		  3 },
		{ "program: p\nobject: o\nmetrics:\n  counters:\n"
		  "    - name: redtap_x_total\n",
		  "'redtap_x_total' is a name of redtap's own", 5 },
		{ "program: p\nobject: o\nlimits: {cpu: 1}\n",
		  "cpu: must be a part of one CPU like 1%", 3 },
		{ "programs:\n  - name: a\n    metrics: {}\n",
		  "program 'a': code is missing", 2 },
		{ "programs:\n  - name: a\n    usdt: {}\n",
		  "usdt, uprobes and attachment of the userspace exporter "
		  "are not built yet: use SEC(\"usdt\") or SEC(\"uprobe\") "
		  "in C and `program build`",
		  3 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(w) / sizeof(*w); i++) {
		assert_int_equal(parse(w[i].text), -EINVAL);
		assert_string_equal(error.what, w[i].what);
		assert_int_equal(error.line, w[i].line);
		assert_null(list);
	}
}

static void our_own_format_says_more(void **state)
{
	(void)state;
	assert_int_equal(
		parse("program: python-gc\n"
		      "object: gc.bpf.o\n"
		      "attach:\n"
		      "  a: kprobe:tcp_v4_connect\n"
		      "  b: {any_of: [fentry:x, kprobe:x]}\n"
		      "const: {min_us: 100, low: -3}\n"
		      "pin: true\n"
		      "metrics:\n"
		      "  counters:\n"
		      "    - name: gc_total\n"
		      "      table: gc\n"
		      "      node: drop\n"
		      "      evict: pid\n"
		      "      value: hits\n"
		      "  gauges:\n"
		      "    - {name: g, merge: max, unit: bytes}\n"
		      "  histograms:\n"
		      "    - {name: h, bucket_type: exp2zero, bucket_max: 3, "
		      "overflow: inf,\n"
		      "       labels: [{name: bucket, size: 8, decoders: "
		      "[{name: uint}]}]}\n"
		      "limits: {cpu: 1%, on_over: report, interval: 250ms, "
		      "entries: 10,\n"
		      "         series: 20, memory: 1MiB, events: 5/s}\n"),
		0);
	assert_string_equal(list->name, "python-gc");
	assert_string_equal(list->object, "/etc/p.d/gc.bpf.o");
	assert_int_equal(list->n_attach, 2);
	assert_string_equal(list->attach[1].any_of[1], "kprobe:x");
	assert_int_equal(list->consts[1].value, -3);
	assert_true(list->pin);
	assert_string_equal(list->metrics[0].name, "gc_total");
	assert_string_equal(list->metrics[0].table, "gc");
	assert_string_equal(list->metrics[0].member, "hits");
	assert_int_equal(list->metrics[0].merge, SPEC_MERGE_SUM);
	assert_true(list->metrics[0].evict_pid);
	assert_int_equal(list->metrics[1].merge, SPEC_MERGE_MAX);
	assert_true(list->metrics[2].histogram.overflow_inf);
	assert_true(list->limits.cpu == 0.01);
	assert_false(list->limits.detach);
	assert_int_equal(list->limits.interval_ms, 250);
	assert_int_equal(list->limits.memory_bytes, 1 << 20);
	assert_int_equal(list->limits.events_s, 5);
	done();
}

static void code_of_the_first_format_has_its_hooks(void **state)
{
	(void)state;
	assert_int_equal(
		parse("programs:\n"
		      "  - name: timers\n"
		      "    metrics:\n"
		      "      counters:\n"
		      "        - name: timer_start_total\n"
		      "          table: counts\n"
		      "          labels: [{name: f, size: 8, decoders: "
		      "[{name: ksym}]}]\n"
		      "    tracepoints:\n"
		      "      timer:timer_start: on_start\n"
		      "    kprobes: {do_sys: on_sys}\n"
		      "    perf_events:\n"
		      "      - {type: 1, name: 0, target: on_clock, "
		      "sample_frequency: 49}\n"
		      "    code: |\n"
		      "      BPF_HASH(counts);\n"
		      "  - name: other\n"
		      "    raw_tracepoints: {x: y}\n"
		      "    cflags: [-DX=1]\n"
		      "    kaddrs: [a]\n"
		      "    code: |\n"
		      "      int x;\n"),
		0);
	assert_int_equal(n, 2);
	assert_string_equal(list[0].object, "/etc/p.d/timers.timers.bpf.o");
	assert_int_equal(list[0].code_line, 14);
	assert_string_equal(list[0].code, "BPF_HASH(counts);\n");
	assert_string_equal(list[0].metrics[0].table, "counts");
	assert_string_equal(list[0].attach[0].function, "on_start");
	assert_string_equal(list[0].attach[0].any_of[0],
			    "tracepoint:timer:timer_start");
	assert_string_equal(list[0].attach[1].any_of[0], "kprobe:do_sys");
	assert_string_equal(list[0].attach[2].any_of[0],
			    "perf_event:type=1,config=0,frequency=49");
	assert_string_equal(list[1].attach[0].any_of[0], "raw_tracepoint:x");
	assert_string_equal(list[1].cflags[0], "-DX=1");
	assert_string_equal(list[1].kaddrs[0], "a");
	done();
}

/* A YAML that names itself must not send the reader round in circles. */
static void aliases_cannot_make_it_endless(void **state)
{
	(void)state;
	assert_int_equal(parse("a: &a [*a]\nmetrics: *a\n"), -EINVAL);
	done();
	assert_int_equal(parse("metrics: &m {counters: [*m]}\n"), -EINVAL);
	done();
}

static void bounds_follow_the_kind_of_keys(void **state)
{
	uint64_t keys[] = { 1, 5, 10 }, bound[160];
	struct spec_histogram h = { .type = SPEC_EXP2, .min = 0, .max = 3 };

	(void)state;
	assert_int_equal(spec_bounds(&h, bound, 160), 4);
	assert_int_equal(bound[0], 1);
	assert_int_equal(bound[3], 8);
	assert_int_equal(spec_bucket(&h, 3), 3);
	assert_int_equal(spec_bucket(&h, 4), -1);
	assert_true(spec_is_sum(&h, 4));
	h.overflow_inf = true;
	assert_int_equal(spec_bounds(&h, bound, 160), 3);
	assert_int_equal(spec_bucket(&h, 3), 3);
	h = (struct spec_histogram){ .type = SPEC_EXP2ZERO, .max = 3 };
	assert_int_equal(spec_bounds(&h, bound, 160), 4);
	assert_int_equal(bound[0], 0);
	assert_int_equal(bound[1], 1);
	assert_int_equal(bound[3], 4);
	h = (struct spec_histogram){ .type = SPEC_LOG2L, .min = 1, .max = 3 };
	assert_int_equal(spec_bounds(&h, bound, 160), 3);
	assert_int_equal(bound[0], 1);
	assert_int_equal(bound[2], 7);
	h = (struct spec_histogram){ .type = SPEC_FIXED,
				     .keys = keys,
				     .n_keys = 3 };
	assert_int_equal(spec_bounds(&h, bound, 160), 3);
	assert_int_equal(bound[1], 5);
	assert_int_equal(spec_bucket(&h, 10), 2);
	assert_int_equal(spec_bucket(&h, 11), -1);
	assert_true(spec_is_sum(&h, 11));
	h = (struct spec_histogram){ .type = SPEC_LINEAR, .max = 160 };
	assert_int_equal(spec_bounds(&h, NULL, 160), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_of_the_exporter_is_read),
		cmocka_unit_test(the_bucket_is_last_if_no_label_says_it),
		cmocka_unit_test(unknown_keys_are_named_with_their_line),
		cmocka_unit_test(what_is_wrong_is_told_with_its_line),
		cmocka_unit_test(our_own_format_says_more),
		cmocka_unit_test(code_of_the_first_format_has_its_hooks),
		cmocka_unit_test(aliases_cannot_make_it_endless),
		cmocka_unit_test(bounds_follow_the_kind_of_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
