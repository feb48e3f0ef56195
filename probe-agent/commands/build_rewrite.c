/* SPDX-License-Identifier: Apache-2.0 */
/* What sources of other tools need before clang takes them. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/commands/build.h"

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* --- BumbleBee's old sections --- */

#define OLD "SEC(\".maps."

/* The word that ends at p, blanks left out. */
static const char *word_before(const char *start, const char *p, size_t *len)
{
	const char *end;

	while (p > start && isspace((unsigned char)p[-1]))
		p--;
	end = p;
	while (p > start && is_word(p[-1]))
		p--;
	*len = (size_t)(end - p);
	return p;
}

int build_rewrite_sections(struct buf *out, const char *text, size_t len)
{
	const char *end = text + len, *p = text;
	struct buf notes = { 0 };
	int err;

	while (p < end) {
		const char *old =
			memmem(p, (size_t)(end - p), OLD, strlen(OLD));
		const char *kind, *quote, *name;
		size_t name_len;

		if (!old) {
			buf_append(out, p, (size_t)(end - p));
			break;
		}
		kind = old + strlen(OLD);
		quote = memchr(kind, '"', (size_t)(end - kind));
		name = word_before(text, old, &name_len);
		if (!quote || name_len == 0) {
			buf_append(out, p, (size_t)(kind - p));
			p = kind;
			continue;
		}
		buf_append(out, p, (size_t)(old - p));
		buf_puts(out, "SEC(\".maps");
		buf_printf(&notes, "%.*s=%.*s\\n", (int)name_len, name,
			   (int)(quote - kind), kind);
		p = quote;
	}
	if (notes.len > 0)
		buf_printf(out,
			   "\nstatic const char redtap_note[] "
			   "__attribute__((section(\"redtap\"), used)) = "
			   "\"%s\";\n",
			   buf_str(&notes));
	err = notes.err ? notes.err : out->err;
	buf_fini(&notes);
	return err;
}

/* --- bcc --- */

static int fail(const struct spec *s, unsigned line, const char *what,
		const char *remedy)
{
	fprintf(stderr, "%s:%u: %s: %s\n", s->file, line, what, remedy);
	return -EINVAL;
}

static unsigned line_of(const struct spec *s, const char *p)
{
	unsigned line = s->code_line;

	for (const char *at = s->code; at < p; at++)
		line += *at == '\n';
	return line;
}

/* "tracepoint__sched__sched_switch" and what follows on prefix, in two. */
static bool split_event(const char *name, size_t len, char *category,
			char *event, size_t size)
{
	const char *two = memmem(name, len, "__", 2);

	return two && two > name &&
	       snprintf(category, size, "%.*s", (int)(two - name), name) <
		       (int)size &&
	       snprintf(event, size, "%.*s", (int)(name + len - two - 2),
			two + 2) < (int)size;
}

/* Each struct once. */
struct seen {
	char name[64][128];
	size_t n;
};

static bool is_new(struct seen *seen, const char *name)
{
	for (size_t i = 0; i < seen->n; i++)
		if (!strcmp(seen->name[i], name))
			return false;
	if (seen->n < 64)
		snprintf(seen->name[seen->n++], 128, "%s", name);
	return true;
}

static int put_struct(struct buf *out, const struct spec *s, struct seen *seen,
		      const char *at, const char *struct_name,
		      const char *category, const char *event)
{
	int err;

	if (!is_new(seen, struct_name))
		return 0;
	err = build_put_tracepoint(out, struct_name, category, event);
	if (err == -ENOENT)
		return fail(s, line_of(s, at), struct_name,
			    "this kernel has no such tracepoint");
	return err;
}

/* struct tracepoint__CATEGORY__EVENT, as bcc makes it. */
static int put_named_structs(struct buf *out, const struct spec *s,
			     struct seen *seen)
{
	static const char word[] = "struct tracepoint__";
	const char *p = s->code;
	int err = 0;

	while (!err && (p = strstr(p, word))) {
		const char *name = p + strlen("struct ");
		char category[64], event[64], all[128];
		size_t len = 0;

		while (is_word(name[len]))
			len++;
		snprintf(all, sizeof(all), "%.*s", (int)len, name);
		if (split_event(name + strlen("tracepoint__"),
				len - strlen("tracepoint__"), category, event,
				sizeof(category)))
			err = put_struct(out, s, seen, p, all, category, event);
		p += strlen(word);
	}
	return err;
}

/* TRACEPOINT_PROBE(CATEGORY, EVENT) */
static int put_probe_structs(struct buf *out, const struct spec *s,
			     struct seen *seen)
{
	static const char word[] = "TRACEPOINT_PROBE(";
	const char *p = s->code;
	int err = 0;

	while (!err && (p = strstr(p, word))) {
		char category[64], event[64], name[160];

		if (p > s->code && is_word(p[-1])) {
			p += strlen(word); /* RAW_TRACEPOINT_PROBE */
			continue;
		}
		if (sscanf(p + strlen(word),
			   " %63[a-z0-9A-Z_] , "
			   "%63[a-z0-9A-Z_]",
			   category, event) == 2) {
			snprintf(name, sizeof(name), "redtap_args_%s__%s",
				 category, event);
			err = put_struct(out, s, seen, p, name, category,
					 event);
		}
		p += strlen(word);
	}
	return err;
}

/* bcc gives kprobes' functions the arguments of what they probe. */
static int check_parameters(const struct spec *s, const char *function)
{
	const char *p = s->code;
	size_t n = strlen(function);

	while ((p = strstr(p, function))) {
		const char *open = p + n, *close;

		if ((p > s->code && is_word(p[-1])) || *open != '(') {
			p += n;
			continue;
		}
		close = strchr(open, ')');
		if (close && memchr(open, ',', (size_t)(close - open)))
			return fail(s, line_of(s, p), function,
				    "parameters after ctx are not filled in: "
				    "read them with PT_REGS_PARM1(ctx), "
				    "PT_REGS_PARM2(ctx) …");
		p += n;
	}
	return 0;
}

/* Lines of #include are left empty: the kernel's types are there already. */
static void put_code(struct buf *out, const struct spec *s)
{
	const char *p = s->code;

	buf_printf(out, "#line %u \"%s\"\n", s->code_line, s->file);
	while (*p) {
		const char *end = strchr(p, '\n');
		size_t n = end ? (size_t)(end - p) : strlen(p);
		const char *word = p + strspn(p, " \t");

		if (*word == '#' &&
		    !strncmp(word + 1 + strspn(word + 1, " \t"), "include", 7))
			buf_putc(out, '\n');
		else
			buf_printf(out, "%.*s\n", (int)n, p);
		p += n + (end != NULL);
	}
}

int build_rewrite_bcc(struct buf *out, const struct spec *s)
{
	struct seen *seen = calloc(1, sizeof(*seen));
	int err = seen ? 0 : -ENOMEM;

	for (size_t i = 0; i < s->n_attach && !err; i++)
		err = check_parameters(s, s->attach[i].function);
	if (!err)
		err = put_named_structs(out, s, seen);
	if (!err)
		err = put_probe_structs(out, s, seen);
	free(seen);
	if (err)
		return err;
	/* All functions are inlined there; programs are made of them here. */
	buf_puts(out,
		 "#pragma clang attribute push(__attribute__((always_inline)), "
		 "apply_to = function)\n");
	put_code(out, s);
	buf_puts(out, "\n#pragma clang attribute pop\n");
	return out->err;
}
