/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_CONFIG_CONFIG_FLAGS_H
#define AGGREGATOR_CONFIG_CONFIG_FLAGS_H

#include "aggregator/config/config.h"
#include "common/conffile_ranges.h"

/* The flags of a configuration and the ranges of its numbers: for config.c. */

extern const struct argp_option config_options[];
extern const struct conffile_range config_ranges[];
extern const size_t config_n_ranges;

/* What a flag changes. -EINVAL: the value; -ENOMEM. Ranges are not checked. */
int config_apply_flag(struct aggregator_config *cfg, int key,
		      const char *value);
/* Addresses given by flags stand in for the file's, not beside them. */
void config_clear_overridden(struct aggregator_config *cfg,
			     const struct cli_settings *flags);

#endif /* AGGREGATOR_CONFIG_CONFIG_FLAGS_H */
