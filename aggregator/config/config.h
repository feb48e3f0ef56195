/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_CONFIG_CONFIG_H
#define AGGREGATOR_CONFIG_CONFIG_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#include "aggregator/views/view_set.h"
#include "common/cli.h"
#include "common/log.h"

/* on unless off is said. */
enum config_switch {
	CONFIG_UNSAID,
	CONFIG_ON,
	CONFIG_OFF,
};

/*
 * The aggregator's configuration: defaults, overridden by the YAML file,
 * overridden by flags. Every field is set once it is loaded. Immutable; a
 * reload loads a new one. Only config*.[ch] here see libcyaml.
 */
struct aggregator_config {
	struct {
		char *dir; /* state folder; default: /var/lib/redtap */
		uint32_t commit_ms; /* longest wait of a group commit */
		uint32_t checkpoint_s; /* time between checkpoints */
	} store;
	struct {
		uint64_t raw_age_s, raw_bytes; /* the log of batches */
		uint64_t windows_age_s, windows_bytes;
	} retention;
	struct {
		uint64_t idle_s; /* time without events that hides a series */
	} series;
	struct {
		uint64_t idle_s; /* silence that hides an agent */
	} agents;
	struct {
		uint32_t wait_s; /* longest wait of a side for the other */
		uint32_t skew_ms; /* tolerated between clocks of two nodes */
		uint32_t max_waiting; /* sides that wait at once */
	} graph;
	struct {
		uint32_t max_families; /* metrics of user programs */
		uint32_t max_series; /* of each */
	} samples;
	struct {
		int level; /* enum log_level + 1; 0: not set */
	} log;
	int compat; /* enum view_compat */
	struct view_entry *views; /* see view_set.h; checked */
	unsigned n_views;
	struct {
		char **listen; /* "host:port", ":9470", "[::1]:9470" */
		unsigned listen_count;
		char *telemetry_path; /* /metrics */
		char *config_file; /* exporter-toolkit format; NULL: none */
		int page, tail; /* enum config_switch */
		bool lifecycle; /* allow POST /-/reload and /-/quit */
	} web;
	struct {
		char **listen; /* tcp://host:port, tls+tcp://host:port */
		unsigned listen_count;
		char *ca_file, *cert_file, *key_file; /* NULL: none */
		char *token_file; /* made if there is none; NULL: no token */
		char *shared_name; /* of agents' certificates; NULL: none */
		bool allow_plaintext; /* allow tcp:// beyond loopback */
		uint64_t queue_bytes; /* received, not yet answered */
		uint32_t max_agents;
		uint32_t batches_per_s; /* of all agents */
		uint32_t gather_max_ms;
	} ingest;
};

/*
 * Flags of the subcommands that have a configuration. Its input is a struct
 * cli_settings.
 */
extern const struct argp aggregator_config_argp;

/*
 * Sets *out, released by aggregator_config_free(). Logs what is wrong, with
 * file, line and column if known. -EINVAL; -ENOMEM; else the error of reading
 * the file. Call it again to reload.
 */
int aggregator_config_load(struct aggregator_config **out,
			   const struct cli_settings *flags);
void aggregator_config_free(struct aggregator_config *cfg); /* NULL is fine */

/*
 * Writes to what[] the keys that differ between now and next and take effect
 * only with a restart: a comma-separated list for the log; empty if there are
 * none.
 */
void aggregator_config_needs_restart(const struct aggregator_config *now,
				     const struct aggregator_config *next,
				     char *what, size_t what_size);

/*
 * Parses argv and loads, for a subcommand without further flags. Returns 0; 1
 * if --config.check was given and the configuration is valid, so that the
 * caller must check what it would use, and exit; or a negative errno.
 */
int aggregator_config_main(struct aggregator_config **out,
			   struct cli_settings *flags, const char *doc,
			   int argc, char **argv);

#endif /* AGGREGATOR_CONFIG_CONFIG_H */
