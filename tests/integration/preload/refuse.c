/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LD_PRELOAD: the kernel refuses the BPF program whose name $REDTAP_REFUSE is,
 * as far as the kernel keeps names (15 characters). Its first instruction is
 * replaced on the way by one that there is not, so it is the verifier that says
 * no, to that program alone and each time it is tried.
 *
 * "perf_mmap": events that tell of mappings. They are asked for with a size
 * that there is not.
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/bpf.h>
#include <linux/perf_event.h>

#define ARGS 6 /* of a system call, at most */

static int is_refused(const union bpf_attr *attr)
{
	const char *name = getenv("REDTAP_REFUSE");

	return name && attr->prog_name[0] &&
	       !strncmp(name, attr->prog_name, sizeof(attr->prog_name) - 1);
}

static int tells_mappings(const struct perf_event_attr *attr)
{
	const char *name = getenv("REDTAP_REFUSE");

	return name && !strcmp(name, "perf_mmap") && attr->mmap;
}

long syscall(long nr, ...)
{
	static const struct bpf_insn wrong = { .code = 0xff };
	long (*real)(long, ...) =
		(long (*)(long, ...))(intptr_t)dlsym(RTLD_NEXT, "syscall");
	struct bpf_insn *insns, first;
	union bpf_attr *attr;
	long a[ARGS], ret;
	va_list args;

	va_start(args, nr);
	for (int i = 0; i < ARGS; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (nr == SYS_perf_event_open &&
	    tells_mappings((const struct perf_event_attr *)a[0])) {
		struct perf_event_attr other =
			*(const struct perf_event_attr *)a[0];

		other.size = 1;
		return real(nr, (long)&other, a[1], a[2], a[3], a[4]);
	}
	attr = (union bpf_attr *)a[1];
	if (nr != SYS_bpf || a[0] != BPF_PROG_LOAD || !is_refused(attr))
		return real(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	insns = (struct bpf_insn *)(uintptr_t)attr->insns;
	first = insns[0];
	insns[0] = wrong;
	ret = real(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	insns[0] = first;
	return ret;
}
