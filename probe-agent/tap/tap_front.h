/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TAP_TAP_FRONT_H
#define PROBE_AGENT_TAP_TAP_FRONT_H

#include <stdbool.h>
#include <stddef.h>

#include "probe-agent/tap/bpf_attach.h"
#include "probe-agent/tap/tap.h"
#include "probe-agent/tap/tap_bpf_maps.h"

/*
 * The front-ends of the tap, for tap.c. Each is one skeleton, loaded and
 * attached program by program, so that a program that this kernel refuses costs
 * no other.
 */

struct bpf_object;

/* One program at one place. */
struct tap_hook {
	const char *program;
	const char *probe; /* name as reported */
	const char *event; /* in tracefs' events/syscalls; NULL: libbpf knows */
	/* Kernel function that it attaches to; NULL: none. */
	const char *function;
	/*
	 * Events in tracefs; NULL: any kernel. The hook is used only if the
	 * kernel has the event with, and only if it lacks the event without.
	 */
	const char *with, *without;
	/* The front-end is of no use without it. */
	bool required;
	/*
	 * It sees writes begin. With all such hooks, most returns need no
	 * inspection.
	 */
	bool begins;
};

struct tap_frontend {
	const char *name;
	const struct tap_hook *hooks;
	size_t n_hooks;
	/*
	 * Opens the skeleton and sets its constants. NULL on error, with errno
	 * set.
	 */
	void *(*open)(const struct tap_options *opt, struct bpf_object **obj);
	void (*destroy)(void *skel);
	/* Offset of tap_late (bpf/write.bpf.h) in its .data map. */
	size_t late_at;
	/* Why this kernel can't run it; NULL: it may work. */
	const char *(*lacks)(void);
};

#define TAP_HOOKS_MAX 32
/* Appended to messages about missing permission. */
#define TAP_PRIVILEGES "; run as root, or with CAP_BPF and CAP_PERFMON"

/* All front-ends, the cheapest first: the order in which "auto" tries them. */
extern const struct tap_frontend *const tap_front_list[];
extern const size_t tap_front_count;

/* Does the kernel have this event in tracefs, named as GROUP/NAME? */
bool tap_has_event(const char *event);
/* Does the hook suit this kernel, judging by hook->with and hook->without? */
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
 * Loads and attaches. 0: it can be used, perhaps without some of its probes;
 * else negative errno, with the reason in why.
 */
int tap_front_start(struct tap_front_state *s, const struct tap_frontend *front,
		    const struct tap_bpf_maps *maps,
		    const struct tap_options *opt, char *why, size_t why_len);
/* One that failed to start is fine. */
void tap_front_stop(struct tap_front_state *s);

#endif /* PROBE_AGENT_TAP_TAP_FRONT_H */
