/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TAP_TAP_FRONT_H
#define PROBE_AGENT_TAP_TAP_FRONT_H

#include <stdbool.h>
#include <stddef.h>

#include "probe-agent/tap/bpf_attach.h"
#include "probe-agent/tap/tap.h"
#include "probe-agent/tap/tap_bpf_maps.h"

/*
 * The front-ends of the tap, for tap.c: one skeleton each, loaded and attached
 * program by program, so that one that this kernel refuses costs only itself.
 */

struct bpf_object;

/* One program at one place. */
struct tap_hook {
	const char *program;
	const char *probe; /* name as reported */
	const char *event; /* of tracefs' events/syscalls; NULL: libbpf knows */
	/* Kernel function that it sits on; NULL: none. */
	const char *function;
	/* Of tracefs' events: where the kernel has it, or only where not. */
	const char *with, *without;
	/* The front-end is of no use without it. */
	bool required;
	/* It sees writes begin: with all of these, returns matter less. */
	bool begins;
};

struct tap_frontend {
	const char *name;
	const struct tap_hook *hooks;
	size_t n_hooks;
	/* Opens the skeleton and sets its constants. NULL and errno. */
	void *(*open)(const struct tap_options *opt, struct bpf_object **obj);
	void (*destroy)(void *skel);
	/* Offset of tap_late (bpf/write.bpf.h) in its .data map. */
	size_t late_at;
	/* Why the kernel can't have it; NULL: it may, or not known. */
	const char *(*lacks)(void);
};

#define TAP_HOOKS_MAX 32
/* Behind what is not permitted. */
#define TAP_PRIVILEGES "; run as root, or with CAP_BPF and CAP_PERFMON"

/* All of them, the cheapest first: that is how "auto" tries. */
extern const struct tap_frontend *const tap_front_list[];
extern const size_t tap_front_count;

/* Has the kernel this event of tracefs, named as GROUP/NAME? */
bool tap_has_event(const char *event);
/* Is the hook for kernels like this one, as far as events tell? */
bool tap_hook_fits(const struct tap_hook *hook);

/* A front-end that is loaded and attached. */
struct tap_front_state {
	const struct tap_frontend *front;
	const struct tap_bpf_maps *maps; /* borrowed */
	void *skel;
	struct bpf_object *obj;
	struct bpf_attachment link[TAP_HOOKS_MAX];
	struct tap_probe probe[TAP_HOOKS_MAX];
	size_t probes;
};

/*
 * Loads and attaches. 0 if it can be used, perhaps without some of its probes;
 * or the negative errno, with what went wrong in why.
 */
int tap_front_start(struct tap_front_state *s, const struct tap_frontend *front,
		    const struct tap_bpf_maps *maps,
		    const struct tap_options *opt, char *why, size_t why_len);
/* What was never started is fine. */
void tap_front_stop(struct tap_front_state *s);

#endif /* PROBE_AGENT_TAP_TAP_FRONT_H */
