/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/batch_columns.h"

#include <errno.h>

#include "proto/varints.h"
#include "proto/wire.h"

/*
 * Room for the column, whose last value must be whole. All but that of traced
 * events have as many values, so that only the first one is counted. Few values
 * are decoded one by one and need no room beyond the last.
 */
static int begin_column(const struct wire_field *f,
			const struct batch_columns_memory *mem, size_t width,
			size_t *room, void **out)
{
	size_t slack = f->value > VARINTS_FEW_BYTES ? VARINTS_SLACK : 0;

	if (f->type != WIRE_BYTES || *out || f->value == 0 ||
	    f->data[f->value - 1] >= 0x80)
		return -ENOTSUP;
	if (*room == 0)
		*room = varints_count(f->data, (size_t)f->value);
	*out = mem->alloc(mem->arg, (*room + slack) * width);
	return *out ? 0 : -ENOTSUP;
}

#define COLUMN(name, type, scope)                                              \
	scope int batch_columns_##name(const struct wire_field *f,             \
				       const struct batch_columns_memory *mem, \
				       size_t expected, size_t *n, type **out) \
	{                                                                      \
		void *memory = *out;                                           \
		int got = begin_column(f, mem, sizeof(**out), &expected,       \
				       &memory);                               \
                                                                               \
		*out = memory;                                                 \
		if (got == 0)                                                  \
			got = varints_##name(f->data, (size_t)f->value, *out,  \
					     expected);                        \
		*n = got > 0 ? (size_t)got : 0;                                \
		return got < 0 ? got : 0;                                      \
	}
COLUMN(u32, uint32_t, )
COLUMN(u64, uint64_t, )
COLUMN(s64, int64_t, static)

static int column_bytes(const struct wire_field *f, ProtobufCBinaryData *out)
{
	if (f->type != WIRE_BYTES || out->data || f->value == 0)
		return -ENOTSUP;
	out->len = (size_t)f->value;
	out->data = (uint8_t *)(uintptr_t)f->data;
	return 0;
}

static int column(const struct wire_field *f,
		  const struct batch_columns_memory *mem, Redtap__Events *m)
{
	size_t n = m->n_series;

	switch (f->id) {
	case 1:
		return batch_columns_u32(f, mem, n, &m->n_series, &m->series);
	case 2:
		return batch_columns_s64(f, mem, n, &m->n_start_delta_us,
					 &m->start_delta_us);
	case 3:
		return batch_columns_u64(f, mem, n, &m->n_duration_us,
					 &m->duration_us);
	case 4:
		return batch_columns_u64(f, mem, n, &m->n_tail_us, &m->tail_us);
	case 5:
		return batch_columns_u64(f, mem, n, &m->n_request_bytes,
					 &m->request_bytes);
	case 6:
		return batch_columns_u64(f, mem, n, &m->n_response_bytes,
					 &m->response_bytes);
	case 7:
		return batch_columns_u32(f, mem, 0, &m->n_traced, &m->traced);
	case 8:
		return column_bytes(f, &m->trace_ids);
	case 9:
		return batch_columns_u32(f, mem, n, &m->n_connection,
					 &m->connection);
	case 10:
		return column_bytes(f, &m->connection_local);
	case 11:
		return column_bytes(f, &m->connection_remote);
	case 12:
		return batch_columns_u32(f, mem, n, &m->n_stream, &m->stream);
	default:
		return -ENOTSUP;
	}
}

int batch_columns_events(const uint8_t *data, size_t len, Redtap__Events *m,
			 batch_columns_alloc_fn alloc, void *arg)
{
	static const Redtap__Events none = REDTAP__EVENTS__INIT;
	struct batch_columns_memory mem = { alloc, arg };
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
