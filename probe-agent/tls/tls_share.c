/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tls/tls_share.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "probe-agent/tls/tls_owner.h"

struct entry {
	uint64_t owner;
	uint32_t places;
	uint64_t spent_ns; /* in the current window */
};

struct tls_share {
	struct tls_share_options opt;
	struct entry host, others; /* others: those that find no entry */
	struct entry entry[TLS_SHARE_OWNERS];
	uint32_t n;
	uint32_t taken; /* places, but for the host's */
	uint64_t window_ns; /* when the window began */
	uint64_t all_spent_ns;
	bool any_spent;
};

int tls_share_new(struct tls_share **out, const struct tls_share_options *opt)
{
	assert(opt->kept < opt->places);
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	(*out)->opt = *opt;
	return 0;
}

void tls_share_free(struct tls_share *s)
{
	free(s);
}

/*
 * Never NULL. An entry without places and without time spent says nothing, so
 * it is used for another owner.
 */
static struct entry *entry_of(struct tls_share *s, uint64_t owner)
{
	struct entry *unused = NULL;

	if (owner == TLS_OWNER_HOST)
		return &s->host;
	for (uint32_t i = 0; i < s->n; i++) {
		struct entry *e = &s->entry[i];

		if (e->owner == owner)
			return e;
		if (!e->places && !e->spent_ns)
			unused = e;
	}
	if (!unused && s->n < TLS_SHARE_OWNERS)
		unused = &s->entry[s->n++];
	if (!unused)
		return &s->others;
	*unused = (struct entry){ .owner = owner };
	return unused;
}

int tls_share_take(struct tls_share *s, uint64_t owner)
{
	struct entry *e = entry_of(s, owner);

	if (s->host.places + s->taken >= s->opt.places)
		return -ENOSPC;
	if (e != &s->host) {
		if (e->places >= s->opt.each ||
		    s->taken >= s->opt.places - s->opt.kept)
			return -ENOSPC;
		s->taken++;
	}
	e->places++;
	return 0;
}

void tls_share_give(struct tls_share *s, uint64_t owner)
{
	struct entry *e = entry_of(s, owner);

	/* Taken while it shared an entry with others. */
	if (!e->places && e != &s->host)
		e = &s->others;
	assert(e->places > 0);
	e->places--;
	if (e != &s->host)
		s->taken--;
}

static void begin_window(struct tls_share *s, uint64_t now_ns)
{
	if (now_ns < s->window_ns + s->opt.window_ns)
		return;
	s->window_ns = now_ns;
	s->all_spent_ns = 0;
	s->any_spent = false;
	s->others.spent_ns = 0;
	for (uint32_t i = 0; i < s->n; i++)
		s->entry[i].spent_ns = 0;
}

void tls_share_spend(struct tls_share *s, uint64_t owner, uint64_t ns,
		     uint64_t now_ns)
{
	struct entry *e;

	begin_window(s, now_ns);
	if (owner == TLS_OWNER_HOST)
		return;
	e = entry_of(s, owner);
	e->spent_ns += ns;
	s->all_spent_ns += ns;
	s->any_spent |= e->spent_ns >= s->opt.time_ns ||
			s->all_spent_ns >= s->opt.all_time_ns;
}

bool tls_share_any_spent(struct tls_share *s, uint64_t now_ns)
{
	begin_window(s, now_ns);
	return s->any_spent;
}

bool tls_share_spent(struct tls_share *s, uint64_t owner, uint64_t now_ns)
{
	begin_window(s, now_ns);
	if (owner == TLS_OWNER_HOST || !s->any_spent)
		return false;
	return s->all_spent_ns >= s->opt.all_time_ns ||
	       entry_of(s, owner)->spent_ns >= s->opt.time_ns;
}
