/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/batch_columns.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "proto/wire.h"

#define STOPS 0x8080808080808080u

struct memory {
	batch_columns_alloc_fn alloc;
	void *arg;
};

/* Values in a column: the bytes that end one. */
static size_t count_values(const uint8_t *p, size_t len)
{
	size_t n = 0, i = 0;
	uint64_t w;

	/* Eight at a time; the product adds up the bytes. */
	for (; len - i >= sizeof(w); i += sizeof(w)) {
		memcpy(&w, p + i, sizeof(w));
		n += ((~w & STOPS) >> 7) * 0x0101010101010101u >> 56;
	}
	for (; i < len; i++)
		n += p[i] < 0x80;
	return n;
}

/* One value of up to ten bytes, which do end; NULL: more than ten. */
static const uint8_t *long_value(const uint8_t *p, uint64_t *out)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t c = *p++;

		v |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80) {
			*out = v;
			return p;
		}
	}
	return NULL;
}

/* Groups of 7 bits, a byte each, moved together. */
static inline uint64_t squeeze(uint64_t w)
{
	w &= ~STOPS;
	w = (w & 0x007f007f007f007f) | (w & 0x7f007f007f007f00) >> 1;
	w = (w & 0x00003fff00003fff) | (w & 0x3fff00003fff0000) >> 2;
	return (w & 0x000000000fffffff) | (w & 0x0fffffff00000000) >> 4;
}

/*
 * One value out of eight readable bytes without a branch on its length, which
 * nobody could predict.
 */
static inline const uint8_t *value(const uint8_t *p, uint64_t *out)
{
	uint64_t w, stop;

	memcpy(&w, p, sizeof(w));
	stop = ~w & STOPS;
	if (__builtin_expect(stop == 0, 0))
		return long_value(p, out);
	*out = squeeze(w & (stop ^ (stop - 1)));
	return p + (__builtin_ctzll(stop) >> 3) + 1;
}

static inline bool eight_short(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return (w & STOPS) == 0;
}

/* The loop of all columns; put stores value i, as its type wants it. */
#define DECODE(p, end, v, put)                                                 \
	do {                                                                   \
		size_t i = 0;                                                  \
                                                                               \
		while ((end) - (p) >= 8) {                                     \
			if (eight_short(p)) {                                  \
				for (unsigned k = 0; k < 8; k++, i++) {        \
					(v) = (p)[k];                          \
					put;                                   \
				}                                              \
				(p) += 8;                                      \
				continue;                                      \
			}                                                      \
			(p) = value((p), &(v));                                \
			if ((p) == NULL)                                       \
				return -ENOTSUP;                               \
			put;                                                   \
			i++;                                                   \
		}                                                              \
		while ((p) < (end)) {                                          \
			(p) = long_value((p), &(v));                           \
			if ((p) == NULL)                                       \
				return -ENOTSUP;                               \
			put;                                                   \
			i++;                                                   \
		}                                                              \
	} while (0)

/* Room for the column, whose last value must be whole. */
static int begin(const struct wire_field *f, const struct memory *mem,
		 size_t width, size_t *n, void **out)
{
	if (f->type != WIRE_BYTES || *out != NULL || f->value == 0 ||
	    f->data[f->value - 1] >= 0x80)
		return -ENOTSUP;
	*n = count_values(f->data, (size_t)f->value);
	*out = mem->alloc(mem->arg, *n * width);
	return *out != NULL ? 0 : -ENOTSUP;
}

static int column_u32(const struct wire_field *f, const struct memory *mem,
		      size_t *n, uint32_t **out)
{
	const uint8_t *p, *end;
	uint64_t v = 0, bits = 0;
	void *memory = *out;
	uint32_t *to;
	int err = begin(f, mem, sizeof(*to), n, &memory);

	if (err)
		return err;
	to = *out = memory;
	p = f->data;
	end = p + f->value;
	DECODE(p, end, v, to[i] = (uint32_t)v; bits |= v);
	return bits >> 32 == 0 ? 0 : -ENOTSUP;
}

static int column_u64(const struct wire_field *f, const struct memory *mem,
		      size_t *n, uint64_t **out)
{
	const uint8_t *p, *end;
	void *memory = *out;
	uint64_t v = 0, *to;
	int err = begin(f, mem, sizeof(*to), n, &memory);

	if (err)
		return err;
	to = *out = memory;
	p = f->data;
	end = p + f->value;
	DECODE(p, end, v, to[i] = v);
	return 0;
}

static int column_s64(const struct wire_field *f, const struct memory *mem,
		      size_t *n, int64_t **out)
{
	const uint8_t *p, *end;
	void *memory = *out;
	uint64_t v = 0;
	int64_t *to;
	int err = begin(f, mem, sizeof(*to), n, &memory);

	if (err)
		return err;
	to = *out = memory;
	p = f->data;
	end = p + f->value;
	DECODE(p, end, v, to[i] = (int64_t)(v >> 1 ^ -(v & 1)));
	return 0;
}

static int column_bytes(const struct wire_field *f, ProtobufCBinaryData *out)
{
	if (f->type != WIRE_BYTES || out->data != NULL || f->value == 0)
		return -ENOTSUP;
	out->len = (size_t)f->value;
	out->data = (uint8_t *)(uintptr_t)f->data;
	return 0;
}

static int column(const struct wire_field *f, const struct memory *mem,
		  Redtap__Events *m)
{
	switch (f->id) {
	case 1:
		return column_u32(f, mem, &m->n_series, &m->series);
	case 2:
		return column_s64(f, mem, &m->n_start_delta_us,
				  &m->start_delta_us);
	case 3:
		return column_u64(f, mem, &m->n_duration_us, &m->duration_us);
	case 4:
		return column_u64(f, mem, &m->n_tail_us, &m->tail_us);
	case 5:
		return column_u64(f, mem, &m->n_request_bytes,
				  &m->request_bytes);
	case 6:
		return column_u64(f, mem, &m->n_response_bytes,
				  &m->response_bytes);
	case 7:
		return column_u32(f, mem, &m->n_traced, &m->traced);
	case 8:
		return column_bytes(f, &m->trace_ids);
	case 9:
		return column_u32(f, mem, &m->n_connection, &m->connection);
	case 10:
		return column_bytes(f, &m->connection_local);
	case 11:
		return column_bytes(f, &m->connection_remote);
	default:
		return -ENOTSUP;
	}
}

int batch_columns_events(const uint8_t *data, size_t len, Redtap__Events *m,
			 batch_columns_alloc_fn alloc, void *arg)
{
	static const Redtap__Events none = REDTAP__EVENTS__INIT;
	struct memory mem = { alloc, arg };
	struct wire_reader r = { data, data + len };
	struct wire_field f = { 0 };

	*m = none;
	while (r.p < r.end) {
		int err = wire_next(&r, &f) ? column(&f, &mem, m) : -ENOTSUP;

		if (err)
			return err;
	}
	return 0;
}
