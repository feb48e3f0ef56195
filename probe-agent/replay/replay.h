/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_REPLAY_REPLAY_H
#define PROBE_AGENT_REPLAY_REPLAY_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "probe-agent/outbox/uplink.h"
#include "probe-agent/replay/backfill.h"
#include "probe-agent/replay/import.h"
#include "probe-agent/replay/replay_streams.h"

/*
 * The inside of `redtap-agent replay`: replay.c has the flags and the files,
 * replay_open.c makes traces of them, replay_send.c sends their batches and
 * draws the progress bar. One thread.
 */

#define REPLAY_FILES_MAX 256

struct replay {
	/* From the flags. */
	const char *file[REPLAY_FILES_MAX];
	size_t n_files;
	struct uplink_options uplink_options;
	double speed; /* 0: as fast as possible */
	const char *as, *backfill_file;
	bool shift;
	uint64_t wait_ms; /* without a reply, until it gives up */
	struct import_options import;
	/* For all files. */
	struct uplink *uplink;
	struct backfill *backfill;
	bool bar;
	/* For the current file. */
	const char *name;
	const char *problem; /* why it could not be imported; static */
	struct replay_streams plan;
	uint64_t batches, requests; /* sent and counted now */
	uint64_t known_batches, known_requests; /* counted earlier */
	uint64_t refused_requests;
	uint64_t start_ns, bar_ns;
};

/* Set by a signal: the replay ends, and can be continued later. */
extern volatile sig_atomic_t replay_interrupted;

/*
 * Sends one batch of the file when it is due, unless it is known to be counted.
 * -EINTR: a signal. -EBUSY: another agent has this id. -ETIMEDOUT: no reply.
 * After any error the caller gives up.
 */
int replay_send(struct replay *r, const struct batch *b, const void *data,
		size_t len);

/*
 * Opens the current file as a trace, imported if it is none. The caller closes
 * *out. Negative errno: r->problem may say more.
 */
int replay_open(struct replay *r, FILE **out);

/* Draws the bar if stderr is a terminal, at most every 200 ms unless last. */
void replay_draw(struct replay *r, bool last);

#endif /* PROBE_AGENT_REPLAY_REPLAY_H */
