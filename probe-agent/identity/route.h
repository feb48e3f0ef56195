/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_IDENTITY_ROUTE_H
#define PROBE_AGENT_IDENTITY_ROUTE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Request targets → route templates, so that raw paths never become labels.
 * The query is dropped; the first pattern of the configuration that matches is
 * the route; else each segment that looks like data is replaced:
 *
 *   {id}     42, 3f2a9c01b2, V1StGXR8_Z5jdHi6B-myT, order-12345
 *   {uuid}   9b2e5c1a-…
 *   {date}   2024-05-06, 2024-05-06T07:08:09Z
 *   {email}  a@b.example, a%40b.example
 *   {text}   anything but plain ASCII: caf%C3%A9, "a b", control bytes
 *
 * and so are the parts of file names between dots and dashes: app.{id}.js. The
 * rest is normalised (dot segments, needless percent-encoding, parameters after
 * ';', doubled slashes) and keeps its case and its trailing slash. The number
 * of distinct routes per service is capped: a new one beyond the cap becomes
 * ROUTE_OVERFLOW.
 *
 * Results are ASCII without blanks or control bytes, at most
 * LIMIT_STRING_BYTES, and live as long as the table. Not locked: the agent's
 * loop thread owns it.
 */
struct route_table;

#define ROUTE_OVERFLOW "/{overflow}"
#define ROUTE_CAP_DEFAULT 1000u

struct route_options {
	/*
	 * Like "/users/{name}/posts". {name} and an asterisk match one segment
	 * each, an asterisk at the end one or more. Tried in order. Copied.
	 */
	const char *const *patterns;
	size_t n_patterns;
	uint32_t cap; /* distinct routes per service; 0: ROUTE_CAP_DEFAULT */
};

/*
 * Sets *out, released by route_free(). -EINVAL: a pattern does not begin with
 * '/', is too long or not printable ASCII. -ENOMEM.
 */
int route_new(struct route_table **out, const struct route_options *opt);
void route_free(struct route_table *t); /* NULL is fine */

/*
 * Returns the route of a request target (origin, absolute or asterisk form; it
 * may be cut off, or any bytes at all) that was sent to a service. "" if the
 * target has no path, like CONNECT's host:port, or memory runs out.
 */
const char *route_template(struct route_table *t, const char *service,
			   const char *target, size_t len);

/*
 * The same for a target that names a method, "/pkg.Service/Method": nothing in
 * it is replaced, unless it has characters that no name has.
 */
const char *route_method(struct route_table *t, const char *service,
			 const char *target, size_t len);

struct route_stats {
	uint64_t overflowed; /* requests whose route became ROUTE_OVERFLOW */
	uint64_t routes; /* distinct ones held now, over all services */
};

void route_stats(const struct route_table *t, struct route_stats *out);

#endif /* PROBE_AGENT_IDENTITY_ROUTE_H */
