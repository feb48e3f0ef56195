/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_PROGRAMS_DECODE_STATE_H
#define PROBE_AGENT_PROGRAMS_DECODE_STATE_H

#include "probe-agent/programs/decode.h"

/* The inside of the decoders, for decode*.c only. */

struct decode {
	struct decode_options opt;
	struct buf a, b; /* texts between two decoders of a chain */
	uint64_t replaced;
	char why[128];
	struct decode_symbols *symbols; /* NULL: not read yet */
	struct decode_cgroups *cgroups;
	struct decode_pci *pci;
	struct decode_regexps *regexps;
};

/* One decoder: in is the bytes if raw, else the text of the one before. */
struct decode_in {
	const struct spec_decoder *spec;
	const uint8_t *data;
	size_t len;
	bool raw;
};

/* Each appends its text to out. 0, DECODE_SKIP, -EINVAL, -ENOMEM. */
typedef int decode_fn(struct decode *d, const struct decode_in *in,
		      struct buf *out);

/* A number out of 1, 2, 4 or 8 bytes, or decimal text. -EINVAL. */
int decode_number(struct decode *d, const struct decode_in *in, uint64_t *out);
/* Fills d->why. Returns -EINVAL. */
int decode_fail(struct decode *d, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* --- decode_basic.c --- */
decode_fn decode_dname, decode_errno, decode_hex, decode_ifname, decode_inet_ip,
	decode_majorminor, decode_static_map, decode_string, decode_syscall,
	decode_uint;
/* --- decode_ours.c --- */
decode_fn decode_int, decode_bool, decode_duration, decode_comm, decode_exe,
	decode_user, decode_container, decode_service, decode_cgroup_container;

/* --- decode_ksym.c --- */
decode_fn decode_ksym, decode_kstack;
void decode_symbols_free(struct decode_symbols *s);

/* --- decode_cgroup.c --- */
decode_fn decode_cgroup;
void decode_cgroups_free(struct decode_cgroups *c);
/* The path of a cgroup, or NULL. Borrowed until the next call. */
const char *decode_cgroup_path(struct decode *d, uint64_t id);

/* --- decode_pci.c --- */
decode_fn decode_pci_class, decode_pci_device, decode_pci_subclass,
	decode_pci_vendor;
void decode_pci_free(struct decode_pci *p);

/* --- decode_regexp.c --- */
decode_fn decode_regexp;
void decode_regexps_free(struct decode_regexps *r);
/* Compiles the patterns of one decoder. -EINVAL, said in d->why. */
int decode_regexp_check(struct decode *d, const struct spec_decoder *spec);

#endif /* PROBE_AGENT_PROGRAMS_DECODE_STATE_H */
