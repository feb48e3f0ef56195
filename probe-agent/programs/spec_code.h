/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_PROGRAMS_SPEC_CODE_H
#define PROBE_AGENT_PROGRAMS_SPEC_CODE_H

#include "probe-agent/programs/spec_reader.h"

/* `programs:` with bcc `code:` (ebpf_exporter v1), for spec_parse.c only. */

typedef int spec_begin_fn(struct spec *s, const char *path,
			  enum spec_dialect dialect, const char *prefix,
			  const struct spec_options *opt);

/* Appends a spec for each program. -EINVAL fills r->e; -ENOMEM. */
int spec_parse_code(struct spec_reader *r, int root, struct spec **out,
		    size_t *n, spec_begin_fn *begin);

#endif /* PROBE_AGENT_PROGRAMS_SPEC_CODE_H */
