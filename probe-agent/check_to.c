/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/check_to.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "probe-agent/outbox/uplink.h"

int check_to(const struct agent_config *cfg, bool asked)
{
	static const char *const steps[UPLINK_STEPS] = {
		[UPLINK_SETUP] = "setup",	[UPLINK_NAME] = "name",
		[UPLINK_CONNECT] = "connect",	[UPLINK_TLS] = "tls",
		[UPLINK_PROTOCOL] = "protocol", [UPLINK_ANSWER] = "answer",
	};
	const struct uplink_options opt = {
		.url = cfg->to,
		.ca_file = cfg->tls.ca_file,
		.cert_file = cfg->tls.cert_file,
		.key_file = cfg->tls.key_file,
		.token_file = cfg->token_file,
	};
	bool secure = strncasecmp(cfg->to, "tls+", 4) == 0;
	struct uplink_trial t;

	uplink_try(&opt, cfg->node, &t);
	printf("%-8s %-14s %s%s%s, as node %s\n",
	       t.failed == UPLINK_STEPS ? "ok"
	       : asked			? "MISSING"
					: "note",
	       "aggregator", cfg->to, *t.address ? " at " : "", t.address,
	       cfg->node);
	for (int i = 0; i < UPLINK_STEPS && i <= (int)t.failed; i++) {
		if (i == UPLINK_TLS && !secure)
			continue;
		printf("%-8s   %-12s %s\n", "", steps[i],
		       i < (int)t.failed ? "ok" : t.cause);
	}
	if (t.failed == UPLINK_STEPS)
		return 0;
	if (*t.advice)
		printf("%-8s   %-12s %s\n", "", "to mend", t.advice);
	return -EPROTO;
}
