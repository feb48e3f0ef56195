/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_MAPS_BPF_H
#define BPF_MAPS_BPF_H

/* The maps that front-ends share, each with the reason for its size. */

#include "bpf/kernel.h"
#include "bpf/tap.h"
#include "bpf/tls.h"

/*
 * 4 MiB hold 25 ms of 100,000 requests/s with both roles captured (four
 * records, 1.6 KB per request). The agent drains it before it would be a
 * quarter full, at the rate of the last drain. All of it counts as resident
 * memory of the agent, which creates it and the maps below by its configuration
 * (tap_bpf_maps.c). What finds no room is counted, requests apart from other
 * records.
 */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} tap_ring SEC(".maps");

/*
 * One entry per TCP socket that moved bytes: 184 bytes each. LRU, because a
 * close can be missed (a program is skipped when it interrupts itself): a
 * leaked entry then ages out instead of staying forever.
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
 * Threads that make TLS calls or read TLS sockets: 100 bytes each. Has a single
 * entry if TLS is not captured. LRU, because a thread's end is not observed.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64); /* pid_tgid */
	__type(value, struct tls_thread);
} tls_threads SEC(".maps");

#endif /* BPF_MAPS_BPF_H */
