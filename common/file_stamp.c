/* SPDX-License-Identifier: Apache-2.0 */
#include "common/file_stamp.h"

#include <sys/stat.h>

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 29;
}

uint64_t file_stamp(const char *const *path, size_t n)
{
	uint64_t h = 0;
	struct stat st;

	for (size_t i = 0; i < n; i++) {
		if (!path[i])
			continue;
		if (stat(path[i], &st))
			return 0;
		h = mix(h, (uint64_t)st.st_ino);
		h = mix(h, (uint64_t)st.st_size);
		h = mix(h, (uint64_t)st.st_mtim.tv_sec);
		h = mix(h, (uint64_t)st.st_mtim.tv_nsec);
		h += !h;
	}
	return h;
}
