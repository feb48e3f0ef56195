/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_PRIVILEGES_H
#define PROBE_AGENT_PRIVILEGES_H

/*
 * Gives up, for this thread and those it starts later, all capabilities but
 * those for probes that come later (CAP_BPF, CAP_PERFMON; CAP_SYS_ADMIN where
 * the kernel is too old to know them) and for reading who a process is
 * (CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH), and the right to ever gain any. Call
 * it once the hooks are attached and before any thread is started. Negative
 * errno, said in the log: everything is as it was, or more is gone than that.
 */
int privileges_drop(void);

#endif /* PROBE_AGENT_PRIVILEGES_H */
