/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_COMMANDS_RUN_VIEW_H
#define PROBE_AGENT_COMMANDS_RUN_VIEW_H

#include <stdbool.h>
#include <stdio.h>

/*
 * Lines of JSON about keys, shown to a person: a table that is drawn again, or
 * the lines themselves. One thread.
 */
struct run_view;

struct run_view_options {
	FILE *out;
	bool table; /* else lines */
	/* "MAP,LABEL,REGEX": others of that map are left out. */
	const char *const *filter;
	size_t n_filters;
};

/* Sets *out, released by run_view_free(). -EINVAL: a filter is wrong. */
int run_view_new(struct run_view **out, const struct run_view_options *opt);
void run_view_free(struct run_view *v); /* NULL is fine */

/* Takes a line, without its end. -EINVAL: it makes no sense; -ENOMEM. */
int run_view_line(struct run_view *v, const char *line);
/* Draws the table; of lines there is nothing to draw. */
void run_view_draw(struct run_view *v);

#endif /* PROBE_AGENT_COMMANDS_RUN_VIEW_H */
