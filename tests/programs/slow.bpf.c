/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps the verifier busy: it walks every turn of the loop. */
#include <vmlinux.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} counter_slow SEC(".maps");

char LICENSE[] SEC("license") = "GPL";

#define TURNS 60000

static __always_inline int walk(__u32 sum)
{
	__u32 key = 0;
	__u64 *n;

	for (__u32 i = 0; i < TURNS; i++) {
		sum ^= bpf_get_prandom_u32() + i;
		if (sum & 1)
			key++;
	}
	n = bpf_map_lookup_elem(&counter_slow, &key);
	if (n)
		__sync_fetch_and_add(n, sum);
	return 0;
}

#define ONE(name)                                                              \
	SEC("tp_btf/sched_process_fork")                                       \
	int name(void *ctx)                                                    \
	{                                                                      \
		return walk(1);                                                \
	}
ONE(one)
ONE(two)
ONE(three)
ONE(four)
ONE(five)
ONE(six)
ONE(seven)
ONE(eight)
