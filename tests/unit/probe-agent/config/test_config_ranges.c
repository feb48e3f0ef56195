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

#include "common/conffile_text.c"
#include "probe-agent/config/config.c"

#define CONFIG struct agent_config
#define CONFIG_LOAD agent_config_load
#define CONFIG_FREE agent_config_free
#define CONFIG_ARGP agent_config_argp

#include "tests/unit/config_ranges.h"

static const struct range_case all[] = {
	{ "flush_ms", 10, 1000, "node: a\nflush_ms: ", "", ":2:11:", "--flush",
	  "ms" },
	{ "outbox.cap_bytes", 8388608, UINT64_C(1099511627776),
	  "outbox: {cap_bytes: ", "}", ":1:21:", "--outbox.cap", "" },
	{ "capture.ring_bytes", 65536, 1073741824,
	  "capture: {ring_bytes: ", "}", ":1:23:", "--capture.ring", "" },
	{ "capture.max_connections", 1, 10000000,
	  "capture:\n  mode: auto\n  max_connections: ", "",
	  ":3:20:", "--capture.max-connections", "" },
	{ "routes.cap", 1, 1000000, "routes: {patterns: [/a], cap: ", "}",
	  ":1:31:", "--routes.cap", "" },
	{ "services.port", 1, 65535,
	  "services:\n- {service: a, executable: b}\n- {service: a, port: ",
	  "}", ":3:22:", NULL, NULL },
};

int main(void)
{
	return run_range_tests(all, sizeof(all) / sizeof(*all),
			       "node: &x 5000\nflush_ms: *x\n");
}
