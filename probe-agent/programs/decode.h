/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_PROGRAMS_DECODE_H
#define PROBE_AGENT_PROGRAMS_DECODE_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "probe-agent/programs/spec.h"

/*
 * From the bytes of a map's key to the texts of its labels. Each label has a
 * chain of decoders: the first gets the bytes, each next one the text before
 * it. The 18 of ebpf_exporter give the same text for the same bytes as it
 * does. Tables that a decoder needs (symbols, cgroups, PCI names) are read when
 * it is first asked, and are bounded. Not locked: one thread owns it.
 */
struct decode;

/* Which name a process goes by; false: unknown. Text is borrowed. */
typedef bool decode_process_fn(void *arg, uint32_t pid, const char **service,
			       const char **container);

/* NULL takes the default in brackets. Borrowed until decode_free(). */
struct decode_options {
	const char *kallsyms; /* [/proc/kallsyms] */
	const char *partitions; /* [/proc/partitions] */
	const char *pci_ids; /* [/usr/share/misc/pci.ids] */
	const char *cgroup_root; /* [where cgroup2 is mounted] */
	decode_process_fn *process; /* [none: service and container unknown] */
	void *arg;
};

/* Sets *out, released by decode_free(). -ENOMEM. */
int decode_new(struct decode **out, const struct decode_options *opt);
void decode_free(struct decode *d); /* NULL is fine */

#define DECODE_SKIP 1 /* regexp: nothing matched, the series is left out */

/*
 * Appends the label's text to *out: UTF-8 without NUL, at most
 * LIMIT_STRING_BYTES. 0; DECODE_SKIP; -EINVAL: the bytes make no sense, and
 * *why says so (static, or valid until the next call); -ENOMEM.
 */
int decode_label(struct decode *d, const struct spec_label *l,
		 const uint8_t *in, size_t len, struct buf *out,
		 const char **why);

/* Texts that were not UTF-8: each such byte became U+FFFD. */
uint64_t decode_replaced(const struct decode *d);

/* Checks what can be wrong with a label's decoders before any key comes:
 * patterns that do not compile. -EINVAL: *why says what. */
int decode_check(struct decode *d, const struct spec_label *l,
		 const char **why);

/* Does a pattern of ebpf_exporter's match somewhere in the text? -EINVAL: the
 * pattern is none, *why says what; -ENOMEM. */
int decode_matches(struct decode *d, const char *pattern, const char *text,
		   const char **why);

/* Walks the tree of cgroups now, and calls fn for each. -ENOMEM. */
typedef void (*decode_cgroup_fn)(void *arg, uint64_t id, const char *path);
int decode_each_cgroup(struct decode *d, decode_cgroup_fn fn, void *arg);

#endif /* PROBE_AGENT_PROGRAMS_DECODE_H */
