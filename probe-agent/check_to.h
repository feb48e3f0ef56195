/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_CHECK_TO_H
#define PROBE_AGENT_CHECK_TO_H

#include "probe-agent/config/config.h"

/*
 * `redtap-agent check --to=URL`: tries a conversation with the aggregator as
 * the agent would have it, and prints each step, and what to mend. 0: batches
 * of this node would be taken. -EPROTO: they would not, which is a note only if
 * that is not what was asked.
 */
int check_to(const struct agent_config *cfg, bool asked);

#endif /* PROBE_AGENT_CHECK_TO_H */
