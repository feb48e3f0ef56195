/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LD_PRELOAD: the kernel refuses the BPF program whose name $REDTAP_REFUSE is,
 * as far as the kernel keeps names (15 characters). Its first instruction is
 * replaced on the way by one that there is not, so it is the verifier that says
 * no, to that program alone and each time it is tried.
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/bpf.h>

#define ARGS 6 /* of a system call, at most */

static int is_refused(const union bpf_attr *attr)
{
	const char *name = getenv("REDTAP_REFUSE");

	return name && attr->prog_name[0] &&
	       !strncmp(name, attr->prog_name, sizeof(attr->prog_name) - 1);
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
	int i;

	va_start(args, nr);
	for (i = 0; i < ARGS; i++)
		a[i] = va_arg(args, long);
	va_end(args);
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
