/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_OUTBOX_UPLINK_TLS_H
#define PROBE_AGENT_OUTBOX_UPLINK_TLS_H

#include <nng/nng.h>

#include "probe-agent/outbox/uplink.h"

/*
 * Sets up a dialer of tls+tcp:// with the files of opt, which are read now.
 * Returns 0, or nng's error number, logged. NNG_EINVAL: a file is invalid or
 * missing. NNG_ENOTSUP: the library has no TLS.
 */
int uplink_tls_use(nng_dialer dialer, const struct uplink_options *opt);

#endif /* PROBE_AGENT_OUTBOX_UPLINK_TLS_H */
