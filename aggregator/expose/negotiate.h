/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_EXPOSE_NEGOTIATE_H
#define AGGREGATOR_EXPOSE_NEGOTIATE_H

#include <stdbool.h>

#include "aggregator/expose/expose.h"

/*
 * Content negotiation (RFC 9110, 12.5). Pure; any thread; any bytes up to the
 * NUL are fine: what does not parse counts as not said.
 */

/*
 * The format that the Accept header asks for with the highest q; at the same
 * q, what is named first. Text 0.0.4 if nothing fits or there is no header
 * (NULL): a monitoring endpoint that answers is worth more than a 406.
 */
enum expose_format negotiate_format(const char *accept);

/* The Accept-Encoding header takes gzip: q > 0 for gzip, x-gzip or *. */
bool negotiate_gzip(const char *accept_encoding);

#endif /* AGGREGATOR_EXPOSE_NEGOTIATE_H */
