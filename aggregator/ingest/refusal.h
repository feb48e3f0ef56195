/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_INGEST_REFUSAL_H
#define AGGREGATOR_INGEST_REFUSAL_H

#include <stdint.h>

/*
 * Why a peer is not served: each cause is counted, and the log names the peer's
 * address and what is wrong, once a minute per address and cause. Any thread.
 */
enum refusal {
	/* A connection ends. */
	REFUSAL_CONNECTIONS, /* too many are open */
	REFUSAL_PLAIN, /* it does not speak TLS, but must */
	REFUSAL_TLS, /* the handshake failed otherwise */
	REFUSAL_NO_CERTIFICATE,
	REFUSAL_CERTIFICATE, /* signed by another CA, expired … */
	REFUSAL_HELLO, /* not the request side of REQ/REP */
	REFUSAL_SILENT, /* no message in time */
	REFUSAL_SIZE, /* over LIMIT_MESSAGE_BYTES */
	REFUSAL_SLOW, /* a message that did not arrive in time */
	REFUSAL_RUBBISH, /* too many invalid messages */
	/* A message is refused for good. */
	REFUSAL_MALFORMED,
	REFUSAL_OVERLAP, /* a part of it was counted before */
	/* A message is held back: its sender keeps it and sends it again. */
	REFUSAL_VERSION, /* of the protocol */
	REFUSAL_NAME, /* the certificate is of another agent */
	REFUSAL_TOKEN, /* missing or wrong */
	REFUSAL_CONFLICT, /* two agents with one id */
	REFUSAL_EXPIRED, /* a start that is retired */
	REFUSAL_AHEAD, /* a start in the future */
	REFUSAL_LEAP, /* sequence numbers beyond what was sent */
	REFUSAL_BEHIND, /* … that another sender used */
	REFUSAL_AGENTS, /* too many agents */
	REFUSAL_STARTS, /* too many starts of one agent */
	REFUSAL_MEMORY,
	REFUSALS,
};

/* Returns "connections", "plain" …: a label's value. Static. */
const char *refusal_name(enum refusal cause);

struct refusal_table;

/* Sets *out, released by refusal_free(). -ENOMEM. */
int refusal_new(struct refusal_table **out);
void refusal_free(struct refusal_table *t); /* NULL is fine */

/*
 * Counts it, and logs it unless that address was named for that cause within
 * the last minute. agent may be NULL; detail says what exactly is wrong.
 */
void refusal_tell(struct refusal_table *t, enum refusal cause, const char *peer,
		  const char *agent, const char *detail);

void refusal_counts(struct refusal_table *t, uint64_t out[REFUSALS]);

#endif /* AGGREGATOR_INGEST_REFUSAL_H */
