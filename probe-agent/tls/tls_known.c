/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tls/tls_known.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#define SET_BITS 10
#define WAYS 4u

struct slot {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed;
	uint64_t retry_ns;
	int why; /* 0: free */
};

/* Files with the same hash; the oldest makes room. */
struct set {
	struct slot slot[WAYS];
	uint32_t next;
};

struct tls_known {
	struct set set[1 << SET_BITS];
};

int tls_known_new(struct tls_known **out)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void tls_known_free(struct tls_known *k)
{
	free(k);
}

static size_t set_of(const struct stat *st)
{
	uint64_t h =
		(st->st_ino ^ st->st_dev << 32) * UINT64_C(0x9e3779b97f4a7c15);

	return h >> (64 - SET_BITS);
}

static bool is_file(const struct slot *s, const struct stat *st)
{
	return s->why && s->ino == st->st_ino && s->dev == st->st_dev;
}

void tls_known_add(struct tls_known *k, const struct stat *st, int why,
		   uint64_t retry_ns)
{
	struct set *set = &k->set[set_of(st)];
	uint32_t i;

	for (i = 0; i < WAYS && !is_file(&set->slot[i], st); i++)
		;
	if (i == WAYS)
		i = set->next++ % WAYS;
	set->slot[i] = (struct slot){
		.dev = st->st_dev,
		.ino = st->st_ino,
		.size = st->st_size,
		.changed = st->st_ctim,
		.retry_ns = retry_ns,
		.why = why,
	};
}

int tls_known_why(const struct tls_known *k, const struct stat *st,
		  uint64_t now_ns)
{
	const struct set *set = &k->set[set_of(st)];

	for (uint32_t i = 0; i < WAYS; i++) {
		const struct slot *s = &set->slot[i];

		if (is_file(s, st) && s->size == st->st_size &&
		    s->changed.tv_sec == st->st_ctim.tv_sec &&
		    s->changed.tv_nsec == st->st_ctim.tv_nsec)
			return !s->retry_ns || now_ns < s->retry_ns ? s->why
								    : 0;
	}
	return 0;
}
