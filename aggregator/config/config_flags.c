/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/config/config_flags.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/conffile.h"
#include "proto/limits.h"

enum {
	KEY_STORE_DIR = CLI_KEY_CONFIG,
	KEY_COMMIT,
	KEY_CHECKPOINT,
	KEY_RAW_AGE,
	KEY_RAW_BYTES,
	KEY_WINDOWS_AGE,
	KEY_WINDOWS_BYTES,
	KEY_WEB_LISTEN,
	KEY_TELEMETRY_PATH,
	KEY_WEB_CONFIG,
	KEY_LIFECYCLE,
	KEY_NO_LIFECYCLE,
	KEY_PAGE,
	KEY_TAIL,
	KEY_INGEST_LISTEN,
	KEY_TLS_CA,
	KEY_TLS_CERT,
	KEY_TLS_KEY,
	KEY_TOKEN,
	KEY_TLS_SHARED,
	KEY_PLAINTEXT,
	KEY_QUEUE,
	KEY_AGENTS,
	KEY_BATCHES,
	KEY_GATHER,
	KEY_IDLE,
	KEY_AGENTS_IDLE,
};

#define AGE_MAX_S ((uint64_t)3653 * 86400) /* ten years */
#define BYTES_MAX ((uint64_t)1 << 50)

const struct conffile_range config_ranges[] = {
	RANGE("store.commit_ms", struct aggregator_config, store.commit_ms, 1,
	      1000, KEY_COMMIT),
	RANGE("store.checkpoint_s", struct aggregator_config,
	      store.checkpoint_s, 1, 86400, KEY_CHECKPOINT),
	RANGE("retention.raw_age_s", struct aggregator_config,
	      retention.raw_age_s, 1, AGE_MAX_S, KEY_RAW_AGE),
	RANGE("retention.raw_bytes", struct aggregator_config,
	      retention.raw_bytes, 1 << 20, BYTES_MAX, KEY_RAW_BYTES),
	RANGE("retention.windows_age_s", struct aggregator_config,
	      retention.windows_age_s, 1, AGE_MAX_S, KEY_WINDOWS_AGE),
	RANGE("retention.windows_bytes", struct aggregator_config,
	      retention.windows_bytes, 1 << 20, BYTES_MAX, KEY_WINDOWS_BYTES),
	RANGE("ingest.queue_bytes", struct aggregator_config,
	      ingest.queue_bytes, 2 * LIMIT_MESSAGE_BYTES, (uint64_t)1 << 40,
	      KEY_QUEUE),
	RANGE("ingest.max_agents", struct aggregator_config, ingest.max_agents,
	      1, 1000000, KEY_AGENTS),
	RANGE("ingest.batches_per_s", struct aggregator_config,
	      ingest.batches_per_s, 10, 10000000, KEY_BATCHES),
	RANGE("ingest.gather_max_ms", struct aggregator_config,
	      ingest.gather_max_ms, BATCH_FLUSH_MS, HEARTBEAT_MS, KEY_GATHER),
	RANGE("series.idle_s", struct aggregator_config, series.idle_s, 1,
	      AGE_MAX_S, KEY_IDLE),
	RANGE("agents.idle_s", struct aggregator_config, agents.idle_s, 1,
	      AGE_MAX_S, KEY_AGENTS_IDLE),
	RANGE("graph.wait_s", struct aggregator_config, graph.wait_s, 1, 3600,
	      0),
	RANGE("graph.skew_ms", struct aggregator_config, graph.skew_ms, 1,
	      60000, 0),
	RANGE("graph.max_waiting", struct aggregator_config, graph.max_waiting,
	      1, 10000000, 0),
	RANGE("samples.max_families", struct aggregator_config,
	      samples.max_families, 1, 100000, 0),
	RANGE("samples.max_series", struct aggregator_config,
	      samples.max_series, 1, 10000000, 0),
	{ .key = "views.max_series", .min = 1, .max = 10000000 },
	{ .key = "views.max_values.max", .min = 1, .max = 10000000 },
};
const size_t config_n_ranges = sizeof(config_ranges) / sizeof(*config_ranges);

static const char *telemetry_path(const char *value)
{
	return value[0] == '/' && value[1] ? NULL : "a path like /metrics";
}

static const char *address(const char *value)
{
	const char *port = strrchr(value, ':');
	uint64_t n;

	return port && !cli_parse_u64(port + 1, 0, 65535, &n)
		       ? NULL
		       : "HOST:PORT or :PORT";
}

/* As conffile_present() takes it. */
static const char *readable_if_present(const char *value)
{
	value = conffile_present(value);
	return value ? conffile_readable(value) : NULL;
}

static const char *const page_words[] = { "on", "off" };

const struct conffile_rule config_rules[] = {
	CONFFILE_CHECK("web.listen", KEY_WEB_LISTEN, address),
	CONFFILE_CHECK("web.telemetry_path", KEY_TELEMETRY_PATH,
		       telemetry_path),
	CONFFILE_CHECK("web.config_file", 0, conffile_readable),
	CONFFILE_CHECK("-", KEY_WEB_CONFIG, readable_if_present),
	CONFFILE_WORDS("-", KEY_PAGE, page_words),
	CONFFILE_WORDS("-", KEY_TAIL, page_words),
	CONFFILE_CHECK("ingest.listen", KEY_INGEST_LISTEN, conffile_url),
	CONFFILE_CHECK("ingest.ca_file", KEY_TLS_CA, conffile_pem),
	CONFFILE_CHECK("ingest.cert_file", KEY_TLS_CERT, conffile_pem),
	CONFFILE_CHECK("ingest.key_file", KEY_TLS_KEY, conffile_pem),
};
const size_t config_n_rules = sizeof(config_rules) / sizeof(*config_rules);

const struct argp_option config_options[] = {
	{ "store.dir", KEY_STORE_DIR, "DIR", 0,
	  "State folder (/var/lib/redtap)", 1 },
	{ "store.commit", KEY_COMMIT, "DURATION", 0,
	  "Longest time that a batch waits for its commit (50ms)", 1 },
	{ "store.checkpoint", KEY_CHECKPOINT, "DURATION", 0,
	  "Time between checkpoints of the series (60s)", 1 },
	{ "retention.raw-age", KEY_RAW_AGE, "DURATION", 0,
	  "Keep batches in the log for this long (1d)", 2 },
	{ "retention.raw-bytes", KEY_RAW_BYTES, "BYTES", 0,
	  "Keep at most this much of the log of batches (1GiB)", 2 },
	{ "retention.windows-age", KEY_WINDOWS_AGE, "DURATION", 0,
	  "Keep windows for this long (15d)", 2 },
	{ "retention.windows-bytes", KEY_WINDOWS_BYTES, "BYTES", 0,
	  "Keep at most this much in the store besides the log (1GiB)", 2 },
	{ "web.listen-address", KEY_WEB_LISTEN, "ADDRESS", 0,
	  "Address for metrics and API (:9470); may be repeated", 3 },
	{ "web.telemetry-path", KEY_TELEMETRY_PATH, "PATH", 0,
	  "Path of the metrics (/metrics)", 3 },
	{ "web.config.file", KEY_WEB_CONFIG, "FILE", 0,
	  "TLS and users, in the format of Prometheus' exporter-toolkit", 3 },
	{ "web.enable-lifecycle", KEY_LIFECYCLE, NULL, 0,
	  "Allow POST /-/reload and POST /-/quit", 3 },
	{ "no-web.enable-lifecycle", KEY_NO_LIFECYCLE, NULL, OPTION_HIDDEN,
	  NULL, 3 },
	{ "web.page", KEY_PAGE, "on|off", 0, "Serve the page at / (on)", 3 },
	{ "web.tail", KEY_TAIL, "on|off", 0,
	  "Let the page show requests as they end (on)", 3 },
	{ "ingest.listen", KEY_INGEST_LISTEN, "URL", 0,
	  "URL for agents (tcp://127.0.0.1:9471); may be repeated", 4 },
	{ "ingest.tls.ca-file", KEY_TLS_CA, "FILE", 0,
	  "CA that must have signed the agents' certificates", 4 },
	{ "ingest.tls.cert-file", KEY_TLS_CERT, "FILE", 0,
	  "Certificate of this aggregator", 4 },
	{ "ingest.tls.key-file", KEY_TLS_KEY, "FILE", 0,
	  "Private key of the certificate", 4 },
	{ "ingest.token-file", KEY_TOKEN, "FILE", 0,
	  "Secret that agents must send; made if the file does not exist", 4 },
	{ "ingest.tls.shared-name", KEY_TLS_SHARED, "NAME", 0,
	  "A certificate of this name may speak for every node", 4 },
	{ "ingest.allow-plaintext", KEY_PLAINTEXT, NULL, 0,
	  "Allow tcp:// beyond loopback", 4 },
	{ "ingest.queue", KEY_QUEUE, "BYTES", 0,
	  "Most bytes received and not yet answered (64MiB)", 4 },
	{ "ingest.max-agents", KEY_AGENTS, "N", 0,
	  "Most agents in memory (10000); beyond that, those silent for "
	  "longest make room",
	  4 },
	{ "ingest.batches-per-second", KEY_BATCHES, "N", 0,
	  "Batches of all agents that they are paced to (10000)", 4 },
	{ "ingest.gather-max", KEY_GATHER, "DURATION", 0,
	  "Longest time between the batches of an agent (5s)", 4 },
	{ "series.idle", KEY_IDLE, "DURATION", 0,
	  "Hide series after this long without requests (1d)", 5 },
	{ "agents.idle", KEY_AGENTS_IDLE, "DURATION", 0,
	  "Hide an agent's own series after this long without a message (1d)",
	  5 },
	{ 0 },
};

const struct argp aggregator_config_argp = {
	.options = config_options,
	.parser = cli_settings_parse,
	.children = cli_settings_children,
};

static int set_duration_s(uint64_t *to, const char *value)
{
	uint64_t ms;
	int err = cli_parse_duration_ms(value, &ms);

	if (err || ms % 1000)
		return -EINVAL;
	*to = ms / 1000;
	return 0;
}

static int set_u32(uint32_t *to, int err, uint64_t v)
{
	if (err || v > UINT32_MAX)
		return -EINVAL;
	*to = (uint32_t)v;
	return 0;
}

static int set_switch(int *to, const char *value)
{
	if (strcmp(value, "on") && strcmp(value, "off"))
		return -EINVAL;
	*to = strcmp(value, "on") ? CONFIG_OFF : CONFIG_ON;
	return 0;
}

static int apply_listen(struct aggregator_config *cfg, int key,
			const char *value)
{
	if (key == KEY_WEB_LISTEN)
		return conffile_add_text(&cfg->web.listen,
					 &cfg->web.listen_count, value);
	return conffile_add_text(&cfg->ingest.listen, &cfg->ingest.listen_count,
				 value);
}

static int apply_text(struct aggregator_config *cfg, int key, const char *value)
{
	switch (key) {
	case KEY_STORE_DIR:
		return conffile_set_text(&cfg->store.dir, value);
	case KEY_TELEMETRY_PATH:
		return conffile_set_text(&cfg->web.telemetry_path, value);
	case KEY_WEB_CONFIG:
		value = conffile_present(value);
		return value ? conffile_set_text(&cfg->web.config_file, value)
			     : 0;
	case KEY_TLS_CA:
		return conffile_set_text(&cfg->ingest.ca_file, value);
	case KEY_TLS_CERT:
		return conffile_set_text(&cfg->ingest.cert_file, value);
	case KEY_TLS_KEY:
		return conffile_set_text(&cfg->ingest.key_file, value);
	case KEY_TOKEN:
		return conffile_set_text(&cfg->ingest.token_file, value);
	case KEY_TLS_SHARED:
		return conffile_set_text(&cfg->ingest.shared_name, value);
	default:
		return apply_listen(cfg, key, value);
	}
}

int config_apply_flag(struct aggregator_config *cfg, int key, const char *value)
{
	uint64_t v = 0;
	int err;

	switch (key) {
	case KEY_COMMIT:
		err = cli_parse_duration_ms(value, &v);
		return set_u32(&cfg->store.commit_ms, err, v);
	case KEY_CHECKPOINT:
		err = set_duration_s(&v, value);
		return set_u32(&cfg->store.checkpoint_s, err, v);
	case KEY_RAW_AGE:
		return set_duration_s(&cfg->retention.raw_age_s, value);
	case KEY_RAW_BYTES:
		return cli_parse_bytes(value, &cfg->retention.raw_bytes);
	case KEY_WINDOWS_AGE:
		return set_duration_s(&cfg->retention.windows_age_s, value);
	case KEY_WINDOWS_BYTES:
		return cli_parse_bytes(value, &cfg->retention.windows_bytes);
	case KEY_IDLE:
		return set_duration_s(&cfg->series.idle_s, value);
	case KEY_AGENTS_IDLE:
		return set_duration_s(&cfg->agents.idle_s, value);
	case KEY_LIFECYCLE:
	case KEY_NO_LIFECYCLE:
		cfg->web.lifecycle = key == KEY_LIFECYCLE;
		return 0;
	case KEY_PAGE:
		return set_switch(&cfg->web.page, value);
	case KEY_TAIL:
		return set_switch(&cfg->web.tail, value);
	case KEY_PLAINTEXT:
		cfg->ingest.allow_plaintext = true;
		return 0;
	case KEY_QUEUE:
		return cli_parse_bytes(value, &cfg->ingest.queue_bytes);
	case KEY_AGENTS:
		err = cli_parse_u64(value, 0, UINT64_MAX, &v);
		return set_u32(&cfg->ingest.max_agents, err, v);
	case KEY_BATCHES:
		err = cli_parse_u64(value, 0, UINT64_MAX, &v);
		return set_u32(&cfg->ingest.batches_per_s, err, v);
	case KEY_GATHER:
		err = cli_parse_duration_ms(value, &v);
		return set_u32(&cfg->ingest.gather_max_ms, err, v);
	default:
		return apply_text(cfg, key, value);
	}
}

static void clear_list(char ***list, unsigned *count)
{
	while (*count)
		free((*list)[--*count]);
	free(*list);
	*list = NULL;
}

/* Addresses given by flags replace those of the file. */
void config_clear_overridden(struct aggregator_config *cfg,
			     const struct cli_settings *flags)
{
	bool web = false, ingest = false;

	for (unsigned i = 0; i < flags->n; i++) {
		web |= flags->set[i].key == KEY_WEB_LISTEN;
		ingest |= flags->set[i].key == KEY_INGEST_LISTEN;
	}
	if (web)
		clear_list(&cfg->web.listen, &cfg->web.listen_count);
	if (ingest)
		clear_list(&cfg->ingest.listen, &cfg->ingest.listen_count);
}
