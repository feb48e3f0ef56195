/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "common/log.h"

/* What was said, without the limit on lines a second. */
static char said[4096];
#undef log_error
#define log_error(...) snprintf(said, sizeof(said), __VA_ARGS__)

#include "aggregator/config/config.c"
#include "common/conffile_text.c"

#define CONFIG struct aggregator_config
#define CONFIG_LOAD aggregator_config_load
#define CONFIG_FREE aggregator_config_free
#define CONFIG_ARGP aggregator_config_argp

#include "tests/unit/config_ranges.h"

static const struct range_case all[] = {
	{ "store.commit_ms", 1, 1000, "store: {commit_ms: ", "}",
	  ":1:20:", "--store.commit", "ms" },
	{ "store.checkpoint_s", 1, 86400, "store:\n  checkpoint_s: ", "",
	  ":2:17:", "--store.checkpoint", "s" },
	{ "retention.raw_age_s", 1, 315619200, "retention:\n\n  raw_age_s: ",
	  "", ":3:14:", "--retention.raw-age", "s" },
	{ "retention.raw_bytes", 1048576, UINT64_C(1125899906842624),
	  "retention: {raw_bytes: ", "}", ":1:24:", "--retention.raw-bytes",
	  "" },
	{ "retention.windows_age_s", 1, 315619200,
	  "# a comment\nretention: {windows_age_s: ", "}",
	  ":2:28:", "--retention.windows-age", "s" },
	{ "retention.windows_bytes", 1048576, UINT64_C(1125899906842624),
	  "retention: {windows_bytes: ", "}",
	  ":1:28:", "--retention.windows-bytes", "" },
	{ "ingest.queue_bytes", 8388608, UINT64_C(1099511627776),
	  "ingest: {queue_bytes: ", "}", ":1:23:", "--ingest.queue", "" },
	{ "ingest.max_agents", 1, 1000000, "ingest: {max_agents: ", "}",
	  ":1:22:", "--ingest.max-agents", "" },
	{ "agents.idle_s", 1, 315619200, "agents: {idle_s: ", "}",
	  ":1:18:", "--agents.idle", "s" },
	{ "ingest.batches_per_s", 10, 10000000, "ingest: {batches_per_s: ", "}",
	  ":1:25:", "--ingest.batches-per-second", "" },
	{ "ingest.gather_max_ms", 500, 5000, "ingest: {gather_max_ms: ", "}",
	  ":1:25:", "--ingest.gather-max", "ms" },
	{ "series.idle_s", 1, 315619200, "series: {idle_s: ", "}",
	  ":1:18:", "--series.idle", "s" },
	{ "graph.wait_s", 1, 3600, "graph: {wait_s: ", "}", ":1:17:", NULL,
	  NULL },
	{ "graph.skew_ms", 1, 60000, "graph: {skew_ms: ", "}", ":1:18:", NULL,
	  NULL },
	{ "graph.max_waiting", 1, 10000000, "graph: {max_waiting: ", "}",
	  ":1:22:", NULL, NULL },
	{ "samples.max_families", 1, 100000, "samples: {max_families: ", "}",
	  ":1:25:", NULL, NULL },
	{ "samples.max_series", 1, 10000000, "samples: {max_series: ", "}",
	  ":1:23:", NULL, NULL },
	{ "views.max_series", 1, 10000000,
	  "views:\n- {name: a}\n- {name: b, max_series: ", "}", ":3:25:", NULL,
	  NULL },
	{ "views.max_values.max", 1, 10000000,
	  "views: [{name: a, measure: requests, labels: [job],\n"
	  " max_values: [{label: job, max: ",
	  "}]}]", ":2:33:", NULL, NULL },
};

int main(void)
{
	return run_range_tests(all, sizeof(all) / sizeof(*all),
			       "store: {dir: &x 5000}\ngraph: {wait_s: *x}\n");
}
