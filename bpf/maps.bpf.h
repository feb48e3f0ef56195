/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_MAPS_BPF_H
#define BPF_MAPS_BPF_H

/* The maps that front-ends share, each with its sizing argument. */

#include "bpf/kernel.h"
#include "bpf/tap.h"
#include "bpf/tls.h"

/*
 * 4 MiB hold 25 ms of 100,000 requests/s with both roles captured (four
 * records, 1.6 KB a request); the agent drains it before a quarter is full, at
 * the rate that it saw. All of it counts as resident memory of the agent. It
 * and those below are made by the agent, by its configuration (tap_maps.c).
 * Full: counted, by request.
 */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} tap_ring SEC(".maps");

/*
 * One entry per TCP socket that moved bytes: 120 bytes each. LRU, because a
 * close can be missed (a program is skipped when it interrupts itself): a
 * leaked entry then ages out instead of staying for ever.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64); /* struct sock address */
	__type(value, struct tap_conn);
} tap_conns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TAP_C_MAX);
	__type(key, __u32);
	__type(value, __u64);
} tap_counters SEC(".maps");

/*
 * Threads that make TLS calls, or read TLS sockets: 100 bytes each. One entry
 * only if TLS is not captured. LRU: threads end without a word.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64); /* pid_tgid */
	__type(value, struct tls_thread);
} tls_threads SEC(".maps");

#endif /* BPF_MAPS_BPF_H */
