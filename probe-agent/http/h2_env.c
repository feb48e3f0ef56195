/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "probe-agent/http/h2_state.h"

/* What connections share: options, counters and memory. */

#define DEFAULT_STREAMS 1024u
#define DEFAULT_BYTES (16u << 20)
#define DEFAULT_WINDOW_BYTES (8u << 20)

int h2_env_new(struct h2_env **out, const struct h2_options *opt)
{
	struct h2_env *env = calloc(1, sizeof(*env));

	*out = env;
	if (!env)
		return -ENOMEM;
	env->opt = *opt;
	if (!env->opt.max_streams)
		env->opt.max_streams = DEFAULT_STREAMS;
	env->max_bytes = opt->max_bytes ? opt->max_bytes : DEFAULT_BYTES;
	env->windows.max_bytes = opt->max_window_bytes ? opt->max_window_bytes
						       : DEFAULT_WINDOW_BYTES;
	h2_head_distrust(&env->unknown);
	return 0;
}

void h2_env_free(struct h2_env *env)
{
	if (!env)
		return;
	free(env->spare);
	free(env);
}

void h2_env_stats(const struct h2_env *env, struct h2_stats *out)
{
	*out = env->stats;
	out->windows_refused = env->windows.refused;
	out->window_bytes = env->windows.used_bytes;
	out->bytes = env->used_bytes;
}

void *h2_alloc(struct h2_env *env, size_t size)
{
	void *p = NULL;

	if (env->used_bytes + size <= env->max_bytes)
		p = malloc(size);
	if (p)
		env->used_bytes += size;
	return p;
}

void h2_release(struct h2_env *env, void *p, size_t size)
{
	if (!p)
		return;
	env->used_bytes -= size;
	free(p);
}
