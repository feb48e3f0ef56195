/* SPDX-License-Identifier: Apache-2.0 */
/* Many keys, added to by all CPUs at once: add(first, n) in the driver. */
#include <vmlinux.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__type(key, __u32);
	__type(value, __u64);
} counter_keys SEC(".maps");

char LICENSE[] SEC("license") = "GPL";

struct span {
	__u32 first;
};

static long add_one(__u32 i, void *arg)
{
	__u32 key = ((struct span *)arg)->first + i;
	__u64 zero = 0, *n = bpf_map_lookup_elem(&counter_keys, &key);

	if (!n) {
		bpf_map_update_elem(&counter_keys, &key, &zero, BPF_NOEXIST);
		n = bpf_map_lookup_elem(&counter_keys, &key);
	}
	if (n)
		__sync_fetch_and_add(n, 1);
	return 0;
}

SEC("uprobe")
int BPF_KPROBE(on_add, __u32 first, __u32 n)
{
	struct span span = { first };

	bpf_loop(n, add_one, &span, 0);
	return 0;
}
