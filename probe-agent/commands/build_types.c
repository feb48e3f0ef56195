/* SPDX-License-Identifier: Apache-2.0 */
/* vmlinux.h: all types of the running kernel, as C. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "probe-agent/commands/build.h"

static void print(void *file, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

static void print(void *file, const char *fmt, va_list ap)
{
	vfprintf(file, fmt, ap);
}

static int dump_types(const struct btf *btf, FILE *f)
{
	struct btf_dump *d = btf_dump__new(btf, print, f, NULL);
	int err = d ? 0 : -errno;

	for (unsigned i = 1; !err && i < btf__type_cnt(btf); i++)
		err = btf_dump__dump_type(d, i);
	btf_dump__free(d);
	return err;
}

int build_write_types(const char *path)
{
	struct btf *btf = btf__load_vmlinux_btf();
	FILE *f;
	int err;

	if (!btf) {
		fprintf(stderr, "the kernel does not tell its types: "
				"/sys/kernel/btf/vmlinux\n");
		return -ENOENT;
	}
	f = fopen(path, "we");
	if (!f) {
		err = -errno;
		btf__free(btf);
		return err;
	}
	fputs("#ifndef __VMLINUX_H__\n#define __VMLINUX_H__\n\n"
	      "#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n"
	      "#pragma clang attribute push "
	      "(__attribute__((preserve_access_index)), apply_to = record)\n"
	      "#endif\n\n",
	      f);
	err = dump_types(btf, f);
	fputs("\n#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n"
	      "#pragma clang attribute pop\n#endif\n\n#endif\n",
	      f);
	if (fclose(f) && !err)
		err = -errno;
	btf__free(btf);
	return err;
}
