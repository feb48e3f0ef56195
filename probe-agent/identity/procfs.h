/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_IDENTITY_PROCFS_H
#define PROBE_AGENT_IDENTITY_PROCFS_H

#include <stdbool.h>
#include <stdint.h>

#include "probe-agent/identity/cgroup.h"
#include "probe-agent/identity/script.h"

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

/* Of either cgroup version. Empty if it cannot be read. */
void procfs_cgroup(int dir, struct cgroup_place *out);

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

/* What an interpreter runs, see script.h. False: not known. */
bool procfs_script(int dir, const char *executable,
		   char name[SCRIPT_NAME_LEN + 1]);

#endif /* PROBE_AGENT_IDENTITY_PROCFS_H */
