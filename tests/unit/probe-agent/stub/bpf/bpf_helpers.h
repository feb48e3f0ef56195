/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_PROBE_AGENT_STUB_BPF_BPF_HELPERS_H
#define TESTS_UNIT_PROBE_AGENT_STUB_BPF_BPF_HELPERS_H

/*
 * In the place of libbpf's header, for the programs of bpf/ as a part of a unit
 * test: tap_core.c has the helpers, and says what the kernel does.
 */

#define SEC(name)
#define __noinline __attribute__((noinline))
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#define __weak __attribute__((weak))
#define __ksym
#define __uint(name, value) int(*name)[value]
#define __type(name, value) value *name

__u64 bpf_ktime_get_ns(void);
__u64 bpf_get_current_pid_tgid(void);
__u64 bpf_get_current_cgroup_id(void);
__u64 bpf_get_current_task(void);
struct task_struct *bpf_get_current_task_btf(void);
void *bpf_map_lookup_elem(void *map, const void *key);
long bpf_map_update_elem(void *map, const void *key, const void *value,
			 __u64 flags);
long bpf_map_delete_elem(void *map, const void *key);
void *bpf_ringbuf_reserve(void *ring, __u64 size, __u64 flags);
void bpf_ringbuf_submit(void *data, __u64 flags);
void bpf_ringbuf_discard(void *data, __u64 flags);
long bpf_probe_read_user(void *to, __u32 size, const void *from);
long bpf_probe_read_kernel(void *to, __u32 size, const void *from);
long bpf_loop(__u32 n, void *fn, void *arg, __u64 flags);

#endif /* TESTS_UNIT_PROBE_AGENT_STUB_BPF_BPF_HELPERS_H */
