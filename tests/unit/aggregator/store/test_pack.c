/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "aggregator/store/durations.h"
#include "aggregator/store/pack.h"

#define KEYS 400u
#define BUCKETS 12u

/* What a pack holds, kept apart from it: sums by key, buckets by place. */
struct truth {
	uint64_t count, errors, sum[PACK_SUMS], bucket[PACK_HISTS][BUCKETS];
	bool there;
};

static uint64_t seed = 42;

static uint64_t draw(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

/* A random pack; what it holds is added to truth. */
static void make_pack(struct buf *out, struct truth truth[KEYS], unsigned share)
{
	struct pack_writer w;

	buf_reset(out);
	pack_begin(&w, out);
	for (uint32_t key = 0; key < KEYS; key++) {
		struct pack_row row = { .key = key };
		struct buf hist[PACK_HISTS] = { 0 };

		if (draw(100) >= share)
			continue;
		truth[key].there = true;
		truth[key].count += row.count = draw(1u << draw(30));
		truth[key].errors += row.errors = draw(row.count + 1);
		for (unsigned i = 0; i < PACK_SUMS; i++)
			truth[key].sum[i] += row.sum[i] =
				draw(UINT64_C(1) << draw(50));
		for (unsigned i = 0; i < PACK_HISTS; i++) {
			struct store_bucket b[BUCKETS];
			size_t n = 0;

			for (unsigned k = 0; k < BUCKETS; k++) {
				if (draw(3))
					continue;
				b[n].native = (int32_t)k * 7 - 100;
				b[n].count = 1 + draw(1000);
				truth[key].bucket[i][k] += b[n++].count;
			}
			durations_encode(&hist[i], b, n);
			row.hist[i] = (struct pack_hist){ (void *)hist[i].data,
							  hist[i].len };
		}
		pack_put(&w, &row);
		for (unsigned i = 0; i < PACK_HISTS; i++)
			buf_fini(&hist[i]);
	}
	assert_int_equal(out->err, 0);
}

static void check_row(const struct pack_row *row, const struct truth *t)
{
	assert_true(t->there);
	assert_int_equal(row->count, t->count);
	assert_int_equal(row->errors, t->errors);
	for (unsigned i = 0; i < PACK_SUMS; i++)
		assert_int_equal(row->sum[i], t->sum[i]);
	for (unsigned i = 0; i < PACK_HISTS; i++) {
		struct store_bucket b[BUCKETS + 1];
		size_t n = durations_decode(row->hist[i].data, row->hist[i].len,
					    b, BUCKETS + 1);
		uint64_t got[BUCKETS] = { 0 };

		for (size_t k = 0; k < n; k++)
			got[(b[k].native + 100) / 7] = b[k].count;
		assert_memory_equal(got, t->bucket[i], sizeof(got));
	}
}

static void check_pack(const struct buf *pack, const struct truth truth[KEYS])
{
	struct pack_reader r;
	struct pack_row row;
	uint64_t rows = 0, want = 0;
	int n;

	assert_int_equal(pack_open(&r, pack->data, pack->len), 0);
	while ((n = pack_next(&r, &row)) > 0) {
		check_row(&row, &truth[row.key]);
		rows++;
	}
	assert_int_equal(n, 0);
	for (uint32_t key = 0; key < KEYS; key++)
		want += truth[key].there;
	assert_int_equal(rows, want);
}

static void merging_adds_up_key_by_key(void **state)
{
	struct truth truth[KEYS] = { 0 };
	struct buf sum = { 0 }, next = { 0 }, more = { 0 };

	(void)state;
	make_pack(&sum, truth, 40);
	check_pack(&sum, truth);
	for (unsigned i = 0; i < 30; i++) {
		struct buf swap = sum;
		uint64_t want = 0;

		make_pack(&more, truth, i * 3);
		for (uint32_t key = 0; key < KEYS; key++)
			want += truth[key].there;
		buf_reset(&next);
		assert_int_equal(pack_merge(&next, sum.data, sum.len, more.data,
					    more.len),
				 want);
		sum = next;
		next = swap;
		check_pack(&sum, truth);
	}
	buf_fini(&sum);
	buf_fini(&next);
	buf_fini(&more);
}

static void only_wanted_rows_are_given(void **state)
{
	struct truth truth[KEYS] = { 0 };
	uint32_t of[KEYS];
	const struct pack_wanted wanted = { of, KEYS - 50 };
	struct buf pack = { 0 };
	struct pack_reader r;
	struct pack_row row;
	uint32_t want = 0, got = 0;

	(void)state;
	make_pack(&pack, truth, 90);
	for (uint32_t key = 0; key < KEYS; key++) {
		of[key] = key % 7 == 3 ? key : PACK_UNWANTED;
		want += key % 7 == 3 && key < KEYS - 50 && truth[key].there;
	}
	assert_int_equal(pack_open(&r, pack.data, pack.len), 0);
	r.wanted = &wanted;
	for (; pack_next(&r, &row) > 0; got++) {
		assert_int_equal(row.key % 7, 3);
		check_row(&row, &truth[row.key]);
	}
	assert_int_equal(got, want);
	buf_fini(&pack);
}

/* n bytes that end where the next byte is not readable. */
static uint8_t *at_guard(const void *data, size_t n, void **page)
{
	size_t size = (n + 8191) / 4096 * 4096;
	uint8_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(mprotect(p + size - 4096, 4096, PROT_NONE), 0);
	*page = p;
	return memcpy(p + size - 4096 - n, data, n);
}

/* Rows that are whole come; what is cut off or changed is an error. */
static void every_prefix_and_every_flip_is_safe(void **state)
{
	struct truth truth[KEYS] = { 0 };
	struct buf pack = { 0 }, out = { 0 };
	struct pack_row row;
	struct pack_reader r;
	void *page;

	(void)state;
	make_pack(&pack, truth, 8);
	for (size_t n = 0; n < pack.len; n++) {
		uint8_t *data = at_guard(pack.data, n, &page);
		int got = pack_open(&r, data, n);

		while (!got && (got = pack_next(&r, &row)) > 0) {
			check_row(&row, &truth[row.key]);
			got = 0;
		}
		assert_true(got == 0 || got == -EUCLEAN);
		munmap(page, (n + 8191) / 4096 * 4096);
	}
	for (size_t i = 0; i < pack.len; i++) {
		uint8_t *data = at_guard(pack.data, pack.len, &page);

		data[i] ^= (uint8_t)(1u << draw(8));
		buf_reset(&out);
		pack_merge(&out, data, pack.len, pack.data, pack.len);
		munmap(page, (pack.len + 8191) / 4096 * 4096);
	}
	buf_fini(&pack);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(merging_adds_up_key_by_key),
		cmocka_unit_test(only_wanted_rows_are_given),
		cmocka_unit_test(every_prefix_and_every_flip_is_safe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
