/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_UTF8_H
#define PROTO_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* UTF-8 to the letter of RFC 3629, and no NUL. Stateless; any thread. */

bool utf8_valid(const char *data, size_t len);

/*
 * Copies len bytes to out, with "?" for each byte that is not part of a valid
 * sequence, and stops before max bytes would be exceeded, never inside a
 * sequence. Returns the length; out has room for max + 1 and gets a NUL.
 */
size_t utf8_clean(char *out, size_t max, const char *data, size_t len);

#endif /* PROTO_UTF8_H */
