/* SPDX-License-Identifier: Apache-2.0 */
/* Collections of Python's garbage by generation, from marks in PYTHON. */
#include <vmlinux.h>

#include <bpf/bpf_helpers.h>
#include <bpf/usdt.bpf.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} python_gc_total SEC(".maps");

SEC("usdt/" PYTHON ":python:gc__start")
int BPF_USDT(on_gc, int generation)
{
	__u32 key = generation;
	__u64 zero = 0, *n = bpf_map_lookup_elem(&python_gc_total, &key);

	if (!n) {
		bpf_map_update_elem(&python_gc_total, &key, &zero, BPF_NOEXIST);
		n = bpf_map_lookup_elem(&python_gc_total, &key);
	}
	if (n)
		__sync_fetch_and_add(n, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
