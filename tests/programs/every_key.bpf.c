/* SPDX-License-Identifier: Apache-2.0 */
/* What each key of an ebpf_exporter file is about; CALLS: path of the driver.
 */
#include <vmlinux.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct numbered {
	u32 number; /* v & 3 */
	u32 unused; /* padding */
	char text[8];
} __attribute__((packed));

struct counted {
	u8 byte;
	u16 pair;
	u32 address; /* of IPv4 */
	u8 mac[6];
} __attribute__((packed));

#define COUNTER(name, type_of_key)                                             \
	struct {                                                               \
		__uint(type, BPF_MAP_TYPE_HASH);                               \
		__uint(max_entries, 1024);                                     \
		__type(key, type_of_key);                                      \
		__type(value, u64);                                            \
	} name SEC(".maps")

COUNTER(padded_total, struct numbered);
COUNTER(decoded_total, struct counted);
COUNTER(symbols_total, u64);
COUNTER(cgroup_total, u64);
COUNTER(wanted_cgroups, u64);

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} perf_total SEC(".maps");

const volatile u64 kaddr_schedule = 0;

char LICENSE[] SEC("license") = "GPL";

static __always_inline void add(void *map, void *key)
{
	u64 zero = 0, *n = bpf_map_lookup_elem(map, key);

	if (!n) {
		bpf_map_update_elem(map, key, &zero, BPF_NOEXIST);
		n = bpf_map_lookup_elem(map, key);
	}
	if (n)
		__sync_fetch_and_add(n, 1);
}

SEC("uprobe/" CALLS ":take")
int BPF_KPROBE(on_take, u64 v)
{
	struct numbered key = { .number = v & 3,
				.unused = v,
				.text = "redtap" };
	struct counted counted = {
		.byte = v & 1,
		.pair = 7,
		.address = 0x0100007f,
		.mac = { 1, 2, 3, 4, 5, 6 },
	};
	u64 symbol = kaddr_schedule, group = bpf_get_current_cgroup_id();

	key.unused = 0;
	add(&padded_total, &key);
	add(&decoded_total, &counted);
	add(&symbols_total, &symbol);
	if (bpf_map_lookup_elem(&wanted_cgroups, &group))
		add(&cgroup_total, &group);
	bpf_perf_event_output(ctx, &perf_total, BPF_F_CURRENT_CPU, &key,
			      sizeof(key));
	return 0;
}
