/* SPDX-License-Identifier: Apache-2.0 */
/* What code may call, and which sections may be loaded. */
#include "probe-agent/worker/inspect.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <linux/bpf.h>

/* --- helpers --- */

#define NAME_OF(x) "bpf_" #x
static const char *const helper_names[] = { __BPF_FUNC_MAPPER(NAME_OF) };
#define HELPERS (sizeof(helper_names) / sizeof(*helper_names))

/* Newer than the headers of Debian 12. */
#define CGRP_STORAGE_GET 210u
#define CGRP_STORAGE_DELETE 211u

#define ALLOW(x) BPF_FUNC_##x

/*
 * Those that only look, count, or write to the program's own maps. What changes
 * a process, a packet, a socket or the kernel's course is not among them.
 */
static const uint32_t allowed[] = {
	ALLOW(map_lookup_elem),
	ALLOW(map_update_elem),
	ALLOW(map_delete_elem),
	ALLOW(probe_read),
	ALLOW(ktime_get_ns),
	ALLOW(trace_printk),
	ALLOW(get_prandom_u32),
	ALLOW(get_smp_processor_id),
	ALLOW(tail_call),
	ALLOW(get_current_pid_tgid),
	ALLOW(get_current_uid_gid),
	ALLOW(get_current_comm),
	ALLOW(get_cgroup_classid),
	ALLOW(perf_event_read),
	ALLOW(perf_event_output),
	ALLOW(skb_load_bytes),
	ALLOW(get_stackid),
	ALLOW(csum_diff),
	ALLOW(get_current_task),
	ALLOW(current_task_under_cgroup),
	ALLOW(get_numa_node_id),
	ALLOW(probe_read_str),
	ALLOW(get_socket_cookie),
	ALLOW(get_socket_uid),
	ALLOW(perf_event_read_value),
	ALLOW(perf_prog_read_value),
	ALLOW(get_stack),
	ALLOW(skb_load_bytes_relative),
	ALLOW(skb_cgroup_id),
	ALLOW(get_current_cgroup_id),
	ALLOW(skb_ancestor_cgroup_id),
	ALLOW(map_push_elem),
	ALLOW(map_pop_elem),
	ALLOW(map_peek_elem),
	ALLOW(spin_lock),
	ALLOW(spin_unlock),
	ALLOW(sk_fullsock),
	ALLOW(tcp_sock),
	ALLOW(strtol),
	ALLOW(strtoul),
	ALLOW(sk_storage_get),
	ALLOW(sk_storage_delete),
	ALLOW(skb_output),
	ALLOW(probe_read_user),
	ALLOW(probe_read_kernel),
	ALLOW(probe_read_user_str),
	ALLOW(probe_read_kernel_str),
	ALLOW(jiffies64),
	ALLOW(read_branch_records),
	ALLOW(get_ns_current_pid_tgid),
	ALLOW(get_netns_cookie),
	ALLOW(get_current_ancestor_cgroup_id),
	ALLOW(ktime_get_boot_ns),
	ALLOW(seq_printf),
	ALLOW(seq_write),
	ALLOW(sk_cgroup_id),
	ALLOW(sk_ancestor_cgroup_id),
	ALLOW(ringbuf_output),
	ALLOW(ringbuf_reserve),
	ALLOW(ringbuf_submit),
	ALLOW(ringbuf_discard),
	ALLOW(ringbuf_query),
	ALLOW(skc_to_tcp6_sock),
	ALLOW(skc_to_tcp_sock),
	ALLOW(skc_to_tcp_timewait_sock),
	ALLOW(skc_to_tcp_request_sock),
	ALLOW(skc_to_udp6_sock),
	ALLOW(get_task_stack),
	ALLOW(inode_storage_get),
	ALLOW(inode_storage_delete),
	ALLOW(d_path),
	ALLOW(copy_from_user),
	ALLOW(snprintf_btf),
	ALLOW(seq_printf_btf),
	ALLOW(skb_cgroup_classid),
	ALLOW(per_cpu_ptr),
	ALLOW(this_cpu_ptr),
	ALLOW(task_storage_get),
	ALLOW(task_storage_delete),
	ALLOW(get_current_task_btf),
	ALLOW(ktime_get_coarse_ns),
	ALLOW(sock_from_file),
	ALLOW(for_each_map_elem),
	ALLOW(snprintf),
	ALLOW(get_func_ip),
	ALLOW(get_attach_cookie),
	ALLOW(task_pt_regs),
	ALLOW(get_branch_snapshot),
	ALLOW(trace_vprintk),
	ALLOW(skc_to_unix_sock),
	ALLOW(find_vma),
	ALLOW(loop),
	ALLOW(strncmp),
	ALLOW(get_func_arg),
	ALLOW(get_func_ret),
	ALLOW(get_func_arg_cnt),
	ALLOW(copy_from_user_task),
	ALLOW(map_lookup_percpu_elem),
	ALLOW(skc_to_mptcp_sock),
	ALLOW(dynptr_from_mem),
	ALLOW(ringbuf_reserve_dynptr),
	ALLOW(ringbuf_submit_dynptr),
	ALLOW(ringbuf_discard_dynptr),
	ALLOW(dynptr_read),
	ALLOW(dynptr_write),
	ALLOW(dynptr_data),
	ALLOW(ktime_get_tai_ns),
	CGRP_STORAGE_GET,
	CGRP_STORAGE_DELETE,
};

static const uint32_t allowed_xdp[] = {
	ALLOW(xdp_output),
	ALLOW(xdp_get_buff_len),
	ALLOW(xdp_load_bytes),
};

const char *inspect_helper_name(uint32_t id)
{
	static char unknown[24];

	if (id < HELPERS)
		return helper_names[id];
	if (id == CGRP_STORAGE_GET)
		return "bpf_cgrp_storage_get";
	if (id == CGRP_STORAGE_DELETE)
		return "bpf_cgrp_storage_delete";
	snprintf(unknown, sizeof(unknown), "helper %u", id);
	return unknown;
}

static bool is_in(const uint32_t *list, size_t n, uint32_t id)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == id)
			return true;
	return false;
}

bool inspect_helper_allowed(uint32_t id, const struct inspect_options *opt)
{
	return is_in(allowed, sizeof(allowed) / sizeof(*allowed), id) ||
	       (opt->xdp &&
		is_in(allowed_xdp, sizeof(allowed_xdp) / sizeof(*allowed_xdp),
		      id));
}

/* --- functions of the kernel --- */

/* By name, or by the beginning of it if that ends in an underscore. */
static const char *const kfuncs[] = {
	"bpf_cast_to_kern_ctx",
	"bpf_rdonly_cast",
	"bpf_rcu_read_lock",
	"bpf_rcu_read_unlock",
	"bpf_preempt_disable",
	"bpf_preempt_enable",
	"bpf_task_acquire",
	"bpf_task_release",
	"bpf_task_from_pid",
	"bpf_task_from_vpid",
	"bpf_task_under_cgroup",
	"bpf_task_get_cgroup1",
	"bpf_cgroup_acquire",
	"bpf_cgroup_release",
	"bpf_cgroup_ancestor",
	"bpf_cgroup_from_id",
	"bpf_get_file_vma",
	"bpf_path_d_path",
	"bpf_get_task_exe_file",
	"bpf_put_file",
	"bpf_get_kmem_cache",
	"bpf_copy_from_user_str",
	"bpf_copy_from_user_task_str",
	"bpf_map_sum_elem_count",
	"bpf_cpumask_",
	"bpf_iter_",
	"bpf_dynptr_",
	"bpf_obj_new_impl",
	"bpf_obj_drop_impl",
	"bpf_percpu_obj_new_impl",
	"bpf_percpu_obj_drop_impl",
	"bpf_refcount_acquire_impl",
	"bpf_list_",
	"bpf_rbtree_",
	"bpf_sock_addr_",
	"cgroup_rstat_flush",
};

static bool kfunc_allowed(const char *name)
{
	for (size_t i = 0; i < sizeof(kfuncs) / sizeof(*kfuncs); i++) {
		size_t n = strlen(kfuncs[i]);

		if (kfuncs[i][n - 1] == '_' ? !strncmp(name, kfuncs[i], n)
					    : !strcmp(name, kfuncs[i]))
			return true;
	}
	return false;
}

/* --- sections --- */

bool inspect_section_allowed(const char *name,
			     const struct inspect_options *opt,
			     const char **why)
{
	static const struct {
		const char *section, *why;
	} refused[] = {
		{ "fmod_ret", "fmod_ret changes what a function returns" },
		{ "lsm", "lsm decides what processes may do" },
		{ "freplace", "freplace replaces other programs" },
		{ "struct_ops", "struct_ops replaces parts of the kernel" },
		{ "syscall", "syscall programs change the kernel's state" },
		{ "tc", "tc changes packets" },
		{ "tcx", "tc changes packets" },
		{ "classifier", "tc changes packets" },
		{ "action", "tc changes packets" },
		{ "cgroup", "cgroup programs decide what processes may do" },
		{ "cgroup_skb", "cgroup_skb drops packets" },
		{ "sk_skb", "sk_skb changes streams" },
		{ "sk_msg", "sk_msg changes streams" },
		{ "sockops", "sockops changes connections" },
		{ "sk_lookup", "sk_lookup moves connections" },
		{ "sk_reuseport", "sk_reuseport moves connections" },
		{ "flow_dissector", "flow_dissector changes packets' ways" },
		{ "lwt_in", "lwt changes packets" },
		{ "lwt_out", "lwt changes packets" },
		{ "lwt_xmit", "lwt changes packets" },
		{ "lwt_seg6local", "lwt changes packets" },
		{ "netfilter", "netfilter drops packets" },
		{ "raw_tp.w", "writable tracepoints change the kernel" },
		{ "raw_tracepoint.w",
		  "writable tracepoints change the kernel" },
	};
	/* "fentry.s/do_nanosleep": its kind ends at a slash or ".s". */
	size_t n = strcspn(name, "/");

	if (*name == '?')
		name++, n--;
	if (n > 2 && !strncmp(name + n - 2, ".s", 2))
		n -= 2;
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
		if (strlen(refused[i].section) == n &&
		    !strncmp(name, refused[i].section, n)) {
			*why = refused[i].why;
			return false;
		}
	if ((!strncmp(name, "xdp", 3) &&
	     (n == 3 || name[3] == '.' || name[3] == '_')) &&
	    !opt->xdp) {
		*why = "xdp decides about packets; allow it in the "
		       "configuration: allow: [xdp]";
		return false;
	}
	return true;
}

/* --- the code --- */

static const char *function_of(const struct elf_code *c, size_t section,
			       size_t insn)
{
	for (size_t i = 0; i < c->n_functions; i++) {
		const struct elf_code_function *f = &c->function[i];

		if (f->section == section && insn >= f->first &&
		    insn < f->first + f->n)
			return f->name;
	}
	return c->section[section].name;
}

static void refuse_call(struct inspect *out, const struct elf_code *c,
			size_t section, size_t insn, const char *what)
{
	if (!out->refused[0])
		snprintf(out->refused, sizeof(out->refused),
			 "%s calls %s, which is not allowed",
			 function_of(c, section, insn), what);
}

static void note_reads(struct inspect *out, uint32_t id)
{
	switch (id) {
	case ALLOW(probe_read_user):
	case ALLOW(probe_read_user_str):
	case ALLOW(copy_from_user):
	case ALLOW(copy_from_user_task):
		out->reads_user = true;
		break;
	case ALLOW(probe_read):
	case ALLOW(probe_read_str):
		out->reads_user = out->reads_kernel = true;
		break;
	case ALLOW(probe_read_kernel):
	case ALLOW(probe_read_kernel_str):
	case ALLOW(d_path):
		out->reads_kernel = true;
		break;
	}
}

static void inspect_call(struct inspect *out, const struct elf_code *c,
			 size_t section, size_t i,
			 const struct inspect_options *opt)
{
	const struct elf_code_insn *in = &c->section[section].insn[i];

	if (in->refers == ELF_CODE_EXTERN) {
		if (!kfunc_allowed(in->name))
			refuse_call(out, c, section, i, in->name);
	} else if (in->code == (BPF_JMP | BPF_CALL | BPF_X)) {
		refuse_call(out, c, section, i, "an address");
	} else if (in->src == 0) {
		note_reads(out, (uint32_t)in->imm);
		if (!inspect_helper_allowed((uint32_t)in->imm, opt))
			refuse_call(out, c, section, i,
				    inspect_helper_name((uint32_t)in->imm));
	} else if (in->refers != ELF_CODE_FUNCTION) {
		refuse_call(out, c, section, i, "what is no function");
	}
}

int inspect_code(struct inspect *out, const struct elf_code *c,
		 const struct inspect_options *opt)
{
	memset(out, 0, sizeof(*out));
	out->n_maps = c->n_maps;
	for (size_t i = 0; i < c->n_maps; i++)
		out->map[i].name = c->map[i];
	for (size_t s = 0; s < c->n_sections; s++) {
		const char *why;

		if (!inspect_section_allowed(c->section[s].name, opt, &why) &&
		    !out->refused[0])
			snprintf(out->refused, sizeof(out->refused),
				 "section %.60s: %s", c->section[s].name, why);
		for (size_t i = 0; i < c->section[s].n; i++) {
			uint8_t code = c->section[s].insn[i].code;

			if (code == (BPF_JMP | BPF_CALL) ||
			    code == (BPF_JMP | BPF_CALL | BPF_X))
				inspect_call(out, c, s, i, opt);
			if (code == (BPF_LD | BPF_IMM | BPF_DW))
				i++; /* its second half is no instruction */
		}
	}
	return inspect_flow(out, c);
}

enum samples_guarantee inspect_guarantee(const struct inspect *i,
					 const char *map, bool lru,
					 bool per_cpu)
{
	for (size_t k = 0; k < i->n_maps; k++) {
		if (strcmp(i->map[k].name, map) != 0)
			continue;
		if (i->map[k].adds_racily && !per_cpu)
			return SAMPLES_RACY;
		return lru || i->map[k].deletes ? SAMPLES_SINCE_READ
						: SAMPLES_EXACT;
	}
	return lru ? SAMPLES_SINCE_READ : SAMPLES_EXACT;
}
