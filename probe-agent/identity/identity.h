/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_IDENTITY_IDENTITY_H
#define PROBE_AGENT_IDENTITY_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe-agent/http/exchange.h"
#include "probe-agent/identity/card.h"
#include "proto/batch.h"

/*
 * The identity of a process, resolved once per process start and comm: a PID
 * that is reused comes with another start time and so gets another entry. The
 * name of its service is decided by naming.h, or by the first matching rule of
 * the configuration. A process that has exited already is known by the comm
 * that the tap recorded.
 *
 * The container's id is part of the identity, not of the name: two replicas of
 * a service are one service with two instances. Entries are capped: when the
 * table is full, the least recently used one is evicted and counted. Not
 * locked: loop thread only.
 */
struct identity_table;

struct identity {
	uint64_t number; /* identifies these texts, never reused; 0: none */
	/*
	 * The columns of a resource, "" if none. instance: see naming.h;
	 * container: the full id; executable: the name without folder.
	 */
	BATCH_RESOURCE_TEXTS;
	const char *path; /* as in /proc/PID/exe, "" if unknown */
	bool self; /* one of redtap's own programs */
	bool gone; /* exited before it was inspected: only the comm is known */
};

/* The first rule whose given fields all match names the service. */
struct identity_rule {
	char *executable; /* glob, NULL: any */
	char *container; /* glob of the id, NULL: any */
	uint16_t port; /* local port, 0: any */
	char *service; /* the name to give */
	char *namespace_; /* NULL: none */
};

struct process;
/* Whether all but the port of a rule match. */
bool identity_rule_matches(const struct identity_rule *r,
			   const struct process *p);

struct identity_options {
	const char *node; /* copied */
	const char *proc; /* copied; NULL: "/proc" */
	size_t cap; /* most entries; 0: 4096 */
	const struct identity_rule *rules; /* borrowed, not copied */
	size_t n_rules;
	struct card_options cards;
	bool use_labels, use_scripts; /* for names: see naming.h */
};

struct identity_stats {
	uint64_t resolved, evicted, gone; /* since the start */
	uint64_t entries; /* held now */
	struct card_stats cards;
};

/* Sets *out, released by identity_free(). -EINVAL: node or cap. -ENOMEM. */
int identity_new(struct identity_table **out,
		 const struct identity_options *opt);
void identity_free(struct identity_table *t); /* NULL is fine */

/*
 * Returns the identity of a process, borrowed until the next call. Never NULL:
 * one that has exited is known by its comm, and without memory every new one is
 * "unknown". Reads a few files of /proc at the first call for a process.
 */
const struct identity *identity_lookup(struct identity_table *t,
				       const struct endpoint *end);
/*
 * The same without names, for those who do not need them: container,
 * executable, path, self and gone; all else is "". A container's card is read
 * later, by identity_idle() or, if that did not come to it, by
 * identity_lookup().
 */
const struct identity *identity_process(struct identity_table *t,
					const struct endpoint *end);

/* Reads cards that will be needed, for at most CARD_IDLE_NS. */
void identity_idle(struct identity_table *t);

void identity_stats(const struct identity_table *t, struct identity_stats *out);

#endif /* PROBE_AGENT_IDENTITY_IDENTITY_H */
