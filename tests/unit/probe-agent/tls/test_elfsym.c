/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>

#include "probe-agent/tls/elfsym.h"
#include "probe-agent/tls/tls_calls.h"
#include "tests/unit/probe-agent/tls/elf_image.h"

#define CODE ELF_IMAGE_CODE_OFFSET

/* --- against the dynamic linker --- */

struct place {
	uintptr_t at;
	uint64_t offset;
	char file[256];
};

static int find_offset(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct place *p = arg;

	(void)size;
	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &info->dlpi_phdr[i];
		uintptr_t begin = info->dlpi_addr + h->p_vaddr;

		if (h->p_type != PT_LOAD || p->at < begin ||
		    p->at >= begin + h->p_filesz)
			continue;
		p->offset = p->at - begin + h->p_offset;
		snprintf(p->file, sizeof(p->file), "%s", info->dlpi_name);
		return 1;
	}
	return 0;
}

/*
 * The names are looked up in the C library alone: a sanitizer's library, which
 * comes before it, has some of the names and not the others.
 */
static void finds_what_the_linker_found(void **state)
{
	static const char *const names[] = {
		"printf",	  "fopen64",	"qsort",  "getaddrinfo",
		"pthread_create", "no_such",	"mmap64", "strtoull",
		"posix_spawn",	  "iconv_open",
	};
	enum { N = sizeof(names) / sizeof(*names) };
	void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
	struct place p = { .at = 0 };
	uint64_t offset[N];
	int fd, found;

	(void)state;
	assert_non_null(libc);
	p.at = (uintptr_t)dlsym(libc, "printf");
	assert_int_equal(dl_iterate_phdr(find_offset, &p), 1);
	fd = open(p.file, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	found = elfsym_find(fd, names, N, offset, NULL);
	assert_int_equal(found, N - 1);
	for (size_t i = 0; i < N; i++) {
		struct place own = {
			.at = (uintptr_t)dlsym(libc, names[i]),
		};

		if (own.at)
			dl_iterate_phdr(find_offset, &own);
		assert_int_equal(offset[i], own.offset);
	}
	close(fd);
	dlclose(libc);
}

/* Its own symbols are not exported: the other table has them. */
void test_elfsym_landmark(void);
void __attribute__((noinline)) test_elfsym_landmark(void)
{
	__asm__ volatile("");
}

static void finds_what_is_not_exported(void **state)
{
	static const char *const name[] = { "test_elfsym_landmark" };
	struct place p = { .at = (uintptr_t)test_elfsym_landmark };
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	uint64_t offset;

	(void)state;
	assert_int_equal(dl_iterate_phdr(find_offset, &p), 1);
	assert_int_equal(elfsym_find(fd, name, 1, &offset, NULL), 1);
	assert_int_equal(offset, p.offset);
	close(fd);
}

/* --- made files --- */

static const char *const two[] = { "SSL_read", "SSL_write" };

static int find_two(const void *data, size_t len, uint64_t offset[2])
{
	int fd = elf_image_file(data, len);
	int n = elfsym_find(fd, two, 2, offset, NULL);

	close(fd);
	return n;
}

static void fill_image(struct elf_image *m)
{
	elf_image_init(m, SHT_DYNSYM);
	elf_image_function(m, "main", 0x10);
	elf_image_function(m, "SSL_write", 0x20);
	elf_image_function(m, "SSL_reader", 0x30);
	elf_image_function(m, "SSL_read", 0x40);
}

static void names_are_whole_and_may_end_longer_ones(void **state)
{
	struct elf_image m;
	struct buf file = { 0 };
	uint64_t offset[2];
	uint32_t at;

	(void)state;
	fill_image(&m);
	elf_image_write(&m, &file);
	assert_int_equal(find_two(file.data, file.len, offset), 2);
	assert_int_equal(offset[0], CODE + 0x40);
	assert_int_equal(offset[1], CODE + 0x20);
	/* A name in the middle of a string is one, too. */
	buf_reset(&file);
	elf_image_init(&m, SHT_SYMTAB);
	at = elf_image_string(&m, "__real_SSL_read");
	elf_image_symbol(&m, at, ELF_IMAGE_CODE_AT + 1, STT_FUNC);
	elf_image_symbol(&m, at + 7, ELF_IMAGE_CODE_AT + 2, STT_FUNC);
	elf_image_write(&m, &file);
	assert_int_equal(find_two(file.data, file.len, offset), 1);
	assert_int_equal(offset[0], CODE + 2);
	buf_fini(&file);
}

static void only_functions_in_code_count(void **state)
{
	struct elf_image m;
	struct buf file = { 0 };
	uint64_t offset[2];
	uint32_t at;

	(void)state;
	elf_image_init(&m, SHT_DYNSYM);
	at = elf_image_string(&m, "SSL_read");
	elf_image_symbol(&m, at, ELF_IMAGE_CODE_AT, STT_OBJECT);
	elf_image_symbol(&m, at, 0, STT_FUNC); /* imported */
	elf_image_symbol(&m, at, ELF_IMAGE_CODE_AT - 1, STT_FUNC);
	elf_image_symbol(&m, at, ELF_IMAGE_CODE_AT + 0x1000, STT_FUNC);
	elf_image_symbol(&m, UINT32_MAX, ELF_IMAGE_CODE_AT, STT_FUNC);
	elf_image_write(&m, &file);
	assert_int_equal(find_two(file.data, file.len, offset), 0);
	assert_int_equal(offset[0], 0);
	buf_fini(&file);
}

/* Wherever a part of the strings ends, a name across it is found. */
static void names_cross_the_parts_that_are_read(void **state)
{
	struct elf_image m;
	struct buf file = { 0 };
	uint64_t offset[2];

	(void)state;
	for (size_t at = 65536 - 12; at < 65536 + 4; at++) {
		buf_reset(&file);
		elf_image_init(&m, SHT_DYNSYM);
		while (m.strings.len < at)
			buf_append(&m.strings, m.strings.len % 50 ? "x" : "",
				   1);
		elf_image_symbol(&m, (uint32_t)at, ELF_IMAGE_CODE_AT + 7,
				 STT_FUNC);
		buf_append(&m.strings, "SSL_read", 9);
		/* Long strings are not kept whole. */
		for (int i = 0; i < 200000; i++)
			buf_putc(&m.strings, 'y');
		elf_image_function(&m, "SSL_write", 9);
		elf_image_write(&m, &file);
		assert_int_equal(find_two(file.data, file.len, offset), 2);
		assert_int_equal(offset[0], CODE + 7);
		assert_int_equal(offset[1], CODE + 9);
	}
	buf_fini(&file);
}

static void every_prefix_is_refused_or_found(void **state)
{
	struct elf_image m;
	struct buf file = { 0 };
	uint64_t offset[2];

	(void)state;
	fill_image(&m);
	elf_image_write(&m, &file);
	for (size_t n = 0; n < file.len; n++) {
		int got = find_two(file.data, n, offset);

		assert_true(got == -ENOEXEC || got == -EPROTO);
	}
	buf_fini(&file);
}

/* Any byte of the headers may be anything. */
static void any_byte_may_be_changed(void **state)
{
	static const uint8_t values[] = { 0, 1, 0x7f, 0x80, 0xff };
	struct elf_image m;
	struct buf file = { 0 };
	uint64_t offset[2];

	(void)state;
	fill_image(&m);
	elf_image_write(&m, &file);
	for (size_t i = 0; i < file.len; i++) {
		char was = file.data[i];

		for (size_t k = 0; k < sizeof(values); k++) {
			int got;

			file.data[i] = (char)values[k];
			got = find_two(file.data, file.len, offset);
			assert_true(got >= -ENOTSUP && got <= 2);
		}
		file.data[i] = was;
	}
	buf_fini(&file);
}

/* --- what a file may cost --- */

/* A sparse file whose n sections all claim the same mib of symbols. */
static int greedy(size_t n, uint64_t mib, uint32_t kind)
{
	Elf64_Shdr s = { .sh_type = SHT_STRTAB,
			 .sh_offset = 1 << 23,
			 .sh_size = mib << 20 };
	struct elf_image m;
	int fd;

	elf_image_init(&m, SHT_DYNSYM);
	m.head.e_shnum = (uint16_t)n;
	m.head.e_shoff = 4096;
	fd = elf_image_file(&m.head, sizeof(m.head));
	if (pwrite(fd, &m.segment, sizeof(m.segment), 64) != sizeof(m.segment))
		abort();
	if (pwrite(fd, &s, sizeof(s), 4096) != sizeof(s))
		abort();
	s.sh_type = kind;
	for (size_t i = 1; i < n; i++)
		if (pwrite(fd, &s, sizeof(s), 4096 + (off_t)(i * sizeof(s))) !=
		    sizeof(s))
			abort();
	/* A name that is found, at the very end: so the symbols are read. */
	if (pwrite(fd, "SSL_read", 9, (1 << 23) + (off_t)(mib << 20) - 9) != 9)
		abort();
	buf_fini(&m.strings);
	buf_fini(&m.symbols);
	return fd;
}

static void what_a_file_costs_is_bounded(void **state)
{
	static const struct {
		size_t n;
		uint64_t mib;
		uint32_t kind;
		int want;
	} all[] = {
		{ 65000, 64, SHT_DYNSYM, -E2BIG }, /* too many sections */
		{ 16000, 64, SHT_DYNSYM, 0 }, /* one table is read */
		{ 16000, 64, SHT_SYMTAB, 0 },
		{ 3, 200, SHT_DYNSYM, -E2BIG }, /* 400 MiB in all */
		{ 3, 5000, SHT_DYNSYM, -E2BIG },
	};
	uint64_t offset[2];

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		int fd = greedy(all[i].n, all[i].mib, all[i].kind);

		assert_int_equal(elfsym_find(fd, two, 2, offset, NULL),
				 all[i].want);
		close(fd);
	}
}

static void a_stop_ends_it(void **state)
{
	int fd = greedy(3, 64, SHT_DYNSYM);
	const bool stop = true;
	uint64_t offset[TLS_CALLS];

	(void)state;
	assert_int_equal(elfsym_find(fd, two, 2, offset, &stop), -ECANCELED);
	assert_int_equal(tls_calls_find(fd, offset, &stop), -ECANCELED);
	close(fd);
}

static void arguments_are_checked(void **state)
{
	uint64_t offset[2];

	(void)state;
	assert_int_equal(elfsym_find(0, two, 0, offset, NULL), -EINVAL);
	assert_int_equal(
		elfsym_find(0, two, ELFSYM_NAMES_MAX + 1, offset, NULL),
		-EINVAL);
	assert_int_equal(elfsym_find(-1, two, 2, offset, NULL), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_the_linker_found),
		cmocka_unit_test(finds_what_is_not_exported),
		cmocka_unit_test(names_are_whole_and_may_end_longer_ones),
		cmocka_unit_test(only_functions_in_code_count),
		cmocka_unit_test(names_cross_the_parts_that_are_read),
		cmocka_unit_test(every_prefix_is_refused_or_found),
		cmocka_unit_test(any_byte_may_be_changed),
		cmocka_unit_test(what_a_file_costs_is_bounded),
		cmocka_unit_test(a_stop_ends_it),
		cmocka_unit_test(arguments_are_checked),
	};

	return cmocka_run_group_tests_name("elfsym", tests, NULL, NULL);
}
