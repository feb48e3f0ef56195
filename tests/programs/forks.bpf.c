/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that were made, as /proc/stat counts them. */
#include <vmlinux.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} forks_total SEC(".maps");

char LICENSE[] SEC("license") = "GPL";

SEC("tp_btf/sched_process_fork")
int on_fork(void *ctx)
{
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&forks_total, &zero);

	if (n)
		__sync_fetch_and_add(n, 1);
	return 0;
}
