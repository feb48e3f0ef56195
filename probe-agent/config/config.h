/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_CONFIG_CONFIG_H
#define PROBE_AGENT_CONFIG_CONFIG_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/cli.h"
#include "probe-agent/identity/filter.h"
#include "probe-agent/identity/identity.h"

/*
 * The agent's configuration. Flags override the YAML file, which overrides the
 * defaults. Complete once loaded: no field needs a default where it is used.
 * Immutable; a reload loads a new one. Who may use libcyaml: tests/lint.sh.
 */

struct agent_config {
	char *node; /* default: the host's name */
	char *to; /* tcp://127.0.0.1:9471 */
	struct {
		char *ca_file, *cert_file, *key_file; /* NULL: none */
	} tls;
	char *token_file; /* NULL: see uplink.h */
	uint32_t flush_ms;
	struct {
		uint64_t cap_bytes;
		char *path; /* NULL: in memory */
		char *given_up; /* see last_words.h; NULL: not kept */
	} outbox;
	struct {
		char *mode; /* auto, fentry, socket, syscall, kprobe */
		uint32_t ring_bytes; /* a power of two */
		uint32_t max_connections;
		char *tls; /* auto, off */
	} capture;
	struct filter_options select;
	struct {
		char **patterns; /* "/users/{id}", tried in order */
		unsigned patterns_count;
		uint32_t cap; /* distinct routes per service */
	} routes;
	struct {
		bool labels, scripts; /* steps of naming.h that are opt-in */
		char *root; /* of the node's files; NULL: card_root() */
		char **container_labels; /* globs of keys for target_info */
		unsigned container_labels_count;
	} names;
	struct identity_rule *services;
	unsigned services_count;
	struct {
		char *dir; /* program files; default: DIR if it is there */
		char *prefix; /* of metrics; NULL: each format's own */
		char *pin_dir, *socket;
		char *debug_address; /* NULL: no pages */
		char **allow; /* "xdp" */
		unsigned allow_count;
		struct {
			char *cpu, *on_over, *interval, *entries, *series,
				*memory, *events;
		} limits; /* as in a program file; NULL: its default */
	} programs;
	char *record; /* file for a trace of our batches; NULL: none */
	char *record_tap; /* file for tap records; both only by flag */
};

/* How processes are named; borrows from cfg. */
struct identity_options agent_config_identity(const struct agent_config *cfg);

/* What a program file may cost if it says nothing itself. */
struct spec_limits;
void agent_config_limits(const struct agent_config *cfg,
			 struct spec_limits *out);

/* The flags of every subcommand that has a configuration. */
extern const struct argp agent_config_argp; /* struct cli_settings */

/*
 * Sets *out, released by agent_config_free(). Call again to reload. Errors are
 * logged, with their place in the file. -EINVAL: the configuration is wrong.
 * -ENOMEM, or the error of reading the file.
 */
int agent_config_load(struct agent_config **out,
		      const struct cli_settings *flags);
void agent_config_free(struct agent_config *cfg); /* NULL is fine */

/*
 * Writes to what[] the keys that differ between now and next and take effect
 * only with a restart: a comma-separated list for the log; empty if there are
 * none. The address, its certificates and flush_ms need no restart.
 */
void agent_config_needs_restart(const struct agent_config *now,
				const struct agent_config *next, char *what,
				size_t what_size);

/*
 * For a subcommand with no flags of its own: parses argv and loads. Returns 0,
 * or 1: --config.check was given and the configuration is right, so the caller
 * must check what it would use, and exit. Negative errno: exit with 1.
 */
int agent_config_main(struct agent_config **out, struct cli_settings *flags,
		      const char *doc, int argc, char **argv);

#endif /* PROBE_AGENT_CONFIG_CONFIG_H */
