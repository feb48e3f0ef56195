/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/identity/identity.h"

#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "probe-agent/identity/procfs.h"

#define CAP_DEFAULT 4096
#define INSTANCE_ID_LEN 12
#define NO_RULE UINT_MAX

/*
 * The entries of one bucket form a list. All entries also form a list in order
 * of last use, whose oldest is evicted when the table is full.
 */
struct entry {
	struct entry *next; /* in the bucket */
	struct entry *newer, *older;
	uint64_t number; /* of entries ever made, from 1 */
	uint32_t tgid;
	uint64_t start_ns;
	char comm[16]; /* part of the key: exec() keeps PID and start time */
	char *service, *namespace_, *instance, *container, *path;
	char *executable;
	unsigned rule; /* first matching one without a port, or NO_RULE */
	bool self, gone;
};

struct identity_table {
	struct identity_options opt;
	char *node, *proc;
	struct entry **bucket;
	size_t mask; /* buckets - 1 */
	struct entry *newest, *oldest;
	uint64_t resolved, evicted, gone, entries, made;
	struct identity answer;
};

/* The identity of every new process when memory runs out. */
static const struct identity unknown = {
	.service = "unknown",
	.namespace_ = "",
	.instance = "",
	.container = "",
	.executable = "",
	.path = "",
	.gone = true,
};

/* --- the table --- */

static size_t hash_process(uint32_t tgid, uint64_t start_ns)
{
	uint64_t h = start_ns ^ (uint64_t)tgid * UINT64_C(0x9e3779b97f4a7c15);

	h ^= h >> 32;
	h *= UINT64_C(0xd6e8feb86659fd93);
	return (size_t)(h ^ h >> 32);
}

static void free_entry(struct entry *e)
{
	if (!e)
		return;
	free(e->service);
	free(e->namespace_);
	free(e->instance);
	free(e->container);
	free(e->path);
	free(e->executable);
	free(e);
}

int identity_new(struct identity_table **out,
		 const struct identity_options *opt)
{
	size_t buckets = 64;
	struct identity_table *t;

	if (!opt->node || opt->cap > (1u << 24))
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->opt = *opt;
	if (!t->opt.cap)
		t->opt.cap = CAP_DEFAULT;
	while (buckets < t->opt.cap)
		buckets *= 2;
	t->mask = buckets - 1;
	t->node = strdup(opt->node);
	t->proc = strdup(opt->proc ? opt->proc : "/proc");
	t->bucket = calloc(buckets, sizeof(struct entry *));
	if (!t->node || !t->proc || !t->bucket) {
		identity_free(t);
		return -ENOMEM;
	}
	*out = t;
	return 0;
}

void identity_free(struct identity_table *t)
{
	if (!t)
		return;
	while (t->oldest) {
		struct entry *e = t->oldest;

		t->oldest = e->newer;
		free_entry(e);
	}
	free(t->bucket);
	free(t->node);
	free(t->proc);
	free(t);
}

static void unlink_used(struct identity_table *t, struct entry *e)
{
	if (e->newer)
		e->newer->older = e->older;
	else
		t->newest = e->older;
	if (e->older)
		e->older->newer = e->newer;
	else
		t->oldest = e->newer;
}

static void link_newest(struct identity_table *t, struct entry *e)
{
	e->newer = NULL;
	e->older = t->newest;
	if (t->newest)
		t->newest->newer = e;
	else
		t->oldest = e;
	t->newest = e;
}

static void evict_oldest(struct identity_table *t)
{
	struct entry *e = t->oldest, **at;

	at = &t->bucket[hash_process(e->tgid, e->start_ns) & t->mask];
	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	unlink_used(t, e);
	free_entry(e);
	t->entries--;
	t->evicted++;
}

/* --- resolving --- */

static bool glob(const char *pattern, const char *executable, const char *path)
{
	return !fnmatch(pattern, strchr(pattern, '/') ? path : executable, 0);
}

static bool rule_matches(const struct identity_rule *r, const struct entry *e)
{
	if (r->executable && !glob(r->executable, e->executable, e->path))
		return false;
	if (r->container &&
	    (!*e->container || fnmatch(r->container, e->container, 0)))
		return false;
	return true;
}

static char *name_instance(const struct identity_table *t,
			   const char *container)
{
	char *text = NULL;

	if (*container) {
		if (asprintf(&text, "%s/%.*s", t->node, INSTANCE_ID_LEN,
			     container) < 0)
			return NULL;
		return text;
	}
	return strdup(t->node);
}

static char *name_executable(const struct entry *e, const char *comm)
{
	const char *base = e->path ? strrchr(e->path, '/') : NULL;

	if (base && base[1])
		return strdup(base + 1);
	return strdup(*comm ? comm : "unknown");
}

static bool is_self(const char *executable)
{
	return !strcmp(executable, "redtap-agent") ||
	       !strcmp(executable, "redtap-aggregator");
}

/* Fills in the names of e. -ENOMEM. */
static int resolve_process(struct identity_table *t, const struct endpoint *end,
			   struct entry *e)
{
	struct procfs_cgroup cg = { .container = "" };
	struct procfs_otel otel = { .service = NULL };
	char comm[sizeof(end->comm) + 1] = "";
	int fd = -1;

	memcpy(comm, end->comm, sizeof(end->comm));
	e->gone = procfs_open(t->proc, end->tgid, end->start_ns, &fd) != 0;
	if (!e->gone) {
		procfs_cgroup(fd, &cg);
		procfs_otel(fd, &otel);
		e->path = procfs_exe(fd);
		close(fd);
	} else {
		e->path = strdup("");
		t->gone++;
	}
	e->executable = name_executable(e, comm);
	e->container = strdup(cg.container);
	e->instance = name_instance(t, cg.container);
	e->namespace_ = otel.namespace_ ? otel.namespace_ : strdup("");
	if (otel.service && *otel.service)
		e->service = strdup(otel.service);
	else if (cg.unit[0])
		e->service = strdup(cg.unit);
	else if (e->executable)
		e->service = strdup(e->executable);
	free(otel.service);
	if (!e->path || !e->executable || !e->container || !e->instance ||
	    !e->namespace_ || !e->service)
		return -ENOMEM;
	e->self = is_self(e->executable);
	e->rule = NO_RULE;
	for (unsigned i = 0; i < t->opt.n_rules && e->rule == NO_RULE; i++)
		if (!t->opt.rules[i].port && rule_matches(&t->opt.rules[i], e))
			e->rule = i;
	t->resolved++;
	return 0;
}

static struct entry *find_entry(struct identity_table *t,
				const struct endpoint *end)
{
	size_t at = hash_process(end->tgid, end->start_ns) & t->mask;
	struct entry *e = t->bucket[at];

	while (e && (e->tgid != end->tgid || e->start_ns != end->start_ns ||
		     memcmp(e->comm, end->comm, sizeof(e->comm)) != 0))
		e = e->next;
	if (e) {
		if (t->newest != e) {
			unlink_used(t, e);
			link_newest(t, e);
		}
		return e;
	}
	e = calloc(1, sizeof(*e));
	if (!e || resolve_process(t, end, e)) {
		free_entry(e);
		return NULL;
	}
	e->tgid = end->tgid;
	e->start_ns = end->start_ns;
	memcpy(e->comm, end->comm, sizeof(e->comm));
	e->number = ++t->made;
	while (t->entries >= t->opt.cap)
		evict_oldest(t);
	e->next = t->bucket[at];
	t->bucket[at] = e;
	link_newest(t, e);
	t->entries++;
	return e;
}

/* The first matching rule, those with a port included. NULL: none. */
static const struct identity_rule *
find_rule(const struct identity_table *t, const struct entry *e, uint16_t port)
{
	for (unsigned i = 0; i < t->opt.n_rules; i++) {
		const struct identity_rule *r = &t->opt.rules[i];

		if (i == e->rule)
			return r;
		if (r->port && r->port == port && rule_matches(r, e))
			return r;
	}
	return NULL;
}

const struct identity *identity_lookup(struct identity_table *t,
				       const struct endpoint *end)
{
	const struct identity_rule *rule;
	const struct entry *e = find_entry(t, end);

	if (!e)
		return &unknown;
	t->answer = (struct identity){
		.number = e->number * (t->opt.n_rules + 1),
		.service = e->service,
		.namespace_ = e->namespace_,
		.instance = e->instance,
		.container = e->container,
		.executable = e->executable,
		.path = e->path,
		.self = e->self,
		.gone = e->gone,
	};
	rule = t->opt.n_rules ? find_rule(t, e, end->local_port) : NULL;
	if (rule) {
		t->answer.number += (size_t)(rule - t->opt.rules) + 1;
		t->answer.service = rule->service;
		if (rule->namespace_)
			t->answer.namespace_ = rule->namespace_;
	}
	return &t->answer;
}

void identity_stats(const struct identity_table *t, struct identity_stats *out)
{
	out->resolved = t->resolved;
	out->evicted = t->evicted;
	out->gone = t->gone;
	out->entries = t->entries;
}
