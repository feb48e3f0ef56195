/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/ingest/refusal.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"

/* Addresses remembered; beyond that the one named longest ago is forgotten. */
#define NAMED_MAX 256u
#define AGAIN_NS (60 * CLOCK_NS_PER_S)
#define PEER_BYTES 64

/* A cause that was logged for an address. */
struct named {
	uint64_t since_ns; /* 0: unused */
	uint64_t times; /* since then */
	enum refusal cause;
	char peer[PEER_BYTES]; /* without its port */
};

struct refusal_table {
	pthread_mutex_t mutex; /* leaf, but for the log's */
	uint64_t count[REFUSALS];
	struct named named[NAMED_MAX];
};

const char *refusal_name(enum refusal cause)
{
	static const char *const names[] = {
		[REFUSAL_CONNECTIONS] = "connections",
		[REFUSAL_PLAIN] = "plain",
		[REFUSAL_TLS] = "tls",
		[REFUSAL_NO_CERTIFICATE] = "no_certificate",
		[REFUSAL_CERTIFICATE] = "certificate",
		[REFUSAL_HELLO] = "hello",
		[REFUSAL_SILENT] = "silent",
		[REFUSAL_SIZE] = "size",
		[REFUSAL_SLOW] = "slow",
		[REFUSAL_RUBBISH] = "rubbish",
		[REFUSAL_MALFORMED] = "malformed",
		[REFUSAL_OVERLAP] = "overlap",
		[REFUSAL_VERSION] = "version",
		[REFUSAL_NAME] = "name",
		[REFUSAL_TOKEN] = "token",
		[REFUSAL_CONFLICT] = "conflict",
		[REFUSAL_EXPIRED] = "expired",
		[REFUSAL_AHEAD] = "ahead",
		[REFUSAL_LEAP] = "leap",
		[REFUSAL_BEHIND] = "behind",
		[REFUSAL_AGENTS] = "agents",
		[REFUSAL_STARTS] = "starts",
		[REFUSAL_MEMORY] = "memory",
	};

	static_assert(sizeof(names) / sizeof(names[0]) == REFUSALS,
		      "every cause has its name");
	return names[cause];
}

int refusal_new(struct refusal_table **out)
{
	struct refusal_table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	pthread_mutex_init(&t->mutex, NULL);
	*out = t;
	return 0;
}

void refusal_free(struct refusal_table *t)
{
	if (!t)
		return;
	pthread_mutex_destroy(&t->mutex);
	free(t);
}

/* The address without its port: a peer dials from a new port each time. */
static void host_of(const char *peer, char out[PEER_BYTES])
{
	const char *colon = strrchr(peer, ':');

	snprintf(out, PEER_BYTES, "%.*s",
		 (int)(colon ? colon - peer : (ptrdiff_t)strlen(peer)), peer);
}

/*
 * Returns the entry to log with; NULL: it was logged already. Under the mutex.
 */
static struct named *worth_a_line(struct refusal_table *t, enum refusal cause,
				  const char *host, uint64_t now_ns)
{
	struct named *oldest = &t->named[0];

	for (size_t i = 0; i < NAMED_MAX; i++) {
		struct named *n = &t->named[i];

		if (n->since_ns && n->cause == cause &&
		    strcmp(n->peer, host) == 0) {
			if (now_ns - n->since_ns >= AGAIN_NS)
				return n;
			n->times++;
			return NULL;
		}
		if (n->since_ns < oldest->since_ns)
			oldest = n;
	}
	oldest->times = 0;
	oldest->cause = cause;
	snprintf(oldest->peer, sizeof(oldest->peer), "%s", host);
	return oldest;
}

void refusal_tell(struct refusal_table *t, enum refusal cause, const char *peer,
		  const char *agent, const char *detail)
{
	uint64_t now_ns = clock_mono_ns(), times = 1;
	char host[PEER_BYTES];
	struct named *n;

	host_of(peer, host);
	pthread_mutex_lock(&t->mutex);
	t->count[cause]++;
	n = worth_a_line(t, cause, host, now_ns);
	if (n) {
		times += n->times;
		n->times = 0;
		n->since_ns = now_ns;
	}
	pthread_mutex_unlock(&t->mutex);
	if (!n)
		return;
	log_warn("peer refused peer=%s%s%s cause=%s error=\"%s\" times=%llu",
		 peer, agent ? " agent=" : "", agent ? agent : "",
		 refusal_name(cause), detail, (unsigned long long)times);
}

void refusal_counts(struct refusal_table *t, uint64_t out[REFUSALS])
{
	pthread_mutex_lock(&t->mutex);
	memcpy(out, t->count, sizeof(t->count));
	pthread_mutex_unlock(&t->mutex);
}
