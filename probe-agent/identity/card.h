/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_IDENTITY_CARD_H
#define PROBE_AGENT_IDENTITY_CARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe-agent/identity/cgroup.h"

/*
 * The card of a container: its name, image, pod and so on, read once per
 * container from the files that its runtime keeps on the node. No socket, no
 * API and no cluster is asked. Not locked: the loop thread owns the table.
 *
 * Reading is work for idle time: card_want() notes a container, card_idle()
 * reads what was noted for at most CARD_IDLE_NS at a time. card_get() reads at
 * once if that was not enough, as a name can't be changed later.
 */

enum card_field {
	CARD_NAME, /* in its pod, else the runtime's name for it */
	CARD_IMAGE,
	CARD_POD_UID,
	CARD_POD,
	CARD_K8S_NAMESPACE,
	CARD_COMPOSE_PROJECT,
	CARD_COMPOSE_SERVICE,
	CARD_OTEL_SERVICE, /* annotations resource.opentelemetry.io/… */
	CARD_OTEL_NAMESPACE,
	CARD_OTEL_INSTANCE,
	CARD_APP_INSTANCE, /* labels app.kubernetes.io/… */
	CARD_APP_NAME,
	CARD_TEMPLATE_HASH, /* label of a Deployment's pods */
	CARD_JOB, /* likewise of a Job's */
	CARD_MAIN, /* kubectl.kubernetes.io/default-container */
	CARD_LABELS, /* those that were chosen, as redtap.proto has them */
	CARD_FIELDS,
};

struct card {
	const char *text[CARD_FIELDS]; /* NULL: not known */
	/* Was started before the other containers of its pod that run now. */
	bool first;
	char source[256]; /* the file, or "" if none tells of the container */
};

struct card_options {
	const char *root; /* of the node's files; NULL: see card_root() */
	char *const *labels; /* globs of keys; borrowed for the table's life */
	size_t n_labels;
	size_t cap; /* cards remembered; 0: 4096 */
};

#define CARD_IDLE_NS 1000000u

struct card_stats {
	uint64_t read, missing; /* with and without a file that tells */
	uint64_t evicted; /* the one unused for longest makes room */
	uint64_t refused; /* files too large, malformed or not plain files */
	uint64_t slow; /* took longer than CARD_IDLE_NS */
	uint64_t unnoted; /* card_want() found its list full: read later */
	uint64_t entries; /* now */
};

struct card_table;

/* Sets *out, released by card_free(). -ENOMEM. */
int card_new(struct card_table **out, const struct card_options *opt);
void card_free(struct card_table *t); /* NULL is fine */

/* Notes that the container's card will be needed. */
void card_want(struct card_table *t, const struct cgroup_place *place);
/* Reads what was noted. Returns how many are left. */
size_t card_idle(struct card_table *t);

/*
 * The card of a container, which must have an id. NULL: without memory.
 * Borrowed until the next call of card_get() or card_idle().
 */
const struct card *card_get(struct card_table *t,
			    const struct cgroup_place *place);

void card_stats(const struct card_table *t, struct card_stats *out);

/*
 * Where the node's files are: "/proc/1/root" for a program with a root of its
 * own, as in a container with the host's processes, else "/". Static.
 */
const char *card_root(void);

#endif /* PROBE_AGENT_IDENTITY_CARD_H */
