/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/replay/import.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/replay/import_text.h"
#include "proto/limits.h"

/* The own formats of proxies: Envoy, HAProxy, AWS' load balancers. */

static bool is_number(const char *text)
{
	size_t n = strspn(text, "0123456789");

	return n > 0 && text[n] == '\0';
}

static bool next_is_number(const char *at)
{
	size_t n = strspn(at, "0123456789");

	return n > 0 && (at[n] == ' ' || at[n] == '\0');
}

/* --- Envoy, and Istio's variant of it --- */

/*
 * [start] "METHOD path protocol" status flags received sent duration …
 * [start] "…" status flags details termination "why" received sent duration …
 *
 * Milliseconds. A TCP session has "- - -".
 */
int import_envoy_line(struct import_lines *l, char *line, size_t len,
		      struct import_event *x, const char **why)
{
	char *at = line + strspn(line, " "), *request, *flags, *word[3];
	const char *end;

	if (*at == '{')
		return import_json_line(l, line, len, x, why);
	*why = "no [start] at the beginning";
	end = *at == '[' ? import_time_iso(at + 1, &x->e.start_us) : NULL;
	if (!end || strncmp(end, "] \"", 3) != 0)
		return -EPROTO;
	at = line + (end + 2 - line);
	request = import_quoted(&at);
	*why = "malformed request line";
	if (request && strncmp(request, "- ", 2) == 0)
		return 0;
	if (!request || !import_request(request, x))
		return -EPROTO;
	at += strspn(at, " ");
	*why = "no valid status";
	if (import_status(import_word(&at), &x->e.status) < 0)
		return -EPROTO;
	*why = "no bytes and duration behind the flags";
	flags = import_word(&at);
	for (int i = 0; i < 2 && !next_is_number(at); i++) {
		at = strchr(at, '"');
		if (!at || !import_quoted(&at))
			return -EPROTO;
		at += strspn(at, " ");
	}
	for (int i = 0; i < 3; i++)
		word[i] = import_word(&at);
	if (import_bytes(word[0], &x->e.request_bytes) < 0 ||
	    import_bytes(word[1], &x->e.response_bytes) < 0 ||
	    (strcmp(word[2], "-") != 0 && !is_number(word[2])))
		return -EPROTO;
	x->e.untimed = import_duration(word[2], strlen(word[2]), 1e3,
				       &x->e.duration_us) <= 0;
	/* The client went away before the response had ended. */
	if (strstr(flags, "DC"))
		x->e.outcome = OUTCOME_ABORTED;
	return 1;
}

/* --- HAProxy, option httplog or httpslog --- */

/* TR/Tw/Tc/Tr/Ta, milliseconds; Ta has a + if it was logged early. */
static bool read_timers(const char *text, struct import_event *x)
{
	const char *last = strrchr(text, '/');
	unsigned n = 0;

	for (const char *p = text; *p != '\0'; p++) {
		n += *p == '/';
		if (!strchr("0123456789/-+", *p))
			return false;
	}
	if (n != 4 || !last)
		return false;
	last += 1 + (last[1] == '+');
	x->e.untimed = import_duration(last, strlen(last), 1e3,
				       &x->e.duration_us) <= 0;
	return true;
}

static char *find_accept_time(char *line, int64_t *out_us)
{
	for (char *at = strchr(line, '['); at; at = strchr(at + 1, '[')) {
		const char *end = import_time_clf(at + 1, out_us);

		if (end && end[0] == ']' && end[1] == ' ')
			return line + (end + 2 - line);
	}
	return NULL;
}

/* The request ends with the line, which a syslog may have cut. */
static bool cut_request(char *text, struct import_event *x)
{
	char *target = strchr(text, ' ');

	if (!target || !import_is_token(text, (size_t)(target - text)))
		return false;
	x->method = text;
	x->method_len = (size_t)(target - text);
	x->target = target + 1;
	x->target_len = strlen(x->target);
	return true;
}

/*
 * The client or the server left (capitals), or a timeout struck, while data
 * were on their way. A tunnel has no better end.
 */
static void set_outcome(const char *state, struct import_event *x)
{
	if (!strchr("DL", state[1]) || x->e.status == 101)
		return;
	if (strchr("CS", state[0]))
		x->e.outcome = OUTCOME_ABORTED;
	else if (strchr("cs", state[0]))
		x->e.outcome = OUTCOME_TIMEOUT;
}

/* What HAProxy refused as no HTTP; 0: nothing came before the client left. */
static int bad_request(const char *state, struct import_event *x)
{
	if (strchr("Cc", state[0]))
		return 0;
	x->method = "";
	x->e.route = "";
	return 1;
}

/*
 * … client:port [accepted] frontend backend/server timers status bytes
 * cookie cookie state conns queues {headers} {headers} "request" …
 */
int import_haproxy_line(struct import_lines *l, char *line, size_t len,
			struct import_event *x, const char **why)
{
	char *at, *request, *word[8];

	(void)l;
	(void)len;
	*why = "no [accept date]";
	at = find_accept_time(line, &x->e.start_us);
	if (!at)
		return strchr(line, '"') ? -EPROTO : 0;
	for (size_t i = 0; i < 8; i++)
		word[i] = import_word(&at);
	/* TCP sessions have fewer timers, other messages none. */
	*why = "no timers of a request";
	if (!read_timers(word[2], x))
		return strchr(at, '"') ? -EPROTO : 0;
	*why = "no valid status";
	if (strcmp(word[3], "-1") != 0 &&
	    import_status(word[3], &x->e.status) < 0)
		return -EPROTO;
	*why = "no valid number of bytes";
	if (import_bytes(word[4] + (*word[4] == '+'), &x->e.response_bytes) < 0)
		return -EPROTO;
	*why = "no state of the session";
	if (strlen(word[7]) < 2)
		return -EPROTO;
	set_outcome(word[7], x);
	/* A frontend that decrypts has a ~ behind its name. */
	if (strchr(word[0], '~'))
		x->e.scheme = "https";
	*why = "no \"request\"";
	at = strchr(at, '"');
	if (!at)
		return -EPROTO;
	request = import_quoted(&at);
	*why = "malformed request line";
	if (!request)
		return cut_request(at + 1, x) ? 1 : -EPROTO;
	if (strcmp(request, "<BADREQ>") == 0)
		return bad_request(word[7], x);
	return import_request(request, x) ? 1 : -EPROTO;
}

/* --- AWS: Application Load Balancer, Classic Load Balancer --- */

enum { ALB_WORDS = 16 };

/* Splits at blanks; what is in quotes is one word. Returns how many. */
static size_t split_words(char *at, char *word[ALB_WORDS])
{
	size_t n = 0;

	while (n < ALB_WORDS && *at != '\0') {
		word[n] = *at == '"' ? import_quoted(&at) : import_word(&at);
		if (!word[n++])
			return 0;
		at += strspn(at, " ");
	}
	return n;
}

/* The three times in seconds that add up to the duration; -1: no such part. */
static bool add_times(char *const word[3], struct import_event *x)
{
	x->e.untimed = false;
	for (int i = 0; i < 3; i++) {
		uint64_t us;
		int got = import_duration(word[i], strlen(word[i]), 1e6, &us);

		if (got < 0)
			return false;
		x->e.untimed |= got == 0;
		x->e.duration_us += us;
	}
	if (x->e.untimed || x->e.duration_us >= LIMIT_DURATION_US) {
		x->e.untimed = true;
		x->e.duration_us = 0;
	}
	return true;
}

static const char *alb_scheme(const char *type)
{
	return !strcmp(type, "http") || !strcmp(type, "ws") ? "http"
	       : !strcmp(type, "https") || !strcmp(type, "h2") ||
			       !strcmp(type, "grpcs") || !strcmp(type, "wss")
		       ? "https"
		       : NULL;
}

/*
 * type time elb client target times[3] status target-status received sent
 * "request" "agent" …; the classic one has no type, and its time is the start.
 */
int import_alb_line(struct import_lines *l, char *line, size_t len,
		    struct import_event *x, const char **why)
{
	char *all[ALB_WORDS], **word = all + 1;
	size_t n = split_words(line, all);
	bool classic;

	(void)l;
	(void)len;
	*why = "not the fields of a load balancer";
	if (n < 12)
		return -EPROTO;
	x->e.scheme = alb_scheme(all[0]);
	classic = !x->e.scheme;
	if (classic) {
		word = all;
		x->e.scheme = "http";
	}
	if (word + 12 > all + n || import_time(word[0], &x->e.start_us) != 0 ||
	    !strchr(word[2], ':') || !add_times(word + 4, x))
		return -EPROTO;
	x->at_end = !classic;
	*why = "no valid status";
	if (import_status(word[7], &x->e.status) < 0)
		return -EPROTO;
	*why = "no valid number of bytes";
	if (import_bytes(word[9], &x->e.request_bytes) < 0 ||
	    import_bytes(word[10], &x->e.response_bytes) < 0)
		return -EPROTO;
	/* Its own code: the client left before the idle timeout. */
	if (x->e.status == 460)
		x->e.status = 0;
	*why = "malformed request line";
	if (strncmp(word[11], "- ", 2) == 0 || !import_request(word[11], x))
		return -EPROTO;
	if (classic && strncmp(x->target, "https:", 6) == 0)
		x->e.scheme = "https";
	return 1;
}
