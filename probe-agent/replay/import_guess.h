/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_REPLAY_IMPORT_GUESS_H
#define PROBE_AGENT_REPLAY_IMPORT_GUESS_H

#include <stddef.h>

#include "probe-agent/replay/import.h"

/* Recognises the format of a file by trying each on its first lines. Pure. */

#define IMPORT_GUESS_LINES 1000u

struct import_guess {
	enum import_format format; /* IMPORT_AUTO: none */
	uint64_t lines; /* requests of that format among the first lines */
	const char *problem; /* why none; static */
};

/*
 * text is the beginning of the file, or all of it. -EPROTO: no format, or one
 * whose durations have an unknown unit: *out says which. -ENOMEM.
 */
int import_guess(const char *text, size_t len, struct import_guess *out);

#endif /* PROBE_AGENT_REPLAY_IMPORT_GUESS_H */
