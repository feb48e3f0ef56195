/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TAP_RECORDING_H
#define PROBE_AGENT_TAP_RECORDING_H

#include <stddef.h>
#include <stdint.h>

/*
 * A file of tap records, to feed the engine with later and without root. Holds
 * request heads verbatim: treat it like the traffic itself. Not locked: one
 * thread per reader or writer.
 *
 *    0   8  "redtap\r\n"
 *    8   4  version of this format, little endian: 1
 *   12   4  sizeof(struct tap_rec_data), to check the layout of records
 *   16   …  records: length (4 bytes, little endian), that many bytes as in
 *           bpf/tap.h, and zeros up to a multiple of 8
 */

#define RECORDING_RECORD_MAX (128u << 10)

struct recording_writer;
struct recording_reader;

/* Sets *out, released by recording_close(). -EEXIST: never overwrites. */
int recording_create(struct recording_writer **out, const char *path);
/*
 * Appends one record, buffered. Returns 0; -EMSGSIZE: len is 0 or more than
 * RECORDING_RECORD_MAX; or the error of a write, which all later calls return,
 * too: the file then ends with a whole record.
 */
int recording_write(struct recording_writer *w, const void *rec, size_t len);
/* Writes what is buffered and frees w. 0, or the first write error. NULL: 0. */
int recording_close(struct recording_writer *w);

/*
 * Sets *out, released by recording_reader_free(). -EPROTO if it is not a
 * recording, -ENOTSUP if of another version or layout.
 */
int recording_open(struct recording_reader **out, const char *path);
void recording_reader_free(struct recording_reader *r); /* NULL is fine */

/*
 * Lends the next record, aligned to 8 bytes, until the next call. Returns 1; 0
 * at the end; -EPROTO where the file is damaged or cut, and from then on. All
 * records lent before were whole.
 */
int recording_read(struct recording_reader *r, const void **rec, size_t *len);
/* Where the next record begins in the file, or where the damage is. */
uint64_t recording_offset(const struct recording_reader *r);

#endif /* PROBE_AGENT_TAP_RECORDING_H */
