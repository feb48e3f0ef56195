/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_LINKS_H
#define PROBE_AGENT_LINKS_H

#include <stddef.h>

struct bpf_link;

#define LINKS_MAX 64

/*
 * Detaches n <= LINKS_MAX programs at once and frees their links; entries may
 * be NULL. Each detach waits until all CPUs have left the program, some 50 ms:
 * for all of them together that takes no longer than for one. Any thread.
 */
void links_destroy(struct bpf_link **link, size_t n);

#endif /* PROBE_AGENT_LINKS_H */
