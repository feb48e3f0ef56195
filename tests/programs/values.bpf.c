/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers that the driver calls take() with, as histograms of each kind. */
#include <vmlinux.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define EXP2_MAX 12
#define LINEAR_MAX 20
#define LINEAR_STEP 50

#define HISTOGRAM(name, n)                                                     \
	struct {                                                               \
		__uint(type, BPF_MAP_TYPE_ARRAY);                              \
		__uint(max_entries, n);                                        \
		__type(key, __u32);                                            \
		__type(value, __u64);                                          \
	} name SEC(".maps")

HISTOGRAM(exp2_values, EXP2_MAX + 2);
HISTOGRAM(exp2zero_values, EXP2_MAX + 3);
HISTOGRAM(linear_values, LINEAR_MAX + 2);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u64);
	__type(value, __u64);
} fixed_values SEC(".maps");

char LICENSE[] SEC("license") = "GPL";

/* The least k so that v <= 2^k. */
static __always_inline __u32 log2_up(__u64 v)
{
	__u32 k = 0;

	for (__u32 i = 0; i < EXP2_MAX; i++)
		if (v > (1ull << i))
			k = i + 1;
	return k;
}

static __always_inline void add(void *map, __u32 key, __u64 n)
{
	__u64 *at = bpf_map_lookup_elem(map, &key);

	if (at)
		__sync_fetch_and_add(at, n);
}

static __always_inline void add_fixed(__u64 key, __u64 n)
{
	__u64 zero = 0, *at = bpf_map_lookup_elem(&fixed_values, &key);

	if (!at) {
		bpf_map_update_elem(&fixed_values, &key, &zero, BPF_NOEXIST);
		at = bpf_map_lookup_elem(&fixed_values, &key);
	}
	if (at)
		__sync_fetch_and_add(at, n);
}

SEC("uprobe")
int BPF_KPROBE(on_take, __u64 v)
{
	__u32 k = log2_up(v), step;

	add(&exp2_values, k, 1);
	add(&exp2_values, EXP2_MAX + 1, v);
	add(&exp2zero_values, v == 0 ? 0 : k + 1, 1);
	add(&exp2zero_values, EXP2_MAX + 2, v);
	step = (v + LINEAR_STEP - 1) / LINEAR_STEP;
	add(&linear_values, step > LINEAR_MAX ? LINEAR_MAX : step, 1);
	add(&linear_values, LINEAR_MAX + 1, step);
	if (v <= 10)
		add_fixed(10, 1);
	else if (v <= 100)
		add_fixed(100, 1);
	else
		add_fixed(1000, 1);
	add_fixed(1001, v);
	return 0;
}
