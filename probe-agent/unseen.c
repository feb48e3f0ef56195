/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/unseen.h"

#include <string.h>

const struct unseen unseen_table[] = {
#define UNSEEN(fronts, what, told) { fronts, what, told },
#include "probe-agent/unseen.def"
#undef UNSEEN
};
const size_t unseen_n = sizeof(unseen_table) / sizeof(*unseen_table);

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
