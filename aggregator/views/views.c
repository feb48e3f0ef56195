/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/views/views.h"

#include "proto/batch.h"

#define ROLE_SERVER_BIT (1u << ROLE_SERVER)
#define ROLE_CLIENT_BIT (1u << ROLE_CLIENT)

const char *label_key_name(enum view_key key)
{
	static const char *const name[LABEL_KEYS] = {
		[LABEL_JOB] = "job",
		[LABEL_INSTANCE] = "instance",
		[LABEL_NODE] = "node",
		[LABEL_SERVICE] = "service",
		[LABEL_ROLE] = "role",
		[LABEL_METHOD] = "http_request_method",
		[LABEL_ROUTE] = "http_route",
		[LABEL_STATUS] = "http_response_status_code",
		[LABEL_ERROR] = "error_type",
		[LABEL_SCHEME] = "url_scheme",
		[LABEL_VERSION] = "network_protocol_version",
		[LABEL_ADDRESS] = "server_address",
		[LABEL_PORT] = "server_port",
		[LABEL_RPC_SYSTEM] = "rpc_system_name",
		[LABEL_RPC_METHOD] = "rpc_method",
		[LABEL_RPC_STATUS] = "rpc_status_code",
		[LABEL_RPC_SYSTEM_OLD] = "rpc_system",
		[LABEL_RPC_NUMBER] = "rpc_grpc_status_code",
		[LABEL_CLIENT] = "client",
		[LABEL_SERVER] = "server",
		[LABEL_CONNECTION] = "connection_type",
	};

	return (unsigned)key < LABEL_KEYS ? name[key] : NULL;
}

/*
 * Labels whose values one client or one agent can make up have tighter budgets
 * than labels that grow with the fleet, so that no single one can use up a
 * view.
 */
size_t views_label_budget(enum view_key key)
{
	static const size_t budget[LABEL_KEYS] = {
		[LABEL_JOB] = 20000,	 [LABEL_INSTANCE] = 50000,
		[LABEL_NODE] = 20000,	 [LABEL_SERVICE] = 20000,
		[LABEL_ROLE] = 8,	 [LABEL_METHOD] = 64,
		[LABEL_ROUTE] = 20000,	 [LABEL_STATUS] = 1000,
		[LABEL_ERROR] = 1100,	 [LABEL_SCHEME] = 16,
		[LABEL_VERSION] = 16,	 [LABEL_ADDRESS] = 10000,
		[LABEL_PORT] = 10000,	 [LABEL_CLIENT] = 20000,
		[LABEL_SERVER] = 20000,	 [LABEL_CONNECTION] = 8,
		[LABEL_RPC_SYSTEM] = 8,	 [LABEL_RPC_METHOD] = 20000,
		[LABEL_RPC_STATUS] = 32, [LABEL_RPC_SYSTEM_OLD] = 8,
		[LABEL_RPC_NUMBER] = 32,
	};

	return (unsigned)key < LABEL_KEYS ? budget[key] : 0;
}

/* Recommended by OpenTelemetry for http.server.request.duration; in µs. */
#define DURATION_BOUNDS                                                             \
	.bounds = { 5000,   10000,  25000,   50000,   75000,   100000,	250000,     \
		    500000, 750000, 1000000, 2500000, 5000000, 7500000, 10000000 }, \
	.n_bounds = 14

/* From within a rack to across an ocean. */
#define NETWORK_BOUNDS                                                         \
	.bounds = { 100,   250,	  500,	  1000,	  2500,	  5000,	   10000,      \
		    25000, 50000, 100000, 250000, 500000, 1000000, 5000000 },  \
	.n_bounds = 14

#define SIZE_BOUNDS                                                            \
	.bounds = { 0,	    32,	     64,      128,	256,	 512,          \
		    1024,   2048,    4096,    8192,	16384,	 65536,        \
		    262144, 1048576, 4194304, 16777216, 67108864 },            \
	.n_bounds = 17

#define SERVER_LABELS                                                            \
	.labels = { LABEL_JOB,	  LABEL_INSTANCE, LABEL_METHOD, LABEL_ROUTE,     \
		    LABEL_STATUS, LABEL_ERROR,	  LABEL_SCHEME, LABEL_VERSION }, \
	.n_labels = 8

#define EDGE_LABELS                                                            \
	.labels = { LABEL_CLIENT, LABEL_SERVER, LABEL_CONNECTION },            \
	.n_labels = 3

#define MAX_SERIES VIEW_SERIES_DEFAULT

#define BODY_HISTOGRAM(what)                                                   \
	.unit = "bytes", .kind = VIEW_HISTOGRAM, .source = what,               \
	.roles = ROLE_SERVER_BIT, .calls = VIEW_CALLS_NOT, SERVER_LABELS,      \
	SIZE_BOUNDS, .max_series = MAX_SERIES

#define CALL_HISTOGRAM(role)                                                   \
	.unit = "seconds", .kind = VIEW_HISTOGRAM, .source = VIEW_DURATION,    \
	.roles = (role), .calls = VIEW_CALLS_ONLY, DURATION_BOUNDS,            \
	.max_series = MAX_SERIES

#define REQUEST_COUNTER                                                        \
	.unit = "", .kind = VIEW_COUNTER, .source = VIEW_REQUESTS,             \
	.roles = ROLE_SERVER_BIT | ROLE_CLIENT_BIT,                            \
	.labels = { LABEL_JOB,	 LABEL_INSTANCE, LABEL_ROLE, LABEL_METHOD,     \
		    LABEL_ROUTE, LABEL_STATUS,	 LABEL_ERROR },                \
	.n_labels = 7, .max_series = MAX_SERIES

#define EDGE_COUNTER                                                           \
	.unit = "", .kind = VIEW_COUNTER, .source = VIEW_EDGE_REQUESTS,        \
	EDGE_LABELS, .max_series = MAX_SERIES

#define EDGE_HISTOGRAM(what)                                                   \
	.unit = "seconds", .kind = VIEW_HISTOGRAM, .source = what,             \
	EDGE_LABELS, .max_series = MAX_SERIES

static const struct view defaults[] = {
	{
		.name = "http_server_request_duration_seconds",
		.help = "Duration of HTTP server requests.",
		.unit = "seconds",
		.kind = VIEW_HISTOGRAM,
		.source = VIEW_DURATION,
		.roles = ROLE_SERVER_BIT,
		.calls = VIEW_CALLS_NOT,
		SERVER_LABELS,
		DURATION_BOUNDS,
		.max_series = MAX_SERIES,
	},
	{
		.name = "http_client_request_duration_seconds",
		.help = "Duration of HTTP client requests.",
		.unit = "seconds",
		.kind = VIEW_HISTOGRAM,
		.source = VIEW_DURATION,
		.roles = ROLE_CLIENT_BIT,
		.calls = VIEW_CALLS_NOT,
		.labels = { LABEL_JOB, LABEL_INSTANCE, LABEL_METHOD,
			    LABEL_ADDRESS, LABEL_PORT, LABEL_STATUS,
			    LABEL_ERROR, LABEL_SCHEME, LABEL_VERSION },
		.n_labels = 9,
		DURATION_BOUNDS,
		.max_series = MAX_SERIES,
	},
	{
		.name = "http_server_request_body_size_bytes",
		.help = "Size of HTTP server request bodies.",
		BODY_HISTOGRAM(VIEW_REQUEST_BYTES),
	},
	{
		.name = "http_server_response_body_size_bytes",
		.help = "Size of HTTP server response bodies.",
		BODY_HISTOGRAM(VIEW_RESPONSE_BYTES),
	},
	{
		.name = "redtap_http_requests",
		.help = "HTTP requests, calls among them; role is the side "
			"that was watched, server or client.",
		REQUEST_COUNTER,
	},
	{
		.name = "redtap_http_request_errors",
		.help = "HTTP requests that failed: status 5xx or no complete "
			"response, and for role client also 4xx; or calls that "
			"ended with a code that is an error for their role.",
		REQUEST_COUNTER,
		.errors_only = true,
	},
	{
		.name = "rpc_server_call_duration_seconds",
		.help = "Duration of remote procedure calls that a server "
			"answered, streams as a whole.",
		CALL_HISTOGRAM(ROLE_SERVER_BIT),
		.labels = { LABEL_JOB, LABEL_INSTANCE, LABEL_RPC_SYSTEM,
			    LABEL_RPC_METHOD, LABEL_RPC_STATUS, LABEL_ERROR },
		.n_labels = 6,
	},
	{
		.name = "rpc_client_call_duration_seconds",
		.help = "Duration of remote procedure calls that a client "
			"made, streams as a whole.",
		CALL_HISTOGRAM(ROLE_CLIENT_BIT),
		.labels = { LABEL_JOB, LABEL_INSTANCE, LABEL_RPC_SYSTEM,
			    LABEL_RPC_METHOD, LABEL_RPC_STATUS, LABEL_ERROR,
			    LABEL_ADDRESS, LABEL_PORT },
		.n_labels = 8,
	},
	{
		.name = "traces_service_graph_request",
		.help = "Requests from one service to another, each counted "
			"once; connection_type is virtual_node if only one "
			"side was seen.",
		EDGE_COUNTER,
	},
	{
		.name = "traces_service_graph_request_failed",
		.help = "Requests from one service to another that failed for "
			"either side: status 5xx or no complete response, and "
			"for the client also 4xx.",
		EDGE_COUNTER,
		.errors_only = true,
	},
	{
		.name = "traces_service_graph_request_server_seconds",
		.help = "Duration of requests from one service to another, as "
			"the server saw it.",
		EDGE_HISTOGRAM(VIEW_EDGE_SERVER),
		DURATION_BOUNDS,
	},
	{
		.name = "traces_service_graph_request_client_seconds",
		.help = "Duration of requests from one service to another, as "
			"the client saw it.",
		EDGE_HISTOGRAM(VIEW_EDGE_CLIENT),
		DURATION_BOUNDS,
	},
	{
		.name = "redtap_service_graph_network_seconds",
		.help = "Client duration minus server duration of a request: "
			"time in the network and in queues. Only requests seen "
			"from both sides.",
		EDGE_HISTOGRAM(VIEW_EDGE_NETWORK),
		NETWORK_BOUNDS,
	},
};

/* The names that Beyla 2 has, and OpenTelemetry had before 1.38. */
static const struct view beyla[] = {
	{
		.name = "rpc_server_duration_seconds",
		.help = "rpc_server_call_duration_seconds under the older name.",
		CALL_HISTOGRAM(ROLE_SERVER_BIT),
		.labels = { LABEL_JOB, LABEL_INSTANCE, LABEL_RPC_SYSTEM_OLD,
			    LABEL_RPC_METHOD, LABEL_RPC_NUMBER },
		.n_labels = 5,
	},
	{
		.name = "rpc_client_duration_seconds",
		.help = "rpc_client_call_duration_seconds under the older name.",
		CALL_HISTOGRAM(ROLE_CLIENT_BIT),
		.labels = { LABEL_JOB, LABEL_INSTANCE, LABEL_RPC_SYSTEM_OLD,
			    LABEL_RPC_METHOD, LABEL_RPC_NUMBER, LABEL_ADDRESS,
			    LABEL_PORT },
		.n_labels = 7,
	},
};

const struct views *views_compat(enum view_compat compat)
{
	static const struct views none;
	static const struct views all = {
		.n = sizeof(beyla) / sizeof(beyla[0]),
		.view = beyla,
	};

	return compat == VIEW_COMPAT_BEYLA ? &all : &none;
}

const struct views *views_default(void)
{
	static const struct views all = {
		.n = sizeof(defaults) / sizeof(defaults[0]),
		.view = defaults,
	};

	return &all;
}
