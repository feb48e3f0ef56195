/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web/web_conns.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "common/clock.h"

struct web_conn {
	struct web_conn *next, **slot;
	int fd;
	uint64_t deadline_ns;
};

struct web_conns {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct web_conn *first;
	size_t n;
	uint64_t cut;
	bool stopping;
	pthread_t reaper;
};

static void *reap(void *arg)
{
	struct web_conns *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!s->stopping) {
		uint64_t now_ns = clock_mono_ns();
		struct timespec until;

		for (struct web_conn *c = s->first; c; c = c->next)
			if (now_ns > c->deadline_ns) {
				shutdown(c->fd, SHUT_RDWR);
				c->deadline_ns = UINT64_MAX;
				s->cut++;
			}
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec++;
		pthread_cond_timedwait(&s->wake, &s->lock, &until);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int web_conns_start(struct web_conns **out)
{
	struct web_conns *s = calloc(1, sizeof(*s));
	pthread_condattr_t attr;
	int err;

	if (!s)
		return -ENOMEM;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&s->lock, NULL);
	err = -pthread_create(&s->reaper, NULL, reap, s);
	if (err) {
		free(s);
		return err;
	}
	*out = s;
	return 0;
}

void web_conns_stop(struct web_conns *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->reaper, NULL);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

struct web_conn *web_conns_add(struct web_conns *s, int fd, unsigned seconds)
{
	struct web_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->fd = fd;
	c->deadline_ns = clock_mono_ns() + seconds * CLOCK_NS_PER_S;
	pthread_mutex_lock(&s->lock);
	c->next = s->first;
	c->slot = &s->first;
	if (c->next)
		c->next->slot = &c->next;
	s->first = c;
	s->n++;
	pthread_mutex_unlock(&s->lock);
	return c;
}

void web_conns_remove(struct web_conns *s, struct web_conn *c)
{
	pthread_mutex_lock(&s->lock);
	*c->slot = c->next;
	if (c->next)
		c->next->slot = c->slot;
	s->n--;
	pthread_mutex_unlock(&s->lock);
	free(c);
}

void web_conns_deadline(struct web_conns *s, struct web_conn *c,
			unsigned seconds)
{
	pthread_mutex_lock(&s->lock);
	c->deadline_ns = clock_mono_ns() + seconds * CLOCK_NS_PER_S;
	pthread_mutex_unlock(&s->lock);
}

size_t web_conns_count(struct web_conns *s)
{
	size_t n;

	pthread_mutex_lock(&s->lock);
	n = s->n;
	pthread_mutex_unlock(&s->lock);
	return n;
}

uint64_t web_conns_cut(struct web_conns *s)
{
	uint64_t n;

	pthread_mutex_lock(&s->lock);
	n = s->cut;
	pthread_mutex_unlock(&s->lock);
	return n;
}
