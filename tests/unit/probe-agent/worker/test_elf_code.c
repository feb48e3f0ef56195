/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "probe-agent/worker/elf_code.h"
#include "probe-agent/worker/inspect.h"

/*
 * Objects that `program build` made, without debug information: count.bpf.c and
 * slow.bpf.c of tests/programs.
 */
#define CORPUS "tests/fuzz/corpus/elf_code/"

struct object {
	uint8_t *data;
	size_t len;
};

static void read_object(struct object *o, const char *path)
{
	FILE *f = fopen(path, "rb");

	assert_non_null(f);
	o->data = malloc(1 << 20);
	assert_non_null(o->data);
	o->len = fread(o->data, 1, 1 << 20, f);
	assert_true(o->len > 500);
	fclose(f);
}

/* A page that must not be read follows the bytes. */
static uint8_t *behind_guard(const uint8_t *data, size_t len, void **map,
			     size_t *map_len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t pages = (len + page - 1) / page;
	uint8_t *p;

	*map_len = (pages + 1) * page;
	*map = mmap(NULL, *map_len, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(*map != MAP_FAILED);
	p = (uint8_t *)*map + pages * page;
	assert_int_equal(mprotect(p, page, PROT_NONE), 0);
	memcpy(p - len, data, len);
	return p - len;
}

static void finds_functions_maps_and_calls(void **state)
{
	const struct inspect_options opt = { .xdp = false };
	static struct inspect found;
	const char *why = NULL;
	struct elf_code *c;
	struct object o;
	bool take = false, counts = false;

	(void)state;
	read_object(&o, CORPUS "count");
	assert_int_equal(elf_code_read(&c, o.data, o.len, &why), 0);
	for (size_t i = 0; i < c->n_functions; i++)
		take |= !strcmp(c->function[i].name, "on_take");
	for (size_t i = 0; i < c->n_maps; i++)
		counts |= !strcmp(c->map[i], "counts");
	assert_true(take && counts);
	assert_int_equal(inspect_code(&found, c, &opt), 0);
	assert_string_equal(found.refused, "");
	assert_int_equal(inspect_guarantee(&found, "counts", false, false),
			 SAMPLES_EXACT);
	assert_int_equal(inspect_guarantee(&found, "counts", true, false),
			 SAMPLES_SINCE_READ);
	elf_code_free(c);
	free(o.data);
}

/* Whatever is cut off: no byte beyond is read, and what fails says why. */
static void every_prefix_is_safe(void **state)
{
	const struct inspect_options opt = { .xdp = false };
	static struct inspect found;
	struct object o;
	size_t whole = 0;

	(void)state;
	read_object(&o, CORPUS "count");
	for (size_t len = 0; len <= o.len; len++) {
		const char *why = NULL;
		struct elf_code *c = NULL;
		size_t map_len;
		void *map;
		uint8_t *p = behind_guard(o.data, len, &map, &map_len);
		int err = elf_code_read(&c, p, len, &why);

		assert_true(!err || err == -EINVAL);
		if (err) {
			assert_non_null(why);
		} else {
			assert_int_equal(inspect_code(&found, c, &opt), 0);
			elf_code_free(c);
			whole++;
		}
		munmap(map, map_len);
	}
	assert_true(whole >= 1);
	free(o.data);
}

/* Each byte of it, changed in two ways. */
static void every_damaged_byte_is_safe(void **state)
{
	const struct inspect_options opt = { .xdp = false };
	static struct inspect found;
	struct object o;

	(void)state;
	read_object(&o, CORPUS "count");
	for (size_t i = 0; i < o.len; i++) {
		static const uint8_t change[] = { 0xff, 0x01 };

		for (unsigned k = 0; k < sizeof(change); k++) {
			const char *why = NULL;
			struct elf_code *c = NULL;

			o.data[i] ^= change[k];
			if (elf_code_read(&c, o.data, o.len, &why) == 0) {
				assert_int_equal(inspect_code(&found, c, &opt),
						 0);
				elf_code_free(c);
			} else {
				assert_non_null(why);
			}
			o.data[i] ^= change[k];
		}
	}
	free(o.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_functions_maps_and_calls),
		cmocka_unit_test(every_prefix_is_safe),
		cmocka_unit_test(every_damaged_byte_is_safe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
