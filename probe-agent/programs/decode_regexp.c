/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patterns as ebpf_exporter has them: Go's RE2 syntax, leftmost-first, which is
 * PCRE2's way too. What RE2 cannot do is refused; what it can is bounded by a
 * limit on backtracking.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <ctype.h>
#include <errno.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/programs/decode_state.h"

#define PATTERNS_MAX 4096u
#define MATCH_LIMIT 100000u

struct pattern {
	char *text;
	pcre2_code *code;
	uint32_t groups;
};

struct decode_regexps {
	struct pattern *pattern; /* sorted by text */
	size_t n;
	pcre2_match_data *match;
	pcre2_match_context *context;
};

void decode_regexps_free(struct decode_regexps *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++) {
		free(r->pattern[i].text);
		pcre2_code_free(r->pattern[i].code);
	}
	pcre2_match_data_free(r->match);
	pcre2_match_context_free(r->context);
	free(r->pattern);
	free(r);
}

static int have_regexps(struct decode *d)
{
	struct decode_regexps *r;

	if (d->regexps)
		return 0;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->match = pcre2_match_data_create(2, NULL);
	r->context = pcre2_match_context_create(NULL);
	if (!r->match || !r->context) {
		decode_regexps_free(r);
		return -ENOMEM;
	}
	pcre2_set_match_limit(r->context, MATCH_LIMIT);
	d->regexps = r;
	return 0;
}

/* --- what Go would not take --- */

/* After "(?": a group that RE2 has. */
static bool group_is_known(const char *p)
{
	if (*p == 'P' && p[1] == '<')
		return true;
	if (*p == '<')
		return p[1] != '=' && p[1] != '!';
	p += strspn(p, "imsU-");
	return *p == ':' || *p == ')';
}

/* The end of "{n,m}", or NULL if it is no repetition. */
static const char *repetition_end(const char *p)
{
	if (*p++ != '{' || !isdigit((unsigned char)*p))
		return NULL;
	p += strspn(p, "0123456789");
	if (*p == ',')
		p += 1 + strspn(p + 1, "0123456789");
	return *p == '}' ? p + 1 : NULL;
}

/* The end of a class that begins at p, "[…]". */
static const char *class_end(const char *p)
{
	p++;
	if (*p == '^')
		p++;
	if (*p == ']')
		p++;
	while (*p && *p != ']') {
		if (*p == '\\' && p[1])
			p++;
		else if (*p == '[' && p[1] == ':') {
			const char *end = strstr(p, ":]");

			p = end ? end + 1 : p;
		}
		p++;
	}
	return *p ? p + 1 : p;
}

/* What RE2 lacks, or NULL. */
static const char *beyond_re2(const char *p)
{
	bool repeated = false;

	while (*p) {
		const char *after = repetition_end(p);

		if (after || strchr("*+?", *p)) {
			if (repeated && (after || *p != '?'))
				return "a repetition of a repetition";
			p = after ? after : p + 1;
			if (*p == '?') /* the lazy form */
				p++;
			repeated = true;
			continue;
		}
		repeated = false;
		if (*p == '(' && p[1] == '?' && !group_is_known(p + 2))
			return "a look around, or an unknown group";
		if (*p == '(' && p[1] == '*')
			return "a verb";
		if (*p == '(' && p[1] == '?') {
			p += 2;
		} else if (*p == '\\') {
			if (!p[1] || isdigit((unsigned char)p[1]))
				return "a reference back, or a lone backslash";
			if (isalpha((unsigned char)p[1]) &&
			    !strchr("AbBdDsSwWzafnrtvxpPQE", p[1]))
				return "an unknown escape";
			p += 2;
		} else {
			p = *p == '[' ? class_end(p) : p + 1;
		}
	}
	return NULL;
}

/* --- compiling --- */

static int compile(struct decode *d, const char *text, struct pattern *out)
{
	const char *beyond = beyond_re2(text);
	char words[96];
	size_t at;
	int code;

	if (beyond)
		return decode_fail(d,
				   "regexp '%.48s': has %s, which RE2 has "
				   "not",
				   text, beyond);
	out->code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
				  PCRE2_DOLLAR_ENDONLY | PCRE2_UTF |
					  PCRE2_MATCH_INVALID_UTF |
					  PCRE2_NEVER_BACKSLASH_C,
				  &code, &at, NULL);
	if (!out->code) {
		pcre2_get_error_message(code, (PCRE2_UCHAR *)words,
					sizeof(words));
		return decode_fail(d, "regexp '%.48s': %s at %zu", text, words,
				   at);
	}
	pcre2_pattern_info(out->code, PCRE2_INFO_CAPTURECOUNT, &out->groups);
	out->text = strdup(text);
	if (out->text)
		return 0;
	pcre2_code_free(out->code);
	return -ENOMEM;
}

static int have_pattern(struct decode *d, const char *text,
			const struct pattern **out)
{
	struct decode_regexps *r;
	struct pattern fresh, *list;
	size_t low = 0, high;
	int err = have_regexps(d);

	if (err)
		return err;
	r = d->regexps;
	high = r->n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(r->pattern[mid].text, text);

		if (order == 0) {
			*out = &r->pattern[mid];
			return 0;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (r->n == PATTERNS_MAX)
		return decode_fail(d, "regexp: more than %u patterns",
				   PATTERNS_MAX);
	err = compile(d, text, &fresh);
	if (err)
		return err;
	list = reallocarray(r->pattern, r->n + 1, sizeof(*list));
	if (!list) {
		free(fresh.text);
		pcre2_code_free(fresh.code);
		return -ENOMEM;
	}
	r->pattern = list;
	memmove(&list[low + 1], &list[low], (r->n - low) * sizeof(*list));
	list[low] = fresh;
	r->n++;
	*out = &list[low];
	return 0;
}

int decode_regexp_check(struct decode *d, const struct spec_decoder *spec)
{
	const struct pattern *p;
	int err = 0;

	for (size_t i = 0; i < spec->n_regexps && !err; i++)
		err = have_pattern(d, spec->regexps[i], &p);
	return err;
}

/*
 * The first pattern that matches gives its only group, or all that it matched.
 * One with several groups never does, as in ebpf_exporter.
 */
int decode_regexp(struct decode *d, const struct decode_in *in, struct buf *out)
{
	for (size_t i = 0; i < in->spec->n_regexps; i++) {
		const struct pattern *p;
		const PCRE2_SIZE *at;
		uint32_t k;
		int got, err = have_pattern(d, in->spec->regexps[i], &p);

		if (err)
			return err;
		if (p->groups > 1)
			continue;
		got = pcre2_match(p->code, in->data, in->len, 0, 0,
				  d->regexps->match, d->regexps->context);
		if (got == PCRE2_ERROR_NOMATCH)
			continue;
		if (got < 0)
			return decode_fail(d, "regexp '%.48s': error %d",
					   p->text, got);
		at = pcre2_get_ovector_pointer(d->regexps->match);
		k = p->groups;
		if (at[2 * k] == PCRE2_UNSET)
			return 0; /* the group has no part in it: "" */
		return buf_append(out, in->data + at[2 * k],
				  at[2 * k + 1] - at[2 * k]);
	}
	return DECODE_SKIP;
}

int decode_matches(struct decode *d, const char *pattern, const char *text,
		   const char **why)
{
	const struct pattern *p;
	int got, err = have_pattern(d, pattern, &p);

	*why = d->why;
	if (err)
		return err;
	got = pcre2_match(p->code, (PCRE2_SPTR)text, strlen(text), 0, 0,
			  d->regexps->match, d->regexps->context);
	return got >= 0;
}
