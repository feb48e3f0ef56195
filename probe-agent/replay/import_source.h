/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_REPLAY_IMPORT_SOURCE_H
#define PROBE_AGENT_REPLAY_IMPORT_SOURCE_H

#include <stddef.h>
#include <stdio.h>

/*
 * The bytes of a file that another program wrote, as text in UTF-8: a byte
 * order mark is left out, UTF-16 with a mark is converted. Memory is one buffer
 * of IMPORT_LINE_MAX bytes, whatever the file holds. Not locked.
 */
struct import_source;

#define IMPORT_LINE_MAX (1u << 20)

/*
 * Sets *out, released by import_source_free(). in is borrowed and read from its
 * position on. -ENOMEM, -EIO.
 */
int import_source_new(struct import_source **out, FILE *in);
void import_source_free(struct import_source *s); /* NULL is fine */

/*
 * Returns the beginning of the text without consuming it: at most
 * IMPORT_LINE_MAX bytes, all of them if the file is shorter. Only before the
 * first line or part was taken.
 */
const char *import_source_sample(const struct import_source *s, size_t *len);

/* Names what the file was compressed with. NULL: not compressed. Static. */
const char *import_source_packed(const struct import_source *s);

/*
 * Takes the next line, NUL-terminated, without its end; valid until the next
 * call. Returns 1. 0: the file ended. -EMSGSIZE: a line over IMPORT_LINE_MAX
 * was skipped. -EIO.
 */
int import_source_line(struct import_source *s, char **line, size_t *len);

/* Takes the next part of the text. Returns 1. 0: the file ended. -EIO. */
int import_source_part(struct import_source *s, const char **data, size_t *len);

#endif /* PROBE_AGENT_REPLAY_IMPORT_SOURCE_H */
