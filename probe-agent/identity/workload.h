/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_IDENTITY_WORKLOAD_H
#define PROBE_AGENT_IDENTITY_WORKLOAD_H

#include <stddef.h>
#include <stdint.h>

/*
 * The workload of a pod, from what the node knows: two labels, if the runtime
 * keeps them, else the form of the pod's name. Kubernetes makes names by exact
 * rules, so a name that was only cut at a dash is never taken for one of them:
 *
 *   NAME-HASH-XXXXX       Deployment: HASH is a 32-bit number written with ten
 *                         of the 27 characters, XXXXX five of the 27
 *   NAME-MINUTES-XXXXX    CronJob: minutes since 1970, of 2020 or later
 *   NAME-XXXXX            DaemonSet, ReplicaSet or Job
 *   NAME-0, NAME-1 …      StatefulSet
 *   NAME-NODE             static pod
 *
 * Pure; any thread.
 */

#define WORKLOAD_NAME_LEN 253

struct workload_pod {
	const char *name;
	const char *template_hash, *job; /* labels; NULL: not known */
	const char *node;
	int64_t now_s; /* since 1970: a CronJob's minutes are not later */
};

/*
 * Writes the workload's name, which may be the pod's own. Returns what it is,
 * for people; static: "Deployment", "Job", "pod" …
 */
const char *workload_of(const struct workload_pod *pod,
			char name[WORKLOAD_NAME_LEN + 1]);

#endif /* PROBE_AGENT_IDENTITY_WORKLOAD_H */
