/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/expose/negotiate.h"

#include <string.h>
#include <strings.h>

/* A run of bytes within the header. */
struct span {
	const char *at;
	size_t len;
};

static struct span trim(struct span s)
{
	while (s.len && (*s.at == ' ' || *s.at == '\t')) {
		s.at++;
		s.len--;
	}
	while (s.len && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/*
 * Sets *out to the part of *rest before the next `stop` outside of quoted
 * strings, and removes it from *rest. Returns false once *rest is used up.
 */
static bool next(struct span *rest, char stop, struct span *out)
{
	bool quoted = false;
	size_t n;

	if (!rest->at)
		return false;
	for (n = 0; n < rest->len; n++) {
		char c = rest->at[n];

		if (quoted && c == '\\' && n + 1 < rest->len)
			n++;
		else if (c == '"')
			quoted = !quoted;
		else if (c == stop && !quoted)
			break;
	}
	*out = trim((struct span){ rest->at, n });
	if (n < rest->len)
		*rest = (struct span){ rest->at + n + 1, rest->len - n - 1 };
	else
		*rest = (struct span){ NULL, 0 };
	return true;
}

static bool is(struct span s, const char *text)
{
	return s.len == strlen(text) && !strncasecmp(s.at, text, s.len);
}

/* Returns q, like 0.5 or 1.000, in thousandths; 0 (not wanted) if malformed. */
static int parse_q(struct span s)
{
	int q, digit = 100;

	if (!s.len || (*s.at != '0' && *s.at != '1'))
		return 0;
	q = 1000 * (*s.at - '0');
	if (s.len == 1)
		return q;
	if (s.at[1] != '.' || s.len > 5)
		return 0;
	for (size_t i = 2; i < s.len; i++, digit /= 10) {
		if (s.at[i] < '0' || s.at[i] > '9')
			return 0;
		q += digit * (s.at[i] - '0');
	}
	return q > 1000 ? 0 : q;
}

struct element {
	struct span name; /* media type or content coding */
	struct span version, proto, encoding;
	int q;
};

static void parse_element(struct span text, struct element *e)
{
	struct span parameter;

	*e = (struct element){ .q = 1000 };
	next(&text, ';', &e->name);
	while (next(&text, ';', &parameter)) {
		struct span value = parameter, key;

		if (!next(&value, '=', &key) || !value.at)
			continue;
		value = trim(value);
		if (value.len >= 2 && *value.at == '"' &&
		    value.at[value.len - 1] == '"') {
			value.at++;
			value.len -= 2;
		}
		if (is(key, "q"))
			e->q = parse_q(value);
		else if (is(key, "version"))
			e->version = value;
		else if (is(key, "proto"))
			e->proto = value;
		else if (is(key, "encoding"))
			e->encoding = value;
	}
}

/* Returns the format that the element names, or -1. */
static int element_format(const struct element *e)
{
	if (is(e->name, "application/openmetrics-text")) {
		/* Old clients call the draft of 1.0.0 by the version 0.0.1. */
		if (!e->version.len || is(e->version, "1.0.0") ||
		    is(e->version, "0.0.1"))
			return EXPOSE_OPENMETRICS;
		return -1;
	}
	if (is(e->name, "application/vnd.google.protobuf")) {
		if (is(e->proto, "io.prometheus.client.MetricFamily") &&
		    is(e->encoding, "delimited"))
			return EXPOSE_PROTOBUF;
		return -1;
	}
	if (is(e->name, "text/plain"))
		return !e->version.len || is(e->version, "0.0.4") ? EXPOSE_TEXT
								  : -1;
	if (is(e->name, "*/*") || is(e->name, "text/*"))
		return EXPOSE_TEXT;
	return -1;
}

enum expose_format negotiate_format(const char *accept)
{
	struct span rest = { accept, accept ? strlen(accept) : 0 }, text;
	int best = EXPOSE_TEXT, best_q = 0;

	while (next(&rest, ',', &text)) {
		struct element e;
		int format;

		parse_element(text, &e);
		format = element_format(&e);
		if (format >= 0 && e.q > best_q) {
			best = format;
			best_q = e.q;
		}
	}
	return (enum expose_format)best;
}

bool negotiate_gzip(const char *accept_encoding)
{
	struct span rest = { accept_encoding,
			     accept_encoding ? strlen(accept_encoding) : 0 };
	struct span text;
	int gzip = -1, any = -1;

	while (next(&rest, ',', &text)) {
		struct element e;

		parse_element(text, &e);
		if (is(e.name, "gzip") || is(e.name, "x-gzip"))
			gzip = e.q > gzip ? e.q : gzip;
		else if (is(e.name, "*"))
			any = e.q;
	}
	return gzip >= 0 ? gzip > 0 : any > 0;
}
