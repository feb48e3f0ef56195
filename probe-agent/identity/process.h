/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_IDENTITY_PROCESS_H
#define PROBE_AGENT_IDENTITY_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "probe-agent/identity/cgroup.h"
#include "probe-agent/identity/naming.h"

/*
 * What /proc says of one process, for its name. Not locked.
 */
struct process {
	char *env_service, *env_namespace; /* malloc'd or NULL */
	char *path; /* of the executable, "" if unknown */
	char *executable; /* its name, else the comm */
	char *script; /* malloc'd or NULL */
	struct cgroup_place place;
	bool gone; /* it had ended: only its comm is known */
};

/*
 * Reads the process into *out, which process_fini() releases also after an
 * error. start_ns: see procfs_open(). The script is looked for if asked to.
 * -ENOMEM.
 */
int process_read(struct process *out, const char *proc, uint32_t pid,
		 uint64_t start_ns, const char *comm, bool script);
void process_fini(struct process *p);

/* Sets what naming_decide() is to know of the process; borrows from it. */
void process_facts(const struct process *p, struct naming_facts *out);

#endif /* PROBE_AGENT_IDENTITY_PROCESS_H */
