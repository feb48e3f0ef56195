/* SPDX-License-Identifier: Apache-2.0 */
/* A small ring: the numbers that the driver calls take() with. */
#include <vmlinux.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct event {
	__u32 odd;
	__u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
	__type(value, struct event);
} counter_events SEC(".maps");

char LICENSE[] SEC("license") = "GPL";

SEC("uprobe")
int BPF_KPROBE(on_take, __u64 v)
{
	struct event *e = bpf_ringbuf_reserve(&counter_events, sizeof(*e), 0);

	if (!e)
		return 0;
	e->odd = v & 1;
	e->unused = 0;
	bpf_ringbuf_submit(e, 0);
	return 0;
}
