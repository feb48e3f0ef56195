/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TAP_TAP_MAPS_H
#define PROBE_AGENT_TAP_TAP_MAPS_H

#include "probe-agent/tap/tap.h"

/*
 * The maps that the programs of a front-end share with each other and with
 * those of TLS (bpf/maps.bpf.h). They are made before any program is loaded,
 * so that all can be loaded at once. Descriptors; -1: not there.
 */
struct bpf_object;

struct tap_maps {
	int ring, conns, counters, threads;
};

#define TAP_MAPS_NONE                                                          \
	((struct tap_maps){                                                    \
		.ring = -1, .conns = -1, .counters = -1, .threads = -1 })

/* 0, or negative errno; tap_maps_close() in both cases. */
int tap_maps_open(struct tap_maps *m, const struct tap_options *opt);
void tap_maps_close(struct tap_maps *m);

/* Between opening and loading an object: it uses these. 0 or negative errno. */
int tap_maps_use(const struct tap_maps *m, struct bpf_object *obj);

#endif /* PROBE_AGENT_TAP_TAP_MAPS_H */
