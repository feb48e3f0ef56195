/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_CLI_REPORT_H
#define AGGREGATOR_CLI_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "aggregator/cli/client.h"
#include "common/buf.h"

/*
 * The windows API's answer as a table for people. What `top` and `query` share.
 */

struct report_source {
	const char *where; /* URL of an aggregator, store file or folder */
	struct client *client; /* NULL: where is no URL */
	char *store_path;
};
/* where is borrowed. Released by report_close(). -ENOENT, -ENOMEM. */
int report_open(struct report_source *s, const char *where,
		const char *ca_file);
void report_close(struct report_source *s);

struct report_question {
	const char *from, *to, *by, *step; /* as the API takes; may be NULL */
};
/*
 * The answer as JSON. 0; -EIO: there is none, which is said on stderr, as is
 * what the API found wrong with the question (-EINVAL).
 */
int report_ask(struct report_source *s, const struct report_question *q,
	       struct buf *json);

struct report_layout {
	unsigned rows; /* at most; 0: all */
	unsigned columns; /* of the terminal; 0: any */
	bool times; /* a column with the start of the window */
};
/* Within a window the busiest first. -EPROTO: not the API's JSON. */
int report_print(FILE *f, const struct buf *json,
		 const struct report_layout *layout);

#endif /* AGGREGATOR_CLI_REPORT_H */
