/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_PRIVILEGES_H
#define PROBE_AGENT_PRIVILEGES_H

#include <stdbool.h>

/*
 * Drops, for this thread and those it starts later, the right to gain
 * capabilities, and all capabilities but those needed later: to attach probes
 * (CAP_BPF, CAP_PERFMON; CAP_SYS_ADMIN where the kernel is too old to know
 * them, or with uprobes: attaching one requires it, measured on 6.18, and so
 * does opening a mapped file), and to identify processes (CAP_SYS_PTRACE,
 * CAP_DAC_READ_SEARCH). Call it once the hooks are attached and before any
 * thread is started. 0, or negative errno, logged: then some of this may be
 * done already.
 */
int privileges_drop(bool uprobes);

/*
 * For the worker of user programs: keeps what loading and attaching them needs,
 * reading other processes' files, and the kernel's symbols; with xdp, network
 * interfaces, too. Drops all else, as above.
 */
int privileges_keep_for_programs(bool xdp);

#endif /* PROBE_AGENT_PRIVILEGES_H */
