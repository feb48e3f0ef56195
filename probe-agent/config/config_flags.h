/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_CONFIG_CONFIG_FLAGS_H
#define PROBE_AGENT_CONFIG_CONFIG_FLAGS_H

#include "common/conffile_ranges.h"
#include "common/conffile_rules.h"
#include "probe-agent/config/config.h"

/* The agent's flags and the ranges of its numbers; only for config.c. */

extern const struct argp_option config_options[];
extern const struct conffile_range config_ranges[];
extern const size_t config_n_ranges;
extern const struct conffile_rule config_rules[];
extern const size_t config_n_rules;

/* Applies a flag, without checking ranges. -EINVAL: bad value. -ENOMEM. */
int config_apply_flag(struct agent_config *cfg, int key, const char *value);

#endif /* PROBE_AGENT_CONFIG_CONFIG_FLAGS_H */
