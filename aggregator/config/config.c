/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/config/config.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/config/config_flags.h"
#include "aggregator/config/config_views.h"
#include "aggregator/expose/metrics.h"
#include "common/conffile.h"
#include "common/conffile_enums.h"
#include "common/conffile_fields.h"
#include "common/conffile_text.h"
#include "common/log.h"

#define DAY_S (24u * 3600)

/* --- the file --- */

static const cyaml_schema_value_t text_entry = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, 4096),
};

static const cyaml_schema_field_t store_fields[] = {
	TEXT("dir", struct aggregator_config, store.dir),
	UINT("commit_ms", struct aggregator_config, store.commit_ms),
	UINT("checkpoint_s", struct aggregator_config, store.checkpoint_s),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t retention_fields[] = {
	UINT("raw_age_s", struct aggregator_config, retention.raw_age_s),
	UINT("raw_bytes", struct aggregator_config, retention.raw_bytes),
	UINT("windows_age_s", struct aggregator_config,
	     retention.windows_age_s),
	UINT("windows_bytes", struct aggregator_config,
	     retention.windows_bytes),
	CYAML_FIELD_END,
};

/* What YAML 1.1 takes for a boolean, as libcyaml takes off for true. */
static const cyaml_strval_t switches[] = {
	{ "on", CONFIG_ON },   { "true", CONFIG_ON },	{ "yes", CONFIG_ON },
	{ "off", CONFIG_OFF }, { "false", CONFIG_OFF }, { "no", CONFIG_OFF },
};
#define N_SWITCHES (sizeof(switches) / sizeof(switches[0]))

static const cyaml_schema_field_t web_fields[] = {
	LIST("listen", struct aggregator_config, web.listen, &text_entry),
	TEXT("telemetry_path", struct aggregator_config, web.telemetry_path),
	TEXT("config_file", struct aggregator_config, web.config_file),
	BOOLEAN("lifecycle", struct aggregator_config, web.lifecycle),
	CYAML_FIELD_ENUM("page", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT,
			 struct aggregator_config, web.page, switches,
			 N_SWITCHES),
	CYAML_FIELD_ENUM("tail", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT,
			 struct aggregator_config, web.tail, switches,
			 N_SWITCHES),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t ingest_fields[] = {
	LIST("listen", struct aggregator_config, ingest.listen, &text_entry),
	TEXT("ca_file", struct aggregator_config, ingest.ca_file),
	TEXT("cert_file", struct aggregator_config, ingest.cert_file),
	TEXT("key_file", struct aggregator_config, ingest.key_file),
	TEXT("token_file", struct aggregator_config, ingest.token_file),
	TEXT("shared_name", struct aggregator_config, ingest.shared_name),
	BOOLEAN("allow_plaintext", struct aggregator_config,
		ingest.allow_plaintext),
	UINT("queue_bytes", struct aggregator_config, ingest.queue_bytes),
	UINT("max_agents", struct aggregator_config, ingest.max_agents),
	UINT("batches_per_s", struct aggregator_config, ingest.batches_per_s),
	UINT("gather_max_ms", struct aggregator_config, ingest.gather_max_ms),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t agents_fields[] = {
	UINT("idle_s", struct aggregator_config, agents.idle_s),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t series_fields[] = {
	UINT("idle_s", struct aggregator_config, series.idle_s),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t graph_fields[] = {
	UINT("wait_s", struct aggregator_config, graph.wait_s),
	UINT("skew_ms", struct aggregator_config, graph.skew_ms),
	UINT("max_waiting", struct aggregator_config, graph.max_waiting),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t samples_fields[] = {
	UINT("max_families", struct aggregator_config, samples.max_families),
	UINT("max_series", struct aggregator_config, samples.max_series),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t log_fields[] = {
	CYAML_FIELD_ENUM("level", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT,
			 struct aggregator_config, log.level, config_levels,
			 CONFIG_LEVELS),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t fields[] = {
	GROUP("store", struct aggregator_config, store_fields),
	GROUP("retention", struct aggregator_config, retention_fields),
	GROUP("web", struct aggregator_config, web_fields),
	GROUP("ingest", struct aggregator_config, ingest_fields),
	GROUP("series", struct aggregator_config, series_fields),
	GROUP("agents", struct aggregator_config, agents_fields),
	GROUP("graph", struct aggregator_config, graph_fields),
	GROUP("samples", struct aggregator_config, samples_fields),
	GROUP("log", struct aggregator_config, log_fields),
	CYAML_FIELD_ENUM("compat", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT,
			 struct aggregator_config, compat, config_compats,
			 CONFIG_COMPATS),
	CYAML_FIELD_SEQUENCE_COUNT(
		"views", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
		struct aggregator_config, views, n_views, &config_view, 0, 64),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct aggregator_config,
			    fields),
};

static void complain(cyaml_log_t level, void *ctx, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

static void complain(cyaml_log_t level, void *ctx, const char *fmt, va_list ap)
{
	struct conffile_text *t = ctx;

	(void)level;
	conffile_complaint(&t->error, t->plain.data, t->plain.len, fmt, ap);
}

static const cyaml_config_t cyaml_plain = {
	.log_level = CYAML_LOG_ERROR,
	.mem_fn = cyaml_mem,
};

/* Loads the file into *out and *t. What is wrong is logged. */
static int load_file(struct aggregator_config **out, struct conffile_text *t,
		     const char *path)
{
	const struct conffile_schema checks = { config_ranges, config_n_ranges,
						config_rules, config_n_rules };
	cyaml_config_t cyaml = cyaml_plain;
	cyaml_err_t code;
	int err = conffile_text_load(t, path, &checks);

	cyaml.log_fn = complain;
	cyaml.log_ctx = t;
	if (!err)
		err = conffile_enums_check(&schema, t);
	if (!err) {
		code = cyaml_load_data((const uint8_t *)t->plain.data,
				       t->plain.len, &cyaml, &schema,
				       (cyaml_data_t **)out, NULL);
		if (code == CYAML_ERR_OOM)
			err = -ENOMEM;
		else if (code != CYAML_OK)
			err = -EINVAL;
	}
	if (err)
		conffile_text_report(t, err);
	return err;
}

/* --- defaults and checks --- */

static int default_text(char **to, const char *value)
{
	return *to ? 0 : conffile_set_text(to, value);
}

static void default_u64(uint64_t *to, uint64_t value)
{
	if (!*to)
		*to = value;
}

static void default_u32(uint32_t *to, uint32_t value)
{
	if (!*to)
		*to = value;
}

/*
 * Every local user reaches the default address, so a token is asked for there;
 * agents of this host find its file.
 */
static int default_ingest(struct aggregator_config *cfg)
{
	/* As systemd sets it; another unit cannot look into our store. */
	const char *folder = getenv("RUNTIME_DIRECTORY");
	int err;

	if (cfg->ingest.listen_count)
		return 0;
	err = conffile_add_text(&cfg->ingest.listen, &cfg->ingest.listen_count,
				"tcp://127.0.0.1:9471");
	if (err || cfg->ingest.token_file)
		return err;
	if (asprintf(&cfg->ingest.token_file, "%s/ingest.token",
		     folder ? folder : cfg->store.dir) < 0) {
		cfg->ingest.token_file = NULL;
		return -ENOMEM;
	}
	return 0;
}

static int fill_defaults(struct aggregator_config *cfg)
{
	int err = default_text(&cfg->store.dir, "/var/lib/redtap");

	default_u32(&cfg->store.commit_ms, 50);
	default_u32(&cfg->store.checkpoint_s, 60);
	default_u64(&cfg->retention.raw_age_s, DAY_S);
	default_u64(&cfg->retention.raw_bytes, UINT64_C(1) << 30);
	default_u64(&cfg->retention.windows_age_s, 15 * DAY_S);
	default_u64(&cfg->retention.windows_bytes, UINT64_C(1) << 30);
	default_u64(&cfg->series.idle_s, DAY_S);
	default_u64(&cfg->agents.idle_s, DAY_S);
	default_u32(&cfg->graph.wait_s, 15);
	default_u32(&cfg->graph.skew_ms, 100);
	default_u32(&cfg->graph.max_waiting, 262144);
	default_u32(&cfg->samples.max_families, 200);
	default_u32(&cfg->samples.max_series, 10000);
	default_u64(&cfg->ingest.queue_bytes, 64u << 20);
	default_u32(&cfg->ingest.max_agents, 10000);
	default_u32(&cfg->ingest.batches_per_s, 10000);
	default_u32(&cfg->ingest.gather_max_ms, 5000);
	if (!err)
		err = default_text(&cfg->web.telemetry_path, "/metrics");
	if (!err && !cfg->web.listen_count)
		err = conffile_add_text(&cfg->web.listen,
					&cfg->web.listen_count, ":9470");
	return err ? err : default_ingest(cfg);
}

static bool is_loopback(const char *url)
{
	const char *host = url + strlen("tcp://");

	return !strncmp(host, "127.", 4) || !strncmp(host, "localhost:", 10) ||
	       !strncmp(host, "[::1]:", 6);
}

/* What is wrong with the n-th value of a key, from 0. */
struct wrong {
	const char *key, *what; /* what NULL: nothing */
	unsigned n;
};

static struct wrong check_ingest(const struct aggregator_config *cfg)
{
	for (unsigned i = 0; i < cfg->ingest.listen_count; i++) {
		const char *url = cfg->ingest.listen[i];

		if (!strncmp(url, "tls+tcp://", 10)) {
			if (!cfg->ingest.cert_file || !cfg->ingest.ca_file)
				return (struct wrong){
					"ingest.listen",
					"tls+tcp:// needs ingest.cert_file, "
					"ingest.key_file and ingest.ca_file",
					i
				};
		} else if (!is_loopback(url) && !cfg->ingest.allow_plaintext) {
			return (struct wrong){
				"ingest.listen",
				"others can read tcp:// beyond loopback: "
				"tls+tcp://, or ingest.allow_plaintext",
				i
			};
		}
	}
	if (!cfg->ingest.cert_file != !cfg->ingest.key_file)
		return (struct wrong){ cfg->ingest.cert_file
					       ? "ingest.cert_file"
					       : "ingest.key_file",
				       "cert_file and key_file go together",
				       0 };
	return (struct wrong){ .what = NULL };
}

/*
 * Checks the ranges again, after loading: the check of the text misses values
 * that come from YAML aliases. Returns the key that is out of range, or NULL.
 */
static const char *check_numbers(const struct aggregator_config *cfg)
{
	const struct conffile_range *r =
		conffile_out_of_range(config_ranges, config_n_ranges, cfg, 0);

	return r ? r->key : NULL;
}

static unsigned index_of_view(const struct aggregator_config *cfg,
			      const char *name)
{
	for (unsigned i = 0; i < cfg->n_views; i++)
		if (cfg->views[i].name && !strcmp(cfg->views[i].name, name))
			return i;
	return 0;
}

static int check_views(const struct conffile_text *t,
		       const struct aggregator_config *cfg)
{
	struct view_set *views = NULL;
	char why[256] = "", name[128] = "";
	int err = view_set_new(&views, (enum view_compat)cfg->compat,
			       cfg->views, cfg->n_views, why, sizeof(why));

	for (unsigned i = 0; !err && i < cfg->n_views; i++)
		if (metrics_has_name(cfg->views[i].name)) {
			snprintf(why, sizeof(why),
				 "view %s: a metric of "
				 "redtap has this name",
				 cfg->views[i].name);
			err = -EINVAL;
		}
	if (err == -EINVAL) {
		sscanf(why, "view %127[^:]", name);
		conffile_text_wrong(t, "views.name", index_of_view(cfg, name),
				    why);
	}
	view_set_free(views);
	return err;
}

static int take_flag(struct aggregator_config *cfg, int key, const char *value)
{
	struct conffile_error e = { .what = "is not a valid value" };
	int err = conffile_check_flag_rules(config_rules, config_n_rules, key,
					    value, &e);

	if (!err) {
		conffile_flag_form(config_ranges, config_n_ranges, key, &e);
		err = config_apply_flag(cfg, key, value);
	}
	if (!err)
		err = conffile_check_flag(config_ranges, config_n_ranges, cfg,
					  key, &e);
	if (err == -EINVAL)
		log_error("--%s: '%s' %s", cli_option_name(config_options, key),
			  value, e.what);
	return err;
}

/* Checks what is complete. What is wrong is logged. */
static int check_config(const struct conffile_text *t,
			const struct aggregator_config *cfg)
{
	const char *key = check_numbers(cfg);
	struct wrong wrong = check_ingest(cfg);

	if (key)
		wrong = (struct wrong){ key, "is out of its range", 0 };
	if (wrong.what) {
		conffile_text_wrong(t, wrong.key, wrong.n, wrong.what);
		return -EINVAL;
	}
	return check_views(t, cfg);
}

int aggregator_config_load(struct aggregator_config **out,
			   const struct cli_settings *flags)
{
	struct aggregator_config *cfg = NULL;
	const char *file = conffile_present(flags->cli.config_file);
	struct conffile_text text = { .path = NULL };
	int err = 0;

	if (file)
		err = load_file(&cfg, &text, file);
	/* For an empty file libcyaml makes no configuration. */
	if (!err && !cfg) {
		cfg = calloc(1, sizeof(*cfg));
		err = cfg ? 0 : -ENOMEM;
	}
	if (!err)
		config_clear_overridden(cfg, flags);
	for (unsigned i = 0; !err && i < flags->n; i++)
		err = take_flag(cfg, flags->set[i].key, flags->set[i].value);
	if (!err)
		err = fill_defaults(cfg);
	if (!err)
		err = check_config(&text, cfg);
	conffile_text_fini(&text);
	if (err) {
		aggregator_config_free(cfg);
		return err;
	}
	*out = cfg;
	return 0;
}

void aggregator_config_free(struct aggregator_config *cfg)
{
	if (!cfg)
		return;
	cyaml_free(&cyaml_plain, &schema, cfg, 0);
}

int aggregator_config_main(struct aggregator_config **out,
			   struct cli_settings *flags, const char *doc,
			   int argc, char **argv)
{
	const struct argp_child child[] = {
		{ &aggregator_config_argp, 0, NULL, 0 },
		{ 0 },
	};
	const struct argp argp = { .doc = doc, .children = child };
	int err;

	*flags = (struct cli_settings){ .n = 0 };
	/* An argp without a parser passes its input on to its child. */
	err = argp_parse(&argp, argc, argv, 0, NULL, flags);
	if (err)
		return -err;
	err = aggregator_config_load(out, flags);
	return err ? err : flags->cli.config_check;
}
