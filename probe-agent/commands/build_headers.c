/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/commands/build.h"
#include <commands/headers.gen.h>

const char *build_header_prelude(void)
{
	return headers_bcc_prelude;
}

const char *build_header_count(void)
{
	return headers_redtap_count;
}

const char *build_header_solo_types(void)
{
	return headers_solo_types;
}
