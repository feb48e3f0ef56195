/* SPDX-License-Identifier: Apache-2.0 */
/* When the kernel measures, and what becomes of programs that cost too much. */
#include <errno.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/worker/worker_state.h"

#define WINDOW_NS CLOCK_NS_PER_S
#define PAUSE_NS (9 * CLOCK_NS_PER_S)
#define FIRST_NS (10 * CLOCK_NS_PER_S) /* measured whole after attaching */
#define RETRY_NS (600 * CLOCK_NS_PER_S) /* then twice that, and twice again */
#define RETRIES 3u

void worker_measure_all(struct worker *w)
{
	w->all_until_ns = clock_mono_ns() + FIRST_NS;
	if (w->stats >= 0)
		return;
	w->stats = cost_measure();
	w->window_ns = 0;
}

uint64_t worker_measure_ns(const struct worker *w)
{
	uint64_t next_ns = w->stats >= 0 ? w->window_ns + WINDOW_NS
					 : w->window_ns + PAUSE_NS;

	if (w->n_programs == 0)
		return UINT64_MAX;
	for (size_t i = 0; i < w->n_programs; i++)
		if (w->program[i].retry_ns > 0 &&
		    w->program[i].retry_ns < next_ns)
			next_ns = w->program[i].retry_ns;
	return next_ns;
}

static bool is_up(const struct worker_program *wp)
{
	enum samples_state s = program_state(wp->program);

	return s == SAMPLES_RUNNING || s == SAMPLES_PARTIAL;
}

static void take_out(struct worker *w, struct worker_program *wp,
		     uint64_t now_ns)
{
	struct program *p = wp->program;
	double cpu = program_cost(p)->cpu, may = program_spec(p)->limits.cpu;

	if (!program_spec(p)->limits.detach) {
		log_warn("program costs more than its budget program=%s "
			 "cpu=%.4f budget=%.4f",
			 program_name(p), cpu, may);
		return;
	}
	program_unpin(p);
	program_detach(p);
	if (program_read(p, w->samples, clock_real_us()) && !w->err)
		log_warn("last read failed program=%s", program_name(p));
	worker_flush(w, program_pinned(p) ? p : NULL);
	program_fail(p, SAMPLES_OVER_BUDGET,
		     "took %.1f %% of a CPU, its budget is %.1f %%", cpu * 100,
		     may * 100);
	wp->retry_ns =
		wp->retries < RETRIES ? now_ns + (RETRY_NS << wp->retries) : 0;
	wp->retries++;
	w->changed = true;
	log_warn("program detached, over its budget program=%s cpu=%.4f "
		 "budget=%.4f",
		 program_name(p), cpu, may);
}

static void try_again(struct worker *w, struct worker_program *wp)
{
	struct program *p = wp->program;

	wp->retry_ns = 0;
	/* Without its pins its maps begin anew, and so do their bases. */
	if (program_spec(p)->pin)
		program_load(p);
	if (worker_begin(w, wp) && !w->err)
		w->err = -ENOMEM;
}

static void begin_windows(struct worker *w, uint64_t now_ns)
{
	w->window_ns = now_ns;
	for (size_t i = 0; i < w->n_programs; i++)
		if (is_up(&w->program[i]))
			program_window(w->program[i].program, now_ns, true);
}

/* Returns whether one is near its budget, so that measuring goes on. */
static bool end_windows(struct worker *w, uint64_t now_ns)
{
	bool near = false;

	for (size_t i = 0; i < w->n_programs; i++) {
		struct worker_program *wp = &w->program[i];
		double may = program_spec(wp->program)->limits.cpu;

		if (!is_up(wp))
			continue;
		program_window(wp->program, now_ns, false);
		if (program_over(wp->program))
			take_out(w, wp, now_ns);
		else if (may > 0 && program_cost(wp->program)->cpu > may)
			near = true;
	}
	return near;
}

void worker_measure(struct worker *w, uint64_t now_ns)
{
	bool near;

	for (size_t i = 0; i < w->n_programs; i++)
		if (w->program[i].retry_ns > 0 &&
		    w->program[i].retry_ns <= now_ns)
			try_again(w, &w->program[i]);
	if (w->n_programs == 0)
		return;
	if (w->stats < 0) {
		if (now_ns < w->window_ns + PAUSE_NS)
			return;
		w->stats = cost_measure();
		begin_windows(w, now_ns);
		return;
	}
	if (w->window_ns == 0) {
		begin_windows(w, now_ns);
		return;
	}
	if (now_ns < w->window_ns + WINDOW_NS)
		return;
	near = end_windows(w, now_ns);
	if (near || now_ns < w->all_until_ns) {
		begin_windows(w, now_ns);
		return;
	}
	close(w->stats);
	w->stats = -1;
	w->window_ns = now_ns;
}
