/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tap/bpf_attach.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/bpf.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

static void *destroy(void *arg)
{
	struct bpf_attachment *l = arg;

	if (l->libbpf)
		bpf_link__destroy(l->libbpf);
	else if (l->fd >= 0)
		close(l->fd);
	return NULL;
}

void bpf_attach_destroy(struct bpf_attachment *link, size_t n)
{
	pthread_t thread[BPF_ATTACH_MAX];
	bool started[BPF_ATTACH_MAX];

	assert(n <= BPF_ATTACH_MAX);
	for (size_t i = 0; i < n; i++) {
		started[i] =
			!pthread_create(&thread[i], NULL, destroy, &link[i]);
		if (!started[i])
			destroy(&link[i]);
	}
	for (size_t i = 0; i < n; i++)
		if (started[i])
			pthread_join(thread[i], NULL);
}

/* --- one link for many uprobes --- */

/* Not in the headers and libbpf of Debian 12: Linux 6.6 (89ae89f53d20). */
#define TRACE_UPROBE_MULTI 48
#define UPROBE_MULTI_RETURN 1u

struct many {
	uint32_t prog_fd, target_fd, attach_type, flags;
	uint64_t path, offsets, ref_counts, cookies;
	uint32_t n, many_flags, pid, pad;
};

static int link_many(const struct many *m)
{
	int fd = (int)syscall(SYS_bpf, BPF_LINK_CREATE, m, sizeof(*m));

	return fd < 0 ? -errno : fd;
}

bool bpf_attach_many(void)
{
	/* mov r0, 0; exit */
	static const struct bpf_insn nothing[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts,
		    .expected_attach_type = TRACE_UPROBE_MULTI);
	const unsigned long offset = 0;
	struct many m = { .attach_type = TRACE_UPROBE_MULTI,
			  .path = (uintptr_t) "/",
			  .offsets = (uintptr_t)&offset,
			  .n = 1 };
	int prog, fd;

	prog = bpf_prog_load(BPF_PROG_TYPE_KPROBE, NULL, "GPL", nothing,
			     sizeof(nothing) / sizeof(*nothing), &opts);
	if (prog < 0)
		return false;
	m.prog_fd = (uint32_t)prog;
	fd = link_many(&m);
	close(prog);
	if (fd >= 0)
		close(fd);
	return fd == -EBADF; /* "/" is no file, but the kernel knows the call */
}

void bpf_attach_make_many(struct bpf_program *p)
{
	bpf_program__set_expected_attach_type(p, TRACE_UPROBE_MULTI);
}

int bpf_attach_attach_many(struct bpf_attachment *out,
			   const struct bpf_program *p, bool ret,
			   const char *path, const unsigned long *offset,
			   size_t n)
{
	const struct many m = {
		.prog_fd = (uint32_t)bpf_program__fd(p),
		.attach_type = TRACE_UPROBE_MULTI,
		.path = (uintptr_t)path,
		.offsets = (uintptr_t)offset,
		.n = (uint32_t)n,
		.many_flags = ret ? UPROBE_MULTI_RETURN : 0,
	};
	int fd = link_many(&m);

	*out = (struct bpf_attachment){ .fd = fd < 0 ? -1 : fd };
	return fd < 0 ? fd : 0;
}
