/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_IDENTITY_NAMING_H
#define PROBE_AGENT_IDENTITY_NAMING_H

#include <stdbool.h>
#include <stdint.h>

#include "probe-agent/identity/card.h"
#include "probe-agent/identity/cgroup.h"

/*
 * Decides what a process is called, by the order of OpenTelemetry's conventions
 * for Kubernetes. This is the only place that does; all others bring facts. The
 * service's name is the first of
 *
 *   rule          of the configuration (services:)
 *   environment   OTEL_SERVICE_NAME, service.name in OTEL_RESOURCE_ATTRIBUTES
 *   annotation    resource.opentelemetry.io/service.name
 *   labels        app.kubernetes.io/instance, then name; only if asked for
 *   workload      of the pod; a sidecar is WORKLOAD/CONTAINER, so that no
 * request is counted for proxy and application under one name compose service
 * of the compose project container     name; not of a machine (LXC, nspawn),
 * whose units come first unit          of systemd script        of an
 * interpreter; only if asked for executable    else the command's name
 *
 * A value that begins with "$(" is one that was never filled in: it is not set.
 * Pure; any thread.
 */

#define NAMING_LEN 1024

/* Texts are borrowed; NULL or "": not known. */
struct naming_facts {
	const char *rule_service, *rule_namespace;
	const char *env_service, *env_namespace;
	const struct cgroup_place *place;
	const struct card *card; /* NULL: not in a container */
	const char *script; /* NULL: not asked for, too */
	const char *executable;
	const char *node;
	bool use_labels;
	int64_t now_s; /* since 1970 */
};

struct naming {
	char service[NAMING_LEN + 1];
	char namespace_[NAMING_LEN + 1]; /* "" if none */
	char instance[NAMING_LEN + 1];
};

/* One step: what it would say ("" if nothing), whence, and is it the one? */
typedef void naming_note_fn(void *arg, const char *step, const char *value,
			    const char *whence, bool taken);

/* note may be NULL; else it is called for every step, in order. */
void naming_decide(struct naming *out, const struct naming_facts *facts,
		   naming_note_fn *note, void *arg);

#endif /* PROBE_AGENT_IDENTITY_NAMING_H */
