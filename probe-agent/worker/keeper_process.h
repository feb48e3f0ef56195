/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_WORKER_KEEPER_PROCESS_H
#define PROBE_AGENT_WORKER_KEEPER_PROCESS_H

#include "probe-agent/worker/keeper.h"

/* The keeper's process, for keeper.c only: forks workers, waits for them. */

/* Sent with the agent's end of each worker's socket. */
struct keeper_process_news {
	uint32_t quarantined; /* programs */
};

/* Forks it. Returns the agent's end of its socket, or negative errno. */
int keeper_process_start(const struct keeper_options *opt, int *process);
/* *fd: a new worker's. -EAGAIN: no news; -EPIPE: the keeper is gone. */
int keeper_process_receive(int control, struct keeper_process_news *out,
			   int *fd);
/* From now on, it starts no other worker. */
void keeper_process_stop(int control);

#endif /* PROBE_AGENT_WORKER_KEEPER_PROCESS_H */
