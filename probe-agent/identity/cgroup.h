/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_IDENTITY_CGROUP_H
#define PROBE_AGENT_IDENTITY_CGROUP_H

#include <stddef.h>

/*
 * What the paths of /proc/PID/cgroup say: container, pod, systemd unit. Knows
 * how docker, containerd, CRI-O, podman and the kubelet (with the drivers
 * systemd and cgroupfs), LXC, nspawn, ECS, Nomad and Garden name their groups,
 * with cgroup v1, v2, both at once, and in a cgroup namespace. Pure; any
 * thread.
 */

#define CGROUP_ID_LEN 64

enum cgroup_runtime {
	CGROUP_NONE, /* no container */
	CGROUP_PLAIN, /* an id without its runtime's name */
	CGROUP_DOCKER,
	CGROUP_CONTAINERD,
	CGROUP_CRIO,
	CGROUP_PODMAN,
	CGROUP_MACHINE, /* LXC, nspawn: a whole system, and the id is its name
			 */
	CGROUP_OTHER, /* ECS, Nomad, Garden: an id, and no card */
};

struct cgroup_place {
	enum cgroup_runtime runtime;
	char container[CGROUP_ID_LEN + 1]; /* id; "" if none */
	char pod_uid[37]; /* with dashes; "" if none */
	char unit[256]; /* systemd's, without .service; "" if none */
};

/* The file's text. The last container of a path is the process's own. */
void cgroup_parse(const char *text, size_t len, struct cgroup_place *out);

/* For people: "docker", "a machine" … */
const char *cgroup_runtime_name(enum cgroup_runtime runtime);

#endif /* PROBE_AGENT_IDENTITY_CGROUP_H */
