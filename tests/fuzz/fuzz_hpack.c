/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <nghttp2/nghttp2.h>

#include "probe-agent/http/hpack.h"

/*
 * Our decoder against nghttp2's. The first byte of the input says how:
 *   bit 0     0: the rest are blocks, as they are; 1: fields, that nghttp2's
 *             encoder makes blocks of
 *   bits 1, 2 size of the encoder's table: 4096, 0, 200 or 65536
 *   bits 3-5  blocks that our decoder misses at the start
 *   bit 6     our window has little memory
 * What nghttp2 takes for a block, ours takes too, however it is cut; and every
 * field of it has the same value, or is unknown. Seen from the start, and with
 * enough memory, none is unknown.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FIELDS_MAX 64
#define BLOCK_MAX 4096

struct oracle_field {
	int name;
	size_t len; /* of the whole value */
	char value[HPACK_VALUE_MAX_BYTES];
};

struct oracle {
	nghttp2_hd_inflater *inflater;
	struct oracle_field fields[FIELDS_MAX];
	size_t n;
	bool broken; /* has refused a block */
};

static void remember(struct oracle *o, const nghttp2_nv *nv)
{
	struct oracle_field *f = &o->fields[o->n];

	f->name = hpack_name_of((const char *)nv->name, nv->namelen);
	f->len = nv->valuelen;
	memcpy(f->value, nv->value,
	       f->len < sizeof(f->value) ? f->len : sizeof(f->value));
	o->n++;
}

/* False: too many fields for us, or nghttp2 refuses the block. */
static bool oracle_take(struct oracle *o, const uint8_t *in, size_t len)
{
	o->n = 0;
	for (;;) {
		nghttp2_nv nv;
		int flags = 0;
		ssize_t used = nghttp2_hd_inflate_hd2(o->inflater, &nv, &flags,
						      in, len, 1);

		if (used < 0)
			return false;
		in += used;
		len -= (size_t)used;
		if (flags & NGHTTP2_HD_INFLATE_EMIT) {
			if (o->n == FIELDS_MAX)
				return false;
			remember(o, &nv);
		}
		if (flags & NGHTTP2_HD_INFLATE_FINAL) {
			nghttp2_hd_inflate_end_headers(o->inflater);
			return true;
		}
		if (!(flags & NGHTTP2_HD_INFLATE_EMIT) && !len)
			return false;
	}
}

struct ours {
	struct hpack_budget budget;
	struct hpack_window window;
	struct hpack_block block;
	uint32_t cuts; /* where the input is cut is made of it */
	bool may_not_know;
};

static void check(const struct ours *us, const struct hpack_field *f,
		  const struct oracle_field *want)
{
	if (f->name == HPACK_UNKNOWN || (f->name >= HPACK_METHOD && !f->known))
		assert(us->may_not_know);
	if (f->name != HPACK_UNKNOWN)
		assert((int)f->name == want->name);
	if (!f->known)
		return;
	assert(f->value.len <= want->len);
	assert(f->cut == (f->value.len < want->len));
	assert(!memcmp(f->value.data, want->value, f->value.len));
}

/* o: what is in the block; NULL: not known. */
static int ours_take(struct ours *us, const struct oracle *o, const uint8_t *in,
		     size_t len)
{
	const uint8_t *end = in + len, *piece_end;
	struct hpack_field f;
	size_t n = 0;
	int got = 0;

	hpack_begin(&us->block, HPACK_ALL);
	while (in < end && got >= 0) {
		us->cuts = us->cuts * 1664525u + 1013904223u;
		piece_end = in + 1 + (us->cuts >> 24) % 40;
		if (piece_end > end || us->cuts & 0x80000)
			piece_end = end;
		while ((got = hpack_next(&us->window, &us->block, &in,
					 piece_end, &f)) > 0) {
			assert(f.value.len <= HPACK_VALUE_MAX_BYTES);
			if (o) {
				assert(n < o->n);
				check(us, &f, &o->fields[n]);
			}
			n++;
		}
		assert(got < 0 || in == piece_end);
	}
	if (got >= 0)
		got = hpack_end(&us->block);
	assert(!o || (got == 0 && n == o->n));
	assert(us->budget.used_bytes <= us->budget.max_bytes);
	return got;
}

/* Blocks as they are: a length byte before each. */
static void take_blocks(struct oracle *o, struct ours *us, unsigned skip,
			const uint8_t *data, size_t size)
{
	while (size > 1) {
		size_t len = data[0] < size - 1 ? data[0] : size - 1;
		/* Exactly as long as it says, for ASan. */
		uint8_t *copy = malloc(len ? len : 1);

		if (!copy)
			abort();
		memcpy(copy, data + 1, len);
		if (!o->broken && !oracle_take(o, copy, len))
			o->broken = true;
		if (skip)
			skip--;
		else if (ours_take(us, o->broken ? NULL : o, copy, len) < 0)
			hpack_window_reset(&us->window);
		free(copy);
		data += 1 + len;
		size -= 1 + len;
	}
}

/* What fields are made of: small alphabets, so that entries are used again. */
static size_t make_field(nghttp2_nv *nv, char *room, const uint8_t *p)
{
	static const char *const fields[] = {
		":method",	":scheme",
		":path",	":authority",
		":protocol",	":status",
		"host",		"grpc-status",
		"content-type", "traceparent",
		"user-agent",	"connect-protocol-version",
		"grpc-message", "x",
		"cookie",	"accept-a-header-name-of-some-length",
	};
	size_t len = p[1] & 0x80 ? (p[1] & 0x7f) * 24u : p[1] & 0x0f;

	for (size_t i = 0; i < len; i++)
		room[i] = (char)(p[2] + i * (p[2] & 3));
	*nv = (nghttp2_nv){
		.name = (uint8_t *)(uintptr_t)fields[p[0] & 15],
		.namelen = strlen(fields[p[0] & 15]),
		.value = (uint8_t *)room,
		.valuelen = len,
		.flags = p[0] & 0x40 ? NGHTTP2_NV_FLAG_NO_INDEX : 0,
	};
	return len;
}

/*
 * Fields: three bytes each. Bit 7 of the first ends a block; bit 5 changes the
 * size of the table before the next one.
 */
static void take_fields(struct oracle *o, struct ours *us, unsigned skip,
			uint32_t table, const uint8_t *data, size_t size)
{
	static char room[FIELDS_MAX][128 * 24];
	static uint8_t block[FIELDS_MAX * 128 * 24];
	nghttp2_hd_deflater *deflater;
	nghttp2_nv nv[FIELDS_MAX];
	size_t n = 0;

	if (nghttp2_hd_deflate_new(&deflater, 65536) ||
	    nghttp2_hd_deflate_change_table_size(deflater, table))
		abort();
	for (; size >= 3; data += 3, size -= 3) {
		ssize_t len;

		make_field(&nv[n], room[n], data);
		n++;
		if (!(data[0] & 0x80) && n < FIELDS_MAX && size >= 6)
			continue;
		len = nghttp2_hd_deflate_hd(deflater, block, sizeof(block), nv,
					    n);
		n = 0;
		if (len < 0 || !oracle_take(o, block, (size_t)len))
			abort();
		if (skip)
			skip--;
		else
			ours_take(us, o, block, (size_t)len);
		if (data[0] & 0x20 && nghttp2_hd_deflate_change_table_size(
					      deflater, data[1] * 97u))
			abort();
	}
	nghttp2_hd_deflate_del(deflater);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t tables[] = { 4096, 0, 200, 65536 };
	static struct oracle o;
	static struct ours us;
	unsigned how, skip;

	if (!size)
		return 0;
	how = data[0];
	skip = how >> 3 & 7;
	o.broken = false;
	us.budget = (struct hpack_budget){
		.max_bytes = how & 0x40 ? 512 : 1 << 20,
	};
	us.may_not_know = skip || how & 0x40;
	us.cuts = (uint32_t)size;
	hpack_window_init(&us.window, &us.budget, !skip);
	if (nghttp2_hd_inflate_new(&o.inflater) ||
	    nghttp2_hd_inflate_change_table_size(o.inflater, 65536))
		abort();
	if (how & 1)
		take_fields(&o, &us, skip, tables[how >> 1 & 3], data + 1,
			    size - 1);
	else
		take_blocks(&o, &us, skip, data + 1, size - 1);
	nghttp2_hd_inflate_del(o.inflater);
	hpack_window_fini(&us.window);
	assert(!us.budget.used_bytes);
	return 0;
}
