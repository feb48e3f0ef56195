/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_WEB_UNESCAPE_H
#define AGGREGATOR_WEB_WEB_UNESCAPE_H

#include <stddef.h>

/*
 * Decodes %XX in place and returns the new length. %00 stays as it is: decoded,
 * it would end the text, and hide what follows it. So does what is no %XX.
 * Pure.
 */
size_t web_unescape(char *text);

#endif /* AGGREGATOR_WEB_WEB_UNESCAPE_H */
