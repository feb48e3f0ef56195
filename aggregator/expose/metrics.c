/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/expose/metrics.h"

#include <string.h>

#include "aggregator/snapshot/snapshot.h"

#define SIZED(type, field)                                                     \
	(offsetof(struct type, field) +                                        \
	 0 * sizeof(char[sizeof(((struct type *)0)->field) == 8 ? 1 : -1]))

#define FIELD(from, record, field, decimals, kind, text, base, label, says,    \
	      example)                                                         \
	{ .name = (text),                                                      \
	  .type = METRIC_##kind,                                               \
	  .unit = (base),                                                      \
	  .labels = (label),                                                   \
	  .help = (says),                                                      \
	  .query = (example),                                                  \
	  .source = METRIC_FROM_##from,                                        \
	  .offset = SIZED(record, field),                                      \
	  .scale = (decimals) },
#define SELF(field, scale, type, name, unit, help, query)                      \
	FIELD(SELF, metrics_self, field, scale, type, name, unit, "", help,    \
	      query)
#define ENGINE(field, scale, type, name, unit, help, query)                    \
	FIELD(ENGINE, snapshot_engine, field, scale, type, name, unit, "",     \
	      help, query)
#define AGENT(field, scale, type, name, unit, help, query)                     \
	FIELD(AGENT, snapshot_agent, field, scale, type, name, unit, "node",   \
	      help, query)
#define LIST(id, kind, text, base, label, says, example)                       \
	{ .name = (text),                                                      \
	  .type = METRIC_##kind,                                               \
	  .unit = (base),                                                      \
	  .labels = (label),                                                   \
	  .help = (says),                                                      \
	  .query = (example),                                                  \
	  .source = METRIC_FROM_CODE,                                          \
	  .list = METRIC_##id },

const struct metric metrics[] = {
#include "aggregator/expose/metrics.def"
};
const size_t metrics_n = sizeof(metrics) / sizeof(metrics[0]);

const char *metric_type_name(enum metric_type type)
{
	static const char *const name[] = { "counter", "gauge", "info",
					    "histogram", "unknown" };

	return name[type];
}

static void doc_labels(struct buf *out, const char *labels)
{
	if (!*labels) {
		buf_puts(out, "none");
		return;
	}
	while (*labels) {
		size_t n = strcspn(labels, ",");

		buf_printf(out, "`%.*s`", (int)n, labels);
		labels += n;
		if (*labels) {
			buf_puts(out, ", ");
			labels++;
		}
	}
}

static void doc_metric(struct buf *out, const struct metric *m)
{
	buf_printf(out, "### %s\n\n%s\n\n- type: %s", m->name, m->help,
		   metric_type_name(m->type));
	if (*m->unit)
		buf_printf(out, ", in %s", m->unit);
	buf_puts(out, "\n- labels: ");
	doc_labels(out, m->labels);
	buf_printf(out, "\n- example: `%s`\n\n", m->query);
}

static void doc_bounds(struct buf *out, const struct view *v)
{
	bool seconds = !strcmp(v->unit, "seconds");

	buf_puts(out, "- buckets:");
	for (size_t i = 0; i < v->n_bounds; i++)
		if (seconds)
			buf_printf(out, " %g", (double)v->bounds[i] / 1e6);
		else
			buf_printf(out, " %llu",
				   (unsigned long long)v->bounds[i]);
	buf_puts(out, "; native schema 3\n");
}

static void doc_view(struct buf *out, const struct view *v)
{
	const char *suffix = v->kind == VIEW_COUNTER ? "_total" : "";
	const char *by = v->n_labels ? label_key_name(v->labels[0]) : "job";

	buf_printf(out, "### %s%s\n\n%s\n\n- type: %s", v->name, suffix,
		   v->help, v->kind == VIEW_COUNTER ? "counter" : "histogram");
	if (*v->unit)
		buf_printf(out, ", in %s", v->unit);
	buf_puts(out, "\n- labels: ");
	for (size_t i = 0; i < v->n_labels; i++)
		buf_printf(out, "%s`%s`", i ? ", " : "",
			   label_key_name(v->labels[i]));
	buf_puts(out, "; `otel_metric_overflow` on the overflow series\n");
	buf_printf(out, "- at most %zu series\n", v->max_series);
	if (v->kind == VIEW_HISTOGRAM) {
		doc_bounds(out, v);
		buf_printf(out,
			   "- example: `histogram_quantile(0.99, sum by (le, "
			   "%s) (rate(%s_bucket[5m])))`\n\n",
			   by, v->name);
	} else {
		buf_printf(out,
			   "- example: `sum by (%s) (rate(%s_total[5m]))`\n\n",
			   by, v->name);
	}
}

bool metrics_has_name(const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < metrics_n; i++) {
		const char *ours = metrics[i].name;

		if (!strncmp(ours, name, n) &&
		    (!ours[n] || !strcmp(ours + n, "_total") ||
		     !strcmp(ours + n, "_info")))
			return true;
	}
	return false;
}

int metrics_doc(struct buf *out, const struct views *views)
{
	buf_puts(out,
		 "<!-- made by `make docs/METRICS.md` from metrics.def and the "
		 "default views -->\n# Metrics\n\nAll metrics that a scrape of "
		 "the aggregator returns. Histograms have classic buckets in "
		 "the text\nand OpenMetrics formats; in the protobuf format "
		 "they are native histograms.\n\n## Requests (the default "
		 "views)\n\n");
	for (size_t i = 0; i < views->n; i++)
		doc_view(out, &views->view[i]);
	buf_puts(out, "## Metrics about redtap itself\n\n");
	for (size_t i = 0; i < metrics_n; i++)
		doc_metric(out, &metrics[i]);
	/* Drops the second newline at the end. */
	if (!out->err && out->len)
		out->len--;
	return out->err;
}
