/* SPDX-License-Identifier: Apache-2.0 */
#include "common/version.h"

#include <version.gen.h>

const char *version_string(void)
{
	return REDTAP_VERSION;
}

const char *version_revision(void)
{
	return REDTAP_REVISION;
}
