/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conffile_ranges.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cli.h"
#include "common/conffile_walk.h"

/* The unit that a key names, and how its values may be written. */
struct unit {
	const char *suffix, *form;
	int (*parse)(const char *text, uint64_t *out);
	uint64_t divide; /* what was parsed, to the key's unit */
};

static const struct unit units[] = {
	{ "_ms", ", or a duration like 500ms, 2s, 5m", cli_parse_duration_ms,
	  1 },
	{ "_s", ", or a duration like 90s, 15m, 36h, 7d", cli_parse_duration_ms,
	  1000 },
	{ "_bytes", ", or a size like 512KiB, 64MiB, 2GiB", cli_parse_bytes,
	  1 },
};

static const struct unit *unit_of(const char *key)
{
	size_t n = strlen(key);

	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		size_t len = strlen(units[i].suffix);

		if (n > len && strcmp(key + n - len, units[i].suffix) == 0)
			return &units[i];
	}
	return NULL;
}

/* Writes what is allowed, for a message. */
static void range_text(const struct conffile_range *r, char *out, size_t size)
{
	const struct unit *u = unit_of(r->key);

	snprintf(out, size, "a %s from %" PRIu64 " to %" PRIu64 "%s",
		 r->power_of_two ? "power of two" : "whole number", r->min,
		 r->max, u ? u->form : "");
}

static bool allows(const struct conffile_range *r, uint64_t v)
{
	return v >= r->min && v <= r->max &&
	       (!r->power_of_two || (v & (v - 1)) == 0);
}

static bool in_range(const struct conffile_range *r, const void *config)
{
	const uint8_t *at = (const uint8_t *)config + r->offset;
	uint16_t half;
	uint32_t word;
	uint64_t v = 0;

	if (r->size == sizeof(v)) {
		memcpy(&v, at, sizeof(v));
	} else if (r->size == sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		v = word;
	} else if (r->size == sizeof(half)) {
		memcpy(&half, at, sizeof(half));
		v = half;
	} else {
		return true;
	}
	return allows(r, v);
}

const struct conffile_range *
conffile_out_of_range(const struct conffile_range *ranges, size_t n,
		      const void *config, int flag)
{
	for (size_t i = 0; i < n; i++)
		if ((!flag || ranges[i].flag == flag) &&
		    !in_range(&ranges[i], config))
			return &ranges[i];
	return NULL;
}

static void say_form(const struct conffile_range *r, struct conffile_error *e)
{
	char allowed[160];

	range_text(r, allowed, sizeof(allowed));
	snprintf(e->what, sizeof(e->what), "is not %s (%s)", allowed, r->key);
}

int conffile_check_flag(const struct conffile_range *ranges, size_t n,
			const void *config, int flag, struct conffile_error *e)
{
	const struct conffile_range *r =
		conffile_out_of_range(ranges, n, config, flag);

	if (!r)
		return 0;
	say_form(r, e);
	return -EINVAL;
}

void conffile_flag_form(const struct conffile_range *ranges, size_t n, int flag,
			struct conffile_error *e)
{
	for (size_t i = 0; i < n; i++)
		if (flag && ranges[i].flag == flag)
			say_form(&ranges[i], e);
}

/*
 * Reads a number as the YAML library does, but without a sign; or one with a
 * unit, which is then written out by conffile_resolve_units().
 */
static bool parse_number(const char *key, const char *text, uint64_t *out)
{
	const struct unit *u = unit_of(key);
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*out = strtoull(text, &end, 0);
	if (*end == '\0')
		return errno == 0;
	if (!u || u->parse(text, out) || *out % u->divide)
		return false;
	*out /= u->divide;
	return true;
}

struct checking {
	const struct conffile_range *ranges;
	size_t n;
	struct conffile_error *e;
};

static int check_value(void *arg, const struct conffile_value *v)
{
	struct checking *c = arg;
	char allowed[160];
	uint64_t n;

	for (size_t i = 0; i < c->n; i++) {
		const struct conffile_range *r = &c->ranges[i];

		if (strcmp(r->key, v->path) != 0)
			continue;
		if (parse_number(r->key, v->text, &n) && allows(r, n))
			return 0;
		range_text(r, allowed, sizeof(allowed));
		c->e->line = v->line;
		c->e->column = v->column;
		snprintf(c->e->what, sizeof(c->e->what),
			 "%s: '%.64s' is not %s", r->key, v->text, allowed);
		return -EINVAL;
	}
	return 0;
}

int conffile_check_ranges(const struct conffile_range *ranges, size_t n,
			  const char *text, size_t len,
			  struct conffile_error *e)
{
	struct checking c = { ranges, n, e };

	return conffile_walk(text, len, check_value, &c);
}

/* --- units --- */

struct resolving {
	const struct conffile_range *ranges;
	size_t n;
	const char *text;
	size_t done; /* bytes of the text that were copied */
	struct buf *out;
	struct conffile_shifts *shifts;
};

static int resolve_value(void *arg, const struct conffile_value *v)
{
	struct resolving *r = arg;
	struct conffile_shifts *s = r->shifts;
	uint64_t n;
	char *end;

	for (size_t i = 0; i < r->n; i++) {
		size_t before;

		if (strcmp(r->ranges[i].key, v->path) != 0)
			continue;
		strtoull(v->text, &end, 0);
		if (*end == '\0' || !parse_number(v->path, v->text, &n))
			return 0;
		buf_append(r->out, r->text + r->done, v->from - r->done);
		before = r->out->len;
		buf_put_u64(r->out, n);
		r->done = v->to;
		if (s->n < CONFFILE_SHIFTS_MAX)
			s->at[s->n++] = (struct conffile_shift){
				.line = v->line,
				.column = v->column,
				.by = (int)(r->out->len - before) -
				      (int)(v->to - v->from),
			};
		return 0;
	}
	return 0;
}

int conffile_resolve_units(const struct conffile_range *ranges, size_t n,
			   const char *text, size_t len, struct buf *out,
			   struct conffile_shifts *shifts)
{
	struct resolving r = { ranges, n, text, 0, out, shifts };
	int err = conffile_walk(text, len, resolve_value, &r);

	shifts->n = err ? 0 : shifts->n;
	buf_append(out, text + r.done, len - r.done);
	return err ? err : buf_str(out) ? 0 : -ENOMEM;
}

void conffile_unshift(const struct conffile_shifts *shifts,
		      struct conffile_error *e)
{
	int column = (int)e->column;

	/* In order: what came before on the line has moved what follows. */
	for (unsigned i = 0; i < shifts->n; i++) {
		const struct conffile_shift *s = &shifts->at[i];

		if (s->line == e->line && column > (int)s->column)
			column -= s->by;
	}
	e->column = column > 0 ? (unsigned)column : e->column;
}
