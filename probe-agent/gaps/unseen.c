/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/gaps/unseen.h"

#include <string.h>

const struct unseen unseen_table[UNSEEN_REASONS] = {
#define UNSEEN(reason, fronts, what, told, advice)                             \
	{ -1, "", fronts, what, told, advice },
#define UNSEEN_FOUND(reason, key, fronts, what, told, advice)                  \
	{ GAP_##reason, key, fronts, what, told, advice },
#include "proto/unseen.def"
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
