/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/worker/bpf_log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "common/buf.h"

/* A verifier's log may have 16 MiB; what is wrong is at its end. */
#define FIRST_BYTES (64u << 10)
#define LAST_BYTES (192u << 10)

static struct buf text;

/* Lines that say no more than that it failed. */
static const char *const empty_words[] = {
	"failed to load object",   "failed to load: ",
	"failed to auto-attach",   "-- BEGIN PROG LOAD LOG --",
	"-- END PROG LOAD LOG --", "BPF program load failed",
};

static int keep_words(enum libbpf_print_level level, const char *fmt,
		      va_list ap) __attribute__((format(printf, 2, 0)));

static int keep_words(enum libbpf_print_level level, const char *fmt,
		      va_list ap)
{
	char *line = NULL;
	int n;

	if (level == LIBBPF_DEBUG)
		return 0;
	n = vasprintf(&line, fmt, ap);
	if (n < 0)
		return 0;
	buf_append(&text, line, (size_t)n);
	free(line);
	if (text.len > FIRST_BYTES + LAST_BYTES) {
		char *p = text.data;

		memmove(p + FIRST_BYTES, p + text.len - LAST_BYTES, LAST_BYTES);
		text.len = FIRST_BYTES + LAST_BYTES;
	}
	return 0;
}

void bpf_log_install(void)
{
	libbpf_set_print(keep_words);
}

void bpf_log_clear(void)
{
	buf_reset(&text);
}

const char *bpf_log_text(void)
{
	const char *s = buf_str(&text);

	return s ? s : "";
}

static bool says_nothing(const char *line, size_t n)
{
	if (n == 0)
		return true;
	for (size_t i = 0; i < sizeof(empty_words) / sizeof(*empty_words); i++)
		if (memmem(line, n, empty_words[i], strlen(empty_words[i])))
			return true;
	return false;
}

static void copy_line(char *out, size_t size, const char *line, size_t n)
{
	static const char by[] = "libbpf: ";

	if (n > sizeof(by) - 1 && !memcmp(line, by, sizeof(by) - 1)) {
		line += sizeof(by) - 1;
		n -= sizeof(by) - 1;
	}
	snprintf(out, size, "%.*s", (int)n, line);
	for (char *p = out; *p; p++)
		if (*p == '"' || (unsigned char)*p < ' ')
			*p = '\'';
}

void bpf_log_reason(char *out, size_t size)
{
	const char *all = bpf_log_text(), *line, *end;
	const char *verdict = strstr(all, "\nprocessed ");

	*out = '\0';
	/* The verifier's figures follow on its last word. */
	end = verdict ? verdict : all + strlen(all);
	while (end > all) {
		line = end;
		while (line > all && line[-1] != '\n')
			line--;
		if (!says_nothing(line, (size_t)(end - line))) {
			copy_line(out, size, line, (size_t)(end - line));
			return;
		}
		end = line > all ? line - 1 : all;
	}
}

bool bpf_log_failed_program(char *out, size_t size)
{
	static const char *const words[] = {
		"': BPF program load failed",
		"': failed to load: ", "': failed to find kernel BTF type",
		"': failed to prepare load", "': relo #"
	};
	static const char before[] = "prog '";
	const char *p = NULL, *name;

	for (size_t i = 0; !p && i < sizeof(words) / sizeof(*words); i++)
		p = strstr(bpf_log_text(), words[i]);
	if (!p)
		return false;
	for (name = p; name > bpf_log_text() && name[-1] != '\''; name--)
		;
	if (name < bpf_log_text() + sizeof(before) - 1 ||
	    memcmp(name - (sizeof(before) - 1), before, sizeof(before) - 1))
		return false;
	snprintf(out, size, "%.*s", (int)(p - name), name);
	return true;
}
