/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_EXPOSE_NEGOTIATE_H
#define AGGREGATOR_EXPOSE_NEGOTIATE_H

#include <stdbool.h>

#include "aggregator/expose/expose.h"

/*
 * Content negotiation (RFC 9110, 12.5). Pure; any thread. Any NUL-terminated
 * header is fine; its malformed parts are ignored.
 */

/*
 * Returns the supported format with the highest q in the Accept header; among
 * equals the first. Returns text 0.0.4 if none is supported or accept is NULL,
 * since for monitoring any answer is better than a 406.
 */
enum expose_format negotiate_format(const char *accept);

/* Whether the Accept-Encoding header has q > 0 for gzip, x-gzip or *. */
bool negotiate_gzip(const char *accept_encoding);

#endif /* AGGREGATOR_EXPOSE_NEGOTIATE_H */
