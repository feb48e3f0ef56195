/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arguments of /api/v1/windows: three strings split at NUL. What is
 * accepted must keep what the header promises.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/web/api.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = calloc(1, len + 3), *from = text, *to, *by;
	const char *where = NULL;
	struct api_windows q;
	char why[40] = "";
	unsigned seen = 0;

	memcpy(text, data, len);
	to = from + strlen(from) + 1;
	by = to + (to < text + len ? strlen(to) : 0) + 1;
	if (by > text + len)
		by = text + len;
	if (api_windows_parse(&q, *from ? from : NULL, *to ? to : NULL,
			      *by ? by : NULL, 1700000000, &where, why,
			      sizeof(why))) {
		assert(where && *why && memchr(why, 0, sizeof(why)));
	} else {
		assert(q.from_s >= 0 && q.from_s < q.to_s);
		assert(q.to_s - q.from_s <= API_RANGE_MAX_S);
		assert(q.from_s % 10 == 0 && q.to_s % 10 == 0);
		assert(q.n_by <= API_BYS);
		for (size_t i = 0; i < q.n_by; i++) {
			assert(!(seen & 1u << q.by[i]));
			seen |= 1u << q.by[i];
		}
	}
	free(text);
	return 0;
}
