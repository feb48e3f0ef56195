/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/h2_state.h"

#include <string.h>

/*
 * An open hash with linear probing. Streams are numbered in steps of two, so
 * that those of one side fill neighbouring slots.
 */

#define ROOM_FIRST 8u

static uint32_t home(const struct h2_streams *t, uint32_t id)
{
	return (id >> 1) & (t->room - 1);
}

static uint32_t next_slot(const struct h2_streams *t, uint32_t i)
{
	return (i + 1) & (t->room - 1);
}

/* The slot that has id, or the free one where it belongs. */
static uint32_t slot_of(const struct h2_streams *t, uint32_t id)
{
	uint32_t i = home(t, id);

	while (t->slots[i] && t->slots[i]->id != id)
		i = next_slot(t, i);
	return i;
}

struct h2_stream *h2_stream_find(const struct h2 *h, uint32_t id)
{
	struct h2_stream *s = NULL;

	if (h->streams.n)
		s = h->streams.slots[slot_of(&h->streams, id)];
	return s && !s->held ? s : NULL;
}

static bool set_room(struct h2 *h, uint32_t room)
{
	struct h2_streams old = h->streams;

	h->streams.slots = h2_alloc(h->env, room * sizeof(*old.slots));
	if (!h->streams.slots) {
		h->streams = old;
		return false;
	}
	memset(h->streams.slots, 0, room * sizeof(*old.slots));
	h->streams.room = room;
	for (uint32_t i = 0; i < old.room; i++)
		if (old.slots[i])
			h->streams
				.slots[slot_of(&h->streams, old.slots[i]->id)] =
				old.slots[i];
	h2_release(h->env, old.slots, old.room * sizeof(*old.slots));
	return true;
}

static size_t text_bytes(const struct slice text[H2_TEXTS])
{
	size_t n = 0;

	for (int t = 0; text && t < H2_TEXTS; t++)
		n += text[t].len;
	return n;
}

static void copy_text(struct h2_stream *s, const struct slice text[H2_TEXTS])
{
	char *to = s->text;

	for (int t = 0; text && t < H2_TEXTS; t++) {
		if (text[t].len)
			memcpy(to, text[t].data, text[t].len);
		to += text[t].len;
		s->len[t] = (uint16_t)text[t].len;
	}
}

struct slice h2_stream_text(const struct h2_stream *s, enum h2_text t)
{
	const char *from = s->text;

	for (int i = 0; i < (int)t; i++)
		from += s->len[i];
	return (struct slice){ from, s->len[t] };
}

struct h2_stream *h2_stream_add(struct h2 *h, uint32_t id,
				const struct slice text[H2_TEXTS])
{
	struct h2_streams *t = &h->streams;
	size_t size = sizeof(struct h2_stream) + text_bytes(text);
	struct h2_stream *s;

	if (t->n >= h->env->opt.max_streams)
		return NULL;
	/* A quarter stays free. */
	if (4 * (t->n + 1) > 3 * t->room &&
	    !set_room(h, t->room ? 2 * t->room : ROOM_FIRST))
		return NULL;
	s = h2_alloc(h->env, size);
	if (!s)
		return NULL;
	memset(s, 0, sizeof(*s));
	s->id = id;
	s->size = (uint32_t)size;
	copy_text(s, text);
	t->slots[slot_of(t, id)] = s;
	t->n++;
	return s;
}

struct h2_stream *h2_stream_set_text(struct h2 *h, struct h2_stream *s,
				     const struct slice text[H2_TEXTS])
{
	size_t size = sizeof(*s) + text_bytes(text);
	struct h2_stream *grown = h2_alloc(h->env, size);

	if (!grown)
		return NULL;
	*grown = *s;
	grown->size = (uint32_t)size;
	copy_text(grown, text);
	h->streams.slots[slot_of(&h->streams, s->id)] = grown;
	h2_release(h->env, s, s->size);
	return grown;
}

static void stream_free(struct h2 *h, struct h2_stream *s)
{
	h2_release(h->env, s->body, sizeof(*s->body));
	h2_release(h->env, s, s->size);
}

void h2_stream_remove(struct h2 *h, struct h2_stream *s)
{
	struct h2_streams *t = &h->streams;
	uint32_t hole = slot_of(t, s->id), i = hole;

	stream_free(h, s);
	t->n--;
	/* Those behind it move up, unless that is before their home. */
	for (;;) {
		i = next_slot(t, i);
		if (!t->slots[i])
			break;
		if (((i - home(t, t->slots[i]->id)) & (t->room - 1)) <
		    ((i - hole) & (t->room - 1)))
			continue;
		t->slots[hole] = t->slots[i];
		hole = i;
	}
	t->slots[hole] = NULL;
	/* What a burst took is given back after it. */
	if (!t->n && t->room > ROOM_FIRST)
		h2_stream_free_all(h);
}

void h2_stream_each(struct h2 *h,
		    void (*fn)(struct h2 *h, struct h2_stream *s, void *arg),
		    void *arg)
{
	uint32_t i = 0;

	while (i < h->streams.room) {
		struct h2_stream *s = h->streams.slots[i];

		if (s)
			fn(h, s, arg);
		/* One that was removed made room for the next. */
		if (i >= h->streams.room || !s || h->streams.slots[i] == s)
			i++;
	}
}

void h2_stream_free_all(struct h2 *h)
{
	struct h2_streams *t = &h->streams;

	for (uint32_t i = 0; i < t->room; i++)
		if (t->slots[i])
			stream_free(h, t->slots[i]);
	h2_release(h->env, t->slots, t->room * sizeof(*t->slots));
	*t = (struct h2_streams){ 0 };
}

size_t h2_open_streams(const struct h2 *h)
{
	size_t n = 0;

	for (uint32_t i = 0; i < h->streams.room; i++) {
		const struct h2_stream *s = h->streams.slots[i];

		n += s && s->requested && !s->held && !s->tunnel;
	}
	return n;
}
