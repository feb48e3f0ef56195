/* SPDX-License-Identifier: Apache-2.0 */
#include "common/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

#define LINE_MAX_BYTES 2048

static _Atomic int current_level = LOG_LEVEL_INFO;
static _Atomic int current_format = LOG_FORMAT_LOGFMT;
static pthread_mutex_t site_mutex = PTHREAD_MUTEX_INITIALIZER;

static const char *const level_names[] = { "debug", "info", "warn", "error" };

struct line {
	char text[LINE_MAX_BYTES];
	size_t len;
};

void log_init(enum log_level level, enum log_format format)
{
	atomic_store(&current_level, (int)level);
	atomic_store(&current_format, (int)format);
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&current_level, level, memory_order_relaxed);
}

enum log_level log_level(void)
{
	return (enum log_level)atomic_load_explicit(&current_level,
						    memory_order_relaxed);
}

int log_level_parse(const char *name, enum log_level *out)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(*level_names);
	     i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*out = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

int log_format_parse(const char *name, enum log_format *out)
{
	if (strcmp(name, "logfmt") == 0)
		*out = LOG_FORMAT_LOGFMT;
	else if (strcmp(name, "json") == 0)
		*out = LOG_FORMAT_JSON;
	else
		return -EINVAL;
	return 0;
}

/* True if the site may write; *told: the lines it dropped before. */
static bool site_admit(struct log_site *site, uint32_t *told)
{
	uint64_t second = clock_mono_ns() / CLOCK_NS_PER_S + 1;
	bool admit;

	pthread_mutex_lock(&site_mutex);
	if (site->second != second) {
		site->second = second;
		site->lines = 0;
	}
	admit = site->lines < LOG_BURST;
	if (admit) {
		site->lines++;
		*told = site->suppressed;
		site->suppressed = 0;
	} else {
		site->suppressed++;
	}
	pthread_mutex_unlock(&site_mutex);
	return admit;
}

/* Bytes of a line kept for the closing quote, "suppressed" and newline. */
#define LINE_RESERVE 40

static void put_text(struct line *l, const char *s)
{
	size_t n = strlen(s);

	if (l->len + n < sizeof(l->text)) {
		memcpy(l->text + l->len, s, n);
		l->len += n;
	}
}

/* Both formats quote alike: they share \" \\ \n and \u00XX. */
static void put_quoted(struct line *l, const char *s)
{
	char esc[8];

	put_text(l, "\"");
	for (; *s && l->len < sizeof(l->text) - LINE_RESERVE; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			snprintf(esc, sizeof(esc), "\\%c", c);
		else if (c == '\n')
			snprintf(esc, sizeof(esc), "\\n");
		else if (c < 0x20 || c == 0x7f)
			snprintf(esc, sizeof(esc), "\\u%04x", c);
		else
			snprintf(esc, sizeof(esc), "%c", c);
		put_text(l, esc);
	}
	put_text(l, "\"");
}

static void put_time(struct line *l)
{
	struct timespec ts;
	struct tm tm;
	char date[32], text[48];

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%03ldZ", date, ts.tv_nsec / 1000000);
	put_text(l, text);
}

static void compose(struct line *l, bool json, enum log_level level,
		    const char *caller, const char *msg, uint32_t told)
{
	char tail[24];

	put_text(l, json ? "{\"ts\":\"" : "ts=");
	put_time(l);
	put_text(l, json ? "\",\"level\":\"" : " level=");
	put_text(l, level_names[level]);
	put_text(l, json ? "\",\"caller\":\"" : " caller=");
	put_text(l, caller);
	put_text(l, json ? "\",\"msg\":" : " msg=");
	put_quoted(l, msg);
	if (told) {
		put_text(l, json ? ",\"suppressed\":" : " suppressed=");
		snprintf(tail, sizeof(tail), "%u", told);
		put_text(l, tail);
	}
	put_text(l, json ? "}\n" : "\n");
}

void log_write(struct log_site *site, enum log_level level, const char *file,
	       int line, const char *fmt, ...)
{
	char msg[LINE_MAX_BYTES - 256], caller[96];
	const char *base = strrchr(file, '/');
	struct line l = { .len = 0 };
	uint32_t told = 0;
	int saved = errno;
	va_list ap;

	if (!site_admit(site, &told))
		goto out;
	va_start(ap, fmt);
	errno = saved; /* for %m */
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	snprintf(caller, sizeof(caller), "%s:%d", base ? base + 1 : file, line);
	compose(&l, atomic_load(&current_format) == LOG_FORMAT_JSON, level,
		caller, msg, told);
	/* If stderr is closed, this cannot be reported. */
	if (write(STDERR_FILENO, l.text, l.len) < 0)
		goto out;
out:
	errno = saved;
}
