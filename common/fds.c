/* SPDX-License-Identifier: Apache-2.0 */
#include "common/fds.h"

#include <sys/resource.h>

unsigned fds_share(unsigned percent, unsigned most)
{
	struct rlimit r;
	unsigned share;

	if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur >= (rlim_t)most * 100)
		return most;
	share = (unsigned)(r.rlim_cur * percent / 100);
	return share < 1 ? 1 : share < most ? share : most;
}
