/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_COMMANDS_VERBS_H
#define PROBE_AGENT_COMMANDS_VERBS_H

#include "common/buf.h"
#include "probe-agent/programs/spec.h"

/*
 * The verbs of `redtap-agent program`. Each parses its own flags and returns
 * the exit status: 0, 1: refused or failed, 2: usage.
 */

int verbs_init(int argc, char **argv);
int verbs_build(int argc, char **argv);
int verbs_check(int argc, char **argv);
int verbs_run(int argc, char **argv);
int verbs_add(int argc, char **argv);
int verbs_remove(int argc, char **argv);
int verbs_list(int argc, char **argv);
int verbs_describe(int argc, char **argv);
int verbs_top(int argc, char **argv);
int verbs_maps(int argc, char **argv);

/* --- shared (verbs.c) --- */

/*
 * Reads what a person named: an object, a file of programs, or a source, which
 * is compiled into a temporary object first. 0, or the exit status; printed.
 */
int verbs_specs(const char *what, struct spec **out, size_t *n);

/* --- the running agent (verbs_talk.c) --- */

#define VERBS_SOCKET "/run/redtap/programs.sock"
/* Connects; negative errno: no agent with programs runs. */
int verbs_connect(const char *socket_path);
/* Sends a line and reads the whole answer. Negative errno. */
int verbs_ask(const char *socket_path, const char *line, struct buf *out);

#endif /* PROBE_AGENT_COMMANDS_VERBS_H */
