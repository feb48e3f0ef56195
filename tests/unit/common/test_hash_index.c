/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "common/grow.h"
#include "common/hash_index.h"

struct keys {
	uint64_t *key;
	size_t cap;
};

/* Only 64 different hashes, so that most entries share one with others. */
static uint64_t hash_of(const void *arg, uint32_t entry)
{
	const struct keys *k = arg;

	return k->key[entry] % 64 * 0x9e3779b97f4a7c15;
}

static int64_t find(const struct hash_index *x, const struct keys *k,
		    uint64_t key)
{
	size_t at = key % 64 * 0x9e3779b97f4a7c15;
	uint32_t i;

	while (hash_index_next(x, &at, &i))
		if (k->key[i] == key)
			return i;
	return -1;
}

static void finds_each_entry_and_no_other(void **state)
{
	struct keys k = { 0 };
	struct hash_index x;

	(void)state;
	assert_int_equal(hash_index_init(&x, 2), 0);
	for (uint32_t i = 0; i < 4099; i++) {
		assert_int_equal(grow(&k.key, &k.cap, i), 0);
		k.key[i] = (uint64_t)i * i;
		assert_int_equal(find(&x, &k, k.key[i]), -1);
		assert_int_equal(hash_index_reserve(&x, hash_of, &k), 0);
		hash_index_put(&x, hash_of(&k, i), i);
		assert_int_equal(x.n, i + 1);
		assert_true(2 * x.n <= x.mask + 1);
	}
	for (uint32_t i = 0; i < 4099; i++)
		assert_int_equal(find(&x, &k, k.key[i]), i);
	assert_int_equal(find(&x, &k, 2), -1);
	hash_index_clear(&x);
	assert_int_equal(find(&x, &k, 4), -1);
	hash_index_fini(&x);
	hash_index_fini(&x);
	free(k.key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_each_entry_and_no_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
