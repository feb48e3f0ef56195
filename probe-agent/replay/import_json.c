/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/replay/import_json.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "probe-agent/replay/import_text.h"
#include "probe-agent/replay/json_scan.h"
#include "proto/limits.h"

/* Our names for fields. */
enum field {
	F_TIME, /* when it ended */
	F_START, /* when it started, instead of F_TIME */
	F_METHOD,
	F_TARGET, /* path or URL */
	F_ROUTE, /* a template, instead of F_TARGET */
	F_STATUS,
	F_DURATION, /* in the unit of the vocabulary */
	F_DURATION_MS,
	F_REQUEST_BYTES,
	F_RESPONSE_BYTES,
	F_SERVICE,
	F_NAMESPACE,
	F_INSTANCE,
	F_ROLE, /* server or client */
	F_SCHEME,
	F_VERSION, /* HTTP/1.1, 1.1, 2 … */
	F_ADDRESS, /* the server, if role is client */
	F_PORT,
	F_REQUEST, /* "GET /x HTTP/1.1", instead of method, target, version */
	F_FLAGS, /* Envoy's: how it ended */
	F_LOGGER, /* Caddy: the log that a line belongs to */
	F_TLS, /* Caddy's: an object, if there was TLS */
	FIELDS,
};

static const char *const ours[FIELDS] = {
	[F_TIME] = "time",
	[F_START] = "start",
	[F_METHOD] = "method",
	[F_TARGET] = "target",
	[F_ROUTE] = "route",
	[F_STATUS] = "status",
	[F_DURATION] = "duration",
	[F_DURATION_MS] = "duration_ms",
	[F_REQUEST_BYTES] = "request_bytes",
	[F_RESPONSE_BYTES] = "response_bytes",
	[F_SERVICE] = "service",
	[F_NAMESPACE] = "namespace",
	[F_INSTANCE] = "instance",
	[F_ROLE] = "role",
	[F_SCHEME] = "scheme",
	[F_VERSION] = "version",
	[F_ADDRESS] = "address",
	[F_PORT] = "port",
	[F_REQUEST] = "request",
};

/* nginx's names of variables stand for themselves in its JSON logs. */
static const char *const nginx[FIELDS] = {
	[F_TIME] = "time_iso8601",
	[F_METHOD] = "request_method",
	[F_TARGET] = "request_uri",
	[F_DURATION] = "request_time",
	[F_RESPONSE_BYTES] = "body_bytes_sent",
	[F_VERSION] = "server_protocol",
};

static const char *const caddy[FIELDS] = {
	[F_TIME] = "ts",
	[F_METHOD] = "request.method",
	[F_TARGET] = "request.uri",
	[F_STATUS] = "status",
	[F_DURATION] = "duration",
	[F_REQUEST_BYTES] = "bytes_read",
	[F_RESPONSE_BYTES] = "size",
	[F_VERSION] = "request.proto",
	[F_LOGGER] = "logger",
	[F_TLS] = "request.tls",
};

static const char *const traefik[FIELDS] = {
	[F_TIME] = "time",
	[F_START] = "StartUTC",
	[F_METHOD] = "RequestMethod",
	[F_TARGET] = "RequestPath",
	[F_STATUS] = "DownstreamStatus",
	[F_DURATION] = "Duration",
	[F_REQUEST_BYTES] = "RequestContentSize",
	[F_RESPONSE_BYTES] = "DownstreamContentSize",
	[F_SCHEME] = "RequestScheme",
	[F_VERSION] = "RequestProtocol",
};

static const char *const envoy[FIELDS] = {
	[F_START] = "start_time",
	[F_METHOD] = "method",
	[F_TARGET] = "path",
	[F_STATUS] = "response_code",
	[F_DURATION] = "duration",
	[F_REQUEST_BYTES] = "bytes_received",
	[F_RESPONSE_BYTES] = "bytes_sent",
	[F_VERSION] = "protocol",
	[F_FLAGS] = "response_flags",
};

/* A vocabulary: its names, and the µs of a duration without a unit. */
static const struct vocabulary {
	enum import_format format;
	const char *const *name;
	double unit_us;
} vocabularies[] = {
	{ IMPORT_JSON, ours, 1e6 },
	{ IMPORT_CADDY, caddy, 1e6 },
	{ IMPORT_TRAEFIK, traefik, 1e-3 },
	{ IMPORT_ENVOY, envoy, 1e3 },
};

struct value {
	enum json_scan_kind kind;
	const char *text; /* string or number; "" of others */
	size_t len;
};

struct import_json {
	const struct vocabulary *of;
	char *map; /* split in place; name points into it */
	const char *name[FIELDS], *other[FIELDS];
	/* Of the current line. */
	struct json_scan scan;
	bool twice, is_object;
	unsigned has; /* bit by field */
	struct value value[FIELDS];
	char text[FIELDS * (JSON_SCAN_TEXT_MAX + 1)];
	size_t len;
};

static int read_map(struct import_json *j)
{
	char *rest = j->map, *pair, *theirs;
	size_t i;

	while (*j->map && (pair = strsep(&rest, ","))) {
		theirs = strchr(pair, '=');
		if (theirs)
			*theirs++ = '\0';
		for (i = 0; i <= F_PORT && strcmp(ours[i], pair) != 0; i++)
			;
		if (!theirs || *theirs == '\0' || i > F_PORT)
			return -EINVAL;
		j->name[i] = theirs;
		j->other[i] = NULL;
	}
	return 0;
}

int import_json_new(struct import_json **out, enum import_format format,
		    const char *map)
{
	struct import_json *j = calloc(1, sizeof(*j));
	int err = 0;

	if (!j)
		return -ENOMEM;
	j->of = &vocabularies[0];
	for (size_t i = 0; i < sizeof(vocabularies) / sizeof(*j->of); i++)
		if (vocabularies[i].format == format)
			j->of = &vocabularies[i];
	memcpy(j->name, j->of->name, sizeof(j->name));
	if (j->of->format == IMPORT_JSON) {
		memcpy(j->other, nginx, sizeof(j->other));
		j->map = strdup(map ? map : "");
		err = j->map ? read_map(j) : -ENOMEM;
	}
	if (err) {
		import_json_free(j);
		return err;
	}
	*out = j;
	return 0;
}

void import_json_free(struct import_json *j)
{
	if (!j)
		return;
	free(j->map);
	free(j);
}

/* --- from a line to values --- */

static int field_of(const struct import_json *j, const char *path)
{
	for (int i = 0; i < FIELDS; i++)
		if ((j->name[i] && strcmp(j->name[i], path) == 0) ||
		    (j->other[i] && strcmp(j->other[i], path) == 0))
			return i;
	return -1;
}

static int take_item(void *arg, const struct json_scan_item *it)
{
	struct import_json *j = arg;
	struct value *v;
	int f;

	if (!it->path || it->kind == JSON_SCAN_END)
		return 0;
	if (*it->path == '\0') {
		j->is_object |= it->kind == JSON_SCAN_OBJECT;
		return 0;
	}
	f = field_of(j, it->path);
	if (f < 0 || it->kind == JSON_SCAN_NULL)
		return 0;
	j->twice |= j->has >> f & 1;
	j->has |= 1u << f;
	v = &j->value[f];
	v->kind = it->kind;
	v->text = j->text + j->len;
	v->len = it->text && !j->twice ? it->len : 0;
	if (v->len > 0)
		memcpy(j->text + j->len, it->text, v->len);
	j->len += v->len;
	if (!j->twice)
		j->text[j->len++] = '\0';
	else
		v->text = "";
	return 0;
}

static const struct value *get(const struct import_json *j, enum field f)
{
	return j->has >> f & 1 ? &j->value[f] : NULL;
}

/* A string, or NULL. */
static const char *text_of(const struct import_json *j, enum field f)
{
	const struct value *v = get(j, f);

	return v && v->kind == JSON_SCAN_STRING ? v->text : NULL;
}

/* A string that may be a label, or NULL. */
static const char *label_of(const struct import_json *j, enum field f)
{
	const char *text = text_of(j, f);

	return text && strlen(text) <= LIMIT_STRING_BYTES ? text : NULL;
}

/* Reads a number, which may be in quotes. */
static bool number(const struct value *v, double *out)
{
	const char *at;

	if (!v || (v->kind != JSON_SCAN_STRING && v->kind != JSON_SCAN_NUMBER))
		return false;
	at = v->text;
	return import_number(&at, out) && *at == '\0';
}

static void whole(const struct import_json *j, enum field f, double max,
		  uint64_t *out)
{
	double n;

	if (number(get(j, f), &n) && n <= max)
		*out = (uint64_t)n;
}

static bool time_of(const struct value *v, int64_t *out_us)
{
	return (v->kind == JSON_SCAN_STRING || v->kind == JSON_SCAN_NUMBER) &&
	       import_time(v->text, out_us) == 0;
}

/* --- from values to a request --- */

static const char *take_duration(const struct import_json *j,
				 struct packer_event *e)
{
	const struct value *v = get(j, F_DURATION);
	double unit_us = j->of->unit_us;
	int got;

	if (!v) {
		v = get(j, F_DURATION_MS);
		unit_us = 1e3;
	}
	e->untimed = true;
	if (!v)
		return NULL;
	if (v->kind != JSON_SCAN_STRING && v->kind != JSON_SCAN_NUMBER)
		return "malformed duration";
	got = import_duration(v->text, v->len, unit_us, &e->duration_us);
	e->untimed = got == 0;
	return got < 0 ? "malformed duration" : NULL;
}

static const char *take_times(const struct import_json *j,
			      struct import_event *x)
{
	const char *why = take_duration(j, &x->e);
	const struct value *v = get(j, F_START);

	if (why)
		return why;
	if (v)
		return time_of(v, &x->e.start_us) ? NULL : "malformed start";
	x->at_end = true;
	v = get(j, F_TIME);
	return v && time_of(v, &x->e.start_us)
		       ? NULL
		       : "no time, or in an unknown format";
}

static const char *take_request(struct import_json *j, struct import_event *x)
{
	const char *role = text_of(j, F_ROLE), *version = text_of(j, F_VERSION);

	x->e.role = role && strcasecmp(role, "client") == 0 ? ROLE_CLIENT
							    : ROLE_SERVER;
	x->e.version = version ? import_http_version(version) : 0;
	x->method = text_of(j, F_METHOD);
	x->target = text_of(j, F_TARGET);
	x->e.route = label_of(j, F_ROUTE);
	if (!x->method && text_of(j, F_REQUEST))
		return import_request((char *)(uintptr_t)text_of(j, F_REQUEST),
				      x)
			       ? NULL
			       : "malformed request line";
	if (!x->method)
		return "no method";
	x->method_len = strlen(x->method);
	x->target_len = x->target ? strlen(x->target) : 0;
	if (!x->e.route && !x->target && x->e.role == ROLE_SERVER)
		return "neither target nor route";
	return NULL;
}

static const char *take_status(const struct import_json *j,
			       struct import_event *x)
{
	const struct value *v = get(j, F_STATUS);
	const char *flags = text_of(j, F_FLAGS);
	double n;

	if (v && v->kind == JSON_SCAN_STRING && strcmp(v->text, "-") == 0)
		n = 0;
	else if (!number(v, &n) || n > LIMIT_STATUS)
		return "no valid status";
	/* Below 100, none was sent. */
	x->e.status = n >= 100 ? (uint32_t)n : 0;
	if (flags && strstr(flags, "DC"))
		x->e.outcome = OUTCOME_ABORTED;
	return NULL;
}

static const char *take_values(struct import_json *j, struct import_event *x)
{
	const char *why = take_request(j, x), *scheme = label_of(j, F_SCHEME);
	uint64_t port = 0;

	if (!why)
		why = take_times(j, x);
	if (!why)
		why = take_status(j, x);
	x->e.service = label_of(j, F_SERVICE);
	x->e.namespace_ = label_of(j, F_NAMESPACE);
	x->e.instance = label_of(j, F_INSTANCE);
	x->e.address = label_of(j, F_ADDRESS);
	if (scheme && *scheme)
		x->e.scheme = scheme;
	else if (get(j, F_TLS))
		x->e.scheme = "https";
	whole(j, F_PORT, 65535, &port);
	x->e.port = (uint32_t)port;
	whole(j, F_REQUEST_BYTES, LIMIT_BODY_BYTES - 1, &x->e.request_bytes);
	whole(j, F_RESPONSE_BYTES, LIMIT_BODY_BYTES - 1, &x->e.response_bytes);
	return why;
}

/*
 * Proxies write other messages into the same file. Caddy also tells errors of a
 * request in a log of their own, beside the line of the access log.
 */
static bool of_no_request(const struct import_json *j)
{
	static const char access[] = "http.log.access";
	const char *logger = text_of(j, F_LOGGER);

	if (j->of->format == IMPORT_JSON)
		return false;
	if (logger && strncmp(logger, access, strlen(access)) != 0)
		return true;
	return !get(j, F_METHOD) && !(get(j, F_STATUS) && get(j, F_TARGET));
}

int import_json_line(struct import_lines *l, char *line, size_t len,
		     struct import_event *x, const char **why)
{
	struct import_json *j = l->json;
	/* Loggers put their own time and name before it. */
	char *at = memchr(line, '{', len);

	j->has = 0;
	j->len = 0;
	j->twice = j->is_object = false;
	json_scan_init(&j->scan, take_item, j);
	*why = "not a JSON object";
	if (!at || memchr(line, '"', (size_t)(at - line)) ||
	    json_scan_feed(&j->scan, at, len - (size_t)(at - line)) != 0 ||
	    json_scan_end(&j->scan) != 0 || !j->is_object)
		return -EPROTO;
	*why = "a field is there twice";
	if (j->twice)
		return -EPROTO;
	if (of_no_request(j))
		return 0;
	*why = take_values(j, x);
	return *why ? -EPROTO : 1;
}
