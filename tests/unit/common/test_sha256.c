/* SPDX-License-Identifier: Apache-2.0 */
#include "common/sha256.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *hex(const void *data, size_t n)
{
	static char text[65];
	uint8_t out[SHA256_BYTES];

	sha256(data, n, out);
	for (unsigned i = 0; i < 32; i++)
		snprintf(text + 2 * i, 3, "%02x", out[i]);
	return text;
}

/* FIPS 180-4's examples, and every length around a block's end. */
static void digests_are_those_that_were_published(void **state)
{
	char *many = malloc(1000000);

	(void)state;
	assert_string_equal(hex("abc", 3),
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9c"
			    "b410ff61f20015ad");
	assert_string_equal(hex("", 0),
			    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934c"
			    "a495991b7852b855");
	assert_string_equal(
		hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		    56),
		"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd4"
		"19db06c1");
	assert_non_null(many);
	memset(many, 'a', 1000000);
	assert_string_equal(hex(many, 1000000),
			    "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e"
			    "046d39ccc7112cd0");
	free(many);
}

/* Truth: sha256sum of the same bytes. */
static void every_length_is_as_sha256sum_says(void **state)
{
	char bytes[200], command[80], want[65];

	(void)state;
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)('a' + i % 26);
	for (unsigned n = 0; n < sizeof(bytes); n += n < 50 ? 25 : 1) {
		FILE *f = fopen("/tmp/redtap-sha256", "wb");

		assert_non_null(f);
		fwrite(bytes, 1, n, f);
		fclose(f);
		snprintf(command, sizeof(command), "sha256sum %s",
			 "/tmp/redtap-sha256");
		f = popen(command, "r");
		assert_non_null(f);
		assert_int_equal(fscanf(f, "%64s", want), 1);
		pclose(f);
		assert_string_equal(hex(bytes, n), want);
	}
	remove("/tmp/redtap-sha256");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digests_are_those_that_were_published),
		cmocka_unit_test(every_length_is_as_sha256sum_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
