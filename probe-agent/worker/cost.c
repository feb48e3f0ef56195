/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/worker/cost.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "common/clock.h"

/* --- of one program --- */

static uint64_t more(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

/* Runs between two windows: as often as before and after the gap. */
static uint64_t estimate(uint64_t counted, double rate_before, double rate_now,
			 double seconds)
{
	double guess = (rate_before + rate_now) / 2 * seconds;

	return guess > (double)counted ? (uint64_t)guess : counted;
}

void cost_begin(struct cost *c, uint64_t now_ns, const struct object_cost *now)
{
	struct object_cost gap = { more(now->runs, c->last.runs),
				   more(now->run_ns, c->last.run_ns),
				   more(now->traps, c->last.traps) };

	c->window_ns = now_ns;
	if (c->last_ns == 0) { /* the first one: nothing ran before */
		c->last = *now;
		c->last_ns = now_ns;
		return;
	}
	/* Another process had the statistics switched on meanwhile. */
	if (gap.runs > 0) {
		c->runs += gap.runs;
		c->run_ns += gap.run_ns;
		c->last_ns = now_ns;
	}
	c->last = *now;
}

bool cost_end(struct cost *c, uint64_t now_ns, const struct object_cost *now,
	      uint64_t trap_ns)
{
	double s = (double)(now_ns - c->window_ns) / 1e9;
	double gap_s = (double)(c->window_ns - c->last_ns) / 1e9;
	uint64_t runs = more(now->runs, c->last.runs);
	uint64_t run_ns = more(now->run_ns, c->last.run_ns);
	uint64_t traps = more(now->traps, c->last.traps);
	double rates[3];

	if (c->window_ns == 0 || s <= 0)
		return false;
	rates[0] = (double)runs / s;
	rates[1] = (double)run_ns / s;
	rates[2] = (double)traps / s;
	c->runs += runs + estimate(0, c->runs_s, rates[0], gap_s);
	c->run_ns += run_ns + estimate(0, c->run_s, rates[1], gap_s);
	c->trap_ns +=
		trap_ns * (traps + estimate(0, c->traps_s, rates[2], gap_s));
	c->runs_s = rates[0];
	c->run_s = rates[1];
	c->traps_s = rates[2];
	c->cpu = (rates[1] + rates[2] * (double)trap_ns) / 1e9;
	c->last = *now;
	c->last_ns = now_ns;
	c->window_ns = 0;
	return true;
}

/* --- of the host --- */

int cost_measure(void)
{
	return bpf_enable_stats(BPF_STATS_RUN_TIME);
}

/* The fastest of some rounds: in the others, something else ran, too. */
#define CALLS 50u
#define ROUNDS 40u

static volatile unsigned called;

/* Somewhere for a breakpoint to be. */
static void __attribute__((noinline)) call_me(void)
{
	asm volatile("" ::: "memory"); /* no copy of it is made */
	called++;
}

static uint64_t ns_of_calls(void)
{
	uint64_t best = UINT64_MAX;

	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t start_ns = clock_mono_ns(), ns;

		for (unsigned i = 0; i < CALLS; i++)
			call_me();
		ns = clock_mono_ns() - start_ns;
		if (ns < best)
			best = ns;
	}
	return best;
}

/* Where in our file the function is. */
static uint64_t offset_of(const void *address)
{
	uint64_t at = (uint64_t)(uintptr_t)address, from, to, offset;
	FILE *f = fopen("/proc/self/maps", "re");
	uint64_t found = 0;
	char line[512];

	while (f && !found && fgets(line, sizeof(line), f))
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64, &from,
			   &to, &offset) == 3 &&
		    at >= from && at < to)
			found = at - from + offset;
	if (f)
		fclose(f);
	return found;
}

static int open_uprobe(uint64_t offset)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.config1 = (uintptr_t) "/proc/self/exe",
		.config2 = offset,
	};
	FILE *f = fopen("/sys/bus/event_source/devices/uprobe/type", "re");
	int got = f ? fscanf(f, "%u", &attr.type) : 0;

	if (f)
		fclose(f);
	if (got != 1)
		return -ENOENT;
	return (int)syscall(SYS_perf_event_open, &attr, getpid(), -1, -1,
			    PERF_FLAG_FD_CLOEXEC);
}

uint64_t cost_of_trap(void)
{
	/* mov r0, 0; exit */
	static const struct bpf_insn nothing[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	uint64_t plain_ns = ns_of_calls(), ns = 0;
	int prog = bpf_prog_load(BPF_PROG_TYPE_KPROBE, NULL, "GPL", nothing,
				 sizeof(nothing) / sizeof(*nothing), NULL);
	int fd = prog < 0 ? -1 : open_uprobe(offset_of((void *)call_me));

	if (fd >= 0 && !ioctl(fd, PERF_EVENT_IOC_SET_BPF, prog) &&
	    !ioctl(fd, PERF_EVENT_IOC_ENABLE, 0)) {
		ns_of_calls();
		ns = more(ns_of_calls(), plain_ns) / CALLS;
	}
	if (fd >= 0)
		close(fd);
	if (prog >= 0)
		close(prog);
	return ns;
}
