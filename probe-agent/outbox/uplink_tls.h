/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_OUTBOX_UPLINK_TLS_H
#define PROBE_AGENT_OUTBOX_UPLINK_TLS_H

#include <nng/nng.h>

#include "probe-agent/outbox/uplink.h"

/*
 * Sets a dialer of tls+tcp:// up with the files of opt, which are read now. 0,
 * or nng's number, with the reason logged: NNG_EINVAL for files that are wrong
 * or lacking, NNG_ENOTSUP if the library has no TLS.
 */
int uplink_tls_use(nng_dialer dialer, const struct uplink_options *opt);

#endif /* PROBE_AGENT_OUTBOX_UPLINK_TLS_H */
