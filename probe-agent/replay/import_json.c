/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/replay/import.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/buf.h"
#include "proto/limits.h"

/* Our names for fields; the file has the same unless a map says otherwise. */
enum field {
	F_TIME, /* when it ended; RFC 3339 or seconds since 1970 */
	F_START, /* when it started, instead of F_TIME */
	F_METHOD,
	F_TARGET, /* path or URL */
	F_ROUTE, /* a template, instead of F_TARGET */
	F_STATUS,
	F_DURATION, /* seconds */
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
	FIELDS,
};

static const char *const names[FIELDS] = {
	"time",		 "start",	   "method",   "target",
	"route",	 "status",	   "duration", "duration_ms",
	"request_bytes", "response_bytes", "service",  "namespace",
	"instance",	 "role",	   "scheme",   "version",
	"address",	 "port",
};

struct import_json {
	char *text; /* the map, split in place; field points into it */
	const char *field[FIELDS];
};

int import_json_new(struct import_json **out, const char *map)
{
	struct import_json *j = calloc(1, sizeof(*j));
	char *rest, *pair, *theirs;
	size_t i;

	if (!j)
		return -ENOMEM;
	memcpy(j->field, names, sizeof(names));
	j->text = strdup(map ? map : "");
	rest = j->text;
	if (!rest) {
		import_json_free(j);
		return -ENOMEM;
	}
	while (*j->text && (pair = strsep(&rest, ","))) {
		theirs = strchr(pair, '=');
		if (theirs)
			*theirs++ = '\0';
		for (i = 0; i < FIELDS && strcmp(names[i], pair) != 0; i++)
			;
		if (!theirs || i == FIELDS) {
			import_json_free(j);
			return -EINVAL;
		}
		j->field[i] = theirs;
	}
	*out = j;
	return 0;
}

void import_json_free(struct import_json *j)
{
	if (!j)
		return;
	free(j->text);
	free(j);
}

/* The member "a.b" of o if it exists, else member b of its member a. */
static json_t *member(json_t *o, const char *path)
{
	const char *dot = strchr(path, '.');
	json_t *v = json_object_get(o, path);
	char name[128];

	if (v || !dot || (size_t)(dot - path) >= sizeof(name))
		return v;
	memcpy(name, path, (size_t)(dot - path));
	name[dot - path] = '\0';
	return member(json_object_get(o, name), dot + 1);
}

static json_t *get(const struct import_json *j, json_t *o, enum field f)
{
	json_t *v = member(o, j->field[f]);

	return json_is_null(v) ? NULL : v;
}

/* Reads a number, which may be in quotes. */
static bool number(json_t *v, double *out)
{
	char *end;

	if (json_is_string(v)) {
		*out = strtod(json_string_value(v), &end);
		return end != json_string_value(v) && *end == '\0' &&
		       isfinite(*out);
	}
	*out = json_number_value(v);
	return json_is_number(v) && isfinite(*out);
}

static bool time_of(json_t *v, int64_t *out_us)
{
	double s;

	if (json_is_string(v))
		return import_time(json_string_value(v), out_us) == 0;
	if (!number(v, &s) || s < 0 || s > (double)LIMIT_TIME_US / 1e6)
		return false;
	*out_us = (int64_t)(s * 1e6 + 0.5);
	return true;
}

static uint32_t http_version(const char *text)
{
	if (strncasecmp(text, "http/", 5) == 0)
		text += 5;
	else if (*text == 'h')
		text++;
	return strncmp(text, "1.0", 3) == 0   ? 10
	       : strncmp(text, "1.1", 3) == 0 ? 11
	       : *text == '2'		      ? 20
	       : *text == '3'		      ? 30
					      : 0;
}

static const char *text_of(json_t *v)
{
	const char *s = json_string_value(v);

	return s && strlen(s) <= LIMIT_STRING_BYTES ? s : NULL;
}

static void whole(json_t *v, double max, uint64_t *out)
{
	double n;

	if (v && number(v, &n) && n >= 0 && n <= max)
		*out = (uint64_t)n;
}

static const char *take_times(const struct import_json *j, json_t *o,
			      struct packer_event *e)
{
	json_t *v = get(j, o, F_DURATION);
	double s = 0, unit = 1e6;
	int64_t us;

	if (!v) {
		v = get(j, o, F_DURATION_MS);
		unit = 1e3;
	}
	if (v &&
	    (!number(v, &s) || s < 0 || s * unit >= (double)LIMIT_DURATION_US))
		return "malformed duration";
	e->duration_us = (uint64_t)(s * unit + 0.5);
	v = get(j, o, F_START);
	if (v) {
		if (!time_of(v, &e->start_us))
			return "malformed start";
		return NULL;
	}
	v = get(j, o, F_TIME);
	if (!v || !time_of(v, &us))
		return "no time, or in an unknown format";
	e->start_us = us - (int64_t)e->duration_us;
	return NULL;
}

static const char *take_names(const struct import_json *j, json_t *o,
			      struct import_event *x)
{
	const char *role = json_string_value(get(j, o, F_ROLE));
	const char *version = json_string_value(get(j, o, F_VERSION));
	uint64_t port = 0;

	x->method = json_string_value(get(j, o, F_METHOD));
	if (!x->method)
		return "no method";
	x->method_len = strlen(x->method);
	x->e.role =
		role && strcmp(role, "client") == 0 ? ROLE_CLIENT : ROLE_SERVER;
	x->target = json_string_value(get(j, o, F_TARGET));
	x->target_len = x->target ? strlen(x->target) : 0;
	x->e.route = text_of(get(j, o, F_ROUTE));
	if (!x->e.route && !x->target && x->e.role == ROLE_SERVER)
		return "neither target nor route";
	x->e.service = text_of(get(j, o, F_SERVICE));
	x->e.namespace_ = text_of(get(j, o, F_NAMESPACE));
	x->e.instance = text_of(get(j, o, F_INSTANCE));
	x->e.address = text_of(get(j, o, F_ADDRESS));
	x->e.scheme = text_of(get(j, o, F_SCHEME));
	if (!x->e.scheme)
		x->e.scheme = "http";
	x->e.version = version ? http_version(version) : 0;
	whole(get(j, o, F_PORT), 65535, &port);
	x->e.port = (uint32_t)port;
	return NULL;
}

static const char *take_object(const struct import_json *j, json_t *o,
			       struct import_event *x)
{
	const char *why = take_names(j, o, x);
	uint64_t status = LIMIT_STATUS + 1;

	if (!why)
		why = take_times(j, o, &x->e);
	whole(get(j, o, F_STATUS), LIMIT_STATUS, &status);
	if (!why && status > LIMIT_STATUS)
		why = "no valid status";
	/* A status below 100 means that none was received. */
	x->e.status = status >= 100 ? (uint32_t)status : 0;
	if (status < 100)
		x->e.outcome = OUTCOME_ABORTED;
	whole(get(j, o, F_REQUEST_BYTES), LIMIT_BODY_BYTES - 1,
	      &x->e.request_bytes);
	whole(get(j, o, F_RESPONSE_BYTES), LIMIT_BODY_BYTES - 1,
	      &x->e.response_bytes);
	return why;
}

int import_json_line(struct import *im, const struct import_json *j,
		     const char *line, size_t len, const char **why)
{
	struct import_event x = { .e = { .role = ROLE_SERVER } };
	json_error_t error;
	json_t *o = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
	int err;

	*why = "not a JSON object";
	if (!json_is_object(o)) {
		json_decref(o);
		return -EPROTO;
	}
	*why = take_object(j, o, &x);
	err = !*why ? import_add(im, &x) : -EPROTO;
	json_decref(o);
	return err < 0 ? err : 1;
}

/* --- HAR 1.2: requests of a browser, which is the client --- */

/* Splits scheme://host[:port]/… Returns the length of the host; 0: none. */
static size_t host_of(const char *url, char scheme[16], char host[256],
		      uint32_t *port)
{
	const char *at = strstr(url, "://"), *end;
	size_t n = at ? (size_t)(at - url) : 16;

	if (n == 0 || n >= 16)
		return 0;
	memcpy(scheme, url, n);
	scheme[n] = '\0';
	at += 3;
	end = at + strcspn(at, "/?#");
	if (memchr(at, '@', (size_t)(end - at)))
		at = (const char *)memchr(at, '@', (size_t)(end - at)) + 1;
	*port = strcmp(scheme, "https") == 0 ? 443 : 80;
	n = *at == '[' ? strcspn(at, "]") + 1 : strcspn(at, ":/?#");
	if (n > (size_t)(end - at) || n >= 256)
		return 0;
	memcpy(host, at, n);
	host[n] = '\0';
	if (at[n] == ':') {
		unsigned long p = strtoul(at + n + 1, NULL, 10);

		*port = p <= 65535 ? (uint32_t)p : 0;
	}
	return n;
}

static const char *har_entry(struct import *im, json_t *entry, int *err)
{
	json_t *request = json_object_get(entry, "request");
	json_t *response = json_object_get(entry, "response");
	const char *start =
		json_string_value(json_object_get(entry, "startedDateTime"));
	const char *url = json_string_value(json_object_get(request, "url"));
	const char *version =
		json_string_value(json_object_get(response, "httpVersion"));
	char scheme[16] = "", host[256] = "";
	struct import_event x = {
		.method = json_string_value(json_object_get(request, "method")),
		.e = { .role = ROLE_CLIENT,
		       .scheme = scheme,
		       .address = host,
		       .route = "" },
	};
	uint64_t status = 0;
	double ms;

	if (!x.method || !url || !start)
		return "no method, url or startedDateTime";
	x.method_len = strlen(x.method);
	if (import_time(start, &x.e.start_us) != 0)
		return "malformed startedDateTime";
	if (host_of(url, scheme, host, &x.e.port) == 0 ||
	    strncmp(scheme, "http", 4) != 0)
		return "url without http or host";
	if (!number(json_object_get(entry, "time"), &ms) || ms < 0 ||
	    ms * 1e3 >= (double)LIMIT_DURATION_US)
		return "no valid time";
	x.e.duration_us = (uint64_t)(ms * 1e3 + 0.5);
	whole(json_object_get(response, "status"), LIMIT_STATUS, &status);
	x.e.status = (uint32_t)status;
	x.e.outcome = status == 0 ? OUTCOME_ABORTED : OUTCOME_COMPLETE;
	x.e.version = version ? http_version(version) : 0;
	whole(json_object_get(request, "bodySize"), LIMIT_BODY_BYTES - 1,
	      &x.e.request_bytes);
	whole(json_object_get(response, "bodySize"), LIMIT_BODY_BYTES - 1,
	      &x.e.response_bytes);
	*err = import_add(im, &x);
	return NULL;
}

int import_json_har(struct import *im, const char *text, size_t len)
{
	json_error_t error;
	json_t *har = json_loadb(text, len, 0, &error);
	json_t *entries =
		json_object_get(json_object_get(har, "log"), "entries");
	const char *why;
	json_t *entry;
	size_t i;
	int err = json_is_array(entries) ? 0 : -EPROTO;

	json_array_foreach(entries, i, entry)
	{
		if (err)
			break;
		why = har_entry(im, entry, &err);
		if (why)
			import_bad(im, "entry", i + 1, why);
	}
	json_decref(har);
	return err;
}
