/* SPDX-License-Identifier: Apache-2.0 */
/* Refers to a variable that no kernel has. */
#include <vmlinux.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} counter_bad SEC(".maps");

extern const int redtap_no_such_variable __ksym;

char LICENSE[] SEC("license") = "GPL";

SEC("tp_btf/sched_process_fork")
int on_fork(void *ctx)
{
	return redtap_no_such_variable;
}
