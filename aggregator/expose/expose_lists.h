/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_EXPOSE_EXPOSE_LISTS_H
#define AGGREGATOR_EXPOSE_EXPOSE_LISTS_H

#include "aggregator/expose/expose_writer.h"

/* What the files that write the LISTs of metrics.def share. For these only. */

/* Removes labels with an empty value: to Prometheus they are absent. */
static inline size_t expose_keep_named(struct expose_label *l, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (l[i].value && *l[i].value)
			l[kept++] = l[i];
	return kept;
}

/* Writes the samples of a LIST that has some per agent. */
void expose_agents(struct expose_writer *w, enum metric_list id,
		   const struct snapshot *s);

#endif /* AGGREGATOR_EXPOSE_EXPOSE_LISTS_H */
