/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TLS_TLS_PROGRAMS_H
#define PROBE_AGENT_TLS_TLS_PROGRAMS_H

#include <stdbool.h>

#include "probe-agent/tls/tls.h"

struct tls_bpf;

/*
 * Loads the TLS programs that the kernel accepts; logs those that it refuses.
 * *many: see bpf_attach_many(). *out is the caller's to destroy, also after an
 * error; NULL: could not be opened. 0 or negative errno.
 */
int tls_programs_load(struct tls_bpf **out, bool *many,
		      const struct tls_options *opt);

#endif /* PROBE_AGENT_TLS_TLS_PROGRAMS_H */
