/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_CONFIG_CONFIG_VIEWS_H
#define AGGREGATOR_CONFIG_CONFIG_VIEWS_H

#include <cyaml/cyaml.h>

/* Schema of an entry of `views`: see view_set.h. For config.c only. */
extern const cyaml_schema_value_t config_view;
/* The names of log levels; values are enum log_level + 1. */
#define CONFIG_LEVELS 4
extern const cyaml_strval_t config_levels[CONFIG_LEVELS];
/* The names of enum view_compat. */
#define CONFIG_COMPATS 2
extern const cyaml_strval_t config_compats[CONFIG_COMPATS];

#endif /* AGGREGATOR_CONFIG_CONFIG_VIEWS_H */
