/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of user programs, of every dialect. What is taken keeps the promises of
 * spec.h; what is refused says why.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/programs/spec.h"
#include "proto/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_metric(const struct spec_metric *m)
{
	assert(m->name && *m->name && m->table && m->help && m->unit);
	for (size_t i = 0; i < m->n_labels; i++) {
		assert(m->labels[i].name);
		for (size_t k = 0; k < m->labels[i].n_decoders; k++)
			assert(m->labels[i].decoders[k].kind < SPEC_DECODERS);
	}
	if (m->kind == SPEC_HISTOGRAM) {
		uint64_t bound[LIMIT_SAMPLE_BOUNDS];
		int n = spec_bounds(&m->histogram, bound, LIMIT_SAMPLE_BOUNDS);

		assert(n >= 1 && n <= (int)LIMIT_SAMPLE_BOUNDS);
		for (int i = 1; i < n; i++)
			assert(bound[i] > bound[i - 1]);
		for (unsigned key = 0; key < 70; key++)
			assert(spec_bucket(&m->histogram, key) <= n);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct spec_options opt = { .prefix = NULL };
	struct spec_error e;
	struct spec *list;
	size_t n;
	char *text = malloc(len + 1); /* the parser gets len, not a string */
	int err;

	if (!text)
		abort();
	memcpy(text, data, len);
	text[len] = '\0';
	err = spec_parse(&list, &n, "dir/x.yaml", text, len, &opt, &e);
	if (err) {
		assert(!list && n == 0 && e.what[0]);
	} else {
		for (size_t i = 0; i < n; i++) {
			assert(list[i].name && list[i].object);
			for (size_t k = 0; k < list[i].n_metrics; k++)
				check_metric(&list[i].metrics[k]);
		}
		spec_free(list, n);
	}
	free(text);
	return 0;
}
