/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_EXCHANGE_H
#define PROBE_AGENT_HTTP_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/batch.h"

/*
 * What parsers, protocols and the engine say to each other and to the rest of
 * the agent: a request and what became of it. Plain data; who owns what a
 * slice points to is said where one is handed over.
 */

/* Bytes that are owned elsewhere. */
struct slice {
	const char *data; /* not NUL-terminated */
	size_t len;
};

/*
 * The process and addresses at the near end of a connection, as the tap
 * reported.
 */
struct endpoint {
	uint32_t tgid;
	uint64_t start_ns; /* process start, CLOCK_BOOTTIME */
	uint64_t cgroup_id;
	uint16_t family, local_port, remote_port;
	uint8_t local_addr[16], remote_addr[16];
	char comm[16];
};

/* Everything here is lent until the callback returns. */
struct exchange {
	const struct endpoint *end;
	enum role role;
	enum outcome outcome;
	bool tls;
	uint8_t version; /* 10, 11; 20 is HTTP/2 */
	uint16_t status; /* 0: none received, or not known */
	uint8_t rpc; /* enum rpc_system: a remote procedure call */
	uint8_t rpc_status; /* its code + 1; 0: not known */
	uint32_t stream; /* of HTTP/2; 0: none */
	struct slice method; /* as sent; empty: not known */
	struct slice target; /* the same; may be cut, see target_cut */
	bool target_cut;
	struct slice host; /* Host header, or the authority of the target */
	struct slice traceparent; /* empty: none */
	uint64_t start_ns; /* first request byte, CLOCK_MONOTONIC */
	/*
	 * First byte of the final response (interim ones, 1xx, don't count); 0:
	 * none. Of a server, the time when its write began; of a client, when
	 * its read returned.
	 */
	uint64_t first_byte_ns;
	/*
	 * Last response byte, or when the exchange ended without one; of a
	 * server, when its write returned.
	 */
	uint64_t end_ns;
	uint64_t request_bytes; /* body as transferred */
	uint64_t response_bytes; /* body as transferred */
};

#endif /* PROBE_AGENT_HTTP_EXCHANGE_H */
