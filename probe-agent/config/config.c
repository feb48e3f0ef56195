/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/config/config.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/conffile.h"
#include "common/conffile_fields.h"
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

struct parse {
	struct conffile_error error;
	struct buf text;
};

static void complain(cyaml_log_t level, void *ctx, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

static void complain(cyaml_log_t level, void *ctx, const char *fmt, va_list ap)
{
	struct parse *p = ctx;

	(void)level;
	conffile_complaint(&p->error, p->text.data, p->text.len, fmt, ap);
}

static const cyaml_config_t cyaml_plain = {
	.log_level = CYAML_LOG_ERROR,
	.mem_fn = cyaml_mem,
};

static int load_file(struct agent_config **out, const char *path)
{
	struct parse p = { .error = { 0 } };
	cyaml_config_t cyaml = cyaml_plain;
	cyaml_err_t code;
	int err;

	cyaml.log_fn = complain;
	cyaml.log_ctx = &p;
	err = conffile_read(&p.text, path, &p.error);
	if (!err)
		err = conffile_check_ranges(config_ranges, config_n_ranges,
					    p.text.data, p.text.len, &p.error);
	if (!err) {
		code = cyaml_load_data((const uint8_t *)p.text.data, p.text.len,
				       &cyaml, &schema, (cyaml_data_t **)out,
				       NULL);
		if (code == CYAML_ERR_OOM)
			err = -ENOMEM;
		else if (code != CYAML_OK)
			err = -EINVAL;
	}
	if (err)
		log_error("%s:%u:%u: %s", path, p.error.line, p.error.column,
			  p.error.what[0] ? p.error.what : strerror(-err));
	buf_fini(&p.text);
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

/* Returns what is wrong, or NULL. */
static const char *check_config(const struct agent_config *cfg)
{
	static const char *const modes[] = { "auto", "fentry", "socket",
					     "syscall", "kprobe" };
	bool known = false;

	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		known |= !strcmp(cfg->capture.mode, modes[i]);
	if (!known)
		return "capture.mode is none of auto, fentry, socket, "
		       "syscall, kprobe";
	if (strcmp(cfg->capture.tls, "auto") && strcmp(cfg->capture.tls, "off"))
		return "capture.tls is neither auto nor off";
	if (!*cfg->node || strlen(cfg->node) > LIMIT_AGENT_BYTES)
		return "node is empty or longer than 253 bytes";
	if (strncmp(cfg->to, "tcp://", 6) && strncmp(cfg->to, "tls+tcp://", 10))
		return "to is neither tcp:// nor tls+tcp://";
	if (!cfg->tls.cert_file != !cfg->tls.key_file)
		return "tls.cert_file and tls.key_file go together";
	for (unsigned i = 0; i < cfg->programs.allow_count; i++)
		if (strcmp(cfg->programs.allow[i], "xdp"))
			return "programs.allow has other words than xdp";
	for (unsigned i = 0; i < cfg->services_count; i++) {
		const struct identity_rule *r = &cfg->services[i];

		if (!r->executable && !r->container && !r->port)
			return "services: a rule needs executable, container "
			       "or port";
	}
	return NULL;
}

/* Each limit's text, or NULL, by its key. */
static const char *check_limits(const struct agent_config *cfg,
				struct spec_limits *out)
{
	const struct {
		const char *key, *text;
	} all[] = {
		{ "cpu", cfg->programs.limits.cpu },
		{ "on_over", cfg->programs.limits.on_over },
		{ "interval", cfg->programs.limits.interval },
		{ "entries", cfg->programs.limits.entries },
		{ "series", cfg->programs.limits.series },
		{ "memory", cfg->programs.limits.memory },
		{ "events", cfg->programs.limits.events },
	};
	const char *must = NULL;

	spec_limits_default(out);
	for (size_t i = 0; i < sizeof(all) / sizeof(*all) && !must; i++) {
		if (all[i].text)
			must = spec_limits_set(out, all[i].key, all[i].text);
		if (must)
			log_error("programs.limits.%s is not %s: '%s'",
				  all[i].key, must, all[i].text);
	}
	return must;
}

void agent_config_limits(const struct agent_config *cfg,
			 struct spec_limits *out)
{
	check_limits(cfg, out);
}

/* Builds the parts that could refuse the configuration, and drops them. */
static int check_parts(const struct agent_config *cfg)
{
	struct filter_rules *rules = NULL;
	int err = filter_new(&rules, &cfg->select);
	struct spec_limits limits;

	filter_free(rules);
	if (!err && check_limits(cfg, &limits))
		err = -EINVAL;
	for (unsigned i = 0; !err && i < cfg->routes.patterns_count; i++) {
		const char *pattern = cfg->routes.patterns[i];
		const struct route_options opt = { .patterns = &pattern,
						   .n_patterns = 1 };
		struct route_table *routes = NULL;

		err = route_new(&routes, &opt);
		route_free(routes);
		if (err == -EINVAL)
			log_error("route pattern must start with / and be "
				  "printable ASCII pattern=\"%s\"",
				  pattern);
	}
	return err;
}

static int take_flag(struct agent_config *cfg, int key, const char *value)
{
	struct conffile_error e = { .what = "is a bad value" };
	int err = config_apply_flag(cfg, key, value);

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
	const char *file = conffile_present(flags->cli.config_file), *wrong;
	int err = 0;

	if (file)
		err = load_file(&cfg, file);
	/* No file, or an empty one: all defaults. */
	if (!err && !cfg) {
		cfg = calloc(1, sizeof(*cfg));
		err = cfg ? 0 : -ENOMEM;
	}
	for (unsigned i = 0; !err && i < flags->n; i++)
		err = take_flag(cfg, flags->set[i].key, flags->set[i].value);
	if (!err)
		err = fill_defaults(cfg);
	wrong = err ? NULL : check_numbers(cfg);
	if (wrong) {
		log_error(
			"invalid configuration error=\"%s is out of its range\"",
			wrong);
		err = -EINVAL;
	}
	wrong = err ? NULL : check_config(cfg);
	if (wrong) {
		log_error("invalid configuration error=\"%s\"", wrong);
		err = -EINVAL;
	}
	if (!err)
		err = check_parts(cfg);
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
	if (err || !flags->cli.config_check)
		return err;
	agent_config_free(*out);
	*out = NULL;
	return 1;
}
