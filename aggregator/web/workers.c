/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web/workers.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct workers {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct workers_job *first, **last;
	size_t queued, max_queued;
	bool stopping;
	unsigned n;
	pthread_t thread[];
};

static void *work(void *arg)
{
	struct workers *p = arg;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct workers_job *j = p->first;

		if (!j && p->stopping)
			break;
		if (!j) {
			pthread_cond_wait(&p->wake, &p->lock);
			continue;
		}
		p->first = j->next;
		if (!p->first)
			p->last = &p->first;
		p->queued--;
		j->next = NULL;
		pthread_mutex_unlock(&p->lock);
		j->run(j);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

int workers_start(struct workers **out, unsigned threads, size_t max_queued,
		  const char *name)
{
	struct workers *p;
	int err = 0;

	p = calloc(1, sizeof(*p) + threads * sizeof(p->thread[0]));
	if (!p)
		return -ENOMEM;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	p->last = &p->first;
	p->max_queued = max_queued;
	while (p->n < threads) {
		err = -pthread_create(&p->thread[p->n], NULL, work, p);
		if (err)
			break;
		pthread_setname_np(p->thread[p->n++], name);
	}
	if (err) {
		workers_free(p);
		return err;
	}
	*out = p;
	return 0;
}

void workers_stop(struct workers *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	pthread_cond_broadcast(&p->wake);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->n; i++)
		pthread_join(p->thread[i], NULL);
	p->n = 0;
}

void workers_free(struct workers *p)
{
	if (!p)
		return;
	workers_stop(p);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

int workers_submit(struct workers *p, struct workers_job *j)
{
	int err = 0;

	pthread_mutex_lock(&p->lock);
	if (p->queued >= p->max_queued || p->stopping) {
		err = -EBUSY;
	} else {
		j->next = NULL;
		*p->last = j;
		p->last = &j->next;
		p->queued++;
		pthread_cond_signal(&p->wake);
	}
	pthread_mutex_unlock(&p->lock);
	return err;
}
