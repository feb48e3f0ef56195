/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TAP_BPF_ATTACH_H
#define PROBE_AGENT_TAP_BPF_ATTACH_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Attached BPF programs: attaching one to many places, and detaching. Any
 * thread.
 */
struct bpf_link;
struct bpf_program;

struct bpf_attachment {
	struct bpf_link *libbpf; /* NULL: attached by fd */
	int fd; /* the kernel's own link; -1: none */
};

#define BPF_ATTACH_MAX 64

/*
 * Detaches n <= BPF_ATTACH_MAX programs in parallel; entries without a link are
 * fine. Each detach waits until all CPUs have left the program, some 50 ms; in
 * parallel all of them take no longer than one, except for uprobes that were
 * attached through perf, whose lock makes them wait one after the other.
 */
void bpf_attach_destroy(struct bpf_attachment *link, size_t n);

/*
 * Can the kernel attach one program to many places of a file by one link (6.6)?
 * If so, call bpf_attach_make_many() for each program before it is loaded; only
 * bpf_attach_attach_many() can then attach it.
 */
bool bpf_attach_many(void);
void bpf_attach_make_many(struct bpf_program *p);
/*
 * Attaches p at the n offsets of the file; ret: where the functions at these
 * offsets return. 0 or negative errno.
 */
int bpf_attach_attach_many(struct bpf_attachment *out,
			   const struct bpf_program *p, bool ret,
			   const char *path, const unsigned long *offset,
			   size_t n);

#endif /* PROBE_AGENT_TAP_BPF_ATTACH_H */
