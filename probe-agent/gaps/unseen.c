/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/gaps/unseen.h"

#include <string.h>

const struct unseen unseen_table[UNSEEN_REASONS] = {
#define UNSEEN(reason, key, fronts, what, told, advice)                        \
	{ key, fronts, what, told, advice },
#include "probe-agent/gaps/unseen.def"
#undef UNSEEN
};

bool unseen_with(const struct unseen *u, const char *front)
{
	size_t n = strlen(front);
	const char *p = u->fronts;

	if (!*p)
		return true;
	for (;;) {
		size_t len = strcspn(p, " ");

		if (len == n && !memcmp(p, front, n))
			return true;
		if (!p[len])
			return false;
		p += len + 1;
	}
}
