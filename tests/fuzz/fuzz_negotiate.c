/* SPDX-License-Identifier: Apache-2.0 */
/* Accept and Accept-Encoding: any bytes give one of the formats. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/expose/negotiate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	/* Exactly as long as it is, so that a read beyond it is seen. */
	char *text = malloc(len + 1);
	enum expose_format f;

	memcpy(text, data, len);
	text[len] = '\0';
	f = negotiate_format(text);
	assert(f < EXPOSE_FORMATS);
	assert(negotiate_format(text) == f);
	negotiate_gzip(text);
	free(text);
	return 0;
}
