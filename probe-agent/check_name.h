/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_CHECK_NAME_H
#define PROBE_AGENT_CHECK_NAME_H

#include <stdint.h>

#include "probe-agent/config/config.h"

/*
 * `redtap-agent check --pid N`: prints what the process would be called, and
 * what each step of the order of names says. -ENOENT: there is no such process,
 * said on standard output.
 */
int check_name(const struct agent_config *cfg, uint32_t pid);

#endif /* PROBE_AGENT_CHECK_NAME_H */
