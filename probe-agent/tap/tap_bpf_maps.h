/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TAP_TAP_BPF_MAPS_H
#define PROBE_AGENT_TAP_TAP_BPF_MAPS_H

#include "probe-agent/tap/tap.h"

/*
 * The maps that the programs of a front-end share with each other and with
 * those for TLS (bpf/maps.bpf.h). They are created before any program is
 * loaded, so that all programs can be loaded at the same time. Descriptors; -1:
 * none.
 */
struct bpf_object;

struct tap_bpf_maps {
	int ring, conns, counters, threads;
};

#define TAP_MAPS_NONE                                                          \
	((struct tap_bpf_maps){                                                \
		.ring = -1, .conns = -1, .counters = -1, .threads = -1 })

/* 0 or negative errno; call tap_bpf_maps_close() in both cases. */
int tap_bpf_maps_open(struct tap_bpf_maps *m, const struct tap_options *opt);
void tap_bpf_maps_close(struct tap_bpf_maps *m);

/*
 * Makes an object that is opened and not loaded use these. 0 or negative errno.
 */
int tap_bpf_maps_use(const struct tap_bpf_maps *m, struct bpf_object *obj);

#endif /* PROBE_AGENT_TAP_TAP_BPF_MAPS_H */
