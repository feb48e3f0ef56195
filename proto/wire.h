/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/limits.h"

/*
 * Reads just enough of protobuf's encoding for the two places where protobuf-c
 * would copy or be slow: the envelope, and the columns of the events.
 */
enum wire_type {
	WIRE_VARINT = 0,
	WIRE_FIXED64 = 1,
	WIRE_BYTES = 2,
	WIRE_FIXED32 = 5,
};

struct wire_reader {
	const uint8_t *p, *end;
};

struct wire_field {
	uint32_t id;
	enum wire_type type;
	uint64_t value; /* or the length of data */
	const uint8_t *data; /* borrowed */
};

static inline bool wire_varint(struct wire_reader *r, uint64_t *out)
{
	uint64_t v = 0;

	if (r->p < r->end && *r->p < 0x80) { /* nearly every tag and length */
		*out = *r->p++;
		return true;
	}
	for (unsigned shift = 0; shift < 64 && r->p < r->end; shift += 7) {
		uint8_t c = *r->p++;

		v |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80) {
			*out = v;
			return true;
		}
	}
	return false;
}

static inline bool wire_data(struct wire_reader *r, size_t n,
			     struct wire_field *f)
{
	if (n > (size_t)(r->end - r->p))
		return false;
	f->data = r->p;
	r->p += n;
	return true;
}

/* Reads the next field. False: it is malformed. */
static inline bool wire_next(struct wire_reader *r, struct wire_field *f)
{
	uint64_t tag;

	if (!wire_varint(r, &tag) || tag >> 3 == 0 || tag > UINT32_MAX)
		return false;
	f->id = (uint32_t)(tag >> 3);
	f->type = tag & 7;
	f->value = 0;
	switch (tag & 7) {
	case WIRE_VARINT:
		return wire_varint(r, &f->value);
	case WIRE_FIXED64:
		if (!wire_data(r, 8, f))
			return false;
		memcpy(&f->value, f->data, 8);
		return true;
	case WIRE_BYTES:
		return wire_varint(r, &f->value) &&
		       f->value <= LIMIT_MESSAGE_BYTES &&
		       wire_data(r, (size_t)f->value, f);
	case WIRE_FIXED32:
		return wire_data(r, 4, f);
	default:
		return false; /* groups are not used */
	}
}

#endif /* PROTO_WIRE_H */
