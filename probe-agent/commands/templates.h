/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_COMMANDS_TEMPLATES_H
#define PROBE_AGENT_COMMANDS_TEMPLATES_H

#include "common/buf.h"

/* Programs to start from. Pure. */

enum templates_type {
	TEMPLATES_NETWORK,
	TEMPLATES_FILE_SYSTEM,
	TEMPLATES_TYPES,
};
enum templates_map {
	TEMPLATES_RING_BUFFER,
	TEMPLATES_HASH_MAP,
	TEMPLATES_MAPS,
};
enum templates_output {
	TEMPLATES_PRINT,
	TEMPLATES_COUNTER,
	TEMPLATES_GAUGE,
	TEMPLATES_HIST,
	TEMPLATES_OUTPUTS,
};

/* "network", "RingBuffer", "print" …: words of flags. NULL: out of range. */
const char *templates_type_name(unsigned type);
const char *templates_map_name(unsigned map);
const char *templates_output_name(unsigned output);

/* Appends the whole source. -ENOMEM. */
int templates_put(struct buf *out, enum templates_type type,
		  enum templates_map map, enum templates_output output);

#endif /* PROBE_AGENT_COMMANDS_TEMPLATES_H */
