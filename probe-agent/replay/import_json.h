/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_REPLAY_IMPORT_JSON_H
#define PROBE_AGENT_REPLAY_IMPORT_JSON_H

#include "probe-agent/replay/import.h"

/* JSON lines: one object a line, in one of several vocabularies. */

/*
 * What the reader of a file's lines needs: the names of the fields of a format,
 * and the values of the current line. Sets *out, released by
 * import_json_free(). map renames fields of IMPORT_JSON; NULL: none. -EINVAL:
 * map. -ENOMEM.
 */
int import_json_new(struct import_json **out, enum import_format format,
		    const char *map);
void import_json_free(struct import_json *j); /* NULL is fine */

#endif /* PROBE_AGENT_REPLAY_IMPORT_JSON_H */
