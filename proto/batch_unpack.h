/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_BATCH_UNPACK_H
#define PROTO_BATCH_UNPACK_H

#include <stddef.h>
#include <stdint.h>

#include "proto/batch_arena.h"
#include "proto/redtap.pb-c.h"

/*
 * Unpacks a batch as protobuf-c would, in half of the instructions if it is
 * small: most of those are for the tables around the events. Understands what
 * batch_encode() writes, in any order of fields, and no other fields, so that
 * none is left out by mistake. Private to batch.c.
 *
 * Returns NULL: encoded in another way, malformed, or out of memory. Then the
 * caller must use protobuf-c, whose word counts. The events' columns come from
 * the arena columns, all else from a.
 */
Redtap__Batch *batch_unpack(struct batch_arena *a, struct batch_arena *columns,
			    const uint8_t *data, size_t len);

#endif /* PROTO_BATCH_UNPACK_H */
