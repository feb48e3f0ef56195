/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_CONFIG_CONFIG_FLAGS_H
#define AGGREGATOR_CONFIG_CONFIG_FLAGS_H

#include "aggregator/config/config.h"
#include "common/conffile_ranges.h"
#include "common/conffile_rules.h"

/*
 * The flags of the configuration, and the ranges of its numbers. For config.c.
 */

extern const struct argp_option config_options[];
extern const struct conffile_range config_ranges[];
extern const size_t config_n_ranges;
extern const struct conffile_rule config_rules[];
extern const size_t config_n_rules;

/*
 * Sets the field of a flag. Does not check its range. -EINVAL: wrong value;
 * -ENOMEM.
 */
int config_apply_flag(struct aggregator_config *cfg, int key,
		      const char *value);
/*
 * Clears addresses from the file if flags give addresses: flags replace them.
 */
void config_clear_overridden(struct aggregator_config *cfg,
			     const struct cli_settings *flags);

#endif /* AGGREGATOR_CONFIG_CONFIG_FLAGS_H */
