/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_IDENTITY_SEGMENT_H
#define PROBE_AGENT_IDENTITY_SEGMENT_H

#include <stddef.h>

/*
 * Classifies one segment of a path and writes what replaces it in a route. The
 * placeholders are listed in route.h. Stateless; any thread.
 */

#define SEGMENT_MAX_BYTES 256u /* decoded; a longer segment becomes {id} */
#define SEGMENT_OUT_BYTES 96u /* room for every replacement */

/*
 * Undoes percent-encoding into to[SEGMENT_MAX_BYTES] and drops parameters
 * (from a ';' on). Returns the bytes written, or SEGMENT_MAX_BYTES + 1 if they
 * do not fit.
 */
size_t segment_decode(char *to, const char *from, size_t len);

/*
 * Writes what replaces a decoded segment in a route, without a NUL. Returns its
 * length.
 */
size_t segment_template(char out[SEGMENT_OUT_BYTES], const char *s, size_t len);

#endif /* PROBE_AGENT_IDENTITY_SEGMENT_H */
