/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_CONN_SLOTS_H
#define PROBE_AGENT_HTTP_CONN_SLOTS_H

#include "probe-agent/http/conn_engine.h"

/*
 * Where the engine keeps its connections: slots in slabs, which are kept until
 * conn_slots_fini(), and are found by a hash of the socket. A full table evicts
 * by a clock hand: cheap for every record, and close enough to "oldest idle".
 */

#define CONN_SLOTS_SLAB 256u

struct conn_slots {
	char **slabs; /* of CONN_SLOTS_SLAB slots each */
	uint32_t n; /* slots ever used; free ones are chained */
	uint32_t max;
	uint32_t n_live;
	uint32_t free; /* index + 1 of a free slot, by hash_next */
	uint32_t *buckets; /* index + 1 */
	unsigned shift; /* of the hash */
	uint32_t hand; /* where eviction looks next */
};

/* 0 or -ENOMEM; conn_slots_fini() in any case. */
int conn_slots_init(struct conn_slots *s, uint32_t max);
/* What the connections own must have been freed. */
void conn_slots_fini(struct conn_slots *s);

static inline struct conn *conn_slots_at(const struct conn_slots *s, uint32_t i)
{
	return (struct conn *)(s->slabs[i / CONN_SLOTS_SLAB] +
			       i % CONN_SLOTS_SLAB * HTTP_PROTO_CONN_BYTES);
}

static inline uint32_t *conn_slots_bucket(const struct conn_slots *s,
					  uint64_t sock)
{
	return &s->buckets[(sock >> 6) * 0x9e3779b97f4a7c15ull >> s->shift];
}

/* Index + 1; 0: not there. */
static inline uint32_t conn_slots_find(const struct conn_slots *s,
				       uint64_t sock)
{
	uint32_t i = *conn_slots_bucket(s, sock);

	while (i && conn_slots_at(s, i - 1)->sock != sock)
		i = conn_slots_at(s, i - 1)->hash_next;
	return i;
}

/* Must one be dropped before the next is added? */
static inline bool conn_slots_full(const struct conn_slots *s)
{
	return !s->free && s->n == s->max;
}
/* The first one from the hand on that was idle for a round. None: not called.
 */
uint32_t conn_slots_victim(struct conn_slots *s);
/* A zeroed slot for sock, if not full. 0 or -ENOMEM. */
int conn_slots_add(struct conn_slots *s, uint64_t sock, uint32_t *index);
/* The caller must have freed what the connection owns. */
void conn_slots_drop(struct conn_slots *s, uint32_t index);

#endif /* PROBE_AGENT_HTTP_CONN_SLOTS_H */
