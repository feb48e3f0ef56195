/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_PRIVILEGES_H
#define PROBE_AGENT_PRIVILEGES_H

#include <stdbool.h>

/*
 * Gives up, for this thread and those it starts later, all capabilities but
 * those for probes that come later (CAP_BPF, CAP_PERFMON; CAP_SYS_ADMIN where
 * the kernel is too old to know them, or if uprobes are to come: attaching one
 * asks for it, measured on 6.18, and so does opening a mapped file) and for
 * reading who a process is (CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH), and the right
 * to ever gain any. Call it once the hooks are attached and before any thread
 * is started. Negative errno, said in the log: everything is as it was, or more
 * is gone than that.
 */
int privileges_drop(bool uprobes);

#endif /* PROBE_AGENT_PRIVILEGES_H */
