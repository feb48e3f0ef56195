/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "probe-agent/tls/tls_known.h"
#include "probe-agent/tls/tls_owner.h"
#include "probe-agent/tls/tls_share.h"

#define S UINT64_C(1000000000)
#define HOST TLS_OWNER_HOST

static const struct tls_share_options options = {
	.places = 20,
	.kept = 4,
	.each = 5,
	.window_ns = 60 * S,
	.time_ns = 2 * S,
	.all_time_ns = 6 * S,
};

static struct tls_share *make(void)
{
	struct tls_share *s;

	assert_int_equal(tls_share_new(&s, &options), 0);
	return s;
}

/* Takes until there is no more, returns how many. */
static int take_all(struct tls_share *s, uint64_t owner)
{
	int n = 0;

	while (!tls_share_take(s, owner))
		n++;
	return n;
}

static void an_owner_takes_no_places_of_others(void **state)
{
	struct tls_share *s = make();

	(void)state;
	assert_int_equal(take_all(s, 7), 5);
	assert_int_equal(take_all(s, 7), 0);
	assert_int_equal(take_all(s, 8), 5);
	tls_share_give(s, 7);
	assert_int_equal(take_all(s, 7), 1);
	assert_int_equal(take_all(s, 9), 5);
	/* 15 of the 16 that are not kept. */
	assert_int_equal(take_all(s, 10), 1);
	assert_int_equal(take_all(s, 11), 0);
	assert_int_equal(take_all(s, HOST), 4);
	assert_int_equal(take_all(s, HOST), 0);
	tls_share_give(s, HOST);
	assert_int_equal(take_all(s, 12), 0);
	assert_int_equal(take_all(s, HOST), 1);
	tls_share_free(s);
}

static void the_host_may_have_all_that_is_free(void **state)
{
	struct tls_share *s = make();

	(void)state;
	assert_int_equal(take_all(s, HOST), 20);
	assert_int_equal(take_all(s, 7), 0);
	for (int i = 0; i < 7; i++)
		tls_share_give(s, HOST);
	assert_int_equal(take_all(s, 7), 5);
	assert_int_equal(take_all(s, 8), 2);
	tls_share_free(s);
}

static void time_is_counted_by_owner_and_window(void **state)
{
	struct tls_share *s = make();
	uint64_t now = 1000 * S;

	(void)state;
	tls_share_spend(s, HOST, 100 * S, now);
	assert_false(tls_share_any_spent(s, now));
	tls_share_spend(s, 7, 2 * S - 1, now);
	assert_false(tls_share_spent(s, 7, now));
	tls_share_spend(s, 7, 1, now);
	assert_true(tls_share_spent(s, 7, now));
	assert_true(tls_share_any_spent(s, now));
	assert_false(tls_share_spent(s, 8, now));
	assert_false(tls_share_spent(s, HOST, now));
	assert_true(tls_share_spent(s, 7, now + 59 * S));
	assert_false(tls_share_spent(s, 7, now + 60 * S));
	/* Together they may not have all of it either. */
	for (uint64_t owner = 10; owner < 16; owner++)
		tls_share_spend(s, owner, S, now + 61 * S);
	assert_true(tls_share_spent(s, 8, now + 61 * S));
	assert_false(tls_share_spent(s, HOST, now + 61 * S));
	tls_share_free(s);
}

/* More owners than are known apart: what is taken is given back. */
static void many_owners_share_an_entry(void **state)
{
	struct tls_share_options o = options;
	struct tls_share *s;

	(void)state;
	o.places = 10 * TLS_SHARE_OWNERS;
	assert_int_equal(tls_share_new(&s, &o), 0);
	for (uint64_t i = 1; i <= TLS_SHARE_OWNERS; i++)
		assert_int_equal(tls_share_take(s, i), 0);
	assert_int_equal(tls_share_take(s, 100001), 0);
	assert_int_equal(take_all(s, 100002), 4);
	tls_share_give(s, 100001);
	assert_int_equal(take_all(s, 100003), 1);
	tls_share_give(s, 1);
	/* An entry is free now: the next owner has one of its own. */
	assert_int_equal(take_all(s, 100004), 5);
	tls_share_give(s, 100002);
	tls_share_free(s);
}

/* --- owners --- */

static uint64_t key(const char *cgroup, uint32_t uid, int same)
{
	return tls_owner_key(cgroup, strlen(cgroup), uid, same);
}

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ID2 "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define POD                                                                    \
	"0::/kubepods.slice/kubepods-burstable.slice/"                         \
	"kubepods-burstable-pod01234567_89ab_cdef_0123_456789abcdef.slice/"

static void a_container_is_one_owner_and_so_is_a_user(void **state)
{
	uint64_t docker = key("0::/system.slice/docker-" ID ".scope\n", 0, 0);

	(void)state;
	assert_int_equal(key("0::/init.scope\n", 0, 1), HOST);
	assert_int_equal(key("", 0, 1), HOST);
	assert_int_not_equal(key("0::/x.service\n", 0, 0), HOST);
	/* All users of a container, and what it has below itself. */
	assert_int_not_equal(docker, HOST);
	assert_true(key("0::/system.slice/docker-" ID ".scope/a/" ID2 "\n",
			1000, 0) == docker);
	assert_true(key("0::/system.slice/docker-" ID2 ".scope\n", 0, 0) !=
		    docker);
	assert_true(key("12:pids:/docker/" ID "\n11:cpu:/docker/" ID "\n", 0,
			0) == key("12:pids:/docker/" ID "\n", 7, 1));
	/* A pod is one, whichever of its containers. */
	assert_true(key(POD "cri-containerd-" ID ".scope\n", 0, 0) ==
		    key(POD "cri-containerd-" ID2 ".scope\n", 5, 0));
	assert_true(
		key("5:cpu:/kubepods/pod0123456789abcdef0123456789abcdef/" ID
		    "\n",
		    0, 0) ==
		key("5:cpu:/kubepods/pod0123456789abcdef0123456789abcdef/" ID2
		    "\n",
		    7, 0));
	/* Other names of digits are none. */
	assert_int_equal(
		key("4:memory:/jobs/0123456789abcdef0123456789abcdef\n", 0, 1),
		HOST);
	/* A user is one, whatever the groups' names. */
	assert_true(key("0::/user.slice/user-1000.slice/libpod-" ID ".scope\n",
			1000, 0) ==
		    key("0::/user.slice/user-1000.slice/libpod-" ID2 ".scope\n",
			1000, 1));
	assert_true(key("", 1000, 1) != key("", 1001, 1));
	/* The ids of a user namespace are one block. */
	assert_true(key("", 131072, 0) == key("", 196607, 0));
	assert_true(key("", 131072, 0) != key("", 196608, 0));
}

/* Texts end at a page that must not be touched; any prefix is one. */
static void nothing_is_read_behind_a_text(void **state)
{
	static const char text[] =
		"1:a:/b\n" POD "cri-containerd-" ID ".scope\n";
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_ptr_not_equal(page, MAP_FAILED);
	assert_int_equal(mprotect(page + 4096, 4096, PROT_NONE), 0);
	for (size_t n = 0; n < sizeof(text); n++) {
		char *at = page + 4096 - n;

		memcpy(at, text, n);
		assert_true(tls_owner_key(at, n, 7, 0) != HOST);
	}
	munmap(page, 8192);
}

static void this_process_has_an_owner(void **state)
{
	uint64_t owner = tls_owner_of("/proc", (uint32_t)getpid());

	(void)state;
	assert_true(owner == tls_owner_of("/proc", (uint32_t)getpid()));
	/* One that is gone is not the host. */
	assert_true(tls_owner_of("/proc", INT32_MAX) != HOST);
	assert_true(tls_owner_of("/nonexistent", 1) != HOST);
}

/* --- files that were inspected --- */

static void a_file_is_known_until_it_changes(void **state)
{
	struct stat st = { .st_dev = 1, .st_ino = 2, .st_size = 3 };
	struct tls_known *k;

	(void)state;
	assert_int_equal(tls_known_new(&k), 0);
	assert_int_equal(tls_known_why(k, &st, 0), 0);
	tls_known_add(k, &st, -ENOEXEC, 0);
	assert_int_equal(tls_known_why(k, &st, UINT64_MAX), -ENOEXEC);
	st.st_ctim.tv_nsec = 1;
	assert_int_equal(tls_known_why(k, &st, 0), 0);
	tls_known_add(k, &st, -ENOSPC, 60 * S);
	assert_int_equal(tls_known_why(k, &st, 60 * S - 1), -ENOSPC);
	assert_int_equal(tls_known_why(k, &st, 60 * S), 0);
	/* However many come, each is itself or not known. */
	for (st.st_ino = 10; st.st_ino < 20000; st.st_ino++)
		tls_known_add(k, &st, -(int)st.st_ino, 0);
	for (st.st_ino = 10; st.st_ino < 20000; st.st_ino++) {
		int why = tls_known_why(k, &st, 0);

		assert_true(!why || why == -(int)st.st_ino);
	}
	tls_known_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_owner_takes_no_places_of_others),
		cmocka_unit_test(the_host_may_have_all_that_is_free),
		cmocka_unit_test(time_is_counted_by_owner_and_window),
		cmocka_unit_test(many_owners_share_an_entry),
		cmocka_unit_test(a_container_is_one_owner_and_so_is_a_user),
		cmocka_unit_test(nothing_is_read_behind_a_text),
		cmocka_unit_test(this_process_has_an_owner),
		cmocka_unit_test(a_file_is_known_until_it_changes),
	};

	return cmocka_run_group_tests_name("tls_share", tests, NULL, NULL);
}
