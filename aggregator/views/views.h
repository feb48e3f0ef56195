/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_VIEWS_VIEWS_H
#define AGGREGATOR_VIEWS_VIEWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A view defines a metric family that is made by folding the log: what it
 * measures, how it groups, and which events it counts. Views are data. The
 * defaults are in views.c; a configuration can change them and add others.
 * Immutable once built; any thread.
 */

enum view_kind {
	VIEW_COUNTER,
	VIEW_HISTOGRAM,
};

enum view_source {
	VIEW_REQUESTS, /* one per event */
	VIEW_DURATION, /* integer µs, shown in seconds */
	VIEW_TTFB, /* integer µs, shown in seconds */
	VIEW_REQUEST_BYTES,
	VIEW_RESPONSE_BYTES,
	/* For edges of the service graph: one event, or two joined ones. */
	VIEW_EDGE_REQUESTS, /* one per edge */
	VIEW_EDGE_SERVER, /* integer µs, the server's duration */
	VIEW_EDGE_CLIENT, /* integer µs, the client's duration */
	VIEW_EDGE_NETWORK, /* client's - server's; only if both are known */
};
static inline bool view_of_edges(enum view_source s)
{
	return s >= VIEW_EDGE_REQUESTS;
}
static inline bool view_counts(enum view_source s)
{
	return s == VIEW_REQUESTS || s == VIEW_EDGE_REQUESTS;
}
static inline bool view_in_seconds(enum view_source s)
{
	return s == VIEW_DURATION || s == VIEW_TTFB || s > VIEW_EDGE_REQUESTS;
}

/* Labels, by which events can be grouped and filtered. */
enum view_key {
	LABEL_JOB, /* namespace/service, or service */
	LABEL_INSTANCE,
	LABEL_NODE, /* the agent's id */
	LABEL_SERVICE,
	LABEL_ROLE, /* "server", "client" */
	LABEL_METHOD, /* http_request_method */
	LABEL_ROUTE, /* http_route */
	LABEL_STATUS, /* http_response_status_code; absent if none */
	LABEL_ERROR, /* error_type; absent on success */
	LABEL_SCHEME, /* url_scheme */
	LABEL_VERSION, /* network_protocol_version */
	LABEL_ADDRESS, /* server_address */
	LABEL_PORT, /* server_port */
	LABEL_RPC_SYSTEM, /* rpc_system_name; absent if it is no call */
	LABEL_RPC_METHOD, /* rpc_method: "package.Service/Method" */
	LABEL_RPC_STATUS, /* rpc_status_code: "OK"; absent if not known */
	LABEL_RPC_SYSTEM_OLD, /* rpc_system, as it was called until 2025 */
	LABEL_RPC_NUMBER, /* rpc_grpc_status_code: the code as a number */
	LABEL_EVENT_KEYS, /* the labels of edges follow; events lack them */
	LABEL_CLIENT = LABEL_EVENT_KEYS, /* its job; "user" if not watched */
	LABEL_SERVER, /* its job, or the address that the client used */
	LABEL_CONNECTION, /* connection_type: "virtual_node" if one-sided */
	LABEL_KEYS,
};
/* Returns the label's name in the exposition; NULL if out of range. Static. */
const char *label_key_name(enum view_key key);
/* The budget of distinct values of the label, unless the view has its own. */
size_t views_label_budget(enum view_key key);

/* Whether remote procedure calls count: these events have an rpc_system. */
enum view_calls {
	VIEW_CALLS_TOO, /* as all others */
	VIEW_CALLS_NOT,
	VIEW_CALLS_ONLY,
};

/* Views with names of others, which are there only if they are asked for. */
enum view_compat {
	VIEW_COMPAT_NONE,
	VIEW_COMPAT_BEYLA,
};

#define VIEW_BOUNDS_MAX 64
#define VIEWS_MAX 32
#define VIEW_SERIES_DEFAULT 100000u

/*
 * Passes only events whose label matches one of the globs; an absent label is
 * "". Only for job, service, method, route and status: their values are
 * interned for each label set that has windows, and these are bounded.
 */
struct view_filter {
	enum view_key key;
	size_t n;
	const char *const *glob;
};

struct view {
	const char *name; /* as exposed, but without _total */
	const char *help;
	const char *unit; /* "seconds", "bytes", "" */
	enum view_kind kind;
	enum view_source source;
	uint32_t roles; /* bit 1 << role: the roles of events that count */
	enum view_calls calls;
	bool errors_only; /* only events that are errors for their role */
	enum view_key labels[LABEL_KEYS]; /* in order of exposition */
	size_t n_labels;
	/* Classic buckets, ascending, in the source's integer unit (µs, bytes);
	 * a value v falls in the first bucket with v <= bound. */
	uint64_t bounds[VIEW_BOUNDS_MAX];
	size_t n_bounds;
	const struct view_filter *filter; /* all of them must hold */
	size_t n_filters;
	size_t max_series; /* budget; further ones go to the overflow series */
	size_t max_values[LABEL_KEYS]; /* 0: views_label_budget() */
};

/* Views of edges come last. */
struct views {
	size_t n;
	const struct view *view;
};

/* The default views. Static. */
const struct views *views_default(void);
/* The views that compat adds. Static. */
const struct views *views_compat(enum view_compat compat);

#endif /* AGGREGATOR_VIEWS_VIEWS_H */
