/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/config/config.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/conffile.h"
#include "common/conffile_enums.h"
#include "common/conffile_fields.h"
#include "common/conffile_text.h"
#include "common/log.h"
#include "probe-agent/config/config_flags.h"
#include "probe-agent/identity/filter.h"
#include "probe-agent/identity/route.h"
#include "probe-agent/programs/spec.h"
#include "proto/limits.h"

/* --- the file --- */

static const cyaml_schema_value_t text_entry = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, 4096),
};

static const cyaml_schema_field_t tls_fields[] = {
	TEXT("ca_file", struct agent_config, tls.ca_file),
	TEXT("cert_file", struct agent_config, tls.cert_file),
	TEXT("key_file", struct agent_config, tls.key_file),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t outbox_fields[] = {
	UINT("cap_bytes", struct agent_config, outbox.cap_bytes),
	TEXT("path", struct agent_config, outbox.path),
	TEXT("given_up", struct agent_config, outbox.given_up),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t capture_fields[] = {
	TEXT("mode", struct agent_config, capture.mode),
	UINT("ring_bytes", struct agent_config, capture.ring_bytes),
	UINT("max_connections", struct agent_config, capture.max_connections),
	TEXT("tls", struct agent_config, capture.tls),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t match_fields[] = {
	LIST("ports", struct filter_match, ports, &text_entry),
	LIST("executables", struct filter_match, executables, &text_entry),
	LIST("containers", struct filter_match, containers, &text_entry),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t select_fields[] = {
	CYAML_FIELD_MAPPING("include", CYAML_FLAG_OPTIONAL, struct agent_config,
			    select.include, match_fields),
	CYAML_FIELD_MAPPING("exclude", CYAML_FLAG_OPTIONAL, struct agent_config,
			    select.exclude, match_fields),
	BOOLEAN("report_self", struct agent_config, select.report_self),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t routes_fields[] = {
	LIST("patterns", struct agent_config, routes.patterns, &text_entry),
	UINT("cap", struct agent_config, routes.cap),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t names_fields[] = {
	BOOLEAN("labels", struct agent_config, names.labels),
	BOOLEAN("scripts", struct agent_config, names.scripts),
	TEXT("root", struct agent_config, names.root),
	LIST("container_labels", struct agent_config, names.container_labels,
	     &text_entry),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t service_fields[] = {
	TEXT("executable", struct identity_rule, executable),
	TEXT("container", struct identity_rule, container),
	UINT("port", struct identity_rule, port),
	CYAML_FIELD_STRING_PTR("service", CYAML_FLAG_POINTER,
			       struct identity_rule, service, 1, 1024),
	TEXT("namespace", struct identity_rule, namespace_),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t service_entry = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct identity_rule,
			    service_fields),
};

static const cyaml_schema_field_t limit_fields[] = {
	TEXT("cpu", struct agent_config, programs.limits.cpu),
	TEXT("on_over", struct agent_config, programs.limits.on_over),
	TEXT("interval", struct agent_config, programs.limits.interval),
	TEXT("entries", struct agent_config, programs.limits.entries),
	TEXT("series", struct agent_config, programs.limits.series),
	TEXT("memory", struct agent_config, programs.limits.memory),
	TEXT("events", struct agent_config, programs.limits.events),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t programs_fields[] = {
	TEXT("dir", struct agent_config, programs.dir),
	TEXT("prefix", struct agent_config, programs.prefix),
	TEXT("pin_dir", struct agent_config, programs.pin_dir),
	TEXT("socket", struct agent_config, programs.socket),
	TEXT("debug_address", struct agent_config, programs.debug_address),
	LIST("allow", struct agent_config, programs.allow, &text_entry),
	GROUP("limits", struct agent_config, limit_fields),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t fields[] = {
	TEXT("node", struct agent_config, node),
	TEXT("to", struct agent_config, to),
	TEXT("token_file", struct agent_config, token_file),
	UINT("flush_ms", struct agent_config, flush_ms),
	GROUP("tls", struct agent_config, tls_fields),
	GROUP("outbox", struct agent_config, outbox_fields),
	GROUP("capture", struct agent_config, capture_fields),
	GROUP("select", struct agent_config, select_fields),
	GROUP("routes", struct agent_config, routes_fields),
	GROUP("names", struct agent_config, names_fields),
	LIST("services", struct agent_config, services, &service_entry),
	GROUP("programs", struct agent_config, programs_fields),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct agent_config, fields),
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
static int load_file(struct agent_config **out, struct conffile_text *t,
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

/* Where programs are looked for if the configuration says nothing. */
#define PROGRAMS_DIR "/etc/redtap/programs.d"

static int default_text(char **to, const char *value)
{
	return *to ? 0 : conffile_set_text(to, value);
}

/* In the state folder, if the service manager has made one. */
static int default_given_up(struct agent_config *cfg)
{
	const char *dir = getenv("STATE_DIRECTORY");
	char path[4096];

	if (cfg->outbox.given_up || !dir || !*dir)
		return 0;
	if (snprintf(path, sizeof(path), "%.*s/given-up",
		     (int)strcspn(dir, ":"), dir) >= (int)sizeof(path))
		return 0;
	return default_text(&cfg->outbox.given_up, path);
}

static int fill_defaults(struct agent_config *cfg)
{
	char host[256] = "localhost";
	int err;

	if (gethostname(host, sizeof(host) - 1))
		log_warn("cannot read host name error=\"%m\"");
	err = default_text(&cfg->node, host);
	if (!err)
		err = default_text(&cfg->to, "tcp://127.0.0.1:9471");
	if (!err)
		err = default_text(&cfg->capture.mode, "auto");
	if (!err)
		err = default_text(&cfg->capture.tls, "auto");
	if (!err)
		err = default_text(&cfg->programs.pin_dir,
				   "/sys/fs/bpf/redtap");
	if (!err)
		err = default_text(&cfg->programs.socket,
				   "/run/redtap/programs.sock");
	if (!err && !cfg->programs.dir && !access(PROGRAMS_DIR, F_OK))
		err = conffile_set_text(&cfg->programs.dir, PROGRAMS_DIR);
	if (!err)
		err = default_given_up(cfg);
	if (!cfg->flush_ms)
		cfg->flush_ms = BATCH_FLUSH_MS;
	if (!cfg->outbox.cap_bytes)
		cfg->outbox.cap_bytes = 64u << 20;
	if (!cfg->capture.ring_bytes)
		cfg->capture.ring_bytes = 4u << 20;
	if (!cfg->capture.max_connections)
		cfg->capture.max_connections = 65536;
	if (!cfg->routes.cap)
		cfg->routes.cap = ROUTE_CAP_DEFAULT;
	return err;
}

/* The key of a number out of range, from a YAML alias. NULL: none. */
static const char *check_numbers(const struct agent_config *cfg)
{
	const struct conffile_range *r =
		conffile_out_of_range(config_ranges, config_n_ranges, cfg, 0);

	return r ? r->key : NULL;
}

/* What is wrong with the n-th value of a key, from 0. */
struct wrong {
	const char *key, *what; /* what NULL: nothing */
	unsigned n;
};

static struct wrong check_tls(const struct agent_config *cfg)
{
	if (!strncmp(cfg->to, "tls+tcp://", 10) && !cfg->tls.ca_file)
		return (struct wrong){ "to", "tls+tcp:// needs tls.ca_file",
				       0 };
	if (!cfg->tls.cert_file != !cfg->tls.key_file)
		return (struct wrong){ cfg->tls.cert_file ? "tls.cert_file"
							  : "tls.key_file",
				       "cert_file and key_file go together",
				       0 };
	return (struct wrong){ .what = NULL };
}

/* Each limit's text, or NULL, by its key. */
static struct wrong check_limits(const struct agent_config *cfg,
				 struct spec_limits *out)
{
	const struct {
		const char *key, *text;
	} all[] = {
		{ "programs.limits.cpu", cfg->programs.limits.cpu },
		{ "programs.limits.on_over", cfg->programs.limits.on_over },
		{ "programs.limits.interval", cfg->programs.limits.interval },
		{ "programs.limits.entries", cfg->programs.limits.entries },
		{ "programs.limits.series", cfg->programs.limits.series },
		{ "programs.limits.memory", cfg->programs.limits.memory },
		{ "programs.limits.events", cfg->programs.limits.events },
	};

	spec_limits_default(out);
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		const char *name = strrchr(all[i].key, '.') + 1;
		const char *must =
			all[i].text ? spec_limits_set(out, name, all[i].text)
				    : NULL;

		if (must)
			return (struct wrong){ all[i].key, must, 0 };
	}
	return (struct wrong){ .what = NULL };
}

struct identity_options agent_config_identity(const struct agent_config *cfg)
{
	return (struct identity_options){
		.node = cfg->node,
		.rules = cfg->services,
		.n_rules = cfg->services_count,
		.use_labels = cfg->names.labels,
		.use_scripts = cfg->names.scripts,
		.cards = { .root = cfg->names.root,
			   .labels = cfg->names.container_labels,
			   .n_labels = cfg->names.container_labels_count },
	};
}

void agent_config_limits(const struct agent_config *cfg,
			 struct spec_limits *out)
{
	check_limits(cfg, out);
}

static struct wrong check_values(const struct agent_config *cfg)
{
	const char *key = check_numbers(cfg);

	if (key)
		return (struct wrong){ key, "is out of its range", 0 };
	/* The host's name has no rule. */
	if (!*cfg->node || strlen(cfg->node) > LIMIT_AGENT_BYTES)
		return (struct wrong){ "node",
				       "is empty or longer than 253 bytes", 0 };
	for (unsigned i = 0; i < cfg->services_count; i++) {
		const struct identity_rule *r = &cfg->services[i];

		if (!r->executable && !r->container && !r->port)
			return (struct wrong){ "services.service",
					       "a rule needs executable, "
					       "container or port",
					       i };
	}
	return check_tls(cfg);
}

/*
 * Checks what is complete, and builds the parts that could refuse it. What is
 * wrong is logged.
 */
static int check_config(const struct conffile_text *t,
			const struct agent_config *cfg)
{
	struct wrong wrong = check_values(cfg);
	struct filter_rules *rules = NULL;
	struct spec_limits limits;
	char what[256];
	int err;

	if (!wrong.what) {
		wrong = check_limits(cfg, &limits);
		if (wrong.what)
			snprintf(what, sizeof(what), "is not %s", wrong.what);
		wrong.what = wrong.what ? what : NULL;
	}
	if (wrong.what) {
		conffile_text_wrong(t, wrong.key, wrong.n, wrong.what);
		return -EINVAL;
	}
	err = filter_new(&rules, &cfg->select);
	filter_free(rules);
	return err;
}

static int take_flag(struct agent_config *cfg, int key, const char *value)
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

int agent_config_load(struct agent_config **out,
		      const struct cli_settings *flags)
{
	struct agent_config *cfg = NULL;
	const char *file = conffile_present(flags->cli.config_file);
	struct conffile_text text = { .path = NULL };
	int err = 0;

	if (file)
		err = load_file(&cfg, &text, file);
	/* No file, or an empty one: all defaults. */
	if (!err && !cfg) {
		cfg = calloc(1, sizeof(*cfg));
		err = cfg ? 0 : -ENOMEM;
	}
	for (unsigned i = 0; !err && i < flags->n; i++)
		err = take_flag(cfg, flags->set[i].key, flags->set[i].value);
	if (!err)
		err = fill_defaults(cfg);
	if (!err)
		err = check_config(&text, cfg);
	conffile_text_fini(&text);
	if (err) {
		agent_config_free(cfg);
		return err;
	}
	*out = cfg;
	return 0;
}

void agent_config_free(struct agent_config *cfg)
{
	if (!cfg)
		return;
	free(cfg->record); /* not in the schema */
	free(cfg->record_tap);
	cyaml_free(&cyaml_plain, &schema, cfg, 0);
}

int agent_config_main(struct agent_config **out, struct cli_settings *flags,
		      const char *doc, int argc, char **argv)
{
	const struct argp_child child[] = {
		{ &agent_config_argp, 0, NULL, 0 },
		{ 0 },
	};
	const struct argp argp = { .doc = doc, .children = child };
	int err;

	*flags = (struct cli_settings){ .n = 0 };
	/* An argp without a parser passes its input to its first child. */
	err = argp_parse(&argp, argc, argv, 0, NULL, flags);
	if (err)
		return -err;
	err = agent_config_load(out, flags);
	return err ? err : flags->cli.config_check;
}
