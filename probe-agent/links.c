/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/links.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>

#include <bpf/libbpf.h>

static void *destroy(void *link)
{
	bpf_link__destroy(link);
	return NULL;
}

void links_destroy(struct bpf_link **link, size_t n)
{
	pthread_t thread[LINKS_MAX];
	bool started[LINKS_MAX];
	size_t i;

	assert(n <= LINKS_MAX);
	for (i = 0; i < n; i++) {
		started[i] =
			!pthread_create(&thread[i], NULL, destroy, link[i]);
		if (!started[i])
			destroy(link[i]);
	}
	for (i = 0; i < n; i++)
		if (started[i])
			pthread_join(thread[i], NULL);
}
