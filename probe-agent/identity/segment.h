/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_IDENTITY_SEGMENT_H
#define PROBE_AGENT_IDENTITY_SEGMENT_H

#include <stddef.h>

/*
 * One segment of a path: what it is, and what stands for it in a route. The
 * judgement behind route.h, which says what the templates are. Pure.
 */

#define SEGMENT_MAX_BYTES 256u /* decoded; a longer one is an {id} */
#define SEGMENT_OUT_BYTES 96u /* no template is longer */

/*
 * Undoes percent-encoding into to[SEGMENT_MAX_BYTES] and drops parameters.
 * Bytes written, or SEGMENT_MAX_BYTES + 1 if there are more.
 */
size_t segment_decode(char *to, const char *from, size_t len);

/* Writes what stands for a decoded segment, not terminated; its length. */
size_t segment_template(char out[SEGMENT_OUT_BYTES], const char *s, size_t len);

#endif /* PROBE_AGENT_IDENTITY_SEGMENT_H */
