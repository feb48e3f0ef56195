/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_CONFFILE_H
#define COMMON_CONFFILE_H

#include <stdarg.h>
#include <stddef.h>

#include "common/buf.h"

/*
 * A configuration file as text: reads it, expands variables, and turns the
 * messages of the YAML library into one with line and column.
 *
 *   ${NAME}           the environment variable; an error if it is not set
 *   ${NAME:-default}  the variable, or the default if it is unset or empty
 *   $${               a literal ${
 *
 * Any other '$' is itself. Comment lines are left alone. A value may not
 * contain a newline, so expansion never moves a line. Main thread only.
 */

#define CONFFILE_MAX_BYTES (1u << 20)

/* Room for a list of all words that are allowed. */
#define CONFFILE_WHAT_BYTES 640

struct conffile_error {
	unsigned line, column; /* from 1; 0: not known */
	char what[CONFFILE_WHAT_BYTES];
};

/* Appends text to *out, expanded. -EINVAL: *e says what and where. -ENOMEM. */
int conffile_expand(struct buf *out, const char *text, size_t len,
		    struct conffile_error *e);

/* Reads and expands a file into *out. Negative errno: *e says what. */
int conffile_read(struct buf *out, const char *path, struct conffile_error *e);

/*
 * Returns the file that --config.file names, a part of name. "-PATH", as in
 * systemd's EnvironmentFile=, is PATH if that exists. NULL: there is no file.
 */
const char *conffile_present(const char *name);

/*
 * Adds one message of the YAML library to *e: the first says what is wrong, the
 * next ones where. text is the text being parsed.
 */
void conffile_complaint(struct conffile_error *e, const char *text, size_t len,
			const char *fmt, va_list ap)
	__attribute__((format(printf, 4, 0)));

/*
 * Apply a flag to a loaded configuration: replace a malloc'd text by a copy of
 * value, or add a copy to a malloc'd list. -ENOMEM: nothing has changed.
 */
int conffile_set_text(char **to, const char *value);
int conffile_add_text(char ***list, unsigned *count, const char *value);

#endif /* COMMON_CONFFILE_H */
