/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_RELOAD_H
#define PROBE_AGENT_RELOAD_H

#include <stdint.h>

#include "common/cli.h"
#include "probe-agent/config/config.h"

/*
 * The uplink of an agent and the configuration that it uses. Both can be
 * replaced while capture goes on: by SIGHUP, or because certificates were
 * renewed in place. What is wrong leaves the old in force. Loop thread only.
 */
struct outbox;
struct last_words;
struct uplink;

struct reload {
	struct agent_config *cfg; /* to, tls and flush_ms are in force */
	struct agent_config *first; /* of the start, and the caller's */
	const struct cli_settings *flags;
	struct outbox *outbox;
	struct last_words *last_words;
	struct uplink *uplink; /* NULL: none until the next try */
	uint64_t certificates, stamped_ns; /* see file_stamp.h, and when */
};

/* Borrows all arguments. */
void reload_init(struct reload *r, struct agent_config *cfg,
		 const struct cli_settings *flags);
void reload_fini(struct reload *r); /* all zero is fine */

/* Starts the uplink. Errors of uplink_start(). */
int reload_start(struct reload *r, struct outbox *ob, struct last_words *lw);
/* Stops the uplink; see uplink_stop(). */
void reload_stop(struct reload *r, uint32_t drain_ms);

/*
 * Opens an uplink and closes it again: address, certificates and key can be
 * used. Negative errno, logged.
 */
int reload_try(const struct agent_config *cfg);

/*
 * Loads the configuration again. What can't change before a restart is named in
 * the log.
 */
void reload_now(struct reload *r);
/* Starts the uplink anew if it has to be; call it often. */
void reload_check(struct reload *r, uint64_t now_ns);

#endif /* PROBE_AGENT_RELOAD_H */
