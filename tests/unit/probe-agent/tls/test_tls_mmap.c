/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "probe-agent/tls/tls_mmap.h"

/* The kernel's own events; files of the names that are looked for. */
struct host {
	char dir[64];
	struct tls_mmap *maps;
	size_t page;
};

static int set_up(void **state)
{
	struct host *h = calloc(1, sizeof(*h));
	int err;

	*state = h;
	h->page = (size_t)sysconf(_SC_PAGESIZE);
	snprintf(h->dir, sizeof(h->dir), "/tmp/redtap-maps-XXXXXX");
	if (!mkdtemp(h->dir))
		return -1;
	err = tls_mmap_open(&h->maps);
	if (err)
		print_message("# perf_event_open: %s\n", strerror(-err));
	return err && err != -EACCES && err != -EPERM && err != -ENOSYS;
}

static int tear_down(void **state)
{
	struct host *h = *state;

	tls_mmap_close(h->maps);
	rmdir(h->dir);
	free(h);
	return 0;
}

static void need(const struct host *h)
{
	if (h->maps)
		return;
	print_message(
		"# skip: perf events of all processes need CAP_PERFMON\n");
	skip();
}

/* As /proc tells the mapping at that address. */
static void identify(const void *at, struct tls_file *out)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long from, ino;
	unsigned maj, min;
	char *line = NULL;
	size_t cap = 0;

	*out = (struct tls_file){ 0 };
	while (!out->inode && getline(&line, &cap, f) > 0)
		if (sscanf(line, "%lx-%*x %*s %*x %x:%x %lu", &from, &maj, &min,
			   &ino) == 4 &&
		    from == (unsigned long)at)
			*out = (struct tls_file){
				.device = (uint64_t)maj << 20 | min,
				.inode = ino,
			};
	free(line);
	fclose(f);
	assert_true(out->inode);
}

/* A file of a page, open; its name is gone if wanted. */
static int make_file(const struct host *h, const char *name, bool deleted,
		     struct tls_file *out)
{
	char path[128];
	void *at;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", h->dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)h->page), 0);
	at = mmap(NULL, h->page, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_true(at != MAP_FAILED);
	identify(at, out);
	munmap(at, h->page);
	if (deleted)
		unlink(path);
	return fd;
}

static void remove_file(const struct host *h, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", h->dir, name);
	unlink(path);
}

static void map(const struct host *h, int fd, int prot)
{
	void *at = mmap(NULL, h->page, prot, MAP_PRIVATE, fd, 0);

	assert_true(at != MAP_FAILED);
	munmap(at, h->page);
}

/* How often that process was reported with that file; *lost: losses. */
static unsigned told(struct host *h, pid_t pid, const struct tls_file *file,
		     bool *lost)
{
	struct tls_event e;
	unsigned n = 0;

	tls_mmap_poll(h->maps);
	while (!tls_mmap_take(h->maps, &e)) {
		*lost |= !e.tgid;
		n += e.tgid == (uint32_t)pid &&
		     !memcmp(&e.file, file, sizeof(*file));
	}
	return n;
}

/* On one CPU: the next record in its ring reports losses. */
static void stay(cpu_set_t *before)
{
	cpu_set_t here;

	assert_int_equal(sched_getaffinity(0, sizeof(*before), before), 0);
	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	assert_int_equal(sched_setaffinity(0, sizeof(here), &here), 0);
}

static void code_of_tls_libraries_is_told_of(void **state)
{
	static const char *const names[] = { "libssl.so.3", "libssl3.so",
					     "libgnutls.so.30" };
	struct host *h = *state;
	bool lost = false;
	struct tls_file file;
	int fd;

	need(h);
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		fd = make_file(h, names[i], false, &file);
		map(h, fd, PROT_READ);
		assert_int_equal(told(h, getpid(), &file, &lost), 0);
		map(h, fd, PROT_READ | PROT_EXEC);
		assert_int_equal(told(h, getpid(), &file, &lost), 1);
		assert_int_equal(told(h, getpid(), &file, &lost), 0);
		close(fd);
		remove_file(h, names[i]);
	}
	assert_false(lost);
}

static void a_file_that_was_removed_is_told_of(void **state)
{
	struct host *h = *state;
	bool lost = false;
	struct tls_file file;
	int fd;

	need(h);
	fd = make_file(h, "libssl.so.1", true, &file);
	map(h, fd, PROT_READ | PROT_EXEC);
	assert_int_equal(told(h, getpid(), &file, &lost), 1);
	close(fd);
}

static void other_names_are_not(void **state)
{
	static const char *const names[] = { "libssh.so.4", "libgnu.so",
					     "xlibssl.so.3", "LIBSSL.so" };
	struct host *h = *state;
	bool lost = false;
	struct tls_file file;
	int fd;

	need(h);
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		fd = make_file(h, names[i], true, &file);
		map(h, fd, PROT_READ | PROT_EXEC);
		assert_int_equal(told(h, getpid(), &file, &lost), 0);
		close(fd);
	}
}

static void another_process_is_told_of_after_its_end(void **state)
{
	struct host *h = *state;
	bool lost = false;
	struct tls_file file;
	pid_t pid;
	int fd;

	need(h);
	fd = make_file(h, "libssl-of-a-child.so", true, &file);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		map(h, fd, PROT_READ | PROT_EXEC);
		map(h, fd, PROT_READ | PROT_EXEC);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(told(h, pid, &file, &lost), 2);
	close(fd);
}

/* More than a ring has room for, then more than the pipe has. */
static void what_is_lost_is_counted_and_told_of(void **state)
{
	enum { MANY = 5003, TURNS = 41 };
	struct host *h = *state;
	const uint64_t before = h->maps ? tls_mmap_lost(h->maps) : 0;
	bool lost = false;
	unsigned n;
	struct tls_file file;
	cpu_set_t cpus;
	int fd;

	need(h);
	stay(&cpus);
	fd = make_file(h, "libssl-again-and-again.so", true, &file);
	for (unsigned i = 0; i < MANY; i++)
		map(h, fd, PROT_READ | PROT_EXEC);
	n = told(h, getpid(), &file, &lost);
	map(h, fd, PROT_READ | PROT_EXEC); /* tells what was lost */
	n += told(h, getpid(), &file, &lost);
	assert_true(n > 100 && n < MANY);
	assert_true(lost);
	/* Others may have lost some of theirs. */
	assert_true(tls_mmap_lost(h->maps) - before >= MANY + 1 - n);

	for (unsigned i = 0; i < TURNS; i++) {
		for (unsigned k = 0; k < MANY / TURNS; k++)
			map(h, fd, PROT_READ | PROT_EXEC);
		tls_mmap_poll(h->maps);
	}
	lost = false;
	n = told(h, getpid(), &file, &lost);
	assert_true(n > 100 && n < MANY / TURNS * TURNS);
	told(h, getpid(), &file, &lost);
	assert_true(lost);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			code_of_tls_libraries_is_told_of, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_file_that_was_removed_is_told_of, set_up, tear_down),
		cmocka_unit_test_setup_teardown(other_names_are_not, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			another_process_is_told_of_after_its_end, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			what_is_lost_is_counted_and_told_of, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("tls_maps", tests, NULL, NULL);
}
