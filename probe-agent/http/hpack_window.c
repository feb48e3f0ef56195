/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/hpack_window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY_OVERHEAD_BYTES 32u /* of an entry, by RFC 7541, section 4.1 */
#define TABLE_DEFAULT_BYTES 4096u
#define TABLE_MAX_BYTES 65536u /* of a larger table the newest part is kept */
#define ENTRIES_FIRST 8u
#define VALUES_FIRST_BYTES 128u

void hpack_window_init(struct hpack_window *w, struct hpack_budget *budget,
		       bool whole)
{
	*w = (struct hpack_window){ .budget = budget,
				    .table_bytes = TABLE_DEFAULT_BYTES,
				    .whole = whole };
}

static size_t window_bytes(const struct hpack_window *w)
{
	return w->n_entries * sizeof(*w->entries) + w->n_values;
}

void hpack_window_fini(struct hpack_window *w)
{
	if (w->budget)
		w->budget->used_bytes -= window_bytes(w);
	free(w->entries);
	free(w->values);
	w->entries = NULL;
	w->values = NULL;
	w->n_entries = 0;
	w->kept = 0;
	w->n_values = 0;
}

void hpack_window_reset(struct hpack_window *w)
{
	w->inserted = 0;
	w->kept = 0;
	w->first = w->written;
	w->whole = false;
}

/* Bytes of the encoder's table that the window has to cover. */
static uint32_t covered(const struct hpack_window *w)
{
	if (w->table_bytes < TABLE_DEFAULT_BYTES)
		return TABLE_DEFAULT_BYTES;
	if (w->table_bytes > TABLE_MAX_BYTES)
		return TABLE_MAX_BYTES;
	return w->table_bytes;
}

/* Memory for a ring that grows. NULL: over the budget, or there is none. */
static void *ring_alloc(struct hpack_budget *b, size_t size, size_t more)
{
	void *p = NULL;

	if (b->used_bytes + more <= b->max_bytes)
		p = malloc(size);
	if (p)
		b->used_bytes += more;
	else
		b->refused++;
	return p;
}

/* The i-th newest entry, from 1; i is not beyond the window. */
static struct hpack_entry *entry_at(const struct hpack_window *w, uint64_t i)
{
	return &w->entries[(w->inserted - i) & (w->n_entries - 1u)];
}

static bool value_is_kept(const struct hpack_window *w,
			  const struct hpack_entry *e)
{
	return !e->len || (int32_t)(e->at - w->first) >= 0;
}

static void grow_entries(struct hpack_window *w)
{
	uint32_t n = w->n_entries ? 2u * w->n_entries : ENTRIES_FIRST;
	struct hpack_entry *grown;

	if (w->n_entries * ENTRY_OVERHEAD_BYTES >= covered(w))
		return;
	grown = ring_alloc(w->budget, n * sizeof(*grown),
			   (n - w->n_entries) * sizeof(*grown));
	if (!grown)
		return;
	for (uint32_t i = 1; i <= w->kept; i++)
		grown[(w->inserted - i) & (n - 1)] = *entry_at(w, i);
	free(w->entries);
	w->entries = grown;
	w->n_entries = (uint16_t)n;
}

/* A copy out of the ring of the values, or into it. */
static void ring_read(const struct hpack_window *w, uint32_t at, char *to,
		      size_t len)
{
	size_t from = at & (w->n_values - 1), first = w->n_values - from;

	if (first > len)
		first = len;
	memcpy(to, w->values + from, first);
	memcpy(to + first, w->values, len - first);
}

static void ring_write(struct hpack_window *w, const char *from, size_t len)
{
	size_t to = w->written & (w->n_values - 1), first = w->n_values - to;

	if (first > len)
		first = len;
	memcpy(w->values + to, from, first);
	memcpy(w->values, from + first, len - first);
	w->written += (uint32_t)len;
	if (w->written - w->first > w->n_values)
		w->first = w->written - w->n_values;
}

/* Makes room for len bytes beside those that are in use, if it may. */
static void grow_values(struct hpack_window *w, size_t len)
{
	uint32_t n = w->n_values ? w->n_values : VALUES_FIRST_BYTES;
	uint32_t from = w->first;
	uint32_t kept = w->kept;
	char *grown;

	/* In use are those of the entries that will stay. */
	if (kept == w->n_entries)
		kept--;
	if (kept && (int32_t)(entry_at(w, kept)->at - from) > 0)
		from = entry_at(w, kept)->at;
	while (n < w->written - from + len && n < covered(w))
		n *= 2;
	if (n == w->n_values)
		return;
	grown = ring_alloc(w->budget, n, n - w->n_values);
	if (!grown)
		return;
	for (uint32_t i = from; i != w->written; i++)
		grown[i & (n - 1)] = w->values[i & (w->n_values - 1)];
	free(w->values);
	w->values = grown;
	w->n_values = n;
	w->first = from;
}

void hpack_window_insert(struct hpack_window *w, enum hpack_name name,
			 const char *value, size_t len, bool cut)
{
	struct hpack_entry e = { .at = w->written,
				 .len = (uint16_t)len,
				 .name = (uint8_t)name,
				 .cut = cut };

	if (w->kept == w->n_entries)
		grow_entries(w);
	if (!w->n_entries) {
		hpack_window_reset(w);
		return;
	}
	if (len)
		grow_values(w, len);
	if (len > w->n_values)
		e.at = w->first - 1; /* never kept */
	else if (len)
		ring_write(w, value, len);
	w->inserted++;
	if (w->kept < w->n_entries)
		w->kept++;
	*entry_at(w, 1) = e;
}

void hpack_window_resize(struct hpack_window *w, uint32_t bytes)
{
	w->table_bytes = bytes;
	if (bytes >= ENTRY_OVERHEAD_BYTES)
		return;
	w->inserted = 0; /* no entry fits */
	w->kept = 0;
}

int hpack_window_name(const struct hpack_window *w, uint32_t i)
{
	if (i >= 1 && i <= w->kept)
		return entry_at(w, i)->name;
	return !i || (w->whole && i > w->inserted) ? -EPROTO : HPACK_UNKNOWN;
}

int hpack_window_value(const struct hpack_window *w, uint32_t i, char *out,
		       bool *cut)
{
	const struct hpack_entry *e = entry_at(w, i);

	if (!value_is_kept(w, e))
		return -ENOENT;
	if (e->len)
		ring_read(w, e->at, out, e->len);
	*cut = e->cut;
	return e->len;
}
