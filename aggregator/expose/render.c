/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/expose/render.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "aggregator/expose/process.h"
#include "aggregator/expose/render_stream.h"
#include "common/clock.h"

/* Rendering may use 1 / BUSY_SHARE of a core before stale ones are shared. */
#define BUSY_SHARE 3
/* The credit of rendering time that a quiet period can save up. */
#define BUSY_BURST_NS (2 * CLOCK_NS_PER_S)

struct rendering {
	struct render *owner;
	struct rendering *older, *newer; /* list of all renderings */
	unsigned refs; /* owner->lock */
	bool cached; /* in a slot; owner->lock */
	uint64_t taken_ns; /* just before its snapshot was taken */
	size_t len;
	struct render_stream *stream; /* if in pieces; then data is NULL */
	enum expose_format format; /* set only if in pieces */
	pthread_mutex_t lock; /* guards data */
	char *data; /* NULL: cut off */
};

struct slot {
	pthread_mutex_t busy; /* held while rendering */
	struct rendering *plain, *gzip; /* owner->lock */
	size_t last_len;
};

/* Lock order: slot.busy, render.lock, rendering.lock. */
struct render {
	struct render_options opt;
	struct slot slot[EXPOSE_FORMATS];
	pthread_mutex_t lock;
	struct rendering *oldest, *newest;
	size_t held_bytes, largest;
	unsigned streams;
	struct metrics_self self; /* counters of render.c; lock */
	int64_t credit_ns; /* rendering time left, see flooded(); lock */
	uint64_t credit_at_ns;
};

int render_new(struct render **out, const struct render_options *options)
{
	struct render *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->opt = *options;
	if (!r->opt.budget_bytes)
		r->opt.budget_bytes = RENDER_BUDGET_BYTES;
	if (!r->opt.keep_bytes)
		r->opt.keep_bytes = RENDER_KEEP_BYTES;
	pthread_mutex_init(&r->lock, NULL);
	for (unsigned i = 0; i < EXPOSE_FORMATS; i++)
		pthread_mutex_init(&r->slot[i].busy, NULL);
	r->credit_ns = BUSY_BURST_NS;
	r->credit_at_ns = clock_mono_ns();
	*out = r;
	return 0;
}

/* Frees the data; readers then get -ESTALE. Call with owner->lock held. */
static void cut(struct rendering *g)
{
	pthread_mutex_lock(&g->lock);
	if (g->data)
		g->owner->held_bytes -= g->len;
	free(g->data);
	g->data = NULL;
	pthread_mutex_unlock(&g->lock);
}

/* Gives one reference up; the last one frees g. Call with owner->lock held. */
static void drop_rendering(struct rendering *g)
{
	struct render *r;

	if (!g || --g->refs)
		return;
	r = g->owner;
	cut(g);
	*(g->older ? &g->older->newer : &r->oldest) = g->newer;
	*(g->newer ? &g->newer->older : &r->newest) = g->older;
	pthread_mutex_destroy(&g->lock);
	free(g);
}

void rendering_rele(struct rendering *g)
{
	struct render *r;

	struct render_stream *stream;

	if (!g)
		return;
	r = g->owner;
	stream = g->stream; /* has this one reader only */
	pthread_mutex_lock(&r->lock);
	r->streams -= stream != NULL;
	drop_rendering(g);
	pthread_mutex_unlock(&r->lock);
	render_stream_free(stream);
}

void render_free(struct render *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	for (unsigned i = 0; i < EXPOSE_FORMATS; i++) {
		drop_rendering(r->slot[i].plain);
		drop_rendering(r->slot[i].gzip);
		pthread_mutex_destroy(&r->slot[i].busy);
	}
	pthread_mutex_unlock(&r->lock);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

/*
 * Makes a rendering of data, which it empties, and caches it in *slot. Returns
 * it with one reference for the caller. NULL: out of memory.
 */
static struct rendering *publish(struct render *r, struct rendering **slot,
				 struct buf *data, uint64_t taken_ns)
{
	struct rendering *g = calloc(1, sizeof(*g));
	size_t budget = r->opt.budget_bytes;

	if (!g)
		return NULL;
	g->data = buf_take(data, &g->len);
	if (!g->data) {
		free(g);
		return NULL;
	}
	g->owner = r;
	g->refs = 2;
	g->cached = true;
	g->taken_ns = taken_ns;
	pthread_mutex_init(&g->lock, NULL);
	pthread_mutex_lock(&r->lock);
	if (*slot) {
		(*slot)->cached = false;
		drop_rendering(*slot);
	}
	*slot = g;
	g->older = r->newest;
	*(r->newest ? &r->newest->newer : &r->oldest) = g;
	r->newest = g;
	r->held_bytes += g->len;
	if (g->len > r->largest)
		r->largest = g->len;
	if (budget < 3 * r->largest)
		budget = 3 * r->largest;
	for (struct rendering *o = r->oldest; o && r->held_bytes > budget;
	     o = o->newer)
		if (!o->cached && o->data) {
			r->self.cut_readers += o->refs;
			cut(o);
		}
	pthread_mutex_unlock(&r->lock);
	return g;
}

/*
 * Makes a rendering in pieces. Takes over x, s and the contents of first, even
 * if it fails. -EBUSY: too many of them; -ENOMEM.
 */
static int begin_stream(struct render *r, enum expose_format format,
			struct expose *x, const struct snapshot *s,
			struct buf *first, struct rendering **out)
{
	struct rendering *g = NULL;
	struct render_stream *stream = NULL;
	bool busy;
	int err;

	pthread_mutex_lock(&r->lock);
	busy = r->streams >= RENDER_STREAMS;
	r->streams += !busy;
	pthread_mutex_unlock(&r->lock);
	err = busy ? -EBUSY
		   : render_stream_new(&stream, x, s, r->opt.rele, first);
	if (err < 0) {
		expose_free(x);
		r->opt.rele(s);
	} else {
		g = calloc(1, sizeof(*g));
		err = g ? 0 : -ENOMEM;
	}
	pthread_mutex_lock(&r->lock);
	if (err < 0) {
		r->streams -= !busy;
		r->self.render_failures++;
	} else {
		g->owner = r;
		g->refs = 1;
		g->format = format;
		g->stream = stream;
		pthread_mutex_init(&g->lock, NULL);
		g->older = r->newest;
		*(r->newest ? &r->newest->newer : &r->oldest) = g;
		r->newest = g;
	}
	pthread_mutex_unlock(&r->lock);
	if (err < 0)
		render_stream_free(stream);
	*out = g;
	return err;
}

int rendering_more(struct rendering *g)
{
	struct render *r = g->owner;
	uint64_t start_ns = clock_mono_ns(), took_ns;
	int err = render_stream_more(g->stream);

	took_ns = clock_mono_ns() - start_ns;
	pthread_mutex_lock(&r->lock);
	r->self.render_failures += err < 0;
	r->self.render_us[g->format] += took_ns / CLOCK_NS_PER_US;
	r->credit_ns -= (int64_t)took_ns;
	pthread_mutex_unlock(&r->lock);
	return err;
}

/*
 * Refills the credit by 1 / BUSY_SHARE of the time passed. Returns true if
 * rendering has used it up. Call with r->lock held.
 */
static bool flooded(struct render *r, uint64_t now_ns)
{
	r->credit_ns += (int64_t)((now_ns - r->credit_at_ns) / BUSY_SHARE);
	r->credit_at_ns = now_ns;
	if (r->credit_ns > (int64_t)BUSY_BURST_NS)
		r->credit_ns = BUSY_BURST_NS;
	return r->credit_ns < 0;
}

/*
 * Returns the rendering in *slot, with a reference added, if it is fresh enough
 * for a request that arrived at arrived_ns; else NULL.
 */
static struct rendering *reuse(struct render *r, struct rendering **slot,
			       uint64_t arrived_ns)
{
	struct rendering *g;
	uint64_t now_ns = clock_mono_ns();

	pthread_mutex_lock(&r->lock);
	g = *slot;
	if (g && g->taken_ns < arrived_ns &&
	    !(flooded(r, now_ns) &&
	      now_ns - g->taken_ns < RENDER_STALE_MS * CLOCK_NS_PER_MS))
		g = NULL;
	if (g)
		g->refs++;
	pthread_mutex_unlock(&r->lock);
	return g;
}

static void count_rendering(struct render *r, enum expose_format format,
			    int err, uint64_t start_ns, uint64_t snapshot_ns,
			    size_t len, uint64_t locked_ns)
{
	uint64_t now_ns = clock_mono_ns();

	pthread_mutex_lock(&r->lock);
	if (err) {
		r->self.render_failures++;
	} else {
		r->self.renders[format]++;
		r->self.render_us[format] +=
			(now_ns - start_ns) / CLOCK_NS_PER_US;
		r->self.snapshot_us += snapshot_ns / CLOCK_NS_PER_US;
		r->self.scrape_bytes = len;
		r->self.locked_us += locked_ns / CLOCK_NS_PER_US;
	}
	r->credit_ns -= (int64_t)(now_ns - start_ns);
	pthread_mutex_unlock(&r->lock);
}

static void fill_self(struct render *r, struct metrics_self *self)
{
	pthread_mutex_lock(&r->lock);
	*self = r->self;
	self->held_bytes = r->held_bytes;
	pthread_mutex_unlock(&r->lock);
	process_read(self);
	pthread_mutex_lock(&r->lock);
	r->self.process_start_us = self->process_start_us;
	pthread_mutex_unlock(&r->lock);
	if (r->opt.self)
		r->opt.self(r->opt.self_arg, self);
}

/* Reuses or renders. Call with slot->busy held. */
static int render_plain(struct render *r, enum expose_format format,
			uint64_t arrived_ns, struct rendering **out)
{
	struct slot *slot = &r->slot[format];
	struct buf data = { .max = RENDER_MAX_BYTES };
	uint64_t start_ns = clock_mono_ns(), snapshot_ns;
	const struct snapshot *s;
	struct metrics_self self;
	struct expose *x = NULL;
	int err = -ENOMEM;

	*out = reuse(r, &slot->plain, arrived_ns);
	if (*out)
		return 0;
	fill_self(r, &self);
	s = r->opt.take(r->opt.take_arg);
	snapshot_ns = clock_mono_ns() - start_ns;
	if (s)
		err = expose_new(&x, format, s, &self);
	if (!err) {
		buf_reserve(&data, slot->last_len + slot->last_len / 8 + 1);
		err = expose_next(x, &data, r->opt.keep_bytes);
	}
	count_rendering(r, format, err < 0 ? err : 0, start_ns, snapshot_ns,
			data.len, s ? s->locked_ns : 0);
	if (err == 1) {
		slot->last_len = r->opt.keep_bytes;
		err = begin_stream(r, format, x, s, &data, out);
		buf_fini(&data);
		return err;
	}
	expose_free(x);
	if (s)
		r->opt.rele(s);
	if (!err) {
		slot->last_len = data.len;
		*out = publish(r, &slot->plain, &data, start_ns);
		if (!*out)
			err = -ENOMEM;
	}
	buf_fini(&data);
	return err;
}

static int compress_gzip(const struct rendering *plain, struct buf *out)
{
	z_stream z = { 0 };
	size_t bound;
	int err = -ENOMEM;

	/* Level 1 shrinks text as repetitive as this 15-fold already.
	 * 15 + 16: the largest window, with the gzip header. */
	if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) !=
	    Z_OK)
		return err;
	bound = deflateBound(&z, plain->len);
	z.next_out = buf_reserve(out, bound);
	if (!z.next_out)
		goto cleanup;
	/* RENDER_MAX_BYTES makes sure that lengths fit in uInt. */
	z.avail_out = (uInt)bound;
	z.next_in = (Bytef *)plain->data;
	z.avail_in = (uInt)plain->len;
	if (deflate(&z, Z_FINISH) != Z_STREAM_END)
		goto cleanup;
	out->len += z.total_out;
	err = 0;
cleanup:
	deflateEnd(&z);
	return err;
}

/* Reuses, or compresses the plain rendering. Call with slot->busy held. */
static int render_gzip(struct render *r, enum expose_format format,
		       uint64_t arrived_ns, struct rendering **out)
{
	struct slot *slot = &r->slot[format];
	struct rendering *plain;
	struct buf data = { 0 }, exact = { 0 };
	uint64_t start_ns;
	int err;

	*out = reuse(r, &slot->gzip, arrived_ns);
	if (*out)
		return 0;
	err = render_plain(r, format, arrived_ns, &plain);
	if (err)
		return err;
	if (plain->stream) {
		err = render_stream_gzip(plain->stream);
		if (err)
			rendering_rele(plain);
		else
			*out = plain;
		return err;
	}
	start_ns = clock_mono_ns();
	/* It is cached while slot->busy is held, so it cannot be cut. */
	err = compress_gzip(plain, &data);
	if (!err)
		err = buf_append(&exact, data.data, data.len);
	if (!err) {
		*out = publish(r, &slot->gzip, &exact, plain->taken_ns);
		if (!*out)
			err = -ENOMEM;
	}
	pthread_mutex_lock(&r->lock);
	r->credit_ns -= (int64_t)(clock_mono_ns() - start_ns);
	pthread_mutex_unlock(&r->lock);
	rendering_rele(plain);
	buf_fini(&data);
	buf_fini(&exact);
	return err;
}

int render_get(struct render *r, enum expose_format format, bool gzip,
	       uint64_t arrived_ns, struct rendering **out)
{
	struct slot *slot = &r->slot[format];
	int err;

	*out = NULL;
	pthread_mutex_lock(&slot->busy);
	err = gzip ? render_gzip(r, format, arrived_ns, out)
		   : render_plain(r, format, arrived_ns, out);
	pthread_mutex_unlock(&slot->busy);
	if (!err) {
		pthread_mutex_lock(&r->lock);
		r->self.scrapes[format]++;
		pthread_mutex_unlock(&r->lock);
	}
	return err;
}

size_t rendering_len(const struct rendering *g)
{
	return g->stream ? RENDERING_IN_PIECES : g->len;
}

ssize_t rendering_read(struct rendering *g, size_t offset, void *to, size_t max)
{
	ssize_t n = -ESTALE;

	if (g->stream)
		return render_stream_read(g->stream, to, max);
	pthread_mutex_lock(&g->lock);
	if (g->data) {
		size_t left = offset < g->len ? g->len - offset : 0;

		n = (ssize_t)(left < max ? left : max);
		memcpy(to, g->data + (offset < g->len ? offset : 0), (size_t)n);
	}
	pthread_mutex_unlock(&g->lock);
	return n;
}
