/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TLS_TLS_SHARE_H
#define PROBE_AGENT_TLS_TLS_SHARE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What each owner (tls_owner.h) may take of the places for files with TLS calls
 * and of the thread that finds them. The host's own takes what it needs: of the
 * places some are kept for it, and its time is not counted. Not locked.
 */
struct tls_share;

#define TLS_SHARE_OWNERS 512u /* known apart; more share one entry */

struct tls_share_options {
	uint32_t places; /* in all */
	uint32_t kept; /* of these: for the host only */
	uint32_t each; /* of these: at most, for one owner */
	uint64_t window_ns; /* after which time is counted anew */
	uint64_t time_ns,
		all_time_ns; /* CPU in a window: of one owner, of all */
};

/* Sets *out, released by tls_share_free(). -ENOMEM. */
int tls_share_new(struct tls_share **out, const struct tls_share_options *opt);
void tls_share_free(struct tls_share *s); /* NULL is fine */

/* Takes a place. -ENOSPC: there is none for this owner. */
int tls_share_take(struct tls_share *s, uint64_t owner);
void tls_share_give(struct tls_share *s, uint64_t owner);

/* Adds CPU time that was spent for an owner. */
void tls_share_spend(struct tls_share *s, uint64_t owner, uint64_t ns,
		     uint64_t now_ns);
/* True if no more may be spent for the owner in this window. */
bool tls_share_spent(struct tls_share *s, uint64_t owner, uint64_t now_ns);
/* False: tls_share_spent() is false of all owners. */
bool tls_share_any_spent(struct tls_share *s, uint64_t now_ns);

#endif /* PROBE_AGENT_TLS_TLS_SHARE_H */
