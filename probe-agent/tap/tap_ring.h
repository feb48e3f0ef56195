/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TAP_TAP_RING_H
#define PROBE_AGENT_TAP_TAP_RING_H

#include <stddef.h>
#include <stdint.h>

#include "probe-agent/tap/tap.h"

/*
 * Reads a BPF ring buffer. libbpf's own reader maps the records twice in a row,
 * for a record that wraps around; all of that counts as resident memory. Here
 * they are mapped once, and one page of them a second time. One thread.
 */
struct tap_ring;

/* The longest record: one that wraps around must fit into that one page. */
#define TAP_RING_RECORD_MAX 4000

/* fd: the map's, borrowed; bytes: its size. Released by tap_ring_close(). */
int tap_ring_open(struct tap_ring **out, int fd, uint32_t bytes);
void tap_ring_close(struct tap_ring *r); /* NULL is fine */

/*
 * Lends to fn, until it returns, each record that is there when this is called.
 * Returns the number of bytes of the ring that the records took.
 */
uint64_t tap_ring_drain(struct tap_ring *r, tap_record_fn fn, void *arg);

#endif /* PROBE_AGENT_TAP_TAP_RING_H */
