/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/config.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/conffile.h"
#include "common/conffile_fields.h"
#include "common/log.h"
#include "probe-agent/route.h"
#include "probe-agent/select.h"
#include "proto/limits.h"

#define FLUSH_MS_MIN 10
#define FLUSH_MS_MAX 1000 /* the promise: visible within 2 s */

/* ---- the file */

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
	LIST("ports", struct agent_match, ports, &text_entry),
	LIST("executables", struct agent_match, executables, &text_entry),
	LIST("containers", struct agent_match, containers, &text_entry),
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

static const cyaml_schema_field_t service_fields[] = {
	TEXT("executable", struct agent_service_rule, executable),
	TEXT("container", struct agent_service_rule, container),
	UINT("port", struct agent_service_rule, port),
	CYAML_FIELD_STRING_PTR("service", CYAML_FLAG_POINTER,
			       struct agent_service_rule, service, 1, 1024),
	TEXT("namespace", struct agent_service_rule, namespace_),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t service_entry = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct agent_service_rule,
			    service_fields),
};

static const cyaml_schema_field_t fields[] = {
	TEXT("node", struct agent_config, node),
	TEXT("to", struct agent_config, to),
	UINT("flush_ms", struct agent_config, flush_ms),
	GROUP("tls", struct agent_config, tls_fields),
	GROUP("outbox", struct agent_config, outbox_fields),
	GROUP("capture", struct agent_config, capture_fields),
	GROUP("select", struct agent_config, select_fields),
	GROUP("routes", struct agent_config, routes_fields),
	LIST("services", struct agent_config, services, &service_entry),
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

/* ---- the flags */

enum {
	KEY_NODE = CLI_KEY_CONFIG,
	KEY_TO,
	KEY_FLUSH,
	KEY_TLS_CA,
	KEY_TLS_CERT,
	KEY_TLS_KEY,
	KEY_OUTBOX_PATH,
	KEY_OUTBOX_CAP,
	KEY_CAPTURE,
	KEY_RING,
	KEY_CONNECTIONS,
	KEY_CAPTURE_TLS,
	KEY_INCLUDE_PORT,
	KEY_INCLUDE_EXECUTABLE,
	KEY_INCLUDE_CONTAINER,
	KEY_EXCLUDE_PORT,
	KEY_EXCLUDE_EXECUTABLE,
	KEY_EXCLUDE_CONTAINER,
	KEY_REPORT_SELF,
	KEY_NO_REPORT_SELF,
	KEY_ROUTE,
	KEY_ROUTES_CAP,
	KEY_RECORD,
	KEY_RECORD_TAP,
};

static const struct argp_option options[] = {
	{ "node", KEY_NODE, "NAME", 0, "Name of this node (hostname)", 1 },
	{ "to", KEY_TO, "URL", 0,
	  "The aggregator's ingest (tcp://127.0.0.1:9471)", 1 },
	{ "flush", KEY_FLUSH, "DURATION", 0,
	  "Longest wait before a batch is sent (500ms)", 1 },
	{ "tls.ca-file", KEY_TLS_CA, "FILE", 0, "CA of the aggregator", 1 },
	{ "tls.cert-file", KEY_TLS_CERT, "FILE", 0, "Our certificate", 1 },
	{ "tls.key-file", KEY_TLS_KEY, "FILE", 0, "Key of the certificate", 1 },
	{ "outbox.path", KEY_OUTBOX_PATH, "FILE", 0,
	  "Keep unacknowledged batches in this file (memory)", 2 },
	{ "outbox.cap", KEY_OUTBOX_CAP, "BYTES", 0, "Most that is kept (64MiB)",
	  2 },
	{ "capture", KEY_CAPTURE, "MODE", 0,
	  "auto (default), fentry, socket, syscall, kprobe", 3 },
	{ "capture.ring", KEY_RING, "BYTES", 0, "Ring buffer (4MiB)", 3 },
	{ "capture.max-connections", KEY_CONNECTIONS, "N", 0,
	  "Connections followed at once (65536)", 3 },
	{ "capture.tls", KEY_CAPTURE_TLS, "MODE", 0,
	  "Plain text inside TLS: auto (default), off", 3 },
	{ "record", KEY_RECORD, "FILE", 0,
	  "Write what is sent to a trace too, for replay", 3 },
	{ "record.tap", KEY_RECORD_TAP, "FILE", 0,
	  "Record what the tap sees, heads of requests as they are", 3 },
	{ "include.port", KEY_INCLUDE_PORT, "PORT[-PORT]", 0,
	  "Follow only these; each may be repeated", 4 },
	{ "include.executable", KEY_INCLUDE_EXECUTABLE, "GLOB", 0, NULL, 4 },
	{ "include.container", KEY_INCLUDE_CONTAINER, "GLOB", 0, NULL, 4 },
	{ "exclude.port", KEY_EXCLUDE_PORT, "PORT[-PORT]", 0,
	  "Do not follow these; wins over include", 5 },
	{ "exclude.executable", KEY_EXCLUDE_EXECUTABLE, "GLOB", 0, NULL, 5 },
	{ "exclude.container", KEY_EXCLUDE_CONTAINER, "GLOB", 0, NULL, 5 },
	{ "report-self", KEY_REPORT_SELF, NULL, 0,
	  "Report redtap's own traffic too", 6 },
	{ "no-report-self", KEY_NO_REPORT_SELF, NULL, OPTION_HIDDEN, NULL, 6 },
	{ "route", KEY_ROUTE, "PATTERN", 0,
	  "A route like /users/{id}; may be repeated", 7 },
	{ "routes.cap", KEY_ROUTES_CAP, "N", 0,
	  "Distinct routes of a service (1000)", 7 },
	{ 0 },
};

const struct argp agent_config_argp = {
	.options = options,
	.parser = cli_settings_parse,
	.children = cli_settings_children,
};

static int set_bytes(uint64_t *to, uint64_t max, const char *value)
{
	uint64_t v;
	int err = cli_parse_bytes(value, &v);

	if (err || v > max)
		return -EINVAL;
	*to = v;
	return 0;
}

static int set_number(uint32_t *to, const char *value)
{
	uint64_t v;
	int err = cli_parse_u64(value, 1, UINT32_MAX, &v);

	if (!err)
		*to = (uint32_t)v;
	return err;
}

static int apply_list_flag(struct agent_config *cfg, int key, const char *value)
{
	struct agent_match *m = key >= KEY_EXCLUDE_PORT ? &cfg->select.exclude
							: &cfg->select.include;

	switch (key) {
	case KEY_INCLUDE_PORT:
	case KEY_EXCLUDE_PORT:
		return conffile_add_text(&m->ports, &m->ports_count, value);
	case KEY_INCLUDE_EXECUTABLE:
	case KEY_EXCLUDE_EXECUTABLE:
		return conffile_add_text(&m->executables, &m->executables_count,
					 value);
	case KEY_INCLUDE_CONTAINER:
	case KEY_EXCLUDE_CONTAINER:
		return conffile_add_text(&m->containers, &m->containers_count,
					 value);
	default:
		return conffile_add_text(&cfg->routes.patterns,
					 &cfg->routes.patterns_count, value);
	}
}

static int apply_flag(struct agent_config *cfg, int key, const char *value)
{
	uint64_t v = 0;
	int err = 0;

	switch (key) {
	case KEY_NODE:
		return conffile_set_text(&cfg->node, value);
	case KEY_TO:
		return conffile_set_text(&cfg->to, value);
	case KEY_FLUSH:
		err = cli_parse_duration_ms(value, &v);
		cfg->flush_ms = v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
		return err;
	case KEY_TLS_CA:
		return conffile_set_text(&cfg->tls.ca_file, value);
	case KEY_TLS_CERT:
		return conffile_set_text(&cfg->tls.cert_file, value);
	case KEY_TLS_KEY:
		return conffile_set_text(&cfg->tls.key_file, value);
	case KEY_OUTBOX_PATH:
		return conffile_set_text(&cfg->outbox.path, value);
	case KEY_OUTBOX_CAP:
		return set_bytes(&cfg->outbox.cap_bytes, UINT64_MAX, value);
	case KEY_CAPTURE:
		return conffile_set_text(&cfg->capture.mode, value);
	case KEY_RING:
		err = set_bytes(&v, UINT32_MAX, value);
		cfg->capture.ring_bytes = (uint32_t)v;
		return err;
	case KEY_CONNECTIONS:
		return set_number(&cfg->capture.max_connections, value);
	case KEY_CAPTURE_TLS:
		return conffile_set_text(&cfg->capture.tls, value);
	case KEY_REPORT_SELF:
	case KEY_NO_REPORT_SELF:
		cfg->select.report_self = key == KEY_REPORT_SELF;
		return 0;
	case KEY_ROUTES_CAP:
		return set_number(&cfg->routes.cap, value);
	case KEY_RECORD:
		return conffile_set_text(&cfg->record, value);
	case KEY_RECORD_TAP:
		return conffile_set_text(&cfg->record_tap, value);
	default:
		return apply_list_flag(cfg, key, value);
	}
}

/* ---- defaults and checks */

static int default_text(char **to, const char *value)
{
	return *to ? 0 : conffile_set_text(to, value);
}

static int fill_defaults(struct agent_config *cfg)
{
	char host[256] = "localhost";
	int err;

	if (gethostname(host, sizeof(host) - 1))
		log_warn("no host name: %m");
	err = default_text(&cfg->node, host);
	if (!err)
		err = default_text(&cfg->to, "tcp://127.0.0.1:9471");
	if (!err)
		err = default_text(&cfg->capture.mode, "auto");
	if (!err)
		err = default_text(&cfg->capture.tls, "auto");
	if (!cfg->flush_ms)
		cfg->flush_ms = BATCH_FLUSH_MS;
	if (!cfg->outbox.cap_bytes)
		cfg->outbox.cap_bytes = 64u << 20;
	if (!cfg->capture.ring_bytes)
		cfg->capture.ring_bytes = 4u << 20;
	if (!cfg->capture.max_connections)
		cfg->capture.max_connections = 65536;
	if (!cfg->routes.cap)
		cfg->routes.cap = 1000;
	return err;
}

/* What is wrong with it, or NULL. */
static const char *check(const struct agent_config *cfg)
{
	static const char *const modes[] = { "auto", "fentry", "socket",
					     "syscall", "kprobe" };
	uint32_t ring = cfg->capture.ring_bytes;
	bool known = false;

	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		known |= !strcmp(cfg->capture.mode, modes[i]);
	if (!known)
		return "capture mode: none of auto, fentry, socket, "
		       "syscall, kprobe";
	if (strcmp(cfg->capture.tls, "auto") && strcmp(cfg->capture.tls, "off"))
		return "capture tls: neither auto nor off";
	if (!*cfg->node || strlen(cfg->node) > LIMIT_AGENT_BYTES)
		return "node: empty, or longer than 253 bytes";
	if (strncmp(cfg->to, "tcp://", 6) && strncmp(cfg->to, "tls+tcp://", 10))
		return "to: neither tcp:// nor tls+tcp://";
	if (cfg->flush_ms < FLUSH_MS_MIN || cfg->flush_ms > FLUSH_MS_MAX)
		return "flush: not within 10 ms and 1 s";
	if (ring < 65536 || ring > (1u << 30) || (ring & (ring - 1)))
		return "capture ring: not a power of two within 64 KiB and "
		       "1 GiB";
	if (cfg->outbox.cap_bytes < 2 * LIMIT_MESSAGE_BYTES)
		return "outbox cap: under 8 MiB";
	if (!cfg->tls.cert_file != !cfg->tls.key_file)
		return "tls: cert_file and key_file go together";
	for (unsigned i = 0; i < cfg->services_count; i++) {
		const struct agent_service_rule *r = &cfg->services[i];

		if (!r->executable && !r->container && !r->port)
			return "services: a rule needs executable, container "
			       "or port";
	}
	return NULL;
}

/* What the parts of an agent would refuse: told before it starts. */
static int check_parts(const struct agent_config *cfg)
{
	struct select_rules *rules = NULL;
	int err = select_new(&rules, cfg);

	select_free(rules);
	for (unsigned i = 0; !err && i < cfg->routes.patterns_count; i++) {
		const char *pattern = cfg->routes.patterns[i];
		const struct route_options opt = { .patterns = &pattern,
						   .n_patterns = 1 };
		struct route_table *routes = NULL;

		err = route_new(&routes, &opt);
		route_free(routes);
		if (err == -EINVAL)
			log_error("routes: '%s' is no pattern like /users/{id}",
				  pattern);
	}
	return err;
}

int agent_config_load(struct agent_config **out,
		      const struct cli_settings *flags)
{
	struct agent_config *cfg = NULL;
	const char *wrong;
	int err = 0;

	if (flags->cli.config_file)
		err = load_file(&cfg, flags->cli.config_file);
	/* An empty file is no document: all defaults. */
	if (!err && !cfg) {
		cfg = calloc(1, sizeof(*cfg));
		err = cfg ? 0 : -ENOMEM;
	}
	for (unsigned i = 0; !err && i < flags->n; i++) {
		err = apply_flag(cfg, flags->set[i].key, flags->set[i].value);
		if (err == -EINVAL)
			log_error("--%s: bad value '%s'",
				  cli_option_name(options, flags->set[i].key),
				  flags->set[i].value);
	}
	if (!err)
		err = fill_defaults(cfg);
	wrong = err ? NULL : check(cfg);
	if (wrong) {
		log_error("configuration: %s", wrong);
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
	/* With no parser of its own, an argp hands its input to the child. */
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
