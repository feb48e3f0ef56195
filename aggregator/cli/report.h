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
 * Asks the windows API and prints its answer as a table. Shared by `top` and
 * `query`. For one thread.
 */

struct report_source {
	const char *where; /* URL of an aggregator, or store file or folder */
	struct client *client; /* NULL: where is a store */
	char *store_path; /* NULL: where is a URL */
};
/*
 * Initialises *s, released by report_close(). Borrows where. ca_file: see
 * client_new(). -ENOMEM; -ENOENT and so on: cannot find the store.
 */
int report_open(struct report_source *s, const char *where,
		const char *ca_file);
void report_close(struct report_source *s);

/* Appends &key=value, with all but plain characters percent-encoded. */
void report_put_argument(struct buf *b, const char *key, const char *value);

struct report_question {
	const char *from, *to, *by, *step; /* see api.h; NULL: default */
};
/*
 * Fills json with the answer. Prints errors on stderr. -EINVAL: the API refused
 * the question. -EIO: there is no answer.
 */
int report_ask(struct report_source *s, const struct report_question *q,
	       struct buf *json);

struct report_layout {
	unsigned rows; /* print at most this many; 0: all */
	unsigned columns; /* width of the terminal; 0: unlimited */
	bool times; /* add a column with the start of the window */
};
/*
 * Prints the table; within a window the busiest rows come first. -EPROTO: json
 * is not an answer of the API. -ENOMEM.
 */
int report_print(FILE *f, const struct buf *json,
		 const struct report_layout *layout);

#endif /* AGGREGATOR_CLI_REPORT_H */
