/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_IDENTITY_PROCFS_H
#define PROBE_AGENT_IDENTITY_PROCFS_H

#include <stdint.h>

/*
 * What /proc says about a process. Reads a few small files. Stateless; any
 * thread.
 */

/*
 * Opens the folder of a process; the caller closes *out. The descriptor stays
 * with this process even if its PID is reused meanwhile. start_ns is its start
 * by CLOCK_BOOTTIME, 0: unknown. -ENOENT: the process is gone, its PID belongs
 * to another one by now, or the folder cannot be read.
 */
int procfs_open(const char *proc, uint32_t pid, uint64_t start_ns, int *out);

#define PROCFS_CONTAINER_ID_LEN 64

struct procfs_cgroup {
	char container[PROCFS_CONTAINER_ID_LEN + 1]; /* "" if none */
	char unit[256]; /* systemd unit without .service, "" if none */
};
/* Reads cgroup v1 and v2. *out is empty if the file cannot be read. */
void procfs_cgroup(int dir, struct procfs_cgroup *out);

struct procfs_otel {
	char *service, *namespace_; /* malloc'd or NULL */
};
/*
 * Reads OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES from the environment
 * that the process was started with. The caller frees the texts of *out.
 */
void procfs_otel(int dir, struct procfs_otel *out);

/*
 * Returns the path of the executable, malloc'd; "" if it cannot be read. NULL:
 * out of memory.
 */
char *procfs_exe(int dir);

#endif /* PROBE_AGENT_IDENTITY_PROCFS_H */
