/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_LIMITS_H
#define PROTO_LIMITS_H

#include <stdint.h>

/* Limits that both ends obey. A batch over any of them is refused whole. */

#define PROTOCOL_VERSION 2u
#define PROTOCOL_OLDEST 1u /* oldest that an aggregator accepts */

#define LIMIT_MESSAGE_BYTES (4u << 20)
#define LIMIT_REPLY_BYTES 4096u
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
#define LIMIT_TOKEN_BYTES 128u /* of a push */
#define LIMIT_SAMPLE_PROGRAMS 256u
#define LIMIT_SAMPLE_MAPS 2048u
#define LIMIT_SAMPLE_FAMILIES 512u
#define LIMIT_SAMPLE_SERIES 16384u
#define LIMIT_SAMPLE_LABELS 64u /* of a family */
#define LIMIT_SAMPLE_BOUNDS 160u /* of a histogram */
#define LIMIT_SAMPLE_BUCKETS (1u << 18) /* all buckets that grew */

/*
 * Limits of single values, so that no sum over one batch overflows 63 bits: of
 * the events, LIMIT_EVENTS * LIMIT_BODY_BYTES is 2^62; of the rollups, the
 * limits hold for all rows together. Whoever adds up batches must saturate.
 */
#define LIMIT_TIME_US (UINT64_C(1) << 53) /* wall clock; the year 2255 */
#define LIMIT_TIME_S (INT64_C(1) << 34) /* in seconds, above LIMIT_TIME_US */
#define LIMIT_DURATION_US (UINT64_C(1) << 42) /* 50 days */
#define LIMIT_BODY_BYTES (UINT64_C(1) << 46) /* 64 TiB */
#define LIMIT_ROLLUP_COUNT (UINT64_C(1) << 40) /* requests of all rows */
#define LIMIT_ROLLUP_SUM (UINT64_C(1) << 62) /* of all rows */
#define LIMIT_LOSSES (UINT64_C(1) << 53) /* an agent's counter in one epoch */
#define LIMIT_INCREMENT (UINT64_C(1) << 62) /* of one sample */
#define LIMIT_OUTCOME 4u /* greatest of enum outcome */
#define LIMIT_STATUS 999u
#define LIMIT_HTTP_VERSION 255u
#define LIMIT_RPC 63u
#define LIMIT_RPC_STATUS 127u /* a code + 1 */

#define BATCH_EVENTS 8192u /* events of a full batch; the agent flushes it */
#define BATCH_FLUSH_MS 500u /* longest wait until the agent flushes a batch */
#define HEARTBEAT_MS 5000u /* without requests: an empty batch this often */

#define WINDOW_SECONDS 10u

#endif /* PROTO_LIMITS_H */
