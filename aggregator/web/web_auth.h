/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_WEB_AUTH_H
#define AGGREGATOR_WEB_WEB_AUTH_H

#include <stdbool.h>
#include <stddef.h>

#include "aggregator/web/web_config.h"

/*
 * Basic authentication against bcrypt hashes. Every request checks whether the
 * file has changed, and then reads it again; if the new file is wrong, the
 * previous content stays in force. Verified credentials are remembered as a
 * salted SHA-256, so a scraper pays for bcrypt once. An unknown user takes as
 * much time as a wrong password. Any thread.
 */
struct web_auth;

enum web_verdict {
	WEB_ALLOWED,
	WEB_DENIED,
	WEB_UNDECIDED, /* needs bcrypt: call again with compute */
};

/*
 * Sets *out, released by web_auth_free(). path NULL: all requests are allowed.
 * Errors and why[] as of web_config_load(); -EIO: no random salt.
 */
int web_auth_new(struct web_auth **out, const char *path, char *why,
		 size_t why_size);
void web_auth_free(struct web_auth *a); /* NULL is fine */

/*
 * authorization: the value of the header, or NULL. compute: use bcrypt if
 * needed, which takes about a tenth of a second; one caller at a time.
 */
enum web_verdict web_auth_check(struct web_auth *a, const char *authorization,
				bool compute);

/* The configuration as read at the start; NULL: none. Owned by a. */
const struct web_config *web_auth_config(const struct web_auth *a);

#endif /* AGGREGATOR_WEB_WEB_AUTH_H */
