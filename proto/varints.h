/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_VARINTS_H
#define PROTO_VARINTS_H

#include <stddef.h>
#include <stdint.h>

/*
 * Decodes columns of varints, which are nearly all of a batch. The ends of
 * values are found for 64 bytes at once, so that no value waits for the length
 * of the one before. Lengths are hard to predict: that wait was measured to be
 * most of the cost of decoding. Stateless; any thread.
 */

/* Columns of up to this many bytes are decoded one value at a time. */
#define VARINTS_FEW_BYTES 48u
/*
 * Values beyond room that out must have, since they may be written to; none for
 * few bytes.
 */
#define VARINTS_SLACK (2 * 64u + 8)

/* Counts the values, by the bytes that end one. */
size_t varints_count(const uint8_t *p, size_t len);

/*
 * Decodes len bytes, whose last one must end a value. Returns the number of
 * values. -ENOTSUP: more than room; or a value has more than ten bytes or, in
 * varints_u32(), more than 32 bits. varints_s64() undoes protobuf's zigzag.
 */
int varints_u64(const uint8_t *p, size_t len, uint64_t *out, size_t room);
int varints_s64(const uint8_t *p, size_t len, int64_t *out, size_t room);
int varints_u32(const uint8_t *p, size_t len, uint32_t *out, size_t room);

#endif /* PROTO_VARINTS_H */
