/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connect as the first lab of BumbleBee counts it: in a hash and in a ring,
 * by the sections of its first release. RACY: as that lab's page does it, which
 * loses counts.
 */
#include "solo_types.h"
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct dimensions_t {
	ipv4_addr saddr;
	ipv4_addr daddr;
} __attribute__((packed));

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct dimensions_t);
	__type(value, u64);
} events_hash SEC(".maps.counter");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
	__type(value, struct dimensions_t);
} events_ring SEC(".maps.counter");

char __license[] SEC("license") = "Dual MIT/GPL";

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state_changed, const struct sock *sk, int from, int to)
{
	struct dimensions_t hash_key = {}, *event;
	u64 counter = 1, *counterp;

	if (sk->__sk_common.skc_family != 2 || to != TCP_SYN_SENT)
		return 0;
	hash_key.saddr = sk->__sk_common.skc_rcv_saddr;
	hash_key.daddr = sk->__sk_common.skc_daddr;
	counterp = bpf_map_lookup_elem(&events_hash, &hash_key);
#ifdef RACY
	if (counterp)
		counter = *counterp + 1;
	bpf_map_update_elem(&events_hash, &hash_key, &counter, 0);
#else
	if (counterp)
		__sync_fetch_and_add(counterp, 1);
	else if (bpf_map_update_elem(&events_hash, &hash_key, &counter,
				     BPF_NOEXIST)) {
		counterp = bpf_map_lookup_elem(&events_hash, &hash_key);
		if (counterp)
			__sync_fetch_and_add(counterp, 1);
	}
#endif
	event = bpf_ringbuf_reserve(&events_ring, sizeof(*event), 0);
	if (!event)
		return 0;
	*event = hash_key;
	bpf_ringbuf_submit(event, 0);
	return 0;
}
