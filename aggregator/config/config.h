/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_CONFIG_CONFIG_H
#define AGGREGATOR_CONFIG_CONFIG_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#include "aggregator/fold/view_set.h"
#include "common/cli.h"
#include "common/log.h"

/*
 * The aggregator's configuration: defaults, then the YAML file, then flags.
 * Complete once loaded: no field needs a default where it is used. Immutable; a
 * reload loads a new one. Only config*.c here see libcyaml.
 */
struct aggregator_config {
	struct {
		char *dir; /* state folder; default: /var/lib/redtap */
		uint32_t commit_ms; /* group commit: longest wait */
		uint32_t checkpoint_s; /* between checkpoints */
	} store;
	struct {
		uint64_t raw_age_s, raw_bytes; /* the log of batches */
		uint64_t windows_age_s, windows_bytes;
	} retention;
	struct {
		uint64_t idle_s; /* of silence; then a series is not exposed */
	} series;
	struct {
		uint32_t wait_s; /* of a side for its other side */
		uint32_t skew_ms; /* between clocks of nodes */
		uint32_t max_waiting; /* sides */
	} graph;
	struct {
		int level; /* enum log_level + 1; 0: info, or the flag */
	} log;
	struct view_entry *views; /* see view_set.h; checked */
	unsigned n_views;
	struct {
		char **listen; /* "host:port", ":9470", "[::1]:9470" */
		unsigned listen_count;
		char *telemetry_path; /* /metrics */
		char *config_file; /* exporter-toolkit; NULL: none */
		bool lifecycle; /* POST /-/reload, /-/quit */
	} web;
	struct {
		char **listen; /* tcp://host:port, tls+tcp://host:port */
		unsigned listen_count;
		char *ca_file, *cert_file, *key_file; /* NULL: none */
		bool allow_plaintext; /* tcp:// beyond loopback */
		uint64_t queue_bytes; /* received, not yet answered */
		uint32_t max_agents;
	} ingest;
};

/* Flags of every subcommand that has a configuration. */
extern const struct argp aggregator_config_argp; /* struct cli_settings */

/*
 * Sets *out, released by aggregator_config_free(). What is wrong is logged with
 * its place: -EINVAL, or the error of reading the file. Call again to reload.
 */
int aggregator_config_load(struct aggregator_config **out,
			   const struct cli_settings *flags);
void aggregator_config_free(struct aggregator_config *cfg); /* NULL is fine */

/*
 * What of next takes effect only with a restart of what runs with now: a list
 * of keys for people; empty if nothing does.
 */
void aggregator_config_needs_restart(const struct aggregator_config *now,
				     const struct aggregator_config *next,
				     char *what, size_t what_size);

/*
 * For a subcommand with no flags of its own: parses argv and loads. 0; 1 if
 * --config.check was given and all is well (exit 0); negative errno (exit 1).
 */
int aggregator_config_main(struct aggregator_config **out,
			   struct cli_settings *flags, const char *doc,
			   int argc, char **argv);

#endif /* AGGREGATOR_CONFIG_CONFIG_H */
