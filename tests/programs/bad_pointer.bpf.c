/* SPDX-License-Identifier: Apache-2.0 */
/* What the verifier refuses: a pointer that may be NULL. */
#include <vmlinux.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} counter_bad SEC(".maps");

char LICENSE[] SEC("license") = "GPL";

SEC("tp_btf/sched_process_fork")
int on_fork(void *ctx)
{
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&counter_bad, &zero);

	*n += 1;
	return 0;
}
