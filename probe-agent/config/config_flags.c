/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/config/config_flags.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/conffile.h"
#include "proto/limits.h"

enum {
	KEY_NODE = CLI_KEY_CONFIG,
	KEY_TO,
	KEY_FLUSH,
	KEY_TLS_CA,
	KEY_TLS_CERT,
	KEY_TLS_KEY,
	KEY_TOKEN,
	KEY_OUTBOX_PATH,
	KEY_OUTBOX_CAP,
	KEY_GIVEN_UP,
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
	KEY_PROGRAMS_DIR,
	KEY_PROGRAMS_SOCKET,
	KEY_PROGRAMS_PIN_DIR,
	KEY_PROGRAMS_ALLOW,
	KEY_DEBUG_ADDRESS,
	KEY_NAMES_LABELS,
	KEY_NAMES_SCRIPTS,
	KEY_CONTAINER_LABEL,
	KEY_NAMES_ROOT,
};

const struct conffile_range config_ranges[] = {
	/* At most 1 s, since requests must be visible within 2 s. */
	RANGE("flush_ms", struct agent_config, flush_ms, 10, 1000, KEY_FLUSH),
	RANGE("outbox.cap_bytes", struct agent_config, outbox.cap_bytes,
	      2 * LIMIT_MESSAGE_BYTES, (uint64_t)1 << 40, KEY_OUTBOX_CAP),
	{ .key = "capture.ring_bytes",
	  .min = 65536,
	  .max = 1u << 30,
	  .power_of_two = true,
	  .offset = offsetof(struct agent_config, capture.ring_bytes),
	  .size = sizeof(uint32_t),
	  .flag = KEY_RING },
	RANGE("capture.max_connections", struct agent_config,
	      capture.max_connections, 1, 10000000, KEY_CONNECTIONS),
	RANGE("routes.cap", struct agent_config, routes.cap, 1, 1000000,
	      KEY_ROUTES_CAP),
	{ .key = "services.port", .min = 1, .max = 65535 },
};
const size_t config_n_ranges = sizeof(config_ranges) / sizeof(*config_ranges);

static const char *node_name(const char *value)
{
	return *value && strlen(value) <= LIMIT_AGENT_BYTES
		       ? NULL
		       : "a name of 1 to 253 bytes";
}

static const char *port_or_range(const char *value)
{
	return filter_check_port(value) ? NULL
					: "a port or a range like 8000-8999";
}

static const char *route_pattern(const char *value)
{
	const char *p = value;

	while (*p > ' ' && *p < 0x7f)
		p++;
	return *value == '/' && !*p && strlen(value) <= LIMIT_STRING_BYTES
		       ? NULL
		       : "a route like /users/{id}: a / and printable ASCII";
}

static const char *folder(const char *value)
{
	struct stat st;

	return stat(value, &st) || !S_ISDIR(st.st_mode) ? "a folder that exists"
							: NULL;
}

/* A file that may be made: its folder exists. */
static const char *in_a_folder(const char *value)
{
	const char *slash = strrchr(value, '/');
	char dir[4096];

	if (!slash)
		return NULL;
	snprintf(dir, sizeof(dir), "%.*s", (int)(slash - value + 1), value);
	return folder(dir) ? "a file in a folder that exists" : NULL;
}

static const char *const modes[] = { "auto", "fentry", "socket", "syscall",
				     "kprobe" };
static const char *const tls_modes[] = { "auto", "off" };
static const char *const program_kinds[] = { "xdp" };

const struct conffile_rule config_rules[] = {
	CONFFILE_CHECK("node", KEY_NODE, node_name),
	CONFFILE_CHECK("to", KEY_TO, conffile_url),
	CONFFILE_CHECK("tls.ca_file", KEY_TLS_CA, conffile_pem),
	CONFFILE_CHECK("tls.cert_file", KEY_TLS_CERT, conffile_pem),
	CONFFILE_CHECK("tls.key_file", KEY_TLS_KEY, conffile_pem),
	CONFFILE_CHECK("outbox.path", KEY_OUTBOX_PATH, in_a_folder),
	CONFFILE_WORDS("capture.mode", KEY_CAPTURE, modes),
	CONFFILE_WORDS("capture.tls", KEY_CAPTURE_TLS, tls_modes),
	CONFFILE_CHECK("select.include.ports", KEY_INCLUDE_PORT, port_or_range),
	CONFFILE_CHECK("select.exclude.ports", KEY_EXCLUDE_PORT, port_or_range),
	CONFFILE_CHECK("select.include.executables", KEY_INCLUDE_EXECUTABLE,
		       conffile_glob),
	CONFFILE_CHECK("select.exclude.executables", KEY_EXCLUDE_EXECUTABLE,
		       conffile_glob),
	CONFFILE_CHECK("select.include.containers", KEY_INCLUDE_CONTAINER,
		       conffile_glob),
	CONFFILE_CHECK("select.exclude.containers", KEY_EXCLUDE_CONTAINER,
		       conffile_glob),
	CONFFILE_CHECK("services.executable", 0, conffile_glob),
	CONFFILE_CHECK("services.container", 0, conffile_glob),
	CONFFILE_CHECK("routes.patterns", KEY_ROUTE, route_pattern),
	CONFFILE_WORDS("programs.allow", KEY_PROGRAMS_ALLOW, program_kinds),
	CONFFILE_CHECK("names.root", KEY_NAMES_ROOT, folder),
	CONFFILE_CHECK("names.container_labels", KEY_CONTAINER_LABEL,
		       conffile_glob),
};
const size_t config_n_rules = sizeof(config_rules) / sizeof(*config_rules);

const struct argp_option config_options[] = {
	{ "node", KEY_NODE, "NAME", 0, "Name of this node (hostname)", 1 },
	{ "to", KEY_TO, "URL", 0,
	  "Ingest address of the aggregator (tcp://127.0.0.1:9471)", 1 },
	{ "flush", KEY_FLUSH, "DURATION", 0,
	  "Longest wait before a batch is sent (500ms)", 1 },
	{ "tls.ca-file", KEY_TLS_CA, "FILE", 0, "CA of the aggregator", 1 },
	{ "tls.cert-file", KEY_TLS_CERT, "FILE", 0, "Client certificate", 1 },
	{ "tls.key-file", KEY_TLS_KEY, "FILE", 0,
	  "Private key of the certificate", 1 },
	{ "token-file", KEY_TOKEN, "FILE", 0,
	  "A secret that the aggregator asks for (that of one on this host)",
	  1 },
	{ "outbox.path", KEY_OUTBOX_PATH, "FILE", 0,
	  "Keep unacknowledged batches in this file (memory)", 2 },
	{ "outbox.cap", KEY_OUTBOX_CAP, "BYTES", 0,
	  "Most bytes to keep (64MiB)", 2 },
	{ "outbox.given-up", KEY_GIVEN_UP, "FILE", 0,
	  "Without outbox.path: what a stop gave up, for the next start to "
	  "report ($STATE_DIRECTORY/given-up)",
	  2 },
	{ "capture", KEY_CAPTURE, "MODE", 0,
	  "auto (default), fentry, socket, syscall, kprobe", 3 },
	{ "capture.ring", KEY_RING, "BYTES", 0,
	  "Size of the ring buffer (4MiB)", 3 },
	{ "capture.max-connections", KEY_CONNECTIONS, "N", 0,
	  "Connections followed at once (65536)", 3 },
	{ "capture.tls", KEY_CAPTURE_TLS, "MODE", 0,
	  "Capture plain text inside TLS: auto (default), off", 3 },
	{ "record", KEY_RECORD, "FILE", 0,
	  "Also write sent batches to a trace file, for replay", 3 },
	{ "record.tap", KEY_RECORD_TAP, "FILE", 0,
	  "Record all tap data, with the heads of requests in clear", 3 },
	{ "include.port", KEY_INCLUDE_PORT, "PORT[-PORT]", 0,
	  "Follow only these; flags may be repeated", 4 },
	{ "include.executable", KEY_INCLUDE_EXECUTABLE, "GLOB", 0, NULL, 4 },
	{ "include.container", KEY_INCLUDE_CONTAINER, "GLOB", 0, NULL, 4 },
	{ "exclude.port", KEY_EXCLUDE_PORT, "PORT[-PORT]", 0,
	  "Do not follow these; wins over include", 5 },
	{ "exclude.executable", KEY_EXCLUDE_EXECUTABLE, "GLOB", 0, NULL, 5 },
	{ "exclude.container", KEY_EXCLUDE_CONTAINER, "GLOB", 0, NULL, 5 },
	{ "report-self", KEY_REPORT_SELF, NULL, 0,
	  "Also report redtap's own traffic", 6 },
	{ "no-report-self", KEY_NO_REPORT_SELF, NULL, OPTION_HIDDEN, NULL, 6 },
	{ "names.labels", KEY_NAMES_LABELS, NULL, 0,
	  "Name services by the labels app.kubernetes.io/instance and name",
	  6 },
	{ "names.scripts", KEY_NAMES_SCRIPTS, NULL, 0,
	  "Name an interpreter's service by its script", 6 },
	{ "names.root", KEY_NAMES_ROOT, "DIR", 0,
	  "Where the node's files are (/proc/1/root in a container, else /)",
	  6 },
	{ "names.container-label", KEY_CONTAINER_LABEL, "GLOB", 0,
	  "Show these labels of containers in target_info; may be repeated",
	  6 },
	{ "route", KEY_ROUTE, "PATTERN", 0,
	  "A route like /users/{id}; may be repeated", 7 },
	{ "routes.cap", KEY_ROUTES_CAP, "N", 0,
	  "Distinct routes per service (1000)", 7 },
	{ "programs.dir", KEY_PROGRAMS_DIR, "DIR", 0,
	  "Run the programs in this folder (/etc/redtap/programs.d, if it is "
	  "there)",
	  8 },
	{ "programs.allow", KEY_PROGRAMS_ALLOW, "xdp", 0,
	  "Load programs of this type, too; may be repeated", 8 },
	{ "programs.pin-dir", KEY_PROGRAMS_PIN_DIR, "DIR", 0,
	  "Pin programs with pin: true here (/sys/fs/bpf/redtap)", 8 },
	{ "programs.socket", KEY_PROGRAMS_SOCKET, "PATH", 0,
	  "For `redtap-agent program` (/run/redtap/programs.sock)", 8 },
	{ "web.debug-address", KEY_DEBUG_ADDRESS, "HOST:PORT", 0,
	  "Show programs' maps at /maps and /tables there; loopback only", 8 },
	{ 0 },
};

const struct argp agent_config_argp = {
	.options = config_options,
	.parser = cli_settings_parse,
	.children = cli_settings_children,
};

static int set_number(uint32_t *to, const char *value)
{
	uint64_t v;
	int err = cli_parse_u64(value, 0, UINT32_MAX, &v);

	if (!err)
		*to = (uint32_t)v;
	return err;
}

static int apply_list_flag(struct agent_config *cfg, int key, const char *value)
{
	struct filter_match *m = key >= KEY_EXCLUDE_PORT ? &cfg->select.exclude
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
	case KEY_CONTAINER_LABEL:
		return conffile_add_text(&cfg->names.container_labels,
					 &cfg->names.container_labels_count,
					 value);
	default:
		return conffile_add_text(&cfg->routes.patterns,
					 &cfg->routes.patterns_count, value);
	}
}

int config_apply_flag(struct agent_config *cfg, int key, const char *value)
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
	case KEY_TOKEN:
		return conffile_set_text(&cfg->token_file, value);
	case KEY_OUTBOX_PATH:
		return conffile_set_text(&cfg->outbox.path, value);
	case KEY_GIVEN_UP:
		return conffile_set_text(&cfg->outbox.given_up, value);
	case KEY_OUTBOX_CAP:
		return cli_parse_bytes(value, &cfg->outbox.cap_bytes);
	case KEY_CAPTURE:
		return conffile_set_text(&cfg->capture.mode, value);
	case KEY_RING:
		err = cli_parse_bytes(value, &v);
		cfg->capture.ring_bytes =
			v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
		return err;
	case KEY_CONNECTIONS:
		return set_number(&cfg->capture.max_connections, value);
	case KEY_CAPTURE_TLS:
		return conffile_set_text(&cfg->capture.tls, value);
	case KEY_REPORT_SELF:
	case KEY_NO_REPORT_SELF:
		cfg->select.report_self = key == KEY_REPORT_SELF;
		return 0;
	case KEY_NAMES_LABELS:
		cfg->names.labels = true;
		return 0;
	case KEY_NAMES_SCRIPTS:
		cfg->names.scripts = true;
		return 0;
	case KEY_NAMES_ROOT:
		return conffile_set_text(&cfg->names.root, value);
	case KEY_ROUTES_CAP:
		return set_number(&cfg->routes.cap, value);
	case KEY_RECORD:
		return conffile_set_text(&cfg->record, value);
	case KEY_RECORD_TAP:
		return conffile_set_text(&cfg->record_tap, value);
	case KEY_PROGRAMS_DIR:
		return conffile_set_text(&cfg->programs.dir, value);
	case KEY_PROGRAMS_SOCKET:
		return conffile_set_text(&cfg->programs.socket, value);
	case KEY_PROGRAMS_PIN_DIR:
		return conffile_set_text(&cfg->programs.pin_dir, value);
	case KEY_DEBUG_ADDRESS:
		return conffile_set_text(&cfg->programs.debug_address, value);
	case KEY_PROGRAMS_ALLOW:
		return conffile_add_text(&cfg->programs.allow,
					 &cfg->programs.allow_count, value);
	default:
		return apply_list_flag(cfg, key, value);
	}
}
