/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdint.h>

/*
 * Writes log lines to stderr, as logfmt or JSON. Each call is one write(), so
 * lines of different threads do not mix. A call site may write LOG_BURST lines
 * per second; its next line counts those it dropped ("suppressed=N"). Any
 * thread.
 */

enum log_level {
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_INFO,
	LOG_LEVEL_WARN,
	LOG_LEVEL_ERROR,
};

enum log_format {
	LOG_FORMAT_LOGFMT,
	LOG_FORMAT_JSON,
};

#define LOG_BURST 10

/* State of a call site; zero at start. Use the macros below. */
struct log_site {
	uint64_t second; /* of CLOCK_MONOTONIC, + 1; 0: never */
	uint32_t lines; /* in that second */
	uint32_t suppressed; /* dropped since its last line */
};

/* Call before other threads start; the level can be changed at any time. */
void log_init(enum log_level level, enum log_format format);
/* -EINVAL: not one of debug, info, warn, error; of logfmt, json. */
int log_level_parse(const char *name, enum log_level *out);
int log_format_parse(const char *name, enum log_format *out);
enum log_level log_level(void);
void log_set_level(enum log_level level); /* any thread */

void log_write(struct log_site *site, enum log_level level, const char *file,
	       int line, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

#define log_at(level, ...)                                                     \
	do {                                                                   \
		static struct log_site log_site_;                              \
		if ((level) >= log_level())                                    \
			log_write(&log_site_, (level), __FILE__, __LINE__,     \
				  __VA_ARGS__);                                \
	} while (0)

#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...) log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)

#endif /* COMMON_LOG_H */
