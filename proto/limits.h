/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_LIMITS_H
#define PROTO_LIMITS_H

/* Limits that both ends obey. A batch over any of them is refused whole. */

#define PROTOCOL_VERSION 1u
#define PROTOCOL_OLDEST 1u /* oldest that an aggregator still takes */

#define LIMIT_MESSAGE_BYTES (4u << 20)
#define LIMIT_EVENTS 65536u
#define LIMIT_SERIES 16384u
#define LIMIT_RESOURCES 4096u
#define LIMIT_STRINGS 65536u
#define LIMIT_STRING_BYTES 1024u
#define LIMIT_AGENT_BYTES 253u /* a DNS name */
#define LIMIT_ROLLUPS 65536u
#define LIMIT_ROLLUP_BUCKETS (1u << 20)
#define LIMIT_CONNECTIONS 65536u
#define LIMIT_PROBES 256u

#define BATCH_EVENTS 8192u /* the agent flushes at this many … */
#define BATCH_FLUSH_MS 500u /* … or after this long */
#define HEARTBEAT_MS 5000u /* an empty batch when there is nothing to say */

#define WINDOW_SECONDS 10u

#endif /* PROTO_LIMITS_H */
