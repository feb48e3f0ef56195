/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_WORKER_BPF_LOG_H
#define PROBE_AGENT_WORKER_BPF_LOG_H

#include <stdbool.h>
#include <stddef.h>

/*
 * What libbpf and the kernel's verifier say while objects are loaded and
 * attached. One for the process, as libbpf has it; one thread.
 */

void bpf_log_install(void); /* from now on, libbpf's words are kept */
void bpf_log_clear(void);

/* All of it since the last clear; its middle is left out if it is long. */
const char *bpf_log_text(void);
/* The line that tells most: the verifier's last, or libbpf's last warning. */
void bpf_log_reason(char *out, size_t size);
/* Which program was not loaded. False: it was not about one program. */
bool bpf_log_failed_program(char *out, size_t size);

#endif /* PROBE_AGENT_WORKER_BPF_LOG_H */
