/* SPDX-License-Identifier: Apache-2.0 */
/* Softirqs by CPU and kind, as /proc/softirqs counts them. */
#include <vmlinux.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 10);
	__type(key, __u32);
	__type(value, __u64);
} softirqs_total SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 10);
	__type(key, __u32);
	__type(value, __u32);
} softirqs_summed_total SEC(".maps");

char LICENSE[] SEC("license") = "GPL";

SEC("tp_btf/softirq_entry")
int BPF_PROG(on_softirq, unsigned int vec)
{
	__u32 key = vec;
	__u64 *n = bpf_map_lookup_elem(&softirqs_total, &key);
	__u32 *m = bpf_map_lookup_elem(&softirqs_summed_total, &key);

	if (n)
		*n += 1;
	if (m)
		*m += 1;
	return 0;
}
