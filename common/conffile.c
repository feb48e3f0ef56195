/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conffile.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fail(struct conffile_error *e, const char *text, const char *at,
		const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static int fail(struct conffile_error *e, const char *text, const char *at,
		const char *fmt, ...)
{
	const char *line = text;
	va_list ap;

	e->line = 1;
	for (const char *p = text; p < at; p++) {
		if (*p == '\n') {
			e->line++;
			line = p + 1;
		}
	}
	e->column = (unsigned)(at - line) + 1;
	va_start(ap, fmt);
	vsnprintf(e->what, sizeof(e->what), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* Expands one variable: at is behind its "${", end at its '}'. */
static int expand_one(struct buf *out, const char *text, const char *at,
		      const char *end, struct conffile_error *e)
{
	const char *fallback = memmem(at, (size_t)(end - at), ":-", 2);
	size_t len = (size_t)((fallback ? fallback : end) - at);
	char name[128];
	const char *value;

	if (len == 0 || len >= sizeof(name))
		return fail(e, text, at, "not the name of a variable");
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)at[i]) && at[i] != '_')
			return fail(e, text, at, "not the name of a variable");
	memcpy(name, at, len);
	name[len] = '\0';
	value = getenv(name);
	if (fallback && (!value || !*value))
		return buf_append(out, fallback + 2,
				  (size_t)(end - fallback) - 2);
	if (!value)
		return fail(e, text, at, "variable %s is not set", name);
	if (strpbrk(value, "\r\n"))
		return fail(e, text, at, "variable %s has several lines", name);
	return buf_puts(out, value);
}

int conffile_expand(struct buf *out, const char *text, size_t len,
		    struct conffile_error *e)
{
	const char *p = text, *stop = text + len;
	bool comment = false, blank = true; /* blank: only blanks so far */

	while (p < stop) {
		size_t left = (size_t)(stop - p);

		if (*p == '\n') {
			comment = false;
			blank = true;
		} else if (blank && *p == '#') {
			comment = true;
		} else if (*p != ' ' && *p != '\t') {
			blank = false;
		}
		if (!comment && left > 2 && !memcmp(p, "$${", 3)) {
			buf_puts(out, "${");
			p += 3;
		} else if (!comment && left > 1 && !memcmp(p, "${", 2)) {
			const char *eol = memchr(p, '\n', left);
			const char *end = memchr(
				p, '}', (size_t)((eol ? eol : stop) - p));
			int err;

			if (!end)
				return fail(e, text, p, "${ without }");
			err = expand_one(out, text, p + 2, end, e);
			if (err)
				return err;
			p = end + 1;
		} else {
			buf_putc(out, *p++);
		}
	}
	return out->err;
}

const char *conffile_present(const char *name)
{
	if (!name || *name != '-')
		return name;
	/* Any other error is for the reader of the file to report. */
	return access(name + 1, F_OK) && errno == ENOENT ? NULL : name + 1;
}

int conffile_read(struct buf *out, const char *path, struct conffile_error *e)
{
	struct buf raw = { .max = CONFFILE_MAX_BYTES };
	int fd, err = 0;

	*e = (struct conffile_error){ 0 };
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		snprintf(e->what, sizeof(e->what), "%s", strerror(-err));
		return err;
	}
	for (;;) {
		void *to = buf_reserve(&raw, 4096);
		ssize_t n = to ? read(fd, to, 4096) : -1;

		if (!to)
			err = raw.err;
		else if (n < 0)
			err = -errno;
		if (err || n == 0)
			break;
		raw.len += (size_t)n;
	}
	close(fd);
	if (err)
		snprintf(e->what, sizeof(e->what), "%s", strerror(-err));
	else if (!buf_str(&raw) ||
		 !buf_str(out)) /* never NULL, even if empty */
		err = -ENOMEM;
	else if (memchr(raw.data, '\0', raw.len))
		err = fail(e, raw.data, memchr(raw.data, '\0', raw.len),
			   "a NUL byte");
	else
		err = conffile_expand(out, raw.data, raw.len, e);
	buf_fini(&raw);
	return err;
}

/*
 * Finds the place of an unknown key. libcyaml 1.3 reports the place of the
 * value before it, so the search starts there.
 */
static void find_key(struct conffile_error *e, const char *text, size_t len,
		     const char *key)
{
	size_t n = strlen(key), at = 0;
	unsigned line = 1;

	for (; at < len && line < e->line; at++)
		line += text[at] == '\n';
	at += e->column ? e->column - 1 : 0;
	for (; at + n <= len; at++) {
		const char *after = text + at + n;
		bool starts = at == 0 || strchr(" \t\n{,\"'-", text[at - 1]);

		if (starts && text[at] == '#') {
			while (at < len && text[at] != '\n')
				at++;
			continue;
		}
		if (!starts || memcmp(text + at, key, n))
			continue;
		while (after < text + len && strchr(" \t\"'", *after))
			after++;
		if (after < text + len && *after == ':') {
			fail(e, text, text + at, "unknown key '%s'", key);
			return;
		}
	}
}

void conffile_complaint(struct conffile_error *e, const char *text, size_t len,
			const char *fmt, va_list ap)
{
	static const char unknown[] = "Unexpected key: ";
	char message[256], *place;
	const char *body = message;

	vsnprintf(message, sizeof(message), fmt, ap);
	message[strcspn(message, "\n")] = '\0';
	if (!strncmp(body, "Load: ", 6))
		body += 6;
	if (!e->what[0]) {
		snprintf(e->what, sizeof(e->what), "%s", body);
		return;
	}
	place = strstr(message, "(line: ");
	if (e->line || !place ||
	    sscanf(place, "(line: %u, column: %u)", &e->line, &e->column) != 2)
		return;
	if (!strncmp(e->what, unknown, sizeof(unknown) - 1)) {
		char key[200];

		snprintf(key, sizeof(key), "%s", e->what + sizeof(unknown) - 1);
		find_key(e, text, len, key);
	}
}

int conffile_set_text(char **to, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*to);
	*to = copy;
	return 0;
}

int conffile_add_text(char ***list, unsigned *count, const char *value)
{
	char **more = realloc(*list, (*count + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	*list = more;
	more[*count] = strdup(value);
	if (!more[*count])
		return -ENOMEM;
	++*count;
	return 0;
}
