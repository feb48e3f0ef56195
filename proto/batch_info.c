/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/batch.h"
#include "proto/limits.h"

/* Frees memory of a copy, which is const for its readers. */
static void release(const void *p)
{
	free((void *)(uintptr_t)p);
}

void batch_info_free(struct batch_info *info)
{
	for (size_t i = 0; info->probes && i < info->n_probes; i++)
		release(info->probes[i]);
	release(info->probes);
	release(info->probe_attached);
	release(info->version);
	release(info->kernel);
	release(info->capture);
	memset(info, 0, sizeof(*info));
}

static const char *copy(const char *s)
{
	return strdup(s ? s : "");
}

int batch_info_copy(struct batch_info *out, const struct batch_info *in)
{
	size_t n = in->n_probes < LIMIT_PROBES ? in->n_probes : LIMIT_PROBES;
	const char **probes = calloc(n + 1, sizeof(*probes));
	uint32_t *attached = calloc(n + 1, sizeof(*attached));
	bool whole;

	*out = (struct batch_info){
		.version = copy(in->version),
		.kernel = copy(in->kernel),
		.capture = copy(in->capture),
		.n_probes = n,
		.probes = probes,
		.probe_attached = attached,
	};
	whole = probes && attached && out->version && out->kernel &&
		out->capture;
	for (size_t i = 0; whole && i < n; i++) {
		attached[i] = in->probe_attached[i];
		probes[i] = copy(in->probes[i]);
		whole = probes[i] != NULL;
	}
	if (whole)
		return 0;
	batch_info_free(out);
	return -ENOMEM;
}
