/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TLS_TLS_OWNER_H
#define PROBE_AGENT_TLS_TLS_OWNER_H

#include <stddef.h>
#include <stdint.h>

/*
 * Whom a process belongs to, so that no user and no container can use up what
 * all share: the container or pod at the root of its cgroup's path, else the
 * user. A user of a delegated cgroup may give groups any name, so below
 * user.slice only the user counts; so do ids of user namespaces, in blocks of
 * 65,536. Reads /proc only. Stateless; any thread.
 */

#define TLS_OWNER_HOST UINT64_C(0) /* root outside of containers: no limits */

/* proc: "/proc". A process that is gone belongs to user 65534. */
uint64_t tls_owner_of(const char *proc, uint32_t pid);

/*
 * The same from its parts: the text of its cgroup file, its real user, and
 * whether it has the mounts of process 1. Pure.
 */
uint64_t tls_owner_key(const char *cgroup, size_t len, uint32_t uid,
		       int same_mounts);

#endif /* PROBE_AGENT_TLS_TLS_OWNER_H */
