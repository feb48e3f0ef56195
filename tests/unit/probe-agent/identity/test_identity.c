/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "probe-agent/identity/identity.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define TICK_NS UINT64_C(10000000)

struct fixture {
	char proc[64];
	struct identity_table *t;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->proc, sizeof(f->proc), "/tmp/redtap-proc.XXXXXX");
	assert_non_null(mkdtemp(f->proc));
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag,
		      struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	identity_free(f->t);
	nftw(f->proc, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static void start(struct fixture *f, size_t cap,
		  const struct identity_rule *rules, size_t n)
{
	const struct identity_options opt = {
		.node = "n1",
		.proc = f->proc,
		.cap = cap,
		.rules = rules,
		.n_rules = n,
	};

	assert_int_equal(identity_new(&f->t, &opt), 0);
}

static void put_file(const struct fixture *f, unsigned pid, const char *name,
		     const void *data, size_t len)
{
	char path[256];
	FILE *out;

	snprintf(path, sizeof(path), "%s/%u", f->proc, pid);
	assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
	snprintf(path, sizeof(path), "%s/%u/%s", f->proc, pid, name);
	out = fopen(path, "w");
	assert_non_null(out);
	assert_int_equal(fwrite(data, 1, len, out), len);
	assert_int_equal(fclose(out), 0);
}

/* A process that started at the given tick. */
static void put_process(const struct fixture *f, unsigned pid, uint64_t tick,
			const char *exe, const char *cgroup)
{
	char path[256], text[512];
	int n;

	n = snprintf(text, sizeof(text),
		     "%u (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 "
		     "17 18 %lu 20 21\n",
		     pid, tick);
	put_file(f, pid, "stat", text, (size_t)n);
	put_file(f, pid, "cgroup", cgroup, strlen(cgroup));
	put_file(f, pid, "environ", "", 0);
	snprintf(path, sizeof(path), "%s/%u/exe", f->proc, pid);
	unlink(path);
	if (exe)
		assert_int_equal(symlink(exe, path), 0);
}

static struct endpoint endpoint(uint32_t tgid, uint64_t tick)
{
	struct endpoint end = {
		.tgid = tgid,
		.start_ns = tick * TICK_NS + 123,
		.local_port = 80,
		.comm = "comm",
	};

	return end;
}

static const struct identity *look(struct fixture *f, uint32_t tgid,
				   uint64_t tick)
{
	struct endpoint end = endpoint(tgid, tick);

	return identity_lookup(f->t, &end);
}

static void takes_the_executable_when_nothing_says_more(void **state)
{
	struct fixture *f = *state;
	const struct identity *id;

	start(f, 0, NULL, 0);
	put_process(f, 7, 100, "/usr/bin/python3.11",
		    "0::/user.slice/user-0.slice/session-3.scope\n");
	id = look(f, 7, 100);
	assert_string_equal(id->service, "python3.11");
	assert_string_equal(id->executable, "python3.11");
	assert_string_equal(id->path, "/usr/bin/python3.11");
	assert_string_equal(id->namespace_, "");
	assert_string_equal(id->instance, "n1");
	assert_string_equal(id->container, "");
	assert_false(id->self);
	assert_false(id->gone);
}

static void prefers_the_otel_name_then_the_attribute_then_the_unit(void **state)
{
	static const char both[] =
		"A=1\0OTEL_RESOURCE_ATTRIBUTES=service.namespace=shop,"
		"service.name=other\0OTEL_SERVICE_NAME=cart\0";
	static const char attribute[] =
		"OTEL_RESOURCE_ATTRIBUTES=a=b, service.name=my%20cart,x=y\0";
	static const char empty[] = "OTEL_SERVICE_NAME=\0";
	struct fixture *f = *state;
	const char *unit = "0::/system.slice/nginx.service\n";
	const struct identity *id;

	start(f, 0, NULL, 0);
	put_process(f, 1, 5, "/usr/sbin/nginx", unit);
	put_file(f, 1, "environ", both, sizeof(both) - 1);
	put_process(f, 2, 5, "/usr/sbin/nginx", unit);
	put_file(f, 2, "environ", attribute, sizeof(attribute) - 1);
	put_process(f, 3, 5, "/usr/sbin/n", unit);
	put_file(f, 3, "environ", empty, sizeof(empty) - 1);
	id = look(f, 1, 5);
	assert_string_equal(id->service, "cart");
	assert_string_equal(id->namespace_, "shop");
	assert_string_equal(look(f, 2, 5)->service, "my cart");
	id = look(f, 3, 5);
	assert_string_equal(id->service, "nginx");
	assert_string_equal(id->executable, "n");
}

struct cgroup_case {
	const char *cgroup, *service, *container, *instance;
};

static void reads_containers_and_units_of_both_cgroup_versions(void **state)
{
	static const struct cgroup_case cases[] = {
		{ "0::/system.slice/docker-" HEX64 ".scope\n", "app", HEX64,
		  "n1/0123456789ab" },
		{ "12:pids:/docker/" HEX64 "\n1:name=systemd:/docker/" HEX64
		  "\n",
		  "app", HEX64, "n1/0123456789ab" },
		{ "0::/kubepods.slice/kubepods-burstable.slice/"
		  "kubepods-burstable-pod1.slice/cri-containerd-" HEX64
		  ".scope\n",
		  "app", HEX64, "n1/0123456789ab" },
		{ "0::/kubepods/pod1/crio-" HEX64 "\n", "app", HEX64,
		  "n1/0123456789ab" },
		{ "0::/machine.slice/libpod-" HEX64 ".scope/container\n", "app",
		  HEX64, "n1/0123456789ab" },
		{ "0::/system.slice/containerd.service/kubepods-pod1:"
		  "cri-containerd:" HEX64 "\n",
		  "app", HEX64, "n1/0123456789ab" },
		{ "0::/docker/" HEX64 "/system.slice/nginx.service\n", "nginx",
		  HEX64, "n1/0123456789ab" },
		{ "0::/system.slice/system-getty.slice/getty@tty1.service\n",
		  "getty@tty1", "", "n1" },
		{ "4:cpu:/\n1:name=systemd:/system.slice/ssh.service\n0::/\n",
		  "ssh", "", "n1" },
		{ "0::/user.slice/user-1000.slice/user@1000.service/"
		  "app.slice/web.service\n",
		  "web", "", "n1" },
		{ "0::/user.slice/user-1000.slice/user@1000.service/init.scope"
		  "\n",
		  "app", "", "n1" },
		{ "0::/init.scope\n", "app", "", "n1" },
		{ "0::/system.slice/docker-0123.scope\n", "app", "", "n1" },
		{ "0::/.service\n", "app", "", "n1" },
		{ "garbage\n::\n:\n\n0::", "app", "", "n1" },
		{ "", "app", "", "n1" },
	};
	struct fixture *f = *state;

	start(f, 0, NULL, 0);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct identity *id;

		put_process(f, i + 1, 9, "/bin/app", cases[i].cgroup);
		id = look(f, i + 1, 9);
		assert_string_equal(id->service, cases[i].service);
		assert_string_equal(id->container, cases[i].container);
		assert_string_equal(id->instance, cases[i].instance);
	}
}

static void tells_a_pid_that_is_used_again_from_its_predecessor(void **state)
{
	struct fixture *f = *state;

	start(f, 0, NULL, 0);
	put_process(f, 42, 1000, "/bin/first", "");
	assert_string_equal(look(f, 42, 1000)->service, "first");
	put_process(f, 42, 2000, "/bin/second", "");
	assert_string_equal(look(f, 42, 2000)->service, "second");
	/* The old one is gone from /proc, but not from memory. */
	assert_string_equal(look(f, 42, 1000)->service, "first");
}

static void never_gives_a_dead_process_its_successors_name(void **state)
{
	struct fixture *f = *state;
	struct identity_stats st;
	const struct identity *id;

	start(f, 0, NULL, 0);
	put_process(f, 42, 2000, "/bin/second", "0::/system.slice/x.service\n");
	id = look(f, 42, 1000);
	assert_string_equal(id->service, "comm");
	assert_true(id->gone);
	id = look(f, 43, 1000);
	assert_string_equal(id->service, "comm");
	identity_stats(f->t, &st);
	assert_int_equal(st.gone, 2);
	assert_int_equal(st.resolved, 2);
}

static void looks_again_after_exec_changed_the_comm(void **state)
{
	struct fixture *f = *state;
	struct endpoint end = endpoint(5, 10);
	uint64_t number;

	start(f, 0, NULL, 0);
	put_process(f, 5, 10, "/bin/bash", "");
	assert_string_equal(identity_lookup(f->t, &end)->service, "bash");
	number = identity_lookup(f->t, &end)->number;
	put_process(f, 5, 10, "/bin/curl", "");
	assert_string_equal(identity_lookup(f->t, &end)->service, "bash");
	assert_int_equal(identity_lookup(f->t, &end)->number, number);
	memcpy(end.comm, "curl", 5);
	assert_string_equal(identity_lookup(f->t, &end)->service, "curl");
	assert_int_not_equal(identity_lookup(f->t, &end)->number, number);
}

static void evicts_what_was_unused_for_longest_and_counts_it(void **state)
{
	struct fixture *f = *state;
	struct identity_stats st;

	start(f, 3, NULL, 0);
	for (unsigned pid = 1; pid <= 3; pid++) {
		put_process(f, pid, 1, "/bin/app", "");
		look(f, pid, 1);
	}
	look(f, 1, 1); /* now 2 is the oldest */
	put_process(f, 4, 1, "/bin/app", "");
	look(f, 4, 1);
	identity_stats(f->t, &st);
	assert_int_equal(st.evicted, 1);
	assert_int_equal(st.entries, 3);
	assert_int_equal(st.resolved, 4);
	look(f, 1, 1);
	look(f, 3, 1);
	look(f, 4, 1);
	identity_stats(f->t, &st);
	assert_int_equal(st.resolved, 4);
	look(f, 2, 1);
	identity_stats(f->t, &st);
	assert_int_equal(st.resolved, 5);
	assert_int_equal(st.evicted, 2);
}

static void applies_the_first_rule_that_matches(void **state)
{
	char py[] = "python*", path[] = "/opt/*/bin/app", any[] = "*";
	char a[] = "by-port", b[] = "by-exe", c[] = "by-path", d[] = "boxed";
	char ns[] = "team";
	const struct identity_rule rules[] = {
		{ .executable = py, .port = 8080, .service = a },
		{ .executable = py, .service = b, .namespace_ = ns },
		{ .executable = path, .service = c },
		{ .container = any, .service = d },
	};
	struct fixture *f = *state;
	struct endpoint end = endpoint(1, 1);
	uint64_t number;

	start(f, 0, rules, 4);
	put_process(f, 1, 1, "/usr/bin/python3", "");
	put_process(f, 2, 1, "/opt/x/bin/app", "");
	put_process(f, 3, 1, "/bin/app", "0::/docker/" HEX64 "\n");
	put_process(f, 4, 1, "/bin/app", "");
	assert_string_equal(identity_lookup(f->t, &end)->service, "by-exe");
	assert_string_equal(identity_lookup(f->t, &end)->namespace_, "team");
	number = identity_lookup(f->t, &end)->number;
	end.local_port = 8080;
	assert_string_equal(identity_lookup(f->t, &end)->service, "by-port");
	assert_string_equal(identity_lookup(f->t, &end)->namespace_, "");
	assert_int_not_equal(identity_lookup(f->t, &end)->number, number);
	assert_string_equal(look(f, 2, 1)->service, "by-path");
	assert_string_equal(look(f, 3, 1)->service, "boxed");
	assert_string_equal(look(f, 4, 1)->service, "app");
}

static void knows_its_own_programs_and_replaced_executables(void **state)
{
	struct fixture *f = *state;

	start(f, 0, NULL, 0);
	put_process(f, 1, 1, "/x/redtap-agent", "");
	put_process(f, 2, 1, "/x/redtap-aggregator (deleted)", "");
	put_process(f, 3, 1, "/x/redtap", "");
	assert_true(look(f, 1, 1)->self);
	assert_true(look(f, 2, 1)->self);
	assert_string_equal(look(f, 2, 1)->executable, "redtap-aggregator");
	assert_false(look(f, 3, 1)->self);
}

static void agrees_with_the_real_proc_about_this_process(void **state)
{
	const struct identity_options opt = { .node = "n1" };
	struct endpoint end = { .tgid = (uint32_t)getpid(), .comm = "x" };
	char exe[512];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	struct fixture *f = *state;
	const struct identity *id;

	assert_true(n > 0);
	exe[n] = '\0';
	assert_int_equal(identity_new(&f->t, &opt), 0);
	/* Started at most a minute ago; try ticks until one is taken. */
	for (uint64_t back = 0; back < 6000; back++) {
		end.start_ns = clock_boot_ns() - back * TICK_NS;
		id = identity_lookup(f->t, &end);
		if (!id->gone)
			break;
	}
	assert_false(id->gone);
	assert_string_equal(id->path, exe);
	assert_string_equal(id->executable, strrchr(exe, '/') + 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(takes_the_executable_when_nothing_says_more),
		T(prefers_the_otel_name_then_the_attribute_then_the_unit),
		T(reads_containers_and_units_of_both_cgroup_versions),
		T(tells_a_pid_that_is_used_again_from_its_predecessor),
		T(never_gives_a_dead_process_its_successors_name),
		T(looks_again_after_exec_changed_the_comm),
		T(evicts_what_was_unused_for_longest_and_counts_it),
		T(applies_the_first_rule_that_matches),
		T(knows_its_own_programs_and_replaced_executables),
		T(agrees_with_the_real_proc_about_this_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
