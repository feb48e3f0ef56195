/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/worker/program.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/worker/program_state.h"

/* --- making one --- */

int program_new(struct program **out, struct spec *spec,
		const struct program_options *opt)
{
	struct program *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->opt = *opt;
	p->spec = *spec;
	memset(spec, 0, sizeof(*spec));
	p->state = SAMPLES_FAILED;
	*out = p;
	return 0;
}

void program_show_prints(struct program *p)
{
	p->prints = true;
}

static void drop_tables(struct program *p)
{
	for (size_t i = 0; i < p->n_sources; i++)
		events_free(p->source[i].events);
	for (size_t i = 0; i < p->n_tables; i++)
		table_free(p->table[i]);
	free(p->source);
	free(p->table);
	free(p->metric);
	p->source = NULL;
	p->table = NULL;
	p->metric = NULL;
	p->n_sources = p->n_tables = 0;
	cgroup_ids_free(p->cgroups);
	p->cgroups = NULL;
}

void program_free(struct program *p)
{
	if (!p)
		return;
	drop_tables(p);
	object_close(p->object);
	spec_fini(&p->spec);
	free(p);
}

void program_fail(struct program *p, enum samples_state state, const char *fmt,
		  ...)
{
	va_list ap;

	p->state = state;
	va_start(ap, fmt);
	vsnprintf(p->reason, sizeof(p->reason), fmt, ap);
	va_end(ap);
}

static void do_phase(struct program *p, const char *doing)
{
	if (p->opt.phase)
		p->opt.phase(p->opt.arg, doing ? p->spec.name : "",
			     doing ? doing : "");
}

/* --- loading --- */

/* All metrics of a map, one after another in p->metric. */
static size_t metrics_of(struct program *p, const char *map,
			 const struct spec_metric **list)
{
	size_t n = 0;

	for (size_t i = 0; i < p->spec.n_metrics; i++) {
		const struct spec_metric *m = &p->spec.metrics[i];

		if (!strcmp(m->table, map) &&
		    (m->kind != SPEC_PRINT || p->prints))
			list[n++] = m;
	}
	return n;
}

static int check_labels(struct program *p)
{
	for (size_t i = 0; i < p->spec.n_metrics; i++) {
		const struct spec_metric *m = &p->spec.metrics[i];

		for (size_t k = 0; k < m->n_labels; k++) {
			const char *why = "";
			int err = decode_check(p->opt.decode, &m->labels[k],
					       &why);

			if (err == -EINVAL)
				program_fail(p, SAMPLES_FAILED,
					     "%s:%u: label %s: %s",
					     p->spec.file, m->labels[k].line,
					     m->labels[k].name, why);
			if (err)
				return err;
		}
	}
	return 0;
}

static int on_event(void *arg, const void *data, size_t len)
{
	struct program_source *s = arg;

	return table_event(s->program->table[s->table], data, len,
			   s->program->to);
}

static int add_table(struct program *p, const struct object_map *m,
		     const struct spec_metric **list, size_t n)
{
	const struct table_options opt = {
		.program = p->spec.name,
		.limits = &p->spec.limits,
		.map = m,
		.metric = list,
		.n_metrics = n,
		.decode = p->opt.decode,
		.cpus = map_reader_cpus(p->opt.reader),
	};
	struct program_source *s = &p->source[p->n_sources];
	char why[200];
	int err = table_new(&p->table[p->n_tables], &opt, why, sizeof(why));

	if (err == -EINVAL)
		program_fail(p, SAMPLES_FAILED, "%s", why);
	if (err)
		return err;
	p->n_tables++;
	if (m->type != OBJECT_MAP_RING && m->type != OBJECT_MAP_PERF)
		return 0;
	s->program = p;
	s->table = p->n_tables - 1;
	err = events_new(&s->events, m, p->spec.limits.events_s, on_event, s);
	if (err && err != -ENOMEM) {
		program_fail(p, SAMPLES_FAILED, "map %s: %s", m->name,
			     strerror(-err));
		return -EINVAL;
	}
	p->n_sources += !err;
	return err;
}

static int make_tables(struct program *p)
{
	const struct object_map *m;
	size_t maps = object_maps(p->object, &m), used = 0;
	int err = 0;

	p->table = calloc(maps + 1, sizeof(struct table *));
	p->source = calloc(maps + 1, sizeof(*p->source));
	p->metric = calloc(p->spec.n_metrics + 1, sizeof(*p->metric));
	if (!p->table || !p->source || !p->metric)
		return -ENOMEM;
	for (size_t i = 0; i < maps && !err; i++) {
		size_t n = metrics_of(p, m[i].name, p->metric + used);

		if (n > 0)
			err = add_table(p, &m[i], p->metric + used, n);
		used += n;
	}
	return err;
}

static int make_cgroups(struct program *p)
{
	const char *why;
	int err;

	if (!p->spec.cgroups.name)
		return 0;
	err = cgroup_ids_new(&p->cgroups, &p->spec.cgroups, p->object,
			     p->opt.decode, &why);
	if (err == -EINVAL)
		program_fail(p, SAMPLES_FAILED, "%s", why);
	return err ? err : cgroup_ids_renew(p->cgroups);
}

static int open_object(struct program *p)
{
	struct object_options opt = {
		.spec = &p->spec,
		.xdp = p->opt.xdp,
		.load = true,
	};
	int err;

	if (p->spec.pin && !p->opt.pin_root) {
		program_fail(p, SAMPLES_FAILED,
			     "pin: needs an outbox in a file: --outbox.path");
		return -EINVAL;
	}
	if (p->spec.pin) {
		snprintf(p->pins, sizeof(p->pins), "%s/%s", p->opt.pin_root,
			 p->spec.name);
		for (char *c = p->pins + strlen(p->opt.pin_root); *c; c++)
			if (*c == '.')
				*c = '_';
		opt.pin_dir = p->pins;
	}
	err = object_open(&p->object, &opt);
	if (err && p->object)
		program_fail(p, SAMPLES_FAILED, "%s", object_reason(p->object));
	return err && err != -ENOMEM ? -EINVAL : err;
}

int program_load(struct program *p)
{
	char why[200];
	int err;

	drop_tables(p);
	object_close(p->object);
	p->object = NULL;
	p->reason[0] = '\0';
	p->state = SAMPLES_FAILED;
	do_phase(p, "load");
	err = open_object(p);
	if (!err) {
		err = layout_resolve(&p->spec, p->object, why, sizeof(why));
		if (err == -EINVAL)
			program_fail(p, SAMPLES_FAILED, "%s", why);
	}
	if (!err)
		err = check_labels(p);
	if (!err)
		err = make_tables(p);
	if (!err)
		err = make_cgroups(p);
	do_phase(p, NULL);
	if (err)
		drop_tables(p);
	return err;
}

int program_attach(struct program *p)
{
	int err;

	do_phase(p, "attach");
	memset(&p->cost, 0, sizeof(p->cost));
	memset(&p->told, 0, sizeof(p->told));
	p->over = 0;
	p->times.attach_us[0] = clock_real_us();
	err = object_attach(p->object);
	p->times.attach_us[1] = clock_real_us();
	do_phase(p, NULL);
	p->state = err ? SAMPLES_FAILED : object_state(p->object);
	snprintf(p->reason, sizeof(p->reason), "%s", object_reason(p->object));
	if (err)
		object_detach(p->object);
	return err;
}

void program_detach(struct program *p)
{
	if (!p->object || !object_attached(p->object))
		return;
	p->times.detach_us[0] = clock_real_us();
	object_detach(p->object);
	p->times.detach_us[1] = clock_real_us();
}

void program_follow(struct program *p, const struct program *old)
{
	memcpy(p->times.detach_us, old->times.detach_us,
	       sizeof(p->times.detach_us));
}

void program_unpin(struct program *p)
{
	if (p->object)
		object_unpin(p->object);
}

/* --- reading --- */

/* What its wrapped calls found no room for; see tests of `program build`. */
static int read_losses(struct program *p)
{
	static const enum samples_stage stage[] = { SAMPLES_LOST_RING,
						    SAMPLES_LOST_MAP };
	const struct object_map *m = object_map(p->object, "redtap_lost");
	uint64_t value[2 * 1024] = { 0 };
	unsigned cpus = map_reader_cpus(p->opt.reader);

	if (!m || m->fd < 0 || m->value_size != 8 || cpus > 1024)
		return 0;
	for (uint32_t i = 0; i < 2; i++) {
		uint64_t sum = 0;

		if (map_reader_look(m, &i, value))
			continue;
		for (unsigned c = 0; c < cpus; c++)
			sum += value[c];
		samples_table_count_read(p->to, sum - p->lost[i]);
		samples_table_count_dropped(p->to, stage[i], sum - p->lost[i]);
		p->lost[i] = sum;
	}
	return 0;
}

static void count_event_losses(struct program *p)
{
	for (size_t i = 0; i < p->n_sources; i++) {
		struct program_source *s = &p->source[i];
		struct events_stats now;

		events_stats(s->events, &now);
		samples_table_count_read(p->to,
					 now.over_rate - s->stats.over_rate +
						 now.lost - s->stats.lost);
		samples_table_count_dropped(p->to, SAMPLES_LOST_RATE,
					    now.over_rate - s->stats.over_rate);
		samples_table_count_dropped(p->to, SAMPLES_LOST_RING,
					    now.lost - s->stats.lost);
		s->stats = now;
	}
}

static int read_table(struct program *p, struct table *t)
{
	int err = table_read(t, p->opt.reader, p->to);

	if (!err)
		err = table_evict(t, p->opt.reader, p->to);
	if (err && err != -ENOMEM) {
		log_warn("cannot read map program=%s map=%s error=\"%s\"",
			 p->spec.name, table_map(t)->name, strerror(-err));
		err = 0;
	}
	return err;
}

int program_read(struct program *p, struct samples_table *to, int64_t now_us)
{
	int err = 0;

	if (!p->object)
		return 0;
	p->to = to;
	do_phase(p, "read");
	object_iterate(p->object);
	if (p->cgroups)
		err = cgroup_ids_renew(p->cgroups);
	for (size_t i = 0; i < p->n_tables && !err; i++) {
		enum object_map_type type = table_map(p->table[i])->type;

		if (type == OBJECT_MAP_HASH || type == OBJECT_MAP_ARRAY)
			err = read_table(p, p->table[i]);
	}
	if (!err)
		err = program_drain(p, to);
	for (size_t i = 0; i < p->n_sources && !err; i++)
		err = table_tell_gauges(p->table[p->source[i].table], to);
	if (!err)
		err = read_losses(p);
	p->read_us = now_us;
	p->took_us = clock_real_us() - now_us;
	p->read_ns = clock_mono_ns();
	do_phase(p, NULL);
	return err;
}

int program_drain(struct program *p, struct samples_table *to)
{
	int err = 0;

	p->to = to;
	for (size_t i = 0; i < p->n_sources && !err; i++)
		err = events_drain(p->source[i].events);
	count_event_losses(p);
	return err == -ENOMEM ? err : 0;
}

int program_next_frame(struct program *p)
{
	int err = 0;

	for (size_t i = 0; i < p->n_tables; i++) {
		table_next_frame(p->table[i]);
		if (!err)
			err = table_compact(p->table[i]);
	}
	return err;
}

bool program_has_events(const struct program *p)
{
	return p->n_sources > 0;
}

void program_each_fd(const struct program *p, void (*fn)(void *arg, int fd),
		     void *arg)
{
	for (size_t i = 0; i < p->n_sources; i++)
		fn(arg, events_fd(p->source[i].events));
}

/* --- budget --- */

void program_window(struct program *p, uint64_t now_ns, bool begins)
{
	struct object_cost now;

	if (!p->object)
		return;
	object_cost(p->object, &now);
	if (begins) {
		cost_begin(&p->cost, now_ns, &now);
		return;
	}
	if (!cost_end(&p->cost, now_ns, &now, p->opt.trap_ns))
		return;
	if (p->spec.limits.cpu > 0 && p->cost.cpu > p->spec.limits.cpu)
		p->over++;
	else
		p->over = 0;
}

bool program_over(const struct program *p)
{
	return p->over >= 2;
}

/* --- bases --- */

struct each_base {
	program_base_fn fn;
	void *arg;
	const char *map;
};

static int with_map(void *arg, const uint8_t *key, size_t key_len,
		    const uint64_t *value, size_t n)
{
	struct each_base *e = arg;

	return e->fn(e->arg, e->map, key, key_len, value, n);
}

int program_each_base(struct program *p, program_base_fn fn, void *arg)
{
	struct each_base each = { .fn = fn, .arg = arg };
	int err = 0;

	for (size_t i = 0; i < p->n_tables && !err; i++) {
		each.map = table_map(p->table[i])->name;
		err = table_each_base(p->table[i], with_map, &each);
	}
	return err;
}

int program_set_base(struct program *p, const char *map, const uint8_t *key,
		     size_t key_len, const uint64_t *value, size_t n)
{
	for (size_t i = 0; i < p->n_tables; i++)
		if (!strcmp(table_map(p->table[i])->name, map))
			return table_set_base(p->table[i], key, key_len, value,
					      n);
	return -EINVAL;
}
