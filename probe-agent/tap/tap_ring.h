/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TAP_TAP_RING_H
#define PROBE_AGENT_TAP_TAP_RING_H

#include <stddef.h>
#include <stdint.h>

#include "probe-agent/tap/tap.h"

/*
 * Reads a BPF ring buffer. libbpf's own reader maps the records twice in a
 * row, for the one that goes on at the beginning; all of that counts as
 * resident memory. Here they are mapped once, and a page more. One thread.
 */
struct tap_ring;

/* Records of at most that many bytes, for one to fit into the page more. */
#define TAP_RING_RECORD_MAX 4000

/* fd: of the map, borrowed; of that many bytes. Released by tap_ring_close().
 */
int tap_ring_open(struct tap_ring **out, int fd, uint32_t bytes);
void tap_ring_close(struct tap_ring *r); /* NULL is fine */

/*
 * Lends each record that is there to fn until it returns, but for those that
 * come meanwhile. How many bytes of the ring they took.
 */
uint64_t tap_ring_drain(struct tap_ring *r, tap_record_fn fn, void *arg);

#endif /* PROBE_AGENT_TAP_TAP_RING_H */
