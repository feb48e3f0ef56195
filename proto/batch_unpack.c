/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/batch_unpack.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "proto/batch_columns.h"
#include "proto/limits.h"
#include "proto/wire.h"

#define STRINGS_START 32u

/* Field numbers of Batch. */
enum {
	AGENT = 1,
	EPOCH,
	SEQUENCE,
	BASE_US,
	STRINGS,
	RESOURCES,
	SERIES,
	EVENTS,
	ROLLUPS,
	LOSSES,
	INFO,
	FIRST_SEQUENCE,
};

struct unpacking {
	struct batch_arena *arena, *columns;
	struct batch_columns_memory mem; /* the arena's */
	Redtap__Batch *batch;
	size_t room; /* for strings in the batch's array */
};

/* The string with a NUL behind it; its length is that of the memory, less 1. */
static int take_string(struct unpacking *u, const struct wire_field *f,
		       char **out)
{
	char *s;

	if (f->type != WIRE_BYTES)
		return -ENOTSUP;
	s = batch_arena_alloc(u->arena, (size_t)f->value + 1);
	if (!s)
		return -ENOTSUP;
	memcpy(s, f->data, (size_t)f->value);
	s[f->value] = '\0';
	*out = s;
	return 0;
}

/* One more of the batch's strings. */
static int take_next_string(struct unpacking *u, const struct wire_field *f)
{
	Redtap__Batch *m = u->batch;

	if (m->n_strings == u->room) {
		size_t room = u->room ? 2 * u->room : STRINGS_START;
		char **more = batch_arena_alloc(u->arena, room * sizeof(*more));

		if (!more || m->n_strings >= LIMIT_STRINGS)
			return -ENOTSUP;
		if (m->n_strings > 0)
			memcpy(more, m->strings, m->n_strings * sizeof(*more));
		m->strings = more;
		u->room = room;
	}
	return take_string(u, f, &m->strings[m->n_strings++]);
}

static int take_number(const struct wire_field *f, enum wire_type type,
		       uint64_t *out)
{
	*out = f->value;
	return f->type == type ? 0 : -ENOTSUP;
}

/* --- tables whose columns are all numbers of 32 bits --- */

struct table {
	size_t columns; /* fields 1 to columns */
	size_t n, values; /* offsets of the first column's members */
	size_t stride; /* from one column to the next */
};

#define TABLE(type, first, columns)                                            \
	{                                                                      \
		columns, offsetof(type, n_##first), offsetof(type, first),     \
			sizeof(size_t) + sizeof(uint32_t *)                    \
	}

#define LAST_COLUMN(type, first, last, columns)                                \
	static_assert(offsetof(type, last) ==                                  \
			      offsetof(type, first) +                          \
				      ((columns)-1) * (sizeof(size_t) +        \
						       sizeof(uint32_t *)),    \
		      "columns follow one another")
static_assert(sizeof(Redtap__Resources) ==
		      offsetof(Redtap__Resources, n_service) +
			      RESOURCE_N *
				      (sizeof(size_t) + sizeof(uint32_t *)),
	      "all columns of a resource follow one another");
LAST_COLUMN(Redtap__Series, resource, rpc_status, 13);

static int take_table(struct unpacking *u, const struct wire_field *field,
		      const struct table *t, void *message)
{
	struct wire_reader r = { field->data, field->data + field->value };
	struct wire_field f = { 0 };
	size_t rows = 0;

	while (r.p < r.end) {
		char *at = message;
		uint32_t **values;
		size_t *n;
		int err;

		if (!wire_next(&r, &f))
			return -ENOTSUP;
		if (f.id > t->columns)
			return -ENOTSUP; /* a column of tomorrow */
		at += (f.id - 1) * t->stride;
		n = (size_t *)(void *)(at + t->n);
		values = (uint32_t **)(void *)(at + t->values);
		err = batch_columns_u32(&f, &u->mem, rows, n, values);
		if (err)
			return err;
		rows = *n;
	}
	return 0;
}

static int take_resources(struct unpacking *u, const struct wire_field *f)
{
	static const struct table table =
		TABLE(Redtap__Resources, service, RESOURCE_N);
	static const Redtap__Resources none = REDTAP__RESOURCES__INIT;
	Redtap__Resources *m = batch_arena_alloc(u->arena, sizeof(*m));

	if (!m || f->type != WIRE_BYTES || u->batch->resources)
		return -ENOTSUP;
	*m = none;
	u->batch->resources = m;
	return take_table(u, f, &table, m);
}

static int take_series(struct unpacking *u, const struct wire_field *f)
{
	static const struct table table = TABLE(Redtap__Series, resource, 13);
	static const Redtap__Series none = REDTAP__SERIES__INIT;
	Redtap__Series *m = batch_arena_alloc(u->arena, sizeof(*m));

	if (!m || f->type != WIRE_BYTES || u->batch->series)
		return -ENOTSUP;
	*m = none;
	u->batch->series = m;
	return take_table(u, f, &table, m);
}

/* --- the other messages of a batch --- */

static int take_events(struct unpacking *u, const struct wire_field *f)
{
	Redtap__Events *m = batch_arena_alloc(u->arena, sizeof(*m));

	if (!m || f->type != WIRE_BYTES || u->batch->events)
		return -ENOTSUP;
	u->batch->events = m;
	return batch_columns_events(f->data, (size_t)f->value, m,
				    batch_arena_alloc, u->columns);
}

static int loss_field(struct unpacking *u, Redtap__Losses *m,
		      const struct wire_field *f)
{
	switch (f->id) {
	case 1:
		return take_number(f, WIRE_VARINT, &m->captured);
	case 2:
		return take_number(f, WIRE_VARINT, &m->packed);
	case 3:
		return batch_columns_u64(f, &u->mem, 0, &m->n_dropped,
					 &m->dropped);
	case 4:
		return take_number(f, WIRE_VARINT, &m->rolled_up);
	case 5:
		return batch_columns_u64(f, &u->mem, 0, &m->n_counters,
					 &m->counters);
	case 6:
		return batch_columns_u64(f, &u->mem, 0, &m->n_gauges,
					 &m->gauges);
	case 7:
		return batch_columns_u64(f, &u->mem, 0, &m->n_gaps, &m->gaps);
	default:
		return -ENOTSUP; /* a field of tomorrow */
	}
}

static int take_losses(struct unpacking *u, const struct wire_field *field)
{
	static const Redtap__Losses none = REDTAP__LOSSES__INIT;
	struct wire_reader r;
	struct wire_field f = { 0 };
	Redtap__Losses *m = batch_arena_alloc(u->arena, sizeof(*m));

	if (!m || field->type != WIRE_BYTES || u->batch->losses)
		return -ENOTSUP;
	*m = none;
	u->batch->losses = m;
	r = (struct wire_reader){ field->data, field->data + field->value };
	while (r.p < r.end) {
		int err = wire_next(&r, &f) ? loss_field(u, m, &f) : -ENOTSUP;

		if (err)
			return err;
	}
	return 0;
}

/* Rare: by protobuf-c, but without what is around them. */
static int take_rollups(struct unpacking *u, const struct wire_field *f)
{
	if (f->type != WIRE_BYTES || u->batch->rollups)
		return -ENOTSUP;
	u->batch->rollups = redtap__rollups__unpack(&u->arena->allocator,
						    (size_t)f->value, f->data);
	return u->batch->rollups ? 0 : -ENOTSUP;
}

static int take_info(struct unpacking *u, const struct wire_field *f)
{
	if (f->type != WIRE_BYTES || u->batch->info)
		return -ENOTSUP;
	u->batch->info = redtap__info__unpack(&u->arena->allocator,
					      (size_t)f->value, f->data);
	return u->batch->info ? 0 : -ENOTSUP;
}

/* --- the batch --- */

static int batch_field(struct unpacking *u, const struct wire_field *f)
{
	Redtap__Batch *m = u->batch;
	uint64_t base_us;
	int err;

	switch (f->id) {
	case AGENT:
		return take_string(u, f, &m->agent);
	case EPOCH:
		return take_number(f, WIRE_FIXED64, &m->epoch);
	case SEQUENCE:
		return take_number(f, WIRE_VARINT, &m->sequence);
	case BASE_US:
		err = take_number(f, WIRE_FIXED64, &base_us);
		m->base_us = (int64_t)base_us;
		return err;
	case STRINGS:
		return take_next_string(u, f);
	case RESOURCES:
		return take_resources(u, f);
	case SERIES:
		return take_series(u, f);
	case EVENTS:
		return take_events(u, f);
	case ROLLUPS:
		return take_rollups(u, f);
	case LOSSES:
		return take_losses(u, f);
	case INFO:
		return take_info(u, f);
	case FIRST_SEQUENCE:
		return take_number(f, WIRE_VARINT, &m->first_sequence);
	default:
		return -ENOTSUP; /* a field of tomorrow */
	}
}

Redtap__Batch *batch_unpack(struct batch_arena *a, struct batch_arena *columns,
			    const uint8_t *data, size_t len)
{
	static const Redtap__Batch none = REDTAP__BATCH__INIT;
	struct unpacking u = { .arena = a,
			       .columns = columns,
			       .mem = { batch_arena_alloc, a },
			       .batch =
				       batch_arena_alloc(a, sizeof(*u.batch)) };
	struct wire_reader r = { data, data + len };
	struct wire_field f = { 0 };

	if (!u.batch)
		return NULL;
	*u.batch = none;
	while (r.p < r.end)
		if (!wire_next(&r, &f) || batch_field(&u, &f))
			return NULL;
	return u.batch;
}

int batch_peek(const void *data, size_t len, struct batch_peek *out)
{
	struct wire_reader r = { data, (const uint8_t *)data + len };
	struct wire_field f = { 0 };

	*out = (struct batch_peek){ .agent = "" };
	while (r.p < r.end) {
		if (!wire_next(&r, &f))
			return -EPROTO;
		if (f.id == AGENT && f.type == WIRE_BYTES) {
			out->agent = (const char *)f.data;
			out->agent_len = (size_t)f.value;
		} else if (f.id == EPOCH && f.type == WIRE_FIXED64) {
			out->epoch = f.value;
		} else if (f.id == SEQUENCE && f.type == WIRE_VARINT) {
			out->sequence = f.value;
		} else if (f.id == BASE_US && f.type == WIRE_FIXED64) {
			out->base_us = (int64_t)f.value;
		} else if (f.id == FIRST_SEQUENCE && f.type == WIRE_VARINT) {
			out->first_sequence = f.value;
		}
	}
	if (out->first_sequence == 0)
		out->first_sequence = out->sequence;
	return 0;
}
