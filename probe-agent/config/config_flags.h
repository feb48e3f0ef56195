/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_CONFIG_CONFIG_FLAGS_H
#define PROBE_AGENT_CONFIG_CONFIG_FLAGS_H

#include "common/conffile_ranges.h"
#include "probe-agent/config/config.h"

/* The flags of a configuration and the ranges of its numbers: for config.c. */

extern const struct argp_option config_options[];
extern const struct conffile_range config_ranges[];
extern const size_t config_n_ranges;

/* What a flag changes. -EINVAL: the value; -ENOMEM. Ranges are not checked. */
int config_apply_flag(struct agent_config *cfg, int key, const char *value);

#endif /* PROBE_AGENT_CONFIG_CONFIG_FLAGS_H */
