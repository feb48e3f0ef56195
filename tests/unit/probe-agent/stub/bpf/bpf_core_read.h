/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_PROBE_AGENT_STUB_BPF_BPF_CORE_READ_H
#define TESTS_UNIT_PROBE_AGENT_STUB_BPF_BPF_CORE_READ_H

/* See bpf_helpers.h. Types are those of bpf/kernel.h, and nowhere else. */

#define CORE_READ1(p, a) ((p)->a)
#define CORE_READ2(p, a, b) ((p)->a->b)
#define CORE_READ_N(p, a, b, name, ...) name
#define BPF_CORE_READ(p, ...)                                                  \
	CORE_READ_N(p, __VA_ARGS__, CORE_READ2, CORE_READ1, 0)(p, __VA_ARGS__)
#define BPF_CORE_READ_INTO(to, p, field)                                       \
	__builtin_memcpy(to, &(p)->field, sizeof(*(to)))

#define bpf_core_field_exists(field) 1
#define bpf_core_type_id_kernel(type) 0
#define bpf_core_type_size(type) sizeof(type)
#define bpf_core_enum_value(type, value) (value)
/* Of helpers, only bpf_loop() may be missing. */
#define bpf_core_enum_value_exists(type, value) core_has(value)

int core_has(int helper);

#define BPF_CORE_READ_BITFIELD_PROBED(p, field) ((p)->field)

#endif /* TESTS_UNIT_PROBE_AGENT_STUB_BPF_BPF_CORE_READ_H */
