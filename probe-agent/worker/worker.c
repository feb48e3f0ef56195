/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/worker/worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/batch/intern.h"
#include "probe-agent/worker/bpf_log.h"
#include "probe-agent/worker/worker_state.h"
#include "proto/batch.h"

#define TELL_NS (15 * CLOCK_NS_PER_S)
#define POLLS_MAX 1024u
#define BASE_METRICS_MAX 64u

void worker_phase(void *worker, const char *program, const char *doing)
{
	struct worker_page *page = ((struct worker *)worker)->page;

	snprintf(page->doing, sizeof(page->doing), "%s", doing);
	snprintf(page->program, sizeof(page->program), "%s", program);
}

/* --- sending --- */

static void send_frame(struct worker *w, enum frames_type type,
		       const void *data, size_t len)
{
	if (!w->err)
		w->err = frames_send(w->fd, type, data, len);
}

/* One batch of what waits. *whole: that was all. */
static int send_batch(struct worker *w, bool *whole)
{
	/* Only its samples count: who sent it is known. */
	struct batch b = { .agent = "worker", .epoch = 1, .sequence = 1 };
	void *columns = NULL, *tables = NULL, *data = NULL;
	struct intern strings;
	size_t len;
	int err = intern_init(&strings);

	if (err)
		return err;
	err = samples_table_fill(w->samples, &strings, &b.samples, whole,
				 &columns);
	if (!err)
		err = intern_tables(&strings, &b, &tables);
	if (!err)
		err = batch_encode(&b, &data, &len);
	if (!err) {
		send_frame(w, FRAMES_BATCH, data, len);
		samples_table_sent(w->samples);
	}
	free(data);
	free(columns);
	free(tables);
	intern_fini(&strings);
	return err;
}

struct base_sender {
	struct worker *w;
	const struct program *program;
};

static int send_base(void *arg, const char *map, const uint8_t *key,
		     size_t key_len, const uint64_t *value, size_t n)
{
	struct base_sender *s = arg;
	struct frames_base b = {
		.program = program_name(s->program),
		.map = map,
		.generation = object_generation(program_object(s->program)),
		.key = key,
		.key_len = key_len,
		.value = value,
	};

	/* Nothing to go on from is as good as no base. */
	for (size_t i = 0; i < n; i++)
		if (value[i])
			b.n = n;
	if (frames_put_base(&s->w->base, &b))
		return -ENOMEM;
	send_frame(s->w, FRAMES_BASE, s->w->base.data, s->w->base.len);
	return 0;
}

void worker_flush(struct worker *w, struct program *p)
{
	static const uint64_t none[SAMPLES_STAGES];
	struct base_sender sender = { w, p };
	bool whole = true, any = samples_table_pending(w->samples);
	int err = 0;

	while (!err && samples_table_pending(w->samples)) {
		err = send_batch(w, &whole);
		/* Totals are increments here, and were sent with the first. */
		samples_table_resume(w->samples, 0, none);
	}
	if (!err && p && program_pinned(p))
		err = program_each_base(p, send_base, &sender);
	if (any || p)
		send_frame(w, FRAMES_COMMIT, NULL, 0);
	samples_table_reset(w->samples);
	for (size_t i = 0; i < w->n_programs && !err; i++)
		err = program_next_frame(w->program[i].program);
	if (err && !w->err)
		w->err = err;
}

static int tell_programs(struct worker *w)
{
	int err = 0;

	samples_table_begin_programs(w->samples);
	for (size_t i = 0; i < w->n_programs && !err; i++)
		err = program_tell(w->program[i].program, w->samples);
	w->told_ns = clock_mono_ns();
	w->changed = false;
	return err == -ENOSPC ? 0 : err;
}

/* --- programs --- */

const char *worker_quarantined(const struct worker *w, const char *name)
{
	for (unsigned i = 0; i < w->page->n_quarantined; i++)
		if (!strcmp(w->page->quarantined[i].program, name))
			return w->page->quarantined[i].reason;
	return NULL;
}

/* Bases of what is pinned now are applied; the agent forgets all others. */
static int apply_bases(struct worker *w, struct program *p)
{
	uint64_t generation = object_generation(program_object(p));
	uint64_t value[BASE_METRICS_MAX];
	const char *name = program_name(p);
	struct buf forget = { 0 };
	size_t at = 0, applied = 0;
	int err = 0;

	while (program_adopted(p) && at + 4 <= w->known.len && !err) {
		const uint8_t *row = (const uint8_t *)w->known.data + at;
		struct frames_base b;
		uint32_t len;

		memcpy(&len, row, 4);
		at += 4 + len;
		if (frames_get_base(row + 4, len, &b, value,
				    BASE_METRICS_MAX) ||
		    strcmp(b.program, name) != 0 || b.generation != generation)
			continue;
		err = program_set_base(p, b.map, b.key, b.key_len, b.value,
				       b.n);
		applied += !err;
		if (err == -EINVAL)
			err = 0;
	}
	if (program_adopted(p))
		log_info("goes on from pins program=%s bases=%zu", name,
			 applied);
	buf_append(&forget, name, strlen(name) + 1);
	buf_append(&forget, &generation, 8);
	if (!err && !forget.err) {
		send_frame(w, FRAMES_FORGET, forget.data, forget.len);
		send_frame(w, FRAMES_COMMIT, NULL, 0);
	}
	buf_fini(&forget);
	return err;
}

static void say_started(const struct program *p)
{
	const char *reason = program_reason(p);

	if (program_state(p) == SAMPLES_RUNNING)
		log_info("program runs program=%s", program_name(p));
	else
		log_warn("program does not run whole program=%s state=%s "
			 "reason=\"%s\"",
			 program_name(p), samples_state_name(program_state(p)),
			 reason);
}

int worker_begin(struct worker *w, struct worker_program *wp)
{
	struct program *p = wp->program;
	const char *why = worker_quarantined(w, program_name(p));
	int err;

	w->changed = true;
	if (why) {
		program_fail(p, SAMPLES_QUARANTINED, "%s", why);
		say_started(p);
		return 0;
	}
	err = program_object(p) ? 0 : program_load(p);
	if (!err) {
		worker_measure_all(w);
		err = program_attach(p);
	}
	if (!err && program_pinned(p))
		err = apply_bases(w, p);
	say_started(p);
	return err == -ENOMEM ? err : 0;
}

/* Its samples alone, if they go with its bases. */
static int read_program(struct worker *w, struct program *p)
{
	int err;

	if (program_pinned(p))
		worker_flush(w, NULL);
	err = program_read(p, w->samples, clock_real_us());
	if (program_pinned(p))
		worker_flush(w, p);
	return err;
}

void worker_end(struct worker *w, struct worker_program *wp)
{
	struct program *p = wp->program;

	if (!program_object(p))
		return;
	program_unpin(p);
	program_detach(p);
	if (read_program(w, p) == -ENOMEM && !w->err)
		w->err = -ENOMEM;
	worker_flush(w, NULL);
}

int worker_add(struct worker *w, struct spec *spec, const uint8_t *digest,
	       struct worker_program **out)
{
	const struct program_options opt = {
		.decode = w->decode,
		.reader = w->reader,
		.phase = worker_phase,
		.arg = w,
		.pin_root = w->opt->pin_root,
		.xdp = w->opt->xdp,
		.trap_ns = w->trap_ns,
	};
	struct worker_program *list;
	int err;

	if (w->n_programs == WORKER_PROGRAMS_MAX)
		return -E2BIG;
	list = reallocarray(w->program, w->n_programs + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	w->program = list;
	list += w->n_programs;
	memset(list, 0, sizeof(*list));
	err = program_new(&list->program, spec, &opt);
	if (err)
		return err;
	memcpy(list->digest, digest, sizeof(list->digest));
	w->n_programs++;
	w->changed = true;
	*out = list;
	return 0;
}

void worker_remove(struct worker *w, size_t i)
{
	program_free(w->program[i].program);
	memmove(&w->program[i], &w->program[i + 1],
		(w->n_programs - i - 1) * sizeof(*w->program));
	w->n_programs--;
	w->changed = true;
}

/* --- the agent's messages --- */

static int on_frame(void *arg, enum frames_type type, const uint8_t *data,
		    size_t len)
{
	struct worker *w = arg;
	uint32_t n = (uint32_t)len;

	switch (type) {
	case FRAMES_KNOWN:
		buf_append(&w->known, &n, sizeof(n));
		return buf_append(&w->known, data, len);
	case FRAMES_START:
	case FRAMES_RELOAD: {
		int err = worker_scan(w);

		w->started = true;
		buf_fini(&w->known);
		if (!err)
			err = tell_programs(w);
		worker_flush(w, NULL);
		send_frame(w, FRAMES_DONE, NULL, 0);
		return err;
	}
	case FRAMES_STOP:
		w->stopping = true;
		return 0;
	default:
		return -EPROTO;
	}
}

static void stop_all(struct worker *w)
{
	/* All at once: what one waits for the others may go on counting. */
	for (size_t i = 0; i < w->n_programs; i++) {
		program_unpin(w->program[i].program);
		program_detach(w->program[i].program);
	}
	for (size_t i = 0; i < w->n_programs; i++)
		worker_end(w, &w->program[i]);
	worker_flush(w, NULL);
	send_frame(w, FRAMES_DONE, NULL, 0);
}

/* --- the loop --- */

static uint64_t due_ns(const struct worker_program *wp)
{
	uint64_t interval =
		program_spec(wp->program)->limits.interval_ms * CLOCK_NS_PER_MS;

	return program_state(wp->program) == SAMPLES_RUNNING ||
			       program_state(wp->program) == SAMPLES_PARTIAL
		       ? program_read_ns(wp->program) + interval
		       : UINT64_MAX;
}

static int read_due(struct worker *w)
{
	uint64_t now_ns = clock_mono_ns();
	bool any = false;
	int err = 0;

	for (size_t i = 0; i < w->n_programs && !err; i++) {
		if (due_ns(&w->program[i]) > now_ns)
			continue;
		err = read_program(w, w->program[i].program);
		any = true;
	}
	if (!err && (w->changed || now_ns - w->told_ns >= TELL_NS)) {
		err = tell_programs(w);
		any = true;
	}
	if (any && !err)
		worker_flush(w, NULL);
	return err;
}

static int wait_ms(const struct worker *w)
{
	uint64_t now_ns = clock_mono_ns(), next_ns = w->told_ns + TELL_NS;

	for (size_t i = 0; i < w->n_programs; i++)
		if (due_ns(&w->program[i]) < next_ns)
			next_ns = due_ns(&w->program[i]);
	if (worker_measure_ns(w) < next_ns)
		next_ns = worker_measure_ns(w);
	return next_ns <= now_ns
		       ? 0
		       : (int)((next_ns - now_ns) / CLOCK_NS_PER_MS) + 1;
}

struct polls {
	struct pollfd p[POLLS_MAX];
	size_t n;
};

static void add_poll(void *arg, int fd)
{
	struct polls *all = arg;

	if (all->n < POLLS_MAX)
		all->p[all->n++] =
			(struct pollfd){ .fd = fd, .events = POLLIN };
}

static int turn(struct worker *w)
{
	static struct polls polls;
	size_t controls;
	int err = 0;

	polls.n = 0;
	add_poll(&polls, w->fd);
	polls.n += worker_control_poll(w, polls.p + 1, POLLS_MAX / 2);
	controls = polls.n - 1;
	for (size_t i = 0; i < w->n_programs; i++)
		program_each_fd(w->program[i].program, add_poll, &polls);
	poll(polls.p, polls.n, wait_ms(w));
	for (size_t i = 0; i < w->n_programs && !err; i++)
		if (program_has_events(w->program[i].program))
			err = program_drain(w->program[i].program, w->samples);
	if (!err)
		worker_control_turn(w, polls.p + 1, controls);
	if (!err)
		err = frames_read(&w->in, w->fd, on_frame, w);
	if (!err)
		err = read_due(w);
	worker_measure(w, clock_mono_ns());
	return err ? err : w->err;
}

static int set_up(struct worker *w)
{
	const struct decode_options opt = { .process = w->opt->process,
					    .arg = w->opt->process_arg };
	int err = decode_new(&w->decode, &opt);

	if (!err)
		err = map_reader_new(&w->reader);
	if (!err)
		err = samples_table_new(&w->samples);
	if (!err)
		err = worker_listen(w);
	if (!err && w->opt->pin_root) {
		int pins = object_mount_pins(w->opt->pin_root);

		if (pins)
			log_warn("no BPF file system for pins path=%s "
				 "error=\"%s\"",
				 w->opt->pin_root, strerror(-pins));
	}
	return err;
}

int worker_run(const struct worker_options *opt, int fd,
	       struct worker_page *page)
{
	static struct worker w;
	int err;

	w = (struct worker){ .opt = opt,
			     .page = page,
			     .fd = fd,
			     .stats = -1,
			     .listener = -1,
			     .debug = -1 };
	bpf_log_install();
	w.trap_ns = cost_of_trap();
	w.told_ns = clock_mono_ns();
	err = set_up(&w);
	while (!err && !w.stopping)
		err = turn(&w);
	if (w.stopping)
		stop_all(&w);
	worker_unlisten(&w);
	/* The agent is gone: pins stay, and whoever comes next goes on. */
	if (err && err != -EPIPE)
		log_error("worker of programs ends error=\"%s\"",
			  strerror(-err));
	return w.stopping || err == -EPIPE ? 0 : 1;
}
