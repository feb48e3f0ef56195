/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_CHECK_GAPS_H
#define PROBE_AGENT_CHECK_GAPS_H

#include "probe-agent/config/config.h"

/*
 * The part of `redtap-agent check` that prints which services of this node
 * can't be read, each with its port and the reason. front: the way to capture
 * that would be used, "" if none works.
 */
void check_gaps(const struct agent_config *cfg, const char *front);

#endif /* PROBE_AGENT_CHECK_GAPS_H */
