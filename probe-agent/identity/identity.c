/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/identity/identity.h"

#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "probe-agent/identity/naming.h"
#include "probe-agent/identity/process.h"

#define CAP_DEFAULT 4096
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
	struct process process;
	/* Columns of the resource, malloc'd; not before `named`. */
	char *column[RESOURCE_N];
	struct identity identity; /* with these columns; without a rule */
	unsigned rule; /* first matching one without a port, or NO_RULE */
	bool self, named;
};

struct identity_table {
	struct identity_options opt;
	struct card_table *cards;
	char *node, *proc;
	struct entry **bucket;
	size_t mask; /* buckets - 1 */
	struct entry *newest, *oldest;
	uint64_t resolved, evicted, gone, entries, made;
	struct identity answer;
};

/* The identity of every new process when memory runs out. */
static const struct identity unknown = {
#define UNKNOWN(name, text)                                                    \
	[RESOURCE_##name] =                                                    \
		RESOURCE_##name == RESOURCE_service ? "unknown" : "",
	.column = { RESOURCE_COLUMNS(UNKNOWN) },
#undef UNKNOWN
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
	process_fini(&e->process);
	for (size_t i = 0; i < RESOURCE_N; i++)
		free(e->column[i]);
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
	if (!t->node || !t->proc || !t->bucket ||
	    card_new(&t->cards, &opt->cards) != 0) {
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
	card_free(t->cards);
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

bool identity_rule_matches(const struct identity_rule *r,
			   const struct process *p)
{
	const char *container = p->place.container;

	if (r->executable && !glob(r->executable, p->executable, p->path))
		return false;
	if (r->container &&
	    (!*container || fnmatch(r->container, container, 0)))
		return false;
	return true;
}

static bool is_self(const char *executable)
{
	return !strcmp(executable, "redtap-agent") ||
	       !strcmp(executable, "redtap-aggregator");
}

/* Reads what /proc says. The container's card can wait for idle time. -ENOMEM.
 */
static int resolve_process(struct identity_table *t, const struct endpoint *end,
			   struct entry *e)
{
	char comm[sizeof(end->comm) + 1] = "";
	int err;

	memcpy(comm, end->comm, sizeof(end->comm));
	err = process_read(&e->process, t->proc, end->tgid, end->start_ns, comm,
			   t->opt.use_scripts);
	if (err)
		return err;
	t->gone += e->process.gone;
	e->self = is_self(e->process.executable);
	e->rule = NO_RULE;
	for (unsigned i = 0; i < t->opt.n_rules && e->rule == NO_RULE; i++)
		if (!t->opt.rules[i].port &&
		    identity_rule_matches(&t->opt.rules[i], &e->process))
			e->rule = i;
	card_want(t->cards, &e->process.place);
	t->resolved++;
	return 0;
}

static const char *card_text(const struct card *c, enum card_field f)
{
	return c && c->text[f] ? c->text[f] : "";
}

/* What is known of a process before it is named. */
static void answer_process(struct identity *out, const struct entry *e)
{
	*out = (struct identity){
		.path = e->process.path,
		.self = e->self,
		.gone = e->process.gone,
	};
	for (size_t i = 0; i < RESOURCE_N; i++)
		out->column[i] = "";
	out->container = e->process.place.container;
	out->executable = e->process.executable;
}

/* Fills in the columns of e. -ENOMEM: those that are there are not used. */
static int name_process(struct identity_table *t, struct entry *e)
{
	const struct process *p = &e->process;
	const struct card *card =
		p->place.container[0] ? card_get(t->cards, &p->place) : NULL;
	struct naming_facts facts = {
		.card = card,
		.node = t->node,
		.use_labels = t->opt.use_labels,
		.now_s = clock_real_us() / 1000000,
	};
	struct naming name;
	const char *text[RESOURCE_N] = {
		[RESOURCE_service] = name.service,
		[RESOURCE_namespace_] = name.namespace_,
		[RESOURCE_instance] = name.instance,
		[RESOURCE_container] = p->place.container,
		[RESOURCE_executable] = p->executable,
		[RESOURCE_pod_uid] = card_text(card, CARD_POD_UID),
		[RESOURCE_pod] = card_text(card, CARD_POD),
		[RESOURCE_k8s_namespace] = card_text(card, CARD_K8S_NAMESPACE),
		[RESOURCE_container_name] = card_text(card, CARD_NAME),
		[RESOURCE_image] = card_text(card, CARD_IMAGE),
		[RESOURCE_labels] = card_text(card, CARD_LABELS),
	};

	process_facts(p, &facts);
	naming_decide(&name, &facts, NULL, NULL);
	for (size_t i = 0; i < RESOURCE_N; i++) {
		free(e->column[i]);
		e->column[i] = strdup(text[i]);
		if (!e->column[i])
			return -ENOMEM;
	}
	answer_process(&e->identity, e);
	for (size_t i = 0; i < RESOURCE_N; i++)
		e->identity.column[i] = e->column[i];
	e->identity.number = e->number * (t->opt.n_rules + 1);
	e->named = true;
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
		if (r->port && r->port == port &&
		    identity_rule_matches(r, &e->process))
			return r;
	}
	return NULL;
}

const struct identity *identity_process(struct identity_table *t,
					const struct endpoint *end)
{
	const struct entry *e = find_entry(t, end);

	if (!e)
		return &unknown;
	answer_process(&t->answer, e);
	return &t->answer;
}

const struct identity *identity_lookup(struct identity_table *t,
				       const struct endpoint *end)
{
	const struct identity_rule *rule;
	struct entry *e = find_entry(t, end);

	if (!e || (!e->named && name_process(t, e)))
		return &unknown;
	rule = t->opt.n_rules ? find_rule(t, e, end->local_port) : NULL;
	if (!rule)
		return &e->identity;
	t->answer = e->identity;
	t->answer.number += (size_t)(rule - t->opt.rules) + 1;
	t->answer.service = rule->service;
	if (rule->namespace_)
		t->answer.namespace_ = rule->namespace_;
	return &t->answer;
}

void identity_idle(struct identity_table *t)
{
	card_idle(t->cards);
}

void identity_stats(const struct identity_table *t, struct identity_stats *out)
{
	out->resolved = t->resolved;
	out->evicted = t->evicted;
	out->gone = t->gone;
	out->entries = t->entries;
	card_stats(t->cards, &out->cards);
}
