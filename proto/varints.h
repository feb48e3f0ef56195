/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_VARINTS_H
#define PROTO_VARINTS_H

#include <stddef.h>
#include <stdint.h>

/*
 * Columns of varints, which are nearly all of a batch. Where values end is
 * found for 64 bytes at once, so that no value waits for the length of the one
 * before, which nobody could predict: measured, that wait was most of what
 * decoding cost. Stateless; any thread.
 */

/* Places in out beyond room that may be written to. */
#define VARINTS_SLACK (2 * 64u + 8)

/* How many there are: the bytes that end one. */
size_t varints_count(const uint8_t *p, size_t len);

/*
 * The values of len bytes, of which the last ends one, and how many. -ENOTSUP:
 * there are more than room, or one has more than ten bytes, or more than 32
 * bits in varints_u32(). varints_s64() undoes protobuf's zigzag.
 */
int varints_u64(const uint8_t *p, size_t len, uint64_t *out, size_t room);
int varints_s64(const uint8_t *p, size_t len, int64_t *out, size_t room);
int varints_u32(const uint8_t *p, size_t len, uint32_t *out, size_t room);

#endif /* PROTO_VARINTS_H */
