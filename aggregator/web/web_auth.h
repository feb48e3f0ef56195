/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_WEB_AUTH_H
#define AGGREGATOR_WEB_WEB_AUTH_H

#include <stdbool.h>
#include <stddef.h>

#include "aggregator/web/web_config.h"

/*
 * Who may ask: basic authentication against bcrypt hashes. The file is looked
 * at before every answer and read again if it changed; if it is wrong then,
 * the one before stays in force. What was verified is remembered as a salted
 * SHA-256, so a scraper pays for bcrypt once. An unknown user costs as much
 * time as a wrong password. Any thread.
 */
struct web_auth;

enum web_verdict {
	WEB_ALLOWED,
	WEB_DENIED,
	WEB_UNDECIDED, /* needs bcrypt: ask again with compute */
};

/* path NULL: everybody is allowed. As web_config_load() otherwise. */
int web_auth_new(struct web_auth **out, const char *path, char *why,
		 size_t why_size);
void web_auth_free(struct web_auth *a); /* NULL is fine */

/*
 * authorization: the header's value or NULL. With compute it may take the
 * tenth of a second that bcrypt is meant to take, one caller at a time.
 */
enum web_verdict web_auth_check(struct web_auth *a, const char *authorization,
				bool compute);

/* Of the file as it was at the start; NULL if there is none. Owned by a. */
const struct web_config *web_auth_config(const struct web_auth *a);

#endif /* AGGREGATOR_WEB_WEB_AUTH_H */
