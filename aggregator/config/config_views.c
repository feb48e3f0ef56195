/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/config/config_views.h"

#include <assert.h>

#include "aggregator/views/view_set.h"
#include "common/log.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

const cyaml_strval_t config_levels[CONFIG_LEVELS] = {
	{ "debug", LOG_LEVEL_DEBUG + 1 },
	{ "info", LOG_LEVEL_INFO + 1 },
	{ "warn", LOG_LEVEL_WARN + 1 },
	{ "error", LOG_LEVEL_ERROR + 1 },
};

static const cyaml_strval_t measures[] = {
	{ "requests", VIEW_REQUESTS + 1 },
	{ "duration", VIEW_DURATION + 1 },
	{ "time_to_first_byte", VIEW_TTFB + 1 },
	{ "request_bytes", VIEW_REQUEST_BYTES + 1 },
	{ "response_bytes", VIEW_RESPONSE_BYTES + 1 },
	{ "edge_requests", VIEW_EDGE_REQUESTS + 1 },
	{ "edge_server_duration", VIEW_EDGE_SERVER + 1 },
	{ "edge_client_duration", VIEW_EDGE_CLIENT + 1 },
	{ "edge_network_time", VIEW_EDGE_NETWORK + 1 },
};

static const cyaml_strval_t kinds[] = {
	{ "counter", VIEW_COUNTER + 1 },
	{ "histogram", VIEW_HISTOGRAM + 1 },
};

static const cyaml_strval_t calls[] = {
	{ "any", VIEW_CALLS_TOO + 1 },
	{ "none", VIEW_CALLS_NOT + 1 },
	{ "only", VIEW_CALLS_ONLY + 1 },
};

const cyaml_strval_t config_compats[CONFIG_COMPATS] = {
	{ "none", VIEW_COMPAT_NONE },
	{ "beyla", VIEW_COMPAT_BEYLA },
};

static const cyaml_strval_t roles[] = {
	{ "server", 1 },
	{ "client", 2 },
};

/* The names of label_key_name(); a test compares them. */
static const cyaml_strval_t labels[] = {
	{ "job", LABEL_JOB + 1 },
	{ "instance", LABEL_INSTANCE + 1 },
	{ "node", LABEL_NODE + 1 },
	{ "service", LABEL_SERVICE + 1 },
	{ "role", LABEL_ROLE + 1 },
	{ "http_request_method", LABEL_METHOD + 1 },
	{ "http_route", LABEL_ROUTE + 1 },
	{ "http_response_status_code", LABEL_STATUS + 1 },
	{ "error_type", LABEL_ERROR + 1 },
	{ "url_scheme", LABEL_SCHEME + 1 },
	{ "network_protocol_version", LABEL_VERSION + 1 },
	{ "server_address", LABEL_ADDRESS + 1 },
	{ "server_port", LABEL_PORT + 1 },
	{ "rpc_system_name", LABEL_RPC_SYSTEM + 1 },
	{ "rpc_method", LABEL_RPC_METHOD + 1 },
	{ "rpc_status_code", LABEL_RPC_STATUS + 1 },
	{ "rpc_system", LABEL_RPC_SYSTEM_OLD + 1 },
	{ "rpc_grpc_status_code", LABEL_RPC_NUMBER + 1 },
	{ "client", LABEL_CLIENT + 1 },
	{ "server", LABEL_SERVER + 1 },
	{ "connection_type", LABEL_CONNECTION + 1 },
};
static_assert(N(labels) == LABEL_KEYS, "every label has its name");

static const cyaml_schema_value_t label_entry = {
	CYAML_VALUE_ENUM(CYAML_FLAG_STRICT, int, labels, N(labels)),
};
static const cyaml_schema_value_t role_entry = {
	CYAML_VALUE_ENUM(CYAML_FLAG_STRICT, int, roles, N(roles)),
};
static const cyaml_schema_value_t bucket_entry = {
	CYAML_VALUE_FLOAT(CYAML_FLAG_DEFAULT, double),
};
static const cyaml_schema_value_t glob_entry = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, 1024),
};

static const cyaml_schema_field_t values_fields[] = {
	CYAML_FIELD_ENUM("label", CYAML_FLAG_STRICT, struct view_entry_values,
			 label, labels, N(labels)),
	CYAML_FIELD_UINT("max", CYAML_FLAG_DEFAULT, struct view_entry_values,
			 max),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t values_entry = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct view_entry_values,
			    values_fields),
};

#define LIST(key, member, count, entry, max)                                   \
	CYAML_FIELD_SEQUENCE_COUNT(                                            \
		key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,                 \
		struct view_entry, member, count, entry, 1, max)

/* Offsets are from the start of struct view_entry: see data_offset below. */
static const cyaml_schema_field_t filter_fields[] = {
	LIST("role", filter.roles, filter.n_roles, &role_entry, 2),
	CYAML_FIELD_BOOL("errors_only", CYAML_FLAG_OPTIONAL, struct view_entry,
			 filter.errors_only),
	CYAML_FIELD_ENUM("calls", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT,
			 struct view_entry, filter.calls, calls, N(calls)),
	LIST("job", filter.job, filter.n_job, &glob_entry, 64),
	LIST("service", filter.service, filter.n_service, &glob_entry, 64),
	LIST("method", filter.method, filter.n_method, &glob_entry, 64),
	LIST("route", filter.route, filter.n_route, &glob_entry, 64),
	LIST("status", filter.status, filter.n_status, &glob_entry, 64),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t view_fields[] = {
	CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER, struct view_entry,
			       name, 1, 200),
	CYAML_FIELD_STRING_PTR("help", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
			       struct view_entry, help, 1, 1024),
	CYAML_FIELD_ENUM("measure", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT,
			 struct view_entry, measure, measures, N(measures)),
	CYAML_FIELD_ENUM("kind", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT,
			 struct view_entry, kind, kinds, N(kinds)),
	LIST("labels", labels, n_labels, &label_entry, LABEL_KEYS),
	LIST("buckets", buckets, n_buckets, &bucket_entry, VIEW_BOUNDS_MAX),
	CYAML_FIELD_BOOL("node", CYAML_FLAG_OPTIONAL, struct view_entry, node),
	CYAML_FIELD_BOOL("drop", CYAML_FLAG_OPTIONAL, struct view_entry, drop),
	CYAML_FIELD_UINT("max_series", CYAML_FLAG_OPTIONAL, struct view_entry,
			 max_series),
	LIST("max_values", max_values, n_max_values, &values_entry, LABEL_KEYS),
	{
		.key = "filter",
		.data_offset = 0,
		.value = { CYAML_VALUE_MAPPING(CYAML_FLAG_OPTIONAL,
					       struct view_entry,
					       filter_fields) },
	},
	CYAML_FIELD_END,
};

const cyaml_schema_value_t config_view = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct view_entry, view_fields),
};
