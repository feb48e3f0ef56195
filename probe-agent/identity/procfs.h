/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_IDENTITY_PROCFS_H
#define PROBE_AGENT_IDENTITY_PROCFS_H

#include <stdint.h>

/*
 * What /proc says of a process. Stateless, any thread; reads a few small files.
 */

/*
 * The folder of the process, held open: it stays that process's even if the PID
 * is used again meanwhile. start_ns is CLOCK_BOOTTIME, 0 if not known. *out is
 * to be closed. -ENOENT if it is gone, or another one by now.
 */
int procfs_open(const char *proc, uint32_t pid, uint64_t start_ns, int *out);

#define PROCFS_CONTAINER_ID_LEN 64

struct procfs_cgroup {
	char container[PROCFS_CONTAINER_ID_LEN + 1]; /* "" if none */
	char unit[256]; /* systemd's, without .service; "" if none */
};
/* Of either cgroup version. Empty if it cannot be read. */
void procfs_cgroup(int dir, struct procfs_cgroup *out);

struct procfs_otel {
	char *service, *namespace_; /* malloc'd or NULL */
};
/* OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES as the process started. */
void procfs_otel(int dir, struct procfs_otel *out);

/* The path of the executable, malloc'd; "" if it cannot be told. NULL: memory.
 */
char *procfs_exe(int dir);

#endif /* PROBE_AGENT_IDENTITY_PROCFS_H */
