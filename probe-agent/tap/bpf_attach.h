/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TAP_BPF_ATTACH_H
#define PROBE_AGENT_TAP_BPF_ATTACH_H

#include <stdbool.h>
#include <stddef.h>

/* What keeps a program at its place. Any thread. */
struct bpf_link;
struct bpf_program;

struct bpf_attachment {
	struct bpf_link *libbpf; /* NULL: it is fd */
	int fd; /* the kernel's own link; -1: none */
};

#define BPF_ATTACH_MAX 64

/*
 * Detaches n <= BPF_ATTACH_MAX programs at once; those without a link are fine.
 * Each detach waits until all CPUs have left the program, some 50 ms: for all
 * of them together that takes no longer than for one, except for uprobes of
 * perf's, whose lock lets one wait at a time.
 */
void bpf_attach_destroy(struct bpf_attachment *link, size_t n);

/*
 * Can the kernel put one program at many places of a file by one link (6.6)?
 * Then programs are made for that before they are loaded, and it alone can
 * attach them.
 */
bool bpf_attach_many(void);
void bpf_attach_make_many(struct bpf_program *p);
/* ret: where the functions at the n offsets return. 0 or negative errno. */
int bpf_attach_attach_many(struct bpf_attachment *out,
			   const struct bpf_program *p, bool ret,
			   const char *path, const unsigned long *offset,
			   size_t n);

#endif /* PROBE_AGENT_TAP_BPF_ATTACH_H */
